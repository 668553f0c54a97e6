//! What a session is: its versions, names, timeouts and bounds.

use crate::schedule::Schedule;
use crate::version::{ApplVersion, Version};

/// Which side begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Connects, and says the first Logon.
    Initiator,
    /// Is connected to, and answers it.
    Acceptor,
}

/// What happens to messages that do not fit their dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Those of the application are handed on with their flaw beside them; those of the session
    /// must only make sense. For order entry: a fill is a fill, unknown fields or not.
    Tolerant,
    /// They are rejected. Reports of executions are handed on nevertheless, before the reject.
    Strict,
}

/// What a session is.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Which FIX it speaks.
    pub version: Version,
    /// What is said over FIXT; needed there, and there only.
    pub appl_version: Option<ApplVersion>,
    /// Which side this is.
    pub role: Role,
    /// SenderCompID: this side's name.
    pub sender: String,
    /// TargetCompID: the other side's name.
    pub target: String,
    /// SenderSubID, sent with every message.
    pub sender_sub: Option<String>,
    /// TargetSubID, sent with every message.
    pub target_sub: Option<String>,
    /// How often something is heard, in seconds, as an initiator proposes it; 0 is never.
    pub heartbeat_s: u32,
    /// The first Logon of all, before which nothing was said or heard, says that both numbers begin
    /// at 1, wherever the other side's had come to.
    pub reset_when_new: bool,
    /// Both numbers begin at 1 with each logon.
    pub reset_on_logon: bool,
    /// Both numbers begin at 1 after a logout.
    pub reset_on_logout: bool,
    /// Both numbers begin at 1 after a connection ended.
    pub reset_on_disconnect: bool,
    /// Logons say which number is expected next, so that what is missing comes without being
    /// asked for.
    pub next_expected: bool,
    /// A SendingTime further from ours than this is refused; `None` lets all pass.
    pub latency_max_s: Option<u32>,
    /// How long an answer to a Logon, or the first one, is waited for.
    pub logon_timeout_s: u32,
    /// How long an answer to a Logout is waited for.
    pub logout_timeout_s: u32,
    /// How many messages one ResendRequest asks for at most; 0 asks for all that are missing.
    pub resend_chunk: u64,
    /// When it may be open.
    pub schedule: Schedule,
    /// What happens to messages that do not fit their dictionary.
    pub inbound: Inbound,
    /// Says DefaultApplVerID in business rejects, where no dictionary has it but QuickFIX says it.
    pub appl_version_in_rejects: bool,
    /// No message is longer.
    pub message_bytes_max: usize,
    /// How many messages that came too early are kept until those before them are there.
    pub early_max: usize,
    /// A peer that lets more than this wait to be read is disconnected.
    pub output_bytes_max: usize,
}

impl SessionConfig {
    /// The usual settings for a session of these two.
    pub fn new(version: Version, role: Role, sender: &str, target: &str) -> SessionConfig {
        SessionConfig {
            version,
            appl_version: (version == Version::Fixt11).then_some(ApplVersion::Fix50Sp2),
            role,
            sender: sender.to_owned(),
            target: target.to_owned(),
            sender_sub: None,
            target_sub: None,
            heartbeat_s: 30,
            reset_when_new: false,
            reset_on_logon: false,
            reset_on_logout: false,
            reset_on_disconnect: false,
            next_expected: false,
            latency_max_s: Some(120),
            logon_timeout_s: 10,
            logout_timeout_s: 2,
            resend_chunk: 0,
            schedule: Schedule::Always,
            inbound: Inbound::Tolerant,
            appl_version_in_rejects: false,
            message_bytes_max: 1 << 20,
            early_max: 10_000,
            output_bytes_max: 64 << 20,
        }
    }
}
