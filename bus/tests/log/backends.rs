//! The log on real files.

use std::path::{Path, PathBuf};

use bus::disk::{Backend, Directory, Disk, Geometry, RealDisk};
use bus::log::{End, Log, LogConfig, LogError, verify};

use crate::check::{append, fill, read_all, small};

/// A directory of one's own, gone when the test is over.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        Dir::under(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
    }

    fn under(parent: &Path, name: &str) -> Dir {
        let dir = parent.join(format!("log-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        Dir(dir)
    }

    fn config(&self) -> LogConfig {
        LogConfig {
            dir: self.0.clone(),
            ..small()
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn create(config: &LogConfig, backend: Backend) -> Log<RealDisk> {
    Log::create(config.clone(), config.open_disk(backend).unwrap()).unwrap()
}

fn round_trip(dir: &Dir, backend: Backend) {
    let config = dir.config();
    let mut log = create(&config, backend);
    println!("{}", log.disk().describe());
    fill(&mut log, 20_000).unwrap();
    log.finish().unwrap();
    assert_eq!(log.durable_upto(), log.next_cell());
    let cells = log.next_cell();
    drop(log);
    let recovered = read_all(Directory::new(&config.dir)).unwrap();
    assert_eq!((recovered.cells, recovered.end), (cells, End::Clean));
    assert!(recovered.finished && recovered.segments > 10);

    // Once more, and not ended in order.
    let (mut log, again) = Log::resume(config.clone(), config.open_disk(backend).unwrap()).unwrap();
    assert_eq!(again, recovered);
    fill(&mut log, 30_000).unwrap();
    let durable = log.durable_upto();
    assert!(durable > 20_000);
    drop(log);
    let (mut log, found) = Log::resume(config.clone(), config.open_disk(backend).unwrap()).unwrap();
    assert!(found.cells >= durable && !found.finished);
    assert_eq!((found.epoch, log.next_cell()), (1, found.cells));
    append(&mut log);
    log.finish().unwrap();
    let last = verify(&config.dir).unwrap();
    assert_eq!((last.epoch, last.finished), (2, true));
    assert_eq!(last, read_all(Directory::new(&config.dir)).unwrap());
}

#[test]
fn plain_files_give_back_what_was_put_in() {
    round_trip(&Dir::new("plain"), Backend::Plain);
}

#[test]
fn io_uring_gives_back_what_was_put_in() {
    round_trip(&Dir::new("best"), Backend::Best);
}

/// More requests than a ring takes stand for a system that forbids rings.
#[test]
fn where_io_uring_is_refused_plain_files_take_over_and_say_so() {
    let dir = Dir::new("refused");
    let geometry = Geometry {
        segment_bytes: 8192,
        slot_bytes: 4096,
        slot_count: 17_000,
    };
    let disk = RealDisk::open(&dir.0, geometry, Backend::Best).unwrap();
    let said = disk.describe();
    let want = "log: pwrite and fdatasync on a thread (io_uring is refused: Invalid argument";
    assert!(said.starts_with(want), "{said}");
}

#[test]
fn a_memory_file_system_works_too() {
    let shm = Path::new("/dev/shm");
    if !shm.is_dir() {
        println!("skipped: there is no /dev/shm");
        return;
    }
    round_trip(&Dir::under(shm, "best"), Backend::Best);
    round_trip(&Dir::under(shm, "plain"), Backend::Plain);
}

#[test]
fn a_second_writer_is_refused() {
    let dir = Dir::new("second");
    let config = dir.config();
    let log = create(&config, Backend::Plain);
    let refused = config.open_disk(Backend::Best).unwrap_err();
    let LogError::InUse { pid, .. } = &refused else {
        panic!("{refused}")
    };
    assert_eq!(
        pid.as_deref(),
        Some(std::process::id().to_string().as_str())
    );
    drop(log);
    let disk = config.open_disk(Backend::Plain).unwrap();
    let exists = Log::create(config.clone(), disk).unwrap_err();
    assert!(matches!(exists, LogError::Exists { .. }), "{exists}");
    assert!(
        exists
            .to_string()
            .ends_with("0000000000.seg: there already is a log"),
        "{exists}"
    );
}
