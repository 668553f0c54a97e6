//! The one configuration: read once, checked as a whole, handed out as plain structs.
//!
//! Nothing below `src/` reads a flag, a file of settings or the environment, and every default
//! stands here.

mod features;
mod fix;
mod groups;
mod instruments;
mod joins;
mod log;
mod market;
mod models;
mod monitors;
mod named;
mod onnx;
mod orders;
mod ouch;
mod parts;
mod patterns;
mod run;
mod secret;
pub mod snapshot;
pub mod soup;
mod source;
mod strategies;
mod units;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use features::{Feature, Features, Take};
pub use fix::{Fix, FixVersion, Opening, Reset, Tls, tls_server};
pub use groups::{Group, GroupConfigs};
pub use instruments::{Instrument, Instruments};
pub use joins::{Join as StreamJoin, JoinKind, Joins, Stream};
pub use log::{Backend, Checkpoint, Durability, Log};
pub use market::{
    AggregateName, Book, Check, Depth, Eligible, Measure, Momentum, Prints, Regime, Rule, RuleSide,
    RuleTouch, Rules, Spread, Window, WindowKind, Windows,
};
pub use models::{ModelName, Regimes};
pub use monitors::{Monitor, MonitorKind, Monitors};
pub use named::absent_text;
pub use onnx::{Model as OnnxModel, Models, On, OverBudget};
pub use orders::{
    InDoubt, JsonTo, OrderMode, Orders, QueueShown, Risk, Simulation, Throttle, Together, TooFast,
};
pub use ouch::{Capacity, Display, Ouch};
pub use patterns::{Pattern, PatternBy, PatternKind, Patterns};
pub use run::{Host, HugePages, Limits, Model, Run, Time};
pub use secret::Password;
pub use snapshot::Snapshot;
pub use soup::Soup;
pub use source::{Gaps, Join, Quarantine, Retransmit, Source};
pub use strategies::{Strategies, Strategy};
pub use units::{Rate, Ratio, Size, Span, Speed};

/// All settings. `tapeline config show` prints them with their defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where packets come from.
    pub source: Source,
    /// Threads and rings.
    pub run: Run,
    /// What the program asks of the machine.
    pub host: Host,
    /// How event time moves.
    pub time: Time,
    /// The durable log.
    pub log: Log,
    /// What need not be replayed after a crash.
    pub checkpoint: Checkpoint,
    /// What books keep.
    pub book: Book,
    /// Which trades count, where a window says nothing of its own.
    #[serde(skip_serializing_if = "is_default")]
    pub prints: Prints,
    /// Windows of event time, by name.
    pub windows: Windows,
    /// The spread monitor.
    pub spread: Spread,
    /// The volatility regime.
    pub regime: Regime,
    /// Monitors by name; the order of their names is their number, behind the rules.
    #[serde(skip_serializing_if = "Monitors::is_empty")]
    pub monitors: Monitors,
    /// Patterns of events by name; the order of their names is their number, behind the monitors.
    #[serde(skip_serializing_if = "Patterns::is_empty")]
    pub patterns: Patterns,
    /// Regimes by models, by name; the order of their names is their number.
    #[serde(skip_serializing_if = "Regimes::is_empty")]
    pub regimes: Regimes,
    /// Symbols that are on one shard, by the group's name.
    #[serde(skip_serializing_if = "GroupConfigs::is_empty")]
    pub groups: GroupConfigs,
    /// The momentum strategy.
    pub momentum: Momentum,
    /// Conditions by name, and what follows of them; the order of their names is their number.
    #[serde(skip_serializing_if = "no_rules")]
    pub rules: Rules,
    /// Strategies by name; the order of their names is their number, behind the rules.
    #[serde(skip_serializing_if = "Strategies::is_empty")]
    pub strategies: Strategies,
    /// Joins of streams by name; the order of their names is their number.
    #[serde(skip_serializing_if = "Joins::is_empty")]
    pub joins: Joins,
    /// Instruments of several symbols by name; the order of their names is their number, and that of
    /// their alerts, behind the patterns.
    #[serde(skip_serializing_if = "Instruments::is_empty")]
    pub instruments: Instruments,
    /// Models by name, whose scores rules and strategies may ask for; the order of their names is that in
    /// which they run.
    #[serde(skip_serializing_if = "Models::is_empty")]
    pub models: Models,
    /// What is kept of each decision, by name; the order of their names is that of the table.
    #[serde(skip_serializing_if = "Features::is_empty")]
    pub features: Features,
    /// Checks before an order leaves.
    pub risk: Risk,
    /// Where orders go.
    pub orders: Orders,
    /// What a shard is told to hold at most.
    pub limits: Limits,
}

const MILLI: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MILLI;

/// An error that names the setting, unless it is above zero.
fn positive(name: &str, value: i64) -> Result<(), String> {
    match value > 0 {
        true => Ok(()),
        false => Err(format!("{name} must be above zero")),
    }
}

/// A configuration that cannot be used.
#[derive(Debug)]
pub struct ConfigError {
    /// Which file.
    pub path: PathBuf,
    /// In which line, from 1, where that is known.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let fail = |what: String| ConfigError {
            path: path.to_path_buf(),
            line: None,
            what,
        };
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        let mut config = Config::parse(&text, path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.models.stand_in(folder).map_err(fail)?;
        for (table, file) in config.password_files() {
            secret::stand_in(table, file, folder).map_err(fail)?;
        }
        if let Some(latch) = &mut config.risk.latch {
            // Whoever stops orders need not stand where the run was started.
            let absolute = std::path::absolute(folder.join(&*latch));
            *latch = absolute.map_err(|e| fail(format!("risk.latch: {e}")))?;
            if latch.to_str().is_none() {
                return Err(fail(format!("risk.latch: {}: not UTF-8", latch.display())));
            }
        }
        Ok(config)
    }

    /// Reads and checks a text that came from `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let fail = |line, what| ConfigError {
            path: path.to_path_buf(),
            line,
            what,
        };
        let mut config: Config = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start].matches('\n').count() + 1);
            fail(line, with_suggestion(error.message()))
        })?;
        config.windows.take_over(&mut config.prints);
        let tables = config.joins.read_files(path);
        tables.map_err(|what| fail(None, what))?;
        config.check().map_err(|what| fail(None, what))?;
        Ok(config)
    }

    /// That no two say rows of one table under one name.
    fn check_names(&self) -> Result<(), String> {
        let (rules, monitors) = (&self.rules.0, &self.monitors.0);
        let taken = |key: &str, name: &str, by: &str| {
            Err(format!(
                "{key}.{name}: the name is that of {by}, in the same table"
            ))
        };
        let of_rules = rules.keys().map(|name| ("rules", name));
        let of_monitors = monitors.keys().map(|name| ("monitors", name));
        let patterns = &self.patterns.0;
        let of_patterns = patterns.keys().map(|name| ("patterns", name));
        for (key, name) in of_rules.chain(of_monitors).chain(of_patterns) {
            if name == "spread" {
                return taken(key, name, "the spread alerts");
            }
        }
        if let Some(name) = monitors.keys().find(|name| rules.contains_key(*name)) {
            return taken("monitors", name, "a rule");
        }
        for name in patterns.keys() {
            if rules.contains_key(name) {
                return taken("patterns", name, "a rule");
            }
            if monitors.contains_key(name) {
                return taken("patterns", name, "a monitor");
            }
        }
        let alerts = self.instruments.alert_keys();
        for (key, names) in [
            ("rules", rules.keys().collect::<Vec<_>>()),
            ("monitors", monitors.keys().collect()),
            ("patterns", patterns.keys().collect()),
        ] {
            for name in names {
                if let Some((_, instrument)) = alerts.iter().find(|(alert, _)| alert == name) {
                    return taken(key, name, &format!("an alert of instruments.{instrument}"));
                }
            }
        }
        if self.regimes.0.contains_key("volatility") {
            return taken("regimes", "volatility", "the volatility regimes");
        }
        Ok(())
    }

    /// What no single field can know.
    pub fn check(&self) -> Result<(), String> {
        self.check_names()?;
        self.run.check()?;
        positive("time.tick", self.time.tick.0)?;
        positive("time.max_future", self.time.max_future.0)?;
        if self.time.idle_after.0 < 0 {
            return Err("time.idle_after must not be below zero".into());
        }
        self.log.check()?;
        if self.checkpoint.every.0 < 0 {
            return Err("checkpoint.every must not be below zero".into());
        }
        if self.checkpoint.every.0 == 0 && self.log.retention().is_some() {
            return Err(
                "log.tier, log.keep and log.keep_age need checkpoints: checkpoint.every is 0s"
                    .into(),
            );
        }
        // Others are worked out of these.
        self.limits.check()?;
        self.windows.check()?;
        self.models.check(self)?;
        self.rules.configs(&self.models.names())?;
        self.regimes.check()?;
        self.monitors.check()?;
        self.patterns.configs()?;
        self.joins.configs()?;
        self.instruments.check()?;
        self.groups.check()?;
        self.strategies
            .check(&self.rules, &self.groups, &self.models)?;
        self.features.configs(self)?;
        if let Some(problem) = self.suite().problem() {
            return Err(problem);
        }
        self.risk.check()?;
        let strategies = crate::kill::strategies(self);
        if let Some(name) = self
            .risk
            .strategy
            .keys()
            .find(|name| !strategies.contains(name))
        {
            let known = strategies.join(", ");
            return Err(format!(
                "risk.strategy.{name}: no such strategy; there are {known}"
            ));
        }
        if self.risk.is_guarded() && self.log.retention().is_some() {
            return Err(
                "risk.firm, session, strategy and symbol are counted by the whole log after a \
                 restart: want no log.tier, log.keep and log.keep_age with them"
                    .into(),
            );
        }
        if self.risk.session.is_some()
            && let Some(why) = self.no_sessions()
        {
            return Err(format!("risk.session: {why}"));
        }
        self.host.check()?;
        self.source.check()?;
        self.orders
            .check(self.run.shards, self.book.depth == Depth::L3)
    }

    /// Symbols that are together, as a reader and a shard know them: those of a group, of a join and of
    /// an instrument.
    pub fn symbol_groups(&self) -> feed::groups::Groups {
        let members = self.instruments.names().into_iter();
        let members = members.map(|(_, members)| members);
        let others = self.joins.groups().into_iter().chain(members);
        self.groups.joined(others.collect())
    }

    /// Why sessions have no limits here, if they have none.
    pub fn no_sessions(&self) -> Option<&'static str> {
        (!self.symbol_groups().is_none() && self.run.shards > 1).then_some(
            "a session's limits count symbols by their numbers, which groups move to other \
             sessions: with groups, want run.shards = 1",
        )
    }

    /// The files that have passwords, by the tables that name them.
    fn password_files(&mut self) -> Vec<(&'static str, &mut Option<PathBuf>)> {
        let source = &mut self.source;
        let mut files = vec![
            ("source.soup", &mut source.soup.password_file),
            ("source.snapshot", &mut source.snapshot.password_file),
        ];
        let ouch = self.orders.ouch.as_mut();
        files.extend(ouch.map(|ouch| ("orders.ouch", &mut ouch.password_file)));
        files
    }

    fn passwords(&mut self) -> impl Iterator<Item = &mut Password> {
        let source = &mut self.source;
        let ouch = self.orders.ouch.as_mut();
        [&mut source.soup.password, &mut source.snapshot.password]
            .into_iter()
            .chain(ouch.map(|ouch| &mut ouch.password))
    }

    /// Whether a password stands in it.
    pub fn has_password(&self) -> bool {
        self.clone().passwords().any(|password| password.is_some())
    }

    /// The same for people to see: without the passwords.
    pub fn shown(&self) -> Config {
        let mut shown = self.clone();
        shown.passwords().for_each(Password::hide);
        shown
    }

    /// That the passwords of what a run connects to can be read, and can be logged in with: for orders, and
    /// where it is live, for what it reads.
    pub fn check_logins(&self, is_live: bool) -> Result<(), String> {
        if let Some(ouch) = &self.orders.ouch {
            ouch.login(self.run.shards - 1)?;
        }
        let source = &self.source;
        if is_live && source.soup.server.is_some() {
            source.soup.login(source.soup.sequence)?;
        }
        if is_live && source.snapshot.glimpse.is_some() {
            source.snapshot.login()?;
        }
        Ok(())
    }

    /// What of it decides results, as text: two runs for which this is equal conclude the same.
    pub fn decisive(&self) -> String {
        let mut decisive = Config {
            time: self.time.clone(),
            windows: self.windows.clone(),
            spread: self.spread.clone(),
            regime: self.regime.clone(),
            regimes: self.regimes.clone(),
            monitors: self.monitors.clone(),
            patterns: self.patterns.clone(),
            groups: self.groups.clone(),
            joins: self.joins.clone(),
            instruments: self.instruments.clone(),
            momentum: self.momentum.clone(),
            rules: self.rules.clone(),
            strategies: self.strategies.clone(),
            models: self.models.decisive(),
            features: self.features.clone(),
            risk: self.risk.clone(),
            ..Config::default()
        };
        // Holds orders back when they are sent, and decides none.
        decisive.risk.kill_file = None;
        decisive.risk.latch = None;
        decisive.risk.throttle = None;
        decisive.risk.firm = None;
        decisive.risk.session = None;
        decisive.risk.strategy.clear();
        decisive.risk.symbol.clear();
        // The text as it was before books had a choice, so that older states fit still.
        let book = "[book]\ndepth = \"l3\"\ncheck = \"off\"\n\n";
        let text = decisive.show().replace(book, "");
        let text = match self.book.depth {
            Depth::L3 => text,
            Depth::L2 => text + "[book]\ndepth = \"l2\"\n",
        };
        // A simulated venue is part of what is concluded.
        match (self.orders.mode, &self.orders.paper) {
            (Some(OrderMode::Paper), Some(paper)) => {
                let paper = toml::to_string(paper).expect("settings are always TOML");
                text + "[orders.paper]\n" + &paper
            }
            _ => text,
        }
    }

    /// The whole configuration as TOML that [`Config::parse`] reads back.
    pub fn show(&self) -> String {
        toml::to_string(self).expect("a configuration is always TOML")
    }
}

fn is_default(prints: &Prints) -> bool {
    *prints == Prints::default()
}

/// A configuration without rules is the text that it was before there were any.
fn no_rules(rules: &Rules) -> bool {
    rules.0.is_empty()
}

/// Adds "did you mean" to serde's message about an unknown key or value.
fn with_suggestion(message: &str) -> String {
    let message = message.trim().replace('\n', " ");
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let Some((&wrong, known)) = quoted.split_first().filter(|_| is_unknown) else {
        return message;
    };
    let what = match message.starts_with("unknown variant") {
        true => "value",
        false => "key",
    };
    let close = known
        .iter()
        .map(|&name| (strsim::damerau_levenshtein(wrong, name), name))
        .min()
        .filter(|&(distance, name)| distance <= 1 + name.len() / 3);
    match close {
        Some((_, name)) => format!("unknown {what} `{wrong}`; did you mean `{name}`?"),
        None => message
            .replacen("unknown field", "unknown key", 1)
            .replacen("unknown variant", "unknown value", 1),
    }
}

#[cfg(test)]
mod tests {
    use crate::venue::Venue;
    use feed::protocol::Wire;

    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("t.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn two_that_share_a_table_have_names_of_their_own() {
        let rule = |name| format!("[rules.{name}]\nwhen = \"spread_bps > 5\"\n");
        let monitor = |name| format!("[monitors.{name}]\nkind = \"crossed\"\n");
        let instrument = "[instruments.usd]\nmembers = [\"A\", \"B\"]\n";
        let garch = |name| format!("[regimes.{name}]\nmodel = \"garch\"\n");
        for (text, of) in [
            (
                rule("spread"),
                "rules.spread: the name is that of the spread alerts",
            ),
            (
                monitor("spread"),
                "monitors.spread: the name is that of the spread alerts",
            ),
            (
                rule("x") + &monitor("x"),
                "monitors.x: the name is that of a rule",
            ),
            (
                rule("\"usd.locked\"") + instrument,
                "rules.usd.locked: the name is that of an alert of instruments.usd, in the same table",
            ),
            (
                monitor("\"usd.crossed\"") + instrument,
                "monitors.usd.crossed: the name is that of an alert of instruments.usd",
            ),
            (
                garch("volatility"),
                "regimes.volatility: the name is that of the volatility regimes",
            ),
        ] {
            let said = error(&text);
            assert!(said.contains(of), "{said}");
        }
        let text = rule("x") + &monitor("y");
        Config::parse(&text, Path::new("t.toml")).unwrap();
    }

    #[test]
    fn what_counts_is_said_once_for_all_windows_that_do_not_say_it() {
        let parsed = |text: &str| Config::parse(text, Path::new("t.toml")).unwrap();
        let usual = parsed("");
        assert!(usual.windows.0.values().all(Window::is_plain));
        assert!(!usual.decisive().contains("prints"));
        let config = parsed("[prints]\neligible = \"all\"\n");
        let policies: Vec<&str> = config
            .windows
            .in_order()
            .map(|(_, window)| window.policy().name())
            .collect();
        assert_eq!(policies, ["all"; 3], "1m, 1s, 5s");
        assert_ne!(config.decisive(), usual.decisive());
        assert_eq!(parsed(&config.show()), config, "it stands in the windows");
        let text = "[prints]\neligible = \"all\"\n[windows.a]\nsize = \"1s\"\n\
                    [windows.b]\nsize = \"1s\"\neligible = \"as-printed\"\n";
        let config = parsed(text);
        assert_eq!(config.windows.0["a"].policy(), analytics::Policy::All);
        assert!(config.windows.0["b"].is_plain(), "its own word counts");
        let said = error("[prints]\neligble = \"all\"\n");
        assert!(said.contains("did you mean `eligible`?"), "{said}");
    }

    #[test]
    fn patterns_survive_their_own_text_and_say_what_is_wrong_with_them() {
        assert!(!Config::default().decisive().contains("patterns"));
        let text = "[patterns.flash]\nwhen = \"add[qty >= 500] then cancel[age < 5ms] within 1s\"\n\
                    by = \"participant\"\n[patterns.layers]\nkind = \"layering\"\ncount = 4\n\
                    cancels = 3\naway = \"5bps\"\nwithin = \"2s\"\n[patterns.stuffing]\n\
                    kind = \"quote-stuffing\"\n[patterns.spark]\nkind = \"momentum-ignition\"\n\
                    move = \"20bps\"\n[patterns.wash]\nkind = \"wash-prints\"\nqty_min = 100\n\
                    [patterns.sniped]\nkind = \"latency-arbitrage\"\nage = \"1s\"\n";
        let config = Config::parse(text, Path::new("t.toml")).unwrap();
        let again = Config::parse(&config.show(), Path::new("t.toml")).unwrap();
        assert_eq!(again, config);
        assert!(config.decisive().contains("[patterns.layers]"));
        let names: Vec<String> = config
            .suite()
            .patterns
            .into_iter()
            .map(|one| one.name)
            .collect();
        let want = ["flash", "layers", "sniped", "spark", "stuffing", "wash"];
        assert_eq!(names, want);
        for (text, want) in [
            ("", "patterns.p: want one of `when` and `kind`"),
            (
                "when = \"add within 1s\"\nkind = \"layering\"\n",
                "want one of `when` and `kind`",
            ),
            (
                "when = \"add[size > 5] within 1s\"\n",
                "patterns.p.when: column 5: `size` is not known",
            ),
            (
                "when = \"add within 1s\"\nwithin = \"1s\"\n",
                "patterns.p.within: it has no `within`",
            ),
            (
                "kind = \"layering\"\nqty_min = 3\n",
                "patterns.p.qty_min: it has no `qty_min`",
            ),
            (
                "kind = \"layering\"\ncount = 1\n",
                "patterns.p.count is 1, want 2 to 4096",
            ),
            (
                "kind = \"wash-prints\"\nwithin = \"0s\"\n",
                "patterns.p.within must be above zero",
            ),
            (
                "when = \"add within 1s\"\npartial_max = 0\n",
                "patterns.p: 0 partial matches, want 1 to 256",
            ),
            (
                "when = \"add within 1s\"\norders = 100\n",
                "patterns.p: 100 orders, want a power of two from 8 to 65536",
            ),
        ] {
            let said = error(&format!("[patterns.p]\n{text}"));
            assert!(said.contains(want), "{said}");
        }
        let both = "[rules.x]\nwhen = \"stale\"\n[patterns.x]\nkind = \"layering\"\n";
        let said = error(both);
        assert!(
            said.contains("patterns.x: the name is that of a rule"),
            "{said}"
        );
    }

    #[test]
    fn defaults_are_valid_and_survive_their_own_text() {
        let config = Config::default();
        assert_eq!(config.check(), Ok(()));
        assert_eq!(
            Config::parse(&config.show(), Path::new("t.toml")).unwrap(),
            config
        );
    }

    #[test]
    fn declared_windows_survive_their_own_text_and_plain_ones_have_the_one_they_had() {
        let text = "[windows.bars]\nkind = \"cumulative\"\nperiod = \"24h\"\nslide = \"1m\"\n\
                    lateness = \"2s\"\nrevise = true\neligible = \"us-consolidated-v1\"\n\
                    aggregates = [\"twap\", \"size_quantiles\"]\nsymbols = [\"AAPL\"]\n\
                    [windows.a]\nsize = \"1s\"\n[windows.z]\nsize = \"2s\"\n";
        let config = Config::parse(text, Path::new("t.toml")).unwrap();
        assert_eq!(
            Config::parse(&config.show(), Path::new("t.toml")).unwrap(),
            config
        );
        let names: Vec<&str> = config
            .windows
            .in_order()
            .map(|one| one.0.as_str())
            .collect();
        assert_eq!(names, ["a", "z", "bars"]);
        let plain = "[windows.1s]\nkind = \"tumbling\"\nsize = \"1s\"\nlateness = \"200ms\"\n\n";
        assert!(Config::default().decisive().contains(plain));
    }

    #[test]
    fn waiting_for_sources_is_decisive_and_changes_nothing_where_nobody_asks_for_it() {
        assert!(!Config::default().decisive().contains("idle_after"));
        let text = "[time]\nidle_after = \"2s\"\n";
        let config = Config::parse(text, Path::new("t.toml")).unwrap();
        assert!(config.decisive().contains("idle_after = \"2s\""));
        assert_eq!(config.suite().windows[0].ahead_ns, 2 * SECOND);
        // A second's window waits so long only with far too many open at once.
        let wrong = error("[time]\nidle_after = \"10m\"\n");
        assert!(wrong.contains("more than 256 open panes"), "{wrong}");
    }

    #[test]
    fn a_model_has_its_own_keys_and_changes_nothing_where_there_is_none() {
        assert!(!Config::default().decisive().contains("regimes"));
        let text = "[regimes.g]\nmodel = \"garch\"\nalpha = 0.2\nbeta = 0.7\nlong_run = \"2bps\"\n\
                    [regimes.h]\nmodel = \"hmm\"\nsigmas = [0.5, 2.0]\nstay = 0.99\n\
                    [regimes.c]\nmodel = \"changes\"\nexpected_samples = 100.0\nsample = \"4s\"\n";
        let config = Config::parse(text, Path::new("t.toml")).unwrap();
        let again = Config::parse(&config.show(), Path::new("t.toml")).unwrap();
        assert_eq!(again, config);
        assert!(config.decisive().contains("[regimes.g]"));
        let names: Vec<String> = config.suite().regimes.into_iter().map(|m| m.name).collect();
        assert_eq!(names, ["c", "g", "h"]);
        for (text, want) in [
            (
                "model = \"garch\"\nstay = 0.5\n",
                "regimes.m.stay: garch has no `stay`",
            ),
            ("model = \"hmm\"\n", "regimes.m: hmm wants `sigmas`"),
            (
                "model = \"hmm\"\nsigmas = [1.0, 2.0]\ncalm = 0.1\n",
                "hmm has no `calm`",
            ),
            ("model = \"hmm\"\nsigmas = [1.0]\n", "want two or three"),
            (
                "model = \"garch\"\nalpha = 0.9\nbeta = 0.2\n",
                "together below 1",
            ),
            (
                "model = \"changes\"\nrun_max = 1\n",
                "run_max 1, want 2 to 4096",
            ),
            ("model = \"grach\"\n", "did you mean `garch`?"),
            ("model = \"garch\"\nalhpa = 0.1\n", "did you mean `alpha`?"),
            ("alpha = 0.1\n", "missing field `model`"),
        ] {
            let said = error(&format!("[regimes.m]\n{text}"));
            assert!(said.contains(want), "{said}");
        }
    }

    #[test]
    fn a_monitor_has_its_own_keys_and_changes_nothing_where_there_is_none() {
        assert!(!Config::default().decisive().contains("monitors"));
        let text = "[monitors.cost]\nkind = \"effective-spread\"\nthreshold = \"5bps\"\nclear = \"3bps\"\n\
                    [monitors.after]\nkind = \"realised-spread\"\nhorizon = \"1s\"\n\
                    threshold_ticks = 4\ntick_e9 = 5000000\n[monitors.locked]\nkind = \"locked\"\n";
        let config = Config::parse(text, Path::new("t.toml")).unwrap();
        let again = Config::parse(&config.show(), Path::new("t.toml")).unwrap();
        assert_eq!(again, config);
        assert!(config.decisive().contains("[monitors.cost]"));
        let after = &config.suite().monitors[0];
        let twenty = analytics::Limit::Price(bus::Price(20_000_000));
        assert_eq!((after.threshold, after.clear), (twenty, twenty));
        let want = "want one of `threshold` and `threshold_ticks`";
        let ratio = "threshold = \"5bps\"\n";
        for (text, want) in [
            ("kind = \"quoted-spread\"\n".to_string(), want),
            (
                format!("kind = \"quoted-spread\"\nthreshold_ticks = 2\n{ratio}"),
                want,
            ),
            (
                format!("kind = \"crossed\"\n{ratio}"),
                "it has no `threshold`",
            ),
            (
                format!("kind = \"effective-spread\"\nhorizon = \"1s\"\n{ratio}"),
                "no `horizon`",
            ),
            (
                format!("kind = \"realised-spread\"\n{ratio}"),
                "wants `horizon`",
            ),
            (
                format!("kind = \"quoted-spread\"\nclear = \"6bps\"\n{ratio}"),
                "not be above",
            ),
            (
                format!("kind = \"quoted-spread\"\nclear_ticks = 1\n{ratio}"),
                "no `clear_ticks`",
            ),
            (
                "kind = \"quoted-spread\"\nthreshold_ticks = 1\ntick_e9 = 0\n".to_string(),
                "tick_e9 is 0",
            ),
            ("kind = \"crossd\"\n".to_string(), "did you mean `crossed`?"),
        ] {
            let said = error(&format!("[monitors.m]\n{text}"));
            assert!(said.contains(want), "{said}");
        }
    }

    #[test]
    fn a_feature_names_what_there_is_and_changes_nothing_where_there_is_none() {
        assert!(!Config::default().decisive().contains("features"));
        let text = "[windows.w]\nkind = \"sliding\"\nsize = \"2s\"\nslide = \"1s\"\naggregates = [\"ofi\"]\n\
                    [windows.1s]\nsize = \"1s\"\n[regimes.g]\nmodel = \"garch\"\n\
                    [rules.r]\nwhen = \"stale\"\n[monitors.m]\nkind = \"locked\"\n\
                    [features.a]\nvalue = \"imbalance\"\n[features.b]\nwindow = \"w\"\ntake = \"twap\"\n\
                    [features.c]\nregime = \"g\"\n[features.d]\nalert = \"m\"\n[features.e]\nalert = \"spread\"\n";
        let config = Config::parse(text, Path::new("t.toml")).unwrap();
        let again = Config::parse(&config.show(), Path::new("t.toml")).unwrap();
        assert_eq!(again, config);
        assert!(config.decisive().contains("[features.b]"));
        use analytics::{FeatureSource, Take};
        let sources: Vec<FeatureSource> = config
            .suite()
            .features
            .into_iter()
            .map(|f| f.source)
            .collect();
        let take = Take::Twap;
        assert_eq!(
            sources[1..],
            [
                FeatureSource::Window { rule: 1, take },
                FeatureSource::Regime { rule: 1 },
                FeatureSource::Alert { rule: 2 },
                FeatureSource::Alert { rule: 0 },
            ]
        );
        for (text, want) in [
            ("value = \"imbalanc\"\n", "features.f.value: column 1"),
            ("window = \"w\"\n", "`window` and `take` go together"),
            (
                "value = \"bid\"\nregime = \"volatility\"\n",
                "want one of `value`",
            ),
            ("", "want one of `value`"),
            (
                "window = \"5m\"\ntake = \"vwap\"\n",
                "there is no window `5m`",
            ),
            (
                "window = \"1s\"\ntake = \"ofi\"\n",
                "want \"twap\" among its aggregates",
            ),
            ("window = \"1s\"\ntake = \"vwp\"\n", "did you mean `vwap`?"),
            ("regime = \"x\"\n", "there is no regime `x`"),
            ("alert = \"x\"\n", "there is no monitor and no rule `x`"),
            ("valu = \"bid\"\n", "did you mean `value`?"),
        ] {
            let said = error(&format!("[features.f]\n{text}"));
            assert!(said.contains(want), "{said}");
        }
        for name in ["seq", "A", "\"a b\"", "1st"] {
            let said = error(&format!("[features.{name}]\nvalue = \"bid\"\n"));
            assert!(said.contains("is a column, want at most 48"), "{said}");
        }
    }

    #[test]
    fn a_strategy_has_its_own_keys_and_changes_nothing_where_there_is_none() {
        assert!(!Config::default().decisive().contains("strategies"));
        let text = "[strategies.lean]\nkind = \"queue-imbalance\"\nenter = 0.9\ntouch = \"near\"\n\
                    [strategies.back]\nkind = \"vwap-reversion\"\nleave = \"2bps\"\n\
                    [rules.r]\nwhen = \"stale\"\n";
        let config = Config::parse(text, Path::new("t.toml")).unwrap();
        let again = Config::parse(&config.show(), Path::new("t.toml")).unwrap();
        assert_eq!(again, config);
        assert!(config.decisive().contains("[strategies.back]"));
        let names: Vec<String> = config
            .suite()
            .strategies
            .into_iter()
            .map(|s| s.name)
            .collect();
        assert_eq!(names, ["back", "lean"]);
        assert_eq!(
            crate::kill::strategies(&config),
            ["momentum", "r", "back", "lean"]
        );
        for (name, text, want) in [
            (
                "s",
                "kind = \"queue-imbalance\"\nenter = 0.2\n",
                "strategy s: enter 0.2 and leave 0.4",
            ),
            (
                "s",
                "kind = \"queue-imbalance\"\ntrades_min = 2\n",
                "unknown key `trades_min`",
            ),
            (
                "s",
                "kind = \"queue-imbalanc\"\n",
                "did you mean `queue-imbalance`?",
            ),
            ("s", "enter = 0.5\n", "missing field `kind`"),
            (
                "momentum",
                "kind = \"vwap-reversion\"\n",
                "settings are below [momentum]",
            ),
            (
                "r",
                "kind = \"vwap-reversion\"\n[rules.r]\nwhen = \"stale\"\n",
                "a rule of this name",
            ),
        ] {
            let said = error(&format!("[strategies.{name}]\n{text}"));
            assert!(said.contains(want), "{said}");
        }
    }

    #[test]
    fn a_group_has_two_at_least_and_a_pair_is_of_one_group() {
        assert!(!Config::default().decisive().contains("groups"));
        let group = "[groups.g]\nsymbols = [\"aapl\", \"MSFT\"]\n";
        let pair = "[strategies.p]\nkind = \"pairs\"\nlegs = [\"AAPL\", \"msft\"]\n";
        let config = Config::parse(&format!("{group}{pair}"), Path::new("t.toml")).unwrap();
        let again = Config::parse(&config.show(), Path::new("t.toml")).unwrap();
        assert_eq!(again, config);
        assert!(config.decisive().contains("[groups.g]"));
        assert_eq!(config.groups.0["g"].symbols, ["AAPL", "MSFT"]);
        for (text, want) in [
            (
                "symbols = []\n",
                "groups.a.symbols: 0 symbols, want two at least",
            ),
            (
                "symbols = [\"A\"]\n",
                "groups.a.symbols: 1 symbols, want two",
            ),
            ("symbols = [\"A\", \"a\"]\n", "`A` is there twice"),
            (
                "symbols = [\"A\", \"B\"]\n[groups.b]\nsymbols = [\"C\", \"B\"]\n",
                "groups.b.symbols: `B` is in group `a` too",
            ),
            (
                "symbols = [\"A\", \"BINANCE:X\"]\n",
                "want one to eight letters",
            ),
            ("symbls = [\"A\", \"B\"]\n", "did you mean `symbols`?"),
        ] {
            let said = error(&format!("[groups.a]\n{text}"));
            assert!(said.contains(want), "{said}");
        }
        let said = error(pair);
        assert!(
            said.contains("strategies.p.legs: no group has both `AAPL` and `MSFT`"),
            "{said}"
        );
        let said = error(&format!("{group}{pair}leave = 3.0\n"));
        assert!(said.contains("strategy p: enter 2 and leave 3"), "{said}");
        let session = "[risk.session]\nopen_orders_max = 5\n[run]\nshards = 2\n";
        let said = error(&format!("{group}{session}"));
        assert!(said.contains("risk.session: a session's limits"), "{said}");
    }

    #[test]
    fn states_of_full_books_do_not_fit_books_without_queues() {
        let l3 = Config::default();
        // As it was when books had no choice: states that were made then fit still.
        assert!(l3.show().contains("[book]") && !l3.decisive().contains("[book]"));
        let l2 = Config::parse("[book]\ndepth = \"l2\"\n", Path::new("t.toml")).unwrap();
        assert_eq!(l2.book.depth, Depth::L2);
        assert_ne!(l2.decisive(), l3.decisive());
        let checked = Config::parse("[book]\ncheck = \"full\"\n", Path::new("t.toml")).unwrap();
        assert_eq!(checked.decisive(), l3.decisive());
        assert_eq!(
            l2.decisive().replace("[book]\ndepth = \"l2\"\n", ""),
            l3.decisive()
        );
        assert!(
            error("[book]\ndepth = \"l1\"").contains("line 2: unknown value `l1`; did you mean `l")
        );
    }

    #[test]
    fn a_typo_is_refused_with_its_line_and_a_suggestion() {
        assert_eq!(
            error("[spread]\nhold = \"1s\"\ntreshold = \"20bps\"\n"),
            "t.toml, line 3: unknown key `treshold`; did you mean `threshold`?"
        );
        assert_eq!(
            error("[wndows.a]\n"),
            "t.toml, line 1: unknown key `wndows`; did you mean `windows`?"
        );
        assert!(error("[log]\ndurability = \"durabel\"").contains("did you mean `durable`?"));
        assert!(error("[log]\nzzzz = 1").contains("unknown key `zzzz`, expected one of"));
        assert!(
            error("[book]\ncheck = \"zzzzzz\"").contains("unknown value `zzzzzz`, expected one of")
        );
        let rule = |name: &str| error(&format!("[rules.{name}]\nwhen = \"bid > 0\""));
        assert!(rule("\"\"").contains("a rule without a name"));
        assert!(rule("momentum").contains("rules.momentum: is the name of the strategy"));
        let lines = "[source]\nprotocol = \"lobster\"\nlines = [\"239.192.1.1:26400\"]";
        assert!(error(lines).contains("\"lobster\", which is read from files only"));
    }

    #[test]
    fn a_rule_is_refused_at_its_column_and_changes_nothing_where_there_is_none() {
        let rule = "[rules.wide]\nwhen = \"spread > 5bps for 200ms\"\n";
        let with = Config::parse(rule, Path::new("t.toml")).unwrap();
        assert_eq!(with.suite().rules[0].when.hold_ns(), 200 * MILLI);
        assert!(with.decisive().contains("spread > 5bps for 200ms"));
        assert!(!Config::default().decisive().contains("rules"));
        assert_eq!(
            error("[rules.wide]\nwhen = \"spread > bid_qty\"\n"),
            "t.toml: rules.wide.when: column 8: a price and a quantity do not go together"
        );
        assert!(error(&format!("{rule}side = \"both\"")).contains("line 3"));
        assert!(error("[rules.a]\nwhen = \"stale\"\nside = \"buy\"\nqty = 0").contains("rule a:"));
        let lacks = error("[rules.a]\nwhen = \"stale\"\nqty = 7");
        assert!(lacks.contains("rules.a.qty: is of an order"), "{lacks}");
    }

    #[test]
    fn bounds_are_looked_at_before_what_is_worked_out_of_them() {
        for symbols in [0, 1] {
            let said = error(&format!("[limits]\nsymbols = {symbols}\n"));
            assert!(said.contains("limits.symbols is"), "{said}");
        }
    }

    #[test]
    fn the_zone_is_the_venues_where_none_is_said() {
        let source = |text: &str| Config::parse(text, Path::new("t.toml")).unwrap().source;
        let said = source("[source]\ntimezone = \"Europe/Berlin\"\n");
        assert_eq!(said.zone(Venue::of(Wire::Bitstamp, None)), "Europe/Berlin");
        let not_said = source("");
        assert_eq!(not_said.zone(Venue::of(Wire::Bitstamp, None)), "UTC");
        assert_eq!(
            not_said.zone(Venue::of(Wire::Itch, None)),
            "America/New_York"
        );
        assert_eq!(
            not_said.zone(Venue::of(Wire::Mdp3, None)),
            "America/Chicago"
        );
    }

    #[test]
    fn a_number_without_unit_says_so() {
        let said = error("[time]\ntick = \"100\"\n");
        assert!(
            said.starts_with("t.toml, line 2: `100` is not a number with one of the units"),
            "{said}"
        );
        assert!(error("[time]\ntick = 100\n").contains("line 2"));
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        assert!(error("[run]\nshards = 0").contains("run.shards is 0"));
        assert!(
            error("[run]\nshards = 2\ncpus = [0, 1]").contains("run.cpus names 2 cores, want 3")
        );
        assert!(
            error("[run]\nmodel = \"run-to-completion\"\ncpus = [0, 1]")
                .contains("run.cpus names 2 cores, want 1: one thread does it all")
        );
        assert!(error("[spread]\nclear = \"30bps\"").contains("spread: clears at 30bps"));
        assert!(error("[windows.a]\nsize = \"0s\"").contains("windows.a.size"));
        let window = |text: &str| error(&format!("[windows.a]\n{text}"));
        assert!(window("size = \"1s\"\nslid = \"1s\"").contains("did you mean `slide`?"));
        assert!(window("kind = \"slidin\"").contains("did you mean `sliding`?"));
        assert!(window("kind = \"sliding\"\nsize = \"5s\"").contains("sliding wants `slide`"));
        assert!(window("size = \"5s\"\ngap = \"1s\"").contains("tumbling has no `gap`"));
        let spread = "kind = \"session\"\ngap = \"1s\"\naggregates = [\"spread\"]";
        assert!(window(spread).contains("needs windows of fixed times, not session"));
        let part = "kind = \"sliding\"\nsize = \"5s\"\nslide = \"2s\"";
        assert!(window(part).contains("size is no whole number of slides"));
        let long = "kind = \"sliding\"\nsize = \"2h\"\nslide = \"1s\"";
        assert!(window(long).contains("open panes, want at most 4096"));
        assert!(window("size = \"1s\"\neligible = \"al\"").contains("did you mean `all`?"));
        assert!(error("[limits]\norders = 0").contains("limits.orders"));
        let retransmit = |text: &str| error(&format!("[source.retransmit]\n{text}"));
        assert!(retransmit("tries = 0").contains("source.retransmit.tries is 0, want 1 to 100"));
        assert!(retransmit("server = \"239.1.1.1:9\"").contains("no address and port of one"));
        assert!(retransmit("timeout = \"0s\"").contains("source.retransmit.timeout must be above"));
        assert!(retransmit("serve = \"\"").contains("did you mean `server`?"));
        assert!(error("[host]\nfifo_priority = 99").contains("host.fifo_priority is 99"));
        assert!(error("[regime]\ncalm = 3.0").contains("regime: calm below 3"));
        let fix = |text: &str| {
            error(&format!(
                "[orders]\nfile = false\n[orders.fix]\nconnect = \"h:1\"\n{text}"
            ))
        };
        assert!(fix("heartbeat = \"1.5s\"").contains("want whole seconds"));
        assert!(fix("version = \"FIX.4.3\"").contains("did you mean `FIX.4."));
        assert!(fix("reset = \"never\"").contains("want orders.fix.store"));
        assert!(fix("[run]\nshards = 2").contains("want {shard} in it"));
        let opening = "[orders.fix.schedule]\ntimezone = \"UTC\"\nopens = \"8\"\ncloses = \"9\"";
        assert!(fix(opening).contains("schedule.opens is `8`, want a time"));
        assert!(error("[orders.fix]\nconnect = \"h:1\"").contains("want orders.file = false"));
        assert!(error("[orders.ring]\nrecords = 1000").contains("want a power of two from 64"));
        assert!(error("[orders.json]\nto = \"tape\"").contains("stdout"));
        assert!(error("[orders]\nfile = false\n[orders.fix]").contains("orders.fix.connect is ``"));
        // Stores of objects are opened by the program, where it has them; nothing here does.
        let elsewhere = "log.tier cannot be used: this program was built without the feature";
        assert!(error("[log]\ntier = \"s3://cold/runs\"").contains(elsewhere));
    }
}
