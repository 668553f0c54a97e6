//! What time alone brings: heartbeats, timeouts, and the end of an opening.

use bus::Ts;

use super::{Application, SECOND_NS, Session, Stop};
use crate::store::Store;
use crate::tags;

impl<S: Store> Session<S> {
    /// Ends a connection with the opening that it was made in: the numbers of the next are others.
    pub(super) fn check_opening(&mut self, now: Ts) -> Result<(), Stop> {
        let opening = self.config.schedule.opening(now);
        if opening.is_some_and(|opening| self.store.created() >= opening.start) {
            return Ok(());
        }
        if self.is_logged_on() && !self.is_closing {
            self.say_logout("The session's time is over", now)?;
        }
        Err(Stop::Close("the session's time is over".into()))
    }

    pub(super) fn keep_time<A: Application>(&mut self, now: Ts, app: &mut A) -> Result<(), Stop> {
        if !self.is_connected {
            self.turn_over(now, app)?;
            return Ok(());
        }
        self.check_opening(now)?;
        if self.output().len() > self.config.output_bytes_max {
            return Err(Stop::Close("the other side does not read".into()));
        }
        let since = |then: Ts| now.0.saturating_sub(then.0);
        if !self.received_logon {
            let timeout = i64::from(self.config.logon_timeout_s) * SECOND_NS;
            return if since(self.last_received) >= timeout {
                Err(Stop::Close("no logon in time".into()))
            } else {
                Ok(())
            };
        }
        self.go_on_repeating(now, app)?;
        let timeout = i64::from(self.config.logout_timeout_s) * SECOND_NS;
        if self.sent_logout && since(self.last_sent) >= timeout {
            return Err(Stop::Close("no answer to the logout in time".into()));
        }
        let interval = i64::from(self.heartbeat_s) * SECOND_NS;
        if interval == 0
            || (since(self.last_sent) < interval && since(self.last_received) < interval)
        {
            return Ok(());
        }
        // A fifth of an interval is what a heartbeat may take on its way.
        if since(self.last_received) >= interval * 12 / 5 {
            return Err(Stop::Close("nothing was heard for two heartbeats".into()));
        }
        if since(self.last_received) >= interval * 6 / 5 * (i64::from(self.test_requests) + 1) {
            self.say(b"1", now, |writer| {
                writer.text(tags::TEST_REQ_ID, "TEST");
            })?;
            self.test_requests += 1;
        } else if since(self.last_sent) >= interval && self.test_requests == 0 {
            self.say(b"0", now, |_| {})?;
        }
        Ok(())
    }
}
