//! Joins of streams: trades with the quote that stood before them, two streams within a time of each
//! other, and trades or quotes with a table of what held when. `analytics/JOINS.md` has formulas and
//! parameters.
//!
//! ```text
//!               left waits until no earlier event is expected      rows wait for their symbol's visit
//! left  ──────► │ l l l l │ ──┐
//!               right, by time ├─► for each l, in the order of times, what it meets ──► │ row row │ ──►
//! right ──────► │ r r r r │ ──┘
//! ```
//!
//! What a join says depends on the times of its records and not on when they came, as far as they came
//! before the watermark. It says it at a tick, in the name of the left symbol. Since the visits of a tick go on
//! beside later events, a pair is brought up to the tick before either of its symbols adds to it: what it
//! then says waits for the left symbol's visit.
//!
//! Start with [`JoinConfig`]; `pair` is one pair of streams, `record` what streams are made of, and `table`
//! what held when.

mod pair;
mod record;
mod table;

use bus::signal::{Join, Met};
use bus::state::{StateError, StateReader, StateWriter};
use bus::{Body, Flags, Outbox, Ts};

pub use record::Stream;
pub use table::Table;

use crate::suite::Moment;
use crate::view::View;
use pair::Pair;
use record::Record;

/// A join that the configuration declares.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinConfig {
    /// For people.
    pub name: String,
    /// What a left record meets.
    pub kind: JoinKind,
    /// Which records of the left symbols.
    pub left: Stream,
    /// The left symbols' names, with spaces behind.
    pub symbols: Vec<[u8; 8]>,
    /// Whether a left record that meets nothing has a row too.
    pub unmatched: bool,
}

/// What a left record at time `t` meets.
#[derive(Clone, Debug, PartialEq)]
pub enum JoinKind {
    /// The latest right record before it, at `t - tolerance_ns` or later.
    AsOf {
        /// The other stream.
        right: Right,
        /// How old it may be; `i64::MAX` for however old.
        tolerance_ns: i64,
    },
    /// All right records from `t - before_ns` to `t + after_ns`, both included.
    Interval {
        /// The other stream.
        right: Right,
        #[allow(missing_docs)]
        before_ns: i64,
        #[allow(missing_docs)]
        after_ns: i64,
        /// The first so many of them.
        rows_max: usize,
    },
    /// The latest row of its symbol in a table that is valid from `t` or before it.
    Temporal {
        /// By the left symbols' places in [`JoinConfig::symbols`].
        table: Table,
    },
}

/// The right stream of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// Which records.
    pub stream: Stream,
    /// The symbol's name, with spaces behind, on the shard of all left ones; `None` for each left symbol
    /// itself.
    pub symbol: Option<[u8; 8]>,
    /// How many records are kept of each side. A left record beyond them is dropped, and of right ones
    /// the oldest.
    pub keep: usize,
}

impl JoinConfig {
    /// At most so many joins.
    pub const COUNT_MAX: usize = 8;
    /// At most so many pairs of symbols, of all joins.
    pub const PAIRS_MAX: usize = 4_096;
    /// At most so many rows of a pair are said with one tick.
    pub const ROWS_AT_TICK_MAX: usize = 256;
    /// Bounds of [`Right::keep`].
    pub const KEEP: std::ops::RangeInclusive<usize> = 16..=65_536;
    /// Bounds of `rows_max`.
    pub const ROWS: std::ops::RangeInclusive<usize> = 1..=128;

    /// What is wrong with these, if anything.
    pub fn problem(all: &[JoinConfig]) -> Option<String> {
        let (count, max) = (all.len(), Self::COUNT_MAX);
        if count > max {
            return Some(format!("{count} joins, want at most {max}"));
        }
        let pairs: usize = all.iter().map(|join| join.symbols.len()).sum();
        let max = Self::PAIRS_MAX;
        if pairs > max {
            return Some(format!("joins have {pairs} symbols, want at most {max}"));
        }
        all.iter().find_map(|join| {
            let what = join.problem_of_one()?;
            Some(format!("joins.{}.{what}", join.name))
        })
    }

    fn problem_of_one(&self) -> Option<String> {
        if self.symbols.is_empty() {
            return Some("symbols: there are none, want one at least".into());
        }
        let mut sorted = self.symbols.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|two| two[0] == two[1]) {
            return Some("symbols: one of them is there twice".into());
        }
        let (right, tolerance_ns) = match &self.kind {
            JoinKind::AsOf {
                right,
                tolerance_ns,
            } => (right, *tolerance_ns),
            JoinKind::Interval {
                right,
                before_ns,
                after_ns,
                rows_max,
            } => {
                if !Self::ROWS.contains(rows_max) {
                    let (least, most) = (Self::ROWS.start(), Self::ROWS.end());
                    return Some(format!("rows_max is {rows_max}, want {least} to {most}"));
                }
                (right, (*before_ns).min(*after_ns))
            }
            JoinKind::Temporal { table } => {
                assert_eq!(table.symbol_count(), self.symbols.len());
                return None;
            }
        };
        if tolerance_ns < 0 {
            return Some("tolerance, before and after must not be below zero".into());
        }
        if !Self::KEEP.contains(&right.keep) {
            let (least, most) = (Self::KEEP.start(), Self::KEEP.end());
            return Some(format!("keep is {}, want {least} to {most}", right.keep));
        }
        None
    }
}

/// What joins counted, of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinCounts {
    /// Left records that met nothing.
    pub unmatched: u64,
    /// Records whose time the watermark had passed when they came, or that is not to be believed: left
    /// ones and right trades count in no row.
    pub late: u64,
    /// Records that were one too many of their side.
    pub dropped: u64,
    /// Right records beyond the most that one left record may meet.
    pub beyond: u64,
}

impl JoinCounts {
    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &JoinCounts) {
        self.unmatched += other.unmatched;
        self.late += other.late;
        self.dropped += other.dropped;
        self.beyond += other.beyond;
    }

    fn save(&self, out: &mut StateWriter<'_>) {
        for count in [self.unmatched, self.late, self.dropped, self.beyond] {
            out.u64(count);
        }
    }

    fn load(from: &mut StateReader<'_>) -> Result<JoinCounts, StateError> {
        Ok(JoinCounts {
            unmatched: from.u64()?,
            late: from.u64()?,
            dropped: from.u64()?,
            beyond: from.u64()?,
        })
    }
}

/// Which of its two sides a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// A symbol's part in a pair, and the next one of the same symbol.
#[derive(Clone, Copy, Debug)]
struct Link {
    pair: u32,
    side: Side,
    /// A place in `links` plus one; 0 for none.
    next: u32,
}

/// The joins of one shard.
#[derive(Debug)]
pub(crate) struct Joins {
    pairs: Vec<Pair>,
    /// By symbol number: a place in `links` plus one, or 0.
    heads: Vec<u32>,
    links: Vec<Link>,
    /// The numbers of the symbols, by their places in the suite.
    numbers: Vec<u32>,
}

impl Joins {
    /// Memory for all of it, reserved.
    pub(crate) fn new(configs: &[JoinConfig], symbol_count: usize) -> Joins {
        assert_eq!(JoinConfig::problem(configs), None);
        let mut pairs = Vec::new();
        for (rule, config) in configs.iter().enumerate() {
            for (index, name) in config.symbols.iter().enumerate() {
                pairs.push(Pair::new(rule as u8, config, index, *name));
            }
        }
        Joins {
            heads: vec![0; symbol_count],
            links: Vec::with_capacity(2 * pairs.len()),
            numbers: Vec::with_capacity(symbol_count),
            pairs,
        }
    }

    /// What a symbol takes beside what its pairs do.
    pub(crate) fn bytes_per_symbol(&self) -> usize {
        2 * size_of::<u32>()
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> JoinCounts {
        let mut counts = JoinCounts::default();
        self.pairs
            .iter()
            .for_each(|pair| counts.merge(&pair.counts));
        counts
    }

    /// One more symbol, at the next place.
    pub(crate) fn appear(&mut self, number: u32) {
        self.numbers.push(number);
    }

    /// The name of a symbol is said. The first number with a name has it.
    #[cold]
    pub(crate) fn on_member(&mut self, symbol: u32, name: [u8; 8]) {
        for index in 0..self.pairs.len() {
            let pair = &mut self.pairs[index];
            if pair.left_name == name && pair.left_symbol == 0 {
                pair.left_symbol = symbol;
                self.link(symbol, index, Side::Left);
            }
            let pair = &mut self.pairs[index];
            if pair.right_name == Some(name) && pair.right_symbol == 0 {
                pair.right_symbol = symbol;
                self.link(symbol, index, Side::Right);
            }
        }
    }

    /// Behind the symbol's other parts, so that they stay in the order of the settings.
    fn link(&mut self, symbol: u32, pair: usize, side: Side) {
        let link = Link {
            pair: pair as u32,
            side,
            next: 0,
        };
        self.links.push(link);
        let at = self.links.len() as u32;
        match self.parts(symbol).last() {
            None => self.heads[symbol as usize] = at,
            Some((last, _)) => self.links[last].next = at,
        }
    }

    /// A symbol's parts, and where each stands in `links`.
    fn parts(&self, symbol: u32) -> impl Iterator<Item = (usize, Link)> + '_ {
        let mut next = self.heads[symbol as usize];
        std::iter::from_fn(move || {
            let at = (next as usize).checked_sub(1)?;
            let link = self.links[at];
            next = link.next;
            Some((at, link))
        })
    }

    /// When the symbol at this place has something to say.
    #[inline]
    pub(crate) fn due(&self, place: usize) -> Ts {
        let parts = self.parts(self.numbers[place]);
        let left = parts.filter(|(_, link)| link.side == Side::Left);
        let due = left.map(|(_, link)| self.pairs[link.pair as usize].due());
        due.min().unwrap_or(Ts::MAX)
    }

    /// What happened to a symbol.
    #[inline]
    pub(crate) fn on_event(&mut self, moment: &Moment<'_>, view: &View, out: &mut Outbox) {
        if self.heads[moment.event.symbol as usize] != 0 {
            self.take(moment, view, out);
        }
    }

    fn take(&mut self, moment: &Moment<'_>, view: &View, out: &mut Outbox) {
        let event = moment.event;
        let trade = (moment.applied.fill.qty.0 > 0).then(|| Record::trade(event, moment.applied));
        let quote = Record::quote(event, view);
        let known = quote.is_known.then_some(view.quote);
        let is_bad = event.flags.has(Flags::BAD_TS);
        let mut next = self.heads[event.symbol as usize];
        while let Some(at) = (next as usize).checked_sub(1) {
            let Link {
                pair,
                side,
                next: following,
            } = self.links[at];
            next = following;
            let pair = &mut self.pairs[pair as usize];
            pair.advance(moment.watermark);
            let (stream, latest) = match side {
                Side::Left => (pair.left_stream, &mut pair.left_quote),
                Side::Right => (pair.right_stream, &mut pair.right_quote),
            };
            // Of an event of several parts each may change the quote, and all together not.
            let is_other = std::mem::replace(latest, known) != known;
            let record = match stream {
                Stream::Trades => trade,
                Stream::Quotes => is_other.then_some(quote),
            };
            let Some(record) = record else { continue };
            if is_bad && stream == Stream::Trades {
                pair.counts.late += 1;
                continue;
            }
            match side {
                Side::Left => pair.push_left(record, moment.watermark, out),
                Side::Right => pair.push_right(record, moment.watermark),
            }
        }
    }

    /// Messages are lost: what the quotes of this symbol are, is not known.
    #[cold]
    pub(crate) fn on_gap(&mut self, symbol: u32, watermark: Ts) {
        let mut next = self.heads[symbol as usize];
        while let Some(at) = (next as usize).checked_sub(1) {
            let link = self.links[at];
            next = link.next;
            let pair = &mut self.pairs[link.pair as usize];
            match link.side {
                Side::Left => pair.left_quote = None,
                Side::Right => {
                    pair.advance(watermark);
                    pair.lose(watermark);
                }
            }
        }
    }

    /// Time has come to `watermark`: says what the symbol at this place has to say, as far as it fits.
    pub(crate) fn on_watermark(&mut self, place: usize, watermark: Ts, out: &mut Outbox) {
        let mut next = self.heads[self.numbers[place] as usize];
        while let Some(at) = (next as usize).checked_sub(1) {
            let link = self.links[at];
            next = link.next;
            if link.side == Side::Left {
                let pair = &mut self.pairs[link.pair as usize];
                pair.advance(watermark);
                pair.say(out);
            }
        }
    }

    /// Whether the symbol at this place has more to say than fitted, at the end of the input.
    pub(crate) fn has_more(&self, place: usize) -> bool {
        let mut parts = self.parts(self.numbers[place]);
        parts.any(|(_, link)| {
            link.side == Side::Left && !self.pairs[link.pair as usize].is_at_rest()
        })
    }

    /// Saves all pairs of which a symbol is known.
    pub(crate) fn save(&self, out: &mut StateWriter<'_>) {
        self.pairs.iter().for_each(|pair| pair.save(out));
    }

    /// Loads what is of symbols to keep. The names of these were said before.
    pub(crate) fn load(
        &mut self,
        from: &mut StateReader<'_>,
        keep: &impl Fn(u32) -> bool,
    ) -> Result<(), StateError> {
        self.pairs
            .iter_mut()
            .try_for_each(|pair| pair.load(from, keep))
    }
}

/// A row.
fn row(left: &Record, right: Met) -> Body {
    Body::Join(Join {
        left_seq: left.seq,
        left: left.value,
        right,
    })
}
