//! What inspection says of captures.

mod reference;

use std::path::PathBuf;

use bus::Ts;
use feed::arbiter::GapRule;
use feed::inspect::{Report, inspect};
use feed::moldudp64::{END_OF_SESSION, Header, SessionId};
use feed::protocol::Itch;
use feed::source::{Capture, CaptureOptions, SimSource, SimStep};
use reference::{blocks, sample_messages, shared_data};

const SESSION: SessionId = SessionId(*b"0000000001");

fn report(steps: Vec<SimStep>) -> Report {
    let mut source = SimSource::new(&["A", "B"], steps);
    inspect(&mut source, Itch::new(Ts(0)), GapRule::default()).expect("the source does not fail")
}

fn packet(ts: i64, line: u8, sequence: u64, messages: &[Vec<u8>]) -> SimStep {
    let count = messages.len() as u16;
    let mut payload = Header {
        session: SESSION,
        sequence,
        count,
    }
    .to_bytes()
    .to_vec();
    payload.extend(blocks(messages));
    SimStep::packet(Some(Ts(ts)), line, &payload)
}

#[test]
fn lines_gaps_types_and_symbols_are_told() {
    let messages = sample_messages(1);
    let mut steps = Vec::new();
    for (index, chunk) in messages.chunks(10).enumerate() {
        let sequence = index as u64 * 10 + 1;
        // Line A loses the fifth packet, both lose the eighth.
        if index != 4 && index != 7 {
            steps.push(packet(index as i64 * 1_000_000, 0, sequence, chunk));
        }
        if index != 7 {
            steps.push(packet(index as i64 * 1_000_000 + 10, 1, sequence, chunk));
        }
    }
    let next = messages.len() as u64 + 1;
    let end = Header {
        session: SESSION,
        sequence: next,
        count: END_OF_SESSION,
    }
    .to_bytes();
    steps.push(SimStep::packet(Some(Ts(i64::MAX / 2)), 0, &end));
    let packets = steps.len() as u64;

    let report = report(steps);
    assert_eq!(
        (report.packets, report.not_moldudp64, report.refused),
        (packets, 0, 0)
    );
    assert_eq!(report.messages, messages.len() as u64 - 10);
    assert_eq!(report.gaps, [(0, 71, 10)]);
    let [session] = &report.sessions[..] else {
        panic!("one session")
    };
    assert_eq!(
        (session.first, session.next, session.lost),
        (Some(1), next, 10)
    );
    assert!(session.is_ended);
    let [(a, a_stats), (_, b_stats)] = &report.lines[..] else {
        panic!("two lines")
    };
    assert_eq!(a.name, "A");
    assert_eq!(
        (a_stats.missing, a_stats.lost, a_stats.filled_by_others()),
        (20, 10, 10)
    );
    assert_eq!(
        (b_stats.missing, b_stats.lost, b_stats.filled_by_others()),
        (10, 10, 0)
    );
    assert_eq!(report.by_type.iter().sum::<u64>(), report.messages);
    assert_eq!(report.symbols, 40);
    assert!(
        report
            .busiest
            .windows(2)
            .all(|two| two[0].messages >= two[1].messages)
    );
    assert!(report.busiest.iter().all(|busy| !busy.name.is_empty()));
    let [peak_1ms, peak_10ms, peak_1s] = report.peaks;
    assert!(peak_1ms.messages > 0 && peak_1ms.messages <= peak_10ms.messages);
    assert!(peak_10ms.messages <= peak_1s.messages && peak_1s.messages <= report.messages);
    assert_eq!(report.backwards, 0);
}

#[test]
fn another_protocol_is_told_as_such() {
    let garbage = [b'?'; 60];
    let steps = vec![
        SimStep::packet(Some(Ts(5)), 0, &garbage),
        SimStep::packet(Some(Ts(9)), 0, &garbage[..7]),
        SimStep::Trouble("record is cut".into()),
    ];
    let report = report(steps);
    assert_eq!(
        (report.packets, report.not_moldudp64, report.messages),
        (2, 2, 0)
    );
    assert_eq!(
        report.first_not_moldudp64.map(|place| place.packet),
        Some(1)
    );
    assert_eq!(report.capture_span, Some((Ts(5), Ts(9))));
    assert_eq!((report.troubles, report.examples.len()), (1, 3));
    assert!(report.sessions.is_empty() && report.event_span.is_none());
}

/// All files of a folder of shared data, read as one.
fn real(files: impl IntoIterator<Item = PathBuf>) -> Report {
    let files: Vec<PathBuf> = files.into_iter().collect();
    let mut source = Capture::open(&files, CaptureOptions::default()).expect("they open");
    inspect(&mut source, Itch::new(Ts(0)), GapRule::default()).expect("they read")
}

#[test]
fn real_captures_are_told_apart() {
    let Some(data) = shared_data() else { return };
    let all_of = |name: &str| {
        let folder = data.join("itch50/omi-packets").join(name);
        let files = std::fs::read_dir(folder).expect("it is there");
        real(files.map(|file| file.expect("it is readable").path()))
    };
    let report_itch = all_of("Nasdaq.Equities.TotalView.Itch.v5.0");
    assert_eq!((report_itch.messages, report_itch.refused), (46, 0));
    assert_eq!(report_itch.sessions.len(), 1);
    assert_eq!(report_itch.sessions[0].id.to_string(), "000010059B");
    assert_eq!(report_itch.sessions[0].first, Some(14_757_701));
    assert_eq!(report_itch.sessions[0].dropped_packets, 0);
    assert_eq!(report_itch.not_moldudp64, 0);

    // Their sessions and numbers are blanked.
    let blanked = all_of("Nasdaq.Equities.TotalView.Itch.v5.0.20230822");
    assert_eq!((blanked.messages, blanked.refused), (71, 0));
    assert!(blanked.sessions.is_empty() && blanked.not_moldudp64 == 0);

    let iex = real([data.join("iex/IEX_TOPS16_sample_20170710.pcapng.gz")]);
    assert!(iex.packets > 0);
    assert_eq!((iex.not_moldudp64, iex.messages), (iex.packets, 0));
}
