//! A small language for tests: a script of what happens, and the lines that must be said.
//!
//! ```text
//! trade 09:30:00.100 10.00 x100          a print; `buy` or `sell` says who took, `bad-time` at the
//!                                        end flags its time
//! quote 09:30:00.100 10.00x300 10.02x100 bid and ask; `-` for a side that is missing
//! halt 09:30:01                          also: `resume`, `quote-only`
//! stale 09:30:01                         the book may be wrong; no event at all
//! break 09:30:01 17                      the print with this match number
//! watermark 09:30:02
//! end
//! #2 trade ...                           of symbol 2 instead of 1
//! ```

use std::fmt::Write;

use analytics::{Intents, SuiteConfig, Suites};
use bus::signal::{Body, Fate, LateReason, Report, Tif};
use bus::{Applied, Event, Fill, Flags, Kind, Outbox, Phase, Price, Qty, Quote, Side, Signal, Ts};

/// Runs `script` under the standard configuration.
#[track_caller]
pub(crate) fn check(script: &str, expected: &str) {
    check_with(|_| {}, script, expected);
}

/// Runs `script` under the standard configuration, changed.
#[track_caller]
pub(crate) fn check_with(change: impl FnOnce(&mut SuiteConfig), script: &str, expected: &str) {
    let mut config = SuiteConfig::standard(8);
    change(&mut config);
    let said = Script::new(config).run(script);
    let lines = |text: &str| -> String {
        let lines = text
            .lines()
            .map(|line| line.split("//").next().unwrap().trim());
        lines
            .filter(|line| !line.is_empty())
            .fold(String::new(), |all, line| all + line + "\n")
    };
    assert_eq!(lines(&said), lines(expected), "\nscript:\n{script}");
}

pub(crate) struct Script {
    config: SuiteConfig,
    suites: Suites,
    out: Outbox,
    intents: Intents,
    /// By symbol.
    states: [(Quote, Phase, bool); 9],
    seq: u64,
    said: String,
}

impl Script {
    pub(crate) fn new(config: SuiteConfig) -> Script {
        Script {
            suites: Suites::new(config.clone()),
            config,
            out: Outbox::new(),
            intents: Intents::new(),
            states: [(Quote::EMPTY, Phase::Trading, false); 9],
            seq: 0,
            said: String::new(),
        }
    }

    pub(crate) fn run(&mut self, script: &str) -> String {
        for line in script.lines() {
            let line = line.split("//").next().unwrap().trim();
            if !line.is_empty() {
                self.line(line);
            }
        }
        std::mem::take(&mut self.said)
    }

    fn line(&mut self, line: &str) {
        let mut words = line.split_whitespace().peekable();
        let symbol = words.next_if(|word| word.starts_with('#'));
        let symbol: u32 = symbol.map_or(1, |word| word[1..].parse().expect("a symbol's number"));
        let verb = words.next().expect("a verb");
        self.seq += 1;
        if verb == "end" {
            let Script {
                suites,
                out,
                intents,
                said,
                config,
                seq,
                ..
            } = self;
            suites.finish(*seq, out, |out| tell(config, out, intents, said));
            return;
        }
        let ts = time(words.next().expect("a time"));
        if verb == "watermark" {
            let Script {
                suites,
                out,
                intents,
                said,
                config,
                seq,
                ..
            } = self;
            suites.on_watermark(ts, *seq, out, |out| tell(config, out, intents, said));
            return;
        }
        if verb == "report" {
            let mut next = || words.next().expect("FATE SIDE PRICE QTY LEFT");
            let fate = match next() {
                "fill" => Fate::Fill,
                "expired" => Fate::Expired,
                other => panic!("no fate: {other}"),
            };
            let side = if next() == "buy" {
                Side::Buy
            } else {
                Side::Sell
            };
            let limit = price(next());
            let mut qty = || Qty(next().parse().expect("a quantity"));
            let report = Report {
                order_seq: self.seq,
                order_ordinal: 0,
                fate,
                side,
                reason: None,
                price: limit,
                qty: qty(),
                filled: Qty(0),
                left: qty(),
                ahead: Qty(0),
                limit,
            };
            return self.suites.on_report(symbol, 1, &report);
        }
        let state = &mut self.states[symbol as usize];
        let mut event = Event {
            ts_event: ts,
            seq: self.seq,
            symbol,
            ..Event::new(Kind::Nothing)
        };
        let mut applied = Applied::NOTHING;
        match verb {
            "trade" => {
                event.kind = Kind::Trade;
                let fill_price = price(words.next().expect("a price"));
                let qty = words
                    .next()
                    .and_then(|word| word.strip_prefix('x'))
                    .expect("xQTY");
                let qty = Qty(qty.parse().expect("a quantity"));
                applied.fill = Fill {
                    price: fill_price,
                    qty,
                    aggressor: Side::None,
                };
                for (word, side) in [("buy", Side::Buy), ("sell", Side::Sell)] {
                    if words.next_if_eq(&word).is_some() {
                        applied.fill.aggressor = side;
                    }
                }
                if words.next_if_eq(&"bad-time").is_some() {
                    event.flags = Flags::BAD_TS;
                }
            }
            "quote" => {
                event.kind = Kind::Add;
                applied.quote_changed = true;
                let (bid, bid_qty) = level(words.next().expect("a bid"));
                let (ask, ask_qty) = level(words.next().expect("an ask"));
                state.0 = Quote {
                    bid,
                    ask,
                    bid_qty,
                    ask_qty,
                };
            }
            "halt" | "resume" | "quote-only" => {
                event.kind = Kind::Status;
                state.1 = match verb {
                    "halt" => Phase::Halted,
                    "resume" => Phase::Trading,
                    _ => Phase::QuoteOnly,
                };
            }
            "stale" => {
                state.2 = true;
                return self.suites.on_gap();
            }
            "break" => {
                event.kind = Kind::Break;
                event.order_b = words
                    .next()
                    .expect("a match number")
                    .parse()
                    .expect("a number");
            }
            other => panic!("{other} is not a verb"),
        }
        assert_eq!(words.next(), None, "too many words: {line}");
        let (quote, phase, stale) = *state;
        let Script {
            suites,
            out,
            intents,
            ..
        } = self;
        out.at(ts, self.seq, symbol);
        suites.on_event(&event, &applied, &quote, phase, stale, out, intents);
        tell(&self.config, out, intents, &mut self.said);
    }
}

/// Writes down what is in `out` and `intents`, and clears them.
fn tell(config: &SuiteConfig, out: &mut Outbox, intents: &mut Intents, said: &mut String) {
    for signal in out.signals() {
        if signal.symbol != 1 {
            write!(said, "#{} ", signal.symbol).unwrap();
        }
        *said += &text(config, signal);
        said.push('\n');
    }
    for intent in intents.iter() {
        let side = side_name(intent.side);
        write!(said, "want {side} {} at {}", intent.qty, intent.price).unwrap();
        if let Tif::Till(end) = intent.tif {
            write!(said, " until {}", clock(end)).unwrap();
        }
        said.push('\n');
    }
    out.clear();
    intents.clear();
}

fn text(config: &SuiteConfig, signal: &Signal) -> String {
    let at = clock(signal.ts_event);
    let window = || {
        let plain = config.windows.iter().map(|window| &window.name);
        let declared = config.declared.iter().map(|window| &window.name);
        let mut names = plain.chain(declared);
        names.nth(signal.rule.into()).expect("a window")
    };
    match signal.body().expect("a body") {
        Body::Window(x) => {
            let vwap = x.notional.per(x.volume).expect("trades");
            let late = match x.late_count {
                0 => String::new(),
                count => format!(" late {count}"),
            };
            let more = match (x.revision, x.is_final) {
                (0, true) => String::new(),
                (count, false) => format!(" revision {count}"),
                (count, true) => format!(" revision {count} final"),
            };
            format!(
                "{} {} vwap {vwap} qty {}{late}{more}",
                window(),
                clock(x.start),
                x.volume
            )
        }
        Body::Late(x) => match x.reason {
            LateReason::Closed => {
                let late_ms = x.late_ns as f64 / 1e6;
                format!("late {} {} x{} by {late_ms}ms", window(), x.price, x.qty)
            }
            LateReason::Future => format!("bad-time {} x{}", x.price, x.qty),
        },
        Body::Spread(x) => {
            let what = if x.raised { "raised" } else { "cleared" };
            let rule = usize::from(signal.rule).checked_sub(1);
            let rules = config.rules.iter().map(|rule| &rule.name);
            let monitors = config.monitors.iter().map(|monitor| &monitor.name);
            let mut names = rules.chain(monitors);
            let name = rule.map_or("spread", |place| names.nth(place).expect("a name"));
            format!(
                "{name} {what} {at} {:.2}bps since {}",
                x.bps,
                clock(x.since)
            )
        }
        Body::Regime(x) => format!("regime {at} {} to {}", x.from.name(), x.to.name()),
        Body::Momentum(x) => format!(
            "momentum {at} {} {:.2}bps imbalance {:.2}",
            side_name(x.side),
            x.move_bps,
            x.imbalance
        ),
        Body::Broken(x) => format!("broken {}", x.match_number),
        Body::Features(x) => {
            let values = &x.values[..x.count as usize];
            format!("features {at} {} from {}: {values:?}", signal.rule, x.first)
        }
        Body::WindowFlow(_)
        | Body::WindowStanding(_)
        | Body::Report(_)
        | Body::Join(_)
        | Body::Best(_) => {
            panic!("no script asks for it: {signal:?}")
        }
        Body::Adjust(x) => format!(
            "adjust {} {} to {at} {} x{}: {} {}",
            window(),
            clock(x.start),
            x.price,
            x.qty,
            x.window_count,
            x.reason.name()
        ),
        Body::Order(_) | Body::Reject(_) | Body::Sent(_) | Body::Digest(_) => {
            panic!("not said by analytics: {signal:?}")
        }
    }
}

fn side_name(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
        Side::None => "nothing",
    }
}

/// Midnight of a day in January 2026.
pub(crate) const MIDNIGHT: Ts = Ts(1_767_571_200_000_000_000);

pub(crate) fn time(text: &str) -> Ts {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = clock
        .split(':')
        .fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap());
    let fraction: i64 = format!("{fraction:0<9}").parse().expect("digits");
    MIDNIGHT.plus_ns(seconds * Ts::SECOND_NS + fraction)
}

fn clock(ts: Ts) -> String {
    let ns = ts.since(MIDNIGHT);
    let (s, rest) = (ns / Ts::SECOND_NS, ns % Ts::SECOND_NS);
    let mut text = format!("{:02}:{:02}:{:02}.{rest:09}", s / 3600, s / 60 % 60, s % 60);
    while text.ends_with('0') && text.contains('.') {
        text.pop();
    }
    text.trim_end_matches('.').to_string()
}

pub(crate) fn price(text: &str) -> Price {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction: i64 = format!("{fraction:0<9}").parse().expect("digits");
    Price(whole.parse::<i64>().expect("a price") * Price::SCALE + fraction)
}

fn level(text: &str) -> (Price, Qty) {
    if text == "-" {
        return (Price::NONE, Qty(0));
    }
    let (at, qty) = text.split_once('x').expect("PRICExQTY");
    (price(at), Qty(qty.parse().expect("a quantity")))
}
