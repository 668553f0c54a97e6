//! What the machine did while something was measured, and whether its clock can be believed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use bus::clock::{Clock, MachineClock};
use serde::{Deserialize, Serialize};

/// What the system counted, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Ticks that other guests had the processors, and all ticks.
    steal: Option<(u64, u64)>,
    /// By the thread's number: its name, switches without being asked, and nanoseconds that it
    /// was ready to run and another ran.
    threads: BTreeMap<u32, Thread>,
    at: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
struct Thread {
    name: String,
    switches: u64,
    waited_ns: u64,
}

impl Counted {
    /// Reads this process's hot threads and the whole machine.
    pub fn now() -> Counted {
        Counted::read_from(Path::new("/proc"))
    }

    /// Reads a tree that looks like `/proc`.
    pub fn read_from(proc: &Path) -> Counted {
        let stat = fs::read_to_string(proc.join("stat")).unwrap_or_default();
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(proc.join("self/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            let text = |name| fs::read_to_string(path.join(name)).unwrap_or_default();
            let name = text("comm").trim().to_string();
            let id = entry.file_name().to_string_lossy().parse::<u32>();
            let (Ok(id), true) = (id, is_hot(&name)) else {
                continue;
            };
            let thread = Thread {
                name,
                switches: switches(&text("status")),
                waited_ns: waited_ns(&text("schedstat")),
            };
            threads.insert(id, thread);
        }
        Counted {
            steal: steal(&stat),
            threads,
            at: Some(Instant::now()),
        }
    }

    /// Whether the hot threads still run.
    pub fn has_threads(&self) -> bool {
        !self.threads.is_empty()
    }
}

fn is_hot(name: &str) -> bool {
    name == "reader" || name == "one" || name.starts_with("shard-")
}

/// The eighth number of the first line, and the sum of the first eight: guest time is in them.
fn steal(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map_while(|t| t.parse().ok())
        .collect();
    (ticks.len() >= 8).then(|| (ticks[7], ticks[..8].iter().sum()))
}

fn switches(status: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

fn waited_ns(schedstat: &str) -> u64 {
    let second = schedstat.split_whitespace().nth(1);
    second.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// What the machine did between two moments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disturbance {
    /// Share of all processors' time that other guests had; absent where the system does not say.
    pub steal: Option<f64>,
    /// Share of the time that the worst of our hot threads was ready to run and another ran.
    pub waited: f64,
    /// How often a second the worst of them was taken off its core without asking.
    pub switches_per_second: f64,
    /// Which thread that was.
    pub worst_thread: String,
}

impl Disturbance {
    /// Of each thing, the worse of the two stays.
    pub fn worsen(&mut self, other: &Disturbance) {
        self.steal = match (self.steal, other.steal) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        self.switches_per_second = self.switches_per_second.max(other.switches_per_second);
        if other.waited >= self.waited {
            self.waited = other.waited;
            self.worst_thread.clone_from(&other.worst_thread);
        }
    }

    /// What lies between two readings.
    pub fn between(before: &Counted, after: &Counted) -> Disturbance {
        let seconds = match (before.at, after.at) {
            (Some(from), Some(to)) => to.duration_since(from).as_secs_f64().max(1e-3),
            _ => return Disturbance::default(),
        };
        let steal = before.steal.zip(after.steal).map(|(before, after)| {
            let all = after.1.saturating_sub(before.1).max(1);
            after.0.saturating_sub(before.0) as f64 / all as f64
        });
        let mut worst = Disturbance {
            steal,
            ..Disturbance::default()
        };
        for (id, end) in &after.threads {
            let Some(start) = before.threads.get(id) else {
                continue;
            };
            let waited = end.waited_ns.saturating_sub(start.waited_ns) as f64 / 1e9 / seconds;
            let switches = end.switches.saturating_sub(start.switches) as f64 / seconds;
            worst.switches_per_second = worst.switches_per_second.max(switches);
            if waited >= worst.waited {
                worst.waited = waited;
                worst.worst_thread.clone_from(&end.name);
            }
        }
        worst
    }
}

/// The machine's counter beside the system's steady clock, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct TwoClocks {
    counter_ns: u64,
    system: Instant,
}

impl TwoClocks {
    /// Reads both; of several tries, the one in which the two lay closest together.
    pub fn read(clock: &MachineClock) -> TwoClocks {
        let mut best: Option<(u64, TwoClocks)> = None;
        for _ in 0..16 {
            let before_ns = clock.now_ns();
            let system = Instant::now();
            let width_ns = clock.now_ns() - before_ns;
            if best.is_none_or(|(least_ns, _)| width_ns < least_ns) {
                let counter_ns = before_ns + width_ns / 2;
                best = Some((width_ns, TwoClocks { counter_ns, system }));
            }
        }
        best.expect("there were tries").1
    }

    /// How much more the counter went on than the system's clock, in millionths, and in
    /// nanoseconds.
    pub fn drift(&self, after: &TwoClocks) -> Drift {
        let counter_ns = after.counter_ns as f64 - self.counter_ns as f64;
        let system_ns = after.system.duration_since(self.system).as_nanos() as f64;
        let off_ns = counter_ns - system_ns;
        Drift {
            ppm: off_ns / system_ns.max(1.0) * 1e6,
            off_ns: off_ns as i64,
        }
    }
}

/// How far two clocks came apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// In millionths of the time between.
    pub ppm: f64,
    /// In nanoseconds.
    pub off_ns: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_counts_are_read() {
        let stat = "cpu  10 0 10 70 0 0 0 10 3 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(steal(stat), Some((10, 100)));
        assert_eq!(steal("cpu  1 2 3\n"), None);
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t42\n";
        assert_eq!(switches(status), 42);
        assert_eq!(waited_ns("123 456 7\n"), 456);
        assert_eq!((switches(""), waited_ns("")), (0, 0));
    }

    #[test]
    fn two_clocks_of_one_machine_agree() {
        let clock = MachineClock::new();
        let before = TwoClocks::read(&clock);
        let began = Instant::now();
        while began.elapsed().as_millis() < 50 {
            std::hint::spin_loop();
        }
        let drift = before.drift(&TwoClocks::read(&clock));
        assert!(drift.off_ns.abs() < 5_000_000, "{drift:?}");
    }

    #[test]
    fn the_worst_thread_is_the_one_that_is_told() {
        let at = Instant::now();
        let counted = |waited: [u64; 2], at| Counted {
            steal: Some((waited[0] / 1_000_000, 1_000)),
            threads: [(1, "reader", waited[0]), (2, "shard-0", waited[1])]
                .into_iter()
                .map(|(id, name, waited_ns)| {
                    let name = name.to_string();
                    (
                        id,
                        Thread {
                            name,
                            switches: waited_ns / 1_000,
                            waited_ns,
                        },
                    )
                })
                .collect(),
            at: Some(at),
        };
        let later = at + std::time::Duration::from_secs(1);
        let before = counted([0, 0], at);
        let after = counted([1_000, 30_000_000], later);
        let found = Disturbance::between(&before, &after);
        assert_eq!(found.worst_thread, "shard-0");
        assert!((found.waited - 0.03).abs() < 1e-9 && found.switches_per_second == 30_000.0);
    }
}
