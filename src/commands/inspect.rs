//! `tapeline inspect`

mod quarantine;

use std::fmt::Write as _;

use feed::arbiter::GapRule;
use feed::inspect::{Peak, Report, inspect as survey};
use feed::link::link_type;
use feed::protocol::{
    Binance, Bitstamp, Coinbase, Dbn, Iex, Itch, Lobster, Mdp3, Pitch, Tardis, Wire,
};
use feed::source::{Capture, CaptureOptions, Place};
use tapeline::config::Config;
use tapeline::session::TradingDay;
use tapeline::term::{Style, count, short};

use super::replay::{first_day, header_only, not_recognised, wire};
use super::{Failure, Talk};
use crate::cli;

pub fn inspect(args: &cli::Inspect, talk: Talk) -> Result<(), Failure> {
    super::check_regular(&args.files)?;
    let mut config = Config::default();
    config.source.protocol.clone_from(&args.protocol);
    config.check().map_err(Failure::usage)?;
    if quarantine::are(&args.files) {
        return quarantine::list(&args.files, &config, talk);
    }
    let day = talk.told(first_day(&args.files, &config)?)?;
    let mut capture = Capture::open(&args.files, CaptureOptions::default()).map_err(Failure::io)?;
    let rule = GapRule {
        wait_ns: config.source.gaps.wait.0,
        ..GapRule::default()
    };
    let wire = wire(&mut capture, &config)?;
    let report = match wire {
        Wire::Itch => survey(&mut capture, Itch::new(day.midnight), rule),
        Wire::Iex => survey(&mut capture, Iex::new(), rule),
        Wire::Lobster => survey(&mut capture, Lobster::new(day.midnight), rule),
        Wire::Dbn => survey(&mut capture, Dbn::new(), rule),
        Wire::Mdp3 => survey(&mut capture, Mdp3::new(), rule),
        Wire::Tardis => survey(&mut capture, Tardis::new(), rule),
        Wire::Coinbase => survey(&mut capture, Coinbase::new(), rule),
        Wire::Bitstamp => survey(&mut capture, Bitstamp::new(), rule),
        Wire::Binance => survey(&mut capture, Binance::new(), rule),
        Wire::Pitch => survey(&mut capture, Pitch::new(day.midnight), rule),
    }
    .map_err(Failure::io)?;
    // Captures of what is not known are taken for ITCH.
    let is_known = args.protocol.is_some()
        || wire != Wire::Itch
        || report.messages > report.refused
        || report.not_moldudp64 + report.refused == 0;
    let seen = Seen {
        capture: &capture,
        report: &report,
        day: &day,
        wire: is_known.then_some(wire),
    };
    talk.data(&if talk.json { seen.json() } else { seen.text() })?;
    let lost: u64 = report.gaps.iter().map(|(_, _, count)| count).sum();
    let wrong = report.anomalies.total() + report.troubles + report.not_moldudp64 + lost;
    if args.strict && wrong > 0 {
        return Err(Failure::input(format!(
            "{wrong} things are wrong with the input"
        )));
    }
    if !is_known {
        return Err(Failure::input(not_recognised()));
    }
    if report.messages == 0 {
        let title = wire.title();
        let files = args.files.iter().zip(capture.files());
        let headers = header_only(files.map(|(path, info)| (&**path, info.format.name())));
        let what = format!("no {title} message was found in the input{headers}");
        return Err(Failure::input(what));
    }
    Ok(())
}

struct Seen<'a> {
    capture: &'a Capture,
    report: &'a Report,
    day: &'a TradingDay,
    /// `None` where it was not recognised.
    wire: Option<Wire>,
}

impl Seen<'_> {
    fn text(&self) -> String {
        let style = Style::stdout();
        let mut out = String::new();
        self.files(&mut out, style);
        self.feed(&mut out, style);
        self.messages(&mut out, style);
        self.wrong(&mut out, style);
        out
    }

    fn files(&self, out: &mut String, style: Style) {
        for info in self.capture.files() {
            let c = &info.counts;
            let compression = match info.compression.name() {
                "none" => String::new(),
                name => format!(" in {name}"),
            };
            let _ = writeln!(
                out,
                "{} {}: {}{compression}, {} records, {} bytes",
                style.bold("file    "),
                info.path.display(),
                info.format.name(),
                count(c.records),
                count(c.record_bytes)
            );
            for interface in &info.interfaces {
                let _ = writeln!(
                    out,
                    "         link type {} ({}), snap length {}, timestamps in {}",
                    interface.link_type,
                    link_type::name(interface.link_type),
                    interface.snaplen_bytes,
                    interface.resolution
                );
            }
            let skipped = [
                ("not UDP", c.not_udp),
                ("fragments", c.fragments),
                ("cut by the snap length", c.snaplen_cut),
                ("ending inside a header", c.cut),
                ("with bad headers", c.bad),
                ("of unknown link types", c.unknown_link),
                ("beyond 256 lines", c.beyond_lines),
            ];
            for (what, n) in skipped.into_iter().filter(|(_, n)| *n > 0) {
                let _ = writeln!(out, "         {} {what}", count(n));
            }
        }
        for (full, name) in self.capture.renamed() {
            let _ = writeln!(out, "         {full} is called {name}");
        }
        let protocol = self.wire.map_or("not recognised", Wire::title);
        let _ = writeln!(out, "{} {protocol}", style.bold("protocol"));
    }

    fn feed(&self, out: &mut String, style: Style) {
        let report = self.report;
        if let Some((first, last)) = report.capture_span {
            let _ = writeln!(
                out,
                "{} {} {} to {} {}",
                style.bold("captured"),
                self.day.date,
                self.day.shown(first),
                self.day.shown(last),
                self.day.told_zone()
            );
        }
        for (line, stats) in &report.lines {
            let _ = writeln!(
                out,
                "{} {:<22} {} packets, {} messages, {} duplicate, {} missing in {} gaps ({} \
                 filled by another line, {} lost), {} out of order, {} heartbeats",
                style.bold("line    "),
                line.name,
                count(stats.packets),
                count(stats.messages),
                count(stats.duplicates),
                count(stats.missing),
                count(stats.gap_count),
                count(stats.filled_by_others()),
                count(stats.lost),
                count(stats.out_of_order),
                count(stats.heartbeats)
            );
        }
        for session in &report.sessions {
            let _ = writeln!(
                out,
                "{} {} from {} to {}, {} lost{}",
                style.bold("session "),
                session.id,
                session.first.map_or("-".to_string(), count),
                count(session.next.saturating_sub(1)),
                count(session.lost),
                if session.is_ended { ", ended" } else { "" }
            );
        }
    }

    fn messages(&self, out: &mut String, style: Style) {
        let report = self.report;
        if report.messages == 0 {
            return;
        }
        let _ = writeln!(
            out,
            "{} {} of {} symbols{}",
            style.bold("messages"),
            count(report.messages),
            count(report.symbols as u64),
            report.event_span.map_or(String::new(), |(first, last)| {
                let (first, last) = (self.day.shown(first), self.day.shown(last));
                format!(", {first} to {last} {}", self.day.told_zone())
            })
        );
        let types: Vec<String> = self
            .types()
            .iter()
            .map(|(letter, n)| format!("{letter} {}", count(*n)))
            .collect();
        let _ = writeln!(out, "{} {}", style.bold("types   "), types.join("  "));
        let busiest = report.busiest.iter().take(8).map(|busy| {
            let name = match busy.name.as_str() {
                "" => format!("#{}", busy.symbol),
                name => name.to_string(),
            };
            format!("{name} {}", count(busy.messages))
        });
        let busiest: Vec<String> = busiest.collect();
        let _ = writeln!(out, "{} {}", style.bold("busiest "), busiest.join("  "));
        let peaks = report.peaks.iter().map(|peak| {
            format!(
                "{} in {} at {}",
                count(peak.messages),
                bucket(peak),
                self.day.shown(peak.start)
            )
        });
        let peaks: Vec<String> = peaks.collect();
        let _ = writeln!(out, "{} {}", style.bold("peaks   "), peaks.join("; "));
        if let Some((first, last)) = report.event_span {
            let seconds = last.since(first).max(1) as f64 / 1e9;
            let rate = short(report.messages as f64 / seconds);
            let gap = if rate.ends_with(char::is_numeric) {
                " "
            } else {
                ""
            };
            let _ = writeln!(
                out,
                "{} {rate}{gap}messages/s over {seconds:.1} s",
                style.bold("mean    ")
            );
        }
    }

    fn wrong(&self, out: &mut String, style: Style) {
        let report = self.report;
        let mut said = |text: String| {
            let _ = writeln!(out, "{} {text}", style.warn("wrong   "));
        };
        if report.not_moldudp64 > 0 {
            let place = report
                .first_not_moldudp64
                .map_or(String::new(), |at| self.place(at));
            let n = count(report.not_moldudp64);
            said(format!(
                "{n} packets are not of the feed; the first: {place}"
            ));
        }
        if report.backwards > 0 {
            let n = count(report.backwards);
            said(format!(
                "time goes back {n} times, by {} ns at most",
                report.backwards_max_ns
            ));
        }
        for (anomaly, n) in report.anomalies.iter() {
            said(format!("{} {}", anomaly.name(), count(n)));
        }
        for (_, first, n) in report.gaps.iter().take(10) {
            said(format!("lost on every line: {n} messages from {first} on"));
        }
        // One shows what packets of another protocol are.
        let examples_max = if self.wire.is_some() { 10 } else { 1 };
        for (place, what) in report.examples.iter().take(examples_max) {
            said(format!("{}: {what}", self.place(*place)));
        }
    }

    fn place(&self, place: Place) -> String {
        let file = self.capture.files().get(usize::from(place.file));
        let name = file.map_or(String::new(), |info| format!("{}, ", info.path.display()));
        format!("{name}packet {}, byte {}", place.packet, place.offset_bytes)
    }

    fn types(&self) -> Vec<(String, u64)> {
        let letter = |code: usize| match u8::try_from(code) {
            Ok(code) if code.is_ascii_graphic() => char::from(code).to_string(),
            _ => format!("0x{code:02x}"),
        };
        let counts = self
            .report
            .by_type
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0);
        let mut types: Vec<(String, u64)> = counts.map(|(code, n)| (letter(code), *n)).collect();
        types.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        types
    }

    fn json(&self) -> String {
        let report = self.report;
        let files = self.capture.files().iter().map(|info| {
            serde_json::json!({
                "path": info.path, "format": info.format.name(),
                "compression": info.compression.name(), "records": info.counts.records,
                "packets": info.counts.packets, "not_udp": info.counts.not_udp,
                "snaplen_cut": info.counts.snaplen_cut,
                "link_types": info.interfaces.iter().map(|i| i.link_type).collect::<Vec<_>>(),
            })
        });
        let lines = report.lines.iter().map(|(line, s)| {
            serde_json::json!({
                "name": line.name, "packets": s.packets, "messages": s.messages,
                "duplicates": s.duplicates, "missing": s.missing,
                "filled_by_other": s.filled_by_others(), "lost": s.lost,
                "out_of_order": s.out_of_order, "heartbeats": s.heartbeats,
            })
        });
        let sessions = report.sessions.iter().map(|s| {
            serde_json::json!({
                "session": s.id.to_string(), "first": s.first, "next": s.next, "lost": s.lost,
                "ended": s.is_ended,
            })
        });
        let peaks = report.peaks.iter().map(|peak| {
            serde_json::json!({
                "bucket_ns": peak.bucket_ns, "messages": peak.messages,
                "start": self.day.shown(peak.start),
            })
        });
        let types: serde_json::Map<String, serde_json::Value> = self
            .types()
            .into_iter()
            .map(|(letter, n)| (letter, n.into()))
            .collect();
        let anomalies: serde_json::Map<String, serde_json::Value> = report
            .anomalies
            .iter()
            .map(|(a, n)| (a.name().to_string(), n.into()))
            .collect();
        let busiest = report
            .busiest
            .iter()
            .map(|b| serde_json::json!([b.name, b.messages]));
        let said = serde_json::json!({
            "schema": "tapeline-inspect/1", "protocol": self.wire.map(Wire::name), "files": files.collect::<Vec<_>>(),
            "lines": lines.collect::<Vec<_>>(), "sessions": sessions.collect::<Vec<_>>(),
            "packets": report.packets, "messages": report.messages, "by_type": types,
            "symbols": report.symbols, "busiest": busiest.collect::<Vec<_>>(),
            "gaps": report.gaps.iter().map(|(_, first, n)| [*first, *n]).collect::<Vec<_>>(),
            "timezone": self.day.told_zone(), "event_span_ns": report.event_span.map(|(first, last)| [first.0, last.0]),
            "peaks": peaks.collect::<Vec<_>>(), "backwards": report.backwards,
            "not_moldudp64": report.not_moldudp64, "anomalies": anomalies,
            "troubles": report.troubles,
            "examples": report.examples.iter().map(|(at, what)| format!("{}: {what}", self.place(*at)))
                .collect::<Vec<_>>(),
        });
        format!("{said}\n")
    }
}

fn bucket(peak: &Peak) -> &'static str {
    match peak.bucket_ns {
        1_000_000 => "1 ms",
        10_000_000 => "10 ms",
        _ => "1 s",
    }
}
