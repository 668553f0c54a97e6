//! A sample session that is replayed with the same settings in several ways.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Folder, Started, program, tapeline};

/// A session of four seconds and twelve symbols, and settings for runs of it.
pub struct Runs {
    pub folder: Folder,
    pub capture: PathBuf,
    pub config: PathBuf,
}

impl Runs {
    pub fn new(name: &str, config: &str) -> Runs {
        let folder = Folder::new(name);
        let capture = folder.join("session.pcap");
        let sample = "sample itch --symbols 12 --seconds 4 --rate 4000 --seed 8 -o";
        let args = sample.split(' ').map(OsString::from);
        tapeline(args.chain([capture.clone().into()])).expect(0);
        let config = folder.write("run.toml", config);
        Runs {
            folder,
            capture,
            config,
        }
    }

    /// A replay into a folder.
    pub fn command(&self, run: &Path) -> Command {
        let mut command = program();
        command.arg("replay").arg(&self.capture).arg("-o").arg(run);
        command.arg("-c").arg(&self.config);
        command
    }

    /// The same, at some shards and speed.
    pub fn start(&self, run: &Path, shards: usize, speed: &str) -> Started {
        let mut command = self.command(run);
        Started::new(command.args(["--shards", &shards.to_string(), "--speed", speed]))
    }

    /// A replay at the session's own pace that has its logs and has run for so many tenths of a second.
    pub fn midway(&self, run: &Path, shards: usize, tenths: u32) -> Started {
        let mut process = self.start(run, shards, "1x");
        let mut waited = 0;
        while !run.join("log").exists() || waited < tenths {
            waited += 1;
            let ended = process.wait(Duration::from_millis(100));
            assert_eq!(ended.map(|ended| ended.code), None);
        }
        process
    }
}
