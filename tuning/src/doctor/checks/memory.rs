//! Pages: how large, how locked, how near.

use super::super::probe::Limit;
use super::super::seen::Seen;
use super::super::tree::{Answer, clip};
use super::super::{Check, Found, Remedy, Step};
use super::here;

pub(super) const OVERCOMMIT: Check = Check {
    id: "overcommit",
    title: "Address space may be reserved",
    why: "Books reserve room for the most orders they may hold and use what they need; in strict \
          mode the kernel counts the reserve as used and may refuse it.",
    from: "/proc/sys/vm/overcommit_memory",
    is_settable: true,
    look: overcommit,
};

fn overcommit(seen: &Seen<'_>) -> Answer<Found> {
    match seen.tree.number("/proc/sys/vm/overcommit_memory")? {
        0 => Ok(Found::pass("0: as needed")),
        1 => Ok(Found::pass("1: always")),
        2 => {
            let step = Step::Sysctl("vm.overcommit_memory", "0".into());
            Ok(Found::warn("2: strict", here(seen, vec![step])))
        }
        other => Err(format!(
            "/proc/sys/vm/overcommit_memory is {other}, want 0, 1 or 2"
        )),
    }
}

pub(super) const TRANSPARENT_HUGE_PAGES: Check = Check {
    id: "transparent-huge-pages",
    title: "Huge pages for those who ask",
    why: "Books ask for pages of 2 MiB, which make a look-up of an order in memory about 1.7 times \
          as fast; `always` gives them to everyone and moves memory about for it.",
    from: "/sys/kernel/mm/transparent_hugepage/enabled",
    is_settable: true,
    look: thp,
};

fn thp(seen: &Seen<'_>) -> Answer<Found> {
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    if !seen.tree.has(path) && seen.tree.has("/sys/kernel/mm") {
        let what = "a kernel built with CONFIG_TRANSPARENT_HUGEPAGE, or reserved huge pages \
                    (host.huge_pages = \"reserved\")";
        return Ok(Found::warn(
            "this kernel has none",
            Remedy::Choose(what.into()),
        ));
    }
    let mode = seen.tree.chosen(path)?;
    if mode == "madvise" {
        return Ok(Found::pass(mode));
    }
    let step = Step::Put("madvise".into(), path.into());
    Ok(Found::warn(clip(&mode), here(seen, vec![step])))
}

pub(super) const THP_DEFRAG: Check = Check {
    id: "thp-defrag",
    title: "No waiting for a huge page",
    why: "With `always` a thread that touches new memory stands still while the kernel makes room \
          for a huge page.",
    from: "/sys/kernel/mm/transparent_hugepage/defrag",
    is_settable: true,
    look: defrag,
};

fn defrag(seen: &Seen<'_>) -> Answer<Found> {
    let path = "/sys/kernel/mm/transparent_hugepage/defrag";
    let mode = seen.tree.chosen(path)?;
    if mode != "always" {
        return Ok(Found::pass(clip(&mode)));
    }
    let step = Step::Put("defer+madvise".into(), path.into());
    Ok(Found::warn(mode, here(seen, vec![step])))
}

pub(super) const HUGE_PAGES: Check = Check {
    id: "huge-pages",
    title: "Reserved huge pages",
    why: "With host.huge_pages = \"reserved\" the large arrays come from pages set aside \
          beforehand; where these do not suffice they fall back to ordinary ones.",
    from: "/sys/kernel/mm/hugepages/hugepages-2048kB/{nr_hugepages,free_hugepages}, /proc/meminfo, \
           host.huge_pages, limits",
    is_settable: true,
    look: huge_pages,
};

fn huge_pages(seen: &Seen<'_>) -> Answer<Found> {
    let want = i64::try_from(seen.aim.huge_pages_wanted).unwrap_or(i64::MAX);
    if want == 0 {
        return Ok(Found::pass("not asked for (host.huge_pages)"));
    }
    let folder = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    let have = seen.tree.number(&format!("{folder}/nr_hugepages"))?;
    let free = seen.tree.number(&format!("{folder}/free_hugepages"))?;
    let value = format!("{free} of {have} pages of 2 MiB are free; {want} are wanted");
    if free >= want {
        return Ok(Found::pass(value));
    }
    let memory_kib = meminfo(seen, "MemTotal")?;
    // What is set aside is gone for everything else.
    let most = memory_kib / 2048 / 4 * 3;
    if want > most {
        let what = format!(
            "lower limits.orders, limits.levels and limits.symbols to what the feed needs: at \
             these the arrays take {} GiB, of {} GiB of memory. Or set host.huge_pages = \
             \"advised\", which takes only what is used",
            want >> 9,
            memory_kib >> 20
        );
        return Ok(Found::warn(value, Remedy::Choose(what)));
    }
    let pages = have.saturating_sub(free).saturating_add(want);
    let step = Step::Sysctl("vm.nr_hugepages", pages.to_string());
    Ok(Found::warn(value, here(seen, vec![step])))
}

/// A line of `/proc/meminfo`, in KiB.
fn meminfo(seen: &Seen<'_>, name: &str) -> Answer<i64> {
    let text = seen.tree.text("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.ok_or_else(|| format!("/proc/meminfo has no {name}"))
}

pub(super) const SWAP: Check = Check {
    id: "swap",
    title: "No swapping",
    why: "A page that was swapped out takes milliseconds to come back, in the middle of whatever \
          needed it.",
    from: "/proc/swaps, host.lock_memory",
    is_settable: true,
    look: swap,
};

fn swap(seen: &Seen<'_>) -> Answer<Found> {
    let text = seen.tree.text("/proc/swaps")?;
    let areas: Vec<&str> = text
        .lines()
        .skip(1)
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    if areas.is_empty() {
        return Ok(Found::pass("none"));
    }
    let value = format!("on: {}", clip(&areas.join(", ")));
    if seen.aim.lock_memory && may_lock(seen)? {
        return Ok(Found::pass(format!(
            "{value}; this program's memory is locked"
        )));
    }
    let lasts =
        "until the next start: take its line out of /etc/fstab. Or set host.lock_memory = true";
    Ok(Found::warn(
        value,
        here(seen, vec![Step::Run("swapoff -a".into(), lasts)]),
    ))
}

/// CAP_IPC_LOCK, of capabilities(7).
const LOCK_CAPABILITY: u32 = 14;

fn may_lock(seen: &Seen<'_>) -> Answer<bool> {
    if seen.can(LOCK_CAPABILITY).unwrap_or(false) {
        return Ok(true);
    }
    Ok(seen.probe.limit(Limit::Memlock)?.is_none())
}

pub(super) const MEMLOCK: Check = Check {
    id: "memlock",
    title: "Memory may be locked",
    why: "Locked memory is never moved to disk; host.lock_memory needs it without limit, and \
          io_uring hands frames to the disk cheaper with 8 MiB of it.",
    from: "getrlimit(RLIMIT_MEMLOCK), /proc/self/status (CapEff), host.lock_memory",
    is_settable: true,
    look: memlock,
};

fn memlock(seen: &Seen<'_>) -> Answer<Found> {
    const ENOUGH: u64 = 8 << 20;
    if seen.can(LOCK_CAPABILITY).unwrap_or(false) {
        return Ok(Found::pass("without limit, by privilege (CAP_IPC_LOCK)"));
    }
    let value = match seen.probe.limit(Limit::Memlock)? {
        None => return Ok(Found::pass("without limit")),
        Some(bytes) if bytes >= ENOUGH && !seen.aim.lock_memory => {
            return Ok(Found::pass(format!(
                "{} KiB; locking is not asked for",
                bytes >> 10
            )));
        }
        Some(bytes) => format!("{} KiB", bytes >> 10),
    };
    let remedy = match seen.place.container {
        Some(_) => Remedy::Ask("start the container with --ulimit memlock=-1".into()),
        None => Remedy::Do(vec![Step::Run(
            "printf '* - memlock unlimited\\n' > /etc/security/limits.d/90-tapeline-memlock.conf"
                .into(),
            "lasts, from the next login on; for a service: LimitMEMLOCK=infinity",
        )]),
    };
    Ok(Found::warn(value, remedy))
}

pub(super) const NUMA_BALANCING: Check = Check {
    id: "numa-balancing",
    title: "No moving of pages between memory nodes",
    why: "To find out who uses a page the kernel takes it away and waits for the fault, which hits \
          hot threads too.",
    from: "/proc/sys/kernel/numa_balancing, /sys/devices/system/node",
    is_settable: true,
    look: numa_balancing,
};

fn numa_balancing(seen: &Seen<'_>) -> Answer<Found> {
    let nodes = seen
        .tree
        .names("/sys/devices/system/node")
        .unwrap_or_default();
    let is_node = |name: &&String| {
        name.strip_prefix("node")
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    if nodes.iter().filter(is_node).count() <= 1 {
        return Ok(Found::pass("one memory node"));
    }
    let path = "/proc/sys/kernel/numa_balancing";
    if seen.tree.number(path)? == 0 {
        return Ok(Found::pass("off"));
    }
    let step = Step::Sysctl("kernel.numa_balancing", "0".into());
    Ok(Found::warn("on", here(seen, vec![step])))
}
