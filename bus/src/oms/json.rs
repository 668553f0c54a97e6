//! Orders, and what is said of them, as JSON: one object a line, into a file or to stdout.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::file::sync_folder;
use super::id::OrderId;
use super::row::Row;
use super::{Gateway, GatewayError};
use crate::event::Side;

/// Writes a line for each row.
///
/// ```text
/// {"row":1,"kind":"order","id":"260105-...","seq":12,"sent_ns":1767623400123000000,
///  "event_ns":...,"symbol":"ABC","side":"buy","qty":100,"price":"10.12"}
/// ```
///
/// all on one line. `row` counts from 1 without a gap; what is not said is not there. Prices are exact
/// decimals, and so text; times are nanoseconds since 1970, UTC.
///
/// As with a file of messages, a line is in its file once a `turn` has moved it there. A file that is
/// gone on with holds each order once: one that comes again, flagged as possibly sent before, is taken
/// and left out.
#[derive(Debug)]
pub struct Json {
    out: fs::File,
    /// Its path, or what stands for it.
    name: PathBuf,
    is_file: bool,
    waiting: Vec<u8>,
    rows: u64,
    /// Orders that the file had when it was opened, sorted.
    had: Vec<OrderId>,
    failure: Option<GatewayError>,
}

/// What a file of lines was found to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonFound {
    /// The orders in it, in order.
    pub ids: Vec<OrderId>,
    /// How many lines it has.
    pub rows: u64,
    /// The last MsgSeqNum of an order or a cancel.
    pub msg_seq_last: u64,
    /// How many bytes of an unfinished line are behind them.
    pub cut_bytes: u64,
}

impl Json {
    /// How many bytes wait at most.
    pub const WAITING_BYTES_MAX: usize = 256 * 1024;
    /// No line is longer.
    const LINE_BYTES_MAX: usize = 4096;

    /// A new file; refused where there is one.
    pub fn create(path: &Path) -> Result<Json, GatewayError> {
        let fail = |tried: &str, error| GatewayError::io(path.display(), tried, &error);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(|error| fail("create", error))?;
        sync_folder(path).map_err(|error| fail("sync its folder", error))?;
        Json::over(file, path)
    }

    /// A file as a run left it that was killed, cut behind its last whole line; a new one where there
    /// is none. A line that is no line of ours, with others behind it, is an error.
    pub fn resume(path: &Path) -> Result<(Json, JsonFound), GatewayError> {
        let fail = |tried: &str, error| GatewayError::io(path.display(), tried, &error);
        let file = match OpenOptions::new().read(true).append(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok((Json::create(path)?, JsonFound::default()));
            }
            Err(error) => return Err(fail("open", error)),
        };
        let mut json = Json::over(file, path)?;
        let (found, good_bytes) = scan(&json.out, path)?;
        if found.cut_bytes > 0 {
            json.out
                .set_len(good_bytes)
                .and_then(|()| json.out.sync_all())
                .map_err(|error| fail("cut", error))?;
        }
        json.rows = found.rows;
        json.had.clone_from(&found.ids);
        json.had.sort_unstable();
        Ok((json, found))
    }

    /// What is in a file that another may write to; nothing where there is no file.
    pub fn read(path: &Path) -> Result<JsonFound, GatewayError> {
        match fs::File::open(path) {
            Ok(file) => Ok(scan(&file, path)?.0),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(JsonFound::default()),
            Err(error) => Err(GatewayError::io(path.display(), "open", &error)),
        }
    }

    /// To this process's stdout. Whoever reads it slowly makes orders wait, and nothing else.
    pub fn stdout() -> Result<Json, GatewayError> {
        let name = "/dev/stdout";
        // Opened once more, so that nobody else's writes are made not to wait.
        let out = OpenOptions::new()
            .append(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(name)
            .map_err(|error| GatewayError::io(name, "open", &error))?;
        Ok(Json::new(out, Path::new("stdout"), false))
    }

    fn over(file: fs::File, path: &Path) -> Result<Json, GatewayError> {
        file.try_lock().map_err(|error| {
            let what = match error {
                fs::TryLockError::WouldBlock => super::IN_USE.to_string(),
                fs::TryLockError::Error(error) => format!("lock: {error}"),
            };
            GatewayError::new(path.display(), what)
        })?;
        Ok(Json::new(file, path, true))
    }

    fn new(out: fs::File, name: &Path, is_file: bool) -> Json {
        Json {
            out,
            name: name.to_owned(),
            is_file,
            waiting: Vec::with_capacity(Json::WAITING_BYTES_MAX),
            rows: 0,
            had: Vec::new(),
            failure: None,
        }
    }

    /// How many rows were written, those of runs before it was gone on with included.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Puts a row behind what waits, however much that is.
    pub fn put(&mut self, row: &Row<'_>) {
        self.rows += 1;
        write_row(&mut self.waiting, self.rows, row);
    }

    fn living(&self) -> Result<(), GatewayError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    #[cold]
    fn fail<T>(&mut self, tried: &str, error: &io::Error) -> Result<T, GatewayError> {
        let failure = GatewayError::io(self.name.display(), tried, error);
        self.failure = Some(failure.clone());
        Err(failure)
    }
}

impl Gateway for Json {
    fn has_room(&mut self, _: usize) -> bool {
        self.waiting.len() + Json::LINE_BYTES_MAX <= Json::WAITING_BYTES_MAX
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        self.living()?;
        if !self.has_room(message.len()) {
            return Ok(false);
        }
        let Some(row) = Row::of(message) else {
            return Ok(true);
        };
        if !row.is_among(&self.had) {
            self.put(&row);
        }
        Ok(true)
    }

    fn turn(&mut self) -> Result<usize, GatewayError> {
        self.living()?;
        if self.waiting.is_empty() {
            return Ok(0);
        }
        let part = match self.is_file {
            true => &self.waiting[..],
            false => whole_lines(&self.waiting),
        };
        match self.out.write(part) {
            Ok(0) => self.fail("write", &ErrorKind::WriteZero.into()),
            Ok(written_bytes) => {
                self.waiting.drain(..written_bytes);
                Ok(written_bytes)
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock => Ok(0),
                _ => self.fail("write", &error),
            },
        }
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn finish(&mut self) -> Result<(), GatewayError> {
        let deadline = std::time::Instant::now() + FINISH_MAX;
        while !self.waiting.is_empty() {
            if self.turn()? == 0 {
                if std::time::Instant::now() >= deadline {
                    let error = io::Error::new(
                        ErrorKind::TimedOut,
                        format!("nobody read anything for {FINISH_MAX:?}"),
                    );
                    return self.fail("write", &error);
                }
                std::thread::yield_now();
            }
        }
        self.living()?;
        match self.out.sync_all() {
            Err(error) if self.is_file => self.fail("sync", &error),
            _ => Ok(()),
        }
    }

    fn describe(&self) -> String {
        self.name.display().to_string()
    }
}

/// As many of the first lines as a pipe takes as a whole or not at all (`PIPE_BUF` on Linux), so that lines
/// of several shards stay apart; the first one, where that is longer.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    const PIPE_BYTES: usize = 4096;
    let front = &bytes[..bytes.len().min(PIPE_BYTES)];
    let end = match front.iter().rposition(|&byte| byte == b'\n') {
        Some(last) => last + 1,
        None => {
            let first = bytes.iter().position(|&byte| byte == b'\n');
            first.map_or(bytes.len(), |first| first + 1)
        }
    };
    &bytes[..end]
}

/// For how long the end of a run waits for whoever reads its stdout.
const FINISH_MAX: std::time::Duration = std::time::Duration::from_secs(10);

fn write_row(out: &mut Vec<u8>, number: u64, row: &Row<'_>) {
    // Into memory: it cannot fail.
    let mut put =
        |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("memory is written to");
    put(format_args!(
        "{{\"row\":{number},\"kind\":\"{}\",\"id\":\"",
        row.kind.name()
    ));
    escape(out, row.id);
    let mut put =
        |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("memory is written to");
    put(format_args!("\",\"seq\":{}", row.msg_seq));
    for (name, time) in [("sent_ns", row.sent), ("event_ns", row.transacted)] {
        if let Some(time) = time {
            put(format_args!(",\"{name}\":{}", time.0));
        }
    }
    if !row.symbol.is_empty() {
        out.extend_from_slice(b",\"symbol\":\"");
        escape(out, row.symbol);
        out.push(b'"');
    }
    let mut put =
        |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("memory is written to");
    match row.side {
        Side::Buy => put(format_args!(",\"side\":\"buy\"")),
        Side::Sell => put(format_args!(",\"side\":\"sell\"")),
        Side::None => {}
    }
    for (name, qty) in [
        ("qty", row.qty),
        ("last_qty", row.last_qty),
        ("filled", row.filled),
    ] {
        if let Some(qty) = qty {
            put(format_args!(",\"{name}\":{}", qty.0));
        }
    }
    for (name, price) in [("price", row.price), ("last_price", row.last_price)] {
        if let Some(price) = price {
            put(format_args!(",\"{name}\":\"{price}\""));
        }
    }
    for (name, letter) in [
        ("time_in_force", row.time_in_force),
        ("exec_type", row.exec_type),
        ("status", row.status),
    ] {
        if letter.is_ascii_alphanumeric() {
            put(format_args!(",\"{name}\":\"{}\"", char::from(letter)));
        }
    }
    if row.poss_resend {
        put(format_args!(",\"poss_resend\":true"));
    }
    out.extend_from_slice(b"}\n");
}

/// Bytes as the inside of a JSON string (RFC 8259): what is no printable ASCII as the character of that
/// number.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => write!(out, "\\u{byte:04x}").expect("memory is written to"),
        }
    }
}

/// What a file has, and how many bytes of it are whole lines.
fn scan(file: &fs::File, path: &Path) -> Result<(JsonFound, u64), GatewayError> {
    let mut reader = BufReader::new(file);
    let mut found = JsonFound::default();
    let mut good_bytes = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(Json::LINE_BYTES_MAX as u64);
        let bytes = { read }
            .read_until(b'\n', &mut line)
            .map_err(|error| GatewayError::io(path.display(), "read", &error))?;
        if bytes == 0 {
            return Ok((found, good_bytes));
        }
        let mut at_end = || reader_is_at_end(&mut reader);
        match read_line(&line, found.rows + 1) {
            Some((id, msg_seq)) => {
                found.rows += 1;
                found.ids.extend(id);
                found.msg_seq_last = msg_seq.unwrap_or(found.msg_seq_last);
                good_bytes += bytes as u64;
            }
            // Only what has no end can be what a kill left.
            None if line.last() != Some(&b'\n') && at_end() => {
                found.cut_bytes = bytes as u64;
                return Ok((found, good_bytes));
            }
            None => {
                let number = found.rows + 1;
                let what = format!(
                    "byte {good_bytes}: no row {number} (want {{\"row\":{number},\"kind\":...); only the \
                     end of a killed run's file may be unfinished"
                );
                return Err(GatewayError::new(path.display(), what));
            }
        }
    }
}

fn reader_is_at_end(reader: &mut impl BufRead) -> bool {
    reader.fill_buf().is_ok_and(<[u8]>::is_empty)
}

/// The order's id, and the number of a message of ours, in the line of this row.
fn read_line(line: &[u8], number: u64) -> Option<(Option<OrderId>, Option<u64>)> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix("}\n")?;
    let rest = text.strip_prefix(&format!("{{\"row\":{number},\"kind\":\""))?;
    let (kind, rest) = rest.split_once("\",\"id\":\"")?;
    let (id, rest) = rest.split_once("\",\"seq\":")?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let seq: u64 = rest[..digits].parse().ok()?;
    Some(match kind {
        "order" => (OrderId::parse(id.as_bytes()), Some(seq)),
        "cancel" => (None, Some(seq)),
        "report" | "cancel_reject" => (None, None),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("oms-json-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn order(seq: u64, again: bool) -> Vec<u8> {
        let id = OrderId::new((2026, 1, 5), 0, seq, 1, 0);
        let again = if again { "97=Y\x01" } else { "" };
        format!(
            "8=FIX.4.4\x0135=D\x0134={seq}\x0152=19700101-00:00:01\x01{again}11={id}\x0155=A\"B\x01\
             54=1\x0138=100\x0144=10.5\x01"
        )
        .into_bytes()
    }

    #[test]
    fn lines_are_whole_and_orders_are_there_once() {
        let folder = Folder::new("once");
        let path = folder.0.join("orders.jsonl");
        let mut json = Json::create(&path).unwrap();
        for seq in 1..=2 {
            assert_eq!(json.send(&order(seq, false)), Ok(true));
        }
        assert!(json.waiting() > 0);
        json.turn().unwrap();
        assert!(Json::resume(&path).unwrap_err().is_in_use());
        drop(json);
        let whole = fs::read_to_string(&path).unwrap();
        assert_eq!(
            whole.lines().next().unwrap(),
            "{\"row\":1,\"kind\":\"order\",\"id\":\"260105-000000000001-0001-00-0000\",\"seq\":1,\
             \"sent_ns\":1000000000,\"symbol\":\"A\\\"B\",\"side\":\"buy\",\"qty\":100,\
             \"price\":\"10.50\"}"
        );
        // Killed anywhere in the second line.
        let second = whole.find('\n').unwrap() + 1;
        for len in second..=whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let (mut json, found) = Json::resume(&path).unwrap();
            let rows = if len == whole.len() { 2 } else { 1 };
            assert_eq!(
                (found.rows, found.msg_seq_last),
                (rows, rows),
                "{len} bytes"
            );
            assert_eq!(found.ids.len() as u64, rows);
            for seq in 1..=3 {
                assert_eq!(json.send(&order(seq, seq < 3)), Ok(true));
            }
            json.finish().unwrap();
            drop(json);
            let found = Json::read(&path).unwrap();
            assert_eq!((found.rows, found.cut_bytes), (3, 0));
            let mut ids = found.ids.clone();
            ids.dedup();
            assert_eq!(ids.len(), 3);
        }
    }

    #[test]
    fn lines_for_a_pipe_are_whole() {
        let (line, long) = (vec![b'x'; 999], vec![b'y'; 5000]);
        let some = [&line[..], b"\n"].concat().repeat(5);
        assert_eq!(whole_lines(&some).len(), 4000);
        assert_eq!(whole_lines(&some[..1000]).len(), 1000);
        let long = [&long[..], b"\n", &some].concat();
        assert_eq!(whole_lines(&long).len(), 5001);
    }

    #[test]
    fn what_is_no_row_is_told_with_its_place() {
        let folder = Folder::new("bad");
        let path = folder.0.join("orders.jsonl");
        let mut json = Json::create(&path).unwrap();
        assert_eq!(json.send(&order(1, false)), Ok(true));
        json.finish().unwrap();
        drop(json);
        let line = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{line}{line}")).unwrap();
        let error = Json::resume(&path).unwrap_err().to_string();
        let at = line.len();
        assert!(
            error.contains(&format!("byte {at}: no row 2 (want")),
            "{error}"
        );
    }
}
