//! Makes the code to be explored out of the code that runs: the sources of `rtrb` (the locked
//! version) and of `bus`, with the types that threads meet in replaced by ones that a model
//! checker steers, and with places where a test can switch a mistake on.
//!
//! Every edit must fit exactly as often as it says. Where the source moved on, the build stops
//! here, so that nobody checks something else than what runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Replace `from` by `to`, which must be there `times` times.
struct Edit {
    from: &'static str,
    to: &'static str,
    times: usize,
}

const fn edit(from: &'static str, to: &'static str) -> Edit {
    Edit { from, to, times: 1 }
}

fn main() {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("set by cargo"));
    let root = here.join("../..");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", root.join("bus/src").display());
    println!(
        "cargo::rerun-if-changed={}",
        root.join("Cargo.lock").display()
    );

    let rtrb = rtrb_source(&here, &root);
    fs::write(out.join("rtrb.rs"), edited_rtrb(&rtrb)).expect("the build's own folder");
    let ring = read(&root.join("bus/src/ring.rs")).replace("rtrb::", "crate::rtrb::");
    fs::write(out.join("ring.rs"), without_inner(&ring)).expect("the build's own folder");
    let bus = inlined(&root.join("bus/src/lib.rs"), &root.join("bus/src"));
    let bus = apply(
        "the macro of the failpoints",
        &without_inner(&bus).replace("crate::failpoint!", "crate::failpoint::failpoint!"),
        &[
            // A macro of a crate is found by its path only where it is no longer the crate's.
            Edit {
                from: "#[macro_export]\nmacro_rules! failpoint {",
                to: "macro_rules! failpoint_ {",
                times: 2,
            },
            edit(
                "pub const fn index_of(",
                "pub(crate) use failpoint_ as failpoint;\npub const fn index_of(",
            ),
        ],
    );
    let bus = bus
        .replace("crate::", "crate::bus::")
        .replace("crate::bus::files::", "crate::files::")
        .replace("crate::bus::is_on(", "crate::is_on(");
    fs::write(out.join("bus.rs"), bus).expect("the build's own folder");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn apply(what: &str, text: &str, edits: &[Edit]) -> String {
    let mut text = text.to_owned();
    for Edit { from, to, times } in edits {
        let found = text.matches(from).count();
        assert_eq!(found, *times, "{what} has moved on: {found} times {from:?}");
        text = text.replace(from, to);
    }
    text
}

/// Attributes and documentation of a whole file cannot stand in an included one.
fn without_inner(text: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with("//!") && !line.starts_with("#!["))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Where cargo keeps the source of `rtrb`, which must be the version that the product is locked to.
fn rtrb_source(here: &Path, root: &Path) -> PathBuf {
    let cargo = std::env::var("CARGO").expect("set by cargo");
    let target = std::env::var("TARGET").expect("set by cargo");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        // What other platforms want need not be on this machine.
        .args(["--filter-platform", &target])
        .current_dir(here)
        .output()
        .expect("cargo runs");
    let failure = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "cargo metadata: {failure}");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let rtrb = packages
        .iter()
        .find(|package| package["name"] == "rtrb")
        .expect("rtrb is a dependency");
    let version = rtrb["version"].as_str().expect("a version");
    let locked = read(&root.join("Cargo.lock"));
    let entry = format!("name = \"rtrb\"\nversion = \"{version}\"");
    assert!(
        locked.contains(&entry),
        "the product is locked to another rtrb than {version}: update tests/model/Cargo.lock"
    );
    let manifest = rtrb["manifest_path"].as_str().expect("a path");
    Path::new(manifest).with_file_name("src")
}

/// `rtrb` as one file, on loom's atomics. Loom cannot see through the raw pointers to the slots,
/// so each slot has a shadow: a cell of loom's that is touched whenever the slot is.
fn edited_rtrb(source: &Path) -> String {
    let lib = read(&source.join("lib.rs"));
    let (_, lib) = lib
        .split_once("extern crate alloc;")
        .expect("rtrb has moved on: no extern crate alloc");
    let lib = apply(
        "rtrb/lib.rs",
        lib,
        &[
            edit("use core::sync::atomic::{", "use loom::sync::atomic::{"),
            edit(
                "    data_ptr: *mut T,\n",
                "    data_ptr: *mut T,\n    shadow: crate::Shadow,\n",
            ),
            edit(
                "            data_ptr: ManuallyDrop::new(",
                "            shadow: crate::Shadow::new(capacity),\n            data_ptr: ManuallyDrop::new(",
            ),
            // Producer::slots and write_chunk_uninit ask for the reader's end of the ring, and
            // Consumer::slots for the writer's.
            edit(
                "let head = self.buffer.head.load(Ordering::Acquire);\n        self.cached_head.set(head);\n        self.buffer.capacity",
                "let head = self.buffer.head.load(crate::order(\"head load\", Ordering::Acquire));\n        self.cached_head.set(head);\n        self.buffer.capacity",
            ),
            edit(
                "let tail = self.buffer.tail.load(Ordering::Acquire);\n        self.cached_tail.set(tail);\n        self.buffer.distance",
                "let tail = self.buffer.tail.load(crate::order(\"tail load\", Ordering::Acquire));\n        self.cached_tail.set(tail);\n        self.buffer.distance",
            ),
            Edit {
                from: "self.buffer.flags.load(Ordering::Acquire)",
                to: "self.buffer.flags.load(crate::order(\"flag load\", Ordering::Acquire))",
                times: 2,
            },
        ],
    );
    let arc = apply(
        "rtrb/arc_ring_buffer.rs",
        &read(&source.join("arc_ring_buffer.rs")),
        &[
            edit("use core::sync::atomic::{", "use loom::sync::atomic::{"),
            edit(
                "flags.fetch_or(IS_ABANDONED, Ordering::Release)",
                "flags.fetch_or(IS_ABANDONED, crate::order(\"flag store\", Ordering::Release))",
            ),
            edit(
                "let _ = flags.load(Ordering::Acquire);",
                "let _ = flags.load(crate::order(\"flag second load\", Ordering::Acquire));",
            ),
        ],
    );
    let chunks = apply(
        "rtrb/chunks.rs",
        &read(&source.join("chunks.rs")),
        &[
            edit(
                "use core::sync::atomic::Ordering;",
                "use loom::sync::atomic::Ordering;",
            ),
            edit(
                "unsafe { ptr.add(i).write(item) };",
                "unsafe {
                            let place = ptr.add(i).offset_from(self.producer.buffer.data_ptr);
                            self.producer.buffer.shadow.write(place as usize);
                            ptr.add(i).write(item)
                        };",
            ),
            edit(
                "    pub fn as_slices(&self) -> (&[T], &[T]) {\n        // SAFETY: The pointers and lengths have been computed correctly in read_chunk().",
                "    pub fn as_slices(&self) -> (&[T], &[T]) {\n        self.shadow();",
            ),
            edit(
                "        struct PanicGuard<'a, T> {",
                "        self.shadow();\n        struct PanicGuard<'a, T> {",
            ),
            edit(
                "impl<T> ReadChunk<'_, T> {",
                "impl<T> ReadChunk<'_, T> {
    /// Touches the slots as a reader.
    fn shadow(&self) {
        for (ptr, len) in [(self.first_ptr, self.first_len), (self.second_ptr, self.second_len)] {
            for i in 0..len {
                let place = unsafe { ptr.add(i).offset_from(self.consumer.buffer.data_ptr) };
                self.consumer.buffer.shadow.read(place as usize);
            }
        }
    }
",
            ),
            edit(
                "p.buffer.tail.store(tail, Ordering::Release);",
                "p.buffer.tail.store(tail, crate::order(\"tail store\", Ordering::Release));",
            ),
            edit(
                "let head = c.buffer.increment(c.cached_head.get(), self.dropped);\n                c.buffer.head.store(head, Ordering::Release);",
                "let head = c.buffer.increment(c.cached_head.get(), self.dropped);\n                c.buffer.head.store(head, crate::order(\"head store\", Ordering::Release));",
            ),
        ],
    );
    let padded = read(&source.join("cache_padded.rs"));
    let lib = apply(
        "rtrb/lib.rs",
        &lib,
        &[
            edit(
                "mod cache_padded;",
                &leak(format!("mod cache_padded {{\n{padded}\n}}")),
            ),
            edit(
                "mod arc_ring_buffer;",
                &leak(format!("mod arc_ring_buffer {{\n{arc}\n}}")),
            ),
            edit(
                "pub mod chunks;",
                &leak(format!("pub mod chunks {{\n{chunks}\n}}")),
            ),
        ],
    );
    lib.replace("crate::", "crate::rtrb::")
        .replace("crate::rtrb::order(", "crate::order(")
        .replace("crate::rtrb::Shadow", "crate::Shadow")
}

fn leak(text: String) -> &'static str {
    text.leak()
}

/// A source file with the files of its modules in their places.
fn inlined(file: &Path, modules: &Path) -> String {
    let text = read(file);
    let text = match file.file_name().and_then(|name| name.to_str()) {
        Some(name) if file.parent().is_some_and(|dir| dir.ends_with("disk")) => {
            let edits = DISK.iter().find(|(file, _)| *file == name);
            apply(name, &text, edits.map_or(&[][..], |(_, edits)| edits))
        }
        _ => text,
    };
    // What a file includes lies beside it.
    let beside = format!("include_str!(\"{}/", file.parent().expect("a folder").display());
    let text = text.replace("include_str!(\"", &beside);
    let mut whole = String::new();
    for line in text.lines() {
        let code = line.trim_start();
        let module = ["pub mod ", "mod ", "pub(crate) mod ", "pub(super) mod "]
            .iter()
            .find_map(|start| code.strip_prefix(start))
            .and_then(|rest| rest.strip_suffix(';'));
        let Some(module) = module else {
            whole.push_str(line);
            whole.push('\n');
            continue;
        };
        let (flat, deep) = (
            modules.join(format!("{module}.rs")),
            modules.join(module).join("mod.rs"),
        );
        let file = if flat.exists() { flat } else { deep };
        whole.push_str(line.strip_suffix(';').expect("just seen"));
        whole.push_str(" {\n");
        whole.push_str(&inlined(&file, &modules.join(module)));
        whole.push_str("}\n");
    }
    whole
}

/// The two threads of the log's plain disk, on threads and channels of the checker's, with files
/// that tell the model of a disk what was written and what was synced; and with mistakes in their
/// hand-over that a test can switch on.
const DISK: &[(&str, &[Edit])] = &[
    (
        "files.rs",
        &[
            edit("use std::sync::mpsc::", "use shuttle::sync::mpsc::"),
            edit(
                "use std::thread::JoinHandle;",
                "use shuttle::thread::JoinHandle;",
            ),
            edit(
                "std::thread::Builder::new()",
                "shuttle::thread::Builder::new()",
            ),
            edit(
                "use std::fs::{File, OpenOptions, TryLockError};",
                "use crate::files::{File, OpenOptions};\nuse std::fs::TryLockError;",
            ),
            edit(
                "            let _ = thread.join();",
                "            if !crate::is_on(\"lock before the last write\") {\n                let _ = thread.join();\n            }",
            ),
        ],
    ),
    (
        "plain.rs",
        &[
            edit("use std::sync::mpsc::", "use shuttle::sync::mpsc::"),
            edit(
                "use std::thread::JoinHandle;",
                "use shuttle::thread::JoinHandle;",
            ),
            edit(
                "std::thread::Builder::new()",
                "shuttle::thread::Builder::new()",
            ),
            edit("use std::fs::File;", "use crate::files::File;"),
            edit(
                "Some((segment, result)) if *segment == job.segment => result.clone(),",
                "Some((segment, result))
                    if *segment == job.segment || crate::is_on(\"one sync for two files\") =>
                {
                    result.clone()
                }",
            ),
            edit(
                "            let result = write_one(dir, &job);",
                "            let result = if crate::is_on(\"answer before the write\") {
                    Ok(())
                } else {
                    write_one(dir, &job)
                };",
            ),
        ],
    ),
    (
        "uring.rs",
        &[edit("use std::fs::File;", "use crate::files::File;")],
    ),
];
