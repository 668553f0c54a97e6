//! Frames of every link type against `etherparse`, and frames that are not what they say.

use std::net::IpAddr;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use feed::link::{NotUdp, Udp, link_type, udp};

/// A small random number generator (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 33) % bound
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next() as u8)
    }
}

/// An IP packet with a datagram in it, as `etherparse` writes it, and what was put in.
struct Made {
    ip: Vec<u8>,
    is_v6: bool,
    src: IpAddr,
    dst: IpAddr,
    ports: (u16, u16),
    payload: Vec<u8>,
}

fn make(random: &mut Random) -> Made {
    let is_v6 = random.below(3) == 0;
    let ports = (random.next() as u16, random.next() as u16);
    let payload: Vec<u8> = (0..random.below(1_400))
        .map(|_| random.next() as u8)
        .collect();
    let mut ip = Vec::new();
    let (src, dst): (IpAddr, IpAddr);
    if is_v6 {
        let (from, to) = (random.bytes::<16>(), random.bytes::<16>());
        (src, dst) = (from.into(), to.into());
        let builder = PacketBuilder::ipv6(from, to, 64).udp(ports.0, ports.1);
        builder.write(&mut ip, &payload).unwrap();
    } else {
        let (from, to) = (random.bytes::<4>(), random.bytes::<4>());
        (src, dst) = (from.into(), to.into());
        let builder = PacketBuilder::ipv4(from, to, 64).udp(ports.0, ports.1);
        builder.write(&mut ip, &payload).unwrap();
    }
    // Some with options, or extension headers, which make the same datagram start later.
    if random.below(3) == 0 {
        if is_v6 {
            let kind = [0, 43, 60, 44][random.below(4) as usize];
            let units = if kind == 44 {
                0
            } else {
                random.below(4) as usize
            };
            let mut extension = vec![0; 8 + units * 8];
            (extension[0], extension[1]) = (17, units as u8);
            ip[6] = kind;
            let length = u16::from_be_bytes([ip[4], ip[5]]) + extension.len() as u16;
            ip[4..6].copy_from_slice(&length.to_be_bytes());
            ip.splice(40..40, extension);
        } else {
            let words = 1 + random.below(10) as u8;
            ip[0] = 0x45 + words;
            let length = u16::from_be_bytes([ip[2], ip[3]]) + u16::from(words) * 4;
            ip[2..4].copy_from_slice(&length.to_be_bytes());
            ip.splice(20..20, vec![1; usize::from(words) * 4]);
        }
    }
    Made {
        ip,
        is_v6,
        src,
        dst,
        ports,
        payload,
    }
}

/// The same packet behind the header of some link type.
fn link(random: &mut Random, made: &Made) -> (u16, Vec<u8>) {
    let ethertype: [u8; 2] = if made.is_v6 { [0x86, 0xdd] } else { [8, 0] };
    let version = usize::from(made.is_v6);
    let tagged = |mut header: Vec<u8>, random: &mut Random| {
        for _ in 0..random.below(4) {
            let tag = [[0x81, 0], [0x88, 0xa8], [0x91, 0], [0x92, 0]][random.below(4) as usize];
            header.extend(tag);
            header.extend(random.bytes::<2>());
        }
        header.extend(ethertype);
        header
    };
    let (kind, header) = match random.below(9) {
        0..=2 => (
            link_type::ETHERNET,
            tagged(random.bytes::<12>().to_vec(), random),
        ),
        3 => (
            link_type::LINUX_SLL,
            tagged(random.bytes::<14>().to_vec(), random),
        ),
        4 => {
            let rest = random.bytes::<18>();
            (link_type::LINUX_SLL2, [&ethertype[..], &rest].concat())
        }
        5 => (
            [link_type::RAW, link_type::RAW_DLT][random.below(2) as usize],
            vec![],
        ),
        6 => ([link_type::IPV4, link_type::IPV6][version], vec![]),
        7 => {
            let family: u32 = [2, [10, 24, 28, 30][random.below(4) as usize]][version];
            let bytes = [family.to_be_bytes(), family.to_le_bytes()][random.below(2) as usize];
            (link_type::NULL, bytes.to_vec())
        }
        _ => (link_type::LOOP, [2u32, 30][version].to_be_bytes().to_vec()),
    };
    // What is padded to the least length of a frame, or has a check sequence at its end.
    let padding = vec![0xee; random.below(30) as usize];
    (kind, [header, made.ip.clone(), padding].concat())
}

#[test]
fn what_etherparse_writes_is_read_behind_every_link_type() {
    for seed in 1..=20_000 {
        let mut random = Random(seed);
        let made = make(&mut random);
        let (kind, frame) = link(&mut random, &made);
        let found = udp(kind, &frame).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!((found.src, found.dst), (made.src, made.dst), "seed {seed}");
        assert_eq!((found.src_port, found.dst_port), made.ports, "seed {seed}");
        assert_eq!(found.payload, made.payload, "seed {seed}");
        assert_eq!(found.wire_bytes as usize, made.payload.len(), "seed {seed}");
        assert_eq!(
            &frame[found.payload_at..][..made.payload.len()],
            made.payload,
            "seed {seed}"
        );
    }
}

#[test]
fn damaged_frames_never_panic_and_etherparse_reads_the_same_where_both_do() {
    let mut both = 0;
    for seed in 1..=30_000 {
        let mut random = Random(seed);
        let made = make(&mut random);
        let (kind, mut frame) = link(&mut random, &made);
        let header_bytes = (frame.len() - made.payload.len().min(frame.len())).max(1);
        for _ in 0..=random.below(3) {
            let at = random.below(header_bytes.min(frame.len()).max(1) as u64) as usize;
            match random.below(8) {
                0 => frame.truncate(at),
                _ if at < frame.len() => frame[at] ^= 1 << random.below(8),
                _ => {}
            }
        }
        let Ok(ours) = udp(kind, &frame) else {
            continue;
        };
        assert!(
            ours.payload.len() <= ours.wire_bytes as usize,
            "seed {seed}"
        );
        if kind == link_type::ETHERNET
            && let Some(theirs) = oracle(&frame)
        {
            both += 1;
            assert_eq!(ours, theirs, "seed {seed}");
        }
    }
    assert!(both > 1_000, "only {both} frames were read by both");
}

/// The datagram in an Ethernet frame by `etherparse`, where it takes the frame for whole.
fn oracle(frame: &[u8]) -> Option<Udp<'_>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (src, dst): (IpAddr, IpAddr) = match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            (
                header.source_addr().into(),
                header.destination_addr().into(),
            )
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            (
                header.source_addr().into(),
                header.destination_addr().into(),
            )
        }
        NetSlice::Arp(_) => return None,
    };
    let TransportSlice::Udp(udp) = packet.transport? else {
        return None;
    };
    let payload = udp.payload();
    // A length that reaches beyond the packet is read by etherparse as far as there is something.
    if usize::from(udp.length()) != payload.len() + 8 {
        return None;
    }
    Some(Udp {
        src,
        src_port: udp.source_port(),
        dst,
        dst_port: udp.destination_port(),
        payload,
        payload_at: payload.as_ptr().addr() - frame.as_ptr().addr(),
        wire_bytes: payload.len() as u32,
    })
}

#[test]
fn what_is_not_udp_says_why() {
    let mut random = Random(1);
    let frame = |patch: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = vec![0; 12];
        frame.extend([8, 0]);
        PacketBuilder::ipv4([10, 0, 0, 1], [239, 0, 0, 1], 9)
            .udp(1, 2)
            .write(&mut frame, b"payload")
            .unwrap();
        patch(&mut frame);
        frame
    };
    let why = |frame: &[u8]| udp(link_type::ETHERNET, frame).unwrap_err();
    assert_eq!(why(&frame(&|f| f[12] = 9)), NotUdp::Other);
    assert_eq!(why(&frame(&|f| f[23] = 6)), NotUdp::Other);
    assert_eq!(why(&frame(&|f| f[20] = 0x20)), NotUdp::Fragment);
    assert_eq!(why(&frame(&|f| f[21] = 1)), NotUdp::Fragment);
    let whole = frame(&|_| {});
    for cut in 0..42 {
        let NotUdp::Cut {
            found_bytes,
            want_bytes,
            ..
        } = why(&whole[..cut])
        else {
            panic!("cut after {cut} bytes")
        };
        assert!(found_bytes == cut && want_bytes > cut && want_bytes <= 42);
    }
    for cut in 42..=whole.len() {
        let found = udp(link_type::ETHERNET, &whole[..cut]).unwrap();
        assert_eq!((found.payload.len(), found.wire_bytes), (cut - 42, 7));
    }
    for kind in 0..=u16::MAX {
        let noise: [u8; 60] = random.bytes();
        let is_unknown = udp(kind, &noise) == Err(NotUdp::Link(kind));
        assert_eq!(is_unknown, !link_type::is_known(kind));
        assert_eq!(is_unknown, link_type::name(kind) == "unknown");
    }
}

#[test]
fn fragments_of_ipv6_are_told_from_atomic_ones() {
    let frame = |offset_and_more: u16| {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8 + 8 + 2, 44, 64]);
        frame.extend([0; 32]);
        frame.extend([17, 0]);
        frame.extend(offset_and_more.to_be_bytes());
        frame.extend([0, 0, 0, 1, 0, 1, 0, 2, 0, 10, 0, 0, b'h', b'i']);
        frame
    };
    assert_eq!(udp(link_type::ETHERNET, &frame(0)).unwrap().payload, b"hi");
    for fragment in [1, 8, 0xfff8] {
        assert_eq!(
            udp(link_type::ETHERNET, &frame(fragment)),
            Err(NotUdp::Fragment)
        );
    }
}
