//! GLIMPSE: all live orders of what was sent so far, to each client that logs in.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bus::Ts;
use bus::soupbintcp::{Server, Wants};

use super::{Store, accept};
use crate::glimpse::{Resting, Table, TooMany, end_message, take};
use crate::moldudp64::{Blocks, END_OF_SESSION, HEADER_BYTES, Header, SessionId};
use crate::protocol::Itch;

/// More clients than this are refused: each has a snapshot of its own.
const CLIENTS_MAX: usize = 8;
/// A client that is silent for so long is gone.
const SILENCE_NS: u64 = 15_000_000_000;
/// No more than this waits for a client to take it.
const WAITING_BYTES_MAX: usize = 256 << 10;
/// The reason of a refused login: there is no such session. A snapshot is wanted from its first message
/// on.
const NO_SESSION: u8 = b'S';
/// What is missing in front of so many messages never comes.
const HOLE_MAX: u64 = 65_536;
/// Beyond so many live orders the snapshots end.
const ORDERS_MAX: usize = 1 << 26;

/// A server of snapshots.
#[derive(Debug)]
pub struct Snapshots {
    listener: TcpListener,
    clients: Vec<Client>,
    protocol: Itch,
    table: Table,
    /// The session that the table is of, and the first message that it does not know of.
    session: Option<SessionId>,
    next: u64,
    /// The last system event, and each symbol's directory and last trading state, as they were sent.
    system: Vec<u8>,
    about: Vec<[Vec<u8>; 2]>,
    is_full: bool,
    answer: Vec<u8>,
    counts: SnapshotCounts,
}

/// What was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotCounts {
    /// Snapshots that were sent to their end.
    pub snapshots: u64,
    /// Orders in them.
    pub orders: u64,
    /// Logins that were not accepted, and clients that were too many or said nonsense.
    pub refused: u64,
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    server: Server,
    /// Its snapshot, once it logged in: messages behind their lengths, and how many bytes were taken.
    snapshot: Option<(Vec<u8>, usize)>,
    orders: u64,
    is_gone: bool,
}

impl Snapshots {
    /// Listens on this address.
    pub fn open(address: SocketAddr) -> io::Result<Snapshots> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Snapshots {
            listener,
            clients: Vec::new(),
            protocol: Itch::new(Ts(0)),
            table: Table::new(ORDERS_MAX),
            session: None,
            next: 1,
            system: Vec::new(),
            about: Vec::new(),
            is_full: false,
            answer: Vec::new(),
            counts: SnapshotCounts::default(),
        })
    }

    /// Takes in what was sent since, in order. What is missing in front of it is waited for.
    pub fn follow(&mut self, store: &Store) {
        let Some((session, end)) = store.ends().last() else {
            return;
        };
        if self.session != Some(session) {
            (self.session, self.next) = (Some(session), 1);
            self.table = Table::new(ORDERS_MAX);
            self.system.clear();
            self.about.clear();
        }
        let mut answer = std::mem::take(&mut self.answer);
        while self.next < end {
            let request = Header {
                session,
                sequence: self.next,
                count: END_OF_SESSION - 1,
            };
            if store.answer(&request, &mut answer) {
                for message in Blocks::new(&answer[HEADER_BYTES..]) {
                    self.take(message);
                    self.next += 1;
                }
            } else if end - self.next > HOLE_MAX {
                self.next = store.next_from(session, self.next).unwrap_or(end);
            } else {
                break;
            }
        }
        self.answer = answer;
    }

    fn take(&mut self, message: &[u8]) {
        self.is_full |= take(&self.protocol, &mut self.table, message) == Err(TooMany);
        let (&[code, high, low, ..], true) = (message, message.len() >= 12) else {
            return;
        };
        let kept = match code {
            b'S' => &mut self.system,
            b'R' | b'H' => {
                let symbol = usize::from(u16::from_be_bytes([high, low]));
                if symbol >= self.about.len() {
                    self.about.resize(symbol + 1, [Vec::new(), Vec::new()]);
                }
                &mut self.about[symbol][usize::from(code == b'H')]
            }
            _ => return,
        };
        kept.clear();
        kept.extend_from_slice(message);
    }

    /// Attends to each client once, and does not wait; says whether there was anything to do.
    pub fn turn(&mut self, now_ns: u64) -> io::Result<bool> {
        let room = CLIENTS_MAX.saturating_sub(self.clients.len());
        let met = accept(&self.listener, room, |stream| {
            self.clients.push(Client {
                stream,
                server: Server::new(SILENCE_NS, now_ns),
                snapshot: None,
                orders: 0,
                is_gone: false,
            });
        })?;
        self.counts.refused += met.refused;
        let mut has_worked = met.accepted > 0;
        let mut clients = std::mem::take(&mut self.clients);
        for client in &mut clients {
            has_worked |= self.attend(client, now_ns);
        }
        clients.retain(|client| !client.is_gone);
        self.clients = clients;
        Ok(has_worked)
    }

    fn attend(&mut self, client: &mut Client, now_ns: u64) -> bool {
        let mut has_worked = client.read(now_ns);
        loop {
            match client.server.hear() {
                Ok(Some(Wants::Login(login))) if login.sequence <= 1 && !self.is_full => {
                    let session = self.session.map_or(login.session, |session| session.0);
                    client.server.accept(session, 1);
                    client.snapshot = Some((self.snapshot(), 0));
                    client.orders = self.table.len() as u64;
                }
                Ok(Some(Wants::Login(_))) => {
                    client.server.reject(NO_SESSION);
                    self.counts.refused += 1;
                }
                Ok(Some(Wants::Message(_) | Wants::Debug(_))) => {}
                Ok(Some(Wants::Logout)) => client.is_gone = true,
                Ok(None) => break,
                Err(_) => {
                    self.counts.refused += 1;
                    client.is_gone = true;
                    break;
                }
            }
        }
        if client.fill() {
            self.counts.snapshots += 1;
            self.counts.orders += client.orders;
        }
        client.is_gone |= client.server.tick(now_ns).is_err();
        has_worked |= client.write(now_ns);
        client.is_gone |= client.server.is_over() && client.server.to_send().is_empty();
        has_worked
    }

    /// The snapshot of now.
    fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |message: &[u8]| {
            out.extend_from_slice(&(message.len() as u16).to_be_bytes());
            out.extend_from_slice(message);
        };
        let about = self.about.iter().flatten();
        let known = std::iter::once(&self.system).chain(about);
        for message in known.filter(|message| !message.is_empty()) {
            put(message);
        }
        for symbol in 0..self.table.symbols_end() {
            let name = self.table.known(symbol).map_or(0, |known| known.name);
            for (_, reference, order) in self.table.orders_from(symbol, 0) {
                put(&add_message(name, reference, order));
            }
        }
        put(&end_message(self.next));
        out
    }

    /// Whether nobody is connected.
    pub fn is_idle(&self) -> bool {
        self.clients.is_empty()
    }

    /// What was served so far.
    pub fn counts(&self) -> SnapshotCounts {
        self.counts
    }
}

impl Client {
    fn read(&mut self, now_ns: u64) -> bool {
        match self.stream.read(self.server.room()) {
            Ok(0) => {
                self.is_gone = true;
                true
            }
            Ok(count) => {
                self.server.received(count, now_ns);
                true
            }
            Err(error) => {
                self.is_gone |= !is_later(error.kind());
                false
            }
        }
    }

    /// Puts what comes next into what waits for it; says whether that was the last.
    fn fill(&mut self) -> bool {
        let Some((bytes, at)) = &mut self.snapshot else {
            return false;
        };
        for message in Blocks::new(&bytes[*at..]) {
            if self.server.to_send().len() >= WAITING_BYTES_MAX {
                return false;
            }
            self.server.send(message);
            *at += 2 + message.len();
        }
        self.server.end();
        self.snapshot = None;
        true
    }

    fn write(&mut self, now_ns: u64) -> bool {
        if self.server.to_send().is_empty() {
            return false;
        }
        match self.stream.write(self.server.to_send()) {
            Ok(count) => {
                self.server.sent(count, now_ns);
                count > 0
            }
            Err(error) => {
                self.is_gone |= !is_later(error.kind());
                false
            }
        }
    }
}

/// An order as ITCH adds it, without attribution, with what is left of it.
fn add_message(name: u64, reference: u64, order: &Resting) -> [u8; 36] {
    let mut bytes = [0; 36];
    bytes[0] = b'A';
    bytes[1..3].copy_from_slice(&(order.symbol as u16).to_be_bytes());
    bytes[5..11].copy_from_slice(&order.ts_event.0.to_be_bytes()[2..]);
    bytes[11..19].copy_from_slice(&reference.to_be_bytes());
    bytes[19] = match order.side {
        bus::Side::Sell => b'S',
        bus::Side::Buy | bus::Side::None => b'B',
    };
    bytes[20..24].copy_from_slice(&(order.qty.0 as u32).to_be_bytes());
    bytes[24..32].copy_from_slice(&name.to_be_bytes());
    bytes[32..].copy_from_slice(&((order.price.0 / PRICE_E4) as u32).to_be_bytes());
    bytes
}

/// Prices of ITCH are in 1e-4, ours in 1e-9.
const PRICE_E4: i64 = 100_000;

/// Whether it is only to be tried again.
fn is_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
