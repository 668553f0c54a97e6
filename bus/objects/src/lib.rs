//! A store of objects as a tier of the log: `s3://bucket/folder`.
//!
//! `open` is what the program hands to [`bus::disk::tier::open_urls_with`]. Start with `tier`, one
//! log's segments among a store's objects; `upload` brings a segment there, `edges` remembers what
//! is read of each; under them is `place`, which asks the store and waits for the answer, but not
//! for ever; `address` says what a URL means.
//!
//! Every call blocks its thread until the store has answered. That is right for who calls:
//! retention runs in a thread beside the shards, and readers of a log wait for its bytes anyway. A
//! shard never comes here. A store that is slow or away makes such a caller wait at most as long
//! as `Patience` says, and then there is an error that names the object.
//!
//! Behind the feature `object-store`, because it takes a hundred packages to speak TLS and HTTP.

#![forbid(unsafe_code)]
#![cfg(feature = "object-store")]

mod address;
mod edges;
mod place;
mod tier;
mod upload;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bus::disk::DiskError;
use bus::disk::tier::Tier;

pub use address::place_at;
pub use place::{Patience, Place};
pub use tier::{MARKER, ObjectTier};

/// What was opened in this process. A log is opened anew for each look at it, and a store must not
/// be: that costs a connection, and the edges of all segments once more.
#[derive(Default)]
struct Opened {
    places: BTreeMap<String, Arc<Place>>,
    tiers: BTreeMap<(String, String), Arc<ObjectTier>>,
}

static OPENED: Mutex<Option<Opened>> = Mutex::new(None);

/// The tier of the log with this name at a URL: see [`bus::disk::tier::Opener`]. Asks nobody yet.
pub fn open(location: &str, log: &str) -> Result<Arc<dyn Tier>, DiskError> {
    let mut opened = hold(&OPENED);
    let opened = opened.get_or_insert_default();
    let key = (location.to_owned(), log.to_owned());
    if let Some(tier) = opened.tiers.get(&key) {
        return Ok(tier.clone());
    }
    let place = match opened.places.get(location) {
        Some(place) => place.clone(),
        None => {
            let place = Arc::new(place_at(
                location,
                std::env::vars_os(),
                Patience::default(),
            )?);
            opened.places.insert(key.0.clone(), place.clone());
            place
        }
    };
    let tier = Arc::new(ObjectTier::new(place, log));
    opened.tiers.insert(key, tier.clone());
    Ok(tier)
}

/// What is behind a mutex is whole at any time here, even where a thread panicked.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
