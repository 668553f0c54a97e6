//! What happens in one simulated run: all of it drawn from a seed, all of it in one line of text.

#![allow(unreachable_pub, missing_docs)]

use std::fmt;
use std::str::FromStr;

pub use bus::disk::sim::Random;

/// One run. As text it is what a failure prints, and what `TAPELINE_PLAN` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the feed says, and every choice that is not below.
    pub seed: u64,
    /// How many packets the feed has.
    pub packets: u64,
    pub shards: u64,
    /// 1 where orders wait for the log.
    pub durable: u64,
    /// One packet in so many is lost on one of the lines; 0 for none, as in all that follows.
    pub loss: u64,
    /// One packet in so many comes twice, or late where it was lost.
    pub doubled: u64,
    /// One packet in so many changes places with the next.
    pub swapped: u64,
    /// One line, 1 or 2, is cut off ...
    pub silent: u64,
    /// ... from this packet on ...
    pub silent_from: u64,
    /// ... for so many.
    pub silent_packets: u64,
    /// The peer says "not now" to one offer in so many.
    pub refusals: u64,
    /// What the peer took gets there at one turn in so many.
    pub slow: u64,
    /// The rings have room for two to the power of this.
    pub ring: u64,
    /// A disk operation takes up to so many turns.
    pub steps: u64,
    /// One disk operation in so many takes a hundred times as long.
    pub stalls: u64,
    /// The clocks leap at one turn in so many.
    pub leaps: u64,
    /// A checkpoint of some shard is made at one turn in so many.
    pub checkpoints: u64,
    /// One for each life but the last.
    pub crashes: Vec<Crash>,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    pub how: How,
    /// After so many turns.
    pub turns: u64,
    /// On this shard's disk, or at its peer ...
    pub shard: u64,
    /// ... at this operation from then on.
    pub nth: u64,
}

/// A way to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The power fails.
    Power,
    /// The process is killed, and the machine lives.
    Kill,
    /// A disk operation fails, so the process stops; then the power fails.
    Write,
    /// A disk operation fails for lack of space, so the process stops.
    Full,
    /// A disk operation fails while the process starts.
    Start,
    /// The peer hangs up.
    Peer,
    /// An operation on its checkpoints fails.
    Checkpoint,
    /// The process is killed, and comes back with `nth` shards.
    Rescale,
}

const HOWS: [(How, &str); 8] = [
    (How::Power, "power"),
    (How::Kill, "kill"),
    (How::Write, "write"),
    (How::Full, "full"),
    (How::Start, "start"),
    (How::Peer, "peer"),
    (How::Checkpoint, "checkpoint"),
    (How::Rescale, "rescale"),
];

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Plan {
        let mut random = Random(seed ^ 0x5eed);
        let mut one_of = |choices: &[u64]| choices[random.below(choices.len() as u64) as usize];
        let packets = one_of(&[60, 200, 600, 1500]);
        let mut plan = Plan {
            seed,
            packets,
            shards: one_of(&[1, 2, 3]),
            durable: one_of(&[1, 1, 1, 0]),
            loss: one_of(&[0, 5, 20]),
            doubled: one_of(&[0, 5, 20]),
            swapped: one_of(&[0, 5, 20]),
            silent: one_of(&[0, 0, 1, 2]),
            silent_from: 0,
            silent_packets: 0,
            refusals: one_of(&[0, 2, 10]),
            slow: one_of(&[0, 2, 10]),
            ring: one_of(&[0, 2, 5, 9]),
            steps: one_of(&[1, 3, 10]),
            stalls: one_of(&[0, 0, 30]),
            leaps: one_of(&[0, 100, 1000]),
            checkpoints: one_of(&[0, 30, 100, 300]),
            crashes: Vec::new(),
        };
        if plan.silent > 0 {
            plan.silent_from = random.below(packets);
            plan.silent_packets = 1 + random.below(packets / 2);
        }
        for _ in 0..random.below(8) {
            // Late crashes must come too, so some lives are long.
            let scale = 2 + random.below(9);
            plan.crashes.push(Crash {
                how: HOWS[random.below(HOWS.len() as u64) as usize].0,
                turns: random.below(1 << scale),
                shard: random.below(plan.shards),
                nth: 1 + random.below(40),
            });
        }
        plan
    }

    /// The same feed where nothing goes wrong, on one shard.
    pub fn twin(&self) -> Plan {
        Plan {
            seed: self.seed,
            packets: self.packets,
            shards: 1,
            durable: 1,
            ring: 9,
            steps: 1,
            loss: 0,
            doubled: 0,
            swapped: 0,
            silent: 0,
            silent_from: 0,
            silent_packets: 0,
            refusals: 0,
            slow: 0,
            stalls: 0,
            leaps: 0,
            checkpoints: 0,
            crashes: Vec::new(),
        }
    }

    fn fields(&mut self) -> [(&'static str, &mut u64); 17] {
        [
            ("seed", &mut self.seed),
            ("packets", &mut self.packets),
            ("shards", &mut self.shards),
            ("durable", &mut self.durable),
            ("loss", &mut self.loss),
            ("doubled", &mut self.doubled),
            ("swapped", &mut self.swapped),
            ("silent", &mut self.silent),
            ("silent_from", &mut self.silent_from),
            ("silent_packets", &mut self.silent_packets),
            ("refusals", &mut self.refusals),
            ("slow", &mut self.slow),
            ("ring", &mut self.ring),
            ("steps", &mut self.steps),
            ("stalls", &mut self.stalls),
            ("leaps", &mut self.leaps),
            ("checkpoints", &mut self.checkpoints),
        ]
    }

    /// Plans that are a little simpler, the boldest first.
    fn simpler(&self) -> Vec<Plan> {
        let mut plans = Vec::new();
        let mut with = |change: &dyn Fn(&mut Plan)| {
            let mut plan = self.clone();
            change(&mut plan);
            if plan != *self {
                plans.push(plan);
            }
        };
        with(&|plan| plan.crashes.clear());
        for index in 0..self.crashes.len() {
            with(&|plan| {
                plan.crashes.remove(index);
            });
        }
        for divisor in [2, 4, 10] {
            with(&|plan| plan.packets = (plan.packets - plan.packets / divisor).max(1));
        }
        with(&|plan| plan.packets = (plan.packets - 1).max(1));
        with(&|plan| {
            plan.shards = 1;
            plan.crashes.iter_mut().for_each(|crash| crash.shard = 0);
        });
        with(&|plan| (plan.silent, plan.silent_from, plan.silent_packets) = (0, 0, 0));
        for name in [
            "loss",
            "doubled",
            "swapped",
            "refusals",
            "slow",
            "stalls",
            "leaps",
            "checkpoints",
        ] {
            with(&|plan| {
                let fields = plan.fields();
                *fields
                    .into_iter()
                    .find(|(field, _)| *field == name)
                    .expect("a field")
                    .1 = 0;
            });
        }
        with(&|plan| plan.durable = 1);
        with(&|plan| plan.steps = 1);
        with(&|plan| plan.ring = 9);
        for index in 0..self.crashes.len() {
            with(&|plan| plan.crashes[index].turns /= 2);
            with(&|plan| plan.crashes[index].turns = plan.crashes[index].turns.saturating_sub(1));
            with(&|plan| plan.crashes[index].nth = (plan.crashes[index].nth / 2).max(1));
            with(&|plan| plan.crashes[index].how = How::Power);
        }
        plans
    }

    /// The simplest plan near this one that still fails, and how.
    pub fn shrink(self, fails: &dyn Fn(&Plan) -> Option<String>, tries_max: u32) -> Plan {
        let mut plan = self;
        let mut tries = 0;
        'simpler: loop {
            for candidate in plan.simpler() {
                tries += 1;
                if tries > tries_max {
                    return plan;
                }
                if fails(&candidate).is_some() {
                    plan = candidate;
                    continue 'simpler;
                }
            }
            return plan;
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.clone().fields() {
            write!(f, "{name}={value} ")?;
        }
        write!(f, "crashes=")?;
        for (index, crash) in self.crashes.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{crash}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = HOWS
            .iter()
            .find(|(how, _)| *how == self.how)
            .expect("listed")
            .1;
        let Crash {
            turns, shard, nth, ..
        } = self;
        write!(f, "{name}:{turns}:{shard}:{nth}")
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Plan, String> {
        let mut plan = Plan::of(0).twin();
        for word in text.split_whitespace() {
            let (name, value) = word
                .split_once('=')
                .ok_or(format!("`{word}`, want NAME=VALUE"))?;
            if name == "crashes" {
                let crashes = value.split(',').filter(|crash| !crash.is_empty());
                plan.crashes = crashes.map(str::parse).collect::<Result<_, _>>()?;
                continue;
            }
            let mut fields = plan.fields();
            let field = fields.iter_mut().find(|(field, _)| *field == name);
            let (_, field) = field.ok_or(format!("`{name}`, want one of a plan's names"))?;
            **field = value
                .parse()
                .map_err(|_| format!("`{word}`, want a number"))?;
        }
        Ok(plan)
    }
}

impl FromStr for Crash {
    type Err = String;

    fn from_str(text: &str) -> Result<Crash, String> {
        let wrong = || format!("`{text}`, want HOW:TURNS:SHARD:NTH");
        let [name, numbers @ ..] = &*text.split(':').collect::<Vec<_>>() else {
            return Err(wrong());
        };
        let numbers = numbers.iter().map(|number| number.parse::<u64>());
        let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().map_err(|_| wrong())?;
        let how = HOWS.iter().find(|(_, how)| how == name);
        match (how, &*numbers) {
            (Some((how, _)), &[turns, shard, nth]) => Ok(Crash {
                how: *how,
                turns,
                shard,
                nth,
            }),
            _ => Err(wrong()),
        }
    }
}
