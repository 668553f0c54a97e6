//! Messages come out in order, named, numbered, and where their symbols live.

use super::*;

#[test]
fn a_session_comes_out_whole_in_order_and_numbered() {
    let messages = sample_messages(1);
    let (events, stats) = read(packets(&messages, 0, 7), config());
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
    assert_eq!(events.last().map(|event| event.kind), Some(Kind::End));
    let of_messages = events.iter().filter(|event| event.code != 0);
    for (event, message) in of_messages.clone().zip(&messages) {
        let mut want = reference::itch::decode(MIDNIGHT, message).unwrap();
        (want.seq, want.ts_recv) = (event.seq, event.ts_recv);
        assert_eq!(*event, want);
    }
    assert_eq!(of_messages.count(), messages.len());
    assert_eq!(stats.messages, messages.len() as u64);
    assert_eq!(stats.by_type.iter().sum::<u64>(), stats.messages);
    assert_eq!(stats.anomalies.total(), 0, "{:?}", stats.examples);
    assert_eq!(stats.seq, events.len() as u64);
    assert_eq!(stats.sessions[0].messages, messages.len() as u64);
    // Every name is known before the first event of its symbol.
    let mut known = BTreeSet::new();
    for event in &events {
        if event.kind == Kind::Symbol {
            known.insert(event.symbol);
        }
        assert!(
            event.symbol == 0 || known.contains(&event.symbol),
            "{event:?}"
        );
    }
}

#[test]
fn a_name_is_made_known_where_no_directory_came() {
    let messages = [
        message(b'E', 1, 5), // Carries no name.
        message(b'A', 2, 5),
        message(b'A', 3, 5),
        message(b'R', 4, 6),
        message(b'H', 5, 6),
        message(b'R', 6, 5),
    ];
    let (events, _) = read(vec![piece(&messages)], config());
    let got: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.code, event.symbol))
        .collect();
    let want = [
        (Kind::Execute, b'E', 5),
        (Kind::Symbol, 0, 5),
        (Kind::Add, b'A', 5),
        (Kind::Add, b'A', 5),
        (Kind::Symbol, b'R', 6),
        (Kind::Status, b'H', 6),
        (Kind::Symbol, b'R', 5),
        (Kind::End, 0, 0),
    ];
    assert_eq!(got, want);
    assert_eq!(events[1].order.to_be_bytes(), *b"S5      ");
}

#[test]
fn every_type_that_carries_a_name_makes_it_known() {
    for (code, _) in reference::itch::LENGTHS {
        let (events, stats) = read(vec![piece(&[message(code, 1, 3)])], config());
        let carries = reference::itch::name_at(code).is_some();
        if code == b'h' || code == b'C' {
            continue; // All zero, their letters are not allowed.
        }
        assert_eq!(events[0].kind == Kind::Symbol, carries, "{}", code as char);
        assert_eq!(stats.anomalies.total(), 0);
    }
}

#[test]
fn shards_and_filters_do_not_change_the_numbers() {
    let messages = sample_messages(2);
    let steps = packets(&messages, 0, 9);
    let (all, _) = read(steps.clone(), config());
    for shards in [2, 3, 4] {
        let (split, _) = read_with(steps.clone(), config(), shards, 1 << 16);
        for (shard, events) in split.iter().enumerate() {
            let mine = |e: &&Event| e.kind.is_for_all() || shard_of(e.symbol, shards) == shard;
            let want: Vec<Event> = all.iter().filter(mine).copied().collect();
            assert_eq!(*events, want, "shard {shard} of {shards}");
        }
    }
    let names: BTreeSet<String> = all
        .iter()
        .filter(|event| event.kind == Kind::Symbol && event.symbol.is_multiple_of(3))
        .map(|event| {
            String::from_utf8_lossy(&event.order.to_be_bytes())
                .trim()
                .to_owned()
        })
        .collect();
    assert!(names.len() > 5);
    let (few, _) = read(
        steps,
        ReaderConfig {
            symbols: Some(names),
            ..config()
        },
    );
    let is_asked_for =
        |e: &&Event| e.kind.is_for_all() || (e.symbol.is_multiple_of(3) && e.symbol != 0);
    let want: Vec<Event> = all.iter().filter(is_asked_for).copied().collect();
    assert_eq!(few, want);
}

#[test]
fn small_rings_hold_up_the_reader_and_lose_nothing() {
    let messages = sample_messages(3);
    // Packets of many messages, and a session that is held up by a gap for some time.
    let mut steps = packets(&messages, 0, 30);
    let late = steps.remove(10);
    steps.insert(60, late);
    let (want, _) = read_with(steps.clone(), config(), 2, 1 << 16);
    for capacity in [1, 2, 7, 30] {
        let (got, stats) = read_with(steps.clone(), config(), 2, capacity);
        assert_eq!(got, want, "rings for {capacity}");
        assert!(stats.rings.iter().all(|ring| ring.full_count > 0));
        assert!(
            stats
                .rings
                .iter()
                .all(|ring| ring.waiting_max <= capacity as u64)
        );
    }
}

#[test]
fn both_lines_lost_and_doubled_give_the_same_events_and_their_gaps() {
    let messages = sample_messages(4);
    let (want, _) = read(packets(&messages, 0, 5), config());
    let mut random = Random(4);
    let mut steps = Vec::new();
    for (a, b) in packets(&messages, 0, 5)
        .into_iter()
        .zip(packets(&messages, 1, 5))
    {
        let lost = random.below(4);
        steps.extend((lost != 0).then_some(a));
        steps.extend((lost != 1).then_some(b));
    }
    let (got, stats) = read(steps.clone(), config());
    // Where line A lost a packet, its copy has the same arrival time here.
    assert_eq!(got, want);
    assert!(stats.lines[0].filled_by_others() > 0 && stats.lines[1].filled_by_others() > 0);
    assert_eq!((stats.lines[0].lost, stats.gaps.len()), (0, 0));

    // Both lose one packet, of messages 501 to 505.
    let is_lost = |step: &SimStep| {
        let SimStep::Packet { payload, .. } = step else {
            return false;
        };
        Header::split(payload).unwrap().0.sequence == 501
    };
    steps.retain(|step| !is_lost(step));
    let (got, stats) = read_with(steps, config(), 3, 64);
    for events in got {
        let gaps: Vec<_> = events
            .iter()
            .filter(|event| event.kind == Kind::Gap)
            .collect();
        let [gap] = gaps[..] else {
            panic!("one gap on each shard")
        };
        assert_eq!((gap.order, gap.qty.0), (501, 5));
    }
    assert_eq!(stats.gaps.len(), 1);
    assert_eq!(stats.messages, messages.len() as u64 - 5);
    assert_eq!(stats.anomalies.0[Anomaly::Gap as usize], 1);
}

#[test]
fn the_input_ends_before_the_first_event_after_until() {
    let messages: Vec<_> = (1..10).map(|ns| message(b'D', ns * 10, 1)).collect();
    let until = Some(MIDNIGHT.plus_ns(50));
    let (events, stats) = read(vec![piece(&messages)], ReaderConfig { until, ..config() });
    let times: Vec<_> = kinds(&events).iter().map(|(_, ns)| *ns).collect();
    assert_eq!(times, [10, 20, 30, 40, 50, 50]);
    assert_eq!(events.last().unwrap().kind, Kind::End);
    assert_eq!(stats.anomalies.total(), 0);
}

#[test]
fn a_stopped_reader_brings_out_what_it_holds_and_ends_once() {
    let messages = sample_messages(6);
    let mut steps = packets(&messages, 0, 5);
    steps.remove(2);
    steps.truncate(6);
    steps.extend([SimStep::Empty, SimStep::Empty]);
    steps.extend(packets(&messages, 0, 5).drain(100..));
    let (tx, mut rx) = ring::<Event>(1 << 16);
    let mut reader = Reader::new(SimSource::new(&["A"], steps), config(), vec![tx]);
    while reader.turn().unwrap() != Turned::Empty {}
    reader.finish();
    reader.finish();
    while reader.turn().unwrap() != Turned::Ended {}
    let mut events = Vec::new();
    take(&mut rx, usize::MAX, &mut events);
    let ends = events
        .iter()
        .filter(|event| event.kind == Kind::End)
        .count();
    assert_eq!((ends, events.last().unwrap().kind), (1, Kind::End));
    let stats = reader.stats();
    assert_eq!(stats.messages, 30);
    assert_eq!((stats.gaps[0].first, stats.gaps[0].count), (11, 5));
}

#[test]
fn a_live_feed_ends_with_its_sessions() {
    let messages = sample_messages(7);
    let mut steps = packets(&messages[..50], 0, 5);
    let end = Header {
        session: SESSION,
        sequence: 51,
        count: END_OF_SESSION,
    };
    steps.push(SimStep::packet(Some(MIDNIGHT), 0, &end.to_bytes()));
    steps.push(SimStep::Fail("nobody asks any more".into()));
    let live = ReaderConfig {
        end_at_session_end: true,
        ..config()
    };
    let (events, _) = read(steps, live);
    assert_eq!(events.last().unwrap().kind, Kind::End);
}

#[test]
fn a_group_is_on_one_shard_and_what_has_no_name_goes_nowhere() {
    // Executions and deletes say no name; symbol 7 is added late, and 3 is in no group.
    let messages = [
        message(b'D', 1_000, 7),
        message(b'R', 2_000, 2),
        message(b'R', 3_000, 3),
        message(b'R', 4_000, 5),
        message(b'A', 5_000, 7),
        message(b'D', 6_000, 7),
        message(b'D', 7_000, 2),
        message(b'D', 8_000, 5),
        message(b'D', 9_000, 3),
        message(b'D', 10_000, 4),
    ];
    let names = |names: [&str; 2]| names.map(String::from).to_vec();
    let all = [names(["S5", "S2"]), names(["S7", "S9"])];
    let groups = Groups::new(all.iter().map(Vec::as_slice));
    let of_shard = |events: &[Event]| -> Vec<(u32, u64)> {
        let own = events.iter().filter(|event| !event.kind.is_for_all());
        own.map(|event| (event.symbol, event.seq)).collect()
    };
    let mut all_seen = Vec::new();
    for shards in 1..5 {
        let config = ReaderConfig {
            groups: groups.clone(),
            ..config()
        };
        let (events, _) = read_with(packets(&messages, 0, 3), config, shards, 1 << 10);
        let mut seen = Vec::new();
        for (shard, events) in events.iter().enumerate() {
            for (symbol, seq) in of_shard(events) {
                let home = match symbol {
                    2 | 5 => 0,
                    7 => 1 % shards,
                    _ => symbol as usize % shards,
                };
                assert_eq!(shard, home, "symbol {symbol} of {shards} shards");
                seen.push((seq, symbol));
            }
        }
        seen.sort_unstable();
        let symbols: Vec<u32> = seen.iter().map(|(_, symbol)| *symbol).collect();
        // Where a name is first met in an add, the reader says it before.
        assert_eq!(symbols, [2, 3, 5, 7, 7, 7, 2, 5, 3]);
        all_seen.push(seen);
    }
    assert!(all_seen.iter().all(|seen| *seen == all_seen[0]));
    // What was known before a live run went on needs no name.
    let mut known = groups;
    known.bind(7, *b"S7      ");
    known.is_apart(4);
    let config = ReaderConfig {
        groups: known,
        ..config()
    };
    let (events, _) = read_with(packets(&messages, 0, 3), config, 2, 1 << 10);
    let counts = events.iter().map(|events| of_shard(events).len());
    assert_eq!(counts.collect::<Vec<_>>(), [5, 6]);
    assert_eq!(of_shard(&events[1])[0].0, 7);
}
