//! State as bytes: what checkpoints and savepoints are made of.
//!
//! A flat row of little-endian values, without names or lengths between them: who saved a thing
//! loads it, in the same order. What a thing looked like when it was saved is said once for the
//! whole file, as a version for each [`Part`]; who loads asks for it where the layout has changed.
//! A writer can be told to write an older layout, so that an older program can take over again.
//!
//! Checksums are the container's matter. A reader trusts nothing all the same: every value that
//! could not have been saved is an error with its place.

use std::fmt;

use crate::disk::DiskError;

/// What a state is made of. The number stands in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Part {
    /// What a core knows beside its symbols.
    Core = 1,
    /// Books.
    Book = 2,
    /// What is known of a symbol, and when it is due.
    View = 3,
    /// VWAP windows.
    Vwap = 4,
    /// Spread monitors.
    Spread = 5,
    /// Volatility regimes.
    Regime = 6,
    /// The momentum strategy.
    Momentum = 7,
    /// What the risk gate remembers.
    Risk = 8,
    /// Digests.
    Digest = 9,
    /// Orders and what became of them.
    Orders = 10,
}

impl Part {
    /// Every part, in the order of their numbers.
    pub const ALL: [Part; 10] = [
        Part::Core,
        Part::Book,
        Part::View,
        Part::Vwap,
        Part::Spread,
        Part::Regime,
        Part::Momentum,
        Part::Risk,
        Part::Digest,
        Part::Orders,
    ];

    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Core => "core",
            Part::Book => "book",
            Part::View => "view",
            Part::Vwap => "vwap",
            Part::Spread => "spread",
            Part::Regime => "regime",
            Part::Momentum => "momentum",
            Part::Risk => "risk",
            Part::Digest => "digest",
            Part::Orders => "orders",
        }
    }
}

/// The layout of each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions([u16; Part::ALL.len()]);

impl Versions {
    /// The layouts that this program writes, and the newest that it reads.
    ///
    /// 2 of `Core` has the examples of what was wrong, and 2 of `Orders` how many rows of joins and
    /// best prices of instruments were said; 1 forgets them.
    pub const NEWEST: Versions = Versions([2, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
    /// The oldest that it reads and can write.
    pub const OLDEST: Versions = Versions([1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);

    /// The layout of one part.
    pub fn of(&self, part: Part) -> u16 {
        self.0[part as usize - 1]
    }

    /// In the order of [`Part::ALL`].
    pub fn numbers(&self) -> [u16; Part::ALL.len()] {
        self.0
    }

    /// From what a file says; the first part that this program does not read otherwise.
    pub fn read(numbers: [u16; Part::ALL.len()]) -> Result<Versions, (Part, u16)> {
        for part in Part::ALL {
            let (number, index) = (numbers[part as usize - 1], part as usize - 1);
            if !(Versions::OLDEST.0[index]..=Versions::NEWEST.0[index]).contains(&number) {
                return Err((part, number));
            }
        }
        Ok(Versions(numbers))
    }
}

/// Where the bytes of a state go. The first error is kept by the writer and said at its end.
pub trait StateSink {
    /// Takes the next bytes.
    fn put(&mut self, bytes: &[u8]) -> Result<(), DiskError>;
}

impl StateSink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// Bytes that are collected before they are handed on.
const BUFFER_BYTES: usize = 1 << 16;

/// Writes a state.
pub struct StateWriter<'a> {
    buffer: Vec<u8>,
    sink: &'a mut dyn StateSink,
    versions: Versions,
    failed: Option<DiskError>,
}

impl<'a> StateWriter<'a> {
    /// Into `sink`, in these layouts.
    pub fn new(sink: &'a mut dyn StateSink, versions: Versions) -> StateWriter<'a> {
        StateWriter {
            buffer: Vec::with_capacity(BUFFER_BYTES + 64),
            sink,
            versions,
            failed: None,
        }
    }

    /// The layout in which this part is to be written.
    pub fn version(&self, part: Part) -> u16 {
        self.versions.of(part)
    }

    /// All layouts, for a writer of a piece of the same state.
    pub fn versions(&self) -> Versions {
        self.versions
    }

    /// Bytes as they are; the reader must know how many.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    #[allow(missing_docs)]
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// As a byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    #[allow(missing_docs)]
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    #[allow(missing_docs)]
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    #[allow(missing_docs)]
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    #[allow(missing_docs)]
    pub fn i64(&mut self, value: i64) {
        self.bytes(&value.to_le_bytes());
    }

    #[allow(missing_docs)]
    pub fn i128(&mut self, value: i128) {
        self.bytes(&value.to_le_bytes());
    }

    /// Bit for bit.
    pub fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }

    /// Hands on what is left; the first error there was.
    pub fn finish(mut self) -> Result<(), DiskError> {
        self.flush();
        self.failed.map_or(Ok(()), Err)
    }

    fn flush(&mut self) {
        if self.failed.is_none() {
            self.failed = self.sink.put(&self.buffer).err();
        }
        self.buffer.clear();
    }
}

impl fmt::Debug for StateWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateWriter")
            .field("versions", &self.versions)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// A state that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateError {
    /// Where among the state's bytes.
    pub offset: u64,
    /// What was expected there.
    pub want: String,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} of the state: want {}", self.offset, self.want)
    }
}

impl std::error::Error for StateError {}

/// Reads a state.
#[derive(Clone, Debug)]
pub struct StateReader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begins among the whole state's.
    offset: u64,
    versions: Versions,
}

impl<'a> StateReader<'a> {
    /// From these bytes, in these layouts.
    pub fn new(bytes: &'a [u8], versions: Versions) -> StateReader<'a> {
        StateReader {
            bytes,
            at: 0,
            offset: 0,
            versions,
        }
    }

    /// A reader of the next so many bytes, and past them.
    pub fn split(&mut self, count: usize) -> Result<StateReader<'a>, StateError> {
        let offset = self.offset + self.at as u64;
        Ok(StateReader {
            bytes: self.bytes(count)?,
            at: 0,
            offset,
            versions: self.versions,
        })
    }

    /// The layout in which this part was written.
    pub fn version(&self, part: Part) -> u16 {
        self.versions.of(part)
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], StateError> {
        match self.bytes[self.at..].get(..count) {
            Some(bytes) => {
                self.at += count;
                Ok(bytes)
            }
            None => Err(self.error(format_args!("{count} more bytes"))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        Ok(self.bytes(N)?.try_into().expect("as many as asked for"))
    }

    #[allow(missing_docs)]
    pub fn u8(&mut self) -> Result<u8, StateError> {
        Ok(self.array::<1>()?[0])
    }

    #[allow(missing_docs)]
    pub fn bool(&mut self) -> Result<bool, StateError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error("0 or 1")),
        }
    }

    #[allow(missing_docs)]
    pub fn u16(&mut self) -> Result<u16, StateError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    #[allow(missing_docs)]
    pub fn u32(&mut self) -> Result<u32, StateError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    #[allow(missing_docs)]
    pub fn u64(&mut self) -> Result<u64, StateError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    #[allow(missing_docs)]
    pub fn i64(&mut self) -> Result<i64, StateError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    #[allow(missing_docs)]
    pub fn i128(&mut self) -> Result<i128, StateError> {
        Ok(i128::from_le_bytes(self.array()?))
    }

    #[allow(missing_docs)]
    pub fn f64(&mut self) -> Result<f64, StateError> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64, what: &str) -> Result<usize, StateError> {
        let number = self.u64()?;
        if number < end {
            return Ok(number as usize);
        }
        Err(self.error(format_args!("{what} below {end}, found {number}")))
    }

    /// That here, after what was just read, something is wrong.
    pub fn error(&self, want: impl fmt::Display) -> StateError {
        StateError {
            offset: self.offset + self.at as u64,
            want: want.to_string(),
        }
    }

    /// Whether nothing follows.
    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// That nothing follows.
    pub fn end(&self) -> Result<(), StateError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            left => Err(self.error(format_args!("the end, found {left} more bytes"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_nothing_else_is() {
        let mut bytes = Vec::new();
        let mut out = StateWriter::new(&mut bytes, Versions::NEWEST);
        out.u8(1);
        out.bool(true);
        out.u16(2);
        out.u32(3);
        out.u64(4);
        out.i64(-5);
        out.i128(-6 << 70);
        out.f64(-0.0);
        out.bytes(b"seven");
        out.finish().unwrap();
        let mut from = StateReader::new(&bytes, Versions::NEWEST);
        assert_eq!(
            (from.u8(), from.bool(), from.u16()),
            (Ok(1), Ok(true), Ok(2))
        );
        assert_eq!((from.u32(), from.below(5, "it")), (Ok(3), Ok(4)));
        assert_eq!((from.i64(), from.i128()), (Ok(-5), Ok(-6 << 70)));
        assert_eq!(from.f64().map(f64::to_bits), Ok((-0.0f64).to_bits()));
        assert!(from.end().is_err());
        assert_eq!(from.bytes(5), Ok(&b"seven"[..]));
        assert_eq!(from.end(), Ok(()));
        let error = from.u16().unwrap_err();
        assert_eq!(error.to_string(), "byte 53 of the state: want 2 more bytes");
        let mut bad = StateReader::new(&[2, 9, 0, 0, 0, 0, 0, 0, 0], Versions::NEWEST);
        assert!(bad.bool().is_err() && bad.below(9, "it").is_err());
    }

    #[test]
    fn a_layout_of_the_future_is_refused_by_name() {
        let mut numbers = Versions::NEWEST.numbers();
        assert_eq!(Versions::read(numbers), Ok(Versions::NEWEST));
        numbers[2] += 1;
        assert_eq!(Versions::read(numbers), Err((Part::View, 2)));
        numbers[2] = 0;
        assert_eq!(Versions::read(numbers), Err((Part::View, 0)));
        for (index, part) in Part::ALL.into_iter().enumerate() {
            assert_eq!(part as usize, index + 1);
        }
    }

    #[test]
    fn a_sink_that_fails_is_told_at_the_end() {
        struct Full;
        impl StateSink for Full {
            fn put(&mut self, _: &[u8]) -> Result<(), DiskError> {
                Err(DiskError::new(
                    crate::disk::Op::Write,
                    "state",
                    libc::ENOSPC,
                ))
            }
        }
        let mut full = Full;
        let mut out = StateWriter::new(&mut full, Versions::NEWEST);
        for value in 0..100_000 {
            out.u64(value);
        }
        assert!(out.finish().unwrap_err().is_no_space());
    }
}
