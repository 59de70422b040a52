//! The codec from outside: strictness by clause, round trips, arbitrary bytes, matching against a model.

mod arbitrary;
mod bytes;
mod differential;
mod matching;
mod refused;
mod round_trip;
mod states;
mod written;
