//! Orders as lines of JSON and as records in shared memory: the same as in the file of messages, each
//! once, however often the program is killed in between.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use bus::oms::ring::{Next, Reader};
use bus::oms::{Json, Row};
use support::crash::{CONFIG, Session, is_begun, resume};
use support::{Folder, Random, alone, orders_of};

/// The ids of a shard's orders in its lines, each once.
fn in_lines(run: &Path, shard: usize) -> Vec<String> {
    let found = Json::read(&run.join(format!("orders/shard-{shard}.jsonl"))).unwrap();
    assert_eq!(found.cut_bytes, 0);
    found.ids.iter().map(|id| id.to_string()).collect()
}

/// The ids of a shard's orders in its ring, and the number of the first record of each.
fn in_ring(path: &Path) -> (u64, Vec<String>) {
    let mut reader = Reader::open(path).unwrap();
    let (mut first, mut ids) = (0, Vec::new());
    loop {
        match reader.next() {
            Next::Record(record) => {
                first = if first == 0 { record.seq() } else { first };
                assert_eq!(record.seq(), first + ids.len() as u64);
                ids.push(record.order_id().unwrap().to_string());
            }
            Next::Ended => return (first, ids),
            other => panic!("{other:?} in {}", path.display()),
        }
    }
}

fn each_once(ids: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for id in ids {
        assert!(all.insert(id.clone()), "{id} is there twice");
    }
    all
}

#[test]
fn every_form_has_the_orders_of_the_file_in_its_order() {
    let session = Session::of(Folder::quick("orders-forms"), 1, 3000);
    let rings = session.folder.join("rings");
    let config = format!(
        "{CONFIG}\n[orders.json]\nto = \"file\"\n[orders.ring]\nrecords = 4096\nfolder = {rings:?}\n"
    );
    let config = session.folder.write("forms.toml", config);
    let mut ends = [0; 2];
    for name in ["run/run", "second/run"] {
        let run = session.folder.join(name);
        session
            .start(&run, &config, 2, "max")
            .go()
            .wait_for_end()
            .expect(0);
        session.check_results(&run).unwrap();
        for (shard, orders) in orders_of(&run, 2).into_iter().enumerate() {
            assert_eq!(in_lines(&run, shard), orders);
            let ring = rings.join(format!("TAPELINE-shard-{shard}.ring"));
            let (first, ids) = in_ring(&ring);
            // The second run goes on with the numbers of the first.
            assert_eq!(first, 1);
            assert_eq!(ids[ends[shard]..], orders);
            ends[shard] = ids.len();
            let text = fs::read_to_string(run.join(format!("orders/shard-{shard}.fix"))).unwrap();
            let lines = fs::read_to_string(run.join(format!("orders/shard-{shard}.jsonl")));
            for (message, line) in text.lines().zip(lines.unwrap().lines()) {
                let row = Row::of(message.as_bytes()).unwrap();
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                let symbol = String::from_utf8_lossy(row.symbol);
                assert_eq!(line["symbol"], symbol.into_owned());
                assert_eq!(line["qty"], row.qty.unwrap().0);
                assert_eq!(line["price"], row.price.unwrap().to_string());
                assert_eq!(line["event_ns"], row.transacted.unwrap().0);
            }
        }
    }
}

#[test]
fn lines_of_two_shards_to_stdout_stay_apart() {
    let session = Session::of(Folder::quick("orders-stdout"), 1, 3000);
    let config = format!("{CONFIG}\n[orders.json]\nto = \"stdout\"\n");
    let config = session.folder.write("stdout.toml", config);
    let run = session.folder.join("run/run");
    let ended = session.start(&run, &config, 2, "max").go().wait_for_end();
    let ended = ended.expect(0);
    let lines = ended
        .stdout
        .lines()
        .filter(|line| line.starts_with("{\"row\""));
    let ids = lines.map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["id"].as_str().unwrap().to_owned()
    });
    assert_eq!(each_once(ids), session.orders);
    assert_eq!(
        each_once(orders_of(&run, 2).into_iter().flatten()),
        session.orders
    );
}

#[test]
fn no_order_is_missing_or_twice_after_kills() {
    let _alone = alone();
    let session = Session::of(Folder::quick("orders-kills"), 1, 6000);
    let config = format!(
        "{CONFIG}\n[orders]\nfile = false\n[orders.json]\nto = \"file\"\n\
         [orders.ring]\nrecords = 65536\n"
    );
    let config = session.folder.write("kills.toml", config);
    let mut random = Random(0x7461_7065);
    let mut kills = 0;
    while kills < 40 {
        let run = session.folder.join("run/run");
        let _ = fs::remove_dir_all(&run);
        let mut process = session.start(&run, &config, 2, "20x").go();
        for life in 0.. {
            let us = 3_000 + random.within(0..100_000);
            let at_most = if life < 10 {
                Duration::from_micros(us)
            } else {
                Duration::from_secs(60)
            };
            if let Some(ended) = process.wait(at_most) {
                ended.expect(0);
                break;
            }
            assert!(life < 10, "it hangs");
            process.kill();
            kills += 1;
            process = match is_begun(&run) {
                true => resume(&run, "20x").go(),
                false => {
                    let _ = fs::remove_dir_all(&run);
                    session.start(&run, &config, 2, "20x").go()
                }
            };
        }
        session.check_results(&run).unwrap();
        let lines = each_once((0..2).flat_map(|shard| in_lines(&run, shard)));
        assert_eq!(lines, session.orders);
        let ring = |shard| in_ring(&run.join(format!("orders/shard-{shard}.ring"))).1;
        assert_eq!(each_once((0..2).flat_map(ring)), session.orders);
    }
}
