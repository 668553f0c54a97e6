//! Records as lines, or as objects of JSON.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use bus::Event;
use bus::log::{Field, LogReader, Record, Value};
use tapeline::session::TradingDay;

use crate::commands::words::{self, Words};
use crate::commands::{Failure, Talk};

/// Collects lines, and writes them together.
pub struct Printer<'a> {
    shard: usize,
    day: &'a TradingDay,
    talk: Talk,
    words: Words<'a>,
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
            words: Words::new(day),
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
        if let Some(name) = words::name_of(event) {
            self.symbols.insert(event.symbol, name);
        }
    }

    /// How many lines wait.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn print(&mut self, cell: u64, record: &Record) {
        let (symbol, ts) = match record {
            Record::Event(event) => {
                self.learn(event);
                (event.symbol, event.ts_event)
            }
            Record::Signal(signal) => (signal.symbol, signal.ts_event),
        };
        self.count += 1;
        let (name, fields) = self.words.layout(record);
        let symbol_name = self.symbols.get(&symbol);
        if self.talk.json {
            let mut said = serde_json::Map::new();
            said.insert("shard".into(), self.shard.into());
            said.insert("cell".into(), cell.into());
            said.insert("record".into(), name.into());
            if let Some(name) = symbol_name {
                said.insert("symbol_name".into(), name.as_str().into());
            }
            for field in fields {
                if let Some(value) = field.read(words::bytes(record)) {
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
            "{} {cell:>12} {} {name:<10} {symbol:<8}{}\n",
            self.shard,
            self.day.shown(ts),
            self.words.fields(record)
        ));
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
