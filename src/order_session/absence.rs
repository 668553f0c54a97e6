//! How long somebody is away, or owes an answer.
//!
//! ```text
//! orders wait  ├── away ──┤ logon, no word, gone ├── away ──┤        one absence: it may be too long
//! orders wait  ├── away ──┤ logon, a report, gone ├── away ──┤       two
//! orders wait  ├── away ──┤ logon, a second long, gone ├── away ──┤  two
//! ```
//!
//! A word is a message about orders: what keeps a session alive says nothing of whether orders get through.
//! Reads no clock.

use std::time::{Duration, Instant};

/// Who takes all orders for so long is there, also without a word.
const STAY: Duration = Duration::from_secs(1);

/// A wait that begins anew with each word of the other side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    since: Instant,
    words: u64,
}

impl Wait {
    /// From now on, when the other side has said so many words.
    pub(super) fn new(words: u64, now: Instant) -> Wait {
        Wait { since: now, words }
    }

    /// Whether it was in vain for so long.
    pub(super) fn is_over(&mut self, words: u64, now: Instant, max: Duration) -> bool {
        if words != self.words {
            *self = Wait::new(words, now);
        }
        now.saturating_duration_since(self.since) >= max
    }
}

/// The absence of somebody for whom orders wait.
#[derive(Debug)]
pub(super) struct Absence {
    max: Duration,
    stay: Duration,
    /// Since when orders wait, and when they last did.
    since: Option<(Instant, Instant)>,
    words: u64,
}

impl Absence {
    /// Of so long at most.
    pub(super) fn new(max: Duration) -> Absence {
        Absence {
            max,
            stay: STAY.min(max),
            since: None,
            words: 0,
        }
    }

    /// An order waits, and nobody takes it.
    pub(super) fn wanted(&mut self, now: Instant) {
        let since = match self.since {
            Some((since, last)) if now.saturating_duration_since(last) < self.stay => since,
            Some(_) | None => now,
        };
        self.since = Some((since, now));
    }

    /// What a look at the other side found: how many words it has said, and whether it is logged on. Says
    /// whether it is away for too long.
    pub(super) fn is_over(&mut self, words: u64, is_logged_on: bool, now: Instant) -> bool {
        if std::mem::replace(&mut self.words, words) != words {
            self.since = None;
        }
        let is_long = |(since, last)| {
            now.saturating_duration_since(since) >= self.max
                && now.saturating_duration_since(last) < self.stay
        };
        !is_logged_on && self.since.is_some_and(is_long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// When an absence of ten seconds is over, in milliseconds from the start: orders wait whenever nobody is
    /// logged on, and each look finds what `other_side` says of its moment: words said, logged on.
    fn ends_ms(other_side: impl Fn(u32) -> (u64, bool)) -> Option<u32> {
        let (mut absence, start) = (Absence::new(10_000 * MS), Instant::now());
        (0..120_000).step_by(20).find(|&ms| {
            let now = start + ms * MS;
            let (words, is_logged_on) = other_side(ms);
            if !is_logged_on {
                absence.wanted(now);
            }
            absence.is_over(words, is_logged_on, now)
        })
    }

    #[test]
    fn who_never_comes_is_away_for_too_long() {
        assert_eq!(ends_ms(|_| (0, false)), Some(10_000));
    }

    #[test]
    fn who_comes_again_and_again_and_says_something_is_not_away() {
        // A report a logon, each as short as a turn.
        let other_side = |ms: u32| (u64::from(ms / 9_000), ms.is_multiple_of(9_000));
        assert_eq!(ends_ms(other_side), None);
        // It goes on so, and then comes no more.
        let other_side = |ms: u32| other_side(ms.min(50_000));
        assert_eq!(ends_ms(other_side), Some(55_020));
    }

    #[test]
    fn who_only_logs_on_is_away_unless_it_stays() {
        for (stays_ms, ends) in [(0, 10_000), (20, 10_020), (900, 10_900)] {
            let other_side = |ms: u32| (0, ms % 10_000 < stays_ms && ms > 0);
            let found = ends_ms(other_side);
            assert_eq!(found, Some(ends), "{stays_ms} ms");
        }
        assert_eq!(ends_ms(|ms| (0, ms % 10_000 < 1_020)), None);
    }

    #[test]
    fn what_did_not_wait_meanwhile_waits_anew() {
        let (mut absence, start) = (Absence::new(10_000 * MS), Instant::now());
        for ms in [0, 60_000, 60_020, 69_990, 70_980] {
            // Orders wait at these moments only.
            absence.wanted(start + ms * MS);
            assert!(!absence.is_over(0, false, start + ms * MS), "{ms} ms");
        }
        let mut absence = Absence::new(10_000 * MS);
        for ms in (0..10_000).step_by(500) {
            absence.wanted(start + ms * MS);
            assert!(!absence.is_over(0, false, start + ms * MS), "{ms} ms");
        }
        // Nobody wants it any more, and then somebody does.
        assert!(!absence.is_over(0, false, start + 10_600 * MS));
        absence.wanted(start + 10_000 * MS);
        assert!(absence.is_over(0, false, start + 10_000 * MS));
    }

    #[test]
    fn an_answer_is_waited_for_anew_with_each_word() {
        let start = Instant::now();
        let mut wait = Wait::new(3, start);
        let mut is_over = |words, ms: u32| wait.is_over(words, start + ms * MS, 1_000 * MS);
        assert!(!is_over(3, 999));
        assert!(!is_over(4, 1_500));
        assert!(!is_over(4, 2_499));
        assert!(is_over(4, 2_500));
    }
}
