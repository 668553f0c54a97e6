//! What the analytics say, as their users see it.
//!
//! `script` is the small language that the tests are written in; `reference` holds plain twins
//! that are too simple to be wrong in the same way.

mod declared;
mod features;
mod flood;
mod instruments;
mod joins;
mod momentum;
mod monitors;
mod pairs;
mod reference;
mod regime;
mod risk;
mod rule;
mod script;
mod spread;
mod strategies;
mod streams;
mod windows;
