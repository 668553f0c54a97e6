//! Books made whole by snapshots.

use super::*;

/// Orders of three symbols that come, trade, shrink, are replaced and go.
fn market(count: u64) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for index in 1..=count {
        let (ns, symbol) = (index * 1_000, 1 + (index % 3) as u16);
        // Those of the same symbol before it, some of which are gone.
        let (old, older) = (index.saturating_sub(3), index.saturating_sub(12));
        let mut made = match index % 8 {
            3 => message(b'E', ns, symbol),
            5 => message(b'X', ns, symbol),
            6 => message(b'D', ns, symbol),
            7 => message(b'U', ns, symbol),
            _ => message(b'A', ns, symbol),
        };
        let mut put = |at: usize, bytes: &[u8]| made[at..at + bytes.len()].copy_from_slice(bytes);
        let price = (100_000 + 100 * (index % 7) as u32).to_be_bytes();
        match index % 8 {
            3 | 5 => {
                put(11, &old.to_be_bytes());
                put(19, &40u32.to_be_bytes());
            }
            6 => put(11, &older.to_be_bytes()),
            7 => {
                put(11, &old.to_be_bytes());
                put(19, &index.to_be_bytes());
                put(27, &(50 + index as u32).to_be_bytes());
                put(31, &price);
            }
            _ => {
                put(11, &index.to_be_bytes());
                put(19, if index % 2 == 0 { b"B" } else { b"S" });
                put(20, &(100 + index as u32).to_be_bytes());
                put(32, &price);
            }
        }
        messages.push(made);
    }
    messages
}

/// The orders behind these messages.
fn table(messages: &[Vec<u8>]) -> Table {
    let (itch, mut table) = (Itch::new(MIDNIGHT), Table::new(1_000));
    for message in messages {
        let mut event = Event::new(Kind::Nothing);
        itch.decode(message, &mut event).unwrap();
        table.apply(&event).unwrap();
        if let Some(name) = itch.name(message) {
            table.name(event.symbol, name);
        }
    }
    table
}

/// Turns until the source has nothing.
fn turn_to_rest(reader: &mut Reader<Waiting>, receivers: &mut [Receiver], all: &mut Vec<Event>) {
    while reader.turn().unwrap() != Turned::Empty {
        receivers.iter_mut().for_each(|r| take(r, usize::MAX, all));
    }
    receivers.iter_mut().for_each(|r| take(r, usize::MAX, all));
}

/// Two losses, the second one while a snapshot is waited for; answers that are none, that are too old,
/// and of before the second loss.
fn healed(shards: usize) -> (Vec<Event>, HealStats) {
    let messages = market(400);
    let (link, fetch) = glimpse::link();
    let rule = AskSnapshots {
        server: "127.0.0.1:9".parse().unwrap(),
        login: Login::new("", "", "", 1).unwrap(),
        midnight: MIDNIGHT,
        orders_max: 1_000,
        silence_ns: 1,
        timeout_ns: 1,
        tries_max: 100,
        retry_ns: 1,
        retry_max_ns: 1,
    };
    let (go, gone_on) = mpsc::channel();
    let known = messages.clone();
    let server = thread::spawn(move || {
        let mut asked = 0;
        fetch.serve(&rule, |_| {
            asked += 1;
            let sequence: u64 = match asked {
                1 => return Err("cut".into()),
                2 => 55,
                _ => gone_on.recv().map_err(|_| "over".to_string())?,
            };
            let table = table(&known[..sequence as usize - 1]);
            Ok(Snapshot { sequence, table })
        });
    });
    let (senders, mut receivers): (Vec<_>, Vec<_>) =
        (0..shards).map(|_| ring::<Event>(1 << 14)).unzip();
    let mut config = config();
    config.gaps.reorder_max = 2;
    let mut reader = Reader::new(Waiting::default(), config, senders);
    let kept_bytes_max = 1 << 16;
    reader = reader.with_snapshots(Some((link, HealRule { kept_bytes_max })), false);
    let (mut steps, mut all) = (packets(&messages, 0, 10).into_iter(), Vec::new());
    let mut send = |reader: &mut Reader<Waiting>, packets: usize, lost: usize| {
        for (index, step) in steps.by_ref().take(packets).enumerate() {
            if index != lost {
                reader.source_mut().packets.push_back(step);
            }
        }
    };
    send(&mut reader, 10, 5);
    turn_to_rest(&mut reader, &mut receivers, &mut all);
    assert_eq!(reader.stats().gaps.len(), 1);
    send(&mut reader, 10, 2);
    turn_to_rest(&mut reader, &mut receivers, &mut all);
    assert_eq!(reader.stats().gaps.len(), 2);
    assert_eq!(reader.stats().heal.unwrap().heals, 0);
    for sequence in [111, 151] {
        go.send(sequence).unwrap();
    }
    while reader.stats().heal.unwrap().heals == 0 {
        turn_to_rest(&mut reader, &mut receivers, &mut all);
        thread::yield_now();
    }
    send(&mut reader, 20, usize::MAX);
    reader.source_mut().is_over = true;
    while reader.turn().unwrap() != Turned::Ended {
        receivers
            .iter_mut()
            .for_each(|r| take(r, usize::MAX, &mut all));
    }
    receivers
        .iter_mut()
        .for_each(|r| take(r, usize::MAX, &mut all));
    let stats = reader.stats();
    assert_eq!(stats.messages, 380, "each message once");
    // The server's thread ends with the reader.
    drop((reader, go));
    server.join().unwrap();
    all.sort_by_key(|event| event.seq);
    all.dedup();
    (all, stats.heal.unwrap())
}

#[test]
fn books_are_told_anew_by_a_snapshot_and_what_came_since_at_any_number_of_shards() {
    let (events, stats) = healed(1);
    let is_end = |event: &Event, flags: Flags| event.kind == Kind::Gap && event.flags == flags;
    let start = Flags::WHOLE.with(Flags::STALE);
    let start = events
        .iter()
        .position(|event| is_end(event, start))
        .unwrap();
    let end = events.iter().position(|event| is_end(event, Flags::WHOLE));
    let end = end.unwrap();
    assert_eq!((events[start].order, events[end].order), (201, 201));
    let mut want = Vec::new();
    let whole = table(&market(200));
    for symbol in 1..=3 {
        for (_, reference, order) in whole.orders_from(symbol, 0) {
            let (price, qty) = (order.price, order.qty);
            want.push((
                symbol,
                Kind::Add,
                reference,
                order.side,
                price,
                qty,
                Flags::MORE,
            ));
        }
        let none = (0, Side::None, Price(0), Qty(0));
        want.push((
            symbol,
            Kind::Info,
            none.0,
            none.1,
            none.2,
            none.3,
            Flags::ENDS,
        ));
    }
    let told = events[start + 1..end].iter();
    let told: Vec<_> = told
        .map(|e| (e.symbol, e.kind, e.order, e.side, e.price, e.qty, e.flags))
        .collect();
    assert!(want.len() > 30, "some orders live: {}", want.len());
    assert_eq!(told, want);
    let last = stats.last.unwrap();
    assert_eq!((last.sequence, last.symbols), (201, 3));
    assert_eq!(last.orders + 3, want.len() as u64);
    assert_eq!(
        (stats.losses, stats.heals, stats.is_given_up),
        (2, 1, false)
    );
    // The one that was too old for the first loss, and the one for the second.
    assert_eq!(stats.snapshots + stats.failed, 4);
    for shards in [2, 4] {
        assert!(healed(shards).0 == events, "{shards} shards");
    }
}

#[test]
fn no_more_is_kept_than_there_is_room_for_and_nobody_is_asked_for_ever() {
    let messages = market(400);
    let (link, fetch) = glimpse::link();
    let (senders, mut receivers) = ring::<Event>(1 << 14);
    let mut config = config();
    config.gaps.reorder_max = 2;
    let reader = Reader::new(Waiting::default(), config, vec![senders]);
    let kept_bytes_max = 1_000;
    let mut reader = reader.with_snapshots(Some((link, HealRule { kept_bytes_max })), false);
    let (mut all, mut left) = (Vec::new(), usize::MAX);
    for (index, step) in packets(&messages, 0, 10).into_iter().enumerate() {
        if index != 5 && left > 0 {
            reader.source_mut().packets.push_back(step);
        }
        turn_to_rest(&mut reader, std::slice::from_mut(&mut receivers), &mut all);
        // Two packets more fit.
        left = left.saturating_sub(1);
        if left > 2 && reader.stats().heal.unwrap().overflows == 2 {
            left = 2;
        }
    }
    let stats = reader.stats().heal.unwrap();
    assert_eq!((left, stats.overflows), (0, 2), "{stats:?}");
    let rule = AskSnapshots {
        server: "127.0.0.1:9".parse().unwrap(),
        login: Login::new("", "", "", 1).unwrap(),
        midnight: MIDNIGHT,
        orders_max: 1_000,
        silence_ns: 1,
        timeout_ns: 1,
        tries_max: 3,
        retry_ns: 1,
        retry_max_ns: 1,
    };
    let server = thread::spawn(move || fetch.serve(&rule, |_| Err("away".into())));
    while !reader.stats().heal.unwrap().is_given_up {
        turn_to_rest(&mut reader, std::slice::from_mut(&mut receivers), &mut all);
        thread::yield_now();
    }
    let stats = reader.stats();
    assert_eq!(stats.heal.unwrap().failed, 3);
    assert_eq!(stats.troubles, 3);
    let last = stats.examples.last().unwrap();
    assert!(last.contains("away; nobody is asked any more"), "{last}");
    drop(reader);
    server.join().unwrap();
}
