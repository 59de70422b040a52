//! One test binary with a module a subject.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod chains;
mod configuration;
mod conformance;
mod connack;
mod crash;
mod door;
mod exchange;
mod limits;
mod listeners;
mod promise_1;
mod promise_2;
mod promise_3;
mod promise_6;
mod promise_8;
mod reauthenticate;
mod refused;
mod retained;
mod road;
mod sessions;
mod slow;
mod store_command;
mod sys;
mod tidy;
mod websocket;
mod wills;
