//! One thing that was concluded: a closed window, an alert, a regime, an order to send.

mod joins;
mod orders;
mod outbox;
mod states;
#[cfg(test)]
mod tests;
mod windows;
mod words;

use bytemuck::{CheckedBitPattern, NoUninit};

pub use self::joins::{Best, Join, JoinValue, Met};
pub use self::orders::{Fate, Order, Outcome, Over, Reject, RejectCode, Report, Sent, Tif, Whose};
pub use self::outbox::Outbox;
pub use self::states::{Digest, Features, Momentum, Regime, Spread, Volatility};
pub use self::windows::{
    Adjust, AdjustReason, Broken, Late, LateReason, Window, WindowFlow, WindowStanding,
};
use crate::fixed::Ts;

/// One conclusion, 128 bytes, two cache lines: the same in the log, in a table and in a test.
///
/// ```text
/// byte   0        8     16 ...... 55   56    60    61     62      64 ........ 127
///     ts_event   seq    words 0 to 4  symbol kind  rule ordinal   words 5 to 12
/// ```
///
/// The kind stands where an [`Event`](crate::Event) has its own, with a value of 0x80 or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, NoUninit, CheckedBitPattern)]
#[repr(C, align(64))]
pub struct Signal {
    /// The event time it holds for; for a window its end.
    pub ts_event: Ts,
    /// The `seq` of the event that caused it.
    pub seq: u64,
    words_front: [i64; 5],
    /// The symbol's number in this run.
    pub symbol: u32,
    /// What is said; the words are read through [`Signal::body`].
    pub kind: SignalKind,
    /// Which of the configured windows, monitors or strategies says it.
    pub rule: u8,
    /// Tells apart several signals of one symbol with one cause: 0, 1, 2 ...
    pub ordinal: u16,
    words_back: [i64; 8],
}

const _: () = assert!(size_of::<Signal>() == 128);
const _: () = assert!(std::mem::offset_of!(Signal, kind) == 60);

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, NoUninit, CheckedBitPattern)]
#[repr(u8)]
pub enum SignalKind {
    /// [`Body::Window`]
    Window = 0x80,
    /// [`Body::Late`]
    Late = 0x81,
    /// [`Body::Spread`]
    Spread = 0x82,
    /// [`Body::Regime`]
    Regime = 0x83,
    /// [`Body::Momentum`]
    Momentum = 0x84,
    /// [`Body::Order`]
    Order = 0x85,
    /// [`Body::Reject`]
    Reject = 0x86,
    /// [`Body::Sent`]
    Sent = 0x87,
    /// [`Body::Digest`]
    Digest = 0x88,
    /// [`Body::Broken`]
    Broken = 0x89,
    /// [`Body::WindowFlow`]
    WindowFlow = 0x8a,
    /// [`Body::WindowStanding`]
    WindowStanding = 0x8b,
    /// [`Body::Adjust`]
    Adjust = 0x8c,
    /// [`Body::Features`]
    Features = 0x8d,
    /// [`Body::Report`]
    Report = 0x8e,
    /// [`Body::Join`]
    Join = 0x8f,
    /// [`Body::Best`]
    Best = 0x90,
}

impl SignalKind {
    /// How many kinds there are.
    pub const COUNT: usize = 17;

    /// Its number among them, from 0.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize - 0x80
    }

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            SignalKind::Window => "window",
            SignalKind::Late => "late",
            SignalKind::Spread => "spread",
            SignalKind::Regime => "regime",
            SignalKind::Momentum => "momentum",
            SignalKind::Order => "order",
            SignalKind::Reject => "reject",
            SignalKind::Sent => "sent",
            SignalKind::Digest => "digest",
            SignalKind::Broken => "broken",
            SignalKind::WindowFlow => "window_flow",
            SignalKind::WindowStanding => "window_standing",
            SignalKind::Adjust => "adjust",
            SignalKind::Features => "features",
            SignalKind::Report => "report",
            SignalKind::Join => "join",
            SignalKind::Best => "best",
        }
    }
}

/// A signal's content.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Body {
    /// A window closed.
    Window(Window),
    /// A trade came after its window had closed, or with a time out of bounds.
    Late(Late),
    /// A spread alert is raised or cleared.
    Spread(Spread),
    /// The volatility regime changed.
    Regime(Regime),
    /// The momentum strategy saw an opportunity.
    Momentum(Momentum),
    /// An order to send; its id is made of the signal's own head.
    Order(Order),
    /// An order that the risk gate refused.
    Reject(Reject),
    /// What became of an order at the gateway.
    Sent(Sent),
    /// Digest of all that was concluded of this symbol in one minute.
    Digest(Digest),
    /// A print was broken.
    Broken(Broken),
    /// More of the window that was said before it.
    WindowFlow(WindowFlow),
    /// More of the window that was said before it.
    WindowStanding(WindowStanding),
    /// A print was broken that windows have, and keep.
    Adjust(Adjust),
    /// What the strategy of this number saw when it wanted an order.
    Features(Features),
    /// What a simulated venue says of an order.
    Report(Report),
    /// A row of the join of this number.
    Join(Join),
    /// The best prices of the instrument of this number are others.
    Best(Best),
}

impl Signal {
    /// A signal with this head and content.
    pub fn new(ts_event: Ts, seq: u64, symbol: u32, rule: u8, ordinal: u16, body: Body) -> Signal {
        let (kind, words) = body.to_words();
        Signal {
            ts_event,
            seq,
            words_front: words[..5].try_into().expect("five words"),
            symbol,
            kind,
            rule,
            ordinal,
            words_back: words[5..].try_into().expect("eight words"),
        }
    }

    /// What it says; `None` where the words are none that [`Signal::new`] writes.
    pub fn body(&self) -> Option<Body> {
        let mut words = [0; 13];
        words[..5].copy_from_slice(&self.words_front);
        words[5..].copy_from_slice(&self.words_back);
        Body::from_words(self.kind, &words)
    }

    /// The words of its content, for digests.
    pub fn words(&self) -> impl Iterator<Item = i64> + '_ {
        self.words_front.iter().chain(&self.words_back).copied()
    }

    /// The signal as the 128 bytes that the log keeps.
    #[inline]
    pub fn as_bytes(&self) -> &[u8; 128] {
        bytemuck::bytes_of(self)
            .try_into()
            .expect("a signal is 128 bytes")
    }

    /// The signal in these bytes, or `None` where they are not one.
    pub fn from_bytes(bytes: &[u8; 128]) -> Option<Signal> {
        bytemuck::checked::try_pod_read_unaligned(bytes).ok()
    }
}
