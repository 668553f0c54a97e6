//! QuickFIX's acceptance definitions against our acceptor, over loopback.
//!
//! They are not part of this repository: where no folder `shared/data/fix-acceptance` stands beside
//! the checkout or above it, one line says so. A definition is lines of what the tester sends (`I`)
//! and expects (`E`), and of connections (`i`, `e`). They are played twice:
//!
//! - The tester and the acceptor take turns on one thread and share one clock, which goes on only
//!   when both have nothing left to do: so nothing there depends on how fast this machine is, and
//!   half a minute of heartbeats takes no time.
//! - The acceptor has a thread of its own and the machine's clock, and the tester knows nothing of it
//!   but its address and its bytes, as a counterparty does.
//!
//! Two scores: *strict* is the same fields in the same order, *semantic* leaves out order, lengths,
//! sums and words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bus::Ts;
use bus::clock::{Clock, MachineClock};
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
    /// All that is there; or, where the stream waits, one piece of it.
    fn read(&mut self) {
        let mut buffer = [0; 1 << 14];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break self.is_over = true,
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                Err(error) if is_not_now(&error) => break,
                Err(_) => break self.is_over = true,
            }
        }
    }

    /// What comes until then, but no more than one read.
    fn read_until(&mut self, end: Instant) {
        let left = end.saturating_duration_since(Instant::now());
        let wait = left.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let mut buffer = [0; 1 << 14];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.is_over = true,
            Ok(len) => self.received.extend_from_slice(&buffer[..len]),
            Err(error) if is_not_now(&error) => {}
            Err(_) => self.is_over = true,
        }
    }

    /// The next whole message.
    fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.received.windows(4).position(|at| at == b"\x0110=")? + 8;
        (self.received.len() >= end).then(|| self.received.drain(..end).collect())
    }
}

fn is_not_now(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Where the acceptor is, and whose clock counts.
enum There {
    /// On this thread, with a clock that the tester moves.
    Here(Acceptor<Memory, Echo>, Ts),
    /// Behind its address, with the machine's clock.
    Apart(MachineClock),
}

/// What a definition comes to: nothing, or what was missed first.
struct Score {
    strict: Result<(), String>,
    semantic: Result<(), String>,
}

/// Which of the two a line that was missed counts against.
enum Miss {
    Strict(String),
    Both(String),
}

impl From<String> for Miss {
    fn from(why: String) -> Miss {
        Miss::Both(why)
    }
}

/// The tester, and the acceptor that it plays against.
struct Tester {
    there: There,
    address: SocketAddr,
    peers: BTreeMap<u8, Peer>,
}

const SECOND_NS: i64 = 1_000_000_000;

impl Tester {
    fn new(acceptor: Acceptor<Memory, Echo>, now: Ts) -> Tester {
        Tester {
            address: acceptor.address().unwrap(),
            there: There::Here(acceptor, now),
            peers: BTreeMap::new(),
        }
    }

    fn apart(address: SocketAddr) -> Tester {
        Tester {
            address,
            there: There::Apart(MachineClock::new()),
            peers: BTreeMap::new(),
        }
    }

    fn now(&self) -> Ts {
        match &self.there {
            There::Here(_, now) => *now,
            There::Apart(clock) => clock.wall(),
        }
    }

    fn pump(&mut self) {
        match &mut self.there {
            There::Here(acceptor, now) => while acceptor.turn(*now).unwrap() > 0 {},
            There::Apart(_) => {}
        }
    }

    /// Waits until something is there. An acceptor that is here works meanwhile, and where it has
    /// nothing to do its time goes on.
    fn wait<T>(
        &mut self,
        cid: u8,
        seconds: u64,
        mut found: impl FnMut(&mut Peer) -> Option<T>,
    ) -> Option<T> {
        if let There::Apart(_) = self.there {
            let end = Instant::now() + Duration::from_secs(seconds);
            let peer = self.peers.get_mut(&cid)?;
            loop {
                if let Some(found) = found(peer) {
                    return Some(found);
                }
                if peer.is_over || Instant::now() >= end {
                    return None;
                }
                peer.read_until(end);
            }
        }
        let end = self.now().0 + seconds as i64 * SECOND_NS;
        while self.now().0 < end {
            // Loopback hands over what was written at once, or nearly so.
            for _ in 0..3 {
                self.pump();
                let peer = self.peers.get_mut(&cid)?;
                peer.read();
                if let Some(found) = found(peer) {
                    return Some(found);
                }
                thread::yield_now();
            }
            if let There::Here(_, now) = &mut self.there {
                *now = Ts(now.0 + SECOND_NS / 20);
            }
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
            let (time, len) = value::time_text(Ts(self.now().0 + shift * SECOND_NS), false);
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

    /// Plays one definition, up to the first line that is missed in meaning.
    fn play(&mut self, text: &str) -> Score {
        self.peers.clear();
        self.pump();
        let mut score = Score {
            strict: Ok(()),
            semantic: Ok(()),
        };
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
            let told = |why| Err(format!("line {}: {why}", index + 1));
            match self.play_line(kind, cid, rest) {
                Ok(()) => {}
                Err(Miss::Strict(why)) => score.strict = score.strict.and_then(|()| told(why)),
                Err(Miss::Both(why)) => {
                    score.strict = score.strict.and_then(|()| told(why.clone()));
                    score.semantic = told(why);
                    break;
                }
            }
        }
        self.peers.clear();
        self.pump();
        score
    }

    fn play_line(&mut self, kind: char, cid: u8, rest: &str) -> Result<(), Miss> {
        match (kind, rest) {
            ('i', "CONNECT") => {
                let stream = TcpStream::connect(self.address).map_err(|e| e.to_string())?;
                let waits = matches!(self.there, There::Apart(_));
                stream.set_nonblocking(!waits).map_err(|e| e.to_string())?;
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
                    Some(data) => Err(format!("want the end, got {}", shown(&data)).into()),
                    None => Err("want the end, and it goes on".to_owned().into()),
                }
            }
            ('I', message) => {
                let message = self.framed(message);
                let peer = self.peers.get_mut(&cid);
                let peer = peer.ok_or_else(|| "not connected".to_owned())?;
                // Where the other side has ended it already, what it ended with is looked at next.
                let _ = peer.stream.write_all(&message);
                self.pump();
                Ok(())
            }
            ('E', message) => {
                let want = self.framed(message);
                let found = self.wait(cid, 60, Peer::next);
                let Some(found) = found else {
                    return Err(format!("want {}, got nothing", shown(&want)).into());
                };
                if same(&want, &found) {
                    return Ok(());
                }
                let why = format!("want {}, got {}", shown(&want), shown(&found));
                Err(match same_in_meaning(&want, &found) {
                    true => Miss::Strict(why),
                    false => Miss::Both(why),
                })
            }
            _ => Err(format!("not understood: {kind}{rest}").into()),
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

/// A folder of definitions, and for which sessions.
struct Set {
    name: &'static str,
    count: usize,
    version: Version,
    appl_version: Option<ApplVersion>,
    targets: &'static [&'static str],
}

impl Set {
    const fn new(
        name: &'static str,
        count: usize,
        version: Version,
        appl_version: Option<ApplVersion>,
        targets: &'static [&'static str],
    ) -> Set {
        Set {
            name,
            count,
            version,
            appl_version,
            targets,
        }
    }

    fn acceptor(&self, data: &Path, now: Ts) -> Acceptor<Memory, Echo> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dictionaries = data.join("dictionaries");
        let sessions = self
            .targets
            .iter()
            .map(|target| session(&dictionaries, self.version, self.appl_version, target, now));
        Acceptor::new(listener, sessions).unwrap()
    }

    /// Plays all of them.
    fn play(&self, data: &Path, tester: &mut Tester) -> Total {
        let name = self.name;
        let mut paths: Vec<PathBuf> = fs::read_dir(data.join("definitions").join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "def"))
            .collect();
        paths.sort();
        assert_eq!(paths.len(), self.count, "definitions of {name}");
        let mut total = Total::default();
        for path in &paths {
            let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
            let Score { strict, semantic } = tester.play(&text);
            total.count += 1;
            total.strict += usize::from(strict.is_ok());
            total.semantic += usize::from(semantic.is_ok());
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            for (kind, result) in [("strict", strict), ("semantic", semantic)] {
                if let Err(why) = result {
                    total.misses.push(format!("{name}/{file}, {kind}, {why}"));
                }
            }
        }
        total
    }
}

#[derive(Default)]
struct Total {
    strict: usize,
    semantic: usize,
    count: usize,
    misses: Vec<String>,
}

impl Total {
    fn say(&self, how: &str, name: &str) {
        println!(
            "{how}, {name}: strict {}/{count}, semantic {}/{count}",
            self.strict,
            self.semantic,
            count = self.count
        );
    }

    fn add(&mut self, other: Total) {
        self.strict += other.strict;
        self.semantic += other.semantic;
        self.count += other.count;
        self.misses.extend(other.misses);
    }

    fn assert_all(&self, how: &str) {
        self.say(how, "all");
        assert!(self.misses.is_empty(), "{}", self.misses.join("\n"));
        assert_eq!((self.strict, self.semantic, self.count), (468, 468, 468));
    }
}

const SETS: [Set; 9] = {
    use ApplVersion::{Fix50, Fix50Sp1, Fix50Sp2};
    use Version::{Fix40, Fix41, Fix42, Fix43, Fix44, Fixt11};
    let odd = &["TW", "NO_CHECK_FIELDS_HAVE_VALUES"];
    [
        Set::new("fix40", 56, Fix40, None, &["TW40"]),
        Set::new("fix41", 56, Fix41, None, &["TW41"]),
        Set::new("fix42", 58, Fix42, None, &["TW42"]),
        Set::new("fix43", 58, Fix43, None, &["TW43"]),
        Set::new("fix44", 59, Fix44, None, &["TW44"]),
        Set::new("fix50", 60, Fixt11, Some(Fix50), &["TW50"]),
        Set::new("fix50sp1", 60, Fixt11, Some(Fix50Sp1), &["TW50SP1"]),
        Set::new("fix50sp2", 60, Fixt11, Some(Fix50Sp2), &["TW50SP2"]),
        Set::new("validate", 1, Fix44, None, odd),
    ]
};

/// A time on a weekday, for a clock that the tester moves.
fn start() -> Ts {
    value::timestamp(b"20260105-14:30:00").unwrap()
}

#[test]
fn the_acceptance_definitions_of_every_version() {
    let Some(data) = definitions() else { return };
    let mut all = Total::default();
    for set in &SETS {
        let mut tester = Tester::new(set.acceptor(&data, start()), start());
        let total = set.play(&data, &mut tester);
        total.say("one clock", set.name);
        all.add(total);
    }
    assert_a_wrong_expectation_is_a_miss(&data);
    all.assert_all("one clock");
}

#[test]
fn the_same_against_an_acceptor_of_its_own_thread_and_clock() {
    let Some(data) = definitions() else { return };
    let mut all = Total::default();
    // All sets at once, since one definition of each waits for half a minute of heartbeats.
    thread::scope(|scope| {
        let played: Vec<_> = SETS
            .iter()
            .map(|set| {
                let data = &data;
                let play = move || {
                    let (address, alive, there) = accept(set, data);
                    let total = set.play(data, &mut Tester::apart(address));
                    drop(alive);
                    there.join().unwrap();
                    total
                };
                (set, scope.spawn(play))
            })
            .collect();
        for (set, played) in played {
            let total = played.join().unwrap();
            total.say("own clock", set.name);
            all.add(total);
        }
    });
    all.assert_all("own clock");
}

/// An acceptor on a thread, until its channel is closed.
fn accept(set: &Set, data: &Path) -> (SocketAddr, mpsc::Sender<()>, thread::JoinHandle<()>) {
    let clock = MachineClock::new();
    let mut acceptor = set.acceptor(data, clock.wall());
    let address = acceptor.address().unwrap();
    let (alive, is_over) = mpsc::channel();
    let body = move || {
        while is_over.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            if acceptor.turn(clock.wall()).unwrap() == 0 {
                thread::park_timeout(Duration::from_micros(200));
            }
        }
    };
    (address, alive, thread::spawn(body))
}

/// The tester itself: what is expected wrongly must not pass.
fn assert_a_wrong_expectation_is_a_miss(data: &Path) {
    let set = Set::new("fix44", 59, Version::Fix44, None, &["TW44"]);
    let mut tester = Tester::new(set.acceptor(data, start()), start());
    let path = data.join("definitions/fix44/4b_ReceivedTestRequest.def");
    let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let score = tester.play(&text);
    assert_eq!((score.strict, score.semantic), (Ok(()), Ok(())));
    // What is wrong, and whether it is so in meaning.
    for (from, to, is_both) in [
        (
            "E8=FIX.4.4\x019=61\x0135=0",
            "E8=FIX.4.4\x019=61\x0135=1",
            true,
        ),
        ("9=61", "9=62", false),
        ("112=HELLO\x0110=0", "112=HALLO\x0110=0", true),
        ("35=5\x0134=3\x0149=ISLD", "35=5\x0134=4\x0149=ISLD", true),
        ("eDISCONNECT", "E8=FIX.4.4\x0135=0\x01", true),
    ] {
        assert!(text.contains(from), "{from:?}");
        let score = tester.play(&text.replacen(from, to, 1));
        assert!(score.strict.is_err(), "{from:?}");
        assert_eq!(score.semantic.is_err(), is_both, "{from:?}");
    }
}
