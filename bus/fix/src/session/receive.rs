//! What is received: each type of message, and its turn.

use std::mem;

use bus::Ts;

use super::app::Item;
use super::{
    Application, Gap, HEARTBEAT_S_MAX, Inbound, Note, Outbox, PROBE, Received, Role, SECOND_NS,
    SEQ_MAX, SendError, Session, Stop, Verdict, type_of,
};
use crate::message::{Message, parse};
use crate::store::Store;
use crate::validate::{Flaw, Reason};
use crate::version::{ApplVersion, Version};
use crate::{tags, value};

impl<S: Store> Session<S> {
    /// A message that is not one. Where it was to be a Logon, there is nobody to talk to.
    pub(super) fn after_garbled<A: Application>(&mut self, bytes: &[u8], app: &mut A) {
        let is_logon = bytes.windows(6).any(|window| window == b"\x0135=A\x01");
        if is_logon && !self.received_logon {
            self.close("a garbled logon", app);
        }
    }

    pub(super) fn take<A: Application>(&mut self, bytes: &[u8], now: Ts, app: &mut A) {
        let mut fields = mem::take(&mut self.fields);
        match parse(bytes, &mut fields, &self.data) {
            Ok(message) => {
                let done = self.take_message(&message, now, app);
                let answered = self.answer(done, &message, now, app);
                self.conclude(answered, app);
            }
            Err(garbled) => {
                app.on_note(&Note::Garbled(garbled.to_string()));
                self.after_garbled(bytes, app);
            }
        }
        self.fields = fields;
    }

    /// Messages that came too early and whose turn it is now.
    pub(super) fn drain_early<A: Application>(&mut self, now: Ts, app: &mut A) -> Result<(), Stop> {
        while !self.is_closing
            && let Some(bytes) = self.early.remove(&self.store.next_in())
        {
            let msg_type = type_of(&bytes);
            if matches!(msg_type, b"A" | b"2") {
                // Was answered when it came.
                self.expect_next()?;
            } else {
                self.take(&bytes, now, app);
            }
        }
        // What is behind the next number was let go of, or has come by another way.
        let next = self.store.next_in();
        while let Some((&seq, _)) = self.early.first_key_value()
            && seq < next
        {
            self.early.pop_first();
        }
        if let Some(gap) = self.gap {
            if next > gap.to {
                self.gap = None;
            } else if next > gap.asked_to {
                self.ask_for(gap.to, now, app)?;
            }
        }
        Ok(())
    }

    /// What a message that was not taken is told.
    fn answer<A: Application>(
        &mut self,
        done: Result<(), Stop>,
        message: &Message<'_>,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        let is_logon = message.msg_type() == b"A";
        match done {
            Err(Stop::Flaw(flaw)) if !self.received_logon => {
                let what = if is_logon { "logon" } else { "message" };
                Err(Stop::Close(format!(
                    "a bad {what} before the logon: {flaw}"
                )))
            }
            Err(Stop::Flaw(flaw)) => Ok(self.reject(message, flaw, now, app)?),
            Err(Stop::Unsupported) if self.config.version >= Version::Fix42 => {
                Ok(self.reject_business(message, 3, "Unsupported Message Type", None, now, app)?)
            }
            Err(Stop::Unsupported) => {
                Ok(self.reject_as(message, "Unsupported message type", &[], now, app)?)
            }
            Err(Stop::Conditional(tag)) if self.config.version >= Version::Fix42 => {
                let text = "Conditionally Required Field Missing";
                Ok(self.reject_business(message, 5, text, Some(tag), now, app)?)
            }
            Err(Stop::Conditional(tag)) => {
                let flaw = Flaw::of(Reason::RequiredTagMissing, tag);
                Ok(self.reject(message, flaw, now, app)?)
            }
            other => other,
        }
    }

    fn take_message<A: Application>(
        &mut self,
        message: &Message<'_>,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        let msg_type = message.msg_type();
        for tag in [tags::SENDER_COMP_ID, tags::TARGET_COMP_ID] {
            if message.get(tag).is_none() {
                return Err(Flaw::of(Reason::RequiredTagMissing, tag).into());
            }
        }
        if message.begin_string() != self.config.version.begin_string().as_bytes() {
            if msg_type == b"5" {
                return self.take_logout(message, now, app);
            }
            self.say_logout("Incorrect BeginString", now)?;
            self.expect_next()?;
            return Ok(());
        }
        let mut flaw = self.validate(message);
        if let Some(found) = flaw
            && (message.is_admin() || self.config.inbound == Inbound::Strict)
        {
            // A fill is handed on, whatever else is wrong, and whatever is said of it then.
            let must_be_handed_on = is_execution(msg_type)
                && message.number(tags::MSG_SEQ_NUM) == Some(self.store.next_in())
                && self.is_logged_on();
            if !must_be_handed_on {
                return Err(found.into());
            }
            flaw = Some(found);
        }
        match msg_type {
            b"A" => self.take_logon(message, now, app),
            b"0" => {
                if self.verify(message, true, true, now, app)? == Turn::Now {
                    let probe = message.get(tags::TEST_REQ_ID).and_then(probe_of);
                    self.probes_answered = probe.unwrap_or(0).max(self.probes_answered);
                    self.expect_next()?;
                }
                Ok(())
            }
            b"1" => self.take_test_request(message, now, app),
            b"2" => self.take_resend_request(message, now, app),
            b"3" => self.take_reject(message, now, app),
            b"4" => self.take_sequence_reset(message, now, app),
            b"5" => self.take_logout(message, now, app),
            _ => self.take_application(message, flaw, now, app),
        }
    }

    fn validate(&mut self, message: &Message<'_>) -> Option<Flaw> {
        let is_strict = self.config.inbound == Inbound::Strict;
        match &mut self.validator {
            Some(validator) if is_strict || !message.is_admin() => validator.check(message).err(),
            _ => self.admin.check(message).err(),
        }
    }

    fn take_application<A: Application>(
        &mut self,
        message: &Message<'_>,
        flaw: Option<Flaw>,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        if self.verify(message, true, true, now, app)? == Turn::Passed {
            return Ok(());
        }
        let seq = self.store.next_in();
        if let Some(flaw) = flaw
            && self.config.inbound == Inbound::Tolerant
        {
            app.on_note(&Note::Tolerated { seq, flaw });
        }
        let mut out = Outbox::default();
        let received = Received {
            message: *message,
            seq,
            now,
            flaw,
        };
        let verdict = app.on_message(&received, &mut out);
        self.send_all(out, now, app)?;
        match verdict {
            _ if flaw.is_some() && self.config.inbound == Inbound::Strict => {
                Err(flaw.map_or(Stop::Unsupported, Stop::Flaw))
            }
            Verdict::Taken => self.expect_next(),
            Verdict::NotKept => Err(Stop::Close("a message could not be kept".into())),
            Verdict::UnsupportedType => Err(Stop::Unsupported),
            Verdict::Missing(tag) => Err(Stop::Conditional(tag)),
        }
    }

    fn send_all<A: Application>(&mut self, out: Outbox, now: Ts, app: &mut A) -> Result<(), Stop> {
        for item in out.items {
            let (draft, is_withheld) = match item {
                Item::Send(draft) => (draft, false),
                Item::Withhold(draft) => (draft, true),
                Item::AskAgain => {
                    let is_old = self.config.version < Version::Fix42;
                    self.say(b"2", now, |writer| {
                        writer
                            .number(tags::BEGIN_SEQ_NO, 1)
                            .number(tags::END_SEQ_NO, if is_old { 999_999 } else { 0 });
                    })?;
                    continue;
                }
                Item::Close(why) => {
                    self.close(&why, app);
                    continue;
                }
            };
            self.is_withholding = is_withheld;
            let sent = self.send(&draft, now, app);
            self.is_withholding = false;
            match sent {
                Ok(_) => {}
                Err(SendError::Store(error)) => return Err(Stop::Store(error)),
                Err(error) => app.on_note(&Note::Rejected {
                    seq: None,
                    what: error.to_string(),
                }),
            }
        }
        Ok(())
    }

    fn take_logon<A: Application>(
        &mut self,
        message: &Message<'_>,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        if self.config.version == Version::Fixt11 {
            let said = message.get(tags::DEFAULT_APPL_VER_ID);
            let Some(said) = said else {
                let tag = tags::DEFAULT_APPL_VER_ID;
                return Err(Flaw::of(Reason::RequiredTagMissing, tag).into());
            };
            if ApplVersion::of(said) != self.config.appl_version {
                let what = format!("a logon for ApplVerID {}", text_of(Some(said)));
                return Err(Stop::Close(what));
            }
        }
        let is_reset = message.is_set(tags::RESET_SEQ_NUM_FLAG);
        let is_answer_to_reset = is_reset && self.sent_reset;
        if self.received_logon && !is_reset {
            return Err(Stop::Close("a second logon".into()));
        }
        if self.config.role == Role::Initiator && !self.sent_logon {
            return Err(Stop::Close("a logon before ours".into()));
        }
        // Who it is comes before what it changes.
        if self.verify_identity(message, now, app)? == Turn::Passed {
            return Ok(());
        }
        let is_acceptor = self.config.role == Role::Acceptor;
        if (is_reset && !is_answer_to_reset) || (is_acceptor && self.config.reset_on_logon) {
            self.reset(now, app)?;
        }
        self.received_reset = is_reset;
        if self.verify_turn(message, false, true, now, app)? == Turn::Passed {
            return Ok(());
        }
        let heartbeat_s = message
            .get(tags::HEART_BT_INT)
            .and_then(value::unsigned)
            .and_then(|seconds| u32::try_from(seconds).ok())
            .filter(|&seconds| seconds <= HEARTBEAT_S_MAX)
            .ok_or(Flaw::of(Reason::ValueIncorrect, tags::HEART_BT_INT))?;
        let expected = match message.get(tags::NEXT_EXPECTED_MSG_SEQ_NUM) {
            Some(text) => Some(value::unsigned(text).ok_or(Flaw::of(
                Reason::IncorrectFormat,
                tags::NEXT_EXPECTED_MSG_SEQ_NUM,
            ))?),
            None => None,
        };
        // What the other side expects, before an answer of ours takes a number of its own.
        let next_out = self.store.next_out();
        if let Some(expected) = expected
            && expected > next_out
        {
            let text = format!(
                "NextExpectedMsgSeqNum too high, expecting {next_out} but received {expected}"
            );
            self.say_logout(&text, now)?;
            return Err(Stop::Close(text));
        }
        self.received_logon = true;
        self.last_received = now;
        self.test_requests = 0;
        if is_acceptor || (is_reset && !is_answer_to_reset) {
            self.heartbeat_s = heartbeat_s;
            // This Logon counts as received, unless something before it is missing.
            let next_in = self.store.next_in();
            let is_next = self.seq_of(message)? <= next_in;
            self.say_logon(is_reset, next_in + u64::from(is_next), now)?;
        }
        self.sent_reset = false;
        self.received_reset = false;
        let seq = self.seq_of(message)?;
        if seq > self.store.next_in() {
            if self.config.next_expected {
                // Our own Logon has said which number is expected, so they come unasked.
                self.keep_early(seq, message.bytes());
                let gap = Gap {
                    asked_to: seq - 1,
                    to: seq - 1,
                };
                self.gap = Some(gap);
            } else {
                self.too_high(seq, message, now, app)?;
            }
        } else {
            self.expect_next()?;
        }
        app.on_note(&Note::LoggedOn);
        let mut out = Outbox::default();
        app.on_logon(&mut out);
        self.send_all(out, now, app)?;
        if let Some(expected) = expected
            && expected < next_out
        {
            // The Logon of ours, too, which came before what it fills the gap to.
            let last = if is_acceptor { next_out } else { next_out - 1 };
            self.repeat(expected.max(1), last, now, app)?;
        }
        Ok(())
    }

    fn take_test_request<A: Application>(
        &mut self,
        message: &Message<'_>,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        if self.verify(message, true, true, now, app)? == Turn::Passed {
            return Ok(());
        }
        let id = message.get(tags::TEST_REQ_ID);
        self.say(b"0", now, |writer| {
            if let Some(id) = id {
                writer.bytes(tags::TEST_REQ_ID, id);
            }
        })?;
        self.expect_next()
    }

    /// What the peer misses it must have soonest, so this is answered whatever its own number.
    fn take_resend_request<A: Application>(
        &mut self,
        message: &Message<'_>,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        if self.verify(message, false, false, now, app)? == Turn::Passed {
            return Ok(());
        }
        let need = |tag| {
            let flaw = Flaw::of(Reason::RequiredTagMissing, tag);
            message.number(tag).ok_or(flaw)
        };
        let from = need(tags::BEGIN_SEQ_NO)?.max(1);
        let to = need(tags::END_SEQ_NO)?;
        let version = self.config.version;
        let is_open =
            (version >= Version::Fix42 && to == 0) || (version <= Version::Fix42 && to == 999_999);
        let last = self.store.next_out() - 1;
        let to = if is_open { last } else { to.min(last) };
        self.repeat(from, to, now, app)?;
        if message.number(tags::MSG_SEQ_NUM) == Some(self.store.next_in()) {
            self.expect_next()?;
        }
        Ok(())
    }

    fn take_reject<A: Application>(
        &mut self,
        message: &Message<'_>,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        if self.verify(message, false, true, now, app)? == Turn::Passed {
            return Ok(());
        }
        app.on_note(&Note::RejectedByPeer {
            seq: message.number(tags::REF_SEQ_NUM),
            text: text_of(message.get(tags::TEXT)),
        });
        // One that comes too early is looked at now; what is missing shows with the next message.
        if message.number(tags::MSG_SEQ_NUM) == Some(self.store.next_in()) {
            self.expect_next()?;
        }
        Ok(())
    }

    fn take_sequence_reset<A: Application>(
        &mut self,
        message: &Message<'_>,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        let is_fill = message.is_set(tags::GAP_FILL_FLAG);
        if self.verify(message, is_fill, is_fill, now, app)? == Turn::Passed {
            return Ok(());
        }
        let flaw = Flaw::of(Reason::RequiredTagMissing, tags::NEW_SEQ_NO);
        let next = message.number(tags::NEW_SEQ_NO).ok_or(flaw)?;
        if next > SEQ_MAX {
            return Err(Flaw::of(Reason::ValueIncorrect, tags::NEW_SEQ_NO).into());
        }
        if next > self.store.next_in() {
            self.store.set_next_in(next)?;
        } else if next < self.store.next_in() {
            return Err(Flaw::whole(Reason::ValueIncorrect).into());
        }
        Ok(())
    }

    fn take_logout<A: Application>(
        &mut self,
        message: &Message<'_>,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        if self.verify(message, false, false, now, app)? == Turn::Passed {
            return Ok(());
        }
        let was_asked = self.sent_logout;
        if !was_asked {
            self.say_logout("", now)?;
        }
        // What is missing before it is not given up: it will be asked for at the next logon.
        if message.number(tags::MSG_SEQ_NUM) == Some(self.store.next_in()) {
            self.expect_next()?;
        }
        if self.config.reset_on_logout {
            self.reset(now, app)?;
        }
        let text = text_of(message.get(tags::TEXT));
        let who = if was_asked { "we" } else { "they" };
        Err(Stop::Close(format!("{who} logged out: {text}")))
    }

    fn seq_of(&self, message: &Message<'_>) -> Result<u64, Stop> {
        message.number(tags::MSG_SEQ_NUM).ok_or_else(|| {
            // Without a number nothing can be said of what is missing.
            Stop::Close("a message without a MsgSeqNum".into())
        })
    }

    /// Whether it is the turn of a message: that it comes when it may, from whom it should, and
    /// neither early nor late.
    fn verify<A: Application>(
        &mut self,
        message: &Message<'_>,
        check_high: bool,
        check_low: bool,
        now: Ts,
        app: &mut A,
    ) -> Result<Turn, Stop> {
        if self.verify_identity(message, now, app)? == Turn::Passed {
            return Ok(Turn::Passed);
        }
        self.verify_turn(message, check_high, check_low, now, app)
    }

    fn verify_identity<A: Application>(
        &mut self,
        message: &Message<'_>,
        now: Ts,
        app: &mut A,
    ) -> Result<Turn, Stop> {
        let is_logon = message.msg_type() == b"A";
        let may_come =
            is_logon || self.received_logon || (message.msg_type() == b"5" && self.sent_logon);
        if !may_come {
            return Err(Stop::Close("a message before the logon".into()));
        }
        let sent = message
            .get(tags::SENDING_TIME)
            .ok_or(Flaw::of(Reason::RequiredTagMissing, tags::SENDING_TIME))?;
        let sent =
            value::timestamp(sent).ok_or(Flaw::of(Reason::IncorrectFormat, tags::SENDING_TIME))?;
        let is_good_time = self
            .config
            .latency_max_s
            .is_none_or(|seconds| now.0.abs_diff(sent.0) <= u64::from(seconds) * SECOND_NS as u64);
        let is_ours = message.get(tags::SENDER_COMP_ID) == Some(self.config.target.as_bytes())
            && message.get(tags::TARGET_COMP_ID) == Some(self.config.sender.as_bytes());
        let reason = match (is_good_time, is_ours) {
            (true, true) => return Ok(Turn::Now),
            (false, _) => Reason::SendingTimeAccuracy,
            (true, false) => Reason::CompId,
        };
        if !self.received_logon {
            return Err(Flaw::whole(reason).into());
        }
        self.reject(message, Flaw::whole(reason), now, app)?;
        self.say_logout("", now)?;
        Ok(Turn::Passed)
    }

    fn verify_turn<A: Application>(
        &mut self,
        message: &Message<'_>,
        check_high: bool,
        check_low: bool,
        now: Ts,
        app: &mut A,
    ) -> Result<Turn, Stop> {
        let next = self.store.next_in();
        if check_high || check_low {
            let seq = self.seq_of(message)?;
            if check_high && seq > next {
                self.heard(now);
                self.too_high(seq, message, now, app)?;
                return Ok(Turn::Passed);
            }
            if check_low && seq < next {
                self.too_low(seq, message, now, app)?;
                self.heard(now);
                return Ok(Turn::Passed);
            }
        }
        self.heard(now);
        Ok(Turn::Now)
    }

    fn heard(&mut self, now: Ts) {
        self.last_received = now;
        self.test_requests = 0;
    }

    /// Keeps a message that came too early, and asks for those before it.
    fn too_high<A: Application>(
        &mut self,
        seq: u64,
        message: &Message<'_>,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        self.keep_early(seq, message.bytes());
        match &mut self.gap {
            // Those behind what was asked for are asked for when it has come.
            Some(_) => Ok(()),
            None => self.ask_for(seq - 1, now, app),
        }
    }

    fn keep_early(&mut self, seq: u64, bytes: &[u8]) {
        // One that finds no room will be missing once more, and asked for then.
        if self.early.len() < self.config.early_max {
            self.early.insert(seq, bytes.to_vec());
        }
    }

    /// Asks for what is missing up to `to`, or for as much of it as one request may.
    fn ask_for<A: Application>(&mut self, to: u64, now: Ts, app: &mut A) -> Result<(), Stop> {
        let from = self.store.next_in();
        let chunk = self.config.resend_chunk;
        let is_part = chunk != 0 && to - from >= chunk;
        let (asked_to, says) = match (is_part, self.config.version) {
            (true, _) => (from + chunk - 1, from + chunk - 1),
            (false, Version::Fix40 | Version::Fix41) => (to, 999_999),
            (false, _) => (to, 0),
        };
        self.say(b"2", now, |writer| {
            writer
                .number(tags::BEGIN_SEQ_NO, from)
                .number(tags::END_SEQ_NO, says);
        })?;
        self.gap = Some(Gap { asked_to, to });
        app.on_note(&Note::Missing { from, to: asked_to });
        Ok(())
    }

    /// A number that was there before: a repetition, or a side that has lost its place.
    fn too_low<A: Application>(
        &mut self,
        seq: u64,
        message: &Message<'_>,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        if !message.is_set(tags::POSS_DUP_FLAG) {
            let next = self.store.next_in();
            let text = format!("MsgSeqNum too low, expecting {next} but received {seq}");
            self.say_logout(&text, now)?;
            return Err(Stop::Close(text));
        }
        if message.msg_type() == b"4" {
            return Ok(());
        }
        let tag = tags::ORIG_SENDING_TIME;
        let Some(first) = message.get(tag) else {
            let flaw = Flaw::of(Reason::RequiredTagMissing, tag);
            return Ok(self.reject(message, flaw, now, app)?);
        };
        let sent = message.get(tags::SENDING_TIME).and_then(value::timestamp);
        if value::timestamp(first) > sent {
            let flaw = Flaw::whole(Reason::SendingTimeAccuracy);
            self.reject(message, flaw, now, app)?;
            self.say_logout("", now)?;
        }
        Ok(())
    }

    fn expect_next(&mut self) -> Result<(), Stop> {
        let next = self.store.next_in() + 1;
        Ok(self.store.set_next_in(next)?)
    }
}

/// Whether a message is looked at further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Now,
    /// It was dealt with: kept, answered, or known already.
    Passed,
}

/// Reports of executions, whose loss is a position that nobody knows of.
fn is_execution(msg_type: &[u8]) -> bool {
    matches!(msg_type, b"8" | b"9" | b"AE")
}

/// The number of the question that a Heartbeat answers.
fn probe_of(id: &[u8]) -> Option<u64> {
    id.strip_prefix(PROBE.as_bytes()).and_then(value::unsigned)
}

fn text_of(text: Option<&[u8]>) -> String {
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}
