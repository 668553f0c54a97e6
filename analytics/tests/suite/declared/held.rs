//! What was said, held against the twin.

use super::twin::*;
use super::*;

/// Every window that could be said: start, end, and where its last pane begins.
pub(super) fn candidates(config: &DeclaredConfig, steps: &[Step]) -> Vec<(i64, i64, i64)> {
    let times = steps.iter().filter_map(|step| match *step {
        Step::Trade { ts, .. } | Step::Quote(ts, _) | Step::Break(ts, _) | Step::Tick(ts) => {
            Some(ts - MIDNIGHT.0)
        }
        Step::Gap | Step::End => None,
    });
    let (first, last) = (times.clone().min().unwrap(), times.max().unwrap());
    let mut all = Vec::new();
    let mut add = |start: i64, end: i64, slide: i64| {
        all.push((
            MIDNIGHT.0 + start,
            MIDNIGHT.0 + end,
            MIDNIGHT.0 + end - slide,
        ))
    };
    match config.shape {
        Shape::Tumbling { size_ns } => {
            for index in first / size_ns - 1..=last / size_ns + 1 {
                add(index * size_ns, (index + 1) * size_ns, size_ns);
            }
        }
        Shape::Sliding { size_ns, slide_ns } => {
            for index in first / slide_ns - 1..=(last + size_ns) / slide_ns + 1 {
                let end = (index + 1) * slide_ns;
                add(end - size_ns, end, slide_ns);
            }
        }
        Shape::Cumulative {
            period_ns,
            slide_ns,
        } => {
            for index in first / slide_ns - 1..=last / slide_ns + 1 {
                let start = index * slide_ns / period_ns * period_ns;
                add(start, (index + 1) * slide_ns, slide_ns);
            }
        }
        _ => unreachable!("no fixed times"),
    }
    all
}

/// Holds what was said of windows of fixed times against the twin.
pub(super) fn check_aligned(config: &DeclaredConfig, steps: &[Step], told: &Told) -> usize {
    let twin = Twin::new(config, steps);
    let mut said: BTreeMap<(i64, i64), Vec<Said>> = BTreeMap::new();
    for one in &told.windows {
        let key = (one.window.start.0, one.end);
        said.entry(key).or_default().push(*one);
    }
    for (start, end, last_pane) in candidates(config, steps) {
        let said = said.remove(&(start, end)).unwrap_or_default();
        let final_step = twin.final_step(end);
        let is_filled = |step: usize| {
            // What grows is said where its last step has something.
            let from = match config.shape {
                Shape::Cumulative { .. } => last_pane,
                _ => start,
            };
            let (trades, _) = twin.of_window(start, end, step);
            trades.iter().any(|trade| trade.ts >= from) || twin.standing(from, end, step).moves > 0
        };
        // Said at the end, and at each later tick at which it is another one.
        let mut ticks = Vec::new();
        if config.revise && config.lateness_ns > 0 {
            let mut before = None;
            let from = twin.step_of(end);
            for (step, what) in steps.iter().enumerate().take(final_step).skip(from) {
                if !matches!(what, Step::Tick(_)) {
                    continue;
                }
                if ticks.is_empty() && !is_filled(step) {
                    continue;
                }
                let (trades, late) = twin.of_window(start, end, step);
                let now: Vec<usize> = trades.iter().map(|trade| trade.step).collect();
                if before.as_ref() != Some(&(now.clone(), late)) {
                    ticks.push(step);
                    before = Some((now, late));
                }
            }
        }
        if !ticks.is_empty() || is_filled(final_step) {
            ticks.push(final_step);
        }
        let at: Vec<usize> = said.iter().map(|said| said.step).collect();
        assert_eq!(at, ticks, "window {start} to {end}: said at these steps");
        for (revision, said) in said.iter().enumerate() {
            assert_eq!(said.window.revision, revision as u32);
            assert_eq!(said.window.is_final, revision + 1 == ticks.len());
            let (trades, late) = twin.of_window(start, end, said.step);
            twin.check(said, &trades, late);
            let standing = twin.standing(start, end, said.step);
            assert_eq!(said.standing, Some(standing), "{said:?}");
        }
    }
    assert!(said.is_empty(), "no such windows: {said:?}");
    // Late are those that no window takes, and no others.
    let is_late = |trade: &&Kept| {
        let mut windows = candidates(config, steps).into_iter();
        let all = match config.shape {
            // To the end of the period, whether or not anything is said there.
            Shape::Cumulative { period_ns, .. } => {
                let from = (trade.ts - MIDNIGHT.0) / period_ns * period_ns + MIDNIGHT.0;
                return from + period_ns + config.lateness_ns <= trade.watermark;
            }
            _ => windows.find(|(start, end, _)| {
                (start..end).contains(&&trade.ts)
                    && trade.watermark < end.saturating_add(config.lateness_ns)
            }),
        };
        all.is_none()
    };
    let lates: Vec<(usize, i64)> = twin
        .trades
        .iter()
        .filter(is_late)
        .map(|trade| (trade.step, trade.price))
        .collect();
    assert_eq!(told.lates, lates);
    check_adjusts(&twin, told);
    told.windows.len()
}

/// A trade that was broken is said of the windows that were final by then, and had it.
pub(super) fn check_adjusts(twin: &Twin<'_>, told: &Told) {
    let mut want = Vec::new();
    for trade in &twin.trades {
        if trade.broken == usize::MAX {
            continue;
        }
        let windows = candidates(twin.config, twin.steps).into_iter();
        let had = windows.filter(|(start, end, _)| {
            (start..end).contains(&&trade.ts)
                && trade.watermark < end.saturating_add(twin.config.lateness_ns)
                && twin.final_step(*end) < trade.broken
        });
        let had: Vec<(i64, i64, i64)> = had.collect();
        if let (Some(first), Some(_)) = (had.first(), had.last()) {
            want.push((trade.broken, first.0));
        }
    }
    want.sort_unstable();
    let unknown =
        |adjust: &&(usize, i64, i64, u32, AdjustReason)| adjust.4 != AdjustReason::Unknown;
    let mut said: Vec<(usize, i64)> = told
        .adjusts
        .iter()
        .filter(unknown)
        .map(|adjust| (adjust.0, adjust.1))
        .collect();
    said.sort_unstable();
    assert_eq!(said, want, "{:?}", told.adjusts);
}

/// Sessions and bars as lists of trades, one step after another.
pub(super) fn check_bars(config: &DeclaredConfig, steps: &[Step], told: &Told) -> usize {
    struct Open {
        trades: Vec<Kept>,
        start: i64,
        last: i64,
        late: u32,
    }
    let twin = Twin::new(config, steps);
    let (mut open, mut lates): (Vec<Open>, Vec<(usize, i64)>) = Default::default();
    // Step, start, end, trades, late.
    let mut want: Vec<(usize, i64, i64, Vec<Kept>, u32)> = Vec::new();
    let mut adjusts = Vec::new();
    let gap = match config.shape {
        Shape::Session { gap_ns } => gap_ns,
        _ => 0,
    };
    let is_session = gap > 0;
    let day = |ts: i64| (ts - MIDNIGHT.0).div_euclid(86_400_000_000_000);
    for (step, what) in steps.iter().enumerate() {
        let watermark = twin.watermarks[step + 1];
        match *what {
            Step::Tick(_) | Step::End => {
                let is_over = |one: &Open| match is_session {
                    true => (one.last + gap).saturating_add(config.lateness_ns) <= watermark,
                    false => watermark == i64::MAX,
                };
                open.sort_by_key(|one| one.start);
                let (over, rest) = open.into_iter().partition(is_over);
                open = rest;
                for one in Vec::<Open>::from_iter(over) {
                    want.push((step, one.start, one.last + gap, one.trades, one.late));
                }
            }
            Step::Trade { .. } => {
                let Some(trade) = twin.trades.iter().find(|trade| trade.step == step) else {
                    continue;
                };
                let mut all = Open {
                    trades: vec![*trade],
                    start: trade.ts,
                    last: trade.ts,
                    late: 0,
                };
                if is_session {
                    if trade.ts + gap + config.lateness_ns <= watermark {
                        lates.push((step, trade.price));
                        continue;
                    }
                    let is_near =
                        |one: &Open| trade.ts < one.last + gap && trade.ts > one.start - gap;
                    let (near, rest): (Vec<Open>, _) = open.into_iter().partition(is_near);
                    open = rest;
                    for mut one in near {
                        all.trades.append(&mut one.trades);
                        all.start = all.start.min(one.start);
                        all.last = all.last.max(one.last);
                        all.late += one.late;
                    }
                    all.late += u32::from(watermark >= all.last + gap);
                    open.push(all);
                    continue;
                }
                if open
                    .first()
                    .is_some_and(|one| day(trade.ts) > day(one.last))
                {
                    let one = open.remove(0);
                    want.push((step, one.start, one.last, one.trades, 0));
                }
                match open.first_mut() {
                    None => open.push(all),
                    Some(one) => {
                        one.trades.push(*trade);
                        one.start = one.start.min(trade.ts);
                        one.last = one.last.max(trade.ts);
                    }
                }
                let is_full = match config.shape {
                    Shape::Count { trades } => open[0].trades.len() >= trades as usize,
                    Shape::Volume { qty } => {
                        open[0].trades.iter().map(|trade| trade.qty).sum::<i64>() >= qty
                    }
                    _ => unreachable!("no bar"),
                };
                if is_full {
                    let one = open.remove(0);
                    want.push((step, one.start, one.last, one.trades, 0));
                }
            }
            Step::Break(..) => {
                let Some(gone) = twin.trades.iter().find(|trade| trade.broken == step) else {
                    continue;
                };
                let mut is_open = false;
                for one in &mut open {
                    let before = one.trades.len();
                    one.trades.retain(|trade| trade.step != gone.step);
                    is_open |= one.trades.len() < before;
                }
                if !is_open && !lates.iter().any(|late| late.0 == gone.step) {
                    adjusts.push((step, gone.ts));
                }
            }
            Step::Quote(..) | Step::Gap => {}
        }
    }
    want.retain(|one| !one.3.is_empty());
    let heads = |said: &Said| (said.step, said.window.start.0, said.end);
    let said: Vec<_> = told.windows.iter().map(heads).collect();
    let heads: Vec<_> = want.iter().map(|one| (one.0, one.1, one.2)).collect();
    assert_eq!(said, heads);
    for (said, want) in told.windows.iter().zip(&want) {
        twin.check(said, &want.3, want.4);
        assert!(said.window.is_final && said.window.revision == 0);
    }
    assert_eq!(told.lates, lates);
    let said: Vec<_> = told
        .adjusts
        .iter()
        .filter(|adjust| adjust.4 != AdjustReason::Unknown)
        .map(|adjust| (adjust.0, adjust.1))
        .collect();
    assert_eq!(said, adjusts);
    told.windows.len()
}
