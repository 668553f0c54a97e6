//! A segment on its way to a store.
//!
//! It is there as a whole or not at all: a small one is one request, and the pieces of a larger
//! one become an object only when all are there and the store is told so. What is given up is
//! taken back as far as the store can be reached. Pieces that stay behind are seen by nobody, but
//! paid for: a bucket should have a rule that removes uploads which were not completed.

use bus::disk::{DiskError, Op};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use crate::place::Place;

/// Stores want pieces of at least 5 MiB, and at most ten thousand of them: far above the longest
/// segment.
pub(crate) const PIECE_BYTES: usize = 8 << 20;

pub(crate) struct Upload<'a> {
    place: &'a Place,
    key: Path,
    name: std::path::PathBuf,
    piece: Vec<u8>,
    pieces: Option<Box<dyn MultipartUpload>>,
}

impl<'a> Upload<'a> {
    pub(crate) fn new(place: &'a Place, key: Path, name: std::path::PathBuf) -> Upload<'a> {
        Upload {
            place,
            key,
            name,
            piece: Vec::new(),
            pieces: None,
        }
    }

    pub(crate) fn add(&mut self, mut bytes: &[u8]) -> Result<(), DiskError> {
        while !bytes.is_empty() {
            // Only now is it known that there is more than one piece.
            if self.piece.len() == PIECE_BYTES {
                self.send()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), DiskError> {
        let payload = PutPayload::from(std::mem::take(&mut self.piece));
        let (place, key) = (self.place, &self.key);
        if self.pieces.is_none() {
            let begin = place.store.put_multipart(key);
            self.pieces = Some(place.ask(Op::Write, self.name.clone(), begin)?);
        }
        let pieces = self.pieces.as_mut().expect("begun above");
        place.ask(Op::Write, self.name.clone(), async move {
            pieces.put_part(payload).await
        })
    }

    pub(crate) fn finish(&mut self) -> Result<(), DiskError> {
        let name = self.name.clone();
        if self.pieces.is_some() {
            self.send()?;
            let pieces = self.pieces.as_mut().expect("there are some");
            return self
                .place
                .ask(Op::Write, name, pieces.complete())
                .map(|_| ());
        }
        let payload = PutPayload::from(std::mem::take(&mut self.piece));
        let put = self.place.store.put(&self.key, payload);
        self.place.ask(Op::Write, name, put).map(|_| ())
    }

    /// Takes back what was sent. Whether that works changes nothing for who gave it up.
    pub(crate) fn give_up(mut self) {
        if let Some(mut pieces) = self.pieces.take() {
            let (limit, name) = (self.place.moment(), self.name);
            let _ = self
                .place
                .ask_within(limit, Op::Remove, name, pieces.abort());
        }
    }
}
