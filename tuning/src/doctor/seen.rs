//! What all checks look at: the host below a root, what is to run there, and what kind of place
//! it is, since advice that cannot be followed in a guest or a container is no advice.

use super::cpus::Cpus;
use super::probe::Probe;
use super::tree::{Answer, Tree, clip};
use crate::pin;

/// What is to run on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    /// The cores that the settings name for the hot threads. Empty to have them chosen.
    pub cpus: Vec<usize>,
    /// How many hot threads there are: the reader and the shards, or one for all.
    pub threads: usize,
    /// Where the log goes.
    pub log_dir: String,
    /// Free bytes that the log needs to begin with.
    pub log_bytes: u64,
    /// Whether orders wait for the disk.
    pub is_durable: bool,
    /// The network card, or why there is none of what the settings name; the default route's
    /// otherwise.
    pub nic: Option<Answer<String>>,
    /// Whether it listens to a live feed.
    pub is_live: bool,
    /// The receive buffer that it wants for each line.
    pub receive_buffer_bytes: u64,
    /// The real-time priority that it wants; 0 for none.
    pub fifo_priority: u8,
    /// Whether it is to lock its memory.
    pub lock_memory: bool,
    /// How many huge pages it is to take from those set aside; 0 for none.
    pub huge_pages_wanted: u64,
}

/// What kind of place this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The hypervisor's or the provider's name, in a virtual machine.
    pub hypervisor: Option<String>,
    /// How we know that this is a container.
    pub container: Option<String>,
}

/// The inode of the first process namespace (`PROC_PID_INIT_INO` of the kernel): whoever is in
/// another one is in a container.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

impl Place {
    fn find(tree: &Tree) -> Place {
        Place {
            hypervisor: hypervisor(tree),
            container: container(tree),
        }
    }

    /// What to call it.
    pub fn describe(&self) -> String {
        match (&self.container, &self.hypervisor) {
            (None, None) => "bare metal".to_string(),
            (None, Some(name)) => format!("a virtual machine ({name})"),
            (Some(how), None) => format!("a container ({how}) on bare metal"),
            (Some(how), Some(name)) => format!("a container ({how}) in a virtual machine ({name})"),
        }
    }
}

fn hypervisor(tree: &Tree) -> Option<String> {
    let cpuinfo = tree.text("/proc/cpuinfo").unwrap_or_default();
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    let has_flag = flags.map(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor"));
    let dmi = |name: &str| {
        tree.text(&format!("/sys/class/dmi/id/{name}"))
            .unwrap_or_default()
    };
    let (vendor, product) = (dmi("sys_vendor"), dmi("product_name"));
    let said = format!("{vendor} {product}");
    // Where the processor has no flag for it, the maker's name in the firmware must do.
    let is_virtual = has_flag.unwrap_or_else(|| {
        let makers = [
            "QEMU",
            "KVM",
            "VMware",
            "VirtualBox",
            "innotek",
            "Xen",
            "Virtual Machine",
        ];
        makers.iter().any(|maker| said.contains(maker)) || tree.has("/proc/device-tree/hypervisor")
    });
    if !is_virtual {
        return None;
    }
    let kind = tree.text("/sys/hypervisor/type").unwrap_or_default();
    let sources = tree
        .text("/sys/devices/system/clocksource/clocksource0/available_clocksource")
        .unwrap_or_default();
    let guess = match () {
        () if !kind.is_empty() => kind,
        () if sources.contains("kvm-clock") => "KVM".into(),
        () if sources.contains("hyperv") => "Hyper-V".into(),
        () if sources.contains("xen") => "Xen".into(),
        () => "hypervisor not named".into(),
    };
    let said = clip(said.trim());
    Some(if said.is_empty() {
        clip(&guess)
    } else {
        format!("{}, {said}", clip(&guess))
    })
}

fn container(tree: &Tree) -> Option<String> {
    let kinds = [
        ("docker", "Docker"),
        ("kubepods", "Kubernetes"),
        ("lxc", "LXC"),
        ("libpod", "Podman"),
    ];
    let groups = tree.text("/proc/self/cgroup").unwrap_or_default();
    if let Some((_, name)) = kinds.iter().find(|(word, _)| groups.contains(word)) {
        return Some((*name).to_string());
    }
    let namespace = tree.link("/proc/self/ns/pid").unwrap_or_default();
    let is_inside = namespace.starts_with("pid:") && namespace != FIRST_PID_NAMESPACE;
    let root = super::mounts::find(tree, "/")
        .map(|mount| mount.kind)
        .unwrap_or_default();
    let marks = [("/.dockerenv", "Docker"), ("/run/.containerenv", "Podman")];
    let mark = marks.iter().find(|(path, _)| tree.has(path));
    match (mark, is_inside) {
        // A machine whose disk was made from a container's image has the mark too.
        (Some((_, name)), _) if is_inside || root == "overlay" => Some((*name).to_string()),
        (_, true) => Some("it has processes of its own only".into()),
        _ => None,
    }
}

/// What a check may look at.
pub struct Seen<'a> {
    /// The host's files.
    pub tree: &'a Tree,
    /// The host's answers.
    pub probe: &'a dyn Probe,
    /// What is to run there.
    pub aim: &'a Aim,
    /// What kind of place it is.
    pub place: Place,
    /// The cores that are switched on.
    pub online: Answer<Cpus>,
    /// The cores that this process may use.
    pub allowed: Answer<Cpus>,
    /// The cores that hot threads will be on.
    pub hot: Cpus,
    /// The boot parameters, where they can be read.
    pub boot: Answer<String>,
}

impl<'a> Seen<'a> {
    /// Looks at what most checks ask for.
    pub fn new(tree: &'a Tree, probe: &'a dyn Probe, aim: &'a Aim) -> Seen<'a> {
        let online = tree.cpus("/sys/devices/system/cpu/online");
        let allowed = status_field(tree, "Cpus_allowed_list").and_then(|list| {
            Cpus::parse(&list).map_err(|what| format!("/proc/self/status: {what}"))
        });
        let hot = if aim.cpus.is_empty() {
            let allowed: Vec<usize> = allowed.iter().flat_map(Cpus::iter).collect();
            pin::plan(&allowed, aim.threads)
                .into_iter()
                .flatten()
                .collect()
        } else {
            aim.cpus.iter().copied().collect()
        };
        let place = Place::find(tree);
        let boot = tree.text("/proc/cmdline");
        Seen {
            tree,
            probe,
            aim,
            place,
            online,
            allowed,
            hot,
            boot,
        }
    }

    /// Threads that want a core of their own.
    pub fn threads(&self) -> usize {
        self.aim.threads
    }

    /// The cores of this machine that no hot thread is on.
    pub fn spare(&self) -> Cpus {
        self.online.clone().unwrap_or_default().without(&self.hot)
    }

    /// The value of a boot parameter, the last one if it is there twice.
    pub fn boot_value(&self, name: &str) -> Answer<Option<String>> {
        let line = self.boot.clone()?;
        let words = line.split_whitespace();
        let mut values =
            words.filter_map(|word| word.split_once('=').filter(|(key, _)| *key == name));
        Ok(values.next_back().map(|(_, value)| value.to_string()))
    }

    /// Whether this process has a capability, by its number.
    pub fn can(&self, capability: u32) -> Answer<bool> {
        let text = status_field(self.tree, "CapEff")?;
        let bits = u64::from_str_radix(&text, 16)
            .map_err(|_| format!("/proc/self/status: CapEff is `{}`", clip(&text)))?;
        Ok(bits >> capability & 1 == 1)
    }

    /// The network card to look at.
    pub fn nic(&self) -> Answer<String> {
        let name = match &self.aim.nic {
            Some(name) => name.clone()?,
            None => {
                let routes = self.tree.text("/proc/net/route")?;
                let default = routes.lines().skip(1).find_map(|line| {
                    let mut words = line.split_whitespace();
                    let (name, to) = (words.next()?, words.next()?);
                    (to == "00000000").then(|| name.to_string())
                });
                default.ok_or("no network card: name one with --nic")?
            }
        };
        // It becomes part of paths and commands.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if name.is_empty()
            || name.starts_with('.')
            || name.len() > 32
            || !name.chars().all(is_plain)
        {
            return Err(format!("`{}` is no name of a network card", clip(&name)));
        }
        if self.tree.has(&format!("/sys/class/net/{name}")) {
            Ok(name)
        } else {
            Err(format!("there is no network card {name} in /sys/class/net"))
        }
    }
}

/// A line of `/proc/self/status`.
fn status_field(tree: &Tree, name: &str) -> Answer<String> {
    let text = tree.text("/proc/self/status")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(|value| value.trim().to_string())
        .ok_or_else(|| format!("/proc/self/status has no {name}"))
}
