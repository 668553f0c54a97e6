//! A gateway whose peer is a list, and whose mishaps are written down beforehand.

use std::collections::VecDeque;

use super::{Gateway, GatewayError};

/// How the peer answers when it is offered a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Takes it.
    Take,
    /// Not now.
    NotNow,
    /// Is dead from now on.
    Fail,
}

/// The simulated twin of the real gateways.
///
/// As with them, a message that was taken is not yet with the peer: it waits until a `turn`, and a
/// crash in between loses it.
#[derive(Debug)]
pub struct Sim {
    script: VecDeque<Answer>,
    waiting: Vec<Vec<u8>>,
    received: Vec<Vec<u8>>,
    failure: Option<GatewayError>,
}

impl Sim {
    /// Answers by the script, then takes everything.
    pub fn new(script: impl IntoIterator<Item = Answer>) -> Sim {
        Sim::resume(Vec::new(), script)
    }

    /// Goes on after a crash: the peer has what it had received.
    pub fn resume(received: Vec<Vec<u8>>, script: impl IntoIterator<Item = Answer>) -> Sim {
        let script = script.into_iter().collect();
        Sim {
            script,
            waiting: Vec::new(),
            received,
            failure: None,
        }
    }

    /// What the peer has got, in order.
    pub fn received(&self) -> &[Vec<u8>] {
        &self.received
    }

    /// The process dies: what the peer has got stays, what waits is lost.
    pub fn crash(self) -> Vec<Vec<u8>> {
        self.received
    }

    fn living(&self) -> Result<(), GatewayError> {
        self.failure.clone().map_or(Ok(()), Err)
    }
}

impl Gateway for Sim {
    fn has_room(&mut self, _message_bytes: usize) -> bool {
        // Having said "not now" once, it may say something else when asked again.
        let is_refused = self.script.front() == Some(&Answer::NotNow);
        if is_refused {
            self.script.pop_front();
        }
        !is_refused
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        self.living()?;
        match self.script.pop_front().unwrap_or(Answer::Take) {
            Answer::Take => {
                self.waiting.push(message.to_vec());
                Ok(true)
            }
            Answer::NotNow => Ok(false),
            Answer::Fail => {
                self.failure = Some(GatewayError::new("simulated", "scripted failure"));
                self.living()?;
                Ok(false)
            }
        }
    }

    fn turn(&mut self) -> Result<usize, GatewayError> {
        self.living()?;
        let moved_bytes = self.waiting.iter().map(Vec::len).sum();
        self.received.append(&mut self.waiting);
        Ok(moved_bytes)
    }

    fn waiting(&self) -> usize {
        self.waiting.iter().map(Vec::len).sum()
    }

    fn finish(&mut self) -> Result<(), GatewayError> {
        self.turn().map(|_| ())
    }

    fn describe(&self) -> String {
        "simulated".to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_loses_what_waits_and_nothing_else() {
        let mut sim = Sim::new([]);
        sim.send(b"one").unwrap();
        assert_eq!(sim.turn(), Ok(3));
        sim.send(b"two").unwrap();
        let received = sim.crash();
        assert_eq!(received, [b"one"]);
        let mut sim = Sim::resume(received, [Answer::NotNow]);
        assert_eq!(sim.send(b"two"), Ok(false));
        assert_eq!(sim.send(b"two"), Ok(true));
        sim.finish().unwrap();
        assert_eq!(sim.received(), [b"one", b"two"]);
    }
}
