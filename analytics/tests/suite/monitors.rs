use analytics::{Bps, Limit, MonitorConfig, SuiteConfig, Watch};
use bus::{Price, Ts};

use crate::script::check_with;

const MILLI: i64 = 1_000_000;

fn monitor(watch: Watch) -> MonitorConfig {
    MonitorConfig {
        name: "m".into(),
        watch,
        threshold: Limit::Share(Bps::whole(20)),
        hold_ns: 0,
        clear: Limit::Share(Bps::whole(10)),
        clear_hold_ns: 0,
        rearm_ns: 0,
    }
}

/// This monitor, and nothing else that speaks of prices.
fn only(monitor: MonitorConfig) -> impl FnOnce(&mut SuiteConfig) {
    move |config| {
        config.windows.clear();
        config.spread.threshold = Bps::whole(9_000);
        config.momentum.enabled = false;
        config.monitors = vec![monitor];
    }
}

#[test]
fn a_quoted_spread_has_hold_hysteresis_and_rearm() {
    let held = MonitorConfig {
        hold_ns: 100 * MILLI,
        clear_hold_ns: 50 * MILLI,
        rearm_ns: 300 * MILLI,
        ..monitor(Watch::Quoted)
    };
    check_with(
        only(held),
        "quote 09:30:00 99.80x1 100.20x1      // 40 basis points.
         quote 09:30:00.050 99.95x1 100.05x1  // Too short.
         quote 09:30:00.100 99.80x1 100.20x1
         quote 09:30:00.300 99.93x1 100.07x1  // 14: it stays.
         quote 09:30:00.400 99.96x1 100.04x1  // 8, from here on for long enough.
         quote 09:30:00.450 99.90x1 100.10x1  // 20, and no hold time before 0.750.
         watermark 09:30:00.700
         watermark 09:30:00.900
         halt 09:30:01                        // Nothing is said of what cannot be measured.
         quote 09:30:01.100 99.99x1 100.01x1
         watermark 09:30:02
         resume 09:30:03
         watermark 09:30:04",
        "m raised 09:30:00.2 40.00bps since 09:30:00.1
         m cleared 09:30:00.45 8.00bps since 09:30:00.2
         m raised 09:30:00.85 20.00bps since 09:30:00.75
         m cleared 09:30:03.05 2.00bps since 09:30:00.85",
    );
}

#[test]
fn a_limit_in_ticks_is_a_difference_of_prices() {
    let price = |cents: i64| Limit::Price(Price(cents * Price::SCALE / 100));
    let ticks = MonitorConfig {
        threshold: price(4),
        clear: price(2),
        ..monitor(Watch::Quoted)
    };
    check_with(
        only(ticks),
        "quote 09:30:00 10.00x1 10.03x1
         quote 09:30:01 10.00x1 10.04x1
         quote 09:30:02 10.00x1 10.03x1
         quote 09:30:03 10.00x1 10.02x1",
        "m raised 09:30:01 39.92bps since 09:30:01
         m cleared 09:30:03 19.98bps since 09:30:01",
    );
}

#[test]
fn an_effective_spread_is_measured_by_the_quote_before_the_trades_time() {
    check_with(
        only(monitor(Watch::Effective)),
        "trade 09:30:00 10.00 x1 buy            // No quote before it.
         quote 09:30:01 99.99x1 100.01x1
         trade 09:30:02 100.01 x1 buy           // Two times 0.01 in 100: 2 basis points.
         quote 09:30:02 99.99x1 100.19x1        // Of the same time, so not yet for this:
         trade 09:30:02 100.10 x1 buy           // two times 0.10 in 100.
         trade 09:30:03 100.50 x1               // Nobody knows who took.
         trade 09:30:03.5 100.09 x1 sell        // The mid is 100.09: nothing.
         trade 09:30:04 99.94 x1 sell           // 0.15 below it.
         trade 09:30:05 90.00 x1 buy            // To the taker's gain.",
        "m raised 09:30:02 20.00bps since 09:30:02
         m cleared 09:30:03.5 0.00bps since 09:30:02
         m raised 09:30:04 29.97bps since 09:30:04
         m cleared 09:30:05 -2016.19bps since 09:30:04",
    );
}

#[test]
fn a_realised_spread_is_measured_by_the_mid_that_stands_when_its_horizon_ends() {
    let horizon_ns = Ts::SECOND_NS;
    check_with(
        only(monitor(Watch::Realised { horizon_ns })),
        "quote 09:30:01 99.99x1 100.01x1
         trade 09:30:02 100.01 x1 buy
         trade 09:30:02.5 100.01 x1 buy
         quote 09:30:02.8 99.79x1 99.81x1      // Moves back: the maker keeps 0.21.
         quote 09:30:03.2 100.19x1 100.21x1    // Moves away: the maker of the second has lost.
         watermark 09:30:03.6
         trade 09:30:04 100.00 x1 sell
         quote 09:30:05 110.00x1 110.02x1      // At the very end: not yet.
         stale 09:30:05.5
         watermark 09:30:09",
        "m raised 09:30:03 42.00bps since 09:30:03
         m cleared 09:30:03.5 -38.00bps since 09:30:03
         m raised 09:30:05 39.92bps since 09:30:05",
    );
}

#[test]
fn books_that_are_crossed_locked_and_one_sided_are_said() {
    let script = "quote 09:30:00 10.00x1 10.02x1
         quote 09:30:01 10.02x1 10.02x1
         quote 09:30:02 10.03x1 10.02x1
         halt 09:30:03                      // Orders may rest across each other now.
         quote 09:30:03.5 10.02x1 10.02x1
         resume 09:30:04
         quote 09:30:05 - 10.02x1
         quote 09:30:06 - -
         quote 09:30:07 10.00x1 10.02x1";
    check_with(
        only(monitor(Watch::Crossed)),
        script,
        "m raised 09:30:02 -9.98bps since 09:30:02
         m cleared 09:30:04 0.00bps since 09:30:02",
    );
    check_with(
        only(monitor(Watch::Locked)),
        script,
        "m raised 09:30:01 0.00bps since 09:30:01
         m cleared 09:30:02 -9.98bps since 09:30:01
         m raised 09:30:04 0.00bps since 09:30:04
         m cleared 09:30:05 0.00bps since 09:30:04",
    );
    check_with(
        only(monitor(Watch::OneSided)),
        script,
        "m raised 09:30:05 0.00bps since 09:30:05
         m cleared 09:30:06 0.00bps since 09:30:05",
    );
}

#[test]
fn a_book_that_lost_messages_is_said_at_the_next_tick() {
    let held = MonitorConfig {
        hold_ns: 500 * MILLI,
        ..monitor(Watch::Stale)
    };
    check_with(
        only(held),
        "quote 09:30:00 10.00x1 10.02x1
         watermark 09:30:01
         stale 09:30:01
         watermark 09:30:01.400
         watermark 09:30:01.600
         quote 09:30:02 10.00x1 10.03x1     // The script's books stay stale.",
        "m raised 09:30:01.5 19.98bps since 09:30:01",
    );
}

#[test]
fn wrong_monitors_are_named() {
    let problem = |change: &dyn Fn(&mut MonitorConfig)| {
        let mut config = SuiteConfig::standard(1);
        let mut monitor = monitor(Watch::Quoted);
        change(&mut monitor);
        config.monitors = vec![monitor];
        config.problem()
    };
    assert_eq!(problem(&|_| {}), None);
    let says = |change: &dyn Fn(&mut MonitorConfig), want: &str| {
        let said = problem(change).expect("a problem");
        assert!(
            said.starts_with("monitors.m: ") && said.contains(want),
            "{said}"
        );
    };
    says(&|m| m.hold_ns = -1, "below 0");
    says(&|m| m.clear = Limit::Share(Bps::whole(21)), "clear");
    says(&|m| m.clear = Limit::Price(Price(1)), "same unit");
    says(&|m| m.watch = Watch::Realised { horizon_ns: 0 }, "horizon");
}
