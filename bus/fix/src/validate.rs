//! A message held against a dictionary.

use std::fmt;
use std::sync::Arc;

use crate::dictionary::{Dictionary, Group, Section};
use crate::message::Message;
use crate::{tags, value};

/// What is looked at, by the names that QuickFIX's settings have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// `ValidateFieldsOutOfOrder`: header, body and trailer follow each other.
    pub fields_out_of_order: bool,
    /// `ValidateFieldsHaveValues`.
    pub fields_have_values: bool,
    /// `ValidateUserDefinedFields`: fields from 5000 on must be known, too.
    pub user_defined_fields: bool,
    /// The opposite of `AllowUnknownMsgFields`: fields must be known, and belong to their message.
    pub unknown_fields: bool,
}

impl Checks {
    /// All of them.
    pub const STRICT: Checks = Checks {
        fields_out_of_order: true,
        fields_have_values: true,
        user_defined_fields: true,
        unknown_fields: true,
    };
    /// Only that what is there can be understood.
    pub const TOLERANT: Checks = Checks {
        fields_out_of_order: false,
        fields_have_values: true,
        user_defined_fields: false,
        unknown_fields: false,
    };
}

/// Why a message is rejected: the values of SessionRejectReason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The standard has no such field.
    InvalidTagNumber,
    /// A field that has to be there is missing.
    RequiredTagMissing,
    /// The field does not belong to messages of this type.
    TagNotDefinedForMessage,
    /// A field is empty.
    TagWithoutValue,
    /// A value that the field cannot have.
    ValueIncorrect,
    /// A value that is not written as the field's have to be.
    IncorrectFormat,
    /// SenderCompID or TargetCompID is another one.
    CompId,
    /// SendingTime, or OrigSendingTime, cannot be right.
    SendingTimeAccuracy,
    /// There are no messages of this type.
    InvalidMsgType,
    /// A field is there twice.
    TagRepeated,
    /// A field of the header behind the body, or of the body behind the trailer.
    TagOutOfOrder,
    /// There are more or fewer entries than their count says.
    GroupCount,
}

impl Reason {
    /// As in tag 373.
    pub const fn code(self) -> u64 {
        match self {
            Reason::InvalidTagNumber => 0,
            Reason::RequiredTagMissing => 1,
            Reason::TagNotDefinedForMessage => 2,
            Reason::TagWithoutValue => 4,
            Reason::ValueIncorrect => 5,
            Reason::IncorrectFormat => 6,
            Reason::CompId => 9,
            Reason::SendingTimeAccuracy => 10,
            Reason::InvalidMsgType => 11,
            Reason::TagRepeated => 13,
            Reason::TagOutOfOrder => 14,
            Reason::GroupCount => 16,
        }
    }

    /// As people read it; the words that counterparties know.
    pub const fn text(self) -> &'static str {
        match self {
            Reason::InvalidTagNumber => "Invalid tag number",
            Reason::RequiredTagMissing => "Required tag missing",
            Reason::TagNotDefinedForMessage => "Tag not defined for this message type",
            Reason::TagWithoutValue => "Tag specified without a value",
            Reason::ValueIncorrect => "Value is incorrect (out of range) for this tag",
            Reason::IncorrectFormat => "Incorrect data format for value",
            Reason::CompId => "CompID problem",
            Reason::SendingTimeAccuracy => "SendingTime accuracy problem",
            Reason::InvalidMsgType => "Invalid MsgType",
            Reason::TagRepeated => "Tag appears more than once",
            Reason::TagOutOfOrder => "Tag specified out of required order",
            Reason::GroupCount => "Incorrect NumInGroup count for repeating group",
        }
    }
}

/// What is wrong with a message, and with which of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong.
    pub reason: Reason,
    /// With which field, when it is one.
    pub tag: Option<i32>,
}

impl Flaw {
    /// Of a field.
    pub const fn of(reason: Reason, tag: i32) -> Flaw {
        Flaw {
            reason,
            tag: Some(tag),
        }
    }

    /// Of the whole message.
    pub const fn whole(reason: Reason) -> Flaw {
        Flaw { reason, tag: None }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tag {
            Some(tag) => write!(f, "{} ({tag})", self.reason.text()),
            None => f.write_str(self.reason.text()),
        }
    }
}

impl std::error::Error for Flaw {}

/// Holds messages against dictionaries, again and again.
#[derive(Clone, Debug)]
pub struct Validator {
    session: Arc<Dictionary>,
    /// What the messages are that are not the session's; `None` leaves them alone.
    application: Option<Arc<Dictionary>>,
    checks: Checks,
    header: Vec<Seen>,
    body: Vec<Seen>,
    trailer: Vec<Seen>,
}

/// A field outside groups.
#[derive(Clone, Copy, Debug)]
struct Seen {
    tag: i32,
    index: usize,
    /// How many entries follow, where this is a group's count.
    entries: Option<u64>,
}

/// Fields from here on are defined by whoever uses them.
const USER_DEFINED: i32 = 5_000;

impl Validator {
    /// With the session's own facts only.
    pub fn admin() -> Validator {
        Validator::of(Arc::new(Dictionary::admin()), None, Checks::TOLERANT)
    }

    /// With one dictionary, as for FIX 4.
    pub fn new(dictionary: Arc<Dictionary>, checks: Checks) -> Validator {
        Validator::of(dictionary.clone(), Some(dictionary), checks)
    }

    /// With one dictionary for the session and one for what is said in it, as over FIXT.
    pub fn over_fixt(
        session: Arc<Dictionary>,
        application: Arc<Dictionary>,
        checks: Checks,
    ) -> Validator {
        Validator::of(session, Some(application), checks)
    }

    fn of(
        session: Arc<Dictionary>,
        application: Option<Arc<Dictionary>>,
        checks: Checks,
    ) -> Validator {
        Validator {
            session,
            application,
            checks,
            header: Vec::new(),
            body: Vec::new(),
            trailer: Vec::new(),
        }
    }

    /// The first thing that is wrong: order, type, missing fields, then field by field, those of
    /// the header first, each by its number.
    pub fn check(&mut self, message: &Message<'_>) -> Result<(), Flaw> {
        let session = self.session.clone();
        let dictionary = if message.is_admin() {
            Some(session.clone())
        } else {
            self.application.clone()
        };
        let msg_type = message.msg_type();
        let section = dictionary
            .as_ref()
            .and_then(|dictionary| dictionary.message(msg_type));
        let (out_of_order, in_group) = self.sort_out(message, &session, section);
        if let Some(tag) = out_of_order.filter(|_| self.checks.fields_out_of_order) {
            return Err(Flaw::of(Reason::TagOutOfOrder, tag));
        }
        if dictionary.is_some() && section.is_none() {
            return Err(Flaw::whole(Reason::InvalidMsgType));
        }
        check_required(session.header(), &self.header)?;
        check_required(session.trailer(), &self.trailer)?;
        if let Some(section) = section {
            check_required(section, &self.body)?;
        }
        let is_missing = |flaw: &Flaw| flaw.reason == Reason::RequiredTagMissing;
        if let Some(flaw) = in_group.filter(is_missing) {
            return Err(flaw);
        }
        self.check_each(message, &session, session.header(), &self.header)?;
        self.check_each(message, &session, session.trailer(), &self.trailer)?;
        if let (Some(dictionary), Some(section)) = (&dictionary, section) {
            self.check_each(message, dictionary, section, &self.body)?;
        }
        in_group.map_or(Ok(()), Err)
    }

    /// Puts a message's fields where they belong, without those inside of groups. Says which is the
    /// first out of its order, and what is wrong first inside of a group.
    fn sort_out(
        &mut self,
        message: &Message<'_>,
        session: &Dictionary,
        section: Option<&Section>,
    ) -> (Option<i32>, Option<Flaw>) {
        self.header.clear();
        self.body.clear();
        self.trailer.clear();
        let mut out_of_order = None;
        let mut in_group = None;
        let mut phase = 0;
        let mut index = 0;
        while index < message.len() {
            let tag = message.tag_at(index);
            let is_header = tags::is_header(tag) || session.header().members.contains_key(&tag);
            let is_trailer = tags::is_trailer(tag) || session.trailer().members.contains_key(&tag);
            let (place, section, list) = if is_header {
                (0, Some(session.header()), &mut self.header)
            } else if is_trailer {
                (2, Some(session.trailer()), &mut self.trailer)
            } else {
                (1, section, &mut self.body)
            };
            if place < phase {
                out_of_order.get_or_insert(tag);
            }
            phase = place;
            let group = section
                .and_then(|section| section.members.get(&tag))
                .and_then(|member| member.group.as_deref());
            let mut seen = Seen {
                tag,
                index,
                entries: None,
            };
            index += 1;
            if let Some(group) = group {
                let mut walk = Walk {
                    message,
                    dictionary: if place == 1 {
                        self.application.as_deref().unwrap_or(session)
                    } else {
                        session
                    },
                    checks: self.checks,
                    flaw: in_group,
                };
                let entries = walk.group(&mut index, group);
                in_group = walk.flaw;
                seen.entries = Some(entries);
            }
            list.push(seen);
        }
        for list in [&mut self.header, &mut self.body, &mut self.trailer] {
            list.sort_by_key(|seen| seen.tag);
        }
        (out_of_order, in_group)
    }

    fn check_each(
        &self,
        message: &Message<'_>,
        dictionary: &Dictionary,
        section: &Section,
        list: &[Seen],
    ) -> Result<(), Flaw> {
        let mut last = None;
        for seen in list {
            let tag = seen.tag;
            if last == Some(tag) {
                return Err(Flaw::of(Reason::TagRepeated, tag));
            }
            last = Some(tag);
            let text = message.value_at(seen.index);
            check_value(dictionary, self.checks, tag, text)?;
            let is_checked = if tag >= USER_DEFINED {
                self.checks.user_defined_fields
            } else {
                self.checks.unknown_fields
            };
            if is_checked {
                if dictionary.field(tag).is_none() {
                    return Err(Flaw::of(Reason::InvalidTagNumber, tag));
                }
                let is_of_body = !tags::is_header(tag) && !tags::is_trailer(tag);
                if is_of_body && !section.members.contains_key(&tag) {
                    return Err(Flaw::of(Reason::TagNotDefinedForMessage, tag));
                }
            }
            if seen
                .entries
                .is_some_and(|entries| value::unsigned(text) != Some(entries))
            {
                return Err(Flaw::of(Reason::GroupCount, tag));
            }
        }
        Ok(())
    }
}

fn check_required(section: &Section, list: &[Seen]) -> Result<(), Flaw> {
    for (&tag, member) in &section.members {
        if member.is_required && list.binary_search_by_key(&tag, |seen| seen.tag).is_err() {
            return Err(Flaw::of(Reason::RequiredTagMissing, tag));
        }
    }
    Ok(())
}

fn check_value(dictionary: &Dictionary, checks: Checks, tag: i32, text: &[u8]) -> Result<(), Flaw> {
    if text.is_empty() {
        return if checks.fields_have_values {
            Err(Flaw::of(Reason::TagWithoutValue, tag))
        } else {
            Ok(())
        };
    }
    let Some(field) = dictionary.field(tag) else {
        return Ok(());
    };
    if !field.kind.fits(text) {
        return Err(Flaw::of(Reason::IncorrectFormat, tag));
    }
    if !field.allows(text) {
        return Err(Flaw::of(Reason::ValueIncorrect, tag));
    }
    Ok(())
}

/// Goes over the entries of groups within groups.
struct Walk<'a, 'm> {
    message: &'a Message<'m>,
    dictionary: &'a Dictionary,
    checks: Checks,
    /// The first missing field, or else the first other thing that is wrong.
    flaw: Option<Flaw>,
}

impl Walk<'_, '_> {
    fn note(&mut self, flaw: Flaw) {
        let is_missing = flaw.reason == Reason::RequiredTagMissing;
        let has_missing = self
            .flaw
            .is_some_and(|flaw| flaw.reason == Reason::RequiredTagMissing);
        if self.flaw.is_none() || (is_missing && !has_missing) {
            self.flaw = Some(flaw);
        }
    }

    /// Takes the entries at `index`, and says how many they are. An entry begins with the group's
    /// first field, or where a field comes again.
    fn group(&mut self, index: &mut usize, group: &Group) -> u64 {
        let mut entries = 0;
        let mut seen: Vec<i32> = Vec::new();
        while *index < self.message.len() {
            let tag = self.message.tag_at(*index);
            let Some(member) = group.section.members.get(&tag) else {
                break;
            };
            if tag == group.first || entries == 0 || seen.contains(&tag) {
                if entries > 0 {
                    self.end_entry(group, &seen);
                }
                entries += 1;
                seen.clear();
            }
            seen.push(tag);
            let text = self.message.value_at(*index);
            if let Err(flaw) = check_value(self.dictionary, self.checks, tag, text) {
                self.note(flaw);
            }
            *index += 1;
            if let Some(inner) = &member.group {
                let inner_entries = self.group(index, inner);
                if value::unsigned(text) != Some(inner_entries) {
                    self.note(Flaw::of(Reason::GroupCount, tag));
                }
            }
        }
        if entries > 0 {
            self.end_entry(group, &seen);
        }
        entries
    }

    fn end_entry(&mut self, group: &Group, seen: &[i32]) {
        for (&tag, member) in &group.section.members {
            if member.is_required && !seen.contains(&tag) {
                self.note(Flaw::of(Reason::RequiredTagMissing, tag));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dictionary::tests::SMALL;
    use crate::{DataTags, Fields, parse};

    fn check(checks: Checks, middle: &str, want: &str) {
        let dictionary = Arc::new(Dictionary::parse("small", SMALL).unwrap());
        let mut validator = Validator::new(dictionary, checks);
        check_by(&mut validator, middle, want);
    }

    fn check_by(validator: &mut Validator, middle: &str, want: &str) {
        let text = format!("8=FIX.4.4|9=5|{middle}|10=000|").replace('|', "\x01");
        let mut fields = Fields::default();
        let message = parse(text.as_bytes(), &mut fields, &DataTags::default()).unwrap();
        let found = match validator.check(&message) {
            Ok(()) => "ok".to_owned(),
            Err(flaw) => flaw.to_string(),
        };
        assert_eq!(found, want, "{middle}");
    }

    const HEAD: &str = "34=2|49=A|52=20260105-14:30:00|56=B";

    fn order(rest: &str, want: &str) {
        check(
            Checks::STRICT,
            &format!("35=D|{HEAD}|11=x|54=1{rest}"),
            want,
        );
    }

    #[test]
    fn a_good_message_is_good() {
        order("", "ok");
        order("|453=2|448=P|452=1|448=Q|802=1|523=S|38=100.00", "ok");
        order("|453=0", "ok");
    }

    #[test]
    fn each_flaw_has_its_name_and_field() {
        order("|999=1", "Invalid tag number (999)");
        order("|0=1", "Invalid tag number (0)");
        order("|-1=1", "Invalid tag number (-1)");
        order("|6000=1", "Invalid tag number (6000)");
        order("|112=1", "Tag not defined for this message type (112)");
        order("|38=", "Tag specified without a value (38)");
        order(
            "|40=9",
            "Value is incorrect (out of range) for this tag (40)",
        );
        order("|38=+1", "Incorrect data format for value (38)");
        order("|60=20260105", "Incorrect data format for value (60)");
        order("|40=1|40=2", "Tag appears more than once (40)");
        order("|97=Y", "Tag specified out of required order (97)");
        let count = "Incorrect NumInGroup count for repeating group (453)";
        order("|453=3|448=P|448=Q", count);
        order("|453=1|448=P|448=Q", count);
        order("|453=-1", count);
        order("|453=1|452=1", "Required tag missing (448)");
        order(
            "|453=1|448=P|452=x",
            "Incorrect data format for value (452)",
        );
        order(
            "|453=1|448=P|802=2|523=S",
            "Incorrect NumInGroup count for repeating group (802)",
        );
        check(
            Checks::STRICT,
            &format!("35=D|{HEAD}|11=x"),
            "Required tag missing (54)",
        );
        check(
            Checks::STRICT,
            "35=0|34=2|49=A|52=20260105-14:30:00",
            "Required tag missing (56)",
        );
        check(Checks::STRICT, &format!("35=*|{HEAD}"), "Invalid MsgType");
        check(
            Checks::STRICT,
            &format!("35=0|{HEAD}|43=x"),
            "Incorrect data format for value (43)",
        );
    }

    #[test]
    fn tolerant_is_what_can_be_understood() {
        let tolerant = |rest: &str, want: &str| {
            check(
                Checks::TOLERANT,
                &format!("35=D|{HEAD}|11=x|54=1{rest}"),
                want,
            );
        };
        tolerant("|999=1|6000=1|112=1|97=Y", "ok");
        tolerant("|38=+1", "Incorrect data format for value (38)");
        tolerant("|453=2|448=P|38=", "Tag specified without a value (38)");
    }

    #[test]
    fn without_a_dictionary_only_the_session_is_looked_at() {
        let mut admin = Validator::admin();
        check_by(&mut admin, &format!("35=D|{HEAD}|11="), "ok");
        check_by(
            &mut admin,
            "35=D|34=2|49=A|56=B",
            "Required tag missing (52)",
        );
        check_by(
            &mut admin,
            &format!("35=1|{HEAD}"),
            "Required tag missing (112)",
        );
        check_by(
            &mut admin,
            &format!("35=2|{HEAD}|7=1|16=x"),
            "Incorrect data format for value (16)",
        );
        check_by(&mut admin, &format!("35=5|{HEAD}|9999=x"), "ok");
    }
}
