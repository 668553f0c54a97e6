//! Random orders against plain queues, and any bytes.

use std::collections::BTreeMap;

use bus::{Event, Kind};
use feed::mdp3::{PREFIX_BYTES, Packets, is_mdp3};
use feed::moldudp64::Header;

use crate::make::{E9, ENDS, Feed, full_order, level, order_book, packet};

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What a book makes of events: each price's queue, in order, with what each order has.
#[derive(Default)]
pub(crate) struct Queues {
    pub(crate) orders: BTreeMap<u64, (u32, u8, i64, i64)>,
    pub(crate) queues: BTreeMap<(u32, u8, i64), Vec<u64>>,
}

impl Queues {
    pub(crate) fn apply(&mut self, event: &Event) {
        match event.kind {
            Kind::Add => self.push(event.order, event),
            Kind::Replace => {
                self.remove(event.order);
                self.push(event.order_b, event);
            }
            Kind::Delete => self.remove(event.order),
            Kind::Cancel => {
                let order = self
                    .orders
                    .get_mut(&event.order)
                    .expect("an order is there");
                order.3 -= event.qty.0;
                assert!(order.3 > 0);
            }
            Kind::Symbol | Kind::Info => {}
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn push(&mut self, id: u64, event: &Event) {
        let key = (event.symbol, event.side as u8, event.price.0);
        let order = (key.0, key.1, key.2, event.qty.0);
        assert!(self.orders.insert(id, order).is_none(), "{event:?}");
        self.queues.entry(key).or_default().push(id);
    }

    pub(crate) fn remove(&mut self, id: u64) {
        let (symbol, side, price, _) = self.orders.remove(&id).expect("an order is there");
        let queue = self.queues.get_mut(&(symbol, side, price)).unwrap();
        queue.retain(|other| *other != id);
    }
}

/// Random orders with random priorities stand in each queue as a sort by priority has them.
#[test]
fn queues_are_in_the_order_of_priorities() {
    let mut random = Random(3);
    let feed = &mut Feed::new();
    let mut queues = Queues::default();
    // Side, price, quantity, priority.
    let mut plain: BTreeMap<u64, (u8, i64, i32, u64)> = BTreeMap::new();
    for step in 0..20_000u64 {
        let id = 1_000 + random.below(60);
        let found = plain.get(&id).copied();
        let side = found.map_or(random.below(2) as u8, |o| o.0);
        let mut price = (1 + random.below(3) as i64) * E9;
        // No two orders have one priority.
        let mut priority = random.below(1 << 20) << 20 | step;
        let qty = 1 + random.below(9) as i32;
        let action = match found {
            None => 0,
            Some(_) if random.below(3) == 0 => 2,
            Some((_, before, _, kept)) => {
                if random.below(2) == 0 {
                    (price, priority) = (before, kept);
                }
                1
            }
        };
        if action == 2 {
            plain.remove(&id);
        } else {
            plain.insert(id, (side, price, qty, priority));
        }
        let entry = full_order(id, priority, price, qty, 77, [action, b'0' + side]);
        for event in feed.take(&order_book(ENDS, vec![entry])).unwrap() {
            queues.apply(&event);
        }
        let mut want: BTreeMap<(u8, i64), Vec<(u64, u64)>> = BTreeMap::new();
        for (id, (side, price, qty, priority)) in &plain {
            let found = queues.orders[id];
            assert_eq!(
                (found.1, found.2, found.3),
                (side + 1, *price, (*qty).into())
            );
            want.entry((side + 1, *price))
                .or_default()
                .push((*priority, *id));
        }
        assert_eq!(queues.orders.len(), plain.len());
        for ((side, price), mut queue) in want {
            queue.sort_unstable();
            let queue: Vec<u64> = queue.into_iter().map(|(_, id)| id).collect();
            assert_eq!(queues.queues[&(1, side, price)], queue, "step {step}");
        }
    }
}

#[test]
fn any_bytes_neither_panic_nor_grow_without_bound() {
    let mut random = Random(11);
    let ids = [
        4, 12, 15, 27, 29, 30, 32, 37, 38, 39, 41, 42, 43, 44, 46, 47, 48, 52, 53, 54, 99,
    ];
    let feed = &mut Feed::new();
    let mut packets = Packets::default();
    let mut accepted = 0;
    for round in 0..100_000u64 {
        let len = random.below(160) as usize;
        let mut bytes: Vec<u8> = (0..len)
            .map(|_| {
                if random.below(3) == 0 {
                    random.next() as u8
                } else {
                    random.below(3) as u8
                }
            })
            .collect();
        let words = [
            random.below(40) as u16,
            ids[round as usize % ids.len()],
            1,
            9,
        ];
        for (index, word) in words.into_iter().enumerate() {
            if let Some(two) = bytes.get_mut(index * 2..index * 2 + 2) {
                two.copy_from_slice(&word.to_le_bytes());
            }
        }
        // Securities that there are, so that there is something to change.
        if bytes.len() > 40 && random.below(2) == 0 {
            let at = 8 + usize::from(words[0]);
            let entry = level(
                E9 * random.below(4) as i64,
                3,
                77,
                1 + random.below(4) as u8,
                random.below(6) as u8,
                b'0' + random.below(2) as u8,
            );
            bytes.truncate(at);
            bytes.resize(at, 0);
            bytes.extend([32, 0, 1]);
            bytes.extend(entry);
        }
        feed.sequence = random.below(1_000) as u32;
        if let Ok(events) = feed.take(&bytes) {
            accepted += 1;
            assert!(
                events
                    .iter()
                    .all(|e| Event::from_bytes(e.as_bytes()).is_some())
            );
        }
        let mut payload = packet(random.below(9) as u32, round, &[bytes, vec![0; 10]]);
        let at = random.below(payload.len() as u64) as usize;
        payload[at] ^= 1 << random.below(8);
        payload.truncate(random.below(payload.len() as u64 + 1) as usize);
        let _ = is_mdp3(&payload);
        if let Ok(mold) = packets.as_mold(&payload, random.next() as u16) {
            assert!(mold.len() <= 22 + payload.len() + 2 * PREFIX_BYTES);
            assert!(Header::split(mold).is_some());
        }
    }
    assert!(accepted > 10_000, "{accepted} messages were accepted");
}
