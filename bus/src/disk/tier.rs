//! Where sealed segments go to make room: another directory, or a store of objects.
//!
//! A tier keeps segments compressed, each whole or not at all. The file `TIER` in a log's
//! directory says where its tier is, so that whoever reads the log finds what was moved. It is
//! there before the first segment goes.

mod folder;
pub(crate) mod seekable;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

pub use folder::TierFolder;
pub use seekable::Sink;

use super::{Cause, DiskError, Op};

/// A place for compressed segments. Shared by who fills it and who reads, each in its own time.
pub trait Tier: Debug + Send + Sync {
    /// Makes the place, durably, if it is yet to be made. Until then it cannot be listed, so that
    /// a place that went away is not taken for one with nothing in it.
    fn make(&self) -> Result<(), DiskError>;
    /// The numbers of the segments that are here, in order.
    fn list(&self) -> Result<Vec<u64>, DiskError>;
    /// How many bytes a segment takes here.
    fn len(&self, segment: u64) -> Result<u64, DiskError>;
    /// Fills `into` from what a segment takes here.
    fn read(&self, segment: u64, offset: u64, into: &mut [u8]) -> Result<(), DiskError>;
    /// Puts a segment here, with what `fill` hands to its sink. Durable, and there for readers,
    /// only as a whole. In place of one that is there already.
    fn put(
        &self,
        segment: u64,
        fill: &mut dyn FnMut(&mut Sink) -> Result<(), DiskError>,
    ) -> Result<(), DiskError>;
    /// Takes a segment away; it may be gone already.
    fn remove(&self, segment: u64) -> Result<(), DiskError>;
    /// What to call a segment in a message.
    fn path(&self, segment: u64) -> PathBuf;
    /// When a segment was put here, if the place knows.
    fn written(&self, segment: u64) -> Option<SystemTime>;
}

/// Opens a tier that is no directory: the log's own folder within what a location names.
pub type Opener = fn(location: &str, log: &str) -> Result<Arc<dyn Tier>, DiskError>;

static OPENER: OnceLock<Opener> = OnceLock::new();

/// Lets tiers be named by URL (`s3://bucket/folder`). Once, when the program starts; a second
/// call changes nothing.
pub fn open_urls_with(opener: Opener) {
    let _ = OPENER.set(opener);
}

/// Says in one sentence why a tier cannot be at `location`, if it cannot. Looks at the words
/// only: a place that does not answer now may do so later.
pub fn check(location: &str) -> Result<(), String> {
    if location.contains('\n') {
        return Err("it has a line break".into());
    }
    match open(location, &[0; 16]) {
        Ok(_) => Ok(()),
        Err(DiskError { cause, .. }) => Err(cause.to_string()),
    }
}

/// The tier that a location names, for the log with this uuid. A location with `://` is for the
/// program's opener, any other is a directory.
pub fn open(location: &str, uuid: &[u8; 16]) -> Result<Arc<dyn Tier>, DiskError> {
    let log: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    if !location.contains("://") {
        return Ok(Arc::new(TierFolder::new(&Path::new(location).join(log))));
    }
    let opener = OPENER.get().ok_or_else(|| DiskError {
        op: Op::Open,
        path: location.into(),
        cause: Cause::Store("this program was built without the feature `object-store`".into()),
    })?;
    opener(location, &log)
}

/// The file that names the tier.
pub const POINTER: &str = "TIER";

/// What [`POINTER`] holds: a line that says so, the location, and a checksum over the two.
pub fn pointer_bytes(location: &str, uuid: &[u8; 16]) -> Vec<u8> {
    let uuid: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = format!("tapeline tier 1\n{uuid}\n{location}\n");
    let crc = crc32c::crc32c(text.as_bytes());
    text.push_str(&format!("{crc:08x}\n"));
    text.into_bytes()
}

/// The location and the uuid in what [`POINTER`] holds.
pub fn read_pointer(path: &Path, bytes: &[u8]) -> Result<(String, [u8; 16]), DiskError> {
    let bad = || DiskError {
        op: Op::Read,
        path: path.to_owned(),
        cause: Cause::Bytes("it does not say where the log's tier is, or fails its checksum"),
    };
    let text = std::str::from_utf8(bytes).map_err(|_| bad())?;
    let mut lines = text.lines();
    let (head, uuid, location) = (lines.next(), lines.next(), lines.next());
    let (Some("tapeline tier 1"), Some(hex), Some(location)) = (head, uuid, location) else {
        return Err(bad());
    };
    let mut uuid = [0; 16];
    if hex.len() != 32 || !hex.is_ascii() {
        return Err(bad());
    }
    for (byte, pair) in uuid.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
    }
    match pointer_bytes(location, &uuid) == bytes {
        true => Ok((location.to_owned(), uuid)),
        false => Err(bad()),
    }
}
