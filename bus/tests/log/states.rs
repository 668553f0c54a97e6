//! Crash states: for a writer that was cut off at any moment, what can be on the disk afterwards,
//! and whether the log makes of each what it must.
//!
//! What is not yet durable at a crash is a row of atoms: 512-byte sectors, names, removals. Where
//! there are few, every subset of them is tried. Where there are more, but of at most twelve
//! operations, every subset of whole operations, and every operation torn after each of its
//! sectors. Otherwise some are drawn. The oracle: what was acknowledged is there, what is there is
//! what was put in, in order, and the log goes on from it.
//!
//! `TAPELINE_STATES=1000000 cargo test --release -p bus --test log states -- --nocapture` is the
//! long run; `TAPELINE_STATES_FROM` is the seed to begin with. It prints what was tried.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use bus::disk::sim::{Fired, Kind, Random, Wreck};
use bus::disk::{Fault, Faults, Files, SimDisk};
use bus::log::{End, Log, LogConfig, LogError};

use crate::check::{append, read_all, sim, small};

/// Up to so many atoms, every subset.
const ATOMS_ALL: usize = 12;
/// Up to so many operations, every subset of them.
const OPERATIONS_ALL: usize = 12;
/// How many states are drawn of a moment.
const DRAWN: u64 = 24;

/// What was tried and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) states: u64,
    moments: u64,
    exhausted: u64,
    torn_ends: u64,
    resumed: u64,
    cut_while_resuming: u64,
    cut_twice: u64,
    rotten: u64,
    rotten_refused: u64,
    misread: u64,
    misread_refused: u64,
    fired: Fired,
    /// Of all that was found, to compare two runs bit by bit.
    digest: u64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.states += other.states;
        self.moments += other.moments;
        self.exhausted += other.exhausted;
        self.torn_ends += other.torn_ends;
        self.resumed += other.resumed;
        self.cut_while_resuming += other.cut_while_resuming;
        self.cut_twice += other.cut_twice;
        self.rotten += other.rotten;
        self.rotten_refused += other.rotten_refused;
        self.misread += other.misread;
        self.misread_refused += other.misread_refused;
        self.fired.add(&other.fired);
        self.digest ^= other.digest;
    }

    fn mix(&mut self, value: u64) {
        self.digest = Random(self.digest ^ value).next();
    }
}

/// A layout and timing of its own for each seed.
fn shape(random: &mut Random) -> (LogConfig, Faults) {
    let pages = 1 + random.below(3);
    let config = LogConfig {
        frame_bytes_max: pages as usize * 4096,
        segment_bytes: (pages + 2 + random.below(6)) * 4096,
        frames_in_flight_max: 1 + random.below(4) as usize,
        frames_waiting_max: 1 + random.below(3) as usize,
        commit_age_ns: random.below(6),
        ..small()
    };
    let faults = Faults {
        steps_max: 1 + random.below(8),
        stall_one_in: [0, 0, 7, 50][random.below(4) as usize],
        ..Faults::default()
    };
    (config, faults)
}

/// A writer's life as its owner saw it.
#[derive(Clone, Debug)]
struct Life {
    /// What it appended, at most.
    next: u64,
    /// What it was told to be durable, at least.
    durable: u64,
    /// Damage that nothing after it gives away can be taken for an end from here on.
    provable: u64,
}

/// Appends and turns at random for `steps`; now and then to the end and in order.
fn live(log: &mut Log<&mut SimDisk>, random: &mut Random, steps: u64) -> Life {
    let begun = log.durable_upto();
    let in_doubt_max = 4;
    let mut ends = VecDeque::from([begun; 5]);
    let busy = 1 + random.below(200);
    // Some live through long rests.
    let step_ns = [1, 60_000_000][random.below(2) as usize];
    let mut durable = begun;
    for now in (0..steps).map(|step| step * step_ns) {
        for _ in 0..random.below(busy) {
            if log.room_cells() < 2 {
                break;
            }
            append(log);
        }
        if random.one_in(40) {
            fail_later(log, random);
        }
        if log.turn(now, random.one_in(3)).is_err() {
            break;
        }
        assert!(log.durable_upto() >= durable && log.durable_upto() <= log.next_cell());
        durable = log.durable_upto();
        for commit in log.commits() {
            assert!(commit.end_cell <= durable, "durable before it was said");
            ends.push_back(commit.end_cell);
        }
        while ends.len() > in_doubt_max + 1 {
            ends.pop_front();
        }
    }
    if random.one_in(4) {
        if random.one_in(2) {
            fail_later(log, random);
        }
        if log.finish().is_ok() {
            durable = log.next_cell();
        }
        durable = durable.max(log.durable_upto());
    }
    Life {
        next: log.next_cell(),
        durable,
        provable: ends[0],
    }
}

/// One of the next operations fails, in one way or another.
fn fail_later(log: &Log<&mut SimDisk>, random: &mut Random) {
    let fault = [Fault::Io, Fault::Io, Fault::NoSpace, Fault::Short][random.below(4) as usize];
    log.disk().fail_later(1 + random.below(30), fault);
}

/// Every choice of atoms that is to be tried at this moment.
fn choices(wreck: &Wreck, random: &mut Random, tally: &mut Tally) -> Vec<Vec<bool>> {
    let (atoms, operations) = (wreck.atoms(), wreck.operations());
    if atoms <= ATOMS_ALL && random.one_in(3) {
        tally.exhausted += 1;
        let bits = |number: u32| {
            (0..atoms)
                .map(move |atom| number >> atom & 1 == 1)
                .collect()
        };
        return (0..1 << atoms).map(bits).collect();
    }
    let mut choices = Vec::new();
    // A thousand here, or the few moments with much under way would be all that is tried.
    if operations.len() <= OPERATIONS_ALL
        && random.one_in(if operations.len() <= 8 { 3 } else { 16 })
    {
        let whole = |number: u32| -> Vec<bool> {
            let each = operations.iter().enumerate();
            each.flat_map(|(index, &count)| std::iter::repeat_n(number >> index & 1 == 1, count))
                .collect()
        };
        choices.extend((0..1 << operations.len()).map(whole));
        let mut first = 0;
        for &count in &operations {
            for others in [false, true] {
                for front in 1..count {
                    let mut torn = vec![others; atoms];
                    torn[first..first + count].fill(false);
                    torn[first..first + front].fill(true);
                    choices.push(torn);
                }
            }
            first += count;
        }
    }
    choices.extend((0..DRAWN).map(|_| wreck.draw(random)));
    choices
}

/// What is found must lie between what was acknowledged and what was appended.
fn judge(life: &Life, files: impl Files, tally: &mut Tally) -> Result<u64, String> {
    let found = read_all(files).map_err(|error| format!("refused: {error}"))?;
    tally.states += 1;
    tally.torn_ends += u64::from(found.end != End::Clean);
    tally.mix(found.cells);
    if found.cells < life.durable || found.cells > life.next {
        return Err(format!(
            "{} cells were durable and {} appended, found {}",
            life.durable, life.next, found.cells
        ));
    }
    Ok(found.cells)
}

/// A new writer takes over and ends in order.
fn go_on(disk: &mut SimDisk, config: &LogConfig, cells: u64) -> Result<(), String> {
    let resumed = Log::resume(config.clone(), &mut *disk).map_err(|error| error.to_string())?;
    let (mut log, found) = resumed;
    if found.cells != cells || log.next_cell() != cells {
        return Err(format!(
            "{cells} cells were found, resumed at {}",
            log.next_cell()
        ));
    }
    append(&mut log);
    let next = log.next_cell();
    log.finish().map_err(|error| error.to_string())?;
    drop(log);
    let last = read_all(&*disk).map_err(|error| error.to_string())?;
    if (last.cells, last.finished) != (next, true) {
        return Err(format!("ended at {next} cells, found {}", last.cells));
    }
    Ok(())
}

/// The power fails at each operation of a new writer's start in turn, and again while the one
/// after that starts.
fn cut_while_resuming(
    (wreck, survives): (&Wreck, &[bool]),
    (life, config, faults): (&Life, &LogConfig, Faults),
    random: &mut Random,
    tally: &mut Tally,
) -> Result<(), String> {
    let seed = random.next();
    let mut cells = judge(life, wreck.image(survives), tally)?;
    for nth in 1.. {
        let fail = |nth| Faults {
            fail: Some((nth, Fault::Io)),
            ..faults
        };
        let mut disk = SimDisk::on(wreck, survives, seed, config.geometry(), fail(nth));
        let _ = Log::resume(config.clone(), &mut disk);
        let is_last = !disk.fault_fired();
        let is_again = random.one_in(2);
        let second = if is_again {
            fail(1 + random.below(20))
        } else {
            faults
        };
        let mut disk = disk.crash(random.next(), config.geometry(), second);
        tally.cut_while_resuming += 1;
        if is_again {
            let _ = Log::resume(config.clone(), &mut disk);
            disk = disk.crash(random.next(), config.geometry(), faults);
            tally.cut_twice += 1;
        }
        let found = judge(life, &disk, tally)?;
        // What one start read and then made durable, the next one has.
        if found != cells {
            return Err(format!(
                "{cells} cells were found, and {found} after a cut-off start"
            ));
        }
        cells = found;
        if is_last {
            go_on(&mut disk, config, cells)?;
            tally.fired.add(&disk.fired());
            return Ok(());
        }
        tally.fired.add(&disk.fired());
    }
    unreachable!("the loop ends when no operation is left")
}

/// One bit is wrong, on the disk or on its way from it. Whatever is made of that, nothing wrong
/// is read, and nothing is lost that anything on the disk gives away.
fn one_bit_wrong(
    (wreck, survives): (&Wreck, &[bool]),
    (life, config, faults): (&Life, &LogConfig, Faults),
    random: &mut Random,
    tally: &mut Tally,
) -> Result<(), String> {
    let mut disk = SimDisk::on(wreck, survives, random.next(), config.geometry(), faults);
    let is_rot = random.one_in(2);
    if is_rot {
        disk.rot(random);
        tally.rotten += 1;
    } else {
        disk = disk.with_faults(Faults {
            fail: Some((1 + random.below(12), Fault::Flip)),
            ..faults
        });
        tally.misread += 1;
    }
    let read = read_all(&disk);
    tally.states += 1;
    tally.fired.add(&disk.fired());
    match read {
        // `read_all` compared every record with what was put there.
        Ok(found) if found.cells >= life.provable && found.cells <= life.next => {
            tally.mix(found.cells);
            Ok(())
        }
        Ok(found) => Err(format!(
            "one bit wrong: {} of {} cells, and no word of it",
            found.cells, life.provable
        )),
        Err(LogError::Corrupt(_) | LogError::Version { .. }) => {
            tally.mix(u64::MAX);
            tally.rotten_refused += u64::from(is_rot);
            tally.misread_refused += u64::from(!is_rot);
            Ok(())
        }
        Err(error) => Err(format!("one bit wrong: {error}")),
    }
}

/// All the states of one seed's history: some writers after each other, the last one cut off.
fn history(seed: u64) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut random = Random(seed);
    let (config, faults) = shape(&mut random);
    let mut disk = sim(&config, random.next(), faults);
    let mut begun = 0;
    for _ in 0..random.below(3) {
        let resumed = Log::resume(config.clone(), &mut disk).map_err(|error| error.to_string())?;
        let (mut log, _) = resumed;
        if log.next_cell() < begun {
            return Err(format!(
                "{begun} cells were durable, resumed at {}",
                log.next_cell()
            ));
        }
        let steps = random.below(25);
        begun = live(&mut log, &mut random, steps).durable;
        drop(log);
        // A killed process leaves what only the page cache has; a power cut what luck leaves.
        disk = if random.one_in(2) {
            disk.kill(random.next(), config.geometry(), faults)
        } else {
            disk.crash(random.next(), config.geometry(), faults)
        };
    }
    // The last of them dies at some step: before it began, soon, or later.
    let life = if random.one_in(8) {
        let before = read_all(&disk).map_err(|error| error.to_string())?.cells;
        disk = disk.with_faults(Faults {
            fail: Some((1 + random.below(30), Fault::Io)),
            ..faults
        });
        let _ = Log::resume(config.clone(), &mut disk);
        Life {
            next: before.max(begun),
            durable: begun,
            provable: 0,
        }
    } else {
        let resumed = Log::resume(config.clone(), &mut disk).map_err(|error| error.to_string())?;
        let (mut log, _) = resumed;
        if log.next_cell() < begun {
            return Err(format!(
                "{begun} cells were durable, resumed at {}",
                log.next_cell()
            ));
        }
        let steps = random.below(30);
        live(&mut log, &mut random, steps)
    };
    tally.fired.add(&disk.fired());
    let wreck = disk.wreck();
    tally.moments += 1;
    let choices = choices(&wreck, &mut random, &mut tally);
    let deep = random.below(choices.len() as u64) as usize;
    for (index, survives) in choices.iter().enumerate() {
        wreck.count(survives, &mut tally.fired);
        let say = |what| format!("state {index} of {}: {what}", choices.len());
        let cells = judge(&life, wreck.image(survives), &mut tally).map_err(say)?;
        if index == deep {
            let state = (&wreck, survives.as_slice());
            let about = (&life, &config, faults);
            cut_while_resuming(state, about, &mut random, &mut tally).map_err(say)?;
            for _ in 0..8 {
                one_bit_wrong(state, about, &mut random, &mut tally).map_err(say)?;
            }
        }
        if index % 16 == deep % 16 {
            let seed = random.next();
            let mut disk = SimDisk::on(&wreck, survives, seed, config.geometry(), faults);
            go_on(&mut disk, &config, cells).map_err(say)?;
            tally.resumed += 1;
            tally.fired.add(&disk.fired());
        }
    }
    Ok(tally)
}

/// [`history`], with a panic taken for what it is: a violation.
pub(crate) fn check(seed: u64) -> Result<Tally, String> {
    let result = catch_unwind(AssertUnwindSafe(|| history(seed)));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        Err(text.unwrap_or("a panic").to_owned())
    });
    result.map_err(|what| format!("seed {seed}: {what}"))
}

/// Histories with seeds from `from` on, `step` apart, until there are `states`.
fn check_many(from: u64, step: u64, states: u64) -> Tally {
    let mut tally = Tally::default();
    let mut seed = from;
    while tally.states < states {
        tally.add(&check(seed).unwrap_or_else(|what| panic!("{what}")));
        seed += step;
    }
    tally
}

fn from_environment(name: &str, usual: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(usual, |text| text.parse().expect("a whole number"))
}

#[test]
fn every_crash_state_is_recovered_from() {
    let states = from_environment("TAPELINE_STATES", 20_000);
    let from = from_environment("TAPELINE_STATES_FROM", 0);
    let started = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let each = (0..threads).map(|index| {
            scope.spawn(move || check_many(from + index, threads, states.div_ceil(threads)))
        });
        for one in each.collect::<Vec<_>>() {
            match one.join() {
                Ok(part) => tally.add(&part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    let Tally {
        moments,
        exhausted,
        torn_ends,
        resumed,
        ..
    } = tally;
    println!(
        "{} crash states of {moments} moments without a violation, in {:.1} s on {threads} threads",
        tally.states,
        started.elapsed().as_secs_f64()
    );
    println!("  every subset of atoms at {exhausted} moments, {torn_ends} torn ends");
    println!(
        "  {resumed} resumed and ended, {} cut while resuming, {} of them twice",
        tally.cut_while_resuming, tally.cut_twice
    );
    println!(
        "  one bit wrong on the disk {} times ({} refused), on the way from it {} ({} refused)",
        tally.rotten, tally.rotten_refused, tally.misread, tally.misread_refused
    );
    println!(
        "  digest {:016x}, seeds from {from}; what happened:",
        tally.digest
    );
    print!("{}", tally.fired);
    assert!(tally.torn_ends > states / 20, "{torn_ends} torn ends");
    let missing: Vec<Kind> = tally.fired.missing().collect();
    assert!(
        states < 20_000 || missing.is_empty(),
        "never happened: {missing:?}"
    );
}

#[test]
fn a_seed_says_everything() {
    for seed in 0..20 {
        assert_eq!(check(seed), check(seed), "seed {seed}");
    }
}
