//! Where a shard's orders go, and what became of those in doubt.

use std::time::Duration;

use bus::clock::{Clock, MachineClock};
use bus::oms::{
    About, Encoder, File, GatewayError, NewOrder, OrderId, Real, Several, Tcp, TcpConfig,
};
use bus::{Body, Signal};

use super::Job;
use super::shards::open_when_free;
use crate::config::InDoubt;
use crate::recovery::Recovery;
use crate::shard::{ShardConfig, ShardError};

/// How long the peer may take to say what it knows of orders in doubt.
const ANSWERS_MAX: Duration = Duration::from_secs(10);

/// Where a shard's orders go, and which of them are there already.
pub(super) struct Orders {
    file: Option<File>,
    tcp: Option<Tcp>,
    pub(super) delivered: Vec<OrderId>,
    pub(super) msg_seq_last: u64,
    policy: InDoubt,
}

impl Orders {
    pub(super) fn open(job: &Job<'_>, shard: usize) -> Result<Orders, ShardError> {
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
        Ok(Orders {
            file,
            tcp,
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
        let id_of = |order: &Signal| OrderId::of(config.date, order);
        let is_open = |id: &OrderId| self.delivered.binary_search(id).is_err();
        let orders = state.in_doubt().map(|order| (id_of(order), *order));
        let open: Vec<(OrderId, Signal)> = orders.filter(|(id, _)| is_open(id)).collect();
        if open.is_empty() {
            return Ok(());
        }
        match (self.policy, &mut self.tcp) {
            (InDoubt::Possresend | InDoubt::Cancel, _) | (InDoubt::Query, None) => Ok(()),
            (InDoubt::Halt, _) => Err(ShardError::InDoubt {
                ids: open.iter().map(|(id, _)| id.to_string()).collect(),
            }),
            (InDoubt::Query, Some(tcp)) => {
                self.msg_seq_last = self.msg_seq_last.max(state.msg_seq());
                for (id, order) in &open {
                    let Some(Body::Order(body)) = order.body() else {
                        unreachable!("only orders are in doubt");
                    };
                    self.msg_seq_last += 1;
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
                    tcp.ask(id, encoder.encode_about(About::Status, &about))?;
                }
                let known = tcp.answers(ANSWERS_MAX)?;
                self.delivered.extend(known);
                self.delivered.sort_unstable();
                Ok(())
            }
        }
    }

    pub(super) fn gateway(self) -> Several<Real> {
        let file = self.file.map(Real::File);
        Several::new(file.into_iter().chain(self.tcp.map(Real::Tcp)).collect())
    }
}
