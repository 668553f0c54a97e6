use std::collections::BTreeMap;
use std::fs;

use bus::Qty;
use bus::signal::{
    Adjust, AdjustReason, Broken, Digest, Late, Momentum, Order, Outcome, Regime, Reject,
    RejectCode, Sent, Spread, Volatility, Window,
};

use super::*;

/// A folder of its own for each test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("tables-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, table: &str) -> PathBuf {
        self.0.join(format!("{table}.parquet"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names() -> Names {
    Names {
        symbols: vec![None, Some("AAPL".into()), Some("MSFT".into())],
        decimals: Vec::new(),
        windows: ["1s", "5s"]
            .map(|name| WindowName {
                name: name.into(),
                kind: "tumbling",
                policy: "as-printed",
            })
            .into(),
        spreads: vec!["wide".into()],
        regimes: vec!["volatility".into()],
        strategies: vec!["momentum".into()],
        features: Vec::new(),
        joins: Vec::new(),
        instruments: Vec::new(),
        date: (2026, 1, 5).into(),
        midnight: Ts(1_767_589_200_000_000_000),
    }
}

fn window(start: i64, volume: i64, notional: i128) -> Window {
    let price = |cents: i64| Price(cents * 10_000_000);
    Window {
        start: Ts(start),
        open: price(1_001),
        high: price(1_003),
        low: price(999),
        close: price(1_002),
        volume: Qty(volume),
        notional: Notional(notional),
        trade_count: 3,
        late_count: 1,
        revision: 0,
        is_final: true,
    }
}

fn order(qty: i64) -> Order {
    let bid = Price(100_000);
    Order {
        side: Side::Buy,
        price: Price(1_234_500_001),
        qty: Qty(qty),
        bid,
        ask: Price::NONE,
        tif: Default::default(),
    }
}

fn signal(seq: u64, symbol: u32, ordinal: u16, body: Body) -> Signal {
    Signal::new(
        Ts(seq as i64 * Ts::SECOND_NS),
        seq,
        symbol,
        0,
        ordinal,
        body,
    )
}

fn sent(seq: u64, symbol: u32, order_ordinal: u16, outcome: Outcome) -> Signal {
    let body = Sent {
        order_ordinal,
        outcome,
        msg_seq: 40 + seq,
        ts_sent: Ts(9),
        over: None,
    };
    signal(seq, symbol, 9, Body::Sent(body))
}

fn write(folder: &Folder, signals: &[Signal]) -> TableCounts {
    let mut tables = Tables::create(&folder.0, &names()).unwrap();
    for signal in signals {
        tables.push(signal).unwrap();
    }
    tables.finish().unwrap()
}

fn windows(folder: &Folder) -> Vec<WindowRow> {
    read_windows(&folder.file("windows"))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn orders(folder: &Folder) -> Vec<(String, Status)> {
    let rows = read_orders(&folder.file("orders"))
        .unwrap()
        .map(Result::unwrap);
    rows.map(|row| (row.id.to_string(), row.status)).collect()
}

#[test]
fn windows_read_back_exactly() {
    let folder = Folder::new("windows");
    // One above what 64 bits hold in units of 1e-9, one below zero, one of nothing.
    let notionals = [(70_000_000, 70_000_000 * 150_000_100_003), (2, -1), (0, 0)];
    let signals: Vec<Signal> = notionals
        .iter()
        .zip(1u64..)
        .map(|(&(volume, notional), seq)| {
            let body = Body::Window(window(seq as i64, volume, notional));
            Signal::new(Ts(5), seq, seq as u32, seq as u8 - 1, 0, body)
        })
        .collect();
    assert_eq!(write(&folder, &signals).windows, 3);
    let rows = windows(&folder);
    let head = |row: &WindowRow| (row.symbol.clone(), row.name.clone(), row.start, row.seq);
    let heads: Vec<_> = rows.iter().map(head).collect();
    assert_eq!(
        heads,
        [
            ("AAPL".into(), "1s".into(), Ts(1), 1),
            ("MSFT".into(), "5s".into(), Ts(2), 2),
            // Neither the symbol nor the rule has a name.
            ("#3".into(), "2".into(), Ts(3), 3),
        ]
    );
    for (row, (volume, notional)) in rows.iter().zip(notionals) {
        let want = window(0, volume, notional);
        assert_eq!((row.volume, row.notional), (want.volume, want.notional));
        assert_eq!((row.trade_count, row.late_count, row.end), (3, 1, Ts(5)));
        assert_eq!(row.open, Some(want.open.to_f64()));
        assert_eq!(row.high, Some(want.high.to_f64()));
        assert_eq!(row.low, Some(want.low.to_f64()));
        assert_eq!(row.close, Some(want.close.to_f64()));
        assert_eq!(row.vwap, want.notional.per(want.volume).map(Price::to_f64));
    }
    assert_eq!(rows[0].vwap, Some(150.000100003));
    assert_eq!(rows[2].vwap, None);
}

#[test]
fn every_signal_has_its_table() {
    let folder = Folder::new("all");
    let reject = Reject {
        order: order(7),
        code: RejectCode::Collar,
        limit: 5,
        value: 6,
    };
    let bodies = [
        Body::Window(window(0, 1, 1)),
        Body::Late(Late {
            price: Price(1),
            qty: Qty(2),
            late_ns: 3,
            reason: LateReason::Closed,
        }),
        Body::Spread(Spread {
            raised: true,
            bps: 2.5,
            bid: Price(1),
            ask: Price::NONE,
            since: Ts(3),
        }),
        Body::Regime(Regime {
            from: Volatility::Calm,
            to: Volatility::Stressed,
            bps: 1.25,
        }),
        Body::Momentum(Momentum {
            side: Side::Sell,
            move_bps: -0.5,
            imbalance: 0.75,
            quote: bus::Quote::EMPTY,
        }),
        Body::Order(order(5)),
        Body::Reject(reject),
        Body::Digest(Digest {
            value: u64::MAX,
            events: 3,
            minute: 570,
        }),
        Body::Broken(Broken {
            match_number: u64::MAX,
        }),
        Body::Adjust(Adjust {
            start: Ts(1),
            match_number: 7,
            price: Price::NONE,
            qty: Qty(0),
            reason: AdjustReason::Unknown,
            window_count: 0,
        }),
    ];
    let signals: Vec<Signal> = bodies
        .into_iter()
        .zip(1..)
        .map(|(body, seq)| signal(seq, 1, 0, body))
        .collect();
    let counts = write(&folder, &signals);
    let want = TableCounts {
        windows: 1,
        alerts: 1,
        regimes: 1,
        signals: 1,
        orders: 2,
        lates: 1,
        breaks: 1,
        adjustments: 1,
        digests: 1,
        features: 0,
        joins: 0,
        best: 0,
        outcomes_without_order: 0,
        refused: BTreeMap::new(),
    };
    assert_eq!(counts, want);
    let rows: Vec<OrderRow> = read_orders(&folder.file("orders"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows[0].status, Status::Pending);
    assert_eq!(
        (rows[0].price, rows[0].qty, rows[0].side),
        (Price(1_234_500_001), Qty(5), Side::Buy)
    );
    assert_eq!(
        (rows[1].status, rows[1].reason.as_deref()),
        (Status::Rejected, Some("collar"))
    );
}

#[test]
fn an_order_has_its_outcome() {
    let folder = Folder::new("orders");
    let say = |seq, symbol, ordinal| signal(seq, symbol, ordinal, Body::Order(order(1)));
    let counts = write(
        &folder,
        &[
            say(1, 1, 0),
            say(1, 1, 1),
            say(1, 2, 0),
            sent(1, 1, 1, Outcome::Killed),
            say(2, 1, 0),
            sent(2, 1, 0, Outcome::Failed),
            sent(1, 1, 0, Outcome::Sent),
            // Sent after all, once the run was resumed.
            sent(2, 1, 0, Outcome::Sent),
            sent(3, 1, 0, Outcome::Sent),
        ],
    );
    assert_eq!((counts.orders, counts.outcomes_without_order), (4, 1));
    assert_eq!(
        orders(&folder),
        [
            ("260105-000000000001-0001-00-0000".into(), Status::Sent),
            ("260105-000000000001-0001-00-0001".into(), Status::Killed),
            ("260105-000000000001-0002-00-0000".into(), Status::Pending),
            ("260105-000000000002-0001-00-0000".into(), Status::Sent),
        ]
    );
    let mut tables = Tables::create(&folder.0, &names()).unwrap();
    tables.push(&say(1, 1, 0)).unwrap();
    let error = tables.push(&say(1, 1, 0)).unwrap_err().to_string();
    let want = "orders.parquet: order 260105-000000000001-0001-00-0000 was said twice";
    assert!(error.ends_with(want), "{error}");
}

#[test]
fn more_rows_than_one_group_holds_come_back_in_order() {
    let folder = Folder::new("groups");
    let count = table::GROUP_ROWS as u64 + 7;
    let body = |seq| Body::Window(window(seq as i64, seq as i64 % 5, i128::from(seq) << 40));
    let signals: Vec<Signal> = (1..=count)
        .map(|seq| signal(seq, 1, 0, body(seq)))
        .collect();
    assert_eq!(write(&folder, &signals).windows, count);
    let rows = read_windows(&folder.file("windows"))
        .unwrap()
        .map(Result::unwrap);
    let mut seen = 0;
    for row in rows {
        seen += 1;
        assert_eq!(
            (row.seq, row.notional),
            (seen, Notional(i128::from(seen) << 40))
        );
        assert_eq!(row.vwap.is_none(), seen % 5 == 0);
    }
    assert_eq!(seen, count);
    let first = fs::read(folder.file("windows")).unwrap();
    write(&folder, &signals);
    assert!(
        fs::read(folder.file("windows")).unwrap() == first,
        "the same signals, other bytes"
    );
}

#[test]
fn books_read_back_exactly() {
    let folder = Folder::new("books");
    let level = |price, qty| {
        Some(Level {
            price: Price(price),
            qty: Qty(qty),
            orders: 2,
        })
    };
    let rows = [
        BookRow {
            symbol: 1u32,
            level: 0,
            bid: level(1, 2),
            ask: level(3, 4),
        },
        BookRow {
            symbol: 1,
            level: 1,
            bid: level(i64::MAX - 1, 2),
            ask: None,
        },
        BookRow {
            symbol: 7,
            level: 0,
            bid: None,
            ask: level(100_000, u32::MAX.into()),
        },
    ];
    assert_eq!(write_books(&folder.0, &names(), rows.clone()), Ok(3));
    let back: Vec<BookRow<String>> = read_books(&folder.file("books"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let symbols = ["AAPL", "AAPL", "#7"];
    for ((back, row), symbol) in back.iter().zip(rows).zip(symbols) {
        let want = BookRow {
            symbol: symbol.into(),
            level: row.level,
            bid: row.bid,
            ask: row.ask,
        };
        assert_eq!(back, &want);
    }
    assert_eq!(back.len(), 3);
}

#[test]
fn no_table_is_seen_before_it_is_whole() {
    let folder = Folder::new("partial");
    let tables = Tables::create(&folder.0, &names()).unwrap();
    assert!(!folder.file("windows").exists());
    let error = read_windows(&folder.file("windows"))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.ends_with("windows.parquet: No such file or directory (os error 2)"),
        "{error}"
    );
    tables.finish().unwrap();
    assert_eq!(windows(&folder), []);
    let left = fs::read_dir(&folder.0)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    assert!(
        left.into_iter()
            .all(|path| path.extension().unwrap() == "parquet")
    );
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let folder = Folder::new("gone");
    let error = Tables::create(&folder.0.join("none"), &names())
        .err()
        .unwrap()
        .to_string();
    let want = "none/windows.parquet.partial: No such file or directory (os error 2)";
    assert!(error.ends_with(want), "{error}");
}

#[test]
fn a_cut_table_or_another_file_is_an_error() {
    let folder = Folder::new("cut");
    write(&folder, &[signal(1, 1, 0, Body::Window(window(1, 2, 3)))]);
    let good = windows(&folder);
    let bytes = fs::read(folder.file("windows")).unwrap();
    let path = folder.file("cut");
    for len in 0..bytes.len() {
        fs::write(&path, &bytes[..len]).unwrap();
        assert!(read_windows(&path).is_err(), "cut at {len}");
    }
    fs::write(&path, b"not a table, whatever its name says").unwrap();
    let error = read_windows(&path).err().unwrap().to_string();
    assert!(
        error.contains("cut.parquet: ") && error.contains("Parquet"),
        "{error}"
    );
    let error = read_windows(&folder.file("alerts"))
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.ends_with("there is no column `window_start`"),
        "{error}"
    );
    assert_eq!(windows(&folder), good);
}
