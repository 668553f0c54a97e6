//! Books made whole again by a snapshot, after messages were lost.
//!
//! ```text
//!   lost           kept: all that is delivered since
//! ──/  /──┬──────────────┬──────────────────┬─────────►  sequence
//!        from        snapshot             now
//!                        └── taken into it ─┘ then told: the books, as of now
//! ```
//!
//! From the first message behind the loss on, messages are kept beside being delivered, and a snapshot
//! is asked for that knows of all before it. Once it is there, what is kept from its number on is taken
//! into its table, a piece in each turn; when nothing is left, the table is what the books should be.
//! Then all of it becomes events, before any other message is taken: a `Gap` that empties the books, each
//! symbol's name, state and orders as one change, and a `Gap` that says that they are whole. Nothing that
//! traded meanwhile is told again.
//!
//! The books are stale until then and decide nothing, so that it costs no decision that the feed waits in
//! the kernel's buffer while the events are made.

use bus::{Event, Flags, Kind, Qty, Side, Ts};

use super::intake::Intake;
use crate::glimpse::{Answer, Link, Snapshot, Table, TooMany, Wanted, take};
use crate::moldudp64::{Blocks, SessionId};
use crate::protocol::Protocol;

/// So many kept messages are taken into a table in one turn.
const FOLD_MESSAGES: usize = 2_048;
/// So many events are made in one turn, and a few more for one symbol.
const TOLD_EVENTS: u64 = 2_048;

/// How snapshots are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealRule {
    /// At most so much is kept until a snapshot is there. Beyond it, all is forgotten, and another one
    /// asked for.
    pub kept_bytes_max: usize,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealStats {
    /// How often the books became stale for a loss, or the last heal for another one.
    pub losses: u64,
    /// Snapshots that came, and attempts that brought none.
    pub snapshots: u64,
    /// See there.
    pub failed: u64,
    /// Whether nobody asks any more, since too many attempts in a row failed.
    pub is_given_up: bool,
    /// How often more was to be kept than there is room for.
    pub overflows: u64,
    /// How often the books were made whole.
    pub heals: u64,
    /// Where the last time was.
    pub last: Option<Healed>,
}

/// Books that were made whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Healed {
    /// The session.
    pub session: SessionId,
    /// The first message behind it.
    pub sequence: u64,
    /// The highest event time before it.
    pub ts_event: Ts,
    /// The `seq` of the event that says so.
    pub seq: u64,
    /// How many symbols were told of.
    pub symbols: u64,
    /// How many orders.
    pub orders: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Heal {
    link: Link,
    rule: HealRule,
    phase: Phase,
    /// Lengths and messages, as they were delivered.
    kept: Vec<u8>,
    /// When the last of it came: so old is what is told of the books.
    ts_recv: Option<Ts>,
    pub(super) stats: HealStats,
}

#[derive(Debug)]
enum Phase {
    /// All books are whole, or nobody can make them.
    Resting,
    /// Something was lost; the next message is the first that is kept.
    Lost,
    /// Messages are kept from `from` on, up to `next`, in `kept`; a snapshot is asked for.
    Keeping { at: At },
    /// It is there, and knows of all before `known`: what is kept behind it is taken into it.
    Folding {
        at: At,
        table: Box<Table>,
        known: u64,
        /// How far: this byte of `kept` is the beginning of this message.
        byte: usize,
        done: u64,
    },
    /// It is told.
    Telling {
        at: At,
        table: Box<Table>,
        symbol: u32,
        place: usize,
        symbols: u64,
        orders: u64,
    },
}

/// What is kept.
#[derive(Clone, Copy, Debug)]
struct At {
    session: SessionId,
    from: u64,
    next: u64,
}

impl Heal {
    pub(super) fn new(link: Link, rule: HealRule) -> Heal {
        Heal {
            link,
            rule,
            phase: Phase::Resting,
            kept: Vec::new(),
            ts_recv: None,
            stats: HealStats::default(),
        }
    }

    /// Whether delivered messages are to be shown to [`Heal::keep`].
    #[inline(always)]
    pub(super) fn is_keeping(&self) -> bool {
        !matches!(self.phase, Phase::Resting)
    }

    /// Messages are lost: what was kept, and what is asked for, does not reach beyond them.
    #[cold]
    pub(super) fn lost(&mut self) {
        self.stats.losses += 1;
        self.stats.is_given_up = false;
        self.start_anew();
    }

    fn start_anew(&mut self) {
        self.kept.clear();
        self.phase = Phase::Lost;
    }

    /// These messages were delivered, the first of them with this number.
    #[cold]
    pub(super) fn keep(
        &mut self,
        session: SessionId,
        first: u64,
        blocks: &[u8],
        count: u64,
        ts_recv: Option<Ts>,
    ) {
        if count == 0 {
            return;
        }
        self.ts_recv = ts_recv;
        let at = match &mut self.phase {
            Phase::Resting => return,
            Phase::Keeping { at } | Phase::Folding { at, .. }
                if at.session == session && at.next == first =>
            {
                at
            }
            Phase::Telling { .. } => unreachable!("no packet is taken while books are told"),
            Phase::Lost | Phase::Keeping { .. } | Phase::Folding { .. } => {
                self.begin(session, first);
                let Phase::Keeping { at } = &mut self.phase else {
                    unreachable!("it just began")
                };
                at
            }
        };
        if self.kept.len() + blocks.len() > self.rule.kept_bytes_max {
            self.stats.overflows += 1;
            self.start_anew();
            return;
        }
        at.next = first + count;
        self.kept.extend_from_slice(blocks);
    }

    /// Keeps from this message on, and asks for a snapshot that knows of all before.
    fn begin(&mut self, session: SessionId, from: u64) {
        self.kept.clear();
        if self.kept.capacity() == 0 {
            // Room of which only what is used becomes memory.
            self.kept.reserve_exact(self.rule.kept_bytes_max);
        }
        self.link.want(Wanted { from });
        self.phase = Phase::Keeping {
            at: At {
                session,
                from,
                next: from,
            },
        };
    }

    /// A bounded piece of work between packets. While books are told ([`Heal::is_telling`]) no packet may be taken.
    #[cold]
    pub(super) fn turn<P: Protocol>(&mut self, intake: &mut Intake<P>, is_reading: bool) {
        while let Some(answer) = self.link.answer() {
            match answer {
                Answer::Snapshot(snapshot) => {
                    self.stats.snapshots += 1;
                    self.take(*snapshot);
                }
                Answer::Failed {
                    why,
                    wanted,
                    is_last,
                } => {
                    self.stats.failed += 1;
                    // What was asked for since has tries of its own.
                    let is_over = is_last
                        && matches!(self.phase, Phase::Keeping { at } if at.from == wanted.from);
                    let more = match is_over {
                        true => "; nobody is asked any more, and all books stay stale",
                        false => "; it is asked for again",
                    };
                    intake.remark(&format!("{why}{more}"));
                    if is_over {
                        self.give_up();
                    }
                }
            }
        }
        if let Phase::Folding { .. } = self.phase {
            self.fold(intake, is_reading);
        }
        if let Phase::Telling { .. } = self.phase {
            self.tell(intake);
        }
    }

    fn give_up(&mut self) {
        self.stats.is_given_up = true;
        self.kept.clear();
        self.phase = Phase::Resting;
    }

    /// Whether books are being told.
    pub(super) fn is_telling(&self) -> bool {
        matches!(self.phase, Phase::Telling { .. })
    }

    /// A snapshot came. One that was asked for before the last loss, and does not reach beyond it, is
    /// left: another one is asked for already.
    fn take(&mut self, snapshot: Snapshot) {
        let Phase::Keeping { at } = self.phase else {
            return;
        };
        if snapshot.sequence < at.from {
            return;
        }
        self.phase = Phase::Folding {
            at,
            table: Box::new(snapshot.table),
            known: snapshot.sequence,
            byte: 0,
            done: at.from,
        };
    }

    /// Takes some of what is kept into the table. Where nothing is left, the table is what the books
    /// should be now, and its telling begins.
    fn fold<P: Protocol>(&mut self, intake: &mut Intake<P>, is_reading: bool) {
        let Phase::Folding {
            at,
            table,
            known,
            byte,
            done,
        } = &mut self.phase
        else {
            return;
        };
        let mut walk = Blocks::new(&self.kept[*byte..]);
        let mut is_full = false;
        for message in walk.by_ref().take(FOLD_MESSAGES) {
            *byte += 2 + message.len();
            if *done >= *known {
                let taken = take(intake.protocol(), table, message);
                is_full |= taken == Err(TooMany);
            }
            *done += 1;
        }
        if is_full {
            self.stats.failed += 1;
            intake.remark(
                "a snapshot and what came since have more live orders than limits.orders of all shards; \
                 all books stay stale",
            );
            return self.give_up();
        }
        // A server may know of messages that we still wait for.
        let is_done = *done == at.next && at.next >= *known;
        if !is_done || !is_reading || intake.is_in_doubt_now() {
            return;
        }
        let (at, table) = (*at, std::mem::replace(table, Box::new(Table::new(0))));
        self.kept.clear();
        intake.set_now(self.ts_recv);
        intake.stage_now_for_all(Event {
            order: at.next,
            flags: Flags::WHOLE.with(Flags::STALE),
            ..Event::new(Kind::Gap)
        });
        if table.system() != 0 {
            intake.stage_now_for_all(Event {
                order: table.system(),
                code: b'S',
                ..Event::new(Kind::System)
            });
        }
        self.phase = Phase::Telling {
            at,
            table,
            symbol: 0,
            place: 0,
            symbols: 0,
            orders: 0,
        };
    }

    /// Makes some of the events that the table is told with.
    fn tell<P: Protocol>(&mut self, intake: &mut Intake<P>) {
        let Phase::Telling {
            at,
            table,
            symbol,
            place,
            symbols,
            orders,
        } = &mut self.phase
        else {
            return;
        };
        let end = intake.seq + TOLD_EVENTS;
        let symbols_end = intake.symbols_end().max(table.symbols_end());
        while *symbol < symbols_end && intake.seq < end {
            let known = table.known(*symbol);
            let is_named = intake.is_named(*symbol);
            if known.is_none() && !is_named {
                *symbol += 1;
                continue;
            }
            if let Some(known) = known.filter(|_| *place == 0) {
                if !is_named && known.name != 0 {
                    intake.learn(*symbol, known.name);
                    intake.stage_now(Event {
                        order: known.name,
                        qty: Qty(known.lot),
                        symbol: *symbol,
                        ..Event::new(Kind::Symbol)
                    });
                }
                if known.status != 0 {
                    intake.stage_now(Event {
                        order: known.status,
                        symbol: *symbol,
                        code: b'H',
                        ..Event::new(Kind::Status)
                    });
                }
            }
            let mut is_all = true;
            for (behind, reference, order) in table.orders_from(*symbol, *place) {
                if intake.seq >= end {
                    is_all = false;
                    break;
                }
                intake.stage_now(Event {
                    order: reference,
                    price: order.price,
                    qty: order.qty,
                    symbol: *symbol,
                    side: order.side,
                    flags: Flags::MORE,
                    code: b'A',
                    ..Event::new(Kind::Add)
                });
                (*place, *orders) = (behind, *orders + 1);
            }
            if !is_all {
                return;
            }
            intake.stage_now(Event {
                symbol: *symbol,
                side: Side::None,
                flags: Flags::ENDS,
                ..Event::new(Kind::Info)
            });
            (*symbol, *place, *symbols) = (*symbol + 1, 0, *symbols + 1);
        }
        if *symbol < symbols_end {
            return;
        }
        intake.stage_now_for_all(Event {
            order: at.next,
            flags: Flags::WHOLE,
            ..Event::new(Kind::Gap)
        });
        self.stats.heals += 1;
        self.stats.last = Some(Healed {
            session: at.session,
            sequence: at.next,
            ts_event: intake.times.highest_some().unwrap_or(Ts(0)),
            seq: intake.seq,
            symbols: *symbols,
            orders: *orders,
        });
        self.phase = Phase::Resting;
    }
}
