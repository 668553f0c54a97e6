//! A ring of orders between processes: a writer that is killed and goes on, and readers in Rust, C and
//! Python beside it, fast enough or not.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bus::oms::ring::{Next, Reader};
use bus::oms::{Gateway, OrderId, Ring, Row, RowKind};
use bus::{Price, Qty, Side};

/// Whoever takes longer hangs.
const HANG: Duration = Duration::from_secs(120);
/// Says to this program that it is the writer: `ROOM COUNT PATH`.
const WRITER: &str = "RING_WRITER";

fn id(number: u64) -> OrderId {
    OrderId::new((2026, 1, 5), 0, number, 3, 0)
}

fn write(ring: &mut Ring, number: u64) {
    ring.put(&Row {
        kind: RowKind::Order,
        id: id(number).as_bytes(),
        msg_seq: number,
        sent: None,
        transacted: None,
        symbol: b"ABC",
        side: Side::Sell,
        qty: Some(Qty(number as i64)),
        price: Some(Price(number as i64 * 3)),
        time_in_force: 0,
        poss_resend: false,
        exec_type: 0,
        status: 0,
        last_qty: None,
        last_price: None,
        filled: None,
    });
}

/// Where the test starts itself again, this is the writer's process; by itself it does nothing.
#[test]
fn a_writer() {
    let Some(told) = std::env::var_os(WRITER) else {
        return;
    };
    let told = told.into_string().unwrap();
    let mut words = told.splitn(3, ' ');
    let mut number = || words.next().unwrap().parse::<u64>().unwrap();
    let (room, count) = (number(), number());
    let path = Path::new(words.next().unwrap());
    let (mut ring, ids) = Ring::resume(path, room).unwrap();
    let rows = ring.rows();
    assert_eq!(ids.last().map_or(0, |id| id.key().seq), rows);
    for number in rows + 1..=count {
        write(&mut ring, number);
    }
    ring.finish().unwrap();
}

struct Running(Child, BufReader<ChildStdout>);

impl Running {
    fn writer(room: u64, count: u64, path: &Path) -> Running {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_writer"]);
        command.env(WRITER, format!("{room} {count} {}", path.display()));
        Running::new(&mut command)
    }

    fn new(command: &mut Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let spawned = command.spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let out = BufReader::new(child.stdout.take().unwrap());
        Running(child, out)
    }

    /// What it printed.
    fn end(mut self, deadline: Instant) -> String {
        loop {
            if self.0.try_wait().unwrap().is_some() {
                break;
            }
            if Instant::now() >= deadline {
                let _ = self.0.kill();
                panic!("{:?} hangs", self.0);
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let status = self.0.wait().unwrap();
        let mut said = String::new();
        self.1.read_to_string(&mut said).unwrap();
        assert!(status.success(), "{status}: {said}");
        said
    }

    /// Waits until it has opened the ring.
    fn ready(mut self) -> Running {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        self
    }
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The readers in other languages that this machine has, reading.
fn readers(folder: &Path, ring: &Path) -> Vec<(&'static str, Running)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut readers = Vec::new();
    let program = folder.join("reader");
    let mut cc = Command::new("cc");
    cc.args([
        "-std=gnu11",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-pedantic",
        "-o",
    ]);
    cc.arg(&program).arg("-I").arg(here.join("include"));
    cc.arg(here.join("tests/readers/ring.c"));
    match cc.status() {
        Ok(status) => {
            assert!(status.success(), "the reader in C does not compile");
            readers.push(("C", Running::new(Command::new(&program).arg(ring)).ready()));
        }
        Err(error) => println!("skipped: no reader in C: cc: {error}"),
    }
    match Command::new("python3").arg("--version").output() {
        Ok(output) if output.status.success() => {
            let mut python = Command::new("python3");
            python.arg(here.join("tests/readers/ring.py")).arg(ring);
            readers.push(("Python", Running::new(&mut python).ready()));
        }
        _ => println!("skipped: no reader in Python: there is no python3"),
    }
    readers
}

/// Lets a writer that is killed so many times write so many records; how many each reader has lost.
fn lost_by_readers(name: &str, room: u64, count: u64, kills: u64) -> Vec<(String, u64)> {
    let folder = Folder(std::env::temp_dir().join(format!("ring-{name}-{}", std::process::id())));
    let _ = std::fs::remove_dir_all(&folder.0);
    std::fs::create_dir_all(&folder.0).unwrap();
    let path = folder.0.join("orders.ring");
    drop(Ring::begin(&path, room).unwrap());
    let readers = readers(&folder.0, &path);
    let mut reader = Reader::open(&path).unwrap();
    let deadline = Instant::now() + HANG;
    let mut writer = Running::writer(room, count, &path);
    let (mut read, mut lost, mut last, mut killed) = (0, 0, 0, 0);
    loop {
        assert!(
            Instant::now() < deadline,
            "{read} read, {lost} lost of {count}"
        );
        match reader.next() {
            Next::Record(record) => {
                let number = record.seq();
                assert!(number > last);
                assert_eq!(record.order_id(), Some(id(number)));
                assert_eq!(record.price(), Some(Price(number as i64 * 3)));
                (read, last) = (read + 1, number);
            }
            Next::Lost(more) => lost += more,
            Next::Nothing => {}
            Next::Ended => break,
        }
        if killed < kills && last > count * (killed + 1) / (kills + 1) {
            writer.0.kill().unwrap();
            writer.0.wait().unwrap();
            writer = Running::writer(room, count, &path);
            killed += 1;
        }
    }
    writer.end(deadline);
    assert_eq!((read + lost, last), (count, count));
    let mut all = vec![("Rust".to_string(), lost)];
    for (name, reader) in readers {
        let said = reader.end(deadline);
        let mut numbers = said
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse::<u64>().ok());
        let mut number = || numbers.next().unwrap_or_else(|| panic!("{name}: {said}"));
        let (read, lost, last) = (number(), number(), number());
        assert_eq!((read + lost, last), (count, count), "{name}: {said}");
        assert!(read > 0, "{name}: {said}");
        all.push((name.to_string(), lost));
    }
    println!("{name}: lost {all:?}");
    all
}

#[test]
fn readers_have_every_record_where_there_is_room_and_the_writer_is_killed() {
    for (name, lost) in lost_by_readers("room", 1 << 15, 30_000, 5) {
        assert_eq!(lost, 0, "{name}");
    }
}

#[test]
fn readers_that_are_overrun_know_how_much_they_lost() {
    let lost = lost_by_readers("overrun", 64, 3_000_000, 3);
    // Whoever is started after the writer, or slower, has lost some; Python always is.
    for (name, lost) in lost {
        assert!(name != "Python" || lost > 0);
    }
}
