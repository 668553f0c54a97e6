//! `tapeline sample itch`

use std::path::{Path, PathBuf};

use exchange::{CaptureOptions, ItchOptions, Session, Truth};
use tapeline::term::count;

use super::{Failure, Talk};
use crate::cli::{Sample, SampleItch};

pub fn sample(args: &Sample, talk: Talk) -> Result<(), Failure> {
    let Sample::Itch(args) = args;
    let truth_path = truth_path(&args.output)?;
    if !args.force {
        for path in [&args.output, &truth_path] {
            if path.exists() {
                return Err(Failure::usage(format!(
                    "{}: exists; --force overwrites it",
                    path.display()
                )));
            }
        }
    }
    let is_new = !args.output.exists();
    let written = write(args).and_then(|truth| {
        let failed = |e| Failure::io(format!("{}: {e}", truth_path.display()));
        truth.write(&truth_path).map_err(failed)?;
        Ok(truth)
    });
    let truth = written.inspect_err(|_| {
        // A piece of a session looks like a whole one.
        if is_new {
            let _ = std::fs::remove_file(&args.output);
            let _ = std::fs::remove_file(&truth_path);
        }
    })?;
    let bytes = std::fs::metadata(&args.output).map_or(0, |meta| meta.len());
    if talk.json {
        let lost: u64 = truth
            .lost
            .iter()
            .map(|[first, last]| last - first + 1)
            .sum();
        let said = serde_json::json!({
            "schema": "tapeline-sample/1", "output": args.output, "truth": truth_path,
            "bytes": bytes, "messages": truth.messages, "symbols": truth.symbols.len(),
            "lost_messages": lost,
        });
        return talk.data(&format!("{said}\n"));
    }
    talk.say(format_args!(
        "{}: {} messages of {} symbols in {} bytes; truth in {}",
        args.output.display(),
        count(truth.messages),
        truth.symbols.len(),
        count(bytes),
        truth_path.display()
    ));
    Ok(())
}

/// Writes the session; what it amounts to.
pub fn write(args: &SampleItch) -> Result<Truth, Failure> {
    let session = Session {
        symbols: args.symbols,
        seconds: args.seconds,
        seed: args.seed,
        rate: args.rate,
        ..Session::default()
    };
    session.check().map_err(Failure::usage)?;
    let fail = |e: std::io::Error| {
        let message = format!("{}: {e}", args.output.display());
        match e.kind() {
            std::io::ErrorKind::InvalidInput => Failure::usage(e),
            _ => Failure::io(message),
        }
    };
    if name_has(&args.output, "itch") {
        return exchange::write_itch(&session, &args.output, &ItchOptions::default()).map_err(fail);
    }
    let messages = u64::from(args.rate) * u64::from(args.seconds);
    let parts = u64::from(args.drop_both) + 1;
    let options = CaptureOptions {
        loss_a: args.loss_a,
        loss_b: args.loss_b,
        duplicate: args.duplicate,
        reorder: args.reorder,
        drop_both: (1..parts.min(messages))
            .map(|part| messages * part / parts)
            .collect(),
        seed: args.seed,
        ..CaptureOptions::default()
    };
    options.check().map_err(Failure::usage)?;
    if u64::from(args.drop_both) > messages {
        let drop_both = args.drop_both;
        return Err(Failure::usage(format!(
            "--drop-both is {drop_both}, but the session has about {messages} messages"
        )));
    }
    exchange::write_pcap(&session, &args.output, &options).map_err(fail)
}

/// `session.pcap.zst` has its truth in `session.truth.json`.
pub fn truth_path(output: &Path) -> Result<PathBuf, Failure> {
    let name = output
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let stem = name
        .strip_suffix(".zst")
        .or(name.strip_suffix(".gz"))
        .unwrap_or(name);
    let stem = ["itch", "itch50", "pcap"]
        .into_iter()
        .find_map(|extension| stem.strip_suffix(extension)?.strip_suffix('.'))
        .filter(|stem| !stem.is_empty())
        .ok_or_else(|| {
            Failure::usage(format!(
                "{}: want a name that ends in .pcap or .itch, with .gz or .zst to compress",
                output.display()
            ))
        })?;
    Ok(output.with_file_name(format!("{stem}.truth.json")))
}

fn name_has(path: &Path, extension: &str) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    name.split('.')
        .skip(1)
        .any(|part| part.starts_with(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_truth_stands_beside_the_session() {
        let path = |name: &str| truth_path(Path::new(name)).ok();
        assert_eq!(path("a/s.pcap.zst"), Some("a/s.truth.json".into()));
        assert_eq!(path("s.itch"), Some("s.truth.json".into()));
        assert_eq!(path("s.itch50.gz"), Some("s.truth.json".into()));
        assert_eq!(path("s.txt"), None);
        assert_eq!(path(".pcap"), None);
    }
}
