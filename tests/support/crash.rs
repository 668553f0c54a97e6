//! What the tests that end the program at some moment share: a session and what a run of it that
//! nothing disturbed made of it, a peer that counts orders, and what has to hold afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bus::SignalKind;
use bus::log::{LogReader, Record};
use bus::oms::{Date, OrderId};
use tapeline::tables::{self, OrderRow, Status};

use super::{Folder, Started, digests, manifest, orders_in, orders_of, program, run};

/// A strategy that trades a lot, and segments so small that a log of a second has many.
pub const CONFIG: &str = r#"
[log]
segment = "64KiB"
frame = "16KiB"
commit_age = "200us"

[checkpoint]
every = "1ms"

[momentum]
lookback = "100ms"
threshold = "0.1bps"
sigmas = 0.0
imbalance = 0.0
cooldown = "10ms"

[risk]
orders_per_second = 200

[limits]
symbols = 64
orders = 65536
levels = 65536
"#;

/// Tables that are byte by byte the same whatever happened to a run. The orders' rows also say
/// when an order left, which is not, and the digests are compared as text.
const TABLES: [&str; 7] = [
    "alerts", "books", "breaks", "lates", "regimes", "signals", "windows",
];

/// How a run is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mode {
    /// Orders wait for the log.
    pub is_durable: bool,
    /// Orders go to a peer, else to files.
    pub is_tcp: bool,
    /// Without `io_uring`.
    pub is_plain: bool,
    /// Reader and shards on one thread.
    pub is_one_thread: bool,
}

impl Mode {
    /// For a report.
    pub fn name(self) -> String {
        let pick = |is: bool, yes: &'static str, no: &'static str| if is { yes } else { no };
        format!(
            "{} {} {} {}",
            pick(self.is_durable, "durable", "fast"),
            pick(self.is_tcp, "peer", "file"),
            pick(self.is_plain, "plain", "auto"),
            pick(self.is_one_thread, "one thread", "threads")
        )
    }

    /// The settings of a run in this mode.
    pub fn config(self, peer: SocketAddr) -> String {
        let durability = if self.is_durable { "durable" } else { "fast" };
        let backend = if self.is_plain { "plain" } else { "auto" };
        let orders = if self.is_tcp {
            format!("file = false\ntcp = \"{peer}\"")
        } else {
            "file = true".to_string()
        };
        let log = format!("[log]\ndurability = \"{durability}\"\nbackend = \"{backend}\"");
        let model = match self.is_one_thread {
            true => "run-to-completion",
            false => "pipeline",
        };
        format!(
            "{}\n[orders]\n{orders}\n[run]\nmodel = \"{model}\"\n",
            CONFIG.replacen("[log]", &log, 1)
        )
    }
}

/// A session, and what a run of it that nothing disturbed made of it.
pub struct Session {
    pub folder: Folder,
    pub capture: PathBuf,
    twin: PathBuf,
    digests: String,
    rows: Vec<OrderRow>,
    /// The ClOrdIDs that are to be sent.
    pub orders: BTreeSet<String>,
    date: Date,
}

impl Session {
    pub fn new(folder: Folder) -> Session {
        Session::of(folder, 2, 3000)
    }

    /// One of so many seconds, with so many messages in each.
    pub fn of(folder: Folder, seconds: u32, rate: u32) -> Session {
        let capture = folder.join("session.pcap");
        let sample = format!(
            "sample itch --symbols 8 --seconds {seconds} --rate {rate} --loss-a 0.05 --loss-b 0.05 \
             --duplicate 0.01 --reorder 8 -o"
        );
        let args = sample.split(' ').map(OsString::from);
        super::tapeline(args.chain([capture.clone().into()])).expect(0);
        // Of the same name as all the other runs, since tables hold it.
        let twin = folder.join("twin").join("run");
        let config = folder.write("twin.toml", CONFIG);
        let mut command = program();
        command.arg("replay").arg(&capture).arg("-o").arg(&twin);
        run(command.arg("-c").arg(config)).expect(0);
        let orders: Vec<String> = orders_of(&twin, 1).into_iter().flatten().collect();
        assert!(orders.len() > 20, "only {} orders", orders.len());
        let said = manifest(&twin);
        let date = said["date"].as_str().unwrap();
        let mut parts = date.split('-').map(|part| part.parse::<u16>().unwrap());
        let mut part = || parts.next().unwrap();
        let date = (part(), part() as u8, part() as u8).into();
        Session {
            digests: digests(&twin),
            rows: order_rows(&twin),
            orders: orders.into_iter().collect(),
            capture,
            twin,
            folder,
            date,
        }
    }

    /// Begins a run in `run`, a folder that is named `run` in one of its own.
    pub fn start(&self, run: &Path, config: &Path, shards: usize, speed: &str) -> Begun {
        let mut command = program();
        command.arg("replay").arg(&self.capture).arg("-o").arg(run);
        command.arg("-c").arg(config);
        command.args(["--shards", &shards.to_string(), "--speed", speed]);
        Begun(command)
    }

    /// What has to be true of a run at its end, whatever happened to it before: all that it
    /// concluded is the twin's, and its log knows every order to be sent.
    pub fn check_results(&self, run: &Path) -> Result<(), String> {
        let said = manifest(run);
        if said["state"] != "complete" {
            return Err(format!("the run's state is {}", said["state"]));
        }
        if digests(run) != self.digests {
            return Err("other digests than the twin's".into());
        }
        for table in TABLES {
            let path = |run: &Path| run.join(format!("tables/{table}.parquet"));
            if fs::read(path(run)).unwrap() != fs::read(path(&self.twin)).unwrap() {
                return Err(format!("another table `{table}` than the twin's"));
            }
        }
        if order_rows(run) != self.rows {
            return Err("other rows of orders than the twin's".into());
        }
        match &said["counts"]["sent"] {
            sent if *sent == self.orders.len() => Ok(()),
            sent => Err(format!(
                "the log knows {sent} orders to be sent, want {}",
                self.orders.len()
            )),
        }
    }

    /// How many cells the logs of a run hold, and the ids of the orders in them.
    pub fn logged(&self, run: &Path, shards: usize) -> Result<Logged, String> {
        let mut logged = Logged::default();
        for shard in 0..shards {
            let dir = run.join(format!("log/shard-{shard}"));
            // A run may be killed before it made them all.
            if !dir.is_dir() {
                continue;
            }
            for item in LogReader::open(&dir).map_err(|error| error.to_string())? {
                let (_, record) = item.map_err(|error| error.to_string())?;
                logged.cells += 1;
                if let Record::Signal(signal) = record {
                    logged.cells += 1;
                    if signal.kind == SignalKind::Order {
                        let id = OrderId::of(self.date, &signal);
                        logged.orders.insert(id.as_str().to_string());
                    }
                }
            }
        }
        Ok(logged)
    }
}

/// What the logs of a run hold.
#[derive(Clone, Debug, Default)]
pub struct Logged {
    pub cells: u64,
    pub orders: BTreeSet<String>,
}

fn order_rows(run: &Path) -> Vec<OrderRow> {
    let rows = tables::read_orders(&run.join("tables/orders.parquet")).unwrap();
    let rows = rows.map(|row| {
        let row = row.unwrap();
        assert_ne!(row.status, Status::Pending, "{row:?} in {}", run.display());
        // Its number on the wire differs when it is sent again, and by shard.
        OrderRow {
            msg_seq: None,
            ..row
        }
    });
    rows.collect()
}

/// Goes on with a run.
pub fn resume(run: &Path, speed: &str) -> Begun {
    let mut command = program();
    command.arg("replay").arg("--resume").arg(run);
    command.args(["--speed", speed]);
    Begun(command)
}

/// A command that is about to be started.
pub struct Begun(std::process::Command);

impl Begun {
    /// With a failpoint: `name:n`.
    pub fn armed(mut self, point: &str) -> Begun {
        self.0.env("TAPELINE_FAILPOINT", point);
        self
    }

    /// Through another program: `prlimit --fsize=1000`.
    pub fn under(self, wrapper: &[&str]) -> Begun {
        let mut command = std::process::Command::new(wrapper[0]);
        command.args(&wrapper[1..]);
        command.arg(self.0.get_program()).args(self.0.get_args());
        for (name, value) in self.0.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(std::process::Stdio::null());
        Begun(command)
    }

    pub fn go(mut self) -> Started {
        Started::new(&mut self.0)
    }
}

/// Whether a run was begun at `run`. One that was ended before has sent nothing.
pub fn is_begun(run: &Path) -> bool {
    run.join("manifest.json").exists()
}

/// A peer that takes orders from one connection after another.
pub struct Peer {
    pub address: SocketAddr,
    is_over: Arc<AtomicBool>,
    /// The connections in the order in which they were made: from which port, and what they bring.
    taken: Receiver<(u16, JoinHandle<Vec<u8>>)>,
    /// What has come so far on the connections since the last drain.
    coming: Arc<Mutex<Vec<u8>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Default for Peer {
    fn default() -> Peer {
        Peer::new()
    }
}

impl Peer {
    pub fn new() -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let (sender, taken) = mpsc::channel();
        let coming = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&coming);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                if flag.load(Ordering::Acquire) {
                    return;
                }
                let port = stream.peer_addr().map_or(0, |address| address.port());
                let all = Arc::clone(&all);
                let reading = std::thread::spawn(move || {
                    let mut received = Vec::new();
                    let mut block = [0; 4096];
                    // A killed process may end a connection by a reset; what came before counts.
                    while let Ok(count @ 1..) = stream.read(&mut block) {
                        let is_from = whole(&received).len();
                        received.extend(&block[..count]);
                        let is_to = whole(&received).len();
                        all.lock().unwrap().extend(&received[is_from..is_to]);
                    }
                    received
                });
                if sender.send((port, reading)).is_err() {
                    return;
                }
            }
        });
        Peer {
            address,
            is_over,
            taken,
            coming,
            accepting: Some(accepting),
        }
    }

    /// The orders that came since the last [`Peer::drain`], while the program may still run.
    pub fn so_far(&self) -> Vec<(String, bool)> {
        orders_in(&self.coming.lock().unwrap())
    }

    /// The orders that came since the last call, by connection. Only when the program is gone:
    /// its connections are then all made, and at their ends.
    pub fn drain(&self) -> Vec<Vec<(String, bool)>> {
        // Connections are accepted in the order in which they are made, so when this one was,
        // so were those of the program.
        let mark = TcpStream::connect(self.address).unwrap();
        let mark_port = mark.local_addr().unwrap().port();
        drop(mark);
        let mut received = Vec::new();
        loop {
            let (port, reading) = self.taken.recv().unwrap();
            let bytes = reading.join().unwrap();
            if port == mark_port {
                self.coming.lock().unwrap().clear();
                return received;
            }
            received.push(orders_in(whole(&bytes)));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// The whole messages in what a connection brought: a kill may have cut the last one anywhere,
/// in its checksum too.
pub fn whole(bytes: &[u8]) -> &[u8] {
    const CHECKSUM: usize = b"\x0110=000\x01".len();
    let is_end = |window: &[u8]| window.starts_with(b"\x0110=") && window.ends_with(b"\x01");
    let last = bytes.windows(CHECKSUM).rposition(is_end);
    &bytes[..last.map_or(0, |at| at + CHECKSUM)]
}

/// What came to the peer over all lives of one run, held against what its log said.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    seen: BTreeMap<String, u64>,
    /// Orders that came again, flagged as possible repeats.
    pub flagged: u64,
    /// Orders that came again without a flag.
    pub unflagged: u64,
    /// Orders that came and that the log had not, when the program was gone.
    pub unlogged: u64,
    /// What was in the log when this life began.
    logged: BTreeSet<String>,
}

impl Ledger {
    /// One life of the run is over. An order that the log had before this life must not come in
    /// it without a flag: that is so in both modes.
    pub fn life(&mut self, came: Vec<Vec<(String, bool)>>, logged: Logged) -> Result<(), String> {
        for (id, is_flagged) in came.into_iter().flatten() {
            if self.logged.contains(&id) && !is_flagged {
                return Err(format!("{id} was in the log, and came without 97=Y"));
            }
            let count = self.seen.entry(id.clone()).or_default();
            *count += 1;
            if *count > 1 {
                *(if is_flagged {
                    &mut self.flagged
                } else {
                    &mut self.unflagged
                }) += 1;
            }
            self.unlogged += u64::from(!logged.orders.contains(&id));
        }
        self.logged = logged.orders;
        Ok(())
    }

    /// These came too, nobody knows whether before or after the end of a life.
    pub fn add(&mut self, came: &[Vec<(String, bool)>]) {
        for (id, _) in came.iter().flatten() {
            self.seen.entry(id.clone()).or_default();
        }
    }

    /// The run is complete: every order came, and no other.
    pub fn check(&self, orders: &BTreeSet<String>) -> Result<(), String> {
        if let Some(lost) = orders.iter().find(|id| !self.seen.contains_key(*id)) {
            return Err(format!("{lost} never came"));
        }
        match self.seen.keys().find(|id| !orders.contains(*id)) {
            Some(strange) => Err(format!("{strange} came, which the twin did not send")),
            None => Ok(()),
        }
    }

    /// How many orders came, each counted once.
    pub fn orders(&self) -> u64 {
        self.seen.len() as u64
    }
}

/// The orders in a run's files, by file, as a peer would have got them.
pub fn in_files(run: &Path, shards: usize) -> Vec<Vec<(String, bool)>> {
    (0..shards)
        .map(|shard| {
            let bytes = fs::read(run.join(format!("orders/shard-{shard}.fix")));
            orders_in(whole(&bytes.unwrap_or_default()))
        })
        .collect()
}
