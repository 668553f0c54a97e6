//! A shard's orders through a session over FIX or OUCH, on the shard's own thread.
//!
//! The message that a shard's encoder wrote is kept by the session under its number, and then written
//! to the connection at once; all else that a session does is done in turns that have nothing to send.
//!
//! ```text
//! shard ─ next_msg_seq, send ─► store (the number is used) ─► connection ─► counterparty
//!                                                                               │ reports
//! tables, recon ◄─ blotter (orders, fills, positions) ◄─ journal ◄──────────────┘
//! ```
//!
//! **What is known after a crash.** An order that is in the store left, or leaves when the other side
//! asks for its number: after a logon and one answered question it has it, or its number was passed
//! over. One that is not in the store never left. What is passed over is decided by
//! `orders.in_doubt`: `possresend` and `query` let the session repeat an order, flagged as a possible
//! duplicate; `cancel` and `halt` never do. An order that somebody stopped meanwhile is not repeated
//! either, whatever the policy.
//!
//! **What is open when a session was lost** is cancelled at the next logon where
//! `orders.fix.cancel_on_disconnect` says so, each order once. After a crash, `query` asks how all of
//! them stand as well (OrderStatusRequest; of many at once OrderMassStatusRequest, which FIX has since
//! 4.3): the answers are in the journal, and `tapeline recon` shows where they are not what the fills
//! come to.

mod absence;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ::fix::journal::Entry;
use ::fix::{
    Application, Blotter, Checks, DataTags, Dictionary, Fields, FileStore, Initiator, Journal,
    Message, Note, Outbox, Received, Safe, SendError, Session, Store, Validator, Verdict, Version,
    ouch, parse, request, tags,
};
use bus::Ts;
use bus::clock::{Clock, MachineClock};
use bus::oms::{Gateway, GatewayError, OrderId};
use crossbeam_utils::CachePadded;

use self::absence::{Absence, Wait};
use crate::config::{Fix, FixVersion, InDoubt, Ouch, soup};
use crate::copies::{Copies, Places};
use crate::guard::{Owner, Stake};
use crate::kill::Kill;

/// The counterparty is listened to in one turn of so many that have nothing to send. Listening is a
/// system call, longer than all else that a turn without work does.
const LISTEN_EVERY: u32 = 64;
/// How many bytes may wait for the counterparty before it takes no more orders.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// More orders than this are asked about with one request, where there is one.
const STATUS_EACH_MAX: usize = 64;
/// How long a wait for the counterparty rests.
const REST: Duration = Duration::from_micros(100);

/// By which protocol a session is.
#[derive(Clone, Copy, Debug)]
pub enum Via<'a> {
    /// `[orders.fix]`.
    Fix(&'a Fix),
    /// `[orders.ouch]`, and the session of this shard.
    Ouch(&'a Ouch, ouch::Config),
}

/// A session of either protocol. What is sent and heard is told as FIX says it.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of a shard, and it is not to be reached over a pointer"
)]
enum Line {
    Fix(Initiator<FileStore, Desk>),
    Ouch(Box<ouch::Line<FileStore, Desk>>),
}

impl Line {
    fn desk(&mut self) -> &mut Desk {
        match self {
            Line::Fix(link) => link.session().1,
            Line::Ouch(line) => line.app(),
        }
    }

    fn is_logged_on(&mut self) -> bool {
        match self {
            Line::Fix(link) => link.session().0.is_logged_on(),
            Line::Ouch(line) => line.is_logged_on(),
        }
    }

    /// Whether orders may leave.
    fn takes_orders(&mut self) -> bool {
        match self {
            Line::Fix(link) => {
                let session = link.session().0;
                session.is_logged_on() && !session.is_closing()
            }
            Line::Ouch(line) => line.is_logged_on(),
        }
    }

    fn is_connected(&mut self) -> bool {
        match self {
            Line::Fix(link) => link.session().0.is_connected(),
            Line::Ouch(line) => line.is_connected(),
        }
    }

    /// The number of the next order.
    fn next_out(&mut self) -> u64 {
        match self {
            Line::Fix(link) => link.session().0.store().next_out(),
            Line::Ouch(line) => line.next_out(),
        }
    }

    fn load_sent(&mut self, seq: u64, into: &mut Vec<u8>) -> io::Result<bool> {
        match self {
            Line::Fix(link) => link.session().0.load_sent(seq, into),
            Line::Ouch(line) => line.load_sent(seq, into),
        }
    }

    fn send_encoded(&mut self, message: &[u8], now: Ts) -> Result<(), SendError> {
        match self {
            Line::Fix(link) => {
                let (session, desk) = link.session();
                let seq = session.store().next_out();
                session.send_encoded(seq, message, now, desk)
            }
            Line::Ouch(line) => line.send_encoded(message),
        }
    }

    fn probe(&mut self, now: Ts) -> u64 {
        match self {
            Line::Fix(link) => {
                let (session, desk) = link.session();
                session.probe(now, desk)
            }
            Line::Ouch(line) => line.probe(),
        }
    }

    fn probes_answered(&mut self) -> u64 {
        match self {
            Line::Fix(link) => link.session().0.probes_answered(),
            Line::Ouch(line) => line.probes_answered(),
        }
    }

    fn log_out(&mut self, now: Ts) {
        match self {
            Line::Fix(link) => {
                let (session, desk) = link.session();
                session.log_out("", now, desk);
            }
            Line::Ouch(line) => line.log_out(),
        }
    }

    fn turn(&mut self, now: Ts) -> io::Result<usize> {
        match self {
            Line::Fix(link) => Ok(link.turn(now)),
            Line::Ouch(line) => line.turn(now),
        }
    }

    fn flush(&mut self, clock: &MachineClock) -> usize {
        match self {
            Line::Fix(link) => link.flush(),
            // A turn without orders does not look at the clock.
            Line::Ouch(line) if line.waiting_bytes() == 0 => 0,
            Line::Ouch(line) => line.flush(clock.wall()),
        }
    }

    fn waiting_bytes(&self) -> usize {
        match self {
            Line::Fix(link) => link.waiting_bytes(),
            Line::Ouch(line) => line.waiting_bytes(),
        }
    }

    /// How many bytes wait within the session.
    fn output_bytes(&mut self) -> usize {
        match self {
            Line::Fix(link) => link.session().0.output().len(),
            Line::Ouch(line) => line.waiting_bytes(),
        }
    }
}

/// What a session is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// By which protocol.
    pub via: Via<'a>,
    /// SenderCompID.
    pub sender: &'a str,
    /// TargetCompID.
    pub target: &'a str,
    /// What may be sent again.
    pub in_doubt: InDoubt,
    /// The numbers, and what was sent under them.
    pub store: &'a Path,
    /// What both sides said.
    pub journal: &'a Path,
    /// What stops orders.
    pub kill: &'a Arc<CachePadded<Kill>>,
    /// Where copies of what both sides say go.
    pub copies: Places<'a>,
}

/// See the module.
#[derive(Debug)]
pub struct OrderSession {
    name: String,
    link: Line,
    clock: MachineClock,
    away_max: Duration,
    /// How long orders wait and nobody is logged on.
    absence: Absence,
    /// Turns since the counterparty was last listened to.
    unheard_turns: u32,
    scratch: Vec<u8>,
    failure: Option<GatewayError>,
}

/// Who a session's messages are for.
#[derive(Debug)]
struct Desk {
    journal: Journal,
    copies: Copies,
    blotter: Blotter,
    in_doubt: InDoubt,
    version: Version,
    clock: MachineClock,
    cancels_on_disconnect: bool,
    /// A session was lost since the last logon, or a process with it.
    was_lost: bool,
    /// How many messages about orders the other side has said.
    words: u64,
    /// The process before left orders open, and how they stand was not asked yet.
    is_to_ask: bool,
    kill: Arc<CachePadded<Kill>>,
    /// Everything below this number is in the journal.
    journaled_upto: u64,
    /// Orders that were asked for again, where that ends the run.
    halted: Vec<String>,
    /// What of each order is counted together with others, in the blotter's order; and the first
    /// number of this process, whose orders were counted before they came here.
    stakes: Vec<Stake>,
    counted_from: u64,
    /// How often either side asked the other for messages again.
    recoveries: u64,
    /// What happened last, for whoever is told that something failed.
    last_note: Option<String>,
    failure: Option<io::Error>,
}

impl Desk {
    /// Keeps an entry, in the file and in the blotter.
    fn keep(&mut self, entry: &Entry) {
        match self.journal.append(entry) {
            Ok(()) => {
                self.blotter.apply(entry);
                self.count_all();
            }
            Err(error) => self.failure = Some(error),
        }
    }

    /// Counts an order as it stands now; with `is_counted` it was counted so before.
    fn count(&mut self, index: usize, is_counted: bool) {
        let Some(guard) = self.kill.guard() else {
            return;
        };
        let order = &self.blotter.orders()[index];
        self.stakes
            .resize(self.blotter.orders().len(), Stake::default());
        let stake = stake(order);
        // An order that is none of ours is nobody's.
        if let Some(id) = OrderId::parse(&order.id) {
            let id = id.key();
            let owner = Owner {
                symbol: id.symbol,
                rule: id.rule,
            };
            // What was counted before it was sent again is counted twice now.
            let after = if is_counted { Stake::default() } else { stake };
            guard.changed(owner, &self.stakes[index], &after);
        }
        self.stakes[index] = stake;
    }

    /// The same for all orders. Only where nobody knows which of them a message was about.
    #[cold]
    fn count_all(&mut self) {
        if self.kill.guard().is_none() {
            return;
        }
        for index in 0..self.blotter.orders().len() {
            self.count(index, false);
        }
    }

    /// Counts what a message that came may have changed.
    fn count_by(&mut self, message: &Message<'_>) {
        let by = |tag| message.get(tag).and_then(|id| self.blotter.index_of(id));
        let index = by(tags::CL_ORD_ID).or_else(|| by(tags::ORIG_CL_ORD_ID));
        // A fill that never was is named by the fill, which may be another order's.
        match index.filter(|_| message.get(tags::EXEC_REF_ID).is_none()) {
            Some(index) => self.count(index, false),
            None => self.count_all(),
        }
    }
}

/// What of an order is open, and what is filled, by its reports.
fn stake(order: &::fix::blotter::Order) -> Stake {
    let is_open = order.standing.is_open();
    let open_qty = match is_open {
        true => order.qty.0.saturating_sub(order.filled().0).max(0),
        false => 0,
    };
    Stake {
        is_open,
        is_sale: !matches!(&order.side[..], b"1" | b"3"),
        price: order.price.map_or(0, |price| price.0),
        open_qty,
        filled_qty: order.filled().0,
        filled_notional: order.notional(),
    }
}

/// Whether an order that was sent before may not be sent now. One that is none of ours is stopped by any stop.
#[cold]
fn is_stopped(kill: &Kill, order: &Message<'_>, id: &[u8]) -> bool {
    let mut symbol = [b' '; 8];
    let name = order.get(tags::SYMBOL).unwrap_or_default();
    match (OrderId::parse(id), symbol.get_mut(..name.len())) {
        (Some(id), Some(room)) => {
            room.copy_from_slice(name);
            kill.stops(&symbol, id.key().rule)
        }
        _ => true,
    }
}

impl Desk {
    /// Orders that may rest with the other side, of our own naming.
    fn open_orders(&self) -> impl Iterator<Item = &::fix::blotter::Order> {
        let orders = self.blotter.orders().iter();
        orders.filter(|order| order.standing.is_open() && order.is_delivered())
    }

    /// Asks how what is open stands.
    fn ask(&self, out: &mut Outbox) {
        let is_many = self.open_orders().count() > STATUS_EACH_MAX;
        if is_many && request::has_mass_requests(self.version) {
            let name = format!("STATUS-{}", self.clock.wall().0);
            out.push(request::mass_status(name.as_bytes()));
        } else {
            for order in self.open_orders() {
                out.push(request::status(order));
            }
        }
    }

    /// Cancels what is open and was not cancelled before.
    fn cancel_open(&self, out: &mut Outbox) {
        for order in self.open_orders() {
            let name = [&order.id[..], b"-C"].concat();
            if self.blotter.find(&name).is_none() {
                let now = self.clock.wall();
                out.push(request::cancel(order, &name, self.version, now));
            }
        }
    }
}

impl Application for Desk {
    fn on_logon(&mut self, out: &mut Outbox) {
        if std::mem::take(&mut self.is_to_ask) {
            self.ask(out);
        }
        if std::mem::take(&mut self.was_lost) && self.cancels_on_disconnect {
            self.cancel_open(out);
        }
    }

    fn on_logout(&mut self) {
        self.was_lost = true;
    }

    fn on_message(&mut self, received: &Received<'_>, _: &mut Outbox) -> Verdict {
        let at = received.now.0;
        self.words += 1;
        match self.journal.came(at, received.message.bytes()) {
            Ok(()) => {
                self.copies.put(received.message.bytes());
                self.blotter.came(&received.message, at);
                if self.kill.guard().is_some() {
                    self.count_by(&received.message);
                }
                Verdict::Taken
            }
            Err(error) => {
                self.failure = Some(error);
                Verdict::NotKept
            }
        }
    }

    /// Orders as `orders.in_doubt` says, unless they are stopped; cancels always, and questions never.
    fn may_repeat(&mut self, message: &Message<'_>) -> bool {
        match message.msg_type() {
            b"D" => {}
            b"H" | b"AF" => return false,
            _ => return true,
        }
        let seq = message.number(tags::MSG_SEQ_NUM);
        let id = message.get(tags::CL_ORD_ID).unwrap_or_default();
        // One that was passed over once is not said to be with them; it went out under another
        // number since, or it does not go out at all.
        let is_newest = self
            .blotter
            .find(id)
            .is_some_and(|order| order.seq.is_some() && order.seq == seq);
        let may = match self.in_doubt {
            _ if !self.kill.is_open() && is_stopped(&self.kill, message, id) => false,
            InDoubt::Possresend | InDoubt::Query => true,
            InDoubt::Cancel => false,
            InDoubt::Halt => {
                if is_newest {
                    self.halted.push(String::from_utf8_lossy(id).into_owned());
                }
                false
            }
        };
        if is_newest
            && !may
            && let Some(seq) = seq
        {
            self.keep(&Entry::Withheld(seq));
        }
        is_newest && may
    }

    fn on_note(&mut self, note: &Note) {
        match note {
            Note::Repeating { .. } | Note::Missing { .. } => self.recoveries += 1,
            Note::Reset => {
                self.journaled_upto = 1;
                self.keep(&Entry::Reset);
            }
            Note::RejectedByPeer {
                seq: Some(seq),
                text,
            } => {
                self.keep(&Entry::Refused(*seq, text.as_bytes().to_vec()));
            }
            _ => {}
        }
        self.last_note = Some(note.to_string());
    }
}

/// Reads the dictionaries, where the settings name some.
fn validator(fix: &Fix, checks: Checks) -> Result<Option<(Validator, DataTags)>, String> {
    let read = |path: &Path| {
        let read = Dictionary::read(path).map_err(|error| error.to_string());
        read.map(Arc::new)
    };
    let Some(path) = &fix.dictionary else {
        return Ok(None);
    };
    let dictionary = read(path)?;
    let data = dictionary.data_tags();
    let validator = match (&fix.session_dictionary, fix.version) {
        (Some(path), FixVersion::Fix50Sp2) => Validator::over_fixt(read(path)?, dictionary, checks),
        _ => Validator::new(dictionary, checks),
    };
    Ok(Some((validator, data)))
}

/// Whether this message of ours fits the dictionary, where there is one.
pub fn fits(fix: &Fix, message: &[u8]) -> Result<(), String> {
    let Some((mut validator, data)) = validator(fix, Checks::STRICT)? else {
        return Ok(());
    };
    let mut fields = Fields::default();
    let parsed = parse(message, &mut fields, &data).map_err(|error| error.to_string())?;
    let checked = validator.check(&parsed);
    checked.map_err(|flaw| format!("orders.fix.dictionary has no orders like ours: {flaw}"))
}

fn fix_line(
    fix: &Fix,
    sender: &str,
    target: &str,
    store: FileStore,
    desk: Desk,
) -> Result<Initiator<FileStore, Desk>, String> {
    let config = fix.session(sender, target)?;
    let address = soup::resolve(&fix.connect).map_err(|error| error.to_string())?;
    let (validator, data) = match validator(fix, Checks::TOLERANT)? {
        Some((validator, data)) => (Some(validator), data),
        None => (None, DataTags::default()),
    };
    let session = Session::new(config, store, validator, data);
    let link = Initiator::new(address, fix.retry.0, session, desk);
    link.secured(fix.secured()?)
        .map_err(|error| error.to_string())
}

/// `heard` is what the journal has of the other side.
fn ouch_line(
    config: ouch::Config,
    store: FileStore,
    desk: Desk,
    heard: &[Vec<u8>],
) -> Result<ouch::Line<FileStore, Desk>, String> {
    let line = ouch::Line::new(config, store, desk);
    let mut line = line.map_err(|error| error.to_string())?;
    let mut fields = Fields::default();
    for message in heard {
        if let Ok(message) = parse(message, &mut fields, &DataTags::default()) {
            line.again(&message);
        }
    }
    Ok(line)
}

impl OrderSession {
    /// Connects and logs on; waits for that.
    pub fn open(
        settings: &Settings<'_>,
        clock: MachineClock,
    ) -> Result<OrderSession, GatewayError> {
        let Settings {
            via,
            sender,
            target,
            in_doubt,
            store,
            journal,
            kill,
            copies,
        } = *settings;
        let (connect, sync, cancels_on_disconnect, away_max) = match via {
            Via::Fix(fix) => (
                &fix.connect,
                fix.sync,
                fix.cancel_on_disconnect,
                fix.away_max,
            ),
            Via::Ouch(ouch, _) => (
                &ouch.connect,
                ouch.sync,
                ouch.cancel_on_disconnect,
                ouch.away_max,
            ),
        };
        let name = format!("{sender} at {target}, {connect}");
        let fail = |error: &dyn fmt::Display| GatewayError::new(&name, error);
        let safe = if sync { Safe::Machine } else { Safe::Process };
        let store = FileStore::open(store, safe, clock.wall()).map_err(|error| fail(&error))?;
        let mut blotter = Blotter::default();
        let mut copies = Copies::open(&copies)?;
        // A journal begins where the session was then; what it has of our own messages since
        // goes up to the last of them.
        let mut journaled_upto = None;
        let mut heard = Vec::new();
        let mut journal = Journal::open(journal, |entry| {
            match &entry {
                Entry::Begins(seq) => journaled_upto = Some(*seq),
                Entry::Sent(seq, _) => journaled_upto = Some(seq + 1),
                Entry::Reset => journaled_upto = Some(1),
                Entry::Came(..) | Entry::Withheld(_) | Entry::Refused(..) => {}
            }
            if let Entry::Sent(_, message) | Entry::Came(_, message) = &entry {
                copies.again(message);
            }
            blotter.apply(&entry);
            if let (Via::Ouch(..), Entry::Came(_, message)) = (via, entry) {
                heard.push(message);
            }
        })
        .map_err(|error| fail(&error))?;
        let journaled_upto = match journaled_upto {
            Some(seq) if seq <= store.next_out() => seq,
            // The numbers began anew, and the end of the process kept that from the journal.
            Some(_) => {
                journal
                    .append(&Entry::Reset)
                    .map_err(|error| fail(&error))?;
                blotter.apply(&Entry::Reset);
                1
            }
            None => {
                let begins = Entry::Begins(store.next_out());
                journal.append(&begins).map_err(|error| fail(&error))?;
                store.next_out()
            }
        };
        let counted_from = store.next_out();
        let mut desk = Desk {
            journal,
            copies,
            blotter,
            in_doubt,
            version: match via {
                Via::Fix(fix) => fix.version.session(),
                Via::Ouch(..) => Version::Fix44,
            },
            clock: clock.clone(),
            cancels_on_disconnect,
            was_lost: false,
            words: 0,
            is_to_ask: false,
            kill: Arc::clone(kill),
            journaled_upto,
            halted: Vec::new(),
            stakes: Vec::new(),
            counted_from,
            recoveries: 0,
            last_note: None,
            failure: None,
        };
        desk.count_all();
        let has_open = desk.open_orders().next().is_some();
        desk.was_lost = has_open;
        desk.is_to_ask = has_open && in_doubt == InDoubt::Query;
        let away_max = Duration::from_nanos(away_max.0 as u64);
        let mut session = OrderSession {
            link: match via {
                Via::Fix(fix) => fix_line(fix, sender, target, store, desk).map(Line::Fix),
                Via::Ouch(_, config) => {
                    let line = ouch_line(config, store, desk, &heard);
                    line.map(|line| Line::Ouch(Box::new(line)))
                }
            }
            .map_err(|error| fail(&error))?,
            name,
            clock,
            away_max,
            absence: Absence::new(away_max),
            unheard_turns: 0,
            scratch: Vec::new(),
            failure: None,
        };
        session.wait("a logon", Line::is_logged_on)?;
        Ok(session)
    }

    /// How our orders stand by what was said of them.
    pub fn blotter(&mut self) -> &Blotter {
        &self.link.desk().blotter
    }

    /// Waits until the other side has all that was sent before, as far as it is repeated at all, and
    /// we have all that it said of that; then the orders that it has.
    pub fn agree(&mut self) -> Result<Vec<OrderId>, GatewayError> {
        self.probe()?;
        let orders = self.blotter().orders().iter();
        let ids = orders
            .filter(|order| order.is_delivered())
            .filter_map(|order| OrderId::parse(&order.id));
        Ok(ids.collect())
    }

    /// The number that a message has to have which [`Gateway::send`] is to take; waits for a logon.
    pub fn next_seq(&mut self) -> Result<u64, GatewayError> {
        self.wait("a logon", Line::is_logged_on)?;
        Ok(self.link.next_out())
    }

    fn probe(&mut self) -> Result<(), GatewayError> {
        let mut wait = Wait::new(self.link.desk().words, Instant::now());
        let mut asked = None;
        loop {
            self.work()?;
            let now = self.clock.wall();
            let link = &mut self.link;
            match asked {
                // A question that was asked on a connection that is gone is answered by none.
                _ if !link.is_logged_on() => asked = None,
                None => asked = Some((link.probe(now), link.desk().recoveries)),
                Some((probe, _)) if link.probes_answered() >= probe => return Ok(()),
                // What is repeated passes questions over, those too that wait with the other side
                // behind what it misses; and answers likewise.
                Some((_, before)) if before != link.desk().recoveries => asked = None,
                Some(_) => {}
            }
            if self.is_in_vain(&mut wait) {
                return self.late("an answer");
            }
            thread::park_timeout(REST);
        }
    }

    fn wait(
        &mut self,
        what: &str,
        is_there: impl Fn(&mut Line) -> bool,
    ) -> Result<(), GatewayError> {
        let mut wait = Wait::new(self.link.desk().words, Instant::now());
        loop {
            self.work()?;
            if is_there(&mut self.link) {
                return Ok(());
            }
            if self.is_in_vain(&mut wait) {
                return self.late(what);
            }
            thread::park_timeout(REST);
        }
    }

    /// Whether the other side has said nothing for too long.
    fn is_in_vain(&mut self, wait: &mut Wait) -> bool {
        let words = self.link.desk().words;
        wait.is_over(words, Instant::now(), self.away_max)
    }

    #[cold]
    fn late<T>(&mut self, what: &str) -> Result<T, GatewayError> {
        let last = self.link.desk().last_note.take();
        let last = last.map(|note| format!("; last: {note}"));
        let away_max = self.away_max;
        self.fail(format!(
            "waited {away_max:?} for {what}{}",
            last.unwrap_or_default()
        ))
    }

    #[cold]
    fn fail<T>(&mut self, what: impl fmt::Display) -> Result<T, GatewayError> {
        let failure = GatewayError::new(&self.name, what);
        self.failure = Some(failure.clone());
        Err(failure)
    }

    fn living(&self) -> Result<(), GatewayError> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Puts what was sent since into the journal.
    fn write_journal(&mut self) -> io::Result<()> {
        let next_out = self.link.next_out();
        let mut fields = Fields::default();
        while self.link.desk().journaled_upto < next_out {
            let seq = self.link.desk().journaled_upto;
            self.scratch.clear();
            let is_there = self.link.load_sent(seq, &mut self.scratch)?;
            let desk = self.link.desk();
            if is_there
                && let Ok(message) = parse(&self.scratch, &mut fields, &DataTags::default())
                && !message.is_admin()
            {
                desk.journal.sent(seq, &self.scratch)?;
                desk.copies.put(&self.scratch);
                desk.blotter.sent(seq, &message);
                if desk.kill.guard().is_some()
                    && message.msg_type() == b"D"
                    && let Some(id) = message.get(tags::CL_ORD_ID)
                    && let Some(index) = desk.blotter.index_of(id)
                {
                    desk.count(index, seq >= desk.counted_from);
                }
            }
            desk.journaled_upto += 1;
        }
        Ok(())
    }

    /// What a session does beside sending orders.
    fn work(&mut self) -> Result<usize, GatewayError> {
        self.living()?;
        self.unheard_turns = 0;
        // What may be repeated is known only of what is in the journal.
        if let Err(error) = self.write_journal() {
            return self.fail(error);
        }
        let now = self.clock.wall();
        let work = match self.link.turn(now) {
            Ok(work) => work,
            Err(error) => return self.fail(error),
        };
        let is_logged_on = self.link.is_logged_on();
        let desk = self.link.desk();
        if let Some(error) = desk.failure.take() {
            return self.fail(error);
        }
        if let Err(error) = desk.copies.turn() {
            self.failure = Some(error.clone());
            return Err(error);
        }
        if !desk.halted.is_empty() {
            let ids = desk.halted.join(" ");
            return self.fail(format!(
                "the other side asks again for orders that it did not get, and orders.in_doubt is \
                 `halt`: {ids}"
            ));
        }
        let now = Instant::now();
        if self.absence.is_over(desk.words, is_logged_on, now) {
            return self.late("a logon, while orders wait");
        }
        Ok(work)
    }
}

impl Gateway for OrderSession {
    fn next_msg_seq(&mut self, _: u64) -> Option<u64> {
        if self.link.takes_orders() {
            return Some(self.link.next_out());
        }
        self.absence.wanted(Instant::now());
        None
    }

    fn has_room(&mut self, message_bytes: usize) -> bool {
        self.link.output_bytes() + message_bytes <= WAITING_BYTES_MAX
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        self.living()?;
        if !self.has_room(message.len()) {
            return Ok(false);
        }
        let now: Ts = self.clock.wall();
        if !self.link.takes_orders() {
            return Ok(false);
        }
        match self.link.send_encoded(message, now) {
            Ok(()) => Ok(true),
            Err(SendError::NotLoggedOn) => Ok(false),
            Err(error) => self.fail(error),
        }
    }

    fn turn(&mut self) -> Result<usize, GatewayError> {
        self.living()?;
        let written = self.link.flush(&self.clock);
        if written > 0 {
            // The turn after it listens, so that what is gone is known to be.
            self.unheard_turns = LISTEN_EVERY;
            return Ok(written);
        }
        if self.unheard_turns < LISTEN_EVERY && self.waiting() == 0 {
            self.unheard_turns += 1;
            return Ok(0);
        }
        self.work()
    }

    fn waiting(&self) -> usize {
        self.link.waiting_bytes()
    }

    /// Waits until the other side has all and has said what it says to that, and logs out.
    fn finish(&mut self) -> Result<(), GatewayError> {
        self.probe()?;
        let now = self.clock.wall();
        self.link.log_out(now);
        self.wait("the other side's logout", |link| !link.is_connected())?;
        if let Err(error) = self.write_journal() {
            return self.fail(error);
        }
        let desk = self.link.desk();
        desk.copies.finish()?;
        let synced = desk.journal.sync();
        synced.or_else(|error| self.fail(error))
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests;
