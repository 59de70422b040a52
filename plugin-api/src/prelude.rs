//! What most plugins name: `use gatemq_plugin_api::prelude::*;`

pub use crate::{
    Action, ActionKind, Actions, AuthExchange, AuthOutcome, AuthProvider, Certificate, Class, Connect, Der, Effect,
    Event, EventCollector, EventKind, Grant, Health, Host, Identity, Interest, Plugin, QoS, ReasonCode,
    ReconfigureError, Session, StartError, Value, Verdict, export_plugin,
};
pub use serde::Deserialize;

/// The configuration of a plugin that has none: any key is an error.
#[derive(serde::Deserialize, Debug)]
pub struct NoConfig {}
