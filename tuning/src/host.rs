//! What machine this is: the part of a manifest that says under what conditions a figure was taken.

use std::fs;
use std::path::Path;

/// What decides about latency on this machine, as the system says it; `unknown` where it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The processor's name.
    pub cpu: String,
    /// How many cores this process may use.
    pub cores: usize,
    /// Kernel release.
    pub kernel: String,
    /// Where the kernel's time comes from.
    pub clocksource: String,
    /// Frequency governor of the first core.
    pub governor: String,
    /// Which mode of transparent huge pages is on.
    pub huge_pages: String,
    /// Cores taken from the scheduler.
    pub isolated_cpus: String,
    /// Whether this is a virtual machine.
    pub virtual_machine: bool,
    /// Memory in MiB.
    pub memory_mib: u64,
}

impl Host {
    /// Reads this machine's `/proc` and `/sys`.
    pub fn read() -> Host {
        Host::read_from(Path::new("/"))
    }

    /// Reads a tree that looks like `/`.
    pub fn read_from(root: &Path) -> Host {
        let line = |path: &str| -> Option<String> {
            let text = fs::read_to_string(root.join(path)).ok()?;
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_string())
        };
        let cpuinfo = line("proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo
            .lines()
            .find_map(|l| {
                l.strip_prefix("model name")?
                    .split_once(':')
                    .map(|(_, v)| v.trim())
            })
            .unwrap_or("unknown")
            .to_string();
        let flags = cpuinfo
            .lines()
            .find(|l| l.starts_with("flags"))
            .unwrap_or_default();
        let memory_kib = line("proc/meminfo")
            .unwrap_or_default()
            .lines()
            .find_map(|l| {
                l.strip_prefix("MemTotal:")?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .unwrap_or(0u64);
        let chosen = |path: &str| -> String {
            let text = line(path).unwrap_or_default();
            let inner = text
                .split_once('[')
                .and_then(|(_, rest)| rest.split_once(']'));
            inner.map_or("unknown", |(chosen, _)| chosen).to_string()
        };
        let or_unknown = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_string());
        Host {
            cpu,
            cores: crate::pin::allowed_cpus().len(),
            kernel: or_unknown(line("proc/sys/kernel/osrelease")),
            clocksource: or_unknown(line(
                "sys/devices/system/clocksource/clocksource0/current_clocksource",
            )),
            governor: or_unknown(line("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
            huge_pages: chosen("sys/kernel/mm/transparent_hugepage/enabled"),
            isolated_cpus: line("sys/devices/system/cpu/isolated").unwrap_or_else(|| "none".into()),
            virtual_machine: flags.split_whitespace().any(|flag| flag == "hypervisor"),
            memory_mib: memory_kib / 1024,
        }
    }
}

/// Whether the scheduler leaves this core alone, as the `isolcpus` boot parameter has it.
pub fn is_isolated(cpu: usize) -> bool {
    let list = fs::read_to_string("/sys/devices/system/cpu/isolated").unwrap_or_default();
    in_list(&list, cpu)
}

/// Whether a list such as `2-5,7` names a core.
fn in_list(list: &str, cpu: usize) -> bool {
    list.trim().split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&cpu),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read() {
        let named: Vec<usize> = (0..10).filter(|cpu| in_list("2-4,7\n", *cpu)).collect();
        assert_eq!(named, [2, 3, 4, 7]);
        assert!(!in_list("\n", 0));
    }

    #[test]
    fn a_made_up_machine_is_read() {
        let root = std::env::temp_dir().join(format!("tapeline-host-{}", std::process::id()));
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "proc/cpuinfo",
            "model name\t: Fast One\nflags\t: fpu hypervisor sse\n",
        );
        put("proc/meminfo", "MemTotal:  2048 kB\n");
        put(
            "sys/kernel/mm/transparent_hugepage/enabled",
            "always [madvise] never\n",
        );
        let host = Host::read_from(&root);
        assert_eq!((host.cpu.as_str(), host.memory_mib), ("Fast One", 2));
        assert_eq!(
            (host.huge_pages.as_str(), host.governor.as_str()),
            ("madvise", "unknown")
        );
        assert!(host.virtual_machine);
        fs::remove_dir_all(&root).unwrap();
    }
}
