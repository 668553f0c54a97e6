//! Conditions on a symbol's view, as text: checked once, then a short program without branches.
//!
//! ```text
//! spread_bps > 5 and regime == 'stressed' for 200ms
//! spread > 50bps or (last - vwap) / vwap < -0.002
//! not stale and imbalance >= 0.6 and ask_qty < 300
//! ```
//!
//! `condition = or ["for" time]`, with `or`, `and`, `not`, comparisons (`<` `<=` `>` `>=` `==` `!=`),
//! `+ -`, `* /`, a sign, `abs(x)`, `min(x, y)`, `max(x, y)` and parentheses, binding in this order, the
//! last ones tightest. Numbers have the unit of what they are compared with or added to, and what does
//! not go together, as a price and a quantity, is refused. A price beside basis points (`50bps`) is
//! taken as a share of the mid.
//!
//! Where one symbol is meant and not any, [`Condition::parse_of_symbol`] takes its name in front of the
//! fields: `AAPL.spread > 50bps`.
//!
//! What is not known (no ask, no trade yet) makes what is concluded of it unknown, as in SQL: `unknown
//! or true` is true, `not unknown` is unknown, and a condition that is unknown does not hold.
//!
//! Prices are whole numbers below 2^53 units in a float, so that they are added and compared exactly.

mod event;
mod parse;
pub(crate) mod pattern;
#[cfg(test)]
mod tests;

use bus::{Phase, Price};

use crate::number::micro;
use crate::view::View;

pub(crate) use event::{EventField, Of};
pub use parse::ExprError;

/// A condition, ready to be asked. [`Condition::parse`] makes it of text.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    ops: Box<[Op]>,
    hold_ns: i64,
}

/// A number that is worked out of a symbol's view. [`Value::parse`] makes it of text.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    ops: Box<[Op]>,
}

/// How many values may wait while one is worked out.
const STACK_MAX: usize = 16;

/// One step of the program, which takes its operands from a stack and leaves its result there. Truth
/// is 1 or 0, and what is unknown is not a number.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Number(f64),
    Field(Field),
    /// Of an event, in conditions of patterns.
    Event(Of, EventField),
    /// What a model says of the symbol, by the model's place.
    Score(u8),
    /// From a price to basis points of the mid.
    OfMid,
    Neg,
    Abs,
    Not,
    Two(Two),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Two {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    And,
    Or,
}

/// What a program asks for its fields.
pub(crate) trait Asked {
    /// What is known of the symbol.
    fn view(&self) -> &View;
    /// What is known of an event; not a number where that is nothing.
    fn event(&self, of: Of, field: EventField) -> f64;
    /// What a model said last; not a number where it said nothing, or there is none.
    fn score(&self, _model: usize) -> f64 {
        f64::NAN
    }
}

/// What is known of a symbol, with what models say of it, in the order of the models.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) view: &'a View,
    pub(crate) scores: &'a [f64],
}

impl Asked for Known<'_> {
    fn view(&self) -> &View {
        self.view
    }

    /// There is none: only patterns name events.
    fn event(&self, _: Of, _: EventField) -> f64 {
        f64::NAN
    }

    fn score(&self, model: usize) -> f64 {
        self.scores.get(model).copied().unwrap_or(f64::NAN)
    }
}

impl Asked for View {
    fn view(&self) -> &View {
        self
    }

    /// There is none: only patterns name events.
    fn event(&self, _: Of, _: EventField) -> f64 {
        f64::NAN
    }
}

/// What can be asked of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Bid,
    Ask,
    BidQty,
    AskQty,
    Mid,
    Micro,
    Spread,
    SpreadBps,
    Imbalance,
    Last,
    LastQty,
    Volume,
    Vwap,
    High,
    Low,
    Trades,
    SigmaBps,
    Regime,
    Phase,
    Stale,
    SpreadAlert,
}

impl Condition {
    /// For how long it must hold; 0 for a moment.
    pub fn hold_ns(&self) -> i64 {
        self.hold_ns
    }

    /// Whether it holds now.
    pub fn holds(&self, view: &View) -> bool {
        run(&self.ops, view) == 1.0
    }

    /// Whether it holds of what is asked, as of an event.
    pub(crate) fn holds_of(&self, asked: &impl Asked) -> bool {
        run(&self.ops, asked) == 1.0
    }
}

impl Value {
    /// What it is now: prices in units of the currency, truth as 1 or 0, regimes and phases as their
    /// place in the list of their words; not a number where that is not known.
    pub fn of(&self, view: &View) -> f64 {
        run(&self.ops, view)
    }

    /// The same, where models say something too.
    pub(crate) fn of_known(&self, known: &Known<'_>) -> f64 {
        run(&self.ops, known)
    }
}

/// Works out a program.
#[inline]
fn run(ops: &[Op], asked: &impl Asked) -> f64 {
    let mut stack = [0.0; STACK_MAX];
    let mut top = 0;
    for op in ops {
        match *op {
            Op::Number(number) => {
                stack[top] = number;
                top += 1;
            }
            Op::Field(field) => {
                stack[top] = field.of(asked.view());
                top += 1;
            }
            Op::Event(of, field) => {
                stack[top] = asked.event(of, field);
                top += 1;
            }
            Op::Score(model) => {
                stack[top] = asked.score(model.into());
                top += 1;
            }
            Op::OfMid => stack[top - 1] *= 10_000.0 / Field::Mid.of(asked.view()),
            Op::Neg => stack[top - 1] = -stack[top - 1],
            Op::Abs => stack[top - 1] = stack[top - 1].abs(),
            Op::Not => stack[top - 1] = 1.0 - stack[top - 1],
            Op::Two(two) => {
                top -= 1;
                stack[top - 1] = two.of(stack[top - 1], stack[top]);
            }
        }
    }
    stack[0]
}

impl Two {
    #[inline]
    fn of(self, a: f64, b: f64) -> f64 {
        let told = |truth: bool| match a.is_nan() || b.is_nan() {
            true => f64::NAN,
            false => f64::from(u8::from(truth)),
        };
        match self {
            Two::Add => a + b,
            Two::Sub => a - b,
            Two::Mul => a * b,
            Two::Div => a / b,
            // `f64::min` would take the known one of two.
            Two::Min if a.is_nan() || b.is_nan() => f64::NAN,
            Two::Max if a.is_nan() || b.is_nan() => f64::NAN,
            Two::Min => a.min(b),
            Two::Max => a.max(b),
            Two::Less => told(a < b),
            Two::LessOrEqual => told(a <= b),
            Two::Equal => told(a == b),
            Two::NotEqual => told(a != b),
            Two::And if a == 0.0 || b == 0.0 => 0.0,
            Two::Or if a == 1.0 || b == 1.0 => 1.0,
            // Either one is unknown, or both are what one of them is.
            Two::And => a * b,
            Two::Or => a + b,
        }
    }
}

impl Field {
    #[inline]
    fn of(self, view: &View) -> f64 {
        let price = |price: Price| match price.is_some() {
            true => price.0 as f64,
            false => f64::NAN,
        };
        let quote = &view.quote;
        let truth = |truth: bool| f64::from(u8::from(truth));
        match self {
            Field::Bid => price(quote.bid),
            Field::Ask => price(quote.ask),
            Field::BidQty => quote.bid_qty.0 as f64,
            Field::AskQty => quote.ask_qty.0 as f64,
            Field::Mid => (price(quote.bid) + price(quote.ask)) / 2.0,
            Field::Micro if quote.bid.is_some() && quote.ask.is_some() => price(micro(quote)),
            Field::Micro => f64::NAN,
            Field::Spread => price(quote.ask) - price(quote.bid),
            Field::SpreadBps => {
                let (bid, ask) = (price(quote.bid), price(quote.ask));
                (ask - bid) * 20_000.0 / (ask + bid)
            }
            Field::Imbalance => {
                // Without orders on either side there is nothing to compare.
                let (bid, ask) = (quote.bid_qty.0 as f64, quote.ask_qty.0 as f64);
                (bid - ask) / (bid + ask)
            }
            Field::Last => price(view.last_price),
            Field::LastQty if view.last_price.is_some() => view.last_qty.0 as f64,
            Field::LastQty => f64::NAN,
            Field::Volume => view.volume.0 as f64,
            Field::Vwap => view.notional.0 as f64 / view.volume.0 as f64,
            Field::High => price(view.high),
            Field::Low => price(view.low),
            Field::Trades => f64::from(view.trade_count),
            Field::SigmaBps if view.regime_known => view.sigma_bps,
            Field::Regime if view.regime_known => f64::from(view.regime as u8),
            Field::SigmaBps | Field::Regime => f64::NAN,
            Field::Phase => f64::from(match view.phase {
                Phase::Unknown => 0,
                Phase::Trading => 1,
                Phase::Halted => 2,
                Phase::QuoteOnly => 3,
            }),
            Field::Stale => truth(view.stale),
            Field::SpreadAlert => truth(view.spread_alert),
        }
    }
}
