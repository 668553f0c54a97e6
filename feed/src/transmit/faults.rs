//! What happens to packets on one line: lost, doubled, overtaken. The same seed and the same packets
//! give the same faults, whatever the pace.

use std::io;

/// The share of packets that are overtaken, where any are.
const OVERTAKEN: f64 = 0.05;

/// How bad a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaultRule {
    /// Share of packets lost.
    pub loss: f64,
    /// Share of packets that come twice.
    pub duplicate: f64,
    /// By how many packets one in twenty is overtaken, at most.
    pub reorder: u32,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Packets that left.
    pub sent: u64,
    /// Packets that did not.
    pub lost: u64,
    /// Packets that left twice.
    pub doubled: u64,
    /// Packets that left behind later ones.
    pub overtaken: u64,
}

/// One line.
#[derive(Debug)]
pub struct Faults {
    rule: FaultRule,
    random: Random,
    offered: u64,
    /// Overtaken packets, and behind which packet each leaves.
    held: Vec<(u64, Vec<u8>)>,
    counts: FaultCounts,
}

impl Faults {
    /// Lines of one seed have faults of their own.
    pub fn new(rule: FaultRule, seed: u64, line: u64) -> Faults {
        // Twice, so that neighbouring seeds and lines have nothing in common.
        let mut mixed = Random(seed);
        let seed = mixed.next() ^ line.wrapping_mul(0xd134_2543_de82_ef95);
        Faults {
            rule,
            random: Random(seed),
            offered: 0,
            held: Vec::new(),
            counts: FaultCounts::default(),
        }
    }

    /// The next packet of the line, which `is_dropped` whatever chance says. `send` is called for
    /// each that leaves now.
    pub fn offer(
        &mut self,
        payload: &[u8],
        is_dropped: bool,
        send: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.offered += 1;
        // All is drawn for every packet, so that one fault does not move the others.
        let is_lost = self.random.share() < self.rule.loss;
        let is_doubled = self.random.share() < self.rule.duplicate;
        let is_overtaken = self.random.share() < OVERTAKEN && self.rule.reorder > 0;
        let by = 1 + self.random.next() % u64::from(self.rule.reorder.max(1));
        if is_lost || is_dropped {
            self.counts.lost += 1;
        } else if is_overtaken {
            self.counts.overtaken += 1;
            self.held.push((self.offered + by, payload.to_vec()));
        } else {
            self.counts.sent += 1;
            send(payload)?;
            if is_doubled {
                self.counts.doubled += 1;
                send(payload)?;
            }
        }
        self.release(self.offered, send)
    }

    /// What was held leaves: there are no later packets.
    pub fn finish(&mut self, send: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        self.release(u64::MAX, send)
    }

    fn release(
        &mut self,
        upto: u64,
        send: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while let Some(index) = self.held.iter().position(|(behind, _)| *behind <= upto) {
            let (_, payload) = self.held.remove(index);
            self.counts.sent += 1;
            send(&payload)?;
        }
        Ok(())
    }

    /// What happened so far.
    pub fn counts(&self) -> FaultCounts {
        self.counts
    }
}

/// SplitMix64: any seed is a good one.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// From 0 up to, not including, 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of 10,000 packets leave, in their order.
    fn sent(rule: FaultRule, seed: u64, line: u64) -> (Vec<u32>, FaultCounts) {
        let mut faults = Faults::new(rule, seed, line);
        let mut out = Vec::new();
        let mut send = |payload: &[u8]| {
            out.push(u32::from_le_bytes(payload.try_into().unwrap()));
            Ok(())
        };
        for number in 0..10_000u32 {
            let bytes = number.to_le_bytes();
            let is_dropped = (500..510).contains(&number);
            faults.offer(&bytes, is_dropped, &mut send).unwrap();
        }
        faults.finish(&mut send).unwrap();
        (out, faults.counts())
    }

    #[test]
    fn a_seed_decides_the_faults_and_lines_have_their_own() {
        let rule = FaultRule {
            loss: 0.05,
            duplicate: 0.02,
            reorder: 3,
        };
        let (a, counts) = sent(rule, 1, 0);
        assert_eq!(a, sent(rule, 1, 0).0);
        assert_ne!(a, sent(rule, 1, 1).0);
        assert_ne!(a, sent(rule, 2, 0).0);
        assert!((450..=560).contains(&counts.lost), "{counts:?}");
        assert!((130..=260).contains(&counts.doubled), "{counts:?}");
        assert!((400..=560).contains(&counts.overtaken), "{counts:?}");
        assert_eq!(counts.sent + counts.lost, 10_000);
        assert_eq!(a.len() as u64, counts.sent + counts.doubled);
        let mut behind = a.windows(2).filter(|pair| pair[1] < pair[0]);
        assert!(behind.next().is_some() && behind.all(|pair| pair[0] - pair[1] <= 4));
    }

    #[test]
    fn a_good_line_loses_what_is_dropped_and_nothing_else() {
        let (all, counts) = sent(FaultRule::default(), 9, 0);
        let want: Vec<u32> = (0..500).chain(510..10_000).collect();
        assert_eq!(all, want);
        assert_eq!((counts.lost, counts.doubled, counts.overtaken), (10, 0, 0));
    }

    #[test]
    fn one_fault_does_not_move_another() {
        let loss = FaultRule {
            loss: 0.05,
            ..FaultRule::default()
        };
        let both = FaultRule {
            duplicate: 0.5,
            ..loss
        };
        let (mut doubled, _) = sent(both, 3, 0);
        doubled.dedup();
        assert_eq!(doubled, sent(loss, 3, 0).0);
    }
}
