//! Datagrams of every other layout, as MoldUDP64 packets: so one arbiter puts all of them in order.

use crate::iextp::Segments;
use crate::mdp3::Packets;
use crate::source::{Framing, Packet};

/// What has to be remembered of the datagrams before.
#[derive(Debug, Default)]
pub struct Transports {
    iextp: Segments,
    mdp3: Packets,
}

impl Transports {
    /// The same messages in a MoldUDP64 packet; what is wrong with the packet otherwise.
    pub fn as_mold<'a>(&'a mut self, packet: &Packet<'a>) -> Result<Packet<'a>, &'static str> {
        let payload = match packet.framing {
            Framing::IexTp => self.iextp.as_mold(packet.payload, packet.line)?,
            Framing::Mdp3(port) => self.mdp3.as_mold(packet.payload, port)?,
            Framing::MoldUdp64 | Framing::LengthPrefixed | Framing::Records(_) => packet.payload,
        };
        Ok(packet.with(payload))
    }
}
