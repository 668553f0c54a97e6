//! What a person reads after a run.

use std::fmt::Write as _;

use bus::Ts;
use bus::fixed::Scaled;

use crate::config::{Config, Durability, Speed};
use crate::latency::{Latency, Stage};
use crate::pipeline::Outcome;
use crate::results::{self, Results};
use crate::run_dir::{JoinCounts, RunDir, Snapshots, SymbolResult};
use crate::session::TradingDay;
use crate::term::{Style, count, nanos, short};

/// How many symbols are shown.
const BUSIEST: usize = 8;

/// The summary of a run.
pub fn text(
    dir: &RunDir,
    day: &TradingDay,
    config: &Config,
    outcome: &Outcome,
    results: &Results,
) -> String {
    let style = Style::stdout();
    let mut out = String::new();
    header(&mut out, style, day, config, outcome, results);
    feed(&mut out, style, day, results);
    symbols(&mut out, style, &results.symbols);
    conclusions(&mut out, style, results);
    latency(&mut out, style, config, &results.latency);
    trouble(&mut out, style, results);
    if let Some(outside) = &results.manifest.outside {
        let _ = writeln!(out, "{} {outside}", style.bold("nothing "));
    }
    if let Some(from) = results.manifest.kept_from_ns {
        let _ = writeln!(
            out,
            "{} tables and digest are of what the log still has, from {} on: log.keep removed what \
             was before",
            style.bold("partial "),
            day.shown(Ts(from)),
        );
    }
    let digest = &results.manifest.digest;
    let _ = writeln!(
        out,
        "{} {}",
        style.bold("digest  "),
        &digest[..32.min(digest.len())]
    );
    let _ = writeln!(out, "{} {}", style.bold("run     "), dir.path().display());
    out
}

fn header(
    out: &mut String,
    style: Style,
    day: &TradingDay,
    config: &Config,
    outcome: &Outcome,
    results: &Results,
) {
    let counts = &results.manifest.counts;
    let span = results::span(&outcome.reader, day).map_or(String::new(), |(first, last)| {
        // A time without its fraction.
        let whole = |text: &str| text.split('.').next().unwrap_or_default().to_string();
        format!("{} to {} {}", whole(&first), whole(&last), day.told_zone())
    });
    let _ = writeln!(
        out,
        "{} {}  {span}  {} messages of {} symbols",
        style.bold("session "),
        day.date,
        count(counts.messages),
        results.symbols.len()
    );
    let seconds = outcome.elapsed.as_secs_f64();
    let fresh = counts.messages.max(1);
    let shards = outcome.shards.len();
    let _ = writeln!(
        out,
        "{} {} shard{} at speed {}: {:.2} s, {}messages/s, {:.0} ns each",
        style.bold("speed   "),
        shards,
        if shards == 1 { "" } else { "s" },
        config.run.speed,
        seconds,
        short(fresh as f64 / seconds),
        seconds * 1e9 / fresh as f64,
    );
    let mode = match config.log.durability {
        Durability::Durable => "orders wait for the disk",
        Durability::Fast => "orders do not wait for the disk",
    };
    let bytes: u64 = outcome.shards.iter().map(|shard| shard.log.bytes).sum();
    let frames: u64 = outcome.shards.iter().map(|shard| shard.log.frames).sum();
    let _ = writeln!(
        out,
        "{} {} MiB in {} frames; {mode}; {}",
        style.bold("log     "),
        count(bytes >> 20),
        count(frames),
        outcome.log_backend
    );
    if outcome.recovered_events > 0 {
        let _ = writeln!(
            out,
            "{} {} events were rebuilt from the log of the run before",
            style.bold("resumed "),
            count(outcome.recovered_events)
        );
    }
}

fn feed(out: &mut String, style: Style, day: &TradingDay, results: &Results) {
    for line in &results.manifest.lines {
        let missing = if line.gap_messages == 0 {
            "nothing missing".to_string()
        } else {
            format!(
                "{} messages missing: {} filled by another line, {} lost",
                count(line.gap_messages),
                count(line.filled_by_other),
                count(line.lost)
            )
        };
        let dropped = match line.kernel_drops {
            0 => String::new(),
            drops => format!(", {} packets dropped by the kernel", count(drops)),
        };
        let _ = writeln!(
            out,
            "{} {:<22} {:>10} packets, {} duplicate messages, {missing}{dropped}",
            style.bold("line    "),
            line.name,
            count(line.packets),
            count(line.duplicates),
        );
    }
    let manifest = &results.manifest;
    if let Some(asked) = &manifest.retransmission {
        let _ = writeln!(
            out,
            "{} {} messages in {} requests; {} recovered, {} given up",
            style.bold("asked   "),
            count(asked.asked),
            count(asked.requests),
            count(asked.recovered),
            count(asked.given_up)
        );
    }
    if let Some(snapshot) = &manifest.snapshot {
        let _ = writeln!(out, "{} {}", style.bold("whole   "), healed(snapshot, day));
    }
    if manifest.mode == "live" && manifest.resumed > 0 {
        let times = match manifest.resumed {
            1 => "once".to_string(),
            times => format!("{times} times"),
        };
        let _ = writeln!(
            out,
            "{} the run was interrupted {times}: what came on the lines meanwhile is missing, nobody \
             knows how much, and all books {}",
            style.bold("gap     "),
            match manifest.snapshot.as_ref().is_some_and(|s| s.heals > 0) {
                true => "were stale until a snapshot",
                false => "are stale since",
            },
        );
    }
}

/// What snapshots did for books.
fn healed(snapshot: &Snapshots, day: &TradingDay) -> String {
    let asked = format!(
        "{} snapshots after {} losses, {} attempts in vain{}",
        count(snapshot.came),
        count(snapshot.losses),
        count(snapshot.failed),
        match snapshot.given_up {
            true => ", and no more",
            false => "",
        }
    );
    match &snapshot.last {
        Some(last) => format!(
            "again since {}, message {}: {} symbols with {} orders; {asked}",
            day.shown(Ts(last.ts_event_ns)),
            count(last.sequence),
            count(last.symbols),
            count(last.orders)
        ),
        None => asked,
    }
}

fn symbols(out: &mut String, style: Style, symbols: &[SymbolResult]) {
    let mut busiest: Vec<&SymbolResult> = symbols.iter().collect();
    busiest.sort_by(|a, b| {
        b.trades
            .cmp(&a.trades)
            .then_with(|| a.symbol.cmp(&b.symbol))
    });
    busiest.truncate(BUSIEST);
    if busiest.is_empty() {
        return;
    }
    let head = format!(
        "\n{:<8} {:>8} {:>12} {:>12} {:>10}   {:>20}   {:<20} {}",
        "symbol", "trades", "volume", "VWAP", "last", "bid", "ask", "volatility"
    );
    let _ = writeln!(out, "{}", style.dim(&head));
    for symbol in busiest {
        let price = |text: &Option<String>| text.as_deref().map_or("-".to_string(), cents);
        let scaled = |qty: i64| Scaled(qty, symbol.qty_decimals);
        let bid = symbol.bid.as_ref();
        let bid = bid.map(|(px, qty)| format!("{} x {px}", scaled(*qty)));
        let ask = symbol.ask.as_ref();
        let ask = ask.map(|(px, qty)| format!("{px} x {}", scaled(*qty)));
        let volume = match symbol.qty_decimals {
            0 => count(symbol.volume as u64),
            _ => scaled(symbol.volume).to_string(),
        };
        let _ = writeln!(
            out,
            "{} {:>8} {:>12} {:>12} {:>10}   {:>20}   {:<20} {}{}",
            style.bold(&format!("{:<8}", symbol.symbol)),
            count(symbol.trades),
            volume,
            price(&symbol.vwap),
            price(&symbol.last),
            bid.as_deref().unwrap_or("-"),
            ask.as_deref().unwrap_or("-"),
            symbol.regime,
            if symbol.stale {
                style.warn("  stale")
            } else {
                String::new()
            },
        );
    }
    out.push('\n');
}

/// At most four decimals, or below 1 five digits behind the zeros, for a table.
fn cents(text: &str) -> String {
    let Some(dot) = text.find('.') else {
        return text.to_string();
    };
    let zeros = text[dot + 1..].bytes().take_while(|&b| b == b'0').count();
    let decimals = match text[..dot].trim_start_matches('-') {
        "0" => 5 + zeros,
        _ => 4,
    };
    text[..text.len().min(dot + 1 + decimals)].to_string()
}

fn conclusions(out: &mut String, style: Style, results: &Results) {
    let counts = &results.manifest.counts;
    let _ = writeln!(
        out,
        "{} {} windows closed, {} trades late; {} spread alerts raised and cleared{}; {} changes \
         of regime",
        style.bold("found   "),
        count(counts.windows),
        count(counts.late),
        count(counts.alerts),
        match counts.rule_alerts {
            0 => String::new(),
            alerts => format!(
                ", {} of rules, monitors, patterns and instruments",
                count(alerts)
            ),
        },
        count(counts.regimes)
    );
    if counts.dropped_matches > 0 {
        let _ = writeln!(
            out,
            "         {} partial matches of patterns were one too many and dropped: a larger \
             partial_max keeps them",
            count(counts.dropped_matches)
        );
    }
    let joined = counts.join_counts;
    if counts.joins > 0 || joined != JoinCounts::default() {
        let _ = writeln!(
            out,
            "         {} rows of joins; {} records met nothing, {} came late",
            count(counts.joins),
            count(joined.unmatched),
            count(joined.late)
        );
    }
    for (dropped, what, key) in [
        (
            joined.dropped,
            "records of joins were one too many and dropped",
            "keep",
        ),
        (
            joined.beyond,
            "rows of joins were more than one record may have",
            "rows_max",
        ),
    ] {
        if dropped > 0 {
            let _ = writeln!(
                out,
                "         {} {what}: a larger {key} keeps them",
                count(dropped)
            );
        }
    }
    for (name, model) in &counts.models {
        let _ = write!(
            out,
            "         model {name}: {} inferences",
            count(model.runs)
        );
        if model.longest_ns > 0 {
            let _ = write!(
                out,
                ", {} above the budget, the longest {:.1} us",
                count(model.over_budget),
                model.longest_ns as f64 / 1e3
            );
        }
        if model.failed > 0 {
            let _ = write!(out, "; {} without a number", count(model.failed));
        }
        out.push('\n');
    }
    // What manifests of before did not count is 0.
    let others = counts.decisions.saturating_sub(counts.signals);
    let of_others = match others {
        0 => String::new(),
        _ => format!(", {} of rules and strategies", count(others)),
    };
    let mut orders = format!(
        "{} signals{of_others}: {} orders, {} refused by risk; {} sent",
        count(counts.signals + others),
        count(counts.orders),
        count(counts.rejects),
        count(counts.sent)
    );
    for (number, what) in [
        (counts.killed, "held back by the kill flag"),
        (counts.resent, "of them again after a crash"),
        (
            counts.withheld,
            "of them withheld when the counterparty asked again: it has none of those",
        ),
        (
            counts.unanswered,
            "of them without an answer from the counterparty",
        ),
    ] {
        if number > 0 {
            let _ = write!(orders, ", {} {what}", count(number));
        }
    }
    for (reason, refused) in &counts.refused {
        let _ = write!(orders, ", {} refused by {reason}", count(*refused));
    }
    let _ = writeln!(out, "{} {orders}", style.bold("orders  "));
}

fn latency(out: &mut String, style: Style, config: &Config, latency: &Latency) {
    if Stage::ALL
        .iter()
        .all(|stage| latency.stage(*stage).is_empty())
    {
        return;
    }
    let head = format!(
        "\n{:<9} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "latency", "samples", "p50", "p99", "p99.9", "max"
    );
    let _ = writeln!(out, "{}", style.dim(&head));
    for stage in Stage::ALL {
        let histogram = latency.stage(stage);
        let samples = histogram.count();
        if samples == 0 {
            continue;
        }
        let cell = |ns: Option<u64>| ns.map_or("n/a".to_string(), nanos);
        let _ = writeln!(
            out,
            "{:<9} {:>10} {:>10} {:>10} {:>10} {:>10}  {}",
            stage.name(),
            count(samples),
            cell(histogram.quantile_ns(0.5)),
            cell(histogram.quantile_ns(0.99)),
            cell(histogram.quantile_ns(0.999)),
            cell(histogram.max_ns()),
            style.dim(stage.meaning()),
        );
    }
    let remark = match config.run.speed {
        _ if !latency.stage(Stage::Total).is_empty() => {
            "total and order count from when a packet was due, so a stall shows in all that it \
             delayed"
        }
        Speed::Max => {
            "at full speed the rings are full by design; replay at a pace (--speed 10x) for \
             latency from when a packet was due"
        }
        Speed::Rate(_) => {
            "at a rate no recorded time says when a packet was due; replay at a pace (--speed 10x), or \
             see `tapeline bench latency`, for latency from then"
        }
        Speed::Times(_) => {
            "total and order count from when a packet was due, so a stall shows in all that it \
             delayed"
        }
    };
    let _ = writeln!(out, "{}\n", style.dim(remark));
}

fn trouble(out: &mut String, style: Style, results: &Results) {
    let manifest = &results.manifest;
    if manifest.counts.lost_messages > 0 {
        let with_evidence = results
            .symbols
            .iter()
            .filter(|s| s.stale && s.evidence > 0)
            .count();
        let _ = writeln!(
            out,
            "{} {} messages in {} gaps, lost on every line: {} symbols are marked stale, {} of \
             them show it",
            style.bad("lost    "),
            count(manifest.counts.lost_messages),
            manifest.gaps.len(),
            manifest.counts.stale_symbols,
            with_evidence
        );
    }
    if !manifest.anomalies.is_empty() {
        let list: Vec<String> = manifest
            .anomalies
            .iter()
            .map(|(name, n)| format!("{name} {}", count(*n)))
            .collect();
        let _ = writeln!(out, "{} {}", style.warn("wrong   "), list.join(", "));
        if let Some(full) = &manifest.full {
            let _ = writeln!(out, "{} {}", style.bad("full    "), full.text());
        }
        for example in manifest.anomaly_examples.iter().take(3) {
            let _ = writeln!(out, "{}", style.dim(&format!("         {example}")));
        }
    }
    if !manifest.breaches.is_empty() {
        let kinds = manifest.breaches.iter();
        let kinds: Vec<String> = kinds
            .map(|(name, n)| format!("{name} {}", count(*n)))
            .collect();
        let _ = writeln!(out, "{} {}", style.bad("broken  "), kinds.join(", "));
        for example in manifest.breach_examples.iter().take(3) {
            let _ = writeln!(out, "{}", style.dim(&format!("         {example}")));
        }
    }
    if let Some(kept) = &manifest.quarantine {
        let full = match kept.left_out {
            0 => String::new(),
            more => format!(
                "; {} more found no room (source.quarantine.max_bytes)",
                count(more)
            ),
        };
        let _ = writeln!(
            out,
            "{} {} not understood, kept in quarantine.bin{full}",
            style.warn("kept    "),
            count(kept.records)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::cents;

    #[test]
    fn small_prices_keep_the_digits_that_count() {
        let shown = ["61685.6157012", "1.5", "12", "0.79140000", "0.000013251"].map(cents);
        assert_eq!(shown, ["61685.6157", "1.5", "12", "0.79140", "0.000013251"]);
        assert_eq!(cents("0.004251899999"), "0.0042518");
        assert_eq!(cents("-0.25"), "-0.25");
    }
}
