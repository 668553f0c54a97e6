//! Limits of orders together, and what is out already when a run goes on.

use std::collections::HashMap;

use bus::clock::{Clock, MachineClock};
use bus::log::{LogReader, Record};
use bus::signal::{Order, Outcome, Report};
use bus::{Body, Ts};

use super::{Job, PipelineError};
use crate::guard::Owner;
use crate::kill::Kill;
use crate::recovery::key;

/// Opens the limits, where the settings ask for any, and counts what the log says is out; what to tell
/// people if they cannot be used.
pub(super) fn open(
    kill: &mut Kill,
    job: &Job<'_>,
    clock: &MachineClock,
) -> Result<Option<String>, PipelineError> {
    let risk = &job.config.risk;
    if !risk.is_guarded() {
        return Ok(None);
    }
    if !job.resume {
        job.dir.make_limits(risk).map_err(PipelineError::Setup)?;
    }
    let is_told = job.config.orders.has_session();
    let said = kill.guarded(&job.dir.limits_path(), job.config, is_told);
    if job.resume {
        count_again(kill, job, clock).map_err(PipelineError::Setup)?;
    }
    Ok(said)
}

/// By what names an order: whose it is, the order, and when it left, if it did.
type Orders = HashMap<(u64, u32, u16), (Owner, Order, Option<Ts>)>;

/// Every order that left, by all logs of the run, and those of the last second for the rates. Where
/// reports come, what is out is counted by them, when the sessions are opened.
fn count_again(kill: &Kill, job: &Job<'_>, clock: &MachineClock) -> Result<(), String> {
    let Some(guard) = kill.guard() else {
        return Ok(());
    };
    let mut orders = Orders::new();
    let mut reports: Vec<(Owner, Report)> = Vec::new();
    for (part, shards) in job.parts.iter().map(|part| part.shards).enumerate() {
        for shard in 0..shards {
            let dir = job.dir.log_dir(part, shard);
            // A run may have been killed before it made them all.
            if !dir.is_dir() {
                continue;
            }
            for item in LogReader::open(&dir).map_err(|error| error.to_string())? {
                let (_, record) = item.map_err(|error| error.to_string())?;
                let Record::Signal(signal) = record else {
                    continue;
                };
                match signal.body() {
                    Some(Body::Order(order)) => {
                        let owner = Owner {
                            symbol: signal.symbol,
                            rule: signal.rule,
                        };
                        let known = orders.entry(key(&signal));
                        known.or_insert((owner, order, None));
                    }
                    Some(Body::Sent(sent)) => {
                        let cause = (signal.seq, signal.symbol, sent.order_ordinal);
                        let left = matches!(sent.outcome, Outcome::Sent | Outcome::Cancelled);
                        if !left {
                            guard.never_left(cause);
                        }
                        if let Some((.., at)) = orders.get_mut(&cause).filter(|_| left) {
                            *at = Some(sent.ts_sent);
                        }
                    }
                    Some(Body::Report(report)) => {
                        let owner = Owner {
                            symbol: signal.symbol,
                            rule: signal.rule,
                        };
                        reports.push((owner, report));
                    }
                    _ => {}
                }
            }
        }
    }
    // Of an order that nobody said anything about yet it is counted when it leaves.
    let is_known = |(owner, report): &(Owner, Report)| {
        let cause = (report.order_seq, owner.symbol, report.order_ordinal);
        orders.get(&cause).is_some_and(|(.., at)| at.is_some())
    };
    reports.retain(is_known);
    let mut left: Vec<(Ts, Owner, Order)> = orders
        .into_values()
        .filter_map(|(owner, order, at)| Some((at?, owner, order)))
        .collect();
    left.sort_by_key(|(at, ..)| *at);
    let (now, now_ns) = (clock.wall(), clock.now_ns());
    for (at, owner, order) in left {
        if !guard.is_told() {
            guard.is_out(owner, &order);
        }
        guard.left_before(owner, now_ns, now.since(at).max(0) as u64);
    }
    for (owner, report) in reports {
        guard.reported(owner, &report);
    }
    Ok(())
}
