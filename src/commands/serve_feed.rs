//! `tapeline serve-feed`

use std::net::SocketAddrV4;

use bus::clock::MachineClock;
use feed::source::{Capture, CaptureOptions, Framing, Paced, Polled, Source};
use feed::transmit::Transmitter;
use tapeline::config::Speed;
use tapeline::pipeline::{paced_speed, watch_signals};
use tapeline::term::{count, nanos};

use super::{Failure, Talk};
use crate::cli::ServeFeed;

/// What was sent.
#[derive(Default)]
struct Served {
    packets: u64,
    bytes: u64,
    refused: u64,
    max_late_ns: u64,
}

pub fn serve_feed(args: &ServeFeed, talk: Talk) -> Result<(), Failure> {
    let capture = Capture::open(&args.files, CaptureOptions::default()).map_err(Failure::io)?;
    let stop = watch_signals().map_err(Failure::io)?;
    let served = match args.speed {
        Speed::Max => send_all(capture, args, &stop, |_| 0)?,
        Speed::Times(times) => {
            let paced = Paced::new(capture, MachineClock::new(), paced_speed(times));
            send_all(paced, args, &stop, |source| source.counts().max_late_ns)?
        }
    };
    if talk.json {
        let said = serde_json::json!({
            "schema": "tapeline-serve-feed/1", "packets": served.packets, "bytes": served.bytes,
            "refused": served.refused, "max_late_ns": served.max_late_ns,
        });
        talk.data(&format!("{said}\n"))?;
    } else {
        talk.say(format_args!(
            "{} packets, {} bytes sent; {} refused by the system; latest by {}",
            count(served.packets),
            count(served.bytes),
            served.refused,
            nanos(served.max_late_ns)
        ));
    }
    if stop.is_set() {
        return Err(Failure::interrupted("stopped by a signal"));
    }
    Ok(())
}

fn send_all<S: Source>(
    mut source: S,
    args: &ServeFeed,
    stop: &tapeline::pipeline::Stop,
    late: impl Fn(&S) -> u64,
) -> Result<Served, Failure> {
    let mut transmitter = Transmitter::open(args.interface)
        .map_err(|e| Failure::io(format!("{}: {e}", args.interface)))?;
    let mut served = Served::default();
    let mut groups: Vec<SocketAddrV4> = Vec::new();
    let mut payload = Vec::new();
    while !stop.is_set() {
        let line = match source.poll().map_err(Failure::io)? {
            Polled::Packet(packet)
                if matches!(packet.framing, Framing::MoldUdp64 | Framing::IexTp) =>
            {
                payload.clear();
                payload.extend_from_slice(packet.payload);
                usize::from(packet.line)
            }
            Polled::Packet(_) => {
                return Err(Failure::usage(
                    "an ITCH file has no packets; want a pcap or pcapng",
                ));
            }
            Polled::Empty => {
                std::hint::spin_loop();
                continue;
            }
            Polled::Trouble(trouble) => {
                tapeline::term::complain(format_args!(
                    "packet {}: {}",
                    trouble.place.packet, trouble.what
                ));
                continue;
            }
            Polled::End => break,
        };
        while groups.len() <= line {
            let name = &source.lines()[groups.len()].name;
            let old: SocketAddrV4 = name
                .parse()
                .map_err(|_| Failure::usage(format!("{name} is not an IPv4 group and port")))?;
            let new = args
                .remap
                .iter()
                .find(|(from, _)| *from == old)
                .map_or(old, |(_, to)| *to);
            groups.push(new);
        }
        let is_sent = transmitter
            .send(&payload, groups[line])
            .map_err(|e| Failure::io(format!("{}: {e}", groups[line])))?;
        served.packets += u64::from(is_sent);
        served.bytes += if is_sent { payload.len() as u64 } else { 0 };
    }
    let is_met = |old: &SocketAddrV4| {
        let mut lines = source.lines().iter();
        lines.any(|line| line.name.parse() == Ok(*old))
    };
    if let Some((old, _)) = args.remap.iter().find(|(old, _)| !is_met(old))
        && !stop.is_set()
    {
        return Err(Failure::usage(format!(
            "--remap {old}: the capture has no such group; {} packets were sent all the same",
            count(served.packets)
        )));
    }
    served.refused = transmitter.refused();
    served.max_late_ns = late(&source);
    Ok(served)
}
