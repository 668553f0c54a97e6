//! The reader and all shards on one thread.

use std::sync::atomic::Ordering;
use std::sync::mpsc;

use bus::oms::{Gateway, Several};
use feed::protocol::Protocol;
use feed::reader::Turned;

use super::orders::Outlet;
use super::reading::Reading;
use super::shards::{Has, Known, Paced, Ready, Running, Step, open_shard};
use super::{Ended, Ends, Run, Starts, Timed, Typed};
use crate::rest::Rest;
use crate::shard::ShardError;

/// The reader and all shards in turns, so that what a packet says is concluded, and its order
/// sent, before the next packet is asked for. The rings are those of threads, and lie in this
/// core's cache.
pub(super) struct OneThread<'a, S, W> {
    pub(super) run: Run<'a>,
    pub(super) source: S,
    pub(super) starts: Vec<Starts>,
    pub(super) ends: Vec<Ends>,
    pub(super) ready: mpsc::Sender<Ready>,
    /// What each shard's gateway is seen through.
    pub(super) wrap: W,
}

impl<S: Timed, G: Gateway, W: Fn(Several<Outlet>) -> G> Typed for OneThread<'_, S, W> {
    fn run<P: Protocol>(self, protocol: P) -> Ended {
        let OneThread {
            run,
            source,
            starts,
            ends,
            ready,
            wrap,
        } = self;
        let run = &run;
        let shared = run.shared;
        let cpu = shared.cpus[0];
        let mut ended = Ended::default();
        let mut shards: Vec<Option<Running<'_, G>>> = Vec::with_capacity(ends.len());
        let mut known = Known::nothing(ends.len(), run.job.config.symbol_groups());
        for (index, ends) in ends.into_iter().enumerate() {
            match open_shard(run, index, cpu, ends, &ready, &wrap) {
                Ok(shard) => {
                    known.add(index, Has::of(&shard));
                    shards.push(Some(shard));
                }
                Err(error) => {
                    shared.failed.store(true, Ordering::Release);
                    ended.shards.push((index, Err(error)));
                    shards.push(None);
                }
            }
        }
        drop(ready);
        if ended.shards.is_empty()
            && let Err(what) = run.job.dir.mark_begun(run.job.part())
        {
            shared.failed.store(true, Ordering::Release);
            ended.shards.push((0, Err(ShardError::Setup(what))));
            shards[0] = None;
        }
        // Without one of its shards nothing is read, and the others end in order.
        let mut reading = None;
        if ended.shards.is_empty() {
            reading = Some(Reading::new(run, protocol, source, starts, known));
        } else {
            drop(starts);
        }
        let mut rest = Rest::new(&shared.cpus, cpu);
        let mut paced = vec![Paced::default(); shards.len()];
        loop {
            let mut has_worked = false;
            let mut now_ns = None;
            if let Some(reader) = &mut reading {
                let turned = reader.turn();
                now_ns = Some(reader.now_ns);
                let end = match turned {
                    Ok(Turned::Worked { .. }) => {
                        has_worked = true;
                        None
                    }
                    Ok(Turned::Empty | Turned::Full) => None,
                    Ok(Turned::Ended) => Some(Ok(reader.reader.stats())),
                    Err(error) => Some(Err(error)),
                };
                let is_failed = shared.failed.load(Ordering::Relaxed);
                if let Some(end) = end.or_else(|| is_failed.then(|| Ok(reader.reader.stats()))) {
                    ended.read = Some(end);
                    // With it go its ends of the rings, so that the shards know.
                    reading = None;
                }
            }
            for (index, place) in shards.iter_mut().enumerate() {
                let Some(shard) = place else { continue };
                match run.step(index, shard, &mut paced[index]) {
                    Ok(Step::Worked) => has_worked = true,
                    Ok(Step::Idle) => now_ns = now_ns.or(Some(shard.now_ns())),
                    Ok(Step::Done) => {
                        let result = place.take().map(|shard| run.finish(index, shard));
                        ended.shards.extend(result.map(|result| (index, result)));
                    }
                    Err(error) => {
                        shared.failed.store(true, Ordering::Release);
                        ended.shards.push((index, Err(error)));
                        *place = None;
                    }
                }
            }
            if reading.is_none() && shards.iter().all(Option::is_none) {
                return ended;
            }
            match has_worked {
                true => rest.over(),
                false => rest.rest(now_ns.unwrap_or(0), || true),
            }
        }
    }
}
