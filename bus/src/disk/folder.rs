//! A folder of files that are written once and then replaced as a whole: checkpoints, savepoints.
//!
//! [`Folder`] has the steps one by one, because their order is what survives a crash:
//! `create`, `append` ..., `sync`, `rename`, `sync_names`. [`RealFolder`] does them on a file
//! system, [`SimFolder`] in memory, where a crash leaves what the steps so far promise and, of
//! everything else, whatever luck wants.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::sim::Random;
use super::{DiskError, Op};

/// What is done with a folder, step by step.
pub trait Folder {
    /// The names of all files, sorted.
    fn list(&self) -> Result<Vec<String>, DiskError>;
    /// A whole file.
    fn read(&self, name: &str) -> Result<Vec<u8>, DiskError>;
    /// An empty file, in place of one that has this name.
    fn create(&mut self, name: &str) -> Result<(), DiskError>;
    /// More bytes behind what a file has that was created here.
    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), DiskError>;
    /// Makes a file's bytes durable; not its name.
    fn sync(&mut self, name: &str) -> Result<(), DiskError>;
    /// Gives a file another name, at once in place of one that has it.
    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError>;
    /// Takes a file away.
    fn remove(&mut self, name: &str) -> Result<(), DiskError>;
    /// Makes names durable: what was created, renamed and removed.
    fn sync_names(&mut self) -> Result<(), DiskError>;
    /// What to call a file in a message.
    fn path(&self, name: &str) -> PathBuf;
}

/// A directory.
#[derive(Debug)]
pub struct RealFolder {
    dir: PathBuf,
    /// The file that is being written.
    open: Option<(String, File)>,
}

impl RealFolder {
    /// The directory, made if need be. That it was made is durable.
    pub fn open(dir: &Path) -> Result<RealFolder, DiskError> {
        let fail = |error: io::Error| DiskError::io(Op::Open, dir, &error);
        if !dir.is_dir() {
            std::fs::create_dir_all(dir).map_err(fail)?;
            for above in dir.ancestors().skip(1).take(3) {
                // The root of a relative path is named by nothing.
                if above.as_os_str().is_empty() {
                    break;
                }
                File::open(above)
                    .and_then(|above| above.sync_all())
                    .map_err(fail)?;
            }
        }
        Ok(RealFolder {
            dir: dir.to_owned(),
            open: None,
        })
    }

    /// Its path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn current(&mut self, name: &str) -> Result<&mut File, DiskError> {
        let is_open = self.open.as_ref().is_some_and(|(open, _)| open == name);
        if !is_open {
            let path = self.dir.join(name);
            let file = OpenOptions::new().append(true).open(&path);
            let file = file.map_err(|error| DiskError::io(Op::Open, path, &error))?;
            self.open = Some((name.to_owned(), file));
        }
        Ok(&mut self.open.as_mut().expect("just opened").1)
    }
}

impl Folder for RealFolder {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        let fail = |error| DiskError::io(Op::List, &self.dir, &error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(fail)? {
            // A name that is not text is none of ours.
            names.extend(entry.map_err(fail)?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, DiskError> {
        let path = self.dir.join(name);
        std::fs::read(&path).map_err(|error| DiskError::io(Op::Read, path, &error))
    }

    fn create(&mut self, name: &str) -> Result<(), DiskError> {
        let path = self.dir.join(name);
        let file = File::create(&path).map_err(|error| DiskError::io(Op::Open, path, &error))?;
        self.open = Some((name.to_owned(), file));
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let path = self.dir.join(name);
        let file = self.current(name)?;
        file.write_all(bytes)
            .map_err(|error| DiskError::io(Op::Write, path, &error))
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        let path = self.dir.join(name);
        let file = self.current(name)?;
        file.sync_all()
            .map_err(|error| DiskError::io(Op::Sync, path, &error))
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.open = None;
        let path = self.dir.join(to);
        std::fs::rename(self.dir.join(from), &path)
            .map_err(|error| DiskError::io(Op::Rename, path, &error))
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.open = None;
        let path = self.dir.join(name);
        std::fs::remove_file(&path).map_err(|error| DiskError::io(Op::Remove, path, &error))
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|error| DiskError::io(Op::Sync, &self.dir, &error))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// What goes wrong with a simulated folder, besides crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderFaults {
    /// The operation with this number, from 1, fails with this error number.
    pub fail: Option<(u64, i32)>,
    /// A sync of a file says it worked and did nothing.
    pub sync_lies: bool,
    /// The same for names.
    pub sync_names_lies: bool,
}

/// A folder in memory.
///
/// What a crash leaves: of the changes of names since `sync_names`, in their order, as many as
/// luck wants; of the bytes appended since a file's `sync`, any of its 512-byte sectors, zeros for
/// the others, and any length.
#[derive(Clone, Debug)]
pub struct SimFolder {
    faults: FolderFaults,
    files: Vec<SimFile>,
    /// Which file has which name, for who looks now.
    names: BTreeMap<String, usize>,
    /// The same, as it would survive a crash whatever the luck.
    names_durable: BTreeMap<String, usize>,
    /// What was done to names since.
    changes: Vec<Change>,
    ops: Cell<u64>,
    fired: Cell<bool>,
}

#[derive(Clone, Debug, Default)]
struct SimFile {
    bytes: Vec<u8>,
    durable_bytes: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Put(String, usize),
    Remove(String),
}

fn apply(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Put(name, file) => {
            // A rename takes the old name away in the same step.
            names.retain(|_, other| other != file);
            names.insert(name.clone(), *file);
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}

const SECTOR_BYTES: usize = 512;

impl SimFolder {
    /// An empty folder.
    pub fn new(faults: FolderFaults) -> SimFolder {
        SimFolder {
            faults,
            files: Vec::new(),
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            changes: Vec::new(),
            ops: Cell::new(0),
            fired: Cell::new(false),
        }
    }

    /// How many operations there were.
    pub fn ops(&self) -> u64 {
        self.ops.get()
    }

    /// Whether the operation that was to fail has failed.
    pub fn fired(&self) -> bool {
        self.fired.get()
    }

    /// What a crash now leaves, as `seed` has it, with these faults from now on.
    pub fn crash(mut self, seed: u64, faults: FolderFaults) -> SimFolder {
        let mut random = Random(seed);
        let kept = random.below(self.changes.len() as u64 + 1) as usize;
        let mut names = std::mem::take(&mut self.names_durable);
        for change in &self.changes[..kept] {
            apply(&mut names, change);
        }
        let mut after = SimFolder::new(faults);
        for (name, file) in names {
            let SimFile {
                mut bytes,
                durable_bytes,
            } = self.files[file].clone();
            let torn = bytes.len() - durable_bytes;
            if torn > 0 {
                let left = match random.below(3) {
                    0 => torn,
                    1 => 0,
                    _ => random.below(torn as u64 + 1) as usize,
                };
                bytes.truncate(durable_bytes + left);
                for sector in bytes[durable_bytes..].chunks_mut(SECTOR_BYTES) {
                    if random.below(2) == 0 {
                        sector.fill(0);
                    }
                }
            }
            after.names.insert(name, after.files.len());
            after.files.push(SimFile {
                durable_bytes: bytes.len(),
                bytes,
            });
        }
        after.names_durable = after.names.clone();
        after
    }

    /// As if the process had been killed: what it did stays, what luck may take stays open.
    pub fn kill(mut self, faults: FolderFaults) -> SimFolder {
        self.faults = faults;
        self.ops.set(0);
        self.fired.set(false);
        self
    }

    /// Changes a byte at rest.
    pub fn flip(&mut self, name: &str, at: usize, mask: u8) {
        let file = self.names[name];
        self.files[file].bytes[at] ^= mask;
    }

    fn step(&self, op: Op, name: &str) -> Result<(), DiskError> {
        self.ops.set(self.ops.get() + 1);
        match self.faults.fail {
            Some((at, errno)) if at == self.ops.get() => {
                self.fired.set(true);
                Err(DiskError::new(op, name, errno))
            }
            _ => Ok(()),
        }
    }

    fn file(&self, op: Op, name: &str) -> Result<usize, DiskError> {
        let file = self.names.get(name).copied();
        file.ok_or_else(|| DiskError::new(op, name, libc::ENOENT))
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }
}

impl Folder for SimFolder {
    fn list(&self) -> Result<Vec<String>, DiskError> {
        self.step(Op::List, "")?;
        Ok(self.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, DiskError> {
        self.step(Op::Read, name)?;
        Ok(self.files[self.file(Op::Read, name)?].bytes.clone())
    }

    fn create(&mut self, name: &str) -> Result<(), DiskError> {
        self.step(Op::Open, name)?;
        self.files.push(SimFile::default());
        self.change(Change::Put(name.to_owned(), self.files.len() - 1));
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let done = self.step(Op::Write, name);
        let file = self.file(Op::Write, name)?;
        // A write that fails may have written a part.
        let count = if done.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        self.files[file].bytes.extend_from_slice(&bytes[..count]);
        done
    }

    fn sync(&mut self, name: &str) -> Result<(), DiskError> {
        self.step(Op::Sync, name)?;
        let file = self.file(Op::Sync, name)?;
        if !self.faults.sync_lies {
            let file = &mut self.files[file];
            file.durable_bytes = file.bytes.len();
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), DiskError> {
        self.step(Op::Rename, to)?;
        let file = self.file(Op::Rename, from)?;
        self.change(Change::Put(to.to_owned(), file));
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.step(Op::Remove, name)?;
        self.file(Op::Remove, name)?;
        self.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_names(&mut self) -> Result<(), DiskError> {
        self.step(Op::Sync, "")?;
        if !self.faults.sync_names_lies {
            self.names_durable = self.names.clone();
            self.changes.clear();
        }
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new("simulated").join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What luck can leave after `steps`: every listing with every content.
    fn outcomes(steps: impl Fn(&mut SimFolder)) -> Vec<Vec<(String, Vec<u8>)>> {
        let mut found = Vec::new();
        for seed in 0..200 {
            let mut folder = SimFolder::new(FolderFaults::default());
            steps(&mut folder);
            let after = folder.crash(seed, FolderFaults::default());
            let names = after.list().unwrap();
            let files = names.into_iter().map(|name| {
                let bytes = after.read(&name).unwrap();
                (name, bytes)
            });
            found.push(files.collect::<Vec<_>>());
        }
        found.sort();
        found.dedup();
        found
    }

    fn replaced(folder: &mut SimFolder, is_synced: bool) {
        for (content, durable) in [(&[1u8; 600], true), (&[2u8; 600], is_synced)] {
            folder.create("a.tmp").unwrap();
            folder.append("a.tmp", content).unwrap();
            if durable {
                folder.sync("a.tmp").unwrap();
            }
            folder.rename("a.tmp", "a").unwrap();
            if durable {
                folder.sync_names().unwrap();
            }
        }
    }

    #[test]
    fn synced_in_order_a_file_is_the_old_or_the_new_one() {
        let wanted = [vec![("a".to_string(), vec![2; 600])]];
        assert_eq!(outcomes(|folder| replaced(folder, true)), wanted);
    }

    #[test]
    fn renamed_before_it_was_synced_a_file_can_be_anything() {
        let found = outcomes(|folder| replaced(folder, false));
        let has = |content: &[u8]| {
            let is = |files: &Vec<(String, Vec<u8>)>| {
                files
                    .iter()
                    .any(|(name, bytes)| name == "a" && bytes == content)
            };
            found.iter().any(is)
        };
        assert!(has(&[1; 600]) && has(&[2; 600]) && has(&[0; 600]) && has(&[]));
    }

    #[test]
    fn a_real_folder_does_the_same() {
        let dir = std::env::temp_dir().join(format!("tapeline-folder-{}", std::process::id()));
        let mut folder = RealFolder::open(&dir).unwrap();
        for content in [b"one", b"two"] {
            folder.create("a.tmp").unwrap();
            folder.append("a.tmp", content).unwrap();
            folder.append("a.tmp", b"!").unwrap();
            folder.sync("a.tmp").unwrap();
            folder.rename("a.tmp", "a").unwrap();
            folder.sync_names().unwrap();
        }
        assert_eq!(folder.list().unwrap(), ["a"]);
        assert_eq!(folder.read("a").unwrap(), b"two!");
        folder.remove("a").unwrap();
        let error = folder.read("a").unwrap_err().to_string();
        assert!(error.contains("read failed: No such file"), "{error}");
        std::fs::remove_dir(&dir).unwrap();
    }
}
