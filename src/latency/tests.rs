use super::*;

#[test]
fn a_quantile_needs_ten_samples_beyond_it() {
    let mut histogram = Histogram::new();
    for ns in 1..=1_000 {
        histogram.record(ns * 1_000);
    }
    assert!(histogram.quantile_ns(0.5).unwrap().abs_diff(500_000) < 1_000);
    assert!(histogram.quantile_ns(0.99).is_some());
    assert_eq!(histogram.quantile_ns(0.999), None);
    assert_eq!(Histogram::new().quantile_ns(0.5), None);
    histogram.record(u64::MAX); // Longer than a histogram goes, still counted.
    assert_eq!(histogram.count(), 1_001);
    // The smallest numbers of samples that are enough.
    for (quantile, enough) in [
        (0.9, 100),
        (0.99, 1_000),
        (0.999, 10_000),
        (0.9999, 100_000),
    ] {
        let mut histogram = Histogram::new();
        histogram.record_n(5, enough - 1);
        assert_eq!(histogram.quantile_ns(quantile), None, "{quantile}");
        histogram.record(5);
        assert_eq!(histogram.quantile_ns(quantile), Some(5), "{quantile}");
    }
}

#[test]
fn files_are_written_for_the_stages_that_ran() {
    let dir = std::env::temp_dir().join(format!("tapeline-latency-{}", std::process::id()));
    let mut latency = Latency::new();
    latency.record(Stage::Ring, 1_500);
    latency.write(&dir).unwrap();
    let log = std::fs::read_to_string(dir.join("latency.hlog")).unwrap();
    assert!(log.contains("Tag=ring,"), "{log}");
    let text = std::fs::read_to_string(dir.join("ring.hgrm")).unwrap();
    assert!(
        text.contains("       1.500 1.000000000000          1"),
        "{text}"
    );
    assert!(!dir.join("send.hgrm").exists());
    std::fs::remove_dir_all(&dir).unwrap();
}

fn way(due_ns: u64, moments: [u64; 3]) -> Way {
    Way {
        due_ns: Some(due_ns),
        read_ns: moments[0],
        pushed_ns: moments[1],
        popped_ns: moments[2],
        laps: Some([10, 20, 30, 5]),
        messages: 3,
    }
}

fn lab() -> Latency {
    Latency::measuring(Measure {
        stamp_every: 1,
        traces_max: 8,
        slots: 4,
        slot_ns: 1_000,
        span_ns: 3_000,
        warmup_ns: 500,
        ..Measure::default()
    })
}

#[test]
fn the_parts_of_a_trace_add_up_to_the_whole() {
    let mut latency = lab();
    latency.begin(0);
    let late = way(600, [700, 900, 950]);
    // Found by a turn that had begun before it was due.
    let early = way(800, [700, 900, 950]);
    // Taken by the shard before the reader had looked at the clock again.
    let quick = way(600, [700, 980, 950]);
    latency.turn(&late, 950 + 65);
    latency.turn(&early, 950 + 65);
    latency.turn(&quick, 950 + 65);
    let order = OrderWay {
        way: late,
        decided_ns: 950 + 65,
        released_ns: 2_000,
        encoded_ns: 2_300,
        sent_ns: 2_900,
    };
    latency.order(600, &order, true);
    assert_eq!(latency.traces().len(), 4);
    for trace in latency.traces() {
        assert_eq!(
            trace.parts.iter().sum::<u64>(),
            trace.total_ns(),
            "{trace:?}"
        );
    }
    assert_eq!(
        latency.traces()[0].parts[..7],
        [100, 200, 50, 10, 20, 30, 5]
    );
    assert_eq!(latency.traces()[1].parts[..3], [0, 100, 50]);
    assert_eq!(latency.traces()[2].parts[..4], [100, 250, 0, 10]);
    assert_eq!(latency.traces()[3].parts[7..], [985, 300, 600]);
    assert_eq!(latency.stage(Stage::Service).count(), 9);
    assert_eq!(latency.stage(Stage::Service).max_ns(), Some(315));
}

#[test]
fn only_what_was_due_in_the_measured_span_counts() {
    let mut latency = lab();
    latency.begin(1_000);
    // From 1,500 up to 4,500, wherever the work ends.
    for (due_ns, done_ns) in [
        (1_499, 9_000),
        (1_500, 1_600),
        (4_499, 9_000),
        (4_500, 4_600),
    ] {
        latency.packet(due_ns, done_ns);
        latency.turn(&way(due_ns, [due_ns; 3]), done_ns);
    }
    assert_eq!(latency.stage(Stage::Total).count(), 2);
    assert_eq!(latency.stage(Stage::Service).count(), 6);
    let slots: Vec<u64> = latency.slots().iter().map(Histogram::count).collect();
    assert_eq!(slots, [1, 0, 1, 0]);
}

#[test]
fn each_so_many_batches_one_is_stamped() {
    let mut latency = Latency::measuring(Measure {
        stamp_every: 3,
        ..Measure::default()
    });
    let stamped: Vec<bool> = (0..6).map(|_| latency.is_stamped()).collect();
    assert_eq!(stamped, [false, false, true, false, false, true]);
}
