use analytics::{Bps, SuiteConfig};

use crate::script;

/// As `script::check_with`, without regimes, which have tests of their own.
#[track_caller]
fn check_with(change: impl FnOnce(&mut SuiteConfig), script: &str, expected: &str) {
    let change = |config: &mut SuiteConfig| {
        config.regime.warmup_samples = u32::MAX;
        change(config);
    };
    script::check_with(change, script, expected);
}

#[track_caller]
fn check(script: &str, expected: &str) {
    check_with(|_| {}, script, expected);
}

/// Raised at 20 basis points after 100 ms, cleared at 10 after as many milliseconds as said.
fn clear_after(ms: i64) -> impl FnOnce(&mut SuiteConfig) {
    move |config| {
        config.spread.threshold = Bps::whole(20);
        config.spread.hold_ns = 100_000_000;
        config.spread.clear = Bps::whole(10);
        config.spread.clear_hold_ns = ms * 1_000_000;
    }
}

#[test]
fn raised_at_the_threshold_after_the_hold_time_and_cleared_below() {
    // 0.20 of a mid of 100.00 are 20 basis points exactly; 0.10 are 10.
    check_with(
        clear_after(0),
        "quote 09:30:00 99.90x1 100.10x1
         watermark 09:30:00.099999999
         watermark 09:30:00.100
         quote 09:30:01 99.90x1 100.02x1 // Between the thresholds: stays.
         quote 09:30:02 99.95x1 100.05x1",
        "spread raised 09:30:00.1 20.00bps since 09:30:00
         spread cleared 09:30:02 10.00bps since 09:30:00.1",
    );
}

#[test]
fn just_below_the_threshold_is_not_wide() {
    check(
        "quote 09:30:00 99.90x1 100.099999999x1
         watermark 09:31:00",
        "",
    );
}

#[test]
fn a_spread_that_narrows_before_the_hold_time_ends_is_not_said() {
    check(
        "quote 09:30:00 99.90x1 100.10x1
         quote 09:30:00.099999999 99.99x1 100.01x1
         quote 09:30:00.2 99.90x1 100.10x1
         watermark 09:30:00.299
         quote 09:30:00.299 99.99x1 100.01x1
         watermark 09:31:00",
        "",
    );
}

#[test]
fn the_hold_time_goes_on_while_quotes_change_but_stay_wide() {
    check(
        "quote 09:30:00 99.90x1 100.10x1
         quote 09:30:00.060 99.80x1 100.10x1
         quote 09:30:00.120 99.70x1 100.10x1",
        "spread raised 09:30:00.1 30.02bps since 09:30:00",
    );
}

#[test]
fn the_event_that_narrows_at_the_very_end_comes_after_the_alert() {
    check_with(
        clear_after(0),
        "quote 09:30:00 99.90x1 100.10x1
         quote 09:30:00.100 99.99x1 100.01x1",
        "spread raised 09:30:00.1 20.00bps since 09:30:00
         spread cleared 09:30:00.1 2.00bps since 09:30:00.1",
    );
}

#[test]
fn clearing_may_take_time_too() {
    check_with(
        clear_after(50),
        "quote 09:30:00 99.90x1 100.10x1
         watermark 09:30:01
         quote 09:30:02.000 99.99x1 100.01x1
         quote 09:30:02.049 99.90x1 100.10x1 // Wide again in time.
         quote 09:30:03.000 99.99x1 100.01x1
         watermark 09:30:04",
        "spread raised 09:30:00.1 20.00bps since 09:30:00
         spread cleared 09:30:03.05 2.00bps since 09:30:00.1",
    );
}

#[test]
fn without_a_hold_time_it_is_said_at_once() {
    check_with(
        |config| config.spread.hold_ns = 0,
        "quote 09:30:00 99.90x1 100.10x1",
        "spread raised 09:30:00 20.00bps since 09:30:00",
    );
}

#[test]
fn a_halt_drops_the_hold_time_and_leaves_an_alert_standing() {
    check_with(
        clear_after(0),
        "quote 09:30:00 99.90x1 100.10x1
         halt 09:30:00.050
         watermark 09:30:01
         resume 09:30:02 // The hold time starts again.
         watermark 09:30:02.1
         halt 09:30:03
         quote 09:30:04 99.99x1 100.01x1
         resume 09:30:05",
        "spread raised 09:30:02.1 20.00bps since 09:30:02
         spread cleared 09:30:05 2.00bps since 09:30:02.1",
    );
}

#[test]
fn one_sided_and_crossed_books_have_no_spread() {
    check(
        "quote 09:30:00 99.90x1 100.10x1
         quote 09:30:00.05 99.90x1 -
         quote 09:30:00.06 99.90x1 100.10x1
         watermark 09:30:00.159
         quote 09:30:00.159 100.20x1 100.10x1
         watermark 09:31:00",
        "",
    );
}

#[test]
fn lost_messages_end_a_hold_time_without_an_event() {
    check(
        "quote 09:30:00 99.90x1 100.10x1
         stale 09:30:00.05
         watermark 09:31:00
         quote 09:31:01 99.90x1 100.10x1
         watermark 09:32:00",
        "",
    );
}
