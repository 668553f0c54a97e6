//! CME MDP 3.0: packets and messages written by hand, a plain second book of levels and one of
//! queues, any bytes, and real captures held against what other decoders say of them.

mod books;
mod make;
mod random;
mod real;
mod recovery;
