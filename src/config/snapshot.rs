//! `[source.snapshot]`: who has all live orders, for books that a loss made stale.

use std::path::PathBuf;

use bus::Ts;
use bus::soupbintcp::Login;
use feed::glimpse::AskSnapshots;
use feed::reader::HealRule;
use serde::{Deserialize, Serialize};

use super::secret::{Keys, Password};
use super::soup::is_host_and_port;
use super::units::{Size, Span};
use super::{MILLI, SECOND, positive};

/// Asking a GLIMPSE server for a snapshot after a loss, so that books are whole again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Snapshot {
    /// Whom, `127.0.0.1:26700`; nobody is asked otherwise, and books stay stale after a loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glimpse: Option<String>,
    /// Who logs in, up to six letters.
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
    /// How often a snapshot is asked for in a row.
    pub tries: u32,
    /// How long to wait before it is asked for again; twice as long each further time ...
    pub retry: Span,
    /// ... up to this.
    pub retry_max: Span,
    /// A server that sends nothing for so long, not even a heartbeat, is lost.
    pub silence: Span,
    /// A snapshot that has not ended by then never does.
    pub timeout: Span,
    /// What comes meanwhile is kept up to so much. Beyond it, another snapshot is asked for.
    pub buffer: Size,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot {
            glimpse: None,
            user: String::new(),
            password: Password::default(),
            password_file: None,
            password_env: None,
            tries: 8,
            retry: Span(200 * MILLI),
            retry_max: Span(10 * SECOND),
            silence: Span(15 * SECOND),
            timeout: Span(60 * SECOND),
            buffer: Size(256 << 20),
        }
    }
}

impl Snapshot {
    pub(super) fn keys(&self) -> Keys<'_> {
        Keys {
            table: "source.snapshot",
            word: &self.password,
            file: self.password_file.as_deref(),
            env: self.password_env.as_deref(),
        }
    }

    /// Who logs in. Reads the password where it is kept.
    pub(super) fn login(&self) -> Result<Login, String> {
        let password = self.keys().read()?;
        self.login_with(&password)
    }

    fn login_with(&self, password: &str) -> Result<Login, String> {
        // A snapshot is a session of its own, from its first message on.
        Login::new(&self.user, password, "", 1).ok_or_else(|| {
            "source.snapshot: want a user of up to 6 printable letters, and a password of up to 10"
                .into()
        })
    }

    /// Whom to ask at this address, and how, for at most so many live orders. Reads the password where it is
    /// kept.
    pub fn ask(
        &self,
        server: std::net::SocketAddr,
        midnight: Ts,
        orders_max: usize,
    ) -> Result<AskSnapshots, String> {
        let ns = |span: Span| span.0.max(0) as u64;
        Ok(AskSnapshots {
            server,
            login: self.login()?,
            midnight,
            orders_max,
            silence_ns: ns(self.silence),
            timeout_ns: ns(self.timeout),
            tries_max: self.tries,
            retry_ns: ns(self.retry),
            retry_max_ns: ns(self.retry_max),
        })
    }

    /// How the reader uses what it gets.
    pub fn rule(&self) -> HealRule {
        HealRule {
            kept_bytes_max: self.buffer.0 as usize,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for (name, span) in [
            ("retry", self.retry),
            ("retry_max", self.retry_max),
            ("silence", self.silence),
            ("timeout", self.timeout),
        ] {
            positive(&format!("source.snapshot.{name}"), span.0)?;
        }
        if !(1..=1_000).contains(&self.tries) {
            let tries = self.tries;
            return Err(format!("source.snapshot.tries is {tries}, want 1 to 1000"));
        }
        let buffer = self.buffer.0;
        if !(64 << 10..=16 << 30).contains(&buffer) {
            let buffer = self.buffer;
            return Err(format!(
                "source.snapshot.buffer is {buffer}, want 64KiB to 16GiB"
            ));
        }
        self.keys().check()?;
        // A password that stands elsewhere is looked at when a run begins.
        match self.keys().is_elsewhere() {
            true => self.login_with("")?,
            false => self.login()?,
        };
        match self.glimpse.as_deref().map(is_host_and_port) {
            Some(false) => Err(format!(
                "source.snapshot.glimpse is `{}`, want HOST:PORT (like \"127.0.0.1:26700\")",
                self.glimpse.as_deref().unwrap_or_default()
            )),
            Some(true) | None => Ok(()),
        }
    }
}
