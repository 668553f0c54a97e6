//! The real program sends its orders through TLS to `tapeline fix sim`, over cuts and a kill; and neither side
//! takes the other for somebody else. Built with `--features tls-test` only.

mod support;

#[path = "../bus/fix/tests/certificates/mod.rs"]
mod certificates;

use std::fs;
use std::path::{Path, PathBuf};

use certificates::Folder as Certificates;
use serde_json::Value;
use support::crash::{CONFIG, Session, is_begun, resume};
use support::{Ended, Folder, Started, alone, program, run};

/// A certificate and its key.
type Own = (PathBuf, PathBuf);

/// A counterparty that wants a certificate of who signed this one, and its address.
fn counterparty(folder: &Folder, own: &Own, ca: &Path) -> (Started, String) {
    // A port that was free just now. Whoever takes it in between makes the program say so.
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap().to_string();
    drop(probe);
    let script = "every 7: new, partial 1, cut, fill\nany: new, fill";
    let mut command = program();
    command.args([
        "--json", "fix", "sim", "--target", "DESK", "--listen", &address,
    ]);
    command.arg("--script").arg(folder.write("script", script));
    command.arg("--tls-certificate").arg(&own.0);
    command.arg("--tls-key").arg(&own.1);
    command.arg("--tls-ca").arg(ca);
    let mut process = Started::new(&mut command);
    process.wait_for_line("until SIGINT");
    (process, address)
}

fn config(folder: &Folder, address: &str, away_max: &str, tls: &str) -> PathBuf {
    let text = format!(
        "{CONFIG}[orders]\nfile = false\nsender = \"DESK\"\ntarget = \"SIM\"\n[orders.fix]\n\
         connect = \"{address}\"\nretry = \"1ms\"\naway_max = \"{away_max}\"\n{tls}"
    );
    folder.write("tls.toml", text)
}

fn section(ca: &Path, name: &str, own: Option<&Own>) -> String {
    let own =
        own.map(|(certificate, key)| format!("certificate = {certificate:?}\nkey = {key:?}\n"));
    let own = own.unwrap_or_default();
    format!("[orders.fix.tls]\nca = {ca:?}\nname = {name:?}\n{own}")
}

/// What a counterparty had in the end.
fn end(process: &mut Started) -> (Ended, Value) {
    process.interrupt();
    let ended = process.wait_for_end().expect(0);
    let session = ended.json()["sessions"][0].clone();
    (ended, session)
}

#[test]
fn orders_leave_through_tls_once_each_over_cuts_and_a_kill() {
    let _alone = alone();
    let session = Session::of(Folder::quick("tls-orders"), 1, 3000);
    let folder = &session.folder;
    let made = Certificates::new("program");
    let (ca, signer) = made.signer("ca");
    let (theirs, ours) = (
        made.certificate("sim", 2200, &signer),
        made.certificate("desk", 2200, &signer),
    );
    let (mut sim, address) = counterparty(folder, &theirs, &ca);
    let tls = section(&ca, "sim", Some(&ours));
    let config = config(folder, &address, "60s", &tls);
    let run_dir = folder.join("run/run");
    let mut process = session.start(&run_dir, &config, 1, "1x").go();
    let reports = run_dir.join("orders/shard-0.reports");
    let has_report = || {
        let bytes = fs::read(&reports).unwrap_or_default();
        bytes.windows(7).any(|field| field == b"\x01150=F\x01")
    };
    while !(is_begun(&run_dir) && has_report()) {
        let ended = process.wait(std::time::Duration::from_millis(1));
        assert!(ended.is_none(), "it ended before a fill came");
    }
    process.kill();
    resume(&run_dir, "max").go().wait_for_end().expect(0);
    let (ended, theirs) = end(&mut sim);
    assert_eq!(theirs["orders"], session.orders.len());
    assert_eq!(theirs["statuses"]["filled"], session.orders.len());
    assert!(
        ended.stderr.contains("cut by the script"),
        "{}",
        ended.stderr
    );
    session.check_results(&run_dir).unwrap();
    let mut recon = program();
    let said = run(recon.args(["--json", "recon"]).arg(&run_dir)).expect(0);
    assert_eq!(said.json()["equal"], true);
}

#[test]
fn who_is_not_believed_gets_no_order() {
    let _alone = alone();
    let session = Session::of(Folder::quick("tls-refused"), 1, 1000);
    let folder = &session.folder;
    let made = Certificates::new("refused-program");
    let ((ca, signer), (other_ca, other)) = (made.signer("ca"), made.signer("other"));
    let theirs = made.certificate("sim", 2200, &signer);
    let (ours, stranger) = (
        made.certificate("desk", 2200, &signer),
        made.certificate("stranger", 2200, &other),
    );
    let (mut sim, address) = counterparty(folder, &theirs, &ca);
    for (tls, want) in [
        (section(&ca, "another", Some(&ours)), "not valid for name"),
        (section(&other_ca, "sim", Some(&ours)), "UnknownIssuer"),
        (section(&ca, "sim", Some(&stranger)), "TLS: "),
        (section(&ca, "sim", None), "TLS: "),
        // Plainly.
        (String::new(), "waited 1s for a logon"),
    ] {
        let config = config(folder, &address, "1s", &tls);
        let run_dir = folder.join("run/run");
        let _ = fs::remove_dir_all(&run_dir);
        let ended = session
            .start(&run_dir, &config, 1, "max")
            .go()
            .wait_for_end();
        assert_ne!(ended.code, Some(0), "{tls}");
        ended.says(&["DESK at SIM", want]);
    }
    assert_eq!(end(&mut sim).1["orders"], 0);
}
