//! What held when: rows of a table, each valid for a symbol from a time on.

use bus::Ts;

/// Where the rows of each symbol stand, by time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// By symbol: from when on each of its rows is valid, ascending, and which row that is.
    by_symbol: Vec<Vec<(Ts, u32)>>,
}

impl Table {
    /// Rows as (place of the symbol, valid from, number of the row) for so many symbols. Of two of a
    /// symbol that are valid from the same time on, the error has the later one's number.
    pub fn new(
        symbol_count: usize,
        rows: impl IntoIterator<Item = (usize, Ts, u32)>,
    ) -> Result<Table, u32> {
        let mut by_symbol = vec![Vec::new(); symbol_count];
        for (place, from, row) in rows {
            by_symbol[place].push((from, row));
        }
        for rows in &mut by_symbol {
            rows.sort_unstable();
            if let Some(two) = rows.windows(2).find(|two| two[0].0 == two[1].0) {
                return Err(two[1].1);
            }
        }
        Ok(Table { by_symbol })
    }

    /// How many symbols it was made for.
    pub fn symbol_count(&self) -> usize {
        self.by_symbol.len()
    }

    /// The rows of one symbol.
    pub(super) fn of(&self, place: usize) -> Box<[(Ts, u32)]> {
        self.by_symbol[place].clone().into()
    }
}

/// The row that is valid at `ts`.
pub(super) fn valid_at(rows: &[(Ts, u32)], ts: Ts) -> Option<u32> {
    let until = rows.partition_point(|(from, _)| *from <= ts);
    Some(rows[until.checked_sub(1)?].1)
}
