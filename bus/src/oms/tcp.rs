//! Orders to an address.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::fix::{Encoder, Message};
use super::id::OrderId;
use super::{Gateway, GatewayError};

/// How to reach the peer, and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpConfig {
    /// `host:port`.
    pub address: String,
    /// How long connecting may take, over all addresses that the name stands for.
    pub connect_max: Duration,
    /// For how long the peer may take nothing while something waits for it.
    pub stall_max: Duration,
    /// How many bytes wait at most for the peer. When full, `send` says "not now".
    pub waiting_bytes_max: usize,
}

/// Writes messages to a TCP connection, one after another with nothing between them.
///
/// What the peer says is read and dropped, so that it can never block on us.
#[derive(Debug)]
pub struct Tcp {
    stream: TcpStream,
    config: TcpConfig,
    /// Taken, and not yet with the kernel.
    waiting: Vec<u8>,
    /// Since when the peer has taken nothing, though something waits.
    stalled: Option<Instant>,
    /// Turns since the peer was last listened to.
    unheard_turns: u32,
    failure: Option<GatewayError>,
    /// Orders that the peer was asked about and has not spoken of.
    asked: Vec<OrderId>,
    /// Of those that it spoke of, the ones that it has.
    known: Vec<OrderId>,
    /// What the peer said since it was asked, from the first message that is not whole.
    heard: Vec<u8>,
}

/// The peer is listened to in one turn of so many where nothing else asks for it. Listening is a
/// system call, longer than all else that a turn without work does.
const LISTEN_EVERY: u32 = 64;

/// How long [`Gateway::finish`] waits for the peer to close after us. A peer that keeps its end
/// open is no error: everything is with the kernel by then.
const CLOSE_MAX: Duration = Duration::from_millis(500);

impl Tcp {
    /// Connects; the only call that waits.
    pub fn connect(config: &TcpConfig) -> Result<Tcp, GatewayError> {
        let fail = |tried: &str, error| GatewayError::io(&config.address, tried, &error);
        if config.waiting_bytes_max < Encoder::MESSAGE_BYTES_MAX {
            let (got, want) = (config.waiting_bytes_max, Encoder::MESSAGE_BYTES_MAX);
            let what = format!("a buffer of {got} bytes, want at least {want}");
            return Err(GatewayError::new(&config.address, what));
        }
        let deadline = Instant::now() + config.connect_max;
        let addresses: Vec<SocketAddr> = config
            .address
            .to_socket_addrs()
            .map_err(|error| fail("look up the address", error))?
            .collect();
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            let left = deadline.saturating_duration_since(Instant::now());
            // A timeout of zero is refused by the standard library.
            match TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1))) {
                Ok(stream) => {
                    return Tcp::over(stream, config).map_err(|error| fail("set up", error));
                }
                Err(error) => last = error,
            }
        }
        Err(fail("connect", last))
    }

    fn over(stream: TcpStream, config: &TcpConfig) -> io::Result<Tcp> {
        // An order must not wait for the next one to fill a packet.
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let waiting = Vec::with_capacity(config.waiting_bytes_max);
        Ok(Tcp {
            stream,
            config: config.clone(),
            waiting,
            stalled: None,
            unheard_turns: 0,
            failure: None,
            asked: Vec::new(),
            known: Vec::new(),
            heard: Vec::new(),
        })
    }

    fn living(&self) -> Result<(), GatewayError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    #[cold]
    fn fail<T>(&mut self, what: &str) -> Result<T, GatewayError> {
        let waiting_bytes = self.waiting.len();
        let what = match waiting_bytes {
            0 => what.to_string(),
            _ => format!("{what}; {waiting_bytes} bytes of orders had not left"),
        };
        let failure = GatewayError::new(&self.config.address, what);
        self.failure = Some(failure.clone());
        Err(failure)
    }

    /// Reads what the peer says and drops it; fails if the peer is gone.
    fn listen(&mut self) -> Result<(), GatewayError> {
        self.unheard_turns = 0;
        let mut scratch = [0; 4096];
        match self.stream.read(&mut scratch) {
            Ok(0) => self.fail("the peer closed the connection"),
            Ok(_) if self.asked.is_empty() => Ok(()),
            Ok(bytes) => self.hear(&scratch[..bytes]),
            Err(error) if is_for_later(&error) => Ok(()),
            Err(error) => self.fail(&format!("read: {error}")),
        }
    }

    /// Asks the peer about an order, with this message; [`Tcp::answers`] waits for what it says.
    pub fn ask(&mut self, about: &OrderId, message: &[u8]) -> Result<(), GatewayError> {
        while !self.send(message)? {
            self.turn()?;
        }
        self.asked.push(*about);
        Ok(())
    }

    /// Waits until the peer has spoken of all that it was asked about, and says which orders it
    /// has. FIX 4.4, volume 4: an ExecutionReport <8> answers each OrderStatusRequest; for an order
    /// that is not there it has OrdStatus (39) = 8 and OrdRejReason (103) = 5.
    pub fn answers(&mut self, wait_max: Duration) -> Result<Vec<OrderId>, GatewayError> {
        let deadline = Instant::now() + wait_max;
        while !self.asked.is_empty() {
            self.turn()?;
            if Instant::now() >= deadline {
                let missing: Vec<_> = self.asked.iter().map(ToString::to_string).collect();
                let missing = missing.join(" ");
                return self.fail(&format!(
                    "the peer did not say within {wait_max:?} what became of {missing}"
                ));
            }
            std::thread::yield_now();
        }
        self.heard = Vec::new();
        Ok(std::mem::take(&mut self.known))
    }

    #[cold]
    fn hear(&mut self, bytes: &[u8]) -> Result<(), GatewayError> {
        self.heard.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(message_bytes) = whole_message(&self.heard[at..]) {
            let message = Message::parse(&self.heard[at..at + message_bytes]);
            at += message_bytes;
            let Ok(message) = message else {
                return self.fail("the peer answered with what is no FIX message");
            };
            let id = message.field(11).and_then(OrderId::parse);
            let asked = id.and_then(|id| self.asked.iter().position(|asked| *asked == id));
            if let (Some(b"8"), Some(index)) = (message.field(35), asked) {
                let id = self.asked.swap_remove(index);
                let is_unknown =
                    message.field(39) == Some(b"8") && message.field(103) == Some(b"5");
                if !is_unknown {
                    self.known.push(id);
                }
            }
        }
        self.heard.drain(..at);
        match self.heard.len() > HEARD_BYTES_MAX {
            false => Ok(()),
            true => self.fail("the peer answered with what is no FIX message"),
        }
    }

    /// Gives the kernel what it takes.
    fn speak(&mut self) -> Result<usize, GatewayError> {
        if self.waiting.is_empty() {
            return Ok(0);
        }
        crate::failpoint!("orders-half-sent", {
            self.stream.write(&self.waiting[..self.waiting.len() / 2])
        });
        match self.stream.write(&self.waiting) {
            Ok(0) => self.fail("the connection takes no more"),
            Ok(written_bytes) => {
                self.waiting.drain(..written_bytes);
                self.stalled = None;
                Ok(written_bytes)
            }
            Err(error) if is_for_later(&error) => {
                let since = *self.stalled.get_or_insert_with(Instant::now);
                if since.elapsed() >= self.config.stall_max {
                    let stall_max = self.config.stall_max;
                    return self.fail(&format!("the peer took nothing for {stall_max:?}"));
                }
                Ok(0)
            }
            Err(error) => self.fail(&format!("write: {error}")),
        }
    }

    /// Tells the peer that no more comes, and waits a little for it to close too. Without that,
    /// something of the peer's that we never read could make the kernel throw away our last
    /// orders.
    fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        self.stream.set_nonblocking(false)?;
        let deadline = Instant::now() + CLOSE_MAX;
        let mut scratch = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut scratch) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if is_for_later(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Gateway for Tcp {
    fn has_room(&mut self, message_bytes: usize) -> bool {
        let max = self.config.waiting_bytes_max;
        assert!(message_bytes <= max, "a message that would never have room");
        self.waiting.len() + message_bytes <= max
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        self.living()?;
        if !self.has_room(message.len()) {
            return Ok(false);
        }
        self.waiting.extend_from_slice(message);
        Ok(true)
    }

    /// What waits goes first. The turn after it listens, so that nobody says of an order that it
    /// was sent to a peer that was gone already.
    fn turn(&mut self) -> Result<usize, GatewayError> {
        self.living()?;
        let is_due = self.unheard_turns >= LISTEN_EVERY || !self.asked.is_empty();
        let spoken_bytes = self.speak()?;
        if spoken_bytes > 0 {
            self.unheard_turns = LISTEN_EVERY;
        } else if is_due || !self.waiting.is_empty() {
            self.listen()?;
        } else {
            self.unheard_turns += 1;
        }
        Ok(spoken_bytes)
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn finish(&mut self) -> Result<(), GatewayError> {
        self.living()?;
        // Ends: every round writes something, or comes nearer to the stall's end.
        while !self.waiting.is_empty() {
            if self.turn()? == 0 {
                std::thread::yield_now();
            }
        }
        match self.close() {
            Ok(()) => Ok(()),
            Err(error) => self.fail(&format!("close: {error}")),
        }
    }

    fn describe(&self) -> String {
        self.config.address.clone()
    }
}

/// What may wait for the rest of its message.
const HEARD_BYTES_MAX: usize = 1 << 16;

/// How long the first message in these bytes is, if all of it is there: up to its CheckSum.
fn whole_message(bytes: &[u8]) -> Option<usize> {
    let trailer = bytes.windows(4).position(|four| four == b"\x0110=")?;
    let end = bytes[trailer + 1..].iter().position(|&byte| byte == 1)?;
    Some(trailer + 1 + end + 1)
}

fn is_for_later(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    fn config(address: SocketAddr) -> TcpConfig {
        TcpConfig {
            address: address.to_string(),
            connect_max: Duration::from_secs(5),
            stall_max: Duration::from_secs(20),
            waiting_bytes_max: 64 * 1024,
        }
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A peer that says `greeting` and then reads to the end.
    fn reading_peer(listener: TcpListener, greeting: &'static [u8]) -> JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting).unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            received
        })
    }

    fn turn_until_error(tcp: &mut Tcp) -> GatewayError {
        loop {
            if let Err(error) = tcp.turn() {
                return error;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn everything_arrives_in_order() {
        let (listener, address) = listener();
        let peer = reading_peer(listener, b"8=FIX.4.4\x01 hello");
        let mut tcp = Tcp::connect(&config(address)).unwrap();
        assert_eq!(tcp.describe(), address.to_string());
        let mut sent = Vec::new();
        for n in 0..20_000u32 {
            let message = format!("message {n}, and some more bytes;");
            while !tcp.send(message.as_bytes()).unwrap() {
                tcp.turn().unwrap();
            }
            sent.extend_from_slice(message.as_bytes());
        }
        tcp.finish().unwrap();
        assert!(peer.join().unwrap() == sent);
    }

    #[test]
    fn a_peer_that_closes_is_an_error_with_its_address() {
        let (listener, address) = listener();
        let mut tcp = Tcp::connect(&config(address)).unwrap();
        drop(listener.accept().unwrap());
        let error = turn_until_error(&mut tcp);
        assert_eq!(
            error.to_string(),
            format!("{address}: the peer closed the connection")
        );
        assert_eq!(tcp.send(b"more"), Err(error.clone()));
        assert_eq!(tcp.finish(), Err(error));
    }

    /// The kernel on both sides takes some megabytes before the peer must read.
    #[test]
    fn a_peer_that_never_reads_is_an_error_and_not_a_hang() {
        let (listener, address) = listener();
        let stall_max = Duration::from_millis(50);
        let mut tcp = Tcp::connect(&TcpConfig {
            stall_max,
            ..config(address)
        })
        .unwrap();
        let _silent = listener.accept().unwrap();
        let message = [b'x'; 8 * 1024];
        let error = loop {
            let _ = tcp.send(&message).unwrap();
            if let Err(error) = tcp.turn() {
                break error;
            }
        };
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("{address}: the peer took nothing for 50ms; ")),
            "{text}"
        );
        assert!(text.ends_with(" bytes of orders had not left"), "{text}");
        assert_eq!(tcp.finish(), Err(error));
    }

    #[test]
    fn a_peer_that_keeps_its_end_open_does_not_hold_up_the_end() {
        let (listener, address) = listener();
        let mut tcp = Tcp::connect(&config(address)).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(tcp.send(b"last"), Ok(true));
        tcp.finish().unwrap();
        let mut received = [0; 4];
        peer.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"last");
    }

    #[test]
    fn nobody_there_is_an_error_with_the_address() {
        let (listener, address) = listener();
        drop(listener);
        let error = Tcp::connect(&config(address)).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{address}: connect: Connection refused (os error 111)")
        );
        let nowhere = TcpConfig {
            address: "no port".into(),
            ..config(address)
        };
        let error = Tcp::connect(&nowhere).unwrap_err().to_string();
        assert!(
            error.starts_with("no port: look up the address: "),
            "{error}"
        );
    }

    #[test]
    fn a_full_buffer_says_not_now() {
        let (_listener, address) = listener();
        let config = TcpConfig {
            waiting_bytes_max: 600,
            ..config(address)
        };
        let mut tcp = Tcp::connect(&config).unwrap();
        assert_eq!(tcp.send(&[b'x'; 400]), Ok(true));
        assert_eq!(tcp.send(&[b'x'; 201]), Ok(false));
        assert_eq!(tcp.send(&[b'x'; 200]), Ok(true));
        let config = TcpConfig {
            waiting_bytes_max: 511,
            ..config
        };
        let error = Tcp::connect(&config).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{address}: a buffer of 511 bytes, want at least 512")
        );
    }
}
