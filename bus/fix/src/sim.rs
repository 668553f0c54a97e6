//! A counterparty for tests and certification: an exchange side that does with orders what a script
//! says.
//!
//! ```text
//! symbol BAD: reject            # the first line that fits an order is what happens to it
//! every 100: new, lose, fill    # each 100th order: its fill is stored, and lost on the way
//! symbol HALF: new, partial 50
//! any: new, fill
//! ```
//!
//! | action | what happens |
//! |---|---|
//! | `new` | the order is accepted |
//! | `reject` | it is not |
//! | `fill` | what is open is filled, at the order's price |
//! | `partial N` | N of it are filled, or what is open |
//! | `bust` | the last fill never was |
//! | `correct PRICE` | the last fill was at this price |
//! | `cancel` | the order is cancelled, without being asked to |
//! | `lose` | the next report is kept and does not leave: a gap in the numbers |
//! | `ask N` | N ResendRequests for everything |
//! | `deaf S` | nothing is read for S seconds |
//! | `mute S` | nothing is written for S seconds |
//! | `cut` | the connection ends, behind what was said before |

use std::collections::BTreeMap;
use std::fmt;

use bus::{Price, Qty, Ts};

use crate::message::Message;
use crate::request::has_mass_requests;
use crate::session::{Application, Draft, Note, Outbox, Received, Verdict};
use crate::version::Version;
use crate::{tags, value};

/// What happens to orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    which: Which,
    actions: Vec<Action>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    Any,
    Symbol(Vec<u8>),
    Every(u64),
    Nth(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    New,
    Reject,
    Fill,
    Partial(i64),
    Bust,
    Correct(Price),
    Cancel,
    Lose,
    Ask(u64),
    Deaf(u64),
    Mute(u64),
    Cut,
}

/// Where a script cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ScriptError {}

impl Script {
    /// Every order is accepted and filled.
    pub fn plain() -> Script {
        Script {
            rules: vec![Rule {
                which: Which::Any,
                actions: vec![Action::New, Action::Fill],
            }],
        }
    }

    /// Reads lines of `which: action, action`.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        let mut rules = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                let rule = Rule::parse(line).map_err(|what| ScriptError {
                    line: index + 1,
                    what,
                })?;
                rules.push(rule);
            }
        }
        Ok(Script { rules })
    }

    /// What happens to the order of this number, from 1; orders that no line fits are accepted.
    pub(crate) fn actions(&self, nth: u64, symbol: &[u8]) -> Vec<Action> {
        let found = self.rules.iter().find(|rule| match &rule.which {
            Which::Any => true,
            Which::Symbol(name) => name == symbol,
            Which::Every(step) => nth.is_multiple_of(*step),
            Which::Nth(number) => nth == *number,
        });
        found.map_or(vec![Action::New], |rule| rule.actions.clone())
    }
}

impl Rule {
    fn parse(line: &str) -> Result<Rule, String> {
        let (which, actions) = line
            .split_once(':')
            .ok_or("want WHICH: ACTION, ACTION ...")?;
        let words: Vec<&str> = which.split_whitespace().collect();
        let which = match words[..] {
            ["any"] => Which::Any,
            ["symbol", name] => Which::Symbol(name.as_bytes().to_vec()),
            ["every", number] => Which::Every(whole(number)?),
            ["nth", number] => Which::Nth(whole(number)?),
            _ => {
                return Err(format!(
                    "{which:?}, want any, symbol NAME, every N or nth N"
                ));
            }
        };
        let mut has_answer = false;
        let mut list = Vec::new();
        for text in actions.split(',') {
            let words: Vec<&str> = text.split_whitespace().collect();
            let action = match words[..] {
                ["new"] => Action::New,
                ["reject"] => Action::Reject,
                ["fill"] => Action::Fill,
                ["partial", number] => Action::Partial(
                    i64::try_from(whole(number)?).map_err(|error| error.to_string())?,
                ),
                ["bust"] => Action::Bust,
                ["correct", price] => Action::Correct(
                    value::price(price.as_bytes()).ok_or(format!("{price:?} is no price"))?,
                ),
                ["cancel"] => Action::Cancel,
                ["lose"] => Action::Lose,
                ["ask", number] => Action::Ask(whole(number)?.min(1_000)),
                ["deaf", number] => Action::Deaf(whole(number)?.min(3_600)),
                ["mute", number] => Action::Mute(whole(number)?.min(3_600)),
                ["cut"] => Action::Cut,
                _ => return Err(format!("{:?} is no action", text.trim())),
            };
            match action {
                Action::New | Action::Reject if has_answer => {
                    return Err("an order is accepted or rejected once".into());
                }
                Action::New | Action::Reject => has_answer = true,
                Action::Fill
                | Action::Partial(_)
                | Action::Bust
                | Action::Correct(_)
                | Action::Cancel
                    if list.contains(&Action::Reject) || !has_answer =>
                {
                    return Err(format!("{:?} comes behind new", text.trim()));
                }
                _ => {}
            }
            list.push(action);
        }
        Ok(Rule {
            which,
            actions: list,
        })
    }
}

fn whole(text: &str) -> Result<u64, String> {
    value::unsigned(text.as_bytes())
        .filter(|&number| number > 0)
        .ok_or_else(|| format!("{text:?}, want a number from 1 on"))
}

/// What OrdStatus says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Accepted, and nothing is filled.
    New,
    /// Some is filled.
    Partial,
    /// All is filled.
    Filled,
    /// Cancelled; some may be filled.
    Cancelled,
    /// Never accepted.
    Rejected,
}

impl Status {
    /// As in tag 39.
    pub const fn code(self) -> &'static str {
        match self {
            Status::New => "0",
            Status::Partial => "1",
            Status::Filled => "2",
            Status::Cancelled => "4",
            Status::Rejected => "8",
        }
    }

    /// Whether more can happen to the order.
    pub const fn is_open(self) -> bool {
        matches!(self, Status::New | Status::Partial)
    }
}

/// One execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trade {
    number: u64,
    qty: i64,
    price: Price,
}

/// An order, as the exchange side has it.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its newest name.
    pub id: Vec<u8>,
    /// The number that OrderID is made of.
    pub number: u64,
    /// What is traded.
    pub symbol: Vec<u8>,
    /// As in tag 54.
    pub side: Vec<u8>,
    /// How much is wanted.
    pub qty: Qty,
    /// The limit; none is a market order.
    pub price: Option<Price>,
    /// How it stands.
    pub status: Status,
    trades: Vec<Trade>,
}

impl Order {
    /// How much is filled.
    pub fn filled(&self) -> Qty {
        Qty(self.trades.iter().map(|trade| trade.qty).sum())
    }

    /// The average price of what is filled, rounded down; zero when nothing is.
    pub fn average(&self) -> Price {
        let qty = i128::from(self.filled().0);
        if qty == 0 {
            return Price(0);
        }
        let sum: i128 = self
            .trades
            .iter()
            .map(|trade| i128::from(trade.price.0) * i128::from(trade.qty))
            .sum();
        Price((sum / qty) as i64)
    }

    fn open(&self) -> i64 {
        if self.status.is_open() {
            self.qty.0 - self.filled().0
        } else {
            0
        }
    }

    /// What is filled decides how an open order stands.
    fn settle(&mut self) {
        if matches!(self.status, Status::Cancelled | Status::Rejected) {
            return;
        }
        self.status = match self.filled().0 {
            0 => Status::New,
            filled if filled < self.qty.0 => Status::Partial,
            _ => Status::Filled,
        };
    }
}

/// What a report is about, beside the order itself.
#[derive(Clone, Copy, Debug)]
struct About<'a> {
    /// ExecType since FIX 4.3, and before.
    exec_type: &'a str,
    /// ExecTransType, up to FIX 4.2.
    trans_type: &'a str,
    trade: Option<Trade>,
    is_reference: bool,
    replaced: Option<&'a [u8]>,
    /// OrdRejReason.
    reject_reason: &'a str,
    text: &'a str,
    /// The request for many that it answers, how many answer it, and whether this is the last.
    mass: Option<(&'a [u8], usize, bool)>,
}

impl<'a> About<'a> {
    /// How the order stands, because that was asked.
    const STATE: About<'static> = About {
        trans_type: "3",
        ..About::new("I")
    };

    const fn new(exec_type: &'a str) -> About<'a> {
        About {
            exec_type,
            trans_type: "0",
            trade: None,
            is_reference: false,
            replaced: None,
            reject_reason: "",
            text: "",
            mass: None,
        }
    }
}

/// The exchange side of one session. Its orders outlive connections.
#[derive(Debug)]
pub struct Exchange {
    version: Version,
    script: Script,
    orders: Vec<Order>,
    /// Every name that an order has had.
    names: BTreeMap<Vec<u8>, usize>,
    exec_count: u64,
    is_losing: bool,
    deaf_until: Ts,
    mute_until: Ts,
    /// What happened, newest last, to be shown and forgotten.
    notes: Vec<Note>,
}

const SECOND_NS: i64 = 1_000_000_000;
/// Orders beyond this are rejected.
const ORDERS_MAX: usize = 1 << 20;

impl Exchange {
    /// Without orders.
    pub fn new(version: Version, script: Script) -> Exchange {
        Exchange {
            version,
            script,
            orders: Vec::new(),
            names: BTreeMap::new(),
            exec_count: 0,
            is_losing: false,
            deaf_until: Ts::MIN,
            mute_until: Ts::MIN,
            notes: Vec::new(),
        }
    }

    /// All orders, as they came.
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// What happened since this was asked last.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Bought less sold, by symbol.
    pub fn positions(&self) -> BTreeMap<Vec<u8>, i128> {
        let mut positions = BTreeMap::new();
        for order in &self.orders {
            let sign = if order.side == b"1" { 1 } else { -1 };
            *positions.entry(order.symbol.clone()).or_insert(0) +=
                sign * i128::from(order.filled().0);
        }
        positions
    }

    fn put(&mut self, draft: Draft, out: &mut Outbox) {
        if std::mem::take(&mut self.is_losing) {
            out.withhold(draft);
        } else {
            out.push(draft);
        }
    }

    fn report(&mut self, index: usize, about: About<'_>, now: Ts, out: &mut Outbox) {
        self.exec_count += 1;
        let exec_count = self.exec_count;
        let order = &self.orders[index];
        let has_trade_type = self.version >= Version::Fix43;
        let mut draft = Draft::new(b"8");
        let body = draft.body();
        body.number(tags::ORDER_ID, order.number);
        if let (Some(trade), false) = (about.trade, about.is_reference) {
            body.number(tags::EXEC_ID, trade.number);
        } else {
            body.text(tags::EXEC_ID, &format!("R{exec_count}"));
        }
        if let (Some(trade), true) = (about.trade, about.is_reference) {
            body.number(tags::EXEC_REF_ID, trade.number);
        }
        if !has_trade_type {
            body.text(tags::EXEC_TRANS_TYPE, about.trans_type);
        }
        // Before FIX 4.3 fills and states have no type of their own.
        let is_of_state = about.trade.is_some() || about.exec_type == "I";
        let exec_type = if has_trade_type || !is_of_state {
            about.exec_type
        } else {
            order.status.code()
        };
        body.bytes(tags::CL_ORD_ID, &order.id);
        if let Some(replaced) = about.replaced {
            body.bytes(tags::ORIG_CL_ORD_ID, replaced);
        }
        body.text(tags::EXEC_TYPE, exec_type)
            .text(tags::ORD_STATUS, order.status.code())
            .bytes(tags::SYMBOL, &order.symbol)
            .bytes(tags::SIDE, &order.side)
            .qty(tags::ORDER_QTY, order.qty);
        if let Some(price) = order.price {
            body.price(tags::PRICE, price);
        }
        if let Some(trade) = about.trade {
            body.qty(tags::LAST_QTY, Qty(trade.qty))
                .price(tags::LAST_PX, trade.price);
        }
        body.qty(tags::LEAVES_QTY, Qty(order.open()))
            .qty(tags::CUM_QTY, order.filled())
            .price(tags::AVG_PX, order.average());
        if !about.reject_reason.is_empty() {
            body.text(tags::ORD_REJ_REASON, about.reject_reason);
        }
        if !about.text.is_empty() {
            body.text(tags::TEXT, about.text);
        }
        if let Some((request, reports, is_last)) = about.mass {
            body.bytes(tags::MASS_STATUS_REQ_ID, request)
                .number(tags::TOT_NUM_REPORTS, reports as u64)
                .flag(tags::LAST_RPT_REQUESTED, is_last);
        }
        body.time(tags::TRANSACT_TIME, now, self.version.has_milliseconds());
        self.put(draft, out);
    }

    fn trade(&mut self, index: usize, qty: i64, now: Ts, out: &mut Outbox) {
        let order = &mut self.orders[index];
        let qty = qty.min(order.open());
        if qty <= 0 {
            return;
        }
        self.exec_count += 1;
        let trade = Trade {
            number: self.exec_count,
            qty,
            price: order.price.unwrap_or(Price(100 * Price::SCALE)),
        };
        order.trades.push(trade);
        order.settle();
        let about = About {
            trade: Some(trade),
            ..About::new("F")
        };
        self.report(index, about, now, out);
    }

    fn act(&mut self, index: usize, action: Action, now: Ts, out: &mut Outbox) {
        match action {
            Action::New => self.report(index, About::new("0"), now, out),
            Action::Reject => {
                self.orders[index].status = Status::Rejected;
                let about = About {
                    text: "rejected by the script",
                    ..About::new("8")
                };
                self.report(index, about, now, out);
            }
            Action::Fill => self.trade(index, i64::MAX, now, out),
            Action::Partial(qty) => self.trade(index, qty, now, out),
            Action::Bust => {
                let Some(trade) = self.orders[index].trades.pop() else {
                    return;
                };
                self.orders[index].settle();
                let about = About {
                    trans_type: "1",
                    trade: Some(trade),
                    is_reference: true,
                    ..About::new("H")
                };
                self.report(index, about, now, out);
            }
            Action::Correct(price) => {
                let Some(trade) = self.orders[index].trades.last_mut() else {
                    return;
                };
                trade.price = price;
                let about = About {
                    trans_type: "2",
                    trade: Some(*trade),
                    is_reference: true,
                    ..About::new("G")
                };
                self.report(index, about, now, out);
            }
            Action::Cancel => {
                if self.orders[index].status.is_open() {
                    self.orders[index].status = Status::Cancelled;
                    self.report(index, About::new("4"), now, out);
                }
            }
            Action::Lose => self.is_losing = true,
            Action::Ask(count) => {
                for _ in 0..count {
                    out.ask_again();
                }
            }
            Action::Deaf(seconds) => self.deaf_until = later(now, seconds),
            Action::Mute(seconds) => self.mute_until = later(now, seconds),
            Action::Cut => out.close("cut by the script"),
        }
    }

    fn take_order(&mut self, message: &Message<'_>, now: Ts, out: &mut Outbox) -> Verdict {
        let order = match read_order(message, self.orders.len() as u64 + 1) {
            Ok(order) => order,
            Err(tag) => return Verdict::Missing(tag),
        };
        if let Some(&index) = self.names.get(&order.id) {
            // What may be a repetition is answered as it stands; another order of this name is none.
            if message.is_set(tags::POSS_RESEND) {
                self.report(index, About::STATE, now, out);
            } else {
                self.refuse(order, "6", "this ClOrdID was there before", now, out);
            }
            return Verdict::Taken;
        }
        if self.orders.len() == ORDERS_MAX {
            self.refuse(order, "3", "too many orders", now, out);
            return Verdict::Taken;
        }
        let index = self.orders.len();
        self.names.insert(order.id.clone(), index);
        let actions = self.script.actions(order.number, &order.symbol);
        self.orders.push(order);
        for action in actions {
            self.act(index, action, now, out);
        }
        Verdict::Taken
    }

    /// A reject of an order that is not kept.
    fn refuse(&mut self, mut order: Order, reason: &str, text: &str, now: Ts, out: &mut Outbox) {
        order.status = Status::Rejected;
        self.orders.push(order);
        let about = About {
            reject_reason: reason,
            text,
            ..About::new("8")
        };
        self.report(self.orders.len() - 1, about, now, out);
        self.orders.pop();
    }

    /// A cancel or a replace: done while the order is open, and refused otherwise.
    fn take_change(&mut self, message: &Message<'_>, now: Ts, out: &mut Outbox) -> Verdict {
        let is_cancel = message.msg_type() == b"F";
        let Some(id) = message.get(tags::CL_ORD_ID) else {
            return Verdict::Missing(tags::CL_ORD_ID);
        };
        let Some(orig) = message.get(tags::ORIG_CL_ORD_ID) else {
            return Verdict::Missing(tags::ORIG_CL_ORD_ID);
        };
        let qty = message.get(tags::ORDER_QTY).and_then(value::qty);
        let price = message.get(tags::PRICE).and_then(value::price);
        let index = self.names.get(orig).copied();
        let reason = match index {
            None => Some(("1", "no such order")),
            Some(_) if self.names.contains_key(id) => Some(("6", "this ClOrdID was there before")),
            Some(index) if !self.orders[index].status.is_open() => Some(("0", "too late")),
            Some(index) if self.orders[index].id != orig => Some(("1", "it has another name now")),
            Some(index)
                if !is_cancel && qty.is_none_or(|qty| qty <= self.orders[index].filled()) =>
            {
                Some(("0", "not more than what is filled"))
            }
            Some(_) => None,
        };
        let (Some(index), None) = (index, reason) else {
            let (code, text) = reason.unwrap_or_default();
            let mut draft = Draft::new(b"9");
            let body = draft.body();
            match index {
                Some(index) => {
                    let order = &self.orders[index];
                    body.number(tags::ORDER_ID, order.number)
                        .bytes(tags::CL_ORD_ID, id)
                        .bytes(tags::ORIG_CL_ORD_ID, orig)
                        .text(tags::ORD_STATUS, order.status.code());
                }
                None => {
                    body.text(tags::ORDER_ID, "NONE")
                        .bytes(tags::CL_ORD_ID, id)
                        .bytes(tags::ORIG_CL_ORD_ID, orig)
                        .text(tags::ORD_STATUS, "8");
                }
            }
            body.text(tags::CXL_REJ_RESPONSE_TO, if is_cancel { "1" } else { "2" })
                .text(tags::CXL_REJ_REASON, code)
                .text(tags::TEXT, text);
            self.put(draft, out);
            return Verdict::Taken;
        };
        self.names.insert(id.to_vec(), index);
        let order = &mut self.orders[index];
        order.id = id.to_vec();
        if is_cancel {
            order.status = Status::Cancelled;
        } else {
            order.qty = qty.unwrap_or(order.qty);
            order.price = price.or(order.price);
            order.settle();
        }
        let about = About {
            replaced: Some(orig),
            ..About::new(if is_cancel { "4" } else { "5" })
        };
        self.report(index, about, now, out);
        Verdict::Taken
    }

    fn take_status_request(&mut self, message: &Message<'_>, now: Ts, out: &mut Outbox) -> Verdict {
        let Some(id) = message.get(tags::CL_ORD_ID) else {
            return Verdict::Missing(tags::CL_ORD_ID);
        };
        match self.names.get(id) {
            Some(&index) => self.report(index, About::STATE, now, out),
            None => {
                let unknown = unknown(id, message);
                self.refuse(unknown, "5", "no such order", now, out);
            }
        }
        Verdict::Taken
    }

    /// The orders that a request for many is about: those of its symbol, or all; `None` for others.
    fn asked_for(&self, message: &Message<'_>, type_tag: i32) -> Option<Vec<usize>> {
        let symbol = match message.get(type_tag)? {
            b"1" => Some(message.get(tags::SYMBOL)?),
            b"7" => None,
            _ => return None,
        };
        let orders = self.orders.iter().enumerate();
        let is_meant = |order: &Order| symbol.is_none_or(|symbol| order.symbol == symbol);
        Some(
            orders
                .filter(|(_, order)| is_meant(order))
                .map(|(index, _)| index)
                .collect(),
        )
    }

    /// An OrderMassCancelRequest: a report of the request, and then one of each order that it ended.
    fn take_mass_cancel(&mut self, message: &Message<'_>, now: Ts, out: &mut Outbox) -> Verdict {
        let Some(id) = message.get(tags::CL_ORD_ID) else {
            return Verdict::Missing(tags::CL_ORD_ID);
        };
        let Some(kind) = message.get(tags::MASS_CANCEL_REQUEST_TYPE) else {
            return Verdict::Missing(tags::MASS_CANCEL_REQUEST_TYPE);
        };
        let mut open = self.asked_for(message, tags::MASS_CANCEL_REQUEST_TYPE);
        if let Some(open) = &mut open {
            open.retain(|&index| self.orders[index].status.is_open());
        }
        self.exec_count += 1;
        let name = format!("M{}", self.exec_count);
        let mut draft = Draft::new(b"r");
        let body = draft.body();
        body.text(tags::ORDER_ID, &name)
            .bytes(tags::CL_ORD_ID, id)
            .bytes(tags::MASS_CANCEL_REQUEST_TYPE, kind);
        match &open {
            Some(open) => body
                .bytes(tags::MASS_CANCEL_RESPONSE, kind)
                .number(tags::TOTAL_AFFECTED_ORDERS, open.len() as u64),
            // Only all orders, or those of a symbol, can be cancelled together.
            None => body
                .text(tags::MASS_CANCEL_RESPONSE, "0")
                .text(tags::MASS_CANCEL_REJECT_REASON, "0"),
        };
        self.put(draft, out);
        for index in open.unwrap_or_default() {
            self.orders[index].status = Status::Cancelled;
            self.report(index, About::new("4"), now, out);
        }
        Verdict::Taken
    }

    /// An OrderMassStatusRequest: a report of each order, or one that there is none.
    fn take_mass_status(&mut self, message: &Message<'_>, now: Ts, out: &mut Outbox) -> Verdict {
        let Some(id) = message.get(tags::MASS_STATUS_REQ_ID) else {
            return Verdict::Missing(tags::MASS_STATUS_REQ_ID);
        };
        if message.get(tags::MASS_STATUS_REQ_TYPE).is_none() {
            return Verdict::Missing(tags::MASS_STATUS_REQ_TYPE);
        }
        let asked_for = self.asked_for(message, tags::MASS_STATUS_REQ_TYPE);
        let indices = asked_for.unwrap_or_default();
        let reports = indices.len();
        for (place, &index) in indices.iter().enumerate() {
            let about = About {
                mass: Some((id, reports, place + 1 == reports)),
                ..About::STATE
            };
            self.report(index, about, now, out);
        }
        if reports == 0 {
            let mut none = unknown(b"NONE", message);
            none.status = Status::Rejected;
            self.orders.push(none);
            let about = About {
                mass: Some((id, 0, true)),
                text: "no such orders",
                ..About::STATE
            };
            self.report(self.orders.len() - 1, about, now, out);
            self.orders.pop();
        }
        Verdict::Taken
    }
}

/// An order that is not there, to say that.
fn unknown(id: &[u8], message: &Message<'_>) -> Order {
    Order {
        id: id.to_vec(),
        number: 0,
        symbol: message.get(tags::SYMBOL).unwrap_or(b"?").to_vec(),
        side: message.get(tags::SIDE).unwrap_or(b"1").to_vec(),
        qty: Qty(0),
        price: None,
        status: Status::Rejected,
        trades: Vec::new(),
    }
}

fn later(now: Ts, seconds: u64) -> Ts {
    Ts(now.0.saturating_add(seconds as i64 * SECOND_NS))
}

/// A NewOrderSingle, or the field that is missing.
fn read_order(message: &Message<'_>, number: u64) -> Result<Order, i32> {
    let need = |tag| message.get(tag).ok_or(tag);
    let qty = message
        .get(tags::ORDER_QTY)
        .and_then(value::qty)
        .filter(|qty| qty.0 > 0)
        .ok_or(tags::ORDER_QTY)?;
    Ok(Order {
        id: need(tags::CL_ORD_ID)?.to_vec(),
        number,
        symbol: need(tags::SYMBOL)?.to_vec(),
        side: need(tags::SIDE)?.to_vec(),
        qty,
        price: message.get(tags::PRICE).and_then(value::price),
        status: Status::New,
        trades: Vec::new(),
    })
}

impl Application for Exchange {
    fn on_message(&mut self, received: &Received<'_>, out: &mut Outbox) -> Verdict {
        let (message, now) = (&received.message, received.now);
        match message.msg_type() {
            b"D" => self.take_order(message, now, out),
            b"F" | b"G" => self.take_change(message, now, out),
            b"H" => self.take_status_request(message, now, out),
            b"q" if has_mass_requests(self.version) => self.take_mass_cancel(message, now, out),
            b"AF" if has_mass_requests(self.version) => self.take_mass_status(message, now, out),
            _ => Verdict::UnsupportedType,
        }
    }

    fn on_note(&mut self, note: &Note) {
        self.notes.push(note.clone());
    }

    fn may_read(&self, now: Ts) -> bool {
        now >= self.deaf_until
    }

    fn may_write(&self, now: Ts) -> bool {
        now >= self.mute_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read_line_by_line() {
        let script = Script::parse(
            "# comment
             symbol BAD: reject
             every 3: new, lose, partial 5, fill  # each third
             nth 7: new, ask 2, deaf 1, mute 2, cut",
        )
        .unwrap();
        assert_eq!(script.actions(3, b"BAD"), [Action::Reject]);
        assert_eq!(
            script.actions(6, b"X"),
            [Action::New, Action::Lose, Action::Partial(5), Action::Fill]
        );
        assert_eq!(script.actions(7, b"X").len(), 5);
        assert_eq!(script.actions(8, b"X"), [Action::New]);
    }

    #[test]
    fn what_is_no_script_is_told_with_its_line() {
        let check = |text: &str, want: &str| {
            assert_eq!(Script::parse(text).unwrap_err().to_string(), want);
        };
        check("\nany", "line 2: want WHICH: ACTION, ACTION ...");
        check(
            "some: new",
            "line 1: \"some\", want any, symbol NAME, every N or nth N",
        );
        check("every 0: new", "line 1: \"0\", want a number from 1 on");
        check("any: new, fly", "line 1: \"fly\" is no action");
        check("any: fill", "line 1: \"fill\" comes behind new");
        check("any: reject, fill", "line 1: \"fill\" comes behind new");
        check(
            "any: new, reject",
            "line 1: an order is accepted or rejected once",
        );
        check("any: new, correct x", "line 1: \"x\" is no price");
    }
}
