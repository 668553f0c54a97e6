//! Whatever live source the settings name, as one type.

use bus::Ts;

use super::{Line, Multicast, Polled, Soup, Source, SourceError};
use crate::retransmit::{AskCounts, Asked, Missing};

/// A live source.
#[derive(Debug)]
pub enum Network {
    /// Multicast lines.
    Multicast(Multicast),
    /// A SoupBinTCP session.
    Soup(Soup),
}

impl Source for Network {
    #[inline]
    fn poll(&mut self) -> Result<Polled<'_>, SourceError> {
        match self {
            Network::Multicast(multicast) => multicast.poll(),
            Network::Soup(soup) => soup.poll(),
        }
    }

    fn lines(&self) -> &[Line] {
        match self {
            Network::Multicast(multicast) => multicast.lines(),
            Network::Soup(soup) => soup.lines(),
        }
    }

    fn recover(&mut self, missing: Option<&Missing>, only_answers: bool) -> Asked {
        match self {
            Network::Multicast(multicast) => multicast.recover(missing, only_answers),
            Network::Soup(soup) => soup.recover(missing, only_answers),
        }
    }

    fn now(&self) -> Option<Ts> {
        match self {
            Network::Multicast(multicast) => multicast.now(),
            Network::Soup(soup) => soup.now(),
        }
    }

    fn dropped(&self) -> Vec<u64> {
        match self {
            Network::Multicast(multicast) => multicast.dropped(),
            Network::Soup(soup) => soup.dropped(),
        }
    }

    fn asked(&self) -> Option<AskCounts> {
        match self {
            Network::Multicast(multicast) => multicast.asked(),
            Network::Soup(soup) => soup.asked(),
        }
    }
}
