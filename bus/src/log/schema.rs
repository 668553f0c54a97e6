//! What the records look like, said in every segment: each kind of record with its number, its
//! version and its fields. So a log can be read without this program, and this program can tell
//! a log whose records grew from one whose records it would misread.
//!
//! A line for the head of all events, one for the head of all signals, then one for each kind:
//!
//! ```text
//! head  NAME VERSION BYTES   FIELD...     fields that all of these have
//! event NAME VERSION 0xKIND  FIELD...     what this kind has, or calls otherwise
//! FIELD is name@byte:type or name@byte:type:unit
//! ```
//!
//! A field is added where the bytes were zeros, and the kind's version goes up. A program that
//! does not know the field does not look at it; one that does finds zeros in older logs. A field
//! that moves, changes its type or goes is another thing: a program that needs it refuses the log.

use std::collections::BTreeMap;

/// The layouts of this program's records, as they stand in the segments it writes.
pub const SCHEMA: &str = include_str!("schema.txt");

/// Which layout a line is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// The head of all events, or of all signals.
    Head(String),
    /// The kind with this number.
    Kind(u8),
}

/// What one kind of record looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `event` or `signal`; for a head, too.
    pub family: String,
    /// Its name.
    pub name: String,
    /// Counted up when a field is added.
    pub version: u32,
    /// How many bytes it takes; only a head says so.
    pub bytes: Option<u32>,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// One field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// At which byte of the record it begins.
    pub offset: u32,
    /// `u8`, `u16`, `u32`, `u64`, `i64`, `f64`, `text8` (letters padded with spaces, as a
    /// big-endian number), `i128hl` (the high word, then the low one).
    pub form: String,
    /// What its number counts; empty where it only names or numbers something.
    pub unit: String,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(i128),
    /// A statistic.
    Float(f64),
    /// Letters.
    Text(String),
}

impl Field {
    /// What this field holds in a record; `None` where the record is too short, or the type is
    /// none that this program knows.
    pub fn read(&self, record: &[u8]) -> Option<Value> {
        let at = self.offset as usize;
        let number = |at: usize, len: usize| {
            let mut word = [0; 8];
            word[..len].copy_from_slice(record.get(at..at + len)?);
            Some(u64::from_le_bytes(word))
        };
        Some(match self.form.as_str() {
            "u8" => Value::Whole(number(at, 1)?.into()),
            "u16" => Value::Whole(number(at, 2)?.into()),
            "u32" => Value::Whole(number(at, 4)?.into()),
            "u64" => Value::Whole(number(at, 8)?.into()),
            "i64" => Value::Whole((number(at, 8)? as i64).into()),
            "i128hl" => {
                let high = i128::from(number(at, 8)? as i64);
                Value::Whole((high << 64) | i128::from(number(at + 8, 8)?))
            }
            "f64" => Value::Float(f64::from_bits(number(at, 8)?)),
            "text8" => {
                let letters = number(at, 8)?.to_be_bytes();
                let text = String::from_utf8_lossy(&letters);
                // A log can be damaged or made up; a terminal must not suffer for it.
                let plain = text
                    .trim_end()
                    .chars()
                    .map(|c| if c.is_control() { '?' } else { c });
                Value::Text(plain.collect())
            }
            _ => return None,
        })
    }
}

/// All layouts that a segment describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// By what they are about.
    pub layouts: BTreeMap<Of, Layout>,
}

impl Schema {
    /// The layouts of this program.
    pub fn current() -> Schema {
        Schema::parse(SCHEMA).expect("a test reads it")
    }

    /// Reads layouts; an error is the number of the line that is none, from 1. Lines of a family
    /// that this program does not know are passed over.
    pub fn parse(text: &str) -> Result<Schema, usize> {
        let mut schema = Schema::default();
        for (index, line) in text.lines().enumerate() {
            if let Some((of, layout)) = parse_line(line).ok_or(index + 1)? {
                schema.layouts.insert(of, layout);
            }
        }
        Ok(schema)
    }

    /// Why this program cannot read records with these layouts, if so.
    pub fn refusal(&self, ours: &Schema) -> Option<String> {
        ours.layouts.iter().find_map(|(of, ours)| {
            // A kind that an older program did not have is not in its log.
            let theirs = self.layouts.get(of)?;
            refusal(ours, theirs)
        })
    }
}

fn refusal(ours: &Layout, theirs: &Layout) -> Option<String> {
    let Layout { name, version, .. } = theirs;
    if ours.family != theirs.family || ours.bytes != theirs.bytes {
        let length = |layout: &Layout| {
            layout
                .bytes
                .map_or(String::new(), |b| format!(" of {b} bytes"))
        };
        return Some(format!(
            "record `{name}` version {version} is a {}{}, this program knows it as a {}{}",
            theirs.family,
            length(theirs),
            ours.family,
            length(ours)
        ));
    }
    ours.fields.iter().find_map(|field| {
        let found = theirs.fields.iter().find(|found| found.name == field.name);
        let Some(found) = found else {
            let is_older = *version < ours.version;
            return (!is_older).then(|| {
                format!(
                    "record `{name}` version {version} has no field `{}`, which this program reads",
                    field.name
                )
            });
        };
        let is_same = (found.offset, &found.form) == (field.offset, &field.form);
        (!is_same).then(|| {
            format!(
                "record `{name}` version {version} has `{}` at byte {} as {}, this program reads it \
                 at {} as {}",
                field.name, found.offset, found.form, field.offset, field.form
            )
        })
    })
}

/// `None` is no line of a schema; `Some(None)` one of a family that is not known.
fn parse_line(line: &str) -> Option<Option<(Of, Layout)>> {
    let mut words = line.split(' ');
    let (family, name, version) = (words.next()?, words.next()?, words.next()?);
    let (id, version) = (words.next()?, version.parse().ok()?);
    let fields = words.map(parse_field).collect::<Option<Vec<_>>>()?;
    let (of, bytes) = match family {
        "head" => (Of::Head(name.to_owned()), Some(id.parse().ok()?)),
        "event" | "signal" => {
            let id = u8::from_str_radix(id.strip_prefix("0x")?, 16).ok()?;
            (Of::Kind(id), None)
        }
        _ => return Some(None),
    };
    let layout = Layout {
        family: family.to_owned(),
        name: name.to_owned(),
        version,
        bytes,
        fields,
    };
    Some(Some((of, layout)))
}

fn parse_field(word: &str) -> Option<Field> {
    let (name, rest) = word.split_once('@')?;
    let mut parts = rest.splitn(3, ':');
    let (offset, form) = (parts.next()?, parts.next()?);
    Some(Field {
        name: name.to_owned(),
        offset: offset.parse().ok()?,
        form: form.to_owned(),
        unit: parts.next().unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Kind};
    use crate::fixed::{Notional, Price, Qty, Ts};
    use crate::signal::*;
    use crate::{Fill, Quote, Side};

    fn layout(kind: u8) -> Layout {
        Schema::current().layouts[&Of::Kind(kind)].clone()
    }

    /// The number that the schema finds in a record's bytes.
    fn value(bytes: &[u8], field: &Field) -> i128 {
        match field.read(bytes) {
            Some(Value::Whole(whole)) => whole,
            Some(Value::Float(float)) => float as i128,
            other => panic!("{other:?}"),
        }
    }

    fn values(bytes: &[u8], of: Of) -> Vec<(String, i128)> {
        let fields = Schema::current().layouts[&of].fields.clone();
        let found = fields.iter();
        found
            .map(|field| (field.name.clone(), value(bytes, field)))
            .collect()
    }

    fn check(bytes: &[u8], of: Of, want: &[(&str, i128)]) {
        let want: Vec<_> = want
            .iter()
            .map(|(name, value)| (name.to_string(), *value))
            .collect();
        assert_eq!(values(bytes, of), want);
    }

    #[test]
    fn the_heads_are_where_the_code_puts_them() {
        let event = Event {
            ts_event: Ts(1),
            ts_recv: Ts(2),
            seq: 3,
            order: 4,
            order_b: 5,
            price: Price(6),
            qty: Qty(7),
            symbol: 8,
            side: Side::Sell,
            flags: crate::Flags(10),
            code: 11,
            ..Event::new(Kind::Symbol)
        };
        let head = Of::Head("event".to_owned());
        let want = [
            ("ts_event", 1),
            ("ts_recv", 2),
            ("seq", 3),
            ("order", 4),
            ("order_b", 5),
            ("price", 6),
            ("qty", 7),
            ("symbol", 8),
            ("kind", 11),
            ("side", 2),
            ("flags", 10),
            ("code", 11),
        ];
        check(event.as_bytes(), head.clone(), &want);
        assert_eq!(Schema::current().layouts[&head].bytes, Some(64));
        let body = Body::Broken(Broken { match_number: 6 });
        let signal = Signal::new(Ts(1), 2, 3, 4, 5, body);
        let head = Of::Head("signal".to_owned());
        let want = [
            ("ts_event", 1),
            ("seq", 2),
            ("symbol", 3),
            ("kind", 0x89),
            ("rule", 4),
            ("ordinal", 5),
        ];
        check(signal.as_bytes(), head.clone(), &want);
        assert_eq!(Schema::current().layouts[&head].bytes, Some(128));
    }

    /// A new kind makes the compiler point here: it needs its line in `schema.txt`.
    #[test]
    fn every_kind_of_event_has_its_line() {
        let mut count = 0;
        for number in 0..=u8::MAX {
            let mut bytes = [0; 64];
            bytes[60] = number;
            let Some(event) = Event::from_bytes(&bytes) else {
                continue;
            };
            let name = match event.kind {
                Kind::Nothing => "nothing",
                Kind::Add => "add",
                Kind::Execute => "execute",
                Kind::ExecuteAt => "execute_at",
                Kind::Cancel => "cancel",
                Kind::Delete => "delete",
                Kind::Replace => "replace",
                Kind::Trade => "trade",
                Kind::Cross => "cross",
                Kind::Break => "break",
                Kind::Imbalance => "imbalance",
                Kind::Symbol => "symbol",
                Kind::Status => "status",
                Kind::System => "system",
                Kind::Info => "info",
                Kind::Tick => "tick",
                Kind::Gap => "gap",
                Kind::End => "end",
            };
            let layout = layout(number);
            assert_eq!(
                (layout.name.as_str(), layout.family.as_str()),
                (name, "event")
            );
            count += 1;
        }
        let described = Schema::current();
        let events = described
            .layouts
            .values()
            .filter(|layout| layout.family == "event");
        assert_eq!(events.count(), count);
    }

    #[test]
    fn letters_are_text_and_nothing_else() {
        let event = Event {
            order: u64::from_be_bytes(*b"AB\x1b[2J  "),
            ..Event::new(Kind::Symbol)
        };
        let layout = layout(Kind::Symbol as u8);
        let text = layout.fields[0].read(event.as_bytes());
        assert_eq!(text, Some(Value::Text("AB?[2J".to_owned())));
        assert_eq!(layout.fields[0].read(&[0; 20]), None);
    }

    fn order() -> Order {
        Order {
            side: Side::Sell,
            price: Price(11),
            qty: Qty(12),
            bid: Price(13),
            ask: Price(14),
            tif: Tif::Till(Ts(15)),
        }
    }

    #[test]
    fn every_kind_of_signal_has_its_line_and_its_fields_where_the_code_puts_them() {
        let window = Window {
            start: Ts(1),
            open: Price(2),
            high: Price(3),
            low: Price(4),
            close: Price(5),
            volume: Qty(6),
            notional: Notional(-7 << 70),
            trade_count: 8,
            late_count: 9,
            revision: 10,
            is_final: false,
        };
        let quote = Quote {
            bid: Price(4),
            ask: Price(5),
            bid_qty: Qty(6),
            ask_qty: Qty(7),
        };
        let bodies: [(Body, &[(&str, i128)]); 17] = [
            (
                Body::Window(window),
                &[
                    ("start", 1),
                    ("open", 2),
                    ("high", 3),
                    ("low", 4),
                    ("close", 5),
                    ("volume", 6),
                    ("notional", -7 << 70),
                    ("trades", 8),
                    ("late", 9),
                    ("revision", 10),
                    ("not_final", 1),
                ],
            ),
            (
                Body::Late(Late {
                    price: Price(1),
                    qty: Qty(2),
                    late_ns: 3,
                    reason: LateReason::Future,
                }),
                &[("price", 1), ("qty", 2), ("late", 3), ("reason", 1)],
            ),
            (
                Body::Spread(Spread {
                    raised: true,
                    bps: 2.0,
                    bid: Price(3),
                    ask: Price(4),
                    since: Ts(5),
                }),
                &[
                    ("raised", 1),
                    ("spread", 2),
                    ("bid", 3),
                    ("ask", 4),
                    ("since", 5),
                ],
            ),
            (
                Body::Regime(Regime {
                    from: Volatility::Normal,
                    to: Volatility::Stressed,
                    bps: 3.0,
                }),
                &[("from", 1), ("to", 2), ("volatility", 3)],
            ),
            (
                Body::Momentum(Momentum {
                    side: Side::Buy,
                    move_bps: 2.0,
                    imbalance: 3.0,
                    quote,
                }),
                &[
                    ("side", 1),
                    ("move", 2),
                    ("imbalance", 3),
                    ("bid", 4),
                    ("ask", 5),
                    ("bid_qty", 6),
                    ("ask_qty", 7),
                ],
            ),
            (
                Body::Order(order()),
                &[
                    ("side", 2),
                    ("price", 11),
                    ("qty", 12),
                    ("bid", 13),
                    ("ask", 14),
                    ("until", 15),
                ],
            ),
            (
                Body::Reject(Reject {
                    order: order(),
                    code: RejectCode::Collar,
                    limit: 3,
                    value: 4,
                }),
                &[
                    ("side", 2),
                    ("price", 11),
                    ("qty", 12),
                    ("bid", 13),
                    ("ask", 14),
                    ("code", 2),
                    ("limit", 3),
                    ("value", 4),
                    ("until", 15),
                ],
            ),
            (
                Body::Sent(Sent {
                    order_ordinal: 1,
                    outcome: Outcome::Failed,
                    msg_seq: 3,
                    ts_sent: Ts(4),
                    over: Some(Over {
                        whose: Whose::Session,
                        code: RejectCode::OpenOrders,
                        limit: 5,
                        value: 6,
                    }),
                }),
                &[
                    ("order_ordinal", 1),
                    ("outcome", 2),
                    ("msg_seq", 3),
                    ("ts_sent", 4),
                    ("whose", 3),
                    ("code", 14),
                    ("limit", 5),
                    ("value", 6),
                ],
            ),
            (
                Body::Digest(Digest {
                    value: 1,
                    events: 2,
                    minute: 3,
                }),
                &[("value", 1), ("events", 2), ("minute", 3)],
            ),
            (Body::Broken(Broken { match_number: 1 }), &[("match", 1)]),
            (
                Body::WindowFlow(WindowFlow {
                    start: Ts(1),
                    bought: Some(Qty(2)),
                    sold: Qty(3),
                    squares: Some(4 << 70),
                    return_count: 5,
                    sizes: Some([Qty(6), Qty(7), Qty(8)]),
                }),
                &[
                    ("start", 1),
                    ("bought", 2),
                    ("sold", 3),
                    ("squares", 4 << 70),
                    ("returns", 5),
                    ("size_p50", 6),
                    ("size_p95", 7),
                    ("size_p99", 8),
                ],
            ),
            (
                Body::WindowStanding(WindowStanding {
                    start: Ts(1),
                    price_ns: 2 << 70,
                    priced_ns: 3,
                    spread_ns: -4 << 70,
                    bid_qty_ns: 5 << 70,
                    ask_qty_ns: 6 << 70,
                    quoted_ns: 7,
                    ofi: Qty(-8),
                    moves: 9,
                }),
                &[
                    ("start", 1),
                    ("price", 2 << 70),
                    ("spread", -4 << 70),
                    ("bid_qty", 5 << 70),
                    ("ask_qty", 6 << 70),
                    ("priced", 3),
                    ("quoted", 7),
                    ("ofi", -8),
                    ("moves", 9),
                ],
            ),
            (
                Body::Adjust(Adjust {
                    start: Ts(1),
                    match_number: 2,
                    price: Price(3),
                    qty: Qty(4),
                    reason: AdjustReason::Beyond,
                    window_count: 5,
                }),
                &[
                    ("start", 1),
                    ("match", 2),
                    ("price", 3),
                    ("qty", 4),
                    ("reason", 1),
                    ("windows", 5),
                ],
            ),
            (
                Body::Report(Report {
                    order_seq: 1,
                    order_ordinal: 2,
                    fate: Fate::Expired,
                    side: Side::Sell,
                    reason: Some(RejectCode::Collar),
                    price: Price(5),
                    qty: Qty(6),
                    filled: Qty(7),
                    left: Qty(8),
                    ahead: Qty(9),
                    limit: Price(10),
                }),
                &[
                    ("order_seq", 1),
                    ("order_ordinal", 2),
                    ("fate", 3),
                    ("reason", 3),
                    ("price", 5),
                    ("qty", 6),
                    ("filled", 7),
                    ("left", 8),
                    ("ahead", 9),
                    ("side", 2),
                    ("limit", 10),
                ],
            ),
            (
                Body::Features(Features {
                    first: 1,
                    count: 2,
                    values: std::array::from_fn(|index| index as f64 + 3.0),
                }),
                &[
                    ("first", 1),
                    ("count", 2),
                    ("value_0", 3),
                    ("value_1", 4),
                    ("value_2", 5),
                    ("value_3", 6),
                    ("value_4", 7),
                    ("value_5", 8),
                    ("value_6", 9),
                    ("value_7", 10),
                    ("value_8", 11),
                    ("value_9", 12),
                    ("value_10", 13),
                    ("value_11", 14),
                ],
            ),
            (
                Body::Join(Join {
                    left_seq: 1,
                    left: JoinValue::Trade(Fill {
                        price: Price(2),
                        qty: Qty(3),
                        aggressor: Side::Sell,
                    }),
                    right: Met::Record {
                        symbol: 4,
                        ts: Ts(5),
                        seq: 6,
                        value: JoinValue::Quote(Quote {
                            bid: Price(7),
                            ask: Price(8),
                            bid_qty: Qty(9),
                            ask_qty: Qty(10),
                        }),
                    },
                }),
                &[
                    ("left_seq", 1),
                    ("left_0", 2),
                    ("left_1", 3),
                    ("left_2", 2),
                    ("left_3", 0),
                    ("left_kind", 1),
                    ("right_kind", 2),
                    ("right_of", 4),
                    ("right_ts", 5),
                    ("right_seq", 6),
                    ("right_0", 7),
                    ("right_1", 8),
                    ("right_2", 9),
                    ("right_3", 10),
                ],
            ),
            (
                Body::Best(Best {
                    bid: Price(1),
                    ask: Price(2),
                    bid_qty: 3 << 70,
                    ask_qty: 4 << 70,
                    bid_on: 5,
                    ask_on: 6,
                    counts: 7,
                    decimals: 8,
                }),
                &[
                    ("bid", 1),
                    ("ask", 2),
                    ("bid_qty", 3 << 70),
                    ("bid_on", 5),
                    ("ask_on", 6),
                    ("counts", 7),
                    ("decimals", 8),
                    ("ask_qty", 4 << 70),
                ],
            ),
        ];
        for (body, want) in bodies {
            let signal = Signal::new(Ts(0), 0, 0, 0, 0, body);
            let name = match body {
                Body::Window(_) => "window",
                Body::Late(_) => "late",
                Body::Spread(_) => "spread",
                Body::Regime(_) => "regime",
                Body::Momentum(_) => "momentum",
                Body::Order(_) => "order",
                Body::Reject(_) => "reject",
                Body::Sent(_) => "sent",
                Body::Digest(_) => "digest",
                Body::Broken(_) => "broken",
                Body::WindowFlow(_) => "window_flow",
                Body::WindowStanding(_) => "window_standing",
                Body::Adjust(_) => "adjust",
                Body::Features(_) => "features",
                Body::Report(_) => "report",
                Body::Join(_) => "join",
                Body::Best(_) => "best",
            };
            let kind = signal.kind as u8;
            assert_eq!(
                (layout(kind).name.as_str(), layout(kind).family.as_str()),
                (name, "signal")
            );
            check(signal.as_bytes(), Of::Kind(kind), want);
        }
        let described = Schema::current();
        let signals = described
            .layouts
            .values()
            .filter(|layout| layout.family == "signal");
        assert_eq!(signals.count(), SignalKind::COUNT);
    }

    #[test]
    fn what_grew_is_read_and_what_moved_is_refused() {
        let ours = Schema::current();
        let changed = |from: &str, to: &str| {
            let text = SCHEMA.replacen(from, to, 1);
            assert_ne!(text, SCHEMA);
            Schema::parse(&text).unwrap().refusal(&ours)
        };
        assert_eq!(ours.refusal(&ours), None);
        // A newer program added a field, a kind, and a family.
        assert_eq!(changed("broken 1 0x89", "broken 2 0x89 venue@24:u32"), None);
        assert_eq!(
            changed(
                "signal broken",
                "signal ack 1 0x8a at@16:i64\nsignal broken"
            ),
            None
        );
        assert_eq!(
            changed("signal broken", "stream x 1 0 y@0:u8\nsignal broken"),
            None
        );
        // Ours is the newer one: what the old one did not have is zeros there.
        let newer = SCHEMA.replacen("broken 1 0x89", "broken 2 0x89 venue@24:u32", 1);
        assert_eq!(ours.refusal(&Schema::parse(&newer).unwrap()), None);
        // Others would be misread.
        assert_eq!(
            changed("digest 1 0x88 value@16", "digest 2 0x88 value@24").unwrap(),
            "record `digest` version 2 has `value` at byte 24 as u64, this program reads it at 16 \
             as u64"
        );
        assert!(
            changed("price@40:i64", "price@40:f64")
                .unwrap()
                .contains("as f64")
        );
        let renamed = changed("digest 1 0x88 value@16", "digest 2 0x88 sum@16").unwrap();
        assert!(renamed.contains("has no field `value`"), "{renamed}");
        let longer = changed("head event 1 64", "head event 2 96").unwrap();
        assert!(longer.contains("of 96 bytes"), "{longer}");
        let moved = changed("event end 1 0x11", "signal end 1 0x11").unwrap();
        assert!(
            moved.contains("is a signal, this program knows it as a event"),
            "{moved}"
        );
        for (line, bad) in [
            (1, "head event"),
            (1, "event add one 0x01"),
            (1, "event add 1 0x01 x"),
        ] {
            assert_eq!(Schema::parse(bad), Err(line));
        }
    }
}
