//! Who a session's messages are for: what it is called with, and what it may say back.

use std::fmt;
use std::io;

use bus::Ts;

use crate::Writer;
use crate::message::Message;
use crate::validate::Flaw;

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
    pub(super) items: Vec<Item>,
}

#[derive(Debug)]
pub(super) enum Item {
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

    /// The messages that are to be sent, for a session that is not of FIX.
    pub(crate) fn drafts(&mut self) -> impl Iterator<Item = Draft> {
        self.items.drain(..).filter_map(|item| match item {
            Item::Send(draft) => Some(draft),
            Item::Withhold(_) | Item::AskAgain | Item::Close(_) => None,
        })
    }
}

/// A message without what the session knows: versions, names, numbers, times and sums.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(super) msg_type: Vec<u8>,
    pub(super) header: Vec<(i32, Vec<u8>)>,
    pub(super) writer: Writer,
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

    /// Its type.
    pub(crate) fn msg_type(&self) -> &[u8] {
        &self.msg_type
    }

    /// The value of a field of its body.
    pub(crate) fn get(&self, tag: i32) -> Option<Vec<u8>> {
        let begin = format!("{tag}=");
        let fields = self.writer.body_after_type();
        let mut fields = fields.split(|byte| *byte == crate::frame::SOH);
        let value = fields.find_map(|field| field.strip_prefix(begin.as_bytes()));
        value.map(<[u8]>::to_vec)
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
