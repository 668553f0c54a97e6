//! Sessions over SoupBinTCP, and how they are gone on with.

use super::*;

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
