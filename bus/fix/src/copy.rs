//! FIX messages out of a file: a drop copy, or what any engine wrote down.
//!
//! A message may stand anywhere in a line, as behind the time that engines write in front of it, and
//! its fields end with SOH or, as logs are often shown, with `|`. Its length and its sum must be
//! right: what was cut or changed is told with its byte, and nothing behind it is guessed at.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::blotter::Blotter;
use crate::frame::{SOH, checksum};
use crate::message::{DataTags, Fields, parse};
use crate::session::{Application, Note, Outbox, Received, Verdict};
use crate::value;

/// Keeps a live drop copy: every message of a session that is not the session's own, a line each, in a
/// file that [`read`] reads.
///
/// A message is in the file before its number counts as received, so that one which a crash kept from
/// it comes again.
#[derive(Debug)]
pub struct Keeper {
    file: File,
    path: PathBuf,
    blotter: Blotter,
    messages: u64,
    notes: Vec<String>,
}

impl Keeper {
    /// A new file, or one that goes on. The end of one that a crash cut off is left out: it comes again.
    /// One process at a time may have it.
    pub fn open(path: &Path) -> io::Result<Keeper> {
        let told =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(told)?;
        if file.try_lock().is_err() {
            let busy = io::ErrorKind::ResourceBusy;
            return Err(told(io::Error::new(busy, "another process has it open")));
        }
        let bytes = fs::read(path).map_err(told)?;
        let end = whole_bytes(&bytes);
        if end < bytes.len() {
            file.set_len(end as u64).map_err(told)?;
        }
        let mut keeper = Keeper {
            file,
            path: path.to_owned(),
            blotter: Blotter::default(),
            messages: 0,
            notes: Vec::new(),
        };
        let mut fields = Fields::default();
        read(path, |_, message| {
            if let Ok(message) = parse(message, &mut fields, &DataTags::default()) {
                keeper.blotter.came(&message, 0);
            }
            keeper.messages += 1;
        })?;
        Ok(keeper)
    }

    /// How the orders stand by what was copied.
    pub fn blotter(&self) -> &Blotter {
        &self.blotter
    }

    /// How many messages the file has.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// What happened since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Waits until all of it survives the end of the machine.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// How many bytes are whole lines of messages.
fn whole_bytes(bytes: &[u8]) -> usize {
    const END: &[u8] = b"\x0110=000\x01\n";
    let is_end = |window: &[u8]| window.starts_with(&END[..4]) && window.ends_with(&END[7..]);
    let last = bytes.windows(END.len()).rposition(is_end);
    last.map_or(0, |at| at + END.len())
}

impl Application for Keeper {
    fn on_message(&mut self, received: &Received<'_>, _: &mut Outbox) -> Verdict {
        let mut line = received.message.bytes().to_vec();
        line.push(b'\n');
        // With one write: what a crash leaves of it is an end that is cut off.
        if let Err(error) = self.file.write_all(&line) {
            self.notes.push(format!("{}: {error}", self.path.display()));
            return Verdict::NotKept;
        }
        self.messages += 1;
        self.blotter.came(&received.message, received.now.0);
        Verdict::Taken
    }

    fn on_note(&mut self, note: &Note) {
        self.notes.push(note.to_string());
    }
}

/// Gives `each` the messages of a file in their order, with SOH behind each field, and where in the
/// file they begin.
pub fn read(path: &Path, mut each: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let bytes = fs::read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let mut at = 0;
    let mut message = Vec::new();
    while let Some(found) = find(&bytes[at..], b"8=FIX") {
        at += found;
        // A value that ends like this is none: `58=FIX`.
        if at > 0 && bytes[at - 1].is_ascii_digit() {
            at += 1;
            continue;
        }
        let len = cut(&bytes[at..], &mut message).map_err(|what| {
            let place = path.display();
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{place}, byte {at}: {what}"),
            )
        })?;
        each(at as u64, &message);
        at += len;
    }
    Ok(())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Puts the message that `bytes` begin with into `into`, and says how long it is.
fn cut(bytes: &[u8], into: &mut Vec<u8>) -> Result<usize, String> {
    let is_end = |byte: &u8| matches!(*byte, SOH | b'|');
    let begin = &bytes[..bytes.len().min(16)];
    let begin_end = begin
        .iter()
        .position(is_end)
        .ok_or("want SOH or | behind BeginString")?;
    let separator = bytes[begin_end];
    let rest = &bytes[begin_end + 1..];
    let digits_end = rest[..rest.len().min(12)]
        .iter()
        .position(|&byte| byte == separator);
    let length = digits_end
        .and_then(|end| rest[..end].strip_prefix(b"9="))
        .and_then(value::unsigned)
        .and_then(|length| usize::try_from(length).ok());
    let (Some(digits_end), Some(length)) = (digits_end, length) else {
        return Err("want a BodyLength as the second field".into());
    };
    let body_end = begin_end + 1 + digits_end + 1 + length;
    let end = body_end + b"10=###|".len();
    let Some(trailer) = bytes.get(body_end..end) else {
        return Err(format!("a message of {end} bytes, cut at {}", bytes.len()));
    };
    if !trailer.starts_with(b"10=") || trailer[6] != separator {
        return Err(format!("want CheckSum behind a body of {length} bytes"));
    }
    into.clear();
    into.extend_from_slice(&bytes[..end]);
    if separator != SOH {
        for byte in into.iter_mut().filter(|byte| **byte == separator) {
            *byte = SOH;
        }
    }
    let is = checksum(&into[..body_end]);
    if value::unsigned(&trailer[3..6]) != Some(u64::from(is)) {
        let says = String::from_utf8_lossy(&trailer[3..6]);
        return Err(format!("CheckSum is {says}, want {is:03}"));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Version, Writer, tags};

    fn message(text: &str) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.begin(b"8").text(tags::TEXT, text);
        writer.finish(Version::Fix44).to_vec()
    }

    fn check(name: &str, bytes: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let path = std::env::temp_dir().join(format!("fix-copy-{}-{name}", std::process::id()));
        fs::write(&path, bytes).unwrap();
        let mut found = Vec::new();
        let read = read(&path, |at, bytes| found.push((at, bytes.to_vec())));
        fs::remove_file(&path).unwrap();
        let place = path.display().to_string();
        read.map_err(|error| error.to_string().replace(&place, "FILE"))?;
        Ok(found)
    }

    #[test]
    fn a_copy_goes_on_behind_its_last_whole_message() {
        let path = std::env::temp_dir().join(format!("fix-keeper-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        assert_eq!(Keeper::open(&path).unwrap().messages(), 0);
        let line = [&message("one")[..], b"\n"].concat();
        for cut in 0..line.len() {
            fs::write(&path, [&line[..], &line[..cut]].concat()).unwrap();
            let keeper = Keeper::open(&path).unwrap();
            assert_eq!(keeper.messages(), 1, "{cut} bytes of the second");
            let error = Keeper::open(&path).unwrap_err().to_string();
            assert!(error.ends_with("another process has it open"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), line);
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn messages_are_found_in_lines_and_behind_each_other() {
        let (one, two) = (message("one"), message("58=FIX is no beginning"));
        let shown = String::from_utf8(one.clone()).unwrap().replace('\x01', "|");
        let mut bytes = b"20260105-14:30:00.000 : ".to_vec();
        bytes.extend_from_slice(&two);
        bytes.extend_from_slice(&one);
        bytes.extend_from_slice(format!("\n# shown\n{shown}\n").as_bytes());
        let second = 24 + two.len() as u64;
        let third = second + one.len() as u64 + 9;
        assert_eq!(
            check("found", &bytes),
            Ok(vec![(24, two), (second, one.clone()), (third, one)])
        );
        assert_eq!(check("empty", b""), Ok(vec![]));
    }

    #[test]
    fn what_is_cut_or_changed_is_told_with_its_byte() {
        let one = message("one");
        let told = |name, bytes: &[u8]| check(name, bytes).unwrap_err();
        for cut in 6..one.len() {
            let said = told("cut", &[b"\n", &one[..cut]].concat());
            assert!(said.starts_with("FILE, byte 1: "), "{said}");
        }
        let mut changed = one.clone();
        let at = changed.len() - 9;
        changed[at] ^= 1;
        let said = told("changed", &changed);
        assert!(said.contains("byte 0: CheckSum is "), "{said}");
        assert_eq!(
            told("long", b"8=FIX.4.4|9=99999999999|35=8|10=000|"),
            "FILE, byte 0: want a BodyLength as the second field"
        );
        assert_eq!(
            told("short", b"8=FIX.4.4|9=3|35=8|10=000|"),
            "FILE, byte 0: want CheckSum behind a body of 3 bytes"
        );
    }
}
