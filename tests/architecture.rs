//! Reads the manifests and the sources: which crate may know which, where `unsafe` may stand, and
//! which place an outside package has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Every Rust file under these folders of the repository, by its path from the root.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut found);
    }
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(root())
                .unwrap()
                .to_string_lossy()
                .into_owned();
            let text = read(&path);
            (name, text)
        })
        .collect()
}

/// The names under `[dependencies]` of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = read(&root().join(manifest));
    let mut in_dependencies = false;
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            in_dependencies = line == "[dependencies]";
        } else if in_dependencies && let Some((name, _)) = line.split_once(['.', ' ', '=']) {
            names.insert(name.to_string());
        }
    }
    names
}

#[test]
fn crates_know_only_what_the_map_allows() {
    let ours = [
        "analytics",
        "book",
        "bus",
        "exchange",
        "feed",
        "fix",
        "objects",
        "onnx-model",
        "tapeline",
        "tuning",
    ];
    let allowed: [(&str, &[&str]); 9] = [
        ("feed/Cargo.toml", &["bus"]),
        ("book/Cargo.toml", &["bus"]),
        ("analytics/Cargo.toml", &["bus", "onnx-model"]),
        ("analytics/onnx/Cargo.toml", &[]),
        ("bus/Cargo.toml", &[]),
        ("bus/fix/Cargo.toml", &["bus"]),
        ("bus/objects/Cargo.toml", &["bus"]),
        ("tuning/Cargo.toml", &[]),
        ("feed/exchange/Cargo.toml", &[]),
    ];
    for (manifest, want) in allowed {
        let found = dependencies(manifest);
        let found: Vec<&str> = ours
            .into_iter()
            .filter(|name| found.contains(*name))
            .collect();
        assert_eq!(found, want, "{manifest}");
    }
}

#[test]
fn book_and_analytics_touch_nothing_outside() {
    for (name, text) in sources(&["book/src", "analytics/src"]) {
        // Modules of tests, which are declared as such where they are named.
        if name.ends_with("/tests.rs") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in [
            "std::fs",
            "std::net",
            "std::thread",
            "std::time",
            "Arc<",
            "println!",
        ] {
            assert!(!code.contains(word), "{name} uses {word}");
        }
    }
}

#[test]
fn unsafe_code_stands_in_its_places_only() {
    let allowed = ["bus/src/disk/uring.rs", "bus/src/mem.rs"];
    for (name, text) in sources(&[
        "analytics/onnx",
        "analytics/src",
        "book/src",
        "bus/src",
        "bus/fix",
        "bus/objects",
        "feed",
        "src",
        "tuning",
    ]) {
        let has = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"]
                .iter()
                .any(|form| code.contains(form))
        });
        let is_test = name.contains("/tests/");
        assert!(
            !has || is_test || allowed.contains(&name.as_str()),
            "{name} has unsafe code"
        );
    }
    for manifest in [
        "analytics",
        "analytics/onnx",
        "book",
        "bus/fix",
        "bus/objects",
        "feed",
        "feed/exchange",
        "tuning",
        ".",
    ] {
        let text = read(&root().join(manifest).join("src/lib.rs"));
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{manifest}/src/lib.rs forbids unsafe"
        );
    }
}

#[test]
fn an_outside_package_has_one_place() {
    let places: [(&str, &[&str]); 13] = [
        ("rtrb::", &["bus/src/ring.rs"]),
        ("io_uring::", &["bus/src/disk/uring.rs"]),
        ("core_affinity::", &["tuning/src/pin.rs"]),
        ("thread_priority::", &["tuning/src/realtime.rs"]),
        ("quanta::", &["bus/src/clock.rs"]),
        ("quick_xml::", &["bus/fix/src/dictionary.rs"]),
        ("hdrhistogram::", &["src/latency/histogram.rs"]),
        ("parquet::", &["src/tables/"]),
        ("object_store::", &["bus/objects/"]),
        ("rcgen::", &["bus/fix/tests/certificates/"]),
        ("rustls::", &["bus/fix/src/tls.rs", "bus/objects/"]),
        ("tokio::", &["bus/objects/"]),
        ("tract_onnx::", &["analytics/onnx/"]),
    ];
    for (name, text) in sources(&["analytics", "book", "bus", "feed", "src", "tuning"]) {
        for (package, allowed) in places {
            let is_allowed = allowed.iter().any(|place| name.starts_with(place));
            assert!(
                is_allowed || !text.contains(package),
                "{name} uses {package}"
            );
        }
    }
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    // Put together here, so that this file does not find itself.
    let words = [
        ["to", "do!("],
        ["unimpl", "emented!("],
        ["#[ig", "nore"],
        ["thread::sl", "eep"],
    ];
    let folders = [
        "analytics",
        "bench",
        "book",
        "bus",
        "feed",
        "src",
        "tests",
        "tuning",
    ];
    for (name, text) in sources(&folders) {
        for [front, back] in words {
            assert!(
                !text.contains(&format!("{front}{back}")),
                "{name} has {front}{back}"
            );
        }
    }
}
