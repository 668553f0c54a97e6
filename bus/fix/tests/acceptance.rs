//! QuickFIX's acceptance definitions against our acceptor, over loopback.
//!
//! They are not part of this repository: where no folder `shared/data/fix-acceptance` stands beside
//! the checkout or above it, one line says so. A definition is lines of what the tester sends (`I`)
//! and expects (`E`), and of connections (`i`, `e`). The tester and the acceptor share one clock,
//! which goes on only when both have nothing left to do: so nothing here depends on how fast this
//! machine is, and half a minute of heartbeats takes no time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bus::Ts;
use fix::{
    Acceptor, ApplVersion, Application, Checks, Dictionary, Draft, Inbound, Memory, Outbox,
    Received, Role, Session, SessionConfig, Validator, Verdict, Version, frame, tags, value,
};

/// Says orders back, once for each id where they may be repetitions, and some other messages.
#[derive(Default)]
struct Echo {
    seen: BTreeSet<Vec<u8>>,
}

impl Application for Echo {
    fn on_message(&mut self, received: &Received<'_>, out: &mut Outbox) -> Verdict {
        let message = &received.message;
        match message.msg_type() {
            b"D" => {
                let Some(id) = message.get(tags::CL_ORD_ID) else {
                    return Verdict::Missing(tags::CL_ORD_ID);
                };
                let is_new = self.seen.insert(id.to_vec());
                if message.is_set(tags::POSS_RESEND) && !is_new {
                    return Verdict::Taken;
                }
            }
            b"d" | b"C" => {}
            _ => return Verdict::UnsupportedType,
        }
        let mut echo = Draft::new(message.msg_type());
        let mut body = Vec::new();
        for (tag, text) in message.fields() {
            match tag {
                8 | 9 | 10 | 34 | 35 | 43 | 49 | 52 | 56 | 122 => {}
                tag if tags::is_header(tag) => {
                    echo.header(tag, text);
                }
                tag => body.push((tag, text)),
            }
        }
        body.sort_by_key(|field| field.0);
        for (tag, text) in body {
            echo.body().bytes(tag, text);
        }
        out.push(echo);
        Verdict::Taken
    }

    fn on_logout(&mut self) {
        self.seen.clear();
    }
}

fn session(
    dictionaries: &Path,
    version: Version,
    appl_version: Option<ApplVersion>,
    target: &str,
    now: Ts,
) -> (Session<Memory>, Echo) {
    let read = |name: &str| {
        let path = dictionaries.join(name);
        Arc::new(Dictionary::read(&path).unwrap_or_else(|error| panic!("{error}")))
    };
    let checks = Checks {
        fields_have_values: target != "NO_CHECK_FIELDS_HAVE_VALUES",
        ..Checks::STRICT
    };
    let (validator, data) = match appl_version {
        Some(appl_version) => {
            let name = match appl_version {
                ApplVersion::Fix50 => "FIX50.xml",
                ApplVersion::Fix50Sp1 => "FIX50SP1.xml",
                ApplVersion::Fix50Sp2 => "FIX50SP2.xml",
            };
            let application = read(name);
            let data = application.data_tags();
            (
                Validator::over_fixt(read("FIXT11.xml"), application, checks),
                data,
            )
        }
        None => {
            let name = version.begin_string().replace('.', "");
            let dictionary = read(&format!("{name}.xml"));
            let data = dictionary.data_tags();
            (Validator::new(dictionary, checks), data)
        }
    };
    let config = SessionConfig {
        appl_version,
        reset_on_logon: true,
        inbound: Inbound::Strict,
        appl_version_in_rejects: true,
        ..SessionConfig::new(version, Role::Acceptor, "ISLD", target)
    };
    let session = Session::new(config, Memory::new(now), Some(validator), data);
    (session, Echo::default())
}

/// One peer of the acceptor.
struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
    is_over: bool,
}

impl Peer {
    fn read(&mut self) {
        let mut buffer = [0; 1 << 14];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break self.is_over = true,
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => break self.is_over = true,
            }
        }
    }

    /// The next whole message.
    fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.received.windows(4).position(|at| at == b"\x0110=")? + 8;
        (self.received.len() >= end).then(|| self.received.drain(..end).collect())
    }
}

/// The tester, the acceptor, and the clock that they share.
struct Tester {
    acceptor: Acceptor<Memory, Echo>,
    address: SocketAddr,
    peers: BTreeMap<u8, Peer>,
    now: Ts,
}

const SECOND_NS: i64 = 1_000_000_000;

impl Tester {
    fn pump(&mut self) {
        while self.acceptor.turn(self.now).unwrap() > 0 {}
    }

    /// Lets the acceptor work, and time go on where it has nothing to do, until something is there.
    fn wait<T>(
        &mut self,
        cid: u8,
        seconds: i64,
        mut found: impl FnMut(&mut Peer) -> Option<T>,
    ) -> Option<T> {
        let end = self.now.0 + seconds * SECOND_NS;
        while self.now.0 < end {
            // Loopback hands over what was written at once, or nearly so.
            for _ in 0..3 {
                self.pump();
                let peer = self.peers.get_mut(&cid)?;
                peer.read();
                if let Some(found) = found(peer) {
                    return Some(found);
                }
                std::thread::yield_now();
            }
            self.now = Ts(self.now.0 + SECOND_NS / 20);
        }
        None
    }

    /// `<TIME>` and `<TIME-120>`.
    fn with_times(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("<TIME") {
            let (shift, after) = after.split_once('>').expect("<TIME has its end");
            let shift: i64 = match shift {
                "" => 0,
                shift => shift.parse().expect("seconds in <TIME>"),
            };
            let (time, len) = value::time_text(Ts(self.now.0 + shift * SECOND_NS), false);
            out += before;
            out += std::str::from_utf8(&time[..len]).unwrap();
            rest = after;
        }
        out + rest
    }

    /// With the length and the sum that are not there.
    fn framed(&self, text: &str) -> Vec<u8> {
        let text = self.with_times(text);
        if !text.starts_with("8=") {
            return text.into_bytes();
        }
        let (head, rest) = text.split_at(text.find('\x01').unwrap() + 1);
        let (body, sum) = match rest.rfind("\x0110=") {
            Some(at) => rest.split_at(at + 1),
            None => (rest, ""),
        };
        let length = if body.starts_with("9=") || body.contains("\x019=") {
            String::new()
        } else {
            format!("9={}\x01", body.len())
        };
        let mut message = format!("{head}{length}{body}").into_bytes();
        if sum.is_empty() {
            let sum = frame::checksum(&message);
            message.extend(format!("10={sum:03}\x01").into_bytes());
        } else {
            message.extend(sum.as_bytes());
        }
        message
    }

    /// Plays one definition.
    fn play(&mut self, text: &str, is_strict: bool) -> Result<(), String> {
        self.peers.clear();
        self.pump();
        let mut result = Ok(());
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end_matches('\r');
            let Some(kind) = line.chars().next().filter(|&kind| kind != '#') else {
                continue;
            };
            let bytes = line.as_bytes();
            let (cid, rest) = if bytes.len() > 2 && bytes[1].is_ascii_digit() && bytes[2] == b',' {
                (bytes[1] - b'0', &line[3..])
            } else {
                (1, &line[1..])
            };
            result = self.play_line(kind, cid, rest, is_strict);
            if let Err(why) = &mut result {
                *why = format!("line {}: {why}", index + 1);
                break;
            }
        }
        self.peers.clear();
        self.pump();
        result
    }

    fn play_line(
        &mut self,
        kind: char,
        cid: u8,
        rest: &str,
        is_strict: bool,
    ) -> Result<(), String> {
        match (kind, rest) {
            ('i', "CONNECT") => {
                let stream = TcpStream::connect(self.address).map_err(|e| e.to_string())?;
                stream.set_nonblocking(true).map_err(|e| e.to_string())?;
                stream.set_nodelay(true).map_err(|e| e.to_string())?;
                let peer = Peer {
                    stream,
                    received: Vec::new(),
                    is_over: false,
                };
                self.peers.insert(cid, peer);
                Ok(())
            }
            ('i', "DISCONNECT") => {
                self.peers.remove(&cid);
                self.pump();
                Ok(())
            }
            ('e', "DISCONNECT") => {
                let ended = self.wait(cid, 10, |peer| {
                    (peer.is_over || !peer.received.is_empty()).then(|| peer.received.clone())
                });
                match ended {
                    Some(data) if data.is_empty() => Ok(()),
                    Some(data) => Err(format!("want the end, got {}", shown(&data))),
                    None => Err("want the end, and it goes on".into()),
                }
            }
            ('I', message) => {
                let message = self.framed(message);
                let peer = self.peers.get_mut(&cid).ok_or("not connected")?;
                // Where the other side has ended it already, what it ended with is looked at next.
                let _ = peer.stream.write_all(&message);
                self.pump();
                Ok(())
            }
            ('E', message) => {
                let want = self.framed(message);
                let found = self.wait(cid, 60, Peer::next);
                let Some(found) = found else {
                    return Err(format!("want {}, got nothing", shown(&want)));
                };
                let is_same = if is_strict { same } else { same_in_meaning };
                if is_same(&want, &found) {
                    Ok(())
                } else {
                    Err(format!("want {}, got {}", shown(&want), shown(&found)))
                }
            }
            _ => Err(format!("not understood: {kind}{rest}")),
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\x01', "|")
}

fn fields(bytes: &[u8]) -> Vec<(i32, &[u8])> {
    bytes
        .split(|&byte| byte == 1)
        .filter(|field| !field.is_empty())
        .map(|field| {
            let at = field.iter().position(|&byte| byte == b'=').unwrap();
            let tag = std::str::from_utf8(&field[..at]).unwrap().parse().unwrap();
            (tag, &field[at + 1..])
        })
        .collect()
}

/// Sums and times need only be such.
fn fits(tag: i32, want: &[u8], found: &[u8]) -> bool {
    match tag {
        10 => found.len() == 3 && found.iter().all(u8::is_ascii_digit),
        42 | 52 | 60 | 122 => value::timestamp(found).is_some(),
        _ => want == found,
    }
}

/// The same fields in the same order, and the same values but for sums and times.
fn same(want: &[u8], found: &[u8]) -> bool {
    let (want, found) = (fields(want), fields(found));
    want.len() == found.len()
        && want
            .iter()
            .zip(&found)
            .all(|(want, found)| want.0 == found.0 && fits(want.0, want.1, found.1))
}

/// The same in any order, whatever the length, and whatever words are used.
fn same_in_meaning(want: &[u8], found: &[u8]) -> bool {
    let meant = |bytes| {
        let mut fields = fields(bytes);
        fields.retain(|field| !matches!(field.0, 9 | 10));
        fields.sort_by_key(|field| field.0);
        fields
    };
    let (want, found) = (meant(want), meant(found));
    want.len() == found.len()
        && want.iter().zip(&found).all(|(want, found)| {
            want.0 == found.0 && (want.0 == tags::TEXT || fits(want.0, want.1, found.1))
        })
}

/// The shared folder, beside the checkout or above it.
fn definitions() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = root
        .ancestors()
        .map(|folder| folder.join("shared/data/fix-acceptance"))
        .find(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: there is no folder shared/data/fix-acceptance here or above");
    }
    found
}

/// A folder, how many definitions it has, and for which sessions.
type Set = (
    &'static str,
    usize,
    Version,
    Option<ApplVersion>,
    &'static [&'static str],
);

#[test]
fn the_acceptance_definitions_of_every_version() {
    let Some(data) = definitions() else { return };
    use ApplVersion::{Fix50, Fix50Sp1, Fix50Sp2};
    use Version::{Fix40, Fix41, Fix42, Fix43, Fix44, Fixt11};
    let sets: [Set; 9] = [
        ("fix40", 56, Fix40, None, &["TW40"]),
        ("fix41", 56, Fix41, None, &["TW41"]),
        ("fix42", 58, Fix42, None, &["TW42"]),
        ("fix43", 58, Fix43, None, &["TW43"]),
        ("fix44", 59, Fix44, None, &["TW44"]),
        ("fix50", 60, Fixt11, Some(Fix50), &["TW50"]),
        ("fix50sp1", 60, Fixt11, Some(Fix50Sp1), &["TW50SP1"]),
        ("fix50sp2", 60, Fixt11, Some(Fix50Sp2), &["TW50SP2"]),
        (
            "validate",
            1,
            Fix44,
            None,
            &["TW", "NO_CHECK_FIELDS_HAVE_VALUES"],
        ),
    ];
    let mut misses = Vec::new();
    let mut totals = [0; 3];
    for (name, count, version, appl_version, targets) in sets {
        let now = value::timestamp(b"20260105-14:30:00").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dictionaries = data.join("dictionaries");
        let sessions = targets
            .iter()
            .map(|target| session(&dictionaries, version, appl_version, target, now));
        let acceptor = Acceptor::new(listener, sessions).unwrap();
        let address = acceptor.address().unwrap();
        let mut tester = Tester {
            acceptor,
            address,
            peers: BTreeMap::new(),
            now,
        };
        let mut paths: Vec<PathBuf> = fs::read_dir(data.join("definitions").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "def"))
            .collect();
        paths.sort();
        assert_eq!(paths.len(), count, "definitions of {name}");
        let (mut strict, mut semantic) = (0, 0);
        for path in &paths {
            let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
            match tester.play(&text, true) {
                Ok(()) => strict += 1,
                Err(why) => {
                    let file = path.file_name().unwrap().to_string_lossy().into_owned();
                    misses.push(format!("{name}/{file}, {why}"));
                }
            }
            semantic += usize::from(tester.play(&text, false).is_ok());
        }
        println!("{name}: strict {strict}/{count}, semantic {semantic}/{count}");
        for (total, add) in totals.iter_mut().zip([strict, semantic, count]) {
            *total += add;
        }
    }
    let [strict, semantic, count] = totals;
    assert_a_wrong_expectation_is_a_miss(&data);
    println!("all: strict {strict}/{count}, semantic {semantic}/{count}");
    assert!(misses.is_empty(), "{}", misses.join("\n"));
    assert_eq!((strict, semantic), (468, 468));
}

/// The tester itself: what is expected wrongly must not pass.
fn assert_a_wrong_expectation_is_a_miss(data: &Path) {
    let now = value::timestamp(b"20260105-14:30:00").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let session = session(
        &data.join("dictionaries"),
        Version::Fix44,
        None,
        "TW44",
        now,
    );
    let acceptor = Acceptor::new(listener, [session]).unwrap();
    let address = acceptor.address().unwrap();
    let mut tester = Tester {
        acceptor,
        address,
        peers: BTreeMap::new(),
        now,
    };
    let path = data.join("definitions/fix44/4b_ReceivedTestRequest.def");
    let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    assert_eq!(tester.play(&text, true), Ok(()));
    for (from, to) in [
        ("E8=FIX.4.4\x019=61\x0135=0", "E8=FIX.4.4\x019=61\x0135=1"),
        ("9=61", "9=62"),
        ("112=HELLO\x0110=0", "112=HALLO\x0110=0"),
        ("35=5\x0134=3\x0149=ISLD", "35=5\x0134=4\x0149=ISLD"),
        ("eDISCONNECT", "E8=FIX.4.4\x0135=0\x01"),
    ] {
        assert!(text.contains(from), "{from:?}");
        let wrong = text.replacen(from, to, 1);
        assert!(tester.play(&wrong, true).is_err(), "{from:?}");
    }
}
