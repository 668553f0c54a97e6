//! Instruments that several symbols are.

use std::collections::BTreeMap;

use analytics::InstrumentConfig;
use feed::groups::padded;
use serde::{Deserialize, Serialize};

use super::units::Span;

/// Named instruments; the order of their names is their number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instruments(pub BTreeMap<String, Instrument>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instrument {
    /// The symbols that are it, each at its venue.
    pub members: Vec<String>,
    /// A symbol of which nothing was heard for longer is left out; `0s` for however long.
    #[serde(default = "nothing")]
    pub fresh: Span,
    /// How long it is locked or crossed before that is an alert.
    #[serde(default = "nothing")]
    pub hold: Span,
    /// Whether each change of the best prices is a row of the table `best`.
    #[serde(default = "yes")]
    pub quotes: bool,
}

fn nothing() -> Span {
    Span(0)
}

fn yes() -> bool {
    true
}

impl Instruments {
    /// A configuration without any is the text that it was before there could be some.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        for (name, instrument) in &self.0 {
            let odd = |member: &&String| !(1..=8).contains(&member.len());
            if let Some(member) = instrument.members.iter().find(odd) {
                return Err(format!(
                    "instruments.{name}.members: symbol `{member}`, want one to eight letters"
                ));
            }
        }
        Ok(())
    }

    /// Each, in the order of their names; they were checked.
    pub(super) fn configs(&self) -> Vec<InstrumentConfig> {
        let instruments = self.0.iter().map(|(name, instrument)| InstrumentConfig {
            name: name.clone(),
            members: (instrument.members.iter())
                .map(|member| padded(&member.to_ascii_uppercase()))
                .collect(),
            fresh_ns: instrument.fresh.0,
            hold_ns: instrument.hold.0,
            says: instrument.quotes,
        });
        instruments.collect()
    }

    /// Each name, and those of its members, in upper case.
    pub fn names(&self) -> Vec<(String, Vec<String>)> {
        let named = self.0.iter().map(|(name, instrument)| {
            let members = instrument.members.iter();
            let members = members.map(|member| member.to_ascii_uppercase());
            (name.clone(), members.collect())
        });
        named.collect()
    }

    /// What its alerts are called, in the order of their numbers.
    pub fn alerts(&self) -> impl Iterator<Item = String> + '_ {
        self.alert_keys().into_iter().map(|(alert, _)| alert)
    }

    /// The same, each with the name of its instrument.
    pub(super) fn alert_keys(&self) -> Vec<(String, &String)> {
        let kinds = ["locked", "crossed"];
        let names = self.0.keys();
        let alerts = names.flat_map(|name| kinds.map(|kind| (format!("{name}.{kind}"), name)));
        alerts.collect()
    }
}
