//! Where packets come from.

use std::net::SocketAddrV4;
use std::path::PathBuf;

use feed::protocol::Wire;
use feed::retransmit::AskRule;
use serde::{Deserialize, Serialize};

use super::snapshot::Snapshot;
use super::soup::Soup;
use super::units::{Size, Span};
use super::{MILLI, SECOND, positive};
use crate::session::TradingDay;
use crate::venue::Venue;

/// Where packets come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// Live only: the multicast groups of the lines, A first.
    pub lines: Vec<SocketAddrV4>,
    /// Live only: the address of the interface that joins the groups.
    pub interface: std::net::Ipv4Addr,
    /// Live only: the kernel's receive buffer for each line.
    pub receive_buffer: Size,
    /// Live only: stop, in order, when every session has said its end.
    pub end_at_session_end: bool,
    /// Captures only: take these destination ports; all when empty.
    pub ports: Vec<u16>,
    /// The protocol. Of captures `itch`, `iex`, `lobster`, `dbn`, `mdp3`, `pitch`, `binance`, `tardis`,
    /// `coinbase` or `bitstamp`, otherwise told by how the first file begins; live `itch`, which is
    /// also taken where nothing is said, `iex`, `mdp3` or `pitch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Trading date, `2026-01-05`; otherwise from the capture, the file's name, or today.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Reference data of instruments: a CSV with a column `symbol`, and of `tick`, `lot`, `currency`
    /// and `isin` those there are. Stands beside the symbols' results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<PathBuf>,
    /// The time zone of days, and of times where `--tz` says no other, such as `Europe/Berlin`; `venue` is
    /// Chicago for CME, UTC for crypto, that of its dataset for DBN, and New York else.
    pub timezone: String,
    /// What became of the messages of a session from before it was joined; if not said, `loss` live and
    /// `as-is` in a replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<Join>,
    /// What to do about missing messages.
    pub gaps: Gaps,
    /// Live only: whom to ask for what no line brought.
    pub retransmit: Retransmit,
    /// Live only: a session over TCP instead of lines.
    pub soup: Soup,
    /// Live only: whom to ask for all live orders, after a loss that nobody made good.
    pub snapshot: Snapshot,
    /// What to keep of what was not understood.
    pub quarantine: Quarantine,
}

/// What to keep of messages, packets and lines that were not understood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quarantine {
    /// At most so much of them, in `quarantine.bin` of the run; `0B` for nothing.
    pub max_bytes: Size,
}

/// How a session begins whose first message is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Join {
    /// What is there is all there is. Books lack what came before, where a feed does not show it again.
    AsIs,
    /// It is lost: books are marked, and refuse orders.
    Loss,
}

/// What to do about missing messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gaps {
    /// How long, in arrival time, to wait for another line to bring them. Where both lines bring
    /// packets, `reorder_packets` decides much sooner; this is for when one is silent.
    pub wait: Span,
    /// How many packets a line may be out of order: once every line has brought more than these
    /// behind the missing one, it is lost.
    pub reorder_packets: u32,
    /// How many packets to hold meanwhile.
    pub hold_packets: u32,
}

/// Asking for what no line brought, by MoldUDP64 requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retransmit {
    /// Whom, `127.0.0.1:26500`; nobody is asked otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddrV4>,
    /// How long something is missing on every line before it is asked for.
    pub after: Span,
    /// How long the first answer is waited for; twice as long each further time.
    pub timeout: Span,
    /// How many requests in a row may bring nothing. Then the messages are lost.
    pub tries: u32,
    /// The most requests in a second.
    pub requests_per_second: u32,
    /// Do not ask for more than so many messages in a row.
    pub messages_max: u64,
    /// Ask for what came before a session was joined, too. The books are whole then, but what
    /// these messages cause happens late, orders included.
    pub from_first: bool,
}

impl Retransmit {
    /// What no single field can know.
    pub(super) fn check(&self) -> Result<(), String> {
        positive("source.retransmit.timeout", self.timeout.0)?;
        for (name, value, max) in [
            ("tries", self.tries, 100),
            ("requests_per_second", self.requests_per_second, 1_000_000),
        ] {
            if !(1..=max).contains(&value) {
                return Err(format!(
                    "source.retransmit.{name} is {value}, want 1 to {max}"
                ));
            }
        }
        if self.after.0 < 0 {
            return Err("source.retransmit.after must not be below zero".into());
        }
        if let Some(server) = self.server
            && (server.ip().is_multicast() || server.port() == 0)
        {
            return Err(format!(
                "source.retransmit.server: {server} is no address and port of one machine"
            ));
        }
        Ok(())
    }

    /// When to ask.
    pub fn rule(&self) -> AskRule {
        AskRule {
            after_ns: self.after.0.max(0) as u64,
            timeout_ns: self.timeout.0.max(0) as u64,
            tries_max: self.tries,
            interval_ns: (SECOND / i64::from(self.requests_per_second.max(1))) as u64,
        }
    }
}

/// Stands for the time zone of the venue.
const VENUE: &str = "venue";

impl Source {
    /// The time zone of this venue's days and times.
    pub fn zone(&self, venue: Venue) -> &str {
        match self.timezone.as_str() {
            VENUE => venue.zone,
            other => other,
        }
    }

    /// What no single field can know.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(name) = &self.protocol
            && Wire::named(name).is_none()
        {
            let known = Wire::ALL.map(Wire::name).join(", ");
            return Err(format!("source.protocol is {name:?}, want one of {known}"));
        }
        let named = self.protocol.as_deref().and_then(Wire::named);
        if let Some(wire) = named.filter(|wire| wire.framing(0).is_none() && !self.lines.is_empty())
        {
            let name = wire.name();
            return Err(format!(
                "source.protocol is {name:?}, which is read from files only, and source.lines are for \
                 live ones"
            ));
        }
        for (index, line) in self.lines.iter().enumerate() {
            if !line.ip().is_multicast() || line.port() == 0 {
                return Err(format!(
                    "source.lines: {line} is no multicast group and port"
                ));
            }
            if self.lines[..index].contains(line) {
                return Err(format!("source.lines names {line} twice"));
            }
        }
        let date = self.date.as_deref().unwrap_or("2000-01-01");
        TradingDay::new(date, self.zone(Venue::of(Wire::Itch, None)))
            .map_err(|e| format!("source: {e}"))?;
        self.retransmit.check()?;
        if self.quarantine.max_bytes.0 > 1 << 30 {
            let found = self.quarantine.max_bytes;
            return Err(format!(
                "source.quarantine.max_bytes is {found}, want at most 1GiB"
            ));
        }
        self.soup.check()?;
        self.snapshot.check()?;
        if self.soup.server.is_some() && !self.lines.is_empty() {
            return Err("source.soup.server and source.lines: want one of them".into());
        }
        if self.soup.server.is_some() && self.retransmit.server.is_some() {
            return Err(
                "source.retransmit.server: what a session over TCP lacks is asked of its own server"
                    .into(),
            );
        }
        if self.gaps.hold_packets == 0 {
            return Err("source.gaps.hold_packets must be above zero".into());
        }
        Ok(())
    }
}

impl Default for Source {
    fn default() -> Source {
        Source {
            lines: Vec::new(),
            interface: std::net::Ipv4Addr::UNSPECIFIED,
            receive_buffer: Size(8 << 20),
            end_at_session_end: true,
            ports: Vec::new(),
            protocol: None,
            date: None,
            reference: None,
            timezone: VENUE.into(),
            join: None,
            gaps: Gaps::default(),
            retransmit: Retransmit::default(),
            soup: Soup::default(),
            snapshot: Snapshot::default(),
            quarantine: Quarantine::default(),
        }
    }
}

impl Default for Quarantine {
    fn default() -> Quarantine {
        Quarantine {
            max_bytes: Size(16 << 20),
        }
    }
}

impl Default for Gaps {
    fn default() -> Gaps {
        Gaps {
            wait: Span(SECOND),
            reorder_packets: 64,
            hold_packets: 1024,
        }
    }
}

impl Default for Retransmit {
    fn default() -> Retransmit {
        Retransmit {
            server: None,
            after: Span(2 * MILLI),
            timeout: Span(20 * MILLI),
            tries: 6,
            requests_per_second: 1_000,
            messages_max: 1_000_000,
            from_first: false,
        }
    }
}
