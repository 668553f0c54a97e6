//! Whether orders are meant for a counterparty: everything but the wire, or live, and then only where
//! a person said whose session it is.

mod support;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use support::crash::{CONFIG, Peer, Session};
use support::{Ended, Folder, alone, orders_of, program, tapeline};

fn replay(session: &Session, run: &Path, config: &Path, more: &[&str]) -> Ended {
    let mut command = program();
    command
        .arg("replay")
        .arg(&session.capture)
        .arg("-o")
        .arg(run);
    command.arg("-c").arg(config).args(more);
    support::run(&mut command)
}

fn config(session: &Session, orders: &str) -> PathBuf {
    let text = format!("{CONFIG}\n[orders]\nfile = false\n{orders}\n");
    session.folder.write("modes.toml", text)
}

#[test]
fn a_shadow_run_decides_the_same_orders_and_connects_to_nobody() {
    let _alone = alone();
    let session = Session::of(Folder::quick("shadow-mode"), 1, 1000);
    // Whoever connects is seen.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let said = format!("tcp = \"{address}\"\nin_doubt = \"query\"");
    let wire = config(&session, &said);
    let ids =
        |run: &Path| -> BTreeSet<String> { orders_of(run, 1).into_iter().flatten().collect() };
    let flag = session.folder.join("flag");
    replay(&session, &flag, &wire, &["--mode", "shadow"]).expect(0);
    assert_eq!(ids(&flag), session.orders);
    let setting = config(&session, &format!("{said}\nmode = \"shadow\""));
    let run = session.folder.join("setting");
    replay(&session, &run, &setting, &[]).expect(0);
    assert_eq!(ids(&run), session.orders);
    assert!(listener.accept().is_err(), "somebody connected");
    let live = ["--mode", "live", "--confirm", "X"];
    replay(&session, &session.folder.join("none"), &setting, &live)
        .expect(2)
        .says(&["orders.mode is `shadow`, and --mode live would send orders"]);
    let shadow = ["--mode", "shadow", "--confirm", "X"];
    replay(&session, &session.folder.join("none"), &wire, &shadow)
        .expect(2)
        .says(&["--confirm goes with"]);
    assert!(!session.folder.join("none").exists());
}

#[test]
fn a_live_run_sends_only_where_a_person_named_the_session() {
    let _alone = alone();
    let session = Session::of(Folder::quick("live-mode"), 1, 1000);
    let peer = Peer::new();
    let address = peer.address.to_string();
    let live = config(&session, &format!("tcp = \"{address}\"\nmode = \"live\""));
    let none = session.folder.join("none");
    let want = format!("want --confirm {address}");
    replay(&session, &none, &live, &[])
        .expect(2)
        .says(&["nothing is confirmed", &want]);
    for wrong in [
        &["--confirm", "127.0.0.1:1"][..],
        &["--confirm", &address, "--confirm", "B"],
    ] {
        replay(&session, &none, &live, wrong)
            .expect(2)
            .says(&["confirmed is", &want]);
    }
    let file = config(&session, "");
    replay(&session, &none, &file, &["--mode", "live"])
        .expect(2)
        .says(&["there is no orders.fix or orders.tcp"]);
    let fix = "sender = \"S{shard}\"\ntarget = \"T\"\nmode = \"live\"\n[orders.fix]\nconnect = \"127.0.0.1:1\"";
    replay(&session, &none, &config(&session, fix), &["--shards", "2"])
        .expect(2)
        .says(&["want --confirm S0-T --confirm S1-T"]);
    assert!(!none.exists() && peer.drain().iter().all(Vec::is_empty));
    let live = config(&session, &format!("tcp = \"{address}\"\nmode = \"live\""));
    let run = session.folder.join("run");
    replay(&session, &run, &live, &["--confirm", &address]).expect(0);
    let came = peer.drain().into_iter().flatten();
    let came: BTreeSet<String> = came.map(|(id, _)| id).collect();
    assert_eq!(came, session.orders);
    // A restart is confirmed anew; a run that is complete needs nothing.
    tapeline(args!["replay", "--resume", run]).expect(0);
}
