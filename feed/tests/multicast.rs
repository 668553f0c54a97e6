//! Live multicast over the loopback interface. Where a machine does not allow that, each test
//! says so and passes.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use bus::clock::{Clock, MachineClock};
use feed::source::multicast::{Multicast, MulticastLine, MulticastOptions};
use feed::source::{Polled, Source};
use socket2::{Domain, Socket, Type};

const LO: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Sends over the loopback interface.
struct Sender {
    socket: Socket,
}

impl Sender {
    fn send(&self, to: &MulticastLine, payload: &[u8]) {
        let to = SocketAddrV4::new(to.group, to.port);
        assert_eq!(
            self.socket.send_to(payload, &to.into()).unwrap(),
            payload.len()
        );
    }
}

/// Both ends on these groups, if a first packet on each comes through. Ports differ from test to
/// test and from process to process, so that tests do not hear each other.
fn open(
    test: u16,
    groups: u8,
    buffer_bytes: usize,
) -> Option<(Sender, Multicast, MulticastOptions)> {
    let port = 20_000 + (std::process::id() % 4_000) as u16 * 8 + test;
    let lines = (1..=groups)
        .map(|group| MulticastLine {
            group: Ipv4Addr::new(239, 255, 77, group),
            port,
            interface: LO,
        })
        .collect();
    let options = MulticastOptions {
        lines,
        receive_buffer_bytes: buffer_bytes,
    };
    let mut multicast = match Multicast::open(&options) {
        Ok(multicast) => multicast,
        Err(error) => return skip(&error.to_string()),
    };
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    let ready = socket
        .set_multicast_if_v4(&LO)
        .and_then(|()| socket.set_multicast_loop_v4(true))
        .and_then(|()| socket.bind(&SocketAddrV4::new(LO, 0).into()));
    if let Err(error) = ready {
        return skip(&error.to_string());
    }
    let sender = Sender { socket };
    for line in &options.lines {
        let to = SocketAddrV4::new(line.group, line.port);
        if let Err(error) = sender.socket.send_to(b"hello", &to.into()) {
            return skip(&error.to_string());
        }
    }
    for _ in &options.lines {
        if next(&mut multicast).is_none() {
            return skip("what is sent does not arrive");
        }
    }
    Some((sender, multicast, options))
}

fn skip<T>(why: &str) -> Option<T> {
    println!("skipped: no multicast over loopback here: {why}");
    None
}

/// The next packet or trouble as text, or `None` after a second of nothing.
fn next(multicast: &mut Multicast) -> Option<String> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        match multicast.poll().unwrap() {
            Polled::Packet(packet) => {
                let text = String::from_utf8_lossy(packet.payload);
                return Some(format!("{} {text}", packet.line));
            }
            Polled::Trouble(trouble) => return Some(trouble.what),
            Polled::Empty => std::hint::spin_loop(),
            Polled::End => panic!("the network has no end"),
        }
    }
    None
}

#[test]
fn two_lines_come_in_the_order_of_arrival() {
    let Some((sender, mut multicast, options)) = open(0, 2, 1 << 20) else {
        return;
    };
    let names: Vec<&str> = multicast
        .lines()
        .iter()
        .map(|line| line.name.as_str())
        .collect();
    assert!(names[0].starts_with("239.255.77.1:") && names[1].starts_with("239.255.77.2:"));
    // All sent before any is received: only the kernel's times can tell their order.
    let order = [0, 1, 1, 0, 0, 0, 1, 0, 1, 1];
    for (count, line) in order.into_iter().enumerate() {
        sender.send(&options.lines[line], format!("{count}").as_bytes());
    }
    for (count, line) in order.into_iter().enumerate() {
        assert_eq!(next(&mut multicast), Some(format!("{line} {count}")));
    }
    assert!(matches!(multicast.poll().unwrap(), Polled::Empty));
    // A line with nothing does not hold the other up.
    for count in 0..3 {
        sender.send(&options.lines[1], b"alone");
        assert_eq!(next(&mut multicast), Some("1 alone".into()), "{count}");
    }
    assert_eq!(multicast.drops().sum::<u64>(), 0);
}

#[test]
fn times_are_the_kernels_and_packets_are_counted() {
    let Some((sender, mut multicast, options)) = open(1, 1, 1 << 20) else {
        return;
    };
    let clock = MachineClock::new();
    // The kernel stamps arrivals from some time after it was asked to (it does so by a work queue of
    // its own), and until then gives the time at which a packet is taken.
    let deadline = Instant::now() + Duration::from_secs(10);
    for count in 2.. {
        let before = clock.wall();
        sender.send(&options.lines[0], b"x");
        let after = clock.wall();
        // However late it is taken, its time is that of its arrival.
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(5) {}
        let Polled::Packet(packet) = multicast.poll().unwrap() else {
            panic!("want a packet")
        };
        assert_eq!(
            (packet.place.packet, packet.payload, packet.wire_bytes),
            (count, &b"x"[..], 1)
        );
        let ts = packet.ts_recv.unwrap();
        if before <= ts && ts <= after {
            return;
        }
        let is_early = ts < before;
        assert!(
            !is_early && Instant::now() < deadline,
            "{before:?} <= {ts:?} <= {after:?}"
        );
    }
}

#[test]
fn a_packet_longer_than_the_buffer_says_how_long_it_was() {
    let Some((sender, mut multicast, options)) = open(2, 1, 1 << 20) else {
        return;
    };
    sender.send(&options.lines[0], &[b'x'; 20_000]);
    let Polled::Packet(packet) = multicast.poll().unwrap() else {
        panic!("want a packet")
    };
    assert_eq!((packet.payload.len(), packet.wire_bytes), (9_216, 20_000));
}

#[test]
fn packets_that_the_kernel_dropped_are_told_of() {
    let Some((sender, mut multicast, options)) = open(3, 1, 8 << 10) else {
        return;
    };
    assert!(
        multicast
            .receive_buffer_bytes()
            .all(|bytes| bytes >= 8 << 10)
    );
    for _ in 0..200 {
        sender.send(&options.lines[0], &[b'x'; 1_000]);
    }
    let mut got = 0;
    while let Polled::Packet(_) = multicast.poll().unwrap() {
        got += 1;
    }
    assert!(0 < got && got < 200, "{got} packets fitted");
    sender.send(&options.lines[0], b"after");
    let name = &multicast.lines()[0].name;
    let dropped = 200 - got;
    let want = format!("{name}: the kernel dropped {dropped} packets ({dropped} so far): its ");
    let told = next(&mut multicast).unwrap();
    assert!(told.starts_with(&want), "{told}");
    assert_eq!(next(&mut multicast), Some("0 after".into()));
    assert_eq!(multicast.drops().collect::<Vec<_>>(), [dropped]);
    assert_eq!(multicast.dropped(), [dropped]);
}

#[test]
fn what_is_no_group_or_no_interface_is_refused() {
    let open = |group, interface| {
        let lines = vec![MulticastLine {
            group,
            port: 9,
            interface,
        }];
        Multicast::open(&MulticastOptions {
            lines,
            receive_buffer_bytes: 4_096,
        })
    };
    let error = open(Ipv4Addr::new(10, 0, 0, 1), LO).unwrap_err();
    let want = "10.0.0.1:9: 10.0.0.1 is no multicast group, want 224.0.0.0 to 239.255.255.255";
    assert_eq!(error.to_string(), want);
    let error = open(Ipv4Addr::new(239, 1, 1, 1), Ipv4Addr::new(192, 0, 2, 1)).unwrap_err();
    let want = "239.1.1.1:9: cannot join the group on that interface: ";
    assert!(error.to_string().starts_with(want), "{error}");
}
