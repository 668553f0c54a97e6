//! From text to a program: words and signs, then what binds what, with the kind of each part.

use std::fmt;

use bus::{Price, Ts};

use super::{Condition, Field, Of, Op, STACK_MAX, Two, Value, event};

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.what)
    }
}

impl std::error::Error for ExprError {}

/// How deep parentheses, signs and `not` may stand in each other.
const NESTING_MAX: usize = 32;
/// How many characters a condition may have.
const TEXT_MAX: usize = 1_000;

impl Condition {
    /// Reads and checks a condition.
    pub fn parse(text: &str) -> Result<Condition, ExprError> {
        Condition::parse_among(text, &[])
    }

    /// The same, where there are models of these names, in this order: `model.NAME > 0.8`.
    pub fn parse_among(text: &str, models: &[&str]) -> Result<Condition, ExprError> {
        let (condition, symbol) = Condition::parse_placed(text, Some(models))?;
        match symbol {
            None => Ok(condition),
            Some((symbol, column)) => Err(ExprError {
                column,
                what: format!(
                    "names the symbol {symbol}; here a condition is about any, so leave it out"
                ),
            }),
        }
    }

    /// The same, of a condition whose fields may be those of one symbol: `AAPL.spread > 50bps`.
    pub fn parse_of_symbol(text: &str) -> Result<(Condition, Option<String>), ExprError> {
        let (condition, symbol) = Condition::parse_placed(text, None)?;
        Ok((condition, symbol.map(|(symbol, _)| symbol)))
    }

    /// With the symbol that it names, and where it first does.
    #[allow(clippy::type_complexity)]
    fn parse_placed(
        text: &str,
        models: Option<&[&str]>,
    ) -> Result<(Condition, Option<(String, usize)>), ExprError> {
        let (mut parser, symbol) = begin(text, Scope::Symbol, models)?;
        let whole = parser.or()?;
        let hold_ns = parser.hold()?;
        let end = parser.next();
        if end.token != Token::End {
            return Err(end.unexpected("`and`, `or`, `for` or the end"));
        }
        Ok((whole.condition(hold_ns)?, symbol))
    }
}

impl Value {
    /// Reads and checks a number: `(last - vwap) / vwap`.
    pub fn parse(text: &str) -> Result<Value, ExprError> {
        Value::parse_among(text, &[])
    }

    /// The same, where there are models of these names, in this order: `model.NAME`.
    pub fn parse_among(text: &str, models: &[&str]) -> Result<Value, ExprError> {
        let (mut parser, symbol) = begin(text, Scope::Symbol, Some(models))?;
        if let Some((symbol, column)) = symbol {
            let what = format!("names the symbol {symbol}; here it is any, so leave it out");
            return Err(ExprError { column, what });
        }
        let mut whole = parser.or()?;
        let end = parser.next();
        if end.token != Token::End {
            return Err(end.unexpected("an operator or the end"));
        }
        match whole.kind {
            Kind::Word(Words::Quoted) => {
                let what = format!("this is {}, want a number, like `imbalance`", whole.kind);
                let column = whole.column;
                return Err(ExprError { column, what });
            }
            PRICE => {
                let scale = Op::Number(Price::SCALE as f64);
                whole.ops.extend([scale, Op::Two(Two::Div)]);
            }
            Kind::Number(_) | Kind::Truth | Kind::Word(_) => {}
        }
        whole.fits()?;
        Ok(Value {
            ops: whole.ops.into(),
        })
    }
}

/// What a text is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// A symbol.
    Symbol,
    /// Events: there are patterns of them, and more to ask.
    Events,
}

/// The words of a text, and the symbol that it names with the place where it first does. Without
/// `models`, even an empty list, `model.` is in front of a field of a symbol of that name.
#[allow(clippy::type_complexity)]
pub(super) fn begin(
    text: &str,
    scope: Scope,
    models: Option<&[&str]>,
) -> Result<(Parser, Option<(String, usize)>), ExprError> {
    let length = text.chars().count();
    if length > TEXT_MAX {
        let what = format!("a condition of {length} characters, want at most {TEXT_MAX}");
        return Err(ExprError {
            column: TEXT_MAX + 1,
            what,
        });
    }
    let (tokens, symbols) = tokens(text, scope, models.is_some())?;
    let symbol = symbols.first().cloned();
    if let Some((first, _)) = &symbol
        && let Some((other, column)) = symbols.iter().find(|(other, _)| other != first)
    {
        return Err(ExprError {
            column: *column,
            what: format!("names the symbol {other} beside {first}, want one"),
        });
    }
    let parser = Parser {
        tokens,
        at: 0,
        nesting: 0,
        scope,
        models: models
            .into_iter()
            .flatten()
            .map(|name| name.to_string())
            .collect(),
        has_before: false,
    };
    Ok((parser, symbol))
}

/// What kind of thing a part of a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number(Unit),
    Truth,
    Word(Words),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A number in the text, which takes the unit of what it stands beside.
    Bare,
    Plain,
    Price,
    Qty,
    Bps,
    /// In nanoseconds.
    Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    Regime,
    Phase,
    /// In the order of [`bus::Side`].
    Side,
    /// In quotation marks, not yet compared with anything.
    Quoted,
}

impl Words {
    fn known(self) -> &'static [&'static str] {
        match self {
            Words::Regime => &["calm", "normal", "stressed"],
            Words::Phase => &["unknown", "trading", "halted", "quote-only"],
            Words::Side => &["none", "buy", "sell"],
            Words::Quoted => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Number(Unit::Bare | Unit::Plain) => "a plain number",
            Kind::Number(Unit::Price) => "a price",
            Kind::Number(Unit::Qty) => "a quantity",
            Kind::Number(Unit::Bps) => "basis points",
            Kind::Number(Unit::Time) => "a time",
            Kind::Truth => "true or false",
            Kind::Word(Words::Regime) => "a regime",
            Kind::Word(Words::Phase) => "a phase",
            Kind::Word(Words::Side) => "a side",
            Kind::Word(Words::Quoted) => "a word",
        })
    }
}

const PRICE: Kind = Kind::Number(Unit::Price);
const QTY: Kind = Kind::Number(Unit::Qty);
const PLAIN: Kind = Kind::Number(Unit::Plain);
const BPS: Kind = Kind::Number(Unit::Bps);

/// Every name that a condition may use.
const FIELDS: [(&str, Field, Kind); 21] = [
    ("bid", Field::Bid, PRICE),
    ("ask", Field::Ask, PRICE),
    ("bid_qty", Field::BidQty, QTY),
    ("ask_qty", Field::AskQty, QTY),
    ("mid", Field::Mid, PRICE),
    ("micro", Field::Micro, PRICE),
    ("spread", Field::Spread, PRICE),
    ("spread_bps", Field::SpreadBps, BPS),
    ("imbalance", Field::Imbalance, PLAIN),
    ("last", Field::Last, PRICE),
    ("last_qty", Field::LastQty, QTY),
    ("volume", Field::Volume, QTY),
    ("vwap", Field::Vwap, PRICE),
    ("high", Field::High, PRICE),
    ("low", Field::Low, PRICE),
    ("trades", Field::Trades, PLAIN),
    ("sigma_bps", Field::SigmaBps, BPS),
    ("regime", Field::Regime, Kind::Word(Words::Regime)),
    ("phase", Field::Phase, Kind::Word(Words::Phase)),
    ("stale", Field::Stale, Kind::Truth),
    ("spread_alert", Field::SpreadAlert, Kind::Truth),
];

/// The models that there are.
fn listed(models: &[String]) -> String {
    match models.is_empty() {
        true => ", nor any other".into(),
        false => format!("; there are {}", models.join(", ")),
    }
}

/// How many values stand on the stack at most.
fn depth_of(ops: &[Op]) -> usize {
    let (mut depth, mut most) = (0, 0);
    for op in ops {
        match op {
            Op::Number(_) | Op::Field(_) | Op::Event(..) | Op::Score(_) => depth += 1,
            Op::OfMid | Op::Neg | Op::Abs | Op::Not => {}
            Op::Two(_) => depth -= 1,
        }
        most = most.max(depth);
    }
    most
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A number and the letters that follow it without a space.
    Number(f64, String),
    Name(String),
    Quoted(String),
    Sign(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) column: usize,
}

impl Placed {
    pub(super) fn is(&self, sign: &str) -> bool {
        match &self.token {
            Token::Sign(found) => *found == sign,
            Token::Name(found) => found == sign,
            Token::Number(..) | Token::Quoted(_) | Token::End => false,
        }
    }

    pub(super) fn unexpected(&self, want: &str) -> ExprError {
        let found = match &self.token {
            Token::Number(number, unit) => format!("`{number}{unit}`"),
            Token::Name(name) => format!("`{name}`"),
            Token::Quoted(word) => format!("'{word}'"),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::End => "the end".into(),
        };
        ExprError {
            column: self.column,
            what: format!("found {found}, want {want}"),
        }
    }
}

fn ns_of(unit: &str) -> Option<f64> {
    match unit {
        "ns" => Some(1.0),
        "us" => Some(1e3),
        "ms" => Some(1e6),
        "s" => Some(1e9),
        "m" => Some(60e9),
        _ => None,
    }
}

/// Longer ones first.
const SIGNS: [&str; 13] = [
    "<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/", "(", ")", ",",
];

/// The tokens, and the symbols that fields were said to be of, with their columns.
#[allow(clippy::type_complexity)]
fn tokens(
    text: &str,
    scope: Scope,
    has_models: bool,
) -> Result<(Vec<Placed>, Vec<(String, usize)>), ExprError> {
    let letters: Vec<char> = text.chars().collect();
    let mut symbols = Vec::new();
    let mut tokens = Vec::new();
    let mut at = 0;
    let run = |from: usize, is_in: &dyn Fn(char) -> bool| {
        let length = letters[from..].iter().take_while(|c| is_in(**c)).count();
        (
            letters[from..from + length].iter().collect::<String>(),
            from + length,
        )
    };
    while let Some(&letter) = letters.get(at) {
        let column = at + 1;
        let fail = |what: String| Err(ExprError { column, what });
        let token = if letter.is_whitespace() {
            at += 1;
            continue;
        } else if letter.is_ascii_digit() || letter == '.' {
            let (digits, end) = run(at, &|c| c.is_ascii_digit() || c == '.');
            let (unit, end) = run(end, &|c| c.is_ascii_alphabetic());
            at = end;
            match digits.parse() {
                Ok(number) => Token::Number(number, unit),
                Err(_) => return fail(format!("`{digits}` is no number")),
            }
        } else if letter.is_ascii_alphabetic() {
            // A symbol may have points itself; the last one is before the field.
            let (name, end) = run(at, &|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
            at = end;
            match name.rsplit_once('.') {
                None => Token::Name(name),
                Some((symbol, "")) => {
                    return fail(format!(
                        "want a field behind `{symbol}.`, like `{symbol}.spread`"
                    ));
                }
                Some(("first" | "prev", _)) if scope == Scope::Events => Token::Name(name),
                Some(("model", _)) if has_models => Token::Name(name),
                Some((symbol, field)) => {
                    symbols.push((symbol.to_ascii_uppercase(), column));
                    Token::Name(field.to_string())
                }
            }
        } else if letter == '\'' || letter == '"' {
            let (word, end) = run(at + 1, &|c| c != letter);
            if end == letters.len() {
                return fail(format!("the word after {letter} has no end"));
            }
            at = end + 1;
            Token::Quoted(word)
        } else {
            let rest: String = letters[at..].iter().take(2).collect();
            let brackets = match scope {
                Scope::Symbol => &[][..],
                Scope::Events => &["[", "]", "|"],
            };
            let mut signs = SIGNS.iter().chain(brackets);
            let Some(sign) = signs.find(|sign| rest.starts_with(**sign)) else {
                return fail(format!("`{letter}` means nothing here"));
            };
            at += sign.len();
            Token::Sign(sign)
        };
        tokens.push(Placed { token, column });
    }
    tokens.push(Placed {
        token: Token::End,
        column: letters.len() + 1,
    });
    Ok((tokens, symbols))
}

/// A part of a condition, worked out.
pub(super) struct Part {
    ops: Vec<Op>,
    kind: Kind,
    /// Where it begins.
    column: usize,
    /// The word, if it is one in quotation marks.
    word: String,
}

impl Part {
    fn new(column: usize, kind: Kind, op: Op) -> Part {
        Part {
            ops: vec![op],
            kind,
            column,
            word: String::new(),
        }
    }

    /// As a condition.
    pub(super) fn condition(self, hold_ns: i64) -> Result<Condition, ExprError> {
        if self.kind != Kind::Truth {
            let what = format!(
                "this is {}, want a condition, like `spread > 5bps`",
                self.kind
            );
            let column = self.column;
            return Err(ExprError { column, what });
        }
        self.fits()?;
        Ok(Condition {
            ops: self.ops.into(),
            hold_ns,
        })
    }

    /// Whether there is room for all that waits while it is worked out.
    fn fits(&self) -> Result<(), ExprError> {
        let depth = depth_of(&self.ops);
        if depth <= STACK_MAX {
            return Ok(());
        }
        let what = format!("{depth} values wait for each other, want at most {STACK_MAX}");
        Err(ExprError {
            column: self.column,
            what,
        })
    }

    fn unit(&self) -> Option<Unit> {
        match self.kind {
            Kind::Number(unit) => Some(unit),
            Kind::Truth | Kind::Word(_) => None,
        }
    }

    /// In this unit, if it is a number in the text.
    fn take_unit(&mut self, unit: Unit) {
        let scale = Price::SCALE as f64;
        match (unit, &mut self.ops[..]) {
            // A price in the text is meant to the last digit.
            (Unit::Price, [Op::Number(number)]) => *number = (*number * scale).round(),
            (Unit::Price, _) => self.ops.extend([Op::Number(scale), Op::Two(Two::Mul)]),
            (Unit::Bare | Unit::Plain | Unit::Qty | Unit::Bps | Unit::Time, _) => {}
        }
        self.kind = Kind::Number(unit);
    }

    fn with(mut self, other: Part, two: Two, kind: Kind) -> Part {
        self.ops.extend(other.ops);
        self.ops.push(Op::Two(two));
        self.kind = kind;
        self
    }
}

pub(super) struct Parser {
    tokens: Vec<Placed>,
    at: usize,
    nesting: usize,
    scope: Scope,
    /// The names of those that may be asked for what they say.
    models: Vec<String>,
    /// Whether what is read is about an event behind another one of the match.
    pub(super) has_before: bool,
}

impl Parser {
    pub(super) fn peek(&self) -> &Placed {
        &self.tokens[self.at]
    }

    /// The last token, the end, stays.
    pub(super) fn next(&mut self) -> Placed {
        let placed = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        placed
    }

    pub(super) fn takes(&mut self, sign: &str) -> bool {
        let is_it = self.peek().is(sign);
        if is_it {
            self.next();
        }
        is_it
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), ExprError> {
        let placed = self.next();
        match placed.is(sign) {
            true => Ok(()),
            false => Err(placed.unexpected(&format!("`{sign}`"))),
        }
    }

    fn hold(&mut self) -> Result<i64, ExprError> {
        if !self.takes("for") {
            return Ok(0);
        }
        self.time()
    }

    /// A time of at most a day.
    pub(super) fn time(&mut self) -> Result<i64, ExprError> {
        let placed = self.next();
        if let Token::Number(number, unit) = &placed.token
            && let Some(unit_ns) = ns_of(unit)
            && number * unit_ns <= 86_400.0 * Ts::SECOND_NS as f64
        {
            return Ok((number * unit_ns).round() as i64);
        }
        Err(placed.unexpected("a time of at most a day, like `200ms`"))
    }

    pub(super) fn or(&mut self) -> Result<Part, ExprError> {
        let mut left = self.and()?;
        while self.takes("or") {
            let right = self.and()?;
            left = truths(left, right, Two::Or)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Part, ExprError> {
        let mut left = self.not()?;
        while self.takes("and") {
            let right = self.not()?;
            left = truths(left, right, Two::And)?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Part, ExprError> {
        let column = self.peek().column;
        if !self.takes("not") {
            return self.comparison();
        }
        self.deeper(column)?;
        let mut part = self.not()?;
        self.nesting -= 1;
        want_truth(&part)?;
        part.ops.push(Op::Not);
        Ok(part)
    }

    fn comparison(&mut self) -> Result<Part, ExprError> {
        let left = self.sum()?;
        let placed = self.peek().clone();
        let (two, is_turned) = match &placed.token {
            Token::Sign("<") => (Two::Less, false),
            Token::Sign("<=") => (Two::LessOrEqual, false),
            Token::Sign(">") => (Two::Less, true),
            Token::Sign(">=") => (Two::LessOrEqual, true),
            Token::Sign("==") => (Two::Equal, false),
            Token::Sign("!=") => (Two::NotEqual, false),
            Token::Sign(_) | Token::Name(_) | Token::Number(..) | Token::Quoted(_) | Token::End => {
                return Ok(left);
            }
        };
        self.next();
        let right = self.sum()?;
        let (left, right) = match (left.kind, right.kind) {
            (Kind::Number(_), Kind::Number(_)) => of_one_unit(left, right, placed.column)?,
            (Kind::Word(a), Kind::Word(b))
                if a == b && a != Words::Quoted && matches!(two, Two::Equal | Two::NotEqual) =>
            {
                (left, right)
            }
            (Kind::Word(_), Kind::Word(_)) if matches!(two, Two::Equal | Two::NotEqual) => {
                of_one_list(left, right)?
            }
            (a, b) => {
                let what = format!("{a} and {b} cannot be compared");
                return Err(ExprError {
                    column: placed.column,
                    what,
                });
            }
        };
        let (left, right) = if is_turned {
            (right, left)
        } else {
            (left, right)
        };
        let column = left.column.min(right.column);
        Ok(Part {
            column,
            ..left.with(right, two, Kind::Truth)
        })
    }

    fn sum(&mut self) -> Result<Part, ExprError> {
        let mut left = self.product()?;
        loop {
            let column = self.peek().column;
            let two = match () {
                () if self.takes("+") => Two::Add,
                () if self.takes("-") => Two::Sub,
                () => return Ok(left),
            };
            let right = self.product()?;
            let (a, b) = of_one_unit(left, right, column)?;
            let kind = a.kind;
            left = a.with(b, two, kind);
        }
    }

    fn product(&mut self) -> Result<Part, ExprError> {
        let mut left = self.signed()?;
        loop {
            let column = self.peek().column;
            let two = match () {
                () if self.takes("*") => Two::Mul,
                () if self.takes("/") => Two::Div,
                () => return Ok(left),
            };
            let right = self.signed()?;
            let unit = match (left.unit(), two, right.unit()) {
                (Some(Unit::Bare), _, Some(Unit::Bare)) => Unit::Bare,
                (Some(unit), _, Some(Unit::Bare | Unit::Plain)) if unit != Unit::Bare => unit,
                (Some(Unit::Bare | Unit::Plain), Two::Mul, Some(unit)) => unit,
                (Some(Unit::Bare), _, Some(Unit::Plain)) => Unit::Plain,
                (Some(a), Two::Div, Some(b)) if a == b => Unit::Plain,
                _ => {
                    let verb = if two == Two::Mul {
                        "multiplied with"
                    } else {
                        "divided by"
                    };
                    let what = format!("{} cannot be {verb} {}", left.kind, right.kind);
                    return Err(ExprError { column, what });
                }
            };
            left = left.with(right, two, Kind::Number(unit));
        }
    }

    fn signed(&mut self) -> Result<Part, ExprError> {
        let column = self.peek().column;
        if !self.takes("-") {
            return self.single();
        }
        self.deeper(column)?;
        let mut part = self.signed()?;
        self.nesting -= 1;
        want_number(&part)?;
        match &mut part.ops[..] {
            [Op::Number(number)] => *number = -*number,
            _ => part.ops.push(Op::Neg),
        }
        Ok(part)
    }

    fn single(&mut self) -> Result<Part, ExprError> {
        let placed = self.next();
        let column = placed.column;
        match &placed.token {
            Token::Number(number, unit) => {
                let kind = match unit.as_str() {
                    "" => Kind::Number(Unit::Bare),
                    "bps" => BPS,
                    unit if self.scope == Scope::Events && ns_of(unit).is_some() => {
                        let ns = number * ns_of(unit).expect("just seen");
                        let kind = Kind::Number(Unit::Time);
                        return Ok(Part::new(column, kind, Op::Number(ns.round())));
                    }
                    _ => {
                        let what = format!("`{number}{unit}`: unknown unit, want none or `bps`");
                        return Err(ExprError { column, what });
                    }
                };
                Ok(Part::new(column, kind, Op::Number(*number)))
            }
            Token::Quoted(word) => {
                let kind = Kind::Word(Words::Quoted);
                let part = Part::new(column, kind, Op::Number(f64::NAN));
                Ok(Part {
                    word: word.clone(),
                    ..part
                })
            }
            Token::Sign("(") => {
                self.deeper(column)?;
                let part = self.or()?;
                self.nesting -= 1;
                self.expect(")")?;
                Ok(part)
            }
            Token::Name(name) => self.named(column, name),
            Token::Sign(_) | Token::End => Err(placed.unexpected("a name or a number")),
        }
    }

    fn named(&mut self, column: usize, name: &str) -> Result<Part, ExprError> {
        if let Some((_, field, kind)) = FIELDS.iter().find(|(known, ..)| *known == name) {
            return Ok(Part::new(column, *kind, Op::Field(*field)));
        }
        if let Some(model) = name.strip_prefix("model.") {
            let Some(place) = self.models.iter().position(|known| known == model) else {
                let what = format!("there is no model `{model}` here{}", listed(&self.models));
                return Err(ExprError { column, what });
            };
            return Ok(Part::new(column, PLAIN, Op::Score(place as u8)));
        }
        if self.scope == Scope::Events
            && let Some((_, of, field, kind)) = event::FIELDS.iter().find(|known| known.0 == name)
        {
            if *of != Of::This && !self.has_before {
                let what = format!("`{name}` is not known at the first event of a match");
                return Err(ExprError { column, what });
            }
            return Ok(Part::new(column, *kind, Op::Event(*of, *field)));
        }
        let two = match name {
            "abs" => None,
            "min" => Some(Two::Min),
            "max" => Some(Two::Max),
            _ => {
                let mut names: Vec<&str> = FIELDS.iter().map(|(name, ..)| *name).collect();
                if self.scope == Scope::Events {
                    names.extend(event::FIELDS.iter().map(|(name, ..)| *name));
                }
                let what = format!("`{name}` is not known; there are {}", names.join(", "));
                return Err(ExprError { column, what });
            }
        };
        self.expect("(")?;
        self.deeper(column)?;
        let mut part = self.sum()?;
        want_number(&part)?;
        match two {
            None => part.ops.push(Op::Abs),
            Some(two) => {
                self.expect(",")?;
                let right = self.sum()?;
                let (a, b) = of_one_unit(part, right, column)?;
                let kind = a.kind;
                part = a.with(b, two, kind);
            }
        }
        self.nesting -= 1;
        self.expect(")")?;
        Ok(Part { column, ..part })
    }

    fn deeper(&mut self, column: usize) -> Result<(), ExprError> {
        self.nesting += 1;
        match self.nesting <= NESTING_MAX {
            true => Ok(()),
            false => Err(ExprError {
                column,
                what: format!("nested deeper than {NESTING_MAX}"),
            }),
        }
    }
}

fn want_truth(part: &Part) -> Result<(), ExprError> {
    match part.kind {
        Kind::Truth => Ok(()),
        kind => Err(ExprError {
            column: part.column,
            what: format!("this is {kind}, want true or false, as a comparison says"),
        }),
    }
}

fn want_number(part: &Part) -> Result<(), ExprError> {
    match part.unit() {
        Some(_) => Ok(()),
        None => Err(ExprError {
            column: part.column,
            what: format!("this is {}, want a number", part.kind),
        }),
    }
}

fn truths(left: Part, right: Part, two: Two) -> Result<Part, ExprError> {
    want_truth(&left)?;
    want_truth(&right)?;
    Ok(left.with(right, two, Kind::Truth))
}

/// Both numbers in one unit, where that is sensible.
fn of_one_unit(mut a: Part, mut b: Part, column: usize) -> Result<(Part, Part), ExprError> {
    want_number(&a)?;
    want_number(&b)?;
    match (a.unit(), b.unit()) {
        (one, other) if one == other => {}
        (Some(Unit::Bare), Some(Unit::Time)) | (Some(Unit::Time), Some(Unit::Bare)) => {
            let what = "a time and a plain number do not go together; want one like `50ms`".into();
            return Err(ExprError { column, what });
        }
        (Some(Unit::Bare), Some(unit)) => a.take_unit(unit),
        (Some(unit), Some(Unit::Bare)) => b.take_unit(unit),
        (Some(Unit::Price), Some(Unit::Bps)) => a.of_mid(),
        (Some(Unit::Bps), Some(Unit::Price)) => b.of_mid(),
        _ => {
            let what = format!("{} and {} do not go together", a.kind, b.kind);
            return Err(ExprError { column, what });
        }
    }
    Ok((a, b))
}

impl Part {
    fn of_mid(&mut self) {
        self.ops.push(Op::OfMid);
        self.kind = BPS;
    }
}

/// A field of words and a word that it knows.
fn of_one_list(a: Part, b: Part) -> Result<(Part, Part), ExprError> {
    let (field, mut quoted) = match (a.kind, b.kind) {
        (_, Kind::Word(Words::Quoted)) => (a, b),
        _ => (b, a),
    };
    let known = match field.kind {
        Kind::Word(words) => words.known(),
        Kind::Number(_) | Kind::Truth => &[],
    };
    match known.iter().position(|word| *word == quoted.word) {
        Some(place) if quoted.kind == Kind::Word(Words::Quoted) => {
            quoted.ops = vec![Op::Number(place as f64)];
            Ok((field, quoted))
        }
        _ if known.is_empty() || quoted.word.is_empty() => Err(ExprError {
            column: quoted.column,
            what: "want a name and a word, like `regime == 'stressed'`".into(),
        }),
        _ => Err(ExprError {
            column: quoted.column,
            what: format!(
                "{} is never '{}', but {}",
                field.kind,
                quoted.word,
                known.join(", ")
            ),
        }),
    }
}
