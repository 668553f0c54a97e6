//! The simulated counterparty, order by order, over loopback and with a session of ours.

use std::net::TcpListener;

use bus::Ts;
use fix::sim::{Exchange, Script};
use fix::{
    Acceptor, Application, DataTags, Draft, Initiator, Memory, Note, Outbox, Received, Role,
    Session, SessionConfig, Verdict, Version, tags,
};

const SECOND_NS: i64 = 1_000_000_000;
const START: Ts = Ts(1_767_623_400 * SECOND_NS);

/// Writes down reports: type, status, ids and quantities.
#[derive(Default)]
struct Desk {
    reports: Vec<String>,
    missing: u32,
    repeating: u32,
    logons: u32,
}

impl Application for Desk {
    fn on_message(&mut self, received: &Received<'_>, _: &mut Outbox) -> Verdict {
        let message = &received.message;
        let text = |tag| String::from_utf8_lossy(message.get(tag).unwrap_or(b"-")).into_owned();
        let id = text(tags::CL_ORD_ID);
        self.reports.push(match message.msg_type() {
            b"8" => format!(
                "{id} {}/{} {}@{} = {}@{}",
                text(tags::EXEC_TYPE),
                text(tags::ORD_STATUS),
                text(tags::LAST_QTY),
                text(tags::LAST_PX),
                text(tags::CUM_QTY),
                text(tags::AVG_PX),
            ),
            b"r" => format!(
                "{id} asked {} done {} of {}",
                text(tags::MASS_CANCEL_REQUEST_TYPE),
                text(tags::MASS_CANCEL_RESPONSE),
                text(tags::TOTAL_AFFECTED_ORDERS),
            ),
            b"9" => format!(
                "{id} not {}: {}",
                text(tags::ORIG_CL_ORD_ID),
                text(tags::TEXT)
            ),
            other => format!("{id} {}", String::from_utf8_lossy(other)),
        });
        Verdict::Taken
    }

    fn on_logon(&mut self, _: &mut Outbox) {
        self.logons += 1;
    }

    fn on_note(&mut self, note: &Note) {
        self.missing += u32::from(matches!(note, Note::Missing { .. }));
        self.repeating += u32::from(matches!(note, Note::Repeating { .. }));
    }
}

struct Market {
    acceptor: Acceptor<Memory, Exchange>,
    initiator: Initiator<Memory, Desk>,
    now: Ts,
}

impl Market {
    fn new(version: Version, script: &str) -> Market {
        let script = Script::parse(script).unwrap();
        let new = |role, sender, target| {
            let config = SessionConfig::new(version, role, sender, target);
            Session::new(config, Memory::new(START), None, DataTags::default())
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let exchange = Exchange::new(version, script);
        let session = new(Role::Acceptor, "SIM", "DESK");
        let acceptor = Acceptor::new(listener, [(session, exchange)]).unwrap();
        let address = acceptor.address().unwrap();
        let session = new(Role::Initiator, "DESK", "SIM");
        let initiator = Initiator::new(address, SECOND_NS, session, Desk::default());
        let mut market = Market {
            acceptor,
            initiator,
            now: START,
        };
        market.pass(2);
        assert!(market.initiator.session().0.is_logged_on());
        market
    }

    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds * 20 {
            self.now = Ts(self.now.0 + SECOND_NS / 20);
            for _ in 0..3 {
                self.initiator.turn(self.now);
                self.acceptor.turn(self.now).unwrap();
            }
        }
    }

    /// `D id symbol side qty price`, `F id orig`, `G id orig qty price`, `H id`.
    fn say(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let mut draft = Draft::new(words[0].as_bytes());
        let order: &[i32] = match words[0] {
            "D" => &[11, 55, 54, 38, 44],
            "F" => &[11, 41],
            "G" => &[11, 41, 38, 44],
            "q" => &[11, 530, 55],
            "AF" => &[584, 585, 55],
            _ => &[11],
        };
        for (tag, word) in order.iter().zip(&words[1..]) {
            draft.body().text(*tag, word);
        }
        let (session, desk) = self.initiator.session();
        session.send(&draft, self.now, desk).unwrap();
    }

    fn desk(&mut self) -> &mut Desk {
        self.initiator.session().1
    }
}

fn check(version: Version, script: &str, orders: &str, want: &str) -> Market {
    let mut market = Market::new(version, script);
    for line in orders.lines().map(str::trim) {
        market.say(line);
        market.pass(1);
    }
    market.pass(6);
    let want: Vec<&str> = want.lines().map(str::trim).collect();
    assert_eq!(market.desk().reports, want, "of\n{script}");
    market
}

#[test]
fn orders_are_filled_rejected_busted_and_corrected() {
    let mut market = check(
        Version::Fix44,
        "symbol BAD: reject
         symbol ODD: new, partial 30, partial 40, correct 9.5, bust
         symbol OFF: new, partial 10, cancel
         any: new, fill",
        "D a X 1 100 10.25
         D b BAD 1 100 10
         D c ODD 2 100 10
         D d OFF 1 100 10
         D a X 1 100 10",
        "a 0/0 -@- = 0@0
         a F/2 100@10.25 = 100@10.25
         b 8/8 -@- = 0@0
         c 0/0 -@- = 0@0
         c F/1 30@10 = 30@10
         c F/1 40@10 = 70@10
         c G/1 40@9.5 = 70@9.714285714
         c H/1 40@9.5 = 30@10
         d 0/0 -@- = 0@0
         d F/1 10@10 = 10@10
         d 4/4 -@- = 10@10
         a 8/8 -@- = 0@0",
    );
    let (_, exchange) = market.acceptor.sessions().next().unwrap();
    let positions: Vec<(Vec<u8>, i128)> = exchange.positions().into_iter().collect();
    let want = [("BAD", 0), ("ODD", -30), ("OFF", 10), ("X", 100)];
    assert_eq!(
        positions,
        want.map(|(symbol, qty)| (symbol.as_bytes().to_vec(), qty))
    );
}

#[test]
fn orders_are_cancelled_replaced_and_asked_about() {
    check(
        Version::Fix44,
        "symbol HALF: new, partial 50
         symbol FULL: new, fill",
        "D a HALF 1 100 10
         G b a 80 11
         G c b 50 11
         F d b
         F e d
         F f nothing
         D g FULL 1 10 5
         F h g
         H d
         H nothing",
        "a 0/0 -@- = 0@0
         a F/1 50@10 = 50@10
         b 5/1 -@- = 50@10
         c not b: not more than what is filled
         d 4/4 -@- = 50@10
         e not d: too late
         f not nothing: no such order
         g 0/0 -@- = 0@0
         g F/2 10@5 = 10@5
         h not g: too late
         d I/4 -@- = 50@10
         nothing 8/8 -@- = 0@0",
    );
}

#[test]
fn older_versions_say_it_in_their_way() {
    check(
        Version::Fix42,
        "any: new, partial 30, fill, bust",
        "D a X 1 100 10",
        "a 0/0 -@- = 0@0
         a 1/1 30@10 = 30@10
         a 2/2 70@10 = 100@10
         a 1/1 70@10 = 30@10",
    );
}

#[test]
fn a_lost_report_is_missed_and_comes_again() {
    let mut market = check(
        Version::Fix44,
        "nth 1: new, lose, fill
         any: new, fill",
        "D a X 1 100 10
         D b X 1 100 10",
        "a 0/0 -@- = 0@0
         a F/2 100@10 = 100@10
         b 0/0 -@- = 0@0
         b F/2 100@10 = 100@10",
    );
    assert_eq!(market.desk().missing, 1);
}

#[test]
fn a_cut_during_a_fill_and_a_storm_of_requests_lose_nothing() {
    let mut market = check(
        Version::Fix44,
        "nth 1: new, lose, partial 40, cut, fill
         nth 2: new, ask 20, fill",
        "D a X 1 100 10
         D b X 1 100 10",
        "a 0/0 -@- = 0@0
         a F/1 40@10 = 40@10
         a F/2 60@10 = 100@10
         b 0/0 -@- = 0@0
         b F/2 100@10 = 100@10",
    );
    let desk = market.desk();
    assert_eq!(desk.logons, 2);
    // Those of the storm, and what was lost with the connection.
    assert!(desk.repeating >= 20, "{}", desk.repeating);
}

#[test]
fn silence_is_survived_or_ended_and_nothing_is_lost() {
    // Two minutes of nothing: the other side is given up, and found again.
    let mut market = Market::new(
        Version::Fix44,
        "nth 1: new, mute 120, fill
         nth 2: new, deaf 120, fill
         any: new, fill",
    );
    market.say("D a X 1 100 10");
    market.pass(1);
    assert!(market.desk().reports.is_empty());
    market.pass(150);
    market.say("D b X 1 100 10");
    market.pass(150);
    market.say("D c X 1 100 10");
    market.pass(5);
    let want = [
        "a 0/0 -@- = 0@0",
        "a F/2 100@10 = 100@10",
        "b 0/0 -@- = 0@0",
        "b F/2 100@10 = 100@10",
        "c 0/0 -@- = 0@0",
        "c F/2 100@10 = 100@10",
    ];
    assert_eq!(market.desk().reports, want);
    assert!(market.desk().logons > 1);
}

#[test]
fn many_orders_are_cancelled_and_asked_about_at_once() {
    let script = "symbol FILL: new, fill\nany: new";
    let orders = "D a X 1 10 5
        D b Y 1 20 6
        D c FILL 1 30 7
        D d X 2 40 8
        AF s 1 X
        q m 1 X
        q n 3
        AF t 7
        q o 7
        q p 7
        AF u 1 Z";
    let want = "a 0/0 -@- = 0@0
        b 0/0 -@- = 0@0
        c 0/0 -@- = 0@0
        c F/2 30@7 = 30@7
        d 0/0 -@- = 0@0
        a I/0 -@- = 0@0
        d I/0 -@- = 0@0
        m asked 1 done 1 of 2
        a 4/4 -@- = 0@0
        d 4/4 -@- = 0@0
        n asked 3 done 0 of -
        a I/4 -@- = 0@0
        b I/0 -@- = 0@0
        c I/2 -@- = 30@7
        d I/4 -@- = 0@0
        o asked 7 done 7 of 1
        b 4/4 -@- = 0@0
        p asked 7 done 7 of 0
        NONE I/8 -@- = 0@0";
    check(Version::Fix44, script, orders, want);
    // Before FIX 4.3 there are no such requests.
    check(
        Version::Fix42,
        script,
        "D a X 1 10 5\nq m 7\nAF s 7",
        "a 0/0 -@- = 0@0\n- j\n- j",
    );
}
