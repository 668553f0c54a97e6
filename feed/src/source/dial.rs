//! A SoupBinTCP connection to a server that is made again when it ends, and never waited for.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use bus::soupbintcp::{Client, Fault, Login, Said};
use nix::libc::EINPROGRESS;
use socket2::{Domain, Socket, Type};

/// A connection that is not there by then is tried again.
const CONNECT_NS: u64 = 5_000_000_000;

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialRule {
    /// A server that sends nothing for so long, not even a heartbeat, is lost.
    pub silence_ns: u64,
    /// How long to wait after a connection ended; twice as long each further time in a row ...
    pub retry_ns: u64,
    /// ... up to this.
    pub retry_max_ns: u64,
}

/// A connection, or the time until the next one.
#[derive(Debug)]
pub(super) struct Dial {
    server: SocketAddr,
    rule: DialRule,
    client: Client,
    state: State,
    /// How many connections in a row ended before a login was accepted.
    failures: u32,
}

#[derive(Debug)]
enum State {
    Resting {
        until_ns: u64,
    },
    Connecting {
        socket: Socket,
        until_ns: u64,
    },
    Open(TcpStream),
    /// Not wanted any more.
    Closed,
}

impl Dial {
    /// One that connects as soon as it is asked.
    pub(super) fn new(server: SocketAddr, login: Login, rule: DialRule) -> Dial {
        Dial {
            server,
            rule,
            client: Client::new(login, rule.silence_ns),
            state: State::Resting { until_ns: 0 },
            failures: 0,
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Nothing more is wanted; says good-bye if that can be said at once.
    pub(super) fn close(&mut self) {
        if let State::Open(stream) = &mut self.state {
            self.client.log_out();
            // Whoever does not read it learns it from the connection's end.
            let _ = stream.write(self.client.to_send());
        }
        self.state = State::Closed;
    }

    /// The next thing that came. To be asked until there is none; then [`Dial::turn`] may bring more.
    pub(super) fn hear(&mut self) -> Result<Option<Said<'_>>, Fault> {
        if !matches!(self.state, State::Open(_)) {
            return Ok(None);
        }
        let said = self.client.hear();
        if let Ok(Some(Said::Accepted { .. })) = said {
            self.failures = 0;
        }
        said
    }

    /// One step that does not wait: connects, sends what is to be sent, and takes in what came. Says
    /// why a connection ended, the first of several times in a row.
    pub(super) fn turn(&mut self, now_ns: u64) -> Option<String> {
        let found = match &mut self.state {
            State::Closed => Ok(()),
            State::Resting { until_ns } if now_ns < *until_ns => Ok(()),
            State::Resting { .. } => self.connect(now_ns),
            State::Connecting { .. } => self.connected(now_ns),
            State::Open(_) => self.exchange(now_ns),
        };
        found.err().and_then(|why| self.lost(&why, now_ns))
    }

    /// The connection is of no use any more. To be called for the faults of [`Dial::hear`].
    pub(super) fn lost(&mut self, why: &str, now_ns: u64) -> Option<String> {
        let is_told = self.failures == 0;
        let wait_ns = self
            .rule
            .retry_ns
            .saturating_mul(1 << self.failures.min(20));
        let wait_ns = wait_ns.min(self.rule.retry_max_ns);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Resting {
            until_ns: now_ns.saturating_add(wait_ns),
        };
        is_told.then(|| {
            let next = self.client.login().sequence;
            format!(
                "{}: {why}; trying again, from message {next} on",
                self.server
            )
        })
    }

    fn connect(&mut self, now_ns: u64) -> Result<(), String> {
        let refused = |error: std::io::Error| format!("cannot connect: {error}");
        let domain = Domain::for_address(self.server);
        let socket = Socket::new(domain, Type::STREAM, None).map_err(refused)?;
        socket.set_nonblocking(true).map_err(refused)?;
        socket.set_tcp_nodelay(true).map_err(refused)?;
        match socket.connect(&self.server.into()) {
            Err(error) if error.raw_os_error() != Some(EINPROGRESS) => return Err(refused(error)),
            Ok(()) | Err(_) => {}
        }
        let until_ns = now_ns.saturating_add(CONNECT_NS);
        self.state = State::Connecting { socket, until_ns };
        Ok(())
    }

    fn connected(&mut self, now_ns: u64) -> Result<(), String> {
        let State::Connecting { socket, until_ns } = &self.state else {
            return Ok(());
        };
        if let Ok(Some(error)) | Err(error) = socket.take_error() {
            return Err(format!("cannot connect: {error}"));
        }
        if socket.peer_addr().is_err() {
            return match now_ns < *until_ns {
                true => Ok(()),
                false => Err("cannot connect: no answer".into()),
            };
        }
        let State::Connecting { socket, .. } = std::mem::replace(&mut self.state, State::Closed)
        else {
            return Ok(());
        };
        self.state = State::Open(socket.into());
        self.client.connected(now_ns);
        self.exchange(now_ns)
    }

    fn exchange(&mut self, now_ns: u64) -> Result<(), String> {
        let State::Open(stream) = &mut self.state else {
            return Ok(());
        };
        self.client
            .tick(now_ns)
            .map_err(|fault| fault.to_string())?;
        if !self.client.to_send().is_empty() {
            match stream.write(self.client.to_send()) {
                Ok(count) => self.client.sent(count, now_ns),
                Err(error) if is_later(error.kind()) => {}
                Err(error) => return Err(format!("the connection is lost: {error}")),
            }
        }
        match stream.read(self.client.room()) {
            Ok(0) => Err("the server closed the connection".into()),
            Ok(count) => {
                self.client.received(count, now_ns);
                Ok(())
            }
            Err(error) if is_later(error.kind()) => Ok(()),
            Err(error) => Err(format!("the connection is lost: {error}")),
        }
    }
}

/// Whether it is only to be tried again.
fn is_later(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
