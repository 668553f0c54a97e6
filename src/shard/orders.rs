//! Orders out: once they are durable, unless somebody stopped them, or they are too many.

use bus::clock::Clock;
use bus::disk::Disk;
use bus::oms::{About, Gateway, NewOrder, OrderId};
use bus::planted::{self, Bug};
use bus::signal::{Order, Outcome, Over, RejectCode, Sent, Whose};
use bus::{Body, Signal};

use super::exit::{Exit, Held, How};
use super::{CANCELS_PER_TURN, OPEN_ORDERS_MAX, Shard, ShardError};
use crate::core::Sink;
use crate::guard::{Guard, Owner, Said, Stake};
use crate::latency::OrderWay;
use crate::recovery::{key, sent_signal};

impl<D: Disk, G: Gateway, C: Clock> Shard<'_, D, G, C> {
    /// Hands orders to the peer: durable ones, in order, until it takes no more.
    #[cold]
    pub(super) fn release(&mut self) -> Result<usize, ShardError> {
        let mut count = 0;
        while let Some(&held) = self.exit.held.front() {
            let is_durable = held.cell_end <= self.exit.log.durable_upto();
            if self.config.is_durable && !is_durable && !planted::is(Bug::SendBeforeDurable) {
                break;
            }
            // What an earlier send left in this process would leave after a stop. So there is never more
            // than the rest of one message.
            if self.gateway.waiting() > 0 {
                break;
            }
            // Of two that leave together, the second is behind the first; alone, the first has left.
            let is_leg = held.how == How::New && self.is_leg(&held.order);
            let other = if is_leg {
                self.other_leg(&held.order)
            } else {
                None
            };
            if let Some(other) = &other
                && self.config.is_durable
                && other.cell_end > self.exit.log.durable_upto()
            {
                break;
            }
            let both = || std::iter::once(&held).chain(&other);
            if !self.kill.is_open() && both().any(|held| self.is_stopped(held)) {
                for held in both() {
                    self.stop(held);
                }
                count += 1;
                continue;
            }
            if self.encoder.is_bounded()
                && held.how != How::Cancel
                && let Some((at, over)) = self.unfit(&held, other.as_ref())
            {
                // It never left and is not counted yet, nor is the one that would have left with it.
                for (place, held) in both().enumerate() {
                    self.take_out(&held.order);
                    let over = if place == at { over } else { without(over) };
                    self.say_refused(&held.order, over);
                }
                count += 1;
                continue;
            }
            if self.bucket.is_some() && held.how != How::Cancel {
                match self.throttled(&held, is_leg && other.is_none()) {
                    Turn::Free => {}
                    Turn::Refused(over) => {
                        if let Some(held) = &other {
                            self.refuse(held, without(over));
                        }
                        count += 1;
                        continue;
                    }
                    Turn::Waits => break,
                }
            }
            if let Some(guard) = self.guard
                && !held.is_counted
                && held.how != How::Cancel
            {
                let said = self.ask(guard, &held);
                let said_of_other = match &other {
                    Some(other) if said == Said::Go => self.ask(guard, other),
                    Some(_) | None => said,
                };
                if said_of_other != said {
                    let stake = Stake::of(&body_of(&held.order));
                    guard.changed(owner(&held.order), &stake, &Stake::default());
                }
                match said_of_other {
                    Said::Go => {
                        for held in both() {
                            self.held_as(&held.order).is_counted = true;
                        }
                    }
                    Said::Over(over) => {
                        // Each with what it was refused for.
                        let is_own = said_of_other == said;
                        self.refuse(&held, if is_own { over } else { without(over) });
                        if let Some(held) = &other {
                            self.refuse(held, if is_own { without(over) } else { over });
                        }
                        count += 1;
                        continue;
                    }
                    // Another shard is being answered; the next turn asks again.
                    Said::Busy => {
                        count += 1;
                        break;
                    }
                }
            }
            bus::failpoint!("order-released");
            let released_ns = self.clock.now_ns();
            let Some(encoded_ns) = self.send(&held.order, held.how)? else {
                break;
            };
            let way = OrderWay {
                way: held.way,
                decided_ns: held.decided_ns,
                released_ns,
                encoded_ns,
                sent_ns: self.clock.now_ns(),
            };
            self.latency.order(held.due_ns, &way, held.is_whole);
            if let Some(bucket) = self.bucket.as_mut().filter(|_| held.how != How::Cancel) {
                bucket.take();
            }
            let outcome = match held.how {
                How::New | How::Again => {
                    self.exit.counts.sent += 1;
                    self.exit.counts.resent += u64::from(held.how == How::Again);
                    if self.open.len() == OPEN_ORDERS_MAX {
                        self.open.pop_front();
                    }
                    self.open.push_back(held.order);
                    Outcome::Sent
                }
                How::Cancel => Outcome::Cancelled,
            };
            self.exit.held.pop_front();
            self.leaving.push_back((held.order, outcome, self.msg_seq));
            count += 1;
        }
        Ok(count)
    }

    /// What a simulated venue said of orders that left, or were held back, gives back what was counted.
    #[cold]
    pub(super) fn count_reports(&mut self) {
        let Exit { reports, held, .. } = &mut self.exit;
        let (Some(guard), Some(reports)) = (self.guard, reports) else {
            return;
        };
        while let Some(signal) = reports.front() {
            let Some(Body::Report(report)) = signal.body() else {
                unreachable!("only reports are kept");
            };
            let of = (report.order_seq, signal.symbol, report.order_ordinal);
            let mut earlier = held.iter().take_while(|held| held.order.seq <= of.0);
            // It comes before its order is counted, where the order still waits to leave.
            if earlier.any(|held| key(&held.order) == of) {
                return;
            }
            guard.reported(owner(signal), &report);
            reports.pop_front();
        }
    }

    /// Whether an order leaves with another one, or not at all.
    #[inline]
    fn is_leg(&self, order: &Signal) -> bool {
        self.kill.paired() >> order.rule & 1 != 0
    }

    /// The other order of its strategy at its event, if it has not left.
    #[cold]
    fn other_leg(&self, order: &Signal) -> Option<Held> {
        let is_other = |held: &&Held| {
            let other = &held.order;
            held.how == How::New
                && (other.seq, other.rule) == (order.seq, order.rule)
                && other.symbol != order.symbol
        };
        self.exit.held.iter().find(is_other).copied()
    }

    /// An order in the queue.
    fn held_as(&mut self, order: &Signal) -> &mut Held {
        let mut held = self.exit.held.iter_mut();
        held.find(|held| held.order == *order).expect("it is held")
    }

    /// Takes an order out of the queue; nearly always the first.
    fn take_out(&mut self, order: &Signal) {
        let place = self.exit.held.iter().position(|held| held.order == *order);
        self.exit.held.remove(place.expect("it is held"));
    }

    /// Somebody stopped an order that is held.
    #[cold]
    fn stop(&mut self, held: &Held) {
        if let Some(guard) = self.guard {
            guard.never_left(key(&held.order));
        }
        if let Some(guard) = self.guard.filter(|_| held.is_counted) {
            let stake = Stake::of(&body_of(&held.order));
            guard.changed(owner(&held.order), &stake, &Stake::default());
        }
        self.take_out(&held.order);
        self.exit.counts.killed += 1;
        self.say_sent(&held.order, Outcome::Killed, 0);
    }

    /// Whether an order that is first in the queue is too fast. One whose other leg has left waits, and
    /// is never refused.
    #[cold]
    fn throttled(&mut self, held: &Held, is_owed: bool) -> Turn {
        let now_ns = self.clock.now_ns();
        let bucket = self.bucket.as_mut().expect("just seen");
        let wait_ns = bucket.wait_ns(now_ns);
        let queue_max = bucket.setting().queue_max;
        let over = |code, limit, value| Over {
            whose: Whose::Session,
            code,
            limit,
            value,
        };
        match queue_max {
            _ if wait_ns == 0 => Turn::Free,
            None if is_owed => Turn::Waits,
            None => {
                let over = over(RejectCode::Throttle, 0, wait_ns as i64);
                self.refuse(held, over);
                Turn::Refused(over)
            }
            Some(most) => {
                // Those that came last find no room; what may be out already is not among them.
                while self.exit.held.len() > most
                    && let Some(&last) = self.exit.held.back()
                    && last.how == How::New
                {
                    let other = match self.is_leg(&last.order) {
                        true => self.other_leg(&last.order),
                        false => None,
                    };
                    if self.is_leg(&last.order) && other.is_none() {
                        break;
                    }
                    let over = over(RejectCode::Queue, most as i64, self.exit.held.len() as i64);
                    self.take_out(&last.order);
                    self.say_refused(&last.order, over);
                    if let Some(held) = &other {
                        self.refuse(held, without(over));
                    }
                }
                Turn::Waits
            }
        }
    }

    #[cold]
    fn ask(&self, guard: &Guard, held: &Held) -> Said {
        let order = &held.order;
        let name = self.core.name(order.symbol);
        guard.ask(owner(order), name, &body_of(order), self.clock.now_ns())
    }

    /// Which of the orders that leave together the messages have no room for, if any, and why.
    #[cold]
    fn unfit(&self, held: &Held, other: Option<&Held>) -> Option<(usize, Over)> {
        let mut both = std::iter::once(held).chain(other).enumerate();
        both.find_map(|(place, held)| {
            let over = self.encoder.unfit(&body_of(&held.order))?;
            Some((place, over))
        })
    }

    #[cold]
    fn refuse(&mut self, held: &Held, over: Over) {
        if let Some(guard) = self.guard {
            let (owner, order) = (owner(&held.order), body_of(&held.order));
            match (held.how, held.is_counted) {
                // It may have left before, and then it is out.
                (How::Again, false) => guard.is_out(owner, &order),
                (How::New, true) => guard.changed(owner, &Stake::of(&order), &Stake::default()),
                _ => {}
            }
        }
        self.take_out(&held.order);
        self.say_refused(&held.order, over);
    }

    fn say_refused(&mut self, order: &Signal, over: Over) {
        if let Some(guard) = self.guard {
            guard.never_left(key(order));
        }
        let sent = Sent {
            order_ordinal: order.ordinal,
            outcome: Outcome::Refused,
            msg_seq: 0,
            ts_sent: self.clock.wall(),
            over: Some(over),
        };
        self.exit.signal(&sent_signal(order, &sent));
    }

    #[cold]
    fn is_stopped(&self, held: &Held) -> bool {
        // What a person stopped may still be cancelled; what this process does not trust may not.
        let is_harmless = held.how == How::Cancel && !self.kill.is_shut_here();
        let order = &held.order;
        !is_harmless && self.kill.stops(self.core.name(order.symbol), order.rule)
    }

    /// Cancels some of the orders that were sent and are stopped now.
    #[cold]
    pub(super) fn cancel_open(&mut self, asked: u64) -> Result<usize, ShardError> {
        let left = match self.cancels_left {
            Some((of, left)) if of == asked => left,
            _ => self.open.len(),
        };
        let mut looked_at = 0;
        while looked_at < left.min(CANCELS_PER_TURN) && self.gateway.waiting() == 0 {
            let Some(order) = self.open.pop_front() else {
                break;
            };
            looked_at += 1;
            if asked == 0 || !self.kill.stops(self.core.name(order.symbol), order.rule) {
                self.open.push_back(order);
                continue;
            }
            if self.send(&order, How::Cancel)?.is_none() {
                self.open.push_front(order);
                looked_at -= 1;
                break;
            }
            let leaving = (order, Outcome::Cancelled, self.msg_seq);
            self.leaving.push_back(leaving);
        }
        match left - looked_at {
            0 => self.cancels_done = asked,
            left => self.cancels_left = Some((asked, left)),
        }
        Ok(looked_at)
    }

    /// When it was a message that the peer then took; `None` if the peer takes nothing now.
    fn send(&mut self, order: &Signal, how: How) -> Result<Option<u64>, ShardError> {
        let Some(Body::Order(body)) = order.body() else {
            unreachable!("only orders are held");
        };
        let Some(msg_seq) = self.gateway.next_msg_seq(self.msg_seq + 1) else {
            return Ok(None);
        };
        let id = self.order_id(order);
        let new = NewOrder {
            msg_seq,
            sending_time: if self.config.is_live {
                self.clock.wall()
            } else {
                order.ts_event
            },
            id: &id,
            symbol: self.core.name(order.symbol),
            order: &body,
            transact_time: order.ts_event,
            poss_resend: how == How::Again,
        };
        let message = match how {
            How::New | How::Again => self.encoder.encode(&new),
            How::Cancel => self.encoder.encode_about(About::Cancel, &new),
        };
        let encoded_ns = self.clock.now_ns();
        bus::failpoint!("order-encoded");
        if !self.gateway.send(message)? {
            return Ok(None);
        }
        bus::failpoint!("order-buffered");
        if let Some(guard) = self.guard.filter(|_| how == How::Cancel) {
            guard.cancel_leaves(owner(order), encoded_ns);
        }
        self.gateway.turn()?;
        bus::failpoint!("order-out");
        self.msg_seq = msg_seq;
        Ok(Some(encoded_ns))
    }

    /// Says of the orders that have left the process that they have.
    pub(super) fn say_left(&mut self) -> usize {
        let count = self.leaving.len();
        while let Some((order, outcome, msg_seq)) = self.leaving.pop_front() {
            self.say_sent(&order, outcome, msg_seq);
        }
        count
    }

    pub(super) fn order_id(&self, order: &Signal) -> OrderId {
        if planted::is(Bug::IdsFromClock) {
            let seq = self.clock.wall().0 as u64 % OrderId::SEQ_END;
            return OrderId::new(
                self.config.date,
                order.rule,
                seq,
                order.symbol,
                order.ordinal,
            );
        }
        OrderId::of(self.config.date, order)
    }

    pub(super) fn say_sent(&mut self, order: &Signal, outcome: Outcome, msg_seq: u64) {
        let ts_sent = self.clock.wall();
        let sent = Sent {
            order_ordinal: order.ordinal,
            outcome,
            msg_seq,
            ts_sent,
            over: None,
        };
        self.exit.signal(&sent_signal(order, &sent));
    }
}

/// Whether an order's turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Free,
    Refused(Over),
    Waits,
}

/// Why an order is refused without which this one does not leave.
fn without(over: Over) -> Over {
    Over {
        code: RejectCode::OtherLeg,
        limit: 0,
        value: over.code as i64,
        ..over
    }
}

pub(super) fn owner(order: &Signal) -> Owner {
    Owner {
        symbol: order.symbol,
        rule: order.rule,
    }
}

pub(super) fn body_of(order: &Signal) -> Order {
    match order.body() {
        Some(Body::Order(order)) => order,
        _ => unreachable!("only orders are held"),
    }
}
