//! Sessions against their plain twin: layouts, matching, truth, and the same bytes every time.

mod reference;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

use exchange::{LENGTHS, OPEN_NS, Session, Truth, run};
use reference::{Market, number, text};

/// Runs a session beside the twin, which asserts its rules message by message, and compares
/// what both say of the end.
fn check(session: &Session) -> (Truth, Market) {
    let mut market = Market::default();
    let truth = run(session, &mut |ts_ns, message| {
        let (_, length) = LENGTHS
            .iter()
            .find(|(kind, _)| *kind == message[0])
            .unwrap();
        assert_eq!(message.len(), *length);
        market.apply(ts_ns, message);
        Ok(())
    })
    .unwrap();
    assert_eq!(truth.by_type, market.by_type);
    assert_eq!(truth.messages, market.by_type.values().sum::<u64>());
    let twins = market.truths();
    assert_eq!(truth.symbols.len(), twins.len());
    for (symbol, twin) in truth.symbols.iter().zip(&twins) {
        assert_eq!(symbol, twin);
    }
    assert_eq!(market.events, "OSQMEC");
    (truth, market)
}

#[test]
fn the_default_session_has_all_types_and_a_true_truth() {
    let (truth, market) = check(&Session::default());
    for (kind, _) in LENGTHS {
        assert!(
            truth.by_type.contains_key(&char::from(kind)),
            "no {}",
            char::from(kind)
        );
    }
    assert_eq!(truth.by_type.len(), LENGTHS.len());
    let error = (truth.messages as f64 / 1_200_000.0 - 1.0).abs();
    assert!(
        error < 0.05,
        "{} messages, want about 1.2 million",
        truth.messages
    );
    assert!(market.executions > 20_000);
    assert!(
        market.crossed_before > 0,
        "some books are crossed before the open"
    );
    assert!(truth.symbols.iter().any(|symbol| symbol.broken > 0));
    assert!(truth.symbols.iter().all(|symbol| symbol.trades > 0));
}

#[test]
fn small_large_and_odd_sessions_are_true_too() {
    for (symbols, seconds, rate, seed) in [
        (1, 1, 100, 1),
        (1, 3, 50_000, 2),
        (2, 1, 20_000, 3),
        (3, 2, 20_000, 4),
        (9, 1, 400_000, 5),
        (64, 5, 50_000, 6),
        (500, 2, 200_000, 7),
        (64, 900, 200, 8),
        (10_000, 1, 100, 9),
    ] {
        let session = Session {
            symbols,
            seconds,
            rate,
            seed,
            ..Session::default()
        };
        println!("{session:?}");
        check(&session);
    }
}

#[test]
fn many_seeds_are_true() {
    for seed in 100..130 {
        println!("seed {seed}");
        check(&Session {
            symbols: 12,
            seconds: 2,
            rate: 30_000,
            seed,
            ..Session::default()
        });
    }
}

fn digest(session: &Session) -> (u64, Truth) {
    let mut hasher = DefaultHasher::new();
    let truth = run(session, &mut |ts_ns, message| {
        hasher.write_u64(ts_ns);
        hasher.write(message);
        Ok(())
    })
    .unwrap();
    (hasher.finish(), truth)
}

#[test]
fn equal_sessions_give_equal_bytes_and_other_seeds_do_not() {
    let session = Session {
        seconds: 5,
        ..Session::default()
    };
    let first = digest(&session);
    assert_eq!(first, digest(&session));
    assert_ne!(first.0, digest(&Session { seed: 2, ..session }).0);
}

/// A change here is a change of every sample that anyone has described by its seed: bump the
/// version, and say so in the changelog.
#[test]
fn the_bytes_of_a_seed_do_not_change_unnoticed() {
    let session = Session {
        symbols: 10,
        seconds: 1,
        rate: 5_000,
        seed: 7,
        ..Session::default()
    };
    let (mut messages, mut checksum) = (0u64, 0xcbf2_9ce4_8422_2325_u64);
    run(&session, &mut |_, message| {
        messages += 1;
        for &byte in message {
            checksum = (checksum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!((messages, checksum), (5497, 3_121_443_013_356_298_151));
}

#[test]
fn all_happens_within_two_seconds_before_and_one_after() {
    let session = Session {
        seconds: 3,
        ..Session::default()
    };
    let close_ns = OPEN_NS + 3_000_000_000;
    let (mut first_ns, mut last_ns, mut before_open) = (None, 0, 0);
    run(&session, &mut |ts_ns, message| {
        first_ns.get_or_insert(ts_ns);
        last_ns = ts_ns;
        before_open += u64::from(ts_ns < OPEN_NS);
        if (message[0], message[11]) == (b'S', b'Q') {
            assert_eq!(ts_ns, OPEN_NS);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(first_ns, Some(OPEN_NS - 2_000_000_000));
    assert!(last_ns > close_ns && last_ns < close_ns + 1_000_000_000);
    assert!(before_open > 1000);
}

#[test]
fn some_symbols_have_stormy_spells() {
    let (truth, _) = check(&Session::default());
    let mut stormy = 0;
    for symbol in &truth.symbols {
        // The stormiest five seconds of a symbol against its median five.
        let closes: Vec<f64> = symbol
            .windows
            .s1
            .iter()
            .map(|w| w.close_e4 as f64)
            .collect();
        let squares: Vec<f64> = closes
            .windows(2)
            .map(|w| (w[1] / w[0] - 1.0).powi(2))
            .collect();
        let mut fives: Vec<f64> = squares
            .chunks(5)
            .map(|five| five.iter().sum::<f64>())
            .collect();
        fives.sort_by(f64::total_cmp);
        stormy += usize::from(fives[fives.len() - 1] > 16.0 * fives[fives.len() / 2].max(1e-9));
    }
    assert!(
        (3..50).contains(&stormy),
        "{stormy} symbols have stormy spells"
    );
}

#[test]
fn some_spreads_widen_for_a_while() {
    let mut market = Market::default();
    let mut wide_since: BTreeMap<u16, u64> = BTreeMap::new();
    let mut alerts: BTreeMap<u16, u64> = BTreeMap::new();
    run(&Session::default(), &mut |ts_ns, message| {
        market.apply(ts_ns, message);
        let locate = number(message, 1, 2) as u16;
        if ts_ns < OPEN_NS || locate == 0 {
            return Ok(());
        }
        let [Some(bid), Some(ask)] = market.best(locate) else {
            return Ok(());
        };
        let is_wide = ask.saturating_sub(bid) * 1000 > bid * 2; // More than 20 basis points.
        if is_wide {
            wide_since.entry(locate).or_insert(ts_ns);
        } else if let Some(since_ns) = wide_since.remove(&locate)
            && ts_ns - since_ns > 100_000_000
        {
            *alerts.entry(locate).or_default() += 1;
        }
        Ok(())
    })
    .unwrap();
    assert!((5..50).contains(&alerts.len()), "{alerts:?}");
}

#[test]
fn locates_say_nothing_of_activity_and_names_are_unique() {
    let (truth, _) = check(&Session {
        seconds: 2,
        ..Session::default()
    });
    let mut names: Vec<&str> = truth.symbols.iter().map(|s| s.symbol.as_str()).collect();
    names.dedup();
    assert_eq!(names.len(), 64);
    let most_active = truth
        .symbols
        .iter()
        .enumerate()
        .max_by_key(|(_, s)| s.trades)
        .unwrap();
    assert_ne!(
        most_active.0, 0,
        "the most active symbol is first by locate"
    );
    assert!(
        truth
            .symbols
            .windows(2)
            .all(|pair| pair[0].locate < pair[1].locate)
    );
    assert!(truth.symbols[63].locate > 64, "locates have gaps");
}

#[test]
fn a_halt_stops_matching_until_its_cross() {
    let mut story: Vec<(String, String)> = Vec::new();
    run(
        &Session {
            seconds: 10,
            ..Session::default()
        },
        &mut |_, m| {
            let step = match m[0] {
                b'H' if number(m, 5, 6) > OPEN_NS => format!("H{}", char::from(m[19])),
                b'Q' if m[39] == b'H' => "cross".to_owned(),
                b'h' => format!("h{}", char::from(m[20])),
                _ => return Ok(()),
            };
            let name = text(m, if m[0] == b'Q' { 19 } else { 11 }, 8);
            match story.iter_mut().find(|(symbol, _)| *symbol == name) {
                Some((_, steps)) => *steps += &format!(" {step}"),
                None => story.push((name, step)),
            }
            Ok(())
        },
    )
    .unwrap();
    let mut steps: Vec<&str> = story.iter().map(|(_, steps)| steps.as_str()).collect();
    steps.sort_unstable();
    assert_eq!(
        steps,
        [
            "HH HQ cross HT",
            "HP cross HT",
            "HQ cross HT",
            "HQ cross HT",
            "hH hT"
        ],
        "news, volatility, an offering, a direct listing, a fault"
    );
}

#[test]
fn truth_survives_its_file() {
    let truth = run(
        &Session {
            seconds: 1,
            ..Session::default()
        },
        &mut |_, _| Ok(()),
    )
    .unwrap();
    let path = std::env::temp_dir().join(format!("exchange-truth-{}.json", std::process::id()));
    truth.write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(Truth::read(&path).unwrap(), truth);
    assert_eq!(text.lines().count(), 66, "one line a symbol");
    std::fs::write(&path, text.replace("tapeline-truth/1", "tapeline-truth/9")).unwrap();
    let fault = Truth::read(&path).unwrap_err().to_string();
    assert!(fault.contains("tapeline-truth/9"), "{fault}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_failing_writer_ends_the_session() {
    let mut left = 1000;
    let outcome = run(&Session::default(), &mut |_, _| {
        left -= 1;
        if left == 0 {
            Err(std::io::Error::other("disk full"))
        } else {
            Ok(())
        }
    });
    assert_eq!(outcome.unwrap_err().to_string(), "disk full");
    assert_eq!(left, 0);
}
