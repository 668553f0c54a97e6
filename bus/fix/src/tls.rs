//! TLS for sessions: rustls with ring as its provider, TLS 1.2 and 1.3.
//!
//! Who connects believes the certificates of one file and no others; who accepts shows one of its own.
//! Who connects does so on a thread of its own, with the handshake, which has a deadline: its hundreds
//! of microseconds are none of a shard's. Behind it nothing blocks: what waits for the network is tried
//! again with the next read or write.
//!
//! ```text
//! shard ── address ──► thread `tls`: connect, handshake, certificate ──► connection ──► shard
//! ```
//!
//! Each record is encrypted by whoever writes it, and rustls keeps it in memory of the heap until the
//! socket has it.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, CertificateError, ClientConfig, ClientConnection, Connection};
use rustls::{RootCertStore, ServerConfig, ServerConnection};

/// How long a connection and its handshake may take together.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The side that connects.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// The side that accepts.
#[derive(Clone, Debug)]
pub struct Server {
    config: Arc<ServerConfig>,
}

fn bad(what: impl fmt::Display) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_string())
}

/// What went wrong between the two sides, and what that mostly means.
#[cold]
fn told(error: &rustls::Error) -> io::Error {
    use rustls::Error;
    let hint = match error {
        Error::InvalidMessage(_) => "; what came is no TLS, want a peer that speaks it",
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "; it is signed by none of the certificates that are believed (`ca`)"
        }
        Error::AlertReceived(AlertDescription::UnknownCA) => {
            "; the other side does not believe the signer of our certificate"
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "; the other side wants a certificate of ours"
        }
        Error::NoCertificatesPresented => "; want a certificate of the other side",
        _ => "",
    };
    bad(format_args!("TLS: {error}{hint}"))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let told = |error: pem::Error| bad(format_args!("{}: {error}", path.display()));
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(told)?.collect();
    match found.map_err(told)? {
        none if none.is_empty() => Err(bad(format_args!(
            "{}: no certificate in it, want some in PEM",
            path.display()
        ))),
        some => Ok(some),
    }
}

fn key(path: &Path) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let place = path.display();
        bad(format_args!("{place}: {error}, want a key in PEM"))
    })
}

fn roots(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| bad(format_args!("{}: {error}", path.display())))?;
    }
    Ok(roots)
}

impl Client {
    /// Believes the certificates in the file `ca` (PEM), for a server of this name: a DNS name or an
    /// address. `own` are the files of a certificate and its key, where the server wants one.
    pub fn new(ca: &Path, name: &str, own: Option<(&Path, &Path)>) -> io::Result<Client> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(bad)?
            .with_root_certificates(roots(ca)?);
        let config = match own {
            None => config.with_no_client_auth(),
            Some((certificate, its)) => config
                .with_client_auth_cert(certificates(certificate)?, key(its)?)
                .map_err(|error| bad(format_args!("{}: {error}", its.display())))?,
        };
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            bad(format_args!(
                "`{name}` is no name of a server, want a DNS name or an address"
            ))
        })?;
        Ok(Client {
            config: Arc::new(config),
            name,
        })
    }

    /// Starts the thread that makes connections.
    pub(crate) fn dialer(self) -> io::Result<Dialer> {
        let (asks, asked) = mpsc::channel::<Ask>();
        let body = move || {
            for (address, answer) in asked {
                // Nobody waits for it any more where that fails.
                let _ = answer.send(self.dial(address));
            }
        };
        thread::Builder::new().name("tls".into()).spawn(body)?;
        Ok(Dialer { asks })
    }

    /// Connects, and is believed and believes, or does not within the time there is for it.
    fn dial(&self, address: SocketAddr) -> io::Result<Stream> {
        let begun = Instant::now();
        let mut tcp = TcpStream::connect_timeout(&address, HANDSHAKE)?;
        tcp.set_nodelay(true)?;
        let tls = ClientConnection::new(self.config.clone(), self.name.clone()).map_err(bad)?;
        let mut tls = Connection::from(tls);
        while tls.is_handshaking() || tls.wants_write() {
            let left = HANDSHAKE.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(late());
            }
            let done = if tls.wants_write() {
                tcp.set_write_timeout(Some(left))?;
                tls.write_tls(&mut tcp)
            } else {
                tcp.set_read_timeout(Some(left))?;
                tls.read_tls(&mut tcp)
            };
            match done {
                Ok(0) => {
                    return Err(bad(
                        "TLS: the other side ended the connection within the handshake; want a peer \
                         that speaks TLS",
                    ));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(late()),
                Err(error) => return Err(error),
            }
            if let Err(error) = tls.process_new_packets() {
                // The other side is told why.
                while tls.wants_write() && tls.write_tls(&mut tcp).is_ok_and(|count| count > 0) {}
                return Err(told(&error));
            }
        }
        tcp.set_nonblocking(true)?;
        Ok(Stream { tcp, tls })
    }
}

#[cold]
fn late() -> io::Error {
    let seconds = HANDSHAKE.as_secs();
    let what = format!("TLS: no handshake within {seconds} s; want a peer that speaks TLS");
    io::Error::new(ErrorKind::TimedOut, what)
}

/// An address, and where the connection goes.
type Ask = (SocketAddr, mpsc::SyncSender<io::Result<Stream>>);

/// Has a thread that makes connections, which ends with this.
#[derive(Debug)]
pub(crate) struct Dialer {
    asks: mpsc::Sender<Ask>,
}

impl Dialer {
    pub(crate) fn begin(
        &self,
        address: SocketAddr,
    ) -> io::Result<mpsc::Receiver<io::Result<Stream>>> {
        let (answer, answered) = mpsc::sync_channel(1);
        match self.asks.send((address, answer)) {
            Ok(()) => Ok(answered),
            Err(_) => Err(io::Error::other(
                "the thread that makes connections is gone",
            )),
        }
    }
}

impl Server {
    /// Shows the certificates of a file (PEM), the first its own, with the key of another. With
    /// `believed`, whoever connects must show one that is signed by one of that file.
    pub fn new(certificate: &Path, its_key: &Path, believed: Option<&Path>) -> io::Result<Server> {
        let provider = Arc::new(default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(bad)?;
        let config = match believed {
            None => config.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = verifier.build();
                let told = |error| bad(format_args!("{}: {error}", path.display()));
                config.with_client_cert_verifier(verifier.map_err(told)?)
            }
        };
        let config = config
            .with_single_cert(certificates(certificate)?, key(its_key)?)
            .map_err(|error| bad(format_args!("{}: {error}", its_key.display())))?;
        Ok(Server {
            config: Arc::new(config),
        })
    }

    /// Takes over a connection that does not block.
    pub(crate) fn over(&self, tcp: TcpStream) -> io::Result<Stream> {
        let tls = ServerConnection::new(self.config.clone()).map_err(bad)?;
        Ok(Stream {
            tcp,
            tls: tls.into(),
        })
    }
}

/// A connection that does not block; on the side that accepts, its handshake included.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
    tls: Connection,
}

impl Stream {
    pub(crate) fn is_waiting(&self) -> bool {
        self.tls.wants_write()
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        // What finds no room now is lost: the other side sees the end without it.
        let _ = self.push();
        self.tcp.shutdown(Shutdown::Write)
    }

    /// Writes what TLS has to say, as far as there is room.
    fn push(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut self.tcp)? == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// As [`Stream::push`]; no room is no error.
    fn push_some(&mut self) -> io::Result<()> {
        match self.push() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            done => done,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // An end that TLS did not announce is an end all the same: messages are framed.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            self.push_some()?;
            // Nothing of it can be read before more has come.
            let count = self.tls.read_tls(&mut self.tcp)?;
            if let Err(error) = self.tls.process_new_packets() {
                // The other side is told why.
                let _ = self.push_some();
                return Err(told(&error));
            }
            // What came may have to be answered before anything else comes.
            self.push_some()?;
            if count == 0 && self.tls.is_handshaking() {
                return Ok(0);
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // What was taken before goes first, so that no more than one buffer ever waits.
        self.push()?;
        let count = self.tls.writer().write(bytes)?;
        self.push_some()?;
        match count {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.push_some()
    }
}
