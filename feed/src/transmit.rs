//! The other side of a live feed: payloads to multicast groups, and what was lost again to who asks.
//!
//! Under it: `packed` (an ITCH file as packets), `faults` (what a line loses, doubles and swaps),
//! `store` (what was sent, by its numbers), `sessions` (the same over SoupBinTCP), `snapshots` (the orders
//! that live behind it, over GLIMPSE).

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::moldudp64::{HEADER_BYTES, Header};

mod faults;
mod packed;
mod sessions;
mod snapshots;
mod store;

pub use faults::{FaultCounts, FaultRule, Faults};
pub use packed::Packed;
pub use sessions::{SessionCounts, Sessions};
pub use snapshots::{SnapshotCounts, Snapshots};
pub use store::{ANSWER_BYTES_MAX, Store};

/// What came of the connections that waited.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    /// Those that there was room for.
    accepted: usize,
    /// Those that are closed again.
    refused: u64,
}

/// Takes the connections that wait, as many as there is room for, and waits for none.
fn accept(listener: &TcpListener, room: usize, mut take: impl FnMut(TcpStream)) -> io::Result<Met> {
    let mut met = Met::default();
    loop {
        match listener.accept() {
            Ok((stream, _)) if met.accepted < room => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                take(stream);
                met.accepted += 1;
            }
            Ok(_) => met.refused += 1,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Ok(met),
                // Of a client that left before it was met.
                ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                _ => return Err(error),
            },
        }
    }
}

/// Sends UDP multicast from one interface, looped back to receivers on this machine too.
#[derive(Debug)]
pub struct Transmitter {
    socket: UdpSocket,
    refused: u64,
}

/// The system has no room for a packet now.
const ENOBUFS: i32 = 105;

impl Transmitter {
    /// Opens a socket on the interface with this address.
    pub fn open(interface: Ipv4Addr) -> io::Result<Transmitter> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_multicast_if_v4(&interface)?;
        socket.set_multicast_loop_v4(true)?;
        socket.bind(&SocketAddr::from((interface, 0)).into())?;
        Ok(Transmitter {
            socket: socket.into(),
            refused: 0,
        })
    }

    /// Sends one packet; `false` when the system had no room for it. It is not tried again, since
    /// multicast has no second try either.
    pub fn send(&mut self, payload: &[u8], to: SocketAddrV4) -> io::Result<bool> {
        match self.socket.send_to(payload, to) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => {
                self.refused += 1;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// How many packets the system had no room for.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// Answers MoldUDP64 requests over unicast: session, first number, count.
///
/// A request is taken from the socket only when the rate allows an answer. So there are never more
/// answers than that, and what asks too much waits in the kernel's bounded buffer, or is dropped
/// there.
#[derive(Debug)]
pub struct Answers {
    socket: UdpSocket,
    interval_ns: u64,
    free_ns: u64,
    answer: Vec<u8>,
    counts: AnswerCounts,
}

/// What was asked and answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerCounts {
    /// Requests.
    pub requests: u64,
    /// Messages in answers.
    pub messages: u64,
    /// Requests for what is not there, and datagrams that are no requests.
    pub refused: u64,
}

impl Answers {
    /// Listens on this address, and answers at most once in so many nanoseconds.
    pub fn open(address: SocketAddrV4, interval_ns: u64) -> io::Result<Answers> {
        let socket = UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Answers {
            socket,
            interval_ns,
            free_ns: 0,
            answer: Vec::with_capacity(ANSWER_BYTES_MAX),
            counts: AnswerCounts::default(),
        })
    }

    /// Answers one request, if there is one; says whether there was.
    pub fn turn(&mut self, store: &Store, now_ns: u64) -> io::Result<bool> {
        if now_ns < self.free_ns {
            return Ok(false);
        }
        // One byte more than a request has: what is longer is none.
        let mut bytes = [0; HEADER_BYTES + 1];
        let (len, from) = match self.socket.recv_from(&mut bytes) {
            Ok(received) => received,
            Err(error) => {
                return match error.kind() {
                    // Of an asker that is gone the kernel tells with the next call.
                    io::ErrorKind::WouldBlock
                    | io::ErrorKind::Interrupted
                    | io::ErrorKind::ConnectionRefused => Ok(false),
                    _ => Err(error),
                };
            }
        };
        self.free_ns = now_ns.saturating_add(self.interval_ns);
        self.counts.requests += 1;
        let request = Header::split(&bytes[..len]).filter(|(_, rest)| rest.is_empty());
        let is_there = request.is_some_and(|(request, _)| store.answer(&request, &mut self.answer));
        // An asker that cannot be reached now asks again.
        if is_there && self.socket.send_to(&self.answer, from).is_ok() {
            let count = [self.answer[18], self.answer[19]];
            self.counts.messages += u64::from(u16::from_be_bytes(count));
        } else {
            self.counts.refused += 1;
        }
        Ok(true)
    }

    /// What was asked and answered so far.
    pub fn counts(&self) -> AnswerCounts {
        self.counts
    }
}
