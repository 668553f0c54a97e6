//! A stream of FIX: what is cut out of it does not depend on the pieces it comes in, each message
//! holds what a plain look at its bytes says, and no claimed length makes the reader keep more than
//! it may.

use fix::{DataTags, Fields, Framed, Framer, frame, parse, value};

const MESSAGE_BYTES_MAX: usize = 256;

/// The messages of a stream that comes in pieces of so many bytes.
fn messages(stream: &[u8], piece_bytes: usize) -> Vec<Vec<u8>> {
    let mut framer = Framer::new(MESSAGE_BYTES_MAX);
    let mut found = Vec::new();
    for piece in stream.chunks(piece_bytes) {
        framer.push(piece);
        while let Some(framed) = framer.advance() {
            match framed {
                Framed::Message(range) => found.push(framer.bytes(range).to_vec()),
                Framed::Garbled(range, fault) => {
                    assert!(!range.is_empty(), "{fault} of no bytes");
                }
            }
        }
        assert!(framer.rest().len() <= MESSAGE_BYTES_MAX + piece_bytes);
    }
    found
}

/// Checks one stream.
pub fn check(stream: &[u8]) {
    let whole = messages(stream, stream.len().max(1));
    let mut fields = Fields::default();
    for message in &whole {
        assert!(message.len() <= MESSAGE_BYTES_MAX);
        let (body, trailer) = message.split_at(message.len() - 7);
        assert_eq!(
            trailer,
            format!("10={:03}\x01", frame::checksum(body)).as_bytes()
        );
        let Ok(read) = parse(message, &mut fields, &DataTags::default()) else {
            continue;
        };
        let mut bytes = 0;
        for (tag, text) in read.fields() {
            // Zeros in front of a tag are the one thing that reading forgets.
            assert!(bytes + tag.to_string().len() + text.len() + 2 <= message.len());
            bytes += tag.to_string().len() + text.len() + 2;
            let _ = (value::unsigned(text), value::signed(text), value::qty(text));
            if let Some(ts) = value::timestamp(text) {
                let (shown, len) = value::time_text(ts, true);
                let again = value::timestamp(&shown[..len]).expect("what was written is a time");
                assert_eq!(again.0, ts.0.div_euclid(1_000_000) * 1_000_000);
            }
            if value::price(text).is_some() {
                assert!(value::is_decimal(text));
            }
        }
        for entry in read.group(453, &[448, 447, 452]) {
            assert!(
                entry.get(448).is_some() || entry.get(447).is_some() || entry.get(452).is_some()
            );
        }
    }
    // Pieces decide how much of an unfinished message is seen when it is given up, which only
    // happens to messages that are too long; all others are the same.
    if stream.len() <= MESSAGE_BYTES_MAX {
        for piece_bytes in [1, 5] {
            assert_eq!(messages(stream, piece_bytes), whole);
        }
    }
}
