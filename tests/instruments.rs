//! Instruments of several symbols: the same rows and alerts at any number of shards and after a kill.

mod support;

use std::ffi::OsString;
use std::path::Path;

use support::runs::Runs;
use support::{Folder, alone, digests, manifest, program, tapeline};

const CONFIG: &str = r#"
[instruments.near]
members = ["KUWG", "TSEW", "EEWN"]
fresh = "20ms"
hold = "1ms"

[instruments.other]
members = ["MYPH", "kuwx"]
quotes = false

[checkpoint]
every = "100ms"
"#;

fn tables(run: &Path) -> [Vec<u8>; 2] {
    ["best", "alerts"].map(|name| {
        let path = run.join(format!("tables/{name}.parquet"));
        std::fs::read(path).unwrap()
    })
}

#[test]
fn best_prices_of_several_are_the_same_at_any_number_of_shards_and_after_a_kill() {
    let _alone = alone();
    let runs = Runs::new("instruments", CONFIG);
    let folder = &runs.folder;
    let one = folder.join("one");
    runs.start(&one, 1, "max").wait_for_end().expect(0);
    let counts = manifest(&one)["counts"].clone();
    assert!(counts["best"].as_u64().unwrap() > 100, "{counts}");
    // Books of different symbols are crossed by right.
    assert!(counts["rule_alerts"].as_u64().unwrap() > 0, "{counts}");
    let (want, want_digests) = (tables(&one), digests(&one));
    for shards in [2, 4] {
        let run = folder.join(&format!("at-{shards}"));
        runs.start(&run, shards, "max").wait_for_end().expect(0);
        assert_eq!(digests(&run), want_digests, "{shards} shards");
        assert!(tables(&run) == want, "{shards} shards");
    }
    let run = folder.join("killed");
    let process = runs.midway(&run, 2, 15);
    process.kill();
    let mut command = program();
    command.args(["replay", "--resume"]).arg(&run);
    support::run(command.args(["--shards", "3"])).expect(0);
    assert_eq!(digests(&run), want_digests);
    assert!(tables(&run) == want, "after a kill");
    assert_eq!(manifest(&run)["counts"]["best"], counts["best"]);
}

/// A name that never came is told once, at the end, with its key; what rules decide counts beside momentum.
#[test]
fn names_that_never_came_and_what_rules_decide_are_told_at_the_end() {
    let _alone = alone();
    let folder = Folder::quick("instruments-absent");
    let capture = folder.join("session.pcap");
    let sample = "sample itch --symbols 12 --seconds 2 --rate 2000 --seed 8 -o";
    let args = sample.split(' ').map(OsString::from);
    tapeline(args.chain([capture.clone().into()])).expect(0);
    let config = folder.write(
        "run.toml",
        "[instruments.near]\nmembers = [\"KUWG\", \"nowhere\"]\n\
         [joins.j]\nkind = \"asof\"\nsymbols = [\"KUWG\"]\nwith = \"NOBODY\"\n\
         [momentum]\nenabled = false\n\
         [rules.lean]\nwhen = \"spread >= 0bps\"\nside = \"buy\"\ncooldown = \"50ms\"\n",
    );
    let replay = |run: &Path, more: &[&str]| {
        let mut command = program();
        command.arg("replay").arg(&capture).arg("-o").arg(run);
        support::run(command.arg("-c").arg(&config).args(more)).expect(0)
    };
    let run = folder.join("run");
    let said = replay(&run, &[]);
    let line = "symbols that the settings name and the input does not have: \
                instruments.near.members: NOWHERE; joins.j.with: NOBODY";
    assert_eq!(said.stderr.matches(line).count(), 1, "{}", said.stderr);
    let about = manifest(&run);
    assert_eq!(about["absent"]["joins.j.with"][0], "NOBODY");
    let counts = &about["counts"];
    let of = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(of("signals"), 0, "{counts}");
    assert!(of("orders") > 0, "{counts}");
    assert_eq!(of("decisions"), of("orders") + of("rejects"), "{counts}");
    let shown = said.stdout.replace(',', "");
    let want = format!("{0} signals {0} of rules and strategies: ", of("decisions"));
    assert!(shown.contains(&want), "{}", said.stdout);
    // Several runs say it of all together.
    let said = replay(&folder.join("rounds"), &["--loop", "2"]);
    assert_eq!(said.stderr.matches(line).count(), 1, "{}", said.stderr);
}

#[test]
fn what_is_wrong_with_an_instrument_is_said_with_its_key() {
    let folder = Folder::quick("instruments-bad");
    for (text, want) in [
        (
            "members = [\"A\"]",
            "instruments.i.members: 1 symbols, want 2 to 8",
        ),
        (
            "members = [\"A\", \"a\"]",
            "instruments.i.members: `A` is there twice",
        ),
        (
            "members = [\"A\", \"ABCDEFGHI\"]",
            "instruments.i.members: symbol `ABCDEFGHI`, want one to eight letters",
        ),
        (
            "members = [\"A\", \"B\"]\nholds = \"1s\"",
            "unknown key `holds`; did you mean `hold`?",
        ),
    ] {
        let config = folder.write("bad.toml", format!("[instruments.i]\n{text}\n"));
        let said = tapeline(args![String::from("config"), String::from("check"), config]);
        let said = said.expect(2).stderr;
        assert!(said.contains(want), "{text}: {said}");
    }
}
