//! What one must know of segments that are gone: for each symbol its name and its trading state,
//! as they were said last. Byte by byte in `FORMAT.md`.

use std::collections::BTreeMap;

use super::word::{Word, damaged};
use crate::disk::{CELL_BYTES, Files};
use crate::event::{Event, Kind};
use crate::log::error::{Damage, LogError};
use crate::log::frame::{long, word};

const MAGIC: [u8; 8] = *b"TAPEREF\n";
const VERSION: u32 = 1;

/// The file that goes with a log kept from segment `from` on.
pub(crate) fn name(from: u64) -> String {
    format!("REFERENCE-{from:010}")
}

/// Whether a file is one of these.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with("REFERENCE-")
}

/// The last word on each symbol.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    /// By symbol and kind; with each its place in the order of all.
    last: BTreeMap<(u32, u8), (u64, Event)>,
    count: u64,
}

impl Reference {
    /// What the log in `files` keeps of segments that are gone.
    pub(crate) fn of(files: &impl Files) -> Result<Reference, LogError> {
        let mut reference = Reference::default();
        let Some(said) = Word::of(files)? else {
            return Ok(reference);
        };
        let name = name(said.from);
        let bad = || damaged(files, &name, Damage::Beside);
        let bytes = files.beside(&name)?.ok_or_else(bad)?;
        if crc32c::crc32c(&bytes) != said.reference_crc || bytes.len() < CELL_BYTES {
            return Err(bad());
        }
        let (head, cells) = bytes.split_at(CELL_BYTES);
        let fits = head[..8] == MAGIC
            && word(head, 12) == VERSION
            && head[16..32] == said.uuid
            && long(head, 32) == said.first_cell
            && long(head, 40) == (cells.len() / CELL_BYTES) as u64
            && cells.len().is_multiple_of(CELL_BYTES);
        if !fits {
            return Err(bad());
        }
        for cell in cells.as_chunks().0 {
            reference.take(&Event::from_bytes(cell).ok_or_else(bad)?);
        }
        Ok(reference)
    }

    /// Takes in an event, in the order of the log.
    pub(crate) fn take(&mut self, event: &Event) {
        if matches!(event.kind, Kind::Symbol | Kind::Status) {
            let key = (event.symbol, event.kind as u8);
            self.last.insert(key, (self.count, *event));
            self.count += 1;
        }
    }

    /// In the order in which they were said.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events: Vec<&(u64, Event)> = self.last.values().collect();
        events.sort_unstable_by_key(|(place, _)| *place);
        events.into_iter().map(|(_, event)| *event).collect()
    }

    /// The file for a log that is kept from `first_cell` on.
    pub(crate) fn to_bytes(&self, uuid: &[u8; 16], first_cell: u64) -> Vec<u8> {
        let events = self.events();
        let mut bytes = vec![0; CELL_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(uuid);
        bytes[32..40].copy_from_slice(&first_cell.to_le_bytes());
        bytes[40..48].copy_from_slice(&(events.len() as u64).to_le_bytes());
        for event in &events {
            bytes.extend_from_slice(event.as_bytes());
        }
        bytes
    }
}
