//! Asking for snapshots, away from the reader: it says from which message on it wants one, and takes
//! what came of it when it looks.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use bus::clock::{Clock, MachineClock};
use bus::soupbintcp::{Client, Login, Said};
use bus::{Event, Kind, Ts};

use super::{END_TYPE, Table, TooMany, end_sequence};
use crate::protocol::{Fault, Itch, Protocol};

/// A connection that is not there by then is tried again.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a read waits before it is looked whether a snapshot is wanted still.
const LOOK: Duration = Duration::from_millis(50);

/// Whom to ask, and how.
#[derive(Clone, Debug)]
pub struct AskSnapshots {
    /// The server.
    pub server: SocketAddr,
    /// Who logs in.
    pub login: Login,
    /// Midnight of the trading day, from which the messages' times count.
    pub midnight: Ts,
    /// More live orders are refused.
    pub orders_max: usize,
    /// A server that says nothing for so long is lost.
    pub silence_ns: u64,
    /// A snapshot that has not ended by then never does.
    pub timeout_ns: u64,
    /// How often a snapshot is asked for in a row.
    pub tries_max: u32,
    /// How long to wait before it is asked for again; twice as long each further time ...
    pub retry_ns: u64,
    /// ... up to this.
    pub retry_max_ns: u64,
}

/// From which message on a snapshot is wanted: it must know of all before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The number of that message.
    pub from: u64,
}

/// A snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// The first message of the feed that it does not know of.
    pub sequence: u64,
    /// The orders.
    pub table: Table,
}

/// What came of asking.
#[derive(Debug)]
pub enum Answer {
    /// This.
    Snapshot(Box<Snapshot>),
    /// Nothing, for this reason; it is asked for again unless this was the last try.
    #[allow(missing_docs)]
    Failed {
        why: String,
        wanted: Wanted,
        is_last: bool,
    },
}

/// The reader's end. When it is dropped, nobody asks any more.
#[derive(Debug)]
pub struct Link {
    asks: Sender<Wanted>,
    answers: Receiver<Answer>,
    is_over: Arc<AtomicBool>,
}

impl Link {
    /// Wants a snapshot; what was wanted before no longer matters.
    pub fn want(&self, wanted: Wanted) {
        // Whoever is gone never answers, which is as good as a failure told before.
        let _ = self.asks.send(wanted);
    }

    /// What came, if anything.
    pub fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// The other end.
#[derive(Debug)]
pub struct Fetch {
    asks: Receiver<Wanted>,
    answers: Sender<Answer>,
    is_over: Arc<AtomicBool>,
}

/// Both ends.
pub fn link() -> (Link, Fetch) {
    let (asks, wanted) = channel();
    let (answers, found) = channel();
    let is_over = Arc::new(AtomicBool::new(false));
    let link = Link {
        asks,
        answers: found,
        is_over: is_over.clone(),
    };
    let fetch = Fetch {
        asks: wanted,
        answers,
        is_over,
    };
    (link, fetch)
}

/// Asks for what the reader wants, until the reader is gone. For a thread of its own.
pub fn ask(fetch: Fetch, rule: &AskSnapshots) {
    let clock = MachineClock::new();
    fetch.serve(rule, |is_over| snapshot(rule, &clock, is_over));
}

impl Fetch {
    /// The same with any way to get a snapshot.
    pub fn serve(
        &self,
        rule: &AskSnapshots,
        mut get: impl FnMut(&AtomicBool) -> Result<Snapshot, String>,
    ) {
        while let Ok(mut wanted) = self.asks.recv() {
            let mut tries = 0;
            loop {
                if let Some(newer) = self.asks.try_iter().last() {
                    (wanted, tries) = (newer, 0);
                }
                let found = get(&self.is_over).and_then(|snapshot| match snapshot.sequence {
                    sequence if sequence >= wanted.from => Ok(snapshot),
                    sequence => Err(format!(
                        "the snapshot goes up to message {sequence}, want {} or later",
                        wanted.from
                    )),
                });
                tries += 1;
                let is_last = tries >= rule.tries_max;
                let is_found = found.is_ok();
                let answer = match found {
                    Ok(snapshot) => Answer::Snapshot(Box::new(snapshot)),
                    Err(why) => Answer::Failed {
                        why,
                        wanted,
                        is_last,
                    },
                };
                if self.answers.send(answer).is_err() {
                    return;
                }
                if is_found || is_last {
                    break;
                }
                let wait_ns = rule.retry_ns.saturating_mul(1 << (tries - 1).min(20));
                let wait = Duration::from_nanos(wait_ns.min(rule.retry_max_ns));
                match self.asks.recv_timeout(wait) {
                    Ok(newer) => (wanted, tries) = (newer, 0),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }
}

/// Logs in and takes a whole snapshot. An error says whose, and why there is none.
fn snapshot(
    rule: &AskSnapshots,
    clock: &MachineClock,
    is_over: &AtomicBool,
) -> Result<Snapshot, String> {
    let server = rule.server;
    let taken = Taking::new(rule, clock).and_then(|mut taking| taking.all(is_over));
    taken.map_err(|why| format!("snapshot of {server}: {why}"))
}

/// A snapshot that is being taken.
struct Taking<'a> {
    rule: &'a AskSnapshots,
    clock: &'a MachineClock,
    stream: TcpStream,
    client: Client,
    protocol: Itch,
    table: Table,
    messages: u64,
    until_ns: u64,
}

impl<'a> Taking<'a> {
    fn new(rule: &'a AskSnapshots, clock: &'a MachineClock) -> Result<Taking<'a>, String> {
        let refused = |error| format!("cannot connect: {error}");
        let stream = TcpStream::connect_timeout(&rule.server, CONNECT).map_err(refused)?;
        stream.set_read_timeout(Some(LOOK)).map_err(refused)?;
        stream.set_write_timeout(Some(CONNECT)).map_err(refused)?;
        let now_ns = clock.now_ns();
        let mut client = Client::new(rule.login, rule.silence_ns);
        client.connected(now_ns);
        Ok(Taking {
            rule,
            clock,
            stream,
            client,
            protocol: Itch::new(rule.midnight),
            table: Table::new(rule.orders_max),
            messages: 0,
            until_ns: now_ns.saturating_add(rule.timeout_ns),
        })
    }

    fn all(&mut self, is_over: &AtomicBool) -> Result<Snapshot, String> {
        let lost = |error: &dyn fmt::Display| format!("the connection is lost: {error}");
        loop {
            if let Some(sequence) = self.hear()? {
                let table = std::mem::replace(&mut self.table, Table::new(0));
                self.client.log_out();
                // Whoever does not read it learns it from the connection's end.
                let _ = self.stream.write(self.client.to_send());
                return Ok(Snapshot { sequence, table });
            }
            let now_ns = self.clock.now_ns();
            if is_over.load(Ordering::Relaxed) {
                return Err("not wanted any more".into());
            }
            if now_ns >= self.until_ns {
                let (seconds, count) = (self.rule.timeout_ns as f64 / 1e9, self.messages);
                return Err(format!(
                    "it did not end within {seconds} s, after {count} messages"
                ));
            }
            self.client
                .tick(now_ns)
                .map_err(|fault| fault.to_string())?;
            while !self.client.to_send().is_empty() {
                let sent = self.stream.write(self.client.to_send());
                let count = sent.map_err(|error| lost(&error))?;
                self.client.sent(count, now_ns);
            }
            match self.stream.read(self.client.room()) {
                Ok(0) => {
                    let count = self.messages;
                    return Err(format!(
                        "the server closed the connection after {count} messages, before the end"
                    ));
                }
                Ok(count) => self.client.received(count, self.clock.now_ns()),
                Err(error) if is_later(error.kind()) => {}
                Err(error) => return Err(lost(&error)),
            }
        }
    }

    /// Takes in what came; says the number of the first message behind the snapshot, once it is whole.
    fn hear(&mut self) -> Result<Option<u64>, String> {
        loop {
            let said = self.client.hear().map_err(|fault| fault.to_string())?;
            let message = match said {
                Some(Said::Message { bytes, .. }) => bytes,
                Some(Said::Accepted { sequence, .. }) if sequence != 1 => {
                    return Err(format!("it begins with message {sequence}, want 1"));
                }
                Some(
                    Said::Accepted { .. } | Said::Unnumbered(_) | Said::Debug(_) | Said::Heartbeat,
                ) => continue,
                Some(Said::Ended) => return Err("the session ended before the snapshot".into()),
                None => return Ok(None),
            };
            self.messages += 1;
            if message.first() == Some(&END_TYPE) {
                let end = end_sequence(message);
                let wrong = || format!("message {}: an end without a number", self.messages);
                return end.map(Some).ok_or_else(wrong);
            }
            let count = self.messages;
            match take(&self.protocol, &mut self.table, message) {
                // A type that came later says nothing of orders that would not be said otherwise.
                Ok(None | Some(Fault::UnknownType { .. })) => {}
                Ok(Some(fault)) => return Err(format!("message {count}: {fault}")),
                Err(TooMany) => {
                    let max = self.rule.orders_max;
                    return Err(format!("message {count}: more live orders than {max}"));
                }
            }
        }
    }
}

/// Takes a message of a feed into a table; says why it is refused, if it is.
pub(crate) fn take<P: Protocol>(
    protocol: &P,
    table: &mut Table,
    message: &[u8],
) -> Result<Option<Fault>, TooMany> {
    let mut event = Event::new(Kind::Nothing);
    if let Err(fault) = protocol.decode(message, &mut event) {
        return Ok(Some(fault));
    }
    if let Some(name) = protocol.name(message) {
        table.name(event.symbol, name);
    }
    table.apply(&event).map(|()| None)
}

/// Whether it is only to be tried again.
fn is_later(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
