//! What comes over multicast is what its replay gives.

use super::*;

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
