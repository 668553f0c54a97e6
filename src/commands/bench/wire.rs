//! `tapeline bench wire`, and its far end

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bus::clock::MachineClock;
use feed::source::multicast::{Multicast, MulticastLine, MulticastOptions};
use tapeline::config::{Config, Ratio, Size, Span};
use tapeline::lab::host::{Counted, Disturbance, Drift};
use tapeline::lab::report::{CurveSaid, Logged, Report, StageSaid, TrialSaid, write_histograms};
use tapeline::lab::tape::Pacing;
use tapeline::lab::units::Rate;
use tapeline::lab::verdict::{self, Shown};
use tapeline::lab::wire::{self, Echo, GROUP, INTERFACE, Notes, Plan, Seen};
use tapeline::latency::{Histogram, Latency, Measure, Stage};
use tapeline::pipeline::{self, Job, Live, Stop};
use tapeline::run_dir::{Part, RunDir};
use tapeline::term::{count, nanos};

use super::setup::{Setup, duration};
use super::{Failure, Talk, conclude};
use crate::cli;

/// The far end: another process.
pub fn peer(args: &cli::Peer) -> Result<(), Failure> {
    let plan: Plan = serde_json::from_str(&args.plan).map_err(Failure::usage)?;
    wire::peer(&plan, io::stdin(), io::stdout()).map_err(Failure::io)
}

/// What is the same in every trial.
struct Wire<'a> {
    setup: Setup,
    folder: PathBuf,
    datagrams: Vec<Vec<u8>>,
    causes: BTreeMap<u64, usize>,
    rate: Rate,
    warmup_ns: u64,
    peer_cpu: Option<usize>,
    stop: &'a Stop,
}

/// What a trial of the product or of the echo showed.
#[derive(Default)]
struct Round {
    /// From before the datagram was sent until the order was read.
    wire: Histogram,
    /// From when the datagram was due.
    due: Histogram,
    /// What sending one took the peer.
    send: Histogram,
    seen: Seen,
    /// Datagrams that did not come.
    lost: u64,
    /// Orders that did not come.
    missing: u64,
    disturbance: Disturbance,
    inside: Option<Latency>,
    log_backend: String,
}

pub fn wire(args: &cli::Wire, talk: Talk) -> Result<(), Failure> {
    let stop = pipeline::watch_signals().map_err(Failure::io)?;
    let (warmup, length) = (duration(args.warmup), duration(args.duration));
    let seconds = (warmup + length).as_secs_f64();
    if length.is_zero() || args.trials == 0 {
        return Err(Failure::usage(
            "--duration and --trials want more than nothing",
        ));
    }
    let mut setup = Setup::new("wire", &args.played, args.rate, seconds, talk)?;
    let mut remarks = Vec::new();
    if args.played.config.is_none() {
        trade_often(&mut setup.config);
        remarks.push("the strategy is set to trade often, so that there are orders to time".into());
    }
    let cpus = tuning::pin::allowed_cpus();
    let threads = setup.config.run.hot_threads();
    let mut peer_cpu = cpus.first().copied().filter(|_| cpus.len() > 1);
    if setup.config.run.cpus.is_empty() && cpus.len() > 1 {
        if cpus.len() > threads {
            setup.config.run.cpus = cpus[1..=threads].to_vec();
        } else {
            let last = cpus[cpus.len() - 1];
            setup.config.run.cpus = vec![last; threads];
            remarks.push(format!(
                "{threads} threads and a peer on {} cores: the reader and the shards take turns on \
                 core {last}, which costs them a switch for each hop",
                cpus.len()
            ));
        }
    } else if peer_cpu.is_some_and(|cpu| setup.config.run.cpus.contains(&cpu)) {
        peer_cpu = cpus
            .into_iter()
            .find(|cpu| !setup.config.run.cpus.contains(cpu));
    }
    let folder = setup.folder();
    fs::create_dir_all(&folder).map_err(Failure::io)?;
    let mut wire = Wire {
        datagrams: Vec::new(),
        causes: BTreeMap::new(),
        rate: args.rate,
        warmup_ns: warmup.as_nanos() as u64,
        peer_cpu,
        stop: &stop,
        folder,
        setup,
    };
    wire.prepare((seconds * args.rate.0) as usize)?;
    talk.say(format_args!(
        "{} datagrams, {} of which cause an order",
        count(wire.datagrams.len() as u64),
        count(wire.causes.len() as u64)
    ));
    let mut report = wire.setup.report("wire");
    report.remarks = remarks;
    report.input.messages = wire.setup.tape.messages;
    report.input.packets = wire.datagrams.len() as u64;
    report.input.sha256.clear();
    report.load.pacing = format!("{} as datagrams on loopback, evenly", args.rate);
    report.load.rate = args.rate.0;
    report.load.warmup_s = warmup.as_secs_f64();
    report.load.duration_s = length.as_secs_f64();
    let (mut floors, mut products) = (vec![wire.round(None)?], Vec::new());
    for number in 0..args.trials {
        products.push(wire.round(Some(number))?);
        floors.push(wire.round(None)?);
        let said = |round: &Round| round.wire.quantile_ns(0.5).map_or("n/a".into(), nanos);
        let product = &products[products.len() - 1];
        let own = product
            .inside
            .as_ref()
            .map(|all| all.stage(Stage::Reaction));
        talk.say(format_args!(
            "trial {} of {}: p50 {}, bare echo {}, our own share {}",
            number + 1,
            args.trials,
            said(product),
            said(&floors[floors.len() - 1]),
            own.and_then(|own| own.quantile_ns(0.5))
                .map_or("n/a".into(), nanos)
        ));
    }
    let _ = fs::remove_dir_all(&wire.folder);
    describe(&mut report, &products, &floors);
    write(&wire.setup.dir, &products, &floors, length).map_err(Failure::io)?;
    conclude(&report, &wire.setup.dir, talk)
}

/// A strategy that finds something in every small move.
fn trade_often(config: &mut Config) {
    config.regime.sample = Span(20_000_000);
    config.regime.warmup_samples = 2;
    config.momentum.lookback = Span(100_000_000);
    config.momentum.threshold = Ratio(1);
    config.momentum.sigmas = 0.0;
    config.momentum.imbalance = 0.0;
    config.momentum.cooldown = Span(5_000_000);
    config.risk.orders_per_second = 1_000;
    config.orders.file = false;
}

impl Wire<'_> {
    /// Runs the tape once, as fast as it goes, to learn which datagrams cause orders.
    fn prepare(&mut self, upto: usize) -> Result<(), Failure> {
        let setup = &mut self.setup;
        let shards = setup.config.run.shards;
        setup.tape.cut(upto);
        // Fast, but with an arrival of its own for each packet.
        setup.tape.schedule(Pacing::Rate(Rate(2e6)));
        let mut config = setup.config.clone();
        config.run.shards = 1;
        config.run.cpus.clear();
        config.orders.tcp = None;
        config.orders.file = false;
        let dir = RunDir::create(&self.folder.join("dry")).map_err(Failure::io)?;
        let clock = MachineClock::new();
        let report = Default::default();
        let span_ns = (0, u64::MAX);
        let source = tapeline::lab::source::Scheduled::new(&setup.tape, &clock, span_ns, &report);
        let parts = [part(1)];
        let job = job(&config, setup, &dir, &parts, false);
        pipeline::run(source, &job, &clock, self.stop, |_| {}).map_err(Failure::io)?;
        self.causes = wire::causes(&dir.log_dir(0, 0), &setup.tape).map_err(Failure::io)?;
        self.datagrams = wire::datagrams(&setup.tape);
        setup.config.run.shards = shards;
        if self.causes.is_empty() {
            return Err(Failure::input(
                "the input causes no order: there is nothing to time",
            ));
        }
        wire::write_datagrams(&self.folder.join("datagrams"), &self.datagrams).map_err(Failure::io)
    }

    /// One trial of the product, or of the bare echo.
    fn round(&self, product: Option<u32>) -> Result<Round, Failure> {
        if self.stop.is_set() {
            return Err(Failure::interrupted(
                "stopped by a signal; nothing was written",
            ));
        }
        let group = SocketAddrV4::new(GROUP, free_port().map_err(Failure::io)?);
        let answers = self.folder.join("answers");
        let plan = Plan {
            datagrams: self.folder.join("datagrams"),
            group,
            each_ns: 1e9 / self.rate.0,
            connections: product.map_or(1, |_| self.setup.config.run.shards),
            cpu: self.peer_cpu,
            answers: answers.clone(),
        };
        let mut far = Far::start(&plan)?;
        let mut round = match product {
            None => self.echo(&mut far, group)?,
            Some(number) => self.product(&mut far, group, number)?,
        };
        round.seen = far.end()?;
        let notes = Notes::read(&answers).map_err(Failure::io)?;
        self.match_up(&notes, &mut round);
        Ok(round)
    }

    fn echo(&self, far: &mut Far, group: SocketAddrV4) -> Result<Round, Failure> {
        let echo = Echo::open(group, &self.datagrams, &self.causes).map_err(Failure::io)?;
        let port = far.port;
        let cpu = self.setup.config.run.cpus.last().copied();
        let stop = self.stop;
        std::thread::scope(|scope| {
            // The same name, so that what the machine does to it is counted likewise.
            let builder = std::thread::Builder::new().name("reader".into());
            let handle = builder
                .spawn_scoped(scope, move || {
                    if let Some(cpu) = cpu {
                        tuning::pin::pin_to(cpu).map_err(|e| e.to_string())?;
                    }
                    echo.run(port, || stop.is_set())
                })
                .map_err(Failure::io)?;
            far.begin()?;
            let mut look = Look::default();
            while !handle.is_finished() {
                look.at();
            }
            let came = handle.join().expect("the echo does not panic");
            let came = came.map_err(Failure::io)?;
            Ok(Round {
                lost: (self.datagrams.len() as u64).saturating_sub(came),
                disturbance: look.disturbance(),
                ..Round::default()
            })
        })
    }

    fn product(&self, far: &mut Far, group: SocketAddrV4, number: u32) -> Result<Round, Failure> {
        let setup = &self.setup;
        let mut config = setup.config.clone();
        config.source.lines = vec![group];
        config.source.interface = INTERFACE;
        config.source.end_at_session_end = true;
        config.source.receive_buffer = Size(8 << 20);
        config.orders.tcp = Some(format!("{INTERFACE}:{}", far.port));
        let path = self.folder.join(format!("run-{number}"));
        let dir = RunDir::create(&path).map_err(Failure::io)?;
        let line = MulticastLine {
            group: *group.ip(),
            port: group.port(),
            interface: INTERFACE,
        };
        let source = Multicast::open(&MulticastOptions {
            lines: vec![line],
            receive_buffer_bytes: config.source.receive_buffer.0 as usize,
        });
        let clock = MachineClock::new();
        let live = Live::new(source.map_err(Failure::io)?, &clock);
        let parts = [part(config.run.shards)];
        let job = job(&config, setup, &dir, &parts, true);
        let measure = Measure {
            warmup_ns: self.warmup_ns,
            ..Measure::default()
        };
        let mut look = Look::default();
        let mut begun = Ok(());
        let mut is_begun = false;
        // The first word from the pipeline comes when all its threads run.
        let outcome = pipeline::run_measured(
            live,
            &job,
            &clock,
            self.stop,
            measure,
            |g| g,
            |_| {
                if !is_begun {
                    is_begun = true;
                    begun = far.begin();
                }
                look.at();
            },
        );
        begun?;
        let outcome = outcome.map_err(Failure::io)?;
        let _ = fs::remove_dir_all(&path);
        let mut inside = Latency::new();
        for shard in &outcome.shards {
            inside.merge(&shard.latency);
        }
        let sent = self.setup.tape.messages;
        Ok(Round {
            lost: sent.saturating_sub(outcome.reader.messages),
            disturbance: look.disturbance(),
            inside: Some(inside),
            log_backend: outcome.log_backend,
            ..Round::default()
        })
    }

    /// What lies between each datagram and its order.
    fn match_up(&self, notes: &Notes, round: &mut Round) {
        let Some(first) = notes.departures.first() else {
            return;
        };
        let from_ns = first.due_ns + self.warmup_ns;
        for departure in &notes.departures {
            if departure.due_ns >= from_ns {
                round.send.record(departure.after_ns - departure.before_ns);
            }
        }
        let mut came = 0;
        for answer in &notes.answers {
            let Some(index) = self.causes.get(&answer.seq) else {
                continue;
            };
            came += 1;
            let departure = notes.departures[*index];
            if departure.due_ns >= from_ns {
                round
                    .wire
                    .record(answer.read_ns.saturating_sub(departure.before_ns));
                round
                    .due
                    .record(answer.read_ns.saturating_sub(departure.due_ns));
            }
        }
        // One datagram's event may cause several orders; the echo answers it once.
        round.missing = (self.causes.len() as u64).saturating_sub(came);
    }
}

fn part(shards: usize) -> Part {
    Part {
        shards,
        ..Part::default()
    }
}

fn job<'a>(
    config: &'a Config,
    setup: &'a Setup,
    dir: &'a RunDir,
    parts: &'a [Part],
    is_live: bool,
) -> Job<'a> {
    Job {
        config,
        day: &setup.day,
        dir,
        from: None,
        until: None,
        symbols: &[],
        parts,
        resume: false,
        is_live,
        goes_on: None,
        wire: feed::protocol::Wire::Itch,
        moved_ns: 0,
    }
}

/// A port that nobody has now.
fn free_port() -> io::Result<u16> {
    Ok(UdpSocket::bind((INTERFACE, 0))?.local_addr()?.port())
}

/// The peer's process.
struct Far {
    child: Child,
    word: Option<ChildStdin>,
    out: BufReader<ChildStdout>,
    port: u16,
}

impl Far {
    fn start(plan: &Plan) -> Result<Far, Failure> {
        let exe = std::env::current_exe().map_err(Failure::io)?;
        let text = serde_json::to_string(plan).expect("always JSON");
        let mut child = Command::new(exe)
            .args(["bench", "peer", &text])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| Failure::io(format!("the peer: {e}")))?;
        let word = child.stdin.take();
        let mut out = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut line = String::new();
        out.read_line(&mut line).map_err(Failure::io)?;
        let port = line.trim().parse();
        let port = port.map_err(|_| Failure::io("the peer ended before it said its port"))?;
        Ok(Far {
            child,
            word,
            out,
            port,
        })
    }

    fn begin(&mut self) -> Result<(), Failure> {
        match &mut self.word {
            Some(word) => word
                .write_all(b"!")
                .and_then(|()| word.flush())
                .map_err(Failure::io),
            None => Ok(()),
        }
    }

    fn end(mut self) -> Result<Seen, Failure> {
        let mut line = String::new();
        self.out.read_line(&mut line).map_err(Failure::io)?;
        let status = self.child.wait().map_err(Failure::io)?;
        match serde_json::from_str(&line) {
            Ok(seen) if status.success() => Ok(seen),
            _ => Err(Failure::io(format!("the peer ended with {status}"))),
        }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // It is gone already, unless something failed on our side.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the machine did to the hot threads.
#[derive(Default)]
struct Look {
    before: Option<Counted>,
    after: Option<Counted>,
}

impl Look {
    fn at(&mut self) {
        std::thread::park_timeout(std::time::Duration::from_millis(100));
        let now = Some(Counted::now()).filter(Counted::has_threads);
        match self.before {
            None => self.before = now,
            Some(_) => self.after = now.or(self.after.take()),
        }
    }

    fn disturbance(&self) -> Disturbance {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => Disturbance::between(before, after),
            _ => Disturbance::default(),
        }
    }
}

const WIRE: &str = "before the datagram was sent until the order was read, outside";
const DUE: &str = "the same, from when the datagram was due";
const FLOOR: &str = "the same as wire, from a bare echo in the same minutes";
const SEND: &str = "the peer's call that sends a datagram, which delivers it on loopback";

fn merged<'a>(rounds: impl Iterator<Item = &'a Histogram>) -> Histogram {
    let mut whole = Histogram::new();
    rounds.for_each(|one| whole.add(one));
    whole
}

/// A figure's name and meaning, the rounds it is of, and where it stands in each.
type Figure<'a> = (&'a str, &'a str, &'a [Round], fn(&Round) -> &Histogram);

fn describe(report: &mut Report, products: &[Round], floors: &[Round]) {
    let pick: [Figure<'_>; 4] = [
        ("wire", WIRE, products, |r| &r.wire),
        ("due", DUE, products, |r| &r.due),
        ("floor", FLOOR, floors, |r| &r.wire),
        ("udp-send", SEND, products, |r| &r.send),
    ];
    for (name, meaning, rounds, of) in pick {
        let whole = merged(rounds.iter().map(of));
        let each: Vec<&Histogram> = rounds.iter().map(of).collect();
        report
            .stages
            .push(StageSaid::new(name, meaning, &whole).with_trials(&each));
        if name == "wire" || name == "floor" {
            report.curves.push(CurveSaid::new(name, false, &whole));
        }
    }
    let mut inside = Latency::new();
    for round in products {
        round.inside.iter().for_each(|one| inside.merge(one));
    }
    for (stage, meaning) in [
        (
            Stage::Order,
            "inside: from the kernel's stamp until send returned",
        ),
        (Stage::Reaction, Stage::Reaction.meaning()),
        (
            Stage::Service,
            "inside: work without waits, decode and apply",
        ),
        (
            Stage::Receive,
            "inside: the kernel's stamp to received by us",
        ),
        (Stage::Decode, Stage::Decode.meaning()),
        (Stage::Ring, Stage::Ring.meaning()),
        (Stage::Apply, Stage::Apply.meaning()),
        (Stage::Durable, Stage::Durable.meaning()),
        (Stage::Encode, Stage::Encode.meaning()),
        (Stage::Send, Stage::Send.meaning()),
    ] {
        let histogram = inside.stage(stage);
        if !histogram.is_empty() {
            report
                .stages
                .push(StageSaid::new(stage.name(), meaning, histogram));
        }
    }
    for round in products {
        let shown = shown(round);
        let (verdict, mut reasons) = verdict::judge(&shown);
        if round.missing > 0 {
            reasons.push(format!("{} orders never came", round.missing));
        }
        let verdict = match round.missing {
            0 => verdict,
            _ => verdict::Verdict::Invalid,
        };
        report.trials.push(TrialSaid {
            verdict,
            reasons,
            passes: 1,
            achieved: report.load.rate,
            counts: [
                round.seen.datagrams,
                round.seen.datagrams,
                0,
                round.seen.answers,
            ],
            late: round.seen.late,
            dropped: round.lost,
            disturbance: round.disturbance.clone(),
            drift: Drift::default(),
            stages: vec![StageSaid::new("wire", WIRE, &round.wire)],
        });
    }
    let worst = report.trials.iter().map(|trial| trial.verdict).max();
    report.verdict = worst.unwrap_or(verdict::Verdict::Invalid);
    for (at, trial) in report.trials.iter().enumerate() {
        for reason in &trial.reasons {
            report.reasons.push(format!("trial {}: {reason}", at + 1));
        }
    }
    for floor in floors {
        let (verdict, reasons) = verdict::judge(&shown(floor));
        report.verdict = report.verdict.max(verdict);
        let reasons = reasons
            .into_iter()
            .map(|reason| format!("bare echo: {reason}"));
        report.reasons.extend(reasons);
    }
    report.load.log_backend = products
        .first()
        .map_or(String::new(), |r| r.log_backend.clone());
    let (wire, floor) = (
        &report.stages[0].quantiles_ns,
        &report.stages[2].quantiles_ns,
    );
    for (index, name) in [(0, "p50"), (2, "p99")] {
        if let (Some(wire), Some(floor)) = (wire[index], floor[index]) {
            report.remarks.push(format!(
                "{name}: {:.2} times the bare echo",
                wire as f64 / floor.max(1) as f64
            ));
        }
    }
}

fn shown(round: &Round) -> Shown {
    Shown {
        unmeasured: 0,
        packets: round.seen.datagrams,
        late: round.seen.late,
        late_ns_max: round.seen.late_ns_max,
        dropped: round.lost + round.seen.refused,
        floors_ns: Vec::new(),
        drift: Drift::default(),
        disturbance: round.disturbance.clone(),
        unequal: false,
    }
}

fn write(
    dir: &Path,
    products: &[Round],
    floors: &[Round],
    length: std::time::Duration,
) -> Result<(), String> {
    let series = [("wire", products), ("floor", floors)].map(|(tag, rounds)| Logged {
        tag,
        start: std::time::Duration::ZERO,
        each: length,
        histograms: rounds.iter().map(|round| &round.wire).collect(),
    });
    let wire = merged(products.iter().map(|round| &round.wire));
    let floor = merged(floors.iter().map(|round| &round.wire));
    write_histograms(dir, &series, &[("wire", &wire), ("floor", &floor)])
}
