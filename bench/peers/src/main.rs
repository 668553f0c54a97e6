//! Who decodes faster? Every contestant takes every turn, and a turn begins with another one each time.
//!
//! ```text
//! peers [--messages 1000000] [--rounds 9] [--only NAME]
//! ```
//!
//! Prints a table in Markdown: nanoseconds a message, the least and the median of the rounds.

use std::fmt::Display;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use dbn::Schema;
use feed::protocol::{
    Binance, Bitstamp, Coinbase, Dbn, Iex, Itch, Lobster, Mdp3, Pitch, Protocol, Tardis,
};
use peers::tapes::{self, Lines, MIDNIGHT, Tape, tape};
use peers::theirs::{SerdeJson, Sonic};
use peers::{Sum, ours, theirs};

/// One decoder of one feed.
struct Side<'a> {
    name: &'static str,
    /// One pass over all messages.
    pass: Box<dyn Fn() -> Sum + 'a>,
}

/// Ours, and those that are held against it.
struct Contest<'a> {
    feed: &'static str,
    messages: u64,
    ours: Side<'a>,
    peers: Vec<Side<'a>>,
}

struct Args {
    messages: u64,
    rounds: usize,
    only: Option<String>,
}

fn args() -> Result<Args, String> {
    let (mut messages, mut rounds, mut only) = (1_000_000, 9, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words
            .next()
            .ok_or(format!("{word}: want a value behind it"))?;
        let bad = |want: &str| format!("{word} {value}: want {want}");
        match word.as_str() {
            "--messages" => {
                messages = value.parse().map_err(|_| bad("a number"))?;
                if !(3_000..=10_000_000).contains(&messages) {
                    return Err(bad("3000 to 10000000"));
                }
            }
            "--rounds" => {
                rounds = value.parse().map_err(|_| bad("a number"))?;
                if !(1..=1_000).contains(&rounds) {
                    return Err(bad("1 to 1000"));
                }
            }
            "--only" => only = Some(value),
            _ => return Err(format!("{word}: want --messages, --rounds or --only")),
        }
    }
    Ok(Args {
        messages,
        rounds,
        only,
    })
}

/// A folder of this run's files, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Folder> {
        let path = std::env::temp_dir().join(format!("tapeline-peers-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Folder(path))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> std::io::Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, bytes)?;
        Ok(path)
    }

    fn lines(&self, lines: &Lines) -> std::io::Result<PathBuf> {
        self.write(lines.name, lines.text.as_bytes())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn side<'a>(name: &'static str, pass: impl Fn() -> Sum + 'a) -> Side<'a> {
    Side {
        name,
        pass: Box::new(pass),
    }
}

/// A feed from messages in memory that nobody else decodes.
fn alone<'a, P: Protocol>(
    feed: &'static str,
    tape: &'a Tape,
    new: impl Fn() -> P + 'a,
) -> Contest<'a> {
    Contest {
        feed,
        messages: tape.messages,
        ours: side("memory", move || ours::messages(new(), tape)),
        peers: Vec::new(),
    }
}

/// The least and the median, ns a message.
struct Times(f64, f64);

impl Times {
    fn of(mut turns: Vec<f64>) -> Times {
        turns.sort_unstable_by(f64::total_cmp);
        Times(turns[0], turns[turns.len() / 2])
    }
}

impl Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} | {:.1}", self.0, self.1)
    }
}

/// Turns of all sides, and a row for each peer.
fn compete(contest: &Contest, rounds: usize) {
    let sides: Vec<&Side> = std::iter::once(&contest.ours)
        .chain(&contest.peers)
        .collect();
    let want: Vec<Sum> = sides.iter().map(|side| (side.pass)()).collect();
    let mut turns = vec![Vec::with_capacity(rounds); sides.len()];
    for round in 0..rounds {
        for turn in 0..sides.len() {
            let index = (round + turn) % sides.len();
            let start = Instant::now();
            let sum = black_box((sides[index].pass)());
            let elapsed = start.elapsed();
            assert!(
                sum == want[index],
                "{}: another sum than before",
                sides[index].name
            );
            turns[index].push(elapsed.as_nanos() as f64 / contest.messages as f64);
        }
    }
    let mut times = turns.into_iter().map(Times::of);
    let ours = times.next().expect("our own");
    let (feed, name, count) = (contest.feed, contest.ours.name, contest.messages);
    if contest.peers.is_empty() {
        println!("| {feed} | {name} | {count} | {ours} | - | | | |");
    }
    for (peer, theirs) in contest.peers.iter().zip(times) {
        let ratio = ours.1 / theirs.1;
        println!(
            "| {feed} | {name} | {count} | {ours} | {} | {theirs} | {ratio:.2} |",
            peer.name
        );
    }
}

/// Whether all peers found what we find.
fn check(contest: &Contest, found: Sum) -> Result<(), String> {
    for peer in &contest.peers {
        let sum = (peer.pass)();
        if sum != found {
            let (feed, name) = (contest.feed, peer.name);
            return Err(format!(
                "{feed}: {name} finds {sum:?}, want {found:?}, which we find"
            ));
        }
    }
    Ok(())
}

fn run(args: &Args) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", std::env::temp_dir().display());
    let folder = Folder::new().map_err(failed)?;
    let is_wanted = |feed: &str| {
        args.only
            .as_ref()
            .is_none_or(|only| feed.starts_with(only.as_str()))
    };
    let count = args.messages;
    let mut is_any = false;
    let mut hold = |contest: Contest, found: Option<Sum>| -> Result<(), String> {
        if !std::mem::replace(&mut is_any, true) {
            println!(
                "| feed | from | messages | ours, least | median | peer | its least | median | ours / its |"
            );
            println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        }
        if let Some(found) = found {
            check(&contest, found)?;
        }
        compete(&contest, args.rounds);
        Ok(())
    };

    if is_wanted("ITCH") {
        let tape = tapes::itch(1_000, count);
        let mut contest = alone("ITCH", &tape, || Itch::new(MIDNIGHT));
        contest.peers = vec![side("`itch5` 0.1.5", || theirs::itch(&tape))];
        hold(
            contest,
            Some(ours::said_by_records(Itch::new(MIDNIGHT), &tape)),
        )?;
    }
    for (feed, tape) in [
        ("IEX DEEP", tapes::deep as fn(&mut _, _, &mut _)),
        ("IEX TOPS", tapes::tops),
    ]
    .into_iter()
    .filter(|(feed, _)| is_wanted(feed))
    {
        let tape = tapes::tape(count, tape);
        hold(alone(feed, &tape, Iex::new), None)?;
    }
    if is_wanted("PITCH") {
        let tape = tape(count, tapes::pitch);
        hold(alone("PITCH", &tape, || Pitch::new(MIDNIGHT)), None)?;
    }
    for (feed, tape) in [
        (
            "MDP 3.0 levels",
            tapes::mdp3_levels as fn(&mut _, _, &mut _),
        ),
        ("MDP 3.0 orders", tapes::mdp3_orders),
    ]
    .into_iter()
    .filter(|(feed, _)| is_wanted(feed))
    {
        let tape = tapes::tape(count, tape);
        hold(alone(feed, &tape, Mdp3::new), None)?;
    }
    if is_wanted("DBN mbo") {
        let tape = tape(count, tapes::mbo);
        let found = ours::said_by_records(Dbn::new(), &tape);
        let bytes = theirs::dbn_file(&tape, Schema::Mbo);
        let path = folder.write("mbo.dbn", &bytes).map_err(failed)?;
        let mut contest = alone("DBN mbo", &tape, Dbn::new);
        let memory = || theirs::dbn_mbo(theirs::dbn_memory(&bytes));
        contest.peers = vec![side("`dbn` 0.73.0", memory)];
        hold(contest, Some(found))?;
        let contest = Contest {
            feed: "DBN mbo",
            messages: count,
            ours: side("file", || ours::file(Dbn::new(), &path)),
            peers: vec![side("`dbn` 0.73.0", || {
                theirs::dbn_mbo(theirs::dbn_path(&path))
            })],
        };
        hold(contest, Some(found))?;
    }
    if is_wanted("DBN mbp-10") {
        let tape = tape(count, tapes::mbp_10);
        let found = ours::standing(Dbn::new(), &tape);
        let bytes = theirs::dbn_file(&tape, Schema::Mbp10);
        let path = folder.write("mbp-10.dbn", &bytes).map_err(failed)?;
        let mut contest = alone("DBN mbp-10", &tape, Dbn::new);
        let memory = || theirs::dbn_mbp_10(theirs::dbn_memory(&bytes));
        contest.peers = vec![side("`dbn` 0.73.0", memory)];
        hold(contest, Some(found))?;
        let contest = Contest {
            feed: "DBN mbp-10",
            messages: count,
            ours: side("file", || ours::file(Dbn::new(), &path)),
            peers: vec![side("`dbn` 0.73.0", || {
                theirs::dbn_mbp_10(theirs::dbn_path(&path))
            })],
        };
        hold(contest, Some(found))?;
    }
    if is_wanted("LOBSTER") {
        let tape = tape(count, tapes::lobster);
        let lines = tapes::lobster_lines(count);
        let path = folder.lines(&lines).map_err(failed)?;
        let found = ours::said_by_lobster(&tape);
        let text = lines.text.as_bytes();
        let mut contest = alone("LOBSTER", &tape, || Lobster::new(MIDNIGHT));
        contest.peers = vec![
            side("`csv` 1.4.0, fields", || theirs::lobster_records(text)),
            side("`csv` 1.4.0, `serde`", || theirs::lobster_rows(text)),
        ];
        hold(contest, Some(found))?;
        let open = || fs::File::open(&path).expect("the file was just written");
        let contest = Contest {
            feed: "LOBSTER",
            messages: count,
            ours: side("file", || ours::file(Lobster::new(MIDNIGHT), &path)),
            peers: vec![
                side("`csv` 1.4.0, fields", || theirs::lobster_records(open())),
                side("`csv` 1.4.0, `serde`", || theirs::lobster_rows(open())),
            ],
        };
        hold(contest, Some(found))?;
    }
    // The lines of the venues, a tenth as many: what is long is a line.
    type Pass = fn(&Path) -> Sum;
    type Make = fn(u64) -> Lines;
    type Venue = (&'static str, Make, Pass, [(&'static str, Pass); 2]);
    let venues: [Venue; 4] = [
        (
            "tardis.dev",
            tapes::tardis_lines,
            |path| ours::file(Tardis::new(), path),
            [
                ("`csv` 1.4.0, fields", theirs::tardis_records),
                ("`csv` 1.4.0, `serde`", theirs::tardis_rows),
            ],
        ),
        (
            "Bitstamp",
            tapes::bitstamp_lines,
            |path| ours::file(Bitstamp::new(), path),
            [
                ("`csv` 1.4.0, fields", theirs::bitstamp_records),
                ("`csv` 1.4.0, `serde`", theirs::bitstamp_rows),
            ],
        ),
        (
            "Binance",
            tapes::binance_lines,
            |path| ours::file(Binance::new(), path),
            [
                ("`serde_json` 1.0.154", theirs::binance::<SerdeJson>),
                ("`sonic-rs` 0.5.10", theirs::binance::<Sonic>),
            ],
        ),
        (
            "Coinbase",
            tapes::coinbase_lines,
            |path| ours::file(Coinbase::new(), path),
            [
                ("`serde_json` 1.0.154", theirs::coinbase::<SerdeJson>),
                ("`sonic-rs` 0.5.10", theirs::coinbase::<Sonic>),
            ],
        ),
    ];
    for (feed, make, pass, peers) in venues {
        if !is_wanted(feed) {
            continue;
        }
        let lines = make(count / if feed == "Binance" { 10 } else { 1 });
        let path = folder.lines(&lines).map_err(failed)?;
        let at = path.as_path();
        let contest = Contest {
            feed,
            messages: lines.messages,
            ours: side("file", || pass(&path)),
            peers: peers
                .into_iter()
                .map(|(name, pass)| side(name, move || pass(at)))
                .collect(),
        };
        hold(contest, Some(ours::said_by_lines(&path)))?;
    }
    match &args.only {
        Some(only) if !is_any => Err(format!(
            "--only {only}: want what a feed's name begins with"
        )),
        _ => Ok(()),
    }
}

fn main() -> ExitCode {
    match args().and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}
