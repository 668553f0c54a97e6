//! From text to a pattern of events: steps, what may not be between them, and for how long.
//!
//! ```text
//! pattern = step { link step } [ "then" "not" event "for" time ] "within" time
//! link    = "next" | "then" [ "not" event "then" ]
//! step    = event [ "times" number [ "without" event ] ]
//! event   = kind { "|" kind } [ "[" condition "]" ]
//! ```

use super::parse::{ExprError, Parser, Placed, Scope, Token, begin};
use super::{Asked, Condition};

/// What one step or guard looks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Test {
    /// The kinds of events that it takes, a bit for each; see [`KINDS`].
    pub(crate) kinds: u8,
    condition: Option<Condition>,
}

impl Test {
    /// Whether an event of this kind is one.
    #[inline]
    pub(crate) fn holds(&self, kind: u8, asked: &impl Asked) -> bool {
        self.kinds & kind != 0
            && match &self.condition {
                None => true,
                Some(condition) => condition.holds_of(asked),
            }
    }
}

/// Kinds of events, as patterns tell them apart.
pub(crate) const KINDS: [(&str, u8); 7] = [
    ("add", ADD),
    ("cancel", CANCEL),
    ("replace", REPLACE),
    ("trade", TRADE),
    ("cross", CROSS),
    ("status", STATUS),
    ("any", ADD | CANCEL | REPLACE | TRADE | CROSS | STATUS),
];
pub(crate) const ADD: u8 = 1;
pub(crate) const CANCEL: u8 = 2;
pub(crate) const REPLACE: u8 = 4;
pub(crate) const TRADE: u8 = 8;
pub(crate) const CROSS: u8 = 16;
pub(crate) const STATUS: u8 = 32;

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) test: Test,
    /// How often at least; 1 where nothing is said.
    pub(crate) times: u16,
    /// Whether no other event may come between the step before and this one.
    pub(crate) is_next: bool,
    /// What may not come between the step before and the first event of this one.
    pub(crate) not_before: Option<Test>,
    /// What may not come between the events of this one.
    pub(crate) without: Option<Test>,
}

/// A pattern of events, ready to be looked for. [`Pattern::parse`] makes it of text.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    pub(crate) steps: Box<[Step]>,
    /// What may not come for so long after the last step.
    pub(crate) absence: Option<(Test, i64)>,
    /// The last step's last event comes less than this after the first step's first.
    pub(crate) within_ns: i64,
    /// All kinds that any part of it asks for; all of them where one step must be `next`.
    pub(crate) kinds: u8,
}

impl Pattern {
    /// More are refused.
    pub const STEPS_MAX: usize = 16;
    /// A step is at most so many times.
    pub const TIMES_MAX: u16 = 4_096;

    /// Reads and checks a pattern.
    pub fn parse(text: &str) -> Result<Pattern, ExprError> {
        let (mut parser, symbol) = begin(text, Scope::Events, None)?;
        if let Some((symbol, column)) = symbol {
            let what =
                format!("names the symbol {symbol}; a pattern is about any, so leave it out");
            return Err(ExprError { column, what });
        }
        let mut steps = vec![parser.step(false, None)?];
        parser.has_before = true;
        let mut absence = None;
        loop {
            let placed = parser.next();
            let is_next = placed.is("next");
            if placed.is("within") {
                break;
            }
            if !is_next && !placed.is("then") {
                return Err(placed.unexpected("`then`, `next` or `within`"));
            }
            if absence.is_some() {
                return Err(
                    placed.unexpected("`within`: what comes after an absence is not looked for")
                );
            }
            let mut not_before = None;
            if !is_next && parser.takes("not") {
                let test = parser.test()?;
                if parser.takes("for") {
                    absence = Some((test, parser.time_above_zero()?));
                    continue;
                }
                parser.expect("then")?;
                not_before = Some(test);
            }
            if steps.len() == Pattern::STEPS_MAX {
                let what = format!("more than {} steps", Pattern::STEPS_MAX);
                let column = placed.column;
                return Err(ExprError { column, what });
            }
            steps.push(parser.step(is_next, not_before)?);
        }
        let within_ns = parser.time_above_zero()?;
        let end = parser.next();
        if end.token != Token::End {
            return Err(end.unexpected("the end"));
        }
        let mut kinds = 0;
        for step in &steps {
            let guards = step.not_before.iter().chain(&step.without);
            kinds |= guards.fold(step.test.kinds, |kinds, test| kinds | test.kinds);
            if step.is_next {
                kinds = u8::MAX;
            }
        }
        kinds |= absence.as_ref().map_or(0, |(test, _)| test.kinds);
        Ok(Pattern {
            steps: steps.into(),
            absence,
            within_ns,
            kinds,
        })
    }
}

impl Parser {
    fn step(&mut self, is_next: bool, not_before: Option<Test>) -> Result<Step, ExprError> {
        let test = self.test()?;
        let (mut times, mut without) = (1, None);
        if self.takes("times") {
            let placed = self.next();
            times = whole(&placed)?;
            if self.peek().is("without") {
                let column = self.next().column;
                if times == 1 {
                    let what =
                        "`without` is about what comes between several, want `times 2` or more";
                    return Err(ExprError {
                        column,
                        what: what.into(),
                    });
                }
                without = Some(self.test()?);
            }
        }
        Ok(Step {
            test,
            times,
            is_next,
            not_before,
            without,
        })
    }

    fn test(&mut self) -> Result<Test, ExprError> {
        let mut kinds = 0;
        loop {
            let placed = self.next();
            let known = KINDS.iter().find(|(name, _)| placed.is(name));
            let Some((_, kind)) = known else {
                let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
                return Err(placed.unexpected(&format!("one of {}", names.join(", "))));
            };
            kinds |= kind;
            if !self.takes("|") {
                break;
            }
        }
        let mut condition = None;
        if self.takes("[") {
            condition = Some(self.or()?.condition(0)?);
            self.expect("]")?;
        }
        Ok(Test { kinds, condition })
    }

    fn time_above_zero(&mut self) -> Result<i64, ExprError> {
        let column = self.peek().column;
        let ns = self.time()?;
        match ns > 0 {
            true => Ok(ns),
            false => Err(ExprError {
                column,
                what: "want a time above 0".into(),
            }),
        }
    }
}

fn whole(placed: &Placed) -> Result<u16, ExprError> {
    if let Token::Number(number, unit) = &placed.token
        && unit.is_empty()
        && number.fract() == 0.0
        && (1.0..=f64::from(Pattern::TIMES_MAX)).contains(number)
    {
        return Ok(*number as u16);
    }
    let max = Pattern::TIMES_MAX;
    Err(placed.unexpected(&format!("a whole number from 1 to {max}")))
}
