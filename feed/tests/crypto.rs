//! Lines of the crypto venues, written by hand after their own documentation, through the source that
//! reads such files and the protocols that read its messages.

use bus::fixed::Scaled;
use bus::{Event, Flags, Kind, Side, Ts};
use feed::moldudp64::Blocks;
use feed::protocol::{Binance, Bitstamp, Coinbase, Protocol, Tardis, Wire};
use feed::source::{Capture, CaptureOptions, Polled, Source};

/// Files in a folder of their own, gone with the test.
struct Files(std::path::PathBuf, Vec<std::path::PathBuf>);

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Files {
    fn new(name: &str, contents: &[&[u8]]) -> Files {
        let names: Vec<String> = (0..contents.len()).map(|n| format!("{n}.txt")).collect();
        Files::named(name, &names, contents)
    }

    fn named(name: &str, names: &[String], contents: &[&[u8]]) -> Files {
        let folder =
            std::env::temp_dir().join(format!("tapeline-crypto-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = |index: usize| folder.join(&names[index]);
        let paths = contents.iter().enumerate().map(|(index, bytes)| {
            std::fs::write(path(index), bytes).unwrap();
            path(index)
        });
        let paths = paths.collect();
        Files(folder, paths)
    }

    fn open(&self) -> Capture {
        Capture::open(&self.1, CaptureOptions::default()).unwrap()
    }

    /// What the lines come to, and what is wrong with them.
    fn read<P: Protocol>(&self, mut protocol: P) -> (Vec<Event>, Vec<String>) {
        let mut capture = self.open();
        let (mut events, mut wrong) = (Vec::new(), Vec::new());
        loop {
            match capture.poll().unwrap() {
                Polled::Packet(packet) => {
                    for message in Blocks::new(packet.payload) {
                        let mut event = Event::new(Kind::Nothing);
                        protocol.decode(message, &mut event).unwrap();
                        assert_eq!(protocol.ts_event(message), Some(event.ts_event));
                        assert_eq!(protocol.code(message), Some(event.code));
                        if let Err(fault) = protocol.translate(message, &event, &mut events) {
                            wrong.push(fault.to_string());
                        }
                    }
                }
                Polled::Trouble(trouble) => {
                    wrong.push(format!(
                        "byte {}: {}",
                        trouble.place.offset_bytes, trouble.what
                    ));
                }
                Polled::End => return (events, wrong),
                Polled::Empty => unreachable!("a capture is never empty"),
            }
        }
    }
}

/// Events in a few words each.
fn text(events: &[Event]) -> Vec<String> {
    let mut decimals = 0;
    let mut line = |event: &Event| {
        let mut part = String::new();
        for (flag, name) in [
            (Flags::MORE, " more"),
            (Flags::ENDS, " ends"),
            (Flags::STALE, " stale"),
            (Flags::WHOLE, " whole"),
            (Flags::WIDE, " wide"),
        ] {
            if event.flags.has(flag) {
                part.push_str(name);
            }
        }
        if event.kind == Kind::Symbol {
            decimals = event.order_b as u8;
            let name = String::from_utf8(event.order.to_be_bytes().to_vec()).unwrap();
            return format!("{} is {} in 1e-{decimals}", event.symbol, name.trim_end());
        }
        let side = ["-", "buy", "sell"][event.side as usize];
        let (kind, price, qty) = (event.kind, event.price, Scaled(event.qty.0, decimals));
        format!("{kind:?} {side} {price} x {qty}{part}")
    };
    events.iter().map(&mut line).collect()
}

#[track_caller]
fn check(name: &str, lines: &[&str], want: &[&str], faults: &[&str]) {
    let files = Files::new(name, &[lines.join("\n").as_bytes()]);
    let (events, wrong) = files.read(Binance::new());
    let found = text(&events);
    assert_eq!(found, want, "{wrong:?}");
    assert_eq!(wrong, faults);
}

fn diff(first: u64, last: u64, bids: &str, asks: &str) -> String {
    format!(
        r#"17000000{last:011} {{"stream":"btcusdt@depth","data":{{"e":"depthUpdate","E":1700000000{last:03},"s":"BTCUSDT","U":{first},"u":{last},"b":[{bids}],"a":[{asks}]}}}}"#
    )
}

fn snapshot(last: u64, bids: &str, asks: &str) -> String {
    format!(r#"1700000000000000000 {{"lastUpdateId":{last},"bids":[{bids}],"asks":[{asks}]}}"#)
}

/// The one that straddles the snapshot counts whole, those before it do not.
#[test]
fn a_spot_book_is_a_snapshot_and_what_follows_it() {
    check(
        "spot",
        &[
            &diff(1, 4, r#"["9.00","1.0"]"#, ""),
            &diff(5, 8, r#"["10.00","2.50"]"#, r#"["11.00","0.00100000"]"#),
            &snapshot(
                6,
                r#"["10.00","1.00000000"],["9.50","4"]"#,
                r#"["11.00","3"]"#,
            ),
            &diff(9, 9, r#"["9.50","0.00000000"]"#, ""),
            // Nothing is new in it.
            &diff(9, 9, r#"["9.40","1"]"#, ""),
        ],
        &[
            "1 is BTCUSDT in 1e-3",
            "Info - 0.00 x 0.000 stale",
            "Info - 0.00 x 0.000",
            "Info - 0.00 x 0.000 more whole",
            "Add buy 10.00 x 1.000 more",
            "Add buy 9.50 x 4.000 more",
            "Add sell 11.00 x 3.000 more",
            "Replace buy 10.00 x 2.500 more",
            "Replace sell 11.00 x 0.001 ends",
            "Delete buy 0.00 x 0.000",
            "Info - 0.00 x 0.000",
        ],
        &[],
    );
}

#[test]
fn lost_changes_empty_the_book_until_a_snapshot_that_reaches_on() {
    check(
        "gap",
        &[
            &snapshot(6, r#"["10","1"]"#, r#"["11","1"]"#),
            &diff(7, 8, r#"["10","2"]"#, ""),
            &diff(10, 12, r#"["9","3"]"#, ""),
            &diff(13, 14, "", r#"["12","4"]"#),
            // The changes that wait begin behind it.
            &snapshot(8, r#"["1","1"]"#, ""),
            &snapshot(12, r#"["10","5"]"#, r#"["11","5"]"#),
            // Older than the book.
            &snapshot(13, r#"["1","1"]"#, ""),
            &snapshot(20, r#"["10","5"]"#, r#"["12","6"]"#),
        ],
        &[
            "1 is BTCUSDT in 1e-0",
            "Add buy 10.00 x 1 more",
            "Add sell 11.00 x 1 ends",
            "Replace buy 10.00 x 2",
            "Info - 0.00 x 0 more stale",
            "Delete buy 0.00 x 0 more",
            "Delete sell 0.00 x 0 ends",
            "Info - 0.00 x 0",
            "Info - 0.00 x 0",
            "Info - 0.00 x 0 more whole",
            "Add buy 10.00 x 5 more",
            "Add sell 11.00 x 5 more",
            "Add sell 12.00 x 4 ends",
            "Info - 0.00 x 0",
            "Delete sell 0.00 x 0 more",
            "Replace sell 12.00 x 6 ends",
        ],
        &[
            "changes after 9, want those after 8: the book is stale until a snapshot",
            "changes after 9, want those after 8: the book is stale until a snapshot",
        ],
    );
}

/// Futures say the number before by name (`pu`), and their numbers leave some out.
#[test]
fn futures_follow_by_the_number_before() {
    let diff = |first: u64, last: u64, before: u64, bids: &str| {
        format!(
            r#"{{"e":"depthUpdate","E":1700000000{last:03},"T":1,"s":"BTCUSD_PERP","ps":"BTCUSD","U":{first},"u":{last},"pu":{before},"b":[{bids}],"a":[]}}"#
        )
    };
    check(
        "futures",
        &[
            &diff(100, 110, 95, r#"["10","1"]"#),
            &diff(120, 130, 110, r#"["10","2"]"#),
            r#"{"lastUpdateId":115,"E":1700000000140,"T":1,"symbol":"BTCUSD_PERP","pair":"BTCUSD","bids":[["9","7"]],"asks":[]}"#,
            &diff(140, 150, 130, r#"["9","0"]"#),
            &diff(170, 180, 160, r#"["9","1"]"#),
        ],
        &[
            "1 is BTCUS~01 in 1e-0",
            "Info - 0.00 x 0 stale",
            "Info - 0.00 x 0",
            "Info - 0.00 x 0 more whole",
            "Add buy 9.00 x 7 more",
            "Add buy 10.00 x 2 ends",
            "Delete buy 0.00 x 0",
            "Info - 0.00 x 0 more stale",
            "Delete buy 0.00 x 0 ends",
        ],
        &["changes after 160, want those after 150: the book is stale until a snapshot"],
    );
}

const TRADE: &str = r#"{"e":"trade","E":1700000000001,"s":"BTCUSDT","t":7,"p":"61837.63000000","q":"0.02000000","T":1700000000000,"m":true,"M":true}"#;
const TOGETHER: &str = r#"{"e":"aggTrade","E":1700000000002,"s":"BTCUSDT","a":5,"p":"61837.63","q":"0.5","f":7,"l":9,"T":1,"m":false}"#;

/// Several trades in one line count where the input has no single ones.
#[test]
fn trades_count_once() {
    let single = "Trade buy 61837.63 x 0.02";
    check(
        "both",
        &[TOGETHER, TRADE],
        &["1 is BTCUSDT in 1e-2", "Info - 0.00 x 0.00", single],
        &[],
    );
    check(
        "together",
        &[TOGETHER],
        &["1 is BTCUSDT in 1e-1", "Trade sell 61837.63 x 0.5"],
        &[],
    );
    let files = Files::new("one", &[TRADE.as_bytes()]);
    let (events, _) = files.read(Binance::new());
    assert_eq!(events[1].order_b, 7);
    assert_eq!(events[1].code, b'T');
    assert_eq!(events[1].ts_event, Ts(1_700_000_000_001_000_000));
    assert_eq!(events[1].ts_recv, events[1].ts_event);
    assert!(events[1].flags.has(Flags::PRINTABLE));
    assert_eq!(events[1].side, Side::Buy);
    assert_eq!(files.open().files()[0].start, Some(events[1].ts_event));
}

/// Best bid and offer are another stream's word, and no part of the book; what is not known is told
/// under its own letter.
#[test]
fn tickers_and_other_messages_change_nothing() {
    check(
        "ticker",
        &[
            r#"1 {"u":9,"s":"BTCUSDT","b":"1.5","B":"2","a":"1.6","A":"3.125"}"#,
            r#"2 {"result":null,"id":1}"#,
            r#"3 {"stream":"!ticker@arr","data":[{"e":"24hrTicker","p":"-1.5"}]}"#,
            r#"4 {"e":"kline","E":1,"s":"BTCUSDT","k":{"b":[1,2,{}],"a":null}}"#,
            r#"5 {"e":"24hrTicker","E":1,"s":"X","p":"-94.99999800","b":"4.0","a":"4.1"}"#,
        ],
        &[
            "1 is BTCUSDT in 1e-3",
            "Info - 0.00 x 0.000",
            "Info - 0.00 x 0.000",
            "Info - 0.00 x 0.000",
            "Info - 0.00 x 0.000",
            "Info - 0.00 x 0.000",
        ],
        &[],
    );
}

/// A line's time in front of it, in each of the ways in which recorders write it.
#[test]
fn lines_have_their_times_in_front() {
    let lines = [
        "wss://fstream.binance.com/stream?streams=x <-> 1626992740.179554".to_owned(),
        format!("1626992741.06217: {TRADE}"),
        "wss://fstream.binance.com <- 1626992741.1: {\"method\":\"SUBSCRIBE\"}".to_owned(),
        String::new(),
        format!("1626992741062170001 {TRADE}"),
        format!("  {TRADE}"),
        format!("{TRADE}\r"),
    ];
    let files = Files::new("times", &[lines.join("\n").as_bytes()]);
    let mut capture = files.open();
    assert_eq!(capture.wire().unwrap(), Wire::Binance);
    assert_eq!(
        capture.files()[0].start,
        Some(Ts(1_626_992_741_062_170_000))
    );
    let (events, wrong) = files.read(Binance::new());
    let recv: Vec<i64> = events[1..].iter().map(|event| event.ts_recv.0).collect();
    let want = [
        1_626_992_741_062_170_000,
        1_626_992_741_062_170_001,
        1_700_000_000_001_000_000,
    ];
    assert_eq!(recv, want);
    assert_eq!(wrong.len(), 1);
    assert!(
        wrong[0].ends_with("line 6, byte 1: want a time or a message"),
        "{wrong:?}"
    );
}

/// One clear error for each, with line and byte, and the lines behind it are read.
#[test]
fn spoilt_lines_are_told_with_their_place() {
    for (line, want) in [
        (
            r#"{"e":"trade","#,
            "line 2, byte 13: EOF while parsing a value",
        ),
        (
            r#"1700 {"e":"trade" "E":1}"#,
            "line 2, byte 19: expected `,` or `}`",
        ),
        ("17x {}", "line 2, byte 3: want a space behind the time"),
        (
            "17000000000000000000000000 {}",
            "line 2, byte 1: want a time in seconds or nanoseconds since 1970",
        ),
        (
            r#"{"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":"1.5x","q":"1","m":true}"#,
            "line 2, byte 45: p is \"1.5x\", want a decimal of at most 18 places",
        ),
        (
            r#"{"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":"-1.5","q":"1","m":true}"#,
            "line 2, byte 45: p is \"-1.5\", want a decimal of at most 18 places",
        ),
        (
            r#"{"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":1.5,"q":"1","m":true}"#,
            "line 2, byte 1: a message without p",
        ),
        (
            r#"{"e":"trade","E":1,"s":"","t":7,"p":"1.5","q":"1","m":true}"#,
            "line 2, byte 25: \"\", want a symbol's name",
        ),
        (
            r#"{"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":"0.0000000001","q":"1","m":true}"#,
            "line 2, byte 1: price 1e-10, want at most 9 decimals and 9223372036854775807 units of them",
        ),
        (
            r#"{"e":"trade","E":1,"s":"BTCUSDT","t":7,"p":"1","q":"18446744073709551615","m":true}"#,
            "line 2, byte 1: quantity 18446744073709551615e-0, want at most 2 decimals and \
             9223372036854775807 units of them",
        ),
        (
            r#"{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":2,"u":1,"b":[],"a":[]}"#,
            "line 2, byte 1: a message without U that is not above u",
        ),
        (
            r#"{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":1,"b":[["1"]],"a":[]}"#,
            "line 2, byte 61: a level without price and quantity",
        ),
        (
            r#"{"lastUpdateId":1,"bids":[],"asks":[]}"#,
            "line 2, byte 1: a book without a symbol, want one, or one book in the input",
        ),
    ] {
        let all = [TRADE, line, TRADE].join("\n");
        let (events, wrong) = Files::new("spoilt", &[all.as_bytes()]).read(Binance::new());
        assert_eq!(wrong.len(), 1, "{line}: {wrong:?}");
        assert!(wrong[0].ends_with(want), "{line}: {wrong:?}");
        let trades = events.iter().filter(|event| event.kind == Kind::Trade);
        assert_eq!(trades.count(), 2, "{line}");
    }
}

/// What passes 32 bits has its mark on every event about it; what would pass 2^62 together is refused.
#[test]
fn quantities_pass_32_bits_and_are_refused_beyond_62() {
    check(
        "large",
        &[
            &snapshot(1, r#"["10","4294967295"],["9","4294967296"]"#, ""),
            &diff(2, 2, r#"["10","4294967296"],["9","1"]"#, ""),
            // All of 2^62 together; then one more.
            &diff(3, 3, r#"["10","0"],["9","4611686018427387904"]"#, ""),
            &diff(4, 4, r#"["8","4294967296"],["7","4294967295"]"#, ""),
            &diff(5, 5, r#"["9","4611686018427387905"]"#, ""),
            &snapshot(6, r#"["8","1"]"#, ""),
        ],
        &[
            "1 is BTCUSDT in 1e-0",
            "Add buy 10.00 x 4294967295 more",
            "Add buy 9.00 x 4294967296 ends wide",
            "Replace buy 10.00 x 4294967296 more wide",
            "Replace buy 9.00 x 1 ends wide",
            "Delete buy 0.00 x 0 more wide",
            "Replace buy 9.00 x 4611686018427387904 ends wide",
            "Info - 0.00 x 0 more stale",
            "Add buy 7.00 x 4294967295 ends",
            "Delete buy 0.00 x 0 wide",
            "Info - 0.00 x 0 more whole",
            "Delete buy 0.00 x 0 more",
            "Add buy 8.00 x 1 ends",
        ],
        &[
            "quantity 4294967296, want at most 4294967295: the book lacks it, and is stale",
            "quantity 4611686018427387905, want at most 4611686018427387904: the book lacks it, and is stale",
        ],
    );
}

/// A snapshot of more levels than a message can have.
#[test]
fn a_long_snapshot_is_one() {
    let levels = |from: u64| {
        let level = |price: u64| format!(r#"["{price}","0.5"]"#);
        (from..from + 5_000)
            .map(level)
            .collect::<Vec<_>>()
            .join(",")
    };
    let line = snapshot(1, &levels(1_000), &levels(7_000));
    let files = Files::new("long", &[[line, diff(2, 2, "", "")].join("\n").as_bytes()]);
    let (events, wrong) = files.read(Binance::new());
    assert_eq!(wrong, Vec::<String>::new());
    let adds: Vec<&Event> = events
        .iter()
        .filter(|event| event.kind == Kind::Add)
        .collect();
    assert_eq!(adds.len(), 10_000);
    assert!(adds[..9_999].iter().all(|event| event.flags == Flags::MORE));
    assert_eq!(adds[9_999].flags, Flags::ENDS);
}

/// Files are merged by when their lines arrived, and have one scale for each symbol.
#[test]
fn a_snapshot_may_stand_in_a_file_of_its_own() {
    let diffs = [
        diff(5, 8, r#"["10.00","2.5"]"#, ""),
        diff(9, 9, r#"["10.00","2"]"#, ""),
    ];
    let files = Files::new(
        "two",
        &[
            diffs.join("\n").as_bytes(),
            snapshot(6, r#"["9","0.125"]"#, "").as_bytes(),
        ],
    );
    let (events, wrong) = files.read(Binance::new());
    assert_eq!(wrong, Vec::<String>::new());
    let want = [
        "1 is BTCUSDT in 1e-3",
        "Add buy 9.00 x 0.125",
        "Add buy 10.00 x 2.500",
        "Replace buy 10.00 x 2.000",
    ];
    assert_eq!(text(&events), want);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn session() -> Vec<u8> {
    let lines = [
        diff(5, 8, r#"["10.00","2.5"]"#, r#"["11","1"]"#),
        snapshot(6, r#"["9","0.125"]"#, r#"["12","1"],["13","1"]"#),
        TRADE.to_owned(),
        diff(9, 12, r#"["9","0"]"#, r#"["12","1"],["13","2"]"#),
        TOGETHER.to_owned(),
        diff(14, 15, r#"["9","1"]"#, ""),
        snapshot(15, r#"["9","0.125"]"#, ""),
    ];
    lines.join("\n").into_bytes()
}

/// Cut anywhere, or with bytes changed anywhere: it ends, and orders come and go as they must.
#[test]
fn cut_and_changed_files_end_in_order() {
    let whole = session();
    let mut random = Random(11);
    for round in 0..3 * whole.len() {
        let mut bytes = whole.clone();
        if round < whole.len() {
            bytes.truncate(round);
        } else {
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = b"0123456789\",:[]{}.x\n\0\xff"[random.below(22) as usize];
            }
        }
        let files = Files::new("cut", &[&bytes]);
        let Ok(capture) = Capture::open(&files.1, CaptureOptions::default()) else {
            continue;
        };
        if !capture.files()[0].format.name().starts_with("Binance") {
            continue;
        }
        let (events, _) = files.read(Binance::new());
        check_orders(&events, round);
    }
}

/// Orders come once, and change and go while they are there.
fn check_orders(events: &[Event], round: usize) {
    let mut there = std::collections::BTreeSet::new();
    for event in events {
        match event.kind {
            Kind::Add => assert!(there.insert(event.order), "round {round}"),
            Kind::Replace => assert!(there.contains(&event.order), "round {round}"),
            Kind::Delete => assert!(there.remove(&event.order), "round {round}"),
            _ => {}
        }
    }
}

#[test]
fn any_bytes_neither_panic_nor_grow_without_bound() {
    let mut random = Random(5);
    let binance = &mut Binance::new();
    let mut events = Vec::new();
    for round in 0..60_000 {
        let rows = random.below(4) as usize;
        let mut message: Vec<u8> = (0..52 + 25 * rows).map(|_| random.next() as u8).collect();
        message[..8].copy_from_slice(b"BTCUSDT ");
        message[8] = b"DSTAQO+?"[random.below(8) as usize];
        message[9] = random.below(20) as u8;
        for at in [35, 43, 51] {
            message[at - 7..=at].copy_from_slice(&random.below(40).to_le_bytes());
        }
        for row in 0..rows {
            let at = 52 + 25 * row;
            message[at] = random.below(3) as u8;
            (message[at + 8], message[at + 16]) =
                (random.below(130) as u8, random.below(130) as u8);
            message[at + 13..at + 17].fill(0);
        }
        if random.below(8) == 0 {
            message.truncate(random.below(message.len() as u64 + 1) as usize);
        }
        let mut event = Event::new(Kind::Nothing);
        if binance.decode(&message, &mut event).is_ok() {
            events.clear();
            let _ = binance.translate(&message, &event, &mut events);
            assert!(
                events
                    .iter()
                    .all(|e| Event::from_bytes(e.as_bytes()).is_some()),
                "round {round}"
            );
        }
    }
}

const LEVELS: &str = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount";

#[track_caller]
fn check_tardis(name: &str, files: &[&[&str]], want: &[&str], faults: &[&str]) {
    let bytes: Vec<String> = files.iter().map(|lines| lines.join("\n")).collect();
    let bytes: Vec<&[u8]> = bytes.iter().map(String::as_bytes).collect();
    let files = Files::new(name, &bytes);
    assert_eq!(files.open().wire().unwrap(), Wire::Tardis);
    let (events, wrong) = files.read(Tardis::new());
    assert_eq!(text(&events), want, "{wrong:?}");
    assert_eq!(wrong, faults);
}

/// Rows of one time are one message; a snapshot in several messages is one, and one behind changes
/// begins the book anew.
#[test]
fn tardis_levels_are_a_book() {
    check_tardis(
        "tardis",
        &[&[
            LEVELS,
            "deribit,BTC-PERP,1700000000000000,1700000000000100,false,bid,10,1.5",
            "deribit,BTC-PERP,1700000000000001,1700000000000101,true,bid,10,2",
            "deribit,BTC-PERP,1700000000000001,1700000000000101,true,ask,11,1e-3",
            "deribit,BTC-PERP,1700000000000001,1700000000000102,true,ask,12,3",
            "deribit,BTC-PERP,1700000000000002,1700000000000103,false,ask,11,0",
            "deribit,BTC-PERP,1700000000000002,1700000000000103,false,bid,10.5,1",
            "deribit,BTC-PERP,1700000000000003,1700000000000104,true,bid,10.5,7",
        ]],
        &[
            "1 is BTC-PERP in 1e-3",
            "Info - 0.00 x 0.000 more stale",
            "Add buy 10.00 x 1.500 ends",
            "Info - 0.00 x 0.000 more whole",
            "Replace buy 10.00 x 2.000 more",
            "Add sell 11.00 x 0.001 ends",
            "Add sell 12.00 x 3.000",
            "Delete sell 0.00 x 0.000 more",
            "Add buy 10.50 x 1.000 ends",
            "Delete buy 0.00 x 0.000 more",
            "Delete sell 0.00 x 0.000 more",
            "Replace buy 10.50 x 7.000 ends",
        ],
        &[],
    );
}

/// Columns stand where the first line says; trades are merged with the book by when they arrived, and
/// quotes are a book only where there is no other.
#[test]
fn tardis_trades_and_quotes_go_with_the_book() {
    let trades: &[&str] = &[
        "exchange,symbol,timestamp,local_timestamp,id,price,side,amount",
        "binance,BTCUSDT,1700000000000000,1700000000000100,77,61837.63,buy,0.002",
        "binance,BTCUSDT,1700000000000000,1700000000000300,a-b,61837.64,sell,0.25",
        "binance,BTCUSDT,1700000000000000,1700000000000301,,61837.64,unknown,1",
    ];
    let quotes: &[&str] = &[
        "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount",
        "binance,BTCUSDT,1700000000000000,1700000000000200,4,61837.7,61837.6,0.5",
        "binance,BTCUSDT,1700000000000000,1700000000000250,,,61837.6,0.75",
    ];
    let levels: &[&str] = &[
        LEVELS,
        "binance,BTCUSDT,1700000000000000,1700000000000150,true,bid,61837.5,1",
    ];
    let prints = [
        "Trade sell 61837.63 x 0.002",
        "Trade buy 61837.64 x 0.250",
        "Trade - 61837.64 x 1.000",
    ];
    let named = "1 is BTCUSDT in 1e-3";
    check_tardis(
        "tardis-quotes",
        &[trades, quotes],
        &[
            named,
            prints[0],
            "Add buy 61837.60 x 0.500 more",
            "Add sell 61837.70 x 4.000 ends",
            "Delete sell 0.00 x 0.000 more",
            "Replace buy 61837.60 x 0.750 ends",
            prints[1],
            prints[2],
        ],
        &[],
    );
    let counted = "Info - 0.00 x 0.000";
    check_tardis(
        "tardis-all",
        &[trades, quotes, levels],
        &[
            named,
            prints[0],
            "Add buy 61837.50 x 1.000",
            counted,
            counted,
            prints[1],
            prints[2],
        ],
        &[],
    );
    let files = Files::new("tardis-ids", &[trades.join("\n").as_bytes()]);
    let (events, _) = files.read(Tardis::new());
    let ids: Vec<u64> = events[1..].iter().map(|event| event.order_b).collect();
    assert_eq!(ids, [77, 0, 0]);
    assert_eq!(events[1].ts_event, Ts(1_700_000_000_000_000_000));
    assert_eq!(events[1].ts_recv, Ts(1_700_000_000_000_100_000));
    assert_eq!(files.open().files()[0].start, Some(events[1].ts_recv));
}

#[test]
fn spoilt_tardis_rows_are_told_with_their_place() {
    let good = "x,BTCUSDT,1700000000000000,1700000000000100,true,bid,10,1";
    for (line, want) in [
        (
            "x,BTCUSDT,1,2,true,bid,10",
            "line 3, byte 26: 7 columns, want 8 as in the first line",
        ),
        (
            "x,BTCUSDT,1,2,true,bid,10,1,",
            "line 3, byte 29: 9 columns, want 8 as in the first line",
        ),
        (
            "x,,1,2,true,bid,10,1",
            "line 3, byte 3: \"\", want a symbol's name",
        ),
        (
            "x,BTCUSDT,a,2,true,bid,10,1",
            "line 3, byte 11: timestamp is \"a\", want microseconds since 1970",
        ),
        (
            "x,BTCUSDT,1,9999999999999999999,true,bid,10,1",
            "line 3, byte 13: local_timestamp is \"9999999999999999999\", want microseconds since 1970",
        ),
        (
            "x,BTCUSDT,1,2,True,bid,10,1",
            "line 3, byte 15: is_snapshot is \"True\", want true or false",
        ),
        (
            "x,BTCUSDT,1,2,true,buy,10,1",
            "line 3, byte 20: side is \"buy\", want bid or ask",
        ),
        (
            "x,BTCUSDT,1,2,true,bid,-10,1",
            "line 3, byte 24: price is \"-10\", want a decimal of at most 18 places",
        ),
        (
            "y,BTCUSDT,1,2,true,bid,10,1",
            "BTCUSDT of y, and the input has that of x",
        ),
        (
            "x,BTCUSDT,1,2,true,bid,1e-10,1",
            "price 1e-10, want at most 9 decimals",
        ),
    ] {
        let all = [LEVELS, good, line, good].join("\n");
        let (events, wrong) = Files::new("tardis-spoilt", &[all.as_bytes()]).read(Tardis::new());
        assert_eq!(wrong.len(), 1, "{line}: {wrong:?}");
        assert!(wrong[0].contains(want), "{line}: {wrong:?}");
        assert!(events.iter().any(|event| event.kind == Kind::Add), "{line}");
    }
}

#[test]
fn cut_and_changed_tardis_files_end_in_order() {
    let whole = [
        LEVELS,
        "x,BTCUSDT,1700000000000001,1700000000000101,true,bid,10,2",
        "x,BTCUSDT,1700000000000001,1700000000000101,true,ask,11,0.5",
        "x,BTCUSDT,1700000000000002,1700000000000103,false,ask,11,0",
        "x,ETHUSDT,1700000000000002,1700000000000103,false,bid,10.5,1",
        "x,BTCUSDT,1700000000000003,1700000000000104,true,bid,10.5,7",
    ];
    let whole = whole.join("\n").into_bytes();
    let mut random = Random(17);
    for round in 0..4 * whole.len() {
        let mut bytes = whole.clone();
        if round < whole.len() {
            bytes.truncate(round);
        } else {
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = b"0123456789,.e-\n\0\xffb"[random.below(18) as usize];
            }
        }
        let files = Files::new("tardis-cut", &[&bytes]);
        if let Ok(capture) = Capture::open(&files.1, CaptureOptions::default())
            && capture.files()[0].format.name().starts_with("tardis")
        {
            check_orders(&files.read(Tardis::new()).0, round);
        }
    }
}

const SNAPSHOT: &str = r#"1618677817.077736: {"type":"snapshot","product_id":"BTC-USD","asks":[["11.00","1.50"],["12","42.94967296000001"]],"bids":[["10","2"]]}"#;

fn l2update(changes: &str) -> String {
    format!(
        r#"1618677817.118783: {{"type":"l2update","product_id":"BTC-USD","changes":[{changes}],"time":"2021-04-17T16:43:37.075687Z"}}"#
    )
}

#[track_caller]
fn check_coinbase(name: &str, lines: &[&str], want: &[&str], faults: &[&str]) {
    let files = Files::new(name, &[lines.join("\n").as_bytes()]);
    assert_eq!(files.open().wire().unwrap(), Wire::Coinbase);
    let (events, wrong) = files.read(Coinbase::new());
    assert_eq!(text(&events), want, "{wrong:?}");
    assert_eq!(wrong, faults);
}

/// Before the first snapshot a book is stale; each snapshot begins it anew, also right behind another.
#[test]
fn coinbase_levels_are_a_book() {
    check_coinbase(
        "coinbase",
        &[
            "wss://ws-feed.example <- 1618677817.0: {}",
            r#"1618677817.061845: {"type":"subscriptions","channels":[{"name":"level2","product_ids":["BTC-USD"]}]}"#,
            &l2update(r#"["buy","9","1"]"#),
            SNAPSHOT,
            &l2update(r#"["sell","11.00","0.00000000"],["buy","10.5","0.25"]"#),
            r#"1618677818: {"type":"snapshot","product_id":"BTC-USD","asks":[],"bids":[["10","1"]],"time":"2021-04-17T16:43:38Z"}"#,
            r#"1618677818.1: {"type":"snapshot","product_id":"BTC-USD","asks":[["12","1"]],"bids":[]}"#,
        ],
        &[
            "Info - 0.00 x 0",
            "1 is BTC-USD in 1e-14",
            "Info - 0.00 x 0.00000000000000 more stale",
            "Add buy 9.00 x 1.00000000000000 ends wide",
            "Info - 0.00 x 0.00000000000000 more whole",
            "Delete buy 0.00 x 0.00000000000000 more wide",
            "Add buy 10.00 x 2.00000000000000 more wide",
            "Add sell 11.00 x 1.50000000000000 more wide",
            "Add sell 12.00 x 42.94967296000001 ends wide",
            "Delete sell 0.00 x 0.00000000000000 more wide",
            "Add buy 10.50 x 0.25000000000000 ends wide",
            "Delete buy 0.00 x 0.00000000000000 more wide",
            "Delete sell 0.00 x 0.00000000000000 more wide",
            "Replace buy 10.00 x 1.00000000000000 ends wide",
            "Delete buy 0.00 x 0.00000000000000 more wide",
            "Add sell 12.00 x 1.00000000000000 ends wide",
        ],
        &[],
    );
}

/// A match is a trade whose side is the maker's; the one before the subscription and tickers are told.
#[test]
fn coinbase_matches_are_trades() {
    let fields = r#""trade_id":280232,"maker_order_id":"a","taker_order_id":"b","side":"sell","size":"985","price":"0.00001305","product_id":"SKL-BTC","sequence":177100030,"time":"2021-04-17T16:43:37.089723Z""#;
    let lines = [
        format!(r#"1618677817.129: {{"type":"last_match",{fields}}}"#),
        format!(r#"1618677817.130: {{"type":"match",{fields}}}"#),
        format!(r#"1618677817.131: {{"type":"ticker","best_bid":"1","last_size":"3",{fields}}}"#),
        r#"1618677817.2: {"type":"error","message":"x"}"#.to_owned(),
        "1618677817.3: []".to_owned(),
    ];
    let files = Files::new("matches", &[lines.join("\n").as_bytes()]);
    let (events, wrong) = files.read(Coinbase::new());
    assert_eq!(wrong, Vec::<String>::new());
    let want = [
        "1 is SKL-BTC in 1e-0",
        "Info - 0.00 x 0",
        "Trade sell 0.00001305 x 985",
        "Info - 0.00 x 0",
        "Info - 0.00 x 0",
        "Info - 0.00 x 0",
    ];
    assert_eq!(text(&events), want);
    assert_eq!(events[2].order_b, 280_232);
    assert_eq!(events[2].ts_event, Ts(1_618_677_817_089_723_000));
    assert_eq!(events[2].ts_recv, Ts(1_618_677_817_130_000_000));
    // What is past has no time of its own.
    assert_eq!(events[1].ts_event, Ts(1_618_677_817_129_000_000));
    let codes: Vec<u8> = events[1..].iter().map(|event| event.code).collect();
    assert_eq!(codes, b"PTKOO");
}

#[test]
fn spoilt_coinbase_lines_are_told_with_their_place() {
    for (line, want) in [
        (
            r#"1 {"type":"l2update","product_id":"BTC-USD","changes":[["buy","9"]]}"#,
            "expected",
        ),
        (
            r#"1 {"type":"l2update","product_id":"BTC-USD","changes":[["bid","9","1"]]}"#,
            "line 2, byte 58: \"bid\", want buy or sell",
        ),
        (
            r#"1 {"type":"l2update","product_id":"BTC-USD","changes":[["buy","-9","1"]]}"#,
            "line 2, byte 64: \"-9\", want a decimal of at most 18 places",
        ),
        (
            r#"1 {"type":"l2update","product_id":"BTC-USD","time":"yesterday","changes":[]}"#,
            "line 2, byte 53: \"yesterday\", want a time in UTC",
        ),
        (
            r#"1 {"type":"l2update","product_id":"BTC-USD"}"#,
            "line 2, byte 3: a message without changes",
        ),
        (
            r#"1 {"type":"snapshot","product_id":"","bids":[],"asks":[]}"#,
            "line 2, byte 36: \"\", want a product's name",
        ),
        (
            r#"1 {"type":"snapshot","product_id":"BTC-USD","bids":[]}"#,
            "line 2, byte 3: a message without asks",
        ),
        (
            r#"1 {"type":"match","product_id":"BTC-USD","side":"buy","price":"1","size":"1"}"#,
            "line 2, byte 3: a message without trade_id",
        ),
        (r#"1 {"type":"match""#, "EOF while parsing"),
    ] {
        let all = [SNAPSHOT, line, SNAPSHOT].join("\n");
        let (events, wrong) =
            Files::new("coinbase-spoilt", &[all.as_bytes()]).read(Coinbase::new());
        assert_eq!(wrong.len(), 1, "{line}: {wrong:?}");
        assert!(wrong[0].contains(want), "{line}: {wrong:?}");
        let adds = events.iter().filter(|event| event.kind == Kind::Add);
        assert_eq!(adds.count(), 3, "{line}");
    }
}

const ORDERS: &str = "id,timestamp,exchange_timestamp,price,volume,action,direction";
const FILLS: &str =
    "trade_id,timestamp,exchange_timestamp,price,amount,buy_order_id,sell_order_id,side";

fn bitstamp(name: &str, contents: &[&[&str]]) -> Files {
    let bytes: Vec<String> = contents.iter().map(|lines| lines.join("\n")).collect();
    let bytes: Vec<&[u8]> = bytes.iter().map(String::as_bytes).collect();
    let names = ["bitstamp_btcusd_orders.csv", "btcusd-trades.csv"].map(str::to_owned);
    Files::named(name, &names, &bytes)
}

/// What an order is told to become is what its book does with it; rows of one of the venue's times are
/// one change.
#[test]
fn bitstamp_rows_are_orders() {
    let orders: &[&str] = &[
        ORDERS,
        "7,1777689383201,1777689380521,100.0,1.5,created,bid",
        "8,1777689383201,1777689380521,101.0,138800.00000001,created,ask",
        "9,1777689383205,1777689380522,101.0,2.0,created,bid",
        "8,1777689383204,1777689380522,101.0,138798.00000001,changed,ask",
        "9,1777689383204,1777689380522,101.0,0.0,deleted,bid",
        "7,1777689383300,1777689380600,100.0,0.5,changed,bid",
        "7,1777689383301,1777689380601,100.5,0.5,changed,bid",
        "7,1777689383302,1777689380602,100.5,1e-08,changed,bid",
        "7,1777689383302,1777689380603,100.5,1e-08,changed,bid",
        "5,1777689383303,1777689380604,100.5,1.0,deleted,ask",
        "6,1777689383303,1777689380605,999999999.0,0.0,created,bid",
        "6,1777689383303,1777689380605,100.0,0.0,deleted,bid",
        "8,1777689383304,1777689380606,101.0,1.0,deleted,ask",
        "4,1777689383305,1777689380607,0.0,1.0,created,bid",
        "4,1777689383305,1777689380608,0.0,1.0,deleted,bid",
    ];
    let trades: &[&str] = &[
        FILLS,
        "568694537,1777689383210,1777689380522,101.0,2.0,9,8,buy",
    ];
    let files = bitstamp("bitstamp", &[orders, trades]);
    assert_eq!(files.open().wire().unwrap(), Wire::Bitstamp);
    let (events, wrong) = files.read(Bitstamp::new());
    assert_eq!(wrong, Vec::<String>::new());
    let want = [
        "1 is BTCUSD in 1e-8",
        "Add buy 100.00 x 1.50000000 more",
        "Add sell 101.00 x 138800.00000001 ends wide",
        "Add buy 101.00 x 2.00000000 more",
        "Cancel sell 0.00 x 2.00000000 more wide",
        "Delete buy 0.00 x 0.00000000 ends",
        "Trade sell 101.00 x 2.00000000",
        "Cancel buy 0.00 x 1.00000000",
        "Replace buy 100.50 x 0.50000000",
        "Cancel buy 0.00 x 0.49999999",
        "Info - 0.00 x 0.00000000",
        "Delete sell 0.00 x 0.00000000",
        "Info - 0.00 x 0.00000000",
        "Info - 0.00 x 0.00000000",
        "Delete sell 0.00 x 0.00000000 wide",
        "Info - 0.00 x 0.00000000",
        "Info - 0.00 x 0.00000000",
    ];
    assert_eq!(text(&events), want);
    let codes: Vec<u8> = events[1..].iter().map(|event| event.code).collect();
    assert_eq!(codes, b"CCCHDTHHHHDCDDCD");
    assert_eq!(events[1].ts_event, Ts(1_777_689_380_521_000_000));
    assert_eq!(events[1].ts_recv, Ts(1_777_689_383_201_000_000));
    assert_eq!(events[6].order_b, 568_694_537);
}

#[test]
fn spoilt_bitstamp_rows_are_told_with_their_place() {
    for (line, want) in [
        (
            "8,1,2,100.0,1.5,created",
            "line 3, byte 24: 6 columns, want 7 as in the first line",
        ),
        (
            "-8,1,2,100.0,1.5,created,bid",
            "line 3, byte 1: \"-8\", want a number",
        ),
        (
            "8,1.5,2,100.0,1.5,created,bid",
            "line 3, byte 3: \"1.5\", want milliseconds since 1970",
        ),
        (
            "8,1,-2,100.0,1.5,created,bid",
            "line 3, byte 5: \"-2\", want milliseconds since 1970",
        ),
        (
            "8,1,2,,1.5,created,bid",
            "line 3, byte 7: \"\", want a decimal of at most 18 places",
        ),
        (
            "8,1,2,1,1.5,made,bid",
            "line 3, byte 13: \"made\", want created, changed or deleted",
        ),
        (
            "8,1,2,1,1.5,created,buy",
            "line 3, byte 21: \"buy\", want bid or ask",
        ),
        (
            "8,1,2,1e-10,1.5,created,bid",
            "price 1e-10, want at most 9 decimals",
        ),
        (
            "8,1,2,1,9223372036854775807,created,bid",
            "quantity 9223372036854775807e-0, want at most 1 decimals",
        ),
    ] {
        let good = "7,1777689383201,1777689380521,100.0,1.5,created,bid";
        let last = "7,1777689383201,1777689380522,100.0,1.5,deleted,bid";
        let files = bitstamp("bitstamp-spoilt", &[&[ORDERS, good, line, last]]);
        let (events, wrong) = files.read(Bitstamp::new());
        assert_eq!(wrong.len(), 1, "{line}: {wrong:?}");
        assert!(wrong[0].contains(want), "{line}: {wrong:?}");
        let kinds: Vec<Kind> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [Kind::Symbol, Kind::Add, Kind::Delete], "{line}");
    }
    // More than books hold together is left out, and said.
    let large = "8,1777689383201,1777689380521,100.0,5000000000000000000,created,bid";
    let gone = "8,1777689383201,1777689380522,100.0,5000000000000000000,deleted,bid";
    let files = bitstamp("bitstamp-large", &[&[ORDERS, large, gone]]);
    let (events, wrong) = files.read(Bitstamp::new());
    let want = [
        "1 is BTCUSD in 1e-0",
        "Info - 0.00 x 0 stale",
        "Info - 0.00 x 0",
    ];
    assert_eq!(text(&events), want);
    assert_eq!(
        wrong,
        [
            "quantity 5000000000000000000, want at most 4611686018427387904: the book lacks it, and is stale"
        ]
    );
}
