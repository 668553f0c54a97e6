use analytics::{SuiteConfig, WindowConfig};

use crate::script::{check, check_with};

/// Only windows of one second, this late.
fn second(lateness_ms: i64) -> impl FnOnce(&mut SuiteConfig) {
    move |config| {
        config.windows = vec![WindowConfig {
            name: "1s".into(),
            size_ns: 1_000_000_000,
            lateness_ns: lateness_ms * 1_000_000,
            ahead_ns: 0,
        }];
    }
}

#[test]
fn a_window_is_said_when_the_watermark_passes_its_end_and_lateness() {
    check(
        "trade 09:30:00.100 10.00 x100
         trade 09:30:00.900 10.20 x100
         watermark 09:30:01.199999999
         watermark 09:30:01.200",
        "1s 09:30:00 vwap 10.10 qty 200",
    );
}

#[test]
fn late_trade_inside_lateness_still_counts() {
    check(
        "trade 09:30:00.100 10.00 x100
         watermark 09:30:00.900
         trade 09:30:00.800 10.20 x100  // Late, but before the window's end: not counted so.
         watermark 09:30:01.100
         trade 09:30:00.850 10.40 x100  // After its end.
         watermark 09:30:01.200",
        "1s 09:30:00 vwap 10.20 qty 300 late 1",
    );
}

#[test]
fn late_trade_waits_beside_the_current_window() {
    check_with(
        second(1500),
        "trade 09:30:02.100 10.00 x100
         watermark 09:30:02
         trade 09:30:00.700 11.00 x100
         trade 09:30:01.700 12.00 x100
         trade 09:30:00.701 13.00 x100
         watermark 09:30:04.500",
        "1s 09:30:00 vwap 12.00 qty 200 late 2
         1s 09:30:01 vwap 12.00 qty 100 late 1
         1s 09:30:02 vwap 10.00 qty 100",
    );
}

#[test]
fn trade_of_a_closed_window_is_said_as_late_once_for_each_such_window() {
    check(
        "watermark 09:30:01.200
         trade 09:30:00.500 10.00 x100
         watermark 09:30:05.300
         trade 09:30:00.600 11.00 x100
         end",
        "late 1s 10.00 x100 by 200ms
         5s 09:30:00 vwap 10.00 qty 100
         late 1s 11.00 x100 by 4300ms
         late 5s 11.00 x100 by 300ms
         1m 09:30:00 vwap 10.50 qty 200",
    );
}

#[test]
fn late_is_said_after_the_windows_that_close_by_then() {
    check_with(
        second(0),
        "trade 09:30:00.500 10.00 x1
         watermark 09:30:01
         trade 09:30:00.500 10.00 x1",
        "1s 09:30:00 vwap 10.00 qty 1
         late 1s 10.00 x1 by 0ms",
    );
}

#[test]
fn a_trade_at_the_end_belongs_to_the_next_window() {
    check_with(
        second(0),
        "trade 09:30:00 10.00 x1
         trade 09:30:01 11.00 x1
         watermark 09:30:02",
        "1s 09:30:00 vwap 10.00 qty 1
         1s 09:30:01 vwap 11.00 qty 1",
    );
}

#[test]
fn a_time_far_in_the_future_counts_in_no_window_and_closes_none() {
    check(
        "trade 09:30:00.100 10.00 x100
         trade 09:30:00.200 99.00 x100 bad-time
         trade 09:30:00.300 10.20 x100
         watermark 09:30:01.200",
        "bad-time 99.00 x100
         1s 09:30:00 vwap 10.10 qty 200",
    );
}

#[test]
fn trades_far_ahead_of_the_watermark_close_windows_that_no_pane_is_left_for() {
    // With no lateness two panes wait: the third window behind the current one has to go.
    check_with(
        second(0),
        "trade 09:30:00.5 10.00 x1
         trade 09:30:01.5 11.00 x1
         trade 09:30:02.5 12.00 x1
         trade 09:30:03.5 13.00 x1
         trade 09:30:00.6 10.00 x1
         trade 09:30:01.6 11.00 x1
         trade 09:30:09.5 19.00 x1
         end",
        "1s 09:30:00 vwap 10.00 qty 1
         late 1s 10.00 x1 by 0ms
         1s 09:30:01 vwap 11.00 qty 2
         1s 09:30:02 vwap 12.00 qty 1
         1s 09:30:03 vwap 13.00 qty 1
         1s 09:30:09 vwap 19.00 qty 1",
    );
}

#[test]
fn empty_windows_are_not_said() {
    check(
        "trade 09:30:00.5 10.00 x1
         watermark 09:40:00
         watermark 09:41:00",
        "1s 09:30:00 vwap 10.00 qty 1
         5s 09:30:00 vwap 10.00 qty 1
         1m 09:30:00 vwap 10.00 qty 1",
    );
}

#[test]
fn the_end_closes_what_is_open_in_the_order_of_symbols() {
    check_with(
        second(200),
        "#3 trade 09:30:01.5 30.00 x1
         #2 trade 09:30:01.5 20.00 x1
         #1 trade 09:30:00.5 10.00 x1
         #1 trade 09:30:01.5 11.00 x1
         end
         end",
        "1s 09:30:00 vwap 10.00 qty 1
         1s 09:30:01 vwap 11.00 qty 1
         #2 1s 09:30:01 vwap 20.00 qty 1
         #3 1s 09:30:01 vwap 30.00 qty 1",
    );
}

#[test]
fn a_tick_visits_symbols_in_the_order_of_their_numbers() {
    check_with(
        second(0),
        "#5 trade 09:30:00.5 50.00 x1
         #2 trade 09:30:00.5 20.00 x1
         watermark 09:30:01
         #2 trade 09:30:01.5 21.00 x1
         #5 trade 09:30:01.5 51.00 x1
         watermark 09:30:02",
        "#2 1s 09:30:00 vwap 20.00 qty 1
         #5 1s 09:30:00 vwap 50.00 qty 1
         #2 1s 09:30:01 vwap 21.00 qty 1
         #5 1s 09:30:01 vwap 51.00 qty 1",
    );
}

#[test]
fn a_watermark_that_goes_back_changes_nothing() {
    check_with(
        second(0),
        "trade 09:30:00.5 10.00 x1
         watermark 09:30:01
         watermark 09:29:00
         trade 09:30:00.6 10.00 x1",
        "1s 09:30:00 vwap 10.00 qty 1
         late 1s 10.00 x1 by 0ms",
    );
}

#[test]
fn a_broken_print_is_said_and_changes_no_window() {
    check_with(
        second(0),
        "trade 09:30:00.5 10.00 x1
         break 09:30:00.6 17
         watermark 09:30:01",
        "broken 17
         1s 09:30:00 vwap 10.00 qty 1",
    );
}

/// Of the four traps of watermarks; that of a quiet source is the reader's alone.
#[test]
fn trap_a_quiet_symbol_has_its_plain_windows_closed_by_the_time_of_others() {
    check_with(
        second(0),
        "trade 09:30:00.100 10.00 x100
         #2 trade 09:30:04.900 20.00 x10
         watermark 09:30:04",
        "1s 09:30:00 vwap 10.00 qty 100",
    );
}

#[test]
fn trap_a_far_future_stamp_is_in_no_plain_window_and_closes_none() {
    check_with(
        second(0),
        "trade 09:30:00.100 10.00 x100
         trade 09:30:00.100 10.50 x7 bad-time  // The reader's time for it: that of the one before.
         trade 09:30:00.200 10.00 x100
         watermark 09:30:01",
        "bad-time 10.50 x7
         1s 09:30:00 vwap 10.00 qty 200",
    );
}

#[test]
fn trap_a_finished_input_closes_plain_windows_once() {
    check_with(
        second(500),
        "trade 09:30:00.100 10.00 x100
         trade 09:30:01.100 11.00 x100
         watermark 09:30:01.200
         end
         end",
        "1s 09:30:00 vwap 10.00 qty 100
         1s 09:30:01 vwap 11.00 qty 100",
    );
}

#[test]
fn a_source_that_time_waits_for_still_finds_its_plain_windows() {
    let ahead = |config: &mut SuiteConfig| {
        second(0)(config);
        config.windows[0].ahead_ns = 9_000_000_000;
    };
    let script = "trade 09:30:00.100 10.00 x100
         trade 09:30:09.500 11.00 x100   // Of a source that is ahead.
         trade 09:30:00.200 10.00 x100   // Of the one that time waits for.
         watermark 09:30:01
         watermark 09:30:10";
    check_with(
        ahead,
        script,
        "1s 09:30:00 vwap 10.00 qty 200
         1s 09:30:09 vwap 11.00 qty 100",
    );
}

#[test]
fn wrong_windows_are_named() {
    let problem = |size_ns, lateness_ns| {
        let mut config = SuiteConfig::standard(1);
        config.windows = vec![WindowConfig {
            name: "w".into(),
            size_ns,
            lateness_ns,
            ahead_ns: 0,
        }];
        config.problem()
    };
    assert_eq!(problem(1, 0), None);
    assert_eq!(
        problem(0, 0),
        Some("window w: size 0 ns, want above 0".into())
    );
    assert_eq!(
        problem(1, -1),
        Some("window w: lateness -1 ns, want 0 or above".into())
    );
    assert!(
        problem(1, 1000)
            .unwrap()
            .contains("needs more than 256 open panes")
    );
}
