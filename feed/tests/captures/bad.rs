//! Captures with something wrong: each one clear line, and everything before it delivered.

use feed::source::{Capture, CaptureOptions, Polled, Source};

use super::make::{Folder, Pcap, Pcapng, frame, gzip, itch, zstd};
use super::walk;

/// What the capture says; or, if it is refused, `refused: ` and why, without the path.
fn check(bytes: &[u8], want: &[&str]) {
    let folder = Folder::new();
    let path = folder.file("x", bytes);
    for decompress_ahead in [false, true] {
        let options = CaptureOptions {
            decompress_ahead,
            ..CaptureOptions::default()
        };
        let said = walk(std::slice::from_ref(&path), options).unwrap_or_else(|error| {
            let text = error.to_string();
            let why = text
                .strip_prefix(&*path.to_string_lossy())
                .expect("an error names the file");
            vec![format!("refused{why}")]
        });
        assert_eq!(said, want, "ahead: {decompress_ahead}");
    }
}

const WANT: &str = "want a pcap, a pcapng, DBN, LOBSTER messages, Binance or Coinbase messages, tardis.dev or \
                    Bitstamp CSV, a SoupBinTCP session or length-prefixed ITCH messages, plain or in \
                    gzip or zstd";

#[test]
fn an_empty_file_is_refused() {
    let want = format!("refused, byte 0: is empty, {WANT}");
    check(b"", &[&want]);
    check(&gzip(b""), &[&want]);
    check(&zstd(b""), &[&want]);
}

#[test]
fn a_wrong_magic_is_refused() {
    check(
        b"PK\x03\x04 a zip file",
        &[&format!(
            "refused, byte 0: starts with 50 4b 03 04, {WANT}; as ITCH: message length 20555, \
             want 11 to 64"
        )],
    );
    check(
        &zstd(b"\x00\x0ctext"),
        &[&format!(
            "refused, byte 2: starts with 00 0c 74 65, {WANT}; as ITCH: message type 0x74, want \
             one of ITCH 5.0"
        )],
    );
}

#[test]
fn a_wrapping_that_breaks_at_once_is_refused() {
    let folder = Folder::new();
    for bytes in [
        &gzip(b"x")[..6],
        &zstd(b"x")[..5],
        &[0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff],
    ] {
        let path = folder.file("x", bytes);
        let error = walk(&[path], CaptureOptions::default()).unwrap_err();
        assert!(
            error
                .what
                .starts_with("cannot read the first byte through "),
            "{error}"
        );
    }
}

#[test]
fn a_cut_file_header_is_refused() {
    let pcap = &Pcap::usual().bytes;
    check(
        &pcap[..23],
        &["refused, byte 0: pcap file header of 23 bytes, want 24"],
    );
    check(
        &pcap[..4],
        &["refused, byte 0: pcap file header of 4 bytes, want 24"],
    );
    let pcapng = &Pcapng::new().section(false).bytes;
    check(
        &pcapng[..27],
        &["refused, byte 0: pcapng section header of 27 bytes, want 28"],
    );
}

#[test]
fn a_file_that_is_no_file_is_refused() {
    let folder = Folder::new();
    let error = walk(&[folder.path()], CaptureOptions::default()).unwrap_err();
    assert_eq!(error.what, "is a directory, want a capture or an ITCH file");
    let missing = folder.path().join("missing");
    let error = walk(&[missing], CaptureOptions::default()).unwrap_err();
    assert!(
        error.what.starts_with("cannot open: No such file"),
        "{error}"
    );
}

#[test]
fn a_cut_record_ends_the_file_after_all_before_it() {
    let pcap = Pcap::usual()
        .record(1, &frame(1, 5, b"one"))
        .record(2, &frame(1, 5, b"two"));
    let cut = |bytes: usize| pcap.bytes[..pcap.bytes.len() - bytes].to_vec();
    check(
        &cut(1),
        &["0:1 1 0 one", "0:2 @85 cut record: 60 bytes, want 61"],
    );
    check(
        &cut(46),
        &[
            "0:1 1 0 one",
            "0:2 @85 cut record header: 15 bytes, want 16",
        ],
    );
    let pcapng = Pcapng::new()
        .section(false)
        .interface(1, Some(9), 0)
        .packet(0, 1, &frame(1, 5, b"one"))
        .packet(0, 2, &frame(1, 5, b"two"));
    let cut = |bytes: usize| pcapng.bytes[..pcapng.bytes.len() - bytes].to_vec();
    check(
        &cut(1),
        &["0:1 1 0 one", "0:2 @152 cut block: 79 bytes, want 80"],
    );
    check(
        &cut(75),
        &["0:1 1 0 one", "0:2 @152 cut block: 5 bytes, want 12"],
    );
    let passed_over = Pcapng::new().section(false).block(0xbad, &[0; 100]);
    check(
        &passed_over.bytes[..100],
        &["0:1 @28 cut block: 72 bytes, want 112"],
    );
    let messages = [itch(b'S', 1, 12), itch(b'D', 2, 19), itch(b'D', 3, 19)].concat();
    let said = &[
        "0:1 - 0 \0\u{c}S\0\0\0\0\0\0\0\0\0\u{1}.",
        "0:2 @14 cut message: 20 bytes, want 21",
    ];
    check(&messages[..34], said);
    let said = &[said[0], "0:2 @14 cut message length: 1 bytes, want 2"];
    check(&messages[..15], said);
}

#[test]
fn an_absurd_length_ends_its_file_and_no_other() {
    let good = Pcap::usual().record(1, &frame(1, 5, b"one"));
    let absurd = |bytes| {
        Pcap::usual()
            .record(1, &frame(1, 5, b"one"))
            .header(2, 0, bytes)
            .bytes
    };
    let limit = "want at most 65535";
    for (bytes, what) in [(65_536, "65536"), (u32::MAX, "4294967295")] {
        let want = format!("0:2 @85 record of {what} bytes, {limit}");
        check(&absurd(bytes), &["0:1 1 0 one", &want]);
    }
    let unlimited = Pcap::new(false, true, 0, 1).header(1, 0, 262_145);
    check(
        &unlimited.bytes,
        &["0:1 @24 record of 262145 bytes, want at most 262144"],
    );

    let folder = Folder::new();
    let paths = [
        folder.file("a", &absurd(u32::MAX)),
        folder.file("b", &good.bytes),
    ];
    let said = walk(&paths, CaptureOptions::default()).unwrap();
    let want = format!("0:2 @85 record of 4294967295 bytes, {limit}");
    assert_eq!(said, ["0:1 1 0 one", &want, "1:1 1 0 one"]);
}

#[test]
fn a_pcapng_block_that_contradicts_itself_ends_its_file() {
    let start = || Pcapng::new().section(false).interface(1, Some(9), 0);
    let one = frame(1, 5, b"one");
    let with = |at: usize, word: u32| {
        let mut bytes = start().packet(0, 1, &one).bytes;
        bytes[72 + at..][..4].copy_from_slice(&word.to_le_bytes());
        bytes
    };
    let lengths = "want a multiple of 4 from 12 to 327680";
    check(
        &with(4, 81),
        &[&format!("0:1 @72 block of 81 bytes, {lengths}")],
    );
    check(
        &with(4, 0),
        &[&format!("0:1 @72 block of 0 bytes, {lengths}")],
    );
    check(
        &with(4, u32::MAX - 3),
        &[&format!("0:1 @72 block of 4294967292 bytes, {lengths}")],
    );
    check(
        &with(76, 84),
        &["0:1 @72 block length 84 at its end, want 80 as at its start"],
    );
    check(
        &with(20, 49),
        &["0:1 @72 record of 49 bytes, want at most 48"],
    );
    check(
        &with(20, u32::MAX),
        &["0:1 @72 record of 4294967295 bytes, want at most 262144"],
    );
    // What concerns one packet only does not end the file.
    let lost = with(8, 7);
    let more = [&lost[..], &start().packet(0, 9, &one).bytes[72..]].concat();
    let want = "0:1 @72 packet of interface 7, want one of the 1 known";
    check(&more, &[want, "0:1 9 0 one"]);
    let early = Pcapng::new().section(false).simple_packet(&one);
    check(
        &early.bytes,
        &["0:1 @28 simple packet before any interface, want one"],
    );
    let mut second = start().section(true).bytes;
    second[72 + 8] = 0;
    let want = "0:1 @72 byte-order magic 002b3c4d, want 1a2b3c4d or 4d3c2b1a";
    check(&second, &[want]);
}

#[test]
fn a_fraction_of_more_than_a_second_is_told_of_and_clamped() {
    for (is_nano, limit, ns) in [
        (true, "999999999", "1999999999"),
        (false, "999999", "1999999000"),
    ] {
        let mut pcap = Pcap::new(false, is_nano, 65_535, 1).header(1, u32::MAX, 45);
        pcap.bytes.extend(frame(1, 5, b"one"));
        let pcap = pcap.record(2_000_000_000, &frame(1, 5, b"two"));
        let told = format!("0:1 @24 fraction of a second 4294967295, want at most {limit}");
        check(
            &pcap.bytes,
            &[&told, &format!("0:1 {ns} 0 one"), "0:2 2000000000 0 two"],
        );
    }
}

#[test]
fn a_time_beyond_the_calendar_is_told_of_and_clamped() {
    let file = Pcapng::new()
        .section(true)
        .interface(1, None, 0)
        .packet(0, u64::MAX, &frame(1, 5, b"one"))
        .packet(0, 2, &frame(1, 5, b"two"));
    let told = "0:1 @64 time 18446744073709551615 x 1 us, want one before the year 2262";
    check(
        &file.bytes,
        &[told, "0:1 9223372036854775807 0 one", "0:2 2000 0 two"],
    );
}

#[test]
fn a_cut_stream_delivers_what_came() {
    let mut pcap = Pcap::usual();
    let mut random = super::make::Random(1);
    for ts in 0..200 {
        let noise: Vec<u8> = (0..1_000).map(|_| b'a' + random.below(26) as u8).collect();
        pcap = pcap.record(ts, &frame(1, 5, &noise));
    }
    let folder = Folder::new();
    for (name, bytes) in [("gzip", gzip(&pcap.bytes)), ("zstd", zstd(&pcap.bytes))] {
        let path = folder.file(name, &bytes[..bytes.len() - 20]);
        for decompress_ahead in [false, true] {
            let options = CaptureOptions {
                decompress_ahead,
                ..CaptureOptions::default()
            };
            let said = walk(std::slice::from_ref(&path), options).unwrap();
            let last = said.last().unwrap();
            let what = format!("the {name} stream is cut: ");
            assert!(
                said.len() > 50 && last.contains(&what),
                "{} packets, {last}",
                said.len()
            );
            assert_eq!(said.iter().filter(|line| line.contains('@')).count(), 1);
        }
    }
}

/// Behind damage nobody knows how much is missing, behind a cut there is nothing.
#[test]
fn what_lies_behind_damage_is_lost_and_a_cut_is_an_end() {
    let folder = Folder::new();
    let lost = |name: &str, bytes: &[u8]| {
        let path = folder.file(name, bytes);
        let mut capture = Capture::open(&[path], CaptureOptions::default()).unwrap();
        let (mut packets, mut lost) = (0, Vec::new());
        loop {
            match capture.poll().unwrap() {
                Polled::Packet(_) => packets += 1,
                Polled::Trouble(trouble) => lost.push(trouble.is_lost),
                Polled::End => return (packets, lost),
                Polled::Empty => panic!("a file does not keep one waiting"),
            }
        }
    };
    let one = Pcap::usual().record(1, &frame(1, 5, b"one"));
    let two = one.bytes.len();
    let whole = one.record(2, &frame(1, 5, b"two")).bytes;
    assert_eq!(lost("whole", &whole), (2, vec![]));
    assert_eq!(lost("cut", &whole[..whole.len() - 1]), (1, vec![false]));
    assert_eq!(lost("cut-head", &whole[..two + 3]), (1, vec![false]));
    let mut absurd = whole.clone();
    absurd[two + 8..two + 12].fill(0xff);
    assert_eq!(lost("absurd", &absurd), (1, vec![true]));
    let mut random = super::make::Random(1);
    let mut many = Pcap::usual();
    for ts in 0..200 {
        let noise: Vec<u8> = (0..1_000).map(|_| random.below(256) as u8).collect();
        many = many.record(ts, &frame(1, 5, &noise));
    }
    for (name, packed) in [("gzip", gzip(&many.bytes)), ("zstd", zstd(&many.bytes))] {
        let half = &packed[..packed.len() - 4];
        assert_eq!(lost(name, half).1, [false], "{name}, cut");
        let flipped = packed[packed.len() - 4..].iter().map(|byte| byte ^ 0x55);
        let damaged = match name {
            // A length that is not that of what came, and something behind the last frame.
            "gzip" => [half, &flipped.collect::<Vec<u8>>()].concat(),
            _ => [&packed[..], b"no frame at all"].concat(),
        };
        assert_eq!(lost(name, &damaged).1, [true], "{name}, damaged");
    }
    let lines: Vec<u8> = (0..9).flat_map(|ts| itch(b'S', ts, 12)).collect();
    assert_eq!(lost("cut.itch", &lines[..lines.len() - 3]).1, [false]);
    assert_eq!(lost("x.itch", &[&lines[..], &[0, 0, 1]].concat()).1, [true]);
}

#[test]
fn an_unknown_link_type_is_told_of_once_per_interface() {
    let pcap = Pcap::new(false, true, 65_535, 147)
        .record(1, b"what is this")
        .record(2, b"and this");
    let want = "0:1 @24 link type 147, want Ethernet (1), Linux cooked (113, 276), raw IP (12, \
                101, 228, 229) or loopback (0, 108)";
    check(&pcap.bytes, &[want]);
    let pcapng = Pcapng::new()
        .section(false)
        .interface(147, Some(9), 0)
        .interface(1, Some(9), 0)
        .packet(0, 1, b"what is this")
        .packet(1, 2, &frame(1, 5, b"one"))
        .packet(0, 3, b"and this");
    let want = want.replace("@24", "@116");
    check(&pcapng.bytes, &[&want, "0:2 2 0 one"]);
}

#[test]
fn frames_with_bad_headers_are_told_of_and_passed_over() {
    let good = frame(1, 5, b"one");
    let with = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        frame
    };
    let pcap = Pcap::usual()
        .record(1, &good[..13])
        .record(2, &good[..33])
        .record(3, &good[..41])
        .record(4, &with(14, 0x44))
        .record(5, &with(14, 0x55))
        .record(6, &with(17, 27))
        .record(7, &with(39, 7))
        .record(8, &with(39, 12))
        .record(9, &good);
    let want = [
        "0:1 @24 frame of 13 bytes, want 14 for its Ethernet header",
        "0:2 @53 frame of 33 bytes, want 34 for its IPv4 header",
        "0:3 @102 frame of 41 bytes, want 42 for its UDP header",
        "0:4 @159 IPv4 header length 16, want 20",
        "0:5 @220 IP version 5, want 4",
        "0:6 @281 IPv4 total length 27, want 28",
        "0:7 @342 UDP length 7, want 8",
        "0:8 @403 IP packet length after its headers 11, want 12",
        "0:9 9 0 one",
    ];
    check(&pcap.bytes, &want);
}

#[test]
fn zero_lengths_in_an_itch_file_never_loop() {
    let mut zeros = [itch(b'S', 1, 12), itch(b'D', 2, 19)].concat();
    zeros[..2].fill(0);
    let want = format!(
        "refused, byte 0: starts with 00 00 53 00, {WANT}; as ITCH: message length 0, want 11 to \
         64"
    );
    check(&zeros, &[&want]);
    // Far from the start, where it is not a question of what the file is.
    let many: Vec<u8> = (0..10).flat_map(|ts| itch(b'S', ts, 12)).collect();
    let folder = Folder::new();
    for (tail, what) in [
        (
            &[0, 0, b'S'][..],
            "0:11 @140 message length 0, want 1 to 1024",
        ),
        (
            &[4, 1, b'S'][..],
            "0:11 @140 message length 1025, want 1 to 1024",
        ),
    ] {
        let path = folder.file("x", &[&many[..], tail].concat());
        let said = walk(&[path], CaptureOptions::default()).unwrap();
        assert_eq!(said.len(), 2);
        assert_eq!(said[1], what);
    }
}
