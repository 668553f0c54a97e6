//! A session over multicast into a live run gives what its replay gives.

mod joining;
mod recovery;
mod replay;
mod session;
mod snapshots;
mod stopping;
#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bus::disk::RealFolder;
use bus::log::{LogReader, Record};
use bus::soupbintcp::Packet;
use bus::{Flags, Kind, checkpoint};
use feed::moldudp64::Blocks;

use support::{Ended, Folder, Started, alone, digests, manifest, program, tapeline};
use tapeline::run_dir::RunDir;

/// A sample session and its replay.
struct Session {
    folder: Folder,
    capture: PathBuf,
    replay: PathBuf,
    /// The capture's lines, and the groups that stand for them here.
    remaps: Vec<(String, SocketAddrV4)>,
}

impl Session {
    /// `None`, with the reason printed, where the machine has no multicast on its loopback.
    fn new(name: &str) -> Option<Session> {
        let port = 20_000 + (std::process::id() % 20_000) as u16;
        if let Err(why) = try_loopback(port) {
            println!("skipped: {name}: no multicast on the loopback interface: {why}");
            return None;
        }
        let folder = Folder::new(name);
        let (capture, replay) = (folder.join("session.pcap"), folder.join("replay"));
        let sample = "sample itch --symbols 16 --seconds 3 --rate 2000 --loss-a 0.02 --loss-b 0.02 \
                      --duplicate 0.01 -o";
        tapeline(
            sample
                .split(' ')
                .map(OsString::from)
                .chain([capture.clone().into()]),
        )
        .expect(0);
        tapeline(args![
            String::from("replay"),
            capture,
            String::from("-o"),
            replay
        ])
        .expect(0);
        let lines = manifest(&replay)["lines"].clone();
        let lines = lines
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["name"].as_str().unwrap());
        let groups = (1u8..).map(|n| SocketAddrV4::new(Ipv4Addr::new(239, 255, 77, n), port));
        let remaps: Vec<_> = lines.map(String::from).zip(groups).collect();
        assert_eq!(remaps.len(), 2, "a sample has lines A and B");
        Some(Session {
            folder,
            capture,
            replay,
            remaps,
        })
    }

    /// A live run that listens already. Its patience with missing messages and its buffers are
    /// large, so that a busy machine is late but loses nothing.
    fn listen(&self, run: &Path) -> Started {
        self.listen_with(run, "")
    }

    /// The same with more settings.
    fn listen_with(&self, run: &Path, settings: &str) -> Started {
        let patient = "wait = \"5s\"\nreorder_packets = 4096\nhold_packets = 8192\n";
        self.listen_for(run, patient, settings)
    }

    /// The same with other patience.
    fn listen_for(&self, run: &Path, gaps: &str, settings: &str) -> Started {
        self.listen_on(run, "", &format!("{gaps}{settings}"))
    }

    /// The same with other settings of the source, and what follows on `[source.gaps]`.
    fn listen_on(&self, run: &Path, source: &str, settings: &str) -> Started {
        let lines: Vec<String> = self
            .remaps
            .iter()
            .map(|(_, group)| format!("\"{group}\""))
            .collect();
        let config = self.folder.write(
            "live.toml",
            format!(
                "[source]\nlines = [{}]\ninterface = \"127.0.0.1\"\nreceive_buffer = \"16MiB\"\n\
                 {source}[source.gaps]\n{settings}",
                lines.join(", ")
            ),
        );
        let mut command = program();
        let mut listening =
            Started::new(command.arg("run").arg("-c").arg(config).arg("-o").arg(run));
        listening.wait_for_line("listening on ");
        listening
    }

    fn serve(&self) -> Started {
        let mut command = program();
        command
            .arg("serve-feed")
            .arg(&self.capture)
            .args(["--speed", "1x"]);
        for (old, new) in &self.remaps {
            command.arg("--remap").arg(format!("{old}={new}"));
        }
        Started::new(&mut command)
    }
}

/// Sends itself a packet over multicast.
fn try_loopback(port: u16) -> Result<(), String> {
    let group = Ipv4Addr::new(239, 255, 77, 99);
    let step = |what: &'static str| move |error| format!("{what}: {error}");
    let receiver = UdpSocket::bind((group, port)).map_err(step("bind"))?;
    receiver
        .join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)
        .map_err(step("join"))?;
    receiver
        .set_read_timeout(Some(Duration::from_secs(2)))
        .map_err(step("set a timeout"))?;
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(step("bind a sender"))?;
    sender
        .send_to(b"here", (group, port))
        .map_err(step("send"))?;
    let mut bytes = [0; 8];
    receiver.recv(&mut bytes).map_err(step("receive"))?;
    Ok(())
}

/// An address on this machine that nobody has.
fn free_address() -> SocketAddrV4 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has UDP");
    let port = socket.local_addr().expect("it is bound").port();
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

impl Session {
    /// Sends an input on lines of our own, with faults, at an even and modest rate.
    fn serve_with(&self, input: &Path, args: &[&str]) -> Started {
        let mut command = program();
        command.arg("serve-feed").arg(input);
        for (_, group) in &self.remaps {
            command.arg("--line").arg(group.to_string());
        }
        Started::new(command.args(args))
    }
}

/// Waits for something that another process does.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waiting for {what}");
        std::thread::yield_now();
    }
}

/// What a login to a server of snapshots meets.
#[derive(Clone, Copy)]
enum Meets {
    /// It is refused.
    Refusal,
    /// A snapshot, cut after so many bytes.
    Cut(u64),
    /// A login that is accepted, and then nothing.
    Silence,
    /// The true server.
    Truth,
}

/// A server in front of a true one: the first logins meet these, all later ones the last of them.
fn before(truth: SocketAddrV4, meets: Vec<Meets>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has TCP");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for (index, client) in listener.incoming().enumerate() {
            let mut client = client.expect("a client");
            let mut login = [0; 49];
            if client.read_exact(&mut login).is_err() {
                continue;
            }
            let mut answer = Vec::new();
            match meets[index.min(meets.len() - 1)] {
                Meets::Refusal => Packet::Rejected { reason: b'A' }.put(&mut answer),
                Meets::Silence => {
                    let (session, sequence) = (*b"         1", 1);
                    Packet::Accepted { session, sequence }.put(&mut answer);
                    held.push(client.try_clone().expect("a second handle"));
                }
                meets @ (Meets::Cut(_) | Meets::Truth) => {
                    let mut server = TcpStream::connect(truth).expect("the true server");
                    server.write_all(&login).expect("it takes the login");
                    let upto = match meets {
                        Meets::Cut(bytes) => bytes,
                        _ => u64::MAX,
                    };
                    // A client that has all it wants leaves first.
                    let _ = std::io::copy(&mut server.take(upto), &mut client);
                }
            }
            let _ = client.write_all(&answer);
        }
    });
    address
}
