//! `[source.soup]`: a session over SoupBinTCP instead of multicast lines.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use bus::soupbintcp::Login;
use feed::source::DialRule;
use serde::{Deserialize, Serialize};

use super::secret::{Keys, Password};
use super::units::Span;
use super::{MILLI, SECOND, positive};

/// A SoupBinTCP session to read, instead of multicast lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Soup {
    /// Whose, `127.0.0.1:26600`; the lines are read otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
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
    /// Which session; the one that is on when empty.
    pub session: String,
    /// The first message that is wanted; 0 for those from now on. A run that is resumed asks for the one
    /// behind those that it has, where its folder says which.
    pub sequence: u64,
    /// A server that sends nothing for so long, not even a heartbeat, is lost.
    pub silence: Span,
    /// How long to wait before a connection is tried again; twice as long each further time ...
    pub retry: Span,
    /// ... up to this.
    pub retry_max: Span,
}

impl Default for Soup {
    fn default() -> Soup {
        Soup {
            server: None,
            user: String::new(),
            password: Password::default(),
            password_file: None,
            password_env: None,
            session: String::new(),
            sequence: 1,
            silence: Span(15 * SECOND),
            retry: Span(100 * MILLI),
            retry_max: Span(10 * SECOND),
        }
    }
}

impl Soup {
    pub(super) fn keys(&self) -> Keys<'_> {
        Keys {
            table: "source.soup",
            word: &self.password,
            file: self.password_file.as_deref(),
            env: self.password_env.as_deref(),
        }
    }

    /// Who logs in, for which messages. Reads the password where it is kept.
    pub fn login(&self, sequence: u64) -> Result<Login, String> {
        let password = self.keys().read()?;
        self.login_with(&password, sequence)
    }

    fn login_with(&self, password: &str, sequence: u64) -> Result<Login, String> {
        Login::new(&self.user, password, &self.session, sequence).ok_or_else(|| {
            "source.soup: want a user of up to 6 printable letters, and a password and a session of up \
             to 10"
                .into()
        })
    }

    /// When to try again.
    pub fn rule(&self) -> DialRule {
        DialRule {
            silence_ns: self.silence.0.max(0) as u64,
            retry_ns: self.retry.0.max(0) as u64,
            retry_max_ns: self.retry_max.0.max(0) as u64,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for (name, span) in [
            ("silence", self.silence),
            ("retry", self.retry),
            ("retry_max", self.retry_max),
        ] {
            positive(&format!("source.soup.{name}"), span.0)?;
        }
        self.keys().check()?;
        // A password that stands elsewhere is looked at when a run begins.
        match self.keys().is_elsewhere() {
            true => self.login_with("", self.sequence)?,
            false => self.login(self.sequence)?,
        };
        match self.server.as_deref().map(is_host_and_port) {
            Some(false) => Err(format!(
                "source.soup.server is `{}`, want HOST:PORT (like \"127.0.0.1:26600\")",
                self.server.as_deref().unwrap_or_default()
            )),
            Some(true) | None => Ok(()),
        }
    }
}

/// Whether a text names a host and one of its ports.
pub(super) fn is_host_and_port(text: &str) -> bool {
    let port = text
        .rsplit_once(':')
        .map(|(host, port)| (host, port.parse::<u16>()));
    matches!(port, Some((host, Ok(1..))) if !host.is_empty())
}

/// The address of `HOST:PORT`, by the system's names. May wait for whoever knows them.
pub fn resolve(server: &str) -> Result<SocketAddr, String> {
    let found = server.to_socket_addrs();
    let mut found = found.map_err(|e| format!("{server}: {e}"))?;
    found
        .next()
        .ok_or_else(|| format!("{server}: a name without an address"))
}
