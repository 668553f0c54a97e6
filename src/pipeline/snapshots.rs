//! The thread that asks for snapshots, for as long as the reader is there.

use std::thread;

use feed::glimpse::{self, Link};
use feed::reader::HealRule;

use super::Job;
use crate::config::soup::resolve;

/// Whom the reader asks for snapshots, where it asks anybody.
pub(super) fn start(job: &Job<'_>) -> Result<Option<(Link, HealRule)>, String> {
    let snapshot = &job.config.source.snapshot;
    let Some(server) = snapshot.glimpse.as_ref().filter(|_| job.is_live) else {
        return Ok(None);
    };
    let orders_max = job.config.limits.orders * job.config.run.shards;
    let rule = snapshot.ask(resolve(server)?, job.day.midnight, orders_max)?;
    let (link, fetch) = glimpse::link();
    // It ends when the link is dropped, and is not waited for: a connection may take a while to end.
    thread::Builder::new()
        .name("snapshots".into())
        .spawn(move || glimpse::ask(fetch, &rule))
        .map_err(|e| format!("thread snapshots: {e}"))?;
    Ok(Some((link, snapshot.rule())))
}
