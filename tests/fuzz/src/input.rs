//! A fuzzer's bytes as numbers, for as long as there are any.

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// From the first byte.
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    /// The next byte, or `None` at the end.
    pub fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// The next two bytes, zeros where there are none left.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte().unwrap_or(0), self.byte().unwrap_or(0)])
    }

    /// A number: one byte says how it is made, so that small ones, large ones and those near the
    /// ends of their type are all a byte away.
    pub fn number(&mut self) -> u64 {
        let how = self.byte().unwrap_or(0);
        let value = u64::from(self.short());
        match how % 8 {
            0..=3 => value,
            4 => value << 12,
            5 => value << 32 | u64::from(self.short()),
            6 => u64::MAX - value,
            _ => u64::from(u32::MAX) - value,
        }
    }
}
