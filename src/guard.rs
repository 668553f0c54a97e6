//! Limits of many orders together: of a symbol, a strategy, a session, and all of a run.
//!
//! The gate (`analytics::risk`) decides symbol by symbol and by event time, the same whatever the
//! shards; it cannot know what other shards do, nor what becomes of orders. This is the look behind
//! it, right before an order leaves. It counts what all shards have out, and gives back what a report
//! of the other side says is over. So its answer depends on the moment, as a stop does, and what it
//! refuses is logged as an outcome, with the limit and the value: a log says what left and what did not,
//! and is never judged again.
//!
//! There is one ledger for all shards, behind a lock that nobody waits for: a shard that does not get
//! it looks again in its next turn. An order is counted in before it is sent, so two shards never
//! share the last place below a limit. A share of each limit for each shard would need no lock, but
//! refuse other orders at another number of shards, and with most of the limit unused.
//!
//! What is counted follows from the log and from the journals of what came back, and after a restart it
//! is counted again from these.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Mutex, TryLockError};

use bus::oms::limits::{Limit, Of, Page, RATE_MAX};
use bus::signal::{Fate, Order, Over, RejectCode, Report, Whose};
use bus::{Price, Quote, Side};
use crossbeam_utils::CachePadded;
use feed::reader::shard_of;

/// Exposure is counted in ten-thousandths of a unit of currency, rounded up: 9e14 of them fit.
const PARTS: i128 = 10_000;
const PART: i128 = Price::SCALE as i128 / PARTS;
const SECOND_NS: u64 = 1_000_000_000;
/// Times are counted from so long before the clock's own start, so that what left in the second before
/// it has a time too.
const START_NS: u64 = SECOND_NS;

/// See the module.
#[derive(Debug)]
pub struct Guard {
    page: Page,
    /// By the number that orders have of them.
    strategies: Vec<Of>,
    /// How many shards the symbols are shared out to.
    shards: usize,
    /// What becomes of orders is heard, and so are those in doubt.
    is_told: bool,
    ledger: CachePadded<Mutex<Ledger>>,
}

/// What is said to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It may leave, and is counted.
    Go,
    /// It would be over this limit, and is not counted.
    Over(Over),
    /// Another shard has the ledger: ask again.
    Busy,
}

/// An order as the ledger has it: what of it is open, and what is filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stake {
    /// It may still be filled.
    pub is_open: bool,
    /// It is sold.
    pub is_sale: bool,
    /// Its limit price, in 10^-9.
    pub price: i64,
    /// How much may still be filled.
    pub open_qty: i64,
    /// How much is filled, and what that came to, in 10^-9.
    pub filled_qty: i64,
    #[allow(missing_docs)]
    pub filled_notional: i128,
}

impl Stake {
    /// One that has just been sent.
    pub fn of(order: &Order) -> Stake {
        Stake {
            is_open: true,
            is_sale: order.side == Side::Sell,
            price: order.price.0,
            open_qty: order.qty.0,
            filled_qty: 0,
            filled_notional: 0,
        }
    }
}

/// Whose order it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The symbol's number, which says the shard, and so the session.
    pub symbol: u32,
    /// The strategy's number.
    pub rule: u8,
}

/// What orders of one symbol, or of one strategy in it, come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    open_orders: i64,
    open_buys: i64,
    open_buys_notional: i128,
    open_sales: i64,
    open_sales_notional: i128,
    /// Bought less sold, by fills; and what sales brought less what the rest cost.
    position: i64,
    cash: i128,
    /// The price of the last fill, and the live book's, to close the position at; 0 for none yet.
    last_fill: i64,
    live: i64,
}

/// What a cell adds to the sums that it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    open_orders: i64,
    gross: i64,
    long: i64,
    short: i64,
    /// What was won; below zero, lost. Rounded down.
    won: i64,
}

impl Cell {
    fn add(&mut self, stake: &Stake, sign: i64) {
        if stake.is_open {
            let notional = i128::from(stake.price) * i128::from(stake.open_qty) * i128::from(sign);
            self.open_orders += sign;
            if stake.is_sale {
                self.open_sales = self.open_sales.saturating_add(sign * stake.open_qty);
                self.open_sales_notional += notional;
            } else {
                self.open_buys = self.open_buys.saturating_add(sign * stake.open_qty);
                self.open_buys_notional += notional;
            }
        }
        let side = if stake.is_sale { -sign } else { sign };
        self.position = self.position.saturating_add(side * stake.filled_qty);
        self.cash -= i128::from(side) * stake.filled_notional;
    }

    fn sums(&self) -> Sums {
        let held = i128::from(self.position) * i128::from(self.last_fill);
        let long = held + self.open_buys_notional;
        let short = self.open_sales_notional - held;
        let mark = if self.live != 0 {
            self.live
        } else {
            self.last_fill
        };
        let won = self.cash + i128::from(self.position) * i128::from(mark);
        Sums {
            open_orders: self.open_orders,
            gross: rounded_up(long.abs().max(short.abs())),
            long: rounded_up(long),
            short: rounded_up(short),
            won: won.div_euclid(PART).clamp(i64::MIN.into(), i64::MAX.into()) as i64,
        }
    }

    /// The position if all of one side that is open is filled and none of the other, at its worst.
    fn worst_position(&self) -> i64 {
        let long = self.position.saturating_add(self.open_buys);
        let short = self.open_sales.saturating_sub(self.position);
        long.max(short)
    }
}

impl Sums {
    fn change(&mut self, before: &Sums, after: &Sums) {
        let add = |mine: &mut i64, before: i64, after: i64| {
            *mine = mine.saturating_add(after.saturating_sub(before));
        };
        add(&mut self.open_orders, before.open_orders, after.open_orders);
        add(&mut self.gross, before.gross, after.gross);
        add(&mut self.long, before.long, after.long);
        add(&mut self.short, before.short, after.short);
        add(&mut self.won, before.won, after.won);
    }
}

fn rounded_up(notional: i128) -> i64 {
    let parts = -(-notional).div_euclid(PART);
    parts.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// When the last orders left, or messages: as many as any limit looks back.
#[derive(Clone, Debug, Default)]
struct Times(VecDeque<u64>);

impl Times {
    /// How many there are in the second that ends now, this one included, if that is over the limit.
    fn over(&self, max: i64, now_ns: u64) -> Option<i64> {
        let max_count = max as usize;
        let is_recent = |at: u64| now_ns.saturating_sub(at) < SECOND_NS;
        let before = match self.0.len().checked_sub(max_count) {
            _ if max == 0 => return Some(1),
            None => return None,
            Some(at) => self.0.get(at)?,
        };
        is_recent(*before).then_some(max + 1)
    }

    fn note(&mut self, now_ns: u64) {
        if self.0.len() == RATE_MAX {
            self.0.pop_front();
        }
        self.0.push_back(now_ns);
    }
}

/// Sums and times of orders that count together.
#[derive(Clone, Debug, Default)]
struct Account {
    sums: Sums,
    orders: Times,
    messages: Times,
}

#[derive(Debug, Default)]
struct Ledger {
    symbols: HashMap<u32, Cell>,
    by_strategy: HashMap<(u8, u32), Cell>,
    strategies: Vec<Account>,
    sessions: Vec<Account>,
    firm: Account,
    /// Orders that a simulated venue has and that were held back.
    never_left: HashSet<(u64, u32, u16)>,
}

impl Guard {
    /// With the limits in the file at `path`, for so many shards and these strategies.
    pub fn open(
        path: &Path,
        shards: usize,
        strategies: &[String],
        is_told: bool,
    ) -> Result<Guard, String> {
        let page = Page::open(path).map_err(|error| error.to_string())?;
        let account = || Account {
            orders: Times(VecDeque::with_capacity(RATE_MAX)),
            messages: Times(VecDeque::with_capacity(RATE_MAX)),
            ..Account::default()
        };
        Ok(Guard {
            page,
            strategies: strategies.iter().cloned().map(Of::Strategy).collect(),
            shards,
            is_told,
            ledger: CachePadded::new(Mutex::new(Ledger {
                symbols: HashMap::with_capacity(1024),
                by_strategy: HashMap::with_capacity(1024),
                strategies: strategies.iter().map(|_| account()).collect(),
                sessions: (0..shards).map(|_| account()).collect(),
                firm: account(),
                never_left: HashSet::new(),
            })),
        })
    }

    /// The limits in force.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// Whether an order may leave now; if so, it is counted as sent.
    pub fn ask(&self, owner: Owner, letters: &[u8; 8], order: &Order, now_ns: u64) -> Said {
        let now_ns = now_ns + START_NS;
        let mut ledger = match self.ledger.try_lock() {
            Ok(ledger) => ledger,
            // Whoever had it ended in the midst of a change, and the run ends with them.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return Said::Busy,
        };
        if let Err(over) = self.judge(&ledger, owner, letters, order, now_ns) {
            return Said::Over(over);
        }
        let session = self.session(owner);
        ledger.change(owner, session, &Stake::default(), &Stake::of(order));
        ledger.note(owner, session, now_ns, true);
        Said::Go
    }

    /// A cancel leaves. It counts as a message, and is never refused: it can only make less.
    pub fn cancel_leaves(&self, owner: Owner, now_ns: u64) {
        let session = self.session(owner);
        self.locked(|ledger| ledger.note(owner, session, now_ns + START_NS, false));
    }

    /// An order that is out already, by the log or by the other side's word.
    pub fn is_out(&self, owner: Owner, order: &Order) {
        self.changed(owner, &Stake::default(), &Stake::of(order));
    }

    /// An order never left, so that what a simulated venue says of it, which does not know that, counts
    /// for nothing. It is named by the `seq`, the symbol and the ordinal of its signal.
    #[cold]
    pub fn never_left(&self, order: (u64, u32, u16)) {
        self.locked(|ledger| {
            ledger.never_left.insert(order);
        });
    }

    /// A simulated venue said something of an order that left.
    #[cold]
    pub fn reported(&self, owner: Owner, report: &Report) {
        let order = (report.order_seq, owner.symbol, report.order_ordinal);
        let mut has_left = true;
        self.locked(|ledger| has_left = !ledger.never_left.contains(&order));
        if !has_left {
            return;
        }
        let is_fill = report.fate == Fate::Fill;
        let before = Stake {
            is_open: true,
            is_sale: report.side == Side::Sell,
            price: report.limit.0,
            open_qty: report.left.0 + report.qty.0,
            filled_qty: 0,
            filled_notional: 0,
        };
        // Sums take what an order adds to them, so the difference is enough.
        let after = Stake {
            is_open: report.left.0 > 0,
            open_qty: report.left.0,
            filled_qty: if is_fill { report.qty.0 } else { 0 },
            filled_notional: if is_fill {
                (report.price * report.qty).0
            } else {
                0
            },
            ..before
        };
        if report.fate != Fate::New {
            self.changed(owner, &before, &after);
        }
    }

    /// An order stands otherwise than before.
    pub fn changed(&self, owner: Owner, before: &Stake, after: &Stake) {
        if before != after {
            let session = self.session(owner);
            self.locked(|ledger| ledger.change(owner, session, before, after));
        }
    }

    /// Values positions by a shard's live books, a long one at the bid and a short one at the ask. A
    /// symbol that is another shard's has no quote in them, and keeps its value.
    pub fn mark(&self, quote: impl Fn(u32) -> Quote) {
        // Another shard has it, and this one comes again.
        if let Ok(mut ledger) = self.ledger.try_lock() {
            let shards = self.shards;
            ledger.mark(quote, |symbol| shard_of(symbol, shards));
        }
    }

    /// An order left so long before `now_ns`, and before a restart: it still counts for the rates.
    /// To be called in the order of their leaving.
    pub fn left_before(&self, owner: Owner, now_ns: u64, age_ns: u64) {
        if age_ns < SECOND_NS {
            let at_ns = now_ns + START_NS - age_ns;
            let session = self.session(owner);
            self.locked(|ledger| ledger.note(owner, session, at_ns, true));
        }
    }

    /// Whether what becomes of orders is heard, so that nobody else need say that one is out.
    pub fn is_told(&self) -> bool {
        self.is_told
    }

    fn session(&self, owner: Owner) -> usize {
        shard_of(owner.symbol, self.shards)
    }

    fn locked(&self, change: impl FnOnce(&mut Ledger)) {
        let mut ledger = self.ledger.lock().expect("nobody panics with it");
        change(&mut ledger);
    }

    fn judge(
        &self,
        ledger: &Ledger,
        owner: Owner,
        letters: &[u8; 8],
        order: &Order,
        now_ns: u64,
    ) -> Result<(), Over> {
        let stake = Stake::of(order);
        let after = |cell: Option<&Cell>| {
            let before = cell.copied().unwrap_or_default();
            let mut after = before;
            after.add(&stake, 1);
            (before, after)
        };
        let symbol = after(ledger.symbols.get(&owner.symbol));
        let changes = (symbol.0.sums(), symbol.1.sums());
        if let Some(slot) = self.page.symbol_slot(letters) {
            self.single(Whose::Symbol, slot, order)?;
            self.position(Whose::Symbol, slot, &symbol)?;
            self.sums(Whose::Symbol, slot, &changes.0, &changes)?;
        }
        let strategy = self.strategies.get(usize::from(owner.rule));
        if let Some(slot) = strategy.and_then(|of| self.page.slot(of)) {
            let of = after(ledger.by_strategy.get(&(owner.rule, owner.symbol)));
            let account = &ledger.strategies[usize::from(owner.rule)];
            self.single(Whose::Strategy, slot, order)?;
            self.position(Whose::Strategy, slot, &of)?;
            let changes = (of.0.sums(), of.1.sums());
            self.sums(Whose::Strategy, slot, &account.sums, &changes)?;
            self.rates(Whose::Strategy, slot, account, now_ns)?;
        }
        let accounts = [
            (
                Whose::Session,
                Of::Session,
                &ledger.sessions[self.session(owner)],
            ),
            (Whose::Firm, Of::Firm, &ledger.firm),
        ];
        for (whose, of, account) in accounts {
            // A page that lost them is damaged.
            let damaged = Over {
                whose,
                code: RejectCode::Size,
                limit: 0,
                value: order.qty.0,
            };
            let slot = self.page.slot(&of).ok_or(damaged)?;
            self.single(whose, slot, order)?;
            self.sums(whose, slot, &account.sums, &changes)?;
            self.rates(whose, slot, account, now_ns)?;
        }
        Ok(())
    }

    fn single(&self, whose: Whose, slot: usize, order: &Order) -> Result<(), Over> {
        let over = |code, limit, value| Over {
            whose,
            code,
            limit,
            value,
        };
        if let Some(max) = self.page.limit(slot, Limit::QtyMax)
            && order.qty.0 > max
        {
            return Err(over(RejectCode::Size, max, order.qty.0));
        }
        let notional = rounded_up((order.price * order.qty).0);
        match self.page.limit(slot, Limit::NotionalMax) {
            Some(max) if i128::from(notional) > i128::from(max) * PARTS => {
                Err(over(RejectCode::Notional, max, whole(notional)))
            }
            _ => Ok(()),
        }
    }

    /// What makes it less may leave, however much there is.
    fn position(&self, whose: Whose, slot: usize, cells: &(Cell, Cell)) -> Result<(), Over> {
        let (before, after) = (cells.0.worst_position(), cells.1.worst_position());
        match self.page.limit(slot, Limit::PositionMax) {
            Some(max) if after > max && after > before => Err(Over {
                whose,
                code: RejectCode::Position,
                limit: max,
                value: after,
            }),
            _ => Ok(()),
        }
    }

    fn sums(
        &self,
        whose: Whose,
        slot: usize,
        now: &Sums,
        (before, after): &(Sums, Sums),
    ) -> Result<(), Over> {
        let mut then = *now;
        then.change(before, after);
        let net = |sums: &Sums| sums.long.max(sums.short);
        let limits = [
            (
                Limit::OpenOrdersMax,
                RejectCode::OpenOrders,
                then.open_orders,
                now.open_orders,
                1,
            ),
            (
                Limit::GrossMax,
                RejectCode::Gross,
                then.gross,
                now.gross,
                PARTS,
            ),
            (Limit::NetMax, RejectCode::Net, net(&then), net(now), PARTS),
            // No order makes a loss less.
            (
                Limit::LossMax,
                RejectCode::Loss,
                now.won.saturating_neg(),
                i64::MIN,
                PARTS,
            ),
        ];
        for (limit, code, value, before, parts) in limits {
            let Some(max) = self.page.limit(slot, limit) else {
                continue;
            };
            if i128::from(value) > i128::from(max) * parts && value > before {
                let value = if parts == 1 { value } else { whole(value) };
                return Err(Over {
                    whose,
                    code,
                    limit: max,
                    value,
                });
            }
        }
        Ok(())
    }

    fn rates(&self, whose: Whose, slot: usize, account: &Account, now_ns: u64) -> Result<(), Over> {
        let rates = [
            (Limit::OrdersPerSecond, RejectCode::Rate, &account.orders),
            (
                Limit::MessagesPerSecond,
                RejectCode::Messages,
                &account.messages,
            ),
        ];
        for (limit, code, times) in rates {
            if let Some(max) = self.page.limit(slot, limit)
                && let Some(value) = times.over(max, now_ns)
            {
                return Err(Over {
                    whose,
                    code,
                    limit: max,
                    value,
                });
            }
        }
        Ok(())
    }

    /// What is counted of the whole run: open orders, gross and net exposure and what was won, these
    /// in 10^-4 of a unit of currency. For people and tests.
    pub fn firm(&self) -> (i64, i64, i64, i64) {
        let mut found = (0, 0, 0, 0);
        self.locked(|ledger| {
            let sums = &ledger.firm.sums;
            found = (
                sums.open_orders,
                sums.gross,
                sums.long.max(sums.short),
                sums.won,
            );
        });
        found
    }

    /// Each symbol's open orders and position, by its number.
    pub fn symbols(&self) -> BTreeMap<u32, (i64, i64)> {
        let mut found = BTreeMap::new();
        self.locked(|ledger| {
            let cells = ledger.symbols.iter();
            found.extend(cells.map(|(symbol, cell)| (*symbol, (cell.open_orders, cell.position))));
        });
        found
    }
}

/// In whole units, rounded up.
fn whole(parts: i64) -> i64 {
    let whole = -(-i128::from(parts)).div_euclid(PARTS);
    whole as i64
}

impl Ledger {
    fn change(&mut self, owner: Owner, session: usize, before: &Stake, after: &Stake) {
        let Owner { symbol, rule } = owner;
        let step = |cell: &mut Cell| {
            let was = cell.sums();
            cell.add(before, -1);
            cell.add(after, 1);
            let qty = after.filled_qty - before.filled_qty;
            if qty > 0 {
                let price = (after.filled_notional - before.filled_notional) / i128::from(qty);
                cell.last_fill = price.clamp(0, i64::MAX.into()) as i64;
            }
            (was, cell.sums())
        };
        let (was, is) = step(self.symbols.entry(symbol).or_default());
        self.firm.sums.change(&was, &is);
        self.sessions[session].sums.change(&was, &is);
        if let Some(strategy) = self.strategies.get_mut(usize::from(rule)) {
            let (was, is) = step(self.by_strategy.entry((rule, symbol)).or_default());
            strategy.sums.change(&was, &is);
        }
    }

    fn note(&mut self, owner: Owner, session: usize, now_ns: u64, is_order: bool) {
        let accounts = [
            self.strategies.get_mut(usize::from(owner.rule)),
            self.sessions.get_mut(session),
            Some(&mut self.firm),
        ];
        for account in accounts.into_iter().flatten() {
            account.messages.note(now_ns);
            if is_order {
                account.orders.note(now_ns);
            }
        }
    }

    fn mark(&mut self, quote: impl Fn(u32) -> Quote, session_of: impl Fn(u32) -> usize) {
        let step = |cell: &mut Cell, symbol: u32| {
            let was = cell.sums();
            let quote = quote(symbol);
            let price = if cell.position < 0 {
                quote.ask
            } else {
                quote.bid
            };
            // A side that is gone leaves the last price that there was.
            if price.is_some() {
                cell.live = price.0;
            }
            (was, cell.sums())
        };
        for (symbol, cell) in &mut self.symbols {
            if cell.position == 0 {
                continue;
            }
            let (was, is) = step(cell, *symbol);
            self.firm.sums.change(&was, &is);
            let session = &mut self.sessions[session_of(*symbol)];
            session.sums.change(&was, &is);
        }
        for ((rule, symbol), cell) in &mut self.by_strategy {
            if cell.position == 0 {
                continue;
            }
            let (was, is) = step(cell, *symbol);
            if let Some(strategy) = self.strategies.get_mut(usize::from(*rule)) {
                strategy.sums.change(&was, &is);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use bus::Qty;
    use bus::oms::limits::Key;

    use super::*;

    /// A guard of a test's own with its file, gone at its end.
    struct Desk {
        guard: Guard,
        path: std::path::PathBuf,
    }

    impl Desk {
        fn new(name: &str, limits: &[(&str, u64)]) -> Desk {
            let name = format!("tapeline-guard-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, Page::fresh()).unwrap();
            let page = Page::open(&path).unwrap();
            for (key, value) in limits {
                page.set(&Key::parse(key).unwrap(), Some(*value)).unwrap();
            }
            let guard = Desk::open(&path);
            Desk { guard, path }
        }

        fn open(path: &Path) -> Guard {
            let strategies = ["momentum".to_string(), "lean".to_string()];
            Guard::open(path, 2, &strategies, true).unwrap()
        }

        /// Whether it may leave: none, or the limit with its value.
        fn ask(&self, symbol: u32, rule: u8, order: &Order, now_ns: u64) -> Option<String> {
            let letters = *[b"A       ", b"B       ", b"C       "][symbol as usize];
            match self
                .guard
                .ask(Owner { symbol, rule }, &letters, order, now_ns)
            {
                Said::Go => None,
                Said::Busy => Some("busy".into()),
                Said::Over(over) => Some(format!(
                    "{} {} {} {}",
                    over.whose.name(),
                    over.code.name(),
                    over.limit,
                    over.value
                )),
            }
        }
    }

    impl Drop for Desk {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    fn order(side: Side, qty: i64, price: i64) -> Order {
        Order {
            side,
            price: Price(price * Price::SCALE),
            qty: Qty(qty),
            bid: Price::NONE,
            ask: Price::NONE,
            tif: Default::default(),
        }
    }

    use Side::{Buy, Sell};

    #[track_caller]
    fn refused(said: Option<String>, want: &str) {
        assert_eq!(said.as_deref(), Some(want));
    }

    #[test]
    fn each_limit_passes_at_its_value_and_refuses_beyond_it() {
        for (of, name) in [
            ("firm", "firm"),
            ("session", "session"),
            ("strategy.momentum", "strategy"),
            ("symbol.A", "symbol"),
        ] {
            let at = |limit: &str, value: u64| {
                let key = format!("{of}.{limit}");
                Desk::new(&format!("each-{name}-{limit}"), &[(&key, value)])
            };
            let desk = at("qty_max", 100);
            assert_eq!(desk.ask(0, 0, &order(Buy, 100, 1), 0), None);
            let said = desk.ask(0, 0, &order(Buy, 101, 1), 0);
            refused(said, &format!("{name} size 100 101"));
            let desk = at("notional_max", 100);
            assert_eq!(desk.ask(0, 0, &order(Sell, 10, 10), 0), None);
            let mut above = order(Sell, 10, 10);
            above.price.0 += 1;
            refused(
                desk.ask(0, 0, &above, 0),
                &format!("{name} notional 100 101"),
            );
            let desk = at("open_orders_max", 2);
            for _ in 0..2 {
                assert_eq!(desk.ask(0, 0, &order(Buy, 1, 1), 0), None);
            }
            let said = desk.ask(0, 0, &order(Sell, 1, 1), 0);
            refused(said, &format!("{name} open_orders 2 3"));
            let desk = at("gross_max", 100);
            assert_eq!(desk.ask(0, 0, &order(Buy, 10, 10), 0), None);
            // Of two sides of one symbol only the worse can come to be.
            assert_eq!(desk.ask(0, 0, &order(Sell, 10, 10), 0), None);
            let said = desk.ask(0, 0, &order(Sell, 1, 1), 0);
            refused(said, &format!("{name} gross 100 101"));
            let desk = at("net_max", 100);
            assert_eq!(desk.ask(0, 0, &order(Sell, 100, 1), 0), None);
            let said = desk.ask(0, 0, &order(Sell, 1, 1), 0);
            refused(said, &format!("{name} net 100 101"));
        }
        let desk = Desk::new("none", &[("firm.gross_max", 0)]);
        refused(desk.ask(0, 0, &order(Buy, 1, 1), 0), "firm gross 0 1");
    }

    #[test]
    fn limits_are_of_the_orders_that_they_are_of() {
        let limits = [
            ("strategy.lean.open_orders_max", 1),
            ("session.open_orders_max", 2),
            ("firm.open_orders_max", 3),
            ("symbol.C.open_orders_max", 0),
        ];
        let desk = Desk::new("whose", &limits);
        let one = order(Buy, 1, 1);
        refused(desk.ask(2, 0, &one, 0), "symbol open_orders 0 1");
        assert_eq!(desk.ask(0, 1, &one, 0), None);
        refused(desk.ask(1, 1, &one, 0), "strategy open_orders 1 2");
        assert_eq!(desk.ask(0, 0, &one, 0), None);
        // Symbols 0 and 2 are of one session, 1 of the other.
        refused(desk.ask(0, 0, &one, 0), "session open_orders 2 3");
        assert_eq!(desk.ask(1, 0, &one, 0), None);
        refused(desk.ask(1, 0, &one, 0), "firm open_orders 3 4");
    }

    #[test]
    fn a_rate_is_of_any_second_and_cancels_count_and_always_leave() {
        let limits = [
            ("firm.orders_per_second", 2),
            ("session.messages_per_second", 3),
        ];
        let desk = Desk::new("rate", &limits);
        let one = order(Buy, 1, 1);
        let ms = 1_000_000;
        assert_eq!(desk.ask(0, 0, &one, 0), None);
        assert_eq!(desk.ask(1, 0, &one, 400 * ms), None);
        refused(desk.ask(0, 0, &one, 1000 * ms - 1), "firm rate 2 3");
        assert_eq!(desk.ask(0, 0, &one, 1000 * ms), None);
        refused(desk.ask(0, 0, &one, 1400 * ms - 1), "firm rate 2 3");
        let owner = Owner { symbol: 0, rule: 0 };
        for _ in 0..5 {
            desk.guard.cancel_leaves(owner, 1300 * ms);
        }
        refused(desk.ask(2, 0, &one, 1500 * ms), "session messages 3 4");
        assert_eq!(desk.ask(1, 0, &one, 1500 * ms), None, "another session");
        // In the second before a start, as the log has it.
        let again = Desk::new("rate-again", &limits);
        for age_ms in [1000, 999, 1] {
            again.guard.left_before(owner, 0, age_ms * ms);
        }
        refused(again.ask(1, 0, &one, 0), "firm rate 2 3");
        assert_eq!(again.ask(1, 0, &one, ms), None);
    }

    /// What is filled is no open order and a position, what is cancelled is neither, and a bust makes
    /// it as it was.
    #[test]
    fn what_comes_back_gives_back() {
        let limits = [
            ("firm.open_orders_max", 1),
            ("firm.gross_max", 1000),
            ("symbol.A.position_max", 100),
        ];
        let desk = Desk::new("back", &limits);
        let owner = Owner { symbol: 0, rule: 0 };
        let buy = order(Buy, 60, 10);
        assert_eq!(desk.ask(0, 0, &buy, 0), None);
        refused(desk.ask(0, 0, &buy, 0), "symbol position 100 120");
        refused(desk.ask(1, 0, &order(Buy, 1, 1), 0), "firm open_orders 1 2");
        let sent = Stake::of(&buy);
        let part = Stake {
            open_qty: 40,
            filled_qty: 20,
            filled_notional: 20 * 9 * i128::from(Price::SCALE),
            ..sent
        };
        desk.guard.changed(owner, &sent, &part);
        assert_eq!(desk.guard.firm(), (1, 5_800_000, 5_800_000, 0));
        let cancelled = Stake {
            is_open: false,
            open_qty: 0,
            ..part
        };
        desk.guard.changed(owner, &part, &cancelled);
        assert_eq!(desk.guard.firm(), (0, 1_800_000, 1_800_000, 0));
        assert_eq!(desk.guard.symbols()[&0], (0, 20));
        // What makes the position less may be more than what one may have.
        refused(
            desk.ask(0, 0, &order(Buy, 81, 1), 0),
            "symbol position 100 101",
        );
        refused(
            desk.ask(0, 0, &order(Sell, 121, 1), 0),
            "symbol position 100 101",
        );
        let all_back = order(Sell, 120, 9);
        assert_eq!(desk.ask(0, 0, &all_back, 0), None);
        desk.guard
            .changed(owner, &Stake::of(&all_back), &Stake::default());
        desk.guard.changed(owner, &cancelled, &Stake::default());
        assert_eq!(desk.guard.firm(), (0, 0, 0, 0));
        assert_eq!(desk.guard.symbols()[&0], (0, 0));
    }

    #[test]
    fn a_loss_by_fills_and_by_the_live_book_stops_orders() {
        let desk = Desk::new("loss", &[("firm.loss_max", 100)]);
        let owner = Owner { symbol: 1, rule: 0 };
        let quote = |bid: i64| {
            move |symbol: u32| match symbol {
                1 => Quote {
                    bid: Price(bid),
                    ask: Price(bid + Price::SCALE),
                    ..Quote::EMPTY
                },
                _ => Quote::EMPTY,
            }
        };
        let filled = Stake {
            is_open: false,
            is_sale: false,
            price: 0,
            open_qty: 0,
            filled_qty: 100,
            filled_notional: 100 * 10 * i128::from(Price::SCALE),
        };
        desk.guard.changed(owner, &Stake::default(), &filled);
        let one = order(Buy, 1, 1);
        assert_eq!(desk.ask(0, 0, &one, 0), None);
        desk.guard.mark(quote(9 * Price::SCALE));
        assert_eq!(desk.ask(0, 0, &one, 0), None, "100 is at the limit");
        desk.guard.mark(quote(9 * Price::SCALE - 1));
        refused(desk.ask(0, 0, &one, 0), "firm loss 100 101");
        // Another shard's books do not know the symbol, and change nothing.
        desk.guard.mark(|_| Quote::EMPTY);
        refused(desk.ask(0, 0, &one, 0), "firm loss 100 101");
        // Sold at 8: lost for good, whatever the book.
        let sold = Stake {
            is_sale: true,
            filled_notional: 100 * 8 * i128::from(Price::SCALE),
            ..filled
        };
        desk.guard.changed(owner, &Stake::default(), &sold);
        desk.guard.mark(quote(20 * Price::SCALE));
        refused(desk.ask(0, 0, &one, 0), "firm loss 100 200");
    }

    #[test]
    fn a_changed_limit_holds_for_the_next_order_and_a_damaged_page_lets_nothing_through() {
        let desk = Desk::new("change", &[("firm.open_orders_max", 10)]);
        let person = Page::open(&desk.path).unwrap();
        let key = Key::parse("firm.open_orders_max").unwrap();
        let one = order(Buy, 1, 1);
        assert_eq!(desk.ask(0, 0, &one, 0), None);
        assert_eq!(person.set(&key, Some(1)).unwrap(), Some(10));
        refused(desk.ask(0, 0, &one, 0), "firm open_orders 1 2");
        person.set(&key, None).unwrap();
        assert_eq!(desk.ask(0, 0, &one, 0), None);
        person
            .set(&Key::parse("symbol.B.qty_max").unwrap(), Some(0))
            .unwrap();
        refused(desk.ask(1, 0, &one, 0), "symbol size 0 1");
        // A new process with the file as it is.
        let later = Desk::open(&desk.path);
        let letters = b"B       ";
        let said = later.ask(Owner { symbol: 1, rule: 0 }, letters, &one, 0);
        assert!(matches!(said, Said::Over(over) if over.limit == 0));
    }

    /// Two shards that ask at once for the last places: never one too many, and none is left free.
    #[test]
    fn two_shards_at_once_never_share_the_last_place() {
        for round in 0..50 {
            let limits = [("firm.gross_max", 500), ("firm.open_orders_max", 700)];
            let desk = Desk::new(&format!("race-{round}"), &limits);
            let passed = AtomicI64::new(0);
            std::thread::scope(|scope| {
                for symbol in 0..2 {
                    let (desk, passed) = (&desk, &passed);
                    scope.spawn(move || {
                        let one = order(Buy, 1, 1);
                        for _ in 0..600 {
                            let owner = Owner { symbol, rule: 0 };
                            let said = loop {
                                match desk.guard.ask(owner, b"A       ", &one, 0) {
                                    Said::Busy => std::thread::yield_now(),
                                    said => break said,
                                }
                            };
                            passed.fetch_add(i64::from(said == Said::Go), Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!(passed.into_inner(), 500);
            assert_eq!(desk.guard.firm().1, 500 * 10_000);
        }
    }
}
