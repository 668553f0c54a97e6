//! Our side of an OUCH 5.0 session over SoupBinTCP 3.0, which looks like one over FIX to whoever uses it.
//!
//! Orders are kept in the [`Store`] under their UserRefNum before they leave; what the venue says becomes
//! ExecutionReports, so that journals, blotters, tables and `recon` need not know of OUCH.
//!
//! ```text
//! login, from behind the last message that the journal has ─► what was said meanwhile
//! account query ─► the venue's next UserRefNum, N
//!                  below N: it has the order.  From N on: it never had it, and gets it again or not
//! ```
//!
//! **Once each.** Every message of the venue has a number, which stands in the report that is made of it
//! (MsgSeqNum), so what a journal has is known without anything beside it. An order that is sent again has
//! its UserRefNum still, and a venue ignores those that it had. Between a question and its answer no order
//! leaves, so an answer that was asked for by a connection or a process before says the same as ours. Who has
//! no orders yet begins with what is told from now on, and keeps that number, since other runs of the day
//! asked as well.
//!
//! **Only ours.** Which session of the venue it was is kept in the store and asked for again. What an Accepted
//! says of an order is held against what was sent under its UserRefNum, and so is each execution. Where they
//! differ, or a number is told of that was never sent, the venue speaks of somebody else's orders: the session
//! ends for good with that error, and nothing is taken any more.
//!
//! `known` is an order of such a session, `sim` a venue to test against.

mod known;
pub mod sim;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use bus::oms::Date;
use bus::ouch::{self, AccountQuery, Asked, CancelOrder, Token, Told, U32, U64};
use bus::soupbintcp::{Client, Fault, Login, Said};
use bus::{Price, Qty, Ts};

use self::known::{Echo, Known, side_of};
use crate::message::{DataTags, Fields, Message, parse};
use crate::session::{Application, Note, Outbox, Received, SendError, Verdict};
use crate::store::Store;
use crate::wire::{Attempt, Dialer, Wire, is_not_now};
use crate::{Version, Writer, tags, value};

/// How many reads a turn makes at most.
const READS_MAX: usize = 8;
/// A refused login waits `retry_ns` doubled so many times at most.
const DOUBLINGS_MAX: u32 = 6;
/// What a cancel of an order by its name begins with, from whoever does not know its UserRefNum: then 14
/// letters of ClOrdID.
pub const CANCEL: u8 = CancelOrder::CODE;

/// What a session is made with.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Where the venue is.
    pub address: SocketAddr,
    /// Whom it knows us as. The session and the number are found out.
    pub login: Login,
    /// A venue that is silent for so long is gone.
    pub silence_ns: u64,
    /// How long after a connection ended, or did not come, the next is tried.
    pub retry_ns: i64,
    /// The day whose orders these are.
    pub date: Date,
    /// Its midnight where the venue is, from which its times count.
    pub midnight: Ts,
}

/// Why a connection is over.
#[derive(Debug)]
enum Parting {
    /// It is tried again.
    Lost(String),
    /// The other side refuses us, or speaks of orders that are not ours: for good.
    Broken(String),
}

impl From<Fault> for Parting {
    fn from(fault: Fault) -> Parting {
        Parting::Lost(fault.to_string())
    }
}

impl From<String> for Parting {
    fn from(why: String) -> Parting {
        Parting::Lost(why)
    }
}

/// How far a connection is.
#[derive(Debug)]
enum Reach {
    /// Not tried again before this time.
    Away(Ts),
    /// Tried since this time.
    Trying(Attempt, Ts),
    /// There.
    There(Wire),
    /// We have left for good.
    Left,
}

/// A session of ours, which connects, and connects again.
#[derive(Debug)]
pub struct Line<S, A> {
    config: Config,
    client: Client,
    dialer: Dialer,
    reach: Reach,
    store: S,
    app: A,
    /// The venue has said which UserRefNum it expects, and has what it is to have.
    is_agreed: bool,
    is_leaving: bool,
    /// The next UserRefNum.
    next_out: u64,
    /// Behind the last order that the venue has or was sent on this connection.
    sent_upto: u64,
    /// The next message of the venue that the application has not had.
    next_in: u64,
    orders: HashMap<u64, Known>,
    by_id: HashMap<Vec<u8>, u64>,
    probes: u64,
    probes_answered: u64,
    writer: Writer,
    fields: Fields,
    scratch: Vec<u8>,
    /// Messages of orders that are none of this store's.
    foreign: u64,
    /// The first UserRefNum of this store; the largest number before there is one.
    first: u64,
    /// Logins that were refused since the last that was not.
    refusals: u32,
    /// Why there is no going on.
    broken: Option<String>,
}

impl<S: Store, A: Application> Line<S, A> {
    /// A session with the orders that the store has. What a journal has of it is told by
    /// [`Line::again`] before the first turn.
    pub fn new(config: Config, store: S, app: A) -> io::Result<Line<S, A>> {
        let (next_out, next_in) = (store.next_out(), store.next_in());
        let mut line = Line {
            client: Client::new(config.login, config.silence_ns),
            dialer: Dialer::Plain,
            reach: Reach::Away(Ts::MIN),
            app,
            is_agreed: false,
            is_leaving: false,
            next_out,
            sent_upto: 0,
            next_in,
            orders: HashMap::new(),
            by_id: HashMap::new(),
            probes: 0,
            probes_answered: 0,
            writer: Writer::new(),
            fields: Fields::default(),
            scratch: Vec::new(),
            foreign: 0,
            first: u64::MAX,
            refusals: 0,
            broken: None,
            store,
            config,
        };
        let mut bytes = Vec::new();
        for number in (1..next_out).rev() {
            bytes.clear();
            // Numbers before the first were another's.
            if !line.store.load(number, &mut bytes)? {
                break;
            }
            line.learn(number, &bytes);
        }
        Ok(line)
    }

    /// A report that the journal has: of what was said up to then.
    pub fn again(&mut self, message: &Message<'_>) {
        if let Some(number) = message.number(tags::MSG_SEQ_NUM) {
            self.next_in = self.next_in.max(number + 1);
        }
        let by_id = message
            .get(tags::CL_ORD_ID)
            .and_then(|id| self.by_id.get(id));
        let Some(known) = by_id.and_then(|number| self.orders.get_mut(number)) else {
            return;
        };
        if let Some(reference) = message.number(tags::ORDER_ID) {
            known.reference = reference;
        }
        if let Some(qty) = message.get(tags::ORDER_QTY).and_then(value::qty) {
            known.qty = qty.0;
        }
        let number = |tag| message.number(tag).unwrap_or(0);
        match message.get(tags::EXEC_TYPE).unwrap_or_default() {
            b"F" => {
                let qty = message.get(tags::LAST_QTY).and_then(value::qty);
                let price = message.get(tags::LAST_PX).and_then(value::price);
                if let (Some(qty), Some(price)) = (qty, price) {
                    known.fill(number(tags::EXEC_ID), qty.0, price);
                }
            }
            b"H" => known.undo(number(tags::EXEC_REF_ID)),
            b"4" | b"8" => known.is_over = true,
            _ => {}
        }
        // A rejected order is the only one that was never accepted.
        known.is_accepted |= message.get(tags::EXEC_TYPE) != Some(b"8");
        if let Some(leaves) = message.get(tags::LEAVES_QTY).and_then(value::qty) {
            known.gone = (known.qty - known.filled - leaves.0).max(0);
        }
    }

    /// Whom it is for.
    pub fn app(&mut self) -> &mut A {
        &mut self.app
    }

    /// The next UserRefNum.
    pub fn next_out(&self) -> u64 {
        self.next_out
    }

    /// Whether orders may leave.
    pub fn is_logged_on(&self) -> bool {
        self.is_agreed && !self.is_leaving
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        matches!(self.reach, Reach::There(_))
    }

    /// How many bytes wait to be written.
    pub fn waiting_bytes(&self) -> usize {
        self.client.to_send().len()
    }

    /// How many messages were about orders that are none of ours: of another run of the day, say.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Sends what the hot path has encoded: an order under [`Line::next_out`], or a cancel by name.
    pub fn send_encoded(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if !self.is_logged_on() {
            return Err(SendError::NotLoggedOn);
        }
        match bytes.first() {
            Some(&CANCEL) => {
                let letters = bytes[1..].try_into().expect("a name has 14 letters");
                if let Some(id) = Token(letters).order(self.config.date) {
                    self.cancel(id.as_bytes());
                }
                return Ok(());
            }
            // The venue has told all that it has.
            Some(&AccountQuery::CODE) => return Ok(()),
            _ => {}
        }
        let number = self.next_out;
        let is_next = matches!(
            Asked::parse(bytes),
            Ok(Asked::EnterOrder(order, _)) if u64::from(order.user_ref_num.get()) == number
        );
        if !is_next {
            return Err(SendError::NotNext { want: number });
        }
        self.store.save(number, bytes).map_err(SendError::Store)?;
        self.learn(number, bytes);
        self.client.send(bytes);
        self.next_out = number + 1;
        self.sent_upto = self.next_out;
        Ok(())
    }

    /// Puts an order that was sent, as FIX would say it, behind what `into` has.
    pub fn load_sent(&mut self, number: u64, into: &mut Vec<u8>) -> io::Result<bool> {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let found = self.store.load(number, &mut bytes);
        if let Ok(true) = found {
            into.extend_from_slice(self.as_fix(number, &bytes));
        }
        self.scratch = bytes;
        found
    }

    /// Asks which UserRefNum is next, and says the question's number: once it is answered
    /// ([`Line::probes_answered`]), the venue has had all that was sent before.
    pub fn probe(&mut self) -> u64 {
        self.probes += 1;
        self.ask();
        self.probes
    }

    /// The number of the last question that was answered; 0 before the first.
    pub fn probes_answered(&self) -> u64 {
        self.probes_answered
    }

    /// Leaves. The connection ends when that is written.
    pub fn log_out(&mut self) {
        self.client.log_out();
        self.is_leaving = true;
    }

    /// Writes what waits, and does nothing else.
    pub fn flush(&mut self, now: Ts) -> usize {
        self.write(now).unwrap_or(0)
    }

    /// Connects, or takes what has come, and says how much was done. An error is for good: the venue does
    /// not let us in, or speaks of orders that are not ours.
    pub fn turn(&mut self, now: Ts) -> io::Result<usize> {
        match &mut self.reach {
            Reach::Left => match &self.broken {
                Some(why) => Err(io::Error::other(why.clone())),
                None => Ok(0),
            },
            Reach::Away(until) => {
                if now < *until {
                    return Ok(0);
                }
                match self.dialer.begin(self.config.address) {
                    Ok(attempt) => self.reach = Reach::Trying(attempt, now),
                    Err(error) => self.give_up(&error.to_string(), now),
                }
                Ok(1)
            }
            Reach::Trying(attempt, since) => {
                match attempt.outcome(now.0 - since.0) {
                    Ok(None) => return Ok(0),
                    Ok(Some(wire)) => {
                        self.reach = Reach::There(wire);
                        self.connected(now);
                    }
                    Err(error) => self.give_up(&error.to_string(), now),
                }
                Ok(1)
            }
            Reach::There(_) => self.listen(now),
        }
    }

    fn connected(&mut self, now: Ts) {
        let is_new = self.next_in == 1 && self.next_out == 1;
        let login = Login {
            sequence: if is_new { 0 } else { self.next_in },
            session: self.store.session().unwrap_or(self.config.login.session),
            ..self.config.login
        };
        self.client = Client::new(login, self.config.silence_ns);
        self.client.connected(now.0 as u64);
        self.is_agreed = false;
    }

    #[cold]
    fn give_up(&mut self, why: &str, now: Ts) {
        let note = Note::Closing(format!("{}: {why}", self.config.address));
        self.app.on_note(&note);
        self.reach = Reach::Away(Ts(now.0.saturating_add(self.config.retry_ns)));
    }

    /// The connection is over, whoever ended it.
    #[cold]
    fn over(&mut self, why: Option<&str>, now: Ts) {
        if let Some(why) = why {
            self.app.on_note(&Note::Closing(why.to_owned()));
        }
        if let Reach::There(wire) = &mut self.reach {
            wire.end();
        }
        if std::mem::take(&mut self.is_agreed) {
            self.app.on_logout();
        }
        // What has not left leaves from the store, once the venue has said what it has.
        self.client = Client::new(*self.client.login(), self.config.silence_ns);
        self.reach = match self.is_leaving {
            true => Reach::Left,
            false => Reach::Away(Ts(now.0.saturating_add(self.config.retry_ns))),
        };
    }

    /// The connection is over for this reason, and with `Broken` all is.
    #[cold]
    fn part(&mut self, parting: Parting, now: Ts) -> io::Result<()> {
        match parting {
            Parting::Lost(why) => {
                self.over(Some(&why), now);
                if let Reach::Away(until) = &mut self.reach
                    && self.refusals > 0
                {
                    let doubled = (self.config.retry_ns)
                        .saturating_mul(1 << self.refusals.min(DOUBLINGS_MAX));
                    *until = Ts(now.0.saturating_add(doubled));
                }
                Ok(())
            }
            Parting::Broken(why) => {
                self.over(Some(&why), now);
                self.reach = Reach::Left;
                self.broken = Some(why.clone());
                Err(io::Error::other(why))
            }
        }
    }

    /// `None` where nobody is there any more.
    fn write(&mut self, now: Ts) -> Option<usize> {
        let Reach::There(wire) = &mut self.reach else {
            return Some(0);
        };
        let mut writes = 0;
        while !self.client.to_send().is_empty() {
            match wire.write(self.client.to_send()) {
                Ok(0) => return None,
                Ok(count) => {
                    self.client.sent(count, now.0 as u64);
                    writes += 1;
                }
                Err(error) if is_not_now(&error) => break,
                Err(_) => return None,
            }
        }
        match wire.flush() {
            Ok(()) => Some(writes),
            Err(_) => None,
        }
    }

    fn listen(&mut self, now: Ts) -> io::Result<usize> {
        let (mut work, mut is_ended) = (0, false);
        for _ in 0..READS_MAX {
            let Reach::There(wire) = &mut self.reach else {
                return Ok(work);
            };
            match wire.read(self.client.room()) {
                Ok(0) => {
                    is_ended = true;
                    break;
                }
                Ok(count) => {
                    self.client.received(count, now.0 as u64);
                    work += 1;
                }
                Err(error) if is_not_now(&error) => break,
                Err(_) => {
                    is_ended = true;
                    break;
                }
            }
            if let Err(parting) = self.hear(now) {
                self.part(parting, now)?;
                return Ok(work + 1);
            }
        }
        if is_ended {
            self.over(None, now);
            return Ok(work + 1);
        }
        if let Err(fault) = self.client.tick(now.0 as u64) {
            self.over(Some(&fault.to_string()), now);
            return Ok(work + 1);
        }
        match self.write(now) {
            None => self.over(None, now),
            Some(writes) => work += writes,
        }
        if self.is_leaving && self.client.to_send().is_empty() {
            self.over(None, now);
        }
        Ok(work)
    }

    /// Takes all that has come.
    fn hear(&mut self, now: Ts) -> Result<(), Parting> {
        loop {
            let mut message = std::mem::take(&mut self.scratch);
            message.clear();
            let said = match self.client.hear() {
                Ok(said) => said,
                Err(Fault::Rejected(reason)) => return Err(self.refused(reason)),
                Err(fault) => return Err(fault.into()),
            };
            let number = match said {
                None => {
                    self.scratch = message;
                    return Ok(());
                }
                Some(Said::Accepted { sequence, session }) => {
                    self.refusals = 0;
                    let text = |name: &[u8]| name.trim_ascii().escape_ascii().to_string();
                    match self.store.session() {
                        Some(ours) if ours == session => {}
                        Some(ours) => {
                            return Err(Parting::Broken(format!(
                                "the venue's session is \"{}\", want \"{}\", which has our orders",
                                text(&session),
                                text(&ours)
                            )));
                        }
                        None => {
                            let kept = self.store.set_session(session);
                            kept.map_err(|error| error.to_string())?;
                        }
                    }
                    if self.next_in == 1 && self.next_out == 1 && sequence != 1 {
                        let kept = self.store.set_next_in(sequence);
                        kept.map_err(|error| error.to_string())?;
                        self.next_in = sequence;
                    }
                    if sequence != self.next_in {
                        return Err(format!(
                            "the venue goes on with message {sequence}, want {}: another session",
                            self.next_in
                        )
                        .into());
                    }
                    self.ask();
                    None
                }
                Some(Said::Message { sequence, bytes }) => {
                    message.extend_from_slice(bytes);
                    Some(sequence)
                }
                Some(Said::Ended) => return Err("the venue's session is over".to_owned().into()),
                Some(Said::Unnumbered(_) | Said::Debug(_) | Said::Heartbeat) => None,
            };
            let taken = number.map_or(Ok(()), |number| self.take(number, &message, now));
            self.scratch = message;
            taken?;
        }
    }

    /// A login was refused for this reason. Only a session that is not there yet may come.
    #[cold]
    fn refused(&mut self, reason: u8) -> Parting {
        self.refusals = self.refusals.saturating_add(1);
        let login = self.client.login();
        let user = login.user.trim_ascii().escape_ascii();
        let what = format!("{}, user {user}", Fault::Rejected(reason));
        match (reason, self.store.session()) {
            (b'A', _) => Parting::Broken(what),
            (b'S', Some(session)) => Parting::Broken(format!(
                "{what}, session \"{}\" from message {}: the venue does not have what our orders were \
                 sent to",
                session.trim_ascii().escape_ascii(),
                login.sequence
            )),
            _ => Parting::Lost(what),
        }
    }

    fn ask(&mut self) {
        self.client.send(&[AccountQuery::CODE]);
    }

    /// What an order is, and by which names.
    fn learn(&mut self, number: u64, bytes: &[u8]) {
        let Ok(Asked::EnterOrder(order, _)) = Asked::parse(bytes) else {
            return;
        };
        let id = self.name(&order.cl_ord_id);
        self.by_id.insert(id.clone(), number);
        let known = Known {
            id,
            symbol: order.symbol,
            side: order.side,
            qty: order.quantity.get().into(),
            price: ouch::price_of(order.price).unwrap_or(Price(0)),
            filled: 0,
            notional: 0,
            gone: 0,
            reference: 0,
            is_over: false,
            trades: Vec::new(),
            sent: order,
            is_accepted: false,
        };
        self.first = self.first.min(number);
        self.orders.insert(number, known);
    }

    /// Our own name of an order, or the letters where they are none of ours.
    fn name(&self, letters: &[u8; 14]) -> Vec<u8> {
        match Token(*letters).order(self.config.date) {
            Some(id) => id.as_bytes().to_vec(),
            None => letters.trim_ascii_end().to_vec(),
        }
    }

    /// An order that was sent, as FIX says it.
    fn as_fix(&mut self, number: u64, bytes: &[u8]) -> &[u8] {
        let tif = match Asked::parse(bytes) {
            Ok(Asked::EnterOrder(order, _)) => order.time_in_force,
            _ => b'0',
        };
        let message = self.writer.begin(b"D");
        message.number(tags::MSG_SEQ_NUM, number);
        if let Some(known) = self.orders.get(&number) {
            message.bytes(tags::CL_ORD_ID, &known.id);
            message.bytes(tags::SYMBOL, known.symbol());
            message.bytes(tags::SIDE, side_of(known.side));
            message.qty(tags::ORDER_QTY, Qty(known.qty));
            message.text(tags::ORD_TYPE, "2");
            message.price(tags::PRICE, known.price);
            message.bytes(tags::TIME_IN_FORCE, &[tif]);
        }
        message.finish(Version::Fix44)
    }

    fn cancel(&mut self, id: &[u8]) {
        if let Some(&number) = self.by_id.get(id) {
            let cancel = CancelOrder {
                code: CancelOrder::CODE,
                user_ref_num: U32::new(number as u32),
                quantity: U32::new(0),
            };
            self.client.send(cancel.as_bytes());
        }
    }

    /// The venue's next UserRefNum is this: it has all below, and none of those from there on.
    fn agree(&mut self, next: u64) -> Result<(), Parting> {
        // Before the first of ours, another run of the day has sent what it has.
        if next > self.next_out && self.first < self.next_out {
            return Err(Parting::Broken(format!(
                "the venue wants UserRefNum {next} next, and we have sent none above {}: another run sends \
                 as the same user, or it is another session",
                self.next_out - 1
            )));
        }
        if self.is_agreed {
            if next >= self.sent_upto {
                self.probes_answered = self.probes;
            }
            return Ok(());
        }
        self.sent_upto = next;
        let mut bytes = Vec::new();
        let mut fields = Fields::default();
        for number in next..self.next_out {
            bytes.clear();
            if !matches!(self.store.load(number, &mut bytes), Ok(true)) {
                continue;
            }
            let order = self.as_fix(number, &bytes).to_vec();
            let message = parse(&order, &mut fields, &DataTags::default());
            if self.app.may_repeat(&message.expect("a message of our own")) {
                self.client.send(&bytes);
                self.sent_upto = number + 1;
            }
        }
        self.next_out = self.next_out.max(next);
        self.is_agreed = true;
        self.app.on_note(&Note::LoggedOn);
        let mut out = Outbox::default();
        self.app.on_logon(&mut out);
        self.send_drafts(out);
        Ok(())
    }

    /// Cancels leave. How an order stands is known already: the venue has said all of it again.
    fn send_drafts(&mut self, mut out: Outbox) {
        for draft in out.drafts() {
            if draft.msg_type() == b"F"
                && let Some(id) = draft.get(tags::ORIG_CL_ORD_ID)
            {
                self.cancel(&id);
            }
        }
    }

    /// Takes the venue's message of this number.
    fn take(&mut self, number: u64, bytes: &[u8], now: Ts) -> Result<(), Parting> {
        if number < self.next_in {
            return Ok(());
        }
        let told = Told::parse(bytes).map_err(|bad| format!("message {number}: {bad}"))?;
        self.check(&told)
            .map_err(|why| Parting::Broken(format!("message {number}: {why}")))?;
        let Some(report) = self.report(number, &told) else {
            if let Told::AccountQueryResponse(answer, _) = told {
                self.agree(answer.next_user_ref_num.get().into())?;
            }
            self.next_in = number + 1;
            return Ok(());
        };
        let message = parse(&report, &mut self.fields, &DataTags::default());
        let received = Received {
            message: message.expect("a message of our own"),
            seq: number,
            now,
            flaw: None,
        };
        let mut out = Outbox::default();
        match self.app.on_message(&received, &mut out) {
            Verdict::NotKept => Err("a report could not be kept".to_owned().into()),
            Verdict::Taken | Verdict::UnsupportedType | Verdict::Missing(_) => {
                self.next_in = number + 1;
                self.send_drafts(out);
                Ok(())
            }
        }
    }

    /// Whether what was told can be of the order that we sent under its number; else why not. What is below our
    /// first number is another run's.
    fn check(&self, told: &Told<'_>) -> Result<(), String> {
        let Some((user_ref_num, _)) = order_of(told) else {
            return Ok(());
        };
        let known = |user_ref_num: U32| {
            let number = u64::from(user_ref_num.get());
            match self.orders.get(&number) {
                Some(known) => Ok(Some(known)),
                None if number < self.first => Ok(None),
                None => Err(format!(
                    "UserRefNum {number}: we have sent none of that number, {} to {} are ours: another run \
                     sends as the same user, or it is another session",
                    self.first,
                    self.next_out - 1
                )),
            }
        };
        let Some(order) = known(user_ref_num)? else {
            return Ok(());
        };
        let checked = match told {
            Told::Accepted(m, _) => order.accepts(&Echo {
                symbol: m.symbol,
                side: m.side,
                quantity: m.quantity,
                price: m.price,
                cl_ord_id: m.cl_ord_id,
            }),
            Told::Replaced(m, _) => match known(m.user_ref_num)? {
                Some(order) => order.accepts(&Echo {
                    symbol: m.symbol,
                    side: m.side,
                    quantity: m.quantity,
                    price: m.price,
                    cl_ord_id: m.cl_ord_id,
                }),
                None => Ok(()),
            },
            Told::Executed(m, _) => order.executes(m.quantity, m.price),
            Told::Rejected(m, _) if m.cl_ord_id != order.sent.cl_ord_id => Err(order.differs(
                "ClOrdID",
                m.cl_ord_id.escape_ascii(),
                order.sent.cl_ord_id.escape_ascii(),
            )),
            _ => Ok(()),
        };
        checked.map_err(|why| {
            format!(
                "UserRefNum {}: {why}: the venue has another order of that number",
                user_ref_num.get()
            )
        })
    }

    /// The ExecutionReport that says the same; `None` for what is of no order of ours.
    fn report(&mut self, number: u64, told: &Told<'_>) -> Option<Vec<u8>> {
        let (user_ref_num, timestamp) = order_of(told)?;
        let order = u64::from(user_ref_num.get());
        let Some(known) = self.orders.get_mut(&order) else {
            self.foreign += 1;
            return None;
        };
        let said = known.step(told);
        let message = self.writer.begin(said.msg_type);
        message.number(tags::MSG_SEQ_NUM, number);
        message.number(tags::ORDER_ID, known.reference);
        match said.trade {
            Some((id, qty, price)) if said.exec_type == "F" => {
                message.number(tags::EXEC_ID, id);
                message.qty(tags::LAST_QTY, Qty(qty));
                message.price(tags::LAST_PX, price);
            }
            Some((id, ..)) => {
                message.text(tags::EXEC_ID, &format!("R{number}"));
                message.number(tags::EXEC_REF_ID, id);
            }
            None => {
                message.text(tags::EXEC_ID, &format!("R{number}"));
            }
        }
        message.bytes(tags::CL_ORD_ID, &known.id);
        if said.msg_type == b"9" {
            message.bytes(tags::ORIG_CL_ORD_ID, &known.id);
        } else {
            message.text(tags::EXEC_TYPE, said.exec_type);
        }
        message.text(tags::ORD_STATUS, said.status.unwrap_or(known.status()));
        message.bytes(tags::SYMBOL, known.symbol());
        message.bytes(tags::SIDE, side_of(known.side));
        message.qty(tags::ORDER_QTY, Qty(known.qty));
        message.price(tags::PRICE, known.price);
        message.qty(tags::LEAVES_QTY, Qty(known.leaves()));
        message.qty(tags::CUM_QTY, Qty(known.filled));
        let average = known.notional.checked_div(known.filled.into());
        message.price(tags::AVG_PX, Price(average.unwrap_or(0) as i64));
        let since_midnight = i64::try_from(timestamp.get()).unwrap_or(0);
        let at = Ts(self.config.midnight.0.saturating_add(since_midnight));
        message.time(tags::TRANSACT_TIME, at, true);
        if !said.text.is_empty() {
            message.text(tags::TEXT, &said.text);
        }
        Some(message.finish(Version::Fix44).to_vec())
    }
}

/// The UserRefNum that is told of, and when in nanoseconds since midnight; `None` for what is of no order.
fn order_of(told: &Told<'_>) -> Option<(U32, U64)> {
    Some(match told {
        Told::Accepted(m, _) => (m.user_ref_num, m.timestamp),
        Told::Replaced(m, _) => (m.orig_user_ref_num, m.timestamp),
        Told::Canceled(m, _) => (m.user_ref_num, m.timestamp),
        Told::AiqCanceled(m, _) => (m.user_ref_num, m.timestamp),
        Told::Executed(m, _) => (m.user_ref_num, m.timestamp),
        Told::BrokenTrade(m, _) => (m.user_ref_num, m.timestamp),
        Told::Rejected(m, _) => (m.user_ref_num, m.timestamp),
        Told::CancelPending(m, _) => (m.user_ref_num, m.timestamp),
        Told::CancelReject(m, _) => (m.user_ref_num, m.timestamp),
        Told::PriorityUpdate(m, _) => (m.user_ref_num, m.timestamp),
        Told::Modified(m, _) => (m.user_ref_num, m.timestamp),
        Told::Restated(m, _) => (m.user_ref_num, m.timestamp),
        Told::SystemEvent(..) | Told::AccountQueryResponse(..) => return None,
    })
}
