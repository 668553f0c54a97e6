//! Faults of the real kernel, against the real program: a full disk, a failing sync, a disk that
//! lies, a power cut, a stopped process, another clock, no privileges.
//!
//! They need root, loop devices and FUSE, and small programs that `tests/real/run.sh` builds, so
//! they run from there:
//!
//! ```text
//! tests/real/run.sh quick
//! tests/real/run.sh full
//! ```
//!
//! In a plain `cargo test` each says that it is skipped.

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod fault_disk;
mod full_disk;
mod power_cut;
mod privileges;
mod stopped;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use support::crash::{Ledger, Mode, Peer, Session, is_begun, resume};
use support::{Ended, Started};

/// What `run.sh` says.
struct Real {
    is_full: bool,
    /// Where the small programs are.
    tools: PathBuf,
}

impl Real {
    /// Takes the machine for one test, or says why not.
    fn take(test: &str) -> Option<Real> {
        let depth = std::env::var("TAPELINE_REAL").ok();
        let tools = std::env::var_os("TAPELINE_REAL_TOOLS").map(PathBuf::from);
        let (Some(depth), Some(tools)) = (depth, tools) else {
            println!("skipped: {test}: it runs from tests/real/run.sh");
            return None;
        };
        let is_full = depth == "full";
        Some(Real { is_full, tools })
    }

    fn pick<T>(&self, quick: T, full: T) -> T {
        if self.is_full { full } else { quick }
    }

    /// A program that `run.sh` could build, or a skip.
    fn tool(&self, name: &str, test: &str) -> Option<PathBuf> {
        let path = self.tools.join(name);
        if !path.exists() {
            println!("skipped: {test}: {name} could not be built here");
            return None;
        }
        Some(path)
    }
}

/// Runs a command of the system; what it said if it failed.
fn system(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Result<String, String> {
    let program = program.as_ref();
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|e| format!("{}: {e}", program.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_string());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} {args:?}: {}", program.display(), said.trim()))
}

/// Something mounted; gone at its end.
struct Mount(PathBuf);

impl Mount {
    fn new(at: PathBuf, args: &[&str]) -> Result<Mount, String> {
        fs::create_dir_all(&at).unwrap();
        let path = at.to_str().unwrap();
        system("mount", &[args, &[path]].concat())?;
        Ok(Mount(at))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let path = self.0.to_str().unwrap();
        if let Err(what) = system("umount", &[path]) {
            // Something still has it open; it goes when that does.
            let _ = system("umount", &["-l", path]);
            eprintln!("{what}");
        }
    }
}

/// Durable, to a peer.
const TO_PEER: Mode = Mode {
    is_durable: true,
    is_tcp: true,
    is_plain: false,
    is_one_thread: false,
};

/// One run in a place of its own, over all its lives.
struct Trial<'a> {
    session: &'a Session,
    peer: &'a Peer,
    run: PathBuf,
    config: PathBuf,
    ledger: Ledger,
}

impl<'a> Trial<'a> {
    fn new(session: &'a Session, peer: &'a Peer, mode: Mode, place: &Path) -> Trial<'a> {
        let run = place.join("run");
        if run.exists() {
            fs::remove_dir_all(&run).unwrap();
        }
        fs::create_dir_all(place).unwrap();
        let config = session.folder.write("run.toml", mode.config(peer.address));
        let ledger = Ledger::default();
        Trial {
            session,
            peer,
            run,
            config,
            ledger,
        }
    }

    /// The first life, or one more.
    fn begin(&self, speed: &str) -> support::crash::Begun {
        if is_begun(&self.run) {
            return resume(&self.run, speed);
        }
        let _ = fs::remove_dir_all(&self.run);
        self.session.start(&self.run, &self.config, 1, speed)
    }

    /// A life is over.
    fn account(&mut self) -> Result<(), String> {
        let logged = self.session.logged(&self.run, 1)?;
        self.ledger.life(self.peer.drain(), logged)
    }

    /// Lets it come to its end, and looks at all that it left.
    fn finish(&mut self) -> Result<(), String> {
        let ended = self.begin("max").go().wait_for_end();
        self.account()?;
        if ended.code != Some(0) {
            return Err(format!(
                "resuming ends with {:?}: {}",
                ended.code, ended.stderr
            ));
        }
        self.check()
    }

    /// It is complete: nothing is lost, nothing came twice without a flag or too early.
    fn check(&self) -> Result<(), String> {
        self.ledger.check(&self.session.orders)?;
        self.session.check_results(&self.run)?;
        match (self.ledger.unflagged, self.ledger.unlogged) {
            (0, 0) => Ok(()),
            (again, early) => Err(format!(
                "{again} orders came again without 97=Y, {early} came before the log had them"
            )),
        }
    }
}

/// The exit code of what the machine refused, and one line that says why and what to do.
fn check_line(ended: &Ended, reasons: &[&str]) -> Result<(), String> {
    let lines = ended.stderr.lines();
    let lines: Vec<&str> = lines.filter(|line| line.starts_with("tapeline:")).collect();
    let [line] = lines[..] else {
        return Err(format!("want one line, it said {:?}", ended.stderr));
    };
    if ended.code != Some(5) || !reasons.iter().any(|reason| line.contains(reason)) {
        return Err(format!(
            "exit code {:?}, want 5 and one of {reasons:?}: {line}",
            ended.code
        ));
    }
    Ok(())
}

/// Nothing here takes longer.
const HANG: Duration = Duration::from_secs(60);

/// Waits until so many orders are at the peer.
fn wait_for_orders(process: &mut Started, peer: &Peer, count: usize) -> Result<(), String> {
    let began = Instant::now();
    while peer.so_far().len() < count {
        if began.elapsed() > HANG {
            return Err(format!("{count} orders did not come in {HANG:?}"));
        }
        if let Some(ended) = process.wait(Duration::from_millis(1)) {
            return Err(format!("ended before {count} orders: {}", ended.stderr));
        }
    }
    Ok(())
}
