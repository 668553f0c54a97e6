//! Files that are one input, and files that are not though each is good by itself.

use std::path::PathBuf;

use feed::protocol::Wire;
use feed::source::{Capture, CaptureOptions};

/// What is said of these files as one input.
fn said(name: &str, wire: Wire, contents: &[Vec<u8>]) -> Result<(), String> {
    let folder = format!("tapeline-together-{name}-{}", std::process::id());
    let folder = std::env::temp_dir().join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let file = |(index, bytes): (usize, &Vec<u8>)| {
        let path = folder.join(format!("{index}.bin"));
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let files: Vec<PathBuf> = contents.iter().enumerate().map(file).collect();
    let options = CaptureOptions::default();
    let capture = Capture::open(&files, options.clone()).unwrap();
    let checked = capture.check_together(wire, &files, &options);
    std::fs::remove_dir_all(&folder).unwrap();
    checked.map_err(|error| error.to_string())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut to, bytes).unwrap();
    to.finish().unwrap()
}

#[track_caller]
fn refused(name: &str, wire: Wire, contents: &[Vec<u8>], says: &[&str]) {
    let error = said(name, wire, contents).unwrap_err();
    for part in says {
        assert!(error.contains(part), "{error:?}, want {part:?}");
    }
}

/// A message of ITCH behind its length.
fn block(code: u8, symbol: u16, ns: u64, rest: &[u8]) -> Vec<u8> {
    let len = 11 + rest.len() as u16;
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.push(code);
    bytes.extend(symbol.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(&ns.to_be_bytes()[2..]);
    bytes.extend(rest);
    bytes
}

fn directory(symbol: u16, ns: u64, name: &[u8; 8]) -> Vec<u8> {
    let rest = [&name[..], b"Q N\0\0\0\x64NCZ PNN1N\0\0\0\0N"].concat();
    let mut rest = rest;
    rest.resize(28, b' ');
    block(b'R', symbol, ns, &rest)
}

fn deleted(symbol: u16, ns: u64) -> Vec<u8> {
    block(b'D', symbol, ns, &7u64.to_be_bytes())
}

const PCAP: [u8; 24] = {
    let mut bytes = [0; 24];
    (bytes[0], bytes[1], bytes[2], bytes[3]) = (0x4d, 0x3c, 0xb2, 0xa1);
    (bytes[4], bytes[6]) = (2, 4);
    (bytes[18], bytes[20]) = (1, 101);
    bytes
};

/// A packet of one message, captured at `ns`, in front of which stands the header of its session.
fn packet(session: u8, sequence: u64, ns: u64, block: &[u8]) -> Vec<u8> {
    let payload = [
        &[b'0' + session; 10][..],
        &sequence.to_be_bytes(),
        &1u16.to_be_bytes(),
        block,
    ]
    .concat();
    let udp_bytes = 8 + payload.len() as u16;
    let mut ip = vec![0x45, 0];
    ip.extend((20 + udp_bytes).to_be_bytes());
    ip.extend([0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 0, 1, 239, 0, 0, 1]);
    for port in [9u16, 30_001] {
        ip.extend(port.to_be_bytes());
    }
    ip.extend(udp_bytes.to_be_bytes());
    ip.extend([0, 0]);
    ip.extend(payload);
    let mut record = ((ns / 1_000_000_000) as u32).to_le_bytes().to_vec();
    record.extend(((ns % 1_000_000_000) as u32).to_le_bytes());
    record.extend((ip.len() as u32).to_le_bytes());
    record.extend((ip.len() as u32).to_le_bytes());
    record.extend(ip);
    record
}

/// A session in which a symbol is named and then spoken of from one time to another.
fn session(session: u8, symbol: u16, name: &[u8; 8], times: std::ops::Range<u64>) -> Vec<u8> {
    let mut bytes = PCAP.to_vec();
    for (index, ns) in times.enumerate() {
        let block = match index {
            0 => directory(symbol, ns, name),
            _ => deleted(symbol, ns),
        };
        bytes.extend(packet(session, index as u64 + 1, ns, &block));
    }
    bytes
}

#[test]
fn sessions_that_count_alike_are_two_inputs() {
    let one = session(1, 11, b"NSDL    ", 100..200);
    let names = [
        "1.bin",
        "0.bin",
        "session 2222222222",
        "session 1111111111",
        "number 11",
    ];
    let other = session(2, 11, b"KUWG    ", 150..250);
    refused("names", Wire::Itch, &[one.clone(), other], &names);
    let other = session(2, 11, b"KUWG    ", 300..310);
    refused(
        "names-later",
        Wire::Itch,
        &[one.clone(), other],
        &["KUWG and NSDL"],
    );
    let other = session(2, 11, b"NSDL    ", 150..250);
    refused(
        "by-turns",
        Wire::Itch,
        &[one.clone(), other],
        &["by turns", "number 11"],
    );
    // In one file, too.
    let mut both = PCAP.to_vec();
    for ns in 100..110 {
        for one in [1, 2] {
            both.extend(packet(one, ns - 99, ns, &deleted(11, ns)));
        }
    }
    refused("one-file", Wire::Itch, &[both], &["0.bin", "by turns"]);
}

#[test]
fn sessions_that_follow_each_other_or_share_nothing_are_one_input() {
    let one = session(1, 11, b"NSDL    ", 100..200);
    for (name, other) in [
        ("lines", one.clone()),
        ("restart", session(2, 11, b"NSDL    ", 200..300)),
        ("apart", session(2, 12, b"KUWG    ", 150..250)),
    ] {
        assert_eq!(
            said(name, Wire::Itch, &[one.clone(), other]),
            Ok(()),
            "{name}"
        );
    }
    // A stray packet of another session is none.
    let mut stray = one.clone();
    stray.extend(packet(2, 1, 200, &deleted(11, 200)));
    for ns in 201..210 {
        stray.extend(packet(1, ns - 99, ns, &deleted(11, ns)));
    }
    assert_eq!(said("stray", Wire::Itch, &[stray]), Ok(()));
}

#[test]
fn one_name_of_a_session_stands_for_one_session() {
    let one = session(1, 11, b"NSDL    ", 100..200);
    // A symbol that is not in the other, and times that are: only the messages tell.
    let other = session(1, 12, b"KUWG    ", 300..400);
    let says = ["1.bin", "0.bin", "message 1 of session 1111111111"];
    refused("one-name", Wire::Itch, &[one.clone(), other.clone()], &says);
    refused("one-name-again", Wire::Itch, &[other, one.clone()], &says);
    // Its later part has other numbers.
    let mut later = PCAP.to_vec();
    for ns in 200..300 {
        later.extend(packet(1, ns - 99, ns, &deleted(11, ns)));
    }
    assert_eq!(said("later", Wire::Itch, &[one, later]), Ok(()));
}

#[test]
fn a_file_without_numbers_says_nothing_that_another_says() {
    // Captured in another year than 1970, in which the times of a file without a date are.
    let mut numbered = PCAP.to_vec();
    for (number, ns) in (1..).zip(100..200) {
        let block = match number {
            1 => directory(11, ns, b"NSDL    "),
            _ => deleted(11, ns),
        };
        numbered.extend(packet(1, number, 1_700_000_000_000_000_000 + ns, &block));
    }
    let plain = files(&[100..200, 200..300], 11, b"NSDL    ");
    let says = ["first 64 messages", "0.bin", "1.bin"];
    for both in [[0, 1], [1, 0]] {
        let both = both.map(|index| [&numbered, &plain[0]][index].clone());
        refused("again", Wire::Itch, &both, &says);
    }
    let after = [numbered, plain[1].clone()];
    assert_eq!(said("after", Wire::Itch, &after), Ok(()));
}

fn files(times: &[std::ops::Range<u64>], symbol: u16, name: &[u8; 8]) -> Vec<Vec<u8>> {
    let file = |times: &std::ops::Range<u64>| {
        let mut bytes = directory(symbol, times.start, name);
        bytes.extend(times.clone().skip(1).flat_map(|ns| deleted(symbol, ns)));
        bytes
    };
    times.iter().map(file).collect()
}

#[test]
fn files_without_sessions_are_one_input_where_they_follow_each_other() {
    let one = files(&[100..200, 200..300], 11, b"NSDL    ");
    assert_eq!(said("parts", Wire::Itch, &one), Ok(()));
    let two = files(&[100..200, 150..300], 11, b"NSDL    ");
    refused(
        "two-files",
        Wire::Itch,
        &two,
        &["0.bin", "1.bin", "number 11"],
    );
}

#[test]
fn a_symbol_is_of_one_market() {
    let spot = r#"{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[["1","2"]],"a":[]}"#;
    let futures =
        r#"{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"pu":0,"b":[["1","2"]],"a":[]}"#;
    let spot_trade = r#"{"e":"trade","E":1,"s":"BTCUSDT","t":5,"p":"1","q":"2","m":true,"M":true}"#;
    let futures_trade =
        r#"{"e":"trade","E":1,"s":"BTCUSDT","t":5,"p":"1","q":"2","X":"MARKET","m":true}"#;
    let says = ["BTCUSDT", "the spot market", "futures", "0.bin", "1.bin"];
    let bytes = |lines: &[&str]| lines.join("\n").into_bytes();
    for (name, one, two) in [
        ("books", spot, futures),
        ("trades", spot_trade, futures_trade),
        ("book-and-trades", futures, spot_trade),
    ] {
        refused(name, Wire::Binance, &[bytes(&[one]), bytes(&[two])], &says);
    }
    refused(
        "one-file-of-two",
        Wire::Binance,
        &[bytes(&[spot, futures])],
        &["0.bin", "at once"],
    );
    let eth = futures.replace("BTC", "ETH");
    for (name, one, two) in [
        ("spot", spot, spot_trade),
        ("futures", futures, futures_trade),
        ("others", spot, eth.as_str()),
    ] {
        let files = [bytes(&[one]), bytes(&[two])];
        assert_eq!(said(name, Wire::Binance, &files), Ok(()), "{name}");
    }
    let tardis_of = |exchange: &str, price: u32| {
        let columns = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount";
        bytes(&[
            columns,
            &format!("{exchange},BTCUSDT,1,2,true,bid,{price},1"),
        ])
    };
    let tardis = |exchange: &str| tardis_of(exchange, 10);
    assert_eq!(
        said("tardis", Wire::Tardis, &[tardis("x"), tardis_of("x", 11)]),
        Ok(())
    );
    refused(
        "tardis-two",
        Wire::Tardis,
        &[tardis("x"), tardis("y")],
        &["BTCUSDT is of y here, want one of x", "0.bin", "1.bin"],
    );
}

/// A DBN file of no records.
fn dbn(dataset: &str, schema: u16, times: std::ops::Range<u64>, instrument: u32) -> Vec<u8> {
    let mut metadata = dataset.as_bytes().to_vec();
    metadata.resize(16, 0);
    metadata.extend(schema.to_le_bytes());
    metadata.extend(times.start.to_le_bytes());
    metadata.extend(times.end.to_le_bytes());
    metadata.extend([0; 8 + 3]);
    metadata.extend(71u16.to_le_bytes());
    metadata.extend([0; 53 + 4 + 12]);
    metadata.extend(1u32.to_le_bytes());
    let text = |text: &str, bytes: &mut Vec<u8>| {
        let end = bytes.len() + 71;
        bytes.extend(text.as_bytes());
        bytes.resize(end, 0);
    };
    text("ESU4", &mut metadata);
    metadata.extend(1u32.to_le_bytes());
    metadata.extend(20_240_701u32.to_le_bytes());
    metadata.extend(20_240_801u32.to_le_bytes());
    text(&instrument.to_string(), &mut metadata);
    let mut bytes = b"DBN\x02".to_vec();
    bytes.extend((metadata.len() as u32).to_le_bytes());
    bytes.extend(metadata);
    bytes
}

const MBP_1: u16 = 1;
const TRADES: u16 = 4;
const OHLCV: u16 = 6;

#[test]
fn records_tell_a_trade_once() {
    let quotes = dbn("GLBX.MDP3", MBP_1, 100..200, 5);
    let open = u64::MAX;
    for (name, other, says) in [
        (
            "schemas",
            dbn("GLBX.MDP3", TRADES, 100..200, 5),
            "schema trades tells the trades that mbp-1 tells",
        ),
        (
            "no-end",
            dbn("GLBX.MDP3", TRADES, 100..open, 5),
            "schema trades",
        ),
        (
            "twice",
            dbn("GLBX.MDP3", MBP_1, 150..250, 5),
            "schema mbp-1 of a time",
        ),
        (
            "datasets",
            dbn("XNAS.ITCH", OHLCV, 100..200, 5),
            "dataset is XNAS.ITCH, want GLBX.MDP3",
        ),
    ] {
        refused(
            name,
            Wire::Dbn,
            &[quotes.clone(), other],
            &[says, "0.bin", "1.bin"],
        );
    }
    for (name, other) in [
        ("later", dbn("GLBX.MDP3", TRADES, 200..300, 5)),
        ("another", dbn("GLBX.MDP3", TRADES, 100..200, 6)),
        ("bars", dbn("GLBX.MDP3", OHLCV, 100..200, 5)),
        ("recorded", dbn("GLBX.MDP3", MBP_1, 150..open, 5)),
    ] {
        assert_eq!(
            said(name, Wire::Dbn, &[quotes.clone(), other]),
            Ok(()),
            "{name}"
        );
    }
}

#[test]
fn the_same_content_is_one_file_whatever_it_is_compressed_with() {
    let file = [directory(1, 5, b"AAA     "), deleted(1, 6)].concat();
    let longer = [file.clone(), deleted(1, 7)].concat();
    for twin in [file.clone(), gzip(&file)] {
        let says = ["1.bin", "the same content as", "0.bin", "name it once"];
        refused("twins", Wire::Itch, &[file.clone(), twin], &says);
    }
    // What goes on behind the same beginning is another content; a line of packets may come twice.
    assert!(!same_content(&file, &longer));
    assert!(same_content(&gzip(&longer), &longer));
    // A file that is cut short is as no other, and as little as itself.
    let cut = gzip(&longer);
    let cut = &cut[..cut.len() - 9];
    assert!(!same_content(cut, &longer) && !same_content(cut, cut));
    let line = [&PCAP[..], &packet(1, 1, 5, &deleted(1, 5))].concat();
    assert_eq!(
        said("lines", Wire::Itch, &[line.clone(), gzip(&line)]),
        Ok(())
    );
}

fn same_content(one: &[u8], other: &[u8]) -> bool {
    let paths = [("one", one), ("other", other)].map(|(name, bytes)| {
        let name = format!("tapeline-content-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    });
    let is_same = feed::source::is_same_content(&paths[0], &paths[1]);
    for path in &paths {
        std::fs::remove_file(path).unwrap();
    }
    is_same
}

#[test]
fn a_kind_of_file_that_no_protocol_comes_in_is_refused_for_it() {
    let folder = std::env::temp_dir().join(format!("tapeline-kinds-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let itch = [directory(1, 5, b"AAA     "), deleted(1, 6)].concat();
    let pcap = [&PCAP[..], &packet(1, 1, 5, &deleted(1, 5))].concat();
    let lobster = b"34200.1,1,7,100,1000000,1\n34200.2,1,8,100,1000000,1\n".to_vec();
    let files = [("pcap", pcap), ("itch", itch), ("lobster", lobster)];
    for (name, bytes) in &files {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut capture = Capture::open(&[path], CaptureOptions::default()).unwrap();
        let own = capture.wire().unwrap();
        for wire in Wire::ALL {
            let checked = capture.check_protocol(wire).map_err(|e| e.to_string());
            // Of packets only what is in them tells of which of the feeds they are.
            let is_ours = wire == own || (*name == "pcap" && wire.framing(0).is_some());
            match checked {
                Ok(()) => assert!(is_ours, "{name} for {}", wire.name()),
                Err(said) => {
                    assert!(!is_ours, "{said}");
                    let says = format!("for the protocol {}", wire.name());
                    assert!(said.contains(": begins as "), "{said}");
                    assert!(said.contains(", want ") && said.ends_with(&says), "{said}");
                }
            }
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn of_one_market_in_several_schemas_the_richest_tells_the_trades() {
    let folder = std::env::temp_dir().join(format!("tapeline-again-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let files = [
        dbn("GLBX.MDP3", TRADES, 100..200, 5),
        dbn("GLBX.MDP3", MBP_1, 100..200, 5),
        // Of these trades, some are told nowhere else.
        dbn("GLBX.MDP3", TRADES, 150..250, 5),
        dbn("GLBX.MDP3", TRADES, 100..200, 6),
        dbn("XNAS.ITCH", TRADES, 100..200, 5),
        dbn("GLBX.MDP3", TRADES, 100..u64::MAX, 5),
        dbn("GLBX.MDP3", OHLCV, 100..200, 5),
        gzip(&dbn("GLBX.MDP3", TRADES, 120..130, 5)),
        deleted(1, 6),
    ];
    let write = |(index, bytes): (usize, &Vec<u8>)| {
        let path = folder.join(index.to_string());
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let paths: Vec<PathBuf> = files.iter().enumerate().map(write).collect();
    let again = feed::source::told_again(&paths);
    std::fs::remove_dir_all(&folder).unwrap();
    let what = "schema trades tells the trades that mbp-1 tells".to_string();
    assert_eq!(again, [(0, 1, what.clone()), (7, 1, what)]);
}
