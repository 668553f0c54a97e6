//! The durable log and its checkpoints.

use std::time::Duration;

use bus::log::Retention;
use serde::{Deserialize, Serialize};

use super::units::{Size, Span};
use super::{MILLI, SECOND, positive};

/// The durable log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// When orders leave: once what caused them is on the disk, or at once.
    pub durability: Durability,
    /// How records reach the disk.
    pub backend: Backend,
    /// Size of one segment file.
    pub segment: Size,
    /// Largest frame.
    pub frame: Size,
    /// Oldest record that may wait for its frame to fill; orders do not wait for it.
    pub commit_age: Span,
    /// Move complete segments, compressed, to this directory, or `s3://bucket/folder` in builds
    /// with the feature `object-store`; the log is read there as if it were here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Remove the oldest segments for good where a shard's log takes more, here and in the tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Size>,
    /// Remove for good what was written longer ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_age: Option<Span>,
}

impl Log {
    /// What no single field can know.
    pub(super) fn check(&self) -> Result<(), String> {
        positive("log.commit_age", self.commit_age.0)?;
        if let Some(tier) = &self.tier
            && let Err(why) = bus::disk::tier::check(tier)
        {
            return Err(format!("log.tier cannot be used: {why}"));
        }
        if self.keep_age.is_some_and(|age| age.0 <= 0) {
            return Err("log.keep_age must be above zero".into());
        }
        let segment = self.segment.0;
        if !(64 << 10..=4 << 30).contains(&segment) || !segment.is_multiple_of(4096) {
            return Err(format!(
                "log.segment is {}, want 64KiB to 4GiB",
                self.segment
            ));
        }
        let frame = self.frame.0;
        if !(8 << 10..=4 << 20).contains(&frame)
            || !frame.is_multiple_of(4096)
            || frame > segment / 4
        {
            return Err(format!(
                "log.frame is {}, want 8KiB to 4MiB and at most a quarter of log.segment",
                self.frame
            ));
        }
        Ok(())
    }

    /// What is moved and removed while a run goes on; `None` for nothing.
    pub fn retention(&self) -> Option<Retention> {
        let retention = Retention {
            bytes_max: self.keep.map(|size| size.0),
            age_max: self
                .keep_age
                .map(|span| Duration::from_nanos(span.0.max(0) as u64)),
            tier: self.tier.clone(),
        };
        (retention != Retention::default()).then_some(retention)
    }
}

/// When orders leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Once what caused them is on the disk.
    Durable,
    /// At once; a crash may forget the causes of orders that left.
    Fast,
}

impl Durability {
    /// As the settings have it.
    pub const fn name(self) -> &'static str {
        match self {
            Durability::Durable => "durable",
            Durability::Fast => "fast",
        }
    }
}

/// How records reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// io_uring where the kernel allows it, else plain.
    Auto,
    /// `pwrite` and `fdatasync` on a thread of their own.
    Plain,
}

/// Checkpoints: what need not be replayed after a crash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoint {
    /// How often one is made of each shard, by a thread beside them; `0s` for never.
    pub every: Span,
}

impl Default for Log {
    fn default() -> Log {
        Log {
            durability: Durability::Durable,
            backend: Backend::Auto,
            segment: Size(64 << 20),
            frame: Size(256 << 10),
            commit_age: Span(5 * MILLI),
            tier: None,
            keep: None,
            keep_age: None,
        }
    }
}

impl Default for Checkpoint {
    fn default() -> Checkpoint {
        Checkpoint {
            every: Span(300 * SECOND),
        }
    }
}
