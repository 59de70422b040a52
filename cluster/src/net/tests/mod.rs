//! Several networks in one process, over real sockets on loopback, with real certificate files.

mod joining;
mod kit;
