//! What the whole machine is like, and what else it does.

use super::super::probe::Limit;
use super::super::seen::Seen;
use super::super::tree::{Answer, clip};
use super::super::{Check, Found, Remedy, Step};
use super::here;

pub(super) const PLATFORM: Check = Check {
    id: "platform",
    title: "Bare metal, virtual machine or container",
    why: "A hypervisor takes the processor away without notice, so figures from a guest are no \
          figures of the program alone.",
    from: "/proc/cpuinfo (hypervisor), /sys/class/dmi/id, /proc/self/{cgroup,ns/pid}, /.dockerenv",
    is_settable: false,
    look: platform,
};

fn platform(seen: &Seen<'_>) -> Answer<Found> {
    seen.tree.text("/proc/cpuinfo")?;
    let value = seen.place.describe();
    Ok(match seen.place.hypervisor {
        None => Found::pass(value),
        Some(_) => {
            let what = "compare figures from here only with others from here, taken in turns; for \
                        the lowest latency ask for a dedicated or a bare-metal machine";
            Found::warn(value, Remedy::Ask(what.into()))
        }
    })
}

pub(super) const STEAL: Check = Check {
    id: "steal",
    title: "Time taken by the hypervisor",
    why: "While the host runs somebody else on our core, every message waits.",
    from: "/proc/stat (steal, since the start)",
    is_settable: false,
    look: steal,
};

fn steal(seen: &Seen<'_>) -> Answer<Found> {
    let text = seen.tree.text("/proc/stat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "));
    let line = line.ok_or("/proc/stat has no line for all cores")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map(|word| word.parse().unwrap_or(0))
        .collect();
    // User, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
    let Some(ticks) = ticks.get(..8) else {
        return Err("/proc/stat does not tell stolen time".into());
    };
    let total: u128 = ticks.iter().map(|&ticks| u128::from(ticks)).sum();
    let hundredths = u128::from(ticks[7]) * 10_000 / total.max(1);
    let value = format!(
        "{}.{:02} % since the start",
        hundredths / 100,
        hundredths % 100
    );
    let what = "ask for a dedicated machine, or a type whose processors are not shared";
    Ok(match hundredths {
        0..=9 => Found::pass(value),
        10..=99 => Found::warn(value, Remedy::Ask(what.into())),
        _ => Found::fail(value, Remedy::Ask(what.into())),
    })
}

pub(super) const LOAD: Check = Check {
    id: "load",
    title: "Nothing else runs",
    why: "Threads that want to run take turns with ours on every core that is not isolated, and \
          share caches and memory on those that are.",
    from: "/proc/loadavg",
    is_settable: false,
    look: load,
};

fn load(seen: &Seen<'_>) -> Answer<Found> {
    let text = seen.tree.text("/proc/loadavg")?;
    let minute: Option<f64> = text
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok());
    let minute = minute.filter(|load| load.is_finite() && *load >= 0.0);
    let minute = minute.ok_or_else(|| format!("/proc/loadavg holds `{}`", clip(&text)))?;
    let value = format!("{minute:.2} threads on average in the last minute");
    let spare = seen.spare().len().max(1) as f64;
    if minute <= spare {
        return Ok(Found::pass(value));
    }
    let what = "end what else runs (`top` names it) before a figure is taken";
    Ok(Found::warn(value, Remedy::Choose(what.into())))
}

pub(super) const CPU_QUOTA: Check = Check {
    id: "cpu-quota",
    title: "No processor quota",
    why: "A group that has used up its share of a period stands still until the next one, which is \
          up to 100 ms, and threads that spin use it up at once.",
    from: "/proc/self/cgroup, cpu.max or cpu.cfs_quota_us up to /sys/fs/cgroup",
    is_settable: false,
    look: quota,
};

fn quota(seen: &Seen<'_>) -> Answer<Found> {
    let groups = seen.tree.text("/proc/self/cgroup")?;
    let mut tightest: Option<(i64, i64)> = None;
    let mut files = 0;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next(), parts.next(), parts.next());
        let (Some(controllers), Some(path)) = (controllers, path) else {
            continue;
        };
        let is_new = controllers.is_empty();
        if path.contains("..") || !(is_new || controllers.split(',').any(|name| name == "cpu")) {
            continue;
        }
        // A limit may stand at any group above, and a container sees its own as the root.
        let mut path = path.trim_end_matches('/').to_string();
        loop {
            let read = if is_new {
                quota_of_new(seen, &path)
            } else {
                quota_of_old(seen, &path)
            };
            if let Some(limits) = read {
                files += 1;
                let is_tighter = |(q, p): (i64, i64), (tq, tp): (i64, i64)| {
                    i128::from(q) * i128::from(tp) < i128::from(tq) * i128::from(p)
                };
                match (limits, tightest) {
                    (None, _) => {}
                    (Some(new), Some(old)) if !is_tighter(new, old) => {}
                    (some, _) => tightest = some,
                }
            }
            match path.rfind('/') {
                Some(end) => path.truncate(end),
                None => break,
            }
        }
    }
    let Some((quota_us, period_us)) = tightest else {
        let value = if files == 0 {
            "none (no group has one)"
        } else {
            "none"
        };
        return Ok(Found::pass(value));
    };
    let value = format!("{quota_us} us of processor time in every {period_us} us");
    let remedy = match seen.place.container {
        Some(_) => Remedy::Ask(format!(
            "start the container without --cpus, with cores of its own instead (docker run \
             --cpuset-cpus {}; Kubernetes: static CPU manager, whole cores, requests = limits)",
            seen.hot
        )),
        None => Remedy::Choose(
            "take CPUQuota= out of the service's unit, and give it AllowedCPUs=".into(),
        ),
    };
    Ok(Found::fail(value, remedy))
}

/// `max 100000` or `50000 100000`; `None` where there is no file, `Some(None)` for no limit.
fn quota_of_new(seen: &Seen<'_>, group: &str) -> Option<Option<(i64, i64)>> {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let text = roots
        .iter()
        .find_map(|root| seen.tree.text(&format!("{root}{group}/cpu.max")).ok())?;
    let mut words = text.split_whitespace();
    let quota = words.next()?.parse().ok();
    let period = words.next()?.parse().ok().filter(|period| *period > 0)?;
    Some(quota.map(|quota| (quota, period)))
}

fn quota_of_old(seen: &Seen<'_>, group: &str) -> Option<Option<(i64, i64)>> {
    let roots = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"];
    let root = roots
        .iter()
        .find(|root| seen.tree.has(&format!("{root}{group}/cpu.cfs_quota_us")))?;
    let quota = seen
        .tree
        .number(&format!("{root}{group}/cpu.cfs_quota_us"))
        .ok()?;
    let period = seen
        .tree
        .number(&format!("{root}{group}/cpu.cfs_period_us"))
        .ok()?;
    Some((quota > 0 && period > 0).then_some((quota, period)))
}

pub(super) const RT_THROTTLING: Check = Check {
    id: "rt-throttling",
    title: "Real-time threads are not stopped",
    why: "By default the kernel stops a real-time thread that spins for 50 ms of every second; \
          tapeline asks for no real-time priority while that is so.",
    from: "/proc/sys/kernel/sched_rt_runtime_us, host.fifo_priority",
    is_settable: true,
    look: rt_throttling,
};

fn rt_throttling(seen: &Seen<'_>) -> Answer<Found> {
    if seen.aim.fifo_priority == 0 {
        return Ok(Found::pass(
            "real time is not asked for (host.fifo_priority)",
        ));
    }
    let runtime_us = seen.tree.number("/proc/sys/kernel/sched_rt_runtime_us")?;
    if runtime_us < 0 {
        return Ok(Found::pass("never stopped (-1)"));
    }
    let value = format!("{runtime_us} us of every second");
    let isolated = seen
        .tree
        .cpus("/sys/devices/system/cpu/isolated")
        .unwrap_or_default();
    if seen.hot.is_empty() || !seen.hot.without(&isolated).is_empty() {
        let what = "first isolate the hot cores (see isolated-cores): without that limit a \
                    spinning real-time thread shuts everything else out of its core. Or set \
                    host.fifo_priority = 0";
        return Ok(Found::warn(value, Remedy::Choose(what.into())));
    }
    let step = Step::Sysctl("kernel.sched_rt_runtime_us", "-1".into());
    Ok(Found::warn(value, here(seen, vec![step])))
}

pub(super) const RT_LIMIT: Check = Check {
    id: "rt-limit",
    title: "Real-time priority is allowed",
    why: "host.fifo_priority asks for a priority above all ordinary threads, which the system must \
          allow this user.",
    from: "getrlimit(RLIMIT_RTPRIO), /proc/self/status (CapEff), host.fifo_priority",
    is_settable: true,
    look: rt_limit,
};

/// CAP_SYS_NICE, of capabilities(7).
const NICE_CAPABILITY: u32 = 23;

fn rt_limit(seen: &Seen<'_>) -> Answer<Found> {
    let want = seen.aim.fifo_priority;
    if want == 0 {
        return Ok(Found::pass("not asked for (host.fifo_priority)"));
    }
    if seen.can(NICE_CAPABILITY).unwrap_or(false) {
        return Ok(Found::pass("any, by privilege (CAP_SYS_NICE)"));
    }
    let value = match seen.probe.limit(Limit::Rtprio)? {
        None => return Ok(Found::pass("any")),
        Some(most) if most >= u64::from(want) => return Ok(Found::pass(format!("up to {most}"))),
        Some(most) => format!("up to {most}, {want} wanted"),
    };
    let remedy = match seen.place.container {
        Some(_) => {
            Remedy::Ask("start the container with --cap-add SYS_NICE --ulimit rtprio=99".into())
        }
        None => Remedy::Do(vec![Step::Run(
            format!(
                "printf '* - rtprio {want}\\n' > /etc/security/limits.d/90-tapeline-rtprio.conf"
            ),
            "lasts, from the next login on; for a service: LimitRTPRIO=99",
        )]),
    };
    Ok(Found::warn(value, remedy))
}

pub(super) const MITIGATIONS: Check = Check {
    id: "mitigations",
    title: "Guards against processor faults",
    why: "Guards such as retpolines make each system call and indirect jump slower, by 0.1 to 1 us \
          a call.",
    from: "/sys/devices/system/cpu/vulnerabilities/*, /proc/cmdline (mitigations)",
    is_settable: false,
    look: mitigations,
};

fn mitigations(seen: &Seen<'_>) -> Answer<Found> {
    let folder = "/sys/devices/system/cpu/vulnerabilities";
    let names = seen.tree.names(folder)?;
    let is_on = |name: &&String| {
        let text = seen
            .tree
            .text(&format!("{folder}/{name}"))
            .unwrap_or_default();
        text.starts_with("Mitigation")
    };
    let on: Vec<&str> = names.iter().filter(is_on).map(String::as_str).collect();
    if on.is_empty() {
        return Ok(Found::pass(format!("none of {} is on", names.len())));
    }
    let value = format!("{} on: {}", on.len(), clip(&on.join(", ")));
    let what = "they are there for a reason: leave them on wherever others have code or accounts \
                on the machine. On one that runs nothing else, boot with mitigations=off and \
                measure what it brings";
    Ok(Found::warn(value, Remedy::Choose(what.into())))
}

pub(super) const KERNEL: Check = Check {
    id: "kernel",
    title: "A kernel that is new enough",
    why: "Before 5.10 io_uring is slow or missing, and before 5.6 cores cannot be kept free of \
          managed interrupts.",
    from: "/proc/sys/kernel/osrelease",
    is_settable: false,
    look: kernel,
};

fn kernel(seen: &Seen<'_>) -> Answer<Found> {
    let release = seen.tree.text("/proc/sys/kernel/osrelease")?;
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse::<u32>());
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Err(format!(
            "/proc/sys/kernel/osrelease holds `{}`",
            clip(&release)
        ));
    };
    if (major, minor) >= (5, 10) {
        return Ok(Found::pass(clip(&release)));
    }
    let what = "a kernel from 5.10 on, better 6.1";
    Ok(Found::warn(clip(&release), Remedy::Choose(what.into())))
}

pub(super) const TUNED: Check = Check {
    id: "tuned",
    title: "No power-saving profile",
    why: "The service tuned sets governor, sleep states and kernel parameters again at every \
          start, by its profile.",
    from: "/etc/tuned/active_profile",
    is_settable: true,
    look: tuned,
};

fn tuned(seen: &Seen<'_>) -> Answer<Found> {
    let Some(profile) = seen.tree.text_if_there("/etc/tuned/active_profile")? else {
        return Ok(Found::pass("tuned has set nothing"));
    };
    let good = ["tapeline", "latency", "realtime", "cpu-partitioning"];
    if good.iter().any(|word| profile.contains(word)) {
        return Ok(Found::pass(clip(&profile)));
    }
    let step = Step::Run(
        "tuned-adm profile tapeline".into(),
        "lasts; needs tuning/tapeline in /etc/tuned first. `network-latency` comes near",
    );
    Ok(Found::warn(clip(&profile), here(seen, vec![step])))
}
