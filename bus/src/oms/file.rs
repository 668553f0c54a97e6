//! Orders into a file: one FIX message a line.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::fix::{Encoder, Message};
use super::id::OrderId;
use super::{Gateway, GatewayError};

/// Appends messages to a file, each as it is, with a newline after it.
///
/// A message is in the file once a `turn` has moved it there: then it survives the end of this
/// process, however that comes, and after [`Gateway::finish`] the end of the machine. What did not
/// get there is sent again on resume, because [`Resumed::ids`] does not have it.
#[derive(Debug)]
pub struct File {
    file: fs::File,
    path: PathBuf,
    /// Taken, and not yet written. When full, `send` says "not now".
    waiting: Vec<u8>,
    failure: Option<GatewayError>,
}

/// A file opened again, and what was found in it.
#[derive(Debug)]
pub struct Resumed {
    /// The gateway, at the end of what is there.
    pub file: File,
    /// The ids of the orders in it, in order.
    pub ids: Vec<OrderId>,
    /// The last message's MsgSeqNum; 0 for an empty file.
    pub msg_seq_last: u64,
    /// How many bytes of an unfinished message were cut off its end.
    pub cut_bytes: u64,
}

impl File {
    /// How many bytes wait at most for a `turn`.
    pub const WAITING_BYTES_MAX: usize = 256 * 1024;

    /// A new file; refused where there is one already.
    pub fn create(path: &Path) -> Result<File, GatewayError> {
        let fail = |tried: &str, error| GatewayError::io(path.display(), tried, &error);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(|error| fail("create", error))?;
        sync_folder(path).map_err(|error| fail("sync its folder", error))?;
        File::over(file, path)
    }

    /// The file as a killed run left it, cut after its last whole message; a new one where the
    /// run was killed before it made one.
    ///
    /// Only the end can be unfinished. Damage with whole messages behind it is an error, because
    /// orders that had left would be sent again.
    pub fn resume(path: &Path) -> Result<Resumed, GatewayError> {
        let fail = |tried: &str, error| GatewayError::io(path.display(), tried, &error);
        let opened = OpenOptions::new().read(true).append(true).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = File::create(path)?;
                return Ok(Resumed {
                    file,
                    ids: Vec::new(),
                    msg_seq_last: 0,
                    cut_bytes: 0,
                });
            }
            Err(error) => return Err(fail("open", error)),
        };
        let mut file = File::over(file, path)?;
        let found = Found::scan(&file.file, path)?;
        let cut_bytes = found.file_bytes - found.good_bytes;
        if cut_bytes > 0 {
            file.file
                .set_len(found.good_bytes)
                .map_err(|error| fail("cut", error))?;
            crate::failpoint!("orders-cut");
            file.file.sync_all().map_err(|error| fail("sync", error))?;
        }
        file.file
            .seek(SeekFrom::End(0))
            .map_err(|error| fail("seek", error))?;
        Ok(Resumed {
            file,
            ids: found.ids,
            msg_seq_last: found.msg_seq_last,
            cut_bytes,
        })
    }

    /// The ids of the orders in a file that another may write to; none where there is no file.
    pub fn ids(path: &Path) -> Result<Vec<OrderId>, GatewayError> {
        match fs::File::open(path) {
            Ok(file) => Found::scan(&file, path).map(|found| found.ids),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(GatewayError::io(path.display(), "open", &error)),
        }
    }

    fn over(file: fs::File, path: &Path) -> Result<File, GatewayError> {
        file.try_lock().map_err(|error| {
            let what = match error {
                fs::TryLockError::WouldBlock => super::IN_USE.to_string(),
                fs::TryLockError::Error(error) => format!("lock: {error}"),
            };
            GatewayError::new(path.display(), what)
        })?;
        let waiting = Vec::with_capacity(File::WAITING_BYTES_MAX);
        Ok(File {
            file,
            path: path.to_path_buf(),
            waiting,
            failure: None,
        })
    }

    fn living(&self) -> Result<(), GatewayError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    #[cold]
    fn fail<T>(&mut self, tried: &str, error: &io::Error) -> Result<T, GatewayError> {
        let failure = GatewayError::io(self.path.display(), tried, error);
        self.failure = Some(failure.clone());
        Err(failure)
    }
}

impl Gateway for File {
    fn has_room(&mut self, message_bytes: usize) -> bool {
        assert!(
            message_bytes < File::WAITING_BYTES_MAX,
            "a message that would never have room"
        );
        self.waiting.len() + message_bytes < File::WAITING_BYTES_MAX
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        self.living()?;
        if !self.has_room(message.len()) {
            return Ok(false);
        }
        debug_assert!(!message.contains(&b'\n'), "a message is one line");
        self.waiting.extend_from_slice(message);
        self.waiting.push(b'\n');
        Ok(true)
    }

    fn turn(&mut self) -> Result<usize, GatewayError> {
        self.living()?;
        if self.waiting.is_empty() {
            return Ok(0);
        }
        crate::failpoint!("orders-half-sent", {
            self.file.write(&self.waiting[..self.waiting.len() / 2])
        });
        if let Some(errno) = crate::failpoint!(errno "orders-write-fails") {
            return self.fail("write", &io::Error::from_raw_os_error(errno));
        }
        match self.file.write(&self.waiting) {
            Ok(0) => self.fail("write", &io::ErrorKind::WriteZero.into()),
            Ok(written_bytes) => {
                self.waiting.drain(..written_bytes);
                Ok(written_bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => self.fail("write", &error),
        }
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn finish(&mut self) -> Result<(), GatewayError> {
        while !self.waiting.is_empty() {
            self.turn()?;
        }
        self.living()?;
        match self.file.sync_all() {
            Ok(()) => Ok(()),
            Err(error) => self.fail("sync", &error),
        }
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

/// A new file's name lasts only when its folder is synced.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::File::open(folder)?.sync_all()
}

/// What a file of messages holds.
struct Found {
    ids: Vec<OrderId>,
    msg_seq_last: u64,
    good_bytes: u64,
    file_bytes: u64,
}

impl Found {
    /// A line that is longer is no message of ours, and is not read into memory as a whole.
    const LINE_BYTES_MAX: usize = Encoder::MESSAGE_BYTES_MAX + 1;

    fn scan(file: &fs::File, path: &Path) -> Result<Found, GatewayError> {
        let mut reader = BufReader::new(file);
        let mut found = Found {
            ids: Vec::new(),
            msg_seq_last: 0,
            good_bytes: 0,
            file_bytes: 0,
        };
        let mut damage: Option<(u64, String)> = None;
        let mut line = Vec::with_capacity(Found::LINE_BYTES_MAX);
        for line_number in 1u64.. {
            line.clear();
            let read = reader.by_ref().take(Found::LINE_BYTES_MAX as u64);
            let line_bytes = { read }
                .read_until(b'\n', &mut line)
                .map_err(|error| GatewayError::io(path.display(), "read", &error))?;
            if line_bytes == 0 {
                break;
            }
            match (found.read_line(&line), &damage) {
                (Ok((id, msg_seq)), None) => {
                    found.ids.extend(id);
                    found.msg_seq_last = msg_seq;
                    found.good_bytes += line_bytes as u64;
                }
                (Ok(_), Some((offset_bytes, what))) => {
                    let what = format!(
                        "byte {offset_bytes}: {what}, with whole messages behind it at byte {}; \
                         only the end of a killed run's file may be unfinished",
                        found.file_bytes
                    );
                    return Err(GatewayError::new(path.display(), what));
                }
                (Err(what), None) => {
                    damage = Some((found.file_bytes, format!("line {line_number}, {what}")));
                }
                (Err(_), Some(_)) => {}
            }
            found.file_bytes += line_bytes as u64;
        }
        Ok(found)
    }

    /// The order's id, if it is one, and the message's number.
    fn read_line(&self, line: &[u8]) -> Result<(Option<OrderId>, u64), String> {
        let message = line.strip_suffix(b"\n").ok_or("the line has no end")?;
        let message = Message::parse(message).map_err(|bad| bad.to_string())?;
        let id = match message.field(35) {
            Some(b"D") => {
                let id = message.field(11).and_then(OrderId::parse);
                Some(id.ok_or("the message has no ClOrdID of ours")?)
            }
            _ => None,
        };
        let msg_seq = message
            .field(34)
            .and_then(|text| std::str::from_utf8(text).ok());
        let msg_seq = msg_seq.and_then(|text| text.parse().ok());
        Ok((id, msg_seq.ok_or("the message has no MsgSeqNum")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Side;
    use crate::fixed::{Price, Qty, Ts};
    use crate::oms::{FixConfig, NewOrder};
    use crate::signal::Order;

    /// A folder of its own for each test, gone at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("oms-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("orders.fix")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn id(seq: u64) -> OrderId {
        OrderId::new((2026, 1, 5), 0, seq, 1, 0)
    }

    fn message(seq: u64) -> Vec<u8> {
        let config = FixConfig {
            sender: "A".into(),
            target: "B".into(),
            sender_sub: None,
            account: None,
        };
        let price = Price(10 * Price::SCALE);
        let order = Order {
            side: Side::Buy,
            price,
            qty: Qty(1),
            bid: price,
            ask: price,
            tif: Default::default(),
        };
        let new = NewOrder {
            msg_seq: seq,
            sending_time: Ts(0),
            id: &id(seq),
            symbol: b"A       ",
            order: &order,
            transact_time: Ts(0),
            poss_resend: false,
        };
        Encoder::new(&config).unwrap().encode(&new).to_vec()
    }

    fn lines(range: std::ops::Range<u64>) -> Vec<u8> {
        range
            .flat_map(|seq| [&message(seq)[..], b"\n"].concat())
            .collect()
    }

    #[test]
    fn messages_are_lines() {
        let folder = Folder::new("lines");
        let mut file = File::create(&folder.file()).unwrap();
        for seq in 0..3 {
            assert_eq!(file.send(&message(seq)), Ok(true));
        }
        assert_eq!(fs::read(folder.file()).unwrap(), b"");
        assert_eq!(file.turn(), Ok(lines(0..3).len()));
        assert_eq!(file.turn(), Ok(0));
        file.send(&message(3)).unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(folder.file()).unwrap(), lines(0..4));
        let error = File::create(&folder.file()).unwrap_err().to_string();
        assert!(
            error.ends_with("orders.fix: create: File exists (os error 17)"),
            "{error}"
        );
    }

    /// A run can be killed after any byte. Each round waits for the disk, so not every byte is
    /// tried, but all around the ends of lines are.
    #[test]
    fn a_file_cut_anywhere_resumes_after_its_last_whole_message() {
        let folder = Folder::new("cut");
        let whole = lines(1..4);
        let line_bytes = lines(1..2).len();
        let is_tried = |len: &usize| len.is_multiple_of(13) || (len + 2) % line_bytes < 5;
        for len in (0..=whole.len()).filter(is_tried) {
            fs::write(folder.file(), &whole[..len]).unwrap();
            let Resumed {
                mut file,
                ids,
                msg_seq_last,
                cut_bytes,
            } = File::resume(&folder.file()).unwrap();
            let count = (len / line_bytes) as u64;
            assert_eq!(ids, (1..=count).map(id).collect::<Vec<OrderId>>());
            assert_eq!(
                (msg_seq_last, cut_bytes),
                (count, (len % line_bytes) as u64)
            );
            for seq in count + 1..4 {
                assert_eq!(file.send(&message(seq)), Ok(true));
            }
            file.finish().unwrap();
            assert_eq!(fs::read(folder.file()).unwrap(), whole, "cut at {len}");
        }
    }

    #[test]
    fn a_run_killed_before_its_file_was_there_makes_one() {
        let folder = Folder::new("none");
        let resumed = File::resume(&folder.file()).unwrap();
        assert!(resumed.ids.is_empty() && folder.file().exists());
    }

    /// A power cut can leave zeros where the last writes should be.
    #[test]
    fn a_tail_that_is_not_a_message_is_cut() {
        let folder = Folder::new("zeros");
        for tail in [
            vec![0; 5_000],
            b"\n\n".to_vec(),
            [&[0; 700][..], b"\nx"].concat(),
        ] {
            fs::write(folder.file(), [lines(1..3), tail.clone()].concat()).unwrap();
            let resumed = File::resume(&folder.file()).unwrap();
            assert_eq!(resumed.ids, [id(1), id(2)]);
            assert_eq!(resumed.cut_bytes, tail.len() as u64);
            drop(resumed);
            assert_eq!(fs::read(folder.file()).unwrap(), lines(1..3));
        }
    }

    #[test]
    fn damage_before_whole_messages_is_an_error() {
        let folder = Folder::new("damage");
        let mut bytes = lines(1..4);
        let line_bytes = lines(1..2).len();
        bytes[line_bytes + 40] ^= 1;
        fs::write(folder.file(), &bytes).unwrap();
        let error = File::resume(&folder.file()).unwrap_err().to_string();
        let want = format!(
            "orders.fix: byte {line_bytes}: line 2, byte {}: want 10= and the sum of the bytes \
             before it, with whole messages behind it at byte {}; only the end of a killed run's \
             file may be unfinished",
            line_bytes - 8,
            2 * line_bytes
        );
        assert!(error.ends_with(&want), "{error}");
        assert_eq!(
            fs::read(folder.file()).unwrap(),
            bytes,
            "it is left as it was"
        );
    }

    #[test]
    fn two_runs_cannot_write_one_file() {
        let folder = Folder::new("two");
        let _first = File::create(&folder.file()).unwrap();
        let error = File::resume(&folder.file()).unwrap_err().to_string();
        assert!(
            error.ends_with("orders.fix: in use by another process"),
            "{error}"
        );
    }

    #[test]
    fn a_full_buffer_says_not_now() {
        let folder = Folder::new("full");
        let mut file = File::create(&folder.file()).unwrap();
        let mut taken = 0;
        while file.send(&message(taken)).unwrap() {
            taken += 1;
        }
        assert!(!file.has_room(message(taken).len()));
        file.turn().unwrap();
        assert_eq!(file.send(&message(taken)), Ok(true));
        file.finish().unwrap();
        assert_eq!(fs::read(folder.file()).unwrap(), lines(0..taken + 1));
    }

    /// `/dev/full` is Linux's disk without room.
    #[test]
    fn a_full_disk_is_an_error_that_stays() {
        let device = Path::new("/dev/full");
        let Ok(full) = OpenOptions::new().append(true).open(device) else {
            println!("skipped: there is no /dev/full here");
            return;
        };
        let mut file = File {
            file: full,
            path: device.into(),
            waiting: Vec::new(),
            failure: None,
        };
        assert_eq!(file.send(&message(1)), Ok(true));
        let error = file.turn().unwrap_err();
        assert_eq!(
            error.to_string(),
            "/dev/full: write: No space left on device (os error 28)"
        );
        assert_eq!(file.send(&message(2)), Err(error.clone()));
        assert_eq!(file.turn(), Err(error.clone()));
        assert_eq!(file.finish(), Err(error));
    }
}
