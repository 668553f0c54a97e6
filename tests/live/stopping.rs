//! Live runs that are stopped, and how they go on.

use super::*;

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
