//! Who takes the orders: slow, moody, and it may hang up.

#![allow(unreachable_pub, missing_docs)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bus::oms::{Gateway, GatewayError, Message};

use crate::plan::{Plan, Random};

/// What a peer got, in order; it outlives the process that sent it.
pub type Received = Rc<RefCell<Vec<Vec<u8>>>>;

/// A peer as the process sees it.
#[derive(Debug)]
pub struct Peer {
    received: Received,
    waiting: Vec<Vec<u8>>,
    random: Random,
    refusals: u64,
    slow: u64,
    /// How many messages are taken before it hangs up.
    takes: u64,
    /// The process is being ended in order: nobody is slow for ever.
    is_ending: bool,
}

impl Peer {
    pub fn new(received: &Received, plan: &Plan, seed: u64, takes: u64) -> Peer {
        Peer {
            received: Rc::clone(received),
            waiting: Vec::new(),
            random: Random(seed),
            refusals: plan.refusals,
            slow: plan.slow,
            takes,
            is_ending: false,
        }
    }

    fn one_in(&mut self, bound: u64) -> bool {
        bound > 0 && self.random.one_in(bound)
    }

    fn gone() -> GatewayError {
        GatewayError {
            peer: "simulated".into(),
            what: "hung up".into(),
        }
    }
}

impl Gateway for Peer {
    fn has_room(&mut self, _message_bytes: usize) -> bool {
        !self.one_in(self.refusals)
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        if self.takes == 0 {
            return Err(Peer::gone());
        }
        if self.one_in(self.refusals) {
            return Ok(false);
        }
        self.takes -= 1;
        self.waiting.push(message.to_vec());
        Ok(true)
    }

    fn turn(&mut self) -> Result<usize, GatewayError> {
        // What was taken stays in the process until a turn that gets it out.
        if !self.is_ending && self.slow > 0 && !self.one_in(self.slow) {
            return Ok(0);
        }
        let moved_bytes = self.waiting.iter().map(Vec::len).sum();
        self.received.borrow_mut().append(&mut self.waiting);
        Ok(moved_bytes)
    }

    fn waiting(&self) -> usize {
        self.waiting.iter().map(Vec::len).sum()
    }

    fn finish(&mut self) -> Result<(), GatewayError> {
        self.is_ending = true;
        self.turn().map(drop)
    }

    fn describe(&self) -> String {
        "simulated".to_string()
    }
}

/// ClOrdID to how often it came without and with PossResend.
pub fn orders<'a>(received: impl IntoIterator<Item = &'a Vec<u8>>) -> BTreeMap<String, [u32; 2]> {
    let mut orders: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    for bytes in received {
        let message = Message::parse(bytes).expect("a whole FIX message");
        let id = message.field(11).expect("a ClOrdID");
        let flagged = message.field(97) == Some(b"Y");
        let id = String::from_utf8_lossy(id).into_owned();
        orders.entry(id).or_default()[usize::from(flagged)] += 1;
    }
    orders
}
