//! The end of an admitted client's connection: every way out leads through here.

use std::sync::Arc;

use gatemq_broker::sessions::Leave;
use gatemq_mqtt::Breach;
use gatemq_mqtt::codec::properties::Words;
use gatemq_mqtt::packet::disconnect;
use gatemq_types::event::{Fact, Peer};
use gatemq_types::{CloseReason, ReasonCode};

use super::Ending;
use super::authenticate::is_sendable;
use super::client::{Client, LastWords};
use super::leave::leave;
use crate::events::Events;
use crate::listen::ws::WebSocketBreach;
use crate::worker::Worker;
use crate::worker::hot::Hot;

/// Tells of a breach, and of the limit that it exceeds, where it does: its name and value.
pub(super) fn tell_breach(events: &Events, peer: &Arc<Peer>, breach: Breach, limit: Option<(&'static str, u64)>) {
    events.emit(Some(peer), breach_event(peer, breach));
    if let Some((which, max)) = limit {
        // Nothing is counted beyond the bound.
        let (actual, action) = (max.saturating_add(1), "disconnected".into());
        events.emit(Some(peer), Fact::LimitExceeded { which: which.into(), max, actual, action });
    }
}

/// The event that a breach is.
fn breach_event(peer: &Peer, breach: Breach) -> Fact {
    let clause = peer.protocol.map_or(breach.clause(), |protocol| breach.clause_in(protocol)).into();
    let (detail, code) = (breach.detail().into(), breach.code().0.into());
    match breach.code() {
        ReasonCode::TOPIC_NAME_INVALID => Fact::TopicRefused { clause, detail, code },
        ReasonCode::TOPIC_FILTER_INVALID => Fact::FilterRefused { clause, detail, code },
        _ if breach.is_malformed() => Fact::PacketMalformed { clause, detail, code },
        _ => Fact::ProtocolViolated { clause, detail, code },
    }
}

/// The event that a breach of WebSocket is.
pub(super) fn web_socket_event(breach: WebSocketBreach) -> Fact {
    let code = CloseReason::ProtocolViolated.code().0.into();
    Fact::ProtocolViolated { clause: breach.clause().into(), detail: breach.detail().into(), code }
}

impl Client {
    /// Lets go of the session, tells everybody. Returns the last bytes for the client.
    pub(super) fn close(&mut self, worker: &Worker, hot: &mut Hot, ending: Ending, waiting_bytes: usize) -> Vec<u8> {
        let (node, now_ms) = (&worker.node, worker.now_ms.get());
        self.tell_dropped(&node.events);
        self.tell_again_aborted(node, ending);
        node.denials.note_left(self.session.key(), self.proven(), now_ms);
        let how = Leave {
            // MQTT-3.1.2-8, -10; and not for one who was shut out.
            publish_will: !matches!(
                ending.reason,
                CloseReason::ClientDisconnected
                    | CloseReason::Kicked
                    | CloseReason::Denied
                    | CloseReason::IdentityRevoked
            ),
            expiry_s: self.leave_expiry_s,
            // The session of who is denied stays: a denial may be lifted, and what waits was acknowledged.
            end: false,
        };
        leave(worker, hot, &self.peer, &self.session, how, "disconnect");
        let events = &node.events;
        if let Some(breach) = ending.breach {
            let limit = match breach {
                Breach::ReceiveMaximumExceeded => Some(("receive_max", self.announced.receive_max.into())),
                _ => self.state.limits().exceeded_by(breach),
            };
            tell_breach(events, &self.peer, breach, limit);
        }
        if ending.reason == CloseReason::ClientStalled {
            events.emit(Some(&self.peer), Fact::ClientStalled { waiting_bytes: waiting_bytes as u64 });
        }
        events.emit(
            Some(&self.peer),
            Fact::ClientDisconnected {
                reason: ending.reason.name().into(),
                code: ending.code.0.into(),
                blame: ending.reason.blame().name().into(),
                connected_ms: now_ms.saturating_sub(self.connected_ms),
                packets_received: self.packets_received,
                messages_published: self.messages_published,
            },
        );
        let mut last = Vec::new();
        if ending.is_told() {
            let (protocol, bytes_max) = (self.state.protocol(), self.packet_bytes_max);
            let LastWords { reason_string, server } = *self.last_words.take().unwrap_or_default();
            let words = self.words(&reason_string);
            let server = server.filter(|text| !text.is_empty() && is_sendable(text));
            if !disconnect::write(&mut last, protocol, ending.code, server.as_deref(), words, bytes_max) {
                // MQTT 3 has none; others take it without the server's name.
                disconnect::write(&mut last, protocol, ending.code, None, Words::default(), bytes_max);
            }
        }
        last
    }

    /// What a packet says besides its code; nothing to who wants no such (MQTT-3.1.2-29).
    pub(super) fn words<'a>(&self, reason_string: &'a Option<String>) -> Words<'a> {
        let is_told = |text: &&str| self.problem_info && !text.is_empty() && is_sendable(text);
        Words { reason_string: reason_string.as_deref().filter(is_told), user: &[] }
    }

    /// A verdict ends the connection.
    pub(super) fn goes_with(&mut self, reason_string: Option<String>, code: ReasonCode) -> Ending {
        self.last_words = Some(Box::new(LastWords { reason_string, server: None }));
        Ending::with_code(CloseReason::Kicked, code)
    }
}
