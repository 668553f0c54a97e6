//! What traders believe of one stock: its fair price, how fast that moves, and how wide they
//! quote around it. None of it is published; it shows only in the orders.

use crate::book::Side;
use crate::exchange::TICK_E4;
use crate::random::Random;
use crate::symbols::Stock;

/// A condition that holds until some time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spell {
    pub(crate) until_ns: u64,
    pub(crate) value: f64,
}

impl Spell {
    fn at(&self, now_ns: u64) -> Option<f64> {
        (now_ns < self.until_ns).then_some(self.value)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Mood {
    fair_e4: f64,
    /// The fair price stays between half and twice the one it began with.
    first_e4: f64,
    moved_ns: u64,
    /// Standard deviation of a return over one second.
    volatility: f64,
    /// Half of the usual spread, as a share of the price.
    half_spread: f64,
    /// The live orders that this stock tends to have.
    pub(crate) orders_usual: usize,
    /// Multiplies the volatility.
    pub(crate) storm: Spell,
    /// Half of the spread while market makers stand back, as a share of the price.
    pub(crate) wide: Spell,
    /// The return of one second.
    pub(crate) run: Spell,
    /// Shares sent for the next cross alone.
    pub(crate) cross_interest: [u64; 2],
    /// The retail interest last published, as the letter of `N`.
    pub(crate) retail: u8,
}

impl Mood {
    /// `rank` is 0 for the most active of the stocks.
    pub(crate) fn new(stock: &Stock, rank: usize, random: &mut Random) -> Self {
        // Overnight news move the first price away from yesterday's last.
        let fair_e4 = f64::from(stock.close_e4) * (1.0 + 0.004 * random.normal());
        let quiet = (rank as f64 + 1.0) / (rank as f64 + 40.0);
        Self {
            fair_e4,
            first_e4: fair_e4,
            moved_ns: 0,
            volatility: random.between(0.8e-4, 2.0e-4),
            half_spread: random.between(0.3e-4, 0.8e-4) + 2.5e-4 * quiet,
            orders_usual: 40 + random.index(32) + 60 / (rank + 1),
            storm: Spell::default(),
            wide: Spell::default(),
            run: Spell::default(),
            cross_interest: [0; 2],
            retail: b'N',
        }
    }

    /// Lets the fair price wander until now.
    pub(crate) fn wander(&mut self, now_ns: u64, random: &mut Random) {
        let seconds = now_ns.saturating_sub(self.moved_ns) as f64 * 1e-9;
        if self.moved_ns > 0 {
            let storm = self.storm.at(now_ns).unwrap_or(1.0);
            let drift = self.run.at(now_ns).unwrap_or(0.0);
            let step = self.volatility * storm * seconds.sqrt() * random.normal();
            let moved = self.fair_e4 * (1.0 + step + drift * seconds);
            self.fair_e4 = moved.clamp(self.first_e4 * 0.5, self.first_e4 * 2.0);
        }
        self.moved_ns = now_ns;
    }

    pub(crate) fn fair_e4(&self) -> f64 {
        self.fair_e4
    }

    /// The fair price on a tick.
    pub(crate) fn reference_e4(&self) -> u32 {
        (self.fair_e4 / f64::from(TICK_E4)) as u32 * TICK_E4
    }

    /// The side that a run carries, and which most aggressive orders take while it lasts.
    pub(crate) fn leaning(&self, now_ns: u64) -> Option<Side> {
        let drift = self.run.at(now_ns)?;
        Some(if drift > 0.0 { Side::Buy } else { Side::Sell })
    }

    /// The ticks between two prices that somebody thinks worth a difference: dear stocks leave
    /// most ticks empty.
    fn stride(&self) -> f64 {
        (self.fair_e4 * 2.0e-4 / f64::from(TICK_E4)).max(1.0)
    }

    /// Where a patient order would stand, if the other side of the book leaves room.
    pub(crate) fn patient_e4(&self, side: Side, now_ns: u64, random: &mut Random) -> u32 {
        let half = self.wide.at(now_ns).unwrap_or(self.half_spread) * self.fair_e4;
        let steps = match random.below(100) {
            // Improves on the usual quote.
            0..6 => -1.0,
            6..34 => 0.0,
            34..80 => f64::from(1 + random.geometric(2.5)),
            80..96 => random.between(3.0, 16.0),
            _ => random.between(16.0, 60.0),
        };
        let away = half + steps * self.stride() * f64::from(TICK_E4);
        let tick = f64::from(TICK_E4);
        let ticks = match side {
            Side::Buy => ((self.fair_e4 - away) / tick).floor(),
            Side::Sell => ((self.fair_e4 + away) / tick).ceil(),
        };
        (ticks.max(1.0) as u32) * TICK_E4
    }

    /// How far an impatient order is ready to go beyond the best price.
    pub(crate) fn reach_e4(&self, random: &mut Random) -> u32 {
        let ticks = f64::from(random.geometric(0.7)) * self.stride();
        ticks as u32 * TICK_E4
    }
}

/// The size of an order, with the round lots and odd lots that people like.
pub(crate) fn shares(random: &mut Random) -> u32 {
    match random.below(100) {
        0..26 => 1 + random.below(99) as u32,
        26..70 => 100,
        70..88 => 100 * (2 + random.below(4) as u32),
        88..97 => 100 * (5 + random.below(15) as u32),
        _ => 1000 * (1 + random.below(5) as u32),
    }
}
