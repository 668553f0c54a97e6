//! From where a run goes on: checkpoints of its shards, savepoints of all of it, and its logs.
//!
//! A checkpoint is one shard's, for the next start of the same run. A savepoint is the whole
//! run's, cut at one place of the input: any number of shards, a later program, or another run
//! directory can go on from it. Both are made from the logs alone, by replay, so that a running
//! shard is not stopped for either.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bus::checkpoint::{self, Checkpoint, Head};
use bus::disk::{Backend, Disk, Files, Folder, RealDisk, RealFolder};
use bus::log::{LogConfig, LogError, LogReader, Record};
use bus::state::Versions;
use bus::{Kind, Ts};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::core::Core;
use crate::pipeline;
use crate::recovery::{Recovery, Share};
use crate::run_dir::{self, Manifest, Part, RunDir};
use crate::shard::ShardError;

/// The format of a savepoint's description.
pub const SCHEMA: &str = "tapeline-savepoint/1";

/// A savepoint, as it describes itself in `savepoint.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Savepoint {
    /// [`SCHEMA`].
    pub schema: String,
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The program that made it.
    pub version: String,
    /// Which part of the run it is of.
    pub part: usize,
    /// How many shards that part has.
    pub shards: usize,
    /// For each of them, the `seq` of the last event in the state.
    pub cut: Vec<u64>,
    /// For each of them, the log's cell from which on it goes on.
    pub cells: Vec<u64>,
    /// The layouts in it, in the order of [`bus::state::Part::ALL`].
    pub layouts: Vec<u16>,
    /// How many bytes its states take.
    pub bytes: u64,
}

/// What is the same for all shards of a part that is to go on.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The run.
    pub dir: &'a RunDir,
    /// All its parts.
    pub parts: &'a [Part],
    /// Its settings.
    pub config: &'a Config,
    /// The trading day's first moment.
    pub midnight: Ts,
    /// Conclude nothing before.
    pub from: Option<Ts>,
}

/// A shard's state before its log is replayed.
#[derive(Debug)]
pub struct Start {
    /// The state.
    pub recovery: Recovery,
    /// The checkpoint it is from.
    pub generation: Option<u64>,
    /// The log that the checkpoint is of.
    pub uuid: Option<[u8; 16]>,
    /// Checkpoints that could not be used, and why.
    pub remarks: Vec<String>,
}

impl Origin<'_> {
    /// The last part.
    pub fn part(&self) -> usize {
        self.parts.len() - 1
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        self.parts[self.part()].shards
    }

    /// What a state must have been made with.
    pub fn config_hash(&self) -> u64 {
        let from = self.from.map_or(i64::MIN, |from| from.0);
        let midnight = self.midnight.0;
        pipeline::hash_of(&format!("{} {from} {midnight}", self.config.decisive()))
    }

    /// The state of a shard of the last part as its newest good checkpoint has it that knows no
    /// event after `seq_max`; without one, as the part began.
    pub fn start(&self, shard: usize, seq_max: u64) -> Result<Start, ShardError> {
        let mut remarks = Vec::new();
        let folder = self.dir.checkpoints_dir(self.part(), shard);
        if folder.is_dir() {
            let folder = RealFolder::open(&folder).map_err(LogError::from)?;
            let generations = checkpoint::generations(&folder).map_err(LogError::from)?;
            for generation in generations.into_iter().rev() {
                let found = match checkpoint::load(&folder, generation) {
                    Ok(found) => found,
                    Err(error) => {
                        remarks.push(format!("{error}; the one before it is used"));
                        continue;
                    }
                };
                if found.head.last_seq > seq_max {
                    continue;
                }
                let mut recovery = self.fresh(shard)?;
                self.load(&found, &mut recovery)?;
                return Ok(Start {
                    recovery,
                    generation: Some(generation),
                    uuid: Some(found.head.uuid),
                    remarks,
                });
            }
        }
        Ok(Start {
            recovery: self.begin(shard)?,
            generation: None,
            uuid: None,
            remarks,
        })
    }

    fn fresh(&self, shard: usize) -> Result<Recovery, ShardError> {
        let share = Share {
            shard: shard as u32,
            shards: self.shards() as u32,
        };
        let core = pipeline::core(self.config, self.midnight, self.from);
        Ok(Recovery::new(core.map_err(ShardError::Setup)?, share))
    }

    fn load(&self, from: &Checkpoint, into: &mut Recovery) -> Result<(), ShardError> {
        if from.head.config_hash != self.config_hash() {
            return Err(ShardError::Setup(format!(
                "{}: made with other settings of books, windows, monitors, strategy, risk or time; \
                 go on with those that the run began with",
                from.path.display()
            )));
        }
        let of = Share {
            shard: from.head.shard,
            shards: from.head.shards,
        };
        into.load(&mut from.state(), of, from.head.cell)
            .map_err(|error| ShardError::Setup(format!("{}: {error}", from.path.display())))
    }

    /// What a shard's core knows when the last part begins.
    pub fn begin_core(&self, shard: usize) -> Result<Core, ShardError> {
        self.begin(shard)?.into_core()
    }

    /// The state with which the last part begins.
    fn begin(&self, shard: usize) -> Result<Recovery, ShardError> {
        let mut recovery = self.fresh(shard)?;
        let part = &self.parts[self.part()];
        let Some(name) = &part.savepoint else {
            return Ok(recovery);
        };
        let savepoint = Savepoint::open(self.dir, name).map_err(ShardError::Setup)?;
        let folder = RealFolder::open(&savepoint.dir(self.dir)).map_err(LogError::from)?;
        for before in 0..savepoint.shards {
            let found = Checkpoint::parse(
                folder.read(&state_name(before)).map_err(LogError::from)?,
                folder.dir().join(state_name(before)),
            );
            let found = found.map_err(|error| ShardError::Setup(error.to_string()))?;
            self.load(&found, &mut recovery)?;
        }
        // Orders that were decided beyond the cut are not to leave again.
        for (before, cut) in savepoint.cut.iter().enumerate() {
            let log = self.dir.log_dir(savepoint.part, before);
            let records = LogReader::open_from(&log, savepoint.cells[before])?;
            recovery.replay_beyond(before as u32, *cut, records)?;
        }
        recovery.begin_log();
        Ok(recovery)
    }

    fn head(&self, shard: usize, uuid: [u8; 16], recovery: &Recovery) -> Head {
        Head {
            uuid,
            cell: recovery.cell(),
            last_seq: recovery.last_seq(),
            shard: shard as u32,
            shards: self.shards() as u32,
            build_hash: pipeline::hash_of(env!("CARGO_PKG_VERSION")),
            config_hash: self.config_hash(),
            made_ns: jiff::Timestamp::now().as_nanosecond() as i64,
            versions: Versions::NEWEST,
        }
    }

    /// Makes a checkpoint of a shard that may be running, from what its log has below `durable`.
    /// `None` if the newest one has all of that. `uuid` is the log's name.
    pub fn checkpoint(
        &self,
        shard: usize,
        uuid: [u8; 16],
        durable: u64,
    ) -> Result<Option<Made>, ShardError> {
        let mut start = self.start(shard, u64::MAX)?;
        let base_cell = start.recovery.cell();
        if base_cell >= durable {
            return Ok(None);
        }
        let log = self.dir.log_dir(self.part(), shard);
        let records = LogReader::open_from(&log, base_cell)?;
        start.recovery.replay_below(durable, records)?;
        let folder = self.dir.checkpoints_dir(self.part(), shard);
        let mut folder = RealFolder::open(&folder).map_err(LogError::from)?;
        let head = self.head(shard, uuid, &start.recovery);
        let mut saved = Ok(());
        let (generation, bytes) = checkpoint::save(&mut folder, start.generation, &head, |out| {
            saved = start.recovery.save(out);
        })
        .map_err(LogError::from)?;
        saved?;
        Ok(Some(Made {
            generation,
            bytes,
            cell: head.cell,
            base_cell,
            remarks: start.remarks,
        }))
    }
}

/// Makes a checkpoint of each shard of a live run that was just stopped, with all that it took in
/// before the end of its input, which is taken back where the run goes on: little is replayed then.
pub fn checkpoint_all(origin: &Origin<'_>) -> Result<(), ShardError> {
    for shard in 0..origin.shards() {
        let disk = settled(&origin.dir.log_dir(origin.part(), shard), origin.config)?;
        let mut start = origin.start(shard, u64::MAX)?;
        let mut log = LogReader::over_from(&disk, start.recovery.cell())?;
        let mut end = None;
        for item in &mut log {
            let (cell, record) = item?;
            if matches!(record, Record::Event(event) if event.kind == Kind::End) {
                end = Some(cell);
            }
        }
        let Some(end) = end.filter(|end| *end > start.recovery.cell()) else {
            continue;
        };
        let uuid = log.recovered().uuid;
        let records = LogReader::over_from(&disk, start.recovery.cell())?;
        start.recovery.replay_below(end, records)?;
        let head = origin.head(shard, uuid, &start.recovery);
        let folder = origin.dir.checkpoints_dir(origin.part(), shard);
        let mut folder = RealFolder::open(&folder).map_err(LogError::from)?;
        let mut saved = Ok(());
        checkpoint::save(&mut folder, start.generation, &head, |out| {
            saved = start.recovery.save(out);
        })
        .map_err(LogError::from)?;
        saved?;
    }
    Ok(())
}

/// A checkpoint that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its generation.
    pub generation: u64,
    /// Its length.
    pub bytes: u64,
    /// The log's cells below this are in it.
    pub cell: u64,
    /// Those below this are in the one before it, which is kept.
    pub base_cell: u64,
    /// What was wrong with older ones.
    pub remarks: Vec<String>,
}

/// Puts a shard's checkpoints aside that know more than its log will, once it is cut at a cell.
pub fn forget_beyond(run: &RunDir, part: usize, shard: usize, cell: u64) -> Result<(), LogError> {
    let dir = run.checkpoints_dir(part, shard);
    if !dir.is_dir() {
        return Ok(());
    }
    let mut folder = RealFolder::open(&dir)?;
    for generation in checkpoint::generations(&folder)? {
        let knows_more = match checkpoint::load(&folder, generation) {
            Ok(found) => found.head.cell > cell,
            Err(_) => true,
        };
        if knows_more {
            let name = checkpoint::name_of(generation);
            folder.rename(&name, &format!("{name}.cut"))?;
        }
    }
    Ok(folder.sync_names()?)
}

fn state_name(shard: usize) -> String {
    format!("shard-{shard}.state")
}

/// The log of a run that is not running: locked, so that nobody writes it, and durable.
fn settled(dir: &Path, config: &Config) -> Result<RealDisk, ShardError> {
    if !dir.is_dir() {
        let what = format!("{}: the run has no log yet", dir.display());
        return Err(ShardError::Setup(what));
    }
    let log_config = LogConfig {
        dir: dir.to_path_buf(),
        segment_bytes: config.log.segment.0,
        frame_bytes_max: config.log.frame.0 as usize,
        frames_in_flight_max: LogConfig::FRAMES_IN_FLIGHT_MAX,
        frames_waiting_max: LogConfig::FRAMES_WAITING_MAX,
        spares: 2,
        commit_age_ns: LogConfig::COMMIT_AGE_NS,
        uuid: [0; 16],
        build_hash: 0,
        config_hash: 0,
    };
    let mut disk = log_config.open_disk(Backend::Plain)?;
    for segment in disk.list().map_err(LogError::from)? {
        disk.settle(segment).map_err(LogError::from)?;
    }
    Ok(disk)
}

/// The `seq` of the last event before the input's end, and whether that was logged.
fn last_seq(start: &Start, log: &impl Files) -> Result<(u64, bool), LogError> {
    let mut last = (start.recovery.last_seq(), false);
    for item in LogReader::over_from(log, start.recovery.cell())? {
        if let (_, Record::Event(event)) = item? {
            let is_end = event.kind == Kind::End;
            last = (event.seq - u64::from(is_end), is_end);
        }
    }
    Ok(last)
}

/// Whether a shard of a run that is not running has seen the end of its input.
pub fn is_ended(origin: &Origin<'_>) -> Result<bool, ShardError> {
    for shard in 0..origin.shards() {
        let dir = origin.dir.log_dir(origin.part(), shard);
        if dir.is_dir() {
            let disk = settled(&dir, origin.config)?;
            let start = origin.start(shard, u64::MAX)?;
            if last_seq(&start, &disk)?.1 || start.recovery.core().is_ended() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

impl Savepoint {
    /// Where it lies.
    pub fn dir(&self, run: &RunDir) -> PathBuf {
        run.savepoints_dir().join(&self.name)
    }

    /// Makes one of a run that is not running, at the latest place of the input to which all its
    /// shards came. Where the input is past, and cannot be read again, each shard keeps all it has.
    pub fn create(
        origin: &Origin<'_>,
        name: &str,
        is_past: bool,
        versions: Versions,
    ) -> Result<Savepoint, ShardError> {
        check_name(name).map_err(ShardError::Setup)?;
        let setup = ShardError::Setup;
        let part = origin.part();
        let shards = origin.shards();
        let mut disks = Vec::new();
        let mut cut = Vec::new();
        for shard in 0..shards {
            let disk = settled(&origin.dir.log_dir(part, shard), origin.config)?;
            let start = origin.start(shard, u64::MAX)?;
            cut.push(last_seq(&start, &disk)?.0);
            disks.push(disk);
        }
        if !is_past {
            let least = cut.iter().copied().min().unwrap_or(0);
            cut.fill(least);
        }
        let dir = origin.dir.savepoints_dir().join(name);
        if dir.join(FILE).exists() {
            return Err(setup(format!("{}: there already is one", dir.display())));
        }
        let mut folder = RealFolder::open(&dir).map_err(LogError::from)?;
        let (mut cells, mut bytes) = (Vec::new(), 0);
        for (shard, disk) in disks.iter().enumerate() {
            let mut start = origin.start(shard, cut[shard])?;
            start.recovery.cut_at(cut[shard]);
            let mut log = LogReader::over_from(disk, start.recovery.cell())?;
            start.recovery.replay(&mut log)?;
            cells.push(start.recovery.cell());
            let uuid = log.recovered().uuid;
            let mut head = origin.head(shard, uuid, &start.recovery);
            head.versions = versions;
            let mut saved = Ok(());
            bytes += checkpoint::write(&mut folder, &state_name(shard), &head, |out| {
                saved = start.recovery.save(out);
            })
            .map_err(LogError::from)?;
            saved?;
        }
        let savepoint = Savepoint {
            schema: SCHEMA.into(),
            name: name.into(),
            created: jiff::Timestamp::now().to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            part,
            shards,
            cut,
            cells,
            layouts: versions.numbers().to_vec(),
            bytes,
        };
        let text = serde_json::to_string_pretty(&savepoint).expect("always JSON");
        run_dir::write_whole(&dir, FILE, format!("{text}\n").as_bytes()).map_err(setup)?;
        Ok(savepoint)
    }

    /// One that is there, by its name.
    pub fn open(run: &RunDir, name: &str) -> Result<Savepoint, String> {
        check_name(name)?;
        let path = run.savepoints_dir().join(name).join(FILE);
        let text = fs::read_to_string(&path)
            .map_err(|e| format!("{}: no such savepoint: {e}", path.display()))?;
        let savepoint: Savepoint = serde_json::from_str(&text)
            .map_err(|e| format!("{}, line {}: {e}", path.display(), e.line()))?;
        let is_whole = savepoint.cut.len() == savepoint.shards
            && savepoint.cells.len() == savepoint.shards
            && savepoint.name == name;
        if savepoint.schema != SCHEMA || !is_whole {
            let found = &savepoint.schema;
            return Err(format!(
                "{}: schema `{found}`, want `{SCHEMA}`",
                path.display()
            ));
        }
        Ok(savepoint)
    }

    /// Reads all its states through, and finds the first that is not what was written.
    pub fn check(&self, run: &RunDir) -> Result<(), String> {
        let folder = RealFolder::open(&self.dir(run)).map_err(|e| e.to_string())?;
        for shard in 0..self.shards {
            let name = state_name(shard);
            let bytes = folder.read(&name).map_err(|e| e.to_string())?;
            Checkpoint::parse(bytes, folder.dir().join(name)).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// All of a run's, by name.
    pub fn list(run: &RunDir) -> Result<Vec<Savepoint>, String> {
        let dir = run.savepoints_dir();
        let mut found = Vec::new();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(e) => return Err(format!("{}: {e}", dir.display())),
        };
        for entry in entries {
            let entry = entry.map_err(|e| format!("{}: {e}", dir.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // One that is being made, or whose making was cut off, has no description yet.
            if entry.path().join(FILE).exists() {
                found.push(Savepoint::open(run, &name)?);
            }
        }
        found.sort_by(|a, b| a.created.cmp(&b.created));
        Ok(found)
    }

    /// The part that goes on from it with so many shards.
    pub fn part(&self, shards: usize) -> Part {
        Part {
            shards,
            cut: self.cut.clone(),
            savepoint: Some(self.name.clone()),
        }
    }
}

const FILE: &str = "savepoint.json";

/// The name of the savepoint from which a part of a run begins. Nobody else may have it: one that a
/// crash left of an earlier attempt is thrown away.
pub fn name_of_part(part: usize) -> String {
    format!("part-{part}")
}

/// A name that a person may give.
pub fn check_free_name(name: &str) -> Result<(), String> {
    check_name(name)?;
    match name.strip_prefix("part-") {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => Err(format!(
            "savepoint `{name}`: names like `part-1` are those of the program itself"
        )),
        _ => Ok(()),
    }
}

/// Names are part of paths.
fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match (1..=64).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('.') {
        true => Ok(()),
        false => Err(format!(
            "savepoint `{name}`: want 1 to 64 letters, digits, `.`, `_` and `-`, and no `.` first"
        )),
    }
}

/// Makes a new run that goes on from a savepoint of `run` with so many shards: its own copy of
/// all that led there.
pub fn restore(
    run: &RunDir,
    manifest: &Manifest,
    savepoint: &Savepoint,
    to: &Path,
    shards: usize,
) -> Result<RunDir, String> {
    let new = RunDir::create(to)?;
    let fail = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let config = run.config_path();
    let text = fs::read(&config).map_err(|e| fail(&config, e))?;
    new.write_private("config.toml", &text)?;
    // Who may read the settings may read their copy.
    let mode = fs::metadata(&config).map_err(|e| fail(&config, e))?;
    let copy = new.config_path();
    fs::set_permissions(&copy, mode.permissions()).map_err(|e| fail(&copy, e))?;
    let reference = run.reference_path();
    if reference.exists() {
        let text = fs::read(&reference).map_err(|e| fail(&reference, e))?;
        new.write_whole("reference.csv", &text)?;
    }
    // What was stopped stays so, and what was limited.
    for (name, path) in [("latch", run.latch_path()), ("limits", run.limits_path())] {
        match fs::read(&path) {
            Ok(bytes) => new.write_whole(name, &bytes)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(fail(&path, e)),
        }
    }
    let mut parts = manifest.parts[..=savepoint.part].to_vec();
    for (part, Part { shards, .. }) in parts.iter().enumerate() {
        for shard in 0..*shards {
            copy_files(&run.log_dir(part, shard), &new.log_dir(part, shard), "LOCK")?;
        }
    }
    let orders = run.orders_path(0);
    if let Some(folder) = orders.parent().filter(|folder| folder.is_dir()) {
        let into = new.orders_path(0);
        copy_files(folder, into.parent().expect("it is in the run"), "")?;
    }
    let names = parts.iter().filter_map(|part| part.savepoint.as_ref());
    for name in names.chain([&savepoint.name]) {
        let from = run.savepoints_dir().join(name);
        copy_files(&from, &new.savepoints_dir().join(name), "")?;
    }
    parts.push(savepoint.part(shards));
    let manifest = Manifest {
        parts,
        state: run_dir::State::Stopped,
        // Those say how far the run came, and this one begins before.
        sessions: BTreeMap::new(),
        ..manifest.clone()
    };
    // Until the manifest is there, it is no run.
    new.write_manifest(&manifest)?;
    Ok(new)
}

/// Copies the files of a folder but one, durably. Not links: a run owns its files.
fn copy_files(from: &Path, to: &Path, but: &str) -> Result<(), String> {
    let fail = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    fs::create_dir_all(to).map_err(|e| fail(to, e))?;
    for entry in fs::read_dir(from).map_err(|e| fail(from, e))? {
        let entry = entry.map_err(|e| fail(from, e))?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_file = entry.file_type().map_err(|e| fail(&path, e))?.is_file();
        if !is_file || name == but {
            continue;
        }
        let target = to.join(&name);
        fs::copy(&path, &target).map_err(|e| fail(&path, e))?;
        let file = fs::File::open(&target).map_err(|e| fail(&target, e))?;
        file.sync_all().map_err(|e| fail(&target, e))?;
    }
    let folder = fs::File::open(to).map_err(|e| fail(to, e))?;
    folder.sync_all().map_err(|e| fail(to, e))
}
