//! Records as lines, by the layouts that the log itself describes.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use bus::log::{Field, LogReader, Of, Record, Schema, Value};
use bus::{Event, Kind, Price};
use tapeline::session::TradingDay;

use crate::commands::{Failure, Talk};

/// Collects lines, and writes them together.
pub struct Printer<'a> {
    shard: usize,
    day: &'a TradingDay,
    talk: Talk,
    /// For each kind its name and the fields to say, in their order.
    kinds: HashMap<u8, (String, Vec<Field>)>,
    symbols: HashMap<u32, String>,
    text: String,
    count: usize,
}

impl<'a> Printer<'a> {
    /// For records from a cell on: what symbols are called is said by those before it, too, which
    /// are read for that.
    pub fn new(
        shard: usize,
        dir: &Path,
        day: &'a TradingDay,
        talk: Talk,
        from: u64,
    ) -> Result<Printer<'a>, Failure> {
        let mut printer = Printer {
            shard,
            day,
            talk,
            kinds: kinds(&Schema::current()),
            symbols: HashMap::new(),
            text: String::new(),
            count: 0,
        };
        for event in bus::log::reference(dir).map_err(super::failure)? {
            printer.learn(&event);
        }
        for item in LogReader::open_live(dir, None).map_err(super::failure)? {
            match item {
                Ok((cell, Record::Event(event))) if cell < from => printer.learn(&event),
                Ok((cell, Record::Signal(_))) if cell < from => {}
                // Damage before what is asked for takes names away, and nothing else.
                _ => break,
            }
        }
        Ok(printer)
    }

    fn learn(&mut self, event: &Event) {
        if event.kind == Kind::Symbol {
            let name = String::from_utf8_lossy(&event.order.to_be_bytes()).into_owned();
            let plain = name
                .trim_end()
                .chars()
                .map(|c| if c.is_control() { '?' } else { c });
            self.symbols.insert(event.symbol, plain.collect());
        }
    }

    /// How many lines wait.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn print(&mut self, cell: u64, record: &Record) {
        let (kind, symbol, ts, bytes): (u8, u32, _, &[u8]) = match record {
            Record::Event(event) => {
                self.learn(event);
                (
                    event.kind as u8,
                    event.symbol,
                    event.ts_event,
                    event.as_bytes(),
                )
            }
            Record::Signal(signal) => (
                signal.kind as u8,
                signal.symbol,
                signal.ts_event,
                signal.as_bytes(),
            ),
        };
        self.count += 1;
        let unknown = (format!("{kind:#04x}"), Vec::new());
        let (name, fields) = self.kinds.get(&kind).unwrap_or(&unknown);
        let symbol_name = self.symbols.get(&symbol);
        if self.talk.json {
            let mut said = serde_json::Map::new();
            said.insert("shard".into(), self.shard.into());
            said.insert("cell".into(), cell.into());
            said.insert("record".into(), name.as_str().into());
            if let Some(name) = symbol_name {
                said.insert("symbol_name".into(), name.as_str().into());
            }
            for field in fields {
                if let Some(value) = field.read(bytes) {
                    said.insert(field.name.clone(), json(field, &value));
                }
            }
            let said = serde_json::Value::Object(said);
            self.text.push_str(&format!("{said}\n"));
            return;
        }
        let symbol = match (symbol, symbol_name) {
            (0, _) => "-".to_owned(),
            (_, Some(name)) => name.clone(),
            (number, None) => format!("#{number}"),
        };
        self.text.push_str(&format!(
            "{} {cell:>12} {} {name:<10} {symbol:<8}",
            self.shard,
            self.day.clock(ts)
        ));
        let said_before = ["ts_event", "ts_recv", "symbol", "kind"];
        for field in fields
            .iter()
            .filter(|field| !said_before.contains(&field.name.as_str()))
        {
            match field.read(bytes) {
                None | Some(Value::Whole(0)) => {}
                Some(value) => {
                    let value = self.people(field, &value);
                    self.text.push_str(&format!(" {}={value}", field.name));
                }
            }
        }
        self.text.push('\n');
    }

    fn people(&self, field: &Field, value: &Value) -> String {
        match (value, field.unit.as_str()) {
            (Value::Whole(ns), "ns_utc") => self.day.clock(bus::Ts(*ns as i64)),
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

    /// Writes what waits. False when nobody reads any more.
    pub fn flush(&mut self) -> Result<bool, Failure> {
        self.count = 0;
        let mut out = std::io::stdout().lock();
        let written = out
            .write_all(self.text.as_bytes())
            .and_then(|()| out.flush());
        self.text.clear();
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::io(format!("stdout: {error}"))),
        }
    }
}

/// Whole numbers beyond 64 bits do not fit into what JSON's readers take for a number.
fn json(_: &Field, value: &Value) -> serde_json::Value {
    match value {
        Value::Whole(whole) => match (i64::try_from(*whole), u64::try_from(*whole)) {
            (Ok(small), _) => small.into(),
            (_, Ok(small)) => small.into(),
            _ => whole.to_string().into(),
        },
        Value::Float(float) => (*float).into(),
        Value::Text(text) => text.as_str().into(),
    }
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
