//! Orders over OUCH, to a venue that rejects, fills, loses what it told and cuts connections, over crashes of
//! our side at any moment: the venue has each order once, and both sides have the same fills.

use std::cell::RefCell;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use bus::clock::{Clock, MachineClock};
use bus::oms::{Date, OrderId};
use bus::ouch::{Terms, Token, Writer};
use bus::signal::{Order, Tif};
use bus::soupbintcp::Login;
use bus::{Price, Qty, Side, Ts};
use fix::journal::Entry;
use fix::ouch::sim::Venue;
use fix::ouch::{CANCEL, Config, Line};
use fix::sim::{Script, Status};
use fix::{
    Application, Blotter, DataTags, Fields, FileStore, Message, Note, Outbox, Received, Safe,
    SendError, Verdict, parse, request, tags,
};

const DAY: Date = Date {
    year: 2026,
    month: 1,
    day: 5,
};
const DEADLINE: Duration = Duration::from_secs(60);

/// What our side has kept, over its lives.
#[derive(Default)]
struct Kept {
    journal: Vec<Entry>,
    blotter: Blotter,
    notes: Vec<String>,
    withheld: u64,
}

impl Kept {
    fn keep(&mut self, entry: Entry) {
        self.blotter.apply(&entry);
        self.journal.push(entry);
    }
}

/// Whom a session is for.
struct Desk {
    kept: Rc<RefCell<Kept>>,
    repeats: bool,
    cancels: bool,
}

impl Application for Desk {
    fn on_message(&mut self, received: &Received<'_>, _: &mut Outbox) -> Verdict {
        let bytes = received.message.bytes().to_vec();
        self.kept
            .borrow_mut()
            .keep(Entry::Came(received.now.0, bytes));
        Verdict::Taken
    }

    fn on_logon(&mut self, out: &mut Outbox) {
        if self.cancels {
            let kept = self.kept.borrow();
            let open = kept
                .blotter
                .orders()
                .iter()
                .filter(|order| order.standing.is_open());
            for order in open {
                let name = [&order.id[..], b"-C"].concat();
                out.push(request::cancel(order, &name, fix::Version::Fix44, Ts(0)));
            }
        }
    }

    fn may_repeat(&mut self, message: &Message<'_>) -> bool {
        if !self.repeats {
            let number = message.number(tags::MSG_SEQ_NUM).unwrap();
            let mut kept = self.kept.borrow_mut();
            kept.withheld += 1;
            kept.keep(Entry::Withheld(number));
        }
        self.repeats
    }

    fn on_note(&mut self, note: &Note) {
        self.kept.borrow_mut().notes.push(note.to_string());
    }
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A venue, and our side of it, which may die and come again.
struct World {
    venue: Venue,
    line: Option<Line<FileStore, Desk>>,
    kept: Rc<RefCell<Kept>>,
    journaled_upto: u64,
    folder: Folder,
    config: Config,
    writer: Writer,
    clock: MachineClock,
    begun: Instant,
    repeats: bool,
    cancels: bool,
}

impl World {
    fn new(name: &str, script: &str, cancel_on_disconnect: bool) -> World {
        let folder = std::env::temp_dir().join(format!("ouch-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let script = Script::parse(script).unwrap();
        let users = ["desk0".to_owned()];
        let venue = Venue::new(listener, users, "secret", script, cancel_on_disconnect).unwrap();
        let clock = MachineClock::new();
        let midnight = Ts(clock.wall().0 / 86_400_000_000_000 * 86_400_000_000_000);
        let config = Config {
            address: venue.address().unwrap(),
            login: Login::new("desk0", "secret", "", 1).unwrap(),
            silence_ns: 15_000_000_000,
            retry_ns: 1_000_000,
            date: DAY,
            midnight,
        };
        let terms = Terms {
            capacity: b'P',
            display: b'Y',
            firm: None,
            midnight,
        };
        let mut world = World {
            venue,
            line: None,
            kept: Rc::default(),
            journaled_upto: 1,
            folder: Folder(folder),
            config,
            writer: Writer::new(&terms),
            clock,
            begun: Instant::now(),
            repeats: true,
            cancels: false,
        };
        world.come();
        world
    }

    /// Our side begins, or goes on with what it kept.
    fn come(&mut self) {
        let store = FileStore::open(&self.folder.0.join("store"), Safe::Process, Ts(0)).unwrap();
        let desk = Desk {
            kept: self.kept.clone(),
            repeats: self.repeats,
            cancels: self.cancels,
        };
        let mut line = Line::new(self.config, store, desk).unwrap();
        let mut fields = Fields::default();
        for entry in &self.kept.borrow().journal {
            if let Entry::Came(_, bytes) = entry {
                line.again(&parse(bytes, &mut fields, &DataTags::default()).unwrap());
            }
        }
        self.line = Some(line);
    }

    fn line(&mut self) -> &mut Line<FileStore, Desk> {
        self.line.as_mut().unwrap()
    }

    /// What was sent is put into the journal, as it is before the session's next turn.
    fn journal(&mut self) {
        let line = self.line.as_mut().unwrap();
        while self.journaled_upto < line.next_out() {
            let mut bytes = Vec::new();
            if line.load_sent(self.journaled_upto, &mut bytes).unwrap() {
                let sent = Entry::Sent(self.journaled_upto, bytes);
                self.kept.borrow_mut().keep(sent);
            }
            self.journaled_upto += 1;
        }
    }

    fn turn(&mut self) {
        assert!(self.begun.elapsed() < DEADLINE, "it comes to an end");
        let now = self.clock.wall();
        let theirs = self.venue.turn(now).unwrap();
        self.journal();
        if theirs + self.line().turn(now).unwrap() == 0 {
            thread::yield_now();
        }
    }

    fn until(&mut self, is_so: impl Fn(&mut Line<FileStore, Desk>) -> bool) {
        while !is_so(self.line()) {
            self.turn();
        }
    }

    /// The session ends for good, and says why, now and later; nothing is taken any more.
    fn ends(&mut self) -> String {
        let said = loop {
            assert!(self.begun.elapsed() < DEADLINE, "it comes to an end");
            let now = self.clock.wall();
            self.venue.turn(now).unwrap();
            self.journal();
            if let Err(error) = self.line().turn(now) {
                break error.to_string();
            }
            thread::yield_now();
        };
        let (journal, now) = (self.kept.borrow().journal.len(), self.clock.wall());
        for _ in 0..100 {
            self.venue.turn(now).unwrap();
            assert_eq!(self.line().turn(now).unwrap_err().to_string(), said);
        }
        assert_eq!(self.kept.borrow().journal.len(), journal);
        assert!(!self.line().is_connected() && !self.line().is_logged_on());
        said
    }

    /// Everything was heard of all that was sent.
    fn settle(&mut self) {
        loop {
            self.until(|line| line.is_logged_on());
            let asked = self.line().probe();
            while self.line().is_logged_on() && self.line().probes_answered() < asked {
                self.turn();
            }
            if self.line().probes_answered() >= asked {
                return;
            }
        }
    }

    fn id(number: u64) -> OrderId {
        OrderId::new(DAY, 1, number, 7, 0)
    }

    fn order(number: u64) -> Order {
        Order {
            side: [Side::Buy, Side::Sell][number as usize % 2],
            price: Price((100 + number as i64 % 7) * Price::SCALE),
            qty: Qty(100),
            bid: Price::NONE,
            ask: Price::NONE,
            tif: Tif::Day,
        }
    }

    fn send(&mut self, number: u64) -> Result<(), SendError> {
        self.send_as(World::id(number), b"AAPL    ", &World::order(number))
    }

    fn send_as(&mut self, id: OrderId, symbol: &[u8; 8], order: &Order) -> Result<(), SendError> {
        let next = self.line().next_out() as u32;
        let token = Token::of(&id.key());
        let bytes = self.writer.enter(next, token, symbol, order).unwrap();
        let line = self.line.as_mut().unwrap();
        line.send_encoded(bytes)
    }

    /// Both sides have the same orders, in the same state, with the same fills.
    fn check(&self, orders: u64) {
        let account = &self.venue.accounts()[0];
        let kept = self.kept.borrow();
        assert_eq!(account.orders.len() as u64 + kept.withheld, orders);
        for theirs in account.orders.values() {
            let id = Token(theirs.entered.cl_ord_id).order(DAY).unwrap();
            let ours = kept.blotter.find(id.as_bytes()).unwrap();
            assert_eq!(ours.standing.name(), standing(theirs.status), "{ours:?}");
            assert_eq!(ours.filled(), theirs.filled());
            assert_eq!(ours.average().unwrap_or(Price(0)), theirs.average());
            assert_eq!((ours.odd, &ours.other_terms[..]), (0, &[][..]), "{ours:?}");
        }
        // Each name once: an order that came twice would have two UserRefNums.
        let mut names: Vec<_> = account
            .orders
            .values()
            .map(|one| one.entered.cl_ord_id)
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), account.orders.len());
        assert_eq!(kept.blotter.repeated(), 0);
    }
}

fn standing(status: Status) -> &'static str {
    match status {
        Status::New => "new",
        Status::Partial => "partial",
        Status::Filled => "filled",
        Status::Cancelled => "cancelled",
        Status::Rejected => "rejected",
    }
}

/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

#[test]
fn a_thousand_orders_arrive_once_each_over_cuts_and_crashes() {
    const ORDERS: u64 = 1_000;
    let script = "every 41: new, lose, partial 30, fill\nevery 29: new, partial 1, cut, fill
                  every 13: new, partial 60, cancel\nevery 11: new, fill, bust\nevery 7: reject\nany: new, fill";
    for seed in 1..=4 {
        let mut random = Random(seed);
        let mut world = World::new(&format!("orders-{seed}"), script, false);
        let (mut sent, mut lives, mut cuts) = (0, 1, 0);
        while sent < ORDERS {
            world.turn();
            if world.line().is_logged_on() && world.send(sent).is_ok() {
                sent += 1;
            }
            match random.below(60) {
                // The process ends, with what it had not written.
                0 => {
                    world.line = None;
                    world.come();
                    lives += 1;
                }
                1 => {
                    let now = world.clock.wall();
                    world.venue.cut(now);
                    cuts += 1;
                }
                _ => {}
            }
        }
        world.settle();
        world.check(ORDERS);
        assert!(lives > 5 && cuts > 5, "{lives} lives, {cuts} cuts");
        world.line().log_out();
        world.until(|line| !line.is_connected());
        println!("seed {seed}: {ORDERS} orders, {lives} lives, {cuts} cuts");
    }
}

#[test]
fn what_did_not_arrive_is_not_repeated_where_that_is_not_wanted() {
    let mut world = World::new("withheld", "any: new", false);
    world.until(|line| line.is_logged_on());
    world.send(0).unwrap();
    world.settle();
    // In the store, and not written: the process ends.
    world.send(1).unwrap();
    world.repeats = false;
    world.line = None;
    world.come();
    world.settle();
    assert_eq!(world.kept.borrow().withheld, 1);
    // What comes behind it has a higher number, and is taken.
    world.send(2).unwrap();
    world.settle();
    let numbers: Vec<u32> = world.venue.accounts()[0].orders.keys().copied().collect();
    assert_eq!(numbers, [1, 3]);
    world.check(3);
}

/// Else whoever waits until all has left would wait for a venue that may never come back.
#[test]
fn what_has_not_left_when_a_connection_ends_waits_in_the_store_only() {
    let mut world = World::new("unwritten", "any: new, fill", false);
    world.until(|line| line.is_logged_on());
    world.send(1).unwrap();
    assert!(world.line().waiting_bytes() > 0);
    let now = world.clock.wall();
    world.venue.cut(now);
    while world.line().is_connected() {
        let now = world.clock.wall();
        world.line().turn(now).unwrap();
    }
    assert_eq!(world.line().waiting_bytes(), 0);
    world.settle();
    world.check(1);
}

#[test]
fn what_rests_when_a_connection_is_lost_is_cancelled_by_either_side() {
    for is_ports in [true, false] {
        let mut world = World::new(&format!("loss-{is_ports}"), "any: new", is_ports);
        world.cancels = !is_ports;
        world.line = None;
        world.come();
        world.until(|line| line.is_logged_on());
        for number in 0..3 {
            world.send(number).unwrap();
        }
        world.settle();
        // By name, as whoever stops orders asks for it.
        let mut cancel = vec![CANCEL];
        cancel.extend(Token::of(&World::id(1).key()).0);
        world.line().send_encoded(&cancel).unwrap();
        world.settle();
        let open = |world: &World| {
            let orders = world.venue.accounts()[0].orders.values();
            orders.filter(|order| order.status.is_open()).count()
        };
        assert_eq!(open(&world), 2);
        let now = world.clock.wall();
        world.venue.cut(now);
        world.until(|line| !line.is_connected());
        world.settle();
        world.settle();
        assert_eq!(open(&world), 0);
        world.check(3);
    }
}

#[test]
fn a_venue_that_refuses_is_told_and_orders_of_another_run_are_none_of_ours() {
    let mut world = World::new("refused", "any: new, fill", false);
    world.until(|line| line.is_logged_on());
    world.send(0).unwrap();
    world.settle();
    // Another run of the same day has no store and no journal, and goes on behind.
    world.line = None;
    fs::remove_file(world.folder.0.join("store")).unwrap();
    world.kept = Rc::default();
    world.journaled_upto = 1;
    world.come();
    world.until(|line| line.is_logged_on());
    assert_eq!((world.line().next_out(), world.line().foreign()), (2, 0));
    world.send(1).unwrap();
    world.settle();
    assert_eq!(world.kept.borrow().blotter.orders().len(), 1);
    // A password that is another: nothing makes it right later.
    world.line = None;
    world.config.login = Login::new("desk0", "other", "", 1).unwrap();
    world.come();
    let said = world.ends();
    assert!(said.contains("not authorised, user desk0"), "{said}");
    let logins = world.venue.take_notes();
    let refused = logins.iter().filter(|note| note.contains("not authorised"));
    assert_eq!(refused.count(), 1);
    assert!(matches!(world.send(2), Err(SendError::NotLoggedOn)));
    // An order under another number than the next.
    world.line = None;
    world.config.login = Login::new("desk0", "secret", "", 1).unwrap();
    world.come();
    world.until(|line| line.is_logged_on());
    assert!(matches!(
        world.line().send_encoded(b"O123"),
        Err(SendError::NotNext { want: 3 })
    ));
}

/// The venue of one run, met by what another run has kept: the same name of the session, the same user.
fn met_by_another(name: &str, symbol: &[u8; 8], order: &Order, id: OrderId) -> String {
    let script = "any: new, fill";
    let mut other = World::new(&format!("{name}-other"), script, false);
    other.until(|line| line.is_logged_on());
    // Its first order is ours too, word for word.
    other.send(0).unwrap();
    other.settle();
    other.send_as(id, symbol, order).unwrap();
    other.settle();

    let mut world = World::new(name, script, false);
    world.until(|line| line.is_logged_on());
    world.send(0).unwrap();
    world.settle();
    // In the store, and on no connection yet.
    world.send(1).unwrap();
    world.journal();
    world.line = None;
    world.config.address = other.venue.address().unwrap();
    std::mem::swap(&mut world.venue, &mut other.venue);
    world.come();
    let before = world.kept.borrow().blotter.executions().len();
    let said = world.ends();
    // Nothing of theirs is believed.
    assert_eq!(world.kept.borrow().blotter.executions().len(), before);
    assert_eq!(world.kept.borrow().blotter.unanswered_count(), 1);
    said
}

#[test]
fn orders_of_another_session_are_not_taken_for_ours() {
    let (ours, id) = (World::order(1), World::id(1));
    let qty = Order {
        qty: Qty(77),
        ..ours
    };
    // Ours sells; for less is worse.
    let price = Order {
        price: Price(ours.price.0 - Price::SCALE),
        ..ours
    };
    let side = Order {
        side: Side::Buy,
        ..ours
    };
    for (name, symbol, order, id, want) in [
        (
            "qty",
            b"AAPL    ",
            qty,
            id,
            "the venue says quantity 77, and we sent 100",
        ),
        (
            "price",
            b"AAPL    ",
            price,
            id,
            "the venue says price 100.0000, and we sent 101.0000",
        ),
        (
            "side",
            b"AAPL    ",
            side,
            id,
            "the venue says side B, and we sent S",
        ),
        (
            "symbol",
            b"MSFT    ",
            ours,
            id,
            "the venue says symbol MSFT, and we sent AAPL",
        ),
        (
            "name",
            b"AAPL    ",
            ours,
            World::id(9),
            "the venue says ClOrdID ",
        ),
    ] {
        let said = met_by_another(name, symbol, &order, id);
        assert!(said.contains("UserRefNum 2: "), "{said}");
        assert!(said.contains(want), "{said}");
    }
}

#[test]
fn an_order_that_we_never_sent_ends_the_session() {
    let mut world = World::new("never", "any: new, fill", false);
    world.until(|line| line.is_logged_on());
    world.send(0).unwrap();
    world.settle();
    // A second run of the day as the same user throws the first off, and sends.
    let mut second = World::new("never-second", "any: new", false);
    second.line = None;
    second.config.address = world.venue.address().unwrap();
    second.come();
    std::mem::swap(&mut world.venue, &mut second.venue);
    second.until(|line| line.is_logged_on());
    second.send(1).unwrap();
    second.settle();
    std::mem::swap(&mut world.venue, &mut second.venue);
    let said = world.ends();
    assert!(
        said.contains("UserRefNum 2: we have sent none of that number, 1 to 1 are ours"),
        "{said}"
    );
}

#[test]
fn a_session_is_asked_for_by_its_name_and_another_is_refused() {
    let mut world = World::new("renamed", "any: new, fill", false);
    world.until(|line| line.is_logged_on());
    world.send(0).unwrap();
    world.settle();
    // Over a life of the process, too.
    world.line = None;
    world.come();
    world.settle();
    let now = world.clock.wall();
    world.venue.rename(*b"     OTHER");
    world.venue.cut(now);
    let said = world.ends();
    assert!(
        said.contains("no such session, user desk0, session \"SIM\" from message "),
        "{said}"
    );
    world.check(1);
}

#[test]
fn a_session_that_is_not_there_yet_is_asked_for_ever_more_rarely() {
    let mut world = World::new("later", "any: new", false);
    world.line = None;
    fs::remove_file(world.folder.0.join("store")).unwrap();
    world.config.login = Login::new("desk0", "secret", "LATER", 1).unwrap();
    world.config.retry_ns = 1_000;
    world.come();
    // The time is told: 2, 4, 8 .. 64 times as long, and no longer.
    let mut now = Ts(0);
    let mut refused = Vec::new();
    while refused.len() < 9 {
        assert!(world.begun.elapsed() < DEADLINE, "it comes to an end");
        world.venue.turn(now).unwrap();
        let _ = world.line().turn(now).unwrap();
        let notes = std::mem::take(&mut world.kept.borrow_mut().notes);
        for note in notes {
            assert!(note.contains("no such session"), "{note}");
            refused.push(now.0);
        }
        if !world.line().is_connected() {
            now.0 += 1_000;
        }
    }
    let gaps: Vec<i64> = refused.windows(2).map(|two| two[1] - two[0]).collect();
    for (index, gap) in gaps.iter().enumerate() {
        let least = 1_000 << (index + 1).min(6);
        assert!(*gap >= least, "{gaps:?}");
    }
    // Then it is there.
    world.venue.rename(*b"     LATER");
    world.until(|line| line.is_logged_on());
}
