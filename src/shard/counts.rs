//! What a shard counts.

use bus::signal::{Outcome, Sent};
use bus::state::{Part, StateError, StateReader, StateWriter};
use bus::{Signal, SignalKind};

/// What a shard counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounts {
    /// Events taken from the ring.
    pub events: u64,
    /// Signals of each kind, by `SignalKind as usize - 0x80`; those of rules, monitors and patterns apart.
    pub signals: [u64; ShardCounts::RULES + 1],
    /// Orders handed to the peer.
    pub sent: u64,
    /// Orders held back by the kill flag.
    pub killed: u64,
    /// Orders sent again after a crash, flagged as possible repeats.
    pub resent: u64,
    /// Turns in which the log had no room.
    pub log_full: u64,
}

impl ShardCounts {
    /// From here on, kinds that there were not at first.
    const LATER: usize = SignalKind::Join.index();
    /// Where alerts of rules, monitors and patterns are counted, which are of one kind with those of the spread monitor: behind
    /// all kinds.
    pub(crate) const RULES: usize = SignalKind::COUNT;

    /// Counts a signal.
    #[inline]
    pub(crate) fn concluded(&mut self, signal: &Signal) {
        let index = match (signal.kind, signal.rule) {
            (SignalKind::Spread, 1..) => ShardCounts::RULES,
            (kind, _) => kind.index(),
        };
        self.signals[index] += 1;
    }

    pub(crate) fn said(&mut self, sent: &Sent) {
        match sent.outcome {
            Outcome::Sent => self.sent += 1,
            Outcome::Killed => self.killed += 1,
            Outcome::Failed | Outcome::Cancelled | Outcome::Refused => {}
        }
    }

    /// Saves what lasts beyond a restart.
    pub(crate) fn save(&self, out: &mut StateWriter<'_>) {
        out.u64(self.events);
        let (first, later) = self.signals.split_at(ShardCounts::LATER);
        first.iter().for_each(|count| out.u64(*count));
        out.u64(self.signals[ShardCounts::RULES]);
        if out.version(Part::Orders) >= 2 {
            let later = &later[..SignalKind::COUNT - ShardCounts::LATER];
            later.iter().for_each(|count| out.u64(*count));
        }
        out.u64(self.sent);
        out.u64(self.killed);
        out.u64(self.resent);
    }

    /// As it was when it was saved.
    pub(crate) fn load(from: &mut StateReader<'_>) -> Result<ShardCounts, StateError> {
        let mut counts = ShardCounts {
            events: from.u64()?,
            ..ShardCounts::default()
        };
        for count in &mut counts.signals[..ShardCounts::LATER] {
            *count = from.u64()?;
        }
        counts.signals[ShardCounts::RULES] = from.u64()?;
        if from.version(Part::Orders) >= 2 {
            for count in &mut counts.signals[ShardCounts::LATER..SignalKind::COUNT] {
                *count = from.u64()?;
            }
        }
        (counts.sent, counts.killed, counts.resent) = (from.u64()?, from.u64()?, from.u64()?);
        Ok(counts)
    }

    /// Adds the counts of `other`.
    pub(crate) fn merge(&mut self, other: &ShardCounts) {
        self.events += other.events;
        for (mine, theirs) in self.signals.iter_mut().zip(other.signals) {
            *mine += theirs;
        }
        self.sent += other.sent;
        self.killed += other.killed;
        self.resent += other.resent;
        self.log_full += other.log_full;
    }
}
