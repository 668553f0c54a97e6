//! Which clock, how steady, and how right.

use super::super::seen::Seen;
use super::super::tree::{Answer, clip};
use super::super::{Check, Found, Remedy, Step};
use super::here;

const FOLDER: &str = "/sys/devices/system/clocksource/clocksource0";

pub(super) const CLOCK_SOURCE: Check = Check {
    id: "clock-source",
    title: "The kernel's clock",
    why: "Through the processor's counter (tsc) a time costs 30 ns; through other clocks it costs \
          up to 1 us and a system call, which every latency figure then has in it.",
    from: "/sys/devices/system/clocksource/clocksource0/{current,available}_clocksource",
    is_settable: true,
    look: source,
};

fn source(seen: &Seen<'_>) -> Answer<Found> {
    let current = seen.tree.text(&format!("{FOLDER}/current_clocksource"))?;
    // On ARM the counter has another name.
    if current == "tsc" || current == "arch_sys_counter" {
        return Ok(Found::pass(current));
    }
    let available = seen
        .tree
        .text(&format!("{FOLDER}/available_clocksource"))
        .unwrap_or_default();
    let value = format!("{} (there are: {})", clip(&current), clip(&available));
    let is_there = available.split_whitespace().any(|name| name == "tsc");
    let remedy = match (is_there, &seen.place.hypervisor) {
        (true, _) => here(
            seen,
            vec![
                Step::Put("tsc".into(), format!("{FOLDER}/current_clocksource")),
                Step::Boot("clocksource=tsc".into()),
            ],
        ),
        (false, Some(_)) => Remedy::Ask("ask for a type whose guests may use the tsc".into()),
        (false, None) => Remedy::Choose(
            "the kernel found the tsc unstable: see `dmesg | grep -i tsc`, and update the firmware"
                .into(),
        ),
    };
    // These are read in user space too, at two to three times the cost.
    let is_quick = ["kvm-clock", "hyperv_clocksource_tsc_page"].contains(&current.as_str());
    Ok(if is_quick {
        Found::warn(value, remedy)
    } else {
        Found::fail(value, remedy)
    })
}

pub(super) const TSC_FLAGS: Check = Check {
    id: "tsc-flags",
    title: "A counter that runs at one speed on all cores",
    why: "Latencies are differences of the processor's counter, taken on different cores; where it \
          changes its speed or stops in sleep they mean nothing.",
    from: "/proc/cpuinfo (flags: constant_tsc, nonstop_tsc)",
    is_settable: false,
    look: flags,
};

fn flags(seen: &Seen<'_>) -> Answer<Found> {
    let cpuinfo = seen.tree.text("/proc/cpuinfo")?;
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    let Some(flags) = flags else {
        // ARM's counter is steady by definition of the architecture.
        if cpuinfo.contains("CPU implementer") {
            return Ok(Found::pass(
                "by definition of this processor's architecture",
            ));
        }
        return Err("/proc/cpuinfo has no flags".into());
    };
    let has = |name: &str| flags.split_whitespace().any(|flag| flag == name);
    let missing: Vec<&str> = ["constant_tsc", "nonstop_tsc"]
        .into_iter()
        .filter(|flag| !has(flag))
        .collect();
    if missing.is_empty() {
        return Ok(Found::pass("constant_tsc nonstop_tsc"));
    }
    let value = format!("missing: {}", missing.join(" "));
    // A guest's processor never stops, and its host may hide the flag.
    if seen.place.hypervisor.is_some() && missing == ["nonstop_tsc"] {
        let what = "ask whether the hosts have an invariant tsc that guests may see";
        return Ok(Found::warn(value, Remedy::Ask(what.into())));
    }
    let what = match seen.place.hypervisor {
        Some(_) => Remedy::Ask("ask for hosts with an invariant tsc that guests may see".into()),
        None => Remedy::Choose("a processor with an invariant tsc".into()),
    };
    Ok(Found::fail(value, what))
}

pub(super) const TSC_RATE: Check = Check {
    id: "tsc-rate",
    title: "The counter's measured speed",
    why: "Counter and kernel clock must agree on how long something took; they part when the \
          counter is unsteady or a guest was moved to another machine.",
    from: "the counter against CLOCK_MONOTONIC, over 40 ms",
    is_settable: false,
    look: rate,
};

fn rate(seen: &Seen<'_>) -> Answer<Found> {
    // Keeping time by the network stretches the kernel's clock by up to 500.
    const PPM_MAX: f64 = 500.0;
    let ppm = seen.probe.tsc_ppm()?;
    if ppm.abs() <= PPM_MAX {
        return Ok(Found::pass(format!(
            "they differ by less than {PPM_MAX} parts per million"
        )));
    }
    let what = "look for `tsc` in dmesg; other work during the measurement may be the cause as \
                well, so ask again";
    let value = format!("they differ by {ppm:.0} parts per million");
    Ok(Found::warn(value, Remedy::Choose(what.into())))
}

pub(super) const CLOCK_SYNC: Check = Check {
    id: "clock-sync",
    title: "How right the time of day is",
    why: "Arrival times, and delays against the exchange's times, are as right as this clock.",
    from: "chronyc -c tracking, /run/systemd/timesync/synchronized",
    is_settable: false,
    look: sync,
};

fn sync(seen: &Seen<'_>) -> Answer<Found> {
    /// A tenth of a millisecond, as rules for trading systems want it (RTS 25, high frequency).
    const OFFSET_MAX: f64 = 100e-6;
    let remedy = || {
        let what = "a time daemon (chrony, or ptp4l with a card that stamps packets) and a near \
                    source of time";
        match seen.place.container {
            Some(_) => Remedy::Ask(format!("the clock is the host's; it needs {what}")),
            None => Remedy::Choose(what.into()),
        }
    };
    let asked = seen.probe.output(&["chronyc", "-n", "-c", "tracking"]);
    if let Ok(text) = &asked {
        // Reference, name, stratum, time, offset of the clock in seconds, ... , leap status.
        let fields: Vec<&str> = text.trim().split(',').collect();
        let offset: f64 = fields
            .get(4)
            .and_then(|f| f.parse().ok())
            .unwrap_or(f64::NAN);
        let is_synced = fields
            .last()
            .is_some_and(|leap| !leap.contains("Not synchronised"));
        if !offset.is_finite() {
            return Err(format!("chronyc says `{}`", clip(text)));
        }
        let value = format!("{:.1} us off, by chrony's estimate", offset.abs() * 1e6);
        return Ok(if !is_synced {
            Found::warn("chrony runs, and has no source of time", remedy())
        } else if offset.abs() <= OFFSET_MAX {
            Found::pass(value)
        } else {
            Found::warn(value, remedy())
        });
    }
    if seen.tree.has("/run/systemd/timesync/synchronized") {
        let value = "synchronised by systemd-timesyncd, to within some milliseconds";
        return Ok(if seen.aim.is_live {
            Found::warn(value, remedy())
        } else {
            Found::pass(value)
        });
    }
    Ok(Found::unknown(
        format!("no time daemon says: {}", asked.unwrap_err()),
        remedy(),
    ))
}

pub(super) const TIME_DAEMON: Check = Check {
    id: "time-daemon",
    title: "Something keeps the time",
    why: "Without it the clock drifts by up to seconds a day, and is set in jumps when somebody \
          notices.",
    from: "/proc/*/comm, /sys/class/ptp",
    is_settable: false,
    look: daemon,
};

fn daemon(seen: &Seen<'_>) -> Answer<Found> {
    let known = [
        "chronyd",
        "ntpd",
        "systemd-timesyn",
        "ptp4l",
        "phc2sys",
        "ntpd-rs",
        "openntpd",
    ];
    let names = seen.tree.process_names()?;
    let mut running: Vec<&str> = known
        .into_iter()
        .filter(|k| names.iter().any(|n| n == k))
        .collect();
    running.dedup();
    let clocks = seen.tree.names("/sys/class/ptp").unwrap_or_default();
    let clocks = match clocks.len() {
        0 => "no hardware clock".to_string(),
        n => format!("{n} hardware clock{}", if n == 1 { "" } else { "s" }),
    };
    if !running.is_empty() {
        return Ok(Found::pass(format!("{}; {clocks}", running.join(", "))));
    }
    if seen.place.container.is_some() {
        return Err("a container does not see its host's daemons".into());
    }
    let remedy = match seen.place.hypervisor {
        Some(_) => "chrony, with the provider's time service or /dev/ptp0 (ptp_kvm) as its source",
        None => "chrony; with a card that has a hardware clock, ptp4l and phc2sys",
    };
    Ok(Found::warn(
        format!("none runs; {clocks}"),
        Remedy::Choose(remedy.into()),
    ))
}
