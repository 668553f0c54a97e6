//! `tapeline diff`

use std::collections::VecDeque;
use std::path::Path;

use bus::log::{LogError, Record};
use bus::{Event, Signal, SignalKind, Ts};
use tapeline::digest;
use tapeline::run_dir::{Digests, Manifest, Piece, RunDir};
use tapeline::series::Series;
use tapeline::session::TradingDay;
use tapeline::term::{Style, count};

use super::words::{Words, name_of};
use super::{Failure, Talk, damage, series};
use crate::cli;

/// Records shown before the first that differs.
const CONTEXT: usize = 3;

pub fn diff(args: &cli::Diff, talk: Talk) -> Result<(), Failure> {
    match (Series::is_at(&args.left), Series::is_at(&args.right)) {
        (false, false) => two_runs(&args.left, &args.right, talk),
        (true, true) => two_series(args, talk),
        (is_left, _) => {
            let (series, run) = match is_left {
                true => (&args.left, &args.right),
                false => (&args.right, &args.left),
            };
            Err(Failure::usage(format!(
                "{} holds several runs, and {} is one: name one run of the first, or two such folders",
                series.display(),
                run.display()
            )))
        }
    }
}

/// The runs of the same name of each, one after the other; both must have the same.
fn two_series(args: &cli::Diff, talk: Talk) -> Result<(), Failure> {
    let (left, right) = (complete(&args.left)?, complete(&args.right)?);
    let alone = |these: &[String], others: &[String]| {
        these.iter().find(|name| !others.contains(name)).cloned()
    };
    let lacking = match (alone(&left, &right), alone(&right, &left)) {
        (Some(name), _) => Some((name, &args.left, &args.right)),
        (None, Some(name)) => Some((name, &args.right, &args.left)),
        (None, None) => None,
    };
    let mut differing = Vec::new();
    for name in left.iter().filter(|name| right.contains(name)) {
        if !talk.json {
            talk.data(&format!("{} ", Style::stdout().bold(name)))?;
        }
        match two_runs(&args.left.join(name), &args.right.join(name), talk) {
            Ok(()) => {}
            Err(failure) if failure.code() == Failure::VERIFICATION => differing.push(name.clone()),
            Err(failure) => return Err(failure.of(name)),
        }
    }
    if let Some((name, with, without)) = lacking {
        return Err(Failure::verification(format!(
            "{} has {name}, and {} has not",
            with.display(),
            without.display()
        )));
    }
    match differing.is_empty() {
        true => Ok(()),
        false => Err(Failure::verification(format!(
            "differing: {}",
            differing.join(", ")
        ))),
    }
}

/// The names of the runs in a folder of several, all of which are complete.
fn complete(path: &Path) -> Result<Vec<String>, Failure> {
    let series = Series::open(path).map_err(Failure::usage)?;
    match series.runs.iter().find(|leg| leg.done.is_none()) {
        Some(leg) => Err(series::unfinished(path, leg)),
        None => Ok(series.runs.into_iter().map(|leg| leg.name).collect()),
    }
}

fn two_runs(left: &Path, right: &Path, talk: Talk) -> Result<(), Failure> {
    let left = Side::open(left, talk)?;
    let right = Side::open(right, talk)?;
    // Digests were made when logs were whole, and say nothing of what they are now.
    damage::check(&left.dir, &left.manifest)?;
    damage::check(&right.dir, &right.manifest)?;
    let dates = [&left, &right].map(|side| side.manifest.date.clone());
    let is_one_date = dates[0] == dates[1];
    let Some((symbol, minute)) = first_difference(&left.digests, &right.digests) else {
        if talk.json {
            let said = serde_json::json!({
                "schema": "tapeline-diff/1", "equal": true, "digest": left.manifest.digest,
                "dates": dates,
            });
            return talk.data(&format!("{said}\n"));
        }
        let minutes = count(left.digests.0.len() as u64);
        let digest = &left.manifest.digest;
        let equal = Style::stdout().good("equal");
        let but = match is_one_date {
            true => String::new(),
            false => format!(" but for their dates, {} and {}", dates[0], dates[1]),
        };
        return talk.data(&format!(
            "{equal}{but}: {minutes} digests of symbols and minutes, {digest}\n"
        ));
    };
    let divergence = divergence(&left, &right, &symbol)?;
    let time = format!("{:02}:{:02}", minute / 60, minute % 60);
    if talk.json {
        let said = serde_json::json!({
            "schema": "tapeline-diff/1", "equal": false, "symbol": symbol, "minute": time,
            "context": divergence.context, "left": divergence.left, "right": divergence.right,
            "dates": dates,
        });
        talk.data(&format!("{said}\n"))?;
    } else {
        let style = Style::stdout();
        let mut text = format!(
            "first divergence: {} in the minute {time}\n",
            style.bold(&symbol)
        );
        for line in &divergence.context {
            text.push_str(&format!("    {line}\n"));
        }
        text.push_str(&format!("{}  {}\n", style.bad("left "), divergence.left));
        text.push_str(&format!("{}  {}\n", style.bad("right"), divergence.right));
        if !is_one_date {
            text.push_str(&format!(
                "the dates differ, too: {} and {}; times are compared since midnight\n",
                dates[0], dates[1]
            ));
        }
        talk.data(&text)?;
    }
    Err(Failure::verification("the runs differ"))
}

/// One of the two runs.
struct Side {
    dir: RunDir,
    manifest: Manifest,
    day: TradingDay,
    digests: Digests,
}

impl Side {
    fn open(path: &std::path::Path, talk: Talk) -> Result<Side, Failure> {
        let (dir, manifest) = RunDir::open(path).map_err(Failure::usage)?;
        let day = talk.day(&manifest)?;
        let digests = dir.read_digests().map_err(Failure::usage)?;
        Ok(Side {
            dir,
            manifest,
            day,
            digests,
        })
    }
}

/// The earliest minute, then the first symbol, whose digests are not equal.
fn first_difference(left: &Digests, right: &Digests) -> Option<(String, u32)> {
    let differing = |one: &Digests, other: &Digests| {
        let of = |(key, value): (&(String, u32), &(u64, u64))| {
            (other.0.get(key) != Some(value)).then(|| (key.1, key.0.clone()))
        };
        one.0.iter().filter_map(of).min()
    };
    let first = [differing(left, right), differing(right, left)]
        .into_iter()
        .flatten()
        .min();
    first.map(|(minute, symbol)| (symbol, minute))
}

struct Divergence {
    context: Vec<String>,
    left: String,
    right: String,
}

/// Goes through what each run knows of a symbol until the two are not the same.
fn divergence(left: &Side, right: &Side, symbol: &str) -> Result<Divergence, Failure> {
    let mut context = VecDeque::new();
    let (mut ours, mut theirs) = (Records::of(left, symbol)?, Records::of(right, symbol)?);
    loop {
        let (a, b) = (ours.next()?, theirs.next()?);
        let text = |side: &Side, record: &Option<Record>| match record {
            Some(record) => Words::new(&side.day).line(record),
            None => "ends here".to_string(),
        };
        if a.is_none() && b.is_none() {
            let what = "equal records: the books at the end differ".to_string();
            return Ok(Divergence {
                context: context.into(),
                left: what.clone(),
                right: what,
            });
        }
        if !is_same(&a, left.day.midnight, &b, right.day.midnight) {
            let (left, right) = (text(left, &a), text(right, &b));
            return Ok(Divergence {
                context: context.into(),
                left,
                right,
            });
        }
        if context.len() == CONTEXT {
            context.pop_front();
        }
        context.push_back(text(left, &a));
    }
}

type Log = Box<dyn Iterator<Item = Result<(u64, Record), LogError>>>;

/// One symbol's records of a run, without what depends on the machine or on the shards.
struct Records {
    logs: VecDeque<Log>,
    wanted: String,
    symbol: Option<u32>,
}

impl Records {
    fn of(side: &Side, symbol: &str) -> Result<Records, Failure> {
        let pieces = side.dir.pieces(&side.manifest.parts);
        let open = |piece: &Piece| piece.records().map(|records| Box::new(records) as Log);
        let logs: Result<_, _> = pieces.iter().map(open).collect();
        let number = symbol
            .strip_prefix('#')
            .and_then(|number| number.parse().ok());
        Ok(Records {
            logs: logs.map_err(Failure::log)?,
            wanted: symbol.to_string(),
            symbol: number,
        })
    }

    fn next(&mut self) -> Result<Option<Record>, Failure> {
        while let Some(log) = self.logs.front_mut() {
            for item in log {
                let (_, record) = item.map_err(Failure::log)?;
                match &record {
                    Record::Event(event) if event.kind.is_for_all() => continue,
                    Record::Event(event) => {
                        if name_of(event).as_ref() == Some(&self.wanted) {
                            self.symbol = Some(event.symbol);
                        }
                        if self.symbol == Some(event.symbol) {
                            return Ok(Some(record));
                        }
                    }
                    Record::Signal(signal) => {
                        let counts = signal.kind != SignalKind::Sent;
                        if counts && self.symbol == Some(signal.symbol) {
                            return Ok(Some(record));
                        }
                    }
                }
            }
            self.logs.pop_front();
        }
        Ok(None)
    }
}

/// Equal but for the date and for when packets arrived.
fn is_same(a: &Option<Record>, a_midnight: Ts, b: &Option<Record>, b_midnight: Ts) -> bool {
    match (a, b) {
        (Some(Record::Event(a)), Some(Record::Event(b))) => {
            let plain = |event: &Event, midnight: Ts| Event {
                ts_event: Ts(event.ts_event.since(midnight)),
                ts_recv: Ts(0),
                ..*event
            };
            plain(a, a_midnight) == plain(b, b_midnight)
        }
        (Some(Record::Signal(a)), Some(Record::Signal(b))) => {
            let head = |signal: &Signal, midnight: Ts| {
                let ts = signal.ts_event.since(midnight);
                (ts, signal.seq, signal.kind, signal.rule, signal.ordinal)
            };
            head(a, a_midnight) == head(b, b_midnight)
                && digest::words(a, a_midnight).eq(digest::words(b, b_midnight))
        }
        (None, None) => true,
        _ => false,
    }
}
