//! From a captured frame to the UDP payload in it.
//!
//! Everything here is a pure function of bytes that nobody vouches for: each length is checked
//! before it is used. Checksums are not, since network cards fill them in after the capture.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A UDP datagram inside a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<'a> {
    /// Sender's address.
    pub src: IpAddr,
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's address: the multicast group.
    pub dst: IpAddr,
    /// Receiver's port.
    pub dst_port: u16,
    /// What the capture has of the payload.
    pub payload: &'a [u8],
    /// At which byte of the frame the payload starts.
    pub payload_at: usize,
    /// How many bytes the payload had on the wire, by the UDP header.
    pub wire_bytes: u32,
}

/// Why a frame holds no UDP payload for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotUdp {
    /// The link type is none that we know.
    Link(u16),
    /// Another protocol: ARP, TCP, ICMP... Nothing wrong with it.
    Other,
    /// A piece of a fragmented IP packet. Market data is not sent that way, and is not
    /// reassembled.
    Fragment,
    /// The frame ends inside a header.
    Cut {
        /// Which header.
        header: &'static str,
        /// How many bytes the frame has.
        found_bytes: usize,
        /// How many it would need at least.
        want_bytes: usize,
    },
    /// A header contradicts itself.
    Bad {
        /// What is wrong.
        field: &'static str,
        /// What stands there.
        found: u32,
        /// What should, or the least that could.
        want: u32,
    },
}

impl fmt::Display for NotUdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotUdp::Link(link_type) => write!(
                f,
                "link type {link_type}, want Ethernet (1), Linux cooked (113, 276), raw IP (12, \
                 101, 228, 229) or loopback (0, 108)"
            ),
            NotUdp::Other => f.write_str("not UDP"),
            NotUdp::Fragment => f.write_str("fragment of an IP packet, want whole packets"),
            NotUdp::Cut {
                header,
                found_bytes,
                want_bytes,
            } => {
                write!(
                    f,
                    "frame of {found_bytes} bytes, want {want_bytes} for its {header} header"
                )
            }
            NotUdp::Bad { field, found, want } => {
                write!(f, "{field} {found}, want {want}")
            }
        }
    }
}

impl std::error::Error for NotUdp {}

/// The link types of the pcap registry that are understood here.
pub mod link_type {
    /// BSD loopback, address family in the byte order of the capturing host.
    pub const NULL: u16 = 0;
    /// Ethernet.
    pub const ETHERNET: u16 = 1;
    /// Raw IP, as written by some systems.
    pub const RAW_DLT: u16 = 12;
    /// Raw IP.
    pub const RAW: u16 = 101;
    /// OpenBSD loopback, address family in network byte order.
    pub const LOOP: u16 = 108;
    /// Linux "cooked" capture.
    pub const LINUX_SLL: u16 = 113;
    /// Raw IPv4.
    pub const IPV4: u16 = 228;
    /// Raw IPv6.
    pub const IPV6: u16 = 229;
    /// Linux "cooked" capture, version 2.
    pub const LINUX_SLL2: u16 = 276;

    /// Whether [`super::udp`] can look into frames of this type.
    pub const fn is_known(link_type: u16) -> bool {
        matches!(
            link_type,
            NULL | ETHERNET | RAW_DLT | RAW | LOOP | LINUX_SLL | IPV4 | IPV6 | LINUX_SLL2
        )
    }

    /// The name for people, or `unknown`.
    pub const fn name(link_type: u16) -> &'static str {
        match link_type {
            NULL => "null",
            ETHERNET => "ethernet",
            RAW_DLT | RAW => "raw IP",
            LOOP => "loopback",
            LINUX_SLL => "linux cooked",
            IPV4 => "raw IPv4",
            IPV6 => "raw IPv6",
            LINUX_SLL2 => "linux cooked v2",
            _ => "unknown",
        }
    }
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_UDP: u8 = 17;
const UDP_HEADER_BYTES: usize = 8;

/// Finds the UDP payload in a frame.
#[inline(always)]
pub fn udp(link_type: u16, frame: &[u8]) -> Result<Udp<'_>, NotUdp> {
    // Nearly every frame is IPv4 right behind an Ethernet header.
    if link_type == link_type::ETHERNET
        && frame.get(12..14) == Some(&ETHERTYPE_IPV4.to_be_bytes()[..])
    {
        return ipv4(frame, 14);
    }
    any_link(link_type, frame)
}

#[inline(never)]
fn any_link(link_type: u16, frame: &[u8]) -> Result<Udp<'_>, NotUdp> {
    match link_type {
        link_type::ETHERNET => ethertype(frame, 12, "Ethernet"),
        link_type::LINUX_SLL => ethertype(frame, 14, "Linux cooked"),
        link_type::LINUX_SLL2 => {
            let [high, low] = bytes_at(frame, 0, "Linux cooked v2")?;
            network(frame, u16::from_be_bytes([high, low]), 20)
        }
        link_type::RAW | link_type::RAW_DLT => match frame.first().map(|byte| byte >> 4) {
            Some(4) => ipv4(frame, 0),
            Some(6) => ipv6(frame, 0),
            Some(_) => Err(NotUdp::Other),
            None => Err(cut(frame, 1, "IP")),
        },
        link_type::IPV4 => ipv4(frame, 0),
        link_type::IPV6 => ipv6(frame, 0),
        link_type::NULL | link_type::LOOP => {
            let family = u32::from_be_bytes(bytes_at(frame, 0, "loopback")?);
            // A family fits in one byte: if the low half is empty, the bytes are swapped.
            let family = if family & 0xffff == 0 {
                family.swap_bytes()
            } else {
                family
            };
            match family {
                2 => ipv4(frame, 4),
                // AF_INET6 has one number on Linux and three among the BSDs.
                10 | 24 | 28 | 30 => ipv6(frame, 4),
                _ => Err(NotUdp::Other),
            }
        }
        _ => Err(NotUdp::Link(link_type)),
    }
}

/// The protocol number at `at`, behind any number of VLAN tags (802.1Q, 802.1ad and the two that
/// were in use before it), and what it announces.
fn ethertype<'a>(frame: &'a [u8], mut at: usize, header: &'static str) -> Result<Udp<'a>, NotUdp> {
    loop {
        let kind = u16::from_be_bytes(bytes_at(frame, at, header)?);
        match kind {
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => at += 4,
            _ => return network(frame, kind, at + 2),
        }
    }
}

fn network(frame: &[u8], kind: u16, at: usize) -> Result<Udp<'_>, NotUdp> {
    match kind {
        ETHERTYPE_IPV4 => ipv4(frame, at),
        ETHERTYPE_IPV6 => ipv6(frame, at),
        _ => Err(NotUdp::Other),
    }
}

#[inline(always)]
fn ipv4(frame: &[u8], at: usize) -> Result<Udp<'_>, NotUdp> {
    let ip: &[u8; 20] = header_at(frame, at, "IPv4")?;
    let header_bytes = usize::from(ip[0] & 0x0f) * 4;
    let total_bytes = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    if ip[0] >> 4 != 4 {
        return Err(bad("IP version", usize::from(ip[0] >> 4), 4));
    }
    if header_bytes < 20 {
        return Err(bad("IPv4 header length", header_bytes, 20));
    }
    if ip[9] != PROTOCOL_UDP {
        return Err(NotUdp::Other);
    }
    // "More fragments", or an offset: all of the field but "don't fragment".
    if u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0 {
        return Err(NotUdp::Fragment);
    }
    if total_bytes < header_bytes + UDP_HEADER_BYTES {
        return Err(bad(
            "IPv4 total length",
            total_bytes,
            header_bytes + UDP_HEADER_BYTES,
        ));
    }
    let src = IpAddr::V4(Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]));
    let dst = IpAddr::V4(Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]));
    datagram(frame, at + header_bytes, at + total_bytes, src, dst)
}

fn ipv6(frame: &[u8], at: usize) -> Result<Udp<'_>, NotUdp> {
    let ip: &[u8; 40] = header_at(frame, at, "IPv6")?;
    if ip[0] >> 4 != 6 {
        return Err(bad("IP version", usize::from(ip[0] >> 4), 6));
    }
    let end = at + 40 + usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    let address = |from: usize| {
        let bytes: [u8; 16] = std::array::from_fn(|index| ip[from + index]);
        IpAddr::V6(Ipv6Addr::from(bytes))
    };
    let (mut next, mut at) = (ip[6], at + 40);
    // Every extension header is at least eight bytes long, so that the frame's end ends this.
    loop {
        match next {
            PROTOCOL_UDP => break,
            // Hop-by-hop options, routing, destination options: a count of further 8-byte units.
            0 | 43 | 60 => {
                let [after, units] = bytes_at(frame, at, "IPv6 extension")?;
                (next, at) = (after, at + 8 + usize::from(units) * 8);
            }
            // A fragment header; one that says "first and last" is no fragment (RFC 6946).
            44 => {
                let [after, _, high, low] = bytes_at(frame, at, "IPv6 fragment")?;
                if u16::from_be_bytes([high, low]) & 0xfff9 != 0 {
                    return Err(NotUdp::Fragment);
                }
                (next, at) = (after, at + 8);
            }
            _ => return Err(NotUdp::Other),
        }
    }
    if end < at + UDP_HEADER_BYTES {
        return Err(bad("IPv6 packet length", end, at + UDP_HEADER_BYTES));
    }
    datagram(frame, at, end, address(8), address(24))
}

/// The datagram whose header stands at `at`, in an IP packet that goes up to `end`; what the
/// frame has behind that is padding.
#[inline(always)]
fn datagram(
    frame: &[u8],
    at: usize,
    end: usize,
    src: IpAddr,
    dst: IpAddr,
) -> Result<Udp<'_>, NotUdp> {
    let udp: &[u8; UDP_HEADER_BYTES] = header_at(frame, at, "UDP")?;
    let src_port = u16::from_be_bytes([udp[0], udp[1]]);
    let dst_port = u16::from_be_bytes([udp[2], udp[3]]);
    let udp_bytes = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
    if udp_bytes < UDP_HEADER_BYTES {
        return Err(bad("UDP length", udp_bytes, UDP_HEADER_BYTES));
    }
    if at + udp_bytes > end {
        return Err(bad(
            "IP packet length after its headers",
            end - at,
            udp_bytes,
        ));
    }
    let payload_at = at + UDP_HEADER_BYTES;
    let payload = &frame[payload_at..frame.len().min(at + udp_bytes)];
    let wire_bytes = (udp_bytes - UDP_HEADER_BYTES) as u32;
    Ok(Udp {
        src,
        src_port,
        dst,
        dst_port,
        payload,
        payload_at,
        wire_bytes,
    })
}

#[inline(always)]
fn header_at<'a, const N: usize>(
    frame: &'a [u8],
    at: usize,
    header: &'static str,
) -> Result<&'a [u8; N], NotUdp> {
    match frame.get(at..).and_then(|rest| rest.first_chunk::<N>()) {
        Some(bytes) => Ok(bytes),
        None => Err(cut(frame, at + N, header)),
    }
}

#[inline]
fn bytes_at<const N: usize>(
    frame: &[u8],
    at: usize,
    header: &'static str,
) -> Result<[u8; N], NotUdp> {
    header_at::<N>(frame, at, header).copied()
}

#[cold]
#[inline(never)]
fn cut(frame: &[u8], want_bytes: usize, header: &'static str) -> NotUdp {
    NotUdp::Cut {
        header,
        found_bytes: frame.len(),
        want_bytes,
    }
}

#[cold]
#[inline(never)]
fn bad(field: &'static str, found: usize, want: usize) -> NotUdp {
    NotUdp::Bad {
        field,
        found: found as u32,
        want: want as u32,
    }
}
