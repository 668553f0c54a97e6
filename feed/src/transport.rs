//! Datagrams of every other layout, as MoldUDP64 packets: so one arbiter puts all of them in order.

use crate::arbiter::Bad;
use crate::iextp::Segments;
use crate::mdp3::{self, Packets};
use crate::pitch::{self, Units};
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
            Framing::Mdp3(port) => {
                if !mdp3::is_of_schema(packet.payload) {
                    return Err(Bad::NotMdp3.what());
                }
                self.mdp3.as_mold(packet.payload, port)?
            }
            Framing::Pitch(port) => {
                if !pitch::is_as_long(packet.payload, packet.wire_bytes) {
                    return Err(Bad::NotPitch.what());
                }
                let ts_recv = packet.ts_recv;
                self.pitch.as_mold(packet.payload, port, ts_recv)?
            }
            Framing::MoldUdp64 | Framing::LengthPrefixed | Framing::Records(_) => packet.payload,
        };
        Ok(packet.with(payload))
    }
}
