//! One day at the exchange, from the start of messages to their end.
//!
//! ```text
//!  open - 2.0 s   S O, directory (R H Y L), V, S S
//!  open - 1.2 s   orders rest, I
//!  open - 0.2 s   opening cross (C with printable N, Q with O)
//!  open           S Q, continuous trading for as long as the session lasts, and all that
//!                 `agenda` has planned
//!  close          closing cross (Q with C), S M, S E, S C within one second
//! ```

use std::io;

use crate::agenda::{self, Debuts, Happening};
use crate::book::Side;
use crate::exchange::{Exchange, Out, State};
use crate::flow::Flow;
use crate::mood::{Mood, Spell};
use crate::pace::Pace;
use crate::random::{Random, Weighted};
use crate::symbols::{self, PARTICIPANTS};
use crate::truth::{SCHEMA, Truth};
use crate::wire::{self, Directory};
use crate::{OPEN_NS, Session};

const MS_NS: u64 = 1_000_000;

/// Simulates a session. `out` gets every message in order, with its time in nanoseconds since
/// midnight in New York (4 of the specification: times never go back).
///
/// # Errors
///
/// `InvalidInput` when `session` does not pass its `check`, and whatever `out` returns.
pub fn run(
    session: &Session,
    out: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<Truth> {
    session.check()?;
    let mut day = Day::new(session, out);
    day.morning()?;
    day.open()?;
    day.trade()?;
    day.close()?;
    let exchange = &mut day.flow.exchange;
    Ok(Truth {
        schema: SCHEMA.to_owned(),
        date: session.date.to_string(),
        seed: session.seed,
        messages: exchange.messages(),
        by_type: exchange.by_type(),
        lost: Vec::new(),
        lost_symbols: Vec::new(),
        symbols: exchange.symbol_truths(),
    })
}

struct Day<'a> {
    flow: Flow<'a>,
    close_ns: u64,
    rate: u32,
    debuts: Debuts,
    plan: Vec<(u64, Happening)>,
    activity: Weighted,
    /// Symbols that attract attention, and until when.
    hot: Vec<(usize, u64)>,
    random: Random,
}

impl<'a> Day<'a> {
    fn new(session: &Session, out: Out<'a>) -> Self {
        let stream = |index| Random::new(session.seed, index);
        let count = session.symbols as usize;
        let close_ns = OPEN_NS + u64::from(session.seconds) * 1000 * MS_NS;
        let stocks = symbols::list(count, &mut stream(1));
        let random = &mut stream(2);
        let moods = stocks
            .iter()
            .enumerate()
            .map(|(rank, stock)| Mood::new(stock, rank, random))
            .collect();
        let exchange = Exchange::new(stocks, stream(3), out);
        let closing_ns = close_ns - (close_ns - OPEN_NS) / 4;
        Self {
            flow: Flow {
                exchange,
                moods,
                random: stream(4),
                closing_ns,
            },
            close_ns,
            rate: session.rate,
            debuts: Debuts::new(count),
            plan: agenda::plan(count, OPEN_NS, close_ns, &mut stream(5)),
            activity: Weighted::new(&symbols::activity(count)),
            hot: Vec::new(),
            random: stream(6),
        }
    }

    fn symbols(&self) -> usize {
        self.flow.exchange.stocks.len()
    }

    /// Spreads `count` steps evenly over a phase, and moves the clock to step `index`.
    fn step(&mut self, from_ns: u64, length_ns: u64, index: usize, count: usize) {
        let each_ns = length_ns / count as u64;
        let jitter_ns = self.random.below(each_ns.max(1));
        self.flow
            .exchange
            .advance(from_ns + each_ns * index as u64 + jitter_ns);
    }

    fn event(&mut self, ts_ns: u64, letter: u8) -> io::Result<()> {
        let exchange = &mut self.flow.exchange;
        exchange.advance(ts_ns);
        exchange.publish(&wire::system_event(exchange.market_head(), letter))
    }

    fn morning(&mut self) -> io::Result<()> {
        self.event(OPEN_NS - 2000 * MS_NS, b'O')?;
        let mut by_locate: Vec<usize> = (0..self.symbols()).collect();
        by_locate.sort_by_key(|&symbol| self.flow.exchange.stocks[symbol].locate);
        for (index, &symbol) in by_locate.iter().enumerate() {
            self.step(OPEN_NS - 1990 * MS_NS, 380 * MS_NS, index, by_locate.len());
            self.introduce(symbol)?;
        }
        self.flow.exchange.advance(OPEN_NS - 1600 * MS_NS);
        // Of an index at 5,900: 7, 13 and 20 percent lower.
        let levels_e8 = [548_700_000_000, 513_300_000_000, 472_000_000_000];
        let exchange = &mut self.flow.exchange;
        exchange.publish(&wire::breaker_levels(exchange.market_head(), levels_e8))?;
        self.event(OPEN_NS - 1590 * MS_NS, b'S')
    }

    /// All that is said of a symbol before the day.
    fn introduce(&mut self, symbol: usize) -> io::Result<()> {
        let is_debut = self.debuts.has(symbol);
        let (exchange, random) = (&mut self.flow.exchange, &mut self.random);
        let stock = exchange.stocks[symbol].clone();
        let is_fund = !is_debut && random.chance(0.2);
        let directory = Directory {
            stock: stock.name,
            market: if is_debut { b'Q' } else { stock.market },
            round_lot: if stock.close_e4 > 2_500_000 { 40 } else { 100 },
            classification: if is_fund { b'Q' } else { b'C' },
            sub_type: if is_fund { *b"E " } else { *b"Z " },
            ipo: if self.debuts.offering == Some(symbol) {
                b'Y'
            } else {
                b'N'
            },
            tier: stock.tier,
            etp: if is_fund { b'Y' } else { b'N' },
        };
        exchange.publish(&wire::directory(exchange.head(symbol), &directory))?;
        let (state, reason) = if is_debut {
            (b'H', b"IPO1")
        } else {
            (b'T', b"    ")
        };
        if is_debut {
            exchange.states[symbol] = State::CancelOnly;
        }
        let head = exchange.head(symbol);
        exchange.publish(&wire::trading_action(head, &stock.name, state, reason))?;
        let restricted = if random.chance(0.02) { b'2' } else { b'0' };
        exchange.publish(&wire::short_sale(head, &stock.name, restricted))?;
        let makers = 1 + random.index(2);
        let first = random.index(PARTICIPANTS.len());
        for maker in 0..makers {
            let mpid = PARTICIPANTS[(first + maker) % PARTICIPANTS.len()];
            let primary = if maker == 0 { b'Y' } else { b'N' };
            exchange.publish(&wire::participant(head, mpid, &stock.name, primary))?;
        }
        Ok(())
    }

    fn open(&mut self) -> io::Result<()> {
        let mut symbols: Vec<usize> = (0..self.symbols())
            .filter(|&symbol| !self.debuts.has(symbol))
            .collect();
        self.random.shuffle(&mut symbols);
        const ROUNDS: usize = 24;
        let steps = ROUNDS * symbols.len();
        for round in 0..ROUNDS {
            for (index, &symbol) in symbols.iter().enumerate() {
                let step = round * symbols.len() + index;
                self.step(OPEN_NS - 1200 * MS_NS, 950 * MS_NS, step, steps);
                match round {
                    12 | 18 | 23 => self.flow.imbalance(symbol, b'O')?,
                    _ => self.flow.arrive(symbol)?,
                }
            }
        }
        for (index, &symbol) in symbols.iter().enumerate() {
            self.step(OPEN_NS - 200 * MS_NS, 180 * MS_NS, index, symbols.len());
            self.flow.cross(symbol, b'O')?;
            self.flow.exchange.states[symbol] = State::Trading;
        }
        self.event(OPEN_NS, b'Q')
    }

    fn trade(&mut self) -> io::Result<()> {
        let pace = Pace::new(OPEN_NS, self.close_ns, self.rate, &mut self.random);
        let plan = std::mem::take(&mut self.plan);
        let mut plan = plan.into_iter().peekable();
        loop {
            let before = self.flow.exchange.messages();
            let symbol = self.draw_symbol();
            self.flow.arrive(symbol)?;
            // An arrival at a halted symbol may say nothing, but takes its time too.
            let messages = (self.flow.exchange.messages() - before).max(1);
            let now_ns = self.flow.exchange.now_ns();
            let next_ns = now_ns + pace.gap_ns(now_ns, messages, &mut self.random);
            while let Some((at_ns, happening)) = plan.next_if(|&(at_ns, _)| at_ns <= next_ns) {
                self.flow.exchange.advance(at_ns);
                self.happen(happening)?;
            }
            if next_ns >= self.close_ns {
                return Ok(());
            }
            self.flow.exchange.advance(next_ns);
        }
    }

    fn draw_symbol(&mut self) -> usize {
        let place = self.random.index(40);
        match self.hot.get(place) {
            Some(&(symbol, until_ns)) => {
                if self.flow.exchange.now_ns() > until_ns {
                    self.hot.swap_remove(place);
                }
                symbol
            }
            None => self.activity.draw(&mut self.random),
        }
    }

    fn happen(&mut self, happening: Happening) -> io::Result<()> {
        let flow = &mut self.flow;
        let now_ns = flow.exchange.now_ns();
        match happening {
            Happening::Storm {
                symbol,
                until_ns,
                factor,
            } => {
                flow.moods[symbol].storm = Spell {
                    until_ns,
                    value: factor,
                };
                self.heat(symbol, until_ns);
            }
            Happening::Run {
                symbol,
                until_ns,
                per_second,
            } => {
                flow.moods[symbol].run = Spell {
                    until_ns,
                    value: per_second,
                };
                self.heat(symbol, until_ns);
            }
            Happening::Wide {
                symbol,
                until_ns,
                half,
            } => {
                flow.moods[symbol].wide = Spell {
                    until_ns,
                    value: half,
                };
                if flow.exchange.states[symbol] == State::Trading {
                    flow.stand_back(symbol)?;
                }
            }
            Happening::Halt { symbol } => {
                flow.exchange.states[symbol] = State::CancelOnly;
                self.act(symbol, b'H', b"T1  ")?;
            }
            Happening::Pause { symbol } => {
                flow.exchange.states[symbol] = State::Resting;
                self.act(symbol, b'P', b"LUDP")?;
                self.collar(symbol, 0)?;
            }
            Happening::Extend { symbol } => self.collar(symbol, 1)?,
            Happening::Quote { symbol, reason } => {
                flow.exchange.states[symbol] = State::Resting;
                self.act(symbol, b'Q', reason)?;
                self.gather(symbol)?;
            }
            Happening::Imbalance { symbol } => flow.imbalance(symbol, b'H')?,
            Happening::Resume { symbol } => {
                self.gather(symbol)?;
                self.flow.cross(symbol, b'H')?;
                self.act(symbol, b'T', b"    ")?;
                self.flow.exchange.states[symbol] = State::Trading;
            }
            Happening::Stop { symbol } => {
                flow.exchange.states[symbol] = State::CancelOnly;
                self.operational(symbol, b'H')?;
            }
            Happening::Start { symbol } => {
                flow.exchange.states[symbol] = State::Trading;
                self.operational(symbol, b'T')?;
            }
            Happening::Offering { symbol, release_ns } => {
                let release_s = (release_ns / (1000 * MS_NS)) as u32;
                let exchange = &mut flow.exchange;
                let stock = &exchange.stocks[symbol];
                let head = exchange.head(symbol);
                let message = wire::ipo_quoting(head, &stock.name, release_s, b'A', stock.close_e4);
                exchange.publish(&message)?;
            }
            Happening::DirectListing { symbol, eligible } => {
                let near_e4 = flow.moods[symbol].reference_e4();
                let exchange = &mut flow.exchange;
                let eligible = if eligible { b'Y' } else { b'N' };
                let head = exchange.head(symbol);
                let stock = &exchange.stocks[symbol].name;
                let message = wire::direct_listing(head, stock, eligible, near_e4, now_ns);
                exchange.publish(&message)?;
            }
            Happening::Break { symbol } => flow.exchange.break_last(symbol)?,
            Happening::Breach => {
                let exchange = &mut flow.exchange;
                exchange.publish(&wire::breaker_status(exchange.market_head(), b'1'))?;
            }
        }
        Ok(())
    }

    fn heat(&mut self, symbol: usize, until_ns: u64) {
        // A bound, so that at no time most of the market is about a few symbols.
        if self.hot.len() < 12 {
            self.hot.push((symbol, until_ns));
        }
    }

    /// Interest gathers before a cross, within a millisecond or so.
    fn gather(&mut self, symbol: usize) -> io::Result<()> {
        for _ in 0..16 {
            self.flow.arrive(symbol)?;
            let gap_ns = 20_000 + self.random.below(80_000);
            self.flow
                .exchange
                .advance(self.flow.exchange.now_ns() + gap_ns);
        }
        Ok(())
    }

    fn act(&mut self, symbol: usize, state: u8, reason: &[u8; 4]) -> io::Result<()> {
        let exchange = &mut self.flow.exchange;
        let stock = &exchange.stocks[symbol].name;
        let message = wire::trading_action(exchange.head(symbol), stock, state, reason);
        exchange.publish(&message)
    }

    fn collar(&mut self, symbol: usize, extension: u32) -> io::Result<()> {
        let exchange = &mut self.flow.exchange;
        let reference_e4 = exchange
            .last_e4(symbol)
            .or(exchange.books[symbol].best_price(Side::Buy))
            .unwrap_or(exchange.stocks[symbol].close_e4);
        let stock = &exchange.stocks[symbol].name;
        let message = wire::collar(exchange.head(symbol), stock, reference_e4, extension);
        exchange.publish(&message)
    }

    fn operational(&mut self, symbol: usize, action: u8) -> io::Result<()> {
        let exchange = &mut self.flow.exchange;
        let stock = &exchange.stocks[symbol].name;
        let message = wire::operational_halt(exchange.head(symbol), stock, b'Q', action);
        exchange.publish(&message)
    }

    fn close(&mut self) -> io::Result<()> {
        self.flow.exchange.advance(self.close_ns);
        let mut symbols: Vec<usize> = (0..self.symbols()).collect();
        self.random.shuffle(&mut symbols);
        for (index, &symbol) in symbols.iter().enumerate() {
            self.step(self.close_ns + MS_NS, 150 * MS_NS, index, symbols.len());
            self.flow.exchange.states[symbol] = State::Resting;
            self.flow.cross(symbol, b'C')?;
        }
        self.event(self.close_ns + 200 * MS_NS, b'M')?;
        self.event(self.close_ns + 600 * MS_NS, b'E')?;
        self.event(self.close_ns + 800 * MS_NS, b'C')
    }
}
