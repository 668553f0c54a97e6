//! The command line.

mod bench;

use std::net::SocketAddrV4;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tapeline::config::{InDoubt, OrderMode, Size, Span, Speed};
use tapeline::lab::units::Rate;

pub use bench::*;

/// Market data from capture or wire to orders, in one pipeline.
///
/// Data goes to stdout, messages to stderr. Exit codes: 0 done, 2 usage or configuration,
/// 3 anomalies in the input (with --strict) or nothing found, 4 verification or a check failed,
/// 5 input or output failed, 6 a log is damaged, 7 a benchmark's figures are INVALID, 8 it was
/// SATURATED, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "tapeline", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// One JSON object on stdout instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Say less on stderr.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Read and show times by the clock of this zone, `UTC` or `Europe/Berlin`, instead of the venue's.
    /// What is written to runs does not depend on it.
    #[arg(long, global = true, value_name = "ZONE")]
    pub tz: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a sample session, replay it, check it against its truth, and show the result.
    Demo(Demo),
    /// Make a sample session with a simulated exchange.
    #[command(subcommand)]
    Sample(Sample),
    /// Say what captures hold: lines, sessions, gaps, message types, symbols, rates.
    Inspect(Inspect),
    /// Run captures through the pipeline into a run directory.
    Replay(Replay),
    /// Run live multicast through the same pipeline, until the session or SIGINT ends it.
    Run(Run),
    /// The other side of a live run: send a capture over multicast again, at its own pace or another,
    /// with faults on request, and answer requests for what was lost.
    ServeFeed(ServeFeed),
    /// FIX sessions: a counterparty for tests and certification.
    #[command(subcommand)]
    Fix(FixCommand),
    /// OUCH sessions: a venue for tests.
    #[command(subcommand)]
    Ouch(OuchCommand),
    /// Show a symbol's book, or all best prices, at the end of a run or at any time of it.
    Book(Book),
    /// Compare a run with the truth that came with its session, or its books with others.
    Verify(Verify),
    /// Cut some symbols and some time out of ITCH captures, with all that their books need.
    Slice(Slice),
    /// Write ITCH captures as one pcap or ITCH file: lines put together, each message once.
    Convert(Convert),
    /// Compare two runs: equal, or the first divergence with its context.
    Diff(Diff),
    /// Hold the orders that a run sent against what the counterparty reported, and that against a drop
    /// copy; exit code 4 if they do not agree.
    Recon(Recon),
    /// Stop orders of a run that may be going on, or hang: all of them, or those of a symbol or a
    /// strategy. Stays so over restarts, until `unkill`.
    Kill(Kill),
    /// Let orders leave again that were stopped.
    Unkill(Unkill),
    /// Show the limits of orders together, or change them while the run goes on. A change holds from
    /// the next order on, and lasts over restarts.
    Limits(Limits),
    /// Make, show and restore savepoints: states of a run from which others can go on.
    #[command(subcommand)]
    Savepoint(Savepoint),
    /// Take in a run's logged events again with this program, or other settings, and compare what
    /// it concludes with what the run concluded. Sends nothing.
    Shadow(Shadow),
    /// Read, follow, check or repair the log of a run.
    #[command(subcommand)]
    Log(LogCommand),
    /// Measure latency and throughput, in a way that cannot fool you.
    #[command(subcommand)]
    Bench(Bench),
    /// Check or show the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at what this host does to latency, and say what to do about it. Changes nothing; exit
    /// code 4 if a check fails.
    Doctor(Doctor),
}

/// `tapeline doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// What is to run: its cores, its network card, its wishes.
    #[arg(short, long)]
    pub config: Option<PathBuf>,
    /// Where the run directories will be; here otherwise.
    #[arg(long, value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// The network card; that of `source.interface` or of the default route otherwise.
    #[arg(long, value_name = "IFACE")]
    pub nic: Option<String>,
    /// Look at the host below this folder: `proc`, `sys`, `etc`, and what the system answered in
    /// a file `answers`.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// With --dry-run: print a script that does what is advised, for you to read and run.
    #[arg(long)]
    pub fix: bool,
    /// Only print; without it --fix is refused, since this program changes no host.
    #[arg(long, requires = "fix")]
    pub dry_run: bool,
    /// Explain the checks that passed too.
    #[arg(short, long)]
    pub verbose: bool,
}

/// `tapeline demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Where to put the session and the runs: an empty directory, or none yet. A new temporary one
    /// otherwise.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Length of the session in seconds.
    #[arg(long, default_value_t = 60)]
    pub seconds: u32,
    /// How many symbols.
    #[arg(long, default_value_t = 64)]
    pub symbols: u32,
    /// The session's seed.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Pace of the latency pass, as a multiple of the recorded one.
    #[arg(long, default_value = "10x")]
    pub speed: Speed,
}

/// `tapeline sample ...`
#[derive(Debug, Subcommand)]
pub enum Sample {
    /// Nasdaq TotalView-ITCH 5.0, as an ITCH file or as a pcap of MoldUDP64 on lines A and B.
    Itch(SampleItch),
}

/// `tapeline sample itch`
#[derive(Debug, Args)]
pub struct SampleItch {
    /// Output: `.pcap` or `.itch`, with `.gz` or `.zst` to compress. The truth goes beside it.
    #[arg(short, long)]
    pub output: PathBuf,
    /// How many symbols, 1 to 10,000.
    #[arg(long, default_value_t = 64)]
    pub symbols: u32,
    /// Length of continuous trading in seconds.
    #[arg(long, default_value_t = 60)]
    pub seconds: u32,
    /// Equal seeds give equal bytes.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Average messages per second.
    #[arg(long, default_value_t = 20_000)]
    pub rate: u32,
    /// Share of packets lost on line A, 0 to 1. The other line keeps what this one loses.
    #[arg(long, default_value_t = 0.0)]
    pub loss_a: f64,
    /// Share of packets lost on line B, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub loss_b: f64,
    /// Share of packets that come twice on their line, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    pub duplicate: f64,
    /// How many packets one may be displaced by.
    #[arg(long, default_value_t = 0)]
    pub reorder: u32,
    /// How many packets both lines lose: real gaps, written in the truth.
    #[arg(long, default_value_t = 0)]
    pub drop_both: u32,
    /// Overwrite files that exist.
    #[arg(long)]
    pub force: bool,
}

/// `tapeline inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// Captures: pcap, pcapng or the files of a feed itself, plain or in gzip or zstd.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The protocol, instead of what the first file begins with: `itch`, `iex`,
    /// `lobster`, `dbn`, `mdp3`, `pitch`, `binance`, `tardis`, `coinbase` or `bitstamp`.
    #[arg(long, value_name = "NAME")]
    pub protocol: Option<String>,
    /// Exit with 3 if anything is wrong with the input.
    #[arg(long)]
    pub strict: bool,
}

/// `tapeline replay`
#[derive(Debug, Args)]
pub struct Replay {
    /// Captures; several are merged by capture time, then by their order here. Those of several dates
    /// are refused without `--days` or `--date`.
    pub files: Vec<PathBuf>,
    /// The run directory to make.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Each file is of the trading day that it, or its name, says, and a folder stands for its
    /// files. Days follow one another, each with books of its own, in a run of its own below the
    /// directory: `tapeline replay captures/ --days -o runs/week`.
    #[arg(long, conflicts_with_all = ["date", "rounds"])]
    pub days: bool,
    /// Take the same input so many times, each time as that of the day after; each round is a run
    /// of its own below the directory, and all come to the same digest, or exit code 4:
    /// `tapeline replay day.itch --loop 100 -o runs/soak`.
    #[arg(id = "rounds", long = "loop", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: Option<u32>,
    /// Stop where a condition of rules comes to hold, of any symbol or of one, and show its book;
    /// nothing is written, and no order leaves. On a terminal commands follow (`help` says which),
    /// otherwise this is the end: `tapeline replay day.itch --break 'AAPL.spread > 50bps'`.
    #[arg(long = "break", value_name = "EXPR", conflicts_with_all = ["output", "resume", "days", "rounds", "cpus", "strict"])]
    pub break_at: Option<String>,
    /// With --break: read commands from stdin, which is no terminal.
    #[arg(long, requires = "break_at")]
    pub break_commands: bool,
    /// Go on with a run, or with days or rounds, that was interrupted, or killed; with `--shards`,
    /// from there on with another number of them.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["files", "output", "config", "symbols", "from", "to", "date", "protocol", "days", "rounds"])]
    pub resume: Option<PathBuf>,
    /// With --resume: what to do with orders that may have left before the crash or not, instead
    /// of what orders.in_doubt says.
    #[arg(long, requires = "resume", value_parser = in_doubt)]
    pub in_doubt: Option<InDoubt>,
    /// Settings; see `tapeline config show`.
    #[arg(short, long)]
    pub config: Option<PathBuf>,
    /// How many shards.
    #[arg(long)]
    pub shards: Option<usize>,
    /// Cores: the reader's, then one for each shard.
    #[arg(long, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// `max`, or a multiple of the recorded pace: `1x`, `10x`, `0.5x`.
    #[arg(long)]
    pub speed: Option<Speed>,
    /// So many messages a second, evenly, instead of a multiple of the recorded pace: `2M/s`, `250k/s`.
    #[arg(long, value_name = "N/s")]
    pub rate: Option<Rate>,
    /// Only these symbols.
    #[arg(long, value_delimiter = ',')]
    pub symbols: Vec<String>,
    /// Conclude nothing before this time (books are built all the same): `09:31`, or RFC 3339.
    #[arg(long)]
    pub from: Option<String>,
    /// Stop at this time.
    #[arg(long, visible_alias = "until")]
    pub to: Option<String>,
    /// Trading date, `2026-01-05`, instead of what the capture or its name says.
    #[arg(long)]
    pub date: Option<String>,
    /// The protocol, instead of what the first file begins with: `itch`, `iex`,
    /// `lobster`, `dbn`, `mdp3`, `pitch`, `binance`, `tardis`, `coinbase` or `bitstamp`.
    #[arg(long, value_name = "NAME")]
    pub protocol: Option<String>,
    /// `shadow`: everything but the wire, orders end in a file. `paper`: the same, and a simulated
    /// venue fills them. `live`: orders leave, and each session is named with --confirm. Instead of what `orders.mode` says.
    #[arg(long, value_parser = order_mode)]
    pub mode: Option<OrderMode>,
    /// With orders.mode or --mode `live`: a session that orders may go to, SENDER-TARGET, or the
    /// address of orders.tcp. All of them are to be named.
    #[arg(long, value_name = "SESSION")]
    pub confirm: Vec<String>,
    /// Exit with 3 if anything is wrong with the input.
    #[arg(long)]
    pub strict: bool,
}

/// `tapeline run`
#[derive(Debug, Args)]
pub struct Run {
    /// Settings, with `source.lines`.
    #[arg(short, long, required_unless_present = "resume")]
    pub config: Option<PathBuf>,
    /// The run directory to make; `runs/DATE-TIME` otherwise.
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Go on with a run of today that was stopped, or killed. What the feed sent meanwhile is a
    /// gap.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["output", "config"])]
    pub resume: Option<PathBuf>,
    /// With --resume: another number of shards from there on.
    #[arg(long, requires = "resume")]
    pub shards: Option<usize>,
    /// With --resume: what to do with orders that may have left before the crash or not, instead
    /// of what orders.in_doubt says.
    #[arg(long, requires = "resume", value_parser = in_doubt)]
    pub in_doubt: Option<InDoubt>,
    /// `shadow`: everything but the wire, orders end in a file. `paper`: the same, and a simulated
    /// venue fills them. `live`: orders leave, and each session is named with --confirm. Instead of what `orders.mode` says.
    #[arg(long, value_parser = order_mode)]
    pub mode: Option<OrderMode>,
    /// With orders.mode or --mode `live`: a session that orders may go to, SENDER-TARGET, or the
    /// address of orders.tcp. All of them are to be named.
    #[arg(long, value_name = "SESSION")]
    pub confirm: Vec<String>,
    /// Exit with 3 if anything is wrong with the input.
    #[arg(long)]
    pub strict: bool,
}

fn order_mode(text: &str) -> Result<OrderMode, String> {
    match text {
        "shadow" => Ok(OrderMode::Shadow),
        "paper" => Ok(OrderMode::Paper),
        "live" => Ok(OrderMode::Live),
        _ => Err("want shadow, paper or live".into()),
    }
}

fn in_doubt(text: &str) -> Result<InDoubt, String> {
    match text {
        "possresend" => Ok(InDoubt::Possresend),
        "query" => Ok(InDoubt::Query),
        "cancel" => Ok(InDoubt::Cancel),
        "halt" => Ok(InDoubt::Halt),
        _ => Err("want possresend, query, cancel or halt".into()),
    }
}

/// Whose orders.
#[derive(Debug, Args)]
pub struct WhichLatch {
    /// The run directory.
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    pub run: Option<PathBuf>,
    /// Settings with a `risk.latch`, which all runs with them look at.
    #[arg(short, long)]
    pub config: Option<PathBuf>,
}

/// Which orders.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct KillScope {
    /// All orders.
    #[arg(long)]
    pub all: bool,
    /// Those of a symbol.
    #[arg(long)]
    pub symbol: Option<String>,
    /// Those of a strategy: `momentum`, or the name of another or of a rule.
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<String>,
}

/// `tapeline kill`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["all", "symbol", "strategy", "status"]).required(true))]
pub struct Kill {
    #[command(flatten)]
    pub which: WhichLatch,
    #[command(flatten)]
    pub scope: KillScope,
    /// Only say what is stopped.
    #[arg(long)]
    pub status: bool,
    /// Also cancel what was sent and is stopped now, as soon as the run can.
    #[arg(long, conflicts_with = "status")]
    pub cancel: bool,
    /// For the record.
    #[arg(long, default_value = "none given")]
    pub reason: String,
}

/// `tapeline unkill`
#[derive(Debug, Args)]
pub struct Unkill {
    #[command(flatten)]
    pub which: WhichLatch,
    #[command(flatten)]
    pub scope: KillScope,
    /// For the record: why orders may leave again.
    #[arg(long)]
    pub reason: String,
}

/// `tapeline limits`
#[derive(Debug, Args)]
pub struct Limits {
    /// The run directory.
    pub run: PathBuf,
    /// `firm.gross_max=1000000`, `session.orders_per_second=50`, `strategy.momentum.open_orders_max=10`,
    /// `symbol.AAPL.position_max=500`; `none` for no limit. May be given several times.
    #[arg(long, value_name = "KEY=VALUE", requires = "reason")]
    pub set: Vec<String>,
    /// Make the limits anew, where they are gone or damaged: as the settings have them, with all changes
    /// of the record. A run that has them open lets no order leave until it is resumed.
    #[arg(long, requires = "reason", conflicts_with = "set")]
    pub remake: bool,
    /// For the record: why it is changed.
    #[arg(long)]
    pub reason: Option<String>,
}

/// `tapeline savepoint ...`
#[derive(Debug, Subcommand)]
pub enum Savepoint {
    /// Make one of a run that was stopped or killed: a state of all of it, from which any number
    /// of shards, or another version of the program, can go on.
    Create {
        /// The run directory.
        run: PathBuf,
        /// Its name; the time otherwise.
        #[arg(long)]
        name: Option<String>,
        /// Ask a run that is going on to end in order, and wait for it.
        #[arg(long)]
        stop: bool,
        /// In the oldest layout that this version can write, for an older program to go on with.
        #[arg(long)]
        oldest: bool,
    },
    /// Show those that a run has.
    List {
        /// The run directory.
        run: PathBuf,
    },
    /// Make a new run directory that goes on from one; `replay --resume` starts it.
    Restore {
        /// The run directory that has it.
        run: PathBuf,
        /// Its name.
        name: String,
        /// The run directory to make.
        #[arg(short, long)]
        output: PathBuf,
        /// With how many shards; as many as before otherwise.
        #[arg(long)]
        shards: Option<usize>,
    },
}

/// `tapeline shadow`
#[derive(Debug, Args)]
pub struct Shadow {
    /// The run directory; it may be running.
    pub run: PathBuf,
    /// Other settings than the run's.
    #[arg(short, long)]
    pub config: Option<PathBuf>,
    /// Go on as long as the run does.
    #[arg(long)]
    pub follow: bool,
    /// How many differences to show.
    #[arg(long, default_value_t = 5)]
    pub show: usize,
}

/// `tapeline serve-feed`
#[derive(Debug, Args)]
pub struct ServeFeed {
    /// Captures of UDP packets; or ITCH files, with --line.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// `max`, or a multiple of the recorded pace.
    #[arg(long, default_value = "1x")]
    pub speed: Speed,
    /// So many messages a second, evenly, instead of a multiple of the recorded pace.
    #[arg(long, conflicts_with = "speed", value_name = "N/s")]
    pub rate: Option<Rate>,
    /// Address of the interface to send from.
    #[arg(long, default_value = "127.0.0.1")]
    pub interface: std::net::Ipv4Addr,
    /// Send packets for `OLD` to `NEW` instead, `OLD=NEW`; may be given several times.
    #[arg(long, value_parser = remap)]
    pub remap: Vec<(SocketAddrV4, SocketAddrV4)>,
    /// Send the first copy of every packet to this group, whatever line it was captured on; once
    /// for each line.
    #[arg(long, conflicts_with = "remap", value_name = "GROUP:PORT")]
    pub line: Vec<SocketAddrV4>,
    /// Share of packets that a line loses, `5%` or `0.05`: one for all lines, or one for each.
    #[arg(long, value_delimiter = ',', value_parser = share, value_name = "SHARE,..")]
    pub loss: Vec<f64>,
    /// Share of packets that come twice, likewise.
    #[arg(long, value_delimiter = ',', value_parser = share, value_name = "SHARE,..")]
    pub duplicate: Vec<f64>,
    /// By how many packets one in twenty is overtaken at most, likewise.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(..=1000), value_name = "N,..")]
    pub reorder: Vec<u32>,
    /// Lose the packets with these sequence numbers on every line, `FROM..TO`, the last included;
    /// may be given several times.
    #[arg(long, value_parser = numbers, value_name = "FROM..TO")]
    pub drop_both: Vec<(u64, u64)>,
    /// Equal seeds give equal faults.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Answer MoldUDP64 retransmission requests at this address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub retransmit: Option<SocketAddrV4>,
    /// Answer at most so many requests a second.
    #[arg(long, default_value = "2000/s", value_name = "N/s")]
    pub answers: Rate,
    /// Keep at most so much of what was sent, to send it again.
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    pub keep: Size,
    /// Serve what is sent as a SoupBinTCP session at this address, to whoever logs in, from the message
    /// that each asks for; with it, an ITCH file needs no --line.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub soup: Option<SocketAddrV4>,
    /// With --soup: cut each connection after so many messages, as a network may.
    #[arg(long, requires = "soup", value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub soup_cut: Option<u64>,
    /// Answer GLIMPSE logins at this address: all live orders of what was sent so far.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub glimpse: Option<SocketAddrV4>,
    /// With --retransmit, --soup or --glimpse: go on until nobody has asked, or been connected, for so long.
    #[arg(long, default_value = "2s", value_name = "TIME")]
    pub linger: Span,
}

/// `5%` or `0.05`.
fn share(text: &str) -> Result<f64, String> {
    let (digits, scale) = match text.strip_suffix('%') {
        Some(digits) => (digits, 100.0),
        None => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(value) if (0.0..=scale).contains(&value) => Ok(value / scale),
        _ => Err(format!(
            "`{text}` is not a share from 0 to 1 (like 5% or 0.05)"
        )),
    }
}

/// `100..200`.
fn numbers(text: &str) -> Result<(u64, u64), String> {
    let bad = || format!("`{text}` is not FROM..TO (like 1000..1200)");
    let (from, to) = text.split_once("..").ok_or_else(bad)?;
    let (from, to) = (
        from.parse().map_err(|_| bad())?,
        to.parse().map_err(|_| bad())?,
    );
    match from <= to {
        true => Ok((from, to)),
        false => Err(bad()),
    }
}

fn remap(text: &str) -> Result<(SocketAddrV4, SocketAddrV4), String> {
    let bad = || format!("`{text}` is not OLD=NEW (like 239.192.1.1:26400=239.0.0.1:5000)");
    let (old, new) = text.split_once('=').ok_or_else(bad)?;
    Ok((
        old.parse().map_err(|_| bad())?,
        new.parse().map_err(|_| bad())?,
    ))
}

/// `tapeline book`
#[derive(Debug, Args)]
pub struct Book {
    /// The symbol; best prices of all otherwise: `tapeline book --run runs/r1 --at 15:30`.
    pub symbol: Option<String>,
    /// The run directory.
    #[arg(long)]
    pub run: PathBuf,
    /// At this time (after every event up to and at it); the end otherwise. The first time that a
    /// complete run is asked, its books are indexed.
    #[arg(long)]
    pub at: Option<String>,
    /// How many levels.
    #[arg(long, default_value_t = 10)]
    pub depth: usize,
}

/// `tapeline verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// The run directory.
    pub run: PathBuf,
    /// A truth file that `tapeline sample` wrote, or `reference`: the run's events once more
    /// through books and through a second, plain implementation of them, compared after each event;
    /// or `lobster:DIR`: the rows of LOBSTER's order book file, compared after each message; or
    /// `mbp10:FILE.dbn`: Databento's ten levels of the same market, compared after each event; or
    /// `snapshots`: the feed's own, compared with what changes have made up to their numbers; or a
    /// JSON file of books that somebody else built, compared at each of its checkpoints.
    #[arg(long, value_name = "ORACLE")]
    pub against: PathBuf,
}

/// `tapeline slice`
#[derive(Debug, Args)]
pub struct Slice {
    #[command(flatten)]
    pub convert: Convert,
    /// Only these symbols, and what the feed says of all.
    #[arg(long, value_delimiter = ',')]
    pub symbols: Vec<String>,
    /// From this time on, `09:31` or RFC 3339; of the time before, all that changes books.
    #[arg(long)]
    pub from: Option<String>,
    /// Up to the first message after this time.
    #[arg(long)]
    pub until: Option<String>,
}

/// `tapeline convert`
#[derive(Debug, Args)]
pub struct Convert {
    /// ITCH captures: pcap, pcapng or ITCH files, plain or in gzip or zstd; to convert into events, any
    /// that `replay` reads.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Output: `.pcap` or `.itch`, with `.gz` or `.zst` to compress; of `convert` also `.dbn`, likewise,
    /// and `.parquet`.
    #[arg(short, long)]
    pub output: PathBuf,
    /// Trading date, `2026-01-05`, instead of what the capture or its name says.
    #[arg(long)]
    pub date: Option<String>,
    /// Overwrite a file that exists.
    #[arg(long)]
    pub force: bool,
}

/// `tapeline diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// A run directory.
    pub left: PathBuf,
    /// Another.
    pub right: PathBuf,
}

/// `tapeline recon`
#[derive(Debug, Args)]
pub struct Recon {
    /// A run directory, with orders through FIX sessions or to a simulated venue.
    pub run: PathBuf,
    /// What the counterparty said of the orders to somebody else: a file of FIX messages, with SOH or `|`
    /// between fields, or a folder of such files. All of them are one copy.
    #[arg(long, value_name = "FILE")]
    pub drop_copy: Vec<PathBuf>,
    /// The drop copy has fills only: orders without any need not be in it.
    #[arg(long, requires = "drop_copy")]
    pub fills_only: bool,
}

/// `tapeline config ...`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read a file and say whether it can be used.
    Check {
        /// The file.
        #[arg(required_unless_present = "config")]
        file: Option<PathBuf>,
        /// The same, as other commands have it.
        #[arg(short, long, conflicts_with = "file", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print all settings: the defaults, or those of a file.
    Show {
        /// The file.
        file: Option<PathBuf>,
        /// The same, as other commands have it.
        #[arg(short, long, conflicts_with = "file", value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// `tapeline log ...`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Print records: a line each, with --json an object each.
    Cat(LogCat),
    /// Follow a log that is being written, by default only what is durable.
    Tail(LogTail),
    /// Show the segments: cells, times, bytes, epoch, and where they lie.
    Index(LogRun),
    /// Read everything, and say how the log ends or where it is damaged (exit code 4).
    Verify(LogRun),
    /// Count records by kind, bytes and frames.
    Stat(LogRun),
    /// Show what the records look like, as the log itself says.
    Schema(LogRun),
    /// Show the named readers, with position and lag.
    Consumers(LogRun),
    /// Cut a damaged log off; says what would be lost, and does it only with --yes.
    Repair(LogRepair),
}

/// Which log.
#[derive(Debug, Args)]
pub struct LogRun {
    /// The run directory.
    pub run: PathBuf,
    /// Which part of a run whose number of shards changed; otherwise all of them, for `cat`,
    /// `index` and `schema` the last.
    #[arg(long)]
    pub part: Option<usize>,
    /// Only this shard's log; all of them otherwise.
    #[arg(long)]
    pub shard: Option<usize>,
}

/// `tapeline log cat`
#[derive(Debug, Args)]
pub struct LogCat {
    #[command(flatten)]
    pub log: LogRun,
    /// Begin with the record at this cell.
    #[arg(long, conflicts_with = "from_time")]
    pub from_cell: Option<u64>,
    /// Begin with the first event at this time: `09:31`, or RFC 3339.
    #[arg(long)]
    pub from_time: Option<String>,
    /// Stop before this cell.
    #[arg(long, conflicts_with = "to_time")]
    pub to_cell: Option<u64>,
    /// Stop before the first event at this time.
    #[arg(long)]
    pub to_time: Option<String>,
}

/// `tapeline log tail`
#[derive(Debug, Args)]
pub struct LogTail {
    /// The run directory.
    pub run: PathBuf,
    /// Which part of a run whose number of shards changed; otherwise the last, or for --consumer
    /// the first that it has not read to its end, and on from there.
    #[arg(long)]
    pub part: Option<usize>,
    /// Which shard's log.
    #[arg(long, default_value_t = 0)]
    pub shard: usize,
    /// Begin with the record at this cell; with what comes from now on otherwise.
    #[arg(long, conflicts_with_all = ["from_time", "from_start"])]
    pub from_cell: Option<u64>,
    /// Begin with the first event at this time.
    #[arg(long, conflicts_with = "from_start")]
    pub from_time: Option<String>,
    /// Begin with the first record that the log has.
    #[arg(long)]
    pub from_start: bool,
    /// Go on where this named reader was, and keep its position; a new one begins at the start.
    #[arg(long, value_name = "NAME")]
    pub consumer: Option<String>,
    /// Also what is not yet durable: a crash of the machine can take it back.
    #[arg(long)]
    pub written: bool,
    /// Print what there is now, and stop.
    #[arg(long)]
    pub no_follow: bool,
}

/// `tapeline log repair`
#[derive(Debug, Args)]
pub struct LogRepair {
    /// The run directory.
    pub run: PathBuf,
    /// Which part of a run whose number of shards changed; the last otherwise.
    #[arg(long)]
    pub part: Option<usize>,
    /// Which shard's log.
    #[arg(long)]
    pub shard: usize,
    /// Where the log is to end: `tapeline log verify` names the cell. A frame goes as a whole.
    #[arg(long, value_name = "CELL")]
    pub truncate_at: u64,
    /// Do it.
    #[arg(long)]
    pub yes: bool,
}

/// What can be done with OUCH sessions.
#[derive(Debug, Subcommand)]
pub enum OuchCommand {
    /// Accept sessions over SoupBinTCP and do with their orders what a script says, until SIGINT: fills,
    /// rejects, broken trades, lost connections.
    Sim(OuchSim),
}

/// `ouch sim`
#[derive(Args, Debug)]
pub struct OuchSim {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:26900")]
    pub listen: std::net::SocketAddr,
    /// What happens to orders, as in `fix sim --script`; `lose` and `cut` end the connection.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Who may log in, once for each session: up to six letters.
    #[arg(long, required = true)]
    pub user: Vec<String>,
    /// The password of all of them: up to ten letters.
    #[arg(long, default_value = "")]
    pub password: String,
    /// Cancel what is open when a connection ends, as a port can be set to.
    #[arg(long)]
    pub cancel_on_disconnect: bool,
    /// Write all orders there at the end, as CSV.
    #[arg(long, value_name = "FILE")]
    pub orders: Option<PathBuf>,
}

/// What can be done with FIX sessions.
#[derive(Debug, Subcommand)]
pub enum FixCommand {
    /// Accept sessions and do with their orders what a script says, until SIGINT: fills, rejects,
    /// busts, lost reports, resend storms, silence, cuts.
    Sim(FixSim),
    /// Take a drop copy as it comes, into a file for `recon --drop-copy`, until SIGINT.
    Copy(FixCopy),
}

/// `fix copy`
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["listen", "connect"]))]
pub struct FixCopy {
    /// Accept the session here.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<std::net::SocketAddr>,
    /// Connect to the one who copies.
    #[arg(long, value_name = "ADDRESS")]
    pub connect: Option<std::net::SocketAddr>,
    /// FIX.4.0 to FIX.4.4, or FIXT.1.1, over which FIX 5.0 SP2 is spoken.
    #[arg(long, default_value = "FIX.4.4")]
    pub fix: String,
    /// The name of this side.
    #[arg(long, default_value = "TAPELINE")]
    pub sender: String,
    /// The name of the one who copies.
    #[arg(long)]
    pub target: String,
    /// Where the messages go, a line each; what is there goes on. The session's numbers stand beside
    /// it, in FILE.session.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Through TLS, or not.
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// What secures a connection, as PEM files: for programs that were built with the feature `tls`.
#[derive(Args, Debug)]
pub struct TlsArgs {
    /// Speak through TLS, with this certificate: who accepts must have one, who connects may ...
    #[arg(long, value_name = "PEM", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// ... and its key.
    #[arg(long, value_name = "PEM", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Speak through TLS, and believe a certificate of the other side that is signed by one of
    /// these. Who accepts asks for none without this.
    #[arg(long, value_name = "PEM")]
    pub tls_ca: Option<PathBuf>,
    /// The name that the certificate of the one who is connected to is for; its address otherwise.
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    pub tls_name: Option<String>,
}

/// `fix sim`
#[derive(Args, Debug)]
pub struct FixSim {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9878")]
    pub listen: std::net::SocketAddr,
    /// What happens to orders, a line each: `symbol NAME: reject`, `every 100: new, lose, fill`,
    /// `any: new, partial 50, cut`. Without it, all are accepted and filled.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// FIX.4.0 to FIX.4.4, or FIXT.1.1, over which FIX 5.0 SP2 is spoken.
    #[arg(long, default_value = "FIX.4.4")]
    pub fix: String,
    /// The name of this side.
    #[arg(long, default_value = "SIM")]
    pub sender: String,
    /// The names of the other sides, once for each session.
    #[arg(long, default_value = "TAPELINE")]
    pub target: Vec<String>,
    /// Through TLS, or not.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// A QuickFIX data dictionary: messages that do not fit it are told, and taken.
    #[arg(long, value_name = "XML")]
    pub dictionary: Option<PathBuf>,
    /// Write all orders there at the end, as CSV.
    #[arg(long, value_name = "FILE")]
    pub orders: Option<PathBuf>,
}
