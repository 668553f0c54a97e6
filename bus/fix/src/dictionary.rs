//! What messages there are, which fields they have, and what may stand in them: a data dictionary
//! as QuickFIX has them in XML, read as it is, or the few facts that the session layer itself
//! needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::message::DataTags;
use crate::{tags, value};

/// A data dictionary.
#[derive(Clone, Debug, Default)]
pub struct Dictionary {
    begin_string: String,
    fields: BTreeMap<i32, Definition>,
    header: Section,
    trailer: Section,
    messages: BTreeMap<Vec<u8>, Section>,
}

/// One field: its name, what kind of value it has, and which, when they are listed.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Such as `ClOrdID`.
    pub name: String,
    /// How its value is written.
    pub kind: Kind,
    /// The values it may have; none means any.
    pub values: BTreeSet<Vec<u8>>,
    is_open: bool,
}

/// The fields of a message, of a header, or of an entry of a group.
#[derive(Clone, Debug, Default)]
pub struct Section {
    pub(crate) members: BTreeMap<i32, Member>,
}

/// One field of a section.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) is_required: bool,
    pub(crate) group: Option<Box<Group>>,
}

/// What repeats behind a count.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The field that begins each entry.
    pub(crate) first: i32,
    pub(crate) section: Section,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text, and all that is not looked into further.
    Text,
    /// One character.
    Char,
    /// Texts with spaces between them.
    Several,
    /// A whole number.
    Int,
    /// A whole number, zero or more.
    Unsigned,
    /// How many entries follow.
    Count,
    /// How many bytes the next field has.
    Length,
    /// A decimal number.
    Decimal,
    /// `Y` or `N`.
    Flag,
    /// A time and its date in UTC.
    Timestamp,
    /// A time of the day in UTC.
    Time,
    /// A date in UTC.
    Date,
    /// Any bytes.
    Data,
}

impl Kind {
    /// From a dictionary's `type`, whose meaning changed with FIX 4.2.
    fn of(name: &str, is_before_4_2: bool) -> Kind {
        match name {
            "CHAR" if is_before_4_2 => Kind::Text,
            "CHAR" => Kind::Char,
            "INT" | "DAYOFMONTH" | "TAGNUM" => Kind::Int,
            "SEQNUM" => Kind::Unsigned,
            "NUMINGROUP" => Kind::Count,
            "LENGTH" => Kind::Length,
            "PRICE" | "AMT" | "QTY" | "FLOAT" | "PRICEOFFSET" | "PERCENTAGE" => Kind::Decimal,
            "BOOLEAN" => Kind::Flag,
            "UTCTIMESTAMP" | "TIME" => Kind::Timestamp,
            "UTCTIMEONLY" => Kind::Time,
            "UTCDATE" | "UTCDATEONLY" | "DATE" => Kind::Date,
            "DATA" | "XMLDATA" => Kind::Data,
            "MULTIPLEVALUESTRING" | "MULTIPLESTRINGVALUE" | "MULTIPLECHARVALUE" => Kind::Several,
            _ => Kind::Text,
        }
    }

    /// Whether a value is written so.
    pub fn fits(self, text: &[u8]) -> bool {
        match self {
            Kind::Text | Kind::Several | Kind::Data => true,
            Kind::Char => text.len() == 1,
            Kind::Int | Kind::Count | Kind::Length => value::signed(text).is_some(),
            Kind::Unsigned => value::unsigned(text).is_some(),
            Kind::Decimal => value::is_decimal(text),
            Kind::Flag => matches!(text, b"Y" | b"N"),
            Kind::Timestamp => value::timestamp(text).is_some(),
            Kind::Time => value::time_of_day(text).is_some(),
            Kind::Date => value::days(text).is_some(),
        }
    }
}

/// Why a file is no dictionary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DictionaryError {
    /// The file, or what else it was read from.
    pub place: String,
    /// The byte near which it is wrong.
    pub offset_bytes: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for DictionaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DictionaryError {
            place,
            offset_bytes,
            what,
        } = self;
        write!(f, "{place}, byte {offset_bytes}: {what}")
    }
}

impl std::error::Error for DictionaryError {}

/// What is wrong, and near which byte.
type Wrong = (u64, String);

impl Dictionary {
    /// A file larger than this is refused: the largest of the usual ones has a sixteenth of it.
    pub const FILE_BYTES_MAX: u64 = 32 << 20;
    /// Components within components are put in place of their names, up to so many fields in all.
    const MEMBERS_MAX: usize = 1 << 20;
    const DEPTH_MAX: usize = 24;

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Dictionary, DictionaryError> {
        let fail = |what: String| DictionaryError {
            place: path.display().to_string(),
            offset_bytes: 0,
            what,
        };
        let file = File::open(path).map_err(|error| fail(format!("open: {error}")))?;
        let mut text = String::new();
        file.take(Dictionary::FILE_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(|error| fail(format!("read: {error}")))?;
        if text.len() as u64 > Dictionary::FILE_BYTES_MAX {
            return Err(fail(format!(
                "more than {} bytes",
                Dictionary::FILE_BYTES_MAX
            )));
        }
        Dictionary::parse(&path.display().to_string(), &text)
    }

    /// Reads a text, which errors call `place`.
    pub fn parse(place: &str, text: &str) -> Result<Dictionary, DictionaryError> {
        let read = || {
            let root = tree(text)?;
            Builder::new(&root)?.build(&root)
        };
        read().map_err(|(offset_bytes, what): Wrong| DictionaryError {
            place: place.to_owned(),
            offset_bytes,
            what,
        })
    }

    /// What any session needs to know of its own messages, with nothing of the others.
    pub fn admin() -> Dictionary {
        let mut dictionary = Dictionary::default();
        let mut section = |fields: &[(i32, Kind, bool)]| {
            let mut section = Section::default();
            for &(tag, kind, is_required) in fields {
                dictionary.fields.entry(tag).or_insert(Definition {
                    name: String::new(),
                    kind,
                    values: BTreeSet::new(),
                    is_open: true,
                });
                let member = Member {
                    is_required,
                    group: None,
                };
                section.members.insert(tag, member);
            }
            section
        };
        use Kind::{Data, Flag, Int, Length, Text, Timestamp, Unsigned};
        let header = section(&[
            (tags::BEGIN_STRING, Text, true),
            (tags::BODY_LENGTH, Length, true),
            (tags::MSG_TYPE, Text, true),
            (tags::MSG_SEQ_NUM, Unsigned, true),
            (tags::POSS_DUP_FLAG, Flag, false),
            (tags::SENDER_COMP_ID, Text, true),
            (tags::TARGET_COMP_ID, Text, true),
            (tags::SENDING_TIME, Timestamp, true),
            (tags::POSS_RESEND, Flag, false),
            (tags::ORIG_SENDING_TIME, Timestamp, false),
        ]);
        let trailer = section(&[
            (93, Length, false),
            (89, Data, false),
            (tags::CHECK_SUM, Text, true),
        ]);
        let text = [
            (tags::TEXT, Text, false),
            (354, Length, false),
            (355, Data, false),
        ];
        let mut put = |msg_type: &[u8], fields: &[(i32, Kind, bool)]| {
            (msg_type.to_vec(), section(&[fields, &text].concat()))
        };
        let messages = [
            put(b"0", &[(tags::TEST_REQ_ID, Text, false)]),
            put(b"1", &[(tags::TEST_REQ_ID, Text, true)]),
            put(
                b"2",
                &[
                    (tags::BEGIN_SEQ_NO, Unsigned, true),
                    (tags::END_SEQ_NO, Unsigned, true),
                ],
            ),
            put(
                b"3",
                &[
                    (tags::REF_SEQ_NUM, Unsigned, true),
                    (tags::REF_TAG_ID, Int, false),
                    (tags::REF_MSG_TYPE, Text, false),
                    (tags::SESSION_REJECT_REASON, Int, false),
                ],
            ),
            put(
                b"4",
                &[
                    (tags::GAP_FILL_FLAG, Flag, false),
                    (tags::NEW_SEQ_NO, Unsigned, true),
                ],
            ),
            put(b"5", &[]),
            put(
                b"A",
                &[
                    (tags::ENCRYPT_METHOD, Int, true),
                    (tags::HEART_BT_INT, Int, true),
                    (95, Length, false),
                    (96, Data, false),
                    (tags::RESET_SEQ_NUM_FLAG, Flag, false),
                    (tags::NEXT_EXPECTED_MSG_SEQ_NUM, Unsigned, false),
                    (tags::DEFAULT_APPL_VER_ID, Text, false),
                ],
            ),
        ];
        dictionary.header = header;
        dictionary.trailer = trailer;
        dictionary.messages = messages.into();
        dictionary
    }

    /// What BeginString it is for; empty for the facts of [`Dictionary::admin`].
    pub fn begin_string(&self) -> &str {
        &self.begin_string
    }

    /// A field's definition.
    pub fn field(&self, tag: i32) -> Option<&Definition> {
        self.fields.get(&tag)
    }

    /// How many message types it has.
    pub fn message_count(&self) -> usize {
        self.messages.len()
    }

    /// Whether it has messages of this type.
    pub fn has_message(&self, msg_type: &[u8]) -> bool {
        self.messages.contains_key(msg_type)
    }

    pub(crate) fn message(&self, msg_type: &[u8]) -> Option<&Section> {
        self.messages.get(msg_type)
    }

    pub(crate) fn header(&self) -> &Section {
        &self.header
    }

    pub(crate) fn trailer(&self) -> &Section {
        &self.trailer
    }

    /// Its fields of data, each with the field that says how long it is: the one before it.
    pub fn data_tags(&self) -> DataTags {
        let is_length = |tag: i32| {
            let kind = self.fields.get(&tag).map(|field| field.kind);
            matches!(kind, Some(Kind::Length | Kind::Int))
        };
        let data = self
            .fields
            .iter()
            .filter(|(_, field)| field.kind == Kind::Data)
            .map(|(&tag, _)| (tag, tag - 1))
            .filter(|&(_, length)| is_length(length));
        DataTags::new(data)
    }
}

impl Definition {
    /// Whether a value is among those that are listed, where some are.
    pub fn allows(&self, text: &[u8]) -> bool {
        if self.values.is_empty() || self.is_open {
            return true;
        }
        match self.kind {
            Kind::Several => text
                .split(|&byte| byte == b' ')
                .all(|one| self.values.contains(one)),
            _ => self.values.contains(text),
        }
    }
}

/// An element of the document.
struct Node {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Node>,
    offset_bytes: u64,
}

impl Node {
    fn get(&self, key: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    fn need(&self, key: &str) -> Result<&str, Wrong> {
        self.get(key)
            .ok_or_else(|| self.wrong(format!("<{}> without {key}", self.name)))
    }

    fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    fn wrong(&self, what: String) -> Wrong {
        (self.offset_bytes, what)
    }

    fn is_required(&self) -> bool {
        self.get("required") == Some("Y")
    }
}

/// The document as elements within elements.
fn tree(text: &str) -> Result<Node, Wrong> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Node> = Vec::new();
    loop {
        let offset_bytes = reader.buffer_position();
        let event = reader
            .read_event()
            .map_err(|error| (reader.error_position(), error.to_string()))?;
        let whole = match event {
            Event::Start(start) => {
                if open.len() == Dictionary::DEPTH_MAX {
                    return Err((offset_bytes, "elements too deep within others".into()));
                }
                open.push(node(&start, offset_bytes)?);
                None
            }
            Event::Empty(start) => Some(node(&start, offset_bytes)?),
            Event::End(_) => open.pop(),
            Event::Eof => return Err((offset_bytes, "want <fix>, up to its end".into())),
            _ => None,
        };
        if let Some(whole) = whole {
            match open.last_mut() {
                Some(parent) => parent.children.push(whole),
                None => return Ok(whole),
            }
        }
    }
}

fn node(start: &BytesStart<'_>, offset_bytes: u64) -> Result<Node, Wrong> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| (offset_bytes, error.to_string()))?;
        attributes.push((text(attribute.key.as_ref()), text(&attribute.value)));
    }
    Ok(Node {
        name: text(start.name().as_ref()),
        attributes,
        children: Vec::new(),
        offset_bytes,
    })
}

/// Puts components in their places and numbers for names.
struct Builder<'a> {
    dictionary: Dictionary,
    numbers: BTreeMap<&'a str, i32>,
    components: BTreeMap<&'a str, &'a Node>,
    member_count: usize,
}

impl<'a> Builder<'a> {
    fn new(root: &'a Node) -> Result<Builder<'a>, Wrong> {
        if root.name != "fix" {
            return Err(root.wrong(format!("<{}>, want <fix>", root.name)));
        }
        let kind = root.get("type").unwrap_or("FIX");
        if !matches!(kind, "FIX" | "FIXT") {
            return Err(root.wrong(format!("type {kind:?}, want FIX or FIXT")));
        }
        let (major, minor) = (root.need("major")?, root.need("minor")?);
        let begin_string = format!("{kind}.{major}.{minor}");
        let is_before_4_2 = kind == "FIX" && major == "4" && matches!(minor, "0" | "1");
        let fields = root
            .child("fields")
            .ok_or_else(|| root.wrong("no <fields>".into()))?;
        let mut builder = Builder {
            dictionary: Dictionary {
                begin_string,
                ..Dictionary::default()
            },
            numbers: BTreeMap::new(),
            components: BTreeMap::new(),
            member_count: 0,
        };
        for field in fields.children.iter().filter(|node| node.name == "field") {
            builder.define(field, is_before_4_2)?;
        }
        if builder.numbers.is_empty() {
            return Err(fields.wrong("no field in <fields>".into()));
        }
        for node in root
            .child("components")
            .map_or(&[][..], |node| &node.children)
        {
            builder.components.insert(node.need("name")?, node);
        }
        Ok(builder)
    }

    fn define(&mut self, field: &'a Node, is_before_4_2: bool) -> Result<(), Wrong> {
        let name = field.need("name")?;
        let number = field.need("number")?;
        let tag = number
            .parse::<i32>()
            .ok()
            .filter(|&tag| tag > 0)
            .ok_or_else(|| field.wrong(format!("number {number:?} of {name}")))?;
        let kind = Kind::of(&field.need("type")?.to_ascii_uppercase(), is_before_4_2);
        let is_yes = |key: &str, node: &Node| node.get(key) == Some("Y");
        let mut is_open = is_yes("allowOtherValues", field);
        let mut values = BTreeSet::new();
        let inner = field.child("values").unwrap_or(field);
        is_open |= is_yes("allowOtherValues", inner);
        for value in inner.children.iter().filter(|node| node.name == "value") {
            values.insert(value.need("enum")?.as_bytes().to_vec());
        }
        let definition = Definition {
            name: name.to_owned(),
            kind,
            values,
            is_open,
        };
        // What is defined twice, as in some brokers' files, is what the later one says.
        self.dictionary.fields.insert(tag, definition);
        self.numbers.insert(name, tag);
        Ok(())
    }

    fn build(mut self, root: &'a Node) -> Result<Dictionary, Wrong> {
        if let Some(header) = root.child("header") {
            self.dictionary.header = self.section(header)?;
        }
        if let Some(trailer) = root.child("trailer") {
            self.dictionary.trailer = self.section(trailer)?;
        }
        let messages = root
            .child("messages")
            .ok_or_else(|| root.wrong("no <messages>".into()))?;
        for message in &messages.children {
            let msg_type = message.need("msgtype")?.as_bytes().to_vec();
            let section = self.section(message)?;
            self.dictionary.messages.insert(msg_type, section);
        }
        Ok(self.dictionary)
    }

    fn section(&mut self, node: &'a Node) -> Result<Section, Wrong> {
        let mut section = Section::default();
        self.gather(node, true, 0, &mut section, &mut None)?;
        Ok(section)
    }

    /// Puts a node's fields into a section, and says which came first.
    fn gather(
        &mut self,
        node: &'a Node,
        is_required: bool,
        depth: usize,
        section: &mut Section,
        first: &mut Option<i32>,
    ) -> Result<(), Wrong> {
        if depth == Dictionary::DEPTH_MAX {
            return Err(node.wrong("components too deep within others".into()));
        }
        for child in &node.children {
            let name = child.need("name")?;
            self.member_count += 1;
            if self.member_count > Dictionary::MEMBERS_MAX {
                return Err(child.wrong("too many fields in components".into()));
            }
            if child.name == "component" {
                let component = self
                    .components
                    .get(name)
                    .copied()
                    .ok_or_else(|| child.wrong(format!("component {name} is not defined")))?;
                let is_required = is_required && child.is_required();
                self.gather(component, is_required, depth + 1, section, first)?;
                continue;
            }
            let tag = *self
                .numbers
                .get(name)
                .ok_or_else(|| child.wrong(format!("field {name} is not defined")))?;
            let group = match child.name.as_str() {
                "field" => None,
                "group" => Some(self.group(child, depth)?),
                other => {
                    return Err(child.wrong(format!("<{other}>, want a field, group or component")));
                }
            };
            first.get_or_insert(tag);
            let member = Member {
                is_required: is_required && child.is_required(),
                group,
            };
            section.members.insert(tag, member);
        }
        Ok(())
    }

    fn group(&mut self, node: &'a Node, depth: usize) -> Result<Box<Group>, Wrong> {
        let mut section = Section::default();
        let mut first = None;
        self.gather(node, true, depth + 1, &mut section, &mut first)?;
        let first = first.ok_or_else(|| node.wrong("a group without fields".into()))?;
        Ok(Box::new(Group { first, section }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A made-up venue's dictionary: the session's messages, and orders with a group in a component.
    pub(crate) const SMALL: &str = r#"<?xml version="1.0"?>
<fix type="FIX" major="4" minor="4">
 <header>
  <field name="BeginString" required="Y"/><field name="BodyLength" required="Y"/>
  <field name="MsgType" required="Y"/><field name="SenderCompID" required="Y"/>
  <field name="TargetCompID" required="Y"/><field name="MsgSeqNum" required="Y"/>
  <field name="SendingTime" required="Y"/><field name="PossDupFlag" required="N"/>
  <field name="OrigSendingTime" required="N"/><field name="PossResend" required="N"/>
  <field name="OnBehalfOfCompID" required="N"/><field name="DeliverToCompID" required="N"/>
 </header>
 <messages>
  <message name="Heartbeat" msgtype="0" msgcat="admin"><field name="TestReqID" required="N"/></message>
  <message name="TestRequest" msgtype="1" msgcat="admin"><field name="TestReqID" required="Y"/></message>
  <message name="ResendRequest" msgtype="2" msgcat="admin"><field name="BeginSeqNo" required="Y"/><field name="EndSeqNo" required="Y"/></message>
  <message name="Reject" msgtype="3" msgcat="admin"><field name="RefSeqNum" required="Y"/><field name="Text" required="N"/></message>
  <message name="SequenceReset" msgtype="4" msgcat="admin"><field name="GapFillFlag" required="N"/><field name="NewSeqNo" required="Y"/></message>
  <message name="Logout" msgtype="5" msgcat="admin"><field name="Text" required="N"/></message>
  <message name="Logon" msgtype="A" msgcat="admin"><field name="EncryptMethod" required="Y"/><field name="HeartBtInt" required="Y"/><field name="ResetSeqNumFlag" required="N"/><field name="NextExpectedMsgSeqNum" required="N"/></message>
  <message name="ExecutionReport" msgtype="8" msgcat="app"><field name="OrderID" required="Y"/><field name="Text" required="N"/></message>
  <message name="Order" msgtype="D" msgcat="app">
   <field name="ClOrdID" required="Y"/><component name="Parties" required="N"/>
   <field name="Side" required="Y"/><field name="OrderQty" required="N"/>
   <field name="OrdType" required="N"/><field name="TransactTime" required="N"/><field name="ExecInst" required="N"/>
   <field name="Text" required="N"/>
  </message>
 </messages>
 <trailer><field name="CheckSum" required="Y"/></trailer>
 <components>
  <component name="Parties"><group name="NoPartyIDs" required="N">
   <field name="PartyID" required="Y"/><field name="PartyRole" required="N"/>
   <group name="NoPartySubIDs" required="N"><field name="PartySubID" required="N"/></group>
  </group></component>
 </components>
 <fields>
  <field number="8" name="BeginString" type="STRING"/><field number="9" name="BodyLength" type="LENGTH"/>
  <field number="35" name="MsgType" type="STRING"/><field number="49" name="SenderCompID" type="STRING"/>
  <field number="56" name="TargetCompID" type="STRING"/><field number="34" name="MsgSeqNum" type="SEQNUM"/>
  <field number="52" name="SendingTime" type="UTCTIMESTAMP"/><field number="43" name="PossDupFlag" type="BOOLEAN"/>
  <field number="97" name="PossResend" type="BOOLEAN"/><field number="115" name="OnBehalfOfCompID" type="STRING"/>
  <field number="128" name="DeliverToCompID" type="STRING"/><field number="122" name="OrigSendingTime" type="UTCTIMESTAMP"/>
  <field number="112" name="TestReqID" type="STRING"/><field number="7" name="BeginSeqNo" type="SEQNUM"/>
  <field number="16" name="EndSeqNo" type="SEQNUM"/><field number="45" name="RefSeqNum" type="SEQNUM"/>
  <field number="58" name="Text" type="STRING"/><field number="123" name="GapFillFlag" type="BOOLEAN"/>
  <field number="36" name="NewSeqNo" type="SEQNUM"/><field number="98" name="EncryptMethod" type="INT"/>
  <field number="108" name="HeartBtInt" type="INT"/><field number="141" name="ResetSeqNumFlag" type="BOOLEAN"/>
  <field number="789" name="NextExpectedMsgSeqNum" type="SEQNUM"/>
  <field number="37" name="OrderID" type="STRING"/><field number="11" name="ClOrdID" type="STRING"/>
  <field number="54" name="Side" type="CHAR"><value enum="1" description="BUY"/><value enum="2" description="SELL"/></field>
  <field number="40" name="OrdType" type="CHAR"><value enum="1" description="MARKET"/><value enum="2" description="LIMIT"/></field>
  <field number="18" name="ExecInst" type="MULTIPLEVALUESTRING"><value enum="1" description="A"/><value enum="G" description="B"/></field>
  <field number="38" name="OrderQty" type="QTY"/><field number="60" name="TransactTime" type="UTCTIMESTAMP"/>
  <field number="453" name="NoPartyIDs" type="NUMINGROUP"/><field number="448" name="PartyID" type="STRING"/>
  <field number="452" name="PartyRole" type="INT"/><field number="802" name="NoPartySubIDs" type="NUMINGROUP"/>
  <field number="523" name="PartySubID" type="STRING"/><field number="10" name="CheckSum" type="STRING"/>
  <field number="5000" name="ExtraLength" type="LENGTH"/><field number="5001" name="Extra" type="DATA"/>
 </fields>
</fix>"#;

    #[test]
    fn a_dictionary_says_what_it_has() {
        let dictionary = Dictionary::parse("small", SMALL).unwrap();
        assert_eq!(dictionary.begin_string(), "FIX.4.4");
        assert_eq!(dictionary.message_count(), 9);
        let side = dictionary.field(54).unwrap();
        assert_eq!((side.name.as_str(), side.kind), ("Side", Kind::Char));
        assert!(side.allows(b"1") && !side.allows(b"3"));
        let several = dictionary.field(18).unwrap();
        assert!(several.allows(b"1 G") && !several.allows(b"1 X"));
        let order = dictionary.message(b"D").unwrap();
        let parties = order.members[&453].group.as_ref().unwrap();
        assert_eq!(parties.first, 448);
        assert!(parties.section.members[&448].is_required);
        assert!(parties.section.members[&802].group.is_some());
        assert_eq!(dictionary.data_tags(), DataTags::new([(5001, 5000)]));
    }

    #[test]
    fn what_is_no_dictionary_is_told_with_its_byte() {
        let check = |text: &str, want: &str| {
            let error = Dictionary::parse("x.xml", text).unwrap_err().to_string();
            assert_eq!(error, want);
        };
        check("", "x.xml, byte 0: want <fix>, up to its end");
        check("<html/>", "x.xml, byte 0: <html>, want <fix>");
        check("<fix/>", "x.xml, byte 0: <fix> without major");
        check("<fix major='4' minor='4'/>", "x.xml, byte 0: no <fields>");
        let with = |inner: &str| {
            format!(
                "<fix major='4' minor='4'><fields><field number='1' name='A' type='INT'/>\
                 </fields>{inner}</fix>"
            )
        };
        check(&with(""), "x.xml, byte 0: no <messages>");
        check(
            &with("<messages><message msgtype='D'><field name='B'/></message></messages>"),
            "x.xml, byte 112: field B is not defined",
        );
        check(
            &with("<messages><message msgtype='D'><component name='C'/></message></messages>"),
            "x.xml, byte 112: component C is not defined",
        );
        check(
            &with(
                "<components><component name='C'><component name='C'/></component></components>\
                 <messages><message msgtype='D'><component name='C'/></message></messages>",
            ),
            "x.xml, byte 93: components too deep within others",
        );
        let cut = &SMALL[..SMALL.len() - 40];
        let error = Dictionary::parse("x.xml", cut).unwrap_err();
        assert!(error.offset_bytes as usize > cut.len() - 100, "{error}");
        let deep = "<fix>".repeat(1_000);
        check(&deep, "x.xml, byte 120: elements too deep within others");
    }

    /// Components that each name two others would be more fields than there is memory for.
    #[test]
    fn components_do_not_multiply_without_bound() {
        let mut components = String::from("<component name='C0'><field name='A'/></component>");
        for n in 1..22 {
            let inner = format!("<component name='C{}'/>", n - 1).repeat(8);
            components += &format!("<component name='C{n}'>{inner}</component>");
        }
        let text = format!(
            "<fix major='4' minor='4'><fields><field number='1' name='A' type='INT'/></fields>\
             <components>{components}</components>\
             <messages><message msgtype='D'><component name='C21'/></message></messages></fix>"
        );
        let error = Dictionary::parse("x.xml", &text).unwrap_err();
        assert_eq!(error.what, "too many fields in components");
    }
}
