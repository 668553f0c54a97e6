//! Logs made by earlier versions of the format are read by this one.

use std::path::{Path, PathBuf};

use bus::disk::Backend;
use bus::log::{End, Log, LogConfig, LogReader};

use crate::check::{append, read_all, small};

fn golden(version: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/log/golden").join(version)
}

fn copy_of(from: &Path) -> PathBuf {
    let to = std::env::temp_dir().join(format!("tapeline-golden-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    to
}

/// Four segments by two writers: the second was killed before the third segment was full, and
/// the fourth was ended in order.
#[test]
fn a_log_of_version_1_is_read_and_gone_on_with() {
    let dir = golden("v1");
    let found = read_all(bus::disk::Directory::new(&dir)).unwrap();
    assert_eq!((found.cells, found.segments), (320, 4));
    assert_eq!((found.end, found.finished), (End::Clean, true));
    assert_eq!(
        (found.epoch, found.build_hash, found.config_hash),
        (1, 1, 2)
    );
    assert_eq!(LogReader::open_from(&dir, 300).unwrap().count(), 20 - 3);

    let dir = copy_of(&dir);
    let config = LogConfig {
        dir: dir.clone(),
        segment_bytes: 64 << 10,
        ..small()
    };
    let disk = config.open_disk(Backend::Plain).unwrap();
    let (mut log, _) = Log::resume(config, disk).unwrap();
    append(&mut log);
    log.finish().unwrap();
    drop(log);
    let again = read_all(bus::disk::Directory::new(&dir)).unwrap();
    assert_eq!((again.cells, again.segments, again.epoch), (321, 5, 2));
    std::fs::remove_dir_all(&dir).unwrap();
}
