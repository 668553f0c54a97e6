//! A folder in a store, and a way to ask the store from a thread that waits for the answer.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bus::disk::{Cause, DiskError, Op};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::runtime::Runtime;

/// How long a store is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the answer to one request, all its bytes included. No request is tried again when
    /// the first attempt was longer ago.
    pub request: Duration,
    /// How many times a request is tried again.
    pub retries: usize,
    /// For all of one operation: a listing, a read, a piece of an upload.
    pub whole: Duration,
}

impl Default for Patience {
    /// 5 s for a connection, 20 s for a request, three more attempts, and a minute for all of an
    /// operation. A piece of an upload is 8 MiB, so a link must carry 0.4 MiB/s.
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(20),
            retries: 3,
            whole: Duration::from_secs(60),
        }
    }
}

/// A folder in a store of objects.
pub struct Place {
    /// Runs only while someone waits for an answer, in that thread: there is no other, but for
    /// looking up names.
    runtime: Runtime,
    pub(crate) store: Arc<dyn ObjectStore>,
    folder: Path,
    location: String,
    patience: Patience,
}

impl Place {
    /// `folder` of `store`, which people know as `location`.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        folder: Path,
        location: &str,
        patience: Patience,
    ) -> Result<Place, DiskError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| DiskError {
                op: Op::Open,
                path: location.into(),
                cause: Cause::Store(error.to_string()),
            })?;
        Ok(Place {
            runtime,
            store,
            folder,
            location: location.trim_end_matches('/').to_owned(),
            patience,
        })
    }

    /// What the keys of all objects of a log begin with.
    pub(crate) fn folder(&self, log: &str) -> Path {
        self.folder.clone().join(log)
    }

    /// The key of an object of a log.
    pub(crate) fn key(&self, log: &str, name: &str) -> Path {
        self.folder(log).join(name)
    }

    /// What to call an object of a log, or its folder, in a message.
    pub(crate) fn name(&self, log: &str, name: &str) -> PathBuf {
        let mut whole = format!("{}/{log}", self.location);
        if !name.is_empty() {
            whole.push('/');
            whole.push_str(name);
        }
        whole.into()
    }

    /// Waits for an answer of the store, as long as is usual.
    pub(crate) fn ask<T>(
        &self,
        op: Op,
        name: PathBuf,
        question: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, DiskError> {
        self.ask_within(self.patience.whole, op, name, question)
    }

    /// Waits for an answer, `limit` at most.
    pub(crate) fn ask_within<T>(
        &self,
        limit: Duration,
        op: Op,
        name: PathBuf,
        question: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, DiskError> {
        let answer = async { tokio::time::timeout(limit, question).await };
        let cause = match self.runtime.block_on(answer) {
            Ok(Ok(answer)) => return Ok(answer),
            // Who reads asks for an object, and knows what it means that there is none.
            Ok(Err(object_store::Error::NotFound { .. })) if matches!(op, Op::Read | Op::Open) => {
                Cause::Errno(libc::ENOENT)
            }
            Ok(Err(error)) => Cause::Store(said(&error)),
            Err(_) => Cause::Store(format!("no answer within {limit:?}")),
        };
        let path = name;
        Err(DiskError { op, path, cause })
    }

    /// How long to wait for something that is not worth much.
    pub(crate) fn moment(&self) -> Duration {
        self.patience.connect
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place {{ {}, {} }}", self.location, self.store)
    }
}

/// What a store said, in one line: it may have sent a page, and what counts may be at the bottom
/// of a chain of reasons.
pub(crate) fn said(error: &object_store::Error) -> String {
    const BYTES_MAX: usize = 400;
    let mut text = match error {
        object_store::Error::Generic { source, .. } => source.to_string(),
        error => error.to_string(),
    };
    let mut reason = std::error::Error::source(error);
    while let Some(next) = reason.and_then(std::error::Error::source) {
        reason = Some(next);
    }
    if let Some(reason) = reason.map(ToString::to_string)
        && !text.contains(&reason)
    {
        text = format!("{text}: {reason}");
    }
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() > BYTES_MAX {
        line.truncate(line.floor_char_boundary(BYTES_MAX));
        line.push_str(" ...");
    }
    line
}
