//! What is said of a run that came to its end, and what of it is a failure.

use std::path::{Path, PathBuf};

use bus::Anomaly;
use feed::protocol::Wire;
use feed::source::{Capture, CaptureOptions};
use tapeline::config::{Config, absent_text};
use tapeline::pipeline::Outcome;
use tapeline::results::Results;
use tapeline::run_dir::{Manifest, RunDir, State};
use tapeline::session::TradingDay;
use tapeline::summary;
use tapeline::term::count;

use crate::commands::{Failure, Talk};

/// A replay that came to its end.
pub struct Run {
    pub dir: RunDir,
    pub day: TradingDay,
    pub config: Config,
    pub outcome: Outcome,
    pub results: Results,
}

impl Run {
    /// Whether nothing in the captures said which protocol they are in.
    fn is_taken_for_itch(&self) -> bool {
        let inputs = self.results.manifest.inputs.iter();
        let files: Vec<PathBuf> = inputs.map(|input| input.path.clone()).collect();
        let capture = Capture::open(&files, CaptureOptions::default());
        capture.is_ok_and(|mut capture| matches!(capture.wire(), Ok(Wire::Itch)))
    }

    pub(super) fn report(&self, is_strict: bool, talk: Talk) -> Result<(), Failure> {
        for remark in &self.outcome.remarks {
            talk.say(remark);
        }
        if talk.json {
            let text = serde_json::to_string(&self.results.manifest).expect("always JSON");
            talk.data(&format!("{text}\n"))?;
        } else {
            talk.data(&summary::text(
                &self.dir,
                &talk.told(self.day.clone())?,
                &self.config,
                &self.outcome,
                &self.results,
            ))?;
        }
        let manifest = &self.results.manifest;
        // Of a replay that was stopped they may come yet.
        if manifest.state == State::Complete || manifest.mode == "live" {
            absent_text(&manifest.absent)
                .iter()
                .for_each(|line| talk.say(line));
        }
        self.judge(is_strict, talk)?;
        self.check_symbols()
    }

    /// Whether a symbol that was asked for was not met.
    fn check_symbols(&self) -> Result<(), Failure> {
        let met = |name: &String| self.results.symbols.iter().any(|s| s.symbol == *name);
        let wanted = &self.results.manifest.options.symbols;
        match wanted.iter().find(|name| !met(name)) {
            Some(name) => Err(Failure::input(format!(
                "{name}: no such symbol in the input"
            ))),
            None => Ok(()),
        }
    }

    /// What of the run is a failure.
    pub fn judge(&self, is_strict: bool, talk: Talk) -> Result<(), Failure> {
        let manifest = &self.results.manifest;
        let reader = &self.outcome.reader;
        if let Some(outside) = &manifest.outside {
            talk.say(outside);
        }
        if self.outcome.is_stopped {
            // A replay that was stopped can go on, and is judged at its end. A live run, whose feed may
            // not say its end, has no other one.
            if let Some(wrong) = wrong(manifest).filter(|_| manifest.mode == "live") {
                let none = match reader.messages {
                    0 => "no message of the feed was found in the input: ",
                    _ => "",
                };
                if is_strict {
                    return Err(Failure::input(format!(
                        "anomalies in the input: {none}{wrong}"
                    )));
                }
                talk.say(format_args!("wrong with the input: {none}{wrong}"));
            }
            return Err(Failure::interrupted(format!(
                "stopped by a signal; {} holds what was done",
                self.dir.path().display()
            )));
        }
        if let Some(example) = manifest.breach_examples.first() {
            let kinds = manifest.breaches.iter();
            let kinds: Vec<String> = kinds
                .map(|(name, n)| format!("{name} {}", count(*n)))
                .collect();
            return Err(Failure::verification(format!(
                "books are not what they must be: {}; {example}",
                kinds.join(", ")
            )));
        }
        let refused = [Anomaly::UnknownType, Anomaly::BadLength, Anomaly::BadField];
        let kinds = reader.anomalies.iter();
        let refused: u64 = kinds
            .filter(|(anomaly, _)| refused.contains(anomaly))
            .map(|(_, count)| count)
            .sum();
        // Another dialect in the same packets is as little of a session as other packets.
        if reader.messages == refused {
            let found = "no message of the feed was found in the input";
            let Some(wrong) = wrong(manifest) else {
                let headers = header_only(
                    (manifest.inputs.iter()).map(|input| (&*input.path, &*input.format)),
                );
                return Err(Failure::input(format!("{found}{headers}")));
            };
            let hint = match self.config.source.protocol {
                None if self.is_taken_for_itch() => format!("; {}", not_recognised()),
                _ => String::new(),
            };
            return Err(Failure::input(format!("{found}: {wrong}{hint}")));
        }
        if reader.unread > 0 {
            let wrong = wrong(manifest).unwrap_or_default();
            return Err(Failure::io(format!(
                "part of the input was not read: {wrong}"
            )));
        }
        match wrong(manifest) {
            Some(wrong) if is_strict => {
                Err(Failure::input(format!("anomalies in the input: {wrong}")))
            }
            Some(wrong) => {
                talk.say(format_args!("wrong with the input: {wrong}"));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// That files were known by the header of their columns, and nothing stands behind it; of files in which nothing is
/// wrong and no message was found.
pub fn header_only<'a>(files: impl Iterator<Item = (&'a Path, &'a str)>) -> String {
    let tables = files.filter(|(_, format)| format.contains(" CSV"));
    let names: Vec<String> = tables.map(|(path, _)| path.display().to_string()).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(
            ": {}: columns are named, and no row follows",
            names.join(", ")
        ),
    }
}

/// For captures in which nothing was found of the protocol that they were taken for.
pub fn not_recognised() -> String {
    let known = Wire::ALL.map(Wire::name).join(", ");
    format!("the protocol was not recognised; known are {known} (--protocol says which)")
}

/// What was wrong with the input in one line, with the first place that is known.
fn wrong(manifest: &Manifest) -> Option<String> {
    if manifest.anomalies.is_empty() {
        return None;
    }
    let kinds: Vec<String> = manifest
        .anomalies
        .iter()
        .map(|(name, n)| format!("{name} {}", count(*n)))
        .collect();
    let mut kinds = kinds.join(", ");
    if let Some(full) = &manifest.full {
        kinds = format!("{kinds} ({})", full.text());
    }
    let examples = &manifest.anomaly_examples;
    let first = examples.first();
    // Where a file is cut, or cannot be read on from, comes last and is told all the same.
    let mut troubles = examples.iter().filter(|text| text.starts_with("trouble"));
    let trouble = troubles.next().filter(|trouble| Some(*trouble) != first);
    let told = first.into_iter().chain(trouble);
    Some(told.fold(kinds, |said, example| format!("{said}; {example}")))
}
