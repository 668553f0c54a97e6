//! `[orders.ouch]`: sessions over OUCH 5.0.

use std::path::PathBuf;

use ::fix::ouch::Config;
use bus::oms::Date;
use bus::ouch::Terms;
use bus::soupbintcp::Login;
use serde::{Deserialize, Serialize};

use super::secret::{Keys, Password};
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
    /// The password, up to ten letters. It is in the run's own config.toml as well, which then only its owner
    /// may read.
    pub password: Password,
    /// A file with the password as its only line, relative to the settings' folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// The variable of the environment that has the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
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
            password: Password::default(),
            password_file: None,
            password_env: None,
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

    pub(super) fn keys(&self) -> Keys<'_> {
        Keys {
            table: "orders.ouch",
            word: &self.password,
            file: self.password_file.as_deref(),
            env: self.password_env.as_deref(),
        }
    }

    /// What a shard logs in with. Reads the password where it is kept.
    pub(super) fn login(&self, shard: usize) -> Result<Login, String> {
        let password = self.keys().read()?;
        Login::new(&self.user(shard), &password, "", 1).ok_or_else(|| {
            format!(
                "orders.ouch: user `{}` and its password, want at most 6 and 10 printable letters",
                self.user(shard)
            )
        })
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
            login: self.login(shard)?,
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
        self.keys().check()?;
        // One that stands elsewhere is looked at when a run begins.
        let is_elsewhere = self.keys().is_elsewhere();
        let user = self.user(shards - 1);
        if is_elsewhere && Login::new(&user, "", "", 1).is_none() {
            return Err(format!(
                "orders.ouch.user is `{user}`, want at most 6 printable letters"
            ));
        }
        if !is_elsewhere {
            self.login(shards - 1)?;
        }
        self.firm()?;
        positive("orders.ouch.silence", self.silence.0)?;
        positive("orders.ouch.retry", self.retry.0)?;
        positive("orders.ouch.away_max", self.away_max.0)
    }
}
