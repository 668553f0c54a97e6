//! Reading `/proc`, `/sys` and `/etc` below a root, so that a made-up host can be looked at.
//!
//! Nothing here writes, and nothing trusts what it reads: files are bounded, and text that ends
//! up before people has no control characters.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::cpus::Cpus;

/// What was asked for, or why it could not be found out.
pub type Answer<T> = Result<T, String>;

/// More than any file we read has; `/proc/interrupts` of a large machine comes closest.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// More entries than a folder that we list has.
const ENTRIES_MAX: usize = 100_000;

/// A tree that looks like `/`.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The tree below `root`.
    pub fn new(root: &Path) -> Tree {
        Tree {
            root: root.to_path_buf(),
        }
    }

    /// Whether it is this machine's own.
    pub fn is_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text, without the white space around it. `path` is from `/`.
    pub fn text(&self, path: &str) -> Answer<String> {
        let why = |e: std::io::Error| match e.kind() {
            ErrorKind::NotFound => format!("there is no {path}"),
            ErrorKind::PermissionDenied => format!("{path} may not be read"),
            _ => format!("{path} cannot be read"),
        };
        let place = self.place(path);
        // Opening a pipe that nobody writes to would wait for ever.
        if !fs::metadata(&place).map_err(why)?.is_file() {
            return Err(format!("{path} is no file"));
        }
        let mut bytes = Vec::new();
        let file = File::open(&place).map_err(why)?;
        file.take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(why)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_string())
    }

    /// [`Tree::text`], or `None` if there is no such file.
    pub fn text_if_there(&self, path: &str) -> Answer<Option<String>> {
        if self.has(path) {
            self.text(path).map(Some)
        } else {
            Ok(None)
        }
    }

    /// A file with one number.
    pub fn number(&self, path: &str) -> Answer<i64> {
        let text = self.text(path)?;
        text.parse()
            .map_err(|_| format!("{path} holds `{}`, want a number", clip(&text)))
    }

    /// A file with a list of cores.
    pub fn cpus(&self, path: &str) -> Answer<Cpus> {
        Cpus::parse(&self.text(path)?).map_err(|what| format!("{path}: {what}"))
    }

    /// The word in brackets: `always [madvise] never`.
    pub fn chosen(&self, path: &str) -> Answer<String> {
        let text = self.text(path)?;
        let inner = text
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        match inner {
            Some((chosen, _)) => Ok(chosen.to_string()),
            None => Err(format!(
                "{path} holds `{}`, want one word in brackets",
                clip(&text)
            )),
        }
    }

    /// Whether there is such a file or folder.
    pub fn has(&self, path: &str) -> bool {
        self.place(path).exists()
    }

    /// Where a link leads; a plain file's text stands in for one.
    pub fn link(&self, path: &str) -> Answer<String> {
        match fs::read_link(self.place(path)) {
            Ok(to) => Ok(to.to_string_lossy().into_owned()),
            Err(_) => self.text(path),
        }
    }

    /// The names in a folder: numbers by their value, then the rest.
    pub fn names(&self, path: &str) -> Answer<Vec<String>> {
        let entries = fs::read_dir(self.place(path)).map_err(|e| match e.kind() {
            ErrorKind::NotFound => format!("there is no {path}"),
            _ => format!("{path} cannot be listed"),
        })?;
        let mut names: Vec<String> = entries
            .take(ENTRIES_MAX)
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_by_key(|name| (name.parse::<u64>().unwrap_or(u64::MAX), name.clone()));
        Ok(names)
    }

    /// The names of running processes, for those of which they may be read.
    pub fn process_names(&self) -> Answer<Vec<String>> {
        let ids = self.names("/proc")?;
        let ids = ids
            .into_iter()
            .filter(|id| id.bytes().all(|b| b.is_ascii_digit()));
        let names: Vec<String> = ids
            .filter_map(|id| self.text(&format!("/proc/{id}/comm")).ok())
            .collect();
        if names.is_empty() {
            return Err("/proc shows no processes".into());
        }
        Ok(names)
    }
}

/// Text from a file as it can be shown: short, and without control characters.
pub fn clip(text: &str) -> String {
    const SHOWN: usize = 60;
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = clean.clone().take(SHOWN).collect();
    if clean.count() > SHOWN {
        shown.push_str("...");
    }
    shown
}
