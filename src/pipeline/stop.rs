//! The end in order, asked for by a signal or by the caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once by a signal or by the caller: end in order. Also knows that the process was stopped for a
/// while, and continued.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    end: Arc<AtomicBool>,
    continued: Arc<AtomicBool>,
}

impl Stop {
    /// Asks for the end.
    pub fn set(&self) {
        self.end.store(true, Ordering::Release);
    }

    /// Whether SIGCONT came since the last question.
    #[inline]
    pub fn was_continued(&self) -> bool {
        self.continued.load(Ordering::Relaxed) && self.continued.swap(false, Ordering::Relaxed)
    }

    /// Whether the end was asked for.
    pub fn is_set(&self) -> bool {
        self.end.load(Ordering::Acquire)
    }
}

/// Set by SIGINT, SIGTERM or SIGHUP, the terminal's end; a second one ends the process at once. Under
/// `nohup` SIGHUP stays ignored. Ignores SIGXFSZ, so that a file size limit is an error that can be
/// said and not the end of the process.
pub fn watch_signals() -> std::io::Result<Stop> {
    use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM};
    let stop = Stop::default();
    let all = [SIGINT, SIGTERM, SIGHUP];
    // A shell without job control has SIGINT ignored by what it starts in the background; whoever
    // sends it there means it.
    let is_wanted = |signal: &i32| *signal != SIGHUP || !is_ignored(SIGHUP);
    for signal in all.into_iter().filter(is_wanted) {
        // The first signal sets the flag; with the flag set, the next one exits.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop.end))?;
        signal_hook::flag::register(signal, Arc::clone(&stop.end))?;
    }
    signal_hook::flag::register(SIGCONT, Arc::clone(&stop.continued))?;
    let ignored = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, ignored)?;
    Ok(stop)
}

/// Whether whoever started the program had this signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
