//! Who goes on gets what is lacking.

use super::*;

#[test]
fn a_resumed_shard_gets_only_what_it_lacks() {
    let messages = sample_messages(5);
    let steps = packets(&messages, 0, 5);
    let (all, _) = read_with(steps.clone(), config(), 2, 1 << 16);
    let resume_after = vec![700, 0];
    let (rest, _) = read_with(
        steps,
        ReaderConfig {
            resume_after,
            ..config()
        },
        2,
        5,
    );
    let want: Vec<Event> = all[0]
        .iter()
        .filter(|event| event.seq > 700)
        .copied()
        .collect();
    assert_eq!(rest[0], want);
    assert_eq!(rest[1], all[1]);
}

/// Reads messages from a place on, for shards that have so many events each; says what each has then, and why it
/// failed, if it did.
fn take_up(
    messages: &[Vec<u8>],
    all: &[Vec<Event>],
    at: Position,
    has: &[usize],
) -> (Vec<Vec<Event>>, Option<String>) {
    let shards = all.len();
    let mut events: Vec<_> = (0..shards).map(|i| all[i][..has[i]].to_vec()).collect();
    let lasts: Vec<Event> = events.iter().filter_map(|e| e.last().copied()).collect();
    let names = events.iter().flatten();
    let names = names.filter(|event| event.kind == Kind::Symbol && event.seq <= at.seq);
    let mut config = ReaderConfig {
        resume_after: events
            .iter()
            .map(|e| e.last().map_or(0, |e| e.seq))
            .collect(),
        taken_up: Some(TakenUp {
            at,
            names: names.map(|event| (event.symbol, event.order)).collect(),
            known: lasts,
        }),
        ..config()
    };
    config.gaps.goes_on = Some((at.session, at.next));
    let steps = packets_from(at.next, &messages[at.next as usize - 1..], 0, 7);
    let rings = (0..shards).map(|_| ring::<Event>(1 << 16));
    let (senders, mut receivers): (Vec<_>, Vec<_>) = rings.unzip();
    let mut reader = Reader::new(SimSource::new(&["A"], steps), config, senders);
    let error = loop {
        match reader.turn() {
            Ok(Turned::Ended) => break None,
            Ok(_) => {}
            Err(error) => break Some(error.to_string()),
        }
    };
    for (events, receiver) in events.iter_mut().zip(&mut receivers) {
        take(receiver, usize::MAX, events);
    }
    (events, error)
}

/// When a message arrived is the only thing that differs when it comes again.
fn without_arrivals(events: &[Vec<Event>]) -> Vec<Vec<Event>> {
    let ts_recv = Ts(0);
    let bare = |events: &Vec<Event>| events.iter().map(|e| Event { ts_recv, ..*e }).collect();
    events.iter().map(bare).collect()
}

/// All places at which a reader was between its turns.
fn positions(messages: &[Vec<u8>]) -> Vec<Position> {
    let (sender, mut receiver) = ring::<Event>(1 << 16);
    let source = SimSource::new(&["A"], packets(messages, 0, 3));
    let mut reader = Reader::new(source, config(), vec![sender]);
    let mut positions = Vec::new();
    while reader.turn().unwrap() != Turned::Ended {
        positions.extend(reader.position());
        take(&mut receiver, usize::MAX, &mut Vec::new());
    }
    let last = reader.position().expect("a place at the end");
    assert_eq!(positions.last(), Some(&last), "End does not count");
    positions
}

#[test]
fn shards_that_were_killed_at_different_places_get_what_they_lack_and_nothing_else() {
    let messages = sample_messages(8);
    let positions = positions(&messages);
    assert!(positions.len() > 100);
    let mut random = Random(8);
    for shards in [1, 2, 3] {
        let (all, _) = read_with(packets(&messages, 0, 9), config(), shards, 1 << 16);
        let mut ticks = 0;
        for _ in 0..40 {
            let at = positions[random.below(positions.len() as u64) as usize];
            // Each has what came up to there, and some more, up to the end or its very last event.
            let has: Vec<usize> = all
                .iter()
                .map(|events| {
                    let least = events.partition_point(|event| event.seq <= at.seq);
                    let more = (events.len() - 1 - least) as u64;
                    least + random.below(1 + more.min(400)) as usize
                })
                .collect();
            let (events, error) = take_up(&messages, &all, at, &has);
            assert_eq!(error, None, "{at:?}, {has:?}");
            assert_eq!(
                without_arrivals(&events),
                without_arrivals(&all),
                "{at:?}, {has:?}"
            );
            let lacked = all
                .iter()
                .zip(&has)
                .flat_map(|(events, has)| &events[*has..]);
            ticks += lacked.filter(|event| event.kind == Kind::Tick).count();
        }
        assert!(ticks > 100, "ticks are among what they lacked");
    }
}

#[test]
fn a_session_that_says_something_else_than_before_is_an_error() {
    let messages = sample_messages(8);
    let (all, _) = read_with(packets(&messages, 0, 9), config(), 2, 1 << 16);
    let positions = positions(&messages);
    let at = positions[positions.len() / 2];
    let has: Vec<usize> = all
        .iter()
        .map(|events| events.partition_point(|event| event.seq <= at.seq) + 60)
        .collect();
    // Without one message all behind it has other numbers.
    let mut fewer = messages.clone();
    fewer.remove(at.next as usize);
    let (events, error) = take_up(&fewer, &all, at, &has);
    let error = error.expect("it is found");
    assert!(
        error.starts_with("the session does not say again what the log has: event "),
        "{error}"
    );
    let got = has.iter().zip(&events).map(|(has, e)| e.len() - has);
    assert_eq!(got.sum::<usize>(), 0, "no shard was told anything");
    // It ends before.
    let (_, error) = take_up(&messages[..at.next as usize + 20], &all, at, &has);
    let error = error.expect("it is found");
    assert!(
        error.starts_with("the session ends before all came again that the log has: at event "),
        "{error}"
    );
}
