//! The table decoder against its twin, and against what other programs read in real packets.

mod reference;

use std::collections::BTreeMap;
use std::path::Path;

use bus::{Event, Kind, Ts};
use feed::moldudp64::{Blocks, Header};
use feed::protocol::{Itch, Protocol};
use feed::source::{Capture, CaptureOptions, Framing, Polled, Source};
use reference::{Random, sample_messages, shared_data};
use serde_json::Value;

const MIDNIGHT: Ts = Ts(1_692_676_800_000_000_000);

/// Decodes with both, over an event that held something else before.
fn check(message: &[u8]) -> Option<Event> {
    let mut event = Event::new(Kind::End);
    (event.order_b, event.price.0, event.qty.0) = (u64::MAX, -1, -1);
    let got = Itch::new(MIDNIGHT).decode(message, &mut event);
    let want = reference::itch::decode(MIDNIGHT, message);
    match (got, want) {
        (Ok(_), Ok(want)) => assert_eq!(event, want, "{message:?}"),
        (Err(got), Err(want)) => {
            assert_eq!(got.anomaly(), want, "{message:?}");
            assert!(!got.to_string().is_empty());
            return None;
        }
        (got, want) => panic!("{message:?}: got {got:?}, want {want:?}"),
    }
    let name_at = reference::itch::name_at(message[0]);
    let name = name_at.map(|at| u64::from_be_bytes(message[at..at + 8].try_into().unwrap()));
    assert_eq!(Itch::new(MIDNIGHT).name(message), name);
    assert_eq!(Itch::new(MIDNIGHT).ts_event(message), Some(event.ts_event));
    assert_eq!(Itch::new(MIDNIGHT).symbol(message), event.symbol);
    Some(event)
}

#[test]
fn random_bytes_of_every_type_decode_as_the_twin_says() {
    let mut random = Random(1);
    let mut decoded = [0u32; 256];
    for _ in 0..20_000 {
        for (code, length) in reference::itch::LENGTHS {
            let mut message: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
            message[0] = code;
            // Mostly letters that are allowed somewhere, and 64-bit numbers that are not negative.
            for at in [19, 20, 27, 31] {
                if at < length && !random.chance(5) {
                    let letters = b"BSYNHPQTO";
                    message[at] = letters[random.below(letters.len() as u64) as usize];
                }
            }
            if code == b'Q' {
                message[11] &= if random.chance(95) { 0x7f } else { 0xff };
            }
            decoded[usize::from(code)] += u32::from(check(&message).is_some());
        }
    }
    for (code, _) in reference::itch::LENGTHS {
        assert!(
            decoded[usize::from(code)] > 1000,
            "type {} was never right",
            code as char
        );
    }
}

#[test]
fn any_length_and_any_bytes_are_refused_or_decoded_as_the_twin_says() {
    let mut random = Random(2);
    for _ in 0..200_000 {
        let length = random.below(64) as usize;
        let mut message: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        if random.chance(80) && length > 0 {
            message[0] = reference::itch::LENGTHS[random.below(23) as usize].0;
        }
        check(&message);
    }
    check(&[b'A'; 65_535]);
}

#[test]
fn a_whole_session_decodes_as_the_twin_says() {
    let mut types = std::collections::BTreeSet::new();
    for message in sample_messages(5) {
        assert!(check(&message).is_some(), "{message:?}");
        types.insert(message[0]);
    }
    assert_eq!(types.len(), 23, "the sample has every type");
}

#[test]
fn changed_bytes_of_a_session_never_panic() {
    let mut random = Random(3);
    for mut message in sample_messages(6) {
        for _ in 0..3 {
            let at = random.below(message.len() as u64) as usize;
            message[at] ^= 1 << random.below(8);
            check(&message[..message.len() - usize::from(random.chance(10))]);
        }
    }
}

#[test]
fn an_operational_halt_of_another_market_is_not_a_status() {
    let mut message = [0; 21];
    message[0] = b'h';
    (message[19], message[20]) = (b'B', b'H');
    assert_eq!(check(&message).unwrap().kind, Kind::Info);
    message[19] = b'Q';
    assert_eq!(check(&message).unwrap().kind, Kind::Status);
}

/// All packets of a file: framing and payload.
fn packets(path: &Path) -> Vec<(Framing, Vec<u8>)> {
    let mut source = Capture::open(&[path.into()], CaptureOptions::default()).expect("it opens");
    let mut packets = Vec::new();
    loop {
        match source.poll().expect("it reads") {
            Polled::Packet(packet) => packets.push((packet.framing, packet.payload.to_vec())),
            Polled::Empty => {}
            Polled::Trouble(trouble) => panic!("{trouble:?}"),
            Polled::End => return packets,
        }
    }
}

/// The messages of all packets of a file.
fn messages(path: &Path) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for (framing, payload) in packets(path) {
        let bytes = match framing {
            Framing::MoldUdp64 => Header::split(&payload).expect("a whole header").1,
            Framing::LengthPrefixed => &payload,
            Framing::IexTp | Framing::Mdp3(_) | Framing::Pitch(_) | Framing::Records(_) => continue,
        };
        messages.extend(Blocks::new(bytes).map(<[u8]>::to_vec));
    }
    messages
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("it is JSON")
}

/// One field as the event has it, if the event has it.
fn field(event: &Event, name: &str) -> Option<u64> {
    let e4 = || event.price.0 as u64 / 100_000;
    let letter = || match event.side {
        bus::Side::Buy => Some(u64::from(b'B')),
        bus::Side::Sell => Some(u64::from(b'S')),
        bus::Side::None => None,
    };
    Some(match name {
        "type" => event.code.into(),
        "stock_locate" => event.symbol.into(),
        "timestamp" => event.ts_event.since(MIDNIGHT) as u64,
        "order_reference_number" | "paired_shares" => event.order,
        "new_order_reference_number" | "match_number" => event.order_b,
        "shares" | "executed_shares" | "cancelled_shares" | "imbalance_shares" => {
            event.qty.0 as u64
        }
        "price"
        | "execution_price"
        | "cross_price"
        | "current_reference_price"
        | "auction_collar_reference_price" => e4(),
        "buy_sell_indicator" | "imbalance_direction" => letter()?,
        "printable" if event.flags.0 == 1 => b'Y'.into(),
        "printable" => b'N'.into(),
        "trading_state" | "event_code" | "reg_sho_action" | "market_participant_state" => {
            event.order
        }
        "auction_collar_extention" => event.order,
        _ => return None,
    })
}

#[test]
fn real_packets_hold_what_another_decoder_found() {
    let Some(data) = shared_data() else { return };
    let mut fields = BTreeMap::<String, u32>::new();
    let mut message_count = 0;
    for set in [
        "Nasdaq.Equities.TotalView.Itch.v5.0",
        "Nasdaq.Equities.TotalView.Itch.v5.0.20230822",
    ] {
        let folder = data.join("itch50/omi-packets");
        let truth = json(&folder.join(format!("{set}.truth.json")));
        for (file, want_packets) in truth["files"].as_object().unwrap() {
            let got_packets = packets(&folder.join(set).join(file));
            let want_packets = want_packets.as_array().unwrap();
            assert_eq!(got_packets.len(), want_packets.len(), "{file}");
            for ((_, payload), want) in got_packets.iter().zip(want_packets) {
                let (header, bytes) = Header::split(payload).unwrap();
                let want_mold = &want["moldudp64"];
                assert_eq!(
                    header.session.0,
                    want_mold["session"].as_str().unwrap().as_bytes()
                );
                assert_eq!(header.sequence, want_mold["sequence"].as_u64().unwrap());
                assert_eq!(
                    u64::from(header.count),
                    want_mold["count"].as_u64().unwrap()
                );
                let got: Vec<&[u8]> = Blocks::new(bytes).collect();
                let want = want["messages"].as_array().unwrap();
                assert_eq!(got.len(), want.len(), "{file}");
                for (message, want) in got.into_iter().zip(want) {
                    let event = check(message).expect("a real message is right");
                    for (name, want) in want.as_object().unwrap() {
                        if name == "stock" {
                            let got = Itch::new(MIDNIGHT).name(message).unwrap().to_be_bytes();
                            let got = String::from_utf8_lossy(&got).trim().to_owned();
                            assert_eq!(Some(got.as_str()), want.as_str());
                            continue;
                        }
                        let Some(got) = field(&event, name) else {
                            continue;
                        };
                        let want = match want {
                            Value::String(letter) => u64::from(letter.as_bytes()[0]),
                            number => number.as_u64().unwrap(),
                        };
                        assert_eq!(got, want, "{file}: {name} of {message:?}");
                        *fields.entry(name.clone()).or_default() += 1;
                    }
                    message_count += 1;
                }
            }
        }
    }
    assert_eq!(message_count, 46 + 71);
    assert!(fields.len() >= 18, "{fields:?}");
}

#[test]
fn files_hold_as_many_messages_of_each_type_as_other_decoders_found() {
    let Some(data) = shared_data() else { return };
    for name in [
        "AAPL_20120621_0930-1000.derived-from-LOBSTER.itch50.zst",
        "RITCH_synthetic_20101224.lenfixed.itch50.zst",
        "meatpy_synthetic_20msgs.itch50",
    ] {
        let truth = name.trim_end_matches(".zst");
        let truth = json(&data.join(format!("itch50/{truth}.truth.json")));
        let mut got = BTreeMap::<String, u64>::new();
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for message in messages(&data.join("itch50").join(name)) {
            let event = check(&message).expect("the decoders found all messages right");
            *got.entry((event.code as char).to_string()).or_default() += 1;
            first = first.min(event.ts_event.since(MIDNIGHT));
            last = last.max(event.ts_event.since(MIDNIGHT));
        }
        for decoder in ["itchfeed", "meatpy"] {
            let want: BTreeMap<String, u64> =
                serde_json::from_value(truth["messages_by_type"][decoder].clone()).unwrap();
            assert_eq!(got, want, "{name}, {decoder}");
        }
        assert_eq!(Some(first), truth["first_timestamp_ns"].as_i64());
        assert_eq!(Some(last), truth["last_timestamp_ns"].as_i64());
    }
}
