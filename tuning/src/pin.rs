//! Binding the calling thread to one core. The only place that knows `core_affinity`.

use std::fmt;

/// A core that a thread cannot be bound to.
#[derive(Debug, PartialEq, Eq)]
pub struct PinError {
    /// The core asked for.
    pub cpu: usize,
    /// The cores this process may use.
    pub allowed: Vec<usize>,
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot pin a thread to cpu {}; this process may use {:?}",
            self.cpu, self.allowed
        )
    }
}

impl std::error::Error for PinError {}

/// The cores this process may use, in ascending order; empty where the system does not say.
pub fn allowed_cpus() -> Vec<usize> {
    let mut cpus: Vec<usize> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect();
    cpus.sort_unstable();
    cpus
}

/// The system's set of cores has no place for more (CPU_SETSIZE, sched_setaffinity(2)).
const CPUS_MAX: usize = 1024;

/// Binds the calling thread to `cpu`, until it is bound to another.
pub fn pin_to(cpu: usize) -> Result<(), PinError> {
    let core = core_affinity::CoreId { id: cpu };
    if cpu < CPUS_MAX && core_affinity::set_for_current(core) {
        Ok(())
    } else {
        let allowed = allowed_cpus();
        Err(PinError { cpu, allowed })
    }
}

/// Whether a thread of this process may be bound to `cpu`, as the system itself says: a core that is
/// isolated is not among [`allowed_cpus`], and may be used by whoever names it.
pub fn can_pin(cpu: usize) -> bool {
    std::thread::spawn(move || pin_to(cpu).is_ok())
        .join()
        .unwrap_or(false)
}

/// Which core each hot thread gets when nobody says, the reader first, then the shards. The shards
/// get the highest numbers, because the system puts interrupts on the lowest. `None` for all when
/// there are fewer cores than threads: threads that spin on a shared core only take turns.
pub fn plan(allowed: &[usize], threads: usize) -> Vec<Option<usize>> {
    if allowed.len() < threads {
        return vec![None; threads];
    }
    let mut cpus: Vec<Option<usize>> = allowed
        .iter()
        .rev()
        .take(threads)
        .map(|&c| Some(c))
        .collect();
    cpus.rotate_right(1);
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_not_there_is_refused_by_name() {
        let error = pin_to(100_000).unwrap_err();
        assert_eq!(error.cpu, 100_000);
        assert!(
            error
                .to_string()
                .starts_with("cannot pin a thread to cpu 100000")
        );
    }

    #[test]
    fn a_thread_pins_to_a_core_it_may_use() {
        let Some(&cpu) = allowed_cpus().first() else {
            return;
        };
        std::thread::spawn(move || {
            pin_to(cpu).unwrap();
            assert_eq!(allowed_cpus(), [cpu]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn whether_a_core_can_be_had_changes_nothing_here() {
        let before = allowed_cpus();
        assert!(!can_pin(100_000));
        assert!(before.iter().all(|&cpu| can_pin(cpu)));
        assert_eq!(allowed_cpus(), before);
    }

    #[test]
    fn every_thread_has_a_core_or_none_has() {
        assert_eq!(plan(&[0, 1], 2), [Some(0), Some(1)]);
        assert_eq!(plan(&[0, 1], 1), [Some(1)]);
        assert_eq!(plan(&[0, 1], 3), [None, None, None]);
        let four = plan(&[0, 1, 2, 3], 3);
        let mut used: Vec<_> = four.iter().flatten().collect();
        used.dedup();
        assert_eq!((four.len(), used.len()), (3, 3));
    }
}
