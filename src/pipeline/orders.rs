//! Where a shard's orders go, and what became of those in doubt.

use std::sync::Arc;
use std::time::Duration;

use bus::clock::{Clock, MachineClock};
use bus::oms::{
    About, Encoder, File, Gateway, GatewayError, NewOrder, OrderId, Real, Several, Tcp, TcpConfig,
};
use bus::{Body, Signal};
use crossbeam_utils::CachePadded;

use super::Job;
use super::shards::open_when_free;
use crate::config::InDoubt;
use crate::kill::Kill;
use crate::order_session::{self, OrderSession};
use crate::recovery::Recovery;
use crate::shard::{ShardConfig, ShardError};

/// How long the peer may take to say what it knows of orders in doubt.
const ANSWERS_MAX: Duration = Duration::from_secs(10);

/// Where a shard's orders go, and which of them are there already.
pub(super) struct Orders {
    file: Option<File>,
    tcp: Option<Tcp>,
    session: Option<Box<OrderSession>>,
    pub(super) delivered: Vec<OrderId>,
    pub(super) msg_seq_last: u64,
    policy: InDoubt,
}

impl Orders {
    pub(super) fn open(
        job: &Job<'_>,
        shard: usize,
        kill: &Arc<CachePadded<Kill>>,
    ) -> Result<Orders, ShardError> {
        let config = &job.config.orders;
        let (mut file, mut tcp) = (None, None);
        let (mut delivered, mut msg_seq_last) = (Vec::new(), 0);
        if config.file {
            let path = job.dir.orders_path(shard);
            let folder = path.parent().expect("it is in the run directory");
            std::fs::create_dir_all(folder)
                .map_err(|e| ShardError::Setup(format!("{}: {e}", folder.display())))?;
            if job.resume {
                let resumed =
                    open_when_free(true, || File::resume(&path), GatewayError::is_in_use)?;
                (delivered, msg_seq_last) = (resumed.ids, resumed.msg_seq_last);
                bus::failpoint!("orders-resumed");
                file = Some(resumed.file);
                // With another number of shards, orders of these symbols went to other files.
                let shards_max = job.parts.iter().map(|part| part.shards).max().unwrap_or(0);
                for other in (0..shards_max).filter(|other| *other != shard && job.part() > 0) {
                    delivered.extend(File::ids(&job.dir.orders_path(other))?);
                }
            } else {
                file = Some(File::create(&path)?);
            }
        }
        if let Some(address) = &config.tcp {
            // With a second peer, one peer's word does not say what the other got.
            delivered.clear();
            tcp = Some(Tcp::connect(&TcpConfig {
                address: address.clone(),
                connect_max: Duration::from_secs(5),
                stall_max: Duration::from_secs(10),
                waiting_bytes_max: 1 << 20,
            })?);
        }
        delivered.sort_unstable();
        let session = match &config.fix {
            Some(_) => Some(Box::new(open_session(job, shard, kill)?)),
            None => None,
        };
        Ok(Orders {
            file,
            tcp,
            session,
            delivered,
            msg_seq_last,
            policy: config.in_doubt,
        })
    }

    /// Finds out about orders in doubt, as the configuration says, before anything new leaves.
    pub(super) fn settle(
        &mut self,
        state: &Recovery,
        encoder: &mut Encoder,
        config: &ShardConfig,
        clock: &MachineClock,
    ) -> Result<(), ShardError> {
        if state.in_doubt().next().is_none() {
            return Ok(());
        }
        if let Some(session) = &mut self.session {
            self.delivered = session.agree()?;
            self.delivered.sort_unstable();
        }
        let id_of = |order: &Signal| OrderId::of(config.date, order);
        let is_open = |id: &OrderId| self.delivered.binary_search(id).is_err();
        let orders = state.in_doubt().map(|order| (id_of(order), *order));
        let open: Vec<(OrderId, Signal)> = orders.filter(|(id, _)| is_open(id)).collect();
        if open.is_empty() {
            return Ok(());
        }
        match self.policy {
            InDoubt::Possresend | InDoubt::Cancel => Ok(()),
            InDoubt::Halt => Err(ShardError::InDoubt {
                ids: open.iter().map(|(id, _)| id.to_string()).collect(),
            }),
            InDoubt::Query => {
                self.msg_seq_last = self.msg_seq_last.max(state.msg_seq());
                for (id, order) in &open {
                    let Some(Body::Order(body)) = order.body() else {
                        unreachable!("only orders are in doubt");
                    };
                    self.msg_seq_last = match &mut self.session {
                        Some(session) => session.next_seq()?,
                        None => self.msg_seq_last + 1,
                    };
                    let about = NewOrder {
                        msg_seq: self.msg_seq_last,
                        sending_time: match config.is_live {
                            true => clock.wall(),
                            false => order.ts_event,
                        },
                        id,
                        symbol: state.core().name(order.symbol),
                        order: &body,
                        transact_time: order.ts_event,
                        poss_resend: false,
                    };
                    let message = encoder.encode_about(About::Status, &about);
                    if let Some(session) = &mut self.session {
                        while !session.send(message)? {
                            session.turn()?;
                        }
                    }
                    if let Some(tcp) = &mut self.tcp {
                        tcp.ask(id, message)?;
                    }
                }
                match (&mut self.session, &mut self.tcp) {
                    (Some(session), _) => self.delivered = session.agree()?,
                    (None, Some(tcp)) => self.delivered.extend(tcp.answers(ANSWERS_MAX)?),
                    (None, None) => {}
                }
                self.delivered.sort_unstable();
                Ok(())
            }
        }
    }

    pub(super) fn gateway(self) -> Several<Outlet> {
        let file = self.file.map(|file| Outlet::Real(Real::File(file)));
        let tcp = self.tcp.map(|tcp| Outlet::Real(Real::Tcp(tcp)));
        let session = self.session.map(Outlet::Session);
        Several::new([file, tcp, session].into_iter().flatten().collect())
    }
}

/// The session of a shard, logged on.
fn open_session(
    job: &Job<'_>,
    shard: usize,
    kill: &Arc<CachePadded<Kill>>,
) -> Result<OrderSession, ShardError> {
    let config = &job.config.orders;
    let fix = config.fix.as_ref().expect("it is asked for");
    // A session's orders cannot be moved to another: only the one that sent them is told of them.
    let shards = job.config.run.shards;
    if let Some(part) = job.parts.iter().find(|part| part.shards != shards) {
        return Err(ShardError::Setup(format!(
            "each shard has a FIX session of its own, and this run had {} of them before: want \
             --shards {0}, not {shards}",
            part.shards
        )));
    }
    let sender = config.sender(shard);
    let journal = job.dir.reports_path(shard);
    let store = match &fix.store {
        Some(folder) => folder.join(format!("{sender}-{}.session", config.target)),
        None => job.dir.session_path(shard),
    };
    for path in [&journal, &store] {
        let folder = path.parent().expect("it is in a folder");
        std::fs::create_dir_all(folder)
            .map_err(|e| ShardError::Setup(format!("{}: {e}", folder.display())))?;
    }
    let settings = order_session::Settings {
        fix,
        sender: &sender,
        target: &config.target,
        in_doubt: config.in_doubt,
        store: &store,
        journal: &journal,
        kill,
    };
    let open = || OrderSession::open(&settings, MachineClock::new());
    Ok(open_when_free(job.resume, open, |error| {
        error.what.ends_with("another process has it open")
    })?)
}

/// Where a shard's orders can go.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a shard has one or two of them, and files are not to be reached over a pointer"
)]
pub enum Outlet {
    /// To a file or an address, as they are.
    Real(Real),
    /// Through a session over FIX.
    Session(Box<OrderSession>),
}

impl Gateway for Outlet {
    fn next_msg_seq(&mut self, callers: u64) -> Option<u64> {
        match self {
            Outlet::Real(real) => real.next_msg_seq(callers),
            Outlet::Session(session) => session.next_msg_seq(callers),
        }
    }

    fn has_room(&mut self, message_bytes: usize) -> bool {
        match self {
            Outlet::Real(real) => real.has_room(message_bytes),
            Outlet::Session(session) => session.has_room(message_bytes),
        }
    }

    fn send(&mut self, message: &[u8]) -> Result<bool, GatewayError> {
        match self {
            Outlet::Real(real) => real.send(message),
            Outlet::Session(session) => session.send(message),
        }
    }

    fn turn(&mut self) -> Result<usize, GatewayError> {
        match self {
            Outlet::Real(real) => real.turn(),
            Outlet::Session(session) => session.turn(),
        }
    }

    fn waiting(&self) -> usize {
        match self {
            Outlet::Real(real) => real.waiting(),
            Outlet::Session(session) => session.waiting(),
        }
    }

    fn finish(&mut self) -> Result<(), GatewayError> {
        match self {
            Outlet::Real(real) => real.finish(),
            Outlet::Session(session) => session.finish(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Outlet::Real(real) => real.describe(),
            Outlet::Session(session) => session.describe(),
        }
    }
}
