//! When to ask for messages that no line brought, and when to stop asking.
//!
//! An [`Asker`] has one request under way at a time. It decides by nothing but what is missing and
//! the time that it is told, and does no I/O: whoever owns a socket sends what it says, and the
//! answers come as packets of one more line.
//!
//! ```text
//! a hole is there ── after ──► request ── timeout ──► request ── 2 timeouts ──► ... given up
//!                                  └─ an answer makes the hole smaller: the next request, at once
//! ```

use crate::moldudp64::{END_OF_SESSION, Header, SessionId};

/// When to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskRule {
    /// How long something is missing on every line before it is asked for.
    pub after_ns: u64,
    /// How long the first answer is waited for; twice as long each further time.
    pub timeout_ns: u64,
    /// How many requests in a row may bring nothing.
    pub tries_max: u32,
    /// How far apart requests are at least.
    pub interval_ns: u64,
}

/// Messages that no line brought, and behind which others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which session.
    pub session: SessionId,
    /// The first missing number.
    pub first: u64,
    /// How many are missing.
    pub count: u64,
}

/// What came of telling a source what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It may still come.
    Waiting,
    /// Nobody has it.
    GivenUp,
}

/// What to do about something missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nothing yet.
    Wait,
    /// Send this request.
    Send(Header),
    /// Nothing any more: the answers did not come.
    GiveUp,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AskCounts {
    /// Requests.
    pub requests: u64,
    /// Those of them that the system did not take.
    pub unsent: u64,
    /// Messages in them, each counted once.
    pub messages: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Asker {
    rule: AskRule,
    hole: Option<Hole>,
    /// Before then no request leaves.
    free_ns: u64,
    /// The session that was last asked about, and the number after the highest asked for.
    asked: Option<(SessionId, u64)>,
    counts: AskCounts,
}

#[derive(Debug)]
struct Hole {
    session: SessionId,
    first: u64,
    end: u64,
    tries: u32,
    due_ns: u64,
}

/// A timeout doubles at most so often.
const DOUBLINGS_MAX: u32 = 6;

impl Asker {
    /// One that has nothing to ask.
    pub fn new(rule: AskRule) -> Asker {
        Asker {
            rule,
            hole: None,
            free_ns: 0,
            asked: None,
            counts: AskCounts::default(),
        }
    }

    /// Whether an answer may come.
    pub fn is_waiting(&self) -> bool {
        self.hole.as_ref().is_some_and(|hole| hole.tries > 0)
    }

    /// Nothing is missing.
    pub fn rest(&mut self) {
        self.hole = None;
    }

    /// This is missing now.
    pub fn ask(&mut self, missing: &Missing, now_ns: u64) -> Ask {
        let (first, end) = (missing.first, missing.first.saturating_add(missing.count));
        let fresh = |due_ns| Hole {
            session: missing.session,
            first,
            end,
            tries: 0,
            due_ns,
        };
        let after_ns = now_ns.saturating_add(self.rule.after_ns);
        let hole = self.hole.get_or_insert_with(|| fresh(after_ns));
        if hole.session != missing.session || first < hole.first || first >= hole.end {
            *hole = fresh(after_ns);
        } else if first > hole.first {
            // What was asked for comes. The rest was missing for as long.
            let due_ns = if hole.tries > 0 { now_ns } else { hole.due_ns };
            *hole = fresh(due_ns);
        }
        hole.end = end;
        if now_ns < hole.due_ns {
            return Ask::Wait;
        }
        if hole.tries >= self.rule.tries_max {
            self.hole = None;
            return Ask::GiveUp;
        }
        if now_ns < self.free_ns {
            return Ask::Wait;
        }
        let doublings = hole.tries.min(DOUBLINGS_MAX);
        hole.tries += 1;
        hole.due_ns = now_ns.saturating_add(self.rule.timeout_ns.saturating_mul(1 << doublings));
        self.free_ns = now_ns.saturating_add(self.rule.interval_ns);
        let count = missing.count.min(u64::from(END_OF_SESSION) - 1);
        self.count(missing.session, first, first + count);
        Ask::Send(Header {
            session: missing.session,
            sequence: first,
            count: count as u16,
        })
    }

    fn count(&mut self, session: SessionId, first: u64, end: u64) {
        let upto = match self.asked {
            Some((of, upto)) if of == session => upto,
            _ => 0,
        };
        self.counts.requests += 1;
        self.counts.messages += end.saturating_sub(first.max(upto));
        self.asked = Some((session, upto.max(end)));
    }

    /// The system did not take the last request; the next try may go better.
    pub fn note_unsent(&mut self) {
        self.counts.unsent += 1;
    }

    /// What was asked for.
    pub fn counts(&self) -> AskCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(*b"0000000001");
    const RULE: AskRule = AskRule {
        after_ns: 10,
        timeout_ns: 100,
        tries_max: 3,
        interval_ns: 20,
    };

    fn missing(first: u64, count: u64) -> Missing {
        Missing {
            session: SESSION,
            first,
            count,
        }
    }

    /// Tells an asker at these times what is missing, and compares what it does: `3+2` for a
    /// request of two messages from the third on, `-` for nothing, `x` for giving up.
    fn check(steps: &[(u64, Missing)], want: &str) -> AskCounts {
        let mut asker = Asker::new(RULE);
        let said: Vec<String> = steps
            .iter()
            .map(|(now_ns, missing)| match asker.ask(missing, *now_ns) {
                Ask::Wait => "-".into(),
                Ask::Send(header) => format!("{}+{}", header.sequence, header.count),
                Ask::GiveUp => "x".into(),
            })
            .collect();
        assert_eq!(said.join(" "), want);
        asker.counts()
    }

    #[test]
    fn a_hole_is_asked_for_once_it_has_lasted() {
        let hole = missing(3, 2);
        let steps = [(0, hole), (9, hole), (10, hole), (11, hole)];
        let counts = check(&steps, "- - 3+2 -");
        assert_eq!((counts.requests, counts.messages), (1, 2));
    }

    #[test]
    fn no_answer_is_waited_for_ever_longer_and_then_given_up() {
        let hole = missing(3, 2);
        let times = [0, 10, 109, 110, 309, 310, 709, 710];
        let steps: Vec<_> = times.into_iter().map(|now_ns| (now_ns, hole)).collect();
        let counts = check(&steps, "- 3+2 - 3+2 - 3+2 - x");
        assert_eq!((counts.requests, counts.messages), (3, 2));
    }

    #[test]
    fn an_answer_that_brings_a_part_is_followed_by_a_request_for_the_rest() {
        let steps = [
            (0, missing(3, 100)),
            (10, missing(3, 100)),
            (15, missing(43, 60)),
            (30, missing(43, 60)),
            // It is another hole: it has to last as well.
            (31, missing(200, 1)),
            (41, missing(200, 1)),
            (51, missing(200, 1)),
        ];
        let counts = check(&steps, "- 3+100 - 43+60 - - 200+1");
        assert_eq!((counts.requests, counts.messages), (3, 101));
    }

    #[test]
    fn one_request_asks_for_no_more_than_its_count_can_say() {
        let hole = missing(1, 1 << 40);
        check(&[(0, hole), (10, hole)], "- 1+65534");
        // What runs over 64 bits is no message.
        let hole = missing(u64::MAX - 1, u64::MAX);
        check(&[(0, hole)], "-");
    }
}
