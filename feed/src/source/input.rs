//! The bytes of one file in order, whatever it is compressed with.
//!
//! A piece that a format asks for is contiguous and is not copied, but for the few bytes that
//! stand across the end of a chunk: they move in front of the next one.
//!
//! ```text
//! |<---- PIECE_MAX ---->|<----------- CHUNK_BYTES ----------->|
//! |          | leftover | the next chunk, decompressed here   |
//!            ^ at                                         end ^
//! ```
//!
//! Memory is these few buffers, whatever a file says of itself. A plain file is mapped instead and
//! needs none: it saves a copy of every byte, which costs more than all that is done with a packet
//! here. Who cuts a mapped file short while it is read ends the program (SIGBUS).

use std::fs::File;
use std::io::{self, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bus::mem::FileMap;

use super::SourceError;

/// The longest piece that may be asked for.
pub(super) const PIECE_MAX: usize = 384 << 10;
/// How much is read, or decompressed, at a time: both ends of a hand-over stay in cache.
const CHUNK_BYTES: usize = 256 << 10;
/// One buffer is read from, one is written to, one is on its way.
const BUFFERS: usize = 3;
/// Zstd streams that want a window above 128 MiB are refused, as by the `zstd` command.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// What a file is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Nothing.
    None,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several.
    Zstd,
}

impl Compression {
    /// The name that people know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }

    fn of(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, 8, ..] => Compression::Gzip,
            // A frame, or one of the skippable frames that may stand before it.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// The bytes of one file, from the first to the last.
pub(super) struct Input {
    store: Store,
    /// What is not yet skipped stands in `store[at..end]`.
    at: usize,
    end: usize,
    /// Where `store[at]` stands in the decompressed file.
    offset: u64,
    compression: Compression,
    /// Set once nothing more comes.
    done: Option<Done>,
}

/// Where the bytes stand.
enum Store {
    /// A plain file as a whole, in the system's own cache.
    Map(FileMap),
    /// A piece of it, and where more comes from.
    Buffer(Box<[u8]>, Chunks),
}

enum Chunks {
    Here(Box<dyn Read + Send>),
    Ahead {
        full: Receiver<Chunk>,
        empty: SyncSender<Box<[u8]>>,
    },
}

struct Chunk {
    buffer: Box<[u8]>,
    len: usize,
    done: Option<Done>,
}

/// Why nothing more comes.
enum Done {
    End,
    Failed(io::Error),
}

impl Input {
    /// Opens a file and waits for its first chunk. With `ahead`, a compressed file is
    /// decompressed by a thread of its own, which runs where the calling thread may run and ends
    /// when the input is dropped.
    pub(super) fn open(path: &Path, ahead: bool) -> Result<Input, SourceError> {
        let failed = |what: String| SourceError {
            path: path.into(),
            offset_bytes: None,
            what,
        };
        let mut file = File::open(path).map_err(|e| failed(format!("cannot open: {e}")))?;
        let about = file
            .metadata()
            .map_err(|e| failed(format!("cannot open: {e}")))?;
        if about.is_dir() {
            return Err(failed(
                "is a directory, want a capture or an ITCH file".into(),
            ));
        }
        if about.is_file()
            && let Ok(map) = bus::mem::map_file(&file)
            && Compression::of(&map) == Compression::None
        {
            return Ok(Input::mapped(map));
        }
        let mut start = Vec::with_capacity(4);
        (&mut file)
            .take(4)
            .read_to_end(&mut start)
            .map_err(|e| failed(format!("cannot read: {e}")))?;
        let compression = Compression::of(&start);
        // A pipe cannot go back, so there the bytes that were looked at go in front again.
        let whole: Box<dyn Read + Send> = match file.seek(SeekFrom::Start(0)) {
            Ok(_) => Box::new(file),
            Err(_) => Box::new(Cursor::new(start).chain(file)),
        };
        Input::new(whole, compression, ahead)
            .map_err(|e| failed(format!("cannot start to read: {e}")))
    }

    fn mapped(map: FileMap) -> Input {
        let end = map.len();
        Input {
            store: Store::Map(map),
            at: 0,
            end,
            offset: 0,
            compression: Compression::None,
            done: Some(Done::End),
        }
    }

    fn new(file: Box<dyn Read + Send>, compression: Compression, ahead: bool) -> io::Result<Input> {
        let reader: Box<dyn Read + Send> = match compression {
            Compression::None => file,
            Compression::Gzip => {
                let file = BufReader::with_capacity(CHUNK_BYTES, file);
                Box::new(flate2::bufread::MultiGzDecoder::new(file))
            }
            Compression::Zstd => {
                let file = BufReader::with_capacity(CHUNK_BYTES, file);
                let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        };
        let chunks = if ahead && compression != Compression::None {
            read_ahead(reader)?
        } else {
            Chunks::Here(reader)
        };
        let mut input = Input {
            store: Store::Buffer(buffer(), chunks),
            at: PIECE_MAX,
            end: PIECE_MAX,
            offset: 0,
            compression,
            done: None,
        };
        input.refill();
        Ok(input)
    }

    /// What the file is wrapped in.
    pub(super) fn compression(&self) -> Compression {
        self.compression
    }

    /// Where the next byte stands in the decompressed file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes that are there without reading any further.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.store {
            Store::Map(map) => &map[self.at..self.end],
            Store::Buffer(buffer, _) => &buffer[self.at..self.end],
        }
    }

    /// At least the next `want` bytes, or all that are left.
    #[inline]
    pub(super) fn peek(&mut self, want: usize) -> &[u8] {
        debug_assert!(want <= PIECE_MAX);
        if self.end - self.at < want {
            self.wait_for(want);
        }
        self.bytes()
    }

    #[cold]
    fn wait_for(&mut self, want: usize) {
        while self.end - self.at < want && self.done.is_none() {
            self.refill();
        }
    }

    /// Passes over `count` bytes, or over all that are left; says over how many.
    #[inline]
    pub(super) fn skip(&mut self, count: u64) -> u64 {
        if count <= (self.end - self.at) as u64 {
            self.at += count as usize;
            self.offset += count;
            return count;
        }
        self.skip_far(count)
    }

    #[cold]
    fn skip_far(&mut self, count: u64) -> u64 {
        let mut left = count;
        loop {
            let step = left.min((self.end - self.at) as u64);
            self.at += step as usize;
            self.offset += step;
            left -= step;
            if left == 0 || self.done.is_some() {
                return count - left;
            }
            self.refill();
        }
    }

    /// What went wrong in reading or decompressing, to be asked when the bytes are at their end.
    pub(super) fn failure(&self) -> Option<&io::Error> {
        match &self.done {
            Some(Done::Failed(error)) => Some(error),
            Some(Done::End) | None => None,
        }
    }

    fn refill(&mut self) {
        let left = self.end - self.at;
        assert!(
            left <= PIECE_MAX,
            "only a piece shorter than PIECE_MAX is ever waited for"
        );
        let start = PIECE_MAX - left;
        let Store::Buffer(buffer, chunks) = &mut self.store else {
            unreachable!("a mapped file is at its end from the start")
        };
        match chunks {
            Chunks::Here(reader) => {
                buffer.copy_within(self.at..self.end, start);
                let (len, done) = read_some(reader, &mut buffer[PIECE_MAX..]);
                (self.end, self.done) = (PIECE_MAX + len, done);
            }
            Chunks::Ahead { full, empty } => match full.recv() {
                Ok(mut chunk) => {
                    chunk.buffer[start..PIECE_MAX].copy_from_slice(&buffer[self.at..self.end]);
                    std::mem::swap(buffer, &mut chunk.buffer);
                    // Nobody takes it any more once the last chunk is under way.
                    let _ = empty.try_send(chunk.buffer);
                    (self.end, self.done) = (PIECE_MAX + chunk.len, chunk.done);
                }
                Err(_) => {
                    let what = "the decompressing thread ended without a word";
                    self.done = Some(Done::Failed(io::Error::other(what)));
                    return;
                }
            },
        }
        self.at = start;
    }
}

fn buffer() -> Box<[u8]> {
    vec![0; PIECE_MAX + CHUNK_BYTES].into_boxed_slice()
}

/// Starts the thread that decompresses into one buffer while the other is read.
fn read_ahead(mut reader: Box<dyn Read + Send>) -> io::Result<Chunks> {
    let (full_in, full) = sync_channel::<Chunk>(BUFFERS);
    let (empty, empty_out) = sync_channel::<Box<[u8]>>(BUFFERS);
    for _ in 1..BUFFERS {
        empty
            .try_send(buffer())
            .expect("the channel holds all buffers");
    }
    let work = move || {
        // Either channel closes when the input is dropped, which ends this thread.
        while let Ok(mut buffer) = empty_out.recv() {
            let (len, done) = read_full(&mut reader, &mut buffer[PIECE_MAX..]);
            let is_last = done.is_some();
            if full_in.send(Chunk { buffer, len, done }).is_err() || is_last {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("decompress".into())
        .spawn(work)?;
    Ok(Chunks::Ahead { full, empty })
}

/// Reads until the buffer is full, so that a hand-over is worth its cost.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> (usize, Option<Done>) {
    let mut len = 0;
    while len < buffer.len() {
        let (count, done) = read_some(reader, &mut buffer[len..]);
        len += count;
        if done.is_some() {
            return (len, done);
        }
    }
    (len, None)
}

fn read_some(reader: &mut dyn Read, buffer: &mut [u8]) -> (usize, Option<Done>) {
    loop {
        match reader.read(buffer) {
            Ok(0) => return (0, Some(Done::End)),
            Ok(count) => return (count, None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (0, Some(Done::Failed(error))),
        }
    }
}
