//! `tapeline run`

use std::path::Path;

use bus::clock::{Clock, MachineClock};
use feed::protocol::Wire;
use feed::source::multicast::{Multicast, MulticastLine, MulticastOptions};
use feed::source::{Network, Soup};
use tapeline::config::{Config, Depth, soup};
use tapeline::pipeline::{self, Live};
use tapeline::run_dir::{Input, RunDir};
use tapeline::session::TradingDay;
use tapeline::venue::Venue;

use super::go::{Mode, finish_run, manifest};
use super::resume::{Changes, Resumed, reopen};
use super::{aim, at_rest, begin, pace, reference};
use crate::cli;
use crate::commands::{Failure, Talk};

pub fn run(args: &cli::Run, talk: Talk) -> Result<(), Failure> {
    let stop = pipeline::watch_signals().map_err(Failure::io)?;
    let clock = MachineClock::new();
    let (resumed, mode) = match &args.resume {
        Some(path) => {
            let changes = Changes {
                shards: args.shards,
                cpus: &[],
                speed: None,
                in_doubt: args.in_doubt,
                mode: args.mode,
                confirmed: &args.confirm,
            };
            let Some(resumed) = reopen(path, "live", &changes, talk)? else {
                return Ok(());
            };
            (resumed, Mode::LiveResume)
        }
        None => (begin_live(args, &clock, talk)?, Mode::Live),
    };
    let Resumed {
        dir,
        manifest,
        config,
        day,
        goes_on,
    } = resumed;
    let today = TradingDay::at(clock.wall(), day.zone()).map_err(Failure::usage)?;
    if mode == Mode::LiveResume && config.source.date.is_none() && today.date != day.date {
        return Err(Failure::usage(format!(
            "{}: a run of {}, and today is {}: begin a new one",
            dir.path().display(),
            day.date,
            today.date
        )));
    }
    let wire = live_wire(&config).map_err(Failure::usage)?;
    let soup = &config.source.soup;
    let source = match &soup.server {
        Some(server) => {
            let sequence = match (mode, &goes_on) {
                (_, Some(on)) => on.at.next,
                (Mode::LiveResume, None) => 0,
                (Mode::Live | Mode::Replay | Mode::Resume, None) => soup.sequence,
            };
            let mut login = soup.login(sequence).map_err(Failure::usage)?;
            if let Some(on) = &goes_on {
                login.session = on.at.session.0;
            }
            let address = soup::resolve(server).map_err(Failure::io)?;
            let from = match &goes_on {
                Some(on) => format!(", from message {} of {} on", on.at.next, on.at.session),
                None => String::new(),
            };
            talk.say(format_args!(
                "reading the session at {server}{from}; SIGINT ends in order"
            ));
            Network::Soup(Soup::new(address, login, config.source.soup.rule()))
        }
        None => Network::Multicast(listen(&config, wire, talk)?),
    };
    let live = Live::new(source, &clock);
    let run = finish_run(
        live, wire, &clock, dir, config, day, manifest, mode, goes_on, talk, &stop,
    )?;
    run.report(args.strict, talk)
}

/// The protocol of a live run; an error says why it cannot be one.
fn live_wire(config: &Config) -> Result<Wire, String> {
    let named = config.source.protocol.as_deref();
    let wire = named.map_or(Wire::Itch, |name| {
        Wire::named(name).expect("the configuration was checked")
    });
    let (name, itch) = (wire.name(), Wire::Itch.name());
    if wire.framing(0).is_none() {
        return Err(format!(
            "source.protocol is {name:?}, which is read from files only"
        ));
    }
    let source = &config.source;
    if wire != Wire::Itch && (source.retransmit.server.is_some() || source.soup.server.is_some()) {
        return Err(format!(
            "source.protocol is {name:?}; source.retransmit and source.soup are for {itch:?}"
        ));
    }
    if wire != Wire::Itch && source.snapshot.glimpse.is_some() {
        return Err(format!(
            "source.protocol is {name:?}; source.snapshot.glimpse is for {itch:?}"
        ));
    }
    Ok(wire)
}

/// Joins the groups of all lines.
fn listen(config: &Config, wire: Wire, talk: Talk) -> Result<Multicast, Failure> {
    let (lines, interface) = (&config.source.lines, config.source.interface);
    let options = MulticastOptions {
        lines: lines
            .iter()
            .map(|line| MulticastLine {
                group: *line.ip(),
                port: line.port(),
                interface,
            })
            .collect(),
        receive_buffer_bytes: config.source.receive_buffer.0 as usize,
    };
    let framing = |port| wire.framing(port).expect("it comes in datagrams");
    let source = Multicast::open_for(&options, framing).map_err(Failure::io)?;
    let retransmit = &config.source.retransmit;
    let source = match retransmit.server {
        Some(server) => source
            .with_retransmission(
                server,
                retransmit.rule(),
                config.source.receive_buffer.0 as usize,
            )
            .map_err(Failure::io)?,
        None => source,
    };
    let names: Vec<String> = lines.iter().map(ToString::to_string).collect();
    talk.say(format_args!(
        "listening on {}; SIGINT ends in order",
        names.join(" and ")
    ));
    let want = config.source.receive_buffer.0 as usize;
    if let Some(got) = source.receive_buffer_bytes().find(|got| *got < want) {
        talk.say(format_args!(
            "receive buffers are {got} bytes, not {want}: raise net.core.rmem_max to lose less in \
             bursts"
        ));
    }
    Ok(source)
}

/// The directory of a new live run.
fn begin_live(args: &cli::Run, clock: &MachineClock, talk: Talk) -> Result<Resumed, Failure> {
    let path = args.config.as_ref().expect("required unless resumed");
    let mut config = Config::read(path).map_err(Failure::usage)?;
    config.models.load(Some(path)).map_err(Failure::usage)?;
    aim(&mut config, args.mode, &args.confirm)?;
    at_rest(&mut config)?;
    config.check_logins(true).map_err(Failure::usage)?;
    if config.source.lines.is_empty() && config.source.soup.server.is_none() {
        return Err(Failure::usage(format!(
            "{}: source.lines names no multicast group, nor source.soup.server a session",
            path.display()
        )));
    }
    let wire =
        live_wire(&config).map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?;
    let has_queues = config.book.depth == Depth::L3;
    config.orders.see(wire, has_queues);
    let venue = Venue::of(wire, None);
    let timezone = config.source.zone(venue);
    let day = match &config.source.date {
        Some(date) => TradingDay::new(date, timezone),
        None => TradingDay::at(clock.wall(), timezone),
    }
    .map_err(Failure::usage)?;
    let reference = reference(&config)?;
    pace(&config, Some(path), true, talk)?;
    let output = args.output.clone().unwrap_or_else(|| {
        let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
        Path::new("runs").join(stamp)
    });
    let dir = RunDir::create(&output).map_err(Failure::usage)?;
    let mut manifest = manifest("live", &config, &day, venue);
    let lines = config.source.lines.iter();
    manifest.inputs = lines
        .map(|line| Input {
            path: line.to_string().into(),
            format: "UDP multicast".into(),
            ..Input::default()
        })
        .collect();
    manifest
        .inputs
        .extend(config.source.soup.server.iter().map(|server| Input {
            path: server.into(),
            format: "SoupBinTCP".into(),
            ..Input::default()
        }));
    begin(&dir, &config, reference.as_deref(), &manifest)?;
    Ok(Resumed {
        dir,
        manifest,
        config,
        day,
        goes_on: None,
    })
}
