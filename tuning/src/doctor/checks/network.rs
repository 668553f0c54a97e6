//! From the wire to the program.

use super::super::seen::Seen;
use super::super::tree::{Answer, clip};
use super::super::{Check, Found, Remedy, Step};
use super::{here, hot, on_hardware};

pub(super) const NUMA_NIC: Check = Check {
    id: "numa-nic",
    title: "Network card and hot cores on one memory node",
    why: "A packet that arrives at another processor's memory crosses the link between them, which \
          adds 100 to 300 ns to each access.",
    from: "/sys/class/net/*/device/numa_node, /sys/devices/system/node/node*/cpulist",
    is_settable: false,
    look: numa_nic,
};

fn numa_nic(seen: &Seen<'_>) -> Answer<Found> {
    let nic = seen.nic()?;
    if nic == "lo" {
        return Ok(Found::pass("the loopback has no place"));
    }
    judge_node(
        seen,
        &format!("/sys/class/net/{nic}/device/numa_node"),
        &nic,
    )
}

/// Whether a device is on the node of the hot cores.
pub(super) fn judge_node(seen: &Seen<'_>, path: &str, device: &str) -> Answer<Found> {
    let nodes = seen
        .tree
        .names("/sys/devices/system/node")
        .unwrap_or_default();
    let nodes: Vec<i64> = nodes
        .iter()
        .filter_map(|name| name.strip_prefix("node")?.parse().ok())
        .collect();
    if nodes.len() <= 1 {
        return Ok(Found::pass("one memory node"));
    }
    let node = seen.tree.number(path)?;
    if node < 0 {
        return Err(format!(
            "the firmware does not say on which node {device} is"
        ));
    }
    let near = seen
        .tree
        .cpus(&format!("/sys/devices/system/node/node{node}/cpulist"))?;
    let hot = hot(seen)?;
    let value = format!("{device} on node {node} (cores {near}); hot threads: {hot}");
    if hot.without(&near).is_empty() {
        return Ok(Found::pass(value));
    }
    Ok(Found::warn(
        value,
        Remedy::Choose(format!("name cores of {near} in run.cpus")),
    ))
}

pub(super) const RECEIVE_BUFFERS: Check = Check {
    id: "receive-buffers",
    title: "Room for bursts in the socket",
    why: "What arrives while the reader is busy waits in the socket's buffer, and what does not \
          fit there is lost.",
    from: "/proc/sys/net/core/rmem_max, source.receive_buffer",
    is_settable: true,
    look: buffers,
};

fn buffers(seen: &Seen<'_>) -> Answer<Found> {
    let have = seen.tree.number("/proc/sys/net/core/rmem_max")?;
    if have < 0 {
        return Err(format!("/proc/sys/net/core/rmem_max is {have}"));
    }
    let want = i64::try_from(seen.aim.receive_buffer_bytes).unwrap_or(i64::MAX);
    let value = format!(
        "{} KiB at most; {} KiB wanted for each line",
        have >> 10,
        want >> 10
    );
    if have >= want {
        return Ok(Found::pass(value));
    }
    let remedy = here(
        seen,
        vec![Step::Sysctl("net.core.rmem_max", want.to_string())],
    );
    Ok(if seen.aim.is_live {
        Found::fail(value, remedy)
    } else {
        Found::warn(value, remedy)
    })
}

pub(super) const UDP_DROPS: Check = Check {
    id: "udp-drops",
    title: "Datagrams dropped for want of room",
    why: "Each of them is a hole in somebody's feed; on a tuned host the count stays at zero.",
    from: "/proc/net/snmp (Udp: RcvbufErrors)",
    is_settable: false,
    look: udp_drops,
};

fn udp_drops(seen: &Seen<'_>) -> Answer<Found> {
    let text = seen.tree.text("/proc/net/snmp")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (names, values) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let place = names
        .split_whitespace()
        .position(|name| name == "RcvbufErrors");
    let value = place.and_then(|place| values.split_whitespace().nth(place)?.parse::<u64>().ok());
    match value {
        None => Err("/proc/net/snmp has no RcvbufErrors for Udp".into()),
        Some(0) => Ok(Found::pass("none since the start")),
        Some(count) => {
            let what = "raise source.receive_buffer and net.core.rmem_max, and give the reader a \
                        core of its own; `nstat -az UdpRcvbufErrors` shows whether it still grows";
            let value = format!("{count} since the start, of any program");
            Ok(Found::warn(value, Remedy::Choose(what.into())))
        }
    }
}

pub(super) const NIC: Check = Check {
    id: "nic",
    title: "The network card is up, and drops nothing",
    why: "Packets that the card or its driver has to throw away reach no socket and show nowhere \
          else.",
    from: "/sys/class/net/*/{operstate,speed}, statistics/{rx_dropped,rx_missed_errors}",
    is_settable: false,
    look: nic,
};

fn nic(seen: &Seen<'_>) -> Answer<Found> {
    if let Some(Err(why)) = &seen.aim.nic {
        let what = "give source.interface the address of a card of this machine";
        return Ok(Found::fail(why, Remedy::Choose(what.into())));
    }
    let nic = seen.nic()?;
    let read = |file: &str| seen.tree.text(&format!("/sys/class/net/{nic}/{file}"));
    let state = read("operstate")?;
    if nic == "lo" {
        return Ok(Found::pass(
            "lo: the loopback, so figures have no wire in them",
        ));
    }
    if state != "up" {
        let what = Remedy::Choose(format!("ip link set {nic} up, or name another with --nic"));
        return Ok(Found::fail(format!("{nic} is {}", clip(&state)), what));
    }
    let count = |file: &str| -> u64 {
        read(&format!("statistics/{file}"))
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    };
    let missed = count("rx_missed_errors");
    let speed = read("speed")
        .ok()
        .and_then(|text| text.parse::<i64>().ok())
        .filter(|s| *s > 0);
    let speed = speed.map_or("speed not told".to_string(), |speed| {
        format!("{speed} Mb/s")
    });
    let value = format!("{nic}: up, {speed}, {missed} missed since the start");
    if missed == 0 {
        return Ok(Found::pass(value));
    }
    let what = "a larger receive ring (see nic-ring), and interrupts on a core that is not busy";
    Ok(Found::warn(value, Remedy::Choose(what.into())))
}

pub(super) const NIC_RING: Check = Check {
    id: "nic-ring",
    title: "Receive ring of the network card",
    why: "The ring holds what arrives until the kernel takes it; a burst that does not fit is lost \
          before any socket sees it.",
    from: "ethtool -g",
    is_settable: true,
    look: ring,
};

fn ring(seen: &Seen<'_>) -> Answer<Found> {
    let nic = seen.nic()?;
    if nic == "lo" {
        return Ok(Found::pass("the loopback has none"));
    }
    let text = seen.probe.output(&["ethtool", "-g", &nic])?;
    // First the most that it can, then what it has.
    let sizes: Vec<u64> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("RX:")?.trim().parse().ok())
        .collect();
    let [most, now] = sizes[..] else {
        return Err(format!("ethtool -g {nic} does not say"));
    };
    let value = format!("{nic}: {now} of at most {most}");
    if now >= most {
        return Ok(Found::pass(value));
    }
    let lasts = "until the next start: a udev rule or the network manager keeps it";
    let step = Step::Run(format!("ethtool -G {nic} rx {most}"), lasts);
    Ok(Found::warn(value, here(seen, vec![step])))
}

pub(super) const NIC_COALESCING: Check = Check {
    id: "nic-coalescing",
    title: "The card does not wait for more packets",
    why: "To save interrupts a card holds a packet back until more come or some time has passed, \
          and that time is in every latency.",
    from: "ethtool -c",
    is_settable: true,
    look: coalescing,
};

fn coalescing(seen: &Seen<'_>) -> Answer<Found> {
    let nic = seen.nic()?;
    if nic == "lo" {
        return Ok(Found::pass("the loopback has none"));
    }
    let text = seen.probe.output(&["ethtool", "-c", &nic])?;
    let adaptive = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Adaptive RX:"));
    let is_adaptive = adaptive.is_some_and(|rest| {
        rest.split_whitespace()
            .next()
            .is_some_and(|word| word == "on")
    });
    let usecs = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("rx-usecs:"));
    let usecs = usecs.and_then(|text| text.trim().parse::<u64>().ok());
    let Some(usecs) = usecs else {
        return Err(format!("ethtool -c {nic} does not say"));
    };
    let mode = if is_adaptive { "adaptive" } else { "fixed" };
    let value = format!("{nic}: waits up to {usecs} us, {mode}");
    if !is_adaptive && usecs == 0 {
        return Ok(Found::pass(value));
    }
    let lasts = "until the next start: a udev rule or the network manager keeps it. Costs \
                 interrupts, so mind where they go (see irq-affinity)";
    let command = format!("ethtool -C {nic} adaptive-rx off rx-usecs 0");
    let ask = "if the provider's card refuses it, ask for a type with direct access to one";
    let refuses = seen.place.hypervisor.is_some() && !text.contains("Adaptive");
    if refuses {
        return Ok(Found::warn(value, on_hardware(seen, ask, Vec::new())));
    }
    Ok(Found::warn(
        value,
        here(seen, vec![Step::Run(command, lasts)]),
    ))
}

pub(super) const BUSY_POLL: Check = Check {
    id: "busy-poll",
    title: "A read looks at the card itself",
    why: "With busy polling a read fetches packets from the card at once instead of waiting for \
          its interrupt, which saves 5 to 20 us.",
    from: "/proc/sys/net/core/busy_read",
    is_settable: true,
    look: busy_poll,
};

fn busy_poll(seen: &Seen<'_>) -> Answer<Found> {
    let nic = seen.nic()?;
    if nic == "lo" {
        return Ok(Found::pass("the loopback needs none"));
    }
    let micros = seen.tree.number("/proc/sys/net/core/busy_read")?;
    if micros > 0 {
        return Ok(Found::pass(format!("{micros} us")));
    }
    let steps = vec![
        Step::Sysctl("net.core.busy_read", "50".into()),
        Step::Sysctl("net.core.busy_poll", "50".into()),
    ];
    Ok(Found::warn("off", here(seen, steps)))
}

pub(super) const REVERSE_PATH: Check = Check {
    id: "reverse-path",
    title: "Multicast from any source is let in",
    why: "In strict mode the kernel silently drops packets whose sender it would answer through \
          another card, as is usual for feeds.",
    from: "/proc/sys/net/ipv4/conf/{all,*}/rp_filter",
    is_settable: true,
    look: reverse_path,
};

fn reverse_path(seen: &Seen<'_>) -> Answer<Found> {
    let nic = seen.nic()?;
    let read = |name: &str| {
        seen.tree
            .number(&format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"))
    };
    // The kernel takes the stricter-numbered of the two.
    let mode = read("all")?.max(read(&nic)?);
    match mode {
        0 => Ok(Found::pass(format!("{nic}: not checked"))),
        2 => Ok(Found::pass(format!("{nic}: loose"))),
        1 => {
            let own = Step::Put(
                "2".into(),
                format!("/proc/sys/net/ipv4/conf/{nic}/rp_filter"),
            );
            Ok(Found::warn(format!("{nic}: strict"), here(seen, vec![own])))
        }
        other => Err(format!("rp_filter is {other}, want 0, 1 or 2")),
    }
}
