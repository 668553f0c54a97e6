use std::net::TcpListener;
use std::sync::mpsc;

use ::fix::sim::{Exchange, Script};
use ::fix::{Acceptor, Memory, Role, SessionConfig, Version};
use bus::oms::{Encoder, FixConfig, NewOrder};
use bus::{Price, Qty, Side};

use super::*;
use crate::config::Span;
use crate::kill::Why;

/// A folder that goes away.
struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A counterparty until its channel is closed; how many orders it has then, and how many of them
/// are open.
fn counterparty(script: &str) -> (String, mpsc::Sender<()>, thread::JoinHandle<(usize, usize)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (alive, is_over) = mpsc::channel();
    let script = Script::parse(script).unwrap();
    let body = move || {
        let clock = MachineClock::new();
        let config = SessionConfig::new(Version::Fix44, Role::Acceptor, "SIM", "US");
        let store = Memory::new(clock.wall());
        let session = Session::new(config, store, None, DataTags::default());
        let exchange = Exchange::new(Version::Fix44, script);
        let mut acceptor = Acceptor::new(listener, [(session, exchange)]).unwrap();
        while is_over.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            if acceptor.turn(clock.wall()).unwrap() == 0 {
                thread::park_timeout(REST);
            }
        }
        let orders = acceptor.sessions().next().unwrap().1.orders();
        let open = orders.iter().filter(|order| order.status.is_open());
        (orders.len(), open.count())
    };
    (address, alive, thread::spawn(body))
}

/// Gives a session an order of this number, which does not leave yet.
fn send_order(session: &mut OrderSession, clock: &MachineClock, number: u64) {
    let names = FixConfig {
        sender: "US".into(),
        target: "SIM".into(),
        sender_sub: None,
        account: None,
    };
    let id = OrderId::new((2026, 1, 5), 0, number, 0, 0);
    let order = bus::signal::Order {
        side: Side::Buy,
        price: Price(10 * Price::SCALE),
        qty: Qty(100),
        bid: Price::NONE,
        ask: Price::NONE,
        tif: bus::signal::Tif::Day,
    };
    let mut encoder = Encoder::new(&names).unwrap();
    let message = encoder.encode(&NewOrder {
        msg_seq: session.next_msg_seq(0).unwrap(),
        sending_time: clock.wall(),
        id: &id,
        symbol: b"A       ",
        order: &order,
        transact_time: clock.wall(),
        poss_resend: false,
    });
    assert_eq!(session.send(message), Ok(true));
}

/// The process ends between the store and the connection; what the next one makes of that, how
/// the order stands then, and how many orders the other side has.
fn after_a_crash(
    in_doubt: InDoubt,
    is_stopped: bool,
) -> (Result<usize, GatewayError>, &'static str, usize) {
    let folder = format!(
        "tapeline-order-session-{in_doubt:?}-{is_stopped}-{}",
        std::process::id()
    );
    let folder = Folder(std::env::temp_dir().join(folder));
    std::fs::create_dir_all(&folder.0).unwrap();
    let (address, alive, there) = counterparty("any: new, fill");
    let fix = Fix {
        connect: address,
        away_max: Span(60_000_000_000),
        ..Fix::default()
    };
    let kill = Arc::new(CachePadded::new(Kill::default()));
    let settings = Settings {
        via: Via::Fix(&fix),
        sender: "US",
        target: "SIM",
        in_doubt,
        store: &folder.0.join("store"),
        journal: &folder.0.join("journal"),
        kill: &kill,
        copies: Places::default(),
    };
    let clock = MachineClock::new();
    let mut session = OrderSession::open(&settings, clock.clone()).unwrap();
    send_order(&mut session, &clock, 1);
    assert!(session.waiting() > 0);
    drop(session);
    if is_stopped {
        kill.set(Why::File);
    }
    let opened = OrderSession::open(&settings, clock);
    let agreed = opened.and_then(|mut session| {
        let delivered = session.agree()?;
        session.finish()?;
        Ok(delivered.len())
    });
    let blotter = Blotter::read(settings.journal).unwrap();
    drop(alive);
    let (theirs, _) = there.join().unwrap();
    (agreed, blotter.orders()[0].standing.name(), theirs)
}

#[test]
fn what_was_stored_and_did_not_leave_is_repeated_only_where_the_policy_says_so() {
    assert_eq!(
        after_a_crash(InDoubt::Possresend, false),
        (Ok(1), "filled", 1)
    );
    assert_eq!(after_a_crash(InDoubt::Query, false), (Ok(1), "filled", 1));
    assert_eq!(
        after_a_crash(InDoubt::Cancel, false),
        (Ok(0), "withheld", 0)
    );
    let (halted, standing, theirs) = after_a_crash(InDoubt::Halt, false);
    let said = halted.unwrap_err().to_string();
    assert!(
        said.ends_with("`halt`: 260105-000000000001-0000-00-0000"),
        "{said}"
    );
    assert_eq!((standing, theirs), ("withheld", 0));
}

#[test]
fn what_was_stopped_since_is_repeated_by_no_policy() {
    for policy in [InDoubt::Possresend, InDoubt::Query] {
        assert_eq!(after_a_crash(policy, true), (Ok(0), "withheld", 0));
    }
}

fn guarded(folder: &Folder) -> Arc<CachePadded<Kill>> {
    let page = folder.0.join("limits");
    if !page.exists() {
        std::fs::write(&page, bus::oms::limits::Page::fresh()).unwrap();
    }
    let mut kill = Kill::default();
    assert_eq!(
        kill.guarded(&page, &crate::config::Config::default(), true),
        None
    );
    Arc::new(CachePadded::new(kill))
}

/// Asked for, sent, filled; and in a process after it, which only has the journal.
#[test]
fn what_reports_say_of_orders_is_what_is_counted_and_counted_again() {
    let folder = format!("tapeline-order-counted-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(folder));
    std::fs::create_dir_all(&folder.0).unwrap();
    let (address, alive, there) = counterparty("any: new, fill");
    let fix = Fix {
        connect: address,
        away_max: Span(60_000_000_000),
        ..Fix::default()
    };
    let clock = MachineClock::new();
    let order = bus::signal::Order {
        side: Side::Sell,
        price: Price(10 * Price::SCALE),
        qty: Qty(100),
        bid: Price::NONE,
        ask: Price::NONE,
        tif: bus::signal::Tif::Day,
    };
    let names = FixConfig {
        sender: "US".into(),
        target: "SIM".into(),
        sender_sub: None,
        account: None,
    };
    let mut encoder = Encoder::new(&names).unwrap();
    let mut counts = Vec::new();
    // The second order is in the store only when its process ends.
    for life in 0..3 {
        let kill = guarded(&folder);
        let settings = Settings {
            via: Via::Fix(&fix),
            sender: "US",
            target: "SIM",
            in_doubt: InDoubt::Possresend,
            store: &folder.0.join("store"),
            journal: &folder.0.join("journal"),
            kill: &kill,
            copies: Places::default(),
        };
        let mut session = OrderSession::open(&settings, clock.clone()).unwrap();
        session.agree().unwrap();
        let guard = kill.guard().unwrap();
        if life < 2 {
            counts.push((guard.firm(), guard.symbols()));
            let owner = Owner { symbol: 3, rule: 0 };
            let said = guard.ask(owner, b"A       ", &order, clock.now_ns());
            assert_eq!(said, crate::guard::Said::Go);
            let message = encoder.encode(&NewOrder {
                msg_seq: session.next_msg_seq(0).unwrap(),
                sending_time: clock.wall(),
                id: &OrderId::new((2026, 1, 5), 0, 1 + life, 3, 0),
                symbol: b"A       ",
                order: &order,
                transact_time: clock.wall(),
                poss_resend: false,
            });
            assert_eq!(session.send(message), Ok(true));
            assert_eq!(guard.symbols()[&3].0, 1, "open before anything came back");
        }
        if life != 1 {
            session.finish().unwrap();
            counts.push((guard.firm(), guard.symbols()));
        }
    }
    drop(alive);
    assert_eq!(there.join().unwrap().0, 2);
    let held = |orders: i64| {
        let notional = orders * 1_000 * 10_000;
        let symbols = [(3, (0, -100 * orders))];
        (
            (0, notional, notional, 0),
            symbols.into_iter().filter(|_| orders > 0).collect(),
        )
    };
    // None; filled; as before; and with the one that its process left in the store.
    assert_eq!(counts, [held(0), held(1), held(1), held(2)]);
}

/// The connection is lost, or the process, while so many orders rest; how many of them the other
/// side has open then.
fn open_after_a_loss(
    orders: u64,
    cancel_on_disconnect: bool,
    in_doubt: InDoubt,
    is_crash: bool,
) -> usize {
    let folder = format!(
        "tapeline-order-loss-{orders}-{cancel_on_disconnect}-{in_doubt:?}-{is_crash}-{}",
        std::process::id()
    );
    let folder = Folder(std::env::temp_dir().join(folder));
    std::fs::create_dir_all(&folder.0).unwrap();
    let script = if is_crash {
        "any: new"
    } else {
        "any: new, cut"
    };
    let (address, alive, there) = counterparty(script);
    let fix = Fix {
        connect: address,
        away_max: Span(60_000_000_000),
        retry: Span(1_000_000),
        cancel_on_disconnect,
        ..Fix::default()
    };
    let kill = Arc::new(CachePadded::new(Kill::default()));
    let settings = Settings {
        via: Via::Fix(&fix),
        sender: "US",
        target: "SIM",
        in_doubt,
        store: &folder.0.join("store"),
        journal: &folder.0.join("journal"),
        kill: &kill,
        copies: Places::default(),
    };
    let clock = MachineClock::new();
    let mut session = OrderSession::open(&settings, clock.clone()).unwrap();
    for number in 1..=orders {
        send_order(&mut session, &clock, number);
    }
    session.agree().unwrap();
    if is_crash {
        drop(session);
        session = OrderSession::open(&settings, clock).unwrap();
        session.agree().unwrap();
    }
    let is_asked = is_crash && in_doubt == InDoubt::Query;
    let reports = 1 + u64::from(is_asked) + u64::from(cancel_on_disconnect);
    assert_eq!(session.blotter().orders().len() as u64, orders);
    for order in session.blotter().orders() {
        assert_eq!((order.odd, order.reports), (0, reports), "{order:?}");
    }
    session.finish().unwrap();
    drop(alive);
    there.join().unwrap().1
}

#[test]
fn what_is_open_is_cancelled_after_a_loss_where_the_settings_say_so() {
    use InDoubt::{Possresend, Query};
    for is_crash in [false, true] {
        assert_eq!(open_after_a_loss(1, true, Possresend, is_crash), 0);
        assert_eq!(open_after_a_loss(1, false, Possresend, is_crash), 1);
    }
    assert_eq!(open_after_a_loss(1, false, Query, true), 1);
    assert_eq!(open_after_a_loss(1, true, Query, true), 0);
    // So many are asked about with one request.
    let many = STATUS_EACH_MAX as u64 + 1;
    assert_eq!(open_after_a_loss(many, true, Query, true), 0);
}

/// A counterparty that answers each logon and is gone again. It takes orders, and says nothing of them.
#[test]
fn who_logs_on_again_and_again_and_says_nothing_is_away_in_the_end() {
    let folder = format!("tapeline-order-away-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(folder));
    std::fs::create_dir_all(&folder.0).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (met, logons) = mpsc::channel();
    let (alive, is_over) = mpsc::channel::<()>();
    let (go, may_cut) = mpsc::channel();
    let body = move || {
        let clock = MachineClock::new();
        let config = SessionConfig::new(Version::Fix44, Role::Acceptor, "SIM", "US");
        let store = Memory::new(clock.wall());
        let session = Session::new(config, store, None, DataTags::default());
        let exchange = Exchange::new(Version::Fix44, Script::plain());
        let mut acceptor = Acceptor::new(listener, [(session, exchange)]).unwrap();
        // It answers, and is gone: from the second logon on.
        let mut cuts = false;
        while is_over.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            acceptor.turn(clock.wall()).unwrap();
            cuts |= may_cut.try_recv().is_ok();
            let session = acceptor.sessions().next().unwrap().0;
            if cuts && session.is_logged_on() && session.output().is_empty() {
                acceptor.cut(0, clock.wall());
                met.send(()).unwrap();
            }
            thread::park_timeout(REST);
        }
    };
    let there = thread::spawn(body);
    let fix = Fix {
        connect: address,
        away_max: Span(1_000_000_000),
        retry: Span(50_000_000),
        ..Fix::default()
    };
    let kill = Arc::new(CachePadded::new(Kill::default()));
    let settings = Settings {
        via: Via::Fix(&fix),
        sender: "US",
        target: "SIM",
        in_doubt: InDoubt::Possresend,
        store: &folder.0.join("store"),
        journal: &folder.0.join("journal"),
        kill: &kill,
        copies: Places::default(),
    };
    let mut session = OrderSession::open(&settings, MachineClock::new()).unwrap();
    go.send(()).unwrap();
    let started = Instant::now();
    let failure = loop {
        session.next_msg_seq(0);
        if let Err(failure) = session.work() {
            break failure.to_string();
        }
        assert!(started.elapsed() < session.away_max * 60, "it hangs");
    };
    assert!(started.elapsed() >= session.away_max);
    assert!(
        failure.contains("waited 1s for a logon, while orders wait"),
        "{failure}"
    );
    assert!(logons.try_iter().count() > 1);
    drop(alive);
    there.join().unwrap();
}
