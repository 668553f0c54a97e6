//! Where a shard's orders go, and what became of those in doubt.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bus::clock::{Clock, MachineClock};
use bus::oms::{
    About, Encoder, File, Gateway, GatewayError, Json, NewOrder, OrderId, Real, Ring, Several, Tcp,
    TcpConfig,
};
use bus::{Body, Signal};
use crossbeam_utils::CachePadded;

use super::Job;
use super::shards::open_when_free;
use crate::config::{InDoubt, JsonTo};
use crate::copies::Places;
use crate::kill::Kill;
use crate::order_session::{self, OrderSession, Via};
use crate::recovery::Recovery;
use crate::shard::{ShardConfig, ShardError};

/// How long the peer may take to say what it knows of orders in doubt.
const ANSWERS_MAX: Duration = Duration::from_secs(10);

/// Where a shard's orders go, and which of them are there already.
pub(super) struct Orders {
    file: Option<File>,
    tcp: Option<Tcp>,
    json: Option<Json>,
    ring: Option<Ring>,
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
        let (mut file, mut tcp, mut json, mut ring) = (None, None, None, None);
        let mut delivered = Delivered::default();
        let mut msg_seq_last = 0;
        // With another number of shards, orders of these symbols went to other places.
        let shards_max = job.parts.iter().map(|part| part.shards).max().unwrap_or(0);
        let others = (0..shards_max).filter(|other| *other != shard && job.part() > 0);
        if config.file {
            let path = in_its_folder(job.dir.orders_path(shard))?;
            if job.resume {
                let resumed =
                    open_when_free(true, || File::resume(&path), GatewayError::is_in_use)?;
                let mut ids = resumed.ids;
                msg_seq_last = resumed.msg_seq_last;
                bus::failpoint!("orders-resumed");
                file = Some(resumed.file);
                for other in others.clone() {
                    ids.extend(File::ids(&job.dir.orders_path(other))?);
                }
                delivered.only(ids);
            } else {
                file = Some(File::create(&path)?);
            }
        }
        let places = Copied::find(job, shard)?;
        if let Some(path) = places.json.as_ref().filter(|_| !config.has_session()) {
            json = Some(match path {
                None => {
                    // Nobody knows what was read of it.
                    delivered.only(Vec::new());
                    Json::stdout()?
                }
                Some(path) if job.resume => {
                    let resume = || Json::resume(path);
                    let (json, found) = open_when_free(true, resume, GatewayError::is_in_use)?;
                    let mut ids = found.ids;
                    msg_seq_last = msg_seq_last.max(found.msg_seq_last);
                    for other in others.clone() {
                        ids.extend(Json::read(&job.dir.json_path(other))?.ids);
                    }
                    delivered.only(ids);
                    json
                }
                Some(path) => Json::create(path)?,
            });
        }
        if let Some((path, room)) = places.ring.as_ref().filter(|_| !config.has_session()) {
            ring = Some(if job.resume {
                let resume = || Ring::resume(path, *room);
                let (ring, mut ids) = open_when_free(true, resume, GatewayError::is_in_use)?;
                for other in others.clone() {
                    ids.extend(Ring::ids(&ring_path(job, other))?);
                }
                delivered.only(ids);
                ring
            } else {
                Ring::begin(path, *room)?
            });
        }
        if let Some(address) = &config.tcp {
            // With a second peer, one peer's word does not say what the other got.
            delivered.only(Vec::new());
            tcp = Some(Tcp::connect(&TcpConfig {
                address: address.clone(),
                connect_max: Duration::from_secs(5),
                stall_max: Duration::from_secs(10),
                waiting_bytes_max: 1 << 20,
            })?);
        }
        let session = match config.has_session() {
            true => Some(Box::new(open_session(job, shard, kill, &places)?)),
            false => None,
        };
        Ok(Orders {
            file,
            tcp,
            json,
            ring,
            session,
            delivered: delivered.0.unwrap_or_default(),
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
        let json = self.json.map(|json| Outlet::Real(Real::Json(json)));
        let ring = self.ring.map(|ring| Outlet::Real(Real::Ring(ring)));
        let session = self.session.map(Outlet::Session);
        let all = [file, tcp, json, ring, session];
        Several::new(all.into_iter().flatten().collect())
    }
}

/// The orders that every place has which was asked, sorted; nothing before the first was.
#[derive(Default)]
struct Delivered(Option<Vec<OrderId>>);

impl Delivered {
    /// One more place has these.
    fn only(&mut self, mut ids: Vec<OrderId>) {
        ids.sort_unstable();
        if let Some(before) = &self.0 {
            ids.retain(|id| before.binary_search(id).is_ok());
        }
        self.0 = Some(ids);
    }
}

/// Where lines and records of a shard go.
struct Copied {
    /// To stdout where there is no path.
    json: Option<Option<PathBuf>>,
    ring: Option<(PathBuf, u64)>,
}

impl Copied {
    fn find(job: &Job<'_>, shard: usize) -> Result<Copied, ShardError> {
        let config = &job.config.orders;
        let json = match config.json.map(|json| json.to) {
            None => None,
            Some(JsonTo::Stdout) => Some(None),
            Some(JsonTo::File) => Some(Some(in_its_folder(job.dir.json_path(shard))?)),
        };
        let ring = match &config.ring {
            None => None,
            Some(ring) => Some((in_its_folder(ring_path(job, shard))?, ring.records)),
        };
        Ok(Copied { json, ring })
    }
}

fn ring_path(job: &Job<'_>, shard: usize) -> PathBuf {
    let config = &job.config.orders;
    let folder = config.ring.as_ref().and_then(|ring| ring.folder.as_ref());
    match folder {
        Some(folder) => folder.join(format!("{}-shard-{shard}.ring", config.sender(shard))),
        None => job.dir.ring_path(shard),
    }
}

/// A path whose folder is there.
fn in_its_folder(path: PathBuf) -> Result<PathBuf, ShardError> {
    let folder = path.parent().expect("it is in a folder");
    std::fs::create_dir_all(folder)
        .map_err(|e| ShardError::Setup(format!("{}: {e}", folder.display())))?;
    Ok(path)
}

/// The session of a shard, logged on.
fn open_session(
    job: &Job<'_>,
    shard: usize,
    kill: &Arc<CachePadded<Kill>>,
    copied: &Copied,
) -> Result<OrderSession, ShardError> {
    let config = &job.config.orders;
    // A session's orders cannot be moved to another: only the one that sent them is told of them.
    let shards = job.config.run.shards;
    if let Some(part) = job.parts.iter().find(|part| part.shards != shards) {
        return Err(ShardError::Setup(format!(
            "each shard has a session of its own, and this run had {} of them before: want \
             --shards {0}, not {shards}",
            part.shards
        )));
    }
    let sender = config.sender(shard);
    let journal = in_its_folder(job.dir.reports_path(shard))?;
    let setup = ShardError::Setup;
    let (via, folder) = match (&config.fix, &config.ouch) {
        (Some(fix), _) => (Via::Fix(fix), &fix.store),
        (None, Some(ouch)) => {
            let session = ouch.session(shard, job.day).map_err(setup)?;
            (Via::Ouch(ouch, session), &ouch.store)
        }
        (None, None) => unreachable!("a session is asked for"),
    };
    let store = match folder {
        Some(folder) => folder.join(format!("{sender}-{}.session", config.target)),
        None => job.dir.session_path(shard),
    };
    let store = in_its_folder(store)?;
    let settings = order_session::Settings {
        via,
        sender: &sender,
        target: &config.target,
        in_doubt: config.in_doubt,
        store: &store,
        journal: &journal,
        kill,
        copies: Places {
            json: copied.json.as_ref().map(|path| path.as_deref()),
            ring: (copied.ring.as_ref()).map(|(path, room)| (path.as_path(), *room)),
            is_resumed: job.resume,
        },
    };
    let open = || OrderSession::open(&settings, MachineClock::new());
    Ok(open_when_free(job.resume, open, |error| {
        error.is_in_use() || error.what.ends_with("another process has it open")
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
