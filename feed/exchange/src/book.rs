//! The exchange's own books: price-time queues of orders.
//!
//! A side is a vector of levels with the best one last, so that most changes touch its end.
//! Orders of all symbols share one slab, and the orders of a level are linked in order of
//! arrival. Each symbol also lists its live orders in no order, to draw one at random.

/// Which side of the book; also the index into `Book::sides`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Buy = 0,
    Sell = 1,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    pub(crate) fn letter(self) -> u8 {
        match self {
            Self::Buy => b'B',
            Self::Sell => b'S',
        }
    }

    /// Whether `a` stands before `b` in the queue of this side.
    pub(crate) fn is_better(self, a: u32, b: u32) -> bool {
        match self {
            Self::Buy => a > b,
            Self::Sell => a < b,
        }
    }
}

/// Where an order lies in the slab.
pub(crate) type Id = u32;
const NONE: Id = Id::MAX;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) reference: u64,
    pub(crate) price_e4: u32,
    pub(crate) shares: u32,
    prev: Id,
    next: Id,
    /// Its index in `Book::live`.
    place: u32,
    pub(crate) side: Side,
    /// It was repriced so as not to lock another market, and executes half a tick better than
    /// it is shown.
    pub(crate) slid: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    pub(crate) price_e4: u32,
    pub(crate) orders: u32,
    pub(crate) shares: u64,
    head: Id,
    tail: Id,
}

/// All live orders of all symbols.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    slab: Vec<Order>,
    free: Vec<Id>,
}

impl Orders {
    pub(crate) fn get(&self, id: Id) -> &Order {
        &self.slab[id as usize]
    }

    fn get_mut(&mut self, id: Id) -> &mut Order {
        &mut self.slab[id as usize]
    }

    fn insert(&mut self, order: Order) -> Id {
        match self.free.pop() {
            Some(id) => {
                self.slab[id as usize] = order;
                id
            }
            None => {
                self.slab.push(order);
                (self.slab.len() - 1) as Id
            }
        }
    }
}

/// One symbol's book.
#[derive(Debug, Default)]
pub(crate) struct Book {
    sides: [Vec<Level>; 2],
    live: Vec<Id>,
}

impl Book {
    /// From the worst level to the best.
    pub(crate) fn levels(&self, side: Side) -> &[Level] {
        &self.sides[side as usize]
    }

    pub(crate) fn best(&self, side: Side) -> Option<&Level> {
        self.sides[side as usize].last()
    }

    pub(crate) fn best_price(&self, side: Side) -> Option<u32> {
        self.best(side).map(|level| level.price_e4)
    }

    pub(crate) fn live(&self) -> &[Id] {
        &self.live
    }

    /// The order that has waited longest at the best price.
    pub(crate) fn first(&self, side: Side) -> Option<Id> {
        self.best(side).map(|level| level.head)
    }

    fn find(&self, side: Side, price_e4: u32) -> Result<usize, usize> {
        let levels = &self.sides[side as usize];
        let index = match side {
            Side::Buy => levels.partition_point(|level| level.price_e4 < price_e4),
            Side::Sell => levels.partition_point(|level| level.price_e4 > price_e4),
        };
        match levels.get(index) {
            Some(level) if level.price_e4 == price_e4 => Ok(index),
            _ => Err(index),
        }
    }

    pub(crate) fn add(
        &mut self,
        orders: &mut Orders,
        reference: u64,
        side: Side,
        shares: u32,
        price_e4: u32,
        slid: bool,
    ) -> Id {
        debug_assert!(shares > 0);
        let place = self.live.len() as u32;
        let order = Order {
            reference,
            price_e4,
            shares,
            prev: NONE,
            next: NONE,
            place,
            side,
            slid,
        };
        let id = orders.insert(order);
        self.live.push(id);
        match self.find(side, price_e4) {
            Ok(index) => {
                let level = &mut self.sides[side as usize][index];
                orders.get_mut(level.tail).next = id;
                orders.get_mut(id).prev = level.tail;
                level.tail = id;
                level.orders += 1;
                level.shares += u64::from(shares);
            }
            Err(index) => {
                let shares = u64::from(shares);
                let level = Level {
                    price_e4,
                    orders: 1,
                    shares,
                    head: id,
                    tail: id,
                };
                self.sides[side as usize].insert(index, level);
            }
        }
        id
    }

    /// Takes `shares` off an order, which leaves the book when none remain.
    pub(crate) fn reduce(&mut self, orders: &mut Orders, id: Id, shares: u32) {
        let order = *orders.get(id);
        assert!(
            shares <= order.shares,
            "taking {shares} shares from {}",
            order.shares
        );
        let index = self
            .find(order.side, order.price_e4)
            .expect("a live order has a level");
        let levels = &mut self.sides[order.side as usize];
        let level = &mut levels[index];
        level.shares -= u64::from(shares);
        if shares < order.shares {
            orders.get_mut(id).shares -= shares;
            return;
        }
        level.orders -= 1;
        match order.prev {
            NONE => level.head = order.next,
            prev => orders.get_mut(prev).next = order.next,
        }
        match order.next {
            NONE => level.tail = order.prev,
            next => orders.get_mut(next).prev = order.prev,
        }
        if level.orders == 0 {
            debug_assert_eq!(level.shares, 0);
            levels.remove(index);
        }
        self.live.swap_remove(order.place as usize);
        if let Some(&moved) = self.live.get(order.place as usize) {
            orders.get_mut(moved).place = order.place;
        }
        orders.free.push(id);
    }
}
