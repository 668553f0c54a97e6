//! Plain twins, and what tests share: slow, short, and written apart from what they judge.

#![allow(dead_code, reason = "each test uses its own part")]

pub(crate) mod itch;
pub(crate) mod lines;

use std::path::PathBuf;

/// Numbers from a seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The folder of shared captures, where it lies beside the checkout.
pub(crate) fn shared_data() -> Option<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found = here
        .ancestors()
        .map(|up| up.join("shared/data"))
        .find(|path| path.is_dir());
    if found.is_none() {
        println!("skipped: there is no folder shared/data beside the checkout");
    }
    found
}

/// Messages, each behind its length.
pub(crate) fn blocks<M: AsRef<[u8]>>(messages: impl IntoIterator<Item = M>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        let message = message.as_ref();
        bytes.extend_from_slice(&(message.len() as u16).to_be_bytes());
        bytes.extend_from_slice(message);
    }
    bytes
}

/// All messages of a small session of the sample exchange.
pub(crate) fn sample_messages(seed: u64) -> Vec<Vec<u8>> {
    let session = exchange::Session {
        symbols: 40,
        seconds: 3,
        seed,
        rate: 5_000,
        ..exchange::Session::default()
    };
    let mut messages = Vec::new();
    let mut keep = |_: u64, message: &[u8]| {
        messages.push(message.to_vec());
        Ok(())
    };
    exchange::run(&session, &mut keep).expect("the session is within its bounds");
    messages
}
