//! Declared windows against a twin that keeps every trade and quote, and for each window that is said
//! sorts those that are in it and sums them up. What the twin is asked is written as it would be
//! defined, window by window: it knows no panes.
//!
//! `twin` is that, `held` compares, `streams` are random ones and `by_hand` are short ones with what they say in
//! words.

mod by_hand;
mod held;
mod streams;
mod twin;

use std::collections::BTreeMap;

use analytics::{Aggregate, DeclaredConfig, Intents, Policy, Shape, SuiteConfig, Suites};
use analytics::{Bps, HmmConfig, Limit, Measure, ModelConfig, ModelKind, MonitorConfig, Watch};
use bus::signal::{AdjustReason, Body, Window, WindowFlow, WindowStanding};
use bus::state::{StateReader, StateWriter, Versions};
use bus::{Applied, Event, Fill, Kind, Outbox, Phase, Price, Qty, Quote, Side, Signal, Ts};

use crate::script::MIDNIGHT;
use crate::streams::Random;

const MILLI: i64 = 1_000_000;
const CENT: i64 = Price::SCALE / 100;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Trade {
        ts: i64,
        price: i64,
        qty: i64,
        side: Side,
        is_cross: bool,
        number: u64,
    },
    Quote(i64, Quote),
    Break(i64, u64),
    Gap,
    Tick(i64),
    End,
}

/// A run of one symbol's steps, among steps of others.
struct Run {
    suites: Suites,
    out: Outbox,
    intents: Intents,
    quotes: Vec<Quote>,
    said: Vec<Signal>,
}

impl Run {
    fn new(config: &SuiteConfig) -> Run {
        Run {
            suites: Suites::new(config.clone()),
            out: Outbox::new(),
            intents: Intents::new(),
            quotes: vec![Quote::EMPTY; config.symbols_max + 1],
            said: Vec::new(),
        }
    }

    /// Numbered by its place, so that what is said tells at which step.
    fn step(&mut self, index: usize, symbol: u32, step: &Step) {
        let said = &mut self.said;
        let take = |out: &mut Outbox| {
            said.extend_from_slice(out.signals());
            out.clear();
        };
        let out = &mut self.out;
        let mut event = Event {
            symbol,
            seq: index as u64,
            ..Event::new(Kind::Trade)
        };
        let mut applied = Applied::NOTHING;
        match *step {
            Step::Tick(ts) => return self.suites.on_watermark(Ts(ts), event.seq, out, take),
            Step::End => return self.suites.finish(event.seq, out, take),
            Step::Gap => return self.suites.on_gap(),
            Step::Trade {
                ts,
                price,
                qty,
                side,
                is_cross,
                number,
            } => {
                event.ts_event = Ts(ts);
                event.order_b = number;
                if is_cross {
                    event.kind = Kind::Cross;
                }
                applied.fill = Fill {
                    price: Price(price),
                    qty: Qty(qty),
                    aggressor: side,
                };
            }
            Step::Quote(ts, quote) => {
                event.kind = Kind::Add;
                event.ts_event = Ts(ts);
                applied.quote_changed = true;
                self.quotes[symbol as usize] = quote;
            }
            Step::Break(ts, number) => {
                event.kind = Kind::Break;
                event.ts_event = Ts(ts);
                event.order_b = number;
            }
        }
        out.at(event.ts_event, event.seq, symbol);
        let quote = &self.quotes[symbol as usize];
        let intents = &mut self.intents;
        let phase = Phase::Trading;
        self.suites
            .on_event(&event, &applied, quote, phase, false, out, intents);
        let mut take = take;
        take(out);
        intents.clear();
    }

    fn reload(&mut self, config: &SuiteConfig) {
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
        self.suites.save_shared(&mut out);
        for symbol in 0..=config.symbols_max {
            self.suites.save(symbol as u32, &mut out);
        }
        out.finish().unwrap();
        let mut suites = Suites::new(config.clone());
        let mut from = StateReader::new(&bytes, Versions::NEWEST);
        suites.load_shared(&mut from).unwrap();
        for symbol in 0..=config.symbols_max {
            suites.load(symbol as u32, &mut from).unwrap();
        }
        from.end().unwrap();
        self.suites = suites;
    }
}

/// A window as it was said.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Said {
    step: usize,
    end: i64,
    window: Window,
    flow: Option<WindowFlow>,
    standing: Option<WindowStanding>,
}

/// What one rule said: windows, late trades (step and price), adjustments (start, end, count, reason).
#[derive(Debug, Default)]
struct Told {
    windows: Vec<Said>,
    lates: Vec<(usize, i64)>,
    adjusts: Vec<(usize, i64, i64, u32, AdjustReason)>,
}

fn told(signals: &[Signal], symbol: u32, rule: u8) -> Told {
    let mut told = Told::default();
    let of = |signal: &&Signal| signal.symbol == symbol && signal.rule == rule;
    for signal in signals.iter().filter(of) {
        let (step, end) = (signal.seq as usize, signal.ts_event.0);
        match signal.body().expect("a body") {
            Body::Window(window) => told.windows.push(Said {
                step,
                end,
                window,
                flow: None,
                standing: None,
            }),
            Body::WindowFlow(flow) => {
                let said = told.windows.last_mut().expect("the window before it");
                assert_eq!((said.step, said.end), (step, end));
                assert!(said.flow.replace(flow).is_none());
            }
            Body::WindowStanding(standing) => {
                let said = told.windows.last_mut().expect("the window before it");
                assert_eq!((said.step, said.end), (step, end));
                assert!(said.standing.replace(standing).is_none());
            }
            Body::Late(late) => told.lates.push((step, late.price.0)),
            Body::Adjust(x) => {
                told.adjusts
                    .push((step, x.start.0, end, x.window_count, x.reason));
            }
            _ => {}
        }
    }
    told
}

impl Run {
    fn go_on(&mut self, visits_max: usize) {
        let said = &mut self.said;
        self.suites.go_on(visits_max, &mut self.out, |out| {
            said.extend_from_slice(out.signals());
            out.clear();
        });
    }

    fn settle(&mut self, symbol: u32, all: bool) {
        match all {
            true => self.go_on(usize::MAX),
            false => {
                if self.suites.settle(symbol, &mut self.out) {
                    self.said.extend_from_slice(self.out.signals());
                    self.out.clear();
                }
            }
        }
    }
}
