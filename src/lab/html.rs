//! A report as one page that needs nothing else: no script, no font, no network. It follows the
//! reader's light or dark, and prints.

#[allow(missing_docs, unreachable_pub)]
mod chart;
mod style;

use std::fmt::Write as _;

use super::report::{QUANTILE_NAMES, Report, StackSaid, StageSaid};
use super::units::Rate;
use super::verdict::Verdict;
use crate::latency::Stage;
use crate::term::count;
use chart::{Axis, Plot};

/// Text as it may stand in a page.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// Nanoseconds as a page shows them: three digits, since a histogram has no more.
fn time(ns: u64) -> String {
    let (digits, unit) = split(ns);
    format!("{digits} {unit}")
}

fn split(ns: u64) -> (String, &'static str) {
    let (value, unit) = match ns {
        0..1_000 => return (ns.to_string(), "ns"),
        1_000..999_500 => (ns as f64 / 1e3, "µs"),
        999_500..999_500_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    (format!("{value:.decimals$}"), unit)
}

/// From the least to the most, with the unit once where it is one.
fn range(least: u64, most: u64) -> String {
    let ((low, low_unit), (high, high_unit)) = (split(least), split(most));
    match low_unit == high_unit {
        true => format!("{low} – {high} {high_unit}"),
        false => format!("{low} {low_unit} – {high} {high_unit}"),
    }
}

fn cell(ns: Option<u64>) -> String {
    match ns {
        Some(ns) => format!("<td>{}</td>", time(ns)),
        None => "<td class=\"na\">n/a</td>".into(),
    }
}

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut out = String::with_capacity(1 << 17);
    let title = format!("tapeline {}: {}", report.kind, subject(report));
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n",
        escape(&title),
        style::STYLE
    );
    header(&mut out, report);
    figures(&mut out, report);
    sweep(&mut out, report);
    search(&mut out, report);
    curves(&mut out, report);
    table(&mut out, report);
    timeline(&mut out, report);
    gaps(&mut out, report);
    stacks(&mut out, report);
    trials(&mut out, report);
    conditions(&mut out, report);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn subject(report: &Report) -> String {
    match report.kind.as_str() {
        "jitter" => report.input.what.clone(),
        _ => format!("{}, {}", report.input.what, report.load.pacing),
    }
}

fn verdict_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Saturated => "saturated",
        Verdict::Invalid => "invalid",
    }
}

fn header(out: &mut String, report: &Report) {
    let heading = match report.kind.as_str() {
        "sweep" => "Latency against load",
        "saturate" => "Highest rate held",
        "wire" => "Wire to wire",
        "jitter" => "What the machine does",
        _ => "Latency",
    };
    let class = verdict_class(report.verdict);
    let program = &report.program;
    let mut version = format!("tapeline {}", program.version);
    if !program.commit.is_empty() {
        let _ = write!(version, " · {}", program.commit);
    }
    let _ = write!(
        out,
        "<header>\n<p class=\"over\">{} · {}</p>\n<h1>{heading}</h1>\n<p class=\"sub\">{}</p>\n\
         </header>\n",
        escape(&version),
        escape(&report.started.replace('T', " ").replace('Z', " UTC")),
        escape(&subject(report)),
    );
    // What the machine does is neither valid nor invalid.
    if report.kind == "jitter" {
        return;
    }
    let _ = write!(
        out,
        "<section class=\"verdict {class}\">\n<strong>{}</strong>\n<div><p>{}</p>\n",
        report.verdict,
        escape(&sentence(report.verdict.meaning())),
    );
    if !report.reasons.is_empty() {
        out.push_str("<ul>\n");
        for reason in &report.reasons {
            let _ = writeln!(out, "<li>{}</li>", escape(reason));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</div>\n</section>\n");
}

/// With a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}

fn tile(out: &mut String, value: &str, name: &str, note: &str) {
    let _ = writeln!(
        out,
        "<div class=\"tile\"><span class=\"value\">{}</span><span class=\"name\">{}</span>\
         <span class=\"note\">{}</span></div>",
        escape(value),
        escape(name),
        escape(note)
    );
}

fn figures(out: &mut String, report: &Report) {
    out.push_str("<section class=\"tiles\">\n");
    if let Some(rate) = report.rate_found {
        let name = match report.kind.as_str() {
            "sweep" => "the knee",
            _ => "highest rate held",
        };
        tile(out, &Rate(rate).to_string(), name, "messages a second");
    }
    if let Some(first) = report.stages.first() {
        for (index, name) in [(0, "p50"), (2, "p99"), (3, "p99.9")] {
            let value = first.quantiles_ns[index].map_or("n/a".into(), time);
            let note = match first.spread_ns[index] {
                Some((least, most)) => format!("trials {}", range(least, most)),
                None => String::new(),
            };
            tile(out, &value, name, &note);
        }
        let most = first.max_ns.map_or("n/a".into(), time);
        let samples = format!("of {} samples", count(first.count));
        tile(out, &most, "longest", &samples);
    }
    out.push_str("</section>\n");
}

/// The colour of a whole.
fn line_class(name: &str) -> &'static str {
    match name {
        "total" | "wire" | "gap" => "c1",
        "service" | "floor" => "c2",
        _ => "c3",
    }
}

fn legend(out: &mut String, entries: &[(&str, &str)]) {
    out.push_str("<p class=\"legend\">");
    for (class, name) in entries {
        let _ = write!(
            out,
            "<span><i class=\"key {class}\"></i>{}</span>",
            escape(name)
        );
    }
    out.push_str("</p>\n");
}

fn curves(out: &mut String, report: &Report) {
    if report.curves.is_empty() {
        return;
    }
    let points = || report.curves.iter().flat_map(|curve| &curve.points);
    let most = points().map(|(q, _)| *q).fold(0.9, f64::max);
    let y = Axis::nanos(points().map(|(_, ns)| *ns), "");
    let mut plot = Plot::new(Axis::quantiles(most), y, 360.0);
    let placed = |points: &[(f64, u64)]| -> Vec<(f64, f64)> {
        let place = |(q, ns): &(f64, u64)| (1.0 / (1.0 - q), *ns as f64);
        points.iter().map(place).collect()
    };
    for curve in report.curves.iter().filter(|curve| curve.is_single) {
        plot.line("single", &placed(&curve.points));
    }
    for curve in report.curves.iter().filter(|curve| !curve.is_single) {
        plot.line(line_class(&curve.name), &placed(&curve.points));
    }
    out.push_str("<section>\n<h2>Percentiles</h2>\n<figure>\n");
    out.push_str(&plot.svg("percentile curves"));
    out.push_str("<figcaption>");
    let wholes = report.curves.iter().filter(|curve| !curve.is_single);
    let mut entries: Vec<(&str, String)> = wholes
        .map(|curve| (line_class(&curve.name), said_of(report, &curve.name)))
        .collect();
    if report.curves.iter().any(|curve| curve.is_single) {
        entries.push(("single", "total, single trials".into()));
    }
    let entries: Vec<(&str, &str)> = entries.iter().map(|(c, n)| (*c, n.as_str())).collect();
    legend(out, &entries);
    out.push_str(
        "<p>A curve ends where fewer than ten samples lie beyond it. Both axes are logarithmic.\
         </p></figcaption>\n</figure>\n</section>\n",
    );
}

/// A name with what it means.
fn said_of(report: &Report, name: &str) -> String {
    match report.stage(name) {
        Some(stage) => format!("{name}: {}", stage.meaning),
        None => name.to_string(),
    }
}

fn is_whole(stage: &StageSaid) -> bool {
    !Stage::PARTS.iter().any(|part| part.name() == stage.stage)
}

fn table(out: &mut String, report: &Report) {
    if report.stages.is_empty() {
        return;
    }
    out.push_str(
        "<section>\n<h2>Figures</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th></th>",
    );
    for name in QUANTILE_NAMES {
        let _ = write!(out, "<th>{name}</th>");
    }
    out.push_str("<th>longest</th><th>mean</th><th>samples</th></tr></thead>\n<tbody>\n");
    for stage in &report.stages {
        let class = if is_whole(stage) {
            " class=\"whole\""
        } else {
            ""
        };
        let _ = write!(
            out,
            "<tr{class}><th><b>{}</b><span>{}</span></th>",
            escape(&stage.stage),
            escape(&stage.meaning)
        );
        for (value, spread) in stage.quantiles_ns.iter().zip(stage.spread_ns) {
            match (value, spread) {
                (Some(ns), Some((least, most))) => {
                    let (ns, spread) = (time(*ns), range(least, most));
                    let _ = write!(out, "<td>{ns}<span>{spread}</span></td>");
                }
                (value, _) => out.push_str(&cell(*value)),
            }
        }
        out.push_str(&cell(stage.max_ns));
        let _ = writeln!(
            out,
            "<td>{}</td><td>{}</td></tr>",
            time(stage.mean_ns as u64),
            count(stage.count)
        );
    }
    out.push_str(
        "</tbody></table></div>\n<p class=\"note\">Under a figure stand the least and the most \
         that single trials had. <i>n/a</i>: fewer than ten samples would lie beyond it, so it \
         would be a guess.</p>\n</section>\n",
    );
}

fn timeline(out: &mut String, report: &Report) {
    let slots = &report.timeline;
    if slots.len() < 2 {
        return;
    }
    let step = slots[1].at_s - slots[0].at_s;
    let end = slots.last().map_or(1.0, |slot| slot.at_s + step);
    let values = slots.iter().flat_map(|slot| [slot.min_ns, slot.max_ns]);
    let y = Axis::nanos(values, "");
    let x = Axis::seconds(end, "measured time");
    let mut plot = Plot::new(x, y, 280.0);
    let trials = slots.last().map_or(0, |slot| slot.trial) + 1;
    for trial in 0..trials {
        let of = |value: &dyn Fn(&super::report::SlotSaid) -> Option<u64>| -> Vec<(f64, f64)> {
            let mine = slots.iter().filter(|slot| slot.trial == trial);
            mine.filter_map(|slot| Some((slot.at_s + step / 2.0, value(slot)? as f64)))
                .collect()
        };
        let (p50, most) = (of(&|slot| Some(slot.p50_ns)), of(&|slot| Some(slot.max_ns)));
        plot.band("c1", &p50, &most);
        plot.line("c3 thin", &most);
        plot.line("c2", &of(&|slot| slot.p99_ns));
        plot.line("c1", &p50);
        if trial > 0
            && let Some(first) = slots.iter().find(|slot| slot.trial == trial)
        {
            plot.mark("trial", first.at_s, &format!("trial {}", trial + 1));
        }
    }
    out.push_str("<section>\n<h2>Over time</h2>\n<figure>\n");
    out.push_str(&plot.svg("latency over time"));
    out.push_str("<figcaption>");
    legend(out, &[("c3", "longest"), ("c2", "p99"), ("c1", "p50")]);
    let _ = write!(
        out,
        "<p>Total latency of what was due in each {step:.2} s. Warm-up is not shown.</p>\
         </figcaption>\n</figure>\n</section>\n"
    );
}

fn stack_rows(out: &mut String, stacks: &[&StackSaid]) {
    for stack in stacks {
        let parts: Vec<(String, f64, String)> = stack
            .parts_ns
            .iter()
            .map(|(name, ns)| {
                let share = ns / stack.total_ns.max(1e-9) * 100.0;
                let title = format!("{name}: {} ({share:.1} %)", time(ns.round() as u64));
                (name.clone(), *ns, title)
            })
            .collect();
        let _ = write!(
            out,
            "<div class=\"stack\"><p><b>{}</b><span>{}</span></p>{}<p class=\"parts\">",
            escape(&stack.which),
            time(stack.total_ns.round() as u64),
            chart::bar(&parts)
        );
        for (name, ns) in &stack.parts_ns {
            let _ = write!(
                out,
                "<span><i class=\"fill-{name}\"></i>{name} <b>{}</b></span>",
                time(ns.round() as u64)
            );
        }
        out.push_str("</p></div>\n");
    }
}

fn stacks(out: &mut String, report: &Report) {
    if report.stacks.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Where the time goes</h2>\n");
    let stacks: Vec<&StackSaid> = report.stacks.iter().collect();
    stack_rows(out, &stacks);
    out.push_str(
        "<p class=\"note\">Means over single messages that were stamped at every step; the parts \
         add up to the whole. <i>receive</i> and <i>ring</i> are waits, the others work: in a \
         batch, a message's parts are those of the batch that it came in.</p>\n</section>\n",
    );
}

fn sweep(out: &mut String, report: &Report) {
    if report.sweep.len() < 2 {
        return;
    }
    let points = &report.sweep;
    let quantile = |index: usize| -> Vec<(f64, f64)> {
        let held = points.iter();
        held.filter_map(|p| Some((p.rate, p.total.quantiles_ns[index]? as f64)))
            .collect()
    };
    let values = points.iter().flat_map(|p| p.total.quantiles_ns);
    let y = Axis::nanos(values.flatten(), "");
    let (first, last) = (points[0].rate, points[points.len() - 1].rate);
    let mut plot = Plot::new(Axis::rates(first, last), y, 340.0);
    for (index, class) in [(0, "c1"), (2, "c2"), (3, "c3")] {
        plot.line(class, &quantile(index));
        for point in points {
            let Some(ns) = point.total.quantiles_ns[index] else {
                continue;
            };
            let class = format!("{class} {}", verdict_class(point.verdict));
            let title = format!(
                "{} {} at {}: {}",
                QUANTILE_NAMES[index],
                time(ns),
                Rate(point.rate),
                point.verdict
            );
            plot.dot(&class, point.rate, ns as f64, &title);
        }
    }
    if let Some(knee) = report.rate_found {
        plot.mark("knee", knee, &format!("knee: {}", Rate(knee)));
    }
    out.push_str("<section>\n<h2>Latency against load</h2>\n<figure>\n");
    out.push_str(&plot.svg("latency against load"));
    out.push_str("<figcaption>");
    legend(out, &[("c3", "p99.9"), ("c2", "p99"), ("c1", "p50")]);
    out.push_str(
        "<p>Hollow points are of runs that are not VALID. The knee is the last load before p99 \
         leaves ten times what it was at its lowest, or the queue stops emptying.</p>\
         </figcaption>\n</figure>\n",
    );
    out.push_str("<div class=\"scroll\"><table>\n<thead><tr><th>offered</th><th>concluded</th>");
    for name in QUANTILE_NAMES {
        let _ = write!(out, "<th>{name}</th>");
    }
    out.push_str("<th>longest</th><th>verdict</th></tr></thead>\n<tbody>\n");
    for point in points {
        let _ = write!(
            out,
            "<tr><th><b>{}</b></th><td>{}</td>",
            Rate(point.rate),
            Rate(point.achieved)
        );
        for value in point.total.quantiles_ns.iter().chain([&point.total.max_ns]) {
            out.push_str(&cell(*value));
        }
        let _ = writeln!(
            out,
            "<td class=\"{}\">{}</td></tr>",
            verdict_class(point.verdict),
            point.verdict
        );
    }
    out.push_str("</tbody></table></div>\n</section>\n");
}

fn search(out: &mut String, report: &Report) {
    if report.search.is_empty() {
        return;
    }
    out.push_str(
        "<section>\n<h2>The search</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>rate</th>\
         <th>held</th><th>what was seen</th></tr></thead>\n<tbody>\n",
    );
    for tried in &report.search {
        let (class, word) = match tried.is_held {
            true => ("valid", "yes"),
            false => ("saturated", "no"),
        };
        let _ = writeln!(
            out,
            "<tr><th><b>{}</b></th><td class=\"{class}\">{word}</td><td class=\"text\">{}</td></tr>",
            Rate(tried.rate),
            escape(&tried.why)
        );
    }
    out.push_str("</tbody></table></div>\n</section>\n");
}

fn gaps(out: &mut String, report: &Report) {
    if report.gaps.is_empty() {
        return;
    }
    let end = report.load.duration_s;
    let y = Axis::nanos(report.gaps.iter().map(|(_, ns)| *ns), "");
    let mut plot = Plot::new(Axis::seconds(end, "time"), y, 260.0);
    for (at_s, ns) in &report.gaps {
        let title = format!("{} after {at_s:.3} s", time(*ns));
        plot.dot("c1", *at_s, *ns as f64, &title);
    }
    out.push_str("<section>\n<h2>The longest gaps, and when</h2>\n<figure>\n");
    out.push_str(&plot.svg("the longest gaps"));
    out.push_str("</figure>\n</section>\n");
}

fn trials(out: &mut String, report: &Report) {
    if report.trials.is_empty() {
        return;
    }
    out.push_str(
        "<section>\n<h2>Trials</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th></th>\
         <th>verdict</th><th>concluded</th><th>messages</th><th>events</th><th>orders</th>\
         <th>late sends</th><th>lost</th><th>steal</th><th>waited for a core</th>\
         <th>taken off</th><th>clock drift</th></tr></thead>\n<tbody>\n",
    );
    for (index, trial) in report.trials.iter().enumerate() {
        let host = &trial.disturbance;
        let steal = host
            .steal
            .map_or("?".into(), |s| format!("{:.2} %", s * 100.0));
        let passes = match trial.passes {
            1 => String::new(),
            passes => format!("<span>{passes} passes</span>"),
        };
        let _ = writeln!(
            out,
            "<tr><th><b>{}</b>{passes}</th><td class=\"{}\">{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{steal}</td><td>{:.2} %</td><td>{:.0}/s</td>\
             <td>{:+.1} ppm</td></tr>",
            index + 1,
            verdict_class(trial.verdict),
            trial.verdict,
            Rate(trial.achieved),
            count(trial.counts[0]),
            count(trial.counts[1]),
            count(trial.counts[3]),
            count(trial.late),
            count(trial.dropped),
            host.waited * 100.0,
            host.switches_per_second,
            trial.drift.ppm,
        );
    }
    out.push_str("</tbody></table></div>\n</section>\n");
}

fn conditions(out: &mut String, report: &Report) {
    out.push_str("<section class=\"two\">\n<div>\n<h2>The machine</h2>\n<dl>\n");
    for (key, value) in &report.host {
        let _ = writeln!(
            out,
            "<dt>{}</dt><dd>{}</dd>",
            escape(&key.replace('_', " ")),
            escape(value)
        );
    }
    out.push_str("</dl>\n</div>\n<div>\n<h2>The load</h2>\n<dl>\n");
    let load = &report.load;
    let input = &report.input;
    let mut rows = vec![("input".to_string(), input.what.clone())];
    if !input.sha256.is_empty() {
        rows.push((
            "bytes played, SHA-256".into(),
            input.sha256[..16.min(input.sha256.len())].into(),
        ));
        let size = format!(
            "{} in {} packets",
            count(input.messages),
            count(input.packets)
        );
        rows.push(("messages".into(), size));
    }
    if report.kind != "jitter" {
        rows.push(("schedule".into(), load.pacing.clone()));
        let spans = format!("{} s after {} s of warm-up", load.duration_s, load.warmup_s);
        rows.push(("measured".into(), spans));
        rows.push(("shards".into(), load.shards.to_string()));
        if !load.model.is_empty() {
            rows.push(("threads".into(), load.model.clone()));
        }
        rows.push(("orders leave".into(), load.durability.clone()));
        rows.push(("log".into(), load.log_backend.clone()));
    } else {
        rows.push(("measured".into(), format!("{} s", load.duration_s)));
    }
    if load.stamp_every > 0 {
        let each = match load.stamp_every {
            1 => "every batch".into(),
            n => format!("one batch in {n}"),
        };
        rows.push(("stamped event by event".into(), each));
    }
    let program = &report.program;
    let hash = &program.sha256[..16.min(program.sha256.len())];
    rows.push(("program".into(), format!("{} · {hash}", program.version)));
    for (key, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(key), escape(value));
    }
    out.push_str("</dl>\n</div>\n</section>\n<section>\n<h2>To do it again</h2>\n<pre>");
    for command in &report.commands {
        let _ = writeln!(out, "{}", escape(command));
    }
    out.push_str("</pre>\n");
    if !report.remarks.is_empty() {
        out.push_str("<ul class=\"remarks\">\n");
        for remark in &report.remarks {
            let _ = writeln!(out, "<li>{}</li>", escape(remark));
        }
        out.push_str("</ul>\n");
    }
    out.push_str(METHOD);
    out.push_str("</section>\n");
}

/// How the figures came to be, on every page.
const METHOD: &str = "<p class=\"note\">Open loop: every packet has a time at which it is due, \
whatever became of those before, and latency counts from then until all that it says is concluded. \
A stall therefore shows in everything that it delayed. <i>service</i> is the work alone, which is \
all that a closed loop would have seen. The files beside this page hold the same histograms for \
HdrHistogram's tools.</p>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (ns, want) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (12_345, "12.3 µs"),
            (719_400, "719 µs"),
            (999_600, "1.00 ms"),
            (61_600_000, "61.6 ms"),
            (2_500_000_000, "2.50 s"),
        ] {
            assert_eq!(time(ns), want);
        }
        assert_eq!(range(1_500, 2_500), "1.50 – 2.50 µs");
        assert_eq!(range(900, 2_500), "900 ns – 2.50 µs");
    }

    #[test]
    fn what_a_user_named_cannot_break_the_page() {
        let mut report = Report::begin("latency", vec!["tapeline '<x>'".into()]);
        report.input.what = "</title><script>alert(1)</script>".into();
        report.reasons.push("a < b & \"c\"".into());
        let page = page(&report);
        assert!(!page.contains("<script") && page.contains("a &lt; b &amp; &quot;c&quot;"));
    }
}
