//! Settings, arguments and folders that cannot be used.

use super::*;

#[test]
fn an_output_directory_that_is_in_use_is_refused_and_left_alone() {
    let folder = Folder::quick("in-use");
    let file = folder.write("good.itch", itch_file(&little_session()));
    fs::create_dir(folder.join("run")).unwrap();
    folder.write("run/precious", "keep this");
    let run = folder.join("run");
    let args = args![String::from("replay"), file, String::from("-o"), run];
    tapeline(args).expect(2).says(&[
        &run.display().to_string(),
        "exists and is not empty",
        "--resume",
    ]);
    assert_eq!(fs::read_dir(&run).unwrap().count(), 1);
    assert_eq!(
        fs::read_to_string(run.join("precious")).unwrap(),
        "keep this"
    );
}

#[test]
fn a_run_that_is_none_is_refused() {
    let folder = Folder::quick("no-run");
    let path = folder.path();
    tapeline(args![
        String::from("replay"),
        String::from("--resume"),
        path
    ])
    .expect(2)
    .says(&["manifest.json: not a run directory"]);
    tapeline(args![String::from("diff"), path, path])
        .expect(2)
        .says(&["not a run directory"]);
    folder.write("manifest.json", "{\"schema\": \"of-another-program/7\"}");
    tapeline(args![
        String::from("book"),
        String::from("AAA"),
        String::from("--run"),
        path
    ])
    .expect(2)
    .says(&["manifest.json, line 1"]);
}

#[test]
fn a_config_with_a_typo_is_refused_with_its_line() {
    let folder = Folder::quick("typo");
    let file = folder.write("good.itch", itch_file(&little_session()));
    let check = |text: &str, says: &[&str]| {
        let config = folder.write("t.toml", text);
        let (ended, run) = replay(&folder, &file, &["-c", &config.display().to_string()]);
        ended
            .expect(2)
            .says(&[&config.display().to_string()])
            .says(says);
        assert!(!run.exists());
        let check = args![String::from("config"), String::from("check"), config];
        tapeline(check).expect(2).says(says);
    };
    check(
        "[spread]\n\ntreshold = \"20bps\"\n",
        &["line 3", "`treshold`", "did you mean `threshold`"],
    );
    check(
        "[log]\ndurability = \"durabel\"\n",
        &["line 2", "did you mean `durable`"],
    );
    check("[run]\nshards = 0\n", &["run.shards is 0, want 1 to 64"]);
    check("[run\n", &["line 1"]);
    check("[time]\ntick = \"100\"\n", &["line 2", "units"]);
    let (ended, _) = replay(&folder, &file, &["-c", "nowhere.toml"]);
    ended.expect(2).says(&["nowhere.toml", "No such file"]);
}

#[test]
fn wrong_arguments_are_refused() {
    let folder = Folder::quick("arguments");
    let file = folder.write("good.itch", itch_file(&little_session()));
    let check = |more: &[&str], says: &[&str]| {
        let (ended, run) = replay(&folder, &file, more);
        ended.expect(2).says(says);
        assert!(!run.exists(), "{more:?}");
    };
    check(&["--speed", "fast"], &["--speed", "`fast` is not a speed"]);
    check(&["--rate", "2M/m"], &["--rate", "`2M/m` is not a rate"]);
    check(
        &["--rate", "2M/s", "--speed", "10x"],
        &["--rate 2M/s and --speed 10x are two paces"],
    );
    check(
        &["--protocol", "lobster"],
        &["good.itch: begins as length-prefixed ITCH messages, want LOBSTER messages (CSV)"],
    );
    check(&["--shards", "many"], &["--shards", "many"]);
    check(&["--shards", "65"], &["run.shards is 65, want 1 to 64"]);
    check(&["--from", "soon"], &["`soon` is not a time"]);
    check(&["--date", "yesterday"], &["`yesterday` is not a date"]);
    check(&["--quickly"], &["--quickly"]);
    tapeline(["replay"]).expect(2).says(&["which captures?"]);
    tapeline(args![String::from("replay"), file])
        .expect(2)
        .says(&["-o runs/r1"]);
    tapeline(["repaly"]).expect(2).says(&["repaly"]);
}

#[test]
fn a_watch_sends_no_orders_anywhere() {
    let folder = Folder::quick("watch");
    let file = folder.write("good.itch", itch_file(&little_session()));
    for more in [["--mode", "paper"], ["--confirm", "broker"]] {
        let mut command = program();
        command
            .args(["replay", "--break", "spread > 1bps"])
            .arg(&file)
            .args(more);
        support::run(&mut command)
            .expect(2)
            .says(&["--break", "--mode", "--confirm"]);
    }
}

#[test]
fn a_core_that_is_not_there_is_refused() {
    let folder = Folder::quick("cores");
    let file = folder.write("good.itch", itch_file(&little_session()));
    let (ended, _) = replay(&folder, &file, &["--cpus", "0,1023"]);
    assert!(matches!(ended.code, Some(2 | 5)), "{ended:?}");
    ended.says(&["1023"]);
}

#[test]
fn a_path_that_no_manifest_can_name_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::quick("not-utf8");
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.itch");
    let file = folder.path().join(name);
    fs::write(&file, itch_file(&little_session())).unwrap();
    let (ended, run) = replay(&folder, &file, &[]);
    ended.expect(2).says(&["not UTF-8", "rename it"]);
    assert!(!run.exists(), "a run directory of nothing");
}

#[test]
fn settings_that_every_run_refuses_are_refused_by_the_check() {
    let folder = Folder::quick("check");
    for (text, says) in [
        ("[orders]\nsender = \"\"", "sender"),
        ("[orders]\ntarget = \"A\\u0001B\"", "printable ASCII"),
        ("[orders]\ntcp = \"nohost\"", "want HOST:PORT"),
        ("[orders]\ntcp = \"host:0\"", "want HOST:PORT"),
        ("[source]\ntimezone = \"Mars/X\"", "not a time zone"),
        ("[source]\ndate = \"2500-01-01\"", "from 1970 to 2261"),
        ("[source]\nlines = [\"1.2.3.4:5\"]", "no multicast group"),
        (
            "[source]\nlines = [\"239.0.0.1:5\", \"239.0.0.1:5\"]",
            "twice",
        ),
    ] {
        let file = folder.write("c.toml", text);
        tapeline(["config", "check", file.to_str().unwrap()])
            .expect(2)
            .says(&[says]);
    }
}

#[test]
fn a_kill_file_is_found_from_wherever_the_run_goes_on() {
    let folder = Folder::quick("kill-file");
    let file = folder.write("s.itch", itch_file(&little_session()));
    let config = folder.write("c.toml", "[risk]\nkill_file = \"KILL\"\n");
    let mut command = program();
    command.current_dir(folder.path());
    command
        .arg("replay")
        .arg(&file)
        .args(["-o", "run", "-c"])
        .arg(config);
    run(&mut command).expect(0);
    let kept = fs::read_to_string(folder.join("run/config.toml")).unwrap();
    let absolute = folder.path().canonicalize().unwrap().join("KILL");
    assert!(kept.contains(absolute.to_str().unwrap()), "{kept}");
}

#[test]
fn reference_data_stand_beside_their_symbols_and_bad_ones_are_refused() {
    let folder = Folder::quick("reference");
    let file = folder.write("s.itch", itch_file(&little_session()));
    let list = folder.write(
        "list.csv",
        "symbol,tick,currency,isin\nAAA,0.01,USD,US0378331005\nCCC,,,\n",
    );
    let text = format!("[source]\nreference = {list:?}\n{SMALL}");
    let config = folder.write("c.toml", text);
    let (ended, run) = replay(&folder, &file, &["-c", config.to_str().unwrap()]);
    ended.expect(0);
    let wanted = serde_json::json!({ "tick": "0.01", "currency": "USD", "isin": "US0378331005" });
    assert_eq!(symbol(&run, "AAA")["reference"], wanted);
    assert!(symbol(&run, "BBB")["reference"].is_null());
    assert_eq!(
        fs::read(run.join("reference.csv")).unwrap(),
        fs::read(&list).unwrap(),
        "the run keeps its own"
    );

    // Decides nothing.
    let with = digests(&run);
    let (ended, run) = replay(&folder, &file, &[]);
    ended.expect(0);
    assert_eq!(digests(&run), with);
    assert!(!run.join("reference.csv").exists());

    fs::write(&list, "symbol,tick\nAAA,0.01\nBBB,cheap\n").unwrap();
    let said = format!("{}, line 3: tick \"cheap\"", list.display());
    let (ended, run) = replay(&folder, &file, &["-c", config.to_str().unwrap()]);
    ended.expect(2).says(&[&said]);
    assert!(!run.exists(), "a run directory of nothing");
    tapeline(["config", "check", config.to_str().unwrap()])
        .expect(2)
        .says(&[&said]);
}
