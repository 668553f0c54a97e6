//! Files of ITCH messages, each behind its length in two big-endian bytes (Nasdaq's BinaryFILE).
//!
//! A length of 0 marks the end of such a file, and may be missing.

use super::input::Input;
use super::itch_time;
use super::record::{Piece, Record, Step, ending};

/// A piece holds whole messages, at most this many bytes of them.
const PIECE_BYTES_MAX: usize = 4_096;
/// ITCH 5.0's longest message has 50 bytes. A longer one may be a newer version's; one longer
/// than this says that we have lost our place.
const MESSAGE_BYTES_MAX: usize = 1_024;
/// At the start of a file, where the question is what it is at all, we are stricter.
const FIRST_BYTES: std::ops::RangeInclusive<usize> = 11..=64;
/// So many messages in a row must look right.
const LOOK_MESSAGES: usize = 8;
const LOOK_BYTES: usize = LOOK_MESSAGES * 66;
/// The message types of ITCH 5.0.
const TYPES: &[u8] = b"SRHYLVWKJhAFECXDUPQBINO";

pub(super) struct ItchFile {
    /// How many messages a piece holds at most.
    messages_max: usize,
    /// Bytes of the piece handed out last, which are skipped at the next step.
    behind: u64,
    is_over: bool,
}

/// Whether the input looks like ITCH messages; if not, the byte where it does not, and why.
pub(super) fn look(input: &mut Input) -> Result<(), (u64, String)> {
    let bytes = input.peek(LOOK_BYTES);
    let mut at = 0;
    for _ in 0..LOOK_MESSAGES {
        let [high, low, rest @ ..] = &bytes[at..] else {
            break;
        };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let is_end_marker = at > 0 && len == 0 && rest.is_empty();
        if is_end_marker {
            break;
        }
        let (least, most) = (FIRST_BYTES.start(), FIRST_BYTES.end());
        if !FIRST_BYTES.contains(&len) {
            let what = format!("message length {len}, want {least} to {most}");
            return Err((at as u64, what));
        }
        let Some(letter) = rest.first() else { break };
        if !TYPES.contains(letter) {
            let what = format!("message type 0x{letter:02x}, want one of ITCH 5.0");
            return Err((at as u64 + 2, what));
        }
        at += 2 + len;
        if at > bytes.len() {
            break;
        }
    }
    Ok(())
}

impl ItchFile {
    pub(super) fn new(messages_max: usize) -> ItchFile {
        assert!(messages_max > 0, "a piece of no messages would never end");
        ItchFile {
            messages_max,
            behind: 0,
            is_over: false,
        }
    }

    pub(super) fn next(&mut self, input: &mut Input) -> Step {
        input.skip(std::mem::take(&mut self.behind));
        if self.is_over {
            return Step::End;
        }
        let offset_bytes = input.offset();
        let bytes = input.peek(PIECE_BYTES_MAX);
        let window = &bytes[..bytes.len().min(PIECE_BYTES_MAX)];
        let (len, messages) = whole_messages(window, self.messages_max);
        if len == 0 {
            return self.last(input);
        }
        let ts = itch_time(&window[..len]);
        self.behind = len as u64;
        Step::Record(Record {
            at: 0,
            len,
            offset_bytes,
            ts,
            interface: 0,
            piece: Some(Piece {
                messages,
                extra_bytes: 0,
            }),
        })
    }

    /// What to say where no whole message starts.
    #[cold]
    fn last(&mut self, input: &mut Input) -> Step {
        self.is_over = true;
        let offset_bytes = input.offset();
        let [high, low, rest @ ..] = input.bytes() else {
            return ending(input, "message length", 2);
        };
        match usize::from(u16::from_be_bytes([*high, *low])) {
            0 if rest.is_empty() && input.failure().is_none() => Step::End,
            len @ 1..=MESSAGE_BYTES_MAX => ending(input, "message", 2 + len as u64),
            len => {
                let what = format!("message length {len}, want 1 to {MESSAGE_BYTES_MAX}");
                Step::Lost { offset_bytes, what }
            }
        }
    }
}

/// How many bytes of the window are whole messages, and how many of them.
fn whole_messages(window: &[u8], messages_max: usize) -> (usize, u64) {
    let (mut at, mut count) = (0, 0);
    for _ in 0..messages_max {
        let [high, low, rest @ ..] = &window[at..] else {
            break;
        };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if len == 0 || len > MESSAGE_BYTES_MAX || len > rest.len() {
            break;
        }
        at += 2 + len;
        count += 1;
    }
    (at, count)
}
