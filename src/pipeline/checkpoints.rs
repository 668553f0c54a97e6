//! Checkpoints, made beside the running shards.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use super::{Job, PipelineError, Shared};
use crate::kill::Why;
use crate::shard::ShardError;

/// Makes checkpoints beside the running shards, from their logs, until the other end of `ended`
/// is gone. What to tell the user.
///
/// A checkpoint that cannot be written costs time after the next crash, and nothing else, so the
/// run goes on without. A log from which something else is concluded than the shard concluded is
/// another matter: then this machine or this program is not to be trusted, and nothing leaves it
/// any more.
pub(super) fn make_checkpoints(
    job: &Job<'_>,
    shared: &Shared,
    every: Duration,
    ended: &mpsc::Receiver<()>,
) -> Result<Vec<String>, PipelineError> {
    if let Some(elsewhere) = shared.elsewhere {
        // Refused only where the core is gone; then it runs where the system likes.
        let _ = tuning::pin::pin_to(elsewhere);
    }
    let origin = job.origin();
    let mut remarks = Vec::new();
    let mut was_away = false;
    while ended.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
        let mut is_away = false;
        for (shard, progress) in shared.shards.iter().enumerate() {
            let durable = progress.durable.load(Ordering::Acquire);
            let Some(&uuid) = progress.uuid.get() else {
                continue;
            };
            match origin.checkpoint(shard, uuid, durable) {
                Ok(None) => {}
                Ok(Some(made)) => {
                    remarks.extend(made.remarks);
                    let Some(policy) = job.config.log.retention() else {
                        continue;
                    };
                    // A tier that was just waited for in vain would be again, for each shard, and
                    // the next checkpoints with it.
                    if is_away {
                        continue;
                    }
                    // The older of the two checkpoints must find its log too.
                    let dir = job.dir.log_dir(job.part(), shard);
                    let now = SystemTime::now();
                    if let Err(error) = bus::log::retain(&dir, &policy, made.base_cell, now) {
                        let what = format!("no room made in the log of shard {shard}: {error}");
                        if !error.may_pass() {
                            remarks.push(what);
                            return Ok(remarks);
                        }
                        is_away = true;
                        if !was_away {
                            remarks.push(format!("{what}; tried again with each checkpoint"));
                        }
                        was_away = true;
                    }
                }
                Err(error @ ShardError::Diverged { .. }) => {
                    shared.kill.set(Why::Diverged);
                    shared.failed.store(true, Ordering::Release);
                    return Err(PipelineError::Shard { shard, error });
                }
                Err(_) if progress.is_ending.load(Ordering::Acquire) => return Ok(remarks),
                Err(error) => {
                    remarks.push(format!("no more checkpoints: shard {shard}: {error}"));
                    return Ok(remarks);
                }
            }
        }
    }
    Ok(remarks)
}
