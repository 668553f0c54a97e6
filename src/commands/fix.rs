//! `tapeline fix`

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ::fix::copy::Keeper;
use ::fix::sim::{Exchange, Script};
use ::fix::{
    Acceptor, Checks, DataTags, Dictionary, FileStore, Initiator, Memory, Role, Safe, Secured,
    Session, SessionConfig, Store as _, Validator, Version,
};
use bus::clock::{Clock, MachineClock};
use serde_json::json;
use tapeline::config::Tls;
use tapeline::pipeline::watch_signals;

use super::{Failure, Talk};
use crate::cli::{FixCommand, FixCopy, FixSim, TlsArgs};

/// How long after a connection ended the next is tried.
const RETRY_NS: i64 = 1_000_000_000;
/// How long a turn that found nothing to do is rested for.
const REST: Duration = Duration::from_micros(200);

pub fn fix(command: &FixCommand, talk: Talk) -> Result<(), Failure> {
    match command {
        FixCommand::Sim(args) => sim(args, talk),
        FixCommand::Copy(args) => copy(args, talk),
    }
}

fn version_of(name: &str) -> Result<Version, Failure> {
    Version::of(name.as_bytes()).ok_or_else(|| {
        let known: Vec<String> = Version::ALL.iter().map(Version::to_string).collect();
        Failure::usage(format!("--fix {name}: want one of {}", known.join(", ")))
    })
}

/// Either side of a connection.
enum Side {
    Accepts(Acceptor<FileStore, Keeper>),
    Connects(Box<Initiator<FileStore, Keeper>>),
}

fn copy(args: &FixCopy, talk: Talk) -> Result<(), Failure> {
    let version = version_of(&args.fix)?;
    let secured = match args.connect {
        Some(connect) => secured_client(&args.tls, connect)?,
        None => secured_server(&args.tls)?,
    };
    let clock = MachineClock::new();
    let keeper = Keeper::open(&args.output).map_err(Failure::io)?;
    let mut store = args.output.clone().into_os_string();
    store.push(".session");
    let now = clock.wall();
    let store = FileStore::open(Path::new(&store), Safe::Process, now).map_err(Failure::io)?;
    let role = match args.listen {
        Some(_) => Role::Acceptor,
        None => Role::Initiator,
    };
    let config = SessionConfig::new(version, role, &args.sender, &args.target);
    let session = Session::new(config, store, None, DataTags::default());
    let stop = watch_signals().map_err(Failure::io)?;
    let mut place = String::new();
    let mut side = match (args.listen, args.connect) {
        (Some(listen), _) => {
            place = listen.to_string();
            let told = |error| Failure::io(format!("{listen}: {error}"));
            let listener = TcpListener::bind(listen).map_err(told)?;
            let acceptor = Acceptor::new(listener, [(session, keeper)]).map_err(told)?;
            let acceptor = acceptor.secured(secured);
            let address = acceptor.address().map_err(told)?;
            talk.say(format_args!(
                "{version} {} at {address}, a copy from {} into {}, until SIGINT",
                args.sender,
                args.target,
                args.output.display()
            ));
            Side::Accepts(acceptor)
        }
        (None, connect) => {
            let connect = connect.expect("one of the two is required");
            talk.say(format_args!(
                "{version} {} to {connect}, a copy from {} into {}, until SIGINT",
                args.sender,
                args.target,
                args.output.display()
            ));
            let initiator = Initiator::new(connect, RETRY_NS, session, keeper);
            let initiator = initiator.secured(secured).map_err(Failure::io)?;
            Side::Connects(Box::new(initiator))
        }
    };
    loop {
        let now = clock.wall();
        let work = match &mut side {
            Side::Accepts(acceptor) => {
                let work = acceptor.turn(now);
                let work = work.map_err(|error| Failure::io(format!("{place}: {error}")))?;
                for refusal in acceptor.take_refusals() {
                    talk.say(refusal);
                }
                work
            }
            Side::Connects(initiator) => initiator.turn(now),
        };
        let (_, keeper) = parts(&mut side);
        for note in keeper.take_notes() {
            talk.say(note);
        }
        if stop.is_set() {
            break;
        }
        if work == 0 {
            thread::park_timeout(REST);
        }
    }
    let (session, keeper) = parts(&mut side);
    keeper.sync().map_err(Failure::io)?;
    let blotter = keeper.blotter();
    let (messages, orders) = (keeper.messages(), blotter.orders().len());
    let fills = blotter.executions().len();
    if talk.json {
        let said = json!({
            "messages": messages,
            "orders": orders,
            "fills": fills,
            "next_in": session.store().next_in(),
        });
        return talk.data(&format!("{said}\n"));
    }
    talk.data(&format!(
        "{}: {messages} messages, {orders} orders, {fills} fills, next in {}\n",
        args.output.display(),
        session.store().next_in()
    ))
}

fn parts(side: &mut Side) -> (&mut Session<FileStore>, &mut Keeper) {
    match side {
        Side::Accepts(acceptor) => acceptor.sessions().next().expect("it has one"),
        Side::Connects(initiator) => initiator.session(),
    }
}

fn sim(args: &FixSim, talk: Talk) -> Result<(), Failure> {
    let version = version_of(&args.fix)?;
    let names: BTreeSet<&String> = args.target.iter().collect();
    if names.len() < args.target.len() {
        return Err(Failure::usage("--target has the same name twice"));
    }
    let script = match &args.script {
        Some(path) => read_script(path)?,
        None => Script::plain(),
    };
    let dictionary = match &args.dictionary {
        Some(path) => Some(Arc::new(Dictionary::read(path).map_err(Failure::usage)?)),
        None => None,
    };
    let secured = secured_server(&args.tls)?;
    // A place that cannot be written is told now, not when all is done.
    if let Some(path) = &args.orders {
        fs::write(path, HEAD)
            .map_err(|error| Failure::io(format!("{}: {error}", path.display())))?;
    }
    let stop = watch_signals().map_err(Failure::io)?;
    let clock = MachineClock::new();
    let place = |error| Failure::io(format!("{}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).map_err(place)?;
    let now = clock.wall();
    let sessions = args.target.iter().map(|target| {
        let config = SessionConfig::new(version, Role::Acceptor, &args.sender, target);
        // What does not fit is told; a counterparty that is tested with must not be the strict one.
        let validator = dictionary
            .as_ref()
            .map(|dictionary| Validator::new(dictionary.clone(), Checks::STRICT));
        let data = dictionary
            .as_ref()
            .map_or_else(DataTags::default, |dictionary| dictionary.data_tags());
        let session = Session::new(config, Memory::new(now), validator, data);
        (session, Exchange::new(version, script.clone()))
    });
    let acceptor = Acceptor::new(listener, sessions).map_err(place)?;
    let mut acceptor = acceptor.secured(secured);
    let address = acceptor.address().map_err(place)?;
    talk.say(format_args!(
        "{version} {} at {address} for {}, until SIGINT",
        args.sender,
        args.target.join(", ")
    ));
    while !stop.is_set() {
        let work = acceptor.turn(clock.wall()).map_err(place)?;
        for refusal in acceptor.take_refusals() {
            talk.say(refusal);
        }
        for (session, exchange) in acceptor.sessions() {
            for note in exchange.take_notes() {
                talk.say(format_args!("{}: {note}", session.config().target));
            }
        }
        if work == 0 {
            thread::park_timeout(REST);
        }
    }
    conclude(args, &mut acceptor, talk)
}

/// For the side that accepts.
fn secured_server(args: &TlsArgs) -> Result<Secured, Failure> {
    let own = args.tls_certificate.as_deref().zip(args.tls_key.as_deref());
    match (own, &args.tls_ca, &args.tls_name) {
        (_, _, Some(_)) => Err(Failure::usage(
            "--tls-name is the name of the one who is connected to, and here we accept",
        )),
        (None, None, None) => Ok(Secured::No),
        (None, Some(_), None) => Err(Failure::usage(
            "--tls-ca without --tls-certificate: who accepts a connection through TLS has a certificate",
        )),
        (Some((certificate, key)), ca, None) => {
            tapeline::config::tls_server(certificate, key, ca.as_deref()).map_err(Failure::usage)
        }
    }
}

/// For the side that connects.
fn secured_client(args: &TlsArgs, connect: SocketAddr) -> Result<Secured, Failure> {
    let Some(ca) = args.tls_ca.clone() else {
        return match args.tls_certificate {
            Some(_) => Err(Failure::usage(
                "--tls-certificate without --tls-ca: want the certificates that are believed",
            )),
            None => Ok(Secured::No),
        };
    };
    let tls = Tls {
        ca,
        name: args.tls_name.clone(),
        certificate: args.tls_certificate.clone(),
        key: args.tls_key.clone(),
    };
    tls.secured(&connect.to_string()).map_err(Failure::usage)
}

pub(super) fn read_script(path: &Path) -> Result<Script, Failure> {
    let place = path.display();
    let text =
        fs::read_to_string(path).map_err(|error| Failure::usage(format!("{place}: {error}")))?;
    Script::parse(&text).map_err(|error| Failure::usage(format!("{place}, {error}")))
}

/// The first line of the orders' file.
const HEAD: &str = "session,cl_ord_id,symbol,side,qty,status,filled,average\n";

/// A number where JSON has one, and its digits beyond.
fn whole(number: i128) -> serde_json::Value {
    match i64::try_from(number) {
        Ok(number) => json!(number),
        Err(_) => json!(number.to_string()),
    }
}

/// The orders, and what they come to.
fn conclude(
    args: &FixSim,
    acceptor: &mut Acceptor<Memory, Exchange>,
    talk: Talk,
) -> Result<(), Failure> {
    let mut rows = String::from(HEAD);
    let mut sessions = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for (session, exchange) in acceptor.sessions() {
        let target = session.config().target.clone();
        let mut counts = std::collections::BTreeMap::new();
        for order in exchange.orders() {
            *counts
                .entry(format!("{:?}", order.status).to_lowercase())
                .or_insert(0u64) += 1;
            let row = [
                target.clone(),
                text(&order.id),
                text(&order.symbol),
                text(&order.side),
                order.qty.to_string(),
                order.status.code().to_owned(),
                order.filled().to_string(),
                order.average().to_string(),
            ];
            rows += &row.map(|field| quoted(&field)).join(",");
            rows.push('\n');
        }
        let positions: serde_json::Map<String, serde_json::Value> = exchange
            .positions()
            .into_iter()
            .map(|(symbol, qty)| (text(&symbol), whole(qty)))
            .collect();
        sessions.push(json!({
            "session": target,
            "orders": exchange.orders().len(),
            "statuses": counts,
            "positions": positions,
            "next_in": session.store().next_in(),
            "next_out": session.store().next_out(),
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
            "{}: {} orders {}, positions {}, next in {}, next out {}\n",
            session["session"].as_str().unwrap_or_default(),
            session["orders"],
            session["statuses"],
            session["positions"],
            session["next_in"],
            session["next_out"],
        );
    }
    talk.data(&lines)
}

/// A field of CSV.
fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
