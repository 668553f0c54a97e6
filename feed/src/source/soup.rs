//! Packets from the network: a SoupBinTCP session, as MoldUDP64 packets with its own numbers.
//!
//! A connection that ends is made again, from the next message on; what the server then does not
//! have any more shows as a gap. A server that refuses the first login is an error; later it is asked
//! again, with ever more patience. The kernel says no times of TCP, so a packet has arrived when it
//! is read.

use std::net::SocketAddr;

use bus::Ts;
use bus::clock::{Clock, MachineClock};
use bus::soupbintcp::{Fault, LENGTH_MAX, Login, Said};

use super::dial::Dial;
pub use super::dial::DialRule;
use super::{Framing, Line, Packet, Place, Polled, Source, SourceError, Trouble};
use crate::moldudp64::{END_OF_SESSION, HEADER_BYTES, Header, SessionId};

/// What was read at once shares a packet, up to so many messages or bytes.
const MESSAGES_MAX: u16 = 64;
const PACKET_BYTES: usize = 4 << 10;

// An arbiter holds packets of up to 9,216 bytes.
const _: () = assert!(HEADER_BYTES + PACKET_BYTES + LENGTH_MAX as usize + 2 < 9_216);

/// A session over TCP.
#[derive(Debug)]
pub struct Soup {
    dial: Dial,
    lines: [Line; 1],
    clock: MachineClock,
    /// The packet that is made, behind room for its header.
    payload: Vec<u8>,
    session: SessionId,
    packets: u64,
    /// A login was accepted once.
    was_on: bool,
    /// What ended the messages of the packet handed out last, and is told behind it.
    ended: Option<Ended>,
}

/// Why no message follows.
#[derive(Clone, Copy, Debug)]
enum Ended {
    /// The session is over.
    Session,
    /// The connection is of no use.
    Connection(Fault),
}

/// What a poll found, but for the bytes.
enum Found {
    Header(Header),
    Nothing,
    Trouble(String),
}

impl Soup {
    /// Will connect when it is polled.
    pub fn new(server: SocketAddr, login: Login, rule: DialRule) -> Soup {
        let name = server.to_string();
        Soup {
            dial: Dial::new(server, login, rule),
            lines: [Line { name }],
            clock: MachineClock::new(),
            payload: Vec::with_capacity(HEADER_BYTES + PACKET_BYTES + usize::from(LENGTH_MAX) + 2),
            session: SessionId(login.session),
            packets: 0,
            was_on: false,
            ended: None,
        }
    }

    fn find(&mut self) -> Result<Found, SourceError> {
        self.payload.clear();
        self.payload.resize(HEADER_BYTES, 0);
        let header = |session, sequence, count| {
            Found::Header(Header {
                session,
                sequence,
                count,
            })
        };
        match self.ended.take() {
            Some(Ended::Session) => return Ok(self.over()),
            Some(Ended::Connection(fault)) => return self.failed(fault),
            None => {}
        }
        let (mut first, mut count, mut has_turned) = (0, 0, false);
        loop {
            if count == MESSAGES_MAX || self.payload.len() >= HEADER_BYTES + PACKET_BYTES {
                return Ok(header(self.session, first, count));
            }
            match self.dial.hear() {
                Ok(Some(Said::Message { sequence, bytes })) => {
                    if count == 0 {
                        first = sequence;
                    }
                    let length = (bytes.len() as u16).to_be_bytes();
                    self.payload.extend_from_slice(&length);
                    self.payload.extend_from_slice(bytes);
                    count += 1;
                }
                Ok(Some(Said::Accepted { session, sequence })) => {
                    self.was_on = true;
                    self.session = SessionId(session);
                    // Whether something is missing shows before the next message.
                    return Ok(header(self.session, sequence, 0));
                }
                Ok(Some(Said::Heartbeat)) if count == 0 && self.was_on => {
                    let next = self.dial.client().login().sequence;
                    return Ok(header(self.session, next, 0));
                }
                Ok(Some(Said::Ended)) if count == 0 => return Ok(self.over()),
                Ok(Some(Said::Ended)) => {
                    self.ended = Some(Ended::Session);
                    return Ok(header(self.session, first, count));
                }
                Ok(Some(Said::Heartbeat | Said::Unnumbered(_) | Said::Debug(_))) => {}
                Ok(None) if count > 0 => return Ok(header(self.session, first, count)),
                Ok(None) if has_turned => return Ok(Found::Nothing),
                Ok(None) => {
                    has_turned = true;
                    let now_ns = self.clock.now_ns();
                    if let Some(why) = self.dial.turn(now_ns) {
                        return Ok(Found::Trouble(why));
                    }
                }
                Err(fault) if count == 0 => return self.failed(fault),
                Err(fault) => {
                    self.ended = Some(Ended::Connection(fault));
                    return Ok(header(self.session, first, count));
                }
            }
        }
    }

    /// The session is over: no connection is wanted any more.
    fn over(&mut self) -> Found {
        self.dial.close();
        Found::Header(Header {
            session: self.session,
            sequence: self.dial.client().login().sequence,
            count: END_OF_SESSION,
        })
    }

    #[cold]
    fn failed(&mut self, fault: Fault) -> Result<Found, SourceError> {
        if let (Fault::Rejected(_), false) = (fault, self.was_on) {
            return Err(SourceError {
                path: self.lines[0].name.clone().into(),
                offset_bytes: None,
                what: format!("{fault}, as {}", login_text(self.dial.client().login())),
            });
        }
        let now_ns = self.clock.now_ns();
        let told = self.dial.lost(&fault.to_string(), now_ns);
        Ok(told.map_or(Found::Nothing, Found::Trouble))
    }
}

/// Who asked for what, without the password.
pub(super) fn login_text(login: &Login) -> String {
    let text = |bytes: &[u8]| bytes.trim_ascii().escape_ascii().to_string();
    let session = match text(&login.session) {
        none if none.is_empty() => "the session that is on".to_string(),
        name => format!("session {name}"),
    };
    let (user, next) = (text(&login.user), login.sequence);
    format!("user '{user}', {session}, from message {next} on")
}

impl Source for Soup {
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        let place = Place {
            packet: self.packets + 1,
            ..Place::default()
        };
        let header = match self.find()? {
            Found::Header(header) => header,
            Found::Nothing => return Ok(Polled::Empty),
            Found::Trouble(what) => return Ok(Polled::Trouble(Trouble::new(place, what))),
        };
        self.packets += 1;
        self.payload[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        Ok(Polled::Packet(Packet {
            ts_recv: Some(self.clock.wall()),
            line: 0,
            framing: Framing::MoldUdp64,
            payload: &self.payload,
            wire_bytes: self.payload.len() as u32,
            place,
        }))
    }

    fn now(&self) -> Option<Ts> {
        Some(self.clock.wall())
    }

    fn lines(&self) -> &[Line] {
        &self.lines
    }
}
