//! The plain twins of the exchange: a decoder that knows offsets only, a book of maps, and
//! windows that sort and sum. Written from the specification, not from the crate.

#![allow(dead_code, reason = "each test uses its own part")]

pub(crate) mod pcap;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use exchange::{Depth, SymbolTruth, Window, Windows};

/// Big endian, of 1 to 8 bytes.
pub(crate) fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len]
        .iter()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

pub(crate) fn text(bytes: &[u8], at: usize, len: usize) -> String {
    String::from_utf8(bytes[at..at + len].to_vec())
        .unwrap()
        .trim_end()
        .to_owned()
}

pub(crate) fn is_one_of(byte: u8, letters: &str) -> bool {
    letters.as_bytes().contains(&byte)
}

#[derive(Clone, Copy, Debug)]
struct Order {
    locate: u16,
    side: usize,
    shares: u64,
    price: u64,
}

#[derive(Default)]
struct Symbol {
    name: String,
    is_trading: bool,
    /// For bids and asks: the references at each price, in order of arrival.
    queues: [BTreeMap<u64, VecDeque<u64>>; 2],
    /// Time, price, shares, match number.
    trades: Vec<(u64, u64, u64, u64)>,
    broken: u64,
    /// Shares of both sides executed in a cross that is not yet printed.
    crossing: [u64; 2],
}

/// Takes every message, and asserts what must be true of each.
#[derive(Default)]
pub(crate) struct Market {
    symbols: BTreeMap<u16, Symbol>,
    orders: HashMap<u64, Order>,
    matches: HashSet<u64>,
    pub(crate) by_type: BTreeMap<char, u64>,
    ts: u64,
    last_reference: u64,
    last_match: u64,
    is_continuous: bool,
    /// Events seen, as letters.
    pub(crate) events: String,
    /// How many executions happened with trading continuous.
    pub(crate) executions: u64,
    /// How often a cross left the displayed book crossed before it.
    pub(crate) crossed_before: u64,
}

impl Market {
    pub(crate) fn apply(&mut self, ts: u64, m: &[u8]) {
        let kind = m[0];
        *self.by_type.entry(char::from(kind)).or_default() += 1;
        assert_eq!(
            number(m, 5, 6),
            ts,
            "the time in the message is the one beside it"
        );
        assert!(ts >= self.ts, "time goes back");
        self.ts = ts;
        let locate = number(m, 1, 2) as u16;
        if is_one_of(kind, "SVW") {
            assert_eq!(locate, 0);
        } else if kind != b'R' {
            let at = match kind {
                b'H' | b'Y' | b'K' | b'J' | b'h' | b'N' | b'O' => Some(11),
                b'L' => Some(15),
                b'A' | b'F' | b'P' => Some(24),
                b'Q' => Some(19),
                b'I' => Some(28),
                _ => None,
            };
            let symbol = &self.symbols[&locate];
            if let Some(at) = at {
                assert_eq!(text(m, at, 8), symbol.name, "name and locate agree");
            }
        }
        match kind {
            b'S' => {
                self.events.push(char::from(m[11]));
                match m[11] {
                    b'Q' => self.is_continuous = true,
                    b'M' => self.is_continuous = false,
                    other => assert!(is_one_of(other, "OSEC")),
                }
            }
            b'R' => {
                let name = text(m, 11, 8);
                assert!((1..=5).contains(&name.len()));
                assert!(name.bytes().all(|b| b.is_ascii_uppercase()), "{name}");
                assert!(is_one_of(m[19], "QGSNAPZ") && m[20] == b'N');
                assert!([40, 100].contains(&number(m, 21, 4)));
                assert!(m[25] == b'N' && is_one_of(m[26], "CQ") && m[29] == b'P' && m[30] == b'N');
                assert!(is_one_of(m[31], "YN") && is_one_of(m[32], "12") && is_one_of(m[33], "YN"));
                assert!(number(m, 34, 4) == 0 && m[38] == b'N');
                let clash = self.symbols.insert(
                    locate,
                    Symbol {
                        name,
                        ..Symbol::default()
                    },
                );
                assert!(clash.is_none(), "locate {locate} is used once");
            }
            b'H' => {
                assert!(is_one_of(m[19], "HPQT"));
                self.symbol(locate).is_trading = m[19] == b'T';
            }
            b'Y' => assert!(is_one_of(m[19], "012")),
            b'L' => {
                assert!(m[11..15].iter().all(u8::is_ascii_uppercase));
                assert!(is_one_of(m[23], "YN") && m[24] == b'N' && m[25] == b'A');
            }
            b'V' => {
                assert!(number(m, 11, 8) > number(m, 19, 8) && number(m, 19, 8) > number(m, 27, 8))
            }
            b'W' => assert!(is_one_of(m[11], "123")),
            b'K' => {
                assert!((34_200..57_600).contains(&number(m, 19, 4)));
                assert!(is_one_of(m[23], "AC") && number(m, 24, 4) > 0);
            }
            b'J' => {
                let [reference, upper, lower] = [19, 23, 27].map(|at| number(m, at, 4));
                assert!(lower < reference && reference < upper && number(m, 31, 4) < 10);
            }
            b'h' => assert!(is_one_of(m[19], "QBX") && is_one_of(m[20], "HT")),
            b'A' | b'F' => {
                let side = usize::from(m[19] == b'S');
                assert!(is_one_of(m[19], "BS"));
                let (shares, price) = (number(m, 20, 4), number(m, 32, 4));
                self.add(
                    number(m, 11, 8),
                    Order {
                        locate,
                        side,
                        shares,
                        price,
                    },
                );
            }
            b'E' | b'C' => {
                let (reference, shares) = (number(m, 11, 8), number(m, 19, 4));
                let match_number = self.next_match(number(m, 23, 8));
                let order = self.orders[&reference];
                assert_eq!(order.locate, locate);
                self.assert_first(reference, order);
                let price = if kind == b'C' {
                    number(m, 32, 4)
                } else {
                    order.price
                };
                let is_printed = kind == b'E' || m[31] == b'Y';
                if is_printed {
                    assert!(
                        self.is_continuous && self.symbol(locate).is_trading,
                        "matched too soon"
                    );
                    self.executions += 1;
                    self.symbol(locate)
                        .trades
                        .push((ts, price, shares, match_number));
                    self.matches.insert(match_number);
                } else {
                    assert!(if order.side == 0 {
                        price <= order.price
                    } else {
                        price >= order.price
                    });
                    self.symbol(locate).crossing[order.side] += shares;
                }
                self.reduce(reference, shares);
            }
            b'X' => {
                let (reference, shares) = (number(m, 11, 8), number(m, 19, 4));
                assert!(
                    shares < self.orders[&reference].shares,
                    "some shares remain"
                );
                self.reduce(reference, shares);
            }
            b'D' => {
                let reference = number(m, 11, 8);
                self.reduce(reference, self.orders[&reference].shares);
            }
            b'U' => {
                let (old, new) = (number(m, 11, 8), number(m, 19, 8));
                let order = self.orders[&old];
                self.reduce(old, order.shares);
                let (shares, price) = (number(m, 27, 4), number(m, 31, 4));
                self.add(
                    new,
                    Order {
                        shares,
                        price,
                        ..order
                    },
                );
            }
            b'P' => {
                assert!(number(m, 11, 8) == 0 && m[19] == b'B');
                let (shares, price) = (number(m, 20, 4), number(m, 32, 4));
                let match_number = self.next_match(number(m, 36, 8));
                let [bid, ask] = self.best(locate);
                assert!(
                    bid.unwrap() < price && price < ask.unwrap(),
                    "hidden inside the spread"
                );
                self.symbol(locate)
                    .trades
                    .push((ts, price, shares, match_number));
                self.matches.insert(match_number);
            }
            b'Q' => {
                let (shares, price) = (number(m, 11, 8), number(m, 27, 4));
                let match_number = self.next_match(number(m, 31, 8));
                assert!(is_one_of(m[39], "OCH"));
                let crossing = std::mem::take(&mut self.symbol(locate).crossing);
                assert!(
                    crossing.iter().all(|&side| side <= shares),
                    "the total covers its parts"
                );
                assert_eq!(shares > 0, price > 0);
                if shares > 0 {
                    self.symbol(locate)
                        .trades
                        .push((ts, price, shares, match_number));
                    self.matches.insert(match_number);
                }
                self.assert_not_crossed(locate);
            }
            b'B' => {
                assert!(
                    self.matches.remove(&number(m, 11, 8)),
                    "only a printed trade is broken, once"
                );
                self.symbol(locate).broken += 1;
            }
            b'I' => {
                assert!(is_one_of(m[27], "BSNO") && is_one_of(m[48], "OCH"));
                assert!(is_one_of(m[49], "L123456789ABC "));
                assert!(number(m, 44, 4) > 0, "a reference price");
                if let [Some(bid), Some(ask)] = self.best(locate)
                    && bid >= ask
                {
                    self.crossed_before += 1;
                    assert!(number(m, 11, 8) > 0, "a crossed book pairs some shares");
                }
            }
            b'N' => assert!(is_one_of(m[19], "BSAN")),
            b'O' => {
                assert!(is_one_of(m[19], "YN"));
                let [min, max, near] = [20, 24, 28].map(|at| number(m, at, 4));
                let [lower, upper] = [40, 44].map(|at| number(m, at, 4));
                assert!(min < lower && lower < near && near < upper && upper < max);
                assert!(number(m, 32, 8) <= ts);
            }
            other => panic!("unknown type {other}"),
        }
        if self.is_continuous && locate != 0 && self.symbols[&locate].is_trading {
            self.assert_not_crossed(locate);
        }
    }

    fn symbol(&mut self, locate: u16) -> &mut Symbol {
        self.symbols.get_mut(&locate).unwrap()
    }

    pub(crate) fn best(&self, locate: u16) -> [Option<u64>; 2] {
        let [bids, asks] = &self.symbols[&locate].queues;
        [
            bids.keys().next_back().copied(),
            asks.keys().next().copied(),
        ]
    }

    fn assert_not_crossed(&self, locate: u16) {
        if let [Some(bid), Some(ask)] = self.best(locate) {
            assert!(
                bid < ask,
                "{}: bid {bid} ask {ask} at {}",
                self.symbols[&locate].name,
                self.ts
            );
        }
    }

    /// Price-time priority: nobody at a better price, and nobody earlier at this one.
    fn assert_first(&self, reference: u64, order: Order) {
        let best = self.best(order.locate)[order.side];
        assert_eq!(best, Some(order.price), "executed at the best price");
        let queue = &self.symbols[&order.locate].queues[order.side][&order.price];
        assert_eq!(
            queue.front(),
            Some(&reference),
            "executed in order of arrival"
        );
    }

    fn next_match(&mut self, match_number: u64) -> u64 {
        assert!(match_number > self.last_match, "match numbers increase");
        self.last_match = match_number;
        match_number
    }

    fn add(&mut self, reference: u64, order: Order) {
        assert!(reference > self.last_reference, "references increase");
        assert!(order.shares > 0 && order.price > 0 && order.price.is_multiple_of(100));
        self.last_reference = reference;
        self.orders.insert(reference, order);
        let queues = &mut self.symbol(order.locate).queues;
        queues[order.side]
            .entry(order.price)
            .or_default()
            .push_back(reference);
    }

    fn reduce(&mut self, reference: u64, shares: u64) {
        let order = self.orders.get_mut(&reference).unwrap();
        order.shares = order
            .shares
            .checked_sub(shares)
            .expect("no more than there is");
        if order.shares > 0 {
            return;
        }
        let order = self.orders.remove(&reference).unwrap();
        let queues = &mut self.symbol(order.locate).queues;
        let queue = queues[order.side].get_mut(&order.price).unwrap();
        queue.retain(|&other| other != reference);
        if queue.is_empty() {
            queues[order.side].remove(&order.price);
        }
    }

    /// The truth by this twin's account.
    pub(crate) fn truths(&self) -> Vec<SymbolTruth> {
        let mut live = HashMap::new();
        for order in self.orders.values() {
            *live.entry(order.locate).or_default() += 1;
        }
        self.symbols
            .iter()
            .map(|(locate, symbol)| {
                let depth = |(price, queue): (&u64, &VecDeque<u64>)| Depth {
                    price_e4: *price as u32,
                    shares: queue
                        .iter()
                        .map(|reference| self.orders[reference].shares)
                        .sum(),
                    orders: queue.len() as u32,
                };
                let windows = |seconds: u64| windows(&symbol.trades, seconds * 1_000_000_000);
                SymbolTruth {
                    symbol: symbol.name.clone(),
                    locate: *locate,
                    bids: symbol.queues[0].iter().rev().take(10).map(depth).collect(),
                    asks: symbol.queues[1].iter().take(10).map(depth).collect(),
                    live_orders: live.get(locate).copied().unwrap_or(0),
                    trades: symbol.trades.len() as u64,
                    volume: symbol.trades.iter().map(|trade| trade.2).sum(),
                    notional_e4: symbol.trades.iter().map(|trade| trade.1 * trade.2).sum(),
                    broken: symbol.broken,
                    windows: Windows {
                        s1: windows(1),
                        s5: windows(5),
                        m1: windows(60),
                    },
                }
            })
            .collect()
    }
}

fn windows(trades: &[(u64, u64, u64, u64)], length: u64) -> Vec<Window> {
    let mut groups: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for &(ts, price, shares, _) in trades {
        groups
            .entry(ts / length * length)
            .or_default()
            .push((price, shares));
    }
    groups
        .into_iter()
        .map(|(start_ns, trades)| Window {
            start_ns,
            volume: trades.iter().map(|trade| trade.1).sum(),
            notional_e4: trades.iter().map(|trade| trade.0 * trade.1).sum(),
            trades: trades.len() as u64,
            open_e4: trades[0].0,
            high_e4: trades.iter().map(|trade| trade.0).max().unwrap(),
            low_e4: trades.iter().map(|trade| trade.0).min().unwrap(),
            close_e4: trades[trades.len() - 1].0,
        })
        .collect()
}
