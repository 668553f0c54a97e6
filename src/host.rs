//! What a run asks of the machine beyond cores: pages, locked memory, real-time priority.
//!
//! Nothing of it is needed for a right result, so that a refusal is a remark and no error.

use bus::mem::{self, Made, Pages};
use tuning::realtime;

use crate::config::{Host, HugePages};

/// What of it was granted, once, before the threads begin.
#[derive(Debug)]
pub struct Granted {
    /// The priority that hot threads give themselves.
    pub fifo: Option<u8>,
    /// What was refused.
    pub remarks: Vec<String>,
    before: Made,
}

/// Asks for what the settings want; `cpus` are the hot threads' cores.
pub fn ask(host: &Host, cpus: &[Option<usize>]) -> Granted {
    let mut remarks = Vec::new();
    if host.lock_memory {
        remarks.extend(realtime::lock_memory().err());
    }
    mem::set_pages(match host.huge_pages {
        HugePages::Off => Pages::Ordinary,
        HugePages::Advised => Pages::Advised,
        HugePages::Reserved => Pages::Reserved,
    });
    let mut fifo = None;
    if host.fifo_priority > 0 {
        match realtime::try_fifo(host.fifo_priority, cpus) {
            Ok(()) => fifo = Some(host.fifo_priority),
            Err(refusal) => remarks.push(refusal),
        }
    }
    let before = mem::made();
    Granted {
        fifo,
        remarks,
        before,
    }
}

impl Granted {
    /// What to say of arrays that did not get the pages they were to have.
    pub fn about_pages(&self) -> Option<String> {
        let made = mem::made();
        let fell_back = made.fell_back - self.before.fell_back;
        let arrays = made.arrays - self.before.arrays;
        (fell_back > 0).then(|| {
            format!(
                "{fell_back} of {arrays} arrays are not on reserved huge pages: too few are free; \
                 see `tapeline doctor`, huge-pages"
            )
        })
    }
}
