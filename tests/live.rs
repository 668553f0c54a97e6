//! A session over multicast into a live run gives what its replay gives.

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

#[test]
fn a_live_run_equals_the_replay() {
    equals_the_replay("live-equal", "");
}

#[test]
fn a_live_run_on_one_thread_equals_the_replay() {
    equals_the_replay(
        "live-completion",
        "[run]\nmodel = \"run-to-completion\"\nshards = 2\n",
    );
}

fn equals_the_replay(name: &str, settings: &str) {
    let _alone = alone();
    let Some(session) = Session::new(name) else {
        return;
    };
    // A machine that does much else may lose packets in the kernel, which the run then says; that
    // is its right once.
    for is_last in [false, true] {
        let run = session.folder.join("live");
        let mut listening = session.listen_with(&run, settings);
        session.serve().wait_for_end().expect(0);
        // The end of the session ends the run, with no signal from here.
        listening.wait_for_end().expect(0);
        let live = manifest(&run);
        let lost = live["counts"]["lost_messages"].as_u64().unwrap();
        if lost > 0 && !is_last {
            println!("once more: {lost} messages lost, {}", live["anomalies"]);
            std::fs::remove_dir_all(&run).unwrap();
            continue;
        }
        assert_eq!(lost, 0, "lost messages: {}", live["anomalies"]);
        assert_eq!(live["mode"], "live");
        assert_eq!(live["state"], "complete");
        let replay = manifest(&session.replay);
        assert_eq!(live["counts"]["by_type"], replay["counts"]["by_type"]);
        assert_eq!(live["anomalies"], replay["anomalies"]);
        assert!(
            digests(&run) == digests(&session.replay),
            "other digests than the replay"
        );
        assert_eq!(live["digest"], replay["digest"]);
        tapeline(args![String::from("diff"), run, session.replay]).expect(0);
        return;
    }
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

/// Faults of two independent lines, some of them common, and a long common gap.
const FAULTS: [&str; 10] = [
    "--rate",
    "4000/s",
    "--loss",
    "5%",
    "--duplicate",
    "2%",
    "--reorder",
    "3,0",
    "--drop-both",
    "1500..1900",
];

/// Patience that a slow machine does not use up.
fn asking(server: SocketAddrV4) -> String {
    format!("[source.retransmit]\nserver = \"{server}\"\ntimeout = \"50ms\"\ntries = 14\n")
}

fn check_recovered(session: &Session, run: &Path) {
    let (live, replay) = (manifest(run), manifest(&session.replay));
    assert_eq!(live["counts"]["lost_messages"], 0, "{}", live["gaps"]);
    assert_eq!(live["counts"]["stale_symbols"], 0);
    assert_eq!(live["gaps"].as_array().unwrap().len(), 0);
    assert_eq!(live["anomalies"]["gap"], replay["anomalies"]["gap"]);
    assert_eq!(live["counts"]["by_type"], replay["counts"]["by_type"]);
    assert!(
        digests(run) == digests(&session.replay),
        "other digests than the replay"
    );
    let asked = |name: &str| live["retransmission"][name].as_u64().unwrap();
    assert!(asked("recovered") >= 401, "{}", live["retransmission"]);
    assert!(asked("asked") >= asked("recovered"));
    let lines = live["lines"].as_array().unwrap().iter();
    let drops: u64 = lines
        .map(|line| line["kernel_drops"].as_u64().unwrap())
        .sum();
    assert_eq!(drops > 0, live["anomalies"].get("input_trouble").is_some());
    assert_eq!(asked("given_up"), 0);
}

#[test]
fn what_both_lines_lose_is_asked_for_and_the_run_is_as_if_nothing_was_lost() {
    let _alone = alone();
    let Some(session) = Session::new("live-recovered") else {
        return;
    };
    for (name, settings) in [
        ("pipeline", ""),
        ("completion", "[run]\nmodel = \"run-to-completion\"\n"),
    ] {
        let (run, server) = (session.folder.join(name), free_address());
        let mut listening = session.listen_with(&run, &format!("{}{settings}", asking(server)));
        let server = server.to_string();
        let more = ["--retransmit", &server, "--linger", "1h"];
        let serving = session.serve_with(&session.capture, &[&FAULTS[..], &more].concat());
        listening.wait_for_end().expect(0);
        serving.interrupt();
        let mut serving = serving;
        let ended = serving.wait_for_end().expect(130);
        ended.says(&["requests answered with", "packets left late by: p50"]);
        check_recovered(&session, &run);
    }
}

#[test]
fn an_itch_file_over_lines_that_lose_gives_what_its_replay_gives() {
    let _alone = alone();
    let Some(mut session) = Session::new("live-itch") else {
        return;
    };
    let (file, replay) = (
        session.folder.join("other.itch.zst"),
        session.folder.join("replay-itch"),
    );
    let sample = "sample itch --symbols 16 --seconds 3 --rate 2000 --seed 11 -o";
    tapeline(
        sample
            .split(' ')
            .map(OsString::from)
            .chain([file.clone().into()]),
    )
    .expect(0);
    tapeline(args![
        String::from("replay"),
        file,
        String::from("-o"),
        replay
    ])
    .expect(0);
    session.replay = replay;
    let (run, server) = (session.folder.join("live"), free_address());
    // With little room for packets that wait, what there is no room for waits in the kernel.
    let mut listening = session.listen_for(&run, "hold_packets = 16\n", &asking(server));
    let server = server.to_string();
    let more = ["--retransmit", &server, "--linger", "1h"];
    let serving = session.serve_with(&file, &[&FAULTS[..], &more].concat());
    listening.wait_for_end().expect(0);
    serving.kill();
    check_recovered(&session, &run);
}

/// The same messages in an ITCH file, in a recorded SoupBinTCP session, and from a server whose
/// connections break.
#[test]
fn a_session_over_tcp_gives_what_its_replay_gives() {
    let _alone = alone();
    let folder = Folder::new("live-soup");
    let (file, replay) = (folder.join("session.itch"), folder.join("replay"));
    let sample = "sample itch --symbols 16 --seconds 3 --rate 2000 --seed 11 -o".split(' ');
    tapeline(sample.map(OsString::from).chain([file.clone().into()])).expect(0);
    let text = String::from;
    tapeline(args![text("replay"), file, text("-o"), replay]).expect(0);
    let replayed = manifest(&replay);

    let mut session = Vec::new();
    let accepted = Packet::Accepted {
        session: *b"    DAY001",
        sequence: 1,
    };
    accepted.put(&mut session);
    let bytes = std::fs::read(&file).unwrap();
    for (index, message) in Blocks::new(&bytes).enumerate() {
        Packet::Sequenced(message).put(&mut session);
        if index % 100 == 0 {
            Packet::ServerHeartbeat.put(&mut session);
        }
    }
    Packet::EndOfSession.put(&mut session);
    let recorded = folder.write("recorded.soup", session);
    let inspected = tapeline(args![text("inspect"), recorded]).expect(0);
    for said in ["SoupBinTCP session", "DAY001"] {
        assert!(inspected.stdout.contains(said), "{}", inspected.stdout);
    }
    let from_record = folder.join("from-record");
    tapeline(args![text("replay"), recorded, text("-o"), from_record]).expect(0);
    assert_eq!(manifest(&from_record)["digest"], replayed["digest"]);

    for (input, model) in [(&file, "pipeline"), (&recorded, "run-to-completion")] {
        let (server, run) = (free_address(), folder.join(model));
        let config = folder.write(
            "live.toml",
            format!(
                "[source.soup]\nserver = \"{server}\"\nuser = \"me\"\npassword = \"secret\"\n\
                 retry = \"1ms\"\nretry_max = \"50ms\"\n[run]\nmodel = \"{model}\"\n"
            ),
        );
        let mut command = program();
        command
            .arg("serve-feed")
            .arg(input)
            .args(["--speed", "max"]);
        let address = server.to_string();
        let server = ["--soup", &address, "--soup-cut", "1500", "--linger", "1h"];
        let serving = Started::new(command.args(server));
        tapeline(args![text("run"), text("-c"), config, text("-o"), run]).expect(0);
        serving.interrupt();
        let mut serving = serving;
        serving
            .wait_for_end()
            .expect(130)
            .says(&["logins accepted"]);
        let live = manifest(&run);
        assert_eq!(live["mode"], "live");
        assert_eq!(live["counts"]["lost_messages"], 0, "{}", live["anomalies"]);
        assert_eq!(live["counts"]["by_type"], replayed["counts"]["by_type"]);
        assert!(
            digests(&run) == digests(&replay),
            "other digests than the replay"
        );
        // Several thousand messages, and a connection for each 1,500.
        let examples = live["anomaly_examples"].to_string();
        assert!(
            examples.contains("trying again, from message 3001 on"),
            "{examples}"
        );
    }

    let refused = folder.write(
        "both.toml",
        "[source]\nlines = [\"239.1.1.1:9\"]\n[source.soup]\nserver = \"127.0.0.1:9\"\n",
    );
    let said = tapeline(args![text("run"), text("-c"), refused]).expect(2);
    said.says(&["source.soup.server and source.lines: want one of them"]);
}

/// Takes a connection and its login; the number that it asks for.
fn log_in(server: &TcpListener) -> (TcpStream, u64) {
    let (mut stream, _) = server.accept().expect("a client connects");
    let mut bytes = Vec::new();
    loop {
        let mut some = [0; 256];
        let count = stream.read(&mut some).expect("a login comes");
        assert!(count > 0, "it closed before its login");
        bytes.extend(&some[..count]);
        if let Some(len) = bus::soupbintcp::whole(&bytes).expect("packets") {
            match Packet::parse(&bytes[..len]) {
                Ok(Packet::Login(login)) => return (stream, login.sequence),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What a server sent between the stop of a run and its next login is lost, counted with its numbers.
#[test]
fn what_a_stopped_run_did_not_hear_of_its_session_is_counted_as_lost() {
    let _alone = alone();
    let folder = Folder::new("live-soup-resume");
    let (file, text) = (folder.join("session.itch"), String::from);
    let sample = "sample itch --symbols 4 --seconds 2 --rate 500 --seed 12 -o".split(' ');
    tapeline(sample.map(OsString::from).chain([file.clone().into()])).expect(0);
    let bytes = std::fs::read(&file).unwrap();
    let messages: Vec<&[u8]> = Blocks::new(&bytes).collect();
    let (heard, lost) = (400, 50);
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has TCP");
    let config = folder.write(
        "live.toml",
        format!(
            "[source]\ndate = \"2026-01-05\"\n[source.soup]\nserver = \"{}\"\nsequence = 1\n\
             retry = \"1ms\"\nretry_max = \"50ms\"\n",
            server.local_addr().unwrap()
        ),
    );
    let say = |stream: &mut TcpStream, sequence: usize, messages: &[&[u8]], ends: bool| {
        let mut bytes = Vec::new();
        let session = *b"    DAY001";
        let sequence = sequence as u64;
        Packet::Accepted { session, sequence }.put(&mut bytes);
        for message in messages {
            Packet::Sequenced(message).put(&mut bytes);
        }
        if ends {
            Packet::EndOfSession.put(&mut bytes);
        }
        stream.write_all(&bytes).expect("the client reads");
    };
    let run = folder.join("live");
    let mut command = program();
    let mut listening =
        Started::new(command.args(args![text("run"), text("-c"), config, text("-o"), run]));
    let (mut stream, asked) = log_in(&server);
    assert_eq!(asked, 1);
    say(&mut stream, 1, &messages[..heard], false);
    drop(stream);
    // It asks for the next one once it has all that was sent.
    let (stream, asked) = log_in(&server);
    assert_eq!(asked, heard as u64 + 1);
    listening.interrupt();
    listening.wait_for_end().expect(130);
    drop(stream);
    let stopped = manifest(&run);
    assert_eq!(stopped["sessions"]["    DAY001"], heard + 1, "{stopped}");
    assert_eq!(stopped["counts"]["lost_messages"], 0);

    let mut command = program();
    let words = args![text("run"), text("--strict"), text("--resume"), run];
    let mut listening = Started::new(command.args(words));
    let (mut stream, asked) = log_in(&server);
    assert_eq!(asked, heard as u64 + 1, "from where it was stopped");
    let next = heard + lost;
    say(&mut stream, next + 1, &messages[next..], true);
    listening
        .wait_for_end()
        .expect(3)
        .says(&["anomalies in the input"]);
    let resumed = manifest(&run);
    assert_eq!(
        resumed["counts"]["lost_messages"], lost,
        "{}",
        resumed["gaps"]
    );
    assert_eq!(
        resumed["gaps"][0]["first"],
        heard + 1,
        "{}",
        resumed["gaps"]
    );
    assert_eq!(resumed["gaps"].as_array().unwrap().len(), 1);
    assert!(resumed["counts"]["stale_symbols"].as_u64().unwrap() > 0);
    support::run(program().arg("shadow").arg(&run)).expect(0);
    let said = tapeline(args![
        text("verify"),
        run,
        text("--against"),
        text("reference")
    ]);
    let verdict = format!("the run lost {lost} messages: its books lack them");
    assert!(said.expect(0).stdout.contains(&verdict));
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

/// A run that was killed, or stopped, goes on behind the last message that its logs have: nothing is lost, and
/// nothing is taken twice.
#[test]
fn a_session_goes_on_where_a_killed_or_stopped_run_was() {
    let _alone = alone();
    let folder = Folder::new("live-soup-goes-on");
    let (file, text) = (folder.join("session.itch"), String::from);
    let sample = "sample itch --symbols 6 --seconds 6 --rate 2000 --seed 14 -o".split(' ');
    tapeline(sample.map(OsString::from).chain([file.clone().into()])).expect(0);
    let replay = folder.join("replay");
    tapeline(args![text("replay"), file, text("-o"), replay]).expect(0);
    let messages = manifest(&replay)["counts"]["messages"].as_u64().unwrap();
    let cases = [
        ("killed", 1, true, "1"),
        ("killed-apart", 3, true, "3"),
        ("stopped", 2, false, "2"),
        ("killed-and-split", 2, true, "3"),
    ];
    for (name, shards, is_killed, shards_after) in cases {
        let (server, run) = (free_address(), folder.join(name));
        let config = folder.write(
            "live.toml",
            format!(
                "[source]\ndate = \"2026-01-05\"\n[source.soup]\nserver = \"{server}\"\nretry = \"1ms\"\n\
                 retry_max = \"50ms\"\n[run]\nshards = {shards}\n"
            ),
        );
        let mut command = program();
        command.arg("serve-feed").arg(&file).args(["--speed", "1x"]);
        let address = server.to_string();
        let server = ["--soup", &address, "--linger", "1h"];
        let mut serving = Started::new(command.args(server));
        let mut command = program();
        let first = args![text("run"), text("-c"), config, text("-o"), run];
        let mut listening = Started::new(command.args(first));
        // Twice in its midst: what was taken up again can be, too.
        for _ in 0..2 {
            let lines = || {
                let text = std::fs::read_to_string(run.join("positions"));
                text.map_or(0, |text| text.lines().count())
            };
            let before = lines();
            until("some of the session", || lines() >= before + 3);
            match is_killed {
                true => drop(listening.kill()),
                false => {
                    listening.interrupt();
                    listening.wait_for_end().expect(130);
                }
            }
            let mut command = program();
            let again = args![text("run"), text("--resume"), run, text("--shards")];
            listening = Started::new(command.args(again).arg(shards_after));
            listening.wait_for_line(", from message ");
        }
        listening.wait_for_end().expect(0);
        serving.interrupt();
        serving.wait_for_end().expect(130);
        let live = manifest(&run);
        assert_eq!(live["state"], "complete");
        assert_eq!(live["resumed"], 2);
        assert_eq!(live["counts"]["lost_messages"], 0, "{}", live["gaps"]);
        assert_eq!(live["counts"]["stale_symbols"], 0, "{name}");
        let took = live["counts"]["messages"].as_u64().unwrap();
        assert!(
            took < messages,
            "{name}: the last leg took {took}, of {messages}"
        );
        // The same events, with the same numbers, and what follows from them.
        let same = digests(&run) == digests(&replay);
        assert!(same, "{name}: other digests than the replay");
        let results = |run: &Path| {
            let mut symbols = support::json(&run.join("symbols.json"));
            for symbol in symbols.as_array_mut().expect("a list of symbols") {
                assert!(symbol.as_object_mut().unwrap().remove("shard").is_some());
            }
            symbols
        };
        assert_eq!(results(&run), results(&replay), "{name}");
    }
}

#[test]
fn sigint_ends_a_run_that_waits_for_an_answer_and_nonsense_is_none() {
    let _alone = alone();
    let Some(session) = Session::new("live-asking") else {
        return;
    };
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has UDP");
    let SocketAddr::V4(address) = server.local_addr().unwrap() else {
        panic!("bound to IPv4")
    };
    server
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let run = session.folder.join("live");
    // Patient, so that it still asks when it is stopped.
    let patient =
        format!("[source.retransmit]\nserver = \"{address}\"\ntimeout = \"10s\"\ntries = 100\n");
    let mut listening = session.listen_with(&run, &patient);
    let serving = session.serve_with(&session.capture, &["--drop-both", "200..260"]);
    let mut request = [0; 64];
    let (len, asker) = server.recv_from(&mut request).expect("it asks");
    assert_eq!(len, 20, "a session, a number and a count");
    let first = u64::from_be_bytes(request[10..18].try_into().unwrap());
    assert!((1..=200).contains(&first), "asks from {first} on");
    // Too short, of nobody's session, and with more messages than bytes.
    server.send_to(b"no", asker).unwrap();
    server.send_to(&[b'?'; 40], asker).unwrap();
    let mut hollow = request[..20].to_vec();
    hollow.extend([0xff; 9]);
    server.send_to(&hollow, asker).unwrap();
    listening.interrupt();
    listening
        .wait_for_end()
        .expect(130)
        .says(&["stopped by a signal"]);
    serving.kill();
    let live = manifest(&run);
    assert_eq!(live["state"], "stopped");
    let lost = live["counts"]["lost_messages"].as_u64().unwrap();
    let asked = &live["retransmission"];
    assert!(asked["requests"].as_u64() > Some(0), "{asked}");
    assert_eq!(asked["recovered"], 0, "{asked}");
    assert_eq!(asked["given_up"], lost, "{asked}");
    // What came behind what is missing was not thrown away.
    let came = live["counts"]["messages"].as_u64().unwrap();
    assert!(lost > 0 && came + 1 > first, "{came} messages, {lost} lost");
    tapeline(args![String::from("diff"), run, run]).expect(0);
}

#[test]
fn what_a_feed_cannot_be_served_with_is_refused() {
    let folder = Folder::new("live-refused");
    let (file, capture) = (folder.join("s.itch"), folder.join("c.pcap"));
    for path in [&file, &capture] {
        let sample = "sample itch --symbols 2 --seconds 1 --rate 100 -o".split(' ');
        tapeline(sample.map(OsString::from).chain([path.clone().into()])).expect(0);
    }
    let refused = |input: &Path, args: &str, says: &str| {
        let mut command = program();
        command.arg("serve-feed").arg(input).args(args.split(' '));
        support::run(&mut command).expect(2).says(&[says]);
    };
    refused(
        &file,
        "--speed max",
        "an ITCH file has no packets and no groups: say where to",
    );
    refused(
        &file,
        "--line 10.0.0.1:9",
        "--line 10.0.0.1:9: no multicast group and port",
    );
    let lines = "--line 239.255.77.1:9 --line 239.255.77.2:9";
    refused(
        &capture,
        &format!("{lines} --loss 1%,2%,3%"),
        "--loss has 3 values, want one, or one for each of 2 lines",
    );
    refused(&capture, "--loss 101%", "`101%` is not a share from 0 to 1");
    refused(&capture, "--drop-both 9..8", "`9..8` is not FROM..TO");
}

/// Captures of IEX and CME on the groups they were captured on. Sped up, so that times leap more than
/// clocks do.
#[test]
fn other_feeds_live_give_what_their_replays_give() {
    let _alone = alone();
    let test = "other_feeds_live_give_what_their_replays_give";
    let Some(data) = support::shared_data(test) else {
        return;
    };
    if let Err(why) = try_loopback(19_999) {
        println!("skipped: {test}: no multicast on the loopback interface: {why}");
        return;
    }
    let folder = Folder::new("live-others");
    let text = String::from;
    for (protocol, capture, speed) in [
        ("iex", "iex/IEX_TOPS16_sample_20170710.pcapng.gz", "200x"),
        (
            "mdp3",
            "cme-mdp3/CME_MDP3_v6_20161112_feedAB_10000pkts.pcapng.zst",
            "150x",
        ),
        (
            "pitch",
            "other-venues/omi-packets/Byx.Equities.DepthOfBook.Pitch.v2.41/AddOrderShortMessage.pcap",
            "1x",
        ),
    ] {
        let (file, replay) = (
            data.join(capture),
            folder.join(&format!("{protocol}-replay")),
        );
        let common = "[time]\nmax_future = \"1h\"\n";
        let config = folder.write("replay.toml", common);
        tapeline(args![
            text("replay"),
            file,
            text("-c"),
            config,
            text("-o"),
            replay
        ])
        .expect(0);
        let replayed = manifest(&replay);
        let lines = replayed["lines"].as_array().unwrap().iter();
        let lines: Vec<String> = lines.map(|line| line["name"].to_string()).collect();
        let config = folder.write(
            "live.toml",
            format!(
                "[source]\nlines = [{}]\ninterface = \"127.0.0.1\"\nreceive_buffer = \"32MiB\"\n\
                 protocol = \"{protocol}\"\njoin = \"as-is\"\ndate = {}\n\
                 [source.gaps]\nwait = \"5s\"\nreorder_packets = 4096\nhold_packets = 8192\n{common}",
                lines.join(", "),
                replayed["date"]
            ),
        );
        // A machine that does much else may lose packets in the kernel, which the run says.
        for is_last in [false, true] {
            let run = folder.join(&format!("{protocol}-live-{is_last}"));
            let mut command = program();
            command
                .arg("run")
                .arg("-c")
                .arg(&config)
                .arg("-o")
                .arg(&run);
            let mut listening = Started::new(&mut command);
            listening.wait_for_line("listening on ");
            let mut command = program();
            command
                .arg("serve-feed")
                .arg(&file)
                .args(["--speed", speed]);
            Started::new(&mut command).wait_for_end().expect(0);
            // These feeds do not say their end; what the kernel has is taken first.
            listening.interrupt();
            listening.wait_for_end().expect(130);
            let live = manifest(&run);
            let dropped = live["anomalies"].get("input_trouble").is_some();
            if dropped && !is_last {
                println!("once more: {}", live["anomalies"]);
                continue;
            }
            assert_eq!(
                live["counts"]["by_type"], replayed["counts"]["by_type"],
                "{protocol}"
            );
            assert_eq!(live["counts"]["lost_messages"], 0);
            // Units of PITCH without a second of their own take that of their arrival.
            assert!(
                protocol == "pitch" || digests(&run) == digests(&replay),
                "{protocol}: other digests than the replay"
            );
            break;
        }
    }
    for (settings, why) in [
        ("protocol = \"lobster\"\n", "which is read from files only"),
        (
            "protocol = \"iex\"\n[source.retransmit]\nserver = \"127.0.0.1:9\"\n",
            "source.retransmit and source.soup are for \"itch\"",
        ),
    ] {
        let lines = "[source]\nlines = [\"239.255.77.1:9\"]\n";
        let config = folder.write("refused.toml", format!("{lines}{settings}"));
        let run = folder.join("refused");
        let said = tapeline(args![text("run"), text("-c"), config, text("-o"), run]).expect(2);
        said.says(&[why]);
    }
}

/// Feeds that do not say their end are ended by a signal; what was wrong with them is said all the same.
#[test]
fn datagrams_of_another_feed_are_counted_and_told_and_strict_refuses_them() {
    let _alone = alone();
    let test = "datagrams_of_another_feed_are_counted_and_told_and_strict_refuses_them";
    let port = 20_000 + (std::process::id() % 20_000) as u16;
    if let Err(why) = try_loopback(port) {
        println!("skipped: {test}: no multicast on the loopback interface: {why}");
        return;
    }
    let (folder, text) = (Folder::new("live-other-feed"), String::from);
    let group = SocketAddrV4::new(Ipv4Addr::new(239, 255, 77, 7), port);
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has UDP");
    // A packet of MoldUDP64 with one system event of ITCH.
    let packet = |sequence: u64| {
        let numbers = [&sequence.to_be_bytes()[..], &[0, 1, 0, 12]].concat();
        [b"0000000001", &numbers[..], b"S\0\0\0\0\0\0\0\0\0\x01O"].concat()
    };
    for (protocol, what) in [
        ("iex", "payload is shorter than an IEX-TP header"),
        ("mdp3", "payload is not an MDP 3.0 packet"),
        ("pitch", "payload is not a PITCH unit"),
    ] {
        let lines = format!(
            "[source]\nlines = [\"{group}\"]\ninterface = \"127.0.0.1\"\nprotocol = \"{protocol}\"\n"
        );
        let config = folder.write("live.toml", lines);
        for (strict, code) in [(None, 130), (Some("--strict"), 3)] {
            let run = folder.join(&format!("{protocol}-{code}"));
            let given = args![text("run"), text("-c"), config, text("-o"), run];
            let mut command = program();
            let mut listening = Started::new(command.args(given).args(strict));
            listening.wait_for_line("listening on ");
            for sequence in 1..=20 {
                sender
                    .send_to(&packet(sequence), group)
                    .expect("it is sent");
            }
            listening.interrupt();
            let none = "no message of the feed was found in the input: bad_packet 20; ";
            let ended = listening.wait_for_end();
            ended.expect(code).says(&[none, what]);
            let live = manifest(&run);
            assert_eq!(live["anomalies"]["bad_packet"], 20, "{protocol}");
            assert_eq!(live["counts"]["messages"], 0, "{protocol}");
            assert_eq!(live["counts"]["lost_messages"], 0, "{protocol}");
        }
    }
}

/// What a capture lacks at its front is all there is, or lost, as the settings say.
#[test]
fn a_capture_that_begins_within_a_session_is_taken_as_the_settings_say() {
    let folder = Folder::new("join");
    let capture = folder.join("session.pcap");
    let sample = "sample itch --symbols 16 --seconds 3 --rate 2000 -o".split(' ');
    tapeline(sample.map(OsString::from).chain([capture.clone().into()])).expect(0);
    // The first 300 packets go, behind the file's own header.
    let mut bytes = std::fs::read(&capture).unwrap();
    let mut at = 24;
    for _ in 0..300 {
        let len = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        at += 16 + len as usize;
    }
    bytes.drain(24..at);
    let cut = folder.write("cut.pcap", bytes);
    let text = String::from;
    let replay = |name: &str, settings: &str| {
        let (config, run) = (folder.write("join.toml", settings), folder.join(name));
        tapeline(args![
            text("replay"),
            cut,
            text("-c"),
            config,
            text("-o"),
            run
        ])
        .expect(0);
        manifest(&run)
    };
    let unsaid = replay("unsaid", "");
    let as_is = replay("as-is", "[source]\njoin = \"as-is\"\n");
    let loss = replay("loss", "[source]\njoin = \"loss\"\n");
    assert_eq!(unsaid["digest"], as_is["digest"]);
    assert_eq!(as_is["counts"]["lost_messages"], 0);
    assert_eq!(as_is["counts"]["stale_symbols"], 0);
    assert_eq!(loss["gaps"][0]["first"], 1, "{}", loss["gaps"]);
    assert!(loss["counts"]["lost_messages"].as_u64() > Some(0));
    assert!(loss["counts"]["stale_symbols"].as_u64() > Some(0));
    assert_eq!(loss["counts"]["messages"], as_is["counts"]["messages"]);
    assert_eq!(loss["counts"]["orders"], 0);
}

/// Whoever comes late lacks orders, and must not trade on what is left.
#[test]
fn a_session_that_is_joined_late_is_stale_and_decides_nothing() {
    let _alone = alone();
    let Some(session) = Session::new("live-late") else {
        return;
    };
    // As if the first packets had been sent before there was anybody.
    let faults = ["--rate", "4000/s", "--drop-both", "1..300"];
    let run = session.folder.join("late");
    let mut listening = session.listen_for(&run, "wait = \"50ms\"\n", "");
    let mut serving = session.serve_with(&session.capture, &faults);
    serving.wait_for_end().expect(0);
    listening.wait_for_end().expect(0);
    let live = manifest(&run);
    // Heartbeats tell of it in several pieces.
    assert_eq!(live["gaps"][0]["first"], 1, "{}", live["gaps"]);
    let counts = &live["counts"];
    assert!(counts["lost_messages"].as_u64() >= Some(300), "{counts}");
    assert!(counts["stale_symbols"].as_u64() > Some(0), "{counts}");
    assert_eq!(counts["orders"], 0, "{counts}");
    assert_eq!(counts["sent"], 0, "{counts}");
}

#[test]
fn what_nobody_answers_for_is_a_gap_and_stale_books_decide_nothing() {
    let _alone = alone();
    let Some(session) = Session::new("live-given-up") else {
        return;
    };
    let replayed = manifest(&session.replay)["counts"].clone();
    assert!(
        replayed["orders"].as_u64() > Some(0),
        "a session without orders shows nothing: {replayed}"
    );
    // Early, so that all that a session makes one trade for comes behind it.
    let faults = ["--rate", "4000/s", "--drop-both", "200..260"];
    let nobody = free_address();
    let hasty =
        format!("[source.retransmit]\nserver = \"{nobody}\"\ntimeout = \"1ms\"\ntries = 2\n");
    let mut digest = Vec::new();
    let mut tries = 0;
    for (name, settings) in [("off", ""), ("nobody", &hasty)] {
        let run = session.folder.join(name);
        let live = loop {
            // Nothing comes behind the end of the session that could say that time has passed.
            let mut listening = session.listen_for(&run, "wait = \"50ms\"\n", settings);
            let mut serving = session.serve_with(&session.capture, &faults);
            serving.wait_for_end().expect(0);
            listening.wait_for_end().expect(0);
            let live = manifest(&run);
            // A machine that does much else may lose packets in the kernel, which the run says.
            tries += 1;
            if live["anomalies"].get("input_trouble").is_none() || tries > 3 {
                break live;
            }
            println!("once more: {}", live["anomalies"]);
            std::fs::remove_dir_all(&run).unwrap();
        };
        let gaps = live["gaps"].as_array().unwrap();
        let [gap] = &gaps[..] else {
            panic!("{name}: want the one gap: {gaps:?}")
        };
        let (first, count) = (gap["first"].as_u64(), gap["count"].as_u64());
        let (first, count) = (first.unwrap(), count.unwrap());
        assert!(first <= 200 && first + count > 260, "{name}: {gap}");
        assert_eq!(live["counts"]["lost_messages"], count);
        let symbols = support::json(&run.join("symbols.json"));
        let symbols = symbols.as_array().unwrap();
        assert!(symbols.len() >= 16);
        assert!(symbols.iter().all(|symbol| symbol["stale"] == true));
        assert_eq!(live["counts"]["stale_symbols"], symbols.len());
        for decided in ["signals", "orders", "sent"] {
            assert_eq!(live["counts"][decided], 0, "{name}: {decided}");
        }
        if name == "nobody" {
            let asked = &live["retransmission"];
            assert_eq!(asked["given_up"], count, "{asked}");
            assert_eq!(asked["asked"], count, "{asked}");
            assert_eq!(asked["recovered"], 0, "{asked}");
        } else {
            assert!(live.get("retransmission").is_none());
        }
        digest.push(live["digest"].clone());
    }
    assert_eq!(digest[0], digest[1], "asking in vain changes nothing");
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

/// The events of all shards of a run that is under way, as far as they are durable.
fn logged(run: &Path, part: usize, shards: usize) -> Vec<bus::Event> {
    let Ok((dir, _)) = RunDir::open(run) else {
        return Vec::new();
    };
    let mut events = Vec::new();
    for shard in 0..shards {
        let Ok(records) = LogReader::open(&dir.log_dir(part, shard)) else {
            continue;
        };
        // What is being written ends it.
        let records = records.map_while(Result::ok);
        events.extend(records.filter_map(|(_, record)| match record {
            Record::Event(event) => Some(event),
            _ => None,
        }));
    }
    events
}

/// Looks into the log now and then until it is as wanted.
fn wait_for_log(
    listening: &mut Started,
    run: &Path,
    (part, shards): (usize, usize),
    is_wanted: impl Fn(&[bus::Event]) -> bool,
) {
    let started = std::time::Instant::now();
    while !is_wanted(&logged(run, part, shards)) {
        let ended = listening.wait(Duration::from_millis(100));
        assert!(ended.is_none(), "it ended before: {ended:?}");
        assert!(started.elapsed() < Duration::from_secs(120), "hangs");
    }
}

/// Whether books are whole, behind all messages of the session.
fn is_healed(events: &[bus::Event]) -> bool {
    let last_gap = events.iter().filter(|event| event.kind == Kind::Gap);
    let is_whole = last_gap
        .max_by_key(|event| event.seq)
        .map(|event| event.flags);
    // The exchange's last message of a day.
    let is_over = |event: &bus::Event| event.kind == Kind::System && event.order == u64::from(b'C');
    is_whole == Some(Flags::WHOLE) && events.iter().any(is_over)
}

/// The run's final books are those of the replay, order by order, and nothing is stale.
fn has_the_books_of(run: &Path, replay: &Path) {
    let state = |run: &Path| support::json(&run.join("symbols.json"));
    let (live, replayed) = (state(run), state(replay));
    let (live, replayed) = (live.as_array().unwrap(), replayed.as_array().unwrap());
    assert_eq!(live.len(), replayed.len());
    for (live, replayed) in live.iter().zip(replayed) {
        assert_eq!(live["stale"], false, "{live}");
        for field in ["symbol", "bid", "ask"] {
            assert_eq!(live[field], replayed[field], "{live}");
        }
        let name = live["symbol"].as_str().unwrap().to_string();
        let book = |run: &Path| {
            let (text, all) = (String::from, "1000");
            let shown = tapeline(args![
                text("book"),
                name,
                text("--run"),
                run,
                text("--depth"),
                all
            ]);
            let shown = shown.expect(0).stdout;
            let (head, levels) = shown.split_once('\n').expect("a head and levels");
            // A symbol may have been told of later than anything happened to it.
            let (phase, _) = head.split_once(", last event").expect("a phase");
            (phase.to_string(), levels.to_string())
        };
        assert_eq!(book(run), book(replay), "{name}");
    }
    assert_eq!(manifest(run)["counts"]["stale_symbols"], 0);
    // The log alone tells the same, to this program and to the books' plain twin.
    support::run(program().arg("shadow").arg(run)).expect(0);
    let verify = [
        "verify".into(),
        run.into(),
        "--against".into(),
        "reference".into(),
    ];
    tapeline::<[OsString; 4]>(verify).expect(0);
}

/// Lost on both lines, and asked of nobody but a server of snapshots: the books are stale, then whole,
/// and at the end those of a run that lost nothing.
#[test]
fn a_snapshot_makes_books_whole_that_a_loss_made_stale() {
    let _alone = alone();
    let Some(session) = Session::new("live-healed") else {
        return;
    };
    let bad = [
        Meets::Refusal,
        Meets::Cut(2_000),
        Meets::Silence,
        Meets::Truth,
    ];
    for (name, meets, shards, model, depth, gaps) in [
        ("bad", &bad[..], 1, "pipeline", "l3", &["200..260"][..]),
        (
            "two",
            &bad[3..],
            2,
            "run-to-completion",
            "l2",
            &["200..260", "300..310"][..],
        ),
        (
            "four",
            &bad[3..],
            4,
            "pipeline",
            "l3",
            &["1..40", "900..2000"][..],
        ),
    ] {
        let (run, server) = (session.folder.join(name), free_address());
        let settings = format!(
            "[source.snapshot]\nglimpse = \"{}\"\ntries = 100\nretry = \"1ms\"\nretry_max = \"50ms\"\n\
             silence = \"200ms\"\n[run]\nshards = {shards}\nmodel = \"{model}\"\n[book]\ndepth = \"{depth}\"\n",
            before(server, meets.to_vec())
        );
        let settings = format!("reorder_packets = 4\nhold_packets = 8192\n{settings}");
        let settings =
            settings.replace("[source.snapshot]", "[source.snapshot]\nbuffer = \"1MiB\"");
        let mut listening = session.listen_on(&run, "end_at_session_end = false\n", &settings);
        let server = server.to_string();
        let mut args = vec!["--rate", "4000/s", "--glimpse", &server, "--linger", "1h"];
        gaps.iter()
            .for_each(|gap| args.extend(["--drop-both", gap]));
        let mut serving = session.serve_with(&session.capture, &args);
        wait_for_log(&mut listening, &run, (0, shards), is_healed);
        listening.interrupt();
        let ended = listening.wait_for_end().expect(130);
        serving.interrupt();
        let served = serving.wait_for_end().expect(130);
        served.says(&["snapshots with"]);
        let live = manifest(&run);
        let healed = &live["snapshot"];
        let losses = live["gaps"].as_array().unwrap().len() as u64;
        assert!(losses >= gaps.len() as u64, "{}", live["gaps"]);
        assert_eq!(healed["losses"], losses, "{healed}");
        assert!(healed["heals"].as_u64() >= Some(1), "{healed}");
        assert_eq!(healed["given_up"], false, "{healed}");
        assert!(
            ended.stdout.contains("whole    again since "),
            "{}",
            ended.stdout
        );
        let shown = match depth {
            "l2" => session.folder.join("replay-l2"),
            _ => session.replay.clone(),
        };
        if depth == "l2" {
            let config = session.folder.write("l2.toml", "[book]\ndepth = \"l2\"\n");
            let text = String::from;
            let replay = args![
                text("replay"),
                session.capture,
                text("-c"),
                config,
                text("-o"),
                shown
            ];
            tapeline(replay).expect(0);
        }
        has_the_books_of(&run, &shown);
        if name == "bad" {
            assert!(healed["failed"].as_u64() >= Some(3), "{healed}");
            let examples = live["anomaly_examples"].to_string();
            for why in [
                "the login is rejected: not authorised; it is asked for again",
                "before the end; it is asked for again",
                "nothing was heard for 0.2",
            ] {
                assert!(examples.contains(why), "{why}: {examples}");
            }
        }
    }
}

/// Killed with stale books, a run goes on with stale books, and a snapshot mends them then.
#[test]
fn a_run_that_is_killed_between_a_loss_and_its_snapshot_goes_on_stale_until_the_next_one() {
    let _alone = alone();
    let Some(session) = Session::new("live-killed-stale") else {
        return;
    };
    let (run, server) = (session.folder.join("live"), free_address());
    let settings = format!(
        "reorder_packets = 4\nhold_packets = 8192\n[source.snapshot]\nglimpse = \"{}\"\n",
        before(server, vec![Meets::Silence, Meets::Truth])
    );
    let mut listening = session.listen_on(&run, "end_at_session_end = false\n", &settings);
    let address = server.to_string();
    let args = ["--rate", "4000/s", "--glimpse", &address, "--linger", "1h"];
    let args = [&args[..], &["--drop-both", "200..260"]].concat();
    let serving = session.serve_with(&session.capture, &args);
    let is_stale = |events: &[bus::Event]| events.iter().any(|event| event.kind == Kind::Gap);
    wait_for_log(&mut listening, &run, (0, 1), is_stale);
    listening.kill();
    let before = logged(&run, 0, 1);
    assert!(before.iter().all(|event| !event.flags.has(Flags::WHOLE)));
    let mut command = program();
    let mut listening = Started::new(command.args(["run", "--resume"]).arg(&run));
    listening.wait_for_line("listening on ");
    // What was there before stays stale, and is not taken for whole by going on; what comes makes it so.
    let (count, server) = (before.len(), address);
    wait_for_log(&mut listening, &run, (0, 1), |events| {
        let mut new = events.iter().skip(count);
        let stale = new.position(|event| event.kind == Kind::Gap && event.flags == Flags(0));
        let mut whole = events.iter().skip(count);
        let whole = whole.position(|event| event.kind == Kind::Gap && event.flags == Flags::WHOLE);
        assert!(whole.is_none() || stale < whole, "stale at first: {server}");
        whole.is_some()
    });
    listening.interrupt();
    listening.wait_for_end().expect(130);
    serving.kill();
    let live = manifest(&run);
    assert_eq!(live["counts"]["stale_symbols"], 0, "{}", live["snapshot"]);
    assert_eq!(live["snapshot"]["heals"], 1);
    support::run(program().arg("shadow").arg(&run)).expect(0);
}

/// A packet of MDP 3.0 with one message: template, block, and a group of entries of this length.
fn cme_packet(sequence: u32, id: u16, block: &[u8], entries: &[(usize, &[&[u8]])]) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [block.len() as u16, id, 1, 9] {
        message.extend(word.to_le_bytes());
    }
    message.extend(block);
    for (each, entries) in entries {
        message.extend((*each as u16).to_le_bytes());
        message.push(entries.len() as u8);
        for entry in *entries {
            message.extend(*entry);
            message.resize(message.len() + each - entry.len(), 0);
        }
    }
    let mut packet = sequence.to_le_bytes().to_vec();
    packet.extend((CME_NS + u64::from(sequence)).to_le_bytes());
    packet.extend((message.len() as u16 + 2).to_le_bytes());
    packet.extend(message);
    packet
}

/// When the test's day of CME is.
const CME_NS: u64 = 1_536_760_535_000_000_000;

/// A bid of 10 for 5, as the best one.
fn cme_level(sequence: u32, security: i32) -> Vec<u8> {
    let mut block = CME_NS.to_le_bytes().to_vec();
    block.extend([0x80, 0, 0]);
    let mut level = 10_000_000_000i64.to_le_bytes().to_vec();
    level.extend(5i32.to_le_bytes());
    level.extend(security.to_le_bytes());
    level.extend([0; 8]);
    level.extend([1, 0, b'0']);
    cme_packet(sequence, 46, &block, &[(32, &[&level])])
}

/// All levels of an instrument, as of a packet: 3 at 11.
fn cme_snapshot(known_to: u32, security: i32) -> Vec<u8> {
    let mut block = vec![0; 59];
    block[..4].copy_from_slice(&known_to.to_le_bytes());
    block[8..12].copy_from_slice(&security.to_le_bytes());
    let mut entry = 11_000_000_000i64.to_le_bytes().to_vec();
    entry.extend(3i32.to_le_bytes());
    entry.extend([0, 0, 0, 0, 1, 0, 0, 0, 0, b'0']);
    cme_packet(1, 52, &block, &[(22, &[&entry])])
}

/// A loss on both lines of a channel, and the channel's own loop of snapshots on a group beside them.
#[test]
fn the_snapshot_loop_of_a_channel_makes_the_instruments_whole_that_it_shows() {
    let _alone = alone();
    let test = "the_snapshot_loop_of_a_channel_makes_the_instruments_whole_that_it_shows";
    if let Err(why) = try_loopback(14_310) {
        println!("skipped: {test}: no multicast on the loopback interface: {why}");
        return;
    }
    let (folder, text) = (Folder::new("live-loop"), String::from);
    let group = |last: u8, port: u16| SocketAddrV4::new(Ipv4Addr::new(239, 255, 77, last), port);
    // Feeds A and B of a channel, its snapshots, and feed A of another channel.
    let (a, b) = (group(21, 14_310), group(22, 15_310));
    let (snapshots, other) = (group(23, 14_310), group(24, 14_311));
    let config = folder.write(
        "live.toml",
        format!(
            "[source]\nprotocol = \"mdp3\"\nlines = [\"{a}\", \"{b}\", \"{snapshots}\", \"{other}\"]\n\
             interface = \"127.0.0.1\"\ndate = \"2018-09-12\"\n[source.gaps]\nreorder_packets = 1\n"
        ),
    );
    let run = folder.join("live");
    let mut command = program();
    let given = args![text("run"), text("-c"), config, text("-o"), run];
    let mut listening = Started::new(command.args(given));
    listening.wait_for_line("listening on ");
    let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has UDP");
    let send = |to: SocketAddrV4, packet: Vec<u8>| {
        sender.send_to(&packet, to).expect("it is sent");
    };
    send(other, cme_level(1, 79));
    for (sequence, security) in [
        (1, 77),
        (2, 78),
        (3, 81),
        (5, 77),
        (6, 77),
        (7, 77),
        (8, 77),
    ] {
        for line in [a, b] {
            send(line, cme_level(sequence, security));
        }
    }
    // The groups are sockets of their own: a snapshot that is read before the loss shows is for nothing,
    // and the venue's loop would bring the next.
    let cat = || support::run(program().args(["log", "cat"]).arg(&run)).stdout;
    while !cat().contains(" gap ") {
        let ended = listening.wait(Duration::from_millis(20));
        assert!(ended.is_none(), "{ended:?}");
    }
    // Older than the loss, and as new as all that came.
    send(snapshots, cme_snapshot(3, 81));
    send(snapshots, cme_snapshot(8, 78));
    send(snapshots, cme_snapshot(8, 77));
    listening.interrupt();
    listening.wait_for_end().expect(130);
    let live = manifest(&run);
    assert_eq!(live["gaps"][0]["first"], 4, "{}", live["gaps"]);
    let stale = |name: &str| support::symbol(&run, name)["stale"] == true;
    let found = ["77", "78", "79", "81"].map(stale);
    assert_eq!(found, [false, false, false, true]);
    assert_eq!(live["counts"]["stale_symbols"], 1);
    assert_eq!(support::symbol(&run, "78")["bid"][0], "11.00");
    support::run(program().arg("shadow").arg(&run)).expect(0);
    let verify = args![text("verify"), run, text("--against"), text("reference")];
    tapeline(verify).expect(0);
}

#[test]
fn sigint_ends_a_live_run_in_order() {
    let _alone = alone();
    let Some(session) = Session::new("live-stop") else {
        return;
    };
    // The session lasts some seconds, so the earlier tries are in its midst; on a slow machine
    // one of the later ones is.
    for wait_ms in [1_500, 3_000, 4_500] {
        let run = session.folder.join(&format!("live-{wait_ms}"));
        let mut listening = session.listen(&run);
        let serving = session.serve();
        let ended = listening.wait(Duration::from_millis(wait_ms));
        assert!(
            ended.is_none(),
            "it ended before the session did: {ended:?}"
        );
        listening.interrupt();
        let ended = listening.wait_for_end();
        serving.kill();
        if manifest(&run)["counts"]["messages"] == 0 {
            println!("nothing had come after {wait_ms} ms");
            continue;
        }
        check_stopped(&run, ended);
        return;
    }
    panic!("nothing ever came");
}

#[test]
fn a_live_run_that_was_stopped_and_one_that_was_killed_go_on_with_a_gap() {
    let _alone = alone();
    let Some(session) = Session::new("live-resume") else {
        return;
    };
    let run = session.folder.join("live");
    let mut listening = session.listen(&run);
    let mut serving = session.serve();
    let resume = |args: &[&str]| {
        let mut command = program();
        let mut listening = Started::new(command.args(["run", "--resume"]).arg(&run).args(args));
        listening.wait_for_line("listening on ");
        listening
    };
    let early = listening.wait(Duration::from_millis(1_000));
    assert!(
        early.is_none(),
        "it ended before the session did: {early:?}"
    );
    listening.interrupt();
    listening.wait_for_end().expect(130);
    // A replay cannot go on with it, since nothing can be read again.
    tapeline(args![String::from("replay"), String::from("--resume"), run])
        .expect(2)
        .says(&["a live run", "tapeline run --resume"]);
    let mut listening = resume(&[]);
    let early = listening.wait(Duration::from_millis(500));
    assert!(
        early.is_none(),
        "it ended before the session did: {early:?}"
    );
    listening.kill();
    let mut listening = resume(&["--shards", "2"]);
    // On a slow machine the session may be over by now; then there is no end to wait for.
    serving.wait_for_end().expect(0);
    if listening.wait(Duration::from_secs(5)).is_none() {
        listening.interrupt();
        listening.wait_for_end();
    }
    let said = manifest(&run);
    let shards = said["parts"].as_array().unwrap().iter();
    let shards: Vec<u64> = shards
        .map(|part| part["shards"].as_u64().unwrap())
        .collect();
    assert_eq!(shards, [1, 1, 2]);
    let symbols = support::json(&run.join("symbols.json"));
    let mut symbols = symbols.as_array().unwrap().iter();
    assert!(
        symbols.all(|symbol| symbol["stale"] == true),
        "nobody knows what was missed"
    );
    // What the logs say is what this program concludes from them, in each part.
    let mut shadow = program();
    support::run(shadow.arg("shadow").arg(&run)).expect(0);
    let orders: Vec<String> = support::orders_of(&run, 2).into_iter().flatten().collect();
    let unique: std::collections::BTreeSet<&String> = orders.iter().collect();
    assert_eq!(unique.len(), orders.len(), "no order twice");
    tapeline(args![String::from("diff"), run, run]).expect(0);
}

fn check_stopped(run: &Path, ended: Ended) {
    ended
        .expect(130)
        .says(&["stopped by a signal", &run.display().to_string()]);
    let manifest = manifest(run);
    assert_eq!(manifest["state"], "stopped");
    assert_eq!(manifest["counts"]["lost_messages"], 0);
    assert!(digests(run).lines().count() > 1, "digests of what came");
    for table in ["windows", "alerts", "regimes", "signals", "orders", "books"] {
        let path = run.join(format!("tables/{table}.parquet"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(bytes.ends_with(b"PAR1"), "{} is not whole", path.display());
    }
    // It goes on from there: nothing but the end of its input lies behind the checkpoint.
    let (dir, _) = RunDir::open(run).unwrap();
    let folder = RealFolder::open(&dir.checkpoints_dir(0, 0)).unwrap();
    let newest = *checkpoint::generations(&folder).unwrap().last().unwrap();
    let newest = checkpoint::load(&folder, newest).unwrap();
    let mut events = Vec::new();
    for record in LogReader::open_from(&dir.log_dir(0, 0), newest.head.cell).unwrap() {
        if let (_, Record::Event(event)) = record.unwrap() {
            events.push((event.kind, event.seq));
        }
    }
    assert_eq!(events, [(Kind::End, newest.head.last_seq + 1)]);
    // The rest of the program can read it.
    tapeline(args![String::from("diff"), run, run]).expect(0);
    let symbols = support::json(&run.join("symbols.json"));
    let symbols = symbols.as_array().unwrap().iter();
    let mut names = symbols.map(|symbol| symbol["symbol"].as_str().unwrap().to_string());
    let name = names
        .rfind(|name| !name.starts_with('#'))
        .expect("a symbol with a name");
    tapeline(args![
        String::from("book"),
        name,
        String::from("--run"),
        run
    ])
    .expect(0);
}
