//! Which lines there are: the destinations met in captures, and the ITCH files.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::capture::Counts;
use super::{Line, SourceError};
use crate::link::Udp;

/// As many as a packet's `line` can tell apart.
const LINES_MAX: usize = 256;

/// Destinations, and which line each is.
pub(super) struct Lines {
    lines: Vec<Line>,
    destinations: Vec<(IpAddr, u16, u8)>,
    ports: Option<Vec<u16>>,
    groups: Option<Vec<IpAddr>>,
    is_told_full: bool,
}

impl Lines {
    /// No lines yet; only what was sent to these ports and addresses will become one.
    pub(super) fn new(ports: Option<Vec<u16>>, groups: Option<Vec<IpAddr>>) -> Lines {
        let (lines, destinations) = (Vec::new(), Vec::new());
        Lines {
            lines,
            destinations,
            ports,
            groups,
            is_told_full: false,
        }
    }

    /// The lines so far.
    pub(super) fn as_slice(&self) -> &[Line] {
        &self.lines
    }

    /// The line of an ITCH file, called by the file's name.
    pub(super) fn add_file(&mut self, path: &Path) -> Result<u8, SourceError> {
        let name = path
            .file_name()
            .map_or_else(|| path.to_string_lossy(), |n| n.to_string_lossy());
        self.add(name.into_owned()).ok_or_else(|| SourceError {
            path: path.into(),
            offset_bytes: None,
            what: format!("one line too many, want at most {LINES_MAX}"),
        })
    }

    fn add(&mut self, name: String) -> Option<u8> {
        let line = u8::try_from(self.lines.len()).ok()?;
        self.lines.push(Line { name });
        Some(line)
    }

    /// Which line a datagram belongs to, if that is one of ours.
    #[inline]
    pub(super) fn route(&mut self, udp: &Udp<'_>) -> Option<u8> {
        for &(dst, port, line) in &self.destinations {
            if port == udp.dst_port && dst == udp.dst {
                return Some(line);
            }
        }
        self.route_new(udp)
    }

    #[cold]
    fn route_new(&mut self, udp: &Udp<'_>) -> Option<u8> {
        if !self.is_wanted(udp) {
            return None;
        }
        let line = self.add(SocketAddr::new(udp.dst, udp.dst_port).to_string())?;
        self.destinations.push((udp.dst, udp.dst_port, line));
        Some(line)
    }

    fn is_wanted(&self, udp: &Udp<'_>) -> bool {
        self.ports
            .as_ref()
            .is_none_or(|ports| ports.contains(&udp.dst_port))
            && self
                .groups
                .as_ref()
                .is_none_or(|groups| groups.contains(&udp.dst))
    }

    /// Counts a datagram that has no line: not wanted, or one too many, which is told once.
    #[cold]
    pub(super) fn refuse(&mut self, udp: &Udp<'_>, counts: &mut Counts) -> Result<bool, String> {
        if !self.is_wanted(udp) {
            counts.filtered += 1;
            return Ok(false);
        }
        counts.beyond_lines += 1;
        if std::mem::replace(&mut self.is_told_full, true) {
            return Ok(false);
        }
        let to = SocketAddr::new(udp.dst, udp.dst_port);
        Err(format!(
            "datagram to {to}, want at most {LINES_MAX} destinations: name the ports"
        ))
    }
}
