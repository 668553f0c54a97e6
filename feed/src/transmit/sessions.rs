//! SoupBinTCP sessions of what was sent: each client logs in, says from where on, and gets it all.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use bus::soupbintcp::{Fault, HEADER_BYTES as SOUP_HEADER_BYTES, LENGTH_MAX, Server, Wants};

use super::{Store, accept};
use crate::moldudp64::{Blocks, END_OF_SESSION, HEADER_BYTES, Header, SessionId};

/// More clients than this are refused.
const CLIENTS_MAX: usize = 64;
/// A client that is silent for so long is gone.
const SILENCE_NS: u64 = 15_000_000_000;
/// No more than this waits for a client to take it.
const WAITING_BYTES_MAX: usize = 256 << 10;
/// The reason of a refused login: there is no such session.
const NO_SESSION: u8 = b'S';
/// The longest message of a packet.
const MESSAGE_BYTES_MAX: usize = LENGTH_MAX as usize - (SOUP_HEADER_BYTES - 2);

/// A server of sessions.
#[derive(Debug)]
pub struct Sessions {
    listener: TcpListener,
    clients: Vec<Attended>,
    /// Each connection is cut after so many messages.
    cut_after: Option<u64>,
    answer: Vec<u8>,
    counts: SessionCounts,
}

/// What was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// Logins that were accepted.
    pub logins: u64,
    /// Logins that were not, and clients that were too many or said nonsense.
    pub refused: u64,
    /// Messages.
    pub messages: u64,
}

/// A client that is attended to.
#[derive(Debug)]
struct Attended {
    stream: TcpStream,
    server: Server,
    /// Its session, and the next message for it.
    at: Option<(SessionId, u64)>,
    /// What it wants, until there is a session at all.
    wants: Option<([u8; 10], u64)>,
    sent: u64,
    is_gone: bool,
}

impl Sessions {
    /// Listens on this address. With `cut_after` each connection ends after so many messages, as a
    /// network may end it.
    pub fn open(address: SocketAddr, cut_after: Option<u64>) -> io::Result<Sessions> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Sessions {
            listener,
            clients: Vec::new(),
            cut_after,
            answer: Vec::new(),
            counts: SessionCounts::default(),
        })
    }

    /// Attends to each client once, and does not wait; says whether there was anything to do. With
    /// `is_ended` nothing more comes into the store.
    pub fn turn(&mut self, store: &Store, is_ended: bool, now_ns: u64) -> io::Result<bool> {
        let room = CLIENTS_MAX.saturating_sub(self.clients.len());
        let met = accept(&self.listener, room, |stream| {
            self.clients.push(Attended {
                stream,
                server: Server::new(SILENCE_NS, now_ns),
                at: None,
                wants: None,
                sent: 0,
                is_gone: false,
            });
        })?;
        self.counts.refused += met.refused;
        let mut has_worked = met.accepted > 0;
        for client in &mut self.clients {
            let (answer, counts) = (&mut self.answer, &mut self.counts);
            has_worked |= client.turn(store, is_ended, now_ns, self.cut_after, answer, counts);
        }
        self.clients.retain(|client| !client.is_gone);
        Ok(has_worked)
    }

    /// Whether nobody is connected.
    pub fn is_idle(&self) -> bool {
        self.clients.is_empty()
    }

    /// What was served so far.
    pub fn counts(&self) -> SessionCounts {
        self.counts
    }
}

impl Attended {
    fn turn(
        &mut self,
        store: &Store,
        is_ended: bool,
        now_ns: u64,
        cut_after: Option<u64>,
        answer: &mut Vec<u8>,
        counts: &mut SessionCounts,
    ) -> bool {
        let heard = self.hear(now_ns, counts);
        self.log_in(store, is_ended, counts);
        let sent_before = self.sent;
        if self.at.is_some() && self.server.is_on() {
            self.fill(store, is_ended, cut_after, answer);
            counts.messages += self.sent - sent_before;
        }
        self.is_gone |= self.server.tick(now_ns).is_err();
        let is_cut = cut_after.is_some_and(|after| self.sent >= after);
        let spoke = self.speak(now_ns);
        let is_said = self.server.to_send().is_empty();
        self.is_gone |= is_said && (self.server.is_over() || is_cut);
        heard || spoke
    }

    /// Takes in what came.
    fn hear(&mut self, now_ns: u64, counts: &mut SessionCounts) -> bool {
        let heard = match self.stream.read(self.server.room()) {
            Ok(0) => {
                self.is_gone = true;
                return true;
            }
            Ok(count) => {
                self.server.received(count, now_ns);
                true
            }
            Err(error) => {
                self.is_gone |= !is_later(error.kind());
                false
            }
        };
        loop {
            match self.server.hear() {
                Ok(Some(Wants::Login(login))) => self.wants = Some((login.session, login.sequence)),
                Ok(Some(Wants::Message(_) | Wants::Debug(_))) => {}
                Ok(Some(Wants::Logout)) => self.is_gone = true,
                Ok(None) => return heard,
                Err(
                    Fault::Rejected(_) | Fault::Silent(_) | Fault::Bad(_) | Fault::Unexpected(_),
                ) => {
                    counts.refused += 1;
                    self.is_gone = true;
                    return heard;
                }
            }
        }
    }

    /// Answers a login, once there is a session to log in to.
    fn log_in(&mut self, store: &Store, is_ended: bool, counts: &mut SessionCounts) {
        let Some((session, from)) = self.wants else {
            return;
        };
        let is_any = session.trim_ascii().is_empty();
        let mut sessions = store.ends();
        let is_meant = |id: &SessionId| is_any || id.0.trim_ascii() == session.trim_ascii();
        let Some((id, end)) = sessions.find(|(id, _)| is_meant(id)) else {
            if !is_any || is_ended {
                self.server.reject(NO_SESSION);
                counts.refused += 1;
                self.wants = None;
            }
            return;
        };
        let first = if from == 0 { end } else { from.min(end) };
        self.server.accept(id.0, first);
        counts.logins += 1;
        (self.at, self.wants) = (Some((id, first)), None);
    }

    /// Puts what comes next for the client into what waits for it.
    fn fill(
        &mut self,
        store: &Store,
        is_ended: bool,
        cut_after: Option<u64>,
        answer: &mut Vec<u8>,
    ) {
        let Some((session, next)) = &mut self.at else {
            return;
        };
        while self.server.to_send().len() < WAITING_BYTES_MAX {
            let left = cut_after.map_or(u64::MAX, |after| after - self.sent.min(after));
            if left == 0 {
                return;
            }
            let request = Header {
                session: *session,
                sequence: *next,
                count: left.min(u64::from(END_OF_SESSION) - 1) as u16,
            };
            if !store.answer(&request, answer) {
                let end = store.ends().find(|(id, _)| id == session);
                let is_lost = end.is_some_and(|(_, end)| *next < end);
                // A session cannot leave out what is not kept any more, or was never there.
                self.is_gone |= is_lost;
                if is_ended && !is_lost {
                    self.server.end();
                }
                return;
            }
            for message in Blocks::new(&answer[HEADER_BYTES..]) {
                if message.len() > MESSAGE_BYTES_MAX {
                    self.is_gone = true;
                    return;
                }
                self.server.send(message);
                (*next, self.sent) = (*next + 1, self.sent + 1);
            }
        }
    }

    /// Sends what the client takes.
    fn speak(&mut self, now_ns: u64) -> bool {
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

/// Whether it is only to be tried again.
fn is_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
