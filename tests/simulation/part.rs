//! One part of a run, with one number of shards: their disks, their checkpoints, and the savepoint
//! that the part began with.

#![allow(unreachable_pub, missing_docs)]

use bus::checkpoint::{self, Checkpoint, Head};
use bus::disk::sim::Random;
use bus::disk::{Disk, Faults, Files, Folder, FolderFaults, SimDisk, SimFolder};
use bus::log::{LogConfig, LogReader, Record};
use bus::state::Versions;
use bus::{Kind, Signal, SignalKind};
use tapeline::config::{Config, Ratio, Span};
use tapeline::pipeline::core;
use tapeline::recovery::{Recovery, Share};

use crate::network::MIDNIGHT;

/// What went wrong, in words.
pub fn text(error: impl ToString) -> String {
    error.to_string()
}

pub fn config() -> Config {
    let mut config = Config::default();
    config.limits.symbols = 64;
    config.limits.orders = 1 << 16;
    config.limits.levels = 1 << 16;
    // Ready to trade at once and often, so that there are orders to lose, and some to refuse.
    config.regime.sample = Span(20_000_000);
    config.regime.warmup_samples = 2;
    config.momentum.lookback = Span(200_000_000);
    config.momentum.threshold = Ratio(50);
    config.momentum.sigmas = 0.0;
    config.momentum.imbalance = 0.1;
    config.momentum.cooldown = Span(50_000_000);
    config.risk.orders_per_second = 2;
    config
}

pub fn log_config(part: usize, shard: usize) -> LogConfig {
    LogConfig {
        dir: "simulated".into(),
        segment_bytes: 128 << 10,
        frame_bytes_max: 8 << 10,
        frames_in_flight_max: 3,
        frames_waiting_max: 3,
        spares: 2,
        commit_age_ns: 50_000,
        uuid: [(16 * part + shard) as u8; 16],
        build_hash: 0,
        config_hash: 0,
    }
}

/// See the module.
pub struct Part {
    number: usize,
    pub shards: usize,
    pub disks: Vec<SimDisk>,
    pub folders: Vec<SimFolder>,
    began: Option<Savepoint>,
}

/// States of all shards of a part, at one place of the input.
struct Savepoint {
    folder: SimFolder,
    /// The last event in it.
    cut: u64,
    /// From where on each log has more.
    cells: Vec<u64>,
    before: Box<Part>,
}

fn name(shard: usize) -> String {
    format!("shard-{shard}.state")
}

impl Part {
    /// The first part of a run.
    pub fn first(shards: usize, seed: u64, faults: Faults) -> Part {
        Part::empty(0, shards, seed, faults, None)
    }

    fn empty(
        number: usize,
        shards: usize,
        seed: u64,
        faults: Faults,
        began: Option<Savepoint>,
    ) -> Part {
        let geometry = |shard| log_config(number, shard).geometry();
        let disk = |shard| SimDisk::new(geometry(shard), seed ^ shard as u64, faults);
        let folder = |_| SimFolder::new(FolderFaults::default());
        Part {
            number,
            shards,
            disks: (0..shards).map(disk).collect(),
            folders: (0..shards).map(folder).collect(),
            began,
        }
    }

    pub fn log_config(&self, shard: usize) -> LogConfig {
        log_config(self.number, shard)
    }

    /// What a shard goes on from, apart from what its log has since: its newest checkpoint that
    /// knows no event after `seq_max`, or what the part began with.
    pub fn state(&self, shard: usize, seq_max: u64) -> Result<Recovery, String> {
        let share = Share {
            shard: shard as u32,
            shards: self.shards as u32,
        };
        let mut core = core(&config(), MIDNIGHT, None)?;
        // With as few symbols as here, ticks would else never go on beside later events.
        core.set_visits_at_tick(0);
        let mut state = Recovery::new(core, share);
        let folder = &self.folders[shard];
        for generation in checkpoint::generations(folder)
            .map_err(text)?
            .into_iter()
            .rev()
        {
            // A name stands for a whole file, whatever happened while it was written.
            let found = checkpoint::load(folder, generation).map_err(text)?;
            if found.head.last_seq <= seq_max {
                load(&found, &mut state)?;
                return Ok(state);
            }
        }
        let Some(began) = &self.began else {
            return Ok(state);
        };
        for before in 0..began.before.shards {
            let bytes = began.folder.read(&name(before)).map_err(text)?;
            let found = Checkpoint::parse(bytes, name(before).into()).map_err(text)?;
            load(&found, &mut state)?;
        }
        for (before, disk) in began.before.disks.iter().enumerate() {
            disk.quietly(|disk| {
                let records = LogReader::over_from(disk, began.cells[before]).map_err(text)?;
                let shard = before as u32;
                state.replay_beyond(shard, began.cut, records).map_err(text)
            })?;
        }
        state.begin_log();
        Ok(state)
    }

    /// The disk keeps what it has: all of it is read again, and now durable.
    fn settle(&mut self) -> Result<(), String> {
        for disk in &mut self.disks {
            for segment in disk.list().map_err(text)? {
                disk.settle(segment).map_err(text)?;
            }
        }
        Ok(())
    }

    /// The `seq` of the last event that a shard has, before the end of the input.
    fn last_seq(&self, shard: usize) -> Result<u64, String> {
        let state = self.state(shard, u64::MAX)?;
        let mut last = state.last_seq();
        let records = LogReader::over_from(&self.disks[shard], state.cell()).map_err(text)?;
        for item in records {
            if let (_, Record::Event(event)) = item.map_err(text)? {
                last = event.seq - u64::from(event.kind == Kind::End);
            }
        }
        Ok(last)
    }

    /// The process is dead. All its shards' states, at the latest place to which all came, become
    /// those of another number of shards.
    pub fn rescale(mut self, shards: usize, seed: u64, faults: Faults) -> Result<Part, String> {
        self.settle()?;
        let lasts = (0..self.shards).map(|shard| self.last_seq(shard));
        let lasts = lasts.collect::<Result<Vec<u64>, String>>()?;
        let cut = lasts.into_iter().min().unwrap_or(0);
        let mut folder = SimFolder::new(FolderFaults::default());
        let mut cells = Vec::new();
        for shard in 0..self.shards {
            let mut state = self.state(shard, cut)?;
            state.cut_at(cut);
            let records = LogReader::over_from(&self.disks[shard], state.cell()).map_err(text)?;
            state.replay(records).map_err(text)?;
            cells.push(state.cell());
            let head = self.head(shard, &state);
            let mut saved = Ok(());
            checkpoint::write(&mut folder, &name(shard), &head, |out| {
                saved = state.save(out)
            })
            .map_err(text)?;
            saved.map_err(text)?;
        }
        let number = self.number + 1;
        let began = Savepoint {
            folder,
            cut,
            cells,
            before: Box::new(self),
        };
        Ok(Part::empty(number, shards, seed, faults, Some(began)))
    }

    pub fn head(&self, shard: usize, state: &Recovery) -> Head {
        Head {
            uuid: self.log_config(shard).uuid,
            cell: state.cell(),
            last_seq: state.last_seq(),
            shard: shard as u32,
            shards: self.shards as u32,
            build_hash: 0,
            config_hash: 0,
            made_ns: 0,
            versions: Versions::NEWEST,
        }
    }

    /// The process died, and the machine too, or not. In the next life the `nth` operation on this
    /// shard's checkpoints fails.
    pub fn die(&mut self, is_power_cut: bool, random: &mut Random, faults: Faults) {
        for shard in 0..self.shards {
            let geometry = self.log_config(shard).geometry();
            let disk = &mut self.disks[shard];
            let old = std::mem::replace(disk, SimDisk::new(geometry, 0, faults));
            let folder = &mut self.folders[shard];
            let old_folder = std::mem::replace(folder, SimFolder::new(FolderFaults::default()));
            if is_power_cut {
                *disk = old.crash(random.next(), geometry, faults);
                *folder = old_folder.crash(random.next(), FolderFaults::default());
            } else {
                *disk = old.kill(random.next(), geometry, faults);
                *folder = old_folder.kill(FolderFaults::default());
            }
        }
    }

    /// The `nth` operation on a shard's checkpoints will fail.
    pub fn fail_checkpoint(&mut self, shard: usize, nth: u64) {
        let fail = Some((nth, 5));
        let folder = std::mem::replace(
            &mut self.folders[shard],
            SimFolder::new(FolderFaults::default()),
        );
        self.folders[shard] = folder.kill(FolderFaults {
            fail,
            ..FolderFaults::default()
        });
    }

    /// Calls `take` with every signal in the logs of all parts, and whether it counts: what an
    /// older part has beyond the place where the next one began is said again there.
    pub fn signals(&self, take: &mut dyn FnMut(&Signal, bool)) -> Result<(), String> {
        self.signals_below(u64::MAX, take)
    }

    fn signals_below(&self, cut: u64, take: &mut dyn FnMut(&Signal, bool)) -> Result<(), String> {
        if let Some(began) = &self.began {
            began.before.signals_below(began.cut, take)?;
        }
        for disk in &self.disks {
            disk.quietly(|disk| {
                for item in LogReader::over(disk).map_err(text)? {
                    if let (_, Record::Signal(signal)) = item.map_err(text)? {
                        take(
                            &signal,
                            signal.seq <= cut && signal.kind != SignalKind::Sent,
                        );
                    }
                }
                Ok::<(), String>(())
            })?;
        }
        Ok(())
    }

    /// Whether all logs of this part were ended in order.
    pub fn is_finished(&self) -> Result<bool, String> {
        for disk in &self.disks {
            let found = disk
                .quietly(|disk| bus::log::verify_files(disk))
                .map_err(text)?;
            if !found.finished {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Makes a checkpoint of a shard beside its life, from what its log has below `durable`.
pub fn checkpoint_of(
    mut state: Recovery,
    log: &SimDisk,
    durable: u64,
    head: &Head,
    folder: &mut SimFolder,
) -> Result<bool, String> {
    let from = state.cell();
    if from >= durable {
        return Ok(false);
    }
    log.quietly(|log| {
        let records = LogReader::over_from(log, from).map_err(text)?;
        state.replay_below(durable, records).map_err(text)
    })?;
    let head = Head {
        cell: state.cell(),
        last_seq: state.last_seq(),
        ..*head
    };
    let base = checkpoint::generations(folder)
        .map_err(text)?
        .last()
        .copied();
    let mut saved = Ok(());
    checkpoint::save(folder, base, &head, |out| saved = state.save(out)).map_err(text)?;
    saved.map_err(text)?;
    Ok(true)
}

fn load(from: &Checkpoint, into: &mut Recovery) -> Result<(), String> {
    let of = Share {
        shard: from.head.shard,
        shards: from.head.shards,
    };
    into.load(&mut from.state(), of, from.head.cell)
        .map_err(text)
}
