//! The peers, each as its own documentation uses it, reading numbers as numbers and adding them up. None of them
//! remembers an order, checks a sequence or names an instrument; that is the job of who calls them.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder, StringRecord};
use dbn::decode::DecodeRecord;
use dbn::decode::dbn::Decoder;
use dbn::encode::dbn::Encoder;
use dbn::{MboMsg, Mbp10Msg, Metadata, SType, Schema};
use feed::moldudp64::Blocks;
use itch5::MessageHandler;
use itch5::messages::{
    AddOrderNoMPIDAttribution, AddOrderWithMPIDAttribution, OrderCancel, OrderDelete,
    OrderExecuted, OrderExecutedWithPrice, OrderReplace, Trade,
};
use serde::Deserialize;

use crate::Sum;
use crate::tapes::Tape;

/// Records as a file of DBN version 3, with the metadata that the `dbn` crate writes.
pub fn dbn_file(tape: &Tape, schema: Schema) -> Vec<u8> {
    let metadata = Metadata::builder()
        .dataset("GLBX.MDP3")
        .schema(Some(schema))
        .start(crate::tapes::time(0))
        .stype_in(Some(SType::RawSymbol))
        .stype_out(SType::InstrumentId)
        .build();
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, &metadata).expect("metadata into memory");
    for message in Blocks::new(&tape.bytes) {
        bytes.extend(&message[8..]);
    }
    bytes
}

/// `dbn`: orders.
pub fn dbn_mbo<R: Read>(mut decoder: Decoder<R>) -> Sum {
    let mut sum = Sum::default();
    while let Some(record) = decoder.decode_record::<MboMsg>().expect("a record") {
        black_box((record.hd.ts_event, record.action, record.side, record.flags));
        sum.add(record.price, record.size.into(), record.order_id);
    }
    sum
}

/// `dbn`: ten levels of both sides.
pub fn dbn_mbp_10<R: Read>(mut decoder: Decoder<R>) -> Sum {
    let mut sum = Sum::default();
    while let Some(record) = decoder.decode_record::<Mbp10Msg>().expect("a record") {
        black_box((record.hd.ts_event, record.action, record.side, record.flags));
        for level in &record.levels {
            sum.add(level.bid_px, level.bid_sz.into(), 0);
            sum.add(level.ask_px, level.ask_sz.into(), 0);
        }
    }
    sum
}

/// A decoder of bytes in memory.
pub fn dbn_memory(bytes: &[u8]) -> Decoder<&[u8]> {
    Decoder::new(bytes).expect("the metadata was just written")
}

/// A decoder of a file.
pub fn dbn_path(path: &Path) -> Decoder<File> {
    Decoder::from_file(path).expect("the file was just written")
}

/// A price of ITCH in 1e-9.
fn e9(e4: u32) -> i64 {
    i64::from(e4) * 100_000
}

#[derive(Default)]
struct Itch(Sum);

impl Itch {
    fn add(&mut self, price: i64, shares: u32, order: u64) -> ControlFlow<()> {
        self.0.add(price, shares.into(), order);
        ControlFlow::Continue(())
    }
}

impl MessageHandler for Itch {
    fn on_add_order_no_mpid_attribution(
        &mut self,
        message: &AddOrderNoMPIDAttribution,
    ) -> ControlFlow<()> {
        black_box((
            message.stock_locate(),
            message.timestamp(),
            message.buy_sell_indicator(),
        ));
        let price = e9(message.price().into_u32());
        self.add(price, message.shares(), message.order_reference_number())
    }

    fn on_add_order_with_mpid_attribution(
        &mut self,
        message: &AddOrderWithMPIDAttribution,
    ) -> ControlFlow<()> {
        black_box((
            message.stock_locate(),
            message.timestamp(),
            message.buy_sell_indicator(),
        ));
        let price = e9(message.price().into_u32());
        self.add(price, message.shares(), message.order_reference_number())
    }

    fn on_order_executed(&mut self, message: &OrderExecuted) -> ControlFlow<()> {
        black_box((
            message.stock_locate(),
            message.timestamp(),
            message.match_number(),
        ));
        self.add(
            0,
            message.executed_shares(),
            message.order_reference_number(),
        )
    }

    fn on_order_executed_with_price(
        &mut self,
        message: &OrderExecutedWithPrice,
    ) -> ControlFlow<()> {
        black_box((
            message.stock_locate(),
            message.timestamp(),
            message.match_number(),
        ));
        let price = e9(message.execution_price().into_u32());
        self.add(
            price,
            message.executed_shares(),
            message.order_reference_number(),
        )
    }

    fn on_order_cancel(&mut self, message: &OrderCancel) -> ControlFlow<()> {
        black_box((message.stock_locate(), message.timestamp()));
        self.add(
            0,
            message.cancelled_shares(),
            message.order_reference_number(),
        )
    }

    fn on_order_delete(&mut self, message: &OrderDelete) -> ControlFlow<()> {
        black_box((message.stock_locate(), message.timestamp()));
        self.add(0, 0, message.order_reference_number())
    }

    fn on_order_replace(&mut self, message: &OrderReplace) -> ControlFlow<()> {
        black_box((message.stock_locate(), message.timestamp()));
        black_box(message.new_order_reference_number());
        let price = e9(message.price().into_u32());
        self.add(
            price,
            message.shares(),
            message.original_order_reference_number(),
        )
    }

    fn on_trade(&mut self, message: &Trade) -> ControlFlow<()> {
        black_box((
            message.stock_locate(),
            message.timestamp(),
            message.match_number(),
        ));
        self.add(e9(message.price().into_u32()), message.shares(), 0)
    }
}

/// `itch5`: orders and trades; others are passed over.
pub fn itch(tape: &Tape) -> Sum {
    let mut handler = Itch::default();
    itch5::Parser::new(&tape.bytes)
        .parse_stream(&mut handler)
        .expect("it is right");
    handler.0
}

/// A number as text.
fn number<T: std::str::FromStr>(field: &[u8]) -> T {
    let text = std::str::from_utf8(field).expect("it is text");
    text.parse().ok().expect("it is a number")
}

/// A decimal in 1e-9, as exactly as a float has it: prices below a million, to a hundredth.
fn nano(value: f64) -> i64 {
    (value * 1e9).round() as i64
}

/// The fields of each record, as `csv` hands them out.
fn records<R: Read>(from: R, has_headers: bool, mut take: impl FnMut(&ByteRecord)) {
    let mut reader = ReaderBuilder::new()
        .has_headers(has_headers)
        .from_reader(from);
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).expect("a record") {
        take(&record);
    }
}

/// `csv`: LOBSTER's lines, field by field.
pub fn lobster_records<R: Read>(from: R) -> Sum {
    let mut sum = Sum::default();
    records(from, false, |record| {
        let (time, kind, side): (f64, u8, i8) =
            (number(&record[0]), number(&record[1]), number(&record[5]));
        black_box((time, kind, side));
        let price: i64 = number(&record[4]);
        sum.add(price * 100_000, number(&record[3]), number(&record[2]));
    });
    sum
}

#[derive(Deserialize)]
struct LobsterRow(f64, u8, u64, i64, i64, i8);

/// `csv` with `serde`: LOBSTER's lines.
pub fn lobster_rows<R: Read>(from: R) -> Sum {
    let mut sum = Sum::default();
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(from);
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).expect("a record") {
        let LobsterRow(time, kind, order, size, price, side) =
            record.deserialize(None).expect("a row");
        black_box((time, kind, side));
        sum.add(price * 100_000, size, order);
    }
    sum
}

fn open(path: &Path) -> File {
    File::open(path).expect("the file was just written")
}

/// `csv`: tardis.dev's incremental rows, field by field.
pub fn tardis_records(path: &Path) -> Sum {
    let mut sum = Sum::default();
    records(open(path), true, |record| {
        let times: (u64, u64) = (number(&record[2]), number(&record[3]));
        black_box((times, &record[1], &record[4], &record[5]));
        sum.add(nano(number(&record[6])), nano(number(&record[7])), 0);
    });
    sum
}

/// A side in words.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    #[serde(alias = "buy")]
    Bid,
    #[serde(alias = "sell")]
    Ask,
}

#[derive(Deserialize)]
struct TardisRow<'a> {
    exchange: &'a str,
    symbol: &'a str,
    timestamp: u64,
    local_timestamp: u64,
    is_snapshot: bool,
    side: Word,
    price: f64,
    amount: f64,
}

/// `csv` with `serde`: tardis.dev's incremental rows.
pub fn tardis_rows(path: &Path) -> Sum {
    let mut sum = Sum::default();
    let mut reader = csv::Reader::from_reader(open(path));
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).expect("a record") {
        let row: TardisRow = record.deserialize(None).expect("a row");
        black_box((row.exchange, row.symbol, row.is_snapshot, row.side));
        black_box((row.timestamp, row.local_timestamp));
        sum.add(nano(row.price), nano(row.amount), 0);
    }
    sum
}

/// `csv`: Bitstamp's orders, field by field.
pub fn bitstamp_records(path: &Path) -> Sum {
    let mut sum = Sum::default();
    records(open(path), true, |record| {
        let times: (u64, u64) = (number(&record[1]), number(&record[2]));
        black_box((times, &record[5], &record[6]));
        let (price, volume) = (number(&record[3]), number(&record[4]));
        sum.add(nano(price), nano(volume), number(&record[0]));
    });
    sum
}

#[derive(Deserialize)]
struct BitstampRow<'a> {
    id: u64,
    timestamp: u64,
    exchange_timestamp: u64,
    price: f64,
    volume: f64,
    action: &'a str,
    direction: Word,
}

/// `csv` with `serde`: Bitstamp's orders.
pub fn bitstamp_rows(path: &Path) -> Sum {
    let mut sum = Sum::default();
    let mut reader = csv::Reader::from_reader(open(path));
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).expect("a record") {
        let row: BitstampRow = record.deserialize(None).expect("a row");
        black_box((
            row.timestamp,
            row.exchange_timestamp,
            row.action,
            row.direction,
        ));
        sum.add(nano(row.price), nano(row.volume), row.id);
    }
    sum
}

/// From JSON to a type, by one of the two libraries.
pub trait Json {
    /// Reads one value, which may borrow from the text.
    fn read<'a, T: Deserialize<'a>>(text: &'a [u8]) -> T;
}

/// `serde_json`.
#[derive(Debug)]
pub struct SerdeJson;

impl Json for SerdeJson {
    fn read<'a, T: Deserialize<'a>>(text: &'a [u8]) -> T {
        serde_json::from_slice(text).expect("what the line says")
    }
}

/// `sonic-rs`, which uses SIMD.
#[derive(Debug)]
pub struct Sonic;

impl Json for Sonic {
    fn read<'a, T: Deserialize<'a>>(text: &'a [u8]) -> T {
        sonic_rs::from_slice(text).expect("what the line says")
    }
}

/// Each line's number, when it arrived, and its JSON.
fn lines(path: &Path, mut take: impl FnMut(u64, f64, &[u8])) {
    let (mut reader, mut line) = (BufReader::new(open(path)), Vec::new());
    for index in 0.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).expect("a line") == 0 {
            return;
        }
        let space = line.iter().position(|byte| *byte == b' ');
        let (time, json) = line.split_at(space.expect("a time in front"));
        take(index, number(time), &json[1..]);
    }
}

/// A level's price and quantity.
type Level<'a> = (&'a str, &'a str);

fn add_levels(sum: &mut Sum, levels: &[Level]) {
    for (price, qty) in levels {
        sum.add(
            nano(number(price.as_bytes())),
            nano(number(qty.as_bytes())),
            0,
        );
    }
}

#[derive(Deserialize)]
struct BinanceSnapshot<'a> {
    #[serde(rename = "lastUpdateId")]
    last: u64,
    #[serde(borrow)]
    bids: Vec<Level<'a>>,
    asks: Vec<Level<'a>>,
}

#[derive(Deserialize)]
struct BinanceStream<'a> {
    stream: &'a str,
    #[serde(borrow)]
    data: BinanceUpdate<'a>,
}

#[derive(Deserialize)]
struct BinanceUpdate<'a> {
    e: &'a str,
    #[serde(rename = "E")]
    ts: u64,
    s: &'a str,
    #[serde(rename = "U")]
    first: u64,
    u: u64,
    b: Vec<Level<'a>>,
    a: Vec<Level<'a>>,
}

/// Binance's depth: the first line is the snapshot.
pub fn binance<J: Json>(path: &Path) -> Sum {
    let mut sum = Sum::default();
    lines(path, |index, time, json| {
        black_box(time);
        if index == 0 {
            let snapshot: BinanceSnapshot = J::read(json);
            black_box(snapshot.last);
            add_levels(&mut sum, &snapshot.bids);
            add_levels(&mut sum, &snapshot.asks);
            return;
        }
        let BinanceStream { stream, data } = J::read(json);
        black_box((stream, data.e, data.ts, data.s, data.first, data.u));
        add_levels(&mut sum, &data.b);
        add_levels(&mut sum, &data.a);
    });
    sum
}

#[derive(Deserialize)]
struct CoinbaseSnapshot<'a> {
    product_id: &'a str,
    #[serde(borrow)]
    bids: Vec<Level<'a>>,
    asks: Vec<Level<'a>>,
}

#[derive(Deserialize)]
struct CoinbaseUpdate<'a> {
    product_id: &'a str,
    #[serde(borrow)]
    changes: Vec<(Word, &'a str, &'a str)>,
    time: &'a str,
}

/// Coinbase's level2: the first line is the snapshot. Times stay text.
pub fn coinbase<J: Json>(path: &Path) -> Sum {
    let mut sum = Sum::default();
    lines(path, |index, time, json| {
        black_box(time);
        if index == 0 {
            let snapshot: CoinbaseSnapshot = J::read(json);
            black_box(snapshot.product_id);
            add_levels(&mut sum, &snapshot.bids);
            add_levels(&mut sum, &snapshot.asks);
            return;
        }
        let update: CoinbaseUpdate = J::read(json);
        black_box((update.product_id, update.time));
        for &(side, price, qty) in &update.changes {
            black_box(side);
            add_levels(&mut sum, &[(price, qty)]);
        }
    });
    sum
}
