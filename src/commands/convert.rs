//! `tapeline convert` into events: DBN and Parquet.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bus::ring::ring;
use bus::{Event, Kind, Ts};
use exchange::Output;
use feed::dbn_writer::{DbnWriter, Metadata, Named};
use feed::protocol::{
    Binance, Bitstamp, Coinbase, Dbn, Iex, Itch, Lobster, Mdp3, Pitch, Protocol, Tardis, Wire,
};
use feed::reader::{Reader, ReaderConfig, ReaderStats, Turned};
use feed::source::{Capture, CaptureOptions};
use serde_json::json;
use tapeline::config::Config;
use tapeline::session::TradingDay;
use tapeline::tables::Events;
use tapeline::term::count;

use super::replay::{check_together, trading_day, wire, with_name};
use super::{Failure, Talk, slice};
use crate::cli;

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Dbn,
    Parquet,
}

impl Form {
    /// What a name asks for, if it is one of these.
    fn of(path: &Path) -> Option<Form> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let plain = name.strip_suffix(".zst").or(name.strip_suffix(".gz"));
        match name.rsplit_once('.') {
            Some((stem, "parquet")) if !stem.is_empty() => Some(Form::Parquet),
            _ => match plain.unwrap_or(&name).rsplit_once('.') {
                Some((stem, "dbn")) if !stem.is_empty() => Some(Form::Dbn),
                _ => None,
            },
        }
    }
}

pub fn convert(args: &cli::Convert, talk: Talk) -> Result<(), Failure> {
    let Some(form) = Form::of(&args.output) else {
        return slice::convert(args, talk);
    };
    super::check_regular(&args.files)?;
    slice::check_output(args)?;
    let mut config = Config::default();
    config.source.date.clone_from(&args.date);
    config.check().map_err(Failure::usage)?;
    let mut capture = open(&args.files)?;
    let wire = wire(&mut capture, &config)?;
    let has_orders = matches!(wire, Wire::Itch | Wire::Lobster | Wire::Pitch);
    if form == Form::Dbn && !has_orders {
        return Err(Failure::input(format!(
            "{}: is {}, and DBN is written of ITCH, LOBSTER and PITCH only, whose messages are orders",
            args.files[0].display(),
            wire.title()
        )));
    }
    let day = trading_day(&args.files, &config, talk)?;
    check_together(&capture, wire, &args.files, &config)?;
    let job = Job {
        args,
        wire,
        day: &day,
    };
    let output = &args.output;
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let beside = output.with_file_name(format!(".part-{}-{name}", std::process::id()));
    let written = match form {
        Form::Dbn => job.dbn(capture, &beside),
        Form::Parquet => job.parquet(capture, &beside),
    };
    let renamed = written.and_then(|written| {
        if written.0 == 0 {
            return Err(Failure::input("nothing of the input can be written so"));
        }
        let fail = |e: io::Error| Failure::io(format!("{}: {e}", output.display()));
        std::fs::rename(&beside, output).map_err(fail)?;
        Ok(written)
    });
    let (records, left_out, stats) = renamed.inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })?;
    let wrong = stats.anomalies.total() + stats.troubles;
    if let Some(example) = stats.examples.first() {
        let wrong = count(wrong);
        let example = with_name(example, args.files.iter().map(|file| &**file));
        talk.say(format_args!(
            "wrong with the input, {wrong} times: {example}"
        ));
    }
    if left_out > 0 {
        let left_out = count(left_out);
        talk.say(format_args!(
            "{left_out} changes of orders that are not known, or are there already, were left out"
        ));
    }
    let bytes = std::fs::metadata(output).map_or(0, |about| about.len());
    if talk.json {
        let said = json!({
            "schema": "tapeline-convert/1", "output": output, "bytes": bytes, "records": records,
            "left_out": left_out, "read": stats.messages, "wrong": wrong,
        });
        return talk.data(&format!("{said}\n"));
    }
    talk.say(format_args!(
        "{}: {} records of {} messages in {} bytes",
        output.display(),
        count(records),
        count(stats.messages),
        count(bytes)
    ));
    Ok(())
}

fn open(files: &[PathBuf]) -> Result<Capture, Failure> {
    Capture::open(files, CaptureOptions::default()).map_err(Failure::io)
}

/// Captures to be read, and a file to be written.
struct Job<'a> {
    args: &'a cli::Convert,
    wire: Wire,
    day: &'a TradingDay,
}

/// How many records were written, and how many changes left out.
type Written = (u64, u64, ReaderStats);

impl Job<'_> {
    /// Reads twice: what stands before the records names all instruments and the time they span.
    fn dbn(&self, capture: Capture, path: &Path) -> Result<Written, Failure> {
        let mut names: BTreeMap<u32, Option<u64>> = BTreeMap::new();
        let mut span: Option<(Ts, Ts)> = None;
        self.read(capture, &mut |event| {
            if event.kind.is_for_all() || event.kind == Kind::Nothing {
                return Ok(());
            }
            let name = names.entry(event.symbol).or_default();
            if event.kind == Kind::Symbol {
                *name = Some(event.order);
            }
            let (first, last) = span.unwrap_or((event.ts_event, event.ts_event));
            span = Some((first.min(event.ts_event), last.max(event.ts_event)));
            if event.qty.0 > u32::MAX.into() {
                let (qty, seq) = (event.qty.0, event.seq);
                return Err(Failure::input(format!(
                    "message {seq}: quantity {qty}, and DBN has 32 bits for one"
                )));
            }
            Ok(())
        })?;
        let symbols: Vec<Named> = names
            .into_iter()
            .map(|(symbol, name)| Named {
                symbol,
                name: name.unwrap_or_else(|| number(symbol)),
            })
            .collect();
        let span = span.unwrap_or((self.day.midnight, self.day.midnight));
        let date = |ts: Ts| TradingDay::at(ts, "UTC").map_err(Failure::usage);
        let (from, to) = (date(span.0)?.date, date(span.1)?.date);
        let to = to.tomorrow().map_err(|e| Failure::input(e.to_string()))?;
        let numbers = [from, to].map(|date| {
            let (year, month, day) = (date.year(), date.month(), date.day());
            year as u32 * 10_000 + month as u32 * 100 + day as u32
        });
        let metadata = Metadata {
            dataset: match self.wire {
                Wire::Itch => "XNAS.ITCH",
                wire => wire.title(),
            },
            span,
            dates: (numbers[0], numbers[1]),
            symbols: &symbols,
        };
        let fail = |e: io::Error| Failure::io(format!("{}: {e}", self.args.output.display()));
        let out = Output::create(path).map_err(fail)?;
        let mut writer = DbnWriter::new(out, &metadata).map_err(fail)?;
        let stats = self.read(open(&self.args.files)?, &mut |event| {
            writer.event(event).map_err(fail)
        })?;
        let counts = (writer.records, writer.left_out);
        writer.finish().finish().map_err(fail)?;
        Ok((counts.0, counts.1, stats))
    }

    fn parquet(&self, capture: Capture, path: &Path) -> Result<Written, Failure> {
        let fail = |e: tapeline::tables::TableError| Failure::io(e.to_string());
        // The table puts this end behind its name itself.
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let folder = path.parent().unwrap_or(Path::new(""));
        let date = self.day.date.to_string();
        let mut table = Events::create(folder, &stem, date).map_err(fail)?;
        let read = self.read(capture, &mut |event| match event.kind {
            Kind::Nothing | Kind::Tick | Kind::End => Ok(()),
            _ => table.push(event).map_err(fail),
        });
        let done = read.and_then(|stats| Ok((table.finish().map_err(fail)?, 0, stats)));
        done.inspect_err(|_| {
            let _ = std::fs::remove_file(folder.join(format!("{stem}.parquet.partial")));
        })
    }

    /// Hands out the events of the capture, in their order.
    fn read(
        &self,
        capture: Capture,
        each: &mut dyn FnMut(&Event) -> Result<(), Failure>,
    ) -> Result<ReaderStats, Failure> {
        let midnight = self.day.midnight;
        match self.wire {
            Wire::Itch => read(capture, Itch::new(midnight), midnight, each),
            Wire::Iex => read(capture, Iex::new(), midnight, each),
            Wire::Lobster => read(capture, Lobster::new(midnight), midnight, each),
            Wire::Dbn => read(capture, Dbn::new(), midnight, each),
            Wire::Mdp3 => read(capture, Mdp3::new(), midnight, each),
            Wire::Pitch => read(capture, Pitch::new(midnight), midnight, each),
            Wire::Binance => read(capture, Binance::new(), midnight, each),
            Wire::Tardis => read(capture, Tardis::new(), midnight, each),
            Wire::Coinbase => read(capture, Coinbase::new(), midnight, each),
            Wire::Bitstamp => read(capture, Bitstamp::new(), midnight, each),
        }
    }
}

/// Events that wait between the reader and us.
const RING_EVENTS: usize = 1 << 16;

fn read<P: Protocol>(
    capture: Capture,
    protocol: P,
    midnight: Ts,
    each: &mut dyn FnMut(&Event) -> Result<(), Failure>,
) -> Result<ReaderStats, Failure> {
    let (sender, mut receiver) = ring::<Event>(RING_EVENTS);
    let config = ReaderConfig::new(midnight);
    let mut reader = Reader::with_protocol(capture, protocol, config, vec![sender]);
    loop {
        let turned = reader.turn().map_err(|e| Failure::io(e.to_string()))?;
        while let Some(batch) = receiver.batch(RING_EVENTS) {
            let (first, second) = batch.slices();
            let taken = first.len() + second.len();
            first.iter().chain(second).try_for_each(&mut *each)?;
            batch.commit(taken);
        }
        if turned == Turned::Ended {
            return Ok(reader.stats());
        }
    }
}

/// What a symbol is called whose name nobody said.
fn number(symbol: u32) -> u64 {
    let mut name = [b' '; 8];
    let text = format!("#{symbol}");
    name.iter_mut()
        .zip(text.bytes())
        .for_each(|(to, from)| *to = from);
    u64::from_be_bytes(name)
}
