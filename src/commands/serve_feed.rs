//! `tapeline serve-feed`

use std::fmt::Write as _;
use std::net::{SocketAddr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use bus::clock::{Clock, MachineClock};
use feed::moldudp64::{END_OF_SESSION, Header, SessionId};
use feed::source::capture::Format;
use feed::source::{Capture, CaptureOptions, Evenly, Framing, Paced, Polled, Source};
use feed::transmit::{
    Answers, FaultCounts, FaultRule, Faults, Packed, SessionCounts, Sessions, SnapshotCounts,
    Snapshots, Store, Transmitter,
};
use serde_json::{Value, json};
use tapeline::config::Speed;
use tapeline::latency::Histogram;
use tapeline::pipeline::{Stop, paced_speed, watch_signals};
use tapeline::term::{complain, count, nanos};

use super::{Failure, Talk};
use crate::cli::ServeFeed;

/// The session of an ITCH file, which names none.
const SESSION: SessionId = SessionId(*b"0000000001");
/// A line that was silent for so long says that it is there.
const HEARTBEAT_NS: u64 = 1_000_000_000;
/// How often a session that is made here says that it is over: nobody asks for that again.
const ENDS: usize = 3;
/// Nearer than this to when a packet is due it is waited for without sleeping.
const SPIN_NS: u64 = 100_000;
/// Nobody who asks waits longer than this because of sleep.
const NAP_NS: u64 = 200_000;
/// The lines of the histogram of how late packets left.
const LATE_NS: [u64; 6] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

pub fn serve_feed(args: &ServeFeed, talk: Talk) -> Result<(), Failure> {
    check(args)?;
    let options = CaptureOptions {
        // Each message has its own time.
        itch_messages_max: 1,
        ..CaptureOptions::default()
    };
    let capture = Capture::open(&args.files, options).map_err(Failure::io)?;
    let is_any = |format: Format| capture.files().iter().any(|file| file.format == format);
    let is_itch = is_any(Format::Itch);
    if let Some(other) = capture
        .files()
        .iter()
        .find(|file| is_itch && file.format != Format::Itch)
    {
        return Err(Failure::usage(format!(
            "{}: it has packets, and another file has none: serve one after the other",
            other.path.display()
        )));
    }
    let has_groups = !is_itch && !is_any(Format::SoupBinTcp);
    if !has_groups && args.line.is_empty() && args.soup.is_none() {
        return Err(Failure::usage(
            "an ITCH file has no packets and no groups: say where to with --line GROUP:PORT, once \
             for each line, or with --soup ADDRESS:PORT",
        ));
    }
    let stop = watch_signals().map_err(Failure::io)?;
    let mut serving = Serving::new(args, &stop, is_itch)?;
    serving.has_own_groups = has_groups && args.line.is_empty();
    match is_itch {
        true => at_pace(Packed::new(capture, SESSION), &mut serving)?,
        false => at_pace(capture, &mut serving)?,
    }
    serving.conclude(talk)?;
    if stop.is_set() {
        return Err(Failure::interrupted("stopped by a signal"));
    }
    Ok(())
}

fn check(args: &ServeFeed) -> Result<(), Failure> {
    for line in &args.line {
        if !line.ip().is_multicast() || line.port() == 0 {
            return Err(Failure::usage(format!(
                "--line {line}: no multicast group and port"
            )));
        }
    }
    let lines = args.line.len();
    for (name, given) in [
        ("--loss", args.loss.len()),
        ("--duplicate", args.duplicate.len()),
        ("--reorder", args.reorder.len()),
    ] {
        if lines > 0 && given > 1 && given != lines {
            return Err(Failure::usage(format!(
                "{name} has {given} values, want one, or one for each of {lines} lines"
            )));
        }
    }
    Ok(())
}

fn at_pace<S: Source>(source: S, serving: &mut Serving<'_>) -> Result<(), Failure> {
    match serving.speed {
        Speed::Rate(rate) => {
            let schedule = Evenly {
                start_ns: serving.clock.now_ns(),
                per_second: rate.0,
            };
            serving.send_all(source, |_| None, |sent| schedule.due_ns(sent))
        }
        Speed::Max => serving.send_all(source, |_| None, |_| 0),
        Speed::Times(times) => {
            let paced = Paced::new(source, serving.clock.clone(), paced_speed(times));
            // What is told without a wait has no time; a wrong one is not waited for either.
            let due = |source: &mut Paced<S, MachineClock>| {
                let ts = source.peek_ts()?;
                source.pace().map(|pace| pace.due_ns(ts))
            };
            serving.send_all(paced, due, |_| 0)
        }
    }
}

/// One line that is sent to.
struct Outlet {
    group: SocketAddrV4,
    faults: Faults,
}

/// Everything but the input.
struct Serving<'a> {
    args: &'a ServeFeed,
    stop: &'a Stop,
    clock: MachineClock,
    transmitter: Transmitter,
    outlets: Vec<Outlet>,
    /// What was sent; only where somebody may ask, or copies are told apart.
    store: Option<Store>,
    answers: Option<Answers>,
    sessions: Option<Sessions>,
    snapshots: Option<Snapshots>,
    speed: Speed,
    /// Packets go where they were captured.
    has_own_groups: bool,
    late: Histogram,
    packets: u64,
    messages: u64,
    bytes: u64,
    /// The session is made here, and so are its heartbeats and its end.
    is_made: bool,
    is_ended: bool,
    last_sent_ns: u64,
    last_asked_ns: u64,
}

impl<'a> Serving<'a> {
    fn new(args: &'a ServeFeed, stop: &'a Stop, is_made: bool) -> Result<Serving<'a>, Failure> {
        let transmitter = Transmitter::open(args.interface)
            .map_err(|e| Failure::io(format!("{}: {e}", args.interface)))?;
        let interval_ns = (1e9 / args.answers.0) as u64;
        let answers = args.retransmit.map(|address| {
            Answers::open(address, interval_ns).map_err(|e| Failure::io(format!("{address}: {e}")))
        });
        let sessions = args.soup.map(|address| {
            Sessions::open(SocketAddr::V4(address), args.soup_cut)
                .map_err(|e| Failure::io(format!("{address}: {e}")))
        });
        let snapshots = args.glimpse.map(|address| {
            Snapshots::open(SocketAddr::V4(address))
                .map_err(|e| Failure::io(format!("{address}: {e}")))
        });
        let is_asked = args.retransmit.is_some() || args.soup.is_some() || args.glimpse.is_some();
        let is_stored = is_asked || !args.line.is_empty();
        let clock = MachineClock::new();
        let now_ns = clock.now_ns();
        let mut serving = Serving {
            args,
            stop,
            clock,
            transmitter,
            outlets: Vec::new(),
            store: is_stored.then(|| Store::new(args.keep.0 as usize)),
            answers: answers.transpose()?,
            sessions: sessions.transpose()?,
            snapshots: snapshots.transpose()?,
            speed: args.rate.map_or(args.speed, Speed::Rate),
            has_own_groups: false,
            late: Histogram::new(),
            packets: 0,
            messages: 0,
            bytes: 0,
            is_made,
            is_ended: false,
            last_sent_ns: now_ns,
            last_asked_ns: now_ns,
        };
        for line in &args.line {
            serving.add_outlet(*line);
        }
        Ok(serving)
    }

    fn add_outlet(&mut self, group: SocketAddrV4) {
        let args = self.args;
        let line = self.outlets.len();
        let rule = FaultRule {
            loss: of_line(&args.loss, line),
            duplicate: of_line(&args.duplicate, line),
            reorder: of_line(&args.reorder, line),
        };
        let faults = Faults::new(rule, args.seed, line as u64);
        self.outlets.push(Outlet { group, faults });
    }

    /// Sends all of it. `due` says when the next packet is, where the source waits for that itself;
    /// `due_after` when the packet behind so many messages is.
    fn send_all<S: Source>(
        &mut self,
        mut source: S,
        due: impl Fn(&mut S) -> Option<u64>,
        due_after: impl Fn(u64) -> u64,
    ) -> Result<(), Failure> {
        let mut payload = Vec::new();
        while !self.stop.is_set() {
            let due_ns = due(&mut source);
            let line = match source.poll().map_err(Failure::io)? {
                Polled::Packet(packet)
                    if matches!(
                        packet.framing,
                        Framing::MoldUdp64 | Framing::IexTp | Framing::Mdp3(_) | Framing::Pitch(_)
                    ) =>
                {
                    payload.clear();
                    payload.extend_from_slice(packet.payload);
                    (packet.framing, usize::from(packet.line))
                }
                Polled::Packet(packet) => {
                    return Err(Failure::usage(format!(
                        "packet {}: not of a capture of packets, nor of an ITCH file",
                        packet.place.packet
                    )));
                }
                Polled::Empty => {
                    self.idle(due_ns.unwrap_or(0))?;
                    continue;
                }
                Polled::Trouble(trouble) => {
                    complain(format_args!(
                        "packet {}: {}",
                        trouble.place.packet, trouble.what
                    ));
                    continue;
                }
                Polled::End => break,
            };
            let mut due_ns = due_ns.unwrap_or(0);
            if matches!(self.speed, Speed::Rate(_)) {
                due_ns = due_after(self.messages);
                while self.clock.now_ns() < due_ns && !self.stop.is_set() {
                    self.idle(due_ns)?;
                }
            }
            if due_ns > 0 {
                self.late.record(self.clock.now_ns().saturating_sub(due_ns));
            }
            let (framing, line) = line;
            if self.has_own_groups {
                self.name_outlets(&source, line)?;
            }
            self.send(&payload, framing, line)?;
            self.answer()?;
        }
        for index in 0..self.outlets.len() {
            let Outlet { group, faults } = &mut self.outlets[index];
            let group = *group;
            let (transmitter, bytes) = (&mut self.transmitter, &mut self.bytes);
            faults
                .finish(&mut |payload| transmit(transmitter, payload, group, bytes))
                .map_err(|e| Failure::io(format!("{group}: {e}")))?;
        }
        if self.is_made && !self.stop.is_set() {
            for _ in 0..ENDS {
                self.announce(END_OF_SESSION)?;
            }
            self.is_ended = true;
        }
        self.linger()?;
        self.check_remaps(&source)
    }

    /// The groups of the capture's own lines, up to and with this one.
    fn name_outlets<S: Source>(&mut self, source: &S, line: usize) -> Result<(), Failure> {
        while self.outlets.len() <= line {
            let name = &source.lines()[self.outlets.len()].name;
            let old: SocketAddrV4 = name
                .parse()
                .map_err(|_| Failure::usage(format!("{name} is not an IPv4 group and port")))?;
            let mut remaps = self.args.remap.iter();
            let new = remaps.find(|(from, _)| *from == old);
            self.add_outlet(new.map_or(old, |(_, to)| *to));
        }
        Ok(())
    }

    fn check_remaps<S: Source>(&self, source: &S) -> Result<(), Failure> {
        let is_met = |old: &SocketAddrV4| {
            let mut lines = source.lines().iter();
            lines.any(|line| line.name.parse() == Ok(*old))
        };
        match self.args.remap.iter().find(|(old, _)| !is_met(old)) {
            Some((old, _)) if !self.stop.is_set() => Err(Failure::usage(format!(
                "--remap {old}: the capture has no such group; {} packets were sent all the same",
                count(self.packets)
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Sends one packet, with what befalls it, to the group of its line or to all.
    fn send(&mut self, payload: &[u8], framing: Framing, line: usize) -> Result<(), Failure> {
        let (mut is_dropped, mut has_messages) = (false, true);
        if let (Framing::MoldUdp64, Some((header, blocks))) = (framing, Header::split(payload)) {
            let messages = u64::from(header.message_count());
            let end = header.sequence.saturating_add(messages);
            has_messages = messages > 0;
            is_dropped = self
                .args
                .drop_both
                .iter()
                .any(|(from, to)| header.sequence <= *to && *from < end);
            let is_new = match &mut self.store {
                Some(store) => store.keep(&header, blocks),
                None => true,
            };
            if !self.args.line.is_empty() && has_messages && !is_new {
                return Ok(());
            }
            self.messages += messages;
            self.is_ended |= header.count == END_OF_SESSION;
        }
        self.packets += 1;
        let to = match self.has_own_groups {
            true => line..line + 1,
            false => 0..self.outlets.len(),
        };
        for index in to {
            let Outlet { group, faults } = &mut self.outlets[index];
            let (transmitter, bytes) = (&mut self.transmitter, &mut self.bytes);
            let mut send = |payload: &[u8]| transmit(transmitter, payload, *group, bytes);
            // A packet without messages says how far a session is, and that it is over. Who lost
            // that would wait for ever.
            match has_messages {
                true => faults.offer(payload, is_dropped, &mut send),
                false => send(payload),
            }
            .map_err(|e| Failure::io(format!("{group}: {e}")))?;
        }
        self.last_sent_ns = self.clock.now_ns();
        Ok(())
    }

    /// Says on every line how far each session is, or that it is over.
    fn announce(&mut self, kind: u16) -> Result<(), Failure> {
        let ends: Vec<(SessionId, u64)> = self.store.iter().flat_map(Store::ends).collect();
        for (session, sequence) in ends {
            let header = Header {
                session,
                sequence,
                count: kind,
            };
            for outlet in &self.outlets {
                transmit(
                    &mut self.transmitter,
                    &header.to_bytes(),
                    outlet.group,
                    &mut self.bytes,
                )
                .map_err(|e| Failure::io(format!("{}: {e}", outlet.group)))?;
            }
        }
        self.last_sent_ns = self.clock.now_ns();
        Ok(())
    }

    /// Answers those who ask, and rests a little, though not beyond `until_ns`.
    fn idle(&mut self, until_ns: u64) -> Result<(), Failure> {
        if self.answer()? {
            return Ok(());
        }
        let now_ns = self.clock.now_ns();
        if self.is_made && now_ns - self.last_sent_ns > HEARTBEAT_NS {
            self.announce(0)?;
        }
        match until_ns.saturating_sub(now_ns) {
            0..SPIN_NS => std::hint::spin_loop(),
            left_ns => thread::park_timeout(Duration::from_nanos((left_ns - SPIN_NS).min(NAP_NS))),
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<bool, Failure> {
        let Some(store) = &self.store else {
            return Ok(false);
        };
        let now_ns = self.clock.now_ns();
        let mut has_asked = false;
        if let Some(answers) = &mut self.answers {
            has_asked |= answers
                .turn(store, now_ns)
                .map_err(|e| Failure::io(format!("retransmission: {e}")))?;
        }
        let mut is_idle = true;
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.follow(store);
            has_asked |= snapshots
                .turn(now_ns)
                .map_err(|e| Failure::io(format!("snapshots: {e}")))?;
            is_idle &= snapshots.is_idle();
        }
        if let Some(sessions) = &mut self.sessions {
            has_asked |= sessions
                .turn(store, self.is_ended, now_ns)
                .map_err(|e| Failure::io(format!("sessions: {e}")))?;
            is_idle &= sessions.is_idle();
        }
        if has_asked || !is_idle {
            self.last_asked_ns = now_ns;
        }
        Ok(has_asked)
    }

    /// Goes on answering until nobody has asked for a while.
    fn linger(&mut self) -> Result<(), Failure> {
        let linger_ns = self.args.linger.0.max(0) as u64;
        self.last_asked_ns = self.clock.now_ns();
        let has_server =
            self.answers.is_some() || self.sessions.is_some() || self.snapshots.is_some();
        while has_server && !self.stop.is_set() {
            let now_ns = self.clock.now_ns();
            if now_ns - self.last_asked_ns > linger_ns {
                break;
            }
            if now_ns - self.last_sent_ns > HEARTBEAT_NS {
                self.announce(if self.is_ended { END_OF_SESSION } else { 0 })?;
            }
            self.idle(now_ns + SPIN_NS + NAP_NS)?;
        }
        Ok(())
    }

    fn conclude(&self, talk: Talk) -> Result<(), Failure> {
        let lines: Vec<(SocketAddrV4, FaultCounts)> = self
            .outlets
            .iter()
            .map(|outlet| (outlet.group, outlet.faults.counts()))
            .collect();
        let answers = self.answers.as_ref().map(Answers::counts);
        let soup = self.sessions.as_ref().map(Sessions::counts);
        let glimpse = self.snapshots.as_ref().map(Snapshots::counts);
        if talk.json {
            let late = (!self.late.is_empty()).then(|| {
                json!({
                    "packets": self.late.count(), "p50": self.late.quantile_ns(0.5),
                    "p99": self.late.quantile_ns(0.99), "max": self.late.max_ns(),
                })
            });
            let lines: Vec<Value> = lines
                .iter()
                .map(|(group, counts)| {
                    json!({
                        "group": group.to_string(), "sent": counts.sent, "lost": counts.lost,
                        "doubled": counts.doubled, "overtaken": counts.overtaken,
                    })
                })
                .collect();
            let answers = answers.map(|counts| {
                json!({
                    "requests": counts.requests, "messages": counts.messages,
                    "refused": counts.refused,
                })
            });
            let soup = soup.map(|counts| {
                json!({
                    "logins": counts.logins, "messages": counts.messages,
                    "refused": counts.refused,
                })
            });
            let glimpse = glimpse.map(|counts| {
                json!({
                    "snapshots": counts.snapshots, "orders": counts.orders,
                    "refused": counts.refused,
                })
            });
            let said = json!({
                "schema": "tapeline-serve-feed/1", "packets": self.packets,
                "messages": self.messages, "bytes": self.bytes,
                "refused": self.transmitter.refused(),
                "max_late_ns": self.late.max_ns().unwrap_or(0), "late_ns": late,
                "lines": lines, "retransmission": answers, "soup": soup, "glimpse": glimpse,
            });
            return talk.data(&format!("{said}\n"));
        }
        talk.say(format_args!(
            "{} packets, {} bytes sent; {} refused by the system",
            count(self.packets),
            count(self.bytes),
            self.transmitter.refused(),
        ));
        for (group, counts) in lines {
            let FaultCounts {
                sent,
                lost,
                doubled,
                overtaken,
            } = counts;
            if lost + doubled + overtaken > 0 {
                talk.say(format_args!(
                    "{group}: {} sent, {} lost, {} doubled, {} overtaken",
                    count(sent),
                    count(lost),
                    count(doubled),
                    count(overtaken)
                ));
            }
        }
        if let Some(counts) = answers {
            talk.say(format_args!(
                "{} requests answered with {} messages; {} refused",
                count(counts.requests - counts.refused),
                count(counts.messages),
                count(counts.refused)
            ));
        }
        if let Some(counts) = soup {
            let SessionCounts {
                logins,
                refused,
                messages,
            } = counts;
            talk.say(format_args!(
                "{} logins accepted and served {} messages; {} refused",
                count(logins),
                count(messages),
                count(refused)
            ));
        }
        if let Some(counts) = glimpse {
            let SnapshotCounts {
                snapshots,
                orders,
                refused,
            } = counts;
            talk.say(format_args!(
                "{} snapshots with {} orders served; {} logins refused",
                count(snapshots),
                count(orders),
                count(refused)
            ));
        }
        if !self.late.is_empty() {
            talk.say(lateness(&self.late).trim_end());
        }
        Ok(())
    }
}

fn of_line<T: Copy + Default>(given: &[T], line: usize) -> T {
    let own = match given.len() {
        1 => given.first(),
        _ => given.get(line),
    };
    own.copied().unwrap_or_default()
}

fn transmit(
    transmitter: &mut Transmitter,
    payload: &[u8],
    group: SocketAddrV4,
    bytes: &mut u64,
) -> std::io::Result<()> {
    if transmitter.send(payload, group)? {
        *bytes += payload.len() as u64;
    }
    Ok(())
}

/// How late packets left, against a schedule that is reckoned from the start.
fn lateness(late: &Histogram) -> String {
    let cell = |ns: Option<u64>| ns.map_or("n/a".to_string(), nanos);
    let mut text = format!(
        "packets left late by: p50 {}, p99 {}, max {}\n",
        cell(late.quantile_ns(0.5)),
        cell(late.quantile_ns(0.99)),
        cell(late.max_ns())
    );
    let mut above = late.count();
    let mut row = |name: String, found: u64| {
        let bar = "#".repeat((found * 40).div_ceil(late.count()) as usize);
        let _ = writeln!(text, "  {name:>12} {:>12}  {bar}", count(found));
    };
    for upto_ns in LATE_NS {
        let rest = late.count_above(upto_ns);
        row(format!("<= {}", nanos(upto_ns)), above - rest);
        above = rest;
    }
    row("more".into(), above);
    text
}
