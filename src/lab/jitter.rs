//! What the machine does to a thread that only spins: each gap between two looks at the clock is
//! time in which something else ran.

use std::time::Duration;

use bus::clock::{Clock, MachineClock};

use crate::latency::Histogram;

/// Gaps that are kept with their times.
const WORST_MAX: usize = 64;

/// What one core did.
#[derive(Clone, Debug)]
pub struct Core {
    /// Which.
    pub cpu: usize,
    /// How long it was watched.
    pub watched: Duration,
    /// Looks at the clock.
    pub looks: u64,
    /// Gaps from the threshold on.
    pub gaps: Histogram,
    /// All of them together, in nanoseconds.
    pub lost_ns: u64,
    /// The longest: when, in nanoseconds from the start, and how long. By time.
    pub worst: Vec<(u64, u64)>,
}

/// Watches the core that the calling thread runs on. `is_over` is asked a few times a second.
pub fn watch(
    cpu: usize,
    length: Duration,
    threshold: Duration,
    clock: &impl Clock,
    is_over: impl Fn() -> bool,
) -> Core {
    let threshold_ns = threshold.as_nanos() as u64;
    let length_ns = length.as_nanos() as u64;
    let mut gaps = Histogram::new();
    let mut worst = Worst::new();
    let (mut looks, mut lost_ns) = (0u64, 0u64);
    let start_ns = clock.now_ns();
    let mut last_ns = start_ns;
    loop {
        let now_ns = clock.now_ns();
        let gap_ns = now_ns - last_ns;
        looks += 1;
        if gap_ns >= threshold_ns {
            gaps.record(gap_ns);
            lost_ns += gap_ns;
            worst.offer(last_ns - start_ns, gap_ns);
            // What counting took is no gap.
            last_ns = clock.now_ns();
        } else {
            last_ns = now_ns;
        }
        if last_ns - start_ns >= length_ns || (looks.is_multiple_of(1 << 22) && is_over()) {
            break;
        }
    }
    Core {
        cpu,
        watched: Duration::from_nanos(last_ns - start_ns),
        looks,
        gaps,
        lost_ns,
        worst: worst.by_time(),
    }
}

/// Watches a core from a thread of its own, which is pinned there.
pub fn watch_core(
    cpu: usize,
    length: Duration,
    threshold: Duration,
    is_over: impl Fn() -> bool + Send,
) -> Result<Core, String> {
    std::thread::scope(|scope| {
        let body = move || {
            tuning::pin::pin_to(cpu).map_err(|e| e.to_string())?;
            Ok(watch(cpu, length, threshold, &MachineClock::new(), is_over))
        };
        scope
            .spawn(body)
            .join()
            .expect("it only looks at the clock")
    })
}

/// The longest gaps so far.
struct Worst {
    found: Vec<(u64, u64)>,
    least_ns: u64,
}

impl Worst {
    fn new() -> Worst {
        Worst {
            found: Vec::with_capacity(WORST_MAX),
            least_ns: 0,
        }
    }

    fn offer(&mut self, at_ns: u64, gap_ns: u64) {
        if self.found.len() < WORST_MAX {
            self.found.push((at_ns, gap_ns));
        } else if gap_ns > self.least_ns {
            let least = self.found.iter_mut().min_by_key(|gap| gap.1);
            *least.expect("it is full") = (at_ns, gap_ns);
        } else {
            return;
        }
        if self.found.len() == WORST_MAX {
            self.least_ns = self.found.iter().map(|gap| gap.1).min().unwrap_or(0);
        }
    }

    fn by_time(mut self) -> Vec<(u64, u64)> {
        self.found.sort_unstable();
        self.found
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bus::Ts;

    use super::*;

    /// Goes on by 20 ns with each look, and once by more.
    struct Script {
        looks: Cell<u64>,
        now_ns: Cell<u64>,
        gaps: Vec<(u64, u64)>,
    }

    impl Clock for Script {
        fn now_ns(&self) -> u64 {
            let look = self.looks.get();
            self.looks.set(look + 1);
            let gap = self.gaps.iter().find(|gap| gap.0 == look);
            self.now_ns
                .set(self.now_ns.get() + gap.map_or(20, |gap| gap.1));
            self.now_ns.get()
        }

        fn wall(&self) -> Ts {
            Ts(0)
        }
    }

    #[test]
    fn each_gap_is_found_with_its_time() {
        let clock = Script {
            looks: Cell::new(0),
            now_ns: Cell::new(0),
            gaps: vec![(100, 5_000), (200, 80_000)],
        };
        let length = Duration::from_micros(200);
        let core = watch(1, length, Duration::from_micros(1), &clock, || false);
        assert_eq!((core.gaps.count(), core.lost_ns), (2, 85_000));
        assert_eq!(core.worst, [(1_980, 5_000), (8_960, 80_000)]);
        assert_eq!(core.cpu, 1);
    }

    #[test]
    fn only_the_longest_are_kept() {
        let mut worst = Worst::new();
        for at in 0..1_000 {
            worst.offer(at, (at * 7_919) % 1_000);
        }
        let found = worst.by_time();
        assert_eq!(found.len(), WORST_MAX);
        assert!(found.is_sorted() && found.iter().all(|gap| gap.1 >= 1_000 - WORST_MAX as u64));
    }
}
