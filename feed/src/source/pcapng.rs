//! pcapng files: blocks, in sections that each have their own byte order and interfaces.
//!
//! ```text
//! block     type(4) length(4) body, padded to 4 bytes, length(4) again
//! section   0x0a0d0d0a: byte-order magic(4) version(2+2) section length(8) options
//! interface 1: link type(2) reserved(2) snaplen(4) options
//! packet    6: interface(4) time(4+4) captured length(4) wire length(4) frame options
//! simple    3: wire length(4) frame; no time, interface 0
//! obsolete  2: interface(2) drops(2) then as 6
//! ```
//!
//! All other blocks are passed over.

use bus::Ts;

use super::input::Input;
use super::record::{
    INTERFACES_MAX, Interface, RECORD_BYTES_MAX, Record, Resolution, Step, ending, u16_at, u32_at,
};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const PACKET: u32 = 6;

const BLOCK_HEADER_BYTES: usize = 8;
/// Two lengths and a type: the shortest block.
const BLOCK_BYTES_MIN: u32 = 12;
/// The longest block that we look into: a record with 64 KiB of options. Others may have any
/// length, since they are only passed over.
const BLOCK_BYTES_MAX: u32 = RECORD_BYTES_MAX + (64 << 10);
/// Type and length, byte-order magic, version and section length: all that a section must have.
const SECTION_BYTES_MIN: usize = 28;

const _: () = assert!(BLOCK_BYTES_MAX as usize <= super::input::PIECE_MAX);

pub(super) struct Pcapng {
    is_big_endian: bool,
    /// Which of the file's interfaces is the section's interface 0.
    first_interface: usize,
    /// Bytes of the block handed out last, which are skipped at the next step.
    behind: u64,
    /// The record here has a bad time, and that was already said.
    is_told: bool,
    is_over: bool,
}

/// What to do with a block.
enum Found {
    Record(Record),
    /// Nothing for us: go on behind it.
    Pass,
    /// Something wrong in it: say so, and go on behind it.
    Skip(String),
    /// A record with something wrong that can be mended: say so, then come back to it.
    Mend(String),
    /// Nothing behind it can be trusted.
    Stop(String),
}

impl Pcapng {
    pub(super) fn is(start: &[u8]) -> bool {
        start.starts_with(&SECTION.to_be_bytes())
    }

    /// Checks that a section starts here. The error says what is wrong with it.
    pub(super) fn start(input: &mut Input) -> Result<Pcapng, String> {
        let header = input.peek(SECTION_BYTES_MIN);
        if header.len() < SECTION_BYTES_MIN {
            let found = header.len();
            return Err(format!(
                "pcapng section header of {found} bytes, want {SECTION_BYTES_MIN}"
            ));
        }
        let is_big_endian = byte_order(header)?;
        let first_interface = 0;
        Ok(Pcapng {
            is_big_endian,
            first_interface,
            behind: 0,
            is_told: false,
            is_over: false,
        })
    }

    pub(super) fn next(&mut self, input: &mut Input, interfaces: &mut Vec<Interface>) -> Step {
        loop {
            let skipped = input.skip(self.behind);
            if skipped < self.behind {
                let want = std::mem::take(&mut self.behind);
                return self.cut_short(input, skipped, want);
            }
            self.behind = 0;
            if self.is_over {
                return Step::End;
            }
            let offset_bytes = input.offset();
            let header = input.peek(BLOCK_BYTES_MIN as usize);
            if header.len() < BLOCK_BYTES_MIN as usize {
                return self.over(ending(input, "block", u64::from(BLOCK_BYTES_MIN)));
            }
            // The section's type reads the same both ways, and its own magic says how to read on.
            if header.starts_with(&SECTION.to_be_bytes()) {
                match byte_order(header) {
                    Ok(is_big_endian) => self.is_big_endian = is_big_endian,
                    Err(what) => return self.over(Step::Lost { offset_bytes, what }),
                }
            }
            let kind = u32_at(header, 0, self.is_big_endian);
            let len = u32_at(header, 4, self.is_big_endian);
            let is_read = matches!(
                kind,
                SECTION | INTERFACE | OBSOLETE_PACKET | SIMPLE_PACKET | PACKET
            );
            let limit = if is_read { BLOCK_BYTES_MAX } else { u32::MAX };
            if !(BLOCK_BYTES_MIN..=limit).contains(&len) || !len.is_multiple_of(4) {
                let what = format!(
                    "block of {len} bytes, want a multiple of 4 from {BLOCK_BYTES_MIN} to {limit}"
                );
                return self.over(Step::Lost { offset_bytes, what });
            }
            if !is_read {
                self.behind = u64::from(len);
                continue;
            }
            let block = input.peek(len as usize);
            if block.len() < len as usize {
                return self.over(ending(input, "block", u64::from(len)));
            }
            let block = &block[..len as usize];
            let again = u32_at(block, block.len() - 4, self.is_big_endian);
            let found = if again == len {
                self.block(kind, block, offset_bytes, interfaces)
            } else {
                Found::Stop(format!(
                    "block length {again} at its end, want {len} as at its start"
                ))
            };
            self.behind = u64::from(len);
            match found {
                Found::Record(record) => return Step::Record(record),
                Found::Pass => {}
                Found::Skip(what) => return Step::Trouble { offset_bytes, what },
                Found::Mend(what) => {
                    self.behind = 0;
                    return Step::Trouble { offset_bytes, what };
                }
                Found::Stop(what) => return self.over(Step::Lost { offset_bytes, what }),
            }
        }
    }

    #[inline]
    fn block(
        &mut self,
        kind: u32,
        block: &[u8],
        offset_bytes: u64,
        interfaces: &mut Vec<Interface>,
    ) -> Found {
        match kind {
            PACKET => self.packet(block, offset_bytes, interfaces, 4),
            OBSOLETE_PACKET => self.packet(block, offset_bytes, interfaces, 2),
            SIMPLE_PACKET => self.simple_packet(block, offset_bytes, interfaces),
            INTERFACE => self.interface(block, interfaces),
            SECTION if block.len() < SECTION_BYTES_MIN => {
                Found::Stop(short(block, SECTION_BYTES_MIN))
            }
            SECTION => {
                self.first_interface = interfaces.len();
                match u16_at(block, 12, self.is_big_endian) {
                    1 => Found::Pass,
                    major => Found::Stop(format!("pcapng version {major}, want 1")),
                }
            }
            _ => Found::Pass,
        }
    }

    /// A packet block, whose interface number has 4 bytes, or 2 in the obsolete kind.
    #[inline]
    fn packet(
        &mut self,
        block: &[u8],
        offset_bytes: u64,
        interfaces: &[Interface],
        id_bytes: usize,
    ) -> Found {
        const FIXED_BYTES: usize = 28;
        let room = match block.len().checked_sub(FIXED_BYTES + 4) {
            Some(room) => room,
            None => return Found::Skip(short(block, FIXED_BYTES + 4)),
        };
        let order = self.is_big_endian;
        let id = match id_bytes {
            2 => u32::from(u16_at(block, 8, order)),
            _ => u32_at(block, 8, order),
        };
        let units = u64::from(u32_at(block, 12, order)) << 32 | u64::from(u32_at(block, 16, order));
        let captured_bytes = u32_at(block, 20, order);
        let interface = self.first_interface.saturating_add(id as usize);
        let Some(from) = interfaces.get(interface) else {
            let known = interfaces.len() - self.first_interface;
            return Found::Skip(format!(
                "packet of interface {id}, want one of the {known} known"
            ));
        };
        let limit = bytes_max(from);
        if captured_bytes > limit {
            return Found::Stop(format!(
                "record of {captured_bytes} bytes, want at most {limit}"
            ));
        }
        if captured_bytes as usize > room {
            return Found::Stop(format!(
                "record of {captured_bytes} bytes, want at most {room}"
            ));
        }
        let ns = from.resolution.to_ns(units).and_then(|ns| {
            let offset_ns = from.offset_s.checked_mul(1_000_000_000)?;
            ns.checked_add(offset_ns)
        });
        let ts = match ns {
            Some(ns) => Ts(ns),
            None if !self.is_told => {
                self.is_told = true;
                let unit = from.resolution;
                return Found::Mend(format!(
                    "time {units} x {unit}, want one before the year 2262"
                ));
            }
            None => Ts::MAX,
        };
        self.is_told = false;
        let len = captured_bytes as usize;
        Found::Record(Record {
            at: FIXED_BYTES,
            len,
            offset_bytes,
            ts: Some(ts),
            interface,
            piece: None,
        })
    }

    fn simple_packet(&self, block: &[u8], offset_bytes: u64, interfaces: &[Interface]) -> Found {
        const FIXED_BYTES: usize = 12;
        let Some(room) = block.len().checked_sub(FIXED_BYTES + 4) else {
            return Found::Skip(short(block, FIXED_BYTES + 4));
        };
        let Some(from) = interfaces.get(self.first_interface) else {
            return Found::Skip("simple packet before any interface, want one".into());
        };
        let wire_bytes = u32_at(block, 8, self.is_big_endian);
        let len = wire_bytes.min(bytes_max(from)) as usize;
        if len > room {
            return Found::Stop(format!("record of {len} bytes, want at most {room}"));
        }
        let interface = self.first_interface;
        Found::Record(Record {
            at: FIXED_BYTES,
            len,
            offset_bytes,
            ts: None,
            interface,
            piece: None,
        })
    }

    fn interface(&self, block: &[u8], interfaces: &mut Vec<Interface>) -> Found {
        const FIXED_BYTES: usize = 16;
        let Some(options_end) = block.len().checked_sub(4).filter(|end| *end >= FIXED_BYTES) else {
            // The numbers of the interfaces behind it would be off by one.
            return Found::Stop(short(block, FIXED_BYTES + 4));
        };
        if interfaces.len() >= INTERFACES_MAX {
            return Found::Stop(format!("more interfaces than {INTERFACES_MAX}"));
        }
        let mut interface = Interface {
            link_type: u16_at(block, 8, self.is_big_endian),
            snaplen_bytes: u32_at(block, 12, self.is_big_endian),
            resolution: Resolution::Decimal(6),
            offset_s: 0,
            records: 0,
        };
        let mut rest = &block[FIXED_BYTES..options_end];
        // An option: code(2) length(2) value, padded to 4 bytes; code 0 ends them.
        while rest.len() >= 4 {
            let code = u16_at(rest, 0, self.is_big_endian);
            let len = usize::from(u16_at(rest, 2, self.is_big_endian));
            let Some(value) = rest.get(4..4 + len) else {
                break;
            };
            match (code, value) {
                (0, _) => break,
                (9, [unit]) if unit & 0x80 != 0 => {
                    interface.resolution = Resolution::Binary(unit & 0x7f);
                }
                (9, [unit]) => interface.resolution = Resolution::Decimal(*unit),
                (14, value) if len == 8 => {
                    let (first, second) = (
                        u32_at(value, 0, self.is_big_endian),
                        u32_at(value, 4, self.is_big_endian),
                    );
                    let (high, low) = if self.is_big_endian {
                        (first, second)
                    } else {
                        (second, first)
                    };
                    interface.offset_s = (u64::from(high) << 32 | u64::from(low)) as i64;
                }
                _ => {}
            }
            rest = rest.get(4 + len.next_multiple_of(4)..).unwrap_or(&[]);
        }
        interfaces.push(interface);
        Found::Pass
    }

    /// The file ends inside a block that was to be passed over.
    #[cold]
    fn cut_short(&mut self, input: &Input, found: u64, want: u64) -> Step {
        match ending(input, "block", want) {
            Step::End => {
                let offset_bytes = input.offset() - found;
                let what = format!("cut block: {found} bytes, want {want}");
                self.over(Step::Trouble { offset_bytes, what })
            }
            other => self.over(other),
        }
    }

    fn over(&mut self, last: Step) -> Step {
        self.is_over = true;
        last
    }
}

fn bytes_max(interface: &Interface) -> u32 {
    match interface.snaplen_bytes {
        0 => RECORD_BYTES_MAX,
        limit => limit.min(RECORD_BYTES_MAX),
    }
}

#[cold]
fn short(block: &[u8], want: usize) -> String {
    format!("block of {} bytes, want at least {want}", block.len())
}

/// Whether the section that starts here is big-endian. The caller knows that 12 bytes are there.
fn byte_order(section: &[u8]) -> Result<bool, String> {
    match u32_at(section, BLOCK_HEADER_BYTES, true) {
        0x1a2b_3c4d => Ok(true),
        0x4d3c_2b1a => Ok(false),
        other => Err(format!(
            "byte-order magic {other:08x}, want 1a2b3c4d or 4d3c2b1a"
        )),
    }
}
