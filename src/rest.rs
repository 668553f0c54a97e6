//! What a hot thread does when it has nothing to do.
//!
//! Alone on its core it only spins, which is what is quickest to notice work. Elsewhere others need
//! the core too, the kernel's workers that make the log durable among them, and a thread that never
//! lets go is taken off its core by the scheduler, for milliseconds, when it has work to do.

use std::thread;
use std::time::Duration;

/// How often a thread that spins asks the system whether anybody else wants the core. A yield that
/// finds nobody costs less than a microsecond.
const YIELD_EVERY_NS: u64 = 5_000;
/// With nothing to do for so long, a thread that is in others' way sleeps.
const SLEEP_AFTER_NS: u64 = 1_000_000;
/// For so long; the system adds its own 50 us or so.
const SLEEP: Duration = Duration::from_micros(50);
/// Looks at the ring between two turns of a shard: a look costs a tenth of a turn.
const LOOKS: u32 = 32;

/// How much room a hot thread has on its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// The core is isolated: nobody else comes there.
    Alone,
    /// There is a core for each hot thread, and one more.
    Enough,
    /// There is a core for each hot thread, and none for all others.
    Tight,
    /// Hot threads take turns on a core.
    Shared,
}

impl Room {
    /// By where the hot threads are (`None` for those that are anywhere), and where this one is.
    fn of(cpus: &[Option<usize>], cpu: Option<usize>, allowed: &[usize]) -> Room {
        let is_elsewhere = |cpu: &&usize| !cpus.contains(&Some(**cpu));
        let spare = allowed.iter().filter(is_elsewhere).count();
        match cpu {
            Some(cpu) if cpus.iter().filter(|&&other| other == Some(cpu)).count() > 1 => {
                Room::Shared
            }
            Some(cpu) if tuning::host::is_isolated(cpu) => Room::Alone,
            Some(_) if spare > 0 => Room::Enough,
            Some(_) => Room::Tight,
            None if allowed.len() > cpus.len() => Room::Enough,
            None if allowed.len() == cpus.len() => Room::Tight,
            None => Room::Shared,
        }
    }

    /// What to tell the user of it.
    pub fn remark(cpus: &[Option<usize>]) -> Option<String> {
        let allowed = tuning::pin::allowed_cpus();
        let (threads, cores) = (cpus.len(), allowed.len());
        let rooms = cpus.iter().map(|&cpu| Room::of(cpus, cpu, &allowed));
        let advice = match threads {
            1 => "",
            _ => "; run.model = \"run-to-completion\" needs one thread",
        };
        match rooms.max()? {
            Room::Alone | Room::Enough => None,
            Room::Tight => Some(format!(
                "{threads} hot threads on {cores} cores leave none for the disk and the system: \
                 they rest when nothing comes{advice}"
            )),
            Room::Shared => Some(format!(
                "{threads} hot threads on {cores} cores take turns: latencies are not \
                 comparable{advice}"
            )),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Rest {
    room: Room,
    yielded_ns: u64,
    /// Since when there is nothing to do.
    idle_ns: Option<u64>,
}

impl Rest {
    /// For a hot thread on `cpu`, where all of them are on `cpus`.
    pub fn new(cpus: &[Option<usize>], cpu: Option<usize>) -> Rest {
        let room = Room::of(cpus, cpu, &tuning::pin::allowed_cpus());
        Rest {
            room,
            yielded_ns: 0,
            idle_ns: None,
        }
    }

    /// There was something to do.
    #[inline]
    pub fn over(&mut self) {
        self.idle_ns = None;
    }

    /// There was nothing to do in the turn that began at `now_ns`. Comes back when `is_wanted`, or
    /// after a moment.
    #[inline]
    pub fn rest(&mut self, now_ns: u64, is_wanted: impl Fn() -> bool) {
        let idle_ns = *self.idle_ns.get_or_insert(now_ns);
        let is_idle = match self.room {
            Room::Alone | Room::Enough => false,
            Room::Tight | Room::Shared => now_ns.saturating_sub(idle_ns) >= SLEEP_AFTER_NS,
        };
        if is_idle {
            thread::park_timeout(SLEEP);
        } else if self.room == Room::Shared
            || (self.room != Room::Alone
                && now_ns.saturating_sub(self.yielded_ns) >= YIELD_EVERY_NS)
        {
            self.yielded_ns = now_ns;
            thread::yield_now();
        } else {
            for _ in 0..LOOKS {
                if is_wanted() {
                    break;
                }
            }
        }
    }

    /// Rests while a full ring empties. Each look at the ring takes a cache line from the shard
    /// that is to empty it, and a full ring is a millisecond's work.
    #[cold]
    pub fn rest_long(&mut self, now_ns: u64) {
        for _ in 0..256 {
            std::hint::spin_loop();
        }
        self.rest(now_ns, || true);
        // Its work is there; it only has no room.
        self.over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cpus: &[Option<usize>], allowed: &[usize], want: &[Room]) {
        let rooms: Vec<Room> = cpus
            .iter()
            .map(|&cpu| Room::of(cpus, cpu, allowed))
            .collect();
        assert_eq!(rooms, want);
    }

    #[test]
    fn room_is_what_is_left_for_others() {
        use Room::*;
        // None of these cores is isolated on the machine of the test, or all answers would be
        // `Alone`: numbers that no machine has.
        let [a, b, c] = [9_001, 9_002, 9_003];
        check(&[Some(a), Some(b)], &[a, b, c], &[Enough, Enough]);
        check(&[Some(a), Some(b)], &[a, b], &[Tight, Tight]);
        check(&[Some(a)], &[a, b], &[Enough]);
        check(&[Some(a)], &[a], &[Tight]);
        check(
            &[Some(a), Some(a), Some(b)],
            &[a, b, c],
            &[Shared, Shared, Enough],
        );
        check(&[None, None, None], &[a, b], &[Shared; 3]);
        check(&[None, None], &[a, b], &[Tight; 2]);
        // Named from beyond those that the process was given.
        check(&[Some(a), Some(b)], &[c], &[Enough, Enough]);
    }
}
