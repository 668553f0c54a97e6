//! LOBSTER message files: lines, each a message, of the symbol that the file's name begins with.

use std::path::Path;

use super::input::Input;
use super::record::{Piece, Record, Step, ending};
use crate::protocol::lobster::{LINE_BYTES_MAX, NAME_BYTES, look as look_at_line, time};

/// A piece holds whole lines, of at most this many bytes together.
const PIECE_BYTES_MAX: usize = 4_096;

pub(super) struct LobsterFile {
    name: [u8; NAME_BYTES],
    lines_max: usize,
    /// Bytes of the lines handed out last, which are skipped at the next step.
    behind: u64,
    is_over: bool,
}

/// Whether the input begins with a line of a message file.
pub(super) fn look(input: &mut Input) -> bool {
    let bytes = input.peek(LINE_BYTES_MAX);
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    look_at_line(line.trim_ascii_end()).is_ok()
}

impl LobsterFile {
    pub(super) fn new(path: &Path, lines_max: usize) -> LobsterFile {
        let file = path
            .file_name()
            .map_or("".into(), |name| name.to_string_lossy());
        let ticker = file.split('_').next().unwrap_or_default();
        let is_name = ticker.len() <= NAME_BYTES && ticker.bytes().all(|b| b.is_ascii_graphic());
        let ticker = if is_name { ticker } else { "LOBSTER" };
        let mut name = [b' '; NAME_BYTES];
        for (place, letter) in name.iter_mut().zip(ticker.bytes()) {
            *place = letter.to_ascii_uppercase();
        }
        LobsterFile {
            name,
            lines_max,
            behind: 0,
            is_over: false,
        }
    }

    /// Puts the next lines into `out`, as messages behind their lengths.
    pub(super) fn next(&mut self, input: &mut Input, out: &mut Vec<u8>) -> Step {
        input.skip(std::mem::take(&mut self.behind));
        if self.is_over {
            return Step::End;
        }
        out.clear();
        skip_empty(input);
        let offset_bytes = input.offset();
        let bytes = input.peek(PIECE_BYTES_MAX);
        let window = &bytes[..bytes.len().min(PIECE_BYTES_MAX)];
        let is_end = bytes.len() < PIECE_BYTES_MAX;
        let (mut at, mut ts, mut messages, mut extra) = (0, None, 0, None);
        for _ in 0..self.lines_max {
            let rest = &window[at..];
            let (line, next) = match rest.iter().position(|byte| *byte == b'\n') {
                Some(len) => (&rest[..len], at + len + 1),
                // The last line need not be ended.
                None if is_end => (rest, window.len()),
                None => break,
            };
            if next == at || line.len() > LINE_BYTES_MAX {
                break;
            }
            let line = line.trim_ascii_end();
            let extra_bytes = (next - at) as i16 - (2 + NAME_BYTES + line.len()) as i16;
            // Only lines that end alike are one piece, so that it is known where each begins.
            if line.is_empty() || *extra.get_or_insert(extra_bytes) != extra_bytes {
                break;
            }
            (at, messages) = (next, messages + 1);
            ts = ts.or_else(|| time(line));
            out.extend_from_slice(&((NAME_BYTES + line.len()) as u16).to_be_bytes());
            out.extend_from_slice(&self.name);
            out.extend_from_slice(line);
        }
        self.behind = at as u64;
        if at == 0 {
            return self.last(input);
        }
        Step::Record(Record {
            at: 0,
            len: out.len(),
            offset_bytes,
            ts,
            interface: 0,
            piece: Some(Piece {
                messages,
                extra_bytes: extra.unwrap_or(0),
            }),
        })
    }

    /// What to say where no line follows.
    #[cold]
    fn last(&mut self, input: &mut Input) -> Step {
        self.is_over = true;
        let offset_bytes = input.offset();
        if input.bytes().is_empty() {
            return ending(input, "line", 1);
        }
        let what = format!("line without an end, want one within {LINE_BYTES_MAX} bytes");
        Step::Lost { offset_bytes, what }
    }
}

/// Passes over lines with nothing in them.
fn skip_empty(input: &mut Input) {
    loop {
        let bytes = input.peek(PIECE_BYTES_MAX);
        let window = &bytes[..bytes.len().min(PIECE_BYTES_MAX)];
        let is_end = bytes.len() < PIECE_BYTES_MAX;
        let text = window.iter().position(|byte| !byte.is_ascii_whitespace());
        let upto = text.unwrap_or(window.len());
        let empty = match window[..upto].iter().rposition(|byte| *byte == b'\n') {
            _ if text.is_none() && is_end => upto,
            Some(last) => last + 1,
            None => 0,
        };
        if empty == 0 {
            return;
        }
        input.skip(empty as u64);
    }
}
