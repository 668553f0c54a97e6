//! What conditions of patterns may ask of an event, beside what rules may ask of its symbol.

use super::parse::{Kind, Unit, Words};

/// Of which event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// The one that is looked at.
    This,
    /// The first of the match.
    First,
    /// The one before it in the match.
    Previous,
}

/// What of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventField {
    Price,
    Qty,
    Side,
    /// How far behind the best price of its own side: 0 at it, below 0 where it improves it.
    Away,
    /// How old the order is that it is about.
    Age,
    /// Whether it changed best prices or their sizes.
    Moves,
    Mid,
    /// Since the first of the match, and since the one before.
    Elapsed,
    Gap,
}

const PRICE: Kind = Kind::Number(Unit::Price);
const QTY: Kind = Kind::Number(Unit::Qty);
const TIME: Kind = Kind::Number(Unit::Time);
const SIDE: Kind = Kind::Word(Words::Side);

/// Every name, and whether there must be an event of the match before.
pub(super) const FIELDS: [(&str, Of, EventField, Kind); 16] = [
    ("price", Of::This, EventField::Price, PRICE),
    ("qty", Of::This, EventField::Qty, QTY),
    ("side", Of::This, EventField::Side, SIDE),
    ("away", Of::This, EventField::Away, PRICE),
    ("age", Of::This, EventField::Age, TIME),
    ("moves", Of::This, EventField::Moves, Kind::Truth),
    ("first.price", Of::First, EventField::Price, PRICE),
    ("first.qty", Of::First, EventField::Qty, QTY),
    ("first.side", Of::First, EventField::Side, SIDE),
    ("first.mid", Of::First, EventField::Mid, PRICE),
    ("prev.price", Of::Previous, EventField::Price, PRICE),
    ("prev.qty", Of::Previous, EventField::Qty, QTY),
    ("prev.side", Of::Previous, EventField::Side, SIDE),
    ("prev.mid", Of::Previous, EventField::Mid, PRICE),
    ("elapsed", Of::First, EventField::Elapsed, TIME),
    ("gap", Of::Previous, EventField::Gap, TIME),
];
