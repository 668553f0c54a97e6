//! What comes out of good captures: every container, and several at once.

use std::net::IpAddr;

use bus::clock::{Clock, SimClock};
use feed::source::capture::{Compression, Format, Resolution};
use feed::source::{Capture, CaptureOptions, Paced, Polled, Source, Speed};

use super::make::{Folder, Pcap, Pcapng, frame, gzip, itch, zstd};
use super::walk;

const S: u64 = 1_000_000_000;

/// Writes the bytes plain and in every wrapping; all must say the same.
fn check(bytes: &[u8], want: &[&str]) {
    let folder = Folder::new();
    let half = bytes.len() / 2;
    let wrapped = [
        ("plain", bytes.to_vec()),
        ("gzip", gzip(bytes)),
        ("zstd", zstd(bytes)),
        (
            "two gzip members",
            [gzip(&bytes[..half]), gzip(&bytes[half..])].concat(),
        ),
        (
            "two zstd frames",
            [zstd(&bytes[..half]), zstd(&bytes[half..])].concat(),
        ),
        ("zstd behind a skippable frame", {
            [
                &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..],
                &zstd(bytes),
            ]
            .concat()
        }),
    ];
    for (what, wrapped) in &wrapped {
        let path = folder.file(what, wrapped);
        for decompress_ahead in [false, true] {
            let options = CaptureOptions {
                decompress_ahead,
                ..CaptureOptions::default()
            };
            let said = walk(std::slice::from_ref(&path), options).unwrap();
            assert_eq!(said, want, "{what}, ahead: {decompress_ahead}");
        }
    }
}

#[test]
fn all_four_kinds_of_pcap_read_alike() {
    for is_big_endian in [false, true] {
        for is_nano in [false, true] {
            let pcap = Pcap::new(is_big_endian, is_nano, 65_535, 1)
                .record(7 * S + 123_456_000, &frame(1, 5, b"one"))
                .record(8 * S, &frame(2, 5, b"two"))
                .record(8 * S, &frame(1, 5, b""));
            check(
                &pcap.bytes,
                &[
                    "0:1 7123456000 0 one",
                    "0:2 8000000000 1 two",
                    "0:3 8000000000 0 ",
                ],
            );
        }
    }
}

#[test]
fn a_pcap_without_records_is_empty_but_good() {
    check(&Pcap::usual().bytes, &[]);
}

#[test]
fn pcapng_has_units_offsets_sections_and_three_kinds_of_packets() {
    let file = Pcapng::new()
        .section(false)
        .interface(1, None, 0)
        .interface(1, Some(9), 100)
        .interface(1, Some(0x80 | 10), 0)
        .interface(1, Some(12), -1)
        .interface(1, Some(0), 0)
        .packet(0, 1_000_000, &frame(1, 5, b"micro"))
        .packet(1, 2 * S, &frame(1, 5, b"nano, 100 s on"))
        .block(0xbad, b"no one knows this block")
        .packet(2, 1_024 + 1, &frame(1, 5, b"1/1024 s"))
        .packet(3, 5_000_000_001_999, &frame(1, 5, b"pico, 1 s back"))
        .packet(4, 9, &frame(1, 5, b"whole seconds"))
        .simple_packet(&frame(1, 5, b"simple"))
        .section(true)
        .interface(1, Some(9), 5)
        .obsolete_packet(0, 77, &frame(1, 5, b"obsolete"))
        .packet(0, 78, &frame(1, 5, b"big-endian"))
        .simple_packet(&frame(1, 5, b"simple too"));
    let want = [
        "0:1 1000000000 0 micro",
        "0:2 102000000000 0 nano, 100 s on",
        "0:3 1000976562 0 1/1024 s",
        "0:4 4000000001 0 pico, 1 s back",
        "0:5 9000000000 0 whole seconds",
        "0:6 - 0 simple",
        "0:7 5000000077 0 obsolete",
        "0:8 5000000078 0 big-endian",
        "0:9 - 0 simple too",
    ];
    check(&file.bytes, &want);
}

#[test]
fn an_itch_file_comes_in_pieces_of_whole_messages() {
    let messages: Vec<Vec<u8>> = (0..200).map(|n| itch(b'D', n, 19)).collect();
    let bytes = messages.concat();
    let folder = Folder::new();
    for tail in [&[][..], &[0, 0][..]] {
        let path = folder.file("itch", &[&bytes[..], tail].concat());
        for (itch_messages_max, want_packets) in [(64, 4), (1, 200), (1_000, 2)] {
            let options = CaptureOptions {
                itch_messages_max,
                ..CaptureOptions::default()
            };
            let mut capture = Capture::open(std::slice::from_ref(&path), options).unwrap();
            let mut seen: Vec<u8> = Vec::new();
            let mut next_ts = capture.peek_ts();
            while let Polled::Packet(packet) = capture.poll().unwrap() {
                assert_eq!(packet.place.offset_bytes, seen.len() as u64);
                assert_eq!((packet.ts_recv, packet.ts_due()), (None, next_ts));
                assert!(packet.payload.len() <= 4_096);
                seen.extend(packet.payload);
                next_ts = capture.peek_ts();
            }
            assert_eq!(seen, bytes);
            let counts = capture.counts();
            assert_eq!(
                (counts.packets, counts.payload_bytes),
                (want_packets, bytes.len() as u64)
            );
            assert_eq!(capture.files()[0].format, Format::Itch);
        }
    }
}

#[test]
fn files_merge_on_time_then_on_the_order_of_their_names() {
    let folder = Folder::new();
    let a = Pcap::usual()
        .record(10, &frame(1, 5, b"a10"))
        .record(20, &frame(1, 5, b"a20"))
        .record(15, &frame(1, 5, b"a15, late in its own file"))
        .record(30, &frame(1, 5, b"a30"));
    let b = Pcap::usual()
        .record(10, &frame(2, 5, b"b10"))
        .record(18, &frame(2, 5, b"b18"))
        .record(30, &frame(2, 5, b"b30"));
    let a = folder.file("z", &a.bytes);
    let b = folder.file("a", &zstd(&b.bytes));
    let said = walk(&[a.clone(), b.clone()], CaptureOptions::default()).unwrap();
    let want = [
        "0:1 10 0 a10",
        "1:1 10 1 b10",
        "1:2 18 1 b18",
        "0:2 20 0 a20",
        "0:3 15 0 a15, late in its own file",
        "0:4 30 0 a30",
        "1:3 30 1 b30",
    ];
    assert_eq!(said, want);
    let said = walk(&[b, a], CaptureOptions::default()).unwrap();
    assert_eq!(said[..2], ["0:1 10 0 b10", "1:1 10 1 a10"]);
}

#[test]
fn only_what_was_asked_for_comes_and_the_rest_is_counted() {
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 28]].concat();
    let mut fragment = frame(1, 5, b"piece");
    fragment[20] = 0x20;
    let pcap = Pcap::usual()
        .record(1, &frame(1, 5, b"yes"))
        .record(2, &frame(1, 6, b"other port"))
        .record(3, &frame(2, 5, b"other group"))
        .record(4, &arp)
        .record(5, &fragment)
        .record(6, &frame(1, 5, b"yes"));
    let folder = Folder::new();
    let path = folder.file("x", &gzip(&pcap.bytes));
    let options = CaptureOptions {
        ports: Some(vec![5]),
        groups: Some(vec![IpAddr::from([239, 0, 0, 1])]),
        ..CaptureOptions::default()
    };
    let said = walk(std::slice::from_ref(&path), options.clone()).unwrap();
    let fragment = "0:5 @280 fragment of an IP packet, want whole packets";
    assert_eq!(said, ["0:1 1 0 yes", fragment, "0:6 6 0 yes"]);

    let mut capture = Capture::open(&[path], options).unwrap();
    while !matches!(capture.poll().unwrap(), Polled::End) {}
    let counts = capture.counts();
    assert_eq!(
        (counts.records, counts.packets, counts.payload_bytes),
        (6, 2, 6)
    );
    assert_eq!(
        (counts.filtered, counts.not_udp, counts.fragments),
        (2, 1, 1)
    );
    assert_eq!(capture.lines().len(), 1);
    assert_eq!(capture.lines()[0].name, "239.0.0.1:5");
    let info = &capture.files()[0];
    assert_eq!(
        (info.format, info.compression),
        (Format::Pcap, Compression::Gzip)
    );
    assert_eq!(info.interfaces[0].resolution, Resolution::Decimal(9));
    assert_eq!(
        (info.interfaces[0].link_type, info.interfaces[0].records),
        (1, 6)
    );
}

#[test]
fn lines_beyond_what_a_packet_can_name_are_told_of_once() {
    let mut pcap = Pcap::usual();
    for port in 1..=260 {
        pcap = pcap.record(u64::from(port), &frame(1, port, b"x"));
    }
    let folder = Folder::new();
    let path = folder.file("x", &pcap.bytes);
    let said = walk(&[path], CaptureOptions::default()).unwrap();
    assert_eq!(said.len(), 257);
    assert_eq!(
        said[256],
        "0:257 @15128 datagram to 239.0.0.1:257, want at most 256 destinations: name the ports"
    );
}

#[test]
fn a_payload_that_the_capture_cut_says_how_long_it_was() {
    let whole = frame(1, 5, b"0123456789");
    let mut pcap = Pcap::usual().header(1, 0, 46);
    pcap.bytes.extend(&whole[..46]);
    let folder = Folder::new();
    let mut capture =
        Capture::open(&[folder.file("x", &pcap.bytes)], CaptureOptions::default()).unwrap();
    let Polled::Packet(packet) = capture.poll().unwrap() else {
        panic!("want a packet")
    };
    assert_eq!((packet.payload, packet.wire_bytes), (&b"0123"[..], 10));
    assert_eq!(capture.counts().snaplen_cut, 1);
}

#[test]
fn a_capture_through_a_pipe_reads_like_a_file() {
    let pcap = Pcap::usual()
        .record(1, &frame(1, 5, b"one"))
        .record(2, &frame(1, 5, b"two"));
    for bytes in [pcap.bytes.clone(), zstd(&pcap.bytes)] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let writing = std::thread::spawn(move || {
            use std::io::Write;
            bytes
                .chunks(7)
                .for_each(|chunk| writer.write_all(chunk).unwrap());
        });
        use std::os::fd::AsRawFd;
        let path = format!("/dev/fd/{}", reader.as_raw_fd()).into();
        let said = walk(&[path], CaptureOptions::default()).unwrap();
        writing.join().unwrap();
        drop(reader);
        assert_eq!(said, ["0:1 1 0 one", "0:2 2 0 two"]);
    }
}

#[test]
fn a_paced_capture_waits_for_packets_but_not_for_troubles() {
    let pcap = Pcap::usual()
        .record(100, &frame(1, 5, b"one"))
        .record(130, &frame(1, 5, b"two")[..30])
        .record(150, &frame(1, 5, b"three"))
        .header(160, 0, u32::MAX);
    let folder = Folder::new();
    let capture = Capture::open(&[folder.file("x", &pcap.bytes)], CaptureOptions::default());
    let clock = SimClock::default();
    let mut paced = Paced::new(capture.unwrap(), &clock, Speed::ONE);
    let mut seen = Vec::new();
    loop {
        match paced.poll().unwrap() {
            Polled::Packet(packet) => seen.push((clock.now_ns(), packet.place.packet)),
            Polled::Trouble(trouble) => seen.push((clock.now_ns(), trouble.place.packet)),
            Polled::Empty => clock.advance_ns(1),
            Polled::End => break,
        }
    }
    assert_eq!(seen, [(0, 1), (0, 2), (50, 3), (50, 4)]);
    assert_eq!(
        (paced.counts().packets, paced.inner().counts().packets),
        (2, 2)
    );
}

#[test]
fn sources_can_be_opened_on_one_thread_and_read_on_another() {
    fn check<T: Send>() {}
    check::<Capture>();
    check::<feed::source::Multicast>();
    check::<Paced<Capture, SimClock>>();
}
