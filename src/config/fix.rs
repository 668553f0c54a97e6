//! `[orders.fix]`: sessions over FIX.

use std::path::{Path, PathBuf};

use ::fix::{ApplVersion, Role, Schedule, Secured, SessionConfig, Version};
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::soup::is_host_and_port;
use super::units::Span;
use super::{MILLI, SECOND, positive};

/// A FIX session of each shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fix {
    /// Whom to connect to, `127.0.0.1:9878`.
    pub connect: String,
    /// Which FIX is spoken.
    pub version: FixVersion,
    /// How often something is heard at least, in whole seconds; `0s` is never.
    pub heartbeat: Span,
    /// When the numbers of messages begin at 1.
    pub reset: Reset,
    /// Logons say which number is expected next (NextExpectedMsgSeqNum), so that what is missing
    /// comes without being asked for.
    pub next_expected: bool,
    /// How long to wait before a lost connection is tried again.
    pub retry: Span,
    /// For how long nobody may be logged on while orders wait; the run stops then. It begins anew with each
    /// message about orders, and where no order waited for a second.
    pub away_max: Span,
    /// The folder of the sessions' numbers and messages; the run's own when there is none. With
    /// `reset = "never"` it must outlive the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<PathBuf>,
    /// When a session was lost, what is open at the next logon is cancelled, order by order: what
    /// rested meanwhile rested unwatched. After a crash, too.
    pub cancel_on_disconnect: bool,
    /// Each message waits until it is on the disk before it leaves, so that its number survives the
    /// end of the machine, too, and not only that of the program.
    pub sync: bool,
    /// Account (1) of every order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A QuickFIX dictionary, as XML: what we send must fit it, and what comes and does not is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dictionary: Option<PathBuf>,
    /// The dictionary of the session itself, for FIX 5.0 over FIXT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_dictionary: Option<PathBuf>,
    /// When the session is open; always when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Opening>,
    /// Through TLS, which is in programs that were built with the feature `tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// How the counterparty is believed to be who it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificates that are believed, as PEM: those of who signed the counterparty's, or its own.
    pub ca: PathBuf,
    /// The name that its certificate is for; the host of `connect` when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A certificate of ours, as PEM, where the counterparty wants one, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// ... and its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// What a program says that cannot speak it.
#[cfg(not(feature = "tls"))]
const WITHOUT: &str =
    "this program was built without TLS; want one that was built with `--features tls`";

impl Tls {
    /// For the connection to this `HOST:PORT`. Reads the files.
    #[cfg(feature = "tls")]
    pub fn secured(&self, connect: &str) -> Result<Secured, String> {
        let host = connect.rsplit_once(':').map_or(connect, |(host, _)| host);
        let name = self.name.as_deref();
        let name = name.unwrap_or_else(|| host.trim_matches(['[', ']']));
        let own = self.certificate.as_deref().zip(self.key.as_deref());
        let client = ::fix::tls::Client::new(&self.ca, name, own);
        client
            .map(Secured::Client)
            .map_err(|error| format!("TLS: {error}"))
    }

    /// There is none.
    #[cfg(not(feature = "tls"))]
    pub fn secured(&self, _: &str) -> Result<Secured, String> {
        Err(WITHOUT.into())
    }
}

/// For the side that accepts, with a certificate, its key, and those that it believes, where the other
/// side must show one.
#[cfg(feature = "tls")]
pub fn tls_server(certificate: &Path, key: &Path, ca: Option<&Path>) -> Result<Secured, String> {
    ::fix::tls::Server::new(certificate, key, ca)
        .map(Secured::Server)
        .map_err(|error| format!("TLS: {error}"))
}

/// There is none.
#[cfg(not(feature = "tls"))]
pub fn tls_server(_: &Path, _: &Path, _: Option<&Path>) -> Result<Secured, String> {
    Err(WITHOUT.into())
}

/// Which FIX a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FixVersion {
    /// FIX 4.2.
    #[serde(rename = "FIX.4.2")]
    Fix42,
    /// FIX 4.4.
    #[serde(rename = "FIX.4.4")]
    Fix44,
    /// FIX 5.0 SP2 over FIXT 1.1.
    #[serde(rename = "FIX.5.0SP2")]
    Fix50Sp2,
}

impl FixVersion {
    /// The session's own.
    pub fn session(self) -> Version {
        match self {
            FixVersion::Fix42 => Version::Fix42,
            FixVersion::Fix44 => Version::Fix44,
            FixVersion::Fix50Sp2 => Version::Fixt11,
        }
    }
}

/// When the numbers of messages begin at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reset {
    /// With the first logon of a store that is new, which says so (ResetSeqNumFlag).
    New,
    /// Only with an opening of the schedule.
    Never,
}

/// When a session is open: from one time of the day to another, by the clock of a place. Numbers
/// begin at 1 with each opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Whose clock it is, `America/New_York`.
    pub timezone: String,
    /// When it opens, `08:00:00`.
    pub opens: String,
    /// When it closes: on the next day, when that is not later.
    pub closes: String,
    /// The days on which it opens, `["mon", "tue"]`; none means all.
    #[serde(default)]
    pub days: Vec<String>,
}

impl Opening {
    fn schedule(&self) -> Result<Schedule, String> {
        let time = |name: &str, text: &str| {
            text.parse::<Time>().map_err(|_| {
                format!("orders.fix.schedule.{name} is `{text}`, want a time like \"08:00:00\"")
            })
        };
        let zone = TimeZone::get(&self.timezone).map_err(|_| {
            format!(
                "orders.fix.schedule.timezone is `{}`, want a name like \"America/New_York\"",
                self.timezone
            )
        })?;
        let day = |text: &String| {
            let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            let found = names.iter().position(|name| name == text);
            let number = found.and_then(|index| i8::try_from(index + 1).ok());
            number
                .and_then(|number| Weekday::from_monday_one_offset(number).ok())
                .ok_or_else(|| {
                    format!(
                        "orders.fix.schedule.days has `{text}`, want some of {}",
                        names.join(", ")
                    )
                })
        };
        Ok(Schedule::Daily {
            zone,
            start: time("opens", &self.opens)?,
            end: time("closes", &self.closes)?,
            days: self.days.iter().map(day).collect::<Result<_, _>>()?,
        })
    }
}

impl Fix {
    /// What a session between these two is.
    pub fn session(&self, sender: &str, target: &str) -> Result<SessionConfig, String> {
        let version = self.version.session();
        let schedule = match &self.schedule {
            Some(opening) => opening.schedule()?,
            None => Schedule::Always,
        };
        Ok(SessionConfig {
            appl_version: (self.version == FixVersion::Fix50Sp2).then_some(ApplVersion::Fix50Sp2),
            heartbeat_s: (self.heartbeat.0 / SECOND) as u32,
            reset_when_new: self.reset == Reset::New,
            next_expected: self.next_expected,
            schedule,
            ..SessionConfig::new(version, Role::Initiator, sender, target)
        })
    }

    /// How its connections are secured. Reads the files that say so.
    pub fn secured(&self) -> Result<Secured, String> {
        match &self.tls {
            Some(tls) => tls
                .secured(&self.connect)
                .map_err(|error| format!("orders.fix.tls: {error}")),
            None => Ok(Secured::No),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if !is_host_and_port(&self.connect) {
            return Err(format!(
                "orders.fix.connect is `{}`, want HOST:PORT (like \"127.0.0.1:9878\")",
                self.connect
            ));
        }
        let heartbeat = self.heartbeat.0;
        if heartbeat < 0 || heartbeat % SECOND != 0 || heartbeat > 86_400 * SECOND {
            return Err("orders.fix.heartbeat: want whole seconds, up to a day".into());
        }
        positive("orders.fix.retry", self.retry.0)?;
        positive("orders.fix.away_max", self.away_max.0)?;
        if self.reset == Reset::Never && self.store.is_none() {
            return Err(
                "orders.fix.reset is `never`, so the numbers go on from run to run: want \
                 orders.fix.store, a folder that outlives this run"
                    .into(),
            );
        }
        let is_fixt = self.version == FixVersion::Fix50Sp2;
        if self.dictionary.is_some() && is_fixt != self.session_dictionary.is_some() {
            return Err(
                "orders.fix.session_dictionary is for FIX.5.0SP2, which needs it beside \
                 orders.fix.dictionary"
                    .into(),
            );
        }
        if self.dictionary.is_none() && self.session_dictionary.is_some() {
            return Err("orders.fix.session_dictionary wants orders.fix.dictionary".into());
        }
        if let Some(opening) = &self.schedule {
            opening.schedule()?;
        }
        if let Some(tls) = &self.tls
            && tls.certificate.is_some() != tls.key.is_some()
        {
            return Err("orders.fix.tls: want both certificate and key, or none of them".into());
        }
        Ok(())
    }
}

impl Default for Fix {
    fn default() -> Fix {
        Fix {
            connect: String::new(),
            version: FixVersion::Fix44,
            heartbeat: Span(30 * SECOND),
            reset: Reset::New,
            next_expected: false,
            retry: Span(200 * MILLI),
            away_max: Span(10 * SECOND),
            store: None,
            cancel_on_disconnect: false,
            sync: false,
            account: None,
            dictionary: None,
            session_dictionary: None,
            schedule: None,
            tls: None,
        }
    }
}
