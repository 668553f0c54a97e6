//! Which trades count, by a policy with a name.

use bus::{Event, Kind};

/// Which trades count in a window, and for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Every print, and broken ones stay.
    #[default]
    AsPrinted,
    /// Every print that is not broken.
    All,
    /// As `All`, without the prints of auctions.
    NoAuctions,
    /// What the American consolidated tape lets count for what: a print below a round lot is volume
    /// only; one that comes after a print of a later time is no first or last price; broken ones go.
    UsConsolidatedV1,
}

/// For what a trade counts beside volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    /// For the highest and lowest price.
    pub(super) in_range: bool,
    /// As first or last price, and in returns.
    pub(super) as_last: bool,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Policy; 4] = [
        Policy::AsPrinted,
        Policy::All,
        Policy::NoAuctions,
        Policy::UsConsolidatedV1,
    ];

    /// Its name, in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::AsPrinted => "as-printed",
            Policy::All => "all",
            Policy::NoAuctions => "no-auctions",
            Policy::UsConsolidatedV1 => "us-consolidated-v1",
        }
    }

    /// Whether trades that were broken are taken out again.
    pub const fn corrects(self) -> bool {
        !matches!(self, Policy::AsPrinted)
    }

    /// Whether a trade counts, and for what. `latest_ts` is the highest time of the symbol's trades
    /// before it, `lot` its round lot.
    pub(super) fn counts(
        self,
        event: &Event,
        qty: i64,
        latest_ts: i64,
        lot: i64,
    ) -> Option<Counts> {
        let all = Counts {
            in_range: true,
            as_last: true,
        };
        match self {
            Policy::AsPrinted | Policy::All => Some(all),
            Policy::NoAuctions => (event.kind != Kind::Cross).then_some(all),
            Policy::UsConsolidatedV1 => Some(Counts {
                in_range: qty >= lot,
                as_last: qty >= lot && event.ts_event.0 >= latest_ts,
            }),
        }
    }
}
