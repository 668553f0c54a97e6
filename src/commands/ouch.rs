//! `tapeline ouch`

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use ::fix::ouch::sim::Venue;
use ::fix::sim::Script;
use bus::clock::{Clock, MachineClock};
use serde_json::json;
use tapeline::pipeline::watch_signals;

use super::{Failure, Talk};
use crate::cli::{OuchCommand, OuchSim};

/// How long a turn that found nothing to do is rested for.
const REST: Duration = Duration::from_micros(200);

pub fn ouch(command: &OuchCommand, talk: Talk) -> Result<(), Failure> {
    match command {
        OuchCommand::Sim(args) => sim(args, talk),
    }
}

fn sim(args: &OuchSim, talk: Talk) -> Result<(), Failure> {
    let script = match &args.script {
        Some(path) => super::fix::read_script(path)?,
        None => Script::plain(),
    };
    // A place that cannot be written is told now, not when all is done.
    if let Some(path) = &args.orders {
        fs::write(path, HEAD)
            .map_err(|error| Failure::io(format!("{}: {error}", path.display())))?;
    }
    let mut users = args.user.clone();
    users.sort();
    users.dedup();
    if users.len() < args.user.len() {
        return Err(Failure::usage("--user has the same name twice"));
    }
    let stop = watch_signals().map_err(Failure::io)?;
    let clock = MachineClock::new();
    let place = |error| Failure::io(format!("{}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).map_err(place)?;
    let users = args.user.clone();
    let (password, cancels) = (&args.password, args.cancel_on_disconnect);
    let venue = Venue::new(listener, users, password, script, cancels);
    let mut venue = venue.map_err(Failure::usage)?;
    let address = venue.address().map_err(place)?;
    talk.say(format_args!(
        "OUCH 5.0 at {address} for {}, until SIGINT",
        args.user.join(", ")
    ));
    while !stop.is_set() {
        let work = venue.turn(clock.wall()).map_err(place)?;
        for note in venue.take_notes() {
            talk.say(note);
        }
        if work == 0 {
            thread::park_timeout(REST);
        }
    }
    conclude(args, &venue, talk)
}

/// The first line of the orders' file. An order's name is the ClOrdID that it has on the wire.
const HEAD: &str = "session,cl_ord_id,symbol,side,qty,status,filled,average\n";

/// The orders, and what they come to.
fn conclude(args: &OuchSim, venue: &Venue, talk: Talk) -> Result<(), Failure> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned();
    let mut rows = String::from(HEAD);
    let mut sessions = Vec::new();
    for account in venue.accounts() {
        let (mut counts, mut positions) = (BTreeMap::new(), BTreeMap::new());
        for order in account.orders.values() {
            let status = format!("{:?}", order.status).to_lowercase();
            *counts.entry(status).or_insert(0u64) += 1;
            let sign = if order.entered.side == b'B' { 1 } else { -1 };
            *positions.entry(text(order.symbol())).or_insert(0) += sign * order.filled().0;
            let row = [
                account.user.clone(),
                text(&order.entered.cl_ord_id),
                text(order.symbol()),
                char::from(order.entered.side).to_string(),
                order.entered.quantity.get().to_string(),
                order.status.code().to_owned(),
                order.filled().0.to_string(),
                order.average().to_string(),
            ];
            rows += &row.join(",");
            rows.push('\n');
        }
        sessions.push(json!({
            "session": account.user,
            "orders": account.orders.len(),
            "statuses": counts,
            "positions": positions,
            "next_in": account.next(),
            "next_out": account.messages() + 1,
        }));
    }
    if let Some(path) = &args.orders {
        fs::write(path, rows)
            .map_err(|error| Failure::io(format!("{}: {error}", path.display())))?;
    }
    if talk.json {
        return talk.data(&format!("{}\n", json!({ "sessions": sessions })));
    }
    let mut lines = String::new();
    for session in &sessions {
        lines += &format!(
            "{}: {} orders {}, positions {}\n",
            session["session"].as_str().unwrap_or_default(),
            session["orders"],
            session["statuses"],
            session["positions"],
        );
    }
    talk.data(&lines)
}
