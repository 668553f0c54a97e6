//! Datagrams of every other layout, as MoldUDP64 packets: so one arbiter puts all of them in order.

use crate::iextp::Segments;
use crate::mdp3::Packets;
use crate::pitch::Units;
use crate::source::{Framing, Packet};

/// What has to be remembered of the datagrams before.
#[derive(Debug, Default)]
pub struct Transports {
    iextp: Segments,
    mdp3: Packets,
    pitch: Units,
}

impl Transports {
    /// The same messages in a MoldUDP64 packet; what is wrong with the packet otherwise.
    pub fn as_mold<'a>(&'a mut self, packet: &Packet<'a>) -> Result<Packet<'a>, &'static str> {
        let payload = match packet.framing {
            Framing::IexTp => self.iextp.as_mold(packet.payload, packet.line)?,
            Framing::Mdp3(port) => self.mdp3.as_mold(packet.payload, port)?,
            Framing::Pitch(port) => {
                let ts_recv = packet.ts_recv;
                self.pitch.as_mold(packet.payload, port, ts_recv)?
            }
            Framing::MoldUdp64 | Framing::LengthPrefixed | Framing::Records(_) => packet.payload,
        };
        Ok(packet.with(payload))
    }
}
