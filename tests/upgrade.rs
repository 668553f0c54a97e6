//! What an earlier version of the program left, this one goes on with: `tests/golden/run-0.1` is a
//! run that version 0.1.0 made, with logs of format 1, and that was stopped half-way.
//!
//! It was made by `tapeline sample itch --symbols 4 --seconds 4 --rate 1200 --loss-a 0.05
//! --loss-b 0.05 --reorder 8`, then `tapeline replay -c config.toml --speed 4x` and SIGINT after
//! 1.15 s; its log is compressed, and the capture's path stands as `CAPTURE`.

mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use support::{Folder, alone, digests, orders_in, program, run, tapeline};

const SAMPLE: &str = "sample itch --symbols 4 --seconds 4 --rate 1200 --loss-a 0.05 --loss-b 0.05 \
                      --reorder 8 -o";

/// The old run where it can go on, and what this program makes of the same session.
struct Upgrade {
    folder: Folder,
    twin: PathBuf,
}

impl Upgrade {
    fn new(name: &str) -> Upgrade {
        let folder = Folder::quick(name);
        let capture = folder.join("session.pcap");
        let args = SAMPLE.split(' ').map(OsString::from);
        tapeline(args.chain([capture.clone().into()])).expect(0);
        let twin = folder.join("twin").join("run");
        let mut command = program();
        command.arg("replay").arg(&capture).arg("-o").arg(&twin);
        command.arg("-c").arg(golden("config.toml"));
        run(&mut command).expect(0);
        Upgrade { folder, twin }
    }

    /// A fresh copy of the old run.
    fn old_run(&self, name: &str) -> PathBuf {
        let run = self.folder.join(name).join("run");
        fs::create_dir_all(run.join("log/shard-0")).unwrap();
        fs::create_dir_all(run.join("orders")).unwrap();
        fs::copy(golden("config.toml"), run.join("config.toml")).unwrap();
        fs::copy(golden("orders.fix"), run.join("orders/shard-0.fix")).unwrap();
        let log = zstd::decode_all(fs::File::open(golden("log.seg.zst")).unwrap()).unwrap();
        fs::write(run.join("log/shard-0/0000000000.seg"), log).unwrap();
        let manifest = fs::read_to_string(golden("manifest.json")).unwrap();
        let capture = self.folder.join("session.pcap");
        let manifest = manifest.replace("CAPTURE", capture.to_str().unwrap());
        fs::write(run.join("manifest.json"), manifest).unwrap();
        run
    }

    /// Ends it, and compares what came of it with the twin.
    fn finish(&self, run_dir: &Path, args: &[&str]) {
        let mut command = program();
        command.args(["replay", "--resume"]).arg(run_dir).args(args);
        run(&mut command).expect(0);
        assert_eq!(digests(run_dir), digests(&self.twin));
        for table in ["alerts", "books", "lates", "regimes", "signals", "windows"] {
            let name = format!("tables/{table}.parquet");
            let (want, got) = (
                fs::read(self.twin.join(&name)),
                fs::read(run_dir.join(&name)),
            );
            assert!(got.unwrap() == want.unwrap(), "{table}");
        }
        assert_eq!(orders(run_dir), orders(&self.twin));
    }
}

fn golden(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/golden/run-0.1").join(name)
}

/// ClOrdID to how often it is in the run's files.
fn orders(run: &Path) -> BTreeMap<String, usize> {
    let mut orders = BTreeMap::new();
    for file in support::files_under(&run.join("orders"), &[".fix"]) {
        for (id, _) in orders_in(&fs::read(file).unwrap()) {
            *orders.entry(id).or_default() += 1;
        }
    }
    orders
}

#[test]
fn a_run_of_version_0_1_goes_on_as_if_this_program_had_begun_it() {
    let _alone = alone();
    let upgrade = Upgrade::new("upgrade");
    let before = orders_in(&fs::read(golden("orders.fix")).unwrap()).len();
    let after = orders(&upgrade.twin).len();
    assert!(
        0 < before && before < after,
        "{before} of {after} orders had left"
    );
    let same = upgrade.old_run("same");
    upgrade.finish(&same, &[]);
    let more = upgrade.old_run("more");
    upgrade.finish(&more, &["--shards", "3"]);
}

#[test]
fn this_program_concludes_what_version_0_1_did_before_it_takes_over() {
    let _alone = alone();
    let upgrade = Upgrade::new("upgrade-shadow");
    let old = upgrade.old_run("old");
    let mut shadow = program();
    shadow.args(["shadow", "--json"]).arg(&old);
    let said = run(&mut shadow).expect(0).json();
    assert!(
        said["signals"]["order"]["equal"].as_u64().unwrap() > 10,
        "{said}"
    );
    // And from a savepoint of it, in the layout that the first version with savepoints has.
    let mut create = program();
    create
        .args(["savepoint", "create", "--oldest", "--name", "before"])
        .arg(&old);
    run(&mut create).expect(0);
    let other = upgrade.folder.join("other").join("run");
    let mut restore = program();
    restore
        .args(["savepoint", "restore"])
        .arg(&old)
        .args(["before", "--shards", "2", "-o"]);
    run(restore.arg(&other)).expect(0);
    upgrade.finish(&other, &[]);
    // The old one is as it was, to go back to.
    upgrade.finish(&old, &[]);
}
