//! What is said: logons, logouts and rejects, and how any message gets its header, its number and its
//! place in the store.

use std::io;
use std::mem;

use bus::Ts;

use super::{Application, Note, Session, Stop, type_of};
use crate::message::Message;
use crate::store::Store;
use crate::validate::{Flaw, Reason};
use crate::version::Version;
use crate::writer::Writer;
use crate::{tags, value};

impl<S: Store> Session<S> {
    pub(super) fn log_on<A: Application>(&mut self, now: Ts, app: &mut A) -> Result<(), Stop> {
        if self.config.reset_on_logon {
            self.reset(now, app)?;
        }
        let is_reset = self.will_reset();
        self.sent_reset = is_reset;
        self.say_logon(is_reset, self.store.next_in(), now)?;
        Ok(())
    }

    pub(super) fn say_logon(
        &mut self,
        is_reset: bool,
        next_expected: u64,
        now: Ts,
    ) -> io::Result<()> {
        self.sent_logon = true;
        let heartbeat_s = u64::from(self.heartbeat_s);
        let says_next = self.config.next_expected;
        let appl_version = self.config.appl_version;
        self.say(b"A", now, |writer| {
            writer
                .number(tags::ENCRYPT_METHOD, 0)
                .number(tags::HEART_BT_INT, heartbeat_s);
            if is_reset {
                writer.flag(tags::RESET_SEQ_NUM_FLAG, true);
            }
            if says_next {
                writer.number(tags::NEXT_EXPECTED_MSG_SEQ_NUM, next_expected);
            }
            if let Some(version) = appl_version {
                writer.text(tags::DEFAULT_APPL_VER_ID, version.id());
            }
        })
    }

    pub(super) fn say_logout(&mut self, text: &str, now: Ts) -> io::Result<()> {
        self.sent_logout = true;
        self.say(b"5", now, |writer| {
            if !text.is_empty() {
                writer.text(tags::TEXT, text);
            }
        })
    }

    pub(super) fn reject<A: Application>(
        &mut self,
        message: &Message<'_>,
        flaw: Flaw,
        now: Ts,
        app: &mut A,
    ) -> io::Result<()> {
        let text = flaw.reason.text();
        let version = self.config.version;
        if version < Version::Fix42 {
            let text = match flaw.tag {
                Some(tag) => format!("{text} ({tag})"),
                None => text.to_owned(),
            };
            return self.reject_as(message, &text, &[], now, app);
        }
        let mut fields = Vec::new();
        if let Some(tag) = flaw.tag {
            fields.push((tags::REF_TAG_ID, tag.to_string().into_bytes()));
        }
        fields.push((tags::REF_MSG_TYPE, message.msg_type().to_vec()));
        // FIX 4.2 has the reasons up to that of the type.
        let code = flaw.reason.code();
        if version > Version::Fix42 || code <= Reason::InvalidMsgType.code() {
            fields.push((tags::SESSION_REJECT_REASON, code.to_string().into_bytes()));
        }
        self.reject_as(message, text, &fields, now, app)
    }

    pub(super) fn reject_as<A: Application>(
        &mut self,
        message: &Message<'_>,
        text: &str,
        fields: &[(i32, Vec<u8>)],
        now: Ts,
        app: &mut A,
    ) -> io::Result<()> {
        let seq = message.number(tags::MSG_SEQ_NUM);
        app.on_note(&Note::Rejected {
            seq,
            what: text.to_owned(),
        });
        let is_counted = !matches!(message.msg_type(), b"A" | b"4");
        if is_counted && seq == Some(self.store.next_in()) {
            self.store.set_next_in(self.store.next_in() + 1)?;
        }
        let route = self.route_back(message);
        self.say_to(b"3", &route, now, |writer| {
            if let Some(seq) = seq {
                writer.number(tags::REF_SEQ_NUM, seq);
            }
            writer.text(tags::TEXT, text);
            for (tag, text) in fields {
                writer.bytes(*tag, text);
            }
        })
    }

    pub(super) fn reject_business<A: Application>(
        &mut self,
        message: &Message<'_>,
        code: u64,
        text: &str,
        tag: Option<i32>,
        now: Ts,
        app: &mut A,
    ) -> io::Result<()> {
        let seq = message.number(tags::MSG_SEQ_NUM);
        let text = match tag {
            Some(tag) => format!("{text} ({tag})"),
            None => text.to_owned(),
        };
        app.on_note(&Note::Rejected {
            seq,
            what: text.clone(),
        });
        self.store.set_next_in(self.store.next_in() + 1)?;
        let appl_version = self
            .config
            .appl_version
            .filter(|_| self.config.appl_version_in_rejects);
        self.say(b"j", now, |writer| {
            if let Some(seq) = seq {
                writer.number(tags::REF_SEQ_NUM, seq);
            }
            writer
                .text(tags::TEXT, &text)
                .bytes(tags::REF_MSG_TYPE, message.msg_type())
                .number(tags::BUSINESS_REJECT_REASON, code);
            if let Some(version) = appl_version {
                writer.text(tags::DEFAULT_APPL_VER_ID, version.id());
            }
        })
    }

    /// The parties behind the two sides, the other way round.
    fn route_back(&self, message: &Message<'_>) -> Vec<(i32, Vec<u8>)> {
        let has_locations = self.config.version >= Version::Fix41;
        let pairs = [
            (tags::ON_BEHALF_OF_COMP_ID, tags::DELIVER_TO_COMP_ID, true),
            (tags::ON_BEHALF_OF_SUB_ID, tags::DELIVER_TO_SUB_ID, true),
            (
                tags::ON_BEHALF_OF_LOCATION_ID,
                tags::DELIVER_TO_LOCATION_ID,
                has_locations,
            ),
        ];
        let mut route = Vec::new();
        for (from, to, _) in pairs.into_iter().filter(|pair| pair.2) {
            for (theirs, ours) in [(from, to), (to, from)] {
                if let Some(text) = message.get(theirs).filter(|text| !text.is_empty()) {
                    route.push((ours, text.to_vec()));
                }
            }
        }
        route
    }

    pub(super) fn say(
        &mut self,
        msg_type: &[u8],
        now: Ts,
        body: impl FnOnce(&mut Writer),
    ) -> io::Result<()> {
        self.say_to(msg_type, &[], now, body)
    }

    /// Says something of the session's own, which has the next number.
    fn say_to(
        &mut self,
        msg_type: &[u8],
        header: &[(i32, Vec<u8>)],
        now: Ts,
        body: impl FnOnce(&mut Writer),
    ) -> io::Result<()> {
        let mut fields = Writer::new();
        fields.begin(b"");
        body(&mut fields);
        let seq = self.store.next_out();
        let message = self.compose(msg_type, seq, now, header, None, fields.body_after_type());
        let kept = self.keep_and_put(seq, &message, now);
        self.scratch = message;
        kept
    }

    /// A whole message. Fields of the header stand by their numbers.
    pub(super) fn compose(
        &mut self,
        msg_type: &[u8],
        seq: u64,
        now: Ts,
        more: &[(i32, Vec<u8>)],
        first_sent: Option<Ts>,
        body: &[u8],
    ) -> Vec<u8> {
        let config = &self.config;
        let with_ms = config.version.has_milliseconds();
        let time = |ts| {
            let (text, len) = value::time_text(ts, with_ms);
            text[..len].to_vec()
        };
        let mut header: Vec<(i32, Vec<u8>)> = vec![
            (tags::MSG_SEQ_NUM, seq.to_string().into_bytes()),
            (tags::SENDER_COMP_ID, config.sender.clone().into_bytes()),
            (tags::SENDING_TIME, time(now)),
            (tags::TARGET_COMP_ID, config.target.clone().into_bytes()),
        ];
        if let Some(first_sent) = first_sent {
            header.push((tags::POSS_DUP_FLAG, b"Y".to_vec()));
            header.push((tags::ORIG_SENDING_TIME, time(first_sent)));
        }
        if let Some(sub) = &config.sender_sub {
            header.push((tags::SENDER_SUB_ID, sub.clone().into_bytes()));
        }
        if let Some(sub) = &config.target_sub {
            header.push((tags::TARGET_SUB_ID, sub.clone().into_bytes()));
        }
        header.extend_from_slice(more);
        header.sort_by_key(|field| field.0);
        self.writer.begin(msg_type);
        for (tag, text) in &header {
            self.writer.bytes(*tag, text);
        }
        self.writer.raw(body);
        let mut message = mem::take(&mut self.scratch);
        message.clear();
        message.extend_from_slice(self.writer.finish(config.version));
        message
    }

    /// Keeps a message under its number, and then lets it go.
    pub(super) fn keep_and_put(&mut self, seq: u64, message: &[u8], now: Ts) -> io::Result<()> {
        self.store.save(seq, message)?;
        let msg_type = type_of(message);
        if self.is_withholding {
            return Ok(());
        }
        if self.is_connected && (self.is_logged_on() || matches!(msg_type, b"A" | b"5" | b"2")) {
            self.put(message, now);
        }
        Ok(())
    }

    pub(super) fn put(&mut self, message: &[u8], now: Ts) {
        self.last_sent = now;
        if self.out_start > self.out.len() / 2 {
            self.out.drain(..self.out_start);
            self.out_start = 0;
        }
        self.out.extend_from_slice(message);
    }
}
