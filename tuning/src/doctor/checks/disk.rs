//! Where the log goes.

use super::super::mounts::{self, Mount};
use super::super::seen::Seen;
use super::super::tree::{Answer, clip};
use super::super::{Check, Found, Remedy, Step};
use super::here;
use super::network::judge_node;

fn mount(seen: &Seen<'_>) -> Answer<Mount> {
    mounts::find(seen.tree, &seen.aim.log_dir)
}

fn disk(seen: &Seen<'_>) -> Answer<String> {
    mounts::disk_of(seen.tree, &mount(seen)?)
}

pub(super) const LOG_FILESYSTEM: Check = Check {
    id: "log-filesystem",
    title: "File system of the log",
    why: "An order leaves once its causes are on the disk; on a file system that keeps them \
          elsewhere, or does not flush, that promise is empty.",
    from: "/proc/self/mountinfo, --log-dir, log.durability",
    is_settable: false,
    look: filesystem,
};

fn filesystem(seen: &Seen<'_>) -> Answer<Found> {
    let mount = mount(seen)?;
    let value = format!(
        "{} on {} ({})",
        clip(&mount.kind),
        clip(&mount.at),
        clip(&mount.source)
    );
    let elsewhere = |why: &str| Remedy::Choose(format!("{why}: put runs on a local ext4 or xfs"));
    let bad = |value: String, why: &str| {
        if seen.aim.is_durable {
            Found::fail(value, elsewhere(why))
        } else {
            Found::warn(value, elsewhere(why))
        }
    };
    let is_unflushed = mount
        .options
        .split(',')
        .any(|option| ["nobarrier", "barrier=0", "data=writeback,nobarrier"].contains(&option));
    Ok(match mount.kind.as_str() {
        "ext4" | "xfs" if is_unflushed => bad(
            format!("{value}, mounted without barriers"),
            "nothing is flushed: mount without that",
        ),
        "ext4" | "xfs" => Found::pass(value),
        "tmpfs" | "ramfs" => bad(value, "it is in memory, and gone after a restart"),
        "overlay" => {
            let what = "it is the container's own layer, slow and gone with it: mount a volume \
                        of the host there (docker run -v)";
            if seen.aim.is_durable {
                Found::fail(value, Remedy::Choose(what.into()))
            } else {
                Found::warn(value, Remedy::Choose(what.into()))
            }
        }
        kind if kind.starts_with("nfs") || kind.starts_with("fuse") => {
            bad(value, "what it promises is decided elsewhere")
        }
        "cifs" | "smb3" | "9p" | "virtiofs" | "ceph" => {
            bad(value, "what it promises is decided elsewhere")
        }
        "btrfs" | "zfs" | "bcachefs" => Found::warn(
            value,
            elsewhere(
                "it writes each block anew elsewhere, so that segments made ahead do not help",
            ),
        ),
        "ext3" | "ext2" | "f2fs" | "jfs" => {
            Found::warn(value, elsewhere("it was not tried with this program"))
        }
        _ => return Err(format!("{value} is not a file system that is known here")),
    })
}

pub(super) const DISK_SPACE: Check = Check {
    id: "disk-space",
    title: "Room for the log",
    why: "Segments are made ahead at full length, and a full disk stops the run.",
    from: "statvfs of --log-dir, log.segment, run.shards",
    is_settable: false,
    look: space,
};

fn space(seen: &Seen<'_>) -> Answer<Found> {
    /// A day's events of a large feed.
    const EASY_BYTES: u64 = 64 << 30;
    let free = seen.probe.free_bytes(&seen.aim.log_dir)?;
    let value = format!(
        "{} GiB free; {} MiB to begin with",
        free >> 30,
        seen.aim.log_bytes >> 20
    );
    let what =
        || Remedy::Choose("a larger disk, or log.tier and log.keep to move old segments".into());
    Ok(if free < seen.aim.log_bytes {
        Found::fail(value, what())
    } else if free < EASY_BYTES {
        Found::warn(
            format!("{value}; a full day may take {} GiB", EASY_BYTES >> 30),
            what(),
        )
    } else {
        Found::pass(value)
    })
}

pub(super) const NUMA_DISK: Check = Check {
    id: "numa-disk",
    title: "Log disk and hot cores on one memory node",
    why: "What is written crosses the link between the processors, and completions come back over \
          it.",
    from: "/sys/block/*/device/**/numa_node, /sys/devices/system/node/node*/cpulist",
    is_settable: false,
    look: numa_disk,
};

fn numa_disk(seen: &Seen<'_>) -> Answer<Found> {
    let name = disk(seen)?;
    let places = [
        "device/numa_node",
        "device/device/numa_node",
        "device/../numa_node",
    ];
    let paths = places.map(|place| format!("/sys/block/{name}/{place}"));
    let path = paths
        .iter()
        .find(|path| seen.tree.has(path))
        .unwrap_or(&paths[0]);
    judge_node(seen, path, &name)
}

pub(super) const WRITE_CACHE: Check = Check {
    id: "write-cache",
    title: "Write cache of the log's disk",
    why: "With a volatile cache each durable commit waits for a flush of some 100 us; a drive that \
          keeps its cache through a power cut answers in 20.",
    from: "/sys/block/*/queue/write_cache",
    is_settable: false,
    look: write_cache,
};

fn write_cache(seen: &Seen<'_>) -> Answer<Found> {
    let name = disk(seen)?;
    let kind = seen
        .tree
        .text(&format!("/sys/block/{name}/queue/write_cache"))?;
    let value = format!("{name}: {}", clip(&kind));
    match (kind.as_str(), &seen.place.hypervisor) {
        ("write through", _) => Ok(Found::pass(format!(
            "{value} (it says that it keeps nothing volatile)"
        ))),
        ("write back", Some(_)) => {
            let what = "ask whether a flushed write survives a power cut of the host; what the host \
                        does with a flush cannot be seen from here";
            Ok(Found::warn(
                format!("{value} (flushes go to the host)"),
                Remedy::Ask(what.into()),
            ))
        }
        ("write back", None) => {
            let what = "a drive with power-loss protection; do not switch the kernel to write \
                        through on one without: that only leaves the flushes out";
            Ok(Found::warn(
                format!("{value} (each commit is flushed)"),
                Remedy::Choose(what.into()),
            ))
        }
        _ => Err(format!(
            "/sys/block/{name}/queue/write_cache holds `{}`",
            clip(&kind)
        )),
    }
}

pub(super) const LOG_DISK: Check = Check {
    id: "log-disk",
    title: "Kind and scheduler of the log's disk",
    why: "A request should go to the drive at once: a turning disk or a scheduler that sorts \
          requests adds milliseconds to a commit.",
    from: "/sys/block/*/queue/{rotational,scheduler}",
    is_settable: true,
    look: log_disk,
};

fn log_disk(seen: &Seen<'_>) -> Answer<Found> {
    let name = disk(seen)?;
    let queue = format!("/sys/block/{name}/queue");
    // Some virtual disks have nothing to choose from, and say so without brackets.
    let path = format!("{queue}/scheduler");
    let scheduler = match seen.tree.chosen(&path) {
        Ok(chosen) => chosen,
        Err(_) if seen.tree.text(&path)? == "none" => "none".into(),
        Err(why) => return Err(why),
    };
    let turns = seen.tree.number(&format!("{queue}/rotational"))? == 1;
    let kind = match (&seen.place.hypervisor, turns) {
        (Some(_), _) => "virtual",
        (None, true) => "turning",
        (None, false) => "solid state",
    };
    let value = format!("{name}: {kind}, scheduler {}", clip(&scheduler));
    if turns && seen.place.hypervisor.is_none() {
        return Ok(Found::warn(value, Remedy::Choose("an NVMe drive".into())));
    }
    if scheduler == "none" || scheduler == "mq-deadline" || scheduler == "noop" {
        return Ok(Found::pass(value));
    }
    let step = Step::Put("none".into(), path);
    Ok(Found::warn(value, here(seen, vec![step])))
}

pub(super) const IO_URING: Check = Check {
    id: "io-uring",
    title: "io_uring may be used",
    why: "With it a frame and its flush are one call without waiting; otherwise the log is written \
          by a thread of its own, which costs two hand-overs.",
    from: "io_uring_setup, /proc/sys/kernel/io_uring_disabled",
    is_settable: true,
    look: io_uring,
};

fn io_uring(seen: &Seen<'_>) -> Answer<Found> {
    let refusal = match seen.probe.io_uring()? {
        Ok(()) => return Ok(Found::pass("allowed")),
        Err(refusal) => refusal,
    };
    let disabled = seen
        .tree
        .number("/proc/sys/kernel/io_uring_disabled")
        .unwrap_or(0);
    let value = format!(
        "refused: {} (kernel.io_uring_disabled = {disabled})",
        clip(&refusal)
    );
    let remedy = match (disabled, &seen.place.container) {
        (0, Some(_)) => Remedy::Ask(
            "the container's seccomp profile forbids it: give it one that allows io_uring_setup, \
             io_uring_enter and io_uring_register"
                .into(),
        ),
        (0, None) => Remedy::Choose("a kernel from 5.10 on, built with CONFIG_IO_URING".into()),
        _ => here(
            seen,
            vec![Step::Sysctl("kernel.io_uring_disabled", "0".into())],
        ),
    };
    Ok(Found::warn(value, remedy))
}
