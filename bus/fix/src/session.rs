//! One FIX session, of either side, as a state machine.
//!
//! Bytes and times go in; bytes come out, and calls to the [`Application`]. It holds no socket and
//! reads no clock, so that a test, a thread and a shard can each drive it in their way:
//!
//! ```text
//! on_connected ─► on_bytes, on_time, send ... ─► on_disconnected
//!                      │
//!                      └─► output() to the socket, then written(); is_closing() ends the connection
//! ```
//!
//! A message's number and the message itself are in the [`Store`] before its bytes are in
//! `output`. A received number is stored after the application has had the message, so a crash in
//! between brings it again, flagged, and never loses it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::mem;

use bus::Ts;

use crate::message::{DataTags, Fields, Message, parse};
use crate::schedule::Schedule;
use crate::store::Store;
use crate::validate::{Flaw, Reason, Validator};
use crate::version::{ApplVersion, Version};
use crate::writer::Writer;
use crate::{Framed, Framer, tags, value};

/// Which side begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Connects, and says the first Logon.
    Initiator,
    /// Is connected to, and answers it.
    Acceptor,
}

/// What happens to messages that do not fit their dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Those of the application are handed on with their flaw beside them; those of the session
    /// must only make sense. For order entry: a fill is a fill, unknown fields or not.
    Tolerant,
    /// They are rejected. Reports of executions are handed on nevertheless, before the reject.
    Strict,
}

/// What a session is.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Which FIX it speaks.
    pub version: Version,
    /// What is said over FIXT; needed there, and there only.
    pub appl_version: Option<ApplVersion>,
    /// Which side this is.
    pub role: Role,
    /// SenderCompID: this side's name.
    pub sender: String,
    /// TargetCompID: the other side's name.
    pub target: String,
    /// SenderSubID, sent with every message.
    pub sender_sub: Option<String>,
    /// TargetSubID, sent with every message.
    pub target_sub: Option<String>,
    /// How often something is heard, in seconds, as an initiator proposes it; 0 is never.
    pub heartbeat_s: u32,
    /// The first Logon of all, before which nothing was said or heard, says that both numbers begin
    /// at 1, wherever the other side's had come to.
    pub reset_when_new: bool,
    /// Both numbers begin at 1 with each logon.
    pub reset_on_logon: bool,
    /// Both numbers begin at 1 after a logout.
    pub reset_on_logout: bool,
    /// Both numbers begin at 1 after a connection ended.
    pub reset_on_disconnect: bool,
    /// Logons say which number is expected next, so that what is missing comes without being
    /// asked for.
    pub next_expected: bool,
    /// A SendingTime further from ours than this is refused; `None` lets all pass.
    pub latency_max_s: Option<u32>,
    /// How long an answer to a Logon, or the first one, is waited for.
    pub logon_timeout_s: u32,
    /// How long an answer to a Logout is waited for.
    pub logout_timeout_s: u32,
    /// How many messages one ResendRequest asks for at most; 0 asks for all that are missing.
    pub resend_chunk: u64,
    /// When it may be open.
    pub schedule: Schedule,
    /// What happens to messages that do not fit their dictionary.
    pub inbound: Inbound,
    /// Says DefaultApplVerID in business rejects, where no dictionary has it but QuickFIX says it.
    pub appl_version_in_rejects: bool,
    /// No message is longer.
    pub message_bytes_max: usize,
    /// How many messages that came too early are kept until those before them are there.
    pub early_max: usize,
    /// A peer that lets more than this wait to be read is disconnected.
    pub output_bytes_max: usize,
}

impl SessionConfig {
    /// The usual settings for a session of these two.
    pub fn new(version: Version, role: Role, sender: &str, target: &str) -> SessionConfig {
        SessionConfig {
            version,
            appl_version: (version == Version::Fixt11).then_some(ApplVersion::Fix50Sp2),
            role,
            sender: sender.to_owned(),
            target: target.to_owned(),
            sender_sub: None,
            target_sub: None,
            heartbeat_s: 30,
            reset_when_new: false,
            reset_on_logon: false,
            reset_on_logout: false,
            reset_on_disconnect: false,
            next_expected: false,
            latency_max_s: Some(120),
            logon_timeout_s: 10,
            logout_timeout_s: 2,
            resend_chunk: 0,
            schedule: Schedule::Always,
            inbound: Inbound::Tolerant,
            appl_version_in_rejects: false,
            message_bytes_max: 1 << 20,
            early_max: 10_000,
            output_bytes_max: 64 << 20,
        }
    }
}

/// Who a session's messages are for.
pub trait Application {
    /// A message that is not the session's own, once and in order. What is put into `out` is sent
    /// at once.
    fn on_message(&mut self, message: &Received<'_>, out: &mut Outbox) -> Verdict;

    /// Both sides have logged on.
    fn on_logon(&mut self, out: &mut Outbox) {
        let _ = out;
    }

    /// It is over, whoever ended it.
    fn on_logout(&mut self) {}

    /// Whether a message that is asked for again may be repeated. One that may not, such as an
    /// order whose price is of the past, is passed over.
    fn may_repeat(&mut self, message: &Message<'_>) -> bool {
        let _ = message;
        true
    }

    /// Something to write down.
    fn on_note(&mut self, note: &Note) {
        let _ = note;
    }

    /// Whether its connection is read now. A simulated counterparty may be slow.
    fn may_read(&self, now: Ts) -> bool {
        let _ = now;
        true
    }

    /// Whether its connection is written to now.
    fn may_write(&self, now: Ts) -> bool {
        let _ = now;
        true
    }
}

/// A message for the application.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// All of it.
    pub message: Message<'a>,
    /// Its number.
    pub seq: u64,
    /// When it was handed in.
    pub now: Ts,
    /// What does not fit the dictionary.
    pub flaw: Option<Flaw>,
}

/// What the application says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken.
    Taken,
    /// Messages of this type are not wanted.
    UnsupportedType,
    /// This field is needed in this case.
    Missing(i32),
    /// It could not be kept, so that it must come again: the connection ends.
    NotKept,
}

/// Messages that an application wants to send.
#[derive(Debug, Default)]
pub struct Outbox {
    items: Vec<Item>,
}

#[derive(Debug)]
enum Item {
    Send(Draft),
    Withhold(Draft),
    AskAgain,
    Close(String),
}

impl Outbox {
    /// Sends this after what was put in before.
    pub fn push(&mut self, draft: Draft) {
        self.items.push(Item::Send(draft));
    }

    /// Keeps this under its number and does not send it, as if it was lost on its way: for
    /// counterparties that are made to fail.
    pub fn withhold(&mut self, draft: Draft) {
        self.items.push(Item::Withhold(draft));
    }

    /// Asks for all that the other side ever sent, whatever has come: for the same.
    pub fn ask_again(&mut self) {
        self.items.push(Item::AskAgain);
    }

    /// Ends the connection, without a logout.
    pub fn close(&mut self, why: &str) {
        self.items.push(Item::Close(why.to_owned()));
    }
}

/// A message without what the session knows: versions, names, numbers, times and sums.
#[derive(Clone, Debug)]
pub struct Draft {
    msg_type: Vec<u8>,
    header: Vec<(i32, Vec<u8>)>,
    writer: Writer,
}

impl Draft {
    /// An empty message of this type.
    pub fn new(msg_type: &[u8]) -> Draft {
        let mut writer = Writer::new();
        writer.begin(b"");
        Draft {
            msg_type: msg_type.to_vec(),
            header: Vec::new(),
            writer,
        }
    }

    /// Where its fields are written.
    pub fn body(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// A field of the header beyond those that the session writes.
    pub fn header(&mut self, tag: i32, text: &[u8]) -> &mut Draft {
        self.header.push((tag, text.to_vec()));
        self
    }
}

/// Something that happened, to write down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Both sides have logged on.
    LoggedOn,
    /// Both numbers begin at 1 again.
    Reset,
    /// Bytes that are no message were left out.
    Garbled(String),
    /// Messages are missing and were asked for.
    Missing {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Messages are repeated because they were asked for.
    Repeating {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// A message was rejected.
    Rejected {
        /// Its number, where it has one.
        seq: Option<u64>,
        /// What is wrong with it.
        what: String,
    },
    /// A message does not fit the dictionary, and was handed on.
    Tolerated {
        /// Its number.
        seq: u64,
        /// What does not fit.
        flaw: Flaw,
    },
    /// The other side rejected a message of ours.
    RejectedByPeer {
        /// The number of ours.
        seq: Option<u64>,
        /// What it says of it.
        text: String,
    },
    /// The connection ends, and why.
    Closing(String),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::LoggedOn => f.write_str("logged on"),
            Note::Reset => f.write_str("both numbers begin at 1"),
            Note::Garbled(what) => write!(f, "garbled: {what}"),
            Note::Missing { from, to } => write!(f, "asked for {from} to {to}"),
            Note::Repeating { from, to } => write!(f, "repeating {from} to {to}"),
            Note::Rejected {
                seq: Some(seq),
                what,
            } => write!(f, "rejected message {seq}: {what}"),
            Note::Rejected { seq: None, what } => write!(f, "rejected a message: {what}"),
            Note::Tolerated { seq, flaw } => write!(f, "tolerated in message {seq}: {flaw}"),
            Note::RejectedByPeer {
                seq: Some(seq),
                text,
            } => write!(f, "message {seq} of ours was rejected: {text}"),
            Note::RejectedByPeer { seq: None, text } => {
                write!(f, "a message of ours was rejected: {text}")
            }
            Note::Closing(why) => write!(f, "closing: {why}"),
        }
    }
}

/// Why a message was not sent.
#[derive(Debug)]
pub enum SendError {
    /// It does not fit the dictionary.
    Flaw(Flaw),
    /// The numbers will begin anew with the next logon, so that it would be lost.
    NotLoggedOn,
    /// It is longer than messages may be.
    TooLong(usize),
    /// Its number, or its framing, is not what the session expects of one that is encoded already.
    NotNext {
        /// The number that is next.
        want: u64,
    },
    /// It could not be stored.
    Store(io::Error),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Flaw(flaw) => write!(f, "not sent: {flaw}"),
            SendError::NotLoggedOn => {
                f.write_str("not sent: not logged on, and the numbers begin anew")
            }
            SendError::TooLong(bytes) => write!(f, "not sent: {bytes} bytes are too many"),
            SendError::NotNext { want } => {
                write!(f, "not sent: want a whole message of number {want}")
            }
            SendError::Store(error) => write!(f, "not sent: {error}"),
        }
    }
}

impl std::error::Error for SendError {}

/// What ends the handling of a message early.
enum Stop {
    /// The message is rejected.
    Flaw(Flaw),
    /// A message of this type is not supported.
    Unsupported,
    /// A field is missing in this case.
    Conditional(i32),
    /// The connection ends.
    Close(String),
    /// The store failed, so nothing more can be promised.
    Store(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Store(error)
    }
}

impl From<Flaw> for Stop {
    fn from(flaw: Flaw) -> Stop {
        Stop::Flaw(flaw)
    }
}

/// What was asked for and has not come.
#[derive(Clone, Copy, Debug)]
struct Gap {
    /// The last number of what this request asked for.
    asked_to: u64,
    /// The last number that is missing.
    to: u64,
}

/// What the other side asked for and has not had yet.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    next: u64,
    to: u64,
}

/// A session: see the module.
#[derive(Debug)]
pub struct Session<S> {
    config: SessionConfig,
    store: S,
    /// What received messages must at least be.
    admin: Validator,
    /// What the dictionaries say, where there are some.
    validator: Option<Validator>,
    data: DataTags,
    framer: Framer,
    fields: Fields,
    writer: Writer,
    scratch: Vec<u8>,
    out: Vec<u8>,
    out_start: usize,
    is_connected: bool,
    is_closing: bool,
    sent_logon: bool,
    received_logon: bool,
    sent_logout: bool,
    sent_reset: bool,
    received_reset: bool,
    heartbeat_s: u32,
    test_requests: u32,
    /// How many questions of [`Session::probe`] were asked, and which was answered last.
    probes: u64,
    probes_answered: u64,
    last_sent: Ts,
    last_received: Ts,
    gap: Option<Gap>,
    repeat: Option<Repeat>,
    early: BTreeMap<u64, Vec<u8>>,
    /// Whether what is said is kept only.
    is_withholding: bool,
}

const SECOND_NS: i64 = 1_000_000_000;
/// What a question of [`Session::probe`] is called, before its number.
const PROBE: &str = "PROBE-";
/// Nobody who is there is silent for longer than a day.
const HEARTBEAT_S_MAX: u32 = 86_400;
/// Numbers beyond this are no numbers of messages.
const SEQ_MAX: u64 = 1 << 62;
/// Repeating pauses while more than this waits to be written.
const REPEAT_PAUSE_BYTES: usize = 1 << 18;

impl<S: Store> Session<S> {
    /// A session that is not connected. `validator` has the dictionaries, where there are some;
    /// `data` their fields of data.
    pub fn new(
        config: SessionConfig,
        store: S,
        validator: Option<Validator>,
        data: DataTags,
    ) -> Session<S> {
        let is_fixt = config.version == Version::Fixt11;
        assert_eq!(is_fixt, config.appl_version.is_some());
        assert!(config.heartbeat_s <= HEARTBEAT_S_MAX);
        Session {
            framer: Framer::new(config.message_bytes_max),
            heartbeat_s: config.heartbeat_s,
            config,
            store,
            admin: Validator::admin(),
            validator,
            data,
            fields: Fields::default(),
            writer: Writer::new(),
            scratch: Vec::new(),
            out: Vec::new(),
            out_start: 0,
            is_connected: false,
            is_closing: false,
            sent_logon: false,
            received_logon: false,
            sent_logout: false,
            sent_reset: false,
            received_reset: false,
            test_requests: 0,
            probes: 0,
            probes_answered: 0,
            last_sent: Ts(0),
            last_received: Ts(0),
            gap: None,
            repeat: None,
            early: BTreeMap::new(),
            is_withholding: false,
        }
    }

    /// What it is.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// What it remembers.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Whether both sides have logged on.
    pub fn is_logged_on(&self) -> bool {
        self.sent_logon && self.received_logon
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether the connection is to be ended, once `output` has been written.
    pub fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Whether it may be open now.
    pub fn is_open(&self, now: Ts) -> bool {
        self.config.schedule.opening(now).is_some()
    }

    /// What waits to be written.
    pub fn output(&self) -> &[u8] {
        &self.out[self.out_start..]
    }

    /// So many bytes of `output` were written.
    pub fn written(&mut self, bytes: usize) {
        self.out_start += bytes;
        assert!(self.out_start <= self.out.len());
        if self.out_start == self.out.len() {
            self.out.clear();
            self.out_start = 0;
        }
    }

    /// A connection was made. An initiator logs on.
    pub fn on_connected<A: Application>(&mut self, now: Ts, app: &mut A) {
        self.framer.clear();
        self.out.clear();
        self.out_start = 0;
        self.is_connected = true;
        self.is_closing = false;
        self.heartbeat_s = self.config.heartbeat_s;
        self.last_received = now;
        self.last_sent = now;
        let done = match self.turn_over(now, app) {
            Ok(true) if self.config.role == Role::Initiator => self.log_on(now, app),
            Ok(_) => Ok(()),
            Err(error) => Err(Stop::Store(error)),
        };
        self.conclude(done, app);
    }

    /// The connection ended, whoever ended it.
    pub fn on_disconnected<A: Application>(&mut self, now: Ts, app: &mut A) {
        self.forget_connection(now, app);
        self.is_connected = false;
        self.is_closing = false;
        self.framer.clear();
        self.out.clear();
        self.out_start = 0;
    }

    /// Bytes were received.
    pub fn on_bytes<A: Application>(&mut self, bytes: &[u8], now: Ts, app: &mut A) {
        let is_in_time = self.check_opening(now);
        self.conclude(is_in_time, app);
        let mut framer = mem::replace(&mut self.framer, Framer::new(Framer::MESSAGE_BYTES_MIN));
        framer.push(bytes);
        while !self.is_closing
            && let Some(framed) = framer.advance()
        {
            match framed {
                Framed::Message(range) => self.take(framer.bytes(range), now, app),
                Framed::Garbled(range, fault) => {
                    app.on_note(&Note::Garbled(fault.to_string()));
                    self.after_garbled(framer.bytes(range), app);
                }
            }
            let drained = self.drain_early(now, app);
            self.conclude(drained, app);
        }
        self.framer = framer;
        self.on_time(now, app);
    }

    /// Time went on. To be called several times a second, and whenever output was written.
    pub fn on_time<A: Application>(&mut self, now: Ts, app: &mut A) {
        if self.is_closing {
            return;
        }
        let done = self.keep_time(now, app);
        self.conclude(done, app);
    }

    /// Sends a message, and says its number. While not logged on it is kept, and sent when the
    /// other side finds it missing.
    pub fn send<A: Application>(
        &mut self,
        draft: &Draft,
        now: Ts,
        app: &mut A,
    ) -> Result<u64, SendError> {
        if !self.is_logged_on() && self.will_reset() {
            return Err(SendError::NotLoggedOn);
        }
        let seq = self.store.next_out();
        let body = draft.writer.body_after_type();
        let message = self.compose(&draft.msg_type, seq, now, &draft.header, None, body);
        if message.len() > self.config.message_bytes_max {
            let bytes = message.len();
            self.scratch = message;
            return Err(SendError::TooLong(bytes));
        }
        let checked = match &mut self.validator {
            Some(validator) => parse(&message, &mut self.fields, &self.data)
                .map_err(|_| Flaw::whole(Reason::IncorrectFormat))
                .and_then(|message| validator.check(&message)),
            None => Ok(()),
        };
        let sent = match checked {
            Ok(()) => self
                .keep_and_put(seq, &message, now)
                .map_err(SendError::Store),
            Err(flaw) => Err(SendError::Flaw(flaw)),
        };
        self.scratch = message;
        if let Err(SendError::Store(error)) = &sent {
            self.close(&error.to_string(), app);
        }
        sent.map(|()| seq)
    }

    /// Sends a message that is whole already: the way of the hot path, whose encoder has written
    /// all of it under the number that [`Store::next_out`] has told.
    pub fn send_encoded<A: Application>(
        &mut self,
        seq: u64,
        message: &[u8],
        now: Ts,
        app: &mut A,
    ) -> Result<(), SendError> {
        if !self.is_logged_on() && self.will_reset() {
            return Err(SendError::NotLoggedOn);
        }
        let want = self.store.next_out();
        let begins = self.config.version.begin_string().as_bytes();
        let is_ours = message.len() > 10 && message[2..].starts_with(begins);
        if seq != want || !is_ours {
            return Err(SendError::NotNext { want });
        }
        if message.len() > self.config.message_bytes_max {
            return Err(SendError::TooLong(message.len()));
        }
        self.keep_and_put(seq, message, now).map_err(|error| {
            self.close(&error.to_string(), app);
            SendError::Store(error)
        })
    }

    /// Asks the other side to end it; the connection ends with its answer, or without one in time.
    pub fn log_out<A: Application>(&mut self, text: &str, now: Ts, app: &mut A) {
        if !self.is_logged_on() {
            return self.close("logging out", app);
        }
        if !self.sent_logout {
            let done = self.say_logout(text, now);
            self.conclude(done.map_err(Stop::Store), app);
        }
    }

    /// Asks the other side to answer, and says the question's number. Once
    /// [`Session::probes_answered`] has come to it, they have had all that was sent before, or have
    /// asked for it again and had it, and we have had all that they said to that.
    pub fn probe<A: Application>(&mut self, now: Ts, app: &mut A) -> u64 {
        self.probes += 1;
        let id = format!("{PROBE}{}", self.probes);
        let done = self.say(b"1", now, |writer| {
            writer.text(tags::TEST_REQ_ID, &id);
        });
        self.conclude(done.map_err(Stop::Store), app);
        self.probes
    }

    /// The number of the last question that was answered; 0 before the first.
    pub fn probes_answered(&self) -> u64 {
        self.probes_answered
    }

    /// Puts a message that was sent behind what `into` has; `false` where there is none.
    pub fn load_sent(&mut self, seq: u64, into: &mut Vec<u8>) -> io::Result<bool> {
        self.store.load(seq, into)
    }

    /// Ends the connection without a word.
    fn close<A: Application>(&mut self, why: &str, app: &mut A) {
        if !self.is_closing {
            self.is_closing = true;
            app.on_note(&Note::Closing(why.to_owned()));
        }
    }

    fn conclude<A: Application>(&mut self, done: Result<(), Stop>, app: &mut A) {
        match done {
            Ok(()) => {}
            Err(Stop::Store(error)) => self.close(&error.to_string(), app),
            Err(Stop::Close(why)) => self.close(&why, app),
            Err(Stop::Flaw(flaw)) => self.close(&flaw.to_string(), app),
            Err(Stop::Unsupported | Stop::Conditional(_)) => {
                unreachable!("verdicts are answered where messages are taken")
            }
        }
    }

    /// The end of a connection, for what is about a connection.
    fn forget_connection<A: Application>(&mut self, now: Ts, app: &mut A) {
        if self.is_connected && (self.received_logon || self.sent_logon) {
            app.on_logout();
        }
        self.sent_logon = false;
        self.received_logon = false;
        self.sent_logout = false;
        self.sent_reset = false;
        self.received_reset = false;
        self.test_requests = 0;
        self.gap = None;
        self.repeat = None;
        self.early.clear();
        if self.is_connected && self.config.reset_on_disconnect {
            let done = self.reset(now, app);
            self.conclude(done.map_err(Stop::Store), app);
        }
    }

    fn reset<A: Application>(&mut self, now: Ts, app: &mut A) -> io::Result<()> {
        self.store.reset(now)?;
        self.gap = None;
        self.repeat = None;
        self.early.clear();
        app.on_note(&Note::Reset);
        Ok(())
    }

    /// Whether the next logon of ours says that the numbers begin anew.
    fn will_reset(&self) -> bool {
        let config = &self.config;
        config.version >= Version::Fix41
            && (config.reset_when_new
                || config.reset_on_logon
                || config.reset_on_logout
                || config.reset_on_disconnect)
            && self.store.next_out() == 1
            && self.store.next_in() == 1
    }

    /// Begins anew when an opening has begun since the numbers did.
    fn turn_over<A: Application>(&mut self, now: Ts, app: &mut A) -> io::Result<bool> {
        let Some(opening) = self.config.schedule.opening(now) else {
            return Ok(false);
        };
        if self.store.created() < opening.start {
            self.reset(now, app)?;
        }
        Ok(true)
    }
}

/// What time alone brings.
impl<S: Store> Session<S> {
    /// Ends a connection with the opening that it was made in: the numbers of the next are others.
    fn check_opening(&mut self, now: Ts) -> Result<(), Stop> {
        let opening = self.config.schedule.opening(now);
        if opening.is_some_and(|opening| self.store.created() >= opening.start) {
            return Ok(());
        }
        if self.is_logged_on() && !self.is_closing {
            self.say_logout("The session's time is over", now)?;
        }
        Err(Stop::Close("the session's time is over".into()))
    }

    fn keep_time<A: Application>(&mut self, now: Ts, app: &mut A) -> Result<(), Stop> {
        if !self.is_connected {
            self.turn_over(now, app)?;
            return Ok(());
        }
        self.check_opening(now)?;
        if self.output().len() > self.config.output_bytes_max {
            return Err(Stop::Close("the other side does not read".into()));
        }
        let since = |then: Ts| now.0.saturating_sub(then.0);
        if !self.received_logon {
            let timeout = i64::from(self.config.logon_timeout_s) * SECOND_NS;
            return if since(self.last_received) >= timeout {
                Err(Stop::Close("no logon in time".into()))
            } else {
                Ok(())
            };
        }
        self.go_on_repeating(now, app)?;
        let timeout = i64::from(self.config.logout_timeout_s) * SECOND_NS;
        if self.sent_logout && since(self.last_sent) >= timeout {
            return Err(Stop::Close("no answer to the logout in time".into()));
        }
        let interval = i64::from(self.heartbeat_s) * SECOND_NS;
        if interval == 0
            || (since(self.last_sent) < interval && since(self.last_received) < interval)
        {
            return Ok(());
        }
        // A fifth of an interval is what a heartbeat may take on its way.
        if since(self.last_received) >= interval * 12 / 5 {
            return Err(Stop::Close("nothing was heard for two heartbeats".into()));
        }
        if since(self.last_received) >= interval * 6 / 5 * (i64::from(self.test_requests) + 1) {
            self.say(b"1", now, |writer| {
                writer.text(tags::TEST_REQ_ID, "TEST");
            })?;
            self.test_requests += 1;
        } else if since(self.last_sent) >= interval && self.test_requests == 0 {
            self.say(b"0", now, |_| {})?;
        }
        Ok(())
    }
}

/// What is received.
impl<S: Store> Session<S> {
    /// A message that is not one. Where it was to be a Logon, there is nobody to talk to.
    fn after_garbled<A: Application>(&mut self, bytes: &[u8], app: &mut A) {
        let is_logon = bytes.windows(6).any(|window| window == b"\x0135=A\x01");
        if is_logon && !self.received_logon {
            self.close("a garbled logon", app);
        }
    }

    fn take<A: Application>(&mut self, bytes: &[u8], now: Ts, app: &mut A) {
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
    fn drain_early<A: Application>(&mut self, now: Ts, app: &mut A) -> Result<(), Stop> {
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

/// What is said.
impl<S: Store> Session<S> {
    fn log_on<A: Application>(&mut self, now: Ts, app: &mut A) -> Result<(), Stop> {
        if self.config.reset_on_logon {
            self.reset(now, app)?;
        }
        let is_reset = self.will_reset();
        self.sent_reset = is_reset;
        self.say_logon(is_reset, self.store.next_in(), now)?;
        Ok(())
    }

    fn say_logon(&mut self, is_reset: bool, next_expected: u64, now: Ts) -> io::Result<()> {
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

    fn say_logout(&mut self, text: &str, now: Ts) -> io::Result<()> {
        self.sent_logout = true;
        self.say(b"5", now, |writer| {
            if !text.is_empty() {
                writer.text(tags::TEXT, text);
            }
        })
    }

    fn reject<A: Application>(
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

    fn reject_as<A: Application>(
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

    fn reject_business<A: Application>(
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

    fn say(&mut self, msg_type: &[u8], now: Ts, body: impl FnOnce(&mut Writer)) -> io::Result<()> {
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
    fn compose(
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
    fn keep_and_put(&mut self, seq: u64, message: &[u8], now: Ts) -> io::Result<()> {
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

    fn put(&mut self, message: &[u8], now: Ts) {
        self.last_sent = now;
        if self.out_start > self.out.len() / 2 {
            self.out.drain(..self.out_start);
            self.out_start = 0;
        }
        self.out.extend_from_slice(message);
    }
}

/// What is repeated.
impl<S: Store> Session<S> {
    fn repeat<A: Application>(
        &mut self,
        from: u64,
        to: u64,
        now: Ts,
        app: &mut A,
    ) -> Result<(), Stop> {
        if from > to {
            return Ok(());
        }
        app.on_note(&Note::Repeating { from, to });
        // Whoever asks again while it goes on has it from where the earlier one is.
        let (next, to) = match self.repeat {
            Some(repeat) => (repeat.next.min(from), repeat.to.max(to)),
            None => (from, to),
        };
        self.repeat = Some(Repeat { next, to });
        self.go_on_repeating(now, app)
    }

    /// Repeats as much as the other side reads. Messages of the session are passed over, and what
    /// is passed over is told by the number behind it.
    fn go_on_repeating<A: Application>(&mut self, now: Ts, app: &mut A) -> Result<(), Stop> {
        let Some(Repeat { mut next, to }) = self.repeat.take() else {
            return Ok(());
        };
        let mut fields = Fields::default();
        let mut bytes = Vec::new();
        let mut gap = None;
        while next <= to {
            if self.output().len() > REPEAT_PAUSE_BYTES {
                break;
            }
            bytes.clear();
            let is_kept = self.store.load(next, &mut bytes)?;
            let message = is_kept
                .then(|| parse(&bytes, &mut fields, &self.data).ok())
                .flatten()
                .filter(|message| !message.is_admin() && app.may_repeat(message));
            match message {
                Some(message) => {
                    if let Some(gap) = gap.take() {
                        self.fill_gap(gap, next, now);
                    }
                    let repeated = self.again(&message, now);
                    self.put(&repeated, now);
                }
                None => {
                    gap.get_or_insert(next);
                }
            }
            next += 1;
        }
        if let Some(gap) = gap {
            self.fill_gap(gap, next, now);
        }
        if next <= to {
            self.repeat = Some(Repeat { next, to });
        }
        Ok(())
    }

    fn fill_gap(&mut self, from: u64, next: u64, now: Ts) {
        let mut fields = Writer::new();
        fields
            .begin(b"")
            .number(tags::NEW_SEQ_NO, next)
            .flag(tags::GAP_FILL_FLAG, true);
        let body = fields.body_after_type();
        let message = self.compose(b"4", from, now, &[], Some(now), body);
        self.put(&message, now);
        self.scratch = message;
    }

    /// A message as it was, with the time of now and that of then.
    fn again(&mut self, message: &Message<'_>, now: Ts) -> Vec<u8> {
        let with_ms = self.config.version.has_milliseconds();
        let (time, time_len) = value::time_text(now, with_ms);
        let first = message.get(tags::SENDING_TIME).unwrap_or(&time[..time_len]);
        let mut dup = Some((tags::POSS_DUP_FLAG, &b"Y"[..]));
        let mut orig = Some((tags::ORIG_SENDING_TIME, first));
        self.writer.begin(message.msg_type());
        let mut is_data = false;
        for (tag, text) in message.fields().skip(3) {
            for added in [&mut dup, &mut orig] {
                if let Some((own, value)) = *added
                    && !is_data
                    && (tag > own || !tags::is_header(tag))
                {
                    self.writer.bytes(own, value);
                    *added = None;
                }
            }
            // Fields of data may hold any byte, and are copied as they are.
            is_data = false;
            match tag {
                tags::POSS_DUP_FLAG | tags::ORIG_SENDING_TIME | tags::CHECK_SUM => {}
                tags::SENDING_TIME => {
                    self.writer.bytes(tag, &time[..time_len]);
                }
                _ => {
                    self.writer.copied(tag, text);
                }
            }
        }
        let mut repeated = mem::take(&mut self.scratch);
        repeated.clear();
        repeated.extend_from_slice(self.writer.finish(self.config.version));
        repeated
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

/// The type of a whole message.
fn type_of(message: &[u8]) -> &[u8] {
    let mut fields = message.split(|&byte| byte == crate::frame::SOH);
    fields
        .nth(2)
        .and_then(|field| field.strip_prefix(b"35="))
        .unwrap_or_default()
}

/// The number of the question that a Heartbeat answers.
fn probe_of(id: &[u8]) -> Option<u64> {
    id.strip_prefix(PROBE.as_bytes()).and_then(value::unsigned)
}

fn text_of(text: Option<&[u8]>) -> String {
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}
