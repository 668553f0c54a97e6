//! `tapeline slice` and `tapeline convert`

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bus::Ts;
use exchange::Output;
use feed::again::{Next, PcapWriter, Slice, Walked, time_of, walk};
use feed::arbiter::GapRule;
use feed::protocol::Wire;
use feed::source::{Capture, CaptureOptions};
use serde_json::json;
use tapeline::config::Config;
use tapeline::session::{TradingDay, date_in_name};
use tapeline::term::count;

use super::replay::{check_together, symbol, trading_day, wire};
use super::{Failure, Talk};
use crate::cli;

pub fn convert(args: &cli::Convert, talk: Talk) -> Result<(), Failure> {
    let job = Job::open(args, talk)?;
    job.run(Slice::default(), talk)
}

pub fn slice(args: &cli::Slice, talk: Talk) -> Result<(), Failure> {
    let job = Job::open(&args.convert, talk)?;
    let time = |text: &Option<String>| {
        let ts = text.as_ref().map(|text| job.day.parse(text)).transpose();
        let ts = ts.map_err(Failure::usage)?;
        Ok(ts.map(|ts| ts.since(job.day.midnight).max(0) as u64))
    };
    let (from, until) = (time(&args.from)?, time(&args.until)?);
    if let (Some(from), Some(until)) = (from, until)
        && from > until
    {
        return Err(Failure::usage("--from is after --until"));
    }
    let mut names = Vec::new();
    for text in &args.symbols {
        let name = symbol(text)?;
        let mut padded = [b' '; 8];
        let Some(place) = padded.get_mut(..name.len()) else {
            return Err(Failure::usage(format!(
                "{name}: want at most eight letters"
            )));
        };
        place.copy_from_slice(name.as_bytes());
        names.push(padded);
    }
    let names = (!names.is_empty()).then_some(names);
    job.run(Slice::new(names, from, until), talk)
}

/// Whether the output may be written: over no file that is there, unless that is wanted, and over no
/// input at all.
pub fn check_output(args: &cli::Convert) -> Result<(), Failure> {
    if args.output.exists() && !args.force {
        return Err(Failure::usage(format!(
            "{}: exists; --force overwrites it",
            args.output.display()
        )));
    }
    let there = args.output.canonicalize().ok();
    let is_output = |file: &&PathBuf| there.is_some() && file.canonicalize().ok() == there;
    match args.files.iter().find(is_output) {
        None => Ok(()),
        Some(file) => Err(Failure::usage(format!(
            "{}: is read, and would be written over",
            file.display()
        ))),
    }
}

/// Captures to be read, and a file to be written.
struct Job<'a> {
    args: &'a cli::Convert,
    capture: Capture,
    day: TradingDay,
    is_pcap: bool,
}

impl Job<'_> {
    fn open(args: &cli::Convert, talk: Talk) -> Result<Job<'_>, Failure> {
        super::check_regular(&args.files)?;
        let is_pcap = is_pcap(&args.output)?;
        check_output(args)?;
        let mut config = Config::default();
        config.source.date.clone_from(&args.date);
        config.check().map_err(Failure::usage)?;
        // Each message of an ITCH file has a time of its own.
        let options = CaptureOptions {
            itch_messages_max: 1,
            ..CaptureOptions::default()
        };
        let mut capture = Capture::open(&args.files, options).map_err(Failure::io)?;
        let wire = wire(&mut capture, &config)?;
        if wire != Wire::Itch {
            return Err(Failure::input(format!(
                "{}: is {}, and only ITCH can be written as ITCH",
                args.files[0].display(),
                wire.title()
            )));
        }
        let day = talk.told(trading_day(&args.files, &config, talk)?)?;
        check_together(&capture, wire, &args.files, &config)?;
        Ok(Job {
            args,
            capture,
            day,
            is_pcap,
        })
    }

    /// Writes a file beside the one that is asked for, which takes its name when it is whole.
    fn run(mut self, mut slice: Slice, talk: Talk) -> Result<(), Failure> {
        let output = &self.args.output;
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let beside = output.with_file_name(format!(".part-{}-{name}", std::process::id()));
        let written = self.write(&mut slice, &beside);
        let renamed = written.and_then(|written| {
            let missing: Vec<String> = slice
                .missing()
                .map(|name| String::from_utf8_lossy(name).trim_end().to_string())
                .collect();
            if !missing.is_empty() {
                let names = missing.join(", ");
                return Err(Failure::input(format!(
                    "{names}: no such symbol in the input"
                )));
            }
            if written.1 == 0 {
                return Err(Failure::input("no message of the input was asked for"));
            }
            let fail = |e: io::Error| Failure::io(format!("{}: {e}", output.display()));
            std::fs::rename(&beside, output).map_err(fail)?;
            Ok(written)
        });
        let (walked, kept) = match renamed {
            Ok(done) => done,
            Err(failure) => {
                let _ = std::fs::remove_file(&beside);
                return Err(failure);
            }
        };
        if let Some(last_ns) = slice.ended_before() {
            talk.say(format_args!(
                "the input ends at {}, before --from: what is written are the books of then, and \
                 nothing that happens",
                self.day.shown(self.day.midnight.plus_ns(last_ns as i64))
            ));
        }
        let date = self.day.date.to_string();
        if !self.is_pcap && date_in_name(output).as_deref() != Some(&date) {
            talk.say(format_args!(
                "an ITCH file has no date, and its name not {date}: say it to replay with --date \
                 {date}, so that orders have the same ids"
            ));
        }
        if let Some((place, what)) = &walked.first {
            let file = self.args.files[usize::from(place.file)].display();
            talk.say(format_args!(
                "wrong with the input, {} times: {file}, packet {}, byte {}: {what}",
                count(walked.wrong),
                place.packet,
                place.offset_bytes
            ));
        }
        if walked.lost > 0 {
            let shown = match self.is_pcap {
                true => "which are missing numbers in the output, too",
                false => "which an ITCH file cannot show: books made of it lack them unmarked",
            };
            let lost = count(walked.lost);
            talk.say(format_args!(
                "{lost} messages were lost on every line, {shown}"
            ));
        }
        let bytes = std::fs::metadata(output).map_or(0, |about| about.len());
        if talk.json {
            let said = json!({
                "schema": "tapeline-convert/1", "output": output, "bytes": bytes, "messages": kept,
                "read": walked.messages, "lost": walked.lost, "wrong": walked.wrong,
                "date": date,
            });
            talk.data(&format!("{said}\n"))?;
        } else {
            talk.say(format_args!(
                "{}: {} of {} messages in {} bytes",
                output.display(),
                count(kept),
                count(walked.messages),
                count(bytes)
            ));
        }
        Ok(())
    }

    fn write(&mut self, slice: &mut Slice, path: &Path) -> Result<(Walked, u64), Failure> {
        let fail = |e: io::Error| Failure::io(format!("{}: {e}", self.args.output.display()));
        let out = Output::create(path).map_err(fail)?;
        let mut to = match self.is_pcap {
            true => To::Pcap(PcapWriter::new(out).map_err(fail)?),
            false => To::Itch(out),
        };
        let (mut kept, mut failed) = (0u64, None);
        let midnight = self.day.midnight;
        let walked = walk(&mut self.capture, GapRule::default(), |next| {
            let result = match next {
                Next::Gap(count) => to.gap(count),
                Next::Message(message, ts) => {
                    if !slice.keeps(message)? {
                        return ControlFlow::Continue(());
                    }
                    kept += 1;
                    let own = message.first_chunk().map_or(0, time_of);
                    to.message(ts.unwrap_or(midnight.plus_ns(own as i64)), message)
                }
            };
            match result {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        let walked = walked.map_err(Failure::io)?;
        match failed {
            Some(error) => return Err(fail(error)),
            None => to.finish().map_err(fail)?,
        }
        Ok((walked, kept))
    }
}

/// What is written.
enum To {
    Pcap(PcapWriter<Output>),
    Itch(Output),
}

impl To {
    fn message(&mut self, ts: Ts, message: &[u8]) -> io::Result<()> {
        match self {
            To::Pcap(pcap) => pcap.message(ts, message),
            To::Itch(out) => {
                out.write_all(&(message.len() as u16).to_be_bytes())?;
                out.write_all(message)
            }
        }
    }

    fn gap(&mut self, messages: u64) -> io::Result<()> {
        match self {
            To::Pcap(pcap) => pcap.gap(messages),
            To::Itch(_) => Ok(()),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            To::Pcap(pcap) => pcap.finish()?.finish(),
            To::Itch(out) => out.finish(),
        }
    }
}

/// Whether a name asks for a pcap, or else for an ITCH file.
fn is_pcap(path: &Path) -> Result<bool, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = name.strip_suffix(".zst").or(name.strip_suffix(".gz"));
    let plain = plain.unwrap_or(&name);
    match plain.rsplit_once('.') {
        Some((stem, "pcap")) if !stem.is_empty() => Ok(true),
        Some((stem, "itch" | "itch50")) if !stem.is_empty() => Ok(false),
        _ => Err(Failure::usage(format!(
            "{}: want a name that ends in .pcap or .itch, with .gz or .zst to compress; convert also \
             writes .dbn and .parquet",
            path.display()
        ))),
    }
}
