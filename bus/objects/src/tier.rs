//! One log's segments among the objects of a store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bus::disk::tier::{Sink, Tier};
use bus::disk::{Cause, DiskError, Op};
use futures_util::{StreamExt, TryStreamExt, future, stream};
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload};

use crate::edges::{Described, Edges, Known};
use crate::hold;
use crate::place::Place;
use crate::upload::Upload;

/// The object that says that the place was made. A store has no folders, so that an empty one, a
/// wrong bucket and a wrong address would all look the same without it.
pub const MARKER: &str = "TIER";
const MARKER_TEXT: &[u8] = b"tapeline tier 1\n";
const SUFFIX: &str = ".seg.zst";

/// How many segments' edges are read at a time: whoever wants one wants the next ones too.
const AHEAD_SEGMENTS: usize = 32;
const REQUESTS_AT_ONCE: usize = 16;

/// The segments of one log in a store: `LOG/0000000003.seg.zst`, and [`MARKER`] beside them.
#[derive(Debug)]
pub struct ObjectTier {
    place: Arc<Place>,
    log: String,
    known: Mutex<Known>,
}

impl ObjectTier {
    /// The folder of `log` in `place`, not looked at yet.
    pub fn new(place: Arc<Place>, log: &str) -> ObjectTier {
        ObjectTier {
            place,
            log: log.to_owned(),
            known: Mutex::default(),
        }
    }

    fn key(&self, segment: u64) -> Path {
        self.place.key(&self.log, &name(segment))
    }

    fn described(&self, segment: u64) -> Result<Described, DiskError> {
        if let Some(described) = hold(&self.known).described(segment) {
            return Ok(described.clone());
        }
        let key = self.key(segment);
        let head = self.place.store.head(&key);
        let meta = self.place.ask(Op::Open, self.path(segment), head)?;
        let described = Described::new(meta);
        hold(&self.known).describe(segment, described.clone());
        Ok(described)
    }

    /// Reads the edges of a segment, and of those after it on the way.
    fn read_edges(&self, segment: u64) -> Result<(), DiskError> {
        self.described(segment)?;
        let wanted = hold(&self.known).without_edges(segment, AHEAD_SEGMENTS);
        let questions = wanted.into_iter().map(|(number, described)| {
            let key = self.key(number);
            let (head_end, tail_start) = described.edges();
            let store = &self.place.store;
            async move {
                let (head, tail) = future::try_join(
                    exactly(store.as_ref(), &key, 0, head_end),
                    exactly(store.as_ref(), &key, tail_start, described.bytes),
                )
                .await
                // What fails of the others is found when it is wanted.
                .or_else(|error| match number == segment {
                    true => Err(error),
                    false => Ok((Vec::new(), Vec::new())),
                })?;
                Ok((number, described, Edges { head, tail }))
            }
        });
        let found = stream::iter(questions)
            .buffer_unordered(REQUESTS_AT_ONCE)
            .try_collect::<Vec<_>>();
        let found = self.place.ask(Op::Read, self.path(segment), found)?;
        let mut known = hold(&self.known);
        for (number, described, edges) in found {
            if !edges.head.is_empty() {
                known.keep(number, &described, edges);
            }
        }
        Ok(())
    }
}

fn name(segment: u64) -> String {
    format!("{segment:010}{SUFFIX}")
}

/// The segment that a name says, if it is one that we would write.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let is_ours = digits.len() == 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| digits.parse().ok())?
}

/// A range of an object, all of it: a store that answers with less has not answered.
async fn exactly(
    store: &dyn ObjectStore,
    key: &Path,
    from: u64,
    to: u64,
) -> Result<Vec<u8>, Error> {
    if from == to {
        return Ok(Vec::new());
    }
    let bytes = store.get_range(key, from..to).await?;
    match bytes.len() as u64 == to - from {
        true => Ok(bytes.to_vec()),
        false => Err(Error::Generic {
            store: "range",
            source: format!("answered {} bytes of {}", bytes.len(), to - from).into(),
        }),
    }
}

impl Tier for ObjectTier {
    fn make(&self) -> Result<(), DiskError> {
        let key = self.place.key(&self.log, MARKER);
        let put = self.place.store.put(&key, PutPayload::from(MARKER_TEXT));
        let name = self.place.name(&self.log, MARKER);
        self.place.ask(Op::Write, name, put)?;
        // Who may put may still not be allowed to list, and then nobody could read what was moved.
        self.list().map(|_| ())
    }

    fn list(&self) -> Result<Vec<u64>, DiskError> {
        let folder = self.place.folder(&self.log);
        let all = self.place.store.list(Some(&folder));
        let name = self.place.name(&self.log, "");
        let all = self
            .place
            .ask(Op::List, name.clone(), all.try_collect::<Vec<_>>())?;
        let mut is_made = false;
        let mut listed = BTreeMap::new();
        for meta in all {
            let file = meta.location.filename().unwrap_or_default();
            if meta.location != self.place.key(&self.log, file) {
                continue;
            }
            is_made |= file == MARKER;
            if let Some(segment) = number(file) {
                listed.insert(segment, Described::new(meta));
            }
        }
        if !is_made {
            return Err(DiskError {
                op: Op::List,
                path: name,
                cause: Cause::Store(format!(
                    "there is no object {MARKER}: the store is not the one to which segments \
                     were moved, or lost them"
                )),
            });
        }
        let numbers = listed.keys().copied().collect();
        hold(&self.known).replace(listed);
        Ok(numbers)
    }

    fn len(&self, segment: u64) -> Result<u64, DiskError> {
        Ok(self.described(segment)?.bytes)
    }

    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError> {
        let (head_end, tail_start) = self.described(segment)?.edges();
        let end = offset.saturating_add(into.len() as u64);
        if end <= head_end || offset >= tail_start {
            if !hold(&self.known).fill(segment, offset, into) {
                self.read_edges(segment)?;
            }
            if hold(&self.known).fill(segment, offset, into) {
                return Ok(());
            }
        }
        let key = self.key(segment);
        let range = exactly(self.place.store.as_ref(), &key, offset, end);
        let bytes = self.place.ask(Op::Read, self.path(segment), range)?;
        into.copy_from_slice(&bytes);
        Ok(())
    }

    fn put(
        &self,
        segment: u64,
        fill: &mut dyn FnMut(&mut Sink) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let mut upload = Upload::new(&self.place, self.key(segment), self.path(segment));
        let done = fill(&mut |bytes| upload.add(bytes)).and_then(|()| upload.finish());
        // Whoever compares what was put must see what the store has, and nothing older.
        hold(&self.known).forget(segment);
        if done.is_err() {
            upload.give_up();
        }
        done
    }

    fn remove(&self, segment: u64) -> Result<(), DiskError> {
        hold(&self.known).forget(segment);
        let key = self.key(segment);
        let delete = async {
            match self.place.store.delete(&key).await {
                Err(Error::NotFound { .. }) => Ok(()),
                done => done,
            }
        };
        self.place.ask(Op::Remove, self.path(segment), delete)
    }

    fn path(&self, segment: u64) -> PathBuf {
        self.place.name(&self.log, &name(segment))
    }

    fn written(&self, segment: u64) -> Option<SystemTime> {
        self.described(segment)
            .ok()
            .map(|described| described.written)
    }
}
