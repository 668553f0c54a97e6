//! Ticks, and times that cannot be.

use super::*;

#[test]
fn ticks_stand_on_the_grid_before_the_message_that_passes_it() {
    let add = |ns| message(b'D', ns, 1);
    let (events, _) = read(
        vec![piece(&[
            add(10),
            add(99),
            add(100),
            add(105),
            add(450),
            add(430),
            add(500),
        ])],
        ReaderConfig {
            tick_ns: 100,
            ..config()
        },
    );
    assert_eq!(
        kinds(&events),
        [
            (Kind::Delete, 10),
            (Kind::Delete, 99),
            (Kind::Tick, 100),
            (Kind::Delete, 100),
            (Kind::Delete, 105),
            (Kind::Tick, 400),
            (Kind::Delete, 450),
            (Kind::Delete, 430),
            (Kind::Tick, 500),
            (Kind::Delete, 500),
            (Kind::End, 500),
        ]
    );
}

#[test]
fn ticks_stay_behind_by_the_time_that_messages_may_be_out_of_order() {
    let add = |ns| message(b'D', ns, 1);
    let (events, stats) = read(
        vec![piece(&[
            add(10),
            add(105),
            add(95),
            add(129),
            add(130),
            add(250),
            add(219),
        ])],
        ReaderConfig {
            tick_ns: 100,
            out_of_order_ns: 30,
            ..config()
        },
    );
    let ticks: Vec<_> = kinds(&events)
        .into_iter()
        .filter(|(kind, _)| *kind != Kind::Delete)
        .collect();
    assert_eq!(
        ticks,
        [
            (Kind::Tick, 0),
            (Kind::Tick, 100),
            (Kind::Tick, 200),
            (Kind::End, 250)
        ]
    );
    assert_eq!(
        events[5].kind,
        Kind::Tick,
        "it comes before the message at 130"
    );
    // The last one is 31 behind; 95 was no further behind than it may be.
    assert_eq!(stats.anomalies.0[Anomaly::TimeBackwards as usize], 1);
}

/// Packets of one message each of two sessions, as they arrive: session, time in ns.
fn of_sessions(messages: &[(u8, u64)]) -> Vec<SimStep> {
    let mut next = [1u64; 2];
    let step = |&(session, ns): &(u8, u64)| {
        let sequence = &mut next[usize::from(session)];
        let header = Header {
            session: SessionId([b'0' + session; 10]),
            sequence: *sequence,
            count: 1,
        };
        *sequence += 1;
        let mut payload = header.to_bytes().to_vec();
        payload.extend(blocks([message(b'D', ns, 1 + u16::from(session))]));
        SimStep::packet(Some(MIDNIGHT.plus_ns(ns as i64)), 0, &payload)
    };
    messages.iter().map(step).collect()
}

#[test]
fn trap_a_quiet_source_is_waited_for_only_so_long() {
    let messages = [
        (0, 100),
        (1, 40),
        (0, 260),
        (1, 110),
        (1, 210), // Tells that both have come to 210.
        (0, 480), // Session 1 is behind by 270, and from here on by more than 300:
        (0, 530),
        (0, 700),
        (1, 230), // it comes back with what happened before, which is no way back of its own,
        (1, 650), // and time waits for it again, from where it is.
        (0, 910),
    ];
    let ticks_of = |idle_after_ns| {
        let config = ReaderConfig {
            tick_ns: 100,
            idle_after_ns,
            ..config()
        };
        let (events, stats) = read(of_sessions(&messages), config);
        let mut seen = Vec::new();
        for (kind, ns) in kinds(&events) {
            match kind {
                Kind::Tick => seen.push(-ns),
                Kind::Delete => seen.push(ns),
                _ => {}
            }
        }
        let back = stats.anomalies.0[Anomaly::TimeBackwards as usize];
        (seen, back)
    };
    // Ticks are below zero. What was the first has the first tick.
    let waits = [
        100, 40, 260, 110, -200, 210, 480, -500, 530, -700, 700, 230, 650, 910,
    ];
    assert_eq!(ticks_of(300), (waits.to_vec(), 0));
    // Without: the latest time of all is time, and whoever is behind goes back.
    let (seen, back) = ticks_of(0);
    let ticks: Vec<i64> = seen.into_iter().filter(|ns| *ns < 0).collect();
    assert_eq!((ticks, back), (vec![-200, -400, -500, -700, -900], 3));
}

#[test]
fn trap_a_time_far_ahead_of_one_source_does_not_drag_time_on() {
    let s = 1_000_000_000;
    let mut steps = of_sessions(&[(0, s), (1, s + 5)]);
    let mut payload = Header {
        session: SessionId([b'0'; 10]),
        sequence: 2,
        count: 2,
    }
    .to_bytes()
    .to_vec();
    let (rogue, next) = (message(b'D', 90 * s, 1), message(b'D', s + 9, 1));
    payload.extend(blocks([rogue, next]));
    steps.push(SimStep::packet(
        Some(MIDNIGHT.plus_ns(s as i64 + 9)),
        0,
        &payload,
    ));
    let config = ReaderConfig {
        tick_ns: 100,
        idle_after_ns: s as i64,
        ..config()
    };
    let (events, stats) = read(steps, config);
    let times: Vec<_> = kinds(&events)
        .into_iter()
        .map(|(_, ns)| ns as u64)
        .collect();
    // The first tick is where time begins; the mended time is its own session's latest.
    assert_eq!(times, [s, s + 5, s, s + 9, s + 9]);
    assert!(events[2].flags.has(Flags::BAD_TS));
    assert_eq!(stats.anomalies.0[Anomaly::TimeFuture as usize], 1);
    assert_eq!(stats.anomalies.total(), 1);
}

#[test]
fn a_time_far_ahead_is_mended_if_the_next_message_takes_it_back() {
    let s = 1_000_000_000;
    let add = |ns| message(b'D', ns, 1);
    let rogue = vec![piece(&[add(s), add(90 * s), add(s + 1), add(8 * s)])];
    let (events, stats) = read(
        rogue,
        ReaderConfig {
            tick_ns: 1000 * s as i64,
            ..config()
        },
    );
    let times: Vec<_> = kinds(&events).iter().map(|(_, ns)| *ns as u64).collect();
    // The last one is as far ahead, but nothing takes it back.
    assert_eq!(times, [s, s, s + 1, 8 * s, 8 * s]);
    assert!(events[1].flags.has(Flags::BAD_TS) && !events[3].flags.has(Flags::BAD_TS));
    assert_eq!(stats.anomalies.total(), 1);
    assert_eq!(stats.anomalies.0[Anomaly::TimeFuture as usize], 1);
    assert!(
        stats.examples[0].contains("message 2"),
        "{:?}",
        stats.examples
    );
}

#[test]
fn the_first_time_of_all_may_be_the_wrong_one() {
    let s = 1_000_000_000;
    let add = |ns| message(b'D', ns, 1);
    let (events, stats) = read(vec![piece(&[add(90 * s), add(s), add(2 * s)])], config());
    let times: Vec<_> = kinds(&events)
        .into_iter()
        .filter(|(kind, _)| *kind == Kind::Delete)
        .collect();
    let want = [s as i64, s as i64, 2 * s as i64].map(|ns| (Kind::Delete, ns));
    assert_eq!(times, want);
    assert_eq!(stats.anomalies.0[Anomaly::TimeFuture as usize], 1);
}

#[test]
fn a_time_far_ahead_in_a_packet_of_its_own_is_judged_by_the_arrivals() {
    let s = 1_000_000_000u64;
    let mut steps = Vec::new();
    // The third message's time leaps with its arrival, the second's does not.
    let times = [
        (s, s),
        (90 * s, s + 1),
        (60 * s, 60 * s),
        (60 * s + 5, 60 * s + 5),
    ];
    for (sequence, (ns, recv)) in (1..).zip(times) {
        let header = Header {
            session: SESSION,
            sequence,
            count: 1,
        };
        let mut payload = header.to_bytes().to_vec();
        payload.extend(blocks([message(b'D', ns, 1)]));
        steps.push(SimStep::packet(
            Some(MIDNIGHT.plus_ns(recv as i64)),
            0,
            &payload,
        ));
    }
    let (events, stats) = read(
        steps,
        ReaderConfig {
            tick_ns: i64::MAX / 4,
            ..config()
        },
    );
    let times: Vec<_> = events
        .iter()
        .map(|e| e.ts_event.since(MIDNIGHT) as u64)
        .collect();
    assert_eq!(times, [s, s, 60 * s, 60 * s + 5, 60 * s + 5]);
    assert_eq!(stats.anomalies.total(), 1);
}

/// Who catches up over TCP gets an hour in a moment. A leap at a packet's end is judged by the message behind it, so that it does
/// not matter how messages lie in packets, nor whether they came live.
#[test]
fn a_leap_at_the_end_of_a_packet_is_true_for_who_catches_up() {
    let s = 1_000_000_000u64;
    let config = || ReaderConfig {
        tick_ns: i64::MAX / 4,
        ..config()
    };
    // The clock of arrivals is a day ahead, and goes on by a microsecond with each packet.
    let caught_up = |times: &[u64], each: usize| {
        let mut steps = Vec::new();
        for (index, chunk) in times.chunks(each).enumerate() {
            let header = Header {
                session: SESSION,
                sequence: (index * each) as u64 + 1,
                count: chunk.len() as u16,
            };
            let mut payload = header.to_bytes().to_vec();
            payload.extend(blocks(chunk.iter().map(|ns| message(b'D', *ns, 1))));
            let now = MIDNIGHT.plus_ns(86_400 * s as i64 + index as i64 * 1_000);
            steps.push(SimStep::packet(Some(now), 0, &payload));
        }
        let (events, stats) = read(steps, config());
        let of = |event: &Event| (event.ts_event, event.flags.has(Flags::BAD_TS));
        let seen: Vec<_> = events.iter().map(of).collect();
        (seen, stats.anomalies, stats.messages, stats.by_type)
    };
    // True leaps, the last message's among them, and one time that the next takes back.
    let times = [
        s,
        s + 1,
        20 * s,
        20 * s + 5,
        3600 * s,
        3600 * s + 7,
        9000 * s,
        3601 * s,
        4000 * s,
    ];
    let (seen, anomalies, messages, by_type) = caught_up(&times, times.len());
    assert_eq!(anomalies.0[Anomaly::TimeFuture as usize], 1);
    assert_eq!(anomalies.total(), 1);
    let bad: Vec<usize> = (0..seen.len()).filter(|index| seen[*index].1).collect();
    assert_eq!(bad, [6], "{seen:?}");
    assert_eq!(messages, times.len() as u64);
    for each in 1..times.len() {
        let again = caught_up(&times, each);
        assert_eq!(
            again,
            (seen.clone(), anomalies, messages, by_type),
            "{each}"
        );
    }
}
