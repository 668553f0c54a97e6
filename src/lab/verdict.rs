//! Whether the figures of a run may be used.
//!
//! Each rule is a bound and a sentence. The bounds are wide enough that a quiet machine keeps
//! them, and narrow enough that what breaks one would be seen in the quantiles that are shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::host::{Disturbance, Drift};

/// What may be said of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// The figures stand.
    Valid,
    /// The load was more than the pipeline takes: the figures say how far the queue had grown.
    Saturated,
    /// Something else than the pipeline made the figures.
    Invalid,
}

impl Verdict {
    /// In capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Valid => "VALID",
            Verdict::Saturated => "SATURATED",
            Verdict::Invalid => "INVALID",
        }
    }

    /// What it means.
    pub const fn meaning(self) -> &'static str {
        match self {
            Verdict::Valid => "the schedule was held, nothing was lost, and the machine kept still",
            Verdict::Saturated => {
                "more was offered than the pipeline takes: latencies here are the length of a \
                 growing queue, not a property of the pipeline"
            }
            Verdict::Invalid => {
                "something other than the pipeline shaped these figures: do not use them"
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Late sends may be this share of the packets: more would reach the p99.9.
pub const LATE_SHARE_MAX: f64 = 0.001;
/// The two clocks may come apart by so many millionths, and by so many nanoseconds of reading
/// them.
pub const DRIFT_PPM_MAX: f64 = 100.0;
const DRIFT_READING_NS: i64 = 20_000;
/// Other guests may have this share of the processors.
pub const STEAL_MAX: f64 = 0.01;
/// A hot thread may wait for a core for this share of the time.
pub const WAITED_MAX: f64 = 0.01;
/// A hot thread may be taken off its core so often a second: twice the busiest timer tick.
pub const SWITCHES_MAX: f64 = 2_000.0;
/// A queue that even the luckiest packet waits in for so long is a standing queue.
pub const QUEUE_NS_MAX: u64 = 1_000_000;

/// What a run showed, as far as it decides about its figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// Packets in the measured span.
    pub packets: u64,
    /// Those of which no latency was taken.
    pub unmeasured: u64,
    /// Those that were sent late without the product's doing.
    pub late: u64,
    /// The worst of them.
    pub late_ns_max: u64,
    /// Messages that were to come and were not concluded.
    pub dropped: u64,
    /// What the luckiest packet of each slot waited, in order of time.
    pub floors_ns: Vec<u64>,
    /// How far the two clocks came apart.
    pub drift: Drift,
    /// What the machine did.
    pub disturbance: Disturbance,
    /// Passes over the same input that counted differently.
    pub unequal: bool,
}

impl Shown {
    /// Takes in another trial: of each thing, the worse of the two stays.
    pub fn worsen(&mut self, other: &Shown) {
        let share = |shown: &Shown| shown.late as f64 / shown.packets.max(1) as f64;
        if share(other) > share(self) || self.packets == 0 {
            (self.late, self.packets) = (other.late, other.packets);
            self.late_ns_max = other.late_ns_max;
        }
        self.unmeasured = self.unmeasured.max(other.unmeasured);
        self.dropped = self.dropped.max(other.dropped);
        self.unequal |= other.unequal;
        if standing(&other.floors_ns) > standing(&self.floors_ns) || self.floors_ns.is_empty() {
            self.floors_ns.clone_from(&other.floors_ns);
        }
        if other.drift.ppm.abs() > self.drift.ppm.abs() {
            self.drift = other.drift;
        }
        self.disturbance.worsen(&other.disturbance);
    }
}

/// The verdict, and each reason for it in a sentence. Reasons that do not decide come too: a
/// saturated run on a disturbed machine has both.
pub fn judge(shown: &Shown) -> (Verdict, Vec<String>) {
    let mut reasons = Vec::new();
    let mut is_wrong = false;
    if shown.packets == 0 {
        is_wrong = true;
        reasons.push("nothing was due in the measured span".into());
    }
    if shown.unmeasured > shown.packets / 2 {
        is_wrong = true;
        reasons.push(format!(
            "of {} packets {} were not measured",
            shown.packets, shown.unmeasured
        ));
    }
    if shown.dropped > 0 {
        is_wrong = true;
        reasons.push(format!("{} messages were lost", shown.dropped));
    }
    if shown.unequal {
        is_wrong = true;
        reasons.push("passes over the same input counted different events or orders".into());
    }
    let drift = shown.drift;
    if drift.ppm.abs() > DRIFT_PPM_MAX && drift.off_ns.abs() > DRIFT_READING_NS {
        is_wrong = true;
        reasons.push(format!(
            "the time stamp counter and the system's clock came apart by {:.0} ppm (want at most \
             {DRIFT_PPM_MAX:.0})",
            drift.ppm
        ));
    }
    let queue = standing(&shown.floors_ns);
    if let Some(queue_ns) = queue {
        reasons.push(format!(
            "the queue never emptied in the last quarter: even the luckiest packet waited {}",
            crate::term::nanos(queue_ns)
        ));
    }
    let mut is_disturbed = false;
    let mut disturbed = |why: String| {
        is_disturbed = true;
        reasons.push(why);
    };
    let late = shown.late as f64 / shown.packets.max(1) as f64;
    if late > LATE_SHARE_MAX {
        disturbed(format!(
            "{:.3} % of the packets were sent more than 1 ms late, by up to {}, because the \
             machine took the sender's core away (want at most {} %)",
            late * 100.0,
            crate::term::nanos(shown.late_ns_max),
            LATE_SHARE_MAX * 100.0
        ));
    }
    let host = &shown.disturbance;
    if let Some(steal) = host.steal.filter(|steal| *steal > STEAL_MAX) {
        disturbed(format!(
            "other guests had {:.1} % of the processors (want at most {} %)",
            steal * 100.0,
            STEAL_MAX * 100.0
        ));
    }
    if host.waited > WAITED_MAX {
        disturbed(format!(
            "thread {} waited {:.1} % of the time for its core (want at most {} %)",
            host.worst_thread,
            host.waited * 100.0,
            WAITED_MAX * 100.0
        ));
    }
    if host.switches_per_second > SWITCHES_MAX {
        disturbed(format!(
            "a hot thread was taken off its core {:.0} times a second (want at most \
             {SWITCHES_MAX:.0})",
            host.switches_per_second
        ));
    }
    let verdict = match (is_wrong, queue.is_some(), is_disturbed) {
        (true, _, _) => Verdict::Invalid,
        (false, true, _) => Verdict::Saturated,
        (false, false, true) => Verdict::Invalid,
        (false, false, false) => Verdict::Valid,
    };
    (verdict, reasons)
}

/// The median, over the last quarter of the slots, of what the luckiest packet waited, if that is
/// a queue. A stall, however long, is worked off; a queue that stands until the end is not.
pub fn standing(floors_ns: &[u64]) -> Option<u64> {
    let quarter = floors_ns.len().div_ceil(4);
    let mut last = floors_ns[floors_ns.len() - quarter..].to_vec();
    last.sort_unstable();
    let median = *last.get(last.len() / 2)?;
    (median > QUEUE_NS_MAX).then_some(median)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Shown {
        Shown {
            packets: 1_000_000,
            floors_ns: vec![900; 60],
            ..Shown::default()
        }
    }

    fn check(want: Verdict, word: &str, change: impl Fn(&mut Shown)) {
        let mut shown = quiet();
        change(&mut shown);
        let (verdict, reasons) = judge(&shown);
        assert_eq!(verdict, want, "{reasons:?}");
        assert!(
            reasons.iter().any(|reason| reason.contains(word)) || word.is_empty(),
            "{reasons:?}"
        );
    }

    #[test]
    fn a_quiet_run_stands() {
        let (verdict, reasons) = judge(&quiet());
        assert_eq!((verdict, reasons.len()), (Verdict::Valid, 0));
    }

    #[test]
    fn each_rule_breaks_just_above_its_bound() {
        use Verdict::*;
        check(Valid, "", |s| s.late = 1_000);
        check(Invalid, "late", |s| s.late = 1_001);
        check(Invalid, "lost", |s| s.dropped = 1);
        check(Invalid, "not measured", |s| s.unmeasured = 500_001);
        check(Invalid, "different", |s| s.unequal = true);
        check(Invalid, "nothing was due", |s| s.packets = 0);
        check(Valid, "", |s| {
            s.drift = Drift {
                ppm: 5e4,
                off_ns: 20_000,
            }
        });
        check(Invalid, "came apart", |s| {
            s.drift = Drift {
                ppm: -101.0,
                off_ns: -6_060_000,
            }
        });
        check(Valid, "", |s| s.disturbance.steal = Some(0.01));
        check(Invalid, "other guests", |s| {
            s.disturbance.steal = Some(0.011)
        });
        check(Valid, "", |s| s.disturbance.waited = 0.01);
        check(Invalid, "waited", |s| s.disturbance.waited = 0.02);
        check(Invalid, "taken off", |s| {
            s.disturbance.switches_per_second = 2_001.0
        });
    }

    #[test]
    fn a_queue_that_stands_is_saturation_and_a_stall_that_is_worked_off_is_not() {
        use Verdict::*;
        check(Saturated, "never emptied", |s| {
            s.floors_ns = (0..60).map(|slot| slot * 3_000_000).collect();
        });
        check(Valid, "", |s| s.floors_ns[20..30].fill(50_000_000));
        check(Valid, "", |s| s.floors_ns[58..].fill(50_000_000));
        // The overload decides, and the disturbance is told beside it.
        check(Saturated, "waited", |s| {
            s.floors_ns.fill(9_000_000);
            s.disturbance.waited = 0.5;
        });
        // Lost messages are worse than any queue.
        check(Invalid, "lost", |s| {
            s.floors_ns.fill(9_000_000);
            s.dropped = 7;
        });
    }
}
