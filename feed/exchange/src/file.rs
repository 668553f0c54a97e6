//! Files, plain or compressed as their names say, and the file of length-prefixed messages.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::session::Session;
use crate::truth::Truth;

/// Above this the generator would wait for the codec most of the time.
const ZSTD_LEVEL: i32 = 2;
const GZIP_LEVEL: u32 = 4;

/// A file that is compressed when its name ends in `.gz` or `.zst`.
pub struct Output(BufWriter<Codec>);

enum Codec {
    Plain(File),
    Gzip(GzEncoder<File>),
    Zstd(zstd::Encoder<'static, File>),
}

impl Output {
    /// Creates the file, or empties the one that is there.
    ///
    /// # Errors
    ///
    /// When it cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        let codec = match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz") => Codec::Gzip(GzEncoder::new(file, Compression::new(GZIP_LEVEL))),
            Some("zst") => Codec::Zstd(zstd::Encoder::new(file, ZSTD_LEVEL)?),
            _ => Codec::Plain(file),
        };
        Ok(Self(BufWriter::with_capacity(1 << 17, codec)))
    }

    /// Ends the compressed stream. Without it the file is cut off.
    ///
    /// # Errors
    ///
    /// When the rest cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match self
            .0
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?
        {
            Codec::Plain(mut file) => file.flush(),
            Codec::Gzip(encoder) => encoder.finish()?.flush(),
            Codec::Zstd(encoder) => encoder.finish()?.flush(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for Codec {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// How a file of messages is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItchOptions {
    /// End with a record of length 0, as Nasdaq's own BinaryFILE does. Otherwise the file
    /// simply ends after the last message.
    pub end_record: bool,
}

/// Simulates a session into a file of records: a length of 2 bytes, big endian, and a message.
///
/// # Errors
///
/// When the session does not pass its `check`, or the file cannot be written.
pub fn write_itch(session: &Session, path: &Path, options: &ItchOptions) -> io::Result<Truth> {
    // Before a file that is there is emptied.
    session.check()?;
    let mut output = Output::create(path)?;
    let truth = crate::run(session, &mut |_, message| {
        output.write_all(&(message.len() as u16).to_be_bytes())?;
        output.write_all(message)
    })?;
    if options.end_record {
        output.write_all(&[0, 0])?;
    }
    output.finish()?;
    Ok(truth)
}
