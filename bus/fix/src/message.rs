//! A message into its fields, without copying anything.

use std::fmt;

use crate::frame::SOH;
use crate::{tags, value};

/// Where a field's value stands in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The number in front of the `=`.
    pub tag: i32,
    start: u32,
    end: u32,
}

/// Room for the fields of one message, used again for the next.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    list: Vec<Field>,
}

/// Fields of data that a dictionary has beyond those of the standard, each behind the field that
/// says its length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataTags {
    /// Pairs of data and length, sorted.
    pairs: Vec<(i32, i32)>,
}

/// A message whose fields can be told apart: it begins with BeginString, BodyLength and MsgType,
/// and ends with CheckSum.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    fields: &'a [Field],
}

/// Why bytes are not fields, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled {
    /// The byte that is wrong.
    pub offset_bytes: usize,
    /// What should be there.
    pub want: &'static str,
}

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: want {}", self.offset_bytes, self.want)
    }
}

impl std::error::Error for Garbled {}

impl DataTags {
    /// From pairs of a data field and the field with its length.
    pub fn new(pairs: impl IntoIterator<Item = (i32, i32)>) -> DataTags {
        let mut pairs: Vec<(i32, i32)> = pairs
            .into_iter()
            .filter(|&(data, _)| tags::length_of(data).is_none())
            .collect();
        pairs.sort_unstable();
        pairs.dedup_by_key(|pair| pair.0);
        DataTags { pairs }
    }

    #[inline]
    fn length_of(&self, data: i32) -> Option<i32> {
        if let Some(length) = tags::length_of(data) {
            return Some(length);
        }
        if self.pairs.is_empty() {
            return None;
        }
        let at = self.pairs.binary_search_by_key(&data, |pair| pair.0).ok()?;
        Some(self.pairs[at].1)
    }
}

/// Tells the fields of one framed message apart.
///
/// A field of data is as long as the field in front of it says, and may hold any byte; all others
/// end with the next SOH.
pub fn parse<'a>(
    bytes: &'a [u8],
    fields: &'a mut Fields,
    data: &DataTags,
) -> Result<Message<'a>, Garbled> {
    let list = &mut fields.list;
    list.clear();
    let mut at = 0;
    while at < bytes.len() {
        let (tag, start) = read_tag(bytes, at)?;
        let end = match data.length_of(tag) {
            Some(length) if list.last().is_some_and(|field| field.tag == length) => {
                data_end(bytes, start, list[list.len() - 1])?
            }
            _ => match bytes[start..].iter().position(|&byte| byte == SOH) {
                Some(len) => start + len,
                None => return Err(garbled(bytes.len(), "SOH at the end of the field")),
            },
        };
        list.push(Field {
            tag,
            start: start as u32,
            end: end as u32,
        });
        at = end + 1;
    }
    let [first, second, third, .., last] = &list[..] else {
        return Err(garbled(0, "BeginString, BodyLength, MsgType and CheckSum"));
    };
    if (first.tag, second.tag, third.tag) != (tags::BEGIN_STRING, tags::BODY_LENGTH, tags::MSG_TYPE)
    {
        return Err(garbled(0, "BeginString, BodyLength and MsgType in front"));
    }
    if last.tag != tags::CHECK_SUM {
        return Err(garbled(last.start as usize, "CheckSum at the end"));
    }
    Ok(Message {
        bytes,
        fields: list,
    })
}

#[cold]
fn garbled(offset_bytes: usize, want: &'static str) -> Garbled {
    Garbled { offset_bytes, want }
}

/// The number before the `=`, and where the value begins. Negative numbers are read too, so that
/// they can be rejected by their name.
#[inline]
fn read_tag(bytes: &[u8], at: usize) -> Result<(i32, usize), Garbled> {
    const WANT: &str = "a tag of one to nine digits and =";
    let is_negative = bytes[at] == b'-';
    let first = at + usize::from(is_negative);
    let mut tag = 0i32;
    let mut next = first;
    loop {
        match bytes.get(next) {
            Some(&byte) if byte.is_ascii_digit() && next - first < 9 => {
                tag = tag * 10 + i32::from(byte - b'0');
                next += 1;
            }
            Some(b'=') if next > first => break,
            _ => return Err(garbled(next, WANT)),
        }
    }
    Ok((if is_negative { -tag } else { tag }, next + 1))
}

/// Where a field of data ends, by the field before it.
fn data_end(bytes: &[u8], start: usize, length: Field) -> Result<usize, Garbled> {
    let digits = &bytes[length.start as usize..length.end as usize];
    let end = value::unsigned(digits)
        .and_then(|len| usize::try_from(len).ok())
        .and_then(|len| start.checked_add(len))
        .filter(|&end| bytes.get(end) == Some(&SOH));
    end.ok_or_else(|| garbled(length.start as usize, "the length of the field behind it"))
}

impl<'a> Message<'a> {
    /// All of it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Never: a message has at least four fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The field at this place.
    pub fn tag_at(&self, index: usize) -> i32 {
        self.fields[index].tag
    }

    /// The value at this place.
    pub fn value_at(&self, index: usize) -> &'a [u8] {
        let field = self.fields[index];
        &self.bytes[field.start as usize..field.end as usize]
    }

    /// All fields, in the order in which they stand.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (i32, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.fields
            .iter()
            .map(move |field| (field.tag, &bytes[field.start as usize..field.end as usize]))
    }

    /// BeginString.
    pub fn begin_string(&self) -> &'a [u8] {
        self.value_at(0)
    }

    /// MsgType.
    pub fn msg_type(&self) -> &'a [u8] {
        self.value_at(2)
    }

    /// Whether this is a message of the session itself.
    pub fn is_admin(&self) -> bool {
        is_admin(self.msg_type())
    }

    /// The value of the first field of this number.
    #[inline]
    pub fn get(&self, tag: i32) -> Option<&'a [u8]> {
        let index = self.fields.iter().position(|field| field.tag == tag)?;
        Some(self.value_at(index))
    }

    /// A whole number, zero or more.
    pub fn number(&self, tag: i32) -> Option<u64> {
        value::unsigned(self.get(tag)?)
    }

    /// Whether a flag is there and says yes.
    pub fn is_set(&self, tag: i32) -> bool {
        self.get(tag) == Some(b"Y")
    }

    /// The entries of a repeating group: from each field that is the first of an entry up to the
    /// next one, as long as fields are among `members`. The first field behind the count is the
    /// one that begins an entry.
    pub fn group<'b>(&self, count: i32, members: &'b [i32]) -> Group<'a, 'b> {
        let at = self.fields.iter().position(|field| field.tag == count);
        let rest = at.map_or(&[][..], |at| &self.fields[at + 1..]);
        let first = rest.first().map_or(0, |field| field.tag);
        Group {
            bytes: self.bytes,
            rest,
            first,
            members,
        }
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.bytes).replace('\x01', "|"))
    }
}

/// Whether messages of this type are the session's own.
pub fn is_admin(msg_type: &[u8]) -> bool {
    matches!(msg_type, [b'0'..=b'5' | b'A'])
}

/// Walks over the entries of a repeating group: see [`Message::group`].
#[derive(Clone, Debug)]
pub struct Group<'a, 'b> {
    bytes: &'a [u8],
    rest: &'a [Field],
    first: i32,
    members: &'b [i32],
}

/// One entry of a repeating group.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    bytes: &'a [u8],
    fields: &'a [Field],
}

impl<'a> Iterator for Group<'a, '_> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let front = self.rest.first()?;
        if front.tag != self.first || !self.members.contains(&front.tag) {
            return None;
        }
        let len = self.rest[1..]
            .iter()
            .position(|field| field.tag == self.first || !self.members.contains(&field.tag))
            .map_or(self.rest.len(), |at| at + 1);
        let (fields, rest) = self.rest.split_at(len);
        self.rest = rest;
        Some(Entry {
            bytes: self.bytes,
            fields,
        })
    }
}

impl<'a> Entry<'a> {
    /// The value of the first field of this number.
    pub fn get(&self, tag: i32) -> Option<&'a [u8]> {
        let field = self.fields.iter().find(|field| field.tag == tag)?;
        Some(&self.bytes[field.start as usize..field.end as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, want: &str) {
        let bytes = text.replace('|', "\x01").into_bytes();
        let mut fields = Fields::default();
        let found = match parse(&bytes, &mut fields, &DataTags::new([(5001, 5000)])) {
            Ok(message) => message
                .fields()
                .map(|(tag, value)| {
                    let value = String::from_utf8_lossy(value).replace('\x01', "|");
                    format!("{tag} {value}")
                })
                .collect::<Vec<String>>()
                .join(", "),
            Err(garbled) => garbled.to_string(),
        };
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn fields_are_told_apart() {
        check(
            "8=FIX.4.4|9=5|35=0|58=a=b|-1=x|10=000|",
            "8 FIX.4.4, 9 5, 35 0, 58 a=b, -1 x, 10 000",
        );
        check(
            "8=FIX.4.4|9=5|35=0|58=|10=000|",
            "8 FIX.4.4, 9 5, 35 0, 58 , 10 000",
        );
    }

    #[test]
    fn data_is_as_long_as_it_says() {
        check(
            "8=F|9=5|35=B|95=5|96=a|1=b|10=000|",
            "8 F, 9 5, 35 B, 95 5, 96 a|1=b, 10 000",
        );
        check(
            "8=F|9=5|35=B|93=2|89=|||10=000|",
            "8 F, 9 5, 35 B, 93 2, 89 ||, 10 000",
        );
        check(
            "8=F|9=5|35=B|5000=1|5001=||10=000|",
            "8 F, 9 5, 35 B, 5000 1, 5001 |, 10 000",
        );
        check(
            "8=F|9=5|35=B|95=9999999999|96=a|10=000|",
            "byte 16: want the length of the field behind it",
        );
        check(
            "8=F|9=5|35=B|95=1|96=ab|10=000|",
            "byte 16: want the length of the field behind it",
        );
        check(
            "8=F|9=5|35=B|96=ab|10=000|",
            "8 F, 9 5, 35 B, 96 ab, 10 000",
        );
    }

    #[test]
    fn what_is_no_field_is_told_with_its_byte() {
        const TAG: &str = "want a tag of one to nine digits and =";
        check("8=F|9=5|35=0|4x9=a|10=000|", &format!("byte 14: {TAG}"));
        check("8=F|9=5|35=0||10=000|", &format!("byte 13: {TAG}"));
        check("8=F|9=5|35=0|=a|10=000|", &format!("byte 13: {TAG}"));
        check("8=F|9=5|35=0|-=a|10=000|", &format!("byte 14: {TAG}"));
        check(
            "8=F|9=5|35=0|1234567890=a|10=000|",
            &format!("byte 22: {TAG}"),
        );
        check("8=F|9=5|35=0|49", &format!("byte 15: {TAG}"));
        check(
            "8=F|9=5|35=0|49=a",
            "byte 17: want SOH at the end of the field",
        );
        check(
            "8=F|9=5|34=1|35=0|10=000|",
            "byte 0: want BeginString, BodyLength and MsgType in front",
        );
        check("8=F|9=5|35=0|49=a|", "byte 16: want CheckSum at the end");
        check(
            "",
            "byte 0: want BeginString, BodyLength, MsgType and CheckSum",
        );
    }

    #[test]
    fn groups_are_walked_entry_by_entry() {
        let text = "8=F|9=5|35=D|453=2|448=A|447=D|452=1|448=B|452=3|55=X|448=Z|10=000|";
        let bytes = text.replace('|', "\x01").into_bytes();
        let mut fields = Fields::default();
        let message = parse(&bytes, &mut fields, &DataTags::default()).unwrap();
        let entries: Vec<_> = message
            .group(453, &[448, 447, 452])
            .map(|entry| (entry.get(448), entry.get(447)))
            .collect();
        let want = [(Some(&b"A"[..]), Some(&b"D"[..])), (Some(&b"B"[..]), None)];
        assert_eq!(entries, want);
        assert_eq!(message.group(382, &[375]).count(), 0);
        assert_eq!(message.get(55), Some(&b"X"[..]));
        assert_eq!(message.number(453), Some(2));
        assert!(!message.is_admin() && is_admin(b"A") && !is_admin(b"AE"));
    }
}
