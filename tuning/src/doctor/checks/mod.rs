//! What is looked at, the more important first.

mod clock;
mod cores;
mod disk;
mod memory;
mod network;
mod power;
mod system;

use super::cpus::Cpus;
use super::seen::Seen;
use super::tree::Answer;
use super::{Check, Remedy, Step};

/// Every check, in the order of importance.
pub fn all() -> impl Iterator<Item = &'static Check> {
    ORDER.iter().copied()
}

const ORDER: &[&Check] = &[
    &cores::CORES,
    &system::CPU_QUOTA,
    &disk::LOG_FILESYSTEM,
    &disk::DISK_SPACE,
    &clock::CLOCK_SOURCE,
    &clock::TSC_FLAGS,
    &memory::OVERCOMMIT,
    &system::PLATFORM,
    &system::STEAL,
    &system::LOAD,
    &cores::SMT_SIBLINGS,
    &cores::SHARED_CACHE,
    &cores::ISOLATED_CORES,
    &cores::IRQ_AFFINITY,
    &cores::IRQ_BALANCE,
    &system::RT_THROTTLING,
    &cores::TICKLESS_CORES,
    &cores::RCU_OFFLOAD,
    &cores::KERNEL_WORKERS,
    &power::CPU_GOVERNOR,
    &power::ENERGY_PREFERENCE,
    &power::C_STATES,
    &power::TURBO,
    &memory::TRANSPARENT_HUGE_PAGES,
    &memory::THP_DEFRAG,
    &memory::HUGE_PAGES,
    &memory::SWAP,
    &memory::MEMLOCK,
    &system::RT_LIMIT,
    &memory::NUMA_BALANCING,
    &network::NUMA_NIC,
    &disk::NUMA_DISK,
    &clock::TSC_RATE,
    &clock::CLOCK_SYNC,
    &clock::TIME_DAEMON,
    &network::RECEIVE_BUFFERS,
    &network::UDP_DROPS,
    &network::NIC,
    &network::NIC_RING,
    &network::NIC_COALESCING,
    &network::BUSY_POLL,
    &network::REVERSE_PATH,
    &disk::WRITE_CACHE,
    &disk::LOG_DISK,
    &disk::IO_URING,
    &system::MITIGATIONS,
    &cores::WATCHDOG,
    &system::KERNEL,
    &system::TUNED,
];

/// Done here, unless this is a container: then its host must.
fn here(seen: &Seen<'_>, steps: Vec<Step>) -> Remedy {
    if seen.place.container.is_none() {
        return Remedy::Do(steps);
    }
    let commands: Vec<String> = steps.iter().map(Step::command).collect();
    Remedy::Ask(format!(
        "a container cannot; on its host: {}",
        commands.join("; ")
    ))
}

/// What is set for the hot cores and against the others: only once it is settled which these are.
fn for_cores(seen: &Seen<'_>, steps: Vec<Step>) -> Remedy {
    if cores::that_share(seen).is_ok_and(|shared| !shared.is_empty()) {
        return Remedy::Choose("settle first which cores these are: see smt-siblings".into());
    }
    here(seen, steps)
}

/// Done here on bare metal; a guest has no hand on the hardware, and asks its provider.
fn on_hardware(seen: &Seen<'_>, ask: &str, steps: Vec<Step>) -> Remedy {
    match seen.place.hypervisor {
        Some(_) => Remedy::Ask(ask.to_string()),
        None => here(seen, steps),
    }
}

/// Why the hardware's settings are not to be seen, and whom to ask.
fn out_of_sight(seen: &Seen<'_>, why: String, ask: &str) -> super::Found {
    let remedy = match (&seen.place.hypervisor, &seen.place.container) {
        (Some(_), _) => Remedy::Ask(ask.to_string()),
        (None, Some(_)) => Remedy::Ask("look on the container's host".into()),
        (None, None) => Remedy::Nothing,
    };
    super::Found::unknown(why, remedy)
}

/// The cores that hot threads will be on, if there are enough for all.
fn hot(seen: &Seen<'_>) -> Answer<Cpus> {
    if seen.hot.is_empty() {
        return Err("no thread has a core of its own: see `cores`".into());
    }
    Ok(seen.hot.clone())
}

/// Whether there is a core left for the rest of the system once the hot threads have theirs.
fn has_spare(seen: &Seen<'_>) -> bool {
    !seen.spare().is_empty()
}

/// What to say where there is none.
fn too_few() -> Remedy {
    Remedy::Choose(
        "nothing can be set: no core is left for the rest of the system (see `cores`)".into(),
    )
}

/// One value of all hot cores, or the values with their cores.
fn of_each(seen: &Seen<'_>, file: &str) -> Answer<Vec<(usize, String)>> {
    let mut values = Vec::new();
    for cpu in hot(seen)?.iter() {
        values.push((
            cpu,
            seen.tree
                .text(&format!("/sys/devices/system/cpu/cpu{cpu}/{file}"))?,
        ));
    }
    Ok(values)
}

/// `performance` or `powersave on 2-3; performance on 4`.
fn summed(values: &[(usize, String)]) -> String {
    let mut kinds: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let parts: Vec<String> = kinds
        .into_iter()
        .map(|kind| {
            let on: Cpus = values
                .iter()
                .filter(|(_, value)| value == kind)
                .map(|(cpu, _)| *cpu)
                .collect();
            format!("{} on {on}", super::tree::clip(kind))
        })
        .collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sentences_are_sentences() {
        let mut ids: Vec<&str> = all().map(|check| check.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all().count());
        for check in all() {
            assert!(
                check.why.ends_with('.') && check.why.len() > 40,
                "{}",
                check.id
            );
            let is_plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(check.id.chars().all(is_plain), "{}", check.id);
        }
    }
}
