use crate::script::check_with;

/// Eight samples of 10 ms; 10 basis points; sizes of three to one.
fn quick(config: &mut analytics::SuiteConfig) {
    config.momentum.lookback_ns = 80_000_000;
    config.momentum.threshold = analytics::Bps::whole(10);
    config.momentum.sigmas = 0.0;
    config.momentum.imbalance = 0.5;
    config.momentum.cooldown_ns = 1_000_000_000;
}

const STILL: &str = "quote 09:30:00 99.99x100 100.01x100
                     quote 09:30:00.100 99.99x200 100.01x200 // The look-back is full.\n";

#[track_caller]
fn after_still(script: &str, expected: &str) {
    check_with(quick, &format!("{STILL}{script}"), expected);
}

#[test]
fn a_move_with_the_sizes_behind_it_is_followed_at_the_touch() {
    after_still(
        "quote 09:30:00.101 100.10x300 100.12x100",
        "momentum 09:30:00.101 buy 11.50bps imbalance 0.50
         want buy 100 at 100.12",
    );
    after_still(
        "quote 09:30:00.101 99.88x100 99.90x300",
        "momentum 09:30:00.101 sell -11.50bps imbalance -0.50
         want sell 100 at 99.88",
    );
}

#[test]
fn the_threshold_itself_is_far_enough_and_a_little_less_is_not() {
    // The micro-price has to reach 100.10.
    let moved = |ask: &str| format!("quote 09:30:00.101 100.085x300 {ask}x100");
    after_still(
        &moved("100.105"),
        "momentum 09:30:00.101 buy 10.00bps imbalance 0.50
         want buy 100 at 100.105",
    );
    after_still(&moved("100.104999995"), "");
}

#[test]
fn sizes_that_do_not_agree_hold_it_back() {
    after_still("quote 09:30:00.101 100.11x299 100.13x100", "");
    after_still("quote 09:30:00.101 100.20x100 100.22x300", "");
}

#[test]
fn after_an_order_the_symbol_rests() {
    after_still(
        "quote 09:30:00.101 100.10x300 100.12x100
         quote 09:30:00.102 100.10x400 100.12x100
         quote 09:30:00.103 100.20x400 100.22x100
         #2 quote 09:30:00.104 99.99x100 100.01x100
         #2 quote 09:30:00.200 99.99x200 100.01x100
         #2 quote 09:30:00.201 100.10x300 100.12x100 // Another symbol does not.
         quote 09:30:01.100 100.20x300 100.22x100
         quote 09:30:01.101 100.40x300 100.42x100",
        "momentum 09:30:00.101 buy 11.50bps imbalance 0.50
         want buy 100 at 100.12
         #2 momentum 09:30:00.201 buy 11.50bps imbalance 0.50
         want buy 100 at 100.12
         momentum 09:30:01.101 buy 19.86bps imbalance 0.50
         want buy 100 at 100.42",
    );
}

#[test]
fn it_waits_until_the_look_back_is_full() {
    check_with(
        quick,
        "quote 09:30:00 99.99x100 100.01x100
         quote 09:30:00.079 100.10x300 100.12x100",
        "",
    );
}

#[test]
fn a_halt_forgets_the_look_back() {
    after_still(
        "halt 09:30:00.1005
         resume 09:30:00.112
         quote 09:30:00.113 100.10x300 100.12x100",
        "",
    );
}

#[test]
fn halted_stale_and_unsaid_phases_are_not_traded() {
    after_still(
        "halt 09:30:00.1005
         quote 09:30:00.101 100.10x300 100.12x100",
        "",
    );
    after_still(
        "stale 09:30:00.1005
         quote 09:30:00.101 100.10x300 100.12x100",
        "",
    );
    after_still("quote 09:30:00.101 100.10x300 -", "");
}

#[test]
fn a_spread_alert_holds_it_back() {
    let wide = |config: &mut analytics::SuiteConfig| {
        quick(config);
        config.spread.threshold = analytics::Bps::whole(5);
        config.spread.clear = analytics::Bps::whole(4);
        config.spread.hold_ns = 0;
    };
    check_with(
        wide,
        &format!("{STILL} quote 09:30:00.101 100.08x500 100.14x100"),
        "spread raised 09:30:00.101 5.99bps since 09:30:00.101",
    );
}

#[test]
fn a_move_that_the_volatility_lets_expect_is_none() {
    // Returns of about 20 basis points in each quarter of a second: 40 in a second, and three
    // times that for a look-back of a second.
    let sigmas = |config: &mut analytics::SuiteConfig| {
        quick(config);
        config.momentum.lookback_ns = 1_000_000_000;
        config.momentum.sigmas = 3.0;
        config.regime.warmup_samples = 4;
        config.spread.threshold = analytics::Bps::whole(1000);
    };
    let mut script = String::new();
    for quarter in 0..40 {
        let price = if quarter % 2 == 0 {
            "99.99x100 100.01x100"
        } else {
            "100.19x100 100.21x100"
        };
        let (second, ms) = (quarter / 4, quarter % 4 * 250 + 1);
        script += &format!("quote 09:30:{second:02}.{ms:03} {price}\n");
    }
    // Above 100.00 by 1.10, or 110 basis points; then by 1.40.
    check_with(
        sigmas,
        &format!("{script} quote 09:30:10 101.09x300 101.11x100"),
        "",
    );
    check_with(
        sigmas,
        &format!("{script} quote 09:30:10 101.49x300 101.51x100"),
        "momentum 09:30:10 buy 150.50bps imbalance 0.50
         want buy 100 at 101.51",
    );
}

#[test]
fn switched_off_it_says_nothing() {
    check_with(
        |config| {
            quick(config);
            config.momentum.enabled = false;
        },
        &format!("{STILL} quote 09:30:00.101 100.10x300 100.12x100"),
        "",
    );
}
