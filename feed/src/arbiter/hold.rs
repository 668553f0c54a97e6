//! Memory for packets that wait.

use super::GapRule;

/// Slots of equal size, reserved once; the system gives pages when they are first used.
#[derive(Debug)]
pub(super) struct Hold {
    bytes: Vec<u8>,
    pub(super) free: Vec<u32>,
    slot_bytes: usize,
}

impl Hold {
    pub(super) fn new(rule: &GapRule) -> Hold {
        let slots = u32::try_from(rule.hold_packets).expect("fewer than 2^32 held packets");
        Hold {
            bytes: vec![0; rule.hold_packets * rule.hold_packet_bytes],
            free: (0..slots).rev().collect(),
            slot_bytes: rule.hold_packet_bytes,
        }
    }

    /// Keeps a copy; `None` when it is too large. There is a free slot whenever a packet is
    /// offered, as running out of them makes a hole be given up at once.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Option<u32> {
        if bytes.len() > self.slot_bytes {
            return None;
        }
        let slot = self.free.pop()?;
        let from = slot as usize * self.slot_bytes;
        self.bytes[from..from + bytes.len()].copy_from_slice(bytes);
        Some(slot)
    }

    pub(super) fn get(&self, slot: Option<u32>, len_bytes: u32) -> &[u8] {
        let Some(slot) = slot else { return &[] };
        let from = slot as usize * self.slot_bytes;
        &self.bytes[from..from + len_bytes as usize]
    }

    pub(super) fn put_back(&mut self, slot: Option<u32>) {
        self.free.extend(slot);
    }
}
