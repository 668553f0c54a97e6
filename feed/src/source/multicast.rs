//! Packets from the network: UDP multicast, on one line or several.
//!
//! Every line has a socket of its own, asked without waiting. One packet of each line is kept in
//! hand, and the one that reached the kernel first goes first; a line that has nothing is not
//! waited for. So two lines come in the order of arrival as long as we keep up, and nearly so
//! when we do not.
//!
//! Where there is a server for it, what no line brought is asked for ([`Multicast::with_retransmission`])
//! from one more socket, which the answers come to: one more line, listened to while answers may come.
//!
//! Only this module knows `nix` and `socket2`. Each packet is one `recvmsg`: the batched
//! `recvmmsg` of `nix` 0.31 forgets to give the room for control messages back to the kernel
//! between calls, which would lose times and drop counts.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::{SystemTime, UNIX_EPOCH};

use bus::Ts;
use bus::clock::{Clock, MachineClock};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::moldudp64::Header;
use crate::retransmit::{Ask, AskCounts, AskRule, Asked, Asker, Missing};

use super::{Framing, Line, Packet, Place, Polled, Source, SourceError, Trouble};

/// The longest payload that is taken whole: a jumbo frame.
const PACKET_BYTES_MAX: usize = 9_216;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MulticastOptions {
    /// The lines, which [`Packet::line`] counts in this order.
    pub lines: Vec<MulticastLine>,
    /// How much the kernel should hold for each line while we are busy, in bytes.
    pub receive_buffer_bytes: usize,
}

/// One line of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MulticastLine {
    /// The multicast group.
    pub group: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// The address of the network card to listen on; unspecified to let the system choose.
    pub interface: Ipv4Addr,
}

/// Packets from multicast groups.
#[derive(Debug)]
pub struct Multicast {
    sockets: Vec<LineSocket>,
    lines: Vec<Line>,
    /// How the datagrams of each line are laid out.
    framings: Vec<Framing>,
    packets: u64,
    /// Some line dropped packets that were not told of yet.
    has_untold: bool,
    /// Asks for what no line brought. The last of the sockets is then its own.
    asker: Option<Asker>,
    /// Everything but answers stays in the kernel.
    only_answers: bool,
    clock: MachineClock,
}

#[derive(Debug)]
struct LineSocket {
    socket: Socket,
    receive_buffer_bytes: usize,
    buffer: Box<[u8]>,
    /// Room for the time and the drop count that come with a packet.
    control: Vec<u8>,
    in_hand: Option<InHand>,
    /// The kernel's count of packets that it dropped on this socket; it wraps around.
    drops_seen: u32,
    drops: u64,
    drops_told: u64,
}

/// A packet in a socket's buffer.
#[derive(Clone, Copy, Debug)]
struct InHand {
    ts: Ts,
    len: usize,
    wire_bytes: u32,
}

impl Multicast {
    /// Opens a socket for each line of MoldUDP64 and joins its group.
    pub fn open(options: &MulticastOptions) -> Result<Multicast, SourceError> {
        Multicast::open_for(options, |_| Framing::MoldUdp64)
    }

    /// The same for datagrams that are laid out otherwise, as `framing` says of a line's port.
    pub fn open_for(
        options: &MulticastOptions,
        framing: impl Fn(u16) -> Framing,
    ) -> Result<Multicast, SourceError> {
        let mut multicast = Multicast {
            sockets: Vec::new(),
            lines: Vec::new(),
            framings: Vec::new(),
            packets: 0,
            has_untold: false,
            asker: None,
            only_answers: false,
            clock: MachineClock::new(),
        };
        for line in &options.lines {
            let name = SocketAddrV4::new(line.group, line.port).to_string();
            let refused = |what: String| SourceError {
                path: name.clone().into(),
                offset_bytes: None,
                what,
            };
            if options.lines.len() > usize::from(u8::MAX) {
                let count = options.lines.len();
                return Err(refused(format!(
                    "one of {count} lines, want at most {}",
                    u8::MAX
                )));
            }
            if !line.group.is_multicast() {
                let group = line.group;
                let want = "224.0.0.0 to 239.255.255.255";
                return Err(refused(format!(
                    "{group} is no multicast group, want {want}"
                )));
            }
            let socket = LineSocket::open(line, options.receive_buffer_bytes)
                .map_err(|(step, error)| refused(format!("cannot {step}: {error}")))?;
            multicast.sockets.push(socket);
            multicast.lines.push(Line { name });
            multicast.framings.push(framing(line.port));
        }
        Ok(multicast)
    }

    /// Asks this server for what no line brought; it answers over unicast.
    pub fn with_retransmission(
        mut self,
        server: SocketAddrV4,
        rule: AskRule,
        receive_buffer_bytes: usize,
    ) -> Result<Multicast, SourceError> {
        let socket = LineSocket::to_server(server, receive_buffer_bytes);
        let socket = socket.map_err(|(step, error)| SourceError {
            path: server.to_string().into(),
            offset_bytes: None,
            what: format!("cannot {step}: {error}"),
        })?;
        self.sockets.push(socket);
        let name = format!("{server} (retransmission)");
        self.lines.push(Line { name });
        self.framings.push(Framing::MoldUdp64);
        self.asker = Some(Asker::new(rule));
        Ok(self)
    }

    /// Sends a request, and does not wait.
    #[cold]
    fn request(&mut self, request: &Header) {
        let socket = self.sockets.last().expect("the server's");
        // A server that is away says so to a later call, and is asked again like a slow one.
        let is_sent = socket.socket.send(&request.to_bytes()).is_ok();
        if let (false, Some(asker)) = (is_sent, &mut self.asker) {
            asker.note_unsent();
        }
    }

    /// How many bytes the kernel really holds for each line, which may be less than was wanted
    /// (`sysctl net.core.rmem_max`).
    pub fn receive_buffer_bytes(&self) -> impl Iterator<Item = usize> {
        self.sockets.iter().map(|line| line.receive_buffer_bytes)
    }

    /// How many packets the kernel dropped on each line because we did not keep up, as far as
    /// known: it says so with the next packet that it keeps.
    pub fn drops(&self) -> impl Iterator<Item = u64> {
        self.sockets.iter().map(|line| line.drops)
    }

    /// Takes a packet in hand on each line that has none.
    #[inline]
    fn receive(&mut self) -> Result<(), SourceError> {
        let count = match &self.asker {
            Some(asker) if !asker.is_waiting() => self.sockets.len() - 1,
            Some(_) | None => self.sockets.len(),
        };
        let first = if self.only_answers {
            self.sockets.len() - 1
        } else {
            0
        };
        for (index, line) in self.sockets[..count].iter_mut().enumerate().skip(first) {
            if line.in_hand.is_some() {
                continue;
            }
            if let Err(error) = line.receive() {
                if self.asker.is_some() && index + 1 == count && error == Errno::ECONNREFUSED {
                    continue;
                }
                return Err(broken(&self.lines[index], error));
            }
            self.has_untold |= line.drops > line.drops_told;
        }
        Ok(())
    }

    /// Tells of the drops on one line, until all are told.
    #[cold]
    fn tell(&mut self) -> Option<Trouble> {
        let untold = |line: &LineSocket| line.drops > line.drops_told;
        let found = self.sockets.iter().position(untold);
        self.has_untold = found.is_some();
        let line = &mut self.sockets[found?];
        let (name, bytes) = (&self.lines[found?].name, line.receive_buffer_bytes);
        let drops = line.drops - std::mem::replace(&mut line.drops_told, line.drops);
        let what = format!(
            "{name}: the kernel dropped {drops} packets ({} so far): its buffer of {bytes} bytes \
             was full",
            line.drops
        );
        let place = Place {
            packet: self.packets + 1,
            ..Place::default()
        };
        Some(Trouble::new(place, what))
    }

    /// Which line's packet came first.
    #[inline]
    fn first(&self) -> Option<(usize, InHand)> {
        let mut first: Option<(usize, InHand)> = None;
        let from = if self.only_answers {
            self.sockets.len() - 1
        } else {
            0
        };
        for (index, line) in self.sockets.iter().enumerate().skip(from) {
            if let Some(packet) = line.in_hand
                && first.is_none_or(|(_, other)| packet.ts < other.ts)
            {
                first = Some((index, packet));
            }
        }
        first
    }
}

impl Source for Multicast {
    #[inline]
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        self.receive()?;
        if self.has_untold
            && let Some(trouble) = self.tell()
        {
            return Ok(Polled::Trouble(trouble));
        }
        let Some((index, packet)) = self.first() else {
            return Ok(Polled::Empty);
        };
        self.packets += 1;
        let line = &mut self.sockets[index];
        line.in_hand = None;
        Ok(Polled::Packet(Packet {
            ts_recv: Some(packet.ts),
            line: index as u8,
            framing: self.framings[index],
            payload: &line.buffer[..packet.len],
            wire_bytes: packet.wire_bytes,
            place: Place {
                packet: self.packets,
                ..Place::default()
            },
        }))
    }

    fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn recover(&mut self, missing: Option<&Missing>, only_answers: bool) -> Asked {
        self.only_answers = only_answers && self.asker.is_some();
        let (Some(asker), Some(missing)) = (&mut self.asker, missing) else {
            if let Some(asker) = &mut self.asker {
                asker.rest();
            }
            return Asked::GivenUp;
        };
        match asker.ask(missing, self.clock.now_ns()) {
            Ask::Wait => Asked::Waiting,
            Ask::Send(request) => {
                self.request(&request);
                Asked::Waiting
            }
            Ask::GiveUp => {
                self.only_answers = false;
                Asked::GivenUp
            }
        }
    }

    fn now(&self) -> Option<Ts> {
        // While only answers are taken, the lines may have something.
        (!self.only_answers).then(wall)
    }

    fn dropped(&self) -> Vec<u64> {
        self.drops().collect()
    }

    fn asked(&self) -> Option<AskCounts> {
        self.asker.as_ref().map(Asker::counts)
    }
}

impl LineSocket {
    /// An error says at which step.
    fn open(
        line: &MulticastLine,
        receive_buffer_bytes: usize,
    ) -> Result<LineSocket, (&'static str, io::Error)> {
        let (socket, granted) = LineSocket::socket(receive_buffer_bytes)?;
        socket
            .set_reuse_address(true)
            .map_err(at("share the port"))?;
        // Bound to the group, so that other groups on the same port stay out, and without the
        // groups that other sockets on this machine have joined.
        let address = SocketAddrV4::new(line.group, line.port);
        socket.bind(&address.into()).map_err(at("bind"))?;
        socket
            .set_multicast_all_v4(false)
            .map_err(at("leave other groups out"))?;
        socket
            .join_multicast_v4(&line.group, &line.interface)
            .map_err(at("join the group on that interface"))?;
        Ok(LineSocket::new(socket, granted))
    }

    /// One that hears only this server. An error says at which step.
    fn to_server(
        server: SocketAddrV4,
        receive_buffer_bytes: usize,
    ) -> Result<LineSocket, (&'static str, io::Error)> {
        let (socket, granted) = LineSocket::socket(receive_buffer_bytes)?;
        let connected = socket.connect(&server.into());
        connected.map_err(at("reach the retransmission server"))?;
        Ok(LineSocket::new(socket, granted))
    }

    /// A socket that does not wait and says times and drops, and the size of its buffer.
    fn socket(receive_buffer_bytes: usize) -> Result<(Socket, usize), (&'static str, io::Error)> {
        let at_option = |step: &'static str| move |error: Errno| (step, error.into());
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
            .map_err(at("open a socket"))?;
        socket
            .set_nonblocking(true)
            .map_err(at("make a socket that does not wait"))?;
        // The one that may pass the system's limit needs a privilege.
        if setsockopt(&socket, sockopt::RcvBufForce, &receive_buffer_bytes).is_err() {
            socket
                .set_recv_buffer_size(receive_buffer_bytes)
                .map_err(at("size the buffer"))?;
        }
        // Linux says twice of what it gives, to account for its own bookkeeping.
        let granted = socket.recv_buffer_size().map_err(at("size the buffer"))? / 2;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)
            .map_err(at_option("ask for the times of packets"))?;
        setsockopt(&socket, sockopt::RxqOvfl, &1).map_err(at_option("ask for drop counts"))?;
        Ok((socket, granted))
    }

    fn new(socket: Socket, granted: usize) -> LineSocket {
        LineSocket {
            socket,
            receive_buffer_bytes: granted,
            buffer: vec![0; PACKET_BYTES_MAX].into_boxed_slice(),
            control: nix::cmsg_space!(nix::sys::time::TimeSpec, u32),
            in_hand: None,
            drops_seen: 0,
            drops: 0,
            drops_told: 0,
        }
    }

    /// Takes the next packet in hand, if there is one, and notes how many were dropped before it.
    fn receive(&mut self) -> Result<(), Errno> {
        let fd = self.socket.as_raw_fd();
        let mut room = [IoSliceMut::new(&mut self.buffer)];
        // With MSG_TRUNC the length is the packet's own, even if it does not fit.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let message = match recvmsg::<()>(fd, &mut room, Some(&mut self.control), flags) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut ts = None;
        let mut drops_seen = self.drops_seen;
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::ScmTimestampns(time) => {
                    ts = Some(Ts(time.tv_sec() * Ts::SECOND_NS + time.tv_nsec()));
                }
                ControlMessageOwned::RxqOvfl(count) => drops_seen = count,
                _ => {}
            }
        }
        let wire_bytes = message.bytes;
        self.drops += u64::from(drops_seen.wrapping_sub(self.drops_seen));
        self.drops_seen = drops_seen;
        self.in_hand = Some(InHand {
            ts: ts.unwrap_or_else(wall),
            len: wire_bytes.min(PACKET_BYTES_MAX),
            wire_bytes: wire_bytes as u32,
        });
        Ok(())
    }
}

fn at(step: &'static str) -> impl Fn(io::Error) -> (&'static str, io::Error) {
    move |error| (step, error)
}

/// The time of day: the clock by which the kernel stamps packets.
#[cold]
fn wall() -> Ts {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ts(since.as_nanos() as i64)
}

#[cold]
fn broken(line: &Line, error: Errno) -> SourceError {
    let what = format!("cannot receive: {}", error.desc());
    SourceError {
        path: line.name.clone().into(),
        offset_bytes: None,
        what,
    }
}
