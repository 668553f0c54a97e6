//! What is wrong is told, and what is missing asked for.

use super::*;

#[test]
fn what_is_wrong_is_counted_told_and_passed_over() {
    let good = message(b'D', 5, 1);
    let mut long = message(b'A', 6, 1);
    long.push(0);
    let mut nobody = message(b'A', 7, 1);
    nobody[19] = b'?';
    let messages = [
        good.clone(),
        long,
        vec![b'z'; 9],
        nobody,
        vec![],
        message(b'D', 4, 1),
    ];
    let mut cut = blocks(&messages);
    cut.extend([0, 19, b'D']);
    let steps = vec![
        SimStep::messages(&cut),
        SimStep::Trouble("record is cut".into()),
    ];
    let (events, stats) = read(steps, config());
    assert_eq!(
        kinds(&events),
        [(Kind::Delete, 5), (Kind::Delete, 4), (Kind::End, 5)]
    );
    let counted: Vec<_> = stats.anomalies.iter().collect();
    let want = [
        (Anomaly::UnknownType, 1),
        (Anomaly::BadLength, 2),
        (Anomaly::BadField, 1),
        (Anomaly::BadPacket, 1),
        (Anomaly::TimeBackwards, 1),
    ];
    assert_eq!(counted, want);
    let place = "file 0, packet 1 at byte 0";
    let want = [
        format!("bad_length: {place}: message 2: message length 37, want 36 for type 'A'"),
        format!("unknown_type: {place}: message 3: unknown type 'z' of 9 bytes"),
        format!("bad_field: {place}: message 4: type 'A', byte 19: value '?' is not allowed"),
        format!("bad_length: {place}: message 5: message of no bytes"),
        format!("time_backwards: {place}: message 6: time goes back by 1 ns"),
        format!("bad_packet: {place}: 3 bytes behind the last whole message"),
        "trouble: file 0, packet 2 at byte 135: record is cut".to_owned(),
    ];
    assert_eq!(stats.examples, want);
    assert_eq!((stats.messages, stats.troubles), (6, 1));
}

#[test]
fn a_failed_source_and_a_gone_shard_are_errors() {
    let (tx, _rx) = ring::<Event>(4);
    let steps = vec![SimStep::Fail("socket is gone".into())];
    let mut reader = Reader::new(SimSource::new(&["A"], steps), config(), vec![tx]);
    let error = reader.turn().unwrap_err();
    assert!(error.to_string().contains("socket is gone"), "{error}");

    let (tx, rx) = ring::<Event>(4);
    drop(rx);
    let steps = packets(&sample_messages(8), 0, 9);
    let mut reader = Reader::new(SimSource::new(&["A"], steps), config(), vec![tx]);
    let error = loop {
        match reader.turn() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::ShardGone { shard: 0 }));
}

#[test]
fn changed_packets_never_panic_and_every_message_is_read_once() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let messages = sample_messages(9);
        let messages = &messages[..2_000];
        let mut steps = Vec::new();
        for (a, b) in packets(messages, 0, 4)
            .into_iter()
            .zip(packets(messages, 1, 4))
        {
            for mut step in [a, b] {
                if let SimStep::Packet { payload, .. } = &mut step {
                    if random.chance(10) {
                        let at = random.below(payload.len() as u64) as usize;
                        payload[at] ^= 1 << random.below(8);
                    }
                    if random.chance(3) {
                        payload.truncate(random.below(payload.len() as u64) as usize);
                    }
                }
                if !random.chance(5) {
                    steps.push(step);
                }
            }
        }
        let (small, _) = read_with(steps.clone(), config(), 3, 3);
        let (large, stats) = read_with(steps, config(), 3, 1 << 16);
        assert_eq!(small, large, "seed {seed}");
        let mut seqs: Vec<u64> = large.iter().flatten().map(|event| event.seq).collect();
        seqs.sort_unstable();
        seqs.dedup();
        assert!(
            seqs.iter().zip(1..).all(|(seq, want)| *seq == want),
            "seed {seed}"
        );
        assert_eq!(seqs.len() as u64, stats.seq, "seed {seed}");
    }
}

/// A line that lost packets, and a server of what it lost that takes its time.
struct Asked {
    lines: Vec<Line>,
    all: Vec<Vec<u8>>,
    next: usize,
    is_lost: fn(usize) -> bool,
    only_answers: bool,
    /// The answer to come, and after how many polls.
    answer: Option<(u32, usize)>,
    asked: u64,
    polls_of_answer: u32,
}

impl Source for Asked {
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        let (line, index) = match &mut self.answer {
            Some((0, index)) => {
                let index = *index;
                self.answer = None;
                (1, index)
            }
            Some((polls, _)) if self.only_answers => {
                *polls -= 1;
                return Ok(Polled::Empty);
            }
            answer => {
                if let Some((polls, _)) = answer {
                    *polls -= 1;
                }
                while self.next < self.all.len() && (self.is_lost)(self.next) {
                    self.next += 1;
                }
                if self.next == self.all.len() {
                    return match answer {
                        Some(_) => Ok(Polled::Empty),
                        None => Ok(Polled::End),
                    };
                }
                self.next += 1;
                (0, self.next - 1)
            }
        };
        let payload = &self.all[index];
        Ok(Polled::Packet(Packet {
            ts_recv: Some(Ts(index as i64)),
            line,
            framing: Framing::MoldUdp64,
            payload,
            wire_bytes: payload.len() as u32,
            place: Place::default(),
        }))
    }

    fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn recover(&mut self, missing: Option<&Missing>, only_answers: bool) -> retransmit::Asked {
        self.only_answers = only_answers;
        let Some(missing) = missing else {
            return retransmit::Asked::GivenUp;
        };
        if self.answer.is_none() {
            let starts = |payload: &Vec<u8>| Header::split(payload).unwrap().0.sequence;
            let index = self.all.iter().position(|p| starts(p) == missing.first);
            let index = index.expect("what is missing begins with a packet");
            self.answer = Some((self.polls_of_answer, index));
            self.asked += 1;
        }
        retransmit::Asked::Waiting
    }

    fn asked(&self) -> Option<AskCounts> {
        Some(AskCounts {
            requests: self.asked,
            ..AskCounts::default()
        })
    }
}

#[test]
fn a_slow_answer_is_waited_for_though_there_is_room_for_few_packets_only() {
    let messages = sample_messages(2_000);
    let all: Vec<Vec<u8>> = packets(&messages, 0, 5)
        .into_iter()
        .map(|step| match step {
            SimStep::Packet { payload, .. } => payload,
            other => panic!("{other:?}"),
        })
        .collect();
    let whole: Vec<SimStep> = all
        .iter()
        .enumerate()
        .map(|(index, payload)| SimStep::packet(Some(Ts(index as i64)), 0, payload))
        .collect();
    let (want, _) = read(whole, config());
    for (hold_packets, polls_of_answer) in [(2, 0), (8, 500), (64, 500), (1_024, 20)] {
        let mut config = config();
        config.gaps.hold_packets = hold_packets;
        config.gaps.reorder_max = 1;
        config.gaps.recovery = Some(RecoveryRule {
            line: 1,
            messages_max: 1_000,
            is_from_first: true,
        });
        let source = Asked {
            lines: ["A", "answers"]
                .map(|name| Line { name: name.into() })
                .into(),
            all: all.clone(),
            next: 0,
            is_lost: |index| index % 7 == 3 || (100..140).contains(&index),
            only_answers: false,
            answer: None,
            asked: 0,
            polls_of_answer,
        };
        let lost = (0..all.len()).filter(|index| (source.is_lost)(*index));
        let lost = lost.count() as u64;
        let (sender, mut receiver) = ring::<Event>(1 << 16);
        let mut reader = Reader::new(source, config, vec![sender]);
        let mut got = Vec::new();
        while reader.turn().unwrap() != Turned::Ended {
            take(&mut receiver, usize::MAX, &mut got);
        }
        take(&mut receiver, usize::MAX, &mut got);
        let stats = reader.stats();
        assert_eq!(stats.gaps.first(), None, "{hold_packets}");
        let bare = |events: &[Event]| -> Vec<Event> {
            let timeless = |event: &Event| Event {
                ts_recv: Ts(0),
                ..*event
            };
            events.iter().map(timeless).collect()
        };
        assert!(bare(&got) == bare(&want), "{hold_packets}: other events");
        let recovery = stats.recovery.unwrap();
        assert_eq!(recovery.given_up, 0);
        assert_eq!(recovery.recovered, 5 * lost);
        assert!(recovery.asked.requests >= lost);
    }
}
