//! The one configuration: read once, checked as a whole, handed out as plain structs.
//!
//! Nothing below `src/` reads a flag, a file of settings or the environment, and every default
//! stands here.

mod log;
mod market;
mod orders;
mod parts;
mod run;
pub mod soup;
mod source;
mod units;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use log::{Backend, Checkpoint, Durability, Log};
pub use market::{
    AggregateName, Book, Depth, Eligible, Measure, Momentum, Regime, Rule, RuleSide, RuleTouch,
    Rules, Spread, Window, WindowKind, Windows,
};
pub use orders::{InDoubt, Orders, Risk};
pub use run::{Host, HugePages, Limits, Model, Run, Time};
pub use soup::Soup;
pub use source::{Gaps, Join, Quarantine, Retransmit, Source};
pub use units::{Ratio, Size, Span, Speed};

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
    /// Windows of event time, by name.
    pub windows: Windows,
    /// The spread monitor.
    pub spread: Spread,
    /// The volatility regime.
    pub regime: Regime,
    /// The momentum strategy.
    pub momentum: Momentum,
    /// Conditions by name, and what follows of them; the order of their names is their number.
    #[serde(skip_serializing_if = "no_rules")]
    pub rules: Rules,
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
        Config::parse(&text, path)
    }

    /// Reads and checks a text that came from `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let fail = |line, what| ConfigError {
            path: path.to_path_buf(),
            line,
            what,
        };
        let config: Config = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start].matches('\n').count() + 1);
            fail(line, with_suggestion(error.message()))
        })?;
        config.check().map_err(|what| fail(None, what))?;
        Ok(config)
    }

    /// What no single field can know.
    pub fn check(&self) -> Result<(), String> {
        self.run.check()?;
        positive("time.tick", self.time.tick.0)?;
        positive("time.max_future", self.time.max_future.0)?;
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
        self.rules.configs()?;
        if let Some(problem) = self.suite().problem() {
            return Err(problem);
        }
        self.risk.check()?;
        self.host.check()?;
        self.source.check()?;
        self.orders.check()
    }

    /// What of it decides results, as text: two runs for which this is equal conclude the same.
    pub fn decisive(&self) -> String {
        let mut decisive = Config {
            time: self.time.clone(),
            windows: self.windows.clone(),
            spread: self.spread.clone(),
            regime: self.regime.clone(),
            momentum: self.momentum.clone(),
            rules: self.rules.clone(),
            risk: self.risk.clone(),
            ..Config::default()
        };
        // Holds orders back when they are sent, and decides none.
        decisive.risk.kill_file = None;
        // The text as it was before books had a choice, so that older states fit still.
        let text = decisive.show().replace("[book]\ndepth = \"l3\"\n\n", "");
        match self.book.depth {
            Depth::L3 => text,
            Depth::L2 => text + "[book]\ndepth = \"l2\"\n",
        }
    }

    /// The whole configuration as TOML that [`Config::parse`] reads back.
    pub fn show(&self) -> String {
        toml::to_string(self).expect("a configuration is always TOML")
    }
}

/// A configuration without rules is the text that it was before there were any.
fn no_rules(rules: &Rules) -> bool {
    rules.0.is_empty()
}

/// Adds "did you mean" to serde's message about an unknown key.
fn with_suggestion(message: &str) -> String {
    let message = message.trim().replace('\n', " ");
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let Some((&wrong, known)) = quoted.split_first().filter(|_| is_unknown) else {
        return message;
    };
    let close = known
        .iter()
        .map(|&name| (strsim::damerau_levenshtein(wrong, name), name))
        .min()
        .filter(|&(distance, name)| distance <= 1 + name.len() / 3);
    match close {
        Some((_, name)) => format!("unknown key `{wrong}`; did you mean `{name}`?"),
        None => message.replace("unknown field", "unknown key"),
    }
}

#[cfg(test)]
mod tests {
    use feed::protocol::Wire;

    use super::*;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("t.toml"))
            .unwrap_err()
            .to_string()
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
    fn states_of_full_books_do_not_fit_books_without_queues() {
        let l3 = Config::default();
        // As it was when books had no choice: states that were made then fit still.
        assert!(l3.show().contains("[book]") && !l3.decisive().contains("[book]"));
        let l2 = Config::parse("[book]\ndepth = \"l2\"\n", Path::new("t.toml")).unwrap();
        assert_eq!(l2.book.depth, Depth::L2);
        assert_ne!(l2.decisive(), l3.decisive());
        assert_eq!(
            l2.decisive().replace("[book]\ndepth = \"l2\"\n", ""),
            l3.decisive()
        );
        assert!(
            error("[book]\ndepth = \"l1\"").contains("line 2: unknown key `l1`; did you mean `l")
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
        assert_eq!(said.zone(Wire::Bitstamp), "Europe/Berlin");
        let not_said = source("");
        assert_eq!(not_said.zone(Wire::Bitstamp), "UTC");
        assert_eq!(not_said.zone(Wire::Itch), "America/New_York");
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
        // Stores of objects are opened by the program, where it has them; nothing here does.
        let elsewhere = "log.tier cannot be used: this program was built without the feature";
        assert!(error("[log]\ntier = \"s3://cold/runs\"").contains(elsewhere));
    }
}
