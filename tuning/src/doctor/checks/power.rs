//! How fast the cores run, and how deep they sleep.

use super::super::script::for_each;
use super::super::seen::Seen;
use super::super::tree::{Answer, clip};
use super::super::{Check, Found, Step};
use super::{hot, of_each, on_hardware, out_of_sight, summed};

pub(super) const CPU_GOVERNOR: Check = Check {
    id: "cpu-governor",
    title: "Frequency governor of hot cores",
    why: "Any governor but `performance` lets a core slow down when it seems idle, and takes \
          milliseconds to bring it back.",
    from: "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    is_settable: true,
    look: governor,
};

const ASK_FREQUENCY: &str = "a guest does not see the host's frequencies: ask the provider for a \
                             fixed one (the `performance` governor, or a compute-optimised type)";

fn governor(seen: &Seen<'_>) -> Answer<Found> {
    let values = match of_each(seen, "cpufreq/scaling_governor") {
        Ok(values) => values,
        Err(why) => return Ok(out_of_sight(seen, why, ASK_FREQUENCY)),
    };
    if values.iter().all(|(_, value)| value == "performance") {
        return Ok(Found::pass(summed(&values)));
    }
    let step = Step::PutEach("performance".into(), hot(seen)?, "cpufreq/scaling_governor");
    Ok(Found::warn(
        summed(&values),
        on_hardware(seen, ASK_FREQUENCY, vec![step]),
    ))
}

pub(super) const ENERGY_PREFERENCE: Check = Check {
    id: "energy-preference",
    title: "Energy preference of hot cores",
    why: "The processor itself trades speed for energy by this hint, whatever the governor says.",
    from: "/sys/devices/system/cpu/cpu*/cpufreq/energy_performance_preference",
    is_settable: true,
    look: energy,
};

fn energy(seen: &Seen<'_>) -> Answer<Found> {
    let file = "cpufreq/energy_performance_preference";
    let values = match of_each(seen, file) {
        Ok(values) => values,
        // Without the file the processor has no such hint, or the driver does not hand it on.
        Err(_) if of_each(seen, "cpufreq/scaling_governor").is_ok() => {
            return Ok(Found::pass("this processor's driver has none"));
        }
        Err(why) => return Ok(out_of_sight(seen, why, ASK_FREQUENCY)),
    };
    if values
        .iter()
        .all(|(_, value)| value == "performance" || value == "0")
    {
        return Ok(Found::pass(summed(&values)));
    }
    let step = Step::PutEach("performance".into(), hot(seen)?, file);
    Ok(Found::warn(
        summed(&values),
        on_hardware(seen, ASK_FREQUENCY, vec![step]),
    ))
}

pub(super) const C_STATES: Check = Check {
    id: "c-states",
    title: "How deep hot cores may sleep",
    why: "A core that sleeps deeply needs up to some hundred microseconds to wake for a packet \
          or a finished disk write.",
    from: "/sys/devices/system/cpu/cpu*/cpuidle/state*/{name,latency,disable}, /proc/cmdline (idle)",
    is_settable: true,
    look: c_states,
};

/// A core that wakes within this is awake enough.
const WAKE_US_MAX: i64 = 10;

fn c_states(seen: &Seen<'_>) -> Answer<Found> {
    if let Ok(Some(idle)) = seen.boot_value("idle")
        && idle == "poll"
    {
        return Ok(Found::pass("idle=poll: cores never sleep"));
    }
    let ask = "ask the provider which sleep states its hosts allow, or take a type whose guests \
               control them";
    let mut deepest = (0, "none".to_string());
    for cpu in hot(seen)?.iter() {
        let folder = format!("/sys/devices/system/cpu/cpu{cpu}/cpuidle");
        let states = match seen.tree.names(&folder) {
            Ok(states) => states,
            Err(why) => return Ok(out_of_sight(seen, why, ask)),
        };
        for state in states.iter().filter(|name| name.starts_with("state")) {
            let is_off = seen
                .tree
                .number(&format!("{folder}/{state}/disable"))
                .unwrap_or(0)
                != 0;
            let wake_us = seen.tree.number(&format!("{folder}/{state}/latency"))?;
            if !is_off && wake_us > deepest.0 {
                let name = seen.tree.text(&format!("{folder}/{state}/name"));
                let name = name.unwrap_or_else(|_| state.clone());
                deepest = (wake_us, clip(&name));
            }
        }
    }
    let value = format!("deepest: {}, {} us to wake", deepest.1, deepest.0);
    if deepest.0 <= WAKE_US_MAX {
        return Ok(Found::pass(value));
    }
    let inner = "for state in \"/sys/devices/system/cpu/cpu$cpu/cpuidle/state\"[2-9]; do \
                 echo 1 > \"$state/disable\"; done";
    let command = for_each("cpu", &hot(seen)?.words(), inner);
    let lasts = "lost at a restart: let tuning/bare-metal.sh run at boot, or boot with \
                 processor.max_cstate=1 intel_idle.max_cstate=1. Costs power and heat";
    Ok(Found::warn(
        value,
        on_hardware(seen, ask, vec![Step::Run(command, lasts)]),
    ))
}

pub(super) const TURBO: Check = Check {
    id: "turbo",
    title: "A clock that does not change with heat",
    why: "With turbo a core's speed depends on its neighbours and on heat, so two runs differ for \
          no reason of the program's.",
    from: "/sys/devices/system/cpu/intel_pstate/no_turbo, /sys/devices/system/cpu/cpufreq/boost",
    is_settable: true,
    look: turbo,
};

fn turbo(seen: &Seen<'_>) -> Answer<Found> {
    let ask =
        "ask the provider whether the clock is fixed; some types let the guest switch turbo off";
    let intel = "/sys/devices/system/cpu/intel_pstate/no_turbo";
    let other = "/sys/devices/system/cpu/cpufreq/boost";
    let (path, off) = if seen.tree.has(intel) {
        (intel, 1)
    } else {
        (other, 0)
    };
    let value = match seen.tree.number(path) {
        Ok(value) => value,
        Err(why) => return Ok(out_of_sight(seen, why, ask)),
    };
    if value == off {
        return Ok(Found::pass("off"));
    }
    let step = Step::Put(off.to_string(), path.into());
    let mut found = Found::warn("on", on_hardware(seen, ask, vec![step]));
    found
        .value
        .push_str("; leave it on where the lowest latency counts more than a steady one");
    Ok(found)
}
