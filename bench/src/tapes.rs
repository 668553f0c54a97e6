//! Messages of each protocol, of chance and of nothing else, and lines as the text feeds write them.
//!
//! The benches have them, and `bench/peers`, a package of its own which takes this file as it is: both
//! sides of a comparison decode the same bytes.

use std::fmt::Write;
use std::io;

use bus::{Event, Kind, Ts};
use feed::moldudp64::Blocks;
use feed::protocol::Protocol;

/// The midnight that benches count from: 2026-01-05 00:00 in New York.
pub const MIDNIGHT: Ts = Ts(1_767_589_200_000_000_000);

/// Events gathered before they are handed on.
pub const BLOCK_EVENTS: usize = 512;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % end
    }
}

/// Messages behind their lengths, as the reader has them.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// Each behind its length of two bytes, big-endian, as in an ITCH file.
    pub bytes: Vec<u8>,
    /// How many.
    pub messages: u64,
}

/// So many messages, each made of chance and of which one it is.
pub fn tape(messages: u64, mut message: impl FnMut(&mut Random, u64, &mut Vec<u8>)) -> Tape {
    let (mut bytes, mut one, mut random) = (Vec::new(), Vec::new(), Random(7));
    for number in 0..messages {
        one.clear();
        message(&mut random, number, &mut one);
        bytes.extend((one.len() as u16).to_be_bytes());
        bytes.extend(&one);
    }
    Tape { bytes, messages }
}

/// When the message of this number happens, ns since 1970: one each microsecond from 9:30 on.
pub fn time(number: u64) -> u64 {
    MIDNIGHT.0 as u64 + 34_200_000_000_000 + number * 1_000
}

/// DEEP's price levels: 1,000 symbols, 40 levels a side.
pub fn deep(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    let side = random.below(2);
    out.extend([b"85"[side as usize], 1]);
    out.extend(time(number).to_le_bytes());
    out.extend(format!("S{:<7}", random.below(1_000)).bytes());
    out.extend((random.below(4) as u32 * 100).to_le_bytes());
    let e4 = 100_000 + side * 4_000 - 4_000 * (1 - side) + random.below(40) * 100;
    out.extend(e4.to_le_bytes());
}

/// TOPS' quotes.
pub fn tops(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    out.extend([b'Q', 0x40]);
    out.extend(time(number).to_le_bytes());
    out.extend(format!("S{:<7}", random.below(1_000)).bytes());
    let bid = 100_000 + random.below(5) * 100;
    out.extend((100 + random.below(4) as u32 * 100).to_le_bytes());
    out.extend(bid.to_le_bytes());
    out.extend((bid + 100 + random.below(3) * 100).to_le_bytes());
    out.extend((100 + random.below(4) as u32 * 100).to_le_bytes());
}

/// LOBSTER's lines: orders come, and are cancelled, executed and deleted.
pub fn lobster(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    let kind = if number.is_multiple_of(2) {
        1
    } else {
        2 + random.below(3)
    };
    let order = match kind {
        1 => number,
        _ => number - 1 - 2 * random.below(1 + number.min(400) / 2),
    };
    let (seconds, micros) = (34_200 + number / 1_000_000, number % 1_000_000);
    let side = if order.is_multiple_of(4) { 1 } else { -1i64 };
    let price = 5_853_300 - side * (100 + 100 * (order % 30) as i64);
    let text = format!("AAPL    {seconds}.{micros:06},{kind},{order},50,{price},{side}");
    out.extend(text.bytes());
}

/// A record of market by order.
pub fn mbo(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    let action = match number % 5 {
        0 | 2 => b'A',
        1 | 3 => b'C',
        _ => b'M',
    };
    let near = number.saturating_sub(5 * random.below(400)) / 5 * 5;
    let order = match action {
        b'A' => number,
        b'C' => near + number % 5 - 1,
        _ => near,
    };
    let is_bid = order.is_multiple_of(2);
    let steps = 1 + random.below(30) as i64;
    let price = 4_800_000_000_000 + 250_000_000 * if is_bid { -steps } else { steps };
    out.extend(b"ESH4    ");
    out.extend([14, 0xa0, 1, 0, 9, 0, 0, 0]);
    out.extend(time(number).to_le_bytes());
    out.extend(order.to_le_bytes());
    out.extend(price.to_le_bytes());
    out.extend(10u32.to_le_bytes());
    out.extend([0x80, 0, action, if is_bid { b'B' } else { b'A' }]);
    out.extend((time(number) + 900).to_le_bytes());
    out.extend([0; 8]);
}

/// A record of ten levels.
pub fn mbp_10(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    out.extend(b"ESH4    ");
    out.extend([92, 0x0a, 1, 0, 9, 0, 0, 0]);
    out.extend(time(number).to_le_bytes());
    out.extend(4_800_000_000_000u64.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(*b"AB\x80\0");
    out.extend((time(number) + 900).to_le_bytes());
    out.extend([0; 8]);
    let changed = random.below(10) as i64;
    for level in 0..10i64 {
        let bid = 4_800_000_000_000 - 250_000_000 * level;
        out.extend(bid.to_le_bytes());
        out.extend((bid + 250_000_000 * (1 + 2 * level)).to_le_bytes());
        let size = 10
            + if level == changed {
                number as u32 % 7
            } else {
                0
            };
        out.extend(size.to_le_bytes());
        out.extend(20u32.to_le_bytes());
        out.extend([0; 8]);
    }
}

/// What CME writes in front of a message of one entry that ends its event, as the reader has it.
fn mdp3(number: u64, template: u16, each: u16, out: &mut Vec<u8>) {
    out.extend(time(number).to_le_bytes());
    out.extend((number as u32).to_le_bytes());
    out.extend(14_310u16.to_le_bytes());
    for word in [11, template, 1, 9] {
        out.extend(u16::to_le_bytes(word));
    }
    out.extend((time(number) - 900).to_le_bytes());
    out.extend([0x80, 0, 0]);
    out.extend(each.to_le_bytes());
    out.push(1);
}

/// PITCH's orders behind their unit and its time: of four messages, two add an order, one executes all of
/// an order of fifty such rounds before, and one deletes the other.
pub fn pitch(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    out.push(1);
    out.extend(
        (MIDNIGHT.0 as u64 + 34_200_000_000_000 + number / 1_000_000 * 1_000_000_000).to_le_bytes(),
    );
    let (round, step) = (number / 4, number % 4);
    let order = if step < 2 {
        round
    } else {
        round.saturating_sub(50)
    } * 2
        + step % 2
        + 1;
    let nanoseconds = (number as u32 % 1_000_000 * 1_000).to_le_bytes();
    let mut put = |code: u8, rest: &[&[u8]]| {
        let len = 14 + rest.iter().map(|part| part.len()).sum::<usize>();
        out.extend([len as u8, code]);
        out.extend(nanoseconds);
        out.extend(order.to_le_bytes());
        rest.iter().for_each(|part| out.extend(*part));
    };
    match step {
        0 | 1 => {
            let symbol = format!("S{:<5}", round % 1_000);
            let price = 1_000 + random.below(40) as u16 + 40 * step as u16;
            let side = [b'B', b'S'][step as usize];
            let price = price.to_le_bytes();
            put(0x22, &[&[side, 100, 0], symbol.as_bytes(), &price, &[1]]);
        }
        2 => put(0x23, &[&100u32.to_le_bytes(), &number.to_le_bytes()]),
        _ => put(0x29, &[]),
    }
}

/// MDP 3.0's price levels: 100 instruments, a change at one of ten levels.
pub fn mdp3_levels(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    mdp3(number, 46, 32, out);
    let (security, level, side) = (random.below(100), random.below(10), random.below(2));
    let steps = 1 + level as i64;
    let price = 4_800_000_000_000 + 250_000_000 * if side == 0 { -steps } else { steps };
    out.extend(price.to_le_bytes());
    out.extend((1 + random.below(90) as u32).to_le_bytes());
    out.extend((7_000 + security as u32).to_le_bytes());
    out.extend([0; 8]);
    out.extend([1 + level as u8, 1, b'0' + side as u8, 0, 0, 0, 0, 0]);
    out.extend([0; 8]);
}

/// MDP 3.0's orders, which come, change and go.
pub fn mdp3_orders(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    mdp3(number, 47, 40, out);
    let action = match number % 5 {
        0 | 2 => 0,
        1 | 3 => 2,
        _ => 1,
    };
    let near = number.saturating_sub(5 * random.below(400)) / 5 * 5;
    let order = match action {
        0 => number,
        2 => near + number % 5 - 1,
        _ => near,
    };
    let is_bid = order.is_multiple_of(2);
    let steps = 1 + random.below(30) as i64;
    let price = 4_800_000_000_000 + 250_000_000 * if is_bid { -steps } else { steps };
    out.extend((order + 1).to_le_bytes());
    out.extend((number + 1).to_le_bytes());
    out.extend(price.to_le_bytes());
    out.extend(10u32.to_le_bytes());
    out.extend((7_000 + order as u32 % 100).to_le_bytes());
    out.extend([action, if is_bid { b'0' } else { b'1' }, 0, 0, 0, 0, 0, 0]);
}

/// Changes of ten levels of a book of 1e-5, one after the other, behind a snapshot, as the source makes
/// messages of Binance's lines.
pub fn binance(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    out.extend(b"BTCUSDT ");
    out.extend([if number == 0 { b'S' } else { b'D' }, 5, 0, 0]);
    for head in [
        time(number),
        time(number),
        number,
        number,
        number.saturating_sub(1),
    ] {
        out.extend(head.to_le_bytes());
    }
    for _ in 0..10 {
        let side = 1 + random.below(2);
        out.push(side as u8);
        let price = 61_000_000_000_000 + side * 10_000_000_000 + random.below(500) * 10_000_000;
        out.extend(price.to_le_bytes());
        out.extend((random.below(4) * 12_345).to_le_bytes());
        out.extend(0u64.to_le_bytes());
    }
}

/// What a source makes of a line: name, code, five decimals of quantity, times, numbers, and rows of side, price,
/// quantity and number.
fn said(code: u8, number: u64, rows: &[(u64, u64, u64, u64)], out: &mut Vec<u8>) {
    out.extend(b"BTC-USD ");
    out.extend([code, 5, 0, 0]);
    for head in [time(number), time(number), 0, 0, 0] {
        out.extend(head.to_le_bytes());
    }
    for (side, price, qty, id) in rows {
        out.push(*side as u8);
        for field in [price, qty, id] {
            out.extend(field.to_le_bytes());
        }
    }
}

/// A level of a book whose prices are a hundredth apart: side, price, quantity, and no number.
fn level(random: &mut Random) -> (u64, u64, u64, u64) {
    let side = 1 + random.below(2);
    let price = 61_000_000_000_000 + side * 10_000_000_000 + random.below(500) * 10_000_000;
    (side, price, random.below(4) * 12_345, 0)
}

/// Coinbase's level2: a level a message, behind a snapshot.
pub fn coinbase(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    let code = if number == 0 { b'S' } else { b'L' };
    said(code, number, &[level(random)], out);
}

/// tardis.dev's incremental rows: three of one time a message, behind a snapshot.
pub fn tardis(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    let code = if number == 0 { b'S' } else { b'L' };
    let rows = [level(random), level(random), level(random)];
    said(code, number, &rows, out);
}

/// Bitstamp's orders: one comes, and one that came some time before changes or goes, in turns.
pub fn bitstamp(random: &mut Random, number: u64, out: &mut Vec<u8>) {
    // An order and its end are made of the same chance.
    let order = |id: u64| {
        let (side, price, ..) = level(&mut Random(id));
        (side, price)
    };
    let old = (number / 2).saturating_sub(1_000);
    if number.is_multiple_of(2) || old == 0 {
        let id = number / 2 + 1;
        let id = if number.is_multiple_of(2) {
            id
        } else {
            id + (1 << 40)
        };
        let (side, price) = order(id);
        said(
            b'C',
            number,
            &[(side, price, 1 + random.below(90_000), id)],
            out,
        );
    } else {
        let (side, price) = order(old);
        said(b'D', number, &[(side, price, 0, old)], out);
    }
}

/// ITCH of the sample exchange: about as many messages as asked for, on as many symbols, over a minute of
/// event time.
pub fn itch(symbols: u32, messages: u64) -> Tape {
    let seconds = 60;
    let rate = (messages / u64::from(seconds))
        .saturating_sub(6_000)
        .max(200) as u32;
    let session = exchange::Session {
        symbols,
        seconds,
        seed: 1,
        rate,
        ..exchange::Session::default()
    };
    let mut tape = Tape {
        bytes: Vec::with_capacity(messages as usize * 31),
        messages: 0,
    };
    let put = &mut |_, message: &[u8]| -> io::Result<()> {
        tape.bytes
            .extend_from_slice(&(message.len() as u16).to_be_bytes());
        tape.bytes.extend_from_slice(message);
        tape.messages += 1;
        Ok(())
    };
    exchange::run(&session, put).expect("a valid session into memory");
    tape
}

/// A file of lines: what the source would be given.
#[derive(Clone, Debug)]
pub struct Lines {
    /// What the file is called; some readers take the instrument from it.
    pub name: &'static str,
    /// All of it.
    pub text: String,
    /// How many of its lines are messages.
    pub messages: u64,
}

/// Prices and quantities as text: one of 500 prices a cent apart, and three decimals of quantity with zeros behind them, as
/// Binance pads both. Bids are below asks.
fn binance_levels(random: &mut Random, dollars: u64, count: usize, out: &mut String) {
    for index in 0..count {
        let (cents, qty) = (random.below(500), random.below(1_000));
        let comma = if index == 0 { "" } else { "," };
        let (whole, part) = (dollars + cents / 100, cents % 100);
        write!(
            out,
            "{comma}[\"{whole}.{part:02}000000\",\"0.{qty:03}00000\"]"
        )
        .expect("memory");
    }
}

/// Binance's changes of ten levels each, behind a snapshot of ten.
pub fn binance_lines(messages: u64) -> Lines {
    let (mut random, mut text) = (Random(7), String::new());
    for number in 0..messages {
        let (at, ms) = (time(number), time(number) / 1_000_000);
        match number {
            0 => write!(text, "{at} {{\"lastUpdateId\":0,\"bids\":["),
            _ => write!(
                text,
                "{at} {{\"stream\":\"btcusdt@depth\",\"data\":{{\"e\":\"depthUpdate\",\"E\":{ms},\
                 \"s\":\"BTCUSDT\",\"U\":{number},\"u\":{number},\"b\":["
            ),
        }
        .expect("memory");
        binance_levels(&mut random, 60_000, 5, &mut text);
        text.push_str(if number == 0 {
            "],\"asks\":["
        } else {
            "],\"a\":["
        });
        binance_levels(&mut random, 61_000, 5, &mut text);
        text.push_str(if number == 0 { "]}\n" } else { "]}}\n" });
    }
    Lines {
        name: "btcusdt.jsonl",
        text,
        messages,
    }
}

/// A price and a quantity of five decimals as text, of a level around 61,000.
fn level_text(random: &mut Random) -> (bool, String, String) {
    let (side, price, qty, _) = level(random);
    let cents = price / 10_000_000;
    (
        side == 1,
        format!("{}.{:02}", cents / 100, cents % 100),
        format!("{}.{:05}", qty / 100_000, qty % 100_000),
    )
}

/// Coinbase's level2: a level a line, behind a snapshot.
pub fn coinbase_lines(messages: u64) -> Lines {
    let (mut random, mut text) = (Random(7), String::new());
    for number in 0..messages {
        let (is_bid, price, qty) = level_text(&mut random);
        let (seconds, micros) = (time(number) / 1_000_000_000, number % 1_000_000);
        // 9:30 in New York.
        let second = number / 1_000_000;
        let side = if is_bid { "buy" } else { "sell" };
        match number {
            0 => writeln!(
                text,
                "{seconds}.{micros:06} {{\"type\":\"snapshot\",\"product_id\":\"BTC-USD\",\
                 \"bids\":[[\"60000.00\",\"1.00000\"]],\"asks\":[[\"62000.00\",\"1.00000\"]]}}"
            ),
            _ => writeln!(
                text,
                "{seconds}.{micros:06} {{\"type\":\"l2update\",\"product_id\":\"BTC-USD\",\
                 \"changes\":[[\"{side}\",\"{price}\",\"{qty}\"]],\
                 \"time\":\"2026-01-05T14:30:{second:02}.{micros:06}Z\"}}"
            ),
        }
        .expect("memory");
    }
    Lines {
        name: "btc-usd.jsonl",
        text,
        messages,
    }
}

/// tardis.dev's incremental rows: three of one time, behind a snapshot's. A message is a row here.
pub fn tardis_lines(messages: u64) -> Lines {
    let mut random = Random(7);
    let mut text =
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n".to_owned();
    for number in 0..messages {
        let (is_bid, price, qty) = level_text(&mut random);
        let us = time(number / 3) / 1_000;
        let (side, is_snapshot) = (if is_bid { "bid" } else { "ask" }, number < 3);
        let local = us + 90;
        writeln!(
            text,
            "deribit,BTC-USD,{us},{local},{is_snapshot},{side},{price},{qty}"
        )
        .expect("memory");
    }
    Lines {
        name: "deribit_incremental_book_L2_2026-01-05_BTC-USD.csv",
        text,
        messages,
    }
}

/// Bitstamp's orders: one comes, and one that came some time before goes, in turns; a row each millisecond.
pub fn bitstamp_lines(messages: u64) -> Lines {
    let mut random = Random(7);
    let mut text = "id,timestamp,exchange_timestamp,price,volume,action,direction\n".to_owned();
    for number in 0..messages {
        let round = number / 2;
        let (id, action) = match number % 2 {
            1 if round >= 1_000 => (round - 1_000, "deleted"),
            1 => (round + (1 << 40), "created"),
            _ => (round, "created"),
        };
        // An order and its end are made of the same chance.
        let (is_bid, price, _) = level_text(&mut Random(id));
        let side = if is_bid { "bid" } else { "ask" };
        let qty = 1 + random.below(90_000);
        let ms = time(0) / 1_000_000 + number;
        let (id, arrived) = (id + 1, ms + 2);
        writeln!(
            text,
            "{id},{arrived},{ms},{price},0.{qty:05},{action},{side}"
        )
        .expect("memory");
    }
    Lines {
        name: "btcusd_orders.csv",
        text,
        messages,
    }
}

/// LOBSTER's lines as a file has them: without the name that the source puts in front of each.
pub fn lobster_lines(messages: u64) -> Lines {
    let tape = tape(messages, lobster);
    let mut text = String::new();
    for message in Blocks::new(&tape.bytes) {
        text.push_str(std::str::from_utf8(&message[8..]).expect("it is text"));
        text.push('\n');
    }
    Lines {
        name: "AAPL_2026-01-05_34200000_57600000_message_10.csv",
        text,
        messages,
    }
}

/// From bytes to the events that the log and the books get, behind `events`, which `take` is given in blocks and
/// which is emptied then; where a feed shows levels, or a record tells of several changes, that is decoded and
/// then translated.
#[inline(always)]
pub fn decode_blocks<P: Protocol>(
    protocol: &mut P,
    blocks: &[u8],
    events: &mut Vec<Event>,
    mut take: impl FnMut(&[Event]),
) {
    let mut event = Event::new(Kind::Nothing);
    for message in Blocks::new(blocks) {
        protocol.decode(message, &mut event).expect("it is right");
        if P::IS_TRANSLATED {
            protocol
                .translate(message, &event, events)
                .expect("there is room");
        } else {
            events.push(event);
        }
        if events.len() >= BLOCK_EVENTS {
            take(events);
            events.clear();
        }
    }
}
