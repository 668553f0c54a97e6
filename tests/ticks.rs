//! A tick's work done beside later events leaves the same records in the same order as all of it
//! done at once.

use std::io;

use bus::{Event, Kind, Signal, Ts};
use exchange::Session;
use feed::protocol::{Itch, Protocol};
use tapeline::config::Config;
use tapeline::core::{Core, Sink};
use tapeline::pipeline;

const MIDNIGHT: Ts = Ts(1_767_589_200_000_000_000);
const TICK_NS: i64 = 100_000_000;

/// What a log would have.
#[derive(Clone, Debug, PartialEq)]
enum Record {
    Event(u64, Kind),
    Signal(Signal),
}

/// Keeps apart what comes behind a tick, if it is asked to and `holds`.
#[derive(Default)]
struct Recorder {
    holds: bool,
    is_holding: bool,
    records: Vec<Record>,
    behind: Vec<Record>,
    /// How often it held, and the most that it kept.
    held: usize,
    behind_max: usize,
}

impl Recorder {
    fn put(&mut self, record: Record) {
        match self.is_holding {
            true => self.behind.push(record),
            false => self.records.push(record),
        }
    }
}

impl Sink for Recorder {
    fn event(&mut self, event: &Event) {
        self.put(Record::Event(event.seq, event.kind));
    }

    fn signal(&mut self, signal: &Signal) {
        self.put(Record::Signal(*signal));
    }

    fn hold_back(&mut self) -> bool {
        self.is_holding = self.holds;
        self.held += usize::from(self.holds);
        self.holds
    }

    fn owed(&mut self, signal: &Signal) {
        assert!(self.is_holding);
        self.records.push(Record::Signal(*signal));
    }

    fn let_go(&mut self) {
        assert!(self.is_holding);
        self.is_holding = false;
        self.behind_max = self.behind_max.max(self.behind.len());
        self.records.append(&mut self.behind);
    }
}

/// A simulated session of some hundred symbols with its ticks, a gap in its midst.
fn events() -> Vec<Event> {
    let session = Session {
        symbols: 400,
        seconds: 7,
        seed: 5,
        rate: 6_000,
        ..Session::default()
    };
    let itch = Itch::new(MIDNIGHT);
    let mut events: Vec<Event> = Vec::new();
    let mut tick_at = Ts::MIN;
    let put = &mut |_, message: &[u8]| -> io::Result<()> {
        let mut event = Event::new(Kind::Nothing);
        itch.decode(message, &mut event)
            .expect("a simulated exchange speaks ITCH");
        let due = event.ts_event.floor(TICK_NS);
        if due > tick_at {
            tick_at = due;
            let tick = Event::new(Kind::Tick);
            events.push(Event {
                ts_event: due,
                ..tick
            });
        }
        events.push(event);
        Ok(())
    };
    exchange::run(&session, put).expect("a valid session into memory");
    let closing = events
        .iter()
        .enumerate()
        .filter(|(_, event)| event.kind == Kind::Tick)
        .filter(|(_, event)| {
            event.ts_event.since(event.ts_event.floor(Ts::SECOND_NS)) == 2 * TICK_NS
        })
        .map(|(index, _)| index)
        .nth(3)
        .expect("more than three seconds");
    // Not all windows are closed when it comes.
    events.insert(closing + 20, Event::new(Kind::Gap));
    events.push(Event::new(Kind::End));
    for (index, event) in events.iter_mut().enumerate() {
        event.seq = index as u64 + 1;
        event.ts_recv = event.ts_event;
    }
    events
}

fn core(visits_at_tick: usize) -> Core {
    let mut config = Config::default();
    config.limits.symbols = 1 << 10;
    config.limits.orders = 1 << 18;
    config.limits.levels = 1 << 18;
    let mut core = pipeline::core(&config, MIDNIGHT, None).expect("memory for a core");
    core.set_visits_at_tick(visits_at_tick);
    core
}

#[test]
fn a_tick_beside_later_events_says_the_same_in_the_same_order() {
    let events = events();
    let mut at_once = Recorder::default();
    let mut plain = core(64);
    for events in events.chunks(64) {
        plain.take(events, &mut at_once);
    }
    let windows = |recorder: &Recorder| {
        let is_window = |record: &&Record| match record {
            Record::Signal(signal) => signal.kind == bus::SignalKind::Window,
            Record::Event(..) => false,
        };
        recorder.records.iter().filter(is_window).count()
    };
    assert!(windows(&at_once) > 1_000, "{} windows", windows(&at_once));
    for (visits_at_tick, block, at_rest) in [(0, 1, 0), (0, 512, 0), (1, 7, 3), (64, 64, 32)] {
        let mut beside = Recorder {
            holds: true,
            ..Recorder::default()
        };
        let mut core = core(visits_at_tick);
        for events in events.chunks(block) {
            core.take(events, &mut beside);
            core.tick_on(at_rest, &mut beside);
        }
        assert!(!core.is_ticking() && !beside.is_holding);
        assert!(
            beside.held >= 6 && beside.behind_max >= 50,
            "held {} times, kept {}",
            beside.held,
            beside.behind_max
        );
        let differs = (beside.records.iter().zip(&at_once.records)).position(|(a, b)| a != b);
        assert_eq!(
            differs, None,
            "{visits_at_tick} visits at a tick, blocks of {block}"
        );
        assert_eq!(beside.records.len(), at_once.records.len());
    }
}
