//! A SoupBinTCP session between a client and a server of our own, in pieces that the fuzzer cuts, and
//! with bytes that it changes on the way.
//!
//! As long as nothing was changed, each side hears what the other said, once and in order, and numbers
//! count it without a hole, over connections that end in the midst of a packet. Whatever was changed:
//! nobody panics, an error is told and is the same whatever the pieces, and no number is given twice.

use bus::soupbintcp::{Client, Fault, Login, Packet, Said, Server, Wants};

use crate::input::Input;

const STEPS_MAX: usize = 64;
const SILENCE_NS: u64 = u64::MAX;
const SESSION: [u8; 10] = *b"      DAY1";

/// Moves bytes from one side to the other: in pieces, and up to a cut. `false` after the cut, or after
/// a fault.
fn carry(
    bytes: &[u8],
    input: &mut Input<'_>,
    mut hear: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<bool, Fault> {
    let mut at = 0;
    while at < bytes.len() {
        let Some(len) = input.byte() else {
            hear(&bytes[at..])?;
            return Ok(true);
        };
        if len == 255 {
            return Ok(false);
        }
        let end = (at + 1 + usize::from(len)).min(bytes.len());
        hear(&bytes[at..end])?;
        at = end;
    }
    Ok(true)
}

/// Both sides, and what each is owed.
struct World {
    client: Client,
    server: Server,
    /// What the server has said in the session, and how much of it the client heard.
    said: Vec<Vec<u8>>,
    heard: usize,
    /// What the client has said on this connection, and how much of it the server heard.
    asked: Vec<Vec<u8>>,
    answered: usize,
}

impl World {
    fn new() -> World {
        let login = Login::new("user", "secret", "", 1).expect("it fits");
        World {
            client: Client::new(login, SILENCE_NS),
            server: Server::new(SILENCE_NS, 0),
            said: Vec::new(),
            heard: 0,
            asked: Vec::new(),
            answered: 0,
        }
    }

    fn connect(&mut self) {
        self.client.connected(0);
        self.server = Server::new(SILENCE_NS, 0);
        self.asked.clear();
        self.answered = 0;
    }

    fn to_server(&mut self, input: &mut Input<'_>) -> bool {
        let bytes = self.client.to_send().to_vec();
        self.client.sent(bytes.len(), 0);
        let World { server, said, asked, answered, .. } = self;
        let hear = |piece: &[u8]| {
            server.room()[..piece.len()].copy_from_slice(piece);
            server.received(piece.len(), 0);
            let mut login = None;
            while let Some(wants) = server.hear()? {
                match wants {
                    Wants::Login(wanted) => login = Some(wanted),
                    Wants::Message(bytes) => {
                        assert_eq!(bytes, asked[*answered]);
                        *answered += 1;
                    }
                    Wants::Debug(_) | Wants::Logout => {}
                }
                if let Some(wanted) = login.take() {
                    assert!((1..=said.len() as u64 + 1).contains(&wanted.sequence));
                    server.accept(SESSION, wanted.sequence);
                    for message in &said[wanted.sequence as usize - 1..] {
                        server.send(message);
                    }
                }
            }
            Ok(())
        };
        carry(&bytes, input, hear).expect("nothing was changed")
    }

    fn to_client(&mut self, input: &mut Input<'_>) -> bool {
        let bytes = self.server.to_send().to_vec();
        self.server.sent(bytes.len(), 0);
        let World { client, said, heard, .. } = self;
        let hear = |piece: &[u8]| {
            client.room()[..piece.len()].copy_from_slice(piece);
            client.received(piece.len(), 0);
            while let Some(said_now) = client.hear()? {
                if let Said::Message { sequence, bytes } = said_now {
                    assert_eq!(sequence, *heard as u64 + 1);
                    assert_eq!(bytes, said[*heard]);
                    *heard += 1;
                }
            }
            Ok(())
        };
        carry(&bytes, input, hear).expect("nothing was changed")
    }
}

fn message(input: &mut Input<'_>) -> Vec<u8> {
    let len = usize::from(input.byte().unwrap_or(0));
    (0..len).map_while(|_| input.byte()).collect()
}

/// Sides that say what they want, and pieces as they come.
fn talk(mut input: Input<'_>) {
    let mut world = World::new();
    world.connect();
    for _ in 0..STEPS_MAX {
        let Some(step) = input.byte() else { break };
        let goes_on = match step % 4 {
            0 if world.server.is_on() => {
                let message = message(&mut input);
                world.server.send(&message);
                world.said.push(message);
                true
            }
            1 if world.client.is_on() => {
                let message = message(&mut input);
                world.client.send(&message);
                world.asked.push(message);
                true
            }
            2 => world.to_server(&mut input),
            _ => world.to_client(&mut input),
        };
        if !goes_on {
            world.connect();
        }
    }
    // A connection that lasts brings all of it.
    world.connect();
    let mut nothing = Input::new(&[]);
    assert!(world.to_server(&mut nothing) && world.to_client(&mut nothing));
    assert_eq!(world.heard, world.said.len());
    assert_eq!(world.client.login().sequence, world.said.len() as u64 + 1);
}

/// What a side makes of a stream that comes in pieces of so many bytes: what it heard, and the error
/// that ended it.
fn heard(stream: &[u8], piece_bytes: usize, is_server: bool) -> (Vec<String>, Option<Fault>) {
    let mut said = Vec::new();
    let login = Login::new("user", "secret", "", 1).expect("it fits");
    let mut client = Client::new(login, SILENCE_NS);
    client.connected(0);
    let mut server = Server::new(SILENCE_NS, 0);
    for piece in stream.chunks(piece_bytes) {
        if is_server {
            server.room()[..piece.len()].copy_from_slice(piece);
            server.received(piece.len(), 0);
        } else {
            client.room()[..piece.len()].copy_from_slice(piece);
            client.received(piece.len(), 0);
        }
        loop {
            let next = match is_server {
                true => server.hear().map(|wants| {
                    let is_login = matches!(wants, Some(Wants::Login(_)));
                    wants.map(|wants| (format!("{wants:?}"), is_login))
                }),
                false => client
                    .hear()
                    .map(|said| said.map(|said| (format!("{said:?}"), false))),
            };
            match next {
                Ok(None) => break,
                Ok(Some((what, is_login))) => {
                    said.push(what);
                    if is_login {
                        server.accept(SESSION, 1);
                    }
                }
                Err(fault) => {
                    assert!(!fault.to_string().is_empty());
                    return (said, Some(fault));
                }
            }
        }
    }
    (said, None)
}

/// A good beginning, and then whatever the fuzzer says.
fn hostile(mut input: Input<'_>) {
    let is_server = input.byte().unwrap_or(0) % 2 == 0;
    let mut stream = Vec::new();
    match is_server {
        true => {
            let login = Login::new("user", "secret", "", 1).expect("it fits");
            Packet::Login(login).put(&mut stream);
        }
        false => {
            let (session, sequence) = (SESSION, 1);
            Packet::Accepted { session, sequence }.put(&mut stream);
        }
    }
    while let Some(byte) = input.byte() {
        stream.push(byte);
    }
    let whole = heard(&stream, stream.len().min(4_096), is_server);
    for piece_bytes in [1, 3, 50] {
        assert_eq!(heard(&stream, piece_bytes, is_server), whole);
    }
}

/// Checks what the input says.
pub fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.byte().unwrap_or(0) % 2 {
        0 => talk(input),
        _ => hostile(input),
    }
}
