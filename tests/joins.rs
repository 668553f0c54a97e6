//! Joins of streams: the rows, and the same bytes at any number of shards and after a stop.

mod support;

use std::path::Path;

use support::runs::Runs;
use support::{Folder, alone, digests, manifest, program, tapeline};

const CONFIG: &str = r#"
[joins.a_prevailing]
kind = "asof"
symbols = ["KUWG", "TSEW", "EEWN"]

[joins.b_leads]
kind = "interval"
symbols = ["KUWG", "TSEW"]
with = "EEWN"
right = "trades"
before = "5ms"
after = "2ms"
unmatched = true

[joins.c_other]
kind = "asof"
left = "quotes"
symbols = ["MYPH"]
with = "KUWG"
tolerance = "1ms"
keep = 64

[joins.d_listing]
kind = "temporal"
file = "listing.csv"

[checkpoint]
every = "100ms"
"#;

const LISTING: &str = "symbol,sector,valid_from,tier\n\
                       kuwg,energy,1970-01-01T00:00:00Z,1\n\
                       MYPH,,0,2\n\
                       MYPH,metals,2100-01-01T00:00:00Z,3\n";

fn table(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("tables/joins.parquet")).unwrap()
}

#[test]
fn rows_of_joins_are_the_same_at_any_number_of_shards_and_after_a_stop() {
    let _alone = alone();
    let runs = Runs::new("joins", CONFIG);
    runs.folder.write("listing.csv", LISTING);
    let one = runs.folder.join("one");
    let said = runs.start(&one, 1, "max").wait_for_end().expect(0);
    assert!(said.stdout.contains("rows of joins"), "{}", said.stdout);
    let counts = manifest(&one)["counts"].clone();
    assert!(counts["joins"].as_u64().unwrap() > 500, "{counts}");
    assert!(counts["join_counts"]["unmatched"].as_u64().unwrap() > 0);
    // As the log has it.
    let said = tapeline(args![
        String::from("log"),
        String::from("cat"),
        one,
        String::from("--json")
    ]);
    let mut rows = [[0u64; 4]; 4];
    for line in said.expect(0).stdout.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        if record["record"] != "join" {
            continue;
        }
        let number = |key: &str| record[key].as_u64().unwrap();
        let (rule, right) = (number("rule"), number("right_kind"));
        rows[rule as usize][right as usize] += 1;
        if right == 2 && rule != 1 {
            assert!(number("right_seq") < number("left_seq"), "{record}");
        }
    }
    // As-of finds quotes, the interval trades and nothing, the table rows.
    assert!(rows[0][2] > 100 && rows[0][1] + rows[0][3] == 0, "{rows:?}");
    assert!(rows[1][1] > 5 && rows[1][0] > 10, "{rows:?}");
    assert!(rows[2][2] > 10 && rows[2][0] > 10, "{rows:?}");
    assert!(rows[3][3] > 100 && rows[3][1] + rows[3][2] == 0, "{rows:?}");
    let total: u64 = rows.iter().flatten().sum();
    assert_eq!(counts["joins"].as_u64(), Some(total));
    let (want, want_digests) = (table(&one), digests(&one));
    for shards in [2, 4] {
        let run = runs.folder.join(&format!("at-{shards}"));
        runs.start(&run, shards, "max").wait_for_end().expect(0);
        assert_eq!(digests(&run), want_digests, "{shards} shards");
        assert!(table(&run) == want, "{shards} shards");
        assert_eq!(
            manifest(&run)["counts"]["join_counts"],
            counts["join_counts"]
        );
    }
    // Killed half-way, with checkpoints, and gone on with at another number of shards; the file is not needed any more.
    for (shards, more) in [(2, None), (2, Some("4"))] {
        let run = runs
            .folder
            .join(&format!("stopped-{}", more.unwrap_or("same")));
        let process = runs.midway(&run, shards, 15);
        process.kill();
        let mut command = program();
        command.args(["replay", "--resume"]).arg(&run);
        command.args(more.into_iter().flat_map(|more| ["--shards", more]));
        support::run(&mut command).expect(0);
        assert_eq!(digests(&run), want_digests, "{more:?}");
        assert!(table(&run) == want, "{more:?}");
        assert_eq!(
            manifest(&run)["counts"]["join_counts"],
            counts["join_counts"]
        );
    }
}

#[test]
fn what_is_wrong_with_a_join_is_said_with_its_key_or_line() {
    let folder = Folder::quick("joins-bad");
    let check = |text: &str, want: &str| {
        let config = folder.write("bad.toml", text);
        let said = tapeline(args![String::from("config"), String::from("check"), config]);
        let said = said.expect(2).stderr;
        assert!(said.contains(want), "{text}: {said}");
    };
    let join = |text: &str| format!("[joins.j]\n{text}\n");
    for (text, want) in [
        ("kind = \"asof\"\n", "joins.j.symbols: there are none"),
        (
            "kind = \"asof\"\nsymbols = [\"A\"]\nafter = \"1s\"",
            "joins.j.after: this kind of join has no `after`",
        ),
        (
            "kind = \"asof\"\nsymbols = [\"A\"]\nafterr = \"1s\"",
            "unknown key `afterr`; did you mean `after`?",
        ),
        (
            "kind = \"interval\"\nsymbols = [\"A\"]\nafter = \"1s\"",
            "joins.j: want `before` and `after`",
        ),
        (
            "kind = \"asof\"\nsymbols = [\"ABCDEFGHI\"]",
            "joins.j.symbols: symbol `ABCDEFGHI`, want one to eight letters",
        ),
        ("kind = \"temporal\"", "joins.j: want a table"),
        (
            "kind = \"temporal\"\nfile = \"none.csv\"",
            "none.csv: No such file",
        ),
        (
            "kind = \"temporal\"\ncolumns = [\"seq\"]\nrows = [[\"0\", \"A\", \"x\"]]",
            "joins.j.columns: `seq` is one of the table's own",
        ),
        (
            "kind = \"temporal\"\ncolumns = [\"x\"]\nrows = [[\"0\", \"A\"]]",
            "joins.j.rows: row 1: 2 cells, want 3",
        ),
        (
            "kind = \"temporal\"\nrows = [[\"0\", \"A\"], [\"1970-01-01T00:00:00Z\", \"a\"]]",
            "joins.j.rows: row 2: a has another row that is valid from",
        ),
    ] {
        check(&join(text), want);
    }
    for (csv, want) in [
        ("symbol,x\nA,1\n", "t.csv, line 1: no column `valid_from`"),
        (
            "symbol,valid_from,x\nA,0,\"y\nB,1,z\n",
            "t.csv, line 2: a quote that does not end",
        ),
        (
            "symbol,valid_from\nA,0\n\nB,soon\n",
            "t.csv, line 4: `soon` is not a moment",
        ),
        (
            "symbol,valid_from\nA,0,1\n",
            "t.csv, line 2: 3 cells, want 2",
        ),
        (
            "symbol,valid_from\n,0\n",
            "t.csv, line 2: symbol ``, want one",
        ),
    ] {
        folder.write("t.csv", csv);
        check(&join("kind = \"temporal\"\nfile = \"t.csv\""), want);
    }
}
