//! Short streams, and what they say in words.

use super::*;

/// What a few steps say of one declared window, in words.
fn said_of(window: DeclaredConfig, ahead_ns: i64, steps: &[Step]) -> Vec<String> {
    let mut config = SuiteConfig::standard(2);
    config.origin = MIDNIGHT;
    config.ahead_ns = ahead_ns;
    config.declared = vec![window];
    let mut run = Run::new(&config);
    for (index, step) in steps.iter().enumerate() {
        run.step(index, 1, step);
    }
    let ms = |ts: i64| (ts - MIDNIGHT.0) / MILLI;
    let mut lines = Vec::new();
    for signal in run.said.iter().filter(|signal| signal.rule == 3) {
        lines.push(match signal.body().unwrap() {
            Body::Window(x) => format!(
                "{}: {}-{} qty {} high {} rev {}{}",
                signal.seq,
                ms(x.start.0),
                ms(signal.ts_event.0),
                x.volume,
                x.high,
                x.revision,
                if x.is_final { " final" } else { "" }
            ),
            Body::Late(x) => format!("{}: late x{} by {}", signal.seq, x.qty, x.late_ns / MILLI),
            Body::Adjust(x) => format!(
                "{}: adjust {}-{} x{} {} {}",
                signal.seq,
                ms(x.start.0),
                ms(signal.ts_event.0),
                x.qty,
                x.window_count,
                x.reason.name()
            ),
            other => panic!("{other:?}"),
        });
    }
    lines
}

fn plain(shape: Shape, lateness_ms: i64, policy: Policy) -> DeclaredConfig {
    DeclaredConfig {
        name: "w".into(),
        shape,
        lateness_ns: lateness_ms * MILLI,
        revise: true,
        policy,
        aggregates: Vec::new(),
        symbols: Vec::new(),
    }
}

fn trade(ms: i64, cents: i64, qty: i64, number: u64) -> Step {
    Step::Trade {
        ts: MIDNIGHT.0 + ms * MILLI,
        price: cents * CENT,
        qty,
        side: Side::Buy,
        is_cross: false,
        number,
    }
}

fn tick(ms: i64) -> Step {
    Step::Tick(MIDNIGHT.0 + ms * MILLI)
}

fn broken(ms: i64, number: u64) -> Step {
    Step::Break(MIDNIGHT.0 + ms * MILLI, number)
}

const SECOND: Shape = Shape::Tumbling {
    size_ns: 1_000 * MILLI,
};

#[test]
fn a_window_is_revised_while_it_may_be_and_then_final_once() {
    let steps = [
        trade(100, 1_000, 5, 1),
        tick(1_000),
        trade(900, 1_010, 7, 2),
        tick(1_100),
        tick(1_200),
        broken(1_300, 2),
        tick(1_300),
        tick(1_500),
        trade(950, 1_000, 9, 3),
        broken(1_600, 1),
    ];
    assert_eq!(
        said_of(plain(SECOND, 500, Policy::All), 1_000 * MILLI, &steps),
        [
            "1: 0-1000 qty 5 high 10.00 rev 0",
            "3: 0-1000 qty 12 high 10.10 rev 1",
            "6: 0-1000 qty 5 high 10.00 rev 2",
            "7: 0-1000 qty 5 high 10.00 rev 3 final",
            "8: late x9 by 500",
            "9: adjust 0-1000 x5 1 closed",
        ]
    );
}

/// Of the four traps of watermarks, each with its name: the first.
#[test]
fn trap_a_quiet_symbol_has_its_windows_closed_by_the_time_of_others() {
    let steps = [trade(100, 1_000, 5, 1), tick(60_000), tick(61_000)];
    assert_eq!(
        said_of(plain(SECOND, 0, Policy::All), 1_000 * MILLI, &steps),
        ["1: 0-1000 qty 5 high 10.00 rev 0 final"]
    );
}

#[test]
fn trap_a_finished_input_closes_what_is_open_once() {
    let sliding = Shape::Sliding {
        size_ns: 3_000 * MILLI,
        slide_ns: 1_000 * MILLI,
    };
    let steps = [
        trade(100, 1_000, 5, 1),
        trade(1_100, 1_010, 7, 2),
        tick(1_000),
        Step::End,
        Step::End,
    ];
    assert_eq!(
        said_of(plain(sliding, 400, Policy::All), 1_000 * MILLI, &steps),
        [
            "2: -2000-1000 qty 5 high 10.00 rev 0",
            "3: -2000-1000 qty 5 high 10.00 rev 1 final",
            "3: -1000-2000 qty 12 high 10.10 rev 0 final",
            "3: 0-3000 qty 12 high 10.10 rev 0 final",
            "3: 1000-4000 qty 7 high 10.10 rev 0 final",
        ]
    );
}

#[test]
fn trades_far_ahead_of_the_watermark_close_windows_early_and_none_twice() {
    let steps = [
        tick(0),
        trade(500, 1_000, 1, 1),
        trade(9_500, 1_010, 2, 2),
        trade(600, 1_000, 3, 3),
        Step::End,
    ];
    assert_eq!(
        said_of(plain(SECOND, 0, Policy::All), 1_000 * MILLI, &steps),
        [
            "2: 0-1000 qty 1 high 10.00 rev 0 final",
            "3: late x3 by 0",
            "4: 9000-10000 qty 2 high 10.10 rev 0 final",
        ]
    );
}

#[test]
fn what_is_left_without_a_trade_at_the_edge_is_known_while_all_others_are() {
    // More trades than are kept, the highest of them among the first, and once among the last.
    let mut steps: Vec<Step> = (0..300)
        .map(|n| trade(n, 1_000 + n % 7, 1, n as u64))
        .collect();
    steps[3] = trade(3, 2_000, 1, 3);
    let inside = broken(400, 298);
    steps.extend([inside, broken(400, 2), trade(401, 3_000, 1, 900)]);
    steps.extend([broken(402, 900), tick(2_000)]);
    let cumulative = Shape::Cumulative {
        period_ns: 60_000 * MILLI,
        slide_ns: 1_000 * MILLI,
    };
    // Of one that grows, all to the end of the period keep it.
    for (shape, kept) in [(SECOND, "0-1000 x1 1"), (cumulative, "0-60000 x1 60")] {
        assert_eq!(
            said_of(plain(shape, 0, Policy::All), 1_000 * MILLI, &steps),
            [
                // The 298th is not the lowest nor the highest; the 2nd is not remembered; the 900th
                // is the highest, and not all others are remembered.
                "301: adjust 400-400 x0 0 unknown_trade",
                &format!("303: adjust {kept} beyond_memory"),
                "304: 0-1000 qty 300 high 30.00 rev 0 final",
            ]
        );
    }
}

#[test]
fn a_policy_says_which_trades_count_for_what() {
    let cross = Step::Trade {
        ts: MIDNIGHT.0 + 200 * MILLI,
        price: 1_500 * CENT,
        qty: 1_000,
        side: Side::None,
        is_cross: true,
        number: 9,
    };
    let steps = [
        trade(100, 1_000, 100, 1),
        cross,
        trade(300, 2_000, 99, 2),
        tick(1_000),
    ];
    for (policy, want) in [
        (
            Policy::AsPrinted,
            "3: 0-1000 qty 1199 high 20.00 rev 0 final",
        ),
        (Policy::All, "3: 0-1000 qty 1199 high 20.00 rev 0 final"),
        (
            Policy::NoAuctions,
            "3: 0-1000 qty 199 high 20.00 rev 0 final",
        ),
        // Below a round lot it is volume only.
        (
            Policy::UsConsolidatedV1,
            "3: 0-1000 qty 1199 high 15.00 rev 0 final",
        ),
    ] {
        assert_eq!(
            said_of(plain(SECOND, 0, policy), 1_000 * MILLI, &steps),
            [want]
        );
    }
}

#[test]
fn a_list_of_symbols_is_held_against_their_names() {
    let mut config = SuiteConfig::standard(3);
    config.origin = MIDNIGHT;
    config.declared = vec![plain(SECOND, 0, Policy::All)];
    config.declared[0].symbols = vec![*b"MSFT    ", *b"AAPL    "];
    let mut run = Run::new(&config);
    run.suites.on_symbol(1, *b"AAPL    ", 100);
    run.suites.on_symbol(2, *b"AAPLW   ", 100);
    run.reload(&config);
    for symbol in [1, 2, 3] {
        run.step(symbol as usize, symbol, &trade(100, 1_000, 5, 1));
    }
    run.step(4, 0, &tick(2_000));
    let of = |symbol| told(&run.said, symbol, 3).windows.len();
    assert_eq!([of(1), of(2), of(3)], [1, 0, 0]);
}
