//! A connection as bytes, plain or through TLS (with the feature `tls`), and how one is made.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
#[cfg(feature = "tls")]
use std::sync::mpsc;

use socket2::{Domain, Protocol, Socket, Type};

#[cfg(feature = "tls")]
use crate::tls;

/// How long a connection may take to come, in nanoseconds of the caller's time.
const PATIENCE_NS: i64 = 10_000_000_000;

/// How the connections of one side are secured.
#[derive(Clone, Debug, Default)]
pub enum Secured {
    /// Not at all.
    #[default]
    No,
    /// By TLS, on the side that connects.
    #[cfg(feature = "tls")]
    Client(tls::Client),
    /// By TLS, on the side that accepts.
    #[cfg(feature = "tls")]
    Server(tls::Server),
}

impl Secured {
    /// Takes over a connection that was accepted.
    ///
    /// # Panics
    /// Where this is for the side that connects.
    pub(crate) fn accept(&self, stream: TcpStream) -> io::Result<Wire> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        match self {
            Secured::No => Ok(Wire::Plain(stream)),
            #[cfg(feature = "tls")]
            Secured::Server(server) => server.over(stream).map(Box::new).map(Wire::Tls),
            #[cfg(feature = "tls")]
            Secured::Client(_) => panic!("an acceptor is secured as a server"),
        }
    }

    /// What makes connections.
    ///
    /// # Panics
    /// Where this is for the side that accepts.
    pub(crate) fn dialer(self) -> io::Result<Dialer> {
        match self {
            Secured::No => Ok(Dialer::Plain),
            #[cfg(feature = "tls")]
            Secured::Client(client) => client.dialer().map(Dialer::Tls),
            #[cfg(feature = "tls")]
            Secured::Server(_) => panic!("an initiator is secured as a client"),
        }
    }
}

/// Makes connections, and waits for none of them.
#[derive(Debug)]
pub(crate) enum Dialer {
    Plain,
    #[cfg(feature = "tls")]
    Tls(tls::Dialer),
}

impl Dialer {
    pub(crate) fn begin(&self, address: SocketAddr) -> io::Result<Attempt> {
        match self {
            Dialer::Plain => begin(address).map(Attempt::Plain),
            #[cfg(feature = "tls")]
            Dialer::Tls(dialer) => dialer.begin(address).map(Attempt::Tls),
        }
    }
}

/// A connection that is not there yet.
#[derive(Debug)]
pub(crate) enum Attempt {
    Plain(Socket),
    #[cfg(feature = "tls")]
    Tls(mpsc::Receiver<io::Result<tls::Stream>>),
}

impl Attempt {
    /// The connection, after so long; `None` while it is not there. To be asked until it is or an
    /// error says why it will not be, and not behind that.
    pub(crate) fn outcome(&mut self, waited_ns: i64) -> io::Result<Option<Wire>> {
        match self {
            Attempt::Plain(socket) => {
                if let Some(error) = socket.take_error()? {
                    return Err(error);
                }
                if socket.peer_addr().is_ok() {
                    let stream: TcpStream = socket.try_clone()?.into();
                    stream.set_nodelay(true)?;
                    return Ok(Some(Wire::Plain(stream)));
                }
                if waited_ns >= PATIENCE_NS {
                    let what = "no connection in time";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, what));
                }
                Ok(None)
            }
            // Whoever makes it has a deadline.
            #[cfg(feature = "tls")]
            Attempt::Tls(answer) => match answer.try_recv() {
                Ok(made) => made.map(|stream| Some(Wire::Tls(Box::new(stream)))),
                Err(mpsc::TryRecvError::Empty) => Ok(None),
                Err(mpsc::TryRecvError::Disconnected) => Err(io::Error::other(
                    "the thread that makes connections is gone",
                )),
            },
        }
    }
}

/// A connection that is not waited for.
fn begin(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => Ok(socket),
        Err(error) if is_not_now(&error) || error.raw_os_error() == Some(libc::EINPROGRESS) => {
            Ok(socket)
        }
        Err(error) => Err(error),
    }
}

/// Whether the same may succeed a little later.
pub(crate) fn is_not_now(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// A connection: see the module.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tls::Stream>),
}

impl Wire {
    /// Whether bytes that were written are still in this process.
    pub(crate) fn is_waiting(&self) -> bool {
        match self {
            Wire::Plain(_) => false,
            #[cfg(feature = "tls")]
            Wire::Tls(stream) => stream.is_waiting(),
        }
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Wire::Plain(stream) => stream.peer_addr(),
            #[cfg(feature = "tls")]
            Wire::Tls(stream) => stream.peer_addr(),
        }
    }

    /// Nothing more is written: what was reaches the other side before the end does.
    pub(crate) fn end(&mut self) {
        // A connection that is gone already cannot be ended.
        let _ = match self {
            Wire::Plain(stream) => stream.shutdown(Shutdown::Write),
            #[cfg(feature = "tls")]
            Wire::Tls(stream) => stream.end(),
        };
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            #[cfg(feature = "tls")]
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            #[cfg(feature = "tls")]
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(_) => Ok(()),
            #[cfg(feature = "tls")]
            Wire::Tls(stream) => stream.flush(),
        }
    }
}
