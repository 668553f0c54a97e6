//! Whose the cores are: hot threads', or also the system's.

use super::super::cpus::Cpus;
use super::super::script::for_each;
use super::super::seen::Seen;
use super::super::tree::{Answer, clip};
use super::super::{Check, Found, Remedy, Step};
use super::{for_cores, has_spare, here, hot, on_hardware, too_few};

pub(super) const CORES: Check = Check {
    id: "cores",
    title: "A core for each hot thread",
    why: "The reader and each shard spin without rest, so two on one core take turns of milliseconds.",
    from: "/proc/self/status (Cpus_allowed_list), /sys/devices/system/cpu/online, run.cpus",
    is_settable: false,
    look: cores,
};

fn cores(seen: &Seen<'_>) -> Answer<Found> {
    let (online, allowed) = (seen.online.clone()?, seen.allowed.clone()?);
    let threads = seen.threads();
    if seen.hot.is_empty() {
        let value = format!(
            "{threads} hot threads, and {} cores to use ({allowed})",
            allowed.len()
        );
        let what = "fewer shards (run.shards), run.model = \"run-to-completion\", or more cores for this \
                    process";
        return Ok(Found::fail(value, Remedy::Choose(what.into())));
    }
    let off = seen.hot.without(&online);
    if !off.is_empty() {
        let value = format!("run.cpus names {off}, but only {online} are switched on");
        return Ok(Found::fail(
            value,
            Remedy::Choose("name other cores in run.cpus".into()),
        ));
    }
    // Isolated cores are not among those that a process is given, but it may go there.
    let isolated = seen
        .tree
        .cpus("/sys/devices/system/cpu/isolated")
        .unwrap_or_default();
    let closed = seen.hot.without(&allowed).without(&isolated);
    if !closed.is_empty() {
        let value = format!("run.cpus names {closed}, but this process may use {allowed} only");
        let remedy = match seen.place.container {
            Some(_) => Remedy::Ask(format!(
                "start the container with these cores (docker run --cpuset-cpus {})",
                seen.hot
            )),
            None => Remedy::Choose(format!(
                "name other cores, or start it with taskset, AllowedCPUs= (systemd) or a cpuset \
                 that has {}",
                seen.hot
            )),
        };
        return Ok(Found::fail(value, remedy));
    }
    if seen.hot.len() < threads {
        let value = format!("{threads} hot threads share the cores {}", seen.hot);
        let remedy = Remedy::Choose("name a core for each in run.cpus".into());
        return Ok(Found::fail(value, remedy));
    }
    if !has_spare(seen) {
        let value = format!(
            "{threads} hot threads on all {} cores of this machine",
            online.len()
        );
        let what = match threads {
            1 => {
                "take a machine with more cores: the kernel, the disk's threads and everything else \
                 now run on the hot thread's core, which rests for them when nothing comes"
            }
            _ => {
                "run.model = \"run-to-completion\", which needs one core, or a machine with more: the \
                 kernel, the disk's threads and everything else now run on the hot threads' cores, \
                 which rest for them when nothing comes"
            }
        };
        return Ok(Found::warn(value, Remedy::Choose(what.into())));
    }
    Ok(Found::pass(format!(
        "{threads} hot threads on {}, of {online}",
        seen.hot
    )))
}

pub(super) const ISOLATED_CORES: Check = Check {
    id: "isolated-cores",
    title: "Hot cores taken from the scheduler",
    why: "On any other core the kernel may put another program in a hot thread's place, for \
          milliseconds at a time.",
    from: "/sys/devices/system/cpu/isolated",
    is_settable: true,
    look: isolated,
};

fn isolated(seen: &Seen<'_>) -> Answer<Found> {
    let hot = hot(seen)?;
    let isolated = seen.tree.cpus("/sys/devices/system/cpu/isolated")?;
    let open = hot.without(&isolated);
    if open.is_empty() {
        return Ok(Found::pass(format!("{isolated}, among them all of {hot}")));
    }
    let value = format!("isolated: {isolated}; hot threads: {hot}");
    if !has_spare(seen) {
        return Ok(Found::warn(value, too_few()));
    }
    if isolated.len() >= seen.threads() && seen.aim.cpus.is_empty() {
        let what = format!("cores are isolated but not used: name {isolated} in run.cpus");
        return Ok(Found::warn(value, Remedy::Choose(what)));
    }
    let step = Step::Boot(format!("isolcpus=managed_irq,domain,{hot}"));
    Ok(Found::warn(value, for_cores(seen, vec![step])))
}

pub(super) const TICKLESS_CORES: Check = Check {
    id: "tickless-cores",
    title: "No timer tick on hot cores",
    why: "The kernel's timer stops a core 100 to 1000 times a second, for 1 to 40 us each time, \
          unless it is told to leave a core with one thread alone (nohz_full).",
    from: "/sys/devices/system/cpu/nohz_full",
    is_settable: true,
    look: tickless,
};

fn tickless(seen: &Seen<'_>) -> Answer<Found> {
    let hot = hot(seen)?;
    let path = "/sys/devices/system/cpu/nohz_full";
    if !seen.tree.has(path) && seen.tree.has("/sys/devices/system/cpu/online") {
        let remedy = if has_spare(seen) {
            Remedy::Choose(
                "a kernel built with CONFIG_NO_HZ_FULL, as most distributions' are".into(),
            )
        } else {
            too_few()
        };
        return Ok(Found::warn(
            "this kernel cannot (built without NO_HZ_FULL)",
            remedy,
        ));
    }
    let tickless = seen.tree.cpus(path)?;
    judge_boot(seen, "without tick", &tickless, &hot, "nohz_full")
}

pub(super) const RCU_OFFLOAD: Check = Check {
    id: "rcu-offload",
    title: "No kernel clean-up work on hot cores",
    why: "The kernel frees its memory (RCU callbacks) on whichever core last used it, in bursts \
          that stop a hot thread, unless that is moved elsewhere (rcu_nocbs).",
    from: "/proc/cmdline (rcu_nocbs, nohz_full), /sys/devices/system/cpu/nohz_full",
    is_settable: true,
    look: rcu,
};

fn rcu(seen: &Seen<'_>) -> Answer<Found> {
    let hot = hot(seen)?;
    let mut offloaded = seen
        .tree
        .cpus("/sys/devices/system/cpu/nohz_full")
        .unwrap_or_default();
    match seen.boot_value("rcu_nocbs")?.as_deref() {
        Some("all") => offloaded = seen.online.clone()?,
        Some(list) => {
            let more = Cpus::parse(list).map_err(|what| format!("rcu_nocbs: {what}"))?;
            offloaded = offloaded.iter().chain(more.iter()).collect();
        }
        None => {}
    }
    judge_boot(seen, "moved away from", &offloaded, &hot, "rcu_nocbs")
}

fn judge_boot(
    seen: &Seen<'_>,
    word: &str,
    have: &Cpus,
    hot: &Cpus,
    parameter: &str,
) -> Answer<Found> {
    if hot.without(have).is_empty() {
        return Ok(Found::pass(format!(
            "{word}: {have}, among them all of {hot}"
        )));
    }
    let value = format!("{word}: {have}; hot threads: {hot}");
    if !has_spare(seen) {
        return Ok(Found::warn(value, too_few()));
    }
    Ok(Found::warn(
        value,
        for_cores(seen, vec![Step::Boot(format!("{parameter}={hot}"))]),
    ))
}

pub(super) const IRQ_AFFINITY: Check = Check {
    id: "irq-affinity",
    title: "Device interrupts away from hot cores",
    why: "An interrupt takes the core from a hot thread for 2 to 50 us, and a busy network card \
          has thousands of them a second.",
    from: "/proc/irq/*/effective_affinity_list (or smp_affinity_list), /proc/interrupts",
    is_settable: true,
    look: irqs,
};

fn irqs(seen: &Seen<'_>) -> Answer<Found> {
    let hot = hot(seen)?;
    let interrupts = seen.tree.text("/proc/interrupts")?;
    let mut here_now = Vec::new();
    let mut unread = 0;
    for number in seen.tree.names("/proc/irq")? {
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        // Without a device it never comes.
        let Some(device) = device_of(&interrupts, &number) else {
            continue;
        };
        let effective = seen
            .tree
            .cpus(&format!("/proc/irq/{number}/effective_affinity_list"));
        let wanted = || {
            seen.tree
                .cpus(&format!("/proc/irq/{number}/smp_affinity_list"))
        };
        match effective
            .ok()
            .filter(|cpus| !cpus.is_empty())
            .map_or_else(wanted, Ok)
        {
            Ok(cpus) if cpus.and(&hot).is_empty() => {}
            Ok(_) => here_now.push((number, device)),
            Err(_) => unread += 1,
        }
    }
    if here_now.is_empty() && unread > 0 {
        return Err(format!(
            "{unread} of /proc/irq/*/smp_affinity_list cannot be read"
        ));
    }
    if here_now.is_empty() {
        return Ok(Found::pass(format!("none on {hot}")));
    }
    const NAMED: usize = 4;
    let names: Vec<String> = here_now
        .iter()
        .take(NAMED)
        .map(|(number, device)| format!("{number} {device}"))
        .collect();
    let more = here_now.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let value = format!("{} on {hot}: {}{more}", here_now.len(), names.join(", "));
    if !has_spare(seen) {
        return Ok(Found::warn(value, too_few()));
    }
    let spare = seen.spare();
    let numbers: Vec<&str> = here_now.iter().map(|(number, _)| number.as_str()).collect();
    let command = format!("echo {spare} > \"/proc/irq/$irq/smp_affinity_list\"");
    let command = for_each("irq", &numbers.join(" "), &command);
    let lasts = "lost at a restart: let tuning/bare-metal.sh run at boot. A disk's own queue \
                 interrupts refuse it: isolcpus=managed_irq moves those";
    Ok(Found::warn(
        value,
        for_cores(seen, vec![Step::Run(command, lasts)]),
    ))
}

/// Which device has this interrupt: what stands last in its line.
fn device_of(interrupts: &str, number: &str) -> Option<String> {
    let mut lines = interrupts.lines();
    let cores = lines.next()?.split_whitespace().count();
    let line = lines.find(|line| {
        line.trim_start()
            .strip_prefix(number)
            .is_some_and(|rest| rest.starts_with(':'))
    })?;
    let after: Vec<&str> = line.split_whitespace().skip(1 + cores).collect();
    let device = after.last()?;
    Some(clip(device))
}

pub(super) const IRQ_BALANCE: Check = Check {
    id: "irq-balance",
    title: "Nobody moves interrupts back",
    why: "irqbalance spreads interrupts over all cores every ten seconds, hot ones too, unless \
          these are isolated or banned.",
    from: "/proc/*/comm, /etc/default/irqbalance, /etc/sysconfig/irqbalance",
    is_settable: true,
    look: irq_balance,
};

fn irq_balance(seen: &Seen<'_>) -> Answer<Found> {
    let hot = hot(seen)?;
    if !seen
        .tree
        .process_names()?
        .iter()
        .any(|name| name == "irqbalance")
    {
        return Ok(Found::pass("irqbalance does not run"));
    }
    let isolated = seen
        .tree
        .cpus("/sys/devices/system/cpu/isolated")
        .unwrap_or_default();
    if hot.without(&isolated).is_empty() {
        return Ok(Found::pass(
            "irqbalance runs, and leaves isolated cores alone",
        ));
    }
    let files = ["/etc/default/irqbalance", "/etc/sysconfig/irqbalance"];
    let texts = files.iter().filter_map(|file| seen.tree.text(file).ok());
    let banned: Cpus = texts
        .flat_map(|text| {
            let line = text.lines().find_map(|line| {
                line.trim()
                    .strip_prefix("IRQBALANCE_BANNED_CPULIST=")
                    .map(str::to_string)
            });
            let list = line.unwrap_or_default();
            Cpus::parse(list.trim_matches('"'))
                .unwrap_or_default()
                .iter()
                .collect::<Vec<_>>()
        })
        .collect();
    if hot.without(&banned).is_empty() {
        return Ok(Found::pass(format!(
            "irqbalance runs, and is kept off {banned}"
        )));
    }
    let value = format!("irqbalance runs, and may use {}", hot.without(&banned));
    let step = Step::Run(
        "systemctl disable --now irqbalance".into(),
        "lasts; or keep it off: IRQBALANCE_BANNED_CPULIST in /etc/default/irqbalance",
    );
    Ok(Found::warn(value, here(seen, vec![step])))
}

pub(super) const KERNEL_WORKERS: Check = Check {
    id: "kernel-workers",
    title: "Kernel work queues away from hot cores",
    why: "Work that the kernel puts off (writing back, device chores) may run on any core in the \
          mask, a hot one too.",
    from: "/sys/devices/virtual/workqueue/cpumask",
    is_settable: true,
    look: workers,
};

fn workers(seen: &Seen<'_>) -> Answer<Found> {
    let hot = hot(seen)?;
    let text = seen.tree.text("/sys/devices/virtual/workqueue/cpumask")?;
    let mask = Cpus::parse_mask(&text)?;
    // The mask may name cores that the machine does not have.
    let mask = mask.and(&seen.online.clone()?);
    if mask.and(&hot).is_empty() {
        return Ok(Found::pass(format!("on {mask} only")));
    }
    let value = format!("on {mask}; hot threads: {hot}");
    if !has_spare(seen) {
        return Ok(Found::warn(value, too_few()));
    }
    let step = Step::Put(
        as_mask(&seen.spare()),
        "/sys/devices/virtual/workqueue/cpumask".into(),
    );
    Ok(Found::warn(value, for_cores(seen, vec![step])))
}

/// `ff` or `1,00000000`.
fn as_mask(cpus: &Cpus) -> String {
    let groups = cpus.iter().max().unwrap_or(0) / 32;
    let words = (0..=groups).rev().map(|group| {
        (0..32).fold(0u32, |bits, bit| {
            bits | u32::from(cpus.has(group * 32 + bit)) << bit
        })
    });
    let words: Vec<String> = words
        .enumerate()
        .map(|(place, bits)| {
            if place == 0 {
                format!("{bits:x}")
            } else {
                format!("{bits:08x}")
            }
        })
        .collect();
    words.join(",")
}

pub(super) const SMT_SIBLINGS: Check = Check {
    id: "smt-siblings",
    title: "Nothing else on a hot core's second thread",
    why: "Two hardware threads of one core share its caches and units: whatever runs on the other \
          one makes the hot one slower, by up to half.",
    from: "/sys/devices/system/cpu/cpu*/topology/thread_siblings_list",
    is_settable: true,
    look: smt,
};

/// Hot cores that are second threads of other hot cores.
pub(super) fn that_share(seen: &Seen<'_>) -> Answer<Cpus> {
    let mut shared = Vec::new();
    for cpu in seen.hot.iter() {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        let hot = seen.tree.cpus(&path)?.and(&seen.hot);
        shared.extend(hot.iter().filter(|&other| other != cpu));
    }
    Ok(shared.into_iter().collect())
}

fn smt(seen: &Seen<'_>) -> Answer<Found> {
    let hot = hot(seen)?;
    let online = seen.online.clone()?;
    let isolated = seen
        .tree
        .cpus("/sys/devices/system/cpu/isolated")
        .unwrap_or_default();
    let (shared, mut open) = (that_share(seen)?, Vec::new());
    for cpu in hot.iter() {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        let me: Cpus = [cpu].into_iter().collect();
        let others = seen.tree.cpus(&path)?.and(&online).without(&me);
        open.extend(others.without(&hot).without(&isolated).iter());
    }
    let open: Cpus = open.into_iter().collect();
    let as_told = if seen.place.hypervisor.is_some() {
        " (as the guest is told)"
    } else {
        ""
    };
    if !shared.is_empty() {
        let value = format!("hot threads on {shared} share cores with each other{as_told}");
        let what = match of_different_cores(seen, &online) {
            Some(cpus) => format!(
                "before anything is set for these, name others in run.cpus, such as {cpus}, and \
                 ask again"
            ),
            None => "take a machine with a core for each hot thread".into(),
        };
        return Ok(Found::warn(value, Remedy::Choose(what)));
    }
    if open.is_empty() {
        return Ok(Found::pass(format!("no busy sibling{as_told}")));
    }
    let value =
        format!("{open} are second threads of hot cores, and anything may run there{as_told}");
    let steps = vec![Step::Run(
        for_each(
            "cpu",
            &open.words(),
            "echo 0 > \"/sys/devices/system/cpu/cpu$cpu/online\"",
        ),
        "lost at a restart: let tuning/bare-metal.sh run at boot, or boot with nosmt",
    )];
    let ask = "ask for an instance type with one thread per core, or for SMT to be switched off";
    Ok(Found::warn(value, on_hardware(seen, ask, steps)))
}

/// As many as there are hot threads, the highest of each core.
fn of_different_cores(seen: &Seen<'_>, online: &Cpus) -> Option<Cpus> {
    let mut taken = Cpus::default();
    let mut chosen = Vec::new();
    let mut cpus: Vec<usize> = online.iter().collect();
    while let Some(cpu) = cpus.pop().filter(|_| chosen.len() < seen.threads()) {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        if !taken.has(cpu) {
            let siblings = seen.tree.cpus(&path).ok()?;
            taken = taken.iter().chain(siblings.iter()).collect();
            chosen.push(cpu);
        }
    }
    (chosen.len() == seen.threads()).then(|| chosen.into_iter().collect())
}

pub(super) const SHARED_CACHE: Check = Check {
    id: "shared-cache",
    title: "Hot cores that share a third-level cache",
    why: "A message from one core to another takes about 60 ns through a cache that both share \
          and three to four times as long from one cache to another.",
    from: "/sys/devices/system/cpu/cpu*/cache/index3/shared_cpu_list",
    is_settable: false,
    look: cache,
};

fn cache(seen: &Seen<'_>) -> Answer<Found> {
    let hot = hot(seen)?;
    let mut groups: Vec<Cpus> = Vec::new();
    for cpu in hot.iter() {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/cache/index3/shared_cpu_list");
        let group = seen.tree.cpus(&path)?;
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let told = if seen.place.hypervisor.is_some() {
        " (as the guest is told: the host may move its cores)"
    } else {
        ""
    };
    if let [group] = groups.as_slice() {
        return Ok(Found::pass(format!("{hot} share one with {group}{told}")));
    }
    let names: Vec<String> = groups.iter().map(|group| format!("[{group}]")).collect();
    let value = format!("{hot} are spread over {}{told}", names.join(" "));
    let what = "name cores of one of these groups in run.cpus, as far as they go";
    Ok(Found::warn(value, Remedy::Choose(what.into())))
}

pub(super) const WATCHDOG: Check = Check {
    id: "watchdog",
    title: "No lock-up detector on hot cores",
    why: "The kernel's detector of hung cores interrupts every core now and then, and takes one \
          of its performance counters.",
    from: "/proc/sys/kernel/nmi_watchdog, watchdog, watchdog_cpumask",
    is_settable: true,
    look: watchdog,
};

fn watchdog(seen: &Seen<'_>) -> Answer<Found> {
    let nmi = seen.tree.number("/proc/sys/kernel/nmi_watchdog")?;
    if nmi == 0 {
        return Ok(Found::pass("off"));
    }
    let hot = hot(seen)?;
    if let Ok(cpus) = seen.tree.cpus("/proc/sys/kernel/watchdog_cpumask")
        && cpus.and(&hot).is_empty()
    {
        return Ok(Found::pass(format!("on {cpus} only")));
    }
    let step = Step::Sysctl("kernel.nmi_watchdog", "0".into());
    Ok(Found::warn("on", here(seen, vec![step])))
}
