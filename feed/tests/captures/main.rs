//! Captures, good and bad, as a user of `feed::source` meets them.

mod bad;
mod make;
mod merge;
mod mutated;
mod oracle;
mod real;

use std::path::PathBuf;

use feed::source::{Capture, CaptureOptions, Polled, Source, SourceError};

/// What a capture said, in order, as text: `file:packet time line payload` for packets, and
/// `file:packet @offset what` for troubles.
fn walk(paths: &[PathBuf], options: CaptureOptions) -> Result<Vec<String>, SourceError> {
    let mut capture = Capture::open(paths, options)?;
    let mut said = Vec::new();
    loop {
        let text = match capture.poll()? {
            Polled::Packet(packet) => {
                assert!(packet.payload.len() <= packet.wire_bytes as usize);
                let time = packet.ts_recv.map_or("-".into(), |ts| ts.0.to_string());
                let payload = String::from_utf8_lossy(packet.payload);
                let (place, line) = (packet.place, packet.line);
                format!("{}:{} {time} {line} {payload}", place.file, place.packet)
            }
            Polled::Trouble(trouble) => {
                let place = trouble.place;
                let at = place.offset_bytes;
                format!("{}:{} @{at} {}", place.file, place.packet, trouble.what)
            }
            Polled::Empty => panic!("a capture never says that it is empty for now"),
            Polled::End => break,
        };
        said.push(text);
    }
    assert!(matches!(capture.poll()?, Polled::End), "the end is the end");
    Ok(said)
}
