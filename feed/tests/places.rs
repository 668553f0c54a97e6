//! Where in a file of messages a message stands that is not understood: the same however many are read at
//! once, and where its bytes are.

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use bus::ring::ring;
use bus::soupbintcp::Packet as Soups;
use bus::{Event, Ts};
use feed::moldudp64::SessionId;
use feed::protocol::{Dbn, Itch, Lobster, Protocol};
use feed::quarantine::{Item, Quarantine, Refused};
use feed::reader::{Reader, ReaderConfig, Turned};
use feed::source::{Capture, CaptureOptions};

/// 2023-12-25 in UTC.
const MIDNIGHT: Ts = Ts(1_703_462_400_000_000_000);
/// How many messages are read at once.
const PIECES: [usize; 4] = [1, 3, 64, 1_000];

/// A message of the file that is refused: where it begins, which it is of all, and itself.
struct Wrong {
    offset_bytes: u64,
    number: u64,
    raw: Vec<u8>,
    sequence: Option<u64>,
}

/// What is kept of a file, as bytes, and what is told of it.
fn read<P: Protocol>(path: &Path, messages_max: usize, protocol: P) -> (Vec<Vec<u8>>, Vec<String>) {
    let options = CaptureOptions {
        itch_messages_max: messages_max,
        ..CaptureOptions::default()
    };
    let capture = Capture::open(&[PathBuf::from(path)], options).unwrap();
    let (to, kept) = mpsc::channel();
    let (tx, mut rx) = ring::<Event>(1 << 16);
    let config = ReaderConfig::new(MIDNIGHT);
    let mut reader = Reader::with_protocol(capture, protocol, config, vec![tx])
        .with_quarantine(Some(Quarantine::new(to, 1 << 20)));
    while reader.turn().unwrap() != Turned::Ended {
        if let Some(batch) = rx.batch(1 << 16) {
            let count = batch.slices().0.len() + batch.slices().1.len();
            batch.commit(count);
        }
    }
    let examples = reader.stats().examples;
    drop(reader);
    (kept.iter().collect(), examples)
}

/// Reads a file in pieces of each length, plain and compressed.
fn check<P: Protocol>(name: &str, bytes: &[u8], protocol: impl Fn() -> P, wrong: &[Wrong]) {
    let folder = format!("tapeline-places-{}-{name}", std::process::id());
    let folder = std::env::temp_dir().join(folder);
    std::fs::create_dir_all(folder.join("packed")).unwrap();
    let (path, packed) = (folder.join(name), folder.join("packed").join(name));
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(&packed, zstd::encode_all(bytes, 1).unwrap()).unwrap();
    let first = read(&path, PIECES[0], protocol());
    for pieces in PIECES {
        for path in [&path, &packed] {
            let again = read(path, pieces, protocol());
            assert_eq!(again.1, first.1, "{name}, pieces of {pieces}");
            assert!(again.0 == first.0, "{name}, pieces of {pieces}");
        }
    }
    let (kept, examples) = first;
    let kept: Vec<Refused<'_>> = kept
        .iter()
        .zip(1..)
        .map(|(record, number)| Refused::decode(record, number).unwrap())
        .collect();
    let messages: Vec<&Refused<'_>> = kept.iter().filter(|r| r.item == Item::Message).collect();
    assert_eq!(messages.len(), wrong.len(), "{examples:?}");
    for (found, want) in messages.iter().zip(wrong) {
        let place = found.place;
        let at = (place.file, place.packet, place.offset_bytes, found.message);
        assert_eq!(at, (0, want.number, want.offset_bytes, 1), "{}", found.why);
        assert_eq!(found.numbered.map(|(_, sequence)| sequence), want.sequence);
        assert!(found.raw.ends_with(&want.raw), "{}", found.why);
        let start = usize::try_from(place.offset_bytes).unwrap();
        let there = &bytes[start..start + 8 + want.raw.len()];
        let is_there = there.windows(want.raw.len()).any(|raw| raw == want.raw);
        assert!(is_there, "{name} at byte {start}");
    }
    let of_messages = examples.iter().filter(|text| !text.starts_with("trouble"));
    for (told, want) in of_messages.zip(wrong) {
        let Wrong {
            number,
            offset_bytes,
            ..
        } = want;
        let want = format!(": file 0, packet {number} at byte {offset_bytes}: message 1: ");
        assert!(told.contains(&want), "{told}, want {want}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A system event; of later ones each seventh is of no known type, and each eleventh is short.
fn itch(index: u64) -> (Vec<u8>, bool) {
    let mut message = b"S\0\0\0\0".to_vec();
    message.extend(&(34_200_000_000_000 + index).to_be_bytes()[2..]);
    message.push(b'Q');
    let is_unknown = index > 10 && index % 7 == 3;
    if is_unknown {
        message[0] = b'z';
        message.extend(vec![index as u8; (index % 5) as usize]);
    } else if index % 11 == 8 && index > 10 {
        message.truncate(11);
    }
    let is_short = message.len() == 11;
    (message, is_unknown || is_short)
}

#[test]
fn of_itch_messages() {
    let (mut bytes, mut wrong) = (Vec::new(), Vec::new());
    for index in 0..400 {
        let (raw, is_wrong) = itch(index);
        let (offset_bytes, number) = (bytes.len() as u64, index + 1);
        bytes.extend((raw.len() as u16).to_be_bytes());
        bytes.extend(&raw);
        if is_wrong {
            wrong.push(Wrong {
                offset_bytes,
                number,
                raw,
                sequence: None,
            });
        }
    }
    // The end is damaged: that too is told of one place.
    bytes.extend([0xff, 0xff]);
    bytes.extend([7; 3_000]);
    check("x.itch", &bytes, || Itch::new(MIDNIGHT), &wrong);
}

#[test]
fn of_a_recorded_session_with_other_packets_in_between() {
    let session = SessionId(*b"  20231225");
    let (mut bytes, mut wrong) = (Vec::new(), Vec::new());
    let accepted = Soups::Accepted {
        session: session.0,
        sequence: 5,
    };
    accepted.put(&mut bytes);
    for index in 0..400 {
        match index % 13 {
            2 => Soups::ServerHeartbeat.put(&mut bytes),
            6 => Soups::Debug(b"still here").put(&mut bytes),
            _ => {}
        }
        let (raw, is_wrong) = itch(index);
        let offset_bytes = bytes.len() as u64;
        Soups::Sequenced(&raw).put(&mut bytes);
        if is_wrong {
            wrong.push(Wrong {
                offset_bytes,
                number: index + 1,
                raw,
                sequence: Some(5 + index),
            });
        }
    }
    Soups::EndOfSession.put(&mut bytes);
    check("x.soup", &bytes, || Itch::new(MIDNIGHT), &wrong);
}

#[test]
fn of_lobster_lines_that_end_in_several_ways() {
    let (mut text, mut wrong) = (String::new(), Vec::new());
    for index in 0..400u64 {
        let is_wrong = index % 7 == 3;
        let price = if is_wrong { "58x" } else { "5853300" };
        let line = format!("342{:02}.5,1,{},100,{price},1", index / 10, index + 1);
        if is_wrong {
            wrong.push(Wrong {
                offset_bytes: text.len() as u64,
                number: index + 1,
                raw: line.clone().into_bytes(),
                sequence: None,
            });
        }
        text += &line;
        text += match index % 17 {
            4 => "\r\n",
            9 => "\n\n",
            12 => " \n \r\n\n",
            _ => "\n",
        };
    }
    let name = "AAPL_2023-12-25_1_2_message_1.csv";
    check(name, text.as_bytes(), || Lobster::new(MIDNIGHT), &wrong);
}

#[test]
fn of_dbn_records_of_two_lengths() {
    // Metadata of version 3, without symbols.
    let mut body = b"GLBX.MDP3\0\0\0\0\0\0\0".to_vec();
    body.extend(0u16.to_le_bytes());
    body.extend(MIDNIGHT.0.to_le_bytes());
    body.extend([0; 16]);
    body.extend([1, 0, 0, 71, 0]);
    body.extend([0; 53 + 5 * 4]);
    let mut bytes = b"DBN\x03".to_vec();
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    let mut wrong = Vec::new();
    for index in 0..400u64 {
        // An order that comes; each seventh says another thing, and each eleventh is longer.
        let is_wrong = index % 7 == 3;
        let mut raw = vec![0; if index % 11 == 5 { 60 } else { 56 }];
        let is_wrong = is_wrong || raw.len() == 60;
        (raw[0], raw[1], raw[2]) = ((raw.len() / 4) as u8, 0xa0, 1);
        raw[4..8].copy_from_slice(&7u32.to_le_bytes());
        let ts = (MIDNIGHT.0 as u64 + index).to_le_bytes();
        raw[8..16].copy_from_slice(&ts);
        raw[16..24].copy_from_slice(&(index + 1).to_le_bytes());
        raw[24..32].copy_from_slice(&4_800_000_000_000i64.to_le_bytes());
        raw[32..36].copy_from_slice(&10u32.to_le_bytes());
        let action = if index % 7 == 3 { b'Z' } else { b'A' };
        raw[36..40].copy_from_slice(&[128, 0, action, b'B']);
        raw[40..48].copy_from_slice(&ts);
        if is_wrong {
            wrong.push(Wrong {
                offset_bytes: bytes.len() as u64,
                number: index + 1,
                raw: raw.clone(),
                sequence: None,
            });
        }
        bytes.extend(raw);
    }
    check("x.dbn", &bytes, Dbn::new, &wrong);
}
