//! What the tests of the program share: running it, folders that go away, shared captures, and
//! captures made by hand, with no code of the pipeline's own.

#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod crash;
pub mod runs;
pub mod wire;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing that the tests start takes longer, even on a machine that does much else.
const HANG: Duration = Duration::from_secs(60);

/// The program, with an environment that changes nothing.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapeline"));
    command
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

/// Runs the program to its end, and says how that was. One that hangs is killed and fails the
/// test; so does one that panics.
#[track_caller]
pub fn tapeline<I: IntoIterator<Item: AsRef<OsStr>>>(args: I) -> Ended {
    let mut command = program();
    command.args(args);
    run(&mut command)
}

/// [`tapeline`] with any command.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    Started::new(command).wait_for_end()
}

/// One test of a file at a time: each runs a program that wants all cores for itself.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a process ended, and what it said.
#[derive(Clone, Debug)]
pub struct Ended {
    /// `None` if it was killed.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Fails unless the process ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ended {
        let Ended { stdout, stderr, .. } = &self;
        assert_eq!(
            self.code,
            Some(code),
            "\nstdout: {stdout}\nstderr: {stderr}"
        );
        self
    }

    /// Fails unless stderr has all of these texts, in whichever order.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Ended {
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "want `{text}` in stderr: {}",
                self.stderr
            );
        }
        self
    }

    /// Its stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("stdout is not JSON: {e}: {}", self.stdout))
    }
}

/// A running process whose output is read all the time, so that it never waits for us.
pub struct Started {
    child: Child,
    /// The lines of stderr as they come. Closes when the outputs are at their end, which is when
    /// the process is.
    lines: Receiver<String>,
    stderr: String,
    stdout: Option<JoinHandle<String>>,
}

impl Started {
    pub fn new(command: &mut Command) -> Started {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let (sender, lines) = mpsc::channel();
        let (mut out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let is_open = sender.clone();
        let stdout = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = out.read_to_end(&mut bytes);
            drop(is_open);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        std::thread::spawn(move || {
            let mut err = BufReader::new(err);
            let mut line = Vec::new();
            while err
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                line.clear();
            }
        });
        Started {
            child,
            lines,
            stderr: String::new(),
            stdout: Some(stdout),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits at most so long for the process to end.
    pub fn wait(&mut self, at_most: Duration) -> Option<Ended> {
        let is_over = self.listen(at_most, |_| false).is_none();
        is_over.then(|| self.end())
    }

    /// Waits for the process to end, and fails the test if it does not.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> Ended {
        let ended = self.wait(HANG);
        ended.unwrap_or_else(|| panic!("hangs; it said: {}", self.stderr))
    }

    /// Waits for a line with this text on stderr.
    #[track_caller]
    pub fn wait_for_line(&mut self, text: &str) {
        let found = self.listen(HANG, |line| line.contains(text));
        assert_eq!(
            found,
            Some(true),
            "want a line with `{text}`, it said: {}",
            self.stderr
        );
    }

    /// Reads stderr until a line is wanted (`true`) or time is up (`false`); `None` at its end.
    fn listen(&mut self, at_most: Duration, is_wanted: impl Fn(&str) -> bool) -> Option<bool> {
        let deadline = Instant::now() + at_most;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.stderr.push_str(&line);
                    if is_wanted(&line) {
                        return Some(true);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Some(false),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// SIGKILL.
    pub fn kill(mut self) -> Ended {
        let _ = self.child.kill();
        self.listen(HANG, |_| false);
        self.end()
    }

    /// SIGINT.
    pub fn interrupt(&self) {
        signal(self.id(), "INT");
    }

    fn end(&mut self) -> Ended {
        let status = self.child.wait().expect("a child can be waited for");
        let stdout = self.stdout.take().expect("a process ends once");
        let stdout = stdout.join().expect("reading does not panic");
        let ended = Ended {
            code: status.code(),
            stdout,
            stderr: self.stderr.clone(),
        };
        assert!(
            !ended.stderr.contains("panicked"),
            "a panic: {}",
            ended.stderr
        );
        ended
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // After `wait` this does nothing; in a test that fails it leaves no process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by name. The standard library only knows SIGKILL.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(process.to_string())
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "kill -{name} {process}"
    );
}

/// A folder of a test's own; gone at its end.
pub struct Folder(PathBuf);

impl Folder {
    /// On the disk that the project is built on.
    pub fn new(name: &str) -> Folder {
        Folder::under(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
    }

    /// In memory where the machine has a place for that: a run waits for its disk some tens of
    /// times, which adds up where the disk is not the question.
    pub fn quick(name: &str) -> Folder {
        let memory = Path::new("/dev/shm");
        let is_there = memory.is_dir();
        Folder::under(
            if is_there {
                memory
            } else {
                Path::new(env!("CARGO_TARGET_TMPDIR"))
            },
            name,
        )
    }

    fn under(parent: &Path, name: &str) -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("tapeline-{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The folder of shared captures, `shared/data` beside the checkout or above it; prints that the
/// test skips where there is none.
pub fn shared_data(test: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("shared/data"))
        .find(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: {test}: there is no folder shared/data here or above");
    }
    found
}

/// All files under a folder whose names end in one of these, in order.
pub fn files_under(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Settings for runs that leave little on the disk.
pub const SMALL: &str = "[log]\nsegment = \"1MiB\"\nframe = \"64KiB\"\n";

/// A JSON file.
#[track_caller]
pub fn json(path: &Path) -> serde_json::Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A run's manifest.
#[track_caller]
pub fn manifest(run: &Path) -> serde_json::Value {
    json(&run.join("manifest.json"))
}

/// What a run made of one symbol.
#[track_caller]
pub fn symbol(run: &Path, name: &str) -> serde_json::Value {
    let symbols = json(&run.join("symbols.json"));
    let found = symbols
        .as_array()
        .unwrap()
        .iter()
        .find(|symbol| symbol["symbol"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {}", run.display()))
        .clone()
}

/// A run's digests, as text.
#[track_caller]
pub fn digests(run: &Path) -> String {
    let path = run.join("digests.csv");
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The ClOrdID (11) and PossResend (97) of each message in some bytes of FIX, in their order.
pub fn orders_in(fix: &[u8]) -> Vec<(String, bool)> {
    let text = String::from_utf8(fix.to_vec()).expect("FIX of ours is ASCII");
    let messages = text.split("8=FIX.4.4\x01").skip(1);
    messages
        .map(|message| {
            let field = |tag: &str| {
                let fields = message.split('\x01');
                fields
                    .map(|field| field.trim_start())
                    .find_map(|field| field.strip_prefix(tag))
            };
            let id = field("11=").expect("an order has a ClOrdID").to_string();
            (id, field("97=") == Some("Y"))
        })
        .collect()
}

/// The orders in a run's files, by shard.
pub fn orders_of(run: &Path, shards: usize) -> Vec<Vec<String>> {
    (0..shards)
        .map(|shard| {
            let path = run.join(format!("orders/shard-{shard}.fix"));
            let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            orders_in(&bytes).into_iter().map(|(id, _)| id).collect()
        })
        .collect()
}

/// SplitMix64: any seed is a good one.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }
}

/// Paths and texts as one list of arguments.
#[macro_export]
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        [$(std::ffi::OsString::from(&$arg)),*]
    };
}
