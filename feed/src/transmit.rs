//! Sends payloads to multicast groups: the other side of a live feed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

use socket2::{Domain, Socket, Type};

/// Sends UDP multicast from one interface, looped back to receivers on this machine too.
#[derive(Debug)]
pub struct Transmitter {
    socket: UdpSocket,
    refused: u64,
}

/// The system has no room for a packet now.
const ENOBUFS: i32 = 105;

impl Transmitter {
    /// Opens a socket on the interface with this address.
    pub fn open(interface: Ipv4Addr) -> io::Result<Transmitter> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        socket.set_multicast_if_v4(&interface)?;
        socket.set_multicast_loop_v4(true)?;
        socket.bind(&SocketAddr::from((interface, 0)).into())?;
        Ok(Transmitter {
            socket: socket.into(),
            refused: 0,
        })
    }

    /// Sends one packet; `false` when the system had no room for it. It is not tried again, since
    /// multicast has no second try either.
    pub fn send(&mut self, payload: &[u8], to: SocketAddrV4) -> io::Result<bool> {
        match self.socket.send_to(payload, to) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(ENOBUFS) => {
                self.refused += 1;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// How many packets the system had no room for.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}
