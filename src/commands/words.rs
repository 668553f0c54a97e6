//! Records in words, by the layouts that the log itself describes.

use std::collections::HashMap;

use bus::log::{Field, Of, Record, Schema, Value};
use bus::{Event, Kind, Price, Signal};
use tapeline::session::TradingDay;

/// Puts records into words.
pub struct Words<'a> {
    day: &'a TradingDay,
    /// For each kind its name and the fields to say, in their order.
    kinds: HashMap<u8, (String, Vec<Field>)>,
}

impl<'a> Words<'a> {
    pub fn new(day: &'a TradingDay) -> Words<'a> {
        Words {
            day,
            kinds: kinds(&Schema::current()),
        }
    }

    /// Its name and its fields. A record that no layout describes has its number for a name.
    pub fn layout(&self, record: &Record) -> (String, &[Field]) {
        let kind = match record {
            Record::Event(event) => event.kind as u8,
            Record::Signal(signal) => signal.kind as u8,
        };
        match self.kinds.get(&kind) {
            Some((name, fields)) => (name.clone(), fields),
            None => (format!("{kind:#04x}"), &[]),
        }
    }

    /// Its fields as `name=value`, but for those that are 0 and what stands before each line.
    pub fn fields(&self, record: &Record) -> String {
        let said_before = ["ts_event", "ts_recv", "symbol", "kind"];
        let (_, fields) = self.layout(record);
        let mut text = String::new();
        for field in fields {
            if said_before.contains(&field.name.as_str()) {
                continue;
            }
            match field.read(bytes(record)) {
                None | Some(Value::Whole(0)) => {}
                Some(value) => {
                    let value = self.people(field, &value);
                    text.push_str(&format!(" {}={value}", field.name));
                }
            }
        }
        text
    }

    /// A whole line: when, what, and its fields.
    pub fn line(&self, record: &Record) -> String {
        let ts = match record {
            Record::Event(event) => event.ts_event,
            Record::Signal(signal) => signal.ts_event,
        };
        let (name, _) = self.layout(record);
        format!("{} {name}{}", self.day.shown(ts), self.fields(record))
    }

    pub fn event(&self, event: &Event) -> String {
        self.line(&Record::Event(*event))
    }

    pub fn signal(&self, signal: &Signal) -> String {
        self.line(&Record::Signal(*signal))
    }

    fn people(&self, field: &Field, value: &Value) -> String {
        match (value, field.unit.as_str()) {
            (Value::Whole(1), _) if field.name == "side" => "buy".to_string(),
            (Value::Whole(2), _) if field.name == "side" => "sell".to_string(),
            (Value::Whole(ns), "ns_utc") => self.day.shown(bus::Ts(*ns as i64)),
            (Value::Whole(whole), "1e-9") => match i64::try_from(*whole) {
                Ok(price) if Price(price) != Price::NONE => Price(price).to_string(),
                _ => format!("{whole}e-9"),
            },
            (Value::Whole(letter), "letter") => match u8::try_from(*letter) {
                Ok(letter) if letter.is_ascii_graphic() => char::from(letter).to_string(),
                _ => letter.to_string(),
            },
            (Value::Whole(whole), _) => whole.to_string(),
            (Value::Float(float), _) => float.to_string(),
            (Value::Text(text), _) => text.clone(),
        }
    }
}

/// A record as the log has it.
pub fn bytes(record: &Record) -> &[u8] {
    match record {
        Record::Event(event) => event.as_bytes(),
        Record::Signal(signal) => signal.as_bytes(),
    }
}

/// The name in a symbol's definition.
pub fn name_of(event: &Event) -> Option<String> {
    (event.kind == Kind::Symbol).then(|| {
        let name = String::from_utf8_lossy(&event.order.to_be_bytes()).into_owned();
        let plain = name.trim_end().chars();
        plain
            .map(|c| if c.is_control() { '?' } else { c })
            .collect()
    })
}

/// The head's fields and the kind's own, where it has a name for the same bytes its own only.
fn kinds(schema: &Schema) -> HashMap<u8, (String, Vec<Field>)> {
    let mut kinds = HashMap::new();
    for (of, layout) in &schema.layouts {
        let Of::Kind(number) = of else { continue };
        let head = &schema.layouts[&Of::Head(layout.family.clone())];
        let is_renamed =
            |field: &&Field| layout.fields.iter().any(|own| own.offset == field.offset);
        let shared = head.fields.iter().filter(|field| !is_renamed(field));
        let fields = shared.chain(&layout.fields).cloned().collect();
        kinds.insert(*number, (layout.name.clone(), fields));
    }
    kinds
}
