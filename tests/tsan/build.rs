//! Makes a second ring out of the sources of the first (`rtrb` as locked, and `bus/src/ring.rs`),
//! in which the writer says "there is more" without releasing what it wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("set by cargo"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../bus/src/ring.rs");
    let output = Command::new(std::env::var("CARGO").expect("set by cargo"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(&here)
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
        .and_then(|package| package["manifest_path"].as_str())
        .expect("rtrb is a dependency");
    let source = Path::new(rtrb).with_file_name("src");

    let lib = read(&source.join("lib.rs"));
    let (_, mut lib) = lib
        .split_once("extern crate alloc;")
        .map(|(head, code)| (head, code.to_owned()))
        .expect("rtrb has moved on: no extern crate alloc");
    for module in ["cache_padded", "arc_ring_buffer", "chunks"] {
        let mut text = read(&source.join(format!("{module}.rs")));
        if module == "chunks" {
            text = replaced(
                &text,
                "p.buffer.tail.store(tail, Ordering::Release);",
                "p.buffer.tail.store(tail, Ordering::Relaxed);",
            );
        }
        let inline = format!("mod {module} {{\n{text}\n}}");
        lib = replaced(&lib, &format!("mod {module};"), &inline);
    }
    fs::write(
        out.join("rtrb.rs"),
        lib.replace("crate::", "crate::relaxed::rtrb::"),
    )
    .expect("the build's own folder");
    let ring = read(&here.join("../../bus/src/ring.rs"))
        .replace("rtrb::", "super::rtrb::")
        .replace("crate::event::", "bus::event::");
    let ring: Vec<&str> = ring
        .lines()
        .filter(|line| !line.starts_with("//!"))
        .collect();
    fs::write(out.join("ring.rs"), ring.join("\n")).expect("the build's own folder");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "rtrb has moved on: {from:?}");
    text.replace(from, to)
}
