//! FIX messages out of a file: a drop copy, or what any engine wrote down.
//!
//! A message may stand anywhere in a line, as behind the time that engines write in front of it, and
//! its fields end with SOH or, as logs are often shown, with `|`. Its length and its sum must be
//! right: what was cut or changed is told with its byte, and nothing behind it is guessed at.

use std::fs;
use std::io;
use std::path::Path;

use crate::frame::{SOH, checksum};
use crate::value;

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
