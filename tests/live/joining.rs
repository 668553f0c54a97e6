//! Sessions that had begun before.

use super::*;

/// What a capture lacks at its front is all there is, or lost, as the settings say.
#[test]
fn a_capture_that_begins_within_a_session_is_taken_as_the_settings_say() {
    let folder = Folder::new("join");
    let capture = folder.join("session.pcap");
    let sample = "sample itch --symbols 16 --seconds 3 --rate 2000 -o".split(' ');
    tapeline(sample.map(OsString::from).chain([capture.clone().into()])).expect(0);
    // The first 300 packets go, behind the file's own header.
    let mut bytes = std::fs::read(&capture).unwrap();
    let mut at = 24;
    for _ in 0..300 {
        let len = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        at += 16 + len as usize;
    }
    bytes.drain(24..at);
    let cut = folder.write("cut.pcap", bytes);
    let text = String::from;
    let replay = |name: &str, settings: &str| {
        let (config, run) = (folder.write("join.toml", settings), folder.join(name));
        tapeline(args![
            text("replay"),
            cut,
            text("-c"),
            config,
            text("-o"),
            run
        ])
        .expect(0);
        manifest(&run)
    };
    let unsaid = replay("unsaid", "");
    let as_is = replay("as-is", "[source]\njoin = \"as-is\"\n");
    let loss = replay("loss", "[source]\njoin = \"loss\"\n");
    assert_eq!(unsaid["digest"], as_is["digest"]);
    assert_eq!(as_is["counts"]["lost_messages"], 0);
    assert_eq!(as_is["counts"]["stale_symbols"], 0);
    assert_eq!(loss["gaps"][0]["first"], 1, "{}", loss["gaps"]);
    assert!(loss["counts"]["lost_messages"].as_u64() > Some(0));
    assert!(loss["counts"]["stale_symbols"].as_u64() > Some(0));
    assert_eq!(loss["counts"]["messages"], as_is["counts"]["messages"]);
    assert_eq!(loss["counts"]["orders"], 0);
}

/// Whoever comes late lacks orders, and must not trade on what is left.
#[test]
fn a_session_that_is_joined_late_is_stale_and_decides_nothing() {
    let _alone = alone();
    let Some(session) = Session::new("live-late") else {
        return;
    };
    // As if the first packets had been sent before there was anybody.
    let faults = ["--rate", "4000/s", "--drop-both", "1..300"];
    let run = session.folder.join("late");
    let mut listening = session.listen_for(&run, "wait = \"50ms\"\n", "");
    let mut serving = session.serve_with(&session.capture, &faults);
    serving.wait_for_end().expect(0);
    listening.wait_for_end().expect(0);
    let live = manifest(&run);
    // Heartbeats tell of it in several pieces.
    assert_eq!(live["gaps"][0]["first"], 1, "{}", live["gaps"]);
    let counts = &live["counts"];
    assert!(counts["lost_messages"].as_u64() >= Some(300), "{counts}");
    assert!(counts["stale_symbols"].as_u64() > Some(0), "{counts}");
    assert_eq!(counts["orders"], 0, "{counts}");
    assert_eq!(counts["sent"], 0, "{counts}");
}
