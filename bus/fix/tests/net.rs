//! Sessions over loopback: several behind one listener, with stores in files, and connections that
//! are cut.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use bus::Ts;
use fix::{
    Acceptor, Application, DataTags, Draft, FileStore, Initiator, Outbox, Received, Role, Safe,
    Session, SessionConfig, Store, Verdict, Version, Writer, tags,
};

const SECOND_NS: i64 = 1_000_000_000;
const START: Ts = Ts(1_767_623_400 * SECOND_NS);

/// Counts what comes, which must be in order; answers each message where it should.
struct Counting {
    next: u64,
    answers: bool,
}

impl Application for Counting {
    fn on_message(&mut self, received: &Received<'_>, out: &mut Outbox) -> Verdict {
        assert_eq!(received.message.number(tags::CL_ORD_ID), Some(self.next));
        self.next += 1;
        if self.answers {
            let mut draft = Draft::new(b"8");
            draft.body().number(tags::CL_ORD_ID, self.next - 1);
            out.push(draft);
        }
        Verdict::Taken
    }
}

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("fix-net-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn session(folder: &Path, role: Role, sender: &str, target: &str) -> Session<FileStore> {
    let config = SessionConfig::new(Version::Fix44, role, sender, target);
    let path = folder.join(format!("{sender}-{target}"));
    let store = FileStore::open(&path, Safe::Process, START).unwrap();
    Session::new(config, store, None, DataTags::default())
}

fn counting(answers: bool) -> Counting {
    Counting { next: 0, answers }
}

#[test]
fn three_sessions_at_once_with_cuts_and_files() {
    const ORDERS: u64 = 400;
    let folder = Folder::new("three");
    let names = ["A", "B", "C"];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sessions = names.map(|name| {
        (
            session(&folder.0, Role::Acceptor, "HUB", name),
            counting(true),
        )
    });
    let mut acceptor = Acceptor::new(listener, sessions).unwrap();
    let address = acceptor.address().unwrap();
    let mut initiators = names.map(|name| {
        let session = session(&folder.0, Role::Initiator, name, "HUB");
        Initiator::new(address, SECOND_NS / 10, session, counting(false))
    });
    let mut now = START;
    let mut sent = [0; 3];
    for step in 0u64.. {
        assert!(step < 100_000, "it comes to an end");
        now = Ts(now.0 + SECOND_NS / 100);
        acceptor.turn(now).unwrap();
        for (index, initiator) in initiators.iter_mut().enumerate() {
            initiator.turn(now);
            let (session, app) = initiator.session();
            if sent[index] < ORDERS && session.is_logged_on() {
                let mut draft = Draft::new(b"D");
                draft.body().number(tags::CL_ORD_ID, sent[index]);
                session.send(&draft, now, app).unwrap();
                sent[index] += 1;
            }
            // One of them leaves, and another is left, every so often.
            if sent[index] < ORDERS && step % 97 == 31 * index as u64 {
                initiator.cut(now);
            }
        }
        if step % 211 == 0 {
            acceptor.cut((step / 211 % 3) as usize, now);
        }
        let mut done = acceptor.sessions().all(|(_, app)| app.next == ORDERS);
        for initiator in &mut initiators {
            done &= initiator.session().1.next == ORDERS;
        }
        if done {
            break;
        }
    }
    for initiator in &mut initiators {
        let (session, app) = initiator.session();
        session.log_out("", now, app);
    }
    for _ in 0..1_000 {
        now = Ts(now.0 + SECOND_NS / 100);
        acceptor.turn(now).unwrap();
        for initiator in &mut initiators {
            if initiator.session().0.is_connected() {
                initiator.turn(now);
            }
        }
    }
    let mut numbers = Vec::new();
    for (session, _) in acceptor.sessions() {
        assert!(!session.is_connected());
        numbers.push((session.store().next_in(), session.store().next_out()));
    }
    for (initiator, (next_in, next_out)) in initiators.iter_mut().zip(numbers) {
        let store = initiator.session().0.store();
        assert_eq!((store.next_out(), store.next_in()), (next_in, next_out));
    }
}

#[test]
fn who_does_not_say_who_it_is_is_left() {
    let folder = Folder::new("left");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let session = session(&folder.0, Role::Acceptor, "HUB", "A");
    let mut acceptor = Acceptor::new(listener, [(session, counting(false))]).unwrap();
    let address = acceptor.address().unwrap();
    let mut silent = TcpStream::connect(address).unwrap();
    let mut noisy = TcpStream::connect(address).unwrap();
    noisy.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut now = START;
    for _ in 0..120 {
        now = Ts(now.0 + SECOND_NS / 10);
        acceptor.turn(now).unwrap();
        std::thread::yield_now();
    }
    let mut buffer = [0; 16];
    // Ended, in order or not, without an answer.
    assert!(matches!(noisy.read(&mut buffer), Ok(0) | Err(_)));
    assert!(matches!(silent.read(&mut buffer), Ok(0) | Err(_)));
}

#[test]
fn who_connects_again_is_not_held_up_by_its_connection_before() {
    let folder = Folder::new("again");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let session = session(&folder.0, Role::Acceptor, "HUB", "A");
    let mut acceptor = Acceptor::new(listener, [(session, counting(false))]).unwrap();
    let address = acceptor.address().unwrap();
    let log_on = |seq| {
        let mut writer = Writer::new();
        writer.begin(b"A").number(tags::MSG_SEQ_NUM, seq);
        writer.text(tags::SENDER_COMP_ID, "A");
        writer.time(tags::SENDING_TIME, START, true);
        writer.text(tags::TARGET_COMP_ID, "HUB");
        writer.number(tags::ENCRYPT_METHOD, 0);
        writer.number(tags::HEART_BT_INT, 30);
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(writer.finish(Version::Fix44)).unwrap();
        stream
    };
    let is_logged_on = |acceptor: &mut Acceptor<FileStore, Counting>| {
        acceptor.sessions().next().unwrap().0.is_logged_on()
    };
    let first = log_on(1);
    while !is_logged_on(&mut acceptor) {
        acceptor.turn(START).unwrap();
    }
    // Both the end and the next connection are there before the acceptor looks.
    drop(first);
    let mut second = log_on(2);
    for _ in 0..3 {
        acceptor.turn(START).unwrap();
    }
    assert!(is_logged_on(&mut acceptor));
    let mut answer = [0; 512];
    let len = second.read(&mut answer).unwrap();
    assert!(answer[..len].windows(6).any(|at| at == b"\x0135=A\x01"));
}

#[test]
fn who_is_refused_is_told_with_the_names_and_the_version_that_it_said() {
    let folder = Folder::new("refused");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepting = session(&folder.0, Role::Acceptor, "HUB", "A");
    let mut acceptor = Acceptor::new(listener, [(accepting, counting(false))]).unwrap();
    let address = acceptor.address().unwrap();
    let mut refused = |version, msg_type: &[u8], sender: &str, target: &str| {
        let mut writer = Writer::new();
        writer.begin(msg_type).number(tags::MSG_SEQ_NUM, 1);
        writer.text(tags::SENDER_COMP_ID, sender);
        writer.time(tags::SENDING_TIME, START, true);
        writer.text(tags::TARGET_COMP_ID, target);
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(writer.finish(version)).unwrap();
        let said = loop {
            acceptor.turn(START).unwrap();
            if let Some(said) = acceptor.take_refusals().pop() {
                break said;
            }
        };
        said.split_once(" is refused: ").unwrap().1.to_owned()
    };
    assert_eq!(
        refused(Version::Fix42, b"A", "A", "HUB"),
        "a Logon in FIX.4.2 from A to HUB; want FIX.4.4 from A to HUB"
    );
    assert_eq!(
        refused(Version::Fix44, b"A", "B", "HUB"),
        "a Logon in FIX.4.4 from B to HUB; want FIX.4.4 from A to HUB"
    );
    assert_eq!(
        refused(Version::Fix44, b"0", "A", "HUB"),
        "its first message is 0, want a Logon"
    );
}

#[test]
fn a_hundred_silent_connections_hold_nobody_up() {
    let folder = Folder::new("silent");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepting = session(&folder.0, Role::Acceptor, "HUB", "A");
    let mut acceptor = Acceptor::new(listener, [(accepting, counting(false))]).unwrap();
    let address = acceptor.address().unwrap();
    let silent: Vec<TcpStream> = (0..100)
        .map(|_| {
            let stream = TcpStream::connect(address).unwrap();
            // A listener's queue is no longer than the system says.
            acceptor.turn(START).unwrap();
            stream
        })
        .collect();
    let initiating = session(&folder.0, Role::Initiator, "A", "HUB");
    let mut initiator = Initiator::new(address, SECOND_NS, initiating, counting(false));
    // No time goes by, so that nobody's patience ends.
    for _ in 0..1_000 {
        initiator.turn(START);
        acceptor.turn(START).unwrap();
    }
    assert!(initiator.session().0.is_logged_on());
    drop(silent);
}

#[test]
fn nobody_there_is_tried_again() {
    let folder = Folder::new("nobody");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let initiating = session(&folder.0, Role::Initiator, "A", "HUB");
    let mut initiator = Initiator::new(address, SECOND_NS, initiating, counting(false));
    let mut now = START;
    for _ in 0..50 {
        initiator.turn(now);
        now = Ts(now.0 + SECOND_NS / 10);
    }
    assert!(!initiator.session().0.is_connected());
    let listener = TcpListener::bind(address).unwrap();
    let accepting = session(&folder.0, Role::Acceptor, "HUB", "A");
    let mut acceptor = Acceptor::new(listener, [(accepting, counting(false))]).unwrap();
    for _ in 0..1_000 {
        initiator.turn(now);
        acceptor.turn(now).unwrap();
        now = Ts(now.0 + SECOND_NS / 10);
        if initiator.session().0.is_logged_on() {
            return;
        }
    }
    panic!("no logon");
}
