//! Crosses: one price at which most shares change hands, and what is said before (`I`).
//!
//! Two kinds of interest meet: the displayed orders, and shares that want any price and were
//! sent for the cross only, which no book shows. At the price with most paired shares, all of
//! one side that accepts it is filled, so a book that was crossed before is not afterwards.

use std::io;

use crate::book::{Book, Side};
use crate::exchange::Exchange;
use crate::wire;

/// Shares that want any price, by side.
pub(crate) type Interest = [u64; 2];

/// What a cross would come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Auction {
    pub(crate) price_e4: u32,
    pub(crate) demand: u64,
    pub(crate) supply: u64,
}

impl Auction {
    pub(crate) fn paired(&self) -> u64 {
        self.demand.min(self.supply)
    }

    pub(crate) fn imbalance(&self) -> u64 {
        self.demand.abs_diff(self.supply)
    }
}

/// The price with most paired shares; of equals the one with the least imbalance, and then the
/// one nearest to the reference.
pub(crate) fn find(book: &Book, interest: Interest, reference_e4: u32) -> Auction {
    let (bids, asks) = (book.levels(Side::Buy), book.levels(Side::Sell));
    // Upwards in price: bids drop out of the demand behind us, asks join the supply.
    let mut demand = interest[0] + bids.iter().map(|level| level.shares).sum::<u64>();
    let mut supply = interest[1];
    let mut ahead_bids = bids.iter().peekable();
    let mut ahead_asks = asks.iter().rev().peekable();
    let mut reference = Some(reference_e4);
    let mut best: Option<Auction> = None;
    loop {
        let bid_e4 = ahead_bids.peek().map(|level| level.price_e4);
        let ask_e4 = ahead_asks.peek().map(|level| level.price_e4);
        let Some(price_e4) = [bid_e4, ask_e4, reference].into_iter().flatten().min() else {
            break;
        };
        if let Some(level) = ahead_asks.next_if(|level| level.price_e4 == price_e4) {
            supply += level.shares;
        }
        reference = reference.filter(|&at| at != price_e4);
        let here = Auction {
            price_e4,
            demand,
            supply,
        };
        if let Some(level) = ahead_bids.next_if(|level| level.price_e4 == price_e4) {
            demand -= level.shares;
        }
        let rank = |auction: &Auction| {
            let distance = auction.price_e4.abs_diff(reference_e4);
            (u64::MAX - auction.paired(), auction.imbalance(), distance)
        };
        if best.is_none_or(|best| rank(&here) < rank(&best)) {
            best = Some(here);
        }
    }
    best.expect("the reference is a price")
}

impl Exchange<'_> {
    /// Crosses a symbol and prints the total; `kind` is O, C or H.
    pub(crate) fn cross(
        &mut self,
        symbol: usize,
        interest: Interest,
        reference_e4: u32,
        kind: u8,
    ) -> io::Result<()> {
        let auction = find(&self.books[symbol], interest, reference_e4);
        let paired = auction.paired();
        if paired == 0 {
            return self.print_cross(symbol, 0, 0, kind);
        }
        for side in [Side::Buy, Side::Sell] {
            // Those who took any price come before those who asked for one.
            let displayed = paired.saturating_sub(interest[side as usize]);
            self.fill_in_cross(symbol, side, displayed, auction.price_e4)?;
        }
        self.print_cross(symbol, paired, auction.price_e4, kind)
    }

    /// Says what a cross at this moment would come to.
    pub(crate) fn publish_imbalance(
        &mut self,
        symbol: usize,
        interest: Interest,
        reference_e4: u32,
        kind: u8,
    ) -> io::Result<()> {
        let auction = find(&self.books[symbol], interest, reference_e4);
        let has_price = auction.paired() > 0;
        let price_e4 = if has_price { auction.price_e4 } else { 0 };
        let direction = match auction.demand.cmp(&auction.supply) {
            _ if !has_price && auction.imbalance() == 0 => b'O',
            std::cmp::Ordering::Equal => b'N',
            std::cmp::Ordering::Greater => b'B',
            std::cmp::Ordering::Less => b'S',
        };
        let of = wire::Imbalance {
            paired: auction.paired(),
            imbalance: auction.imbalance(),
            direction,
            stock: &self.stocks[symbol].name,
            // Interest for the cross alone wants any price, so both prices are the same.
            far_e4: price_e4,
            near_e4: price_e4,
            reference_e4,
            kind,
            variation: if has_price {
                variation(price_e4, reference_e4)
            } else {
                b' '
            },
        };
        let message = wire::imbalance(self.head(symbol), &of);
        self.publish(&message)
    }
}

/// How far the near price lies from the reference, as 4.6 codes it: L below 1 percent, then 1
/// to 9 for whole percents, A from 10, B from 20 and C from 30.
fn variation(near_e4: u32, reference_e4: u32) -> u8 {
    match u64::from(near_e4.abs_diff(reference_e4)) * 100 / u64::from(reference_e4.max(1)) {
        0 => b'L',
        percent @ 1..=9 => b'0' + percent as u8,
        10..=19 => b'A',
        20..=29 => b'B',
        _ => b'C',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Orders;

    fn check(bids: &[(u32, u32)], asks: &[(u32, u32)], interest: Interest, want: (u32, u64)) {
        let (mut book, mut orders) = (Book::default(), Orders::default());
        for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
            for &(price_e4, shares) in levels {
                book.add(&mut orders, 1, side, shares, price_e4, false);
            }
        }
        let auction = find(&book, interest, 1000);
        assert_eq!((auction.price_e4, auction.paired()), want);
    }

    #[test]
    fn the_price_pairs_most() {
        check(&[(900, 5)], &[(1100, 5)], [0, 0], (1000, 0));
        check(&[(900, 5)], &[(1100, 5)], [7, 7], (1000, 7));
        check(
            &[(1100, 5), (1000, 5)],
            &[(900, 3), (1000, 4)],
            [0, 0],
            (1000, 7),
        );
        // Buyers at any price lift the offers above.
        check(&[(900, 5)], &[(1100, 5), (1200, 5)], [8, 0], (1200, 8));
    }
}
