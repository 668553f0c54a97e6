//! Where instruments trade: by whose clock, and what their quantities count.

use feed::protocol::Wire;

/// What of a venue its messages do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Venue {
    /// Its time zone, by its IANA name: whose days and clock are meant where no other is said.
    pub zone: &'static str,
    /// What a whole quantity is one of, in the plural: `shares`, `contracts`, `units` of what is
    /// divided further, or `quantity` where a feed carries several of these.
    pub unit: &'static str,
}

const NEW_YORK: &str = "America/New_York";
const CHICAGO: &str = "America/Chicago";

impl Venue {
    /// That of this protocol; of DBN, that of the dataset its file names, as Databento calls it:
    /// `GLBX.MDP3`.
    pub fn of(wire: Wire, dataset: Option<&str>) -> Venue {
        let (zone, unit) = match wire {
            Wire::Itch | Wire::Iex | Wire::Lobster => (NEW_YORK, "shares"),
            // Of shares, options and futures alike.
            Wire::Pitch => (NEW_YORK, "quantity"),
            Wire::Mdp3 => (CHICAGO, "contracts"),
            Wire::Binance | Wire::Tardis | Wire::Coinbase | Wire::Bitstamp => ("UTC", "units"),
            Wire::Dbn => return Venue::of_dataset(dataset.unwrap_or_default()),
        };
        Venue { zone, unit }
    }

    fn of_dataset(dataset: &str) -> Venue {
        // A dataset is a venue's market identifier, a point, and the feed.
        let (zone, unit) = match dataset.split('.').next().unwrap_or_default() {
            "GLBX" | "XCBF" => (CHICAGO, "contracts"),
            "OPRA" | "IFUS" => (NEW_YORK, "contracts"),
            "IFEU" => ("Europe/London", "contracts"),
            "NDEX" => ("Europe/Amsterdam", "contracts"),
            "XEUR" | "XEEE" => ("Europe/Berlin", "contracts"),
            // What `convert` writes of these feeds, which is no dataset of Databento's.
            "PITCH" => (NEW_YORK, "quantity"),
            "LOBSTER" => (NEW_YORK, "shares"),
            "XNAS" | "XBOS" | "XPSX" | "XNYS" | "XASE" | "XCHI" | "XCIS" | "ARCX" | "BATS"
            | "BATY" | "EDGA" | "EDGX" | "IEXG" | "EPRL" | "MEMX" | "LTSE" | "EQUS" | "DBEQ" => {
                (NEW_YORK, "shares")
            }
            _ => ("UTC", "quantity"),
        };
        Venue { zone, unit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_venue_has_a_zone_that_exists() {
        let datasets = [
            "GLBX.MDP3",
            "XNAS.ITCH",
            "IFEU.IMPACT",
            "NDEX.IMPACT",
            "XEUR.EOBI",
            "",
        ];
        let wires = Wire::ALL.map(|wire| Venue::of(wire, None));
        let all = wires
            .into_iter()
            .chain(datasets.map(|name| Venue::of(Wire::Dbn, Some(name))));
        for venue in all {
            let day = crate::session::TradingDay::new("2026-01-05", venue.zone);
            assert_eq!(day.unwrap().zone(), venue.zone);
        }
        let futures = Venue::of(Wire::Dbn, Some("GLBX.MDP3"));
        assert_eq!(futures, Venue::of(Wire::Mdp3, None));
        assert_eq!(
            Venue::of(Wire::Dbn, Some("XNAS.ITCH")),
            Venue::of(Wire::Itch, None)
        );
        let unknown = Venue::of(Wire::Dbn, Some("ZZZZ.NONE"));
        assert_eq!((unknown.zone, unknown.unit), ("UTC", "quantity"));
    }
}
