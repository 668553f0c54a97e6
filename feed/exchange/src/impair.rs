//! What happens to a packet on its way: lost, doubled, or overtaken by later ones.

use crate::capture::CaptureOptions;
use crate::random::Random;

/// Whether each line delivers a packet.
pub(crate) struct Loss {
    loss: [f64; 2],
    /// Message sequence numbers whose packets both lines lose; the next one is last.
    drop_both: Vec<u64>,
    random: Random,
}

impl Loss {
    pub(crate) fn new(options: &CaptureOptions) -> Self {
        let mut drop_both = options.drop_both.clone();
        drop_both.sort_unstable_by(|a, b| b.cmp(a));
        let random = Random::new(options.seed, 100);
        Self {
            loss: [options.loss_a, options.loss_b],
            drop_both,
            random,
        }
    }

    /// Draws for the packet with messages `first` up to, not including, `end`.
    pub(crate) fn draw(&mut self, first: u64, end: u64) -> [bool; 2] {
        let [a, b] = self.loss.map(|probability| self.random.chance(probability));
        let mut is_dropped = false;
        while self
            .drop_both
            .last()
            .is_some_and(|&sequence| sequence < end)
        {
            is_dropped |= self.drop_both.pop() >= Some(first);
        }
        // Two independent lines would now and then lose the same packet. A test must know when
        // that happens, so that it happens only when asked for: otherwise B delivers.
        [a || is_dropped, (b && !a) || is_dropped]
    }
}

/// The order in which one line delivers, and how often. Frames that later ones overtake wait
/// here.
pub(crate) struct Reorder {
    packets_max: u32,
    share: f64,
    duplicate: f64,
    random: Random,
    /// Packets sent on this line so far.
    sent: u64,
    /// Displaced packets, and the packet after which each is delivered.
    held: Vec<(u64, Vec<u8>)>,
}

/// How a packet leaves the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Once,
    Twice,
    /// After so many later packets of its line.
    Displaced(u64),
}

impl Reorder {
    pub(crate) fn new(options: &CaptureOptions, line: u64) -> Self {
        Self {
            packets_max: options.reorder,
            share: options.reorder_share,
            duplicate: options.duplicate,
            random: Random::new(options.seed, 101 + line),
            sent: 0,
            held: Vec::new(),
        }
    }

    /// Draws for the next packet of the line.
    pub(crate) fn draw(&mut self) -> Way {
        self.sent += 1;
        let is_displaced = self.random.chance(self.share) && self.packets_max > 0;
        let by = 1 + self.random.below(u64::from(self.packets_max));
        let is_doubled = self.random.chance(self.duplicate);
        match (is_displaced, is_doubled) {
            (true, _) => Way::Displaced(by),
            (false, true) => Way::Twice,
            (false, false) => Way::Once,
        }
    }

    pub(crate) fn hold(&mut self, by: u64, frame: Vec<u8>) {
        self.held.push((self.sent + by, frame));
    }

    /// A packet that was held until now, or any that is held when the session is over.
    pub(crate) fn release(&mut self, is_over: bool) -> Option<Vec<u8>> {
        let due = self
            .held
            .iter()
            .position(|&(after, _)| after <= self.sent || is_over)?;
        Some(self.held.remove(due).1)
    }
}
