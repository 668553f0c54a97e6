//! Sessions over TLS on loopback, with certificates made for the test: orders come over cuts, and who
//! does not show the right certificate, or none, or no TLS at all, is told as what it is.

mod certificates;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bus::clock::{Clock, MachineClock};
use certificates::Folder;
use fix::{
    Acceptor, Application, DataTags, Draft, Initiator, Memory, Note, Outbox, Received, Role,
    Secured, Session, SessionConfig, Verdict, Version, tags, tls,
};

const RETRY_NS: i64 = 10_000_000;
/// No test takes longer, handshakes that never come included.
const DEADLINE: Duration = Duration::from_secs(60);

/// Counts what comes, in order, and keeps what was noted.
#[derive(Default)]
struct Counting {
    next: u64,
    notes: Vec<String>,
}

impl Application for Counting {
    fn on_message(&mut self, received: &Received<'_>, _: &mut Outbox) -> Verdict {
        assert_eq!(received.message.number(tags::CL_ORD_ID), Some(self.next));
        self.next += 1;
        Verdict::Taken
    }

    fn on_note(&mut self, note: &Note) {
        self.notes.push(note.to_string());
    }
}

fn session(role: Role, sender: &str, target: &str) -> Session<Memory> {
    let config = SessionConfig::new(Version::Fix44, role, sender, target);
    let now = MachineClock::new().wall();
    Session::new(config, Memory::new(now), None, DataTags::default())
}

struct Pair {
    acceptor: Acceptor<Memory, Counting>,
    initiator: Initiator<Memory, Counting>,
    clock: MachineClock,
    begun: Instant,
}

impl Pair {
    fn new(server: Secured, client: Secured) -> Pair {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accepting = session(Role::Acceptor, "HUB", "A");
        let acceptor = Acceptor::new(listener, [(accepting, Counting::default())]).unwrap();
        let acceptor = acceptor.secured(server);
        let address = acceptor.address().unwrap();
        let initiating = session(Role::Initiator, "A", "HUB");
        let initiator = Initiator::new(address, RETRY_NS, initiating, Counting::default());
        Pair {
            acceptor,
            initiator: initiator.secured(client).unwrap(),
            clock: MachineClock::new(),
            begun: Instant::now(),
        }
    }

    fn turn(&mut self) {
        assert!(self.begun.elapsed() < DEADLINE, "it comes to an end");
        let now = self.clock.wall();
        if self.acceptor.turn(now).unwrap() + self.initiator.turn(now) == 0 {
            thread::yield_now();
        }
    }

    fn came(&mut self) -> u64 {
        self.acceptor.sessions().next().unwrap().1.next
    }

    /// Until the side that connects notes something with this in it; it never logs on.
    fn until_noted(&mut self, want: &str) {
        loop {
            self.turn();
            let (session, app) = self.initiator.session();
            assert!(!session.is_logged_on(), "want `{want}`");
            if app.notes.iter().any(|note| note.contains(want)) {
                return;
            }
            assert!(
                app.notes.len() < 200,
                "want `{want}`: {:?}",
                app.notes.last()
            );
        }
    }

    /// Until the side that accepts refuses somebody with this.
    fn until_refused(&mut self, want: &str) {
        loop {
            self.turn();
            assert!(!self.initiator.session().0.is_logged_on(), "want `{want}`");
            let refusals = self.acceptor.take_refusals();
            if refusals.iter().any(|said| said.contains(want)) {
                return;
            }
        }
    }
}

fn server(of: &(PathBuf, PathBuf), believed: Option<&Path>) -> Secured {
    Secured::Server(tls::Server::new(&of.0, &of.1, believed).unwrap())
}

fn client(ca: &Path, name: &str, own: Option<&(PathBuf, PathBuf)>) -> Secured {
    let own = own.map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    Secured::Client(tls::Client::new(ca, name, own).unwrap())
}

#[test]
fn a_thousand_orders_come_over_cuts_once_each_with_certificates_of_both_sides() {
    const ORDERS: u64 = 1_000;
    let folder = Folder::new("orders");
    let (ca, signer) = folder.signer("ca");
    let venue = folder.certificate("venue.test", 2099, &signer);
    let desk = folder.certificate("desk.test", 2099, &signer);
    let mut pair = Pair::new(
        server(&venue, Some(&ca)),
        client(&ca, "venue.test", Some(&desk)),
    );
    let (mut sent, mut cuts, mut logons, mut was_on) = (0, 0, 0, false);
    while pair.came() < ORDERS {
        pair.turn();
        let now = pair.clock.wall();
        let (session, app) = pair.initiator.session();
        let is_on = session.is_logged_on();
        logons += u64::from(is_on && !was_on);
        was_on = is_on;
        if sent < ORDERS && is_on {
            // Several in a turn, and long, so that more than one record waits.
            for _ in 0..4 {
                let mut draft = Draft::new(b"D");
                draft.body().number(tags::CL_ORD_ID, sent);
                draft.body().text(tags::TEXT, &"x".repeat(6_000));
                session.send(&draft, now, app).unwrap();
                sent += 1;
            }
            if sent % 100 == 0 && sent < ORDERS {
                match cuts % 2 {
                    0 => pair.initiator.cut(now),
                    _ => pair.acceptor.cut(0, now),
                }
                cuts += 1;
            }
        }
    }
    assert_eq!((pair.came(), sent, cuts), (ORDERS, ORDERS, 9));
    assert_eq!(logons, 10, "each cut is mended");
    let now = pair.clock.wall();
    let (session, app) = pair.initiator.session();
    session.log_out("", now, app);
    while pair.acceptor.sessions().next().unwrap().0.is_connected() {
        pair.turn();
    }
}

#[test]
fn whoever_does_not_show_the_right_certificate_is_told_as_what_it_is() {
    let folder = Folder::new("refused");
    let (ca, signer) = folder.signer("ca");
    let (other_ca, other_signer) = folder.signer("other-ca");
    let venue = folder.certificate("venue.test", 2099, &signer);
    let expired = folder.certificate("venue.test", 2020, &signer);
    let stranger = folder.certificate("stranger.test", 2099, &other_signer);
    let address = folder.certificate("127.0.0.1", 2099, &signer);
    // Another signer, another name, a time that is over.
    let mut pair = Pair::new(server(&venue, None), client(&other_ca, "venue.test", None));
    pair.until_noted("signed by none of the certificates that are believed (`ca`)");
    let mut pair = Pair::new(server(&venue, None), client(&ca, "other.test", None));
    pair.until_noted("not valid for name \"other.test\"");
    let mut pair = Pair::new(server(&expired, None), client(&ca, "venue.test", None));
    pair.until_noted("certificate expired");
    // None of ours where one is wanted, and one of a signer that is not believed: both sides are told.
    let wanted = || server(&venue, Some(&ca));
    Pair::new(wanted(), client(&ca, "venue.test", None))
        .until_noted("the other side wants a certificate of ours");
    Pair::new(wanted(), client(&ca, "venue.test", None))
        .until_refused("want a certificate of the other side");
    let theirs = || client(&ca, "venue.test", Some(&stranger));
    Pair::new(wanted(), theirs()).until_noted("TLS: received fatal alert: ");
    Pair::new(wanted(), theirs()).until_refused("signed by none of the certificates");
    // A name may be an address.
    let mut pair = Pair::new(server(&address, None), client(&ca, "127.0.0.1", None));
    while !pair.initiator.session().0.is_logged_on() {
        pair.turn();
    }
}

#[test]
fn a_peer_without_tls_is_told_on_either_side_and_a_silent_one_hangs_nothing() {
    let folder = Folder::new("plain");
    let (ca, signer) = folder.signer("ca");
    let venue = folder.certificate("venue.test", 2099, &signer);
    // One that speaks plainly to a server of TLS.
    let mut pair = Pair::new(server(&venue, None), Secured::No);
    pair.until_refused("is refused: TLS: ");
    // One that answers TLS plainly, and one that ends the connection.
    let plainly = |answer: &'static [u8]| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let body = move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer).unwrap();
            if !answer.is_empty() {
                // Until the other side has enough of it.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        };
        (address, thread::spawn(body))
    };
    for (answer, want) in [
        (&b"8=FIX.4.4\x019=5\x0135=0\x0110=163\x01"[..], "is no TLS"),
        (b"", "within the handshake"),
    ] {
        let (address, there) = plainly(answer);
        let initiating = session(Role::Initiator, "A", "HUB");
        let initiator = Initiator::new(address, 3_600_000_000_000, initiating, Counting::default());
        let mut initiator = initiator.secured(client(&ca, "venue.test", None)).unwrap();
        let (clock, begun) = (MachineClock::new(), Instant::now());
        while initiator.session().1.notes.is_empty() {
            assert!(begun.elapsed() < DEADLINE);
            initiator.turn(clock.wall());
            thread::yield_now();
        }
        let notes = &initiator.session().1.notes;
        // Whoever ends it with our bytes unread may end it by a reset, which is told as such.
        let is_told = notes[0].contains(want) || (answer.is_empty() && notes[0].contains("reset"));
        assert!(is_told, "{}", notes[0]);
        there.join().unwrap();
    }
    // One that says nothing at all is given up at the deadline, and no turn waits for it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (over, is_over) = mpsc::channel::<()>();
    let there = thread::spawn(move || {
        let accepted = listener.accept().unwrap();
        let _ = is_over.recv();
        drop(accepted);
    });
    let initiating = session(Role::Initiator, "A", "HUB");
    let initiator = Initiator::new(address, 3_600_000_000_000, initiating, Counting::default());
    let mut initiator = initiator.secured(client(&ca, "venue.test", None)).unwrap();
    // A silent one keeps nobody from a server of TLS either.
    let mut pair = Pair::new(server(&venue, None), client(&ca, "venue.test", None));
    let silent = TcpStream::connect(pair.acceptor.address().unwrap()).unwrap();
    let begun = Instant::now();
    let mut logon_took = None;
    while initiator.session().1.notes.is_empty() {
        assert!(begun.elapsed() < DEADLINE);
        initiator.turn(pair.clock.wall());
        pair.turn();
        if pair.initiator.session().0.is_logged_on() {
            logon_took.get_or_insert(begun.elapsed());
        }
    }
    let note = &initiator.session().1.notes[0];
    assert!(note.contains("no handshake within 10 s"), "{note}");
    assert!(begun.elapsed() >= Duration::from_secs(10));
    assert!(logon_took.is_some_and(|took| took < Duration::from_secs(10)));
    drop((over, silent));
    there.join().unwrap();
}

#[test]
fn files_that_are_none_are_named() {
    let folder = Folder::new("files");
    let (ca, signer) = folder.signer("ca");
    let venue = folder.certificate("venue.test", 2099, &signer);
    let other = folder.certificate("other.test", 2099, &signer);
    let client = |ca: &Path, name: &str| tls::Client::new(ca, name, None).unwrap_err().to_string();
    let server = |certificate: &Path, key: &Path| {
        let made = tls::Server::new(certificate, key, None);
        made.unwrap_err().to_string()
    };
    let said = client(&venue.1, "venue.test");
    assert!(
        said.ends_with("venue.test-2099.key: no certificate in it, want some in PEM"),
        "{said}"
    );
    let said = client(&folder.0.join("none.pem"), "venue.test");
    assert!(said.contains("none.pem: "), "{said}");
    let said = client(&ca, "not a name");
    assert!(
        said.contains("`not a name` is no name of a server"),
        "{said}"
    );
    let said = server(&venue.0, &venue.0);
    assert!(said.ends_with("want a key in PEM"), "{said}");
    let said = server(&venue.0, &other.1);
    assert!(said.contains("other.test-2099.key: "), "{said}");
}
