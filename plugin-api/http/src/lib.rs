//! What GateMQ's plugins that ask a server over HTTP have in common.
//!
//! A [`Server`] is how one is written in a plugin's configuration, a [`Client`] asks it: HTTPS, and plain HTTP only where
//! nobody else can listen, on a loopback address; no redirects, no proxies from the environment, no compression; a bound on
//! the time of the whole exchange and on the size of the answer. Only `200 OK` is an answer, everything else a [`Failure`].
#![forbid(unsafe_code)]

mod client;
pub mod file;
mod max_age;
mod platform;
mod server;

pub use client::{Answer, Client, Failure};
pub use server::Server;
