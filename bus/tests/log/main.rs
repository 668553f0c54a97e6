//! The log, seen from outside: on a simulated disk that fails in every way, and on real ones.

mod backends;
mod check;
mod crash;
mod damage;
mod faults;
mod flips;
mod golden;
mod middle;
mod retain;
mod states;
mod swapped;
mod tail;
