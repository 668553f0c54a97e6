//! Packets and messages written by hand, and what the decoder makes of them as text.

use bus::{Event, Flags, Kind, Side};
use feed::mdp3::PREFIX_BYTES;
use feed::protocol::{Fault, Mdp3, Protocol};

pub(crate) const SENT: u64 = 1_536_760_535_682_568_739;
pub(crate) const ENDS: u8 = 0x80;

/// A message without its size: header, block, and groups of three or eight bytes' dimensions.
pub(crate) fn message(
    id: u16,
    version: u16,
    block: &[u8],
    groups: &[(bool, usize, Vec<Vec<u8>>)],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [block.len() as u16, id, 1, version] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(block);
    for (is_wide, each, entries) in groups {
        bytes.extend((*each as u16).to_le_bytes());
        if *is_wide {
            bytes.extend([0; 5]);
        }
        bytes.push(entries.len() as u8);
        for entry in entries {
            bytes.extend(entry);
            bytes.resize(bytes.len() + each - entry.len(), 0xee);
        }
    }
    bytes
}

/// The block of most messages.
pub(crate) fn head(ends: u8) -> Vec<u8> {
    let mut block = (SENT - 5).to_le_bytes().to_vec();
    block.extend([ends, 0, 0]);
    block
}

/// A price level: in units of the template, quantity, security, level, action, type.
pub(crate) fn level(
    units: i64,
    qty: i32,
    security: i32,
    level: u8,
    action: u8,
    entry: u8,
) -> Vec<u8> {
    let mut bytes = units.to_le_bytes().to_vec();
    bytes.extend(qty.to_le_bytes());
    bytes.extend(security.to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend([level, action, entry, 0, 0, 0, 0, 0]);
    bytes
}

/// An order in an entry of template 46.
pub(crate) fn order(id: u64, priority: u64, qty: i32, reference: u8, action: u8) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend(priority.to_le_bytes());
    bytes.extend(qty.to_le_bytes());
    bytes.extend([reference, action, 0, 0]);
    bytes
}

/// An entry of template 47.
pub(crate) fn full_order(
    id: u64,
    priority: u64,
    e9: i64,
    qty: i32,
    security: i32,
    end: [u8; 2],
) -> Vec<u8> {
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend(priority.to_le_bytes());
    bytes.extend(e9.to_le_bytes());
    bytes.extend(qty.to_le_bytes());
    bytes.extend(security.to_le_bytes());
    bytes.extend(end);
    bytes
}

pub(crate) fn book(ends: u8, levels: Vec<Vec<u8>>, orders: Vec<Vec<u8>>) -> Vec<u8> {
    let groups = [(false, 32, levels), (true, 24, orders)];
    message(46, 9, &head(ends), &groups)
}

pub(crate) fn order_book(ends: u8, orders: Vec<Vec<u8>>) -> Vec<u8> {
    message(47, 9, &head(ends), &[(false, 40, orders)])
}

pub(crate) fn packet(sequence: u32, sent: u64, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = sequence.to_le_bytes().to_vec();
    bytes.extend(sent.to_le_bytes());
    for message in messages {
        bytes.extend((message.len() as u16 + 2).to_le_bytes());
        bytes.extend(message);
    }
    bytes
}

/// The decoder, and the number of the packet that its messages are in.
pub(crate) struct Feed {
    mdp3: Mdp3,
    pub(crate) sequence: u32,
    pub(crate) port: u16,
}

impl Feed {
    pub(crate) fn new() -> Feed {
        Feed {
            mdp3: Mdp3::new(),
            sequence: 100,
            port: 14_310,
        }
    }

    pub(crate) fn take(&mut self, message: &[u8]) -> Result<Vec<Event>, Fault> {
        let (events, result) = self.hear(message);
        result.map(|()| events)
    }

    /// What is made of a message, and what is wrong with it.
    pub(crate) fn hear(&mut self, message: &[u8]) -> (Vec<Event>, Result<(), Fault>) {
        let mut bytes = SENT.to_le_bytes().to_vec();
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(self.port.to_le_bytes());
        assert_eq!(bytes.len(), PREFIX_BYTES);
        bytes.extend(message);
        let (mut event, mut events) = (Event::new(Kind::Nothing), Vec::new());
        let decoded = self.mdp3.decode(&bytes, &mut event);
        let result = decoded.and_then(|_| self.mdp3.translate(&bytes, &event, &mut events));
        (events, result)
    }

    #[track_caller]
    pub(crate) fn check(&mut self, message: &[u8], want: &[&str]) {
        assert_eq!(text(&self.take(message).unwrap()), want);
    }
}

/// Events in one line each, for comparison.
pub(crate) fn text(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| {
        let side = match event.side {
            Side::Buy => " buy",
            Side::Sell => " sell",
            Side::None => "",
        };
        let part = match event.flags {
            Flags::MORE => " more",
            Flags::ENDS => " ends",
            _ => "",
        };
        let (kind, symbol, order) = (event.kind, event.symbol, event.order);
        if kind == Kind::Symbol {
            let name = String::from_utf8(order.to_be_bytes().to_vec()).unwrap();
            return format!("{symbol} is {}", name.trim_end());
        }
        format!(
            "{symbol} {kind:?}{side} {order} {} x {}{part}",
            event.price, event.qty.0
        )
    };
    events.iter().map(line).collect()
}

pub(crate) const E9: i64 = 1_000_000_000;
