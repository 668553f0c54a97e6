//! This machine's answers to what no file says.

use std::io::Read;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bus::clock::{Clock, MachineClock};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use tuning::doctor::probe::{Limit, Probe};
use tuning::doctor::tree::Answer;

/// The machine that this runs on.
pub(super) struct Machine;

impl Probe for Machine {
    fn limit(&self, limit: Limit) -> Answer<Option<u64>> {
        let resource = match limit {
            Limit::Memlock => Resource::RLIMIT_MEMLOCK,
            Limit::Rtprio => Resource::RLIMIT_RTPRIO,
        };
        let (_, most) = getrlimit(resource).map_err(|e| format!("getrlimit: {e}"))?;
        Ok((most != RLIM_INFINITY).then_some(most))
    }

    fn io_uring(&self) -> Answer<Result<(), String>> {
        Ok(bus::disk::uring::is_allowed().map_err(|e| e.to_string()))
    }

    fn tsc_ppm(&self) -> Answer<f64> {
        const APART: Duration = Duration::from_millis(40);
        let clock = MachineClock::new();
        let first = together(&clock);
        while first.1.elapsed() < APART {
            std::thread::park_timeout(APART.saturating_sub(first.1.elapsed()));
        }
        let second = together(&clock);
        let counted = (second.0 - first.0) as f64;
        let passed = second.1.duration_since(first.1).as_nanos() as f64;
        Ok((counted / passed - 1.0) * 1e6)
    }

    fn free_bytes(&self, folder: &str) -> Answer<u64> {
        let stat = nix::sys::statvfs::statvfs(folder).map_err(|e| format!("{folder}: {e}"))?;
        // The types differ between platforms.
        #[allow(clippy::useless_conversion)]
        let (blocks, size) = (
            u64::from(stat.blocks_available()),
            u64::from(stat.fragment_size()),
        );
        Ok(blocks.saturating_mul(size))
    }

    fn output(&self, command: &[&str]) -> Answer<String> {
        let name = command.join(" ");
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound => format!("{} is not installed", command[0]),
                _ => format!("{name}: {e}"),
            })?;
        // What it prints fits the pipe, so it can end before anybody reads.
        const LONGEST: Duration = Duration::from_millis(500);
        let deadline = Instant::now() + LONGEST;
        let status = loop {
            match child.try_wait().map_err(|e| format!("{name}: {e}"))? {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!(
                        "{name} gave no answer within {} ms",
                        LONGEST.as_millis()
                    ));
                }
                None => std::thread::park_timeout(Duration::from_millis(2)),
            }
        };
        if !status.success() {
            return Err(format!("{name} failed"));
        }
        let mut text = String::new();
        let mut out = child.stdout.take().expect("stdout is piped");
        out.read_to_string(&mut text)
            .map_err(|e| format!("{name}: {e}"))?;
        Ok(text)
    }
}

/// Both clocks at one moment: of some tries, the one with the least between.
fn together(clock: &MachineClock) -> (u64, Instant) {
    const TRIES: usize = 64;
    let tries = (0..TRIES).map(|_| {
        let before = clock.now_ns();
        let at = Instant::now();
        let after = clock.now_ns();
        (after - before, before + (after - before) / 2, at)
    });
    let (_, counted, at) = tries
        .min_by_key(|(apart, ..)| *apart)
        .expect("there are tries");
    (counted, at)
}

/// The name of the network card with this address.
pub(super) fn card_of(address: Ipv4Addr) -> Result<String, String> {
    let cards = nix::ifaddrs::getifaddrs().map_err(|e| format!("getifaddrs: {e}"))?;
    let has = |card: &nix::ifaddrs::InterfaceAddress| {
        let inner = card
            .address
            .as_ref()
            .and_then(|address| address.as_sockaddr_in().map(|a| a.ip()));
        inner == Some(address)
    };
    let mut cards = cards.into_iter();
    let found = cards.find(has).map(|card| card.interface_name);
    found.ok_or_else(|| format!("source.interface: no network card has the address {address}"))
}
