//! A message taken apart: its header, its block, and the entries of its groups.

use bus::{Price, Ts};

use super::super::Fault;
use super::super::mdp3_table::{At, Fields, Group, TEMPLATES, Template};
use crate::mdp3::PREFIX_BYTES;

/// What each message begins with: the prefix, then block length, template, schema and version.
const HEADER_BYTES: usize = PREFIX_BYTES + 8;
/// The number of CME's schema.
const SCHEMA: u16 = 1;
/// The bit of the match event indicator that ends an event.
const END_OF_EVENT: u8 = 0x80;

/// Where in the table each template is, by its number; one past the end where it is not there.
const PLACES: [u8; 256] = {
    let mut places = [TEMPLATES.len() as u8; 256];
    let mut place = 0;
    while place < TEMPLATES.len() {
        places[TEMPLATES[place].id as usize] = place as u8;
        place += 1;
    }
    places
};

fn template(id: u16) -> Option<&'static Template> {
    TEMPLATES.get(usize::from(*PLACES.get(usize::from(id))?))
}

/// Whether there is a template of this number.
pub(crate) fn is_template(id: u16) -> bool {
    template(id).is_some()
}

/// The template's letter for reports: older and newer ones of a kind have the same.
pub(super) const fn letter(id: u16) -> u8 {
    match id {
        32 | 46 => b'B',
        43 | 47 => b'O',
        42 | 48 => b'T',
        37 => b'V',
        33 | 49 => b'D',
        34 | 50 => b'L',
        35 | 51 => b'S',
        38 | 52 => b'W',
        44 | 53 => b'w',
        27 | 54 => b'F',
        29 | 56 => b'C',
        41 | 55 => b'P',
        30 => b'H',
        39 => b'q',
        4 => b'R',
        12 => b'h',
        15 => b'i',
        16 => b'o',
        _ => b'?',
    }
}

/// Fields with their names.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) fields: &'static Fields,
    pub(super) version: u16,
}

impl Block<'_> {
    #[inline]
    pub(super) fn get<const N: usize>(&self, at: At) -> Option<[u8; N]> {
        if self.version < u16::from(at.since) {
            return None;
        }
        let from = usize::from(at.offset);
        let bytes = self.bytes.get(from..from + N)?;
        Some(bytes.try_into().expect("as many"))
    }

    #[inline]
    pub(super) fn byte(&self, at: At) -> Option<u8> {
        self.get(at).map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn u32(&self, at: At) -> Option<u32> {
        self.get(at).map(u32::from_le_bytes)
    }

    /// `None` for the null value too.
    #[inline]
    pub(super) fn i32(&self, at: At) -> Option<i32> {
        let value = self.get(at).map(i32::from_le_bytes);
        value.filter(|value| *value != i32::MAX)
    }

    /// `None` for the null value too.
    #[inline]
    pub(super) fn u64(&self, at: At) -> Option<u64> {
        let value = self.get(at).map(u64::from_le_bytes);
        value.filter(|value| *value != u64::MAX)
    }

    /// The price; [`Price::NONE`] where there is none, or beyond what ours can say.
    #[inline]
    pub(super) fn price(&self) -> Price {
        let units = self.get(self.fields.md_entry_px).map(i64::from_le_bytes);
        let units = units.filter(|units| *units != i64::MAX);
        let price = units.and_then(|units| units.checked_mul(self.fields.price_unit));
        price.map_or(Price::NONE, Price)
    }

    /// A quantity; 0 where there is none.
    #[inline]
    pub(super) fn qty(&self, at: At) -> i64 {
        self.i32(at).unwrap_or(0).max(0).into()
    }
}

/// The entries of a group.
#[derive(Clone, Copy)]
pub(super) struct Entries<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) each: usize,
    pub(super) count: usize,
    pub(super) fields: &'static Fields,
    pub(super) version: u16,
}

impl<'a> Entries<'a> {
    pub(super) fn get(&self, index: usize) -> Option<Block<'a>> {
        let bytes = self.bytes.get(index * self.each..(index + 1) * self.each);
        bytes.filter(|_| index < self.count).map(|bytes| Block {
            bytes,
            fields: self.fields,
            version: self.version,
        })
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Block<'a>> {
        (0..self.count).filter_map(move |index| self.get(index))
    }
}

/// A message taken apart.
pub(super) struct Message<'a> {
    pub(super) code: u8,
    pub(super) sent: u64,
    pub(super) sequence: u32,
    pub(super) channel: u16,
    pub(super) block: Block<'a>,
    /// The first groups; more are not read.
    pub(super) groups: [Option<Entries<'a>>; 2],
}

impl<'a> Message<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Message<'a>, Fault> {
        if message.is_empty() {
            return Err(Fault::Empty);
        }
        let got = message.len() as u16;
        let Some((header, rest)) = message.split_first_chunk::<HEADER_BYTES>() else {
            let (code, want) = (0, HEADER_BYTES as u16);
            return Err(Fault::Length { code, got, want });
        };
        let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let at = PREFIX_BYTES;
        let (len, id, schema, version) = (word(at), word(at + 2), word(at + 4), word(at + 6));
        let Some(template) = template(id).filter(|_| schema == SCHEMA) else {
            return Err(Fault::UnknownType {
                code: u8::try_from(id).unwrap_or(0),
                len_bytes: got,
            });
        };
        let code = letter(id);
        let length = |want: usize| Fault::Length {
            code,
            got,
            want: u16::try_from(want).unwrap_or(u16::MAX),
        };
        let len = usize::from(len);
        let Some((block, mut rest)) = rest.split_at_checked(len) else {
            return Err(length(HEADER_BYTES + len));
        };
        let mut groups = [None; 2];
        for (index, group) in template.groups.iter().enumerate() {
            let Some((entries, behind)) = group_at(group, rest, version) else {
                break;
            };
            let want = entries.each * entries.count;
            let Some((bytes, behind)) = behind.split_at_checked(want) else {
                return Err(length(message.len() - behind.len() + want));
            };
            if let Some(slot) = groups.get_mut(index) {
                *slot = Some(Entries { bytes, ..entries });
            }
            rest = behind;
        }
        Ok(Message {
            code,
            sent: u64::from_le_bytes(header[..8].try_into().expect("eight bytes")),
            sequence: u32::from_le_bytes(header[8..12].try_into().expect("four bytes")),
            channel: word(12),
            block: Block {
                bytes: block,
                fields: &template.block,
                version,
            },
            groups,
        })
    }

    pub(super) fn ts_event(&self) -> Option<Ts> {
        let said = self.block.u64(self.block.fields.transact_time);
        i64::try_from(said.unwrap_or(self.sent)).ok().map(Ts)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        self.groups[0].into_iter().flat_map(Entries::iter)
    }

    pub(super) fn ends_event(&self) -> bool {
        let indicator = self.block.byte(self.block.fields.match_event_indicator);
        indicator.is_some_and(|bits| bits & END_OF_EVENT != 0)
    }

    /// A field that does not say what it must.
    pub(super) fn wrong(&self, entry: &Block<'_>, at: At) -> Fault {
        Fault::Field {
            code: self.code,
            offset_bytes: at.offset as u8,
            got: entry.byte(at).unwrap_or(0),
        }
    }
}

/// The group that begins here, without its entries, and what is behind its dimensions. A message
/// of an older version ends before the groups that came later.
fn group_at<'a>(
    group: &'static Group,
    bytes: &'a [u8],
    version: u16,
) -> Option<(Entries<'a>, &'a [u8])> {
    let (dimensions, behind) = bytes.split_at_checked(if group.is_wide { 8 } else { 3 })?;
    let entries = Entries {
        bytes: &[],
        each: u16::from_le_bytes([dimensions[0], dimensions[1]]).into(),
        count: (*dimensions.last().expect("three or eight")).into(),
        fields: &group.fields,
        version,
    };
    Some((entries, behind))
}
