//! What is missing is asked for; where nobody answers there is a gap.

use super::*;

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
