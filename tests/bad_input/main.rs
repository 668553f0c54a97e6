//! What a user does wrong, and what feeds and disks do wrong: each ends in one clear line and the
//! right exit code, or in a counted anomaly and a run that goes on. No case panics or hangs; the
//! helpers that run the program see to that.

mod files;
mod machine;
mod messages;
mod quarantine;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod together;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::wire::{
    OPEN_NS, add, cancel, delete, directory, executed, frame, hidden_trade, itch_file,
    little_session, mold, mold_of, pcap_at, pcap_header, pcap_of, record, record_cut, trading,
};
use support::{Ended, Folder, SMALL, digests, manifest, program, run, symbol, tapeline};

/// Replays a file into `RUN` beside it, with small log files unless there are other settings.
fn replay(folder: &Folder, file: &Path, more: &[&str]) -> (Ended, PathBuf) {
    let run = folder.join("run");
    let _ = fs::remove_dir_all(&run);
    let mut command = program();
    command
        .arg("replay")
        .arg(file)
        .arg("-o")
        .arg(&run)
        .args(more);
    if !more.contains(&"-c") {
        command.arg("-c").arg(folder.write("small.toml", SMALL));
    }
    (support::run(&mut command), run)
}

/// An input that cannot be read at all: nothing is made of it, and one line says why.
fn refused(name: &str, bytes: &[u8], says: &[&str]) {
    let folder = Folder::quick("refused");
    let file = folder.write(name, bytes);
    let (ended, run) = replay(&folder, &file, &[]);
    let ended = ended
        .expect(5)
        .says(&[&file.display().to_string()])
        .says(says);
    assert_eq!(
        ended.stderr.lines().count(),
        1,
        "one line: {}",
        ended.stderr
    );
    assert!(!run.exists(), "a run directory of nothing");
}

/// An input with something wrong in it: the run goes on to its end, counts the anomaly, and tells
/// of it with its place. `--strict` makes it exit code 3, with the same line.
fn counted(
    name: &str,
    bytes: &[u8],
    anomalies: &[(&str, u64)],
    says: &[&str],
) -> (Folder, PathBuf) {
    let folder = Folder::quick("counted");
    let file = folder.write(name, bytes);
    let (ended, _) = replay(&folder, &file, &["--strict"]);
    ended.expect(3).says(&["anomalies"]).says(says);
    let (ended, run) = replay(&folder, &file, &[]);
    ended.expect(0);
    let found = manifest(&run);
    assert_eq!(found["state"], "complete");
    let wanted: serde_json::Map<String, serde_json::Value> = anomalies
        .iter()
        .map(|(name, count)| (name.to_string(), (*count).into()))
        .collect();
    assert_eq!(
        found["anomalies"],
        serde_json::Value::from(wanted),
        "{}",
        found["anomaly_examples"]
    );
    (folder, run)
}

/// The session with some messages put in before its last one.
fn with(more: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut messages = little_session();
    let last = messages.pop().unwrap();
    messages.extend_from_slice(more);
    messages.push(last);
    messages
}

/// A time near the session's end.
const LATE_NS: u64 = OPEN_NS + 2_500_000_000;
