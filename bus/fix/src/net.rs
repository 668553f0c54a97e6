//! Sessions over TCP: many behind one listener, or one that connects.
//!
//! Both are plain structs with `turn`, one bounded piece of work that never waits, and are told the
//! time. A thread that has nothing else to do calls it in a loop.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};

use bus::Ts;

use crate::message::{DataTags, Fields, Message, parse};
use crate::session::{Application, Note, Role, Session};
use crate::store::Store;
use crate::wire::{Attempt, Dialer, Secured, Wire, is_not_now};
use crate::{Framed, Framer, tags};

/// What one read takes at most.
const READ_BYTES: usize = 1 << 16;
/// How many reads of one connection a turn makes at most.
const READS_MAX: usize = 8;
/// How many refusals are kept until somebody asks.
const REFUSALS_MAX: usize = 64;
/// How many connections may be there that have not said who they are.
const WAITING_MAX: usize = 64;
/// How long a connection may take to say who it is, and how long to read what ends it.
const PATIENCE_NS: i64 = 10_000_000_000;

/// A connection and what is to be known of its end.
#[derive(Debug)]
struct Link {
    stream: Wire,
    /// Since when the last words wait to be read.
    closing_since: Option<Ts>,
}

/// The other side is not there any more.
struct Gone;

/// What is left of a connection after a turn.
enum Rest {
    /// It goes on; so much was done.
    Open(usize),
    /// It is over.
    Over,
}

impl Link {
    fn new(stream: Wire) -> Link {
        Link {
            stream,
            closing_since: None,
        }
    }

    /// Writes as much as goes, and says in how many pieces.
    fn write<S: Store>(&mut self, session: &mut Session<S>) -> Result<usize, Gone> {
        let mut writes = 0;
        while !session.output().is_empty() {
            match self.stream.write(session.output()) {
                Ok(0) => return Err(Gone),
                Ok(len) => {
                    session.written(len);
                    writes += 1;
                }
                Err(error) if is_not_now(&error) => break,
                Err(_) => return Err(Gone),
            }
        }
        match self.stream.flush() {
            Ok(()) => Ok(writes),
            Err(_) => Err(Gone),
        }
    }

    /// Reads, lets time pass, and writes.
    fn turn<S: Store, A: Application>(
        &mut self,
        session: &mut Session<S>,
        app: &mut A,
        buffer: &mut [u8],
        now: Ts,
    ) -> Rest {
        let mut work = 0;
        let mut is_over = false;
        for _ in 0..READS_MAX {
            if session.is_closing() || !app.may_read(now) {
                break;
            }
            match self.stream.read(buffer) {
                Ok(0) => {
                    is_over = true;
                    break;
                }
                Ok(len) => {
                    session.on_bytes(&buffer[..len], now, app);
                    work += 1;
                }
                Err(error) if is_not_now(&error) => break,
                Err(error) => {
                    // What the network says of an end is known to whoever looks at the network.
                    if error.kind() == io::ErrorKind::InvalidData {
                        app.on_note(&Note::Closing(error.to_string()));
                    }
                    is_over = true;
                    break;
                }
            }
        }
        session.on_time(now, app);
        if !is_over && app.may_write(now) {
            match self.write(session) {
                Ok(writes) => work += writes,
                Err(Gone) => is_over = true,
            }
        }
        if session.is_closing() && !is_over {
            let since = *self.closing_since.get_or_insert(now);
            let is_written = session.output().is_empty() && !self.stream.is_waiting();
            is_over = is_written || now.0 - since.0 >= PATIENCE_NS;
        }
        if is_over {
            // What was said reaches the other side before the end does.
            self.stream.end();
            session.on_disconnected(now, app);
            return Rest::Over;
        }
        Rest::Open(work)
    }
}

/// One session behind a listener.
#[derive(Debug)]
struct Place<S, A> {
    session: Session<S>,
    app: A,
    link: Option<Link>,
}

/// A connection that has not said who it is.
#[derive(Debug)]
struct Waiting {
    link: Link,
    framer: Framer,
    since: Ts,
}

/// Sessions that are connected to.
#[derive(Debug)]
pub struct Acceptor<S, A> {
    listener: TcpListener,
    places: Vec<Place<S, A>>,
    waiting: Vec<Waiting>,
    secured: Secured,
    refusals: Vec<String>,
    buffer: Vec<u8>,
}

impl<S: Store, A: Application> Acceptor<S, A> {
    /// Behind a listener. The first Logon of a connection says whose it is.
    pub fn new(
        listener: TcpListener,
        sessions: impl IntoIterator<Item = (Session<S>, A)>,
    ) -> io::Result<Acceptor<S, A>> {
        listener.set_nonblocking(true)?;
        let places: Vec<Place<S, A>> = sessions
            .into_iter()
            .map(|(session, app)| Place {
                session,
                app,
                link: None,
            })
            .collect();
        assert!(
            places
                .iter()
                .all(|place| place.session.config().role == Role::Acceptor)
        );
        Ok(Acceptor {
            listener,
            places,
            waiting: Vec::new(),
            secured: Secured::No,
            refusals: Vec::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Secures the connections that come from now on, as a server.
    pub fn secured(mut self, secured: Secured) -> Self {
        self.secured = secured;
        self
    }

    /// Who was not let in since the last call, and why: 64 at most, and nothing of those behind.
    pub fn take_refusals(&mut self) -> Vec<String> {
        std::mem::take(&mut self.refusals)
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Its sessions, with whom they are for.
    pub fn sessions(&mut self) -> impl Iterator<Item = (&mut Session<S>, &mut A)> {
        self.places
            .iter_mut()
            .map(|place| (&mut place.session, &mut place.app))
    }

    /// Ends a session's connection at once, without a word.
    pub fn cut(&mut self, index: usize, now: Ts) {
        let place = &mut self.places[index];
        if place.link.take().is_some() {
            place.session.on_disconnected(now, &mut place.app);
        }
    }

    /// Takes what has come, and says how much was done.
    pub fn turn(&mut self, now: Ts) -> io::Result<usize> {
        let mut work = 0;
        for _ in 0..WAITING_MAX {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if is_not_now(&error) => break,
                // The one that came is gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            work += 1;
            if let Ok(stream) = self.secured.accept(stream) {
                // Who is silent makes room for who comes: those of this turn are all looked at below.
                if self.waiting.len() == WAITING_MAX {
                    self.waiting.remove(0);
                }
                self.waiting.push(Waiting {
                    link: Link::new(stream),
                    framer: Framer::new(READ_BYTES),
                    since: now,
                });
            }
        }
        for waiting in std::mem::take(&mut self.waiting) {
            work += self.introduce(waiting, now);
        }
        for place in &mut self.places {
            let Some(link) = &mut place.link else {
                place.session.on_time(now, &mut place.app);
                continue;
            };
            match link.turn(&mut place.session, &mut place.app, &mut self.buffer, now) {
                Rest::Open(done) => work += done,
                Rest::Over => {
                    place.link = None;
                    work += 1;
                }
            }
        }
        Ok(work)
    }

    #[cold]
    fn refuse(&mut self, waiting: &Waiting, why: &str) {
        if self.refusals.len() < REFUSALS_MAX {
            let peer = waiting.link.stream.peer_addr();
            let peer = peer.map_or_else(|_| "a connection".into(), |peer| peer.to_string());
            self.refusals.push(format!("{peer} is refused: {why}"));
        }
    }

    /// What a Logon says that is of no session here, and what there is.
    #[cold]
    fn nobody(&self, logon: &Message<'_>) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let field = |tag| text(logon.get(tag).unwrap_or_default());
        let mut said = format!(
            "a Logon in {} from {} to {}",
            text(logon.begin_string()),
            field(tags::SENDER_COMP_ID),
            field(tags::TARGET_COMP_ID)
        );
        for (name, tag) in [
            ("SenderSubID", tags::SENDER_SUB_ID),
            ("TargetSubID", tags::TARGET_SUB_ID),
        ] {
            if logon.get(tag).is_some() {
                said += &format!(", {name} {}", field(tag));
            }
        }
        let known = self.places.iter().map(|place| {
            let config = place.session.config();
            let sub = |name: &str, sub: &Option<String>| {
                let sub = sub.as_ref();
                sub.map_or(String::new(), |sub| format!(", {name} {sub}"))
            };
            format!(
                "{} from {} to {}{}{}",
                config.version.begin_string(),
                config.target,
                config.sender,
                sub("SenderSubID", &config.target_sub),
                sub("TargetSubID", &config.sender_sub)
            )
        });
        let known: Vec<String> = known.collect();
        format!("{said}; want {}", known.join("; or "))
    }

    /// Gives a connection to its session, once it has said who it is. Whoever says something else
    /// first, or is there already, is not answered.
    fn introduce(&mut self, mut waiting: Waiting, now: Ts) -> usize {
        let len = match waiting.link.stream.read(&mut self.buffer) {
            Ok(0) => return 1,
            Ok(len) => len,
            Err(error) if is_not_now(&error) => {
                if now.0 - waiting.since.0 < PATIENCE_NS {
                    self.waiting.push(waiting);
                }
                return 0;
            }
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    self.refuse(&waiting, &error.to_string());
                }
                return 1;
            }
        };
        waiting.framer.push(&self.buffer[..len]);
        let range = match waiting.framer.advance() {
            None => {
                self.waiting.push(waiting);
                return 1;
            }
            Some(Framed::Garbled(_, fault)) => {
                self.refuse(&waiting, &format!("it begins with no message: {fault}"));
                return 1;
            }
            Some(Framed::Message(range)) => range,
        };
        let mut bytes = waiting.framer.bytes(range).to_vec();
        let mut fields = Fields::default();
        let logon = match parse(&bytes, &mut fields, &DataTags::default()) {
            Ok(logon) => logon,
            Err(garbled) => {
                self.refuse(&waiting, &format!("it begins with no message: {garbled}"));
                return 1;
            }
        };
        if logon.msg_type() != b"A" {
            let msg_type = String::from_utf8_lossy(logon.msg_type()).into_owned();
            self.refuse(
                &waiting,
                &format!("its first message is {msg_type}, want a Logon"),
            );
            return 1;
        }
        let found = self.places.iter().position(|place| {
            let config = place.session.config();
            let is = |tag, name: &str| logon.get(tag) == Some(name.as_bytes());
            let is_or_any =
                |tag, name: &Option<String>| name.as_ref().is_none_or(|name| is(tag, name));
            logon.begin_string() == config.version.begin_string().as_bytes()
                && is(tags::SENDER_COMP_ID, &config.target)
                && is(tags::TARGET_COMP_ID, &config.sender)
                && is_or_any(tags::SENDER_SUB_ID, &config.target_sub)
                && is_or_any(tags::TARGET_SUB_ID, &config.sender_sub)
        });
        let Some(found) = found else {
            let why = self.nobody(&logon);
            self.refuse(&waiting, &why);
            return 1;
        };
        let place = &mut self.places[found];
        // The end of the connection before may be there already, and only not have been read.
        if let Some(link) = &mut place.link
            && let Rest::Over = link.turn(&mut place.session, &mut place.app, &mut self.buffer, now)
        {
            place.link = None;
        }
        if place.link.is_some() {
            let note = Note::Closing("a second connection of the same session".into());
            place.app.on_note(&note);
            return 1;
        }
        bytes.extend_from_slice(waiting.framer.rest());
        place.session.on_connected(now, &mut place.app);
        place.session.on_bytes(&bytes, now, &mut place.app);
        place.link = Some(waiting.link);
        1
    }
}

/// How far a connection of ours is.
#[derive(Debug)]
enum Reach {
    /// Not tried again before this time.
    Away(Ts),
    /// Tried since this time.
    Trying(Attempt, Ts),
    /// There.
    There(Link),
}

/// A session that connects, and connects again.
#[derive(Debug)]
pub struct Initiator<S, A> {
    address: SocketAddr,
    /// How long after a connection ended, or did not come, the next is tried.
    retry_ns: i64,
    dialer: Dialer,
    session: Session<S>,
    app: A,
    reach: Reach,
    buffer: Vec<u8>,
}

impl<S: Store, A: Application> Initiator<S, A> {
    /// To this address; tried anew this long after a failure.
    pub fn new(address: SocketAddr, retry_ns: i64, session: Session<S>, app: A) -> Self {
        assert!(session.config().role == Role::Initiator);
        Initiator {
            address,
            retry_ns,
            dialer: Dialer::Plain,
            session,
            app,
            reach: Reach::Away(Ts::MIN),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Secures its connections. Where that takes a thread, it inherits where the caller may run.
    ///
    /// # Panics
    /// Where `secured` is for the side that accepts.
    pub fn secured(mut self, secured: Secured) -> io::Result<Self> {
        self.dialer = secured.dialer()?;
        Ok(self)
    }

    /// The session, and whom it is for.
    pub fn session(&mut self) -> (&mut Session<S>, &mut A) {
        (&mut self.session, &mut self.app)
    }

    /// How many bytes wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        let is_in_between = match &self.reach {
            Reach::There(link) => link.stream.is_waiting(),
            Reach::Away(_) | Reach::Trying(..) => false,
        };
        self.session.output().len() + usize::from(is_in_between)
    }

    /// Writes what waits, and does nothing else: for whoever has just sent something. What is wrong
    /// with the connection shows in the next turn.
    pub fn flush(&mut self) -> usize {
        match &mut self.reach {
            Reach::There(link) => link.write(&mut self.session).unwrap_or(0),
            Reach::Away(_) | Reach::Trying(..) => 0,
        }
    }

    /// Ends the connection at once, without a word.
    pub fn cut(&mut self, now: Ts) {
        if matches!(self.reach, Reach::There(_)) {
            self.session.on_disconnected(now, &mut self.app);
        }
        self.reach = Reach::Away(Ts(now.0.saturating_add(self.retry_ns)));
    }

    /// Connects, or takes what has come, and says how much was done.
    pub fn turn(&mut self, now: Ts) -> usize {
        match &mut self.reach {
            Reach::Away(until) => {
                self.session.on_time(now, &mut self.app);
                if now < *until || !self.session.is_open(now) {
                    return 0;
                }
                match self.dialer.begin(self.address) {
                    Ok(attempt) => self.reach = Reach::Trying(attempt, now),
                    Err(error) => self.give_up(&error.to_string(), now),
                }
                1
            }
            Reach::Trying(attempt, since) => {
                match attempt.outcome(now.0 - since.0) {
                    Ok(None) => return 0,
                    Ok(Some(stream)) => {
                        self.session.on_connected(now, &mut self.app);
                        self.reach = Reach::There(Link::new(stream));
                    }
                    Err(error) => self.give_up(&error.to_string(), now),
                }
                1
            }
            Reach::There(link) => {
                match link.turn(&mut self.session, &mut self.app, &mut self.buffer, now) {
                    Rest::Open(work) => work,
                    Rest::Over => {
                        self.reach = Reach::Away(Ts(now.0.saturating_add(self.retry_ns)));
                        1
                    }
                }
            }
        }
    }

    fn give_up(&mut self, why: &str, now: Ts) {
        let note = Note::Closing(format!("{}: {why}", self.address));
        self.app.on_note(&note);
        self.reach = Reach::Away(Ts(now.0.saturating_add(self.retry_ns)));
    }
}
