//! What a strategy wants to do, before the risk gate.

use bus::signal::Tif;
use bus::{Price, Qty, Quote, Side};

/// An order that a strategy wants to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Which strategy, as in its signals.
    pub rule: u8,
    /// Buy or sell.
    pub side: Side,
    /// Limit price.
    pub price: Price,
    /// Shares.
    pub qty: Qty,
    /// The quote it was decided on.
    pub quote: Quote,
    /// The last trade; no price before the first.
    pub last: Price,
    /// How long it may stand.
    pub tif: Tif,
    /// Leaves with an order of the same strategy in another symbol, or not at all.
    pub is_leg: bool,
}

/// The intents of one symbol at one event, in the order of the strategies.
#[derive(Debug)]
pub struct Intents {
    list: Vec<Intent>,
}

impl Intents {
    /// As many as all rules and strategies together want at one event.
    pub const COUNT_MAX: usize = 19;

    /// An empty list; allocates once.
    pub fn new() -> Intents {
        Intents {
            list: Vec::with_capacity(Self::COUNT_MAX),
        }
    }

    /// Adds one.
    pub fn push(&mut self, intent: Intent) {
        assert!(
            self.list.len() < Self::COUNT_MAX,
            "an event caused too many intents"
        );
        self.list.push(intent);
    }

    /// Whether nothing is wanted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What is wanted, in order.
    #[inline]
    pub fn as_slice(&self) -> &[Intent] {
        &self.list
    }

    /// One after another, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Intent> {
        self.list.iter()
    }

    /// Forgets what was wanted.
    #[inline]
    pub fn clear(&mut self) {
        self.list.clear();
    }
}

impl<'a> IntoIterator for &'a Intents {
    type Item = &'a Intent;
    type IntoIter = std::slice::Iter<'a, Intent>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Default for Intents {
    fn default() -> Intents {
        Intents::new()
    }
}
