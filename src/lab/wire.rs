//! Wire to wire: datagrams go to the product, orders come back, and both are stamped by another
//! process, which knows nothing of what happens between.
//!
//! ```text
//!        peer (a process of its own, its own core)         this process
//!   due ─► stamp ─► send a datagram  ─────── UDP ──────►  the product, or a bare echo
//!          stamp ◄─ read the order   ◄────── TCP ───────
//! ```
//!
//! Which datagram an order answers is known from a run before, on the same input: an order's
//! ClOrdID is the same in every run. The bare echo answers the same datagrams with as many bytes,
//! from one thread that does nothing else, so that the difference is the product's.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bus::clock::{Clock, MachineClock};
use bus::log::{LogReader, Record};
use bus::{SignalKind, Ts};
use feed::moldudp64::{END_OF_SESSION, HEADER_BYTES, Header, SessionId};
use feed::source::Framing;
use feed::transmit::Transmitter;
use serde::{Deserialize, Serialize};

use super::source::LATE_NS;
use super::tape::Tape;

/// Where everything goes: this machine.
pub const INTERFACE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The group that datagrams are sent to.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 77, 1);

/// How often the peer asks whether anybody else wants its core, where no datagram is due within the
/// time that asking takes. The kernel may put what makes the product's log durable there, and takes
/// the core for milliseconds from a thread that never asks, be it the product's orders that are
/// waited for or the bare echo's.
const YIELD_EVERY_NS: u64 = 20_000;
const YIELD_NS: u64 = 2_000;
/// How long after the last datagram orders are waited for.
const LAST_ORDER: Duration = Duration::from_millis(500);
/// How long the peer waits for the product to connect, and to be ready.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long the peer waits for the product to close its connections.
const CLOSED_MAX: Duration = Duration::from_secs(20);
/// The bytes of an echo: those of an order.
const ECHO_BYTES: usize = 200;
/// Where in an echo the digits of its id begin.
const ECHO_ID_AT: usize = 20;

/// What the peer is told, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The datagrams: length in four bytes, payload, and so on.
    pub datagrams: PathBuf,
    /// Where to.
    pub group: SocketAddrV4,
    /// When each is due, in nanoseconds: this often times its place.
    pub each_ns: f64,
    /// How many TCP connections come: one for each shard.
    pub connections: usize,
    /// The core to spin on.
    pub cpu: Option<usize>,
    /// Where the answers go: five words of eight bytes each.
    pub answers: PathBuf,
}

/// What the peer saw, as JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Datagrams sent.
    pub datagrams: u64,
    /// Those that the kernel refused.
    pub refused: u64,
    /// Those that were sent late.
    pub late: u64,
    /// By how much the latest was.
    pub late_ns_max: u64,
    /// Answers read.
    pub answers: u64,
}

/// An order that came, and the datagram before it that was sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The number in its ClOrdID: which event caused it.
    pub seq: u64,
    /// When it was read.
    pub read_ns: u64,
}

/// When a datagram was due, given to the kernel, and taken by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// By the schedule.
    pub due_ns: u64,
    /// Before the call.
    pub before_ns: u64,
    /// After it.
    pub after_ns: u64,
}

/// All that the peer wrote down.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// By datagram.
    pub departures: Vec<Departure>,
    /// In the order in which they came.
    pub answers: Vec<Answer>,
}

/// The tape's first line as datagrams.
pub fn datagrams(tape: &Tape) -> Vec<Vec<u8>> {
    let session = SessionId(*b"TAPELINE  ");
    let mut sequence = 1;
    let mut datagrams = Vec::with_capacity(tape.packets());
    for entry in tape.entries.iter().filter(|entry| entry.line == 0) {
        let payload = &tape.bytes[entry.at..entry.at + entry.bytes as usize];
        match entry.framing {
            Framing::MoldUdp64 | Framing::IexTp | Framing::Mdp3(_) | Framing::Pitch(_) => {
                datagrams.push(payload.to_vec());
            }
            Framing::LengthPrefixed | Framing::Records(_) => {
                let header = Header {
                    session,
                    sequence,
                    count: 1,
                };
                sequence += 1;
                datagrams.push([&header.to_bytes(), payload].concat());
            }
        }
    }
    datagrams
}

/// The datagram that ends a session after these.
fn last_word(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let header = datagrams
        .iter()
        .rev()
        .find_map(|d| Some(Header::split(d)?.0));
    let Some(last) = header else {
        return Vec::new();
    };
    Header {
        sequence: last.sequence + u64::from(last.message_count()),
        count: END_OF_SESSION,
        ..last
    }
    .to_bytes()
    .to_vec()
}

/// Writes the datagrams for the peer.
pub fn write_datagrams(path: &Path, datagrams: &[Vec<u8>]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for datagram in datagrams {
        bytes.extend_from_slice(&(datagram.len() as u32).to_le_bytes());
        bytes.extend_from_slice(datagram);
    }
    fs::write(path, bytes)
}

fn read_datagrams(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let bytes = fs::read(path)?;
    let mut rest = &bytes[..];
    let mut datagrams = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((datagram, after)) = after.split_at_checked(length) else {
            return Err(io::Error::other("a datagram is cut"));
        };
        datagrams.push(datagram.to_vec());
        rest = after;
    }
    Ok(datagrams)
}

/// Which datagram caused each order, by the order's number, from the log of a run on the same
/// tape: each event's arrival there is when its packet was due.
pub fn causes(log: &Path, tape: &Tape) -> Result<BTreeMap<u64, usize>, String> {
    let mut arrived: Option<(u64, Ts)> = None;
    let mut causes = BTreeMap::new();
    let first = tape.entries.iter().filter(|entry| entry.line == 0);
    let due: Vec<u64> = first.map(|entry| entry.due_ns).collect();
    for item in LogReader::open(log).map_err(|e| e.to_string())? {
        match item.map_err(|e| e.to_string())?.1 {
            Record::Event(event) => arrived = Some((event.seq, event.ts_recv)),
            Record::Signal(signal) if signal.kind == SignalKind::Order => {
                let Some((_, ts)) = arrived.filter(|(seq, _)| *seq == signal.seq) else {
                    continue;
                };
                let at_ns = ts.since(tape.first_ts).max(0) as u64;
                if let Ok(index) = due.binary_search(&at_ns) {
                    causes.insert(signal.seq, index);
                }
            }
            Record::Signal(_) => {}
        }
    }
    Ok(causes)
}

/// The peer's whole life. Says its port on the first line of `out`, waits for connections and for
/// a word on `word`, plays, and says what it saw on the second line.
pub fn peer(plan: &Plan, mut word: impl Read, mut out: impl Write) -> Result<(), String> {
    let fail = |what: &str| {
        let what = what.to_string();
        move |e: io::Error| format!("{what}: {e}")
    };
    let datagrams = read_datagrams(&plan.datagrams).map_err(fail("datagrams"))?;
    let listener = TcpListener::bind((INTERFACE, 0)).map_err(fail("listen"))?;
    let port = listener.local_addr().map_err(fail("listen"))?.port();
    writeln!(out, "{port}")
        .and_then(|()| out.flush())
        .map_err(fail("say the port"))?;
    let mut connections = accept(&listener, plan.connections)?;
    word.read_exact(&mut [0])
        .map_err(fail("wait for the word to begin"))?;
    if let Some(cpu) = plan.cpu {
        tuning::pin::pin_to(cpu).map_err(|e| e.to_string())?;
    }
    let mut transmitter = Transmitter::open(INTERFACE).map_err(fail("multicast"))?;
    let clock = MachineClock::new();
    let mut notes = Notes {
        departures: Vec::with_capacity(datagrams.len()),
        answers: Vec::with_capacity(datagrams.len()),
    };
    let mut seen = Seen::default();
    let start_ns = clock.now_ns() + 1_000_000;
    let mut yielded_ns = start_ns;
    while notes.departures.len() < datagrams.len() {
        let index = notes.departures.len();
        let due_ns = start_ns + (index as f64 * plan.each_ns) as u64;
        let before_ns = clock.now_ns();
        if before_ns < due_ns {
            read_all(&mut connections, &clock, &mut notes.answers)?;
            let now_ns = clock.now_ns();
            if now_ns >= yielded_ns + YIELD_EVERY_NS && now_ns + YIELD_NS < due_ns {
                yielded_ns = now_ns;
                std::thread::yield_now();
            }
            continue;
        }
        let is_sent = transmitter
            .send(&datagrams[index], plan.group)
            .map_err(fail("send"))?;
        let after_ns = clock.now_ns();
        seen.refused += u64::from(!is_sent);
        let late_ns = before_ns - due_ns;
        seen.late += u64::from(late_ns > LATE_NS);
        seen.late_ns_max = seen.late_ns_max.max(late_ns);
        notes.departures.push(Departure {
            due_ns,
            before_ns,
            after_ns,
        });
    }
    let since = Instant::now();
    while since.elapsed() < LAST_ORDER {
        read_all(&mut connections, &clock, &mut notes.answers)?;
    }
    // The session's end comes three times, as from exchanges: one may be lost.
    let last = last_word(&datagrams);
    for _ in 0..3 {
        transmitter.send(&last, plan.group).map_err(fail("send"))?;
    }
    seen.datagrams = notes.departures.len() as u64;
    seen.answers = notes.answers.len() as u64;
    notes.write(&plan.answers).map_err(fail("answers"))?;
    let said = serde_json::to_string(&seen).expect("always JSON");
    writeln!(out, "{said}")
        .and_then(|()| out.flush())
        .map_err(fail("say what was seen"))?;
    // The product closes first: it takes it ill when its peer goes away.
    let since = Instant::now();
    while !connections.is_empty() && since.elapsed() < CLOSED_MAX {
        let mut bytes = [0; 1 << 10];
        connections.retain_mut(|connection| match connection.stream.read(&mut bytes) {
            Ok(count) => count > 0,
            Err(e) => e.kind() == ErrorKind::WouldBlock,
        });
        std::thread::yield_now();
    }
    Ok(())
}

/// A connection, and what came on it since the last whole order.
struct Connection {
    stream: TcpStream,
    waiting: Vec<u8>,
}

fn accept(listener: &TcpListener, count: usize) -> Result<Vec<Connection>, String> {
    listener.set_nonblocking(true).map_err(|e| e.to_string())?;
    let deadline = Instant::now() + READY_MAX;
    let mut connections = Vec::new();
    while connections.len() < count {
        match listener.accept() {
            Ok((stream, _)) => {
                let ready = stream
                    .set_nonblocking(true)
                    .and_then(|()| stream.set_nodelay(true));
                ready.map_err(|e| format!("a connection: {e}"))?;
                connections.push(Connection {
                    stream,
                    waiting: Vec::with_capacity(1 << 16),
                });
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            Err(e) => return Err(format!("wait for {count} connections: {e}")),
        }
    }
    Ok(connections)
}

fn read_all(
    connections: &mut [Connection],
    clock: &impl Clock,
    answers: &mut Vec<Answer>,
) -> Result<(), String> {
    let mut bytes = [0; 1 << 14];
    for connection in connections {
        match connection.stream.read(&mut bytes) {
            // Its shard is done.
            Ok(0) => {}
            Ok(count) => {
                let read_ns = clock.now_ns();
                connection.waiting.extend_from_slice(&bytes[..count]);
                let used = orders(&connection.waiting, |seq| {
                    answers.push(Answer { seq, read_ns })
                });
                connection.waiting.drain(..used);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock || e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(format!("read an order: {e}")),
        }
    }
    Ok(())
}

/// Tells the number in the ClOrdID of each whole FIX message; how many bytes they were.
fn orders(bytes: &[u8], mut tell: impl FnMut(u64)) -> usize {
    const END: &[u8] = b"\x0110=";
    let mut used = 0;
    while let Some(at) = find(&bytes[used..], END) {
        // Three digits and the last separator.
        let end = used + at + END.len() + 4;
        if end > bytes.len() {
            break;
        }
        if let Some(seq) = number(&bytes[used..end]) {
            tell(seq);
        }
        used = end;
    }
    used
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The event's number in `11=YYMMDD-qqqqqqqqqqqq-...`.
fn number(message: &[u8]) -> Option<u64> {
    let at = find(message, b"\x0111=")? + 4;
    let digits = message.get(at + 7..at + 19)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Notes {
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(self.departures.len() as u64).to_le_bytes());
        for d in &self.departures {
            for word in [d.due_ns, d.before_ns, d.after_ns] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
        }
        for a in &self.answers {
            bytes.extend_from_slice(&a.seq.to_le_bytes());
            bytes.extend_from_slice(&a.read_ns.to_le_bytes());
        }
        fs::write(path, bytes)
    }

    /// What a peer wrote.
    pub fn read(path: &Path) -> Result<Notes, String> {
        let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut words = bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
        let count = words.next().unwrap_or(0) as usize;
        let mut notes = Notes::default();
        let rest = words.by_ref();
        for _ in 0..count {
            let (Some(due_ns), Some(before_ns), Some(after_ns)) =
                (rest.next(), rest.next(), rest.next())
            else {
                return Err(format!("{}: cut", path.display()));
            };
            notes.departures.push(Departure {
                due_ns,
                before_ns,
                after_ns,
            });
        }
        while let (Some(seq), Some(read_ns)) = (rest.next(), rest.next()) {
            notes.answers.push(Answer { seq, read_ns });
        }
        Ok(notes)
    }
}

/// The floor under any product: receives, and answers some datagrams with the same bytes each
/// time. Ends with the session.
pub struct Echo {
    socket: UdpSocket,
    /// By datagram, the number to answer with; 0 for none.
    answers: Vec<u64>,
    first: u64,
}

impl Echo {
    /// Joins the group.
    pub fn open(
        group: SocketAddrV4,
        datagrams: &[Vec<u8>],
        causes: &BTreeMap<u64, usize>,
    ) -> Result<Echo, String> {
        let fail = |e: io::Error| format!("{group}: {e}");
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, group.port())).map_err(fail)?;
        socket
            .join_multicast_v4(group.ip(), &INTERFACE)
            .map_err(fail)?;
        socket.set_nonblocking(true).map_err(fail)?;
        let mut answers = vec![0; datagrams.len()];
        for (seq, index) in causes {
            answers[*index] = *seq;
        }
        Ok(Echo {
            socket,
            answers,
            first: 0,
        })
    }

    /// Spins until the session ends or `is_over`. How many datagrams came.
    pub fn run(mut self, port: u16, is_over: impl Fn() -> bool) -> Result<u64, String> {
        let fail = |e: io::Error| format!("echo: {e}");
        let mut stream = TcpStream::connect((INTERFACE, port)).map_err(fail)?;
        stream.set_nodelay(true).map_err(fail)?;
        let mut answer = echo_message();
        let mut bytes = [0; 1 << 14];
        let (mut count, mut looks) = (0u64, 0u64);
        loop {
            let length = match self.socket.recv(&mut bytes) {
                Ok(length) => length,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    looks += 1;
                    if looks.is_multiple_of(1 << 16) && is_over() {
                        return Ok(count);
                    }
                    continue;
                }
                Err(e) => return Err(fail(e)),
            };
            if length < HEADER_BYTES {
                continue;
            }
            let Some((header, _)) = Header::split(&bytes[..length]) else {
                continue;
            };
            if header.count == END_OF_SESSION {
                return Ok(count);
            }
            if count == 0 {
                self.first = header.sequence;
            }
            // Datagrams of one message each, in order: the place follows from the number. With
            // several in each, it is the count.
            let place = match header.count {
                1 => header.sequence - self.first,
                _ => count,
            };
            count += 1;
            let seq = self.answers.get(place as usize).copied().unwrap_or(0);
            if seq > 0 {
                write_digits(&mut answer[ECHO_ID_AT..ECHO_ID_AT + 12], seq);
                stream.write_all(&answer).map_err(fail)?;
            }
        }
    }
}

/// As long as an order, with its id in its place.
fn echo_message() -> Vec<u8> {
    let mut message = b"8=FIX.4.4\x0111=000000-000000000000-0000-00-0000\x0158=".to_vec();
    let end = b"\x0110=000\x01";
    message.resize(ECHO_BYTES - end.len(), b'.');
    message.extend_from_slice(end);
    message
}

fn write_digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_reads_like_an_order() {
        let mut message = echo_message();
        assert_eq!(message.len(), ECHO_BYTES);
        write_digits(&mut message[ECHO_ID_AT..ECHO_ID_AT + 12], 987_654);
        let mut found = Vec::new();
        let twice = [&message[..], &message[..150]].concat();
        assert_eq!(orders(&twice, |seq| found.push(seq)), ECHO_BYTES);
        assert_eq!(found, [987_654]);
    }

    #[test]
    fn notes_survive_their_file() {
        let path = std::env::temp_dir().join(format!("tapeline-notes-{}", std::process::id()));
        let notes = Notes {
            departures: vec![Departure {
                due_ns: 1,
                before_ns: 2,
                after_ns: 3,
            }],
            answers: vec![Answer { seq: 4, read_ns: 5 }, Answer { seq: 6, read_ns: 7 }],
        };
        notes.write(&path).unwrap();
        let again = Notes::read(&path).unwrap();
        assert_eq!(
            (again.departures, again.answers),
            (notes.departures, notes.answers)
        );
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_session_ends_after_its_last_message() {
        let header = Header {
            session: SessionId(*b"S         "),
            sequence: 7,
            count: 2,
        };
        let last = last_word(&[header.to_bytes().to_vec()]);
        let (end, _) = Header::split(&last).unwrap();
        assert_eq!((end.sequence, end.count), (9, END_OF_SESSION));
    }
}
