//! Several networks in one process, over real sockets on loopback, with real certificate files.

mod joining;
mod kit;
mod links;
mod refusals;
mod relay;
mod rogue;
mod strangers;
