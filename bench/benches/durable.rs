//! How much of what the device gives does the log keep, when everything is made durable?
//!
//! Four sides in turns, in one run, through the same backend (`io_uring`: a write and a linked
//! `fdatasync` for each block, as many under way at once as the log has frames in flight):
//!
//! - `device`: blocks as long as the log's longest frame, from buffers filled once, into segment
//!   files one after the other. No copying, no checksums, no headers, no seals.
//! - `log`: events are appended as a shard would, and all of them are durable at the end. Counted
//!   are the events' bytes only: headers, padding and seals are the log's own cost, and so is all
//!   that it waits for.
//!
//! each of them `ready`, with the files full of zeros before the clock starts, and `sustained`,
//! with each file made while the one before it is written: there every byte goes to the device
//! twice, and no program that writes its zeros can come near the first `device`.
//!
//! Frames are full: they would only go early for their age or for an order, which is a question of
//! latency. `TAPELINE_BENCH_DIR` says where, if not in the system's temporary directory;
//! `TAPELINE_BENCH_GIB` how much each side writes for each frame size, if not 4.
//!
//! `TAPELINE_BENCH_WAITING` says how many full frames may wait for the device, if not as many as a
//! run allows. All of them are full here, always, and go round: the device then reads each from
//! memory, where the blocks of `device` lie in a cache. With one waiting the log's do, too.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bench::is_measuring;
use bus::disk::{Backend, Disk, DiskError, Done, Files, RealDisk, Slot};
use bus::log::{Log, LogConfig};
use bus::{Event, Kind, Price, Qty};

/// Turns of each side for each frame size.
const ROUNDS: u64 = 8;
/// Long enough that a frame is full first.
const COMMIT_AGE_NS: u64 = 1_000_000_000;

fn main() {
    let gib: f64 = std::env::var("TAPELINE_BENCH_GIB")
        .map_or(4.0, |text| text.parse().expect("a number of GiB"));
    let waiting: usize = std::env::var("TAPELINE_BENCH_WAITING")
        .map_or(LogConfig::FRAMES_WAITING_MAX, |text| {
            text.parse().expect("a number of frames")
        });
    let parent = std::env::var_os("TAPELINE_BENCH_DIR")
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("tapeline-bench-durable-{}", std::process::id()));
    let (frames_kib, total_bytes, segment_bytes): (&[usize], u64, u64) = if is_measuring() {
        let bytes = (gib * (1u64 << 30) as f64) as u64;
        (&[64, 256, 1024], bytes, LogConfig::SEGMENT_BYTES)
    } else {
        (&[16], 4 << 20, 256 << 10)
    };
    for &frame_kib in frames_kib {
        let config = LogConfig {
            dir: PathBuf::new(),
            segment_bytes,
            frame_bytes_max: frame_kib << 10,
            frames_in_flight_max: LogConfig::FRAMES_IN_FLIGHT_MAX,
            frames_waiting_max: waiting,
            spares: 2,
            commit_age_ns: COMMIT_AGE_NS,
            uuid: [1; 16],
            build_hash: 0,
            config_hash: 0,
        };
        compare(&parent, &config, total_bytes / ROUNDS);
        // Only now: a file system may be busy for a while with files that were deleted.
        std::fs::remove_dir_all(&parent).expect("our own directory");
    }
}

/// What one side did in all its turns.
#[derive(Default)]
struct Side {
    took: Duration,
    rounds: Vec<Duration>,
}

impl Side {
    fn add(&mut self, took: Duration) {
        self.took += took;
        self.rounds.push(took);
    }

    fn rate(&self, bytes: u64) -> f64 {
        bytes as f64 / self.took.as_secs_f64() / 1e9
    }

    /// How many percent of `device` this is: in the middle one of the turns, the least and the most.
    fn share(&self, device: &Side) -> String {
        let each = device.rounds.iter().zip(&self.rounds);
        let mut percents: Vec<f64> = each
            .map(|(device, own)| device.as_secs_f64() / own.as_secs_f64() * 100.0)
            .collect();
        percents.sort_by(f64::total_cmp);
        format!(
            "{:.0} % ({:.0} to {:.0})",
            (percents[percents.len() / 2 - 1] + percents[percents.len() / 2]) / 2.0,
            percents[0],
            percents[percents.len() - 1],
        )
    }
}

/// All sides in turns, so that a minute in which the machine is slow is slow for each.
fn compare(parent: &Path, config: &LogConfig, round_bytes: u64) {
    let mut sides: [Side; 4] = Default::default();
    let mut checksum = 0;
    let mut backend = String::new();
    for round in 0..ROUNDS {
        for (index, side) in sides.iter_mut().enumerate() {
            let is_log = index % 2 == 1;
            let config = LogConfig {
                dir: parent.join(format!("{round}-{index}")),
                ..config.clone()
            };
            // One more than the bytes fill: frames have headers, and the log is a segment ahead.
            let ready = match index < 2 {
                true => round_bytes.div_ceil(config.segment_bytes) + 3,
                false => 0,
            };
            let disk = Stocked::open(&config, ready);
            backend = disk.describe();
            side.add(if is_log {
                let (took, cells) = append_events(&config, disk, round_bytes);
                checksum = bench::fold(checksum, cells);
                took
            } else {
                write_blocks(&config, disk, round_bytes)
            });
        }
    }
    let bytes = round_bytes * ROUNDS;
    let [device, log, device_sustained, log_sustained] = &sides;
    println!(
        "durable: frames of {} KiB, {} in flight, {} waiting, {:.1} GB a side; checksum {checksum:016x}; {backend}",
        config.frame_bytes_max >> 10,
        config.frames_in_flight_max,
        config.frames_waiting_max,
        bytes as f64 / 1e9,
    );
    for (name, device, log) in [
        ("ready", device, log),
        ("sustained", device_sustained, log_sustained),
    ] {
        println!(
            "durable:   {name:9} device {:.3} GB/s, log {:.3} GB/s: {}",
            device.rate(bytes),
            log.rate(bytes),
            log.share(device),
        );
    }
}

/// Whole blocks, each made durable.
fn write_blocks(config: &LogConfig, mut disk: Stocked, bytes: u64) -> Duration {
    let (block, each) = (
        config.frame_bytes_max,
        config.segment_bytes / config.frame_bytes_max as u64,
    );
    let blocks = bytes.div_ceil(block as u64);
    let segments = blocks.div_ceil(each);
    let mut slots = disk.take_slots();
    slots.truncate(config.frames_in_flight_max);
    for (index, slot) in slots.iter_mut().enumerate() {
        for (at, byte) in slot.bytes_mut().iter_mut().enumerate() {
            *byte = (at * 31 + at / 251 + index) as u8;
        }
    }
    // The first is there when the clock starts, as the log's is.
    let (mut asked, mut made) = (0, 0);
    while made == 0 {
        if asked == 0 {
            disk.prepare(0);
            asked = 1;
        }
        take_in(disk.wait(), &mut slots, &mut made);
    }
    let start = Instant::now();
    let mut next = 0;
    while next < blocks || slots.len() < config.frames_in_flight_max {
        let segment = next / each;
        while asked < segments && asked <= segment + config.spares as u64 {
            disk.prepare(asked);
            asked += 1;
        }
        if next < blocks
            && segment < made
            && let Some(mut slot) = slots.pop()
        {
            stamp(&mut slot, next);
            disk.write(segment, next % each * block as u64, slot, block, next);
            next += 1;
            if next % each == 0 {
                // The file stays open for the syncs under way.
                disk.release(segment);
            }
            continue;
        }
        // Not by waiting in the kernel: to be woken takes longer than to look, and the log looks.
        match disk.poll() {
            None => std::thread::yield_now(),
            done => take_in(done, &mut slots, &mut made),
        }
    }
    start.elapsed()
}

fn take_in(done: Option<Done>, slots: &mut Vec<Slot>, made: &mut u64) {
    match done.expect("something is under way") {
        Done::Prepared { result, .. } => {
            result.expect("room for a segment");
            *made += 1;
        }
        Done::Written { slot, result, .. } => {
            result.expect("the disk works");
            slots.push(slot);
        }
    }
}

/// No two blocks are the same, in case something below looks for that.
fn stamp(slot: &mut Slot, number: u64) {
    for page in slot.bytes_mut().chunks_mut(4096) {
        page[..8].copy_from_slice(&number.to_le_bytes());
    }
}

/// From the first append until all is durable; and the number of cells.
fn append_events(config: &LogConfig, disk: Stocked, bytes: u64) -> (Duration, u64) {
    let mut log = Log::create(config.clone(), disk).expect("a new log");
    let count = bytes / size_of::<Event>() as u64;
    let start = Instant::now();
    let mut event = Event::new(Kind::Add);
    while log.durable_upto() < count {
        let now_ns = start.elapsed().as_nanos() as u64;
        let work = log
            .turn(now_ns, event.seq == count)
            .expect("the disk works");
        let room = (log.room_cells() as u64).min(512).min(count - event.seq);
        for _ in 0..room {
            event.seq += 1;
            event.order = event.seq * 7;
            event.price = Price(event.seq as i64);
            event.qty = Qty(100);
            log.append_event(&event);
        }
        if work == 0 && room == 0 {
            // As a shard's thread does: the kernel's workers need a core too.
            std::thread::yield_now();
        }
    }
    (start.elapsed(), log.durable_upto())
}

/// A real disk with some segments made before they are asked for.
struct Stocked {
    disk: RealDisk,
    stock: u64,
    ready: VecDeque<u64>,
}

impl Stocked {
    fn open(config: &LogConfig, stock: u64) -> Stocked {
        let mut disk = config
            .open_disk(Backend::Best)
            .expect("a directory of ours");
        for segment in 0..stock {
            disk.prepare(segment);
            match disk.wait() {
                Some(Done::Prepared { result, .. }) => result.expect("room for a segment"),
                other => panic!("a segment was asked for, got {other:?}"),
            }
        }
        let ready = VecDeque::new();
        Stocked { disk, stock, ready }
    }

    fn take_ready(&mut self) -> Option<Done> {
        let segment = self.ready.pop_front()?;
        Some(Done::Prepared {
            segment,
            result: Ok(()),
        })
    }
}

impl Files for Stocked {
    /// The log is new, whatever is ready for it.
    fn list(&self) -> Result<Vec<u64>, DiskError> {
        Ok(Vec::new())
    }
    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        self.disk.len(segment)
    }
    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        self.disk.read(segment, offset, into)
    }
    fn path(&self, segment: u64) -> PathBuf {
        self.disk.path(segment)
    }
}

impl Disk for Stocked {
    fn prepare(&mut self, segment: u64) {
        if segment < self.stock {
            self.ready.push_back(segment);
        } else {
            self.disk.prepare(segment);
        }
    }
    fn poll(&mut self) -> Option<Done> {
        self.take_ready().or_else(|| self.disk.poll())
    }
    fn wait(&mut self) -> Option<Done> {
        self.take_ready().or_else(|| self.disk.wait())
    }
    fn take_slots(&mut self) -> Vec<Slot> {
        self.disk.take_slots()
    }
    fn write(&mut self, segment: u64, offset: u64, slot: Slot, bytes: usize, token: u64) {
        self.disk.write(segment, offset, slot, bytes, token);
    }
    fn release(&mut self, segment: u64) {
        self.disk.release(segment);
    }
    fn write_now(&mut self, segment: u64, offset: u64, slot: &Slot) -> Result<(), DiskError> {
        self.disk.write_now(segment, offset, slot)
    }
    fn settle(&mut self, segment: u64) -> Result<(), DiskError> {
        self.disk.settle(segment)
    }
    fn adopt(&mut self, segment: u64) -> Result<(), DiskError> {
        self.disk.adopt(segment)
    }
    fn remove(&mut self, segment: u64) -> Result<(), DiskError> {
        self.disk.remove(segment)
    }
    fn trim(&mut self, segment: u64, bytes: u64) -> Result<(), DiskError> {
        self.disk.trim(segment, bytes)
    }
    fn describe(&self) -> String {
        self.disk.describe()
    }
}
