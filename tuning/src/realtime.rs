//! Real-time priority and locked memory for this process, where the system allows them and where
//! they do good. The only place that knows `thread-priority`.
//!
//! Nothing here is an error: what is refused is said in one line, and the program goes on without.

use std::fs;
use std::thread;

use nix::libc;
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use thread_priority::unix::{set_thread_priority_and_policy, thread_native_id};
use thread_priority::{
    Error, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
};

use crate::doctor::cpus::Cpus;

/// The priorities that make sense: the kernel keeps 99 for its own.
pub const PRIORITY_MAX: u8 = 98;

/// Gives the calling thread the real-time class SCHED_FIFO: no ordinary thread runs on its core
/// as long as it wants to.
pub fn fifo(priority: u8) -> Result<(), String> {
    let refused = |why: &dyn std::fmt::Display| {
        format!("real-time priority {priority} is refused ({why}); see `tapeline doctor`, rt-limit")
    };
    let value = ThreadPriorityValue::try_from(priority).map_err(|why| refused(&why))?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let priority = ThreadPriority::Crossplatform(value);
    set_thread_priority_and_policy(thread_native_id(), priority, policy).map_err(
        |error| match error {
            Error::OS(number) => refused(&nix::errno::Errno::from_raw(number).desc()),
            other => refused(&format_args!("{other:?}")),
        },
    )
}

/// What decides whether threads that spin may have real-time priority.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Cores taken from the scheduler.
    pub isolated: Cpus,
    /// How long of each second a real-time thread may run, in microseconds; below 0 for always.
    pub runtime_us: Option<i64>,
}

impl Ground {
    /// This machine's.
    pub fn read() -> Ground {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let isolated = Cpus::parse(&text("/sys/devices/system/cpu/isolated")).unwrap_or_default();
        let runtime_us = text("/proc/sys/kernel/sched_rt_runtime_us")
            .trim()
            .parse()
            .ok();
        Ground {
            isolated,
            runtime_us,
        }
    }

    /// Whether threads that spin on these cores may have real-time priority.
    ///
    /// A real-time thread that never rests shuts everything else out of its core: the kernel's own
    /// threads that finish writes, and whatever else was put there. On a core that is isolated
    /// there is nothing to shut out. Elsewhere the machine hangs, unless the kernel steps in, and
    /// that it does by stopping the thread for 50 ms of every second, which is far worse than what
    /// ordinary threads suffer from each other.
    pub fn allows(&self, cpus: &[Option<usize>]) -> Result<(), String> {
        let no = |why: String| Err(format!("no real-time priority: {why}"));
        let Some(mut own) = cpus.iter().copied().collect::<Option<Vec<usize>>>() else {
            return no("not every hot thread has a core of its own".into());
        };
        own.sort_unstable();
        if own.windows(2).any(|pair| pair[0] == pair[1]) {
            return no("hot threads share a core".into());
        }
        let open: Cpus = own
            .into_iter()
            .filter(|&cpu| !self.isolated.has(cpu))
            .collect();
        if !open.is_empty() {
            return no(format!(
                "a thread that spins would shut the kernel's own threads out of cpu {open}, which \
                 is not isolated; see `tapeline doctor`, isolated-cores"
            ));
        }
        match self.runtime_us {
            Some(runtime_us) if runtime_us < 0 => Ok(()),
            Some(runtime_us) => no(format!(
                "the kernel would stop a thread that spins for {} ms of every second \
                 (kernel.sched_rt_runtime_us = {runtime_us}, want -1)",
                (1_000_000 - runtime_us).max(0) / 1000
            )),
            None => no("kernel.sched_rt_runtime_us cannot be read".into()),
        }
    }
}

/// Whether hot threads on these cores get this priority, without giving it to any of ours.
pub fn try_fifo(priority: u8, cpus: &[Option<usize>]) -> Result<(), String> {
    Ground::read().allows(cpus)?;
    // A thread of its own, which ends with the class it got.
    let asked = thread::Builder::new().spawn(move || fifo(priority));
    let asked = asked.map_err(|e| format!("no real-time priority: {e}"))?;
    asked.join().expect("asking does not panic")
}

/// Keeps all memory of this process, now and later, from being moved to disk. Pages are locked
/// when they are first used, so that what is only reserved costs nothing.
pub fn lock_memory() -> Result<(), String> {
    const HINT: &str = "see `tapeline doctor`, memlock";
    let refused = |why: String| format!("memory is not locked: {why}; {HINT}");
    let system = |errno: nix::errno::Errno| refused(errno.desc().to_string());
    if !has_lock_capability() {
        let (soft, most) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(system)?;
        if most != RLIM_INFINITY {
            // Locking would succeed now and make a later reservation fail, which would end the run.
            return Err(refused(format!(
                "the limit is {} KiB, want unlimited",
                most >> 10
            )));
        }
        if soft != RLIM_INFINITY {
            setrlimit(Resource::RLIMIT_MEMLOCK, most, most).map_err(system)?;
        }
    }
    let on_fault = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);
    mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | on_fault).map_err(system)
}

/// CAP_IPC_LOCK, of capabilities(7): no limit counts.
fn has_lock_capability() -> bool {
    const CAPABILITY: u32 = 14;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> CAPABILITY & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground(isolated: &str, runtime_us: i64) -> Ground {
        Ground {
            isolated: Cpus::parse(isolated).unwrap(),
            runtime_us: Some(runtime_us),
        }
    }

    #[test]
    fn spinning_in_real_time_needs_isolated_cores_and_a_kernel_that_does_not_stop_it() {
        let both = [Some(2), Some(3)];
        assert_eq!(ground("2-3", -1).allows(&both), Ok(()));
        let check = |ground: Ground, cpus: &[Option<usize>], want: &str| {
            let said = ground.allows(cpus).unwrap_err();
            assert!(said.contains(want) && said.lines().count() == 1, "{said}");
        };
        check(ground("2-3", 950_000), &both, "for 50 ms of every second");
        check(
            ground("2", -1),
            &both,
            "out of cpu 3, which is not isolated",
        );
        check(ground("2-3", -1), &[Some(2), None], "a core of its own");
        check(ground("2-3", -1), &[Some(2), Some(2)], "share a core");
        let unread = Ground {
            runtime_us: None,
            ..ground("2-3", -1)
        };
        check(unread, &both, "cannot be read");
    }

    #[test]
    fn memory_is_locked_or_one_line_says_why_not() {
        let locked = lock_memory();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmLck:"))
            .unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        match locked {
            Ok(()) => assert!(kib > 0, "{line}"),
            Err(why) => {
                assert_eq!(kib, 0);
                assert!(
                    why.starts_with("memory is not locked") && why.lines().count() == 1,
                    "{why}"
                );
            }
        }
    }

    /// With privileges the class must show in what the kernel says of the thread; without, one
    /// line must say why not. The thread ends at once: it does not spin.
    #[test]
    fn the_class_is_given_or_refused_in_one_line() {
        let (given, stat) = thread::spawn(|| {
            let given = fifo(1);
            (given, fs::read_to_string("/proc/thread-self/stat").unwrap())
        })
        .join()
        .unwrap();
        // What follows the name in brackets; the policy is field 41 of all.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let policy = fields[41 - 3];
        match given {
            Ok(()) => assert_eq!(policy, "1", "{stat}"),
            Err(line) => {
                assert_eq!(policy, "0", "{stat}");
                assert!(
                    line.contains("refused") && line.lines().count() == 1,
                    "{line}"
                );
            }
        }
        assert!(fifo(200).is_err());
    }
}
