//! SoupBinTCP 3.0: messages over TCP, those of the server numbered, so that who lost the connection
//! goes on where it ended. Both sides of it, without any I/O: bytes in, bytes out, and the time told.
//!
//! ```text
//! byte  0        2      3
//!       length   type   payload (length - 1)
//!
//! server   A login accepted   J rejected   S sequenced   U unsequenced   H heartbeat   Z end of session
//! client   L login request    O logout     R heartbeat   U unsequenced
//! both     + debug
//! ```
//!
//! A session's sequenced messages are numbered from 1 on by counting them: a login says which one is
//! wanted first, and the answer which one comes first. Feeds of market data and of order entry are
//! both made of this.

use std::fmt;

/// The longest packet that is believed, its type included. Messages of the feeds have below a hundred
/// bytes; a longer packet says that we have lost our place.
pub const LENGTH_MAX: u16 = 4_096;
/// The bytes before a payload.
pub const HEADER_BYTES: usize = 3;
/// Whoever sent nothing for so long says that it is there.
pub const HEARTBEAT_NS: u64 = 1_000_000_000;
/// The bytes that are taken from the network at a time.
const INBOX_BYTES: usize = 64 << 10;
/// A login request waits for its answer no longer than this, on the server's side for the request.
const LOGIN_NS: u64 = 30_000_000_000;

const _: () = assert!(INBOX_BYTES >= 2 * (2 + LENGTH_MAX as usize));

/// Who logs in, and from where on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Login {
    /// The user's name, padded with spaces on its right.
    pub user: [u8; 6],
    /// The password, likewise.
    pub password: [u8; 10],
    /// The session, padded on its left; spaces for the one that is on.
    pub session: [u8; 10],
    /// The first message wanted; 0 for the next one that comes.
    pub sequence: u64,
}

impl Login {
    /// A login by texts; `None` where one is too long or not of printable ASCII.
    pub fn new(user: &str, password: &str, session: &str, sequence: u64) -> Option<Login> {
        Some(Login {
            user: padded_right(user)?,
            password: padded_right(password)?,
            session: padded_left(session)?,
            sequence,
        })
    }
}

impl fmt::Debug for Login {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Login { user, session, .. } = self;
        let (user, session) = (user.escape_ascii(), session.escape_ascii());
        write!(f, "Login({user}, {session}, {})", self.sequence)
    }
}

fn padded_right<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [b' '; N];
    let is_right = text.bytes().all(|byte| byte.is_ascii_graphic());
    bytes
        .get_mut(..text.len())?
        .copy_from_slice(text.as_bytes());
    is_right.then_some(bytes)
}

fn padded_left<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [b' '; N];
    let is_right = text.bytes().all(|byte| byte.is_ascii_graphic());
    let at = N.checked_sub(text.len())?;
    bytes[at..].copy_from_slice(text.as_bytes());
    is_right.then_some(bytes)
}

/// A number in 20 letters, padded on its left.
fn number(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.trim_ascii();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    text.parse().ok()
}

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Text for people.
    Debug(&'a [u8]),
    /// The login is good; the session's name, and the number of the first message to come.
    #[allow(missing_docs)]
    Accepted { session: [u8; 10], sequence: u64 },
    /// The login is not: `A` for not authorised, `S` for no such session.
    #[allow(missing_docs)]
    Rejected { reason: u8 },
    /// A numbered message.
    Sequenced(&'a [u8]),
    /// A message without a number.
    Unsequenced(&'a [u8]),
    /// The server has nothing to say.
    ServerHeartbeat,
    /// The session is over.
    EndOfSession,
    /// A client wants to log in.
    Login(Login),
    /// The client has nothing to say.
    ClientHeartbeat,
    /// The client leaves.
    Logout,
}

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// A length of nothing, or of more than there is.
    #[allow(missing_docs)]
    Length { got: u16 },
    /// A type that SoupBinTCP does not have.
    #[allow(missing_docs)]
    Type { got: u8 },
    /// Not the length of its type.
    #[allow(missing_docs)]
    Size { code: u8, got: u16, want: u16 },
    /// A field, from this byte of the payload on, that is no number.
    #[allow(missing_docs)]
    Field { code: u8, offset_bytes: usize },
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |code: u8| code.escape_ascii();
        match *self {
            Bad::Length { got } => write!(f, "packet length {got}, want 1 to {LENGTH_MAX}"),
            Bad::Type { got } => {
                write!(
                    f,
                    "packet type '{}', want one of SoupBinTCP 3.0",
                    letter(got)
                )
            }
            Bad::Size { code, got, want } => write!(
                f,
                "packet length {got}, want {want} for type '{}'",
                letter(code)
            ),
            Bad::Field { code, offset_bytes } => write!(
                f,
                "type '{}': no number at byte {offset_bytes} of the payload",
                letter(code)
            ),
        }
    }
}

/// How many bytes the packet takes that `bytes` begin with, its length included; `None` where more of
/// them are needed to say, or to have all of it.
pub fn whole(bytes: &[u8]) -> Result<Option<usize>, Bad> {
    let Some(length) = bytes.first_chunk::<2>() else {
        return Ok(None);
    };
    let got = u16::from_be_bytes(*length);
    if !(1..=LENGTH_MAX).contains(&got) {
        return Err(Bad::Length { got });
    }
    let bytes_all = 2 + usize::from(got);
    Ok((bytes.len() >= bytes_all).then_some(bytes_all))
}

impl<'a> Packet<'a> {
    /// The packet that is all of `bytes`, as [`whole`] says.
    pub fn parse(bytes: &'a [u8]) -> Result<Packet<'a>, Bad> {
        let got = (bytes.len() - 2) as u16;
        let (code, payload) = (bytes[2], &bytes[HEADER_BYTES..]);
        let sized = |want: u16| match got == want {
            true => Ok(()),
            false => Err(Bad::Size { code, got, want }),
        };
        let number_at = |offset_bytes: usize| {
            let found = number(&payload[offset_bytes..offset_bytes + 20]);
            found.ok_or(Bad::Field { code, offset_bytes })
        };
        let letters = |offset_bytes: usize| {
            let found = payload[offset_bytes..].first_chunk::<10>();
            *found.expect("the length was looked at")
        };
        Ok(match code {
            b'+' => Packet::Debug(payload),
            b'S' => Packet::Sequenced(payload),
            b'U' => Packet::Unsequenced(payload),
            b'H' => sized(1).map(|()| Packet::ServerHeartbeat)?,
            b'R' => sized(1).map(|()| Packet::ClientHeartbeat)?,
            b'Z' => sized(1).map(|()| Packet::EndOfSession)?,
            b'O' => sized(1).map(|()| Packet::Logout)?,
            b'J' => {
                sized(2)?;
                Packet::Rejected { reason: payload[0] }
            }
            b'A' => {
                sized(31)?;
                Packet::Accepted {
                    session: letters(0),
                    sequence: number_at(10)?,
                }
            }
            b'L' => {
                sized(47)?;
                Packet::Login(Login {
                    user: *payload.first_chunk().expect("the length was looked at"),
                    password: letters(6),
                    session: letters(16),
                    sequence: number_at(26)?,
                })
            }
            got => return Err(Bad::Type { got }),
        })
    }

    /// Adds its bytes.
    ///
    /// # Panics
    /// Where a message is longer than a packet can be.
    pub fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let mut put = |code: u8, payload: &[u8]| {
            assert!(payload.len() < usize::from(LENGTH_MAX), "a packet takes it");
            out.extend_from_slice(&[0, 0, code]);
            out.extend_from_slice(payload);
        };
        match *self {
            Packet::Debug(text) => put(b'+', text),
            Packet::Sequenced(message) => put(b'S', message),
            Packet::Unsequenced(message) => put(b'U', message),
            Packet::ServerHeartbeat => put(b'H', &[]),
            Packet::ClientHeartbeat => put(b'R', &[]),
            Packet::EndOfSession => put(b'Z', &[]),
            Packet::Logout => put(b'O', &[]),
            Packet::Rejected { reason } => put(b'J', &[reason]),
            Packet::Accepted { session, sequence } => {
                put(b'A', &session);
                out.extend_from_slice(format!("{sequence:>20}").as_bytes());
            }
            Packet::Login(login) => {
                put(b'L', &login.user);
                out.extend_from_slice(&login.password);
                out.extend_from_slice(&login.session);
                out.extend_from_slice(format!("{:>20}", login.sequence).as_bytes());
            }
        }
        let length = (out.len() - start - 2) as u16;
        out[start..start + 2].copy_from_slice(&length.to_be_bytes());
    }
}

/// Bytes that came, and packets taken off their front.
#[derive(Debug)]
struct Inbox {
    bytes: Box<[u8]>,
    at: usize,
    end: usize,
}

impl Inbox {
    fn new() -> Inbox {
        Inbox {
            bytes: vec![0; INBOX_BYTES].into_boxed_slice(),
            at: 0,
            end: 0,
        }
    }

    /// Where the next bytes go; there is room whenever no whole packet is left.
    fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.at..self.end, 0);
        (self.at, self.end) = (0, self.end - self.at);
        &mut self.bytes[self.end..]
    }

    /// Takes the next packet off; says where it stands.
    fn next(&mut self) -> Result<Option<(usize, usize)>, Bad> {
        let Some(len) = whole(&self.bytes[self.at..self.end])? else {
            return Ok(None);
        };
        let found = (self.at, self.at + len);
        self.at += len;
        Ok(Some(found))
    }
}

/// Bytes that are to leave.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    at: usize,
}

impl Outbox {
    fn left(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn sent(&mut self, count: usize) {
        self.at += count;
        if self.at == self.bytes.len() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }

    fn put(&mut self, packet: &Packet<'_>) {
        packet.put(&mut self.bytes);
    }
}

/// Why a connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The login was refused, for this reason.
    Rejected(u8),
    /// The other side was not heard of for so long.
    Silent(u64),
    /// A packet that is none.
    Bad(Bad),
    /// A packet of this type where none of it is expected.
    Unexpected(u8),
}

impl From<Bad> for Fault {
    fn from(bad: Bad) -> Fault {
        Fault::Bad(bad)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Rejected(b'A') => f.write_str("the login is rejected: not authorised"),
            Fault::Rejected(b'S') => f.write_str("the login is rejected: no such session"),
            Fault::Rejected(reason) => {
                let reason = reason.escape_ascii();
                write!(f, "the login is rejected, with the reason '{reason}'")
            }
            Fault::Silent(ns) => {
                let seconds = *ns as f64 / 1e9;
                write!(f, "nothing was heard for {seconds} s, not even a heartbeat")
            }
            Fault::Bad(bad) => bad.fmt(f),
            Fault::Unexpected(code) => {
                let code = code.escape_ascii();
                write!(f, "a packet of type '{code}' where none is expected")
            }
        }
    }
}

impl std::error::Error for Fault {}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// The login is good. The next message has this number.
    #[allow(missing_docs)]
    Accepted { session: [u8; 10], sequence: u64 },
    /// A message and its number.
    #[allow(missing_docs)]
    Message { sequence: u64, bytes: &'a [u8] },
    /// A message without a number.
    Unnumbered(&'a [u8]),
    /// Text for people.
    Debug(&'a [u8]),
    /// It is there.
    Heartbeat,
    /// The session is over.
    Ended,
}

/// The client's side of a connection, and of the next one.
#[derive(Debug)]
pub struct Client {
    /// What to ask for: the login given at first, then the session that was met and what comes next
    /// of it.
    login: Login,
    silence_ns: u64,
    phase: Phase,
    inbox: Inbox,
    outbox: Outbox,
    heard_ns: u64,
    spoke_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No login was asked for or answered yet.
    Before,
    /// Messages go to and fro.
    On,
    /// The session is over.
    Over,
}

impl Client {
    /// One that will log in like this, and takes a server for lost that is silent for so long.
    pub fn new(login: Login, silence_ns: u64) -> Client {
        Client {
            login,
            silence_ns,
            phase: Phase::Before,
            inbox: Inbox::new(),
            outbox: Outbox::default(),
            heard_ns: 0,
            spoke_ns: 0,
        }
    }

    /// There is a new connection: logs in, to go on where the last one ended.
    pub fn connected(&mut self, now_ns: u64) {
        (self.inbox.at, self.inbox.end) = (0, 0);
        self.outbox.clear();
        self.outbox.put(&Packet::Login(self.login));
        self.phase = Phase::Before;
        (self.heard_ns, self.spoke_ns) = (now_ns, now_ns);
    }

    /// What the next login will ask for.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// Whether a login was accepted on this connection, and the session goes on.
    pub fn is_on(&self) -> bool {
        self.phase == Phase::On
    }

    /// Whether the session's end was told.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Where received bytes go. To be asked for when [`Client::hear`] has nothing more.
    pub fn room(&mut self) -> &mut [u8] {
        self.inbox.room()
    }

    /// So many bytes came into the room.
    pub fn received(&mut self, count: usize, now_ns: u64) {
        self.inbox.end += count;
        self.heard_ns = now_ns;
    }

    /// What is to be sent.
    pub fn to_send(&self) -> &[u8] {
        self.outbox.left()
    }

    /// So many bytes of it were sent.
    pub fn sent(&mut self, count: usize, now_ns: u64) {
        self.outbox.sent(count);
        self.spoke_ns = now_ns;
    }

    /// Sends a message without a number, as orders are.
    pub fn send(&mut self, message: &[u8]) {
        self.outbox.put(&Packet::Unsequenced(message));
    }

    /// Says good-bye.
    pub fn log_out(&mut self) {
        self.outbox.put(&Packet::Logout);
    }

    /// Time passes: says that we are there, and finds out that the server is not.
    pub fn tick(&mut self, now_ns: u64) -> Result<(), Fault> {
        let silent_ns = now_ns.saturating_sub(self.heard_ns);
        if silent_ns >= self.silence_ns && self.phase != Phase::Over {
            return Err(Fault::Silent(silent_ns));
        }
        let is_quiet = now_ns.saturating_sub(self.spoke_ns) >= HEARTBEAT_NS;
        if is_quiet && self.phase == Phase::On && self.outbox.left().is_empty() {
            self.outbox.put(&Packet::ClientHeartbeat);
        }
        Ok(())
    }

    /// The next thing that the server says. After a fault the connection is to be closed.
    pub fn hear(&mut self) -> Result<Option<Said<'_>>, Fault> {
        let Some((from, to)) = self.inbox.next()? else {
            return Ok(None);
        };
        let bytes = &self.inbox.bytes[from..to];
        let unexpected = Err(Fault::Unexpected(bytes[2]));
        let said = match (Packet::parse(bytes)?, self.phase) {
            (Packet::Debug(text), _) => Said::Debug(text),
            (Packet::Accepted { session, sequence }, Phase::Before) => {
                self.phase = Phase::On;
                (self.login.session, self.login.sequence) = (session, sequence.max(1));
                let sequence = self.login.sequence;
                Said::Accepted { session, sequence }
            }
            (Packet::Rejected { reason }, Phase::Before) => return Err(Fault::Rejected(reason)),
            (Packet::Sequenced(bytes), Phase::On) => {
                let sequence = self.login.sequence;
                self.login.sequence = sequence.saturating_add(1);
                Said::Message { sequence, bytes }
            }
            (Packet::Unsequenced(bytes), Phase::On) => Said::Unnumbered(bytes),
            (Packet::ServerHeartbeat, _) => Said::Heartbeat,
            (Packet::EndOfSession, Phase::On) => {
                self.phase = Phase::Over;
                Said::Ended
            }
            (
                Packet::Accepted { .. }
                | Packet::Rejected { .. }
                | Packet::Sequenced(_)
                | Packet::Unsequenced(_)
                | Packet::EndOfSession
                | Packet::Login(_)
                | Packet::ClientHeartbeat
                | Packet::Logout,
                _,
            ) => return unexpected,
        };
        Ok(Some(said))
    }
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants<'a> {
    /// To log in; to be answered with [`Server::accept`] or [`Server::reject`].
    Login(Login),
    /// A message of it.
    Message(&'a [u8]),
    /// Text for people.
    Debug(&'a [u8]),
    /// To leave.
    Logout,
}

/// The server's side of one connection.
#[derive(Debug)]
pub struct Server {
    silence_ns: u64,
    phase: Phase,
    inbox: Inbox,
    outbox: Outbox,
    heard_ns: u64,
    spoke_ns: u64,
}

impl Server {
    /// Of a connection that was just made. A client that is silent for so long is gone.
    pub fn new(silence_ns: u64, now_ns: u64) -> Server {
        Server {
            silence_ns,
            phase: Phase::Before,
            inbox: Inbox::new(),
            outbox: Outbox::default(),
            heard_ns: now_ns,
            spoke_ns: now_ns,
        }
    }

    /// The login is good; messages from this number on follow.
    pub fn accept(&mut self, session: [u8; 10], sequence: u64) {
        self.phase = Phase::On;
        self.outbox.put(&Packet::Accepted { session, sequence });
    }

    /// The login is not good; the connection is to be closed once that is sent.
    pub fn reject(&mut self, reason: u8) {
        self.phase = Phase::Over;
        self.outbox.put(&Packet::Rejected { reason });
    }

    /// Sends the next numbered message.
    pub fn send(&mut self, message: &[u8]) {
        self.outbox.put(&Packet::Sequenced(message));
    }

    /// The session is over; the connection is to be closed once that is sent.
    pub fn end(&mut self) {
        self.phase = Phase::Over;
        self.outbox.put(&Packet::EndOfSession);
    }

    /// Whether a login was accepted, and the session goes on.
    pub fn is_on(&self) -> bool {
        self.phase == Phase::On
    }

    /// Whether there is nothing more to come from here.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Where received bytes go. To be asked for when [`Server::hear`] has nothing more.
    pub fn room(&mut self) -> &mut [u8] {
        self.inbox.room()
    }

    /// So many bytes came into the room.
    pub fn received(&mut self, count: usize, now_ns: u64) {
        self.inbox.end += count;
        self.heard_ns = now_ns;
    }

    /// What is to be sent.
    pub fn to_send(&self) -> &[u8] {
        self.outbox.left()
    }

    /// So many bytes of it were sent.
    pub fn sent(&mut self, count: usize, now_ns: u64) {
        self.outbox.sent(count);
        self.spoke_ns = now_ns;
    }

    /// Time passes: says that we are there, and finds out that the client is not.
    pub fn tick(&mut self, now_ns: u64) -> Result<(), Fault> {
        let silent_ns = now_ns.saturating_sub(self.heard_ns);
        let silence_ns = match self.phase {
            Phase::Before => LOGIN_NS,
            Phase::On | Phase::Over => self.silence_ns,
        };
        if silent_ns >= silence_ns {
            return Err(Fault::Silent(silent_ns));
        }
        let is_quiet = now_ns.saturating_sub(self.spoke_ns) >= HEARTBEAT_NS;
        if is_quiet && self.phase == Phase::On && self.outbox.left().is_empty() {
            self.outbox.put(&Packet::ServerHeartbeat);
        }
        Ok(())
    }

    /// The next thing that the client wants. After a fault the connection is to be closed.
    pub fn hear(&mut self) -> Result<Option<Wants<'_>>, Fault> {
        let (from, to) = loop {
            let Some((from, to)) = self.inbox.next()? else {
                return Ok(None);
            };
            let is_heartbeat =
                Packet::parse(&self.inbox.bytes[from..to])? == Packet::ClientHeartbeat;
            if !is_heartbeat {
                break (from, to);
            }
        };
        let bytes = &self.inbox.bytes[from..to];
        match (Packet::parse(bytes)?, self.phase) {
            (Packet::Login(login), Phase::Before) => Ok(Some(Wants::Login(login))),
            (Packet::Unsequenced(message), Phase::On) => Ok(Some(Wants::Message(message))),
            (Packet::Debug(text), _) => Ok(Some(Wants::Debug(text))),
            (Packet::Logout, _) => Ok(Some(Wants::Logout)),
            (
                Packet::Login(_)
                | Packet::Unsequenced(_)
                | Packet::Accepted { .. }
                | Packet::Rejected { .. }
                | Packet::Sequenced(_)
                | Packet::ServerHeartbeat
                | Packet::ClientHeartbeat
                | Packet::EndOfSession,
                _,
            ) => Err(Fault::Unexpected(bytes[2])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: [u8; 10] = *b"      DAY1";

    fn login(sequence: u64) -> Login {
        Login::new("me", "secret", "", sequence).expect("it fits")
    }

    /// A client on a connection, at the time 0.
    fn client(sequence: u64) -> Client {
        let mut client = Client::new(login(sequence), 15 * HEARTBEAT_NS);
        client.connected(0);
        client
    }

    fn bytes(packets: &[Packet<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.put(&mut bytes));
        bytes
    }

    /// What a client hears of these bytes, brought in pieces of this size.
    fn heard(client: &mut Client, bytes: &[u8], piece: usize) -> Result<Vec<String>, Fault> {
        let mut heard = Vec::new();
        for piece in bytes.chunks(piece) {
            client.room()[..piece.len()].copy_from_slice(piece);
            client.received(piece.len(), 1);
            while let Some(said) = client.hear()? {
                heard.push(match said {
                    Said::Accepted { session, sequence } => {
                        format!("{} from {sequence}", session.escape_ascii())
                    }
                    Said::Message { sequence, bytes } => {
                        format!("{sequence} {}", bytes.escape_ascii())
                    }
                    Said::Unnumbered(bytes) => format!("- {}", bytes.escape_ascii()),
                    Said::Debug(text) => format!("+ {}", text.escape_ascii()),
                    Said::Heartbeat => "here".into(),
                    Said::Ended => "over".into(),
                });
            }
        }
        Ok(heard)
    }

    fn accepted(sequence: u64) -> Packet<'static> {
        Packet::Accepted {
            session: SESSION,
            sequence,
        }
    }

    #[test]
    fn packets_are_the_bytes_that_the_protocol_says() {
        let said = bytes(&[
            Packet::Login(login(7)),
            accepted(12),
            Packet::Rejected { reason: b'S' },
            Packet::Sequenced(b"hi"),
            Packet::EndOfSession,
        ]);
        let want = format!(
            "\0\x2fLme    secret    {:10}{:>20}\0\x1fA      DAY1{:>20}\0\x02JS\0\x03Shi\0\x01Z",
            "", 7, 12
        );
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(text(&said), text(want.as_bytes()));
    }

    #[test]
    fn a_session_is_heard_whatever_the_pieces_it_comes_in() {
        let all = bytes(&[
            Packet::Debug(b"hello"),
            accepted(3),
            Packet::Sequenced(b"three"),
            Packet::ServerHeartbeat,
            Packet::Unsequenced(b"aside"),
            Packet::Sequenced(b""),
            Packet::EndOfSession,
        ]);
        for piece in [1, 2, 7, all.len()] {
            let mut client = client(3);
            let heard = heard(&mut client, &all, piece).unwrap().join(", ");
            let want = "+ hello,       DAY1 from 3, 3 three, here, - aside, 4 , over";
            assert_eq!(heard, want, "in pieces of {piece}");
            assert!(client.is_over());
        }
    }

    #[test]
    fn the_next_connection_goes_on_with_the_next_message_of_the_same_session() {
        let mut client = client(1);
        let all = bytes(&[
            accepted(1),
            Packet::Sequenced(b"1"),
            Packet::Sequenced(b"2"),
        ]);
        // The third message is cut by the end of the connection.
        let cut = [&all[..], b"\0\x04Sab"].concat();
        heard(&mut client, &cut, 9).unwrap();
        client.connected(5);
        let Packet::Login(again) = Packet::parse(client.to_send()).unwrap() else {
            panic!("no login")
        };
        assert_eq!((again.session, again.sequence), (SESSION, 3));
        let all = bytes(&[accepted(3), Packet::Sequenced(b"abc")]);
        let heard = heard(&mut client, &all, 4).unwrap();
        assert_eq!(heard[1], "3 abc");
    }

    #[test]
    fn what_a_server_may_not_say_is_a_fault() {
        let fault = |packets: &[u8]| {
            let fault = heard(&mut client(1), packets, 64).unwrap_err();
            fault.to_string()
        };
        let on = bytes(&[accepted(1)]);
        let then = |more: &[u8]| fault(&[&on[..], more].concat());
        assert_eq!(fault(b"\0\x02JA"), "the login is rejected: not authorised");
        assert_eq!(fault(b"\0\x02JS"), "the login is rejected: no such session");
        assert_eq!(then(b"\0\0"), "packet length 0, want 1 to 4096");
        assert_eq!(then(b"\xff\xff"), "packet length 65535, want 1 to 4096");
        assert_eq!(
            then(b"\0\x01?"),
            "packet type '?', want one of SoupBinTCP 3.0"
        );
        assert_eq!(then(b"\0\x02Hx"), "packet length 2, want 1 for type 'H'");
        let early = "a packet of type 'S' where none is expected";
        assert_eq!(fault(b"\0\x02Sx"), early);
        assert_eq!(then(&on), early.replace('S', "A"));
        assert_eq!(then(b"\0\x01R"), early.replace('S', "R"));
        let blank = [b"\0\x1fA", &[b' '; 30][..]].concat();
        assert_eq!(
            fault(&blank),
            "type 'A': no number at byte 10 of the payload"
        );
        assert_eq!(Login::new("toolong", "", "", 1), None);
        assert_eq!(Login::new("ä", "", "", 1), None);
    }

    #[test]
    fn silence_is_noticed_and_not_kept_by_oneself() {
        let mut client = client(1);
        client.sent(client.to_send().len(), 0);
        heard(&mut client, &bytes(&[accepted(1)]), 64).unwrap();
        client.tick(HEARTBEAT_NS - 1).unwrap();
        assert_eq!(client.to_send(), b"");
        client.tick(HEARTBEAT_NS).unwrap();
        client.tick(HEARTBEAT_NS).unwrap();
        assert_eq!(client.to_send(), b"\0\x01R");
        client.sent(3, HEARTBEAT_NS);
        client.tick(15 * HEARTBEAT_NS).unwrap();
        let silent = client.tick(15 * HEARTBEAT_NS + 1).unwrap_err();
        assert_eq!(
            silent.to_string(),
            "nothing was heard for 15 s, not even a heartbeat"
        );
    }

    #[test]
    fn a_server_answers_a_client() {
        let (mut client, mut server) = (client(2), Server::new(15 * HEARTBEAT_NS, 0));
        let pass = |client: &mut Client, server: &mut Server| {
            let sent = client.to_send().to_vec();
            server.room()[..sent.len()].copy_from_slice(&sent);
            server.received(sent.len(), 1);
            client.sent(sent.len(), 1);
        };
        pass(&mut client, &mut server);
        let Ok(Some(Wants::Login(wants))) = server.hear() else {
            panic!("no login")
        };
        assert_eq!(wants, login(2));
        server.accept(SESSION, 2);
        server.send(b"two");
        let said = server.to_send().to_vec();
        server.sent(said.len(), 1);
        assert_eq!(heard(&mut client, &said, 5).unwrap()[1], "2 two");
        client.tick(2 * HEARTBEAT_NS).unwrap();
        client.send(b"order");
        client.log_out();
        pass(&mut client, &mut server);
        assert_eq!(server.hear(), Ok(Some(Wants::Message(b"order"))));
        assert_eq!(server.hear(), Ok(Some(Wants::Logout)));
        assert_eq!(server.hear(), Ok(None));
        server.tick(2 * HEARTBEAT_NS).unwrap();
        assert_eq!(server.to_send(), b"\0\x01H");
        assert_eq!(
            server.tick(99 * HEARTBEAT_NS),
            Err(Fault::Silent(98_999_999_999))
        );
    }
}
