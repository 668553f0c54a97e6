//! `[orders.ouch]`: sessions over OUCH 5.0.

use std::path::PathBuf;

use ::fix::ouch::Config;
use bus::oms::Date;
use bus::ouch::Terms;
use bus::soupbintcp::Login;
use serde::{Deserialize, Serialize};

use super::soup::{is_host_and_port, resolve};
use super::units::Span;
use super::{MILLI, SECOND, positive};
use crate::session::TradingDay;

/// An OUCH session of each shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ouch {
    /// Whom to connect to, `127.0.0.1:26900`.
    pub connect: String,
    /// Who logs in, up to six letters; `{shard}` in it stands for the shard's number.
    pub user: String,
    /// The password, up to ten letters. It is in the run's own config.toml as well.
    pub password: String,
    /// For whom orders are.
    pub capacity: Capacity,
    /// What others see of them.
    pub display: Display,
    /// The member's four letters, where those of the port are not meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firm: Option<String>,
    /// A venue that sends nothing for so long, not even a heartbeat, is lost.
    pub silence: Span,
    /// How long to wait before a lost connection is tried again.
    pub retry: Span,
    /// For how long nobody may be logged on while orders wait; the run stops then. It begins anew with each
    /// message about orders, and where no order waited for a second.
    pub away_max: Span,
    /// The folder of the orders that were sent; the run's own when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<PathBuf>,
    /// When a session was lost, what is open at the next login is cancelled, order by order. A venue's port
    /// may do so by itself, at once.
    pub cancel_on_disconnect: bool,
    /// Each order waits until it is on the disk before it leaves.
    pub sync: bool,
}

/// Capacity of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Capacity {
    /// `A`
    Agency,
    /// `P`
    Principal,
    /// `R`
    Riskless,
    /// `O`
    Other,
}

/// Display of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Display {
    /// `Y`: shown, without its owner.
    Visible,
    /// `A`: shown, with its owner.
    Attributable,
    /// `N`
    Hidden,
}

impl Default for Ouch {
    fn default() -> Ouch {
        Ouch {
            connect: String::new(),
            user: String::new(),
            password: String::new(),
            capacity: Capacity::Principal,
            display: Display::Visible,
            firm: None,
            silence: Span(15 * SECOND),
            retry: Span(200 * MILLI),
            away_max: Span(10 * SECOND),
            store: None,
            cancel_on_disconnect: false,
            sync: false,
        }
    }
}

/// What stands for a shard's number.
const SHARD: &str = "{shard}";

impl Ouch {
    /// Who logs in for a shard.
    pub fn user(&self, shard: usize) -> String {
        self.user.replace(SHARD, &shard.to_string())
    }

    fn login(&self, shard: usize) -> Option<Login> {
        Login::new(&self.user(shard), &self.password, "", 1)
    }

    fn firm(&self) -> Result<Option<[u8; 4]>, String> {
        let Some(firm) = &self.firm else {
            return Ok(None);
        };
        let letters = firm.as_bytes().try_into().ok();
        let letters: Option<[u8; 4]> =
            letters.filter(|letters: &[u8; 4]| letters.iter().all(u8::is_ascii_uppercase));
        letters
            .map(Some)
            .ok_or_else(|| format!("orders.ouch.firm is `{firm}`, want four letters A to Z"))
    }

    /// What all orders have in common.
    pub fn terms(&self, day: &TradingDay) -> Result<Terms, String> {
        Ok(Terms {
            capacity: match self.capacity {
                Capacity::Agency => b'A',
                Capacity::Principal => b'P',
                Capacity::Riskless => b'R',
                Capacity::Other => b'O',
            },
            display: match self.display {
                Display::Visible => b'Y',
                Display::Attributable => b'A',
                Display::Hidden => b'N',
            },
            firm: self.firm()?,
            midnight: day.midnight,
        })
    }

    /// A shard's session.
    pub fn session(&self, shard: usize, day: &TradingDay) -> Result<Config, String> {
        let (year, month, day_of_month) = day.ymd();
        Ok(Config {
            address: resolve(&self.connect).map_err(|error| error.to_string())?,
            login: self.login(shard).ok_or_else(|| self.too_long(shard))?,
            silence_ns: self.silence.0 as u64,
            retry_ns: self.retry.0,
            date: Date {
                year,
                month,
                day: day_of_month,
            },
            midnight: day.midnight,
        })
    }

    fn too_long(&self, shard: usize) -> String {
        format!(
            "orders.ouch: user `{}` and its password, want at most 6 and 10 printable letters",
            self.user(shard)
        )
    }

    pub(super) fn check(&self, shards: usize) -> Result<(), String> {
        if !is_host_and_port(&self.connect) {
            return Err(format!(
                "orders.ouch.connect is `{}`, want HOST:PORT (like \"127.0.0.1:26900\")",
                self.connect
            ));
        }
        if self.user.is_empty() {
            return Err("orders.ouch.user is empty, want who logs in".into());
        }
        if shards > 1 && !self.user.contains(SHARD) {
            return Err(format!(
                "orders.ouch: {shards} shards have a session each, and orders.ouch.user is `{}` for all \
                 of them; want {SHARD} in it",
                self.user
            ));
        }
        if self.login(shards - 1).is_none() {
            return Err(self.too_long(shards - 1));
        }
        self.firm()?;
        positive("orders.ouch.silence", self.silence.0)?;
        positive("orders.ouch.retry", self.retry.0)?;
        positive("orders.ouch.away_max", self.away_max.0)
    }
}
