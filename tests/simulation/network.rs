//! A small session as packets on two lines: as it was sent, and as a bad network brings it.

#![allow(unreachable_pub, missing_docs)]

use std::collections::BTreeMap;

use bus::Ts;
use feed::source::SimStep;

use crate::plan::{Plan, Random};

/// The trading day's first moment.
pub const MIDNIGHT: Ts = Ts(1_767_589_200_000_000_000);

/// The packets of a plan's feed, in the order in which they were sent.
fn packets(plan: &Plan) -> Vec<(Ts, Vec<u8>)> {
    let session = exchange::Session {
        symbols: 8,
        seconds: 5,
        seed: plan.seed,
        rate: 1_500,
        ..exchange::Session::default()
    };
    let mut messages: Vec<(u64, Vec<u8>)> = Vec::new();
    exchange::run(&session, &mut |ts, message| {
        messages.push((ts, message.to_vec()));
        Ok(())
    })
    .expect("a session into memory");
    let mut packets = Vec::new();
    let mut sequence = 1u64;
    for chunk in messages.chunks(5).take(plan.packets as usize) {
        let mut payload = b"0000000001".to_vec();
        payload.extend_from_slice(&sequence.to_be_bytes());
        payload.extend_from_slice(&(chunk.len() as u16).to_be_bytes());
        for (_, message) in chunk {
            payload.extend_from_slice(&(message.len() as u16).to_be_bytes());
            payload.extend_from_slice(message);
        }
        sequence += chunk.len() as u64;
        packets.push((MIDNIGHT.plus_ns(chunk[0].0 as i64 + 10_000), payload));
    }
    packets
}

/// What two lines bring, and what was done to it on the way.
pub struct Brought {
    pub steps: Vec<SimStep>,
    pub faults: BTreeMap<&'static str, u64>,
}

/// What the two lines bring. Each packet comes on at least one of them, so that a run on it must
/// conclude what a run on a good network does.
pub fn script(plan: &Plan) -> Brought {
    let mut faults = BTreeMap::new();
    let mut random = Random(plan.seed ^ 0x11e7);
    let mut one_in = |bound: u64| bound > 0 && random.one_in(bound);
    let silence = plan.silent_from..plan.silent_from + plan.silent_packets;
    // When it arrives, on which line, and what.
    let mut arrivals: Vec<(u64, u8, usize)> = Vec::new();
    let packets = packets(plan);
    for index in 0..packets.len() {
        let loser = one_in(plan.loss).then(|| u8::from(one_in(2)));
        for line in 0..2 {
            let is_silent =
                |line: u8| plan.silent == u64::from(line) + 1 && silence.contains(&(index as u64));
            let is_lost = loser == Some(line) && !is_silent(1 - line);
            let mut count = |what| *faults.entry(what).or_insert(0) += 1;
            let mut due = index as u64 * 4 + u64::from(line);
            if one_in(plan.swapped) {
                due += 4;
                count("packets overtaken");
            }
            if is_silent(line) {
                count("packets of a line cut off");
            } else if is_lost {
                count("packets lost");
            } else {
                arrivals.push((due, line, index));
            }
            if one_in(plan.doubled) && !is_silent(line) {
                count("packets doubled, or late");
                arrivals.push((due + 6, line, index)); // Late, where it was lost.
            }
        }
    }
    arrivals.sort();
    let step = |(_, line, index): (u64, u8, usize)| {
        let (ts, payload) = &packets[index];
        SimStep::packet(Some(*ts), line, payload)
    };
    Brought {
        steps: arrivals.into_iter().map(step).collect(),
        faults,
    }
}
