//! Several trials as one result.

use std::path::Path;
use std::time::Duration;

use super::report::{
    CurveSaid, Logged, Report, SlotSaid, StackSaid, StageSaid, TrialSaid, write_histograms,
};
use super::trial::Trial;
use super::verdict::{self, Shown, Verdict};
use crate::latency::{Histogram, Latency, Stage, Trace};

/// The stages, the ones to look at first in front.
pub const SHOWN: [Stage; 14] = [
    Stage::Total,
    Stage::Service,
    Stage::Order,
    Stage::Receive,
    Stage::Decode,
    Stage::Ring,
    Stage::Book,
    Stage::Append,
    Stage::Analytics,
    Stage::Risk,
    Stage::Durable,
    Stage::Encode,
    Stage::Send,
    Stage::Apply,
];

/// All trials' latencies together.
pub fn whole(trials: &[Trial]) -> Latency {
    let mut whole = Latency::new();
    for trial in trials {
        whole.merge(&trial.latency);
    }
    whole
}

/// Puts what the trials showed into a report.
pub fn describe(report: &mut Report, trials: &[Trial]) {
    let whole = whole(trials);
    for stage in SHOWN {
        let histogram = whole.stage(stage);
        if histogram.is_empty() {
            continue;
        }
        let each: Vec<&Histogram> = trials.iter().map(|t| t.latency.stage(stage)).collect();
        let said = StageSaid::new(stage.name(), stage.meaning(), histogram);
        report.stages.push(said.with_trials(&each));
    }
    report.trials = trials.iter().map(said).collect();
    report.verdict = trials
        .iter()
        .map(|trial| trial.verdict)
        .max()
        .unwrap_or(Verdict::Invalid);
    let wrong = trials
        .iter()
        .filter(|t| t.verdict != Verdict::Valid)
        .count();
    if wrong > 0 && trials.len() > 1 {
        let all = trials.len();
        let what =
            format!("{wrong} of {all} trials are not VALID; what follows is the worst of all");
        report.reasons.push(what);
    }
    let mut worst = Shown::default();
    trials.iter().for_each(|trial| worst.worsen(&trial.shown));
    report.reasons.extend(verdict::judge(&worst).1);
    for remark in trials.iter().flat_map(|trial| &trial.remarks) {
        if !report.remarks.contains(remark) {
            report.remarks.push(remark.clone());
        }
    }
    let counts = |trial: &Trial| (trial.passes, trial.counts);
    if trials
        .iter()
        .any(|trial| counts(trial) != counts(&trials[0]))
    {
        report.verdict = Verdict::Invalid;
        let why = "trials of the same input counted different events or orders";
        report.reasons.push(why.into());
    }
    report.load.log_backend = trials
        .first()
        .map_or(String::new(), |t| t.log_backend.clone());
    if whole.unmatched > 0 {
        report.remarks.push(format!(
            "{} turns of the reader were not broken down into stages: their stamps came after \
             their batch was done with",
            crate::term::count(whole.unmatched)
        ));
    }
    report.stacks = stacks(whole.traces());
    report.timeline = timeline(trials);
    for stage in [Stage::Total, Stage::Service, Stage::Order] {
        let histogram = whole.stage(stage);
        if histogram.count() >= 100 {
            report
                .curves
                .push(CurveSaid::new(stage.name(), false, histogram));
        }
    }
    if trials.len() > 1 {
        for trial in trials {
            let histogram = trial.latency.stage(Stage::Total);
            report.curves.push(CurveSaid::new("total", true, histogram));
        }
    }
}

fn said(trial: &Trial) -> TrialSaid {
    let counts = trial.counts;
    let stages = SHOWN.into_iter().filter_map(|stage| {
        let histogram = trial.latency.stage(stage);
        (!histogram.is_empty()).then(|| StageSaid::new(stage.name(), stage.meaning(), histogram))
    });
    TrialSaid {
        verdict: trial.verdict,
        reasons: trial.reasons.clone(),
        passes: trial.passes,
        achieved: trial.achieved(),
        counts: [
            counts.messages,
            counts.events,
            counts.signals,
            counts.orders,
        ],
        late: trial.shown.late,
        dropped: trial.shown.dropped,
        disturbance: trial.shown.disturbance.clone(),
        drift: trial.shown.drift,
        stages: stages.collect(),
    }
}

/// At most so many slots are drawn.
const SLOTS_SHOWN: usize = 600;

fn timeline(trials: &[Trial]) -> Vec<SlotSaid> {
    let all: usize = trials.iter().map(|trial| trial.slots.len()).sum();
    let together = all.div_ceil(SLOTS_SHOWN).max(1);
    let mut said = Vec::new();
    let mut start_s = 0.0;
    for (at, trial) in trials.iter().enumerate() {
        let slot_s = trial.slot_ns as f64 / 1e9;
        for (index, slots) in trial.slots.chunks(together).enumerate() {
            let mut slot = Histogram::new();
            slots.iter().for_each(|one| slot.add(one));
            let (Some(min_ns), Some(max_ns)) = (slot.min_ns(), slot.max_ns()) else {
                continue;
            };
            said.push(SlotSaid {
                trial: at,
                at_s: start_s + (index * together) as f64 * slot_s,
                count: slot.count(),
                min_ns,
                p50_ns: slot.quantile_ns(0.5).unwrap_or(max_ns),
                p99_ns: slot.quantile_ns(0.99),
                max_ns,
            });
        }
        start_s += trial.slots.len() as f64 * slot_s;
    }
    said
}

/// Where the time of messages went, on average, around some quantiles of their totals.
pub fn stacks(traces: &[Trace]) -> Vec<StackSaid> {
    let mut stacks = Vec::new();
    for (is_order, what) in [(false, "messages"), (true, "orders")] {
        let mut chosen: Vec<&Trace> = traces.iter().filter(|t| t.is_order == is_order).collect();
        chosen.sort_unstable_by_key(|trace| trace.total_ns());
        let bands = [
            (format!("all {what}"), 0.0, 1.0),
            (format!("{what} around the p50"), 0.45, 0.55),
            (format!("{what} around the p99"), 0.985, 0.995),
            (format!("the slowest 0.1 % of {what}"), 0.999, 1.0),
        ];
        let all: u64 = chosen.iter().map(|t| u64::from(t.messages)).sum();
        for (which, from, to) in bands {
            let (from, to) = ((from * all as f64) as u64, (to * all as f64).ceil() as u64);
            if let Some(stack) = stack(which, &chosen, from..to) {
                stacks.push(stack);
            }
        }
    }
    stacks
}

/// The mean over the messages with these places in the order of the sorted traces; `None` with
/// fewer than ten.
fn stack(which: String, sorted: &[&Trace], places: std::ops::Range<u64>) -> Option<StackSaid> {
    let (mut before, mut count) = (0, 0u64);
    let mut sums = [0u128; Stage::PARTS.len()];
    let mut total = 0u128;
    for trace in sorted {
        let end = before + u64::from(trace.messages);
        let share = end.min(places.end).saturating_sub(before.max(places.start));
        before = end;
        if share == 0 {
            continue;
        }
        count += share;
        total += u128::from(trace.total_ns()) * u128::from(share);
        for (sum, part) in sums.iter_mut().zip(trace.parts) {
            *sum += u128::from(part) * u128::from(share);
        }
    }
    let mean = |sum: u128| sum as f64 / count as f64;
    (count >= 10).then(|| StackSaid {
        which,
        count,
        total_ns: mean(total),
        parts_ns: Stage::PARTS
            .into_iter()
            .zip(sums)
            .filter(|(_, sum)| *sum > 0)
            .map(|(stage, sum)| (stage.name().to_string(), mean(sum)))
            .collect(),
    })
}

/// Writes the trials' histograms: totals by slot, the other stages by trial.
pub fn write(dir: &Path, trials: &[Trial]) -> Result<(), String> {
    let whole = whole(trials);
    let mut series = Vec::new();
    let mut start = Duration::ZERO;
    for trial in trials {
        let each = Duration::from_nanos(trial.slot_ns);
        series.push(Logged {
            tag: Stage::Total.name(),
            start,
            each,
            histograms: trial.slots.iter().collect(),
        });
        for stage in SHOWN.into_iter().filter(|stage| *stage != Stage::Total) {
            series.push(Logged {
                tag: stage.name(),
                start,
                each: trial.measured,
                histograms: vec![trial.latency.stage(stage)],
            });
        }
        start += each * trial.slots.len() as u32;
    }
    let stages: Vec<(&str, &Histogram)> = SHOWN
        .into_iter()
        .map(|stage| (stage.name(), whole.stage(stage)))
        .collect();
    write_histograms(dir, &series, &stages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(total_ns: u64, messages: u32) -> Trace {
        let mut parts = [0; 10];
        parts[0] = total_ns / 2;
        parts[3] = total_ns - total_ns / 2;
        Trace {
            due_ns: 1_000,
            done_ns: 1_000 + total_ns,
            messages,
            is_order: false,
            parts,
        }
    }

    #[test]
    fn a_stack_adds_up_and_stands_for_its_band() {
        let traces: Vec<Trace> = (1..=1_000).map(|n| trace(n * 10, 10)).collect();
        let stacks = stacks(&traces);
        let names: Vec<&str> = stacks.iter().map(|stack| stack.which.as_str()).collect();
        assert_eq!(
            names,
            [
                "all messages",
                "messages around the p50",
                "messages around the p99",
                "the slowest 0.1 % of messages"
            ]
        );
        for stack in &stacks {
            let sum: f64 = stack.parts_ns.iter().map(|(_, ns)| ns).sum();
            assert!((sum - stack.total_ns).abs() < 1e-6, "{stack:?}");
        }
        assert!(
            (stacks[1].total_ns - 5_005.0).abs() < 10.0,
            "{:?}",
            stacks[1]
        );
        assert!((stacks[3].total_ns - 10_000.0).abs() < 1e-6);
        assert_eq!(stacks[3].count, 10);
    }

    #[test]
    fn a_stack_of_too_few_is_not_shown() {
        assert!(stacks(&[trace(100, 9)]).is_empty());
    }
}
