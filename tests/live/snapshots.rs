//! Books made whole by snapshots.

use super::*;

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
