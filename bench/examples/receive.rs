//! How many packets a second does one core take from multicast without a loss, beside a bare loop of
//! `recvmmsg` that only counts?
//!
//! ```text
//! receive [ROUNDS] [MILLISECONDS]     rounds in turns, each rate offered for so long
//! ```
//!
//! A thread on another core sends numbered packets of one message over loopback at a rate, in
//! batches (`sendmmsg`), and both receivers have a receive buffer of the same size. The highest
//! rate at which nothing is lost is looked for by halves; a rate that the sender itself cannot hold
//! counts as too high, and is told, since the limit is then the sender's. So that the receiver's own
//! limit is known too, packets that already wait in its buffer are taken, with nobody sending.
//!
//! Prints a line for each round and the medians. Without multicast on loopback it says so.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use feed::source::{Multicast, MulticastLine, MulticastOptions, Polled, Source, SourceError};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use socket2::{Domain, Protocol, Socket, Type};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 71, 7);
const BUFFER_BYTES: usize = 4 << 20;
const BATCH: usize = 32;
/// MoldUDP64's header, a length, and an added order of TotalView-ITCH.
const PACKET_BYTES: usize = 20 + 2 + 36;
const RATE_MAX: u64 = 2_000_000;
/// A search ends when it is known this well.
const STEP: u64 = 20_000;
/// So many wait when their taking is timed, and so often.
const WAITING: u64 = 2_000;
const TIMES: usize = 50;
/// What is on its way when the sender is done gets so long.
const DRAIN: Duration = Duration::from_millis(200);

fn main() {
    let mut args = std::env::args().skip(1);
    let mut number = |usual: u64| {
        args.next()
            .map_or(usual, |text| text.parse().expect("a number"))
    };
    let (rounds, millis) = (number(3), number(500));
    let span = Duration::from_millis(millis);
    let cpus = tuning::pin::allowed_cpus();
    let [.., first, last] = cpus[..] else {
        println!("skipped: one core, and this needs two");
        return;
    };
    let bare = |port| Bare::open(port).map_err(|error| error.to_string());
    let ours = |port| Ours::open(port).map_err(|error| error.to_string());
    let [mut rates, mut takings] = [const { [Vec::new(), Vec::new()] }; 2];
    for round in 0..rounds {
        let measured = (|| {
            Ok::<_, String>((
                [
                    search(bare, first, last, span)?,
                    search(ours, first, last, span)?,
                ],
                [takings_of(bare)?, takings_of(ours)?],
            ))
        })();
        let ([bare, ours], [bare_ns, our_ns]) = match measured {
            Ok(measured) => measured,
            Err(what) => {
                println!("skipped: no multicast on loopback here: {what}");
                return;
            }
        };
        println!("round {round}: bare {bare}, {bare_ns} ns each; ours {ours}, {our_ns} ns each");
        rates[0].push(bare.rate);
        rates[1].push(ours.rate);
        takings[0].push(bare_ns);
        takings[1].push(our_ns);
    }
    let say = |what, [bare, ours]: [u64; 2]| {
        let ratio = ours as f64 / bare as f64;
        println!("{what}: bare recvmmsg {bare}, ours {ours}, {ratio:.2} of it");
    };
    say("packets a second without a loss", rates.map(median));
    say("ns for a packet that waits", takings.map(median));
}

/// The median of what it takes to take a packet that waits, in ns.
fn takings_of<R: Receive>(open: impl Fn(u16) -> Result<R, String>) -> Result<u64, String> {
    let mut each = Vec::new();
    let sent = AtomicU64::new(0);
    for _ in 0..TIMES {
        let port = free_port()?;
        let mut receiver = open(port)?;
        send(port, WAITING, Duration::ZERO, RATE_MAX, &sent)?;
        let (began, mut taken) = (Instant::now(), 0);
        // Loopback hands packets over while they are sent: what waits is all there is.
        loop {
            match receiver.take()? {
                0 => break,
                count => taken += count,
            }
        }
        let ns = began.elapsed().as_nanos() as u64;
        if taken < WAITING {
            return Err(format!("{taken} of {WAITING} packets waited"));
        }
        each.push(ns / taken);
    }
    Ok(median(each))
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// The highest rate that was held.
struct Held {
    rate: u64,
    /// The next higher one was too much for the sender.
    is_senders: bool,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whose = if self.is_senders {
            " (the sender's limit)"
        } else {
            ""
        };
        write!(f, "{} packets/s{whose}", self.rate)
    }
}

/// What takes packets until it is told that no more come, and how many it took.
trait Receive {
    /// Takes what is there; how many packets that were.
    fn take(&mut self) -> Result<u64, String>;
}

fn search<R: Receive>(
    open: impl Fn(u16) -> Result<R, String>,
    send_cpu: usize,
    receive_cpu: usize,
    span: Duration,
) -> Result<Held, String> {
    let (mut low, mut high, mut is_senders) = (0, RATE_MAX, false);
    while high - low > STEP {
        let rate = low + (high - low) / 2;
        let port = free_port()?;
        let mut receiver = open(port)?;
        match offer(&mut receiver, port, rate, span, [send_cpu, receive_cpu])? {
            Offered::Held => low = rate,
            Offered::Lost => (high, is_senders) = (rate, false),
            Offered::Late => (high, is_senders) = (rate, true),
        }
    }
    Ok(Held {
        rate: low,
        is_senders,
    })
}

enum Offered {
    Held,
    Lost,
    /// The sender fell behind.
    Late,
}

fn free_port() -> Result<u16, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    Ok(socket
        .local_addr()
        .map_err(|error| error.to_string())?
        .port())
}

fn offer<R: Receive>(
    receiver: &mut R,
    port: u16,
    rate: u64,
    span: Duration,
    [send_cpu, receive_cpu]: [usize; 2],
) -> Result<Offered, String> {
    let (sent, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = (rate as f64 * span.as_secs_f64()) as u64;
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let _ = tuning::pin::pin_to(send_cpu);
            let result = send(port, total, span, rate, &sent);
            is_over.store(true, Ordering::Release);
            result
        });
        let _ = tuning::pin::pin_to(receive_cpu);
        let mut taken = 0;
        let mut over_since: Option<Instant> = None;
        loop {
            let count = receiver.take()?;
            taken += count;
            if count > 0 || !is_over.load(Ordering::Acquire) {
                continue;
            }
            let all = taken >= sent.load(Ordering::Acquire);
            if all || over_since.get_or_insert_with(Instant::now).elapsed() > DRAIN {
                break;
            }
        }
        let is_late = sending.join().expect("the sender does not panic")?;
        Ok(match taken < sent.load(Ordering::Acquire) {
            true => Offered::Lost,
            false if is_late => Offered::Late,
            false => Offered::Held,
        })
    })
}

/// Whether it fell behind by more than a hundredth of the time.
fn send(
    port: u16,
    total: u64,
    span: Duration,
    rate: u64,
    sent: &AtomicU64,
) -> Result<bool, String> {
    let say = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(say)?;
    socket.set_multicast_loop_v4(true).map_err(say)?;
    let outgoing = socket2::SockRef::from(&socket);
    outgoing
        .set_multicast_if_v4(&Ipv4Addr::LOCALHOST)
        .map_err(say)?;
    let to = SockaddrIn::from(SocketAddrV4::new(GROUP, port));
    let mut packets = vec![[0; PACKET_BYTES]; BATCH];
    for packet in &mut packets {
        packet[..10].copy_from_slice(b"RECEIVE001");
        packet[18..20].copy_from_slice(&1_u16.to_be_bytes());
        packet[20..22].copy_from_slice(&36_u16.to_be_bytes());
        packet[22] = b'A';
    }
    let mut headers = MultiHeaders::preallocate(BATCH, None);
    let addresses = [Some(to); BATCH];
    let began = Instant::now();
    let mut next = 0;
    while next < total {
        let due = ((began.elapsed().as_secs_f64() * rate as f64) as u64 + 1).min(total);
        let count = (due.saturating_sub(next) as usize).min(BATCH);
        if count == 0 {
            std::hint::spin_loop();
            continue;
        }
        for (packet, sequence) in packets[..count].iter_mut().zip(next + 1..) {
            packet[10..18].copy_from_slice(&sequence.to_be_bytes());
        }
        let slices: Vec<[IoSlice<'_>; 1]> = packets[..count]
            .iter()
            .map(|packet| [IoSlice::new(packet)])
            .collect();
        let done = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &slices,
            &addresses[..count],
            [],
            MsgFlags::empty(),
        );
        next += match done {
            Ok(done) => done.count() as u64,
            Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => 0,
            Err(error) => return Err(error.to_string()),
        };
        sent.store(next, Ordering::Release);
    }
    Ok(began.elapsed().as_secs_f64() > span.as_secs_f64() * 1.01)
}

/// A loop of `recvmmsg` that only counts.
struct Bare {
    socket: Socket,
    buffers: Vec<[u8; 2048]>,
    headers: MultiHeaders<SockaddrIn>,
}

impl Bare {
    fn open(port: u16) -> std::io::Result<Bare> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
        socket.bind(&SocketAddrV4::new(GROUP, port).into())?;
        socket.join_multicast_v4(&GROUP, &Ipv4Addr::LOCALHOST)?;
        Ok(Bare {
            socket,
            buffers: vec![[0; 2048]; BATCH],
            headers: MultiHeaders::preallocate(BATCH, None),
        })
    }
}

impl Receive for Bare {
    fn take(&mut self) -> Result<u64, String> {
        let mut slices: Vec<[IoSliceMut<'_>; 1]> = self
            .buffers
            .iter_mut()
            .map(|buffer| [IoSliceMut::new(buffer)])
            .collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.socket.as_raw_fd();
        match recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None) {
            Ok(messages) => Ok(messages.count() as u64),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The product's own receiver: times and drop counts of the kernel with each packet.
struct Ours(Multicast);

impl Ours {
    fn open(port: u16) -> Result<Ours, SourceError> {
        let lines = vec![MulticastLine {
            group: GROUP,
            port,
            interface: Ipv4Addr::LOCALHOST,
        }];
        Multicast::open(&MulticastOptions {
            lines,
            receive_buffer_bytes: BUFFER_BYTES,
        })
        .map(Ours)
    }
}

impl Receive for Ours {
    fn take(&mut self) -> Result<u64, String> {
        let mut count = 0;
        while count < BATCH as u64 {
            match self.0.poll().map_err(|error| error.to_string())? {
                Polled::Packet(_) => count += 1,
                // What the kernel dropped shows in what is missing.
                Polled::Trouble(_) => {}
                Polled::Empty | Polled::End => break,
            }
        }
        Ok(count)
    }
}
