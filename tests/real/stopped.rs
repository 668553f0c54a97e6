//! The program is stopped for a while, and so is its peer.

use std::io::Read;
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::crash::{Logged, Peer, Session, resume};
use crate::support::{Folder, alone, orders_in, signal};
use crate::{Real, TO_PEER, Trial, check_line, wait_for_orders};

#[test]
fn a_program_that_was_stopped_goes_on() {
    let Some(real) = Real::take("a stopped program") else {
        return;
    };
    let _alone = alone();
    let session = Session::new(Folder::quick("stopped"));
    let peer = Peer::new();
    let pause = Duration::from_secs(real.pick(1, 10));
    for round in 0..real.pick(2, 10) {
        let place = session.folder.join("place");
        let mut trial = Trial::new(&session, &peer, TO_PEER, &place);
        let mut process = trial.begin("4x").go();
        wait_for_orders(&mut process, &peer, 10 + 20 * round).unwrap();
        signal(process.id(), "STOP");
        assert!(process.wait(pause).is_none(), "it does not run");
        signal(process.id(), "CONT");
        process.wait_for_end().expect(0);
        trial.account().and_then(|()| trial.check()).unwrap();
    }
    println!("stopped program: went on after {pause:?}, each run as its twin");
}

/// A peer that takes nothing: the program waits for as long as it says, stops in order, and
/// goes on when there is a peer again.
#[test]
fn a_peer_that_takes_nothing_stops_the_run_in_order() {
    let test = "a stopped peer";
    let Some(_real) = Real::take(test) else {
        return;
    };
    let _alone = alone();
    // Else the kernel takes all the orders of a session for a peer that does not.
    let buffer = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").unwrap_or_default();
    if !buffer.starts_with("4096\t4096") {
        return println!("skipped: {test}: run.sh could not set small socket buffers");
    }
    let session = Session::new(Folder::quick("peer"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (go_on, wait) = mpsc::channel::<()>();
    let reading = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        wait.recv().unwrap();
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received);
        // The next life comes to the same address.
        let (mut stream, _) = listener.accept().unwrap();
        let mut again = Vec::new();
        let _ = stream.read_to_end(&mut again);
        (received, again)
    });
    let run = session.folder.join("place/run");
    let config = session.folder.write("run.toml", TO_PEER.config(address));
    let began = Instant::now();
    let ended = session.start(&run, &config, 1, "max").go().wait_for_end();
    let took = began.elapsed();
    check_line(&ended, &["took nothing for 10s"]).unwrap();
    let logged = session.logged(&run, 1).unwrap();
    go_on.send(()).unwrap();
    resume(&run, "max").go().wait_for_end().expect(0);
    let (received, again) = reading.join().unwrap();
    let mut ledger = crate::Ledger::default();
    let first = orders_in(crate::support::crash::whole(&received));
    let left = first.len();
    ledger.life(vec![first], logged).unwrap();
    ledger
        .life(vec![orders_in(&again)], Logged::default())
        .unwrap();
    ledger.check(&session.orders).unwrap();
    session.check_results(&run).unwrap();
    assert_eq!(ledger.unflagged, 0);
    println!(
        "stopped peer: the run stopped after {:.1} s with {left} orders at the peer; all {} came \
         in the end, {} flagged repeats, 0 unflagged",
        took.as_secs_f64(),
        ledger.orders(),
        ledger.flagged
    );
}
