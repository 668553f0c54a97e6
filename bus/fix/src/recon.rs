//! What two or three records of the same orders do not agree about.
//!
//! ```text
//! log: what we decided to send ──► reports: what the counterparty said to us (the journals)
//!                                    │ the same orders, fills, states and positions?
//!                                    ▼
//!                                  drop copy: what it said to somebody else (a file of messages)
//! ```
//!
//! Both of the later are taken in by a [`Blotter`], so the same rules make orders and fills of them.
//! A fill is known by its order and its ExecID, busts and corrections by what they refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use bus::{Price, Qty};

use crate::blotter::{Blotter, Execution, Order, Position, Standing};
use crate::copy;
use crate::message::{DataTags, Fields, parse};

/// An order as our own log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// What is traded.
    pub symbol: Vec<u8>,
    /// As in tag 54.
    pub side: Vec<u8>,
    /// How much.
    pub qty: Qty,
    /// The limit.
    pub price: Price,
    /// What the log says of it.
    pub fate: Fate,
}

/// Whether an order left, by the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing was said of it: it may have left before a crash.
    Unsaid,
    /// It was handed to the session.
    Sent,
    /// It was held back, or the session was gone: it did not leave.
    Kept,
}

impl Fate {
    const fn name(self) -> &'static str {
        match self {
            Fate::Unsaid => "not said",
            Fate::Sent => "sent",
            Fate::Kept => "not sent",
        }
    }
}

/// What kind of disagreement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One side has an order that the other has not.
    Order,
    /// Symbol, side, quantity or limit of an order are not the same.
    Terms,
    /// An order does not stand the same.
    Standing,
    /// One side has a fill that the other has not.
    Fill,
    /// A fill was said more than once, as if it were another one.
    Doubled,
    /// Quantity, price or bust of a fill are not the same.
    FillTerms,
    /// The fills of an order do not come to what the other side says they come to.
    Filled,
    /// The fills of a symbol do not come to the same position.
    Position,
}

impl Kind {
    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Order => "order",
            Kind::Terms => "order_terms",
            Kind::Standing => "standing",
            Kind::Fill => "fill",
            Kind::Doubled => "fill_doubled",
            Kind::FillTerms => "fill_terms",
            Kind::Filled => "filled",
            Kind::Position => "position",
        }
    }
}

/// One disagreement. What a side does not speak of is `None`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Break {
    /// What kind it is.
    pub kind: Kind,
    /// ClOrdID of the order, as it was sent; empty for a position.
    pub order: String,
    /// ExecID of the fill; empty for what is of an order.
    pub fill: String,
    /// What is traded.
    pub symbol: String,
    /// What our log says.
    pub log: Option<String>,
    /// What the counterparty said to us.
    pub reports: Option<String>,
    /// What it said to somebody else.
    pub drop_copy: Option<String>,
}

/// One side's orders and fills, of all of its sessions.
#[derive(Debug, Default)]
pub struct Ledger {
    blotters: Vec<Blotter>,
    /// Messages of a drop copy that say nothing of orders.
    pub passed_over: u64,
}

impl Ledger {
    /// Of what sessions' journals came to.
    pub fn of(blotters: Vec<Blotter>) -> Ledger {
        Ledger {
            blotters,
            passed_over: 0,
        }
    }

    /// Takes in a drop copy: a file of messages, see [`copy`]; says how many there are. Several files
    /// are one copy. Only ExecutionReports and OrderCancelRejects count. A file with something in it
    /// and no message is an error: it is another one than was meant.
    pub fn read_copy(&mut self, path: &Path) -> io::Result<u64> {
        if self.blotters.is_empty() {
            self.blotters.push(Blotter::default());
        }
        let blotter = &mut self.blotters[0];
        let mut fields = Fields::default();
        let mut passed_over = 0;
        let (mut garbled, mut messages) = (None, 0);
        copy::read(path, |at, bytes| {
            messages += 1;
            match parse(bytes, &mut fields, &DataTags::default()) {
                Ok(message) if matches!(message.msg_type(), b"8" | b"9") => {
                    blotter.came(&message, 0);
                }
                Ok(_) => passed_over += 1,
                Err(error) => {
                    garbled.get_or_insert_with(|| {
                        format!("{}, the message at byte {at}: {error}", path.display())
                    });
                }
            }
        })?;
        self.passed_over += passed_over;
        if messages == 0 && fs::metadata(path)?.len() > 0 {
            garbled = Some(format!(
                "{}: no FIX message in it, want those of a drop copy (8=FIX...)",
                path.display()
            ));
        }
        match garbled {
            Some(what) => Err(io::Error::new(io::ErrorKind::InvalidData, what)),
            None => Ok(messages),
        }
    }

    /// How many orders it has that may be with the other side.
    pub fn order_count(&self) -> usize {
        let all: usize = self.blotters.iter().map(|one| one.orders().len()).sum();
        all - self.withheld_count()
    }

    /// How many orders were sent, asked for again, and not repeated: nobody has them.
    pub fn withheld_count(&self) -> usize {
        self.blotters.iter().map(Blotter::withheld_count).sum()
    }

    /// How many fills it has that were not busted.
    pub fn fill_count(&self) -> usize {
        let fills = self.blotters.iter().flat_map(Blotter::executions);
        fills.filter(|fill| !fill.is_busted).count()
    }

    fn orders(&self) -> BTreeMap<&[u8], &Order> {
        let mut orders = BTreeMap::new();
        for blotter in &self.blotters {
            for order in blotter.orders() {
                orders.insert(&order.id[..], order);
            }
        }
        orders
    }

    /// The order of one of its names, of which it has had several where it was replaced.
    fn find(&self, id: &[u8]) -> Option<&Order> {
        self.blotters.iter().find_map(|blotter| blotter.find(id))
    }

    fn fills(&self) -> BTreeMap<(&[u8], &[u8]), &Execution> {
        let mut fills = BTreeMap::new();
        for blotter in &self.blotters {
            for fill in blotter.executions() {
                let order = &blotter.orders()[fill.order];
                fills.insert((&order.id[..], &fill.id[..]), fill);
            }
        }
        fills
    }

    fn positions(&self) -> BTreeMap<Vec<u8>, Position> {
        let mut all: BTreeMap<Vec<u8>, Position> = BTreeMap::new();
        for blotter in &self.blotters {
            for (symbol, position) in blotter.positions() {
                all.entry(symbol).or_default().add(&position);
            }
        }
        all
    }
}

/// Which of the two that came by messages.
#[derive(Clone, Copy)]
enum Side {
    Reports,
    Copy,
}

/// All disagreements, in order of their kind and of their orders.
///
/// `fills_only` is for drop copies that leave out orders of which nothing was filled, and in which
/// state orders are.
pub fn reconcile(
    log: &BTreeMap<Vec<u8>, Logged>,
    reports: &Ledger,
    copy: Option<&Ledger>,
    fills_only: bool,
) -> Vec<Break> {
    let mut breaks = Vec::new();
    against_log(log, reports, &mut breaks);
    alone(reports, Side::Reports, &mut breaks);
    if let Some(copy) = copy {
        alone(copy, Side::Copy, &mut breaks);
        against_copy(log, reports, copy, fills_only, &mut breaks);
    }
    breaks.sort();
    breaks
}

fn against_log(log: &BTreeMap<Vec<u8>, Logged>, reports: &Ledger, breaks: &mut Vec<Break>) {
    let orders = reports.orders();
    for (id, logged) in log {
        let reported = orders.get(&id[..]).copied();
        let found = Break {
            order: text(id),
            symbol: text(&logged.symbol),
            ..blank(Kind::Order)
        };
        let Some(order) = reported else {
            if logged.fate == Fate::Sent {
                breaks.push(Break {
                    log: Some(logged.fate.name().into()),
                    reports: Some("unknown".into()),
                    ..found
                });
            }
            continue;
        };
        // What was asked for again and not repeated is not with them, whatever the log says.
        let missing = match order.standing {
            Standing::Sent => Some("nothing was said of it"),
            Standing::Withheld => Some(Standing::Withheld.name()),
            _ => None,
        };
        if logged.fate == Fate::Sent
            && let Some(missing) = missing
        {
            breaks.push(Break {
                log: Some(logged.fate.name().into()),
                reports: Some(missing.into()),
                ..found.clone()
            });
        }
        if logged.fate == Fate::Kept && order.reports > 0 {
            breaks.push(Break {
                log: Some(logged.fate.name().into()),
                reports: Some(order.standing.name().into()),
                ..found.clone()
            });
        }
        // A replaced order has other terms than it was sent with.
        let is_as_sent = order.id == order.id_now;
        let price = order.price.map_or("-".into(), |price| price.to_string());
        let qty_now = order.qty.to_string();
        for (name, is_same, ours, theirs) in [
            (
                "symbol",
                order.symbol == logged.symbol,
                text(&logged.symbol),
                text(&order.symbol),
            ),
            (
                "side",
                order.side == logged.side,
                text(&logged.side),
                text(&order.side),
            ),
            (
                "qty",
                !is_as_sent || order.qty == logged.qty,
                logged.qty.to_string(),
                qty_now,
            ),
            (
                "price",
                !is_as_sent || order.price == Some(logged.price),
                logged.price.to_string(),
                price,
            ),
        ] {
            if !is_same {
                breaks.push(Break {
                    kind: Kind::Terms,
                    log: Some(format!("{name} {ours}")),
                    reports: Some(format!("{name} {theirs}")),
                    ..found.clone()
                });
            }
        }
    }
    for (id, order) in orders {
        if !log.contains_key(id) {
            breaks.push(Break {
                order: text(id),
                symbol: text(&order.symbol),
                log: Some("unknown".into()),
                reports: Some(order.standing.name().into()),
                ..blank(Kind::Order)
            });
        }
    }
}

/// What does not fit within what one side said.
fn alone(ledger: &Ledger, side: Side, breaks: &mut Vec<Break>) {
    let said = |found: Break, what: String| match side {
        Side::Reports => Break {
            reports: Some(what),
            ..found
        },
        Side::Copy => Break {
            drop_copy: Some(what),
            ..found
        },
    };
    for (id, order) in ledger.orders() {
        let found = |kind| Break {
            order: text(id),
            symbol: text(&order.symbol),
            ..blank(kind)
        };
        if let Some(cum) = order.said_filled.filter(|cum| *cum != order.filled()) {
            let what = format!("CumQty {cum}, fills {}", order.filled());
            breaks.push(said(found(Kind::Filled), what));
        }
        for (name, theirs) in &order.other_terms {
            let what = format!("{name} {} was not agreed", text(theirs));
            breaks.push(said(found(Kind::Terms), what));
        }
    }
    for ((order, id), fill) in ledger.fills() {
        if fill.repeats > 0 {
            let found = Break {
                order: text(order),
                fill: text(id),
                ..blank(Kind::Doubled)
            };
            breaks.push(said(found, format!("{} times", fill.repeats + 1)));
        }
    }
}

fn against_copy(
    log: &BTreeMap<Vec<u8>, Logged>,
    reports: &Ledger,
    copy: &Ledger,
    fills_only: bool,
    breaks: &mut Vec<Break>,
) {
    let (ours, theirs) = (reports.orders(), copy.orders());
    for (id, order) in &ours {
        let found = |kind| Break {
            order: text(id),
            symbol: text(&order.symbol),
            ..blank(kind)
        };
        let Some(there) = theirs.get(id).copied() else {
            // What they never spoke of to us they need not tell others.
            let is_told = order.reports > 0 && !order.is_unknown;
            if is_told && (!fills_only || order.filled().0 != 0) {
                breaks.push(Break {
                    reports: Some(order.standing.name().into()),
                    drop_copy: Some("unknown".into()),
                    ..found(Kind::Order)
                });
            }
            continue;
        };
        if !fills_only && order.standing != there.standing {
            breaks.push(Break {
                reports: Some(order.standing.name().into()),
                drop_copy: Some(there.standing.name().into()),
                ..found(Kind::Standing)
            });
        }
        let qty = |order: &Order| order.qty.to_string();
        let price = |order: &Order| order.price.map_or("-".into(), |price| price.to_string());
        for (name, is_same, one, other) in [
            (
                "symbol",
                order.symbol == there.symbol,
                text(&order.symbol),
                text(&there.symbol),
            ),
            (
                "side",
                order.side == there.side,
                text(&order.side),
                text(&there.side),
            ),
            // Copies may leave out what was wanted.
            (
                "qty",
                order.qty == there.qty || there.qty.0 == 0,
                qty(order),
                qty(there),
            ),
            (
                "price",
                order.price == there.price || there.price.is_none(),
                price(order),
                price(there),
            ),
        ] {
            if !is_same {
                breaks.push(Break {
                    reports: Some(format!("{name} {one}")),
                    drop_copy: Some(format!("{name} {other}")),
                    ..found(Kind::Terms)
                });
            }
        }
    }
    for (id, order) in &theirs {
        if reports.find(id).is_none() {
            let logged = log.get(*id);
            breaks.push(Break {
                order: text(id),
                symbol: text(&order.symbol),
                log: Some(logged.map_or("unknown", |logged| logged.fate.name()).into()),
                reports: Some("unknown".into()),
                drop_copy: Some(order.standing.name().into()),
                ..blank(Kind::Order)
            });
        }
    }
    fills(reports, copy, breaks);
    positions(reports, copy, breaks);
}

fn fills(reports: &Ledger, copy: &Ledger, breaks: &mut Vec<Break>) {
    let (ours, theirs) = (reports.fills(), copy.fills());
    let words = |fill: &Execution| match fill.is_busted {
        true => format!("{} at {}, busted", fill.qty, fill.price),
        false => format!("{} at {}", fill.qty, fill.price),
    };
    let keys: BTreeSet<&(&[u8], &[u8])> = ours.keys().chain(theirs.keys()).collect();
    for key in keys {
        let (order, id) = *key;
        let symbol = reports.find(order).or_else(|| copy.find(order));
        let found = |kind| Break {
            order: text(order),
            fill: text(id),
            symbol: symbol.map_or(String::new(), |order| text(&order.symbol)),
            ..blank(kind)
        };
        let (one, other) = (ours.get(key), theirs.get(key));
        let kind = match (one, other) {
            (Some(one), Some(other)) => {
                let meant = |fill: &Execution| (fill.qty, fill.price, fill.is_busted);
                if meant(one) == meant(other) {
                    continue;
                }
                Kind::FillTerms
            }
            _ => Kind::Fill,
        };
        let told = |fill: Option<&&Execution>| fill.map_or("unknown".into(), |fill| words(fill));
        breaks.push(Break {
            reports: Some(told(one)),
            drop_copy: Some(told(other)),
            ..found(kind)
        });
    }
}

fn positions(reports: &Ledger, copy: &Ledger, breaks: &mut Vec<Break>) {
    let (ours, theirs) = (reports.positions(), copy.positions());
    let symbols: BTreeSet<&Vec<u8>> = ours.keys().chain(theirs.keys()).collect();
    for symbol in symbols {
        let of = |all: &BTreeMap<Vec<u8>, Position>| all.get(symbol).copied().unwrap_or_default();
        let (one, other) = (of(&ours), of(&theirs));
        if one != other {
            let words = |position: Position| {
                let (bought, sold) = (position.bought, position.sold);
                let bought = traded(bought, position.bought_notional);
                let sold = traded(sold, position.sold_notional);
                format!("{} (bought {bought}, sold {sold})", position.net())
            };
            breaks.push(Break {
                symbol: text(symbol),
                reports: Some(words(one)),
                drop_copy: Some(words(other)),
                ..blank(Kind::Position)
            });
        }
    }
}

/// How much, and at which average price.
fn traded(qty: i128, notional: i128) -> String {
    let average = notional.checked_div_euclid(qty);
    match average.and_then(|price| i64::try_from(price).ok()) {
        Some(price) => format!("{qty} at {}", Price(price)),
        None => qty.to_string(),
    }
}

const fn blank(kind: Kind) -> Break {
    Break {
        kind,
        order: String::new(),
        fill: String::new(),
        symbol: String::new(),
        log: None,
        reports: None,
        drop_copy: None,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        for part in [&self.order, &self.fill, &self.symbol] {
            if !part.is_empty() {
                write!(f, " {part}")?;
            }
        }
        for (name, said) in [
            ("log", &self.log),
            ("reports", &self.reports),
            ("drop copy", &self.drop_copy),
        ] {
            if let Some(said) = said {
                write!(f, "; {name}: {said}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Version, Writer};

    fn bytes(text: &str) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut pairs = text.split(' ').map(|field| field.split_once('=').unwrap());
        writer.begin(pairs.next().unwrap().1.as_bytes());
        for (tag, value) in pairs {
            writer.text(tag.parse().unwrap(), value);
        }
        writer.finish(Version::Fix44).to_vec()
    }

    /// Ours with `>` before them.
    fn journal(messages: &str) -> Blotter {
        let mut blotter = Blotter::default();
        for (seq, line) in messages.lines().map(str::trim).enumerate() {
            let mut fields = Fields::default();
            let (is_ours, text) = match line.strip_prefix("> ") {
                Some(text) => (true, text),
                None => (false, line),
            };
            let bytes = bytes(text);
            let message = parse(&bytes, &mut fields, &DataTags::default()).unwrap();
            match is_ours {
                true => blotter.sent(seq as u64, &message),
                false => blotter.came(&message, 0),
            }
        }
        blotter
    }

    const OURS: &str = "> 35=D 11=a 55=X 54=1 38=100 44=10
        35=8 37=1 17=n 11=a 150=0 39=0 55=X 54=1 38=100 44=10 14=0
        35=8 37=1 17=e1 11=a 150=F 39=1 55=X 54=1 38=100 44=10 32=40 31=9.5 14=40
        > 35=D 11=b 55=X 54=2 38=30 44=11
        35=8 37=2 17=f1 11=b 150=F 39=2 55=X 54=2 38=30 44=11 32=30 31=11 14=30";

    fn log() -> BTreeMap<Vec<u8>, Logged> {
        let logged = |side: &[u8], qty, price| Logged {
            symbol: b"X".to_vec(),
            side: side.to_vec(),
            qty: Qty(qty),
            price: Price(price * Price::SCALE),
            fate: Fate::Sent,
        };
        BTreeMap::from([
            (b"a".to_vec(), logged(b"1", 100, 10)),
            (b"b".to_vec(), logged(b"2", 30, 11)),
        ])
    }

    /// What is said of these, one after the other.
    fn check(log: &BTreeMap<Vec<u8>, Logged>, ours: &str, theirs: Option<&str>, want: &str) {
        let reports = Ledger::of(vec![journal(ours)]);
        let copy = theirs.map(|theirs| Ledger::of(vec![journal(theirs)]));
        let breaks = reconcile(log, &reports, copy.as_ref(), false);
        let said: Vec<String> = breaks.iter().map(Break::to_string).collect();
        assert_eq!(said.join("\n"), want, "{ours}\n{theirs:?}");
    }

    /// What a drop copy has of the same.
    fn copy() -> String {
        let theirs = OURS.lines().map(str::trim);
        let kept: Vec<&str> = theirs.filter(|line| !line.starts_with('>')).collect();
        kept.join("\n")
    }

    #[test]
    fn the_same_said_thrice_is_no_break() {
        check(&log(), OURS, None, "");
        check(&log(), OURS, Some(&copy()), "");
        check(&BTreeMap::new(), "> 35=0", Some("35=0"), "");
    }

    #[test]
    fn orders_that_one_side_does_not_know() {
        let mut more = log();
        more.insert(b"c".to_vec(), log().remove(&b"b"[..]).unwrap());
        check(&more, OURS, None, "order c X; log: sent; reports: unknown");
        let silent = format!("{OURS}\n> 35=D 11=c 55=X 54=2 38=30 44=11");
        let unsaid = "order c X; log: sent; reports: nothing was said of it";
        check(&more, &silent, Some(&copy()), unsaid);
        // What was held back must not be there; what was not said may or may not.
        more.get_mut(&b"c"[..]).unwrap().fate = Fate::Kept;
        check(&more, OURS, None, "");
        let new = "35=8 37=3 17=m 11=c 150=0 39=0 55=X 54=2 38=30 44=11 14=0";
        let there = format!("{silent}\n{new}");
        let held = "order c X; log: not sent; reports: new";
        check(&more, &there, None, held);
        more.get_mut(&b"c"[..]).unwrap().fate = Fate::Unsaid;
        check(&more, &there, None, "");
        check(
            &log(),
            &there,
            None,
            "order c X; log: unknown; reports: new",
        );
        check(
            &more,
            &there,
            Some(&copy()),
            "order c X; reports: new; drop copy: unknown",
        );
        let foreign = format!("{}\n{new}", copy());
        check(
            &log(),
            OURS,
            Some(&foreign),
            "order c X; log: unknown; reports: unknown; drop copy: new",
        );
    }

    #[test]
    fn terms_that_are_not_the_same() {
        let mut other = log();
        let a = other.get_mut(&b"a"[..]).unwrap();
        (a.qty, a.price) = (Qty(90), Price(9 * Price::SCALE));
        check(
            &other,
            OURS,
            None,
            "order_terms a X; log: price 9.00; reports: price 10.00\n\
             order_terms a X; log: qty 90; reports: qty 100",
        );
        // A counterparty that answers with other terms than it was given.
        let answered = OURS.replace("150=0 39=0 55=X 54=1 38=100", "150=0 39=0 55=X 54=1 38=80");
        check(&log(), &answered, None, "");
        let answered = OURS.replace("39=1 55=X 54=1 38=100", "39=1 55=X 54=1 38=80");
        check(
            &log(),
            &answered,
            None,
            "order_terms a X; reports: OrderQty 80 was not agreed",
        );
        let copied = copy().replace("54=2 38=30 44=11", "54=2 38=31 44=12");
        check(
            &log(),
            OURS,
            Some(&copied),
            "order_terms b X; reports: price 11.00; drop copy: price 12.00\n\
             order_terms b X; reports: qty 30; drop copy: qty 31",
        );
    }

    #[test]
    fn fills_that_are_missing_doubled_or_others() {
        let fill = "35=8 37=1 17=e1 11=a 150=F 39=1 55=X 54=1 38=100 44=10 32=40 31=9.5 14=40";
        let missing = copy().replace(&format!("{fill}\n"), "");
        check(
            &log(),
            OURS,
            Some(&missing),
            "standing a X; reports: partial; drop copy: new\n\
             fill a e1 X; reports: 40 at 9.50; drop copy: unknown\n\
             position X; reports: 10 (bought 40 at 9.50, sold 30 at 11.00); drop copy: -30 (bought 0, sold 30 at 11.00)",
        );
        let ours = OURS.replace(&format!("{fill}\n"), "");
        check(
            &log(),
            &ours,
            Some(&copy()),
            "standing a X; reports: new; drop copy: partial\n\
             fill a e1 X; reports: unknown; drop copy: 40 at 9.50\n\
             position X; reports: -30 (bought 0, sold 30 at 11.00); drop copy: 10 (bought 40 at 9.50, sold 30 at 11.00)",
        );
        let doubled = format!("{}\n{fill}", copy());
        check(
            &log(),
            OURS,
            Some(&doubled),
            "fill_doubled a e1; drop copy: 2 times",
        );
        check(
            &log(),
            &format!("{OURS}\n{fill}"),
            None,
            "fill_doubled a e1; reports: 2 times",
        );
        // Repeated on purpose, and said to be.
        let repeated = format!("{}\n{fill} 97=Y", copy());
        check(&log(), OURS, Some(&repeated), "");
        let other = copy().replace("32=40 31=9.5", "32=40 31=9.6");
        check(
            &log(),
            OURS,
            Some(&other),
            "fill_terms a e1 X; reports: 40 at 9.50; drop copy: 40 at 9.60\n\
             position X; reports: 10 (bought 40 at 9.50, sold 30 at 11.00); drop copy: 10 (bought 40 at 9.60, sold 30 at 11.00)",
        );
        let busted = format!("{}\n35=8 17=z 19=e1 11=a 150=H 39=0 55=X 14=0", copy());
        check(
            &log(),
            OURS,
            Some(&busted),
            "standing a X; reports: partial; drop copy: new\n\
             fill_terms a e1 X; reports: 40 at 9.50; drop copy: 40 at 9.50, busted\n\
             position X; reports: 10 (bought 40 at 9.50, sold 30 at 11.00); drop copy: -30 (bought 0, sold 30 at 11.00)",
        );
        let sum = OURS.replace("31=9.5 14=40", "31=9.5 14=50");
        check(
            &log(),
            &sum,
            None,
            "filled a X; reports: CumQty 50, fills 40",
        );
    }

    #[test]
    fn the_same_exec_id_of_two_sessions_is_two_fills() {
        let same = OURS.replace("17=f1", "17=e1");
        check(&log(), &same, Some(&copy().replace("17=f1", "17=e1")), "");
    }

    #[test]
    fn a_copy_of_fills_only_need_not_have_orders_without() {
        let new = "> 35=D 11=c 55=X 54=2 38=30 44=11
            35=8 37=3 17=m 11=c 150=0 39=0 55=X 54=2 38=30 44=11 14=0";
        let reports = Ledger::of(vec![journal(&format!("{OURS}\n{new}"))]);
        let fills: Vec<String> = copy().lines().skip(1).map(str::to_owned).collect();
        let theirs = Ledger::of(vec![journal(&fills.join("\n"))]);
        let mut log = log();
        log.insert(b"c".to_vec(), log[&b"b"[..]].clone());
        assert_eq!(reconcile(&log, &reports, Some(&theirs), true), []);
        assert_eq!(reconcile(&log, &reports, Some(&theirs), false).len(), 1);
    }
}
