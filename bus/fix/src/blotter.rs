//! Our side of orders: how each stands by what was said of it, each fill, and the positions that
//! they come to.
//!
//! Everything follows from messages that we sent and reports that came, in their order; nothing is
//! asked of a clock. A report always counts, whatever else is in it and however little it fits what
//! came before: where it does not fit, that is counted too, in [`Order::odd`].

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use bus::{Price, Qty};

use crate::journal::{Entry, Journal};
use crate::message::{DataTags, Fields, Message, parse};
use crate::{tags, value};

/// How an order stands, as its reports say: OrdStatus, and two that only we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It was sent, and nothing was heard of it.
    Sent,
    /// It was asked for again and not repeated, so that it is not with the other side.
    Withheld,
    /// The other side looks at it.
    PendingNew,
    /// It was accepted, and nothing of it is filled.
    New,
    /// Some of it is filled.
    Partial,
    /// All of it is filled.
    Filled,
    /// Nothing more of it happens today.
    DoneForDay,
    /// It was cancelled; some of it may be filled.
    Cancelled,
    /// A cancel is looked at.
    PendingCancel,
    /// It is guaranteed, and not filled yet.
    Stopped,
    /// It was never accepted.
    Rejected,
    /// It is held back.
    Suspended,
    /// It is filled or done, and what it comes to is worked out.
    Calculated,
    /// Its time is over; some of it may be filled.
    Expired,
    /// It waits for bids.
    Bidding,
    /// A replacement is looked at.
    PendingReplace,
}

impl Standing {
    /// As in tag 39.
    pub fn of(code: &[u8]) -> Option<Standing> {
        Some(match code {
            // Up to FIX 4.2 a replaced order says so, and is open.
            b"0" | b"5" => Standing::New,
            b"1" => Standing::Partial,
            b"2" => Standing::Filled,
            b"3" => Standing::DoneForDay,
            b"4" => Standing::Cancelled,
            b"6" => Standing::PendingCancel,
            b"7" => Standing::Stopped,
            b"8" => Standing::Rejected,
            b"9" => Standing::Suspended,
            b"A" => Standing::PendingNew,
            b"B" => Standing::Calculated,
            b"C" => Standing::Expired,
            b"D" => Standing::Bidding,
            b"E" => Standing::PendingReplace,
            _ => return None,
        })
    }

    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Standing::Sent => "sent",
            Standing::Withheld => "withheld",
            Standing::PendingNew => "pending_new",
            Standing::New => "new",
            Standing::Partial => "partial",
            Standing::Filled => "filled",
            Standing::DoneForDay => "done_for_day",
            Standing::Cancelled => "cancelled",
            Standing::PendingCancel => "pending_cancel",
            Standing::Stopped => "stopped",
            Standing::Rejected => "rejected",
            Standing::Suspended => "suspended",
            Standing::Calculated => "calculated",
            Standing::Expired => "expired",
            Standing::Bidding => "bidding",
            Standing::PendingReplace => "pending_replace",
        }
    }

    /// Whether more of it may be filled.
    pub const fn is_open(self) -> bool {
        match self {
            Standing::Sent
            | Standing::PendingNew
            | Standing::New
            | Standing::Partial
            | Standing::PendingCancel
            | Standing::Stopped
            | Standing::Suspended
            | Standing::Bidding
            | Standing::PendingReplace => true,
            Standing::Withheld
            | Standing::Filled
            | Standing::DoneForDay
            | Standing::Cancelled
            | Standing::Rejected
            | Standing::Calculated
            | Standing::Expired => false,
        }
    }

    /// Whether the order state matrices have this step. `is_undone`: a fill was busted or corrected,
    /// which leads back.
    fn may_become(self, next: Standing, is_undone: bool) -> bool {
        use Standing::{
            Bidding, Calculated, Cancelled, DoneForDay, Expired, Filled, New, Partial,
            PendingCancel, PendingNew, PendingReplace, Rejected, Sent, Stopped, Suspended,
            Withheld,
        };
        if self == next || is_undone {
            return true;
        }
        match self {
            Sent | Withheld | PendingNew => true,
            New | Stopped | Suspended | Bidding => !matches!(next, Sent | Withheld | PendingNew),
            // More was wanted in the meantime: what was all is some, and what was some is none.
            Partial | PendingCancel | PendingReplace => {
                !matches!(next, Sent | Withheld | PendingNew | Rejected | Bidding)
                    && (self != Partial || next != New)
            }
            Filled => matches!(
                next,
                DoneForDay | Calculated | PendingReplace | Partial | PendingCancel
            ),
            // Fills of before can still be told.
            Cancelled | Expired | DoneForDay => matches!(next, Filled | Calculated | Cancelled),
            Calculated => false,
            Rejected => false,
        }
    }
}

/// An order of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The name that it was sent under.
    pub id: Vec<u8>,
    /// The name that it has now: a replacement gives it another.
    pub id_now: Vec<u8>,
    /// The other side's name of it.
    pub order_id: Vec<u8>,
    /// What is traded.
    pub symbol: Vec<u8>,
    /// As in tag 54.
    pub side: Vec<u8>,
    /// How much is wanted.
    pub qty: Qty,
    /// The limit, where there is one.
    pub price: Option<Price>,
    /// How it stands.
    pub standing: Standing,
    /// The number it was sent under last, as long as the session would repeat it.
    pub seq: Option<u64>,
    /// The other side has said that it does not know it.
    pub is_unknown: bool,
    /// How many reports spoke of it.
    pub reports: u64,
    /// How many of them did not fit what came before: a step that the order state matrices do not
    /// have, a sum of fills that is not ours, a bust of a fill that never was.
    pub odd: u64,
    /// How many cancels and replacements were refused.
    pub refused: u64,
    /// What the last report said beside the numbers.
    pub text: String,
    /// CumQty, as the last report said it.
    pub said_filled: Option<Qty>,
    /// Names and values of what the last report said of the order itself, where that is not what was
    /// sent or agreed since: Symbol, Side, OrderQty, Price.
    pub other_terms: Vec<(&'static str, Vec<u8>)>,
    filled: i64,
    notional: i128,
}

impl Order {
    /// How much is filled, by its fills.
    pub fn filled(&self) -> Qty {
        Qty(self.filled)
    }

    /// What its fills come to, in units of 1e-9.
    pub fn notional(&self) -> i128 {
        self.notional
    }

    /// Whether the other side has it, or will have it: it spoke of it, or the session would repeat
    /// it.
    pub fn is_delivered(&self) -> bool {
        (self.seq.is_some() || self.reports > 0) && !self.is_unknown
    }

    /// The average price of its fills, rounded down; `None` when nothing is filled.
    pub fn average(&self) -> Option<Price> {
        average(self.notional, self.filled)
    }
}

/// A fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The other side's name of it.
    pub id: Vec<u8>,
    /// Of which order.
    pub order: usize,
    /// When we had it.
    pub at: i64,
    /// How much, as it is after the last correction.
    pub qty: Qty,
    /// At which price, as it is after the last correction.
    pub price: Price,
    /// It never was.
    pub is_busted: bool,
    /// How often it was corrected.
    pub corrections: u64,
    /// How often it came again, and was not said to be a repetition (PossDupFlag, PossResend).
    pub repeats: u64,
}

/// What the fills of one symbol come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// How much was bought.
    pub bought: i128,
    /// What that cost, in units of 1e-9.
    pub bought_notional: i128,
    /// How much was sold.
    pub sold: i128,
    /// What that brought, in units of 1e-9.
    pub sold_notional: i128,
}

impl Position {
    /// Bought less sold.
    pub fn net(&self) -> i128 {
        self.bought - self.sold
    }

    /// Adds what another session's fills of it come to.
    pub fn add(&mut self, other: &Position) {
        self.bought += other.bought;
        self.bought_notional = self.bought_notional.saturating_add(other.bought_notional);
        self.sold += other.sold;
        self.sold_notional = self.sold_notional.saturating_add(other.sold_notional);
    }
}

fn average(notional: i128, qty: i64) -> Option<Price> {
    let price = notional.checked_div_euclid(i128::from(qty))?;
    i64::try_from(price).ok().map(Price)
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Blotter {
    orders: Vec<Order>,
    /// Every name that an order of ours has had, requests about it included.
    names: HashMap<Vec<u8>, usize>,
    executions: Vec<Execution>,
    /// Every name that a fill of an order has had: a correction gives it another. Sessions count
    /// on their own, so that in a drop copy of several a name alone says nothing.
    by_exec_id: HashMap<(usize, Vec<u8>), usize>,
    /// Orders by the numbers they were sent under.
    by_seq: HashMap<u64, usize>,
    /// Reports of fills that had come before.
    repeated: u64,
    /// Messages that name no order.
    nameless: u64,
}

impl Blotter {
    /// All orders, as they were sent or first heard of.
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// All fills, as they came.
    pub fn executions(&self) -> &[Execution] {
        &self.executions
    }

    /// How many fills came again and were left out.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// How many reports named no order.
    pub fn nameless(&self) -> u64 {
        self.nameless
    }

    /// Which order this name is, or was, of: its place in [`Blotter::orders`].
    pub fn index_of(&self, id: &[u8]) -> Option<usize> {
        self.names.get(id).copied()
    }

    /// The order that this name is, or was, of.
    pub fn find(&self, id: &[u8]) -> Option<&Order> {
        self.names.get(id).map(|&index| &self.orders[index])
    }

    /// What the fills of each symbol come to.
    pub fn positions(&self) -> BTreeMap<Vec<u8>, Position> {
        let mut positions: BTreeMap<Vec<u8>, Position> = BTreeMap::new();
        for execution in self.executions.iter().filter(|one| !one.is_busted) {
            let order = &self.orders[execution.order];
            let position = positions.entry(order.symbol.clone()).or_default();
            let qty = i128::from(execution.qty.0);
            let notional = i128::from(execution.price.0) * qty;
            if is_buy(&order.side) {
                position.bought += qty;
                position.bought_notional = position.bought_notional.saturating_add(notional);
            } else {
                position.sold += qty;
                position.sold_notional = position.sold_notional.saturating_add(notional);
            }
        }
        positions
    }

    /// Takes in what a journal has.
    pub fn apply(&mut self, entry: &Entry) {
        let mut fields = Fields::default();
        let data = DataTags::default();
        match entry {
            Entry::Begins(_) => {}
            Entry::Sent(seq, bytes) => {
                if let Ok(message) = parse(bytes, &mut fields, &data) {
                    self.sent(*seq, &message);
                }
            }
            Entry::Came(at, bytes) => {
                if let Ok(message) = parse(bytes, &mut fields, &data) {
                    self.came(&message, *at);
                }
            }
            Entry::Withheld(seq) => self.withheld(*seq),
            Entry::Refused(seq, text) => self.refused(*seq, text),
            Entry::Reset => self.reset(),
        }
    }

    /// What a journal comes to.
    pub fn read(path: &Path) -> io::Result<Blotter> {
        let mut blotter = Blotter::default();
        Journal::read(path, |entry| blotter.apply(&entry))?;
        Ok(blotter)
    }

    /// A message of ours left under this number: an order, or a request about one.
    pub fn sent(&mut self, seq: u64, message: &Message<'_>) {
        let Some(id) = message.get(tags::CL_ORD_ID) else {
            return;
        };
        match message.msg_type() {
            b"D" => {
                let index = match self.names.get(id) {
                    // Sent again under its name, or heard of before.
                    Some(&index) => index,
                    None => self.begin(id, message),
                };
                let order = &mut self.orders[index];
                if order.standing == Standing::Withheld || order.is_unknown {
                    order.standing = Standing::Sent;
                    order.is_unknown = false;
                }
                order.seq = Some(seq);
                self.by_seq.insert(seq, index);
            }
            b"F" | b"G" => {
                let orig = message.get(tags::ORIG_CL_ORD_ID).unwrap_or_default();
                if let Some(&index) = self.names.get(orig) {
                    self.names.entry(id.to_vec()).or_insert(index);
                }
            }
            _ => {}
        }
    }

    /// How many orders were asked for again and not repeated.
    pub fn withheld_count(&self) -> usize {
        let withheld = |order: &&Order| order.standing == Standing::Withheld;
        self.orders.iter().filter(withheld).count()
    }

    /// How many orders were sent and nothing was said of them.
    pub fn unanswered_count(&self) -> usize {
        let unanswered = |order: &&Order| order.standing == Standing::Sent && order.is_delivered();
        self.orders.iter().filter(unanswered).count()
    }

    /// The message of this number was asked for again, and not repeated.
    pub fn withheld(&mut self, seq: u64) {
        if let Some(index) = self.by_seq.remove(&seq) {
            let order = &mut self.orders[index];
            if order.seq == Some(seq) {
                order.seq = None;
                if order.standing == Standing::Sent {
                    order.standing = Standing::Withheld;
                }
            }
        }
    }

    /// The other side's session refused the message of this number.
    pub fn refused(&mut self, seq: u64, text: &[u8]) {
        if let Some(&index) = self.by_seq.get(&seq) {
            let order = &mut self.orders[index];
            order.reports += 1;
            order.text = String::from_utf8_lossy(text).into_owned();
            order.step(Standing::Rejected, false);
        }
    }

    /// The session's numbers begin anew: nothing of before will be repeated.
    pub fn reset(&mut self) {
        self.by_seq.clear();
        for order in &mut self.orders {
            order.seq = None;
        }
    }

    fn begin(&mut self, id: &[u8], message: &Message<'_>) -> usize {
        let text = |tag| message.get(tag).unwrap_or_default().to_vec();
        self.orders.push(Order {
            id: id.to_vec(),
            id_now: id.to_vec(),
            order_id: Vec::new(),
            symbol: text(tags::SYMBOL),
            side: text(tags::SIDE),
            qty: message
                .get(tags::ORDER_QTY)
                .and_then(value::qty)
                .unwrap_or(Qty(0)),
            price: message.get(tags::PRICE).and_then(value::price),
            standing: Standing::Sent,
            seq: None,
            is_unknown: false,
            reports: 0,
            odd: 0,
            refused: 0,
            text: String::new(),
            said_filled: None,
            other_terms: Vec::new(),
            filled: 0,
            notional: 0,
        });
        let index = self.orders.len() - 1;
        self.names.insert(id.to_vec(), index);
        index
    }

    /// A message came, at this time. Only reports and refusals of cancels say anything of orders.
    pub fn came(&mut self, message: &Message<'_>, at: i64) {
        match message.msg_type() {
            b"8" => self.report(message, at),
            b"9" => self.refusal(message),
            b"j" => {
                if let Some(seq) = message.number(tags::REF_SEQ_NUM) {
                    self.refused(seq, message.get(tags::TEXT).unwrap_or_default());
                }
            }
            _ => {}
        }
    }

    fn refusal(&mut self, message: &Message<'_>) {
        let of = |tag| message.get(tag).and_then(|id| self.names.get(id)).copied();
        let Some(index) = of(tags::ORIG_CL_ORD_ID).or_else(|| of(tags::CL_ORD_ID)) else {
            self.nameless += 1;
            return;
        };
        let order = &mut self.orders[index];
        order.reports += 1;
        order.refused += 1;
        order.text = text_of(message);
        // Of an order that they do not know they say that it was rejected.
        let said = message.get(tags::ORD_STATUS).and_then(Standing::of);
        if let Some(next) = said.filter(|next| *next != Standing::Rejected) {
            order.step(next, false);
        }
    }

    fn report(&mut self, message: &Message<'_>, at: i64) {
        // The answer to a request for many that there is none (TotNumReports 0) is of no order.
        if message.get(tags::TOT_NUM_REPORTS) == Some(b"0") {
            return;
        }
        let Some(index) = self.order_of(message) else {
            self.nameless += 1;
            return;
        };
        let exec_type = message.get(tags::EXEC_TYPE).unwrap_or_default();
        let trans_type = message.get(tags::EXEC_TRANS_TYPE).unwrap_or_default();
        let order = &mut self.orders[index];
        order.reports += 1;
        // OrdRejReason 5: there is no such order.
        if exec_type == b"8" && message.get(tags::ORD_REJ_REASON) == Some(b"5") {
            order.is_unknown = true;
        }
        if let Some(id) = message.get(tags::ORDER_ID).filter(|id| *id != b"NONE") {
            order.order_id = id.to_vec();
        }
        if order.symbol.is_empty() {
            order.symbol = message.get(tags::SYMBOL).unwrap_or_default().to_vec();
        }
        if order.side.is_empty() {
            order.side = message.get(tags::SIDE).unwrap_or_default().to_vec();
        }
        let text = text_of(message);
        if !text.is_empty() {
            order.text = text;
        }
        if exec_type == b"5" {
            order.replaced(message);
        }
        let mut is_undone = false;
        match (exec_type, trans_type) {
            (_, b"3") | (b"I", _) => {}
            (b"H", _) | (_, b"1") => {
                self.undo(index, message, None);
                is_undone = true;
            }
            (b"G", _) | (_, b"2") => {
                let corrected = fill(message);
                if corrected.is_none() {
                    self.orders[index].odd += 1;
                } else {
                    self.undo(index, message, corrected);
                }
                is_undone = true;
            }
            (b"F" | b"1" | b"2", _) => self.fill(index, message, at),
            _ => {}
        }
        let order = &mut self.orders[index];
        order.compare_terms(message, exec_type);
        order.said_filled = message.get(tags::CUM_QTY).and_then(value::qty);
        if order.said_filled.is_some_and(|said| said.0 != order.filled) {
            order.odd += 1;
        }
        match message.get(tags::ORD_STATUS).and_then(Standing::of) {
            Some(next) => order.step(next, is_undone || exec_type == b"5"),
            None => order.odd += 1,
        }
    }

    /// The order that a report is of; one that we never heard of begins with it.
    fn order_of(&mut self, message: &Message<'_>) -> Option<usize> {
        let id = message.get(tags::CL_ORD_ID);
        let orig = message.get(tags::ORIG_CL_ORD_ID);
        let known = |id: Option<&[u8]>| id.and_then(|id| self.names.get(id)).copied();
        if let Some(index) = known(id).or_else(|| known(orig)) {
            if let Some(id) = id {
                self.names.entry(id.to_vec()).or_insert(index);
            }
            return Some(index);
        }
        let id = id.or(orig)?;
        Some(self.begin(id, message))
    }

    fn fill(&mut self, index: usize, message: &Message<'_>, at: i64) {
        let key = (
            index,
            message.get(tags::EXEC_ID).unwrap_or_default().to_vec(),
        );
        if let Some(&at) = self.by_exec_id.get(&key) {
            self.repeated += 1;
            let is_said = message.is_set(tags::POSS_DUP_FLAG) || message.is_set(tags::POSS_RESEND);
            self.executions[at].repeats += u64::from(!is_said);
            return;
        }
        let order = &mut self.orders[index];
        let Some((qty, price)) = fill(message) else {
            order.odd += 1;
            return;
        };
        order.add(qty, price, 1);
        let id = key.1.clone();
        self.by_exec_id.insert(key, self.executions.len());
        self.executions.push(Execution {
            id,
            order: index,
            at,
            qty,
            price,
            is_busted: false,
            corrections: 0,
            repeats: 0,
        });
    }

    /// A fill never was, or was another.
    fn undo(&mut self, index: usize, message: &Message<'_>, corrected: Option<(Qty, Price)>) {
        let named = |tag| (index, message.get(tag).unwrap_or_default().to_vec());
        let key = named(tags::EXEC_ID);
        if self.by_exec_id.contains_key(&key) {
            self.repeated += 1;
            return;
        }
        let found = self.by_exec_id.get(&named(tags::EXEC_REF_ID)).copied();
        let Some(at) = found.filter(|&at| !self.executions[at].is_busted) else {
            self.orders[index].odd += 1;
            return;
        };
        self.by_exec_id.insert(key, at);
        let execution = &mut self.executions[at];
        let order = &mut self.orders[execution.order];
        order.add(execution.qty, execution.price, -1);
        match corrected {
            None => execution.is_busted = true,
            Some((qty, price)) => {
                order.add(qty, price, 1);
                (execution.qty, execution.price) = (qty, price);
                execution.corrections += 1;
            }
        }
    }
}

impl Order {
    fn add(&mut self, qty: Qty, price: Price, sign: i64) {
        self.filled = self.filled.saturating_add(sign * qty.0);
        let notional = i128::from(price.0) * i128::from(qty.0);
        self.notional = self.notional.saturating_add(i128::from(sign) * notional);
    }

    fn step(&mut self, next: Standing, is_undone: bool) {
        self.odd += u64::from(!self.standing.may_become(next, is_undone));
        self.standing = next;
    }

    /// Notes what a report says of the order itself and is not so.
    fn compare_terms(&mut self, message: &Message<'_>, exec_type: &[u8]) {
        self.other_terms.clear();
        // What is asked for, and what nobody knows, need not be said as it was.
        if exec_type == b"E" || self.is_unknown {
            return;
        }
        for (tag, name) in [
            (tags::SYMBOL, "Symbol"),
            (tags::SIDE, "Side"),
            (tags::ORDER_QTY, "OrderQty"),
            (tags::PRICE, "Price"),
        ] {
            let Some(said) = message.get(tag) else {
                continue;
            };
            let is_same = match tag {
                tags::SYMBOL => said == self.symbol,
                tags::SIDE => said == self.side,
                tags::ORDER_QTY => value::qty(said) == Some(self.qty),
                _ => value::price(said) == self.price,
            };
            if !is_same {
                self.other_terms.push((name, said.to_vec()));
            }
        }
    }

    fn replaced(&mut self, message: &Message<'_>) {
        if let Some(id) = message.get(tags::CL_ORD_ID) {
            self.id_now = id.to_vec();
        }
        if let Some(qty) = message.get(tags::ORDER_QTY).and_then(value::qty) {
            self.qty = qty;
        }
        if let Some(price) = message.get(tags::PRICE).and_then(value::price) {
            self.price = Some(price);
        }
    }
}

/// Bought, or bought back; everything else that FIX knows is sold.
fn is_buy(side: &[u8]) -> bool {
    matches!(side, b"1" | b"3")
}

/// How much was filled at which price.
fn fill(message: &Message<'_>) -> Option<(Qty, Price)> {
    let qty = message.get(tags::LAST_QTY).and_then(value::qty)?;
    let price = message.get(tags::LAST_PX).and_then(value::price)?;
    (qty.0 > 0).then_some((qty, price))
}

fn text_of(message: &Message<'_>) -> String {
    String::from_utf8_lossy(message.get(tags::TEXT).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Version, Writer};

    /// What an order has become after these messages, ours with `>` before them.
    fn check(messages: &str, want: &str) {
        let mut blotter = Blotter::default();
        for line in messages
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let (is_ours, text) = match line.strip_prefix('>') {
                Some(text) => (true, text.trim()),
                None => (false, line),
            };
            let mut writer = Writer::new();
            let mut pairs = text.split(' ').map(|field| field.split_once('=').unwrap());
            writer.begin(pairs.next().unwrap().1.as_bytes());
            for (tag, value) in pairs {
                writer.text(tag.parse().unwrap(), value);
            }
            let bytes = writer.finish(Version::Fix44).to_vec();
            let mut fields = Fields::default();
            let message = parse(&bytes, &mut fields, &DataTags::default()).unwrap();
            match is_ours {
                true => blotter.sent(1, &message),
                false => blotter.came(&message, 0),
            }
        }
        let mut said: Vec<String> = Vec::new();
        for order in blotter.orders() {
            let average = order
                .average()
                .map_or("-".into(), |price| price.to_string());
            let name = String::from_utf8_lossy(&order.id_now);
            let (standing, filled) = (order.standing.name(), order.filled);
            said.push(format!(
                "{name} {standing} {filled} {average} odd {}",
                order.odd
            ));
        }
        for (symbol, position) in blotter.positions() {
            said.push(format!(
                "{} {}",
                String::from_utf8_lossy(&symbol),
                position.net()
            ));
        }
        assert_eq!(said.join("; "), want, "{messages}");
    }

    const ORDER: &str = "> 35=D 11=a 55=X 54=1 38=100 44=10\n";

    #[test]
    fn an_order_stands_as_its_reports_say() {
        let new = "35=8 37=1 17=n 11=a 150=0 39=0 55=X 54=1 151=100 14=0 6=0\n";
        let part = "35=8 37=1 17=e1 11=a 150=F 39=1 32=40 31=9.5 14=40 151=60 6=9.5\n";
        let rest = "35=8 37=1 17=e2 11=a 150=F 39=2 32=60 31=10 14=100 151=0 6=9.8\n";
        check(ORDER, "a sent 0 - odd 0");
        check(&format!("{ORDER}{new}"), "a new 0 - odd 0");
        check(
            &format!("{ORDER}{new}{part}"),
            "a partial 40 9.50 odd 0; X 40",
        );
        let all = format!("{ORDER}{new}{part}{rest}");
        check(&all, "a filled 100 9.80 odd 0; X 100");
        // The same fill once more changes nothing but that it is told.
        check(&format!("{all}{rest}"), "a filled 100 9.80 odd 0; X 100");
        let bust = "35=8 17=b 19=e2 11=a 150=H 39=1 14=40 151=60\n";
        check(&format!("{all}{bust}"), "a partial 40 9.50 odd 0; X 40");
        let correct = "35=8 17=c 19=e1 11=a 150=G 39=2 32=40 31=9 14=100\n";
        let corrected = format!("{all}{correct}");
        check(&corrected, "a filled 100 9.60 odd 0; X 100");
        // A correction is named by its own name from then on.
        let again = "35=8 17=d 19=c 11=a 150=H 39=1 14=60\n";
        check(
            &format!("{corrected}{again}"),
            "a partial 60 10.00 odd 0; X 60",
        );
        let reject = "35=8 17=r 11=a 150=8 39=8 14=0 58=no\n";
        check(&format!("{ORDER}{reject}"), "a rejected 0 - odd 0");
        check(&format!("{ORDER}{reject}{new}"), "a new 0 - odd 1");
    }

    #[test]
    fn reports_of_fix_4_2_say_it_with_their_own_fields() {
        let part = "35=8 17=e1 20=0 11=a 150=1 39=1 32=40 31=9.5 14=40\n";
        let bust = "35=8 17=e2 20=1 19=e1 11=a 150=0 39=0 14=0 32=40 31=9.5\n";
        let status = "35=8 17=0 20=3 11=a 150=1 39=1 14=40 32=40 31=9.5\n";
        check(
            &format!("{ORDER}{part}{status}"),
            "a partial 40 9.50 odd 0; X 40",
        );
        check(&format!("{ORDER}{part}{bust}"), "a new 0 - odd 0");
    }

    #[test]
    fn cancels_and_replacements_follow_the_names() {
        let asked = "> 35=G 11=b 41=a 38=80 44=11\n";
        let replaced = "35=8 17=r 11=b 41=a 150=5 39=0 38=80 44=11 14=0\n";
        let filled = "35=8 17=e 11=b 150=F 39=2 32=80 31=11 14=80\n";
        check(
            &format!("{ORDER}{asked}{replaced}{filled}"),
            "b filled 80 11.00 odd 0; X 80",
        );
        let cancelled = "> 35=F 11=c 41=a\n35=8 17=r 11=c 41=a 150=4 39=4 14=0\n";
        check(&format!("{ORDER}{cancelled}"), "a cancelled 0 - odd 0");
        let refused = "> 35=F 11=c 41=a\n35=9 11=c 41=a 39=2 102=0 434=1\n";
        check(
            &format!("{ORDER}35=8 17=e 11=a 150=F 39=2 32=100 31=10 14=100\n{refused}"),
            "a filled 100 10.00 odd 0; X 100",
        );
    }

    #[test]
    fn a_report_always_counts() {
        // Of an order that is not ours, with fields that nobody knows, and a sum that is not right.
        check(
            "35=8 37=9 17=e 11=z 150=F 39=1 55=Y 54=2 32=5 31=1 14=7 9999=?\n",
            "z partial 5 1.00 odd 1; Y -5",
        );
        check(
            &format!("{ORDER}35=8 17=e 11=a 150=F 39=1 14=0\n"),
            "a partial 0 - odd 1",
        );
        check(
            &format!("{ORDER}35=8 17=e 19=q 11=a 150=H 39=0 14=0\n"),
            "a new 0 - odd 1",
        );
        check("35=8 17=e 150=0 39=0\n", "");
    }
}
