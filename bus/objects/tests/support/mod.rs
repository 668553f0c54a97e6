//! A small log on a real disk, and a store in memory on which requests fail.

use std::fmt;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bus::disk::{Backend, Directory};
use bus::log::{Log, LogConfig, LogReader, Record};
use bus::{Event, Kind};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

pub(crate) const EVENTS: u64 = 1500;

pub(crate) fn event_at(cell: u64) -> Event {
    Event {
        seq: cell + 1,
        order: cell * 7,
        ..Event::new(Kind::Add)
    }
}

pub(crate) fn hex(uuid: &[u8; 16]) -> String {
    uuid.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn temporary(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("tapeline-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

pub(crate) fn config(dir: PathBuf) -> LogConfig {
    LogConfig {
        dir,
        segment_bytes: 10 * 4096,
        frame_bytes_max: 8192,
        frames_in_flight_max: 1,
        frames_waiting_max: LogConfig::FRAMES_WAITING_MAX,
        spares: 2,
        commit_age_ns: 0,
        uuid: [7; 16],
        build_hash: 0,
        config_hash: 0,
    }
}

/// A log of several segments, all of it durable.
pub(crate) fn log(name: &str) -> (LogConfig, PathBuf) {
    let root = temporary(name);
    let config = config(root.join("log"));
    let disk = config.open_disk(Backend::Plain).unwrap();
    let mut log = Log::create(config.clone(), disk).unwrap();
    let mut now = 0;
    while log.durable_upto() < EVENTS {
        if log.next_cell() < EVENTS && log.room_cells() > 0 {
            log.append_event(&event_at(log.next_cell()));
        }
        now += 1;
        log.turn(now, log.next_cell() == EVENTS).unwrap();
    }
    (config, root)
}

/// Reads the whole log as anyone would, and checks each record; returns the first cell.
pub(crate) fn check(dir: &FilePath) -> u64 {
    let mut reader = LogReader::over(Directory::new(dir)).unwrap();
    let first = reader.first_cell();
    let mut next = first;
    for item in &mut reader {
        let (cell, record) = item.unwrap();
        assert_eq!((cell, record), (next, Record::Event(event_at(next))));
        next += 1;
    }
    assert_eq!(next, EVENTS);
    first
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused.
    Refused,
    /// It is never answered.
    Silence,
    /// It is answered with fewer bytes.
    Short,
    /// It is answered, or taken, with a wrong byte.
    Spoilt,
    /// It is done, and then said to have failed.
    DoneAndRefused,
}

/// A store in memory; its `nth` request, counted from the last [`Faulty::plan`], meets a fault.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faulty {
    pub(crate) inner: Arc<InMemory>,
    requests: Arc<AtomicU64>,
    plan: Arc<Mutex<Option<(u64, Fault)>>>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

fn refused() -> Error {
    Error::Generic {
        store: "faulty",
        source: "503 Slow Down".into(),
    }
}

impl Faulty {
    /// From now on: the `nth` request meets this.
    pub(crate) fn plan(&self, fault: Option<(u64, Fault)>) {
        self.requests.store(0, Ordering::SeqCst);
        *self.plan.lock().unwrap() = fault;
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// The fault of the request that now comes, if it meets one that its kind does not handle.
    async fn step(&self) -> Result<Option<Fault>> {
        let nth = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let plan = *self.plan.lock().unwrap();
        match plan {
            Some((at, Fault::Refused)) if at == nth => Err(refused()),
            Some((at, Fault::Silence)) if at == nth => futures_util::future::pending().await,
            Some((at, fault)) if at == nth => Ok(Some(fault)),
            _ => Ok(None),
        }
    }
}

fn spoil(payload: PutPayload) -> PutPayload {
    let mut bytes: Vec<u8> = payload.into_iter().flatten().collect();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes.into()
}

fn after<T>(fault: Option<Fault>, done: T) -> Result<T> {
    match fault {
        Some(Fault::DoneAndRefused) => Err(refused()),
        _ => Ok(done),
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let fault = self.step().await?;
        let payload = match fault {
            Some(Fault::Spoilt) => spoil(payload),
            _ => payload,
        };
        after(fault, self.inner.put_opts(location, payload, opts).await?)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.step().await?;
        Ok(Box::new(Pieces {
            inner: self.inner.put_multipart_opts(location, opts).await?,
            store: self.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.step().await?;
        let is_head = options.head;
        let got = self.inner.get_opts(location, options).await?;
        if is_head || !matches!(fault, Some(Fault::Short | Fault::Spoilt)) {
            return after(fault, got);
        }
        let (meta, range, attributes) =
            (got.meta.clone(), got.range.clone(), got.attributes.clone());
        let extensions = got.extensions.clone();
        let mut bytes = got.bytes().await?.to_vec();
        let middle = bytes.len() / 2;
        match fault {
            Some(Fault::Short) => bytes.truncate(middle),
            _ => bytes[middle] ^= 1,
        }
        let one = futures_util::stream::once(async move { Ok(bytes.into()) });
        Ok(GetResult {
            payload: GetResultPayload::Stream(one.boxed()),
            meta,
            range: Range { ..range },
            attributes,
            extensions,
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let step = async move {
            let fault = store.step().await?;
            let done: Vec<_> = store.inner.delete_stream(locations).collect().await;
            after(fault, futures_util::stream::iter(done))
        };
        futures_util::stream::once(step).try_flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let step = async move {
            let fault = store.step().await?;
            after(fault, store.inner.list(prefix.as_ref()))
        };
        futures_util::stream::once(step).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct Pieces {
    inner: Box<dyn MultipartUpload>,
    store: Faulty,
}

#[async_trait::async_trait]
impl MultipartUpload for Pieces {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.inner.put_part(data);
        let store = self.store.clone();
        Box::pin(async move {
            store.step().await?;
            part.await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let fault = self.store.step().await?;
        after(fault, self.inner.complete().await?)
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.step().await?;
        self.inner.abort().await
    }
}
