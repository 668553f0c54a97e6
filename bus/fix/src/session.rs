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
//!
//! Here is the state, and what it is driven by; `config` has what a session is, `app` whom its messages
//! are for, `receive` what comes, `say` what goes, `repeat` what goes again, and `time` the rest.

mod app;
mod config;
mod receive;
mod repeat;
mod say;
mod time;

use std::collections::BTreeMap;
use std::io;
use std::mem;

use bus::Ts;

use crate::message::{DataTags, Fields, parse};
use crate::store::Store;
use crate::validate::{Flaw, Reason, Validator};
use crate::version::Version;
use crate::writer::Writer;
use crate::{Framed, Framer, tags};

pub use app::{Application, Draft, Note, Outbox, Received, SendError, Verdict};
pub use config::{Inbound, Role, SessionConfig};

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

/// The type of a whole message.
fn type_of(message: &[u8]) -> &[u8] {
    let mut fields = message.split(|&byte| byte == crate::frame::SOH);
    fields
        .nth(2)
        .and_then(|field| field.strip_prefix(b"35="))
        .unwrap_or_default()
}
