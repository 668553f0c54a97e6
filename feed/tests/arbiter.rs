//! The arbiter against its twin, on scripts of lost, doubled, swapped and re-cut packets.

mod reference;

use bus::Ts;
use feed::arbiter::{Arbiter, Bad, Gap, GapRule, Offer, RecoveryRule, Release};
use feed::moldudp64::{Blocks, END_OF_SESSION, Header, SessionId};
use feed::source::{Framing, Packet, Place};
use reference::lines::{Out, Sent, arbitrate};
use reference::{Random, blocks};

const SESSION: SessionId = SessionId(*b"000010059B");

/// A packet whose messages are their own numbers.
fn payload(session: SessionId, sent: &Sent) -> Vec<u8> {
    let count = if sent.is_end {
        END_OF_SESSION
    } else {
        (sent.end - sent.first) as u16
    };
    let mut bytes = Header {
        session,
        sequence: sent.first,
        count,
    }
    .to_bytes()
    .to_vec();
    bytes.extend(blocks((sent.first..sent.end).map(u64::to_be_bytes)));
    bytes
}

fn packet(ts: Option<i64>, line: u8, payload: &[u8]) -> Packet<'_> {
    Packet {
        ts_recv: ts.map(Ts),
        line,
        framing: Framing::MoldUdp64,
        payload,
        wire_bytes: payload.len() as u32,
        place: Place::default(),
    }
}

/// An arbiter, and what came out of it.
struct Bench {
    arbiter: Arbiter,
    out: Vec<Out>,
    bad: Vec<Bad>,
    dropped: Vec<u64>,
}

impl Bench {
    fn new(rule: GapRule) -> Bench {
        Bench {
            arbiter: Arbiter::new(rule),
            out: vec![],
            bad: vec![],
            dropped: vec![],
        }
    }

    fn deliver(out: &mut Vec<Out>, bytes: &[u8], skip: u16, count: u16) -> u16 {
        let mut whole = 0;
        for message in Blocks::new(bytes).take(count.into()) {
            whole += 1;
            if whole > skip {
                out.push(Out::Message(u64::from_be_bytes(
                    message.try_into().unwrap(),
                )));
            }
        }
        whole
    }

    fn offer(&mut self, packet: &Packet<'_>) {
        match self.arbiter.offer(packet) {
            Offer::Now(turn) => {
                let (_, bytes) = Header::split(packet.payload).unwrap();
                let whole = Bench::deliver(&mut self.out, bytes, turn.skip, turn.count);
                self.arbiter.accept(turn, whole);
            }
            Offer::Nothing => {}
            Offer::Bad(bad) => self.bad.push(bad),
        }
        self.release();
    }

    fn send(&mut self, session: SessionId, sent: &Sent) {
        let bytes = payload(session, sent);
        self.offer(&packet(Some(sent.ts), sent.line, &bytes));
    }

    fn release(&mut self) {
        while let Some(release) = self.arbiter.release() {
            match release {
                Release::Packet(p) => {
                    let whole = Bench::deliver(&mut self.out, p.blocks, p.skip, p.count);
                    assert_eq!(whole, p.count, "only whole messages are held");
                }
                Release::Gap(Gap { first, count, .. }) => self.out.push(Out::Gap(first, count)),
                Release::Dropped { sequence, .. } => self.dropped.push(sequence),
            }
        }
    }

    fn finish(&mut self) {
        self.arbiter.finish();
        self.release();
    }
}

fn run(rule: GapRule, script: &[Sent]) -> Bench {
    let mut bench = Bench::new(rule);
    for sent in script {
        bench.send(SESSION, sent);
    }
    bench.finish();
    bench
}

/// How bad the lines are.
#[derive(Clone, Copy, Debug)]
struct Weather {
    lines: u8,
    loss: u64,
    duplicate: u64,
    swap: u64,
    burst: u64,
    first: u64,
    skew_ns: i64,
    step_ns: u64,
}

/// Packets of `count` messages on the lines of some weather, in order of arrival.
fn script(random: &mut Random, weather: &Weather, count: u64) -> Vec<Sent> {
    let mut script = Vec::new();
    let end = weather.first + count;
    for line in 0..weather.lines {
        let mut sent = Vec::new();
        let mut next = weather.first;
        let mut ts = 1_000_000 + i64::from(line) * weather.skew_ns;
        let mut burst = 0;
        while next < end {
            ts += random.below(weather.step_ns) as i64 + 1;
            if random.chance(3) {
                sent.push(Sent {
                    ts,
                    line,
                    first: next,
                    end: next,
                    is_end: false,
                });
                continue;
            }
            // Each line cuts its packets anew, so that they overlap in part.
            let last = end.min(next + 1 + random.below(5));
            burst = if random.chance(weather.burst) {
                30
            } else {
                burst
            };
            if burst > 0 {
                burst -= 1;
            } else if !random.chance(weather.loss) {
                let copies = 1 + u64::from(random.chance(weather.duplicate));
                for _ in 0..copies {
                    let late_ns = if random.chance(weather.swap) {
                        random.below(8 * weather.step_ns) as i64
                    } else {
                        0
                    };
                    sent.push(Sent {
                        ts: ts + late_ns,
                        line,
                        first: next,
                        end: last,
                        is_end: false,
                    });
                }
            }
            next = last;
        }
        sent.push(Sent {
            ts: ts + 5,
            line,
            first: end,
            end,
            is_end: true,
        });
        script.extend(sent);
    }
    script.sort_by_key(|sent| (sent.ts, sent.line));
    script
}

/// With gaps that touch as one: a heartbeat between them splits what is lost.
fn joined(out: &[Out]) -> Vec<Out> {
    let mut joined: Vec<Out> = Vec::new();
    for step in out {
        match (joined.last_mut(), step) {
            (Some(Out::Gap(_, count)), Out::Gap(_, more)) => *count += more,
            _ => joined.push(*step),
        }
    }
    joined
}

/// Every number once, in order, or in a gap; and what arrived at all is known.
fn check_order(out: &[Out], seed: u64) {
    let mut next = None;
    for step in out {
        let (first, count) = match *step {
            Out::Message(number) => (number, 1),
            Out::Gap(first, count) => (first, count),
        };
        assert!(
            next.is_none_or(|next| next == first),
            "seed {seed}: {step:?} after {next:?}"
        );
        assert!(count > 0, "seed {seed}");
        next = Some(first + count);
    }
}

#[test]
fn scripts_come_out_as_the_twin_says() {
    for seed in 0..3000 {
        let mut random = Random(seed);
        let weather = Weather {
            lines: 1 + random.below(3) as u8,
            loss: [0, 1, 5, 20, 60][random.below(5) as usize],
            duplicate: [0, 2, 30][random.below(3) as usize],
            swap: [0, 5, 50][random.below(3) as usize],
            burst: [0, 0, 1][random.below(3) as usize],
            first: [1, 1, 7, 14_757_721][random.below(4) as usize],
            skew_ns: [0, 4_000, 3_000_000][random.below(3) as usize],
            step_ns: [1_000, 100_000, 3_000_000][random.below(3) as usize],
        };
        let rule = GapRule {
            reorder_max: [2, 8, 64][random.below(3) as usize],
            wait_ns: [100_000, 20_000_000, i64::MAX][random.below(3) as usize],
            alive_ns: [1_000_000, 3_000_000_000][random.below(2) as usize],
            hold_packets: 4096,
            hold_packet_bytes: 128,
            jump_max: 1_000_000,
            is_join_loss: false,
            goes_on: None,
            recovery: None,
        };
        let script = script(&mut random, &weather, 400);
        let want = arbitrate(&rule, &script);
        let bench = run(rule, &script);
        assert_eq!(
            joined(&bench.out),
            joined(&want),
            "seed {seed}: {weather:?} {rule:?}"
        );
        assert!(
            bench.bad.is_empty() && bench.dropped.is_empty(),
            "seed {seed}"
        );
        check_order(&bench.out, seed);
        check_stats(&bench, &script, seed);
    }
}

/// Counts agree with each other and with the script.
fn check_stats(bench: &Bench, script: &[Sent], seed: u64) {
    let sessions = bench.arbiter.sessions();
    let [session] = &sessions[..] else {
        panic!("seed {seed}: one session")
    };
    let messages = bench
        .out
        .iter()
        .filter(|out| matches!(out, Out::Message(_)))
        .count() as u64;
    let lost: u64 = bench
        .out
        .iter()
        .map(|o| {
            if let Out::Gap(_, count) = o {
                *count
            } else {
                0
            }
        })
        .sum();
    assert_eq!(
        (session.messages, session.lost),
        (messages, lost),
        "seed {seed}"
    );
    assert!(session.is_ended, "seed {seed}");
    let first = bench.out.iter().find_map(|out| match out {
        Out::Message(number) => Some(*number),
        Out::Gap(..) => None,
    });
    assert_eq!(session.first, first, "seed {seed}");
    let mut first_copies = 0;
    for (index, line) in &session.lines {
        let mine = || script.iter().filter(|sent| sent.line == *index);
        assert_eq!(line.packets, mine().count() as u64, "seed {seed}");
        let sent: u64 = mine().map(|sent| sent.end - sent.first).sum();
        assert_eq!(line.messages, sent, "seed {seed}");
        first_copies += line.first_copies;
        assert!(line.lost <= line.missing, "seed {seed}: {line:?}");
    }
    assert_eq!(first_copies, messages, "seed {seed}");
}

#[test]
fn a_small_hold_keeps_the_order_and_goes_on() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let weather = Weather {
            lines: 2,
            loss: 20,
            duplicate: 5,
            swap: 30,
            burst: 1,
            first: 1 + random.below(2) * 100,
            skew_ns: 50_000,
            step_ns: 10_000,
        };
        let rule = GapRule {
            reorder_max: 1_000,
            wait_ns: i64::MAX,
            hold_packets: 2 + random.below(6) as usize,
            hold_packet_bytes: 128,
            ..GapRule::default()
        };
        let script = script(&mut random, &weather, 1000);
        let bench = run(rule, &script);
        check_order(&bench.out, seed);
        assert!(bench.bad.is_empty(), "seed {seed}: {:?}", bench.bad);
    }
}

#[test]
fn nothing_is_lost_where_one_line_has_it_soon() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let weather = Weather {
            lines: 2,
            loss: 0,
            duplicate: 1,
            swap: 5,
            burst: 0,
            first: 1,
            skew_ns: 4_000,
            step_ns: 1_000,
        };
        // Each packet is lost by one line at most.
        let mut script = script(&mut random, &weather, 500);
        let lost = random.below(2) as u8;
        script.retain(|sent| sent.line != lost || sent.is_end || (sent.first / 50) % 2 == 0);
        let bench = run(GapRule::default(), &script);
        let want: Vec<Out> = (1..=500).map(Out::Message).collect();
        assert_eq!(bench.out, want, "seed {seed}");
    }
}

fn sent(ts_ms: i64, line: u8, first: u64, end: u64) -> Sent {
    Sent {
        ts: ts_ms * 1_000_000,
        line,
        first,
        end,
        is_end: false,
    }
}

fn numbers(range: std::ops::Range<u64>) -> Vec<Out> {
    range.map(Out::Message).collect()
}

#[test]
fn a_gap_is_told_apart_from_one_that_the_other_line_fills() {
    let script = [
        sent(0, 0, 1, 3),
        sent(0, 1, 1, 3),
        sent(1, 0, 4, 5), // Line 0 lost 3; line 1 has it.
        sent(1, 1, 3, 5),
        sent(2, 0, 6, 7), // Both lost 5.
        sent(2, 1, 6, 7),
        sent(30, 0, 7, 8),
    ];
    let bench = run(GapRule::default(), &script);
    assert_eq!(
        bench.out,
        [numbers(1..5), vec![Out::Gap(5, 1)], numbers(6..8)].concat()
    );
    let session = &bench.arbiter.sessions()[0];
    assert_eq!(
        (session.gap_count, session.lost, session.messages),
        (1, 1, 6)
    );
    let [(_, a), (_, b)] = &session.lines[..] else {
        panic!("two lines")
    };
    assert_eq!(
        (a.gap_count, a.missing, a.lost, a.filled_by_others()),
        (2, 2, 1, 1)
    );
    // Line 1 did not bring the last message.
    assert_eq!(
        (b.gap_count, b.missing, b.lost, b.filled_by_others()),
        (2, 2, 1, 1)
    );
    assert_eq!((a.first_copies, b.first_copies, b.duplicates), (4, 2, 3));
}

/// Holes that came beside each other are given up beside each other.
#[test]
fn holes_do_not_wait_for_each_other() {
    let mut script = vec![sent(0, 0, 1, 2)];
    script.extend((1..=5).map(|n| sent(n as i64, 0, 2 * n + 1, 2 * n + 2)));
    script.push(sent(26, 0, 12, 13));
    let mut bench = Bench::new(GapRule::default());
    script.iter().for_each(|sent| bench.send(SESSION, sent));
    let gaps = (1..=5).flat_map(|n| [Out::Gap(2 * n, 1), Out::Message(2 * n + 1)]);
    let want: Vec<Out> = [Out::Message(1)].into_iter().chain(gaps).collect();
    assert_eq!(bench.out, [want, numbers(12..13)].concat());
}

/// Where nothing comes any more, time passes all the same.
#[test]
fn a_silent_line_does_not_hold_back_what_came() {
    let mut bench = Bench::new(GapRule::default());
    for sent in [sent(0, 0, 1, 2), sent(1, 0, 3, 4)] {
        bench.send(SESSION, &sent);
    }
    assert_eq!(bench.out, numbers(1..2));
    assert!(bench.arbiter.is_waiting());
    bench.arbiter.pass(Ts(20_999_999));
    bench.release();
    assert_eq!(bench.out, numbers(1..2));
    bench.arbiter.pass(Ts(21_000_000));
    bench.release();
    assert_eq!(
        bench.out,
        [Out::Message(1), Out::Gap(2, 1), Out::Message(3)]
    );
    assert!(!bench.arbiter.is_waiting());
}

#[test]
fn a_heartbeat_shows_a_gap() {
    let script = [sent(0, 0, 1, 3), sent(1, 0, 5, 5), sent(30, 0, 5, 5)];
    let bench = run(GapRule::default(), &script);
    assert_eq!(bench.out, [numbers(1..3), vec![Out::Gap(3, 2)]].concat());
}

#[test]
fn a_forged_packet_far_ahead_does_not_poison() {
    let far = 1 << 60;
    let mut script = vec![sent(0, 0, 1, 3), sent(1, 0, far, far + 1)];
    script.extend((3..200).map(|n| sent(n as i64, 0, n, n + 1)));
    let bench = run(GapRule::default(), &script);
    assert_eq!(bench.out, numbers(1..200));
    assert_eq!(bench.dropped, [far]);
    assert_eq!(bench.arbiter.sessions()[0].dropped_packets, 1);
    assert_eq!(bench.arbiter.sessions()[0].lines[0].1.missing, 0);
}

#[test]
fn a_forged_packet_somewhat_ahead_does_not_poison_a_quiet_feed() {
    let mut script = vec![sent(0, 0, 1, 3), sent(1, 0, 500_000, 500_001)];
    script.extend((3..200).map(|n| sent(n as i64 * 1000, 0, n, n + 1)));
    script.insert(4, sent(3500, 0, 4, 4));
    let bench = run(GapRule::default(), &script);
    assert_eq!(bench.out[..199], numbers(1..200));
}

#[test]
fn a_forged_first_packet_does_not_poison() {
    let far = 1 << 60;
    let mut script = vec![sent(0, 0, far, far + 1)];
    script.extend((100..300).map(|n| sent(n as i64, 0, n, n + 1)));
    let bench = run(GapRule::default(), &script);
    assert_eq!(bench.out, numbers(100..300));
    assert_eq!(bench.dropped, [far]);
}

#[test]
fn a_far_jump_that_others_confirm_is_a_gap() {
    let far = 50_000_000;
    let mut script = vec![sent(0, 0, 1, 3)];
    script.extend((far..far + 100).map(|n| sent(1, 0, n, n + 1)));
    let bench = run(GapRule::default(), &script);
    let gap = vec![Out::Gap(3, far - 3)];
    assert_eq!(
        bench.out,
        [numbers(1..3), gap, numbers(far..far + 100)].concat()
    );
    assert!(bench.dropped.is_empty());
}

#[test]
fn an_excerpt_of_a_day_jumps_far_after_a_silence() {
    let script = [sent(0, 0, 1, 3), sent(24_000, 0, 3_000_000, 3_000_005)];
    let bench = run(GapRule::default(), &script);
    let gap = vec![Out::Gap(3, 2_999_997)];
    assert_eq!(
        bench.out,
        [numbers(1..3), gap, numbers(3_000_000..3_000_005)].concat()
    );
}

#[test]
fn a_join_in_the_middle_is_put_in_order_and_is_no_loss() {
    let script = [
        sent(0, 0, 52, 53),
        sent(0, 1, 50, 51),
        sent(0, 1, 51, 54),
        sent(1, 0, 53, 55),
    ];
    let bench = run(GapRule::default(), &script);
    assert_eq!(bench.out, numbers(50..55));
    let session = &bench.arbiter.sessions()[0];
    assert_eq!(
        (session.first, session.next, session.lost),
        (Some(50), 55, 0)
    );
    // Where orders leave, books that lack what came before must not decide anything.
    let rule = GapRule {
        is_join_loss: true,
        ..GapRule::default()
    };
    let bench = run(rule, &script);
    assert_eq!(bench.out, [vec![Out::Gap(1, 49)], numbers(50..55)].concat());
    assert_eq!(bench.arbiter.sessions()[0].lost, 49);
}

#[test]
fn a_session_that_goes_on_lacks_what_came_since_and_no_more() {
    let script = [
        sent(0, 0, 52, 53),
        sent(0, 1, 50, 51),
        sent(0, 1, 51, 54),
        sent(1, 0, 53, 55),
    ];
    let on = |session: SessionId, next: u64| {
        let goes_on = Some((session, next));
        let bench = run(
            GapRule {
                goes_on,
                ..GapRule::default()
            },
            &script,
        );
        (bench.out.clone(), bench.arbiter.sessions()[0].lost)
    };
    let lost = |first, count| [vec![Out::Gap(first, count)], numbers(50..55)].concat();
    assert_eq!(on(SESSION, 20), (lost(20, 30), 30));
    assert_eq!(on(SESSION, 50), (numbers(50..55), 0));
    // What it had already comes again, as far as it does.
    assert_eq!(on(SESSION, 52), (numbers(52..55), 0));
    // Another session is joined like any.
    assert_eq!(on(SessionId(*b"000010059C"), 20), (numbers(50..55), 0));
}

#[test]
fn a_dead_line_is_not_waited_for() {
    let mut script = vec![sent(0, 0, 1, 3), sent(0, 1, 1, 3)];
    // Line 1 falls silent; four seconds later line 0 loses a packet.
    script.push(sent(4000, 0, 3, 4));
    script.extend((5..80).map(|n| sent(4001, 0, n, n + 1)));
    let rule = GapRule {
        wait_ns: i64::MAX,
        ..GapRule::default()
    };
    let mut bench = Bench::new(rule);
    script.iter().for_each(|sent| bench.send(SESSION, sent));
    assert_eq!(
        bench.out,
        [numbers(1..4), vec![Out::Gap(4, 1)], numbers(5..80)].concat()
    );
}

#[test]
fn sessions_do_not_mix() {
    let other = SessionId(*b"000010059C");
    let mut bench = Bench::new(GapRule::default());
    bench.send(SESSION, &sent(0, 0, 1, 3));
    bench.send(other, &sent(0, 0, 1, 2));
    bench.send(SESSION, &sent(1, 0, 3, 4));
    bench.send(SESSION, &sent(1, 0, 5, 6));
    // The hole of one session is given up by the clock of the other's packets.
    bench.send(other, &sent(40, 0, 2, 3));
    let both = [1, 2, 1, 3, 2].map(Out::Message);
    assert_eq!(
        bench.out,
        [&both[..], &[Out::Gap(4, 1), Out::Message(5)]].concat()
    );
    assert_eq!(bench.arbiter.sessions().len(), 2);
    assert!(!bench.arbiter.is_ended());
    for (session, first) in [(SESSION, 6), (other, 3)] {
        bench.send(
            session,
            &Sent {
                is_end: true,
                ..sent(50, 0, first, first)
            },
        );
    }
    assert!(bench.arbiter.is_ended());
}

#[test]
fn packets_without_numbers_are_all_delivered() {
    let mut bench = Bench::new(GapRule::default());
    let blank = SessionId([0; 10]);
    for _ in 0..2 {
        let mut bytes = payload(blank, &sent(0, 0, 7, 9));
        bytes[10..18].fill(0);
        bench.offer(&packet(Some(0), 0, &bytes));
    }
    assert_eq!(bench.out, [numbers(7..9), numbers(7..9)].concat());
    assert_eq!(bench.arbiter.lines()[0].messages, 4);
}

#[test]
fn the_whole_messages_of_a_cut_packet_count_and_the_other_line_fills_the_rest() {
    let mut bench = Bench::new(GapRule::default());
    let whole = payload(SESSION, &sent(0, 0, 1, 4));
    let cut = &whole[..whole.len() - 3];
    bench.offer(&Packet {
        wire_bytes: whole.len() as u32,
        ..packet(Some(0), 0, cut)
    });
    assert_eq!(bench.out, numbers(1..3));
    // The same cut copy brings nothing, and the next packet waits.
    bench.offer(&Packet {
        wire_bytes: whole.len() as u32,
        ..packet(Some(0), 0, cut)
    });
    bench.send(SESSION, &sent(0, 0, 4, 5));
    assert_eq!(bench.out, numbers(1..3));
    bench.offer(&packet(Some(1), 1, &whole));
    assert_eq!(bench.out, numbers(1..5));
    assert_eq!(bench.bad, [Bad::Cut]);
}

#[test]
fn bytes_that_are_no_packet_open_no_session() {
    let mut bench = Bench::new(GapRule::default());
    let mut random = Random(9);
    for _ in 0..1000 {
        let length = random.below(200);
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        bench.offer(&packet(Some(0), 0, &bytes));
    }
    assert!(bench.out.is_empty() && bench.arbiter.sessions().is_empty());
    assert!(
        bench
            .bad
            .iter()
            .all(|bad| matches!(bad, Bad::Short | Bad::NotMoldUdp64))
    );
}

#[test]
fn changed_packets_never_panic_and_never_break_the_order_of_a_session() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let weather = Weather {
            lines: 2,
            loss: 5,
            duplicate: 5,
            swap: 10,
            burst: 0,
            first: 1,
            skew_ns: 4_000,
            step_ns: 1_000,
        };
        let rule = GapRule {
            hold_packets: 64,
            hold_packet_bytes: 64,
            ..GapRule::default()
        };
        let mut arbiter = Arbiter::new(rule);
        let mut packets: Vec<_> = script(&mut random, &weather, 300)
            .iter()
            .map(|sent| (sent.ts, sent.line, payload(SESSION, sent)))
            .collect();
        for (_, _, bytes) in &mut packets {
            if random.chance(20) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << random.below(8);
            }
            if random.chance(5) {
                bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            }
        }
        let drain = |arbiter: &mut Arbiter| while arbiter.release().is_some() {};
        for (ts, line, bytes) in &packets {
            let before: Vec<u64> = arbiter.sessions().iter().map(|s| s.next).collect();
            let packet = packet(Some(*ts), *line, bytes);
            if let Offer::Now(turn) = arbiter.offer(&packet) {
                let (_, blocks) = Header::split(bytes).unwrap();
                let whole = Blocks::new(blocks).take(turn.count.into()).count() as u16;
                arbiter.accept(turn, whole);
            }
            drain(&mut arbiter);
            // Expected numbers only rise.
            for (session, before) in arbiter.sessions().iter().zip(before) {
                assert!(session.next >= before, "seed {seed}");
            }
        }
        arbiter.finish();
        drain(&mut arbiter);
        for session in arbiter.sessions() {
            // From the first one on, each number was delivered or lost.
            let first = session.first.unwrap_or(session.next);
            assert!(
                session.messages + session.lost >= session.next - first,
                "seed {seed}"
            );
        }
    }
}

/// The line that brings what was asked for, behind all others.
const ANSWERS: u8 = 3;

fn recovering(messages_max: u64) -> GapRule {
    GapRule {
        reorder_max: 2,
        wait_ns: 100_000,
        hold_packets: 4096,
        hold_packet_bytes: 128,
        recovery: Some(RecoveryRule {
            line: ANSWERS,
            messages_max,
            is_from_first: true,
        }),
        ..GapRule::default()
    }
}

fn bad_weather(random: &mut Random) -> Weather {
    Weather {
        lines: 1 + random.below(3) as u8,
        loss: [1, 5, 20, 60][random.below(4) as usize],
        duplicate: 2,
        swap: 5,
        burst: 1,
        first: 1,
        skew_ns: 4_000,
        step_ns: 100_000,
    }
}

#[test]
fn what_can_be_asked_for_is_never_lost_and_comes_in_its_place() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let weather = bad_weather(&mut random);
        let script = script(&mut random, &weather, 300);
        let mut bench = Bench::new(recovering(1_000_000));
        for sent in &script {
            bench.send(SESSION, sent);
            // Answers take their time, and bring a part only.
            if random.chance(70) {
                continue;
            }
            while let Some(missing) = bench.arbiter.missing() {
                assert_eq!(missing.session, SESSION, "seed {seed}");
                let answer = Sent {
                    ts: sent.ts,
                    line: ANSWERS,
                    first: missing.first,
                    end: missing.first + missing.count.min(3),
                    is_end: false,
                };
                bench.send(SESSION, &answer);
            }
        }
        while let Some(missing) = bench.arbiter.missing() {
            let answer = Sent {
                ts: script[script.len() - 1].ts,
                line: ANSWERS,
                first: missing.first,
                end: missing.first + missing.count.min(3),
                is_end: false,
            };
            bench.send(SESSION, &answer);
        }
        bench.finish();
        let end = script.iter().map(|sent| sent.end).max().unwrap();
        let want: Vec<Out> = (1..end).map(Out::Message).collect();
        assert_eq!(
            joined(&bench.out),
            joined(&want),
            "seed {seed}: {weather:?}"
        );
        let [session] = &bench.arbiter.sessions()[..] else {
            panic!("seed {seed}: one session")
        };
        assert_eq!((session.gap_count, session.lost), (0, 0), "seed {seed}");
        let copies = session.lines.iter().map(|(_, line)| line.first_copies);
        assert_eq!(copies.sum::<u64>(), end - 1, "seed {seed}");
        for (line, stats) in &session.lines {
            assert_eq!(stats.lost, 0, "seed {seed}");
            assert!(*line != ANSWERS || stats.missing == 0, "seed {seed}");
        }
    }
}

#[test]
fn what_nobody_has_is_lost_as_if_nobody_could_be_asked() {
    for seed in 0..500 {
        let mut random = Random(seed);
        let weather = bad_weather(&mut random);
        let script = script(&mut random, &weather, 300);
        let rule = recovering(1_000_000);
        let want = arbitrate(
            &GapRule {
                recovery: None,
                ..rule
            },
            &script,
        );
        let mut bench = Bench::new(rule);
        for sent in &script {
            bench.send(SESSION, sent);
            while let Some(missing) = bench.arbiter.missing() {
                bench.arbiter.give_up(&missing);
                bench.release();
            }
        }
        bench.finish();
        assert_eq!(
            joined(&bench.out),
            joined(&want),
            "seed {seed}: {weather:?}"
        );
        check_order(&bench.out, seed);
    }
}

#[test]
fn a_hole_that_is_too_large_to_be_asked_for_and_a_full_hold_are_lost_at_once() {
    let sent = |line, first, count: u64| Sent {
        ts: first as i64,
        line,
        first,
        end: first + count,
        is_end: false,
    };
    let mut bench = Bench::new(recovering(10));
    bench.send(SESSION, &sent(0, 1, 1));
    for first in 13..18 {
        bench.send(SESSION, &sent(0, first, 1));
    }
    assert_eq!(bench.arbiter.missing(), None, "eleven are too many");
    assert_eq!(bench.out[1], Out::Gap(2, 11));
    let mut bench = Bench::new(GapRule {
        hold_packets: 8,
        ..recovering(10)
    });
    bench.send(SESSION, &sent(0, 1, 1));
    for first in 3..10 {
        assert_eq!(bench.out, [Out::Message(1)], "it may still come");
        bench.send(SESSION, &sent(0, first, 1));
    }
    bench.send(SESSION, &sent(0, 10, 1));
    assert_eq!(bench.out[1], Out::Gap(2, 1));
    assert_eq!(bench.out.last(), Some(&Out::Message(10)));
}
