//! Copies of what a FIX session said and heard of orders: lines of JSON, and records in shared memory.
//!
//! They follow the session's journal entry by entry, so whoever goes on with a run knows by their number
//! of rows which of the journal's are missing, and writes those first: nothing is left out, and nothing
//! is there twice.

use std::path::Path;

use bus::oms::{Gateway, GatewayError, Json, Ring, Row};

/// Where copies go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Places<'a> {
    /// To stdout where there is no path.
    pub json: Option<Option<&'a Path>>,
    /// And for how many records it has room.
    pub ring: Option<(&'a Path, u64)>,
    /// A run goes on.
    pub is_resumed: bool,
}

/// Copies that are being written.
#[derive(Debug, Default)]
pub struct Copies {
    json: Option<Json>,
    ring: Option<Ring>,
    /// Rows of the journal that each has already.
    json_had: u64,
    ring_had: u64,
}

/// More bytes do not wait for whoever reads stdout: reports cannot be asked to wait.
const WAITING_BYTES_MAX: usize = 16 << 20;

impl Copies {
    /// Opens them; `journal` is then given to [`Copies::again`], from its beginning.
    pub fn open(places: &Places<'_>) -> Result<Copies, GatewayError> {
        let mut copies = Copies::default();
        match places.json {
            None => {}
            // Nobody knows what was read of it.
            Some(None) => (copies.json, copies.json_had) = (Some(Json::stdout()?), u64::MAX),
            Some(Some(path)) if places.is_resumed => {
                let (json, found) = Json::resume(path)?;
                (copies.json, copies.json_had) = (Some(json), found.rows);
            }
            Some(Some(path)) => copies.json = Some(Json::create(path)?),
        }
        if let Some((path, room)) = places.ring {
            let ring = match places.is_resumed {
                true => Ring::resume(path, room)?.0,
                false => Ring::begin(path, room)?,
            };
            copies.ring_had = ring.rows();
            copies.ring = Some(ring);
        }
        Ok(copies)
    }

    /// A message that was in the journal before: each has it, or gets it.
    pub fn again(&mut self, message: &[u8]) {
        let Some(row) = Row::of(message) else { return };
        match (&mut self.json, self.json_had.checked_sub(1)) {
            (_, Some(left)) => self.json_had = left,
            (Some(json), None) => json.put(&row),
            (None, None) => {}
        }
        match (&mut self.ring, self.ring_had.checked_sub(1)) {
            (_, Some(left)) => self.ring_had = left,
            (Some(ring), None) => ring.put(&row),
            (None, None) => {}
        }
    }

    /// A message that has just been put into the journal.
    pub fn put(&mut self, message: &[u8]) {
        if self.json.is_none() && self.ring.is_none() {
            return;
        }
        let Some(row) = Row::of(message) else { return };
        if let Some(json) = &mut self.json {
            json.put(&row);
        }
        if let Some(ring) = &mut self.ring {
            ring.put(&row);
        }
    }

    /// Writes what waits, as far as that goes.
    pub fn turn(&mut self) -> Result<usize, GatewayError> {
        let Some(json) = &mut self.json else {
            return Ok(0);
        };
        let written = json.turn()?;
        if json.waiting() > WAITING_BYTES_MAX {
            let what = format!("nobody reads it: {WAITING_BYTES_MAX} bytes of lines wait");
            return Err(GatewayError::new(json.describe(), what));
        }
        Ok(written)
    }

    /// Writes all.
    pub fn finish(&mut self) -> Result<(), GatewayError> {
        let json = self.json.as_mut().map_or(Ok(()), Gateway::finish);
        let ring = self.ring.as_mut().map_or(Ok(()), Gateway::finish);
        json.and(ring)
    }
}
