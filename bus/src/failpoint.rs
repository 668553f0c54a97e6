//! Named places at which a test can end the process, or make a file operation fail.
//!
//! `failpoint!("name")` expands to nothing unless the crate is built with the feature
//! `failpoints`. With it, a program that was told `name:n` by `arm` kills itself with SIGKILL
//! at the nth pass of that place, counted over all its threads. A name that is not in [`NAMES`]
//! does not compile, in either build, and `tests/crash_points.rs` goes through all of [`NAMES`]:
//! so no place is without its test, and none can be misspelt.
//!
//! ```text
//! failpoint!("frame-closed");                        ends the process
//! failpoint!("orders-half-sent", send(half));        does something first
//! if let Some(errno) = failpoint!(errno "log-sync")  ends it, or says which error to pretend
//! ```

/// Every place, in the order in which a run comes by.
pub const NAMES: &[&str] = &[
    // The run's directory.
    "file-fails",
    "file-written",
    "file-synced",
    "file-renamed",
    // A log is opened, and its segments are made ahead of need, each step of it.
    "lock-taken",
    "half-made-removed",
    "segment-opened",
    "segment-allocated",
    "segment-fails",
    "segment-half-zeroed",
    "segment-zeroed",
    "segment-synced",
    "segment-renamed",
    "segment-made",
    // A log is begun.
    "log-unbegun",
    "log-begun",
    // A log is resumed, its records are gone through, and the orders in doubt are found.
    "resume-settled",
    "resume-read",
    "resume-removed",
    "orders-cut",
    "orders-resumed",
    "recover-record",
    "recover-read",
    "recover-queued",
    // The input comes in.
    "input-read",
    "events-taken",
    "events-appended",
    // A frame is on its way to the disk.
    "frame-closed",
    "frame-submitted",
    "write-fails",
    "frame-written",
    "sync-fails",
    "frame-synced",
    "frame-durable",
    // One segment after another.
    "seal-submitted",
    "seal-durable",
    "header-submitted",
    "header-durable",
    // Orders leave.
    "order-released",
    "order-encoded",
    "order-buffered",
    "order-out",
    "orders-half-sent",
    "orders-write-fails",
    "orders-left",
    "orders-said",
    // A checkpoint is made, each step of it.
    "ckpt-created",
    "ckpt-writing",
    "ckpt-written",
    "ckpt-synced",
    "ckpt-renamed",
    "ckpt-durable",
    "ckpt-removed",
    // The log is ended.
    "orders-finished",
    "finish-flushed",
    "finish-sealed",
    "finish-removed",
    "finish-trimmed",
    // Results are made from it.
    "results-begun",
    "tables-removed",
    "tables-begun",
    "tables-half",
    "tables-made",
    "results-symbols",
    "results-latency",
    "results-digests",
];

/// Those of them that can also pretend that the system refused something.
pub const FAULTS: &[&str] = &[
    "file-fails",
    "segment-fails",
    "write-fails",
    "sync-fails",
    "orders-write-fails",
];

/// Ends the process at its nth pass, if a test asked for that. See [`failpoint`](self).
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    (errno $name:literal) => {{
        const INDEX: usize = $crate::failpoint::index_of($name);
        const _: () = assert!($crate::failpoint::is_fault($name));
        $crate::failpoint::errno(INDEX)
    }};
    ($name:literal) => {
        $crate::failpoint!($name, ())
    };
    ($name:literal, $first:expr) => {{
        const INDEX: usize = $crate::failpoint::index_of($name);
        if $crate::failpoint::is_due(INDEX) {
            let _ = $first;
            $crate::failpoint::die();
        }
    }};
}

/// Does nothing: this build is without the feature `failpoints`. See [`failpoint`](self).
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    (errno $name:literal) => {{
        const _: usize = $crate::failpoint::index_of($name);
        const _: () = assert!($crate::failpoint::is_fault($name));
        None::<i32>
    }};
    ($name:literal $(, $first:expr)?) => {{
        const _: usize = $crate::failpoint::index_of($name);
    }};
}

/// The place of a name among [`NAMES`]; does not compile for a name that is not there.
pub const fn index_of(name: &str) -> usize {
    match find(NAMES, name) {
        Some(index) => index,
        None => panic!("a failpoint's name must stand in failpoint::NAMES"),
    }
}

/// Whether the place of this name can pretend an error.
pub const fn is_fault(name: &str) -> bool {
    find(FAULTS, name).is_some()
}

const fn find(names: &[&str], name: &str) -> Option<usize> {
    let mut index = 0;
    while index < names.len() {
        if is_same(names[index].as_bytes(), name.as_bytes()) {
            return Some(index);
        }
        index += 1;
    }
    None
}

/// What `==` does, which a `const fn` cannot.
const fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(feature = "failpoints")]
pub use armed::{arm, die, errno, is_due};

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::NAMES;

    /// What happens at which pass of which place.
    #[derive(Debug)]
    struct Armed {
        index: usize,
        pass: u64,
        /// `None`: the process ends.
        errno: Option<i32>,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();
    static PASSES: AtomicU64 = AtomicU64::new(0);

    /// Takes `name:n` (die at the nth pass), or `name:n:eio` and `name:n:enospc` for places that
    /// can fail. Once in a process.
    pub fn arm(text: &str) -> Result<(), String> {
        let bad = || format!("failpoint `{text}`: want `name:n`, `name:n:eio` or `name:n:enospc`");
        let mut parts = text.split(':');
        let name = parts.next().ok_or_else(bad)?;
        let index = NAMES.iter().position(|known| *known == name);
        let index = index.ok_or_else(|| format!("failpoint `{name}`: there is none"))?;
        let pass = parts.next().and_then(|n| n.parse().ok());
        let pass = pass.filter(|n| *n > 0).ok_or_else(bad)?;
        let errno = match (parts.next(), parts.next()) {
            (None, None) => None,
            (Some("eio"), None) => Some(libc::EIO),
            (Some("enospc"), None) => Some(libc::ENOSPC),
            _ => return Err(bad()),
        };
        let armed = Armed { index, pass, errno };
        ARMED
            .set(armed)
            .map_err(|_| "a failpoint is set already".to_string())
    }

    /// Whether this pass is the one.
    fn passing(index: usize) -> Option<&'static Armed> {
        let armed = ARMED.get().filter(|armed| armed.index == index)?;
        let pass = PASSES.fetch_add(1, Ordering::Relaxed) + 1;
        (pass == armed.pass).then_some(armed)
    }

    /// Whether the process is to end here.
    pub fn is_due(index: usize) -> bool {
        passing(index).is_some()
    }

    /// The error to pretend, at a place that can fail. Does not return if the process is to end.
    pub fn errno(index: usize) -> Option<i32> {
        let armed = passing(index)?;
        if armed.errno.is_none() {
            die();
        }
        armed.errno
    }

    /// Ends the process as the kernel would: nothing is dropped, flushed or said.
    pub fn die() -> ! {
        let killed = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
        unreachable!("SIGKILL came back: {killed:?}");
    }
}
