//! `tapeline bench ...`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tapeline::config::{Durability, Model, Span, Speed};
use tapeline::lab::units::{Rate, Rates};

/// `tapeline bench ...`
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Latency under a load that does not wait: from when each packet was due, by stage.
    Latency(Latency),
    /// Look for the highest rate that is held without loss and without a growing queue.
    Saturate(Saturate),
    /// Latency against load, and the knee.
    Sweep(Sweep),
    /// UDP in, FIX out, both stamped by another process; beside a bare echo in the same minute.
    Wire(Wire),
    /// What the machine does to a thread that only spins.
    Jitter(Jitter),
    /// Set two results side by side.
    Compare(Compare),
    /// Build another revision and this one, and run them in turns: A B B A.
    Ab(Ab),
    /// The far end of `bench wire`.
    #[command(hide = true)]
    Peer(Peer),
}

/// What to play, and where the results go.
#[derive(Clone, Debug, Args)]
pub struct Played {
    /// Captures to play; otherwise a session is made.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// Without --input: how many symbols.
    #[arg(long, default_value_t = 1_000, conflicts_with = "input")]
    pub symbols: u32,
    /// Without --input: equal seeds make equal sessions.
    #[arg(long, default_value_t = 7, conflicts_with = "input")]
    pub seed: u64,
    /// How many shards.
    #[arg(long)]
    pub shards: Option<usize>,
    /// Cores: the reader's, then one for each shard; or the one of all of them.
    #[arg(long, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// `pipeline` or `run-to-completion`, instead of what the settings say.
    #[arg(long, value_parser = model)]
    pub model: Option<Model>,
    /// `durable` or `fast`, instead of what the settings say.
    #[arg(long, value_parser = durability)]
    pub durability: Option<Durability>,
    /// Settings; see `tapeline config show`.
    #[arg(short, long)]
    pub config: Option<PathBuf>,
    /// Where the results go: an empty directory, or none yet; `results/KIND-DATE-TIME` otherwise.
    /// The log is written there too, and its disk is part of what is measured.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Stamp each so many batches event by event; chosen by the rate otherwise.
    #[arg(long)]
    pub stamp_every: Option<u32>,
}

fn model(text: &str) -> Result<Model, String> {
    match text {
        "pipeline" => Ok(Model::Pipeline),
        "run-to-completion" => Ok(Model::RunToCompletion),
        _ => Err("want pipeline or run-to-completion".into()),
    }
}

fn durability(text: &str) -> Result<Durability, String> {
    match text {
        "durable" => Ok(Durability::Durable),
        "fast" => Ok(Durability::Fast),
        _ => Err("want durable or fast".into()),
    }
}

/// `tapeline bench latency`
#[derive(Clone, Debug, Args)]
pub struct Latency {
    #[command(flatten)]
    pub played: Played,
    /// Messages a second, evenly: `1M/s`, `250k/s`. The default is 100k/s.
    #[arg(long)]
    pub rate: Option<Rate>,
    /// As recorded, so many times as fast: `1x`, `5x`.
    #[arg(long, conflicts_with = "rate")]
    pub recorded_rate: Option<Speed>,
    /// How long to measure, in each trial.
    #[arg(long, default_value = "60s")]
    pub duration: Span,
    /// Not counted, at the start of each pass over the input.
    #[arg(long, default_value = "10s")]
    pub warmup: Span,
    /// How many trials.
    #[arg(long, default_value_t = 5)]
    pub trials: u32,
    /// Hold up the sinks once, so long after the start and for so long: `5s,10ms`. To see that the
    /// lab sees it.
    #[arg(long, value_parser = stall)]
    pub stall: Option<(Span, Span)>,
}

fn stall(text: &str) -> Result<(Span, Span), String> {
    let bad = || format!("`{text}` is not AFTER,LENGTH (like 5s,10ms)");
    let (after, length) = text.split_once(',').ok_or_else(bad)?;
    Ok((after.parse()?, length.parse()?))
}

/// `tapeline bench saturate`
#[derive(Clone, Debug, Args)]
pub struct Saturate {
    #[command(flatten)]
    pub played: Played,
    /// Look between these.
    #[arg(long, default_value = "100k..20M")]
    pub between: Rates,
    /// How long each rate is tried; the one that is found, three times as long.
    #[arg(long, default_value = "5s")]
    pub duration: Span,
    /// Not counted, at the start of each try.
    #[arg(long, default_value = "1s")]
    pub warmup: Span,
    /// Stop when the bounds are so close: `3%`.
    #[arg(long, default_value_t = 3.0, value_parser = percent)]
    pub precision: f64,
}

/// `3%`
fn percent(text: &str) -> Result<f64, String> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    match digits.trim().parse::<f64>() {
        Ok(value) if (0.1..=50.0).contains(&value) => Ok(value),
        _ => Err(format!("`{text}` is not a share from 0.1% to 50%")),
    }
}

/// `tapeline bench sweep`
#[derive(Clone, Debug, Args)]
pub struct Sweep {
    #[command(flatten)]
    pub played: Played,
    /// From the lowest to the highest rate.
    #[arg(long, default_value = "50k..5M")]
    pub rate: Rates,
    /// How many rates, each the same times the one before.
    #[arg(long, default_value_t = 10)]
    pub points: usize,
    /// How long to measure at each.
    #[arg(long, default_value = "10s")]
    pub duration: Span,
    /// Not counted.
    #[arg(long, default_value = "2s")]
    pub warmup: Span,
}

/// `tapeline bench wire`
#[derive(Clone, Debug, Args)]
pub struct Wire {
    #[command(flatten)]
    pub played: Played,
    /// Datagrams a second, evenly.
    #[arg(long, default_value = "20k/s")]
    pub rate: Rate,
    /// How long to measure, in each trial.
    #[arg(long, default_value = "10s")]
    pub duration: Span,
    /// Not counted.
    #[arg(long, default_value = "2s")]
    pub warmup: Span,
    /// How many trials; a bare echo comes before and after each.
    #[arg(long, default_value_t = 3)]
    pub trials: u32,
}

/// `tapeline bench jitter`
#[derive(Clone, Debug, Args)]
pub struct Jitter {
    /// Cores to watch, one after the other; all that this process may use otherwise.
    #[arg(long, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// How long to watch each.
    #[arg(long, default_value = "10s")]
    pub duration: Span,
    /// Gaps from this length on are told.
    #[arg(long, default_value = "1us")]
    pub threshold: Span,
    /// Where the results go; `results/jitter-DATE-TIME` otherwise.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
}

/// `tapeline bench compare`
#[derive(Clone, Debug, Args)]
pub struct Compare {
    /// A result: its directory or its `report.json`.
    pub base: PathBuf,
    /// Another.
    pub head: PathBuf,
    /// Exit with 4 if anything is slower beyond the noise.
    #[arg(long)]
    pub gate: bool,
}

/// `tapeline bench ab`
#[derive(Clone, Debug, Args)]
pub struct Ab {
    #[command(flatten)]
    pub played: Played,
    /// The revision to compare this program with, in the repository at hand.
    #[arg(long)]
    pub base: String,
    /// Another revision instead of this program.
    #[arg(long)]
    pub head: Option<String>,
    /// Messages a second, evenly.
    #[arg(long, default_value = "100k/s")]
    pub rate: Rate,
    /// How long to measure, in each run.
    #[arg(long, default_value = "10s")]
    pub duration: Span,
    /// Not counted.
    #[arg(long, default_value = "2s")]
    pub warmup: Span,
    /// How many times A B B A.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Exit with 4 if anything is slower beyond the noise.
    #[arg(long)]
    pub gate: bool,
}

/// `tapeline bench peer`
#[derive(Clone, Debug, Args)]
pub struct Peer {
    /// The plan, as JSON.
    pub plan: String,
}
