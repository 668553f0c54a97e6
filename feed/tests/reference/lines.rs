//! What an arbiter should say, found the slow way: message by message, in sets.

use std::collections::BTreeSet;

use feed::arbiter::GapRule;

/// A packet of a script: messages `first..end` of one session. None of them is a heartbeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) ts: i64,
    pub(crate) line: u8,
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) is_end: bool,
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Out {
    Message(u64),
    Gap(u64, u64),
}

#[derive(Default)]
struct Line {
    last: i64,
    beyond: u32,
}

/// The twin of one session's arbiter, without bounds on what is held or how far a packet jumps.
pub(crate) fn arbitrate(rule: &GapRule, script: &[Sent]) -> Vec<Out> {
    let mut out = Vec::new();
    let mut expected = 1;
    let mut is_joined = false;
    let mut have = BTreeSet::new();
    let mut announced = BTreeSet::new();
    let mut hole = None;
    let mut since = 0;
    let mut lines: Vec<Option<Line>> = vec![None, None, None];
    // What came too early since something was last in order: when, on which line, its number.
    let mut early: Vec<(i64, u8, u64)> = Vec::new();
    for sent in script {
        let now = sent.ts;
        let line = lines[usize::from(sent.line)].get_or_insert_default();
        line.last = now;
        if sent.first > expected {
            line.beyond += 1;
            early.push((now, sent.line, sent.first));
        } else if sent.end > expected {
            early.clear();
        }
        if sent.first == sent.end && sent.first == expected {
            since = now;
            early.clear();
        }
        have.extend((sent.first..sent.end).filter(|n| *n >= expected));
        // A heartbeat says nothing new below what is known to exist.
        let known = have.last().map(|n| n + 1).max(announced.last().copied());
        if sent.first == sent.end && sent.first > known.unwrap_or(expected) {
            announced.insert(sent.first);
        }
        loop {
            while have.remove(&expected) {
                out.push(Out::Message(expected));
                expected += 1;
                is_joined = true;
            }
            announced.retain(|n| *n > expected);
            let front = have
                .first()
                .into_iter()
                .chain(announced.first())
                .min()
                .copied();
            let Some(front) = front else {
                hole = None;
                early.clear();
                break;
            };
            if hole != Some((expected, front)) {
                since = now;
            }
            if hole.map(|(start, _)| start) != Some(expected) {
                early.retain(|(_, _, first)| *first > expected);
                since = early.first().map_or(now, |(ts, ..)| *ts);
                for (number, line) in (0u8..).zip(&mut lines) {
                    let passed = early.iter().filter(|(_, line, _)| *line == number);
                    if let Some(line) = line {
                        line.beyond = passed.count() as u32;
                    }
                }
            }
            hole = Some((expected, front));
            let alive = lines
                .iter()
                .flatten()
                .filter(|line| now - line.last < rule.alive_ns);
            let is_passed = alive.clone().all(|line| line.beyond > rule.reorder_max);
            if !is_passed && now - since < rule.wait_ns {
                break;
            }
            if is_joined {
                out.push(Out::Gap(expected, front - expected));
            }
            is_joined = true;
            expected = front;
        }
    }
    // The end of the input: all holes are lost.
    for number in have.union(&announced).copied() {
        if number > expected && is_joined {
            out.push(Out::Gap(expected, number - expected));
        }
        is_joined = true;
        expected = number;
        if have.contains(&number) {
            out.push(Out::Message(number));
            expected = number + 1;
        }
    }
    out
}
