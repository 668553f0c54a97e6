//! SoupBinTCP sessions, as files and over the loopback interface.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bus::soupbintcp::{Login, Packet as Soups, whole};
use feed::moldudp64::{Blocks, END_OF_SESSION, Header};
use feed::protocol::Wire;
use feed::source::capture::Format;
use feed::source::{Capture, CaptureOptions, DialRule, Framing, Polled, Soup, Source};

const SESSION: [u8; 10] = *b"  20260105";

/// A system event, so many nanoseconds after midnight.
fn message(ns: u8) -> Vec<u8> {
    let mut message = b"S\0\0\0\0\0\0\0\0\0".to_vec();
    message.extend([ns, b'O']);
    message
}

fn accepted(sequence: u64) -> Soups<'static> {
    Soups::Accepted {
        session: SESSION,
        sequence,
    }
}

fn bytes(packets: &[Soups<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets.iter().for_each(|packet| packet.put(&mut bytes));
    bytes
}

/// What one poll brought: `session 3+2` for two messages from the third on, and their times.
fn said(polled: Polled<'_>) -> Option<String> {
    match polled {
        Polled::Packet(packet) => {
            assert_eq!(packet.framing, Framing::MoldUdp64);
            let (header, blocks) = Header::split(packet.payload).expect("a header");
            let session = header.session.to_string();
            if header.count == END_OF_SESSION {
                return Some(format!("{session} {} over", header.sequence));
            }
            let times = Blocks::new(blocks).map(|message| message[10].to_string());
            let times: Vec<String> = times.collect();
            assert_eq!(times.len(), usize::from(header.count));
            Some(format!(
                "{session} {}: {}",
                header.sequence,
                times.join(" ")
            ))
        }
        Polled::Trouble(trouble) => {
            let place = trouble.place;
            Some(format!("byte {}: {}", place.offset_bytes, trouble.what))
        }
        Polled::Empty => None,
        Polled::End => Some("end".into()),
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("tapeline-soup-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Opens these bytes as a file.
    fn open(&self, bytes: &[u8], messages_max: usize) -> Result<Capture, String> {
        let path = self.0.join("session");
        std::fs::write(&path, bytes).unwrap();
        let options = CaptureOptions {
            itch_messages_max: messages_max,
            decompress_ahead: false,
            ..CaptureOptions::default()
        };
        Capture::open(&[path], options).map_err(|e| e.what)
    }

    /// All that is read of a file.
    fn read(&self, bytes: &[u8], messages_max: usize) -> String {
        let mut capture = self.open(bytes, messages_max).unwrap();
        assert_eq!(capture.files()[0].format, Format::SoupBinTcp);
        assert_eq!(capture.wire().unwrap(), Wire::Itch);
        let mut all = Vec::new();
        loop {
            let said = said(capture.poll().unwrap()).expect("a file does not keep one waiting");
            if said == "end" {
                return all.join(", ");
            }
            all.push(said);
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_recorded_session_has_its_own_numbers() {
    let folder = Folder::new("numbers");
    let messages: Vec<Vec<u8>> = (0..9).map(message).collect();
    let sent: Vec<Soups<'_>> = messages.iter().map(|m| Soups::Sequenced(m)).collect();
    let session = bytes(
        &[
            &[Soups::Debug(b"hello"), accepted(5)][..],
            &sent[..3],
            &[Soups::ServerHeartbeat, Soups::Unsequenced(b"aside")],
            &sent[3..5],
            // The connection was lost, and the session went on.
            &[accepted(9)],
            &sent[4..],
            &[Soups::EndOfSession],
        ]
        .concat(),
    );
    let want = "20260105 5: 0 1 2, 20260105 8: 3 4, 20260105 9: 4 5 6, 20260105 12: 7 8, \
                20260105 14 over";
    assert_eq!(folder.read(&session, 3), want);
    // Cut anywhere, it is read up to there, and the cut is told with its place.
    let whole_text = folder.read(&session, 1);
    for len in 31 + 10..session.len() {
        let cut = folder.read(&session[..len], 1);
        let (read, told) = cut.split_once("byte ").unwrap_or((&cut, ""));
        let is_cut = told.is_empty() || told.contains("cut SoupBinTCP packet: ");
        let is_right = is_cut && whole_text.starts_with(read);
        assert!(is_right, "{len}: {cut}");
    }
    // Within a session nobody knows the numbers.
    let within = bytes(&sent[..2]);
    assert_eq!(folder.read(&within, 3), " 0: 0 1");
}

#[test]
fn a_file_that_is_no_session_is_told_with_its_place() {
    let folder = Folder::new("bad");
    let good = bytes(&[accepted(1), Soups::Sequenced(&message(1))]);
    let then = |more: &[u8]| folder.read(&[&good[..], more].concat(), 64);
    let at = "20260105 1: 1, byte 48: ";
    let want = format!("{at}packet length 65535, want 1 to 4096");
    assert_eq!(then(b"\xff\xffS"), want);
    assert_eq!(
        then(b"\0\0"),
        format!("{at}packet length 0, want 1 to 4096")
    );
    let want = format!("{at}packet type '?', want one of SoupBinTCP 3.0");
    assert_eq!(then(b"\0\x01?\0\x01H"), want);
    let want = format!("{at}cut SoupBinTCP packet: 3 bytes, want 34");
    assert_eq!(then(b"\0\x20S"), want);
    let rejected = folder.read(b"\0\x02JA", 64);
    assert_eq!(rejected, "byte 0: the login is rejected: not authorised");
    // An ITCH file is none, however its first message begins.
    let mut file = vec![0, 12];
    file.extend(message(1));
    let capture = folder.open(&file, 64).unwrap();
    assert_eq!(capture.files()[0].format, Format::Itch);
}

/// A server that does with each connection what the script says, in this order.
enum Act {
    /// Sends these bytes once there was a login, which must ask for this message.
    Login(u64, Vec<u8>),
    /// Closes the connection at once.
    Close,
}

fn serve(script: Vec<Act>) -> (SocketAddr, JoinHandle<Vec<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has TCP");
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let mut open = Vec::new();
        for act in script {
            let (mut stream, _) = listener.accept().expect("it connects");
            let Act::Login(sequence, bytes) = act else {
                continue;
            };
            let mut request = [0; 49];
            stream.read_exact(&mut request).expect("it logs in");
            assert_eq!(whole(&request), Ok(Some(49)));
            let Ok(Soups::Login(login)) = Soups::parse(&request) else {
                panic!("no login")
            };
            assert_eq!(login.sequence, sequence);
            stream.write_all(&bytes).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            open.push(stream);
        }
        open
    });
    (address, server)
}

fn client(address: SocketAddr, silence_ns: u64) -> Soup {
    let login = Login::new("me", "secret", "", 1).unwrap();
    let rule = DialRule {
        silence_ns,
        retry_ns: 1_000_000,
        retry_max_ns: 5_000_000,
    };
    Soup::new(address, login, rule)
}

/// What is heard until this is, or an error; heartbeats and the joints of packets left out.
fn heard(soup: &mut Soup, until: &str) -> String {
    let start = Instant::now();
    let mut all: Vec<String> = Vec::new();
    while start.elapsed() < Duration::from_secs(60) {
        let said = match soup.poll() {
            Ok(polled) => said(polled),
            Err(error) => Some(error.what),
        };
        let Some(said) = said.filter(|said| !said.ends_with(": ")) else {
            thread::yield_now();
            continue;
        };
        // Without the address, which differs each time.
        let said = said.replace(&soup.lines()[0].name, "server");
        let is_last = said.contains(until);
        all.push(said);
        if is_last {
            return all.join(", ");
        }
    }
    panic!("`{until}` was not heard: {all:?}");
}

const SILENCE_NS: u64 = 60_000_000_000;

#[test]
fn a_connection_that_ends_is_made_again_and_goes_on_with_the_next_message() {
    let (one, two, three) = (message(1), message(2), message(3));
    let first = bytes(&[accepted(1), Soups::Sequenced(&one), Soups::Sequenced(&two)]);
    // A packet that is cut counts for nothing.
    let first = [&first[..], b"\0\x0dS"].concat();
    let second = bytes(&[accepted(3), Soups::Sequenced(&three), Soups::EndOfSession]);
    let (address, server) = serve(vec![
        Act::Login(1, first),
        Act::Close,
        Act::Login(3, second),
    ]);
    let heard = heard(&mut client(address, SILENCE_NS), " over");
    server.join().unwrap();
    let want = "20260105 1: 1 2, byte 0: server: the server closed the connection; trying again, from \
                message 3 on";
    assert!(heard.starts_with(want), "{heard}");
    assert!(
        heard.ends_with(", 20260105 3: 3, 20260105 4 over"),
        "{heard}"
    );
}

#[test]
fn nonsense_ends_a_connection_and_not_the_session() {
    for (bad, why) in [
        (&b"\xff\xff?"[..], "packet length 65535, want 1 to 4096"),
        (b"\0\x01?", "packet type '?', want one of SoupBinTCP 3.0"),
        (b"\0\x02JS", "a packet of type 'J' where none is expected"),
    ] {
        let one = message(1);
        let first = bytes(&[accepted(1), Soups::Sequenced(&one)]);
        let first = [&first[..], bad].concat();
        let second = bytes(&[accepted(2), Soups::EndOfSession]);
        let (address, server) = serve(vec![Act::Login(1, first), Act::Login(2, second)]);
        let heard = heard(&mut client(address, SILENCE_NS), " over");
        server.join().unwrap();
        let want = format!(
            "20260105 1: 1, byte 0: server: {why}; trying again, from message 2 on, 20260105 2 over"
        );
        assert_eq!(heard, want);
    }
}

#[test]
fn a_login_that_is_refused_is_an_error_and_silence_a_lost_connection() {
    let (address, server) = serve(vec![Act::Login(1, b"\0\x02JA".to_vec())]);
    let refused = heard(&mut client(address, SILENCE_NS), "rejected");
    server.join().unwrap();
    let want = "the login is rejected: not authorised, as user 'me', the session that is on, from \
                message 1 on";
    assert_eq!(refused, want);
    // Whoever is connected and says nothing at all.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has TCP");
    let mut soup = client(silent.local_addr().unwrap(), 1_000_000);
    heard(
        &mut soup,
        "not even a heartbeat; trying again, from message 1 on",
    );
    // Nobody at all.
    let address = silent.local_addr().unwrap();
    drop((silent, soup));
    let said = heard(&mut client(address, SILENCE_NS), "trying again");
    assert!(
        said.contains("cannot connect: Connection refused"),
        "{said}"
    );
}
