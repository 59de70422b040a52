//! An admitted client: its packets, one after the other.

use std::rc::Rc;
use std::sync::Arc;

use gatemq_broker::denials::Proven;
use gatemq_broker::session::Ack;
use gatemq_broker::{Attached, Home, Identity, Question, TenantConnection, TenantLimit, Verdicts};
use gatemq_mqtt::codec::frame::Framed;
use gatemq_mqtt::connection::{Established, Packet, TopicAliases};
use gatemq_mqtt::{kind, write};
use gatemq_plugin_loader::{Plugin, Session as AskedSession};
use gatemq_types::event::Peer;
use gatemq_types::service::Selector;
use gatemq_types::{CloseReason, ReasonCode, Verdict};

use super::Ending;
use super::ask::Asking;
use super::bind::Announced;
use super::held::Held;
use super::rate::Rate;
use super::reauthenticate::Again;
use super::refresh::Refresh;
use crate::denials::Known;
use crate::exclusive::{self, Place};
use crate::node::Node;
use crate::revocations::Revoked;
use crate::worker::hot::Hot;
use crate::worker::share::Share;

/// Deliveries after which the others get their turn: small messages with many receivers, thousands of them in one read,
/// must not hold a worker for seconds.
const DELIVERIES_PER_FEED: u64 = 1 << 16;
/// Topics whose verdicts a connection remembers.
pub(crate) const VERDICTS_MAX: usize = 64;

/// An admitted client.
pub(crate) struct Client {
    /// For events.
    pub(crate) peer: Arc<Peer>,
    pub(super) state: Established,
    pub(super) identity: Identity,
    /// Its output.
    pub(crate) session: Attached,
    pub(super) verdicts: Verdicts,
    /// Who answers its questions; absent where its grants ask none.
    pub(super) asked: Option<(Arc<Plugin>, Arc<AskedSession>)>,
    /// Name of who admitted it; empty with `--dev`.
    pub(super) provider: Arc<str>,
    /// The answer to the question that the packet at the front has asked.
    pub(super) answer: Option<(Question, Verdict)>,
    /// What of the filters of the packet at the front is decided.
    pub(super) so_far: Option<Box<SoFar>>,
    /// What it may publish per second; absent where that is not limited.
    pub(super) rate: Option<Box<Rate>>,
    /// Who publishes too fast is not read for a while; else it is disconnected.
    pub(super) rate_waits: bool,
    /// A message that is denied is acknowledged where its version has no word for it; else the connection is closed.
    pub(super) acknowledges_denied: bool,
    /// How long it may take none of its output.
    pub(super) stalled_ms_max: u32,
    /// What its tenant's clients on this worker count.
    pub(super) share: Rc<Share>,
    /// When it was last told that it has as many subscriptions as it may.
    pub(super) subscriptions_told_ms: u64,
    /// Largest packet that it takes; 0 is any.
    pub(super) packet_bytes_max: u32,
    /// Request Problem Information.
    pub(super) problem_info: bool,
    pub(super) announced: Announced,
    pub(super) silence_ms_max: Option<u32>,
    /// 0 is for ever.
    pub(super) valid_until_ms: u64,
    /// Longest that its session may outlive the connection, in seconds.
    pub(super) expiry_s_max: u32,
    /// Session Expiry Interval of its DISCONNECT.
    pub(super) leave_expiry_s: Option<u32>,
    /// What it needs to authenticate again; only where its CONNECT had a method.
    pub(super) again: Option<Box<Again>>,
    /// What its provider needs to be asked again; only where its identity wants that, or has the provider asked anyway.
    pub(super) refresh: Option<Box<Refresh>>,
    /// Identities that had been revoked on this node when its provider was last asked what it may do.
    pub(super) revoked_before: u64,
    /// What its DISCONNECT says besides the code.
    pub(super) last_words: Option<Box<LastWords>>,
    pub(super) connected_ms: u64,
    pub(super) packets_received: u64,
    pub(super) messages_published: u64,
    /// Topic aliases that it has set.
    pub(super) aliases: TopicAliases,
    /// Its place among the connections of its tenant.
    pub(super) _counted: TenantConnection,
    /// Acknowledgements that wait for the store.
    pub(super) held: Option<Box<Held>>,
    /// Its certificate, whose key it has proven, and its place, where its identity is exclusive.
    pub(super) known: Option<Box<Known>>,
}

/// Filters of a packet that are decided.
#[derive(Default)]
pub(super) struct SoFar {
    /// Their codes.
    pub(super) codes: Vec<ReasonCode>,
    /// What the client is told of the first that was denied with words.
    pub(super) reason_string: Option<String>,
}

/// What a DISCONNECT says besides the code.
#[derive(Default)]
pub(super) struct LastWords {
    pub(super) reason_string: Option<String>,
    pub(super) server: Option<String>,
}

/// What a packet leads to.
pub(super) enum Step {
    /// The next packet.
    Next,
    /// The same packet again, when its question is answered.
    Ask(Asking),
    /// The next packet, after that many milliseconds.
    Wait(u64),
    /// The next packet, when the others have had their turn.
    Yield,
}

/// What of some bytes was handled.
pub(super) struct Fed {
    pub(super) used: usize,
    pub(super) then: Step,
}

/// What a packet may touch.
pub(super) struct Lane<'a> {
    pub(super) node: &'a Node,
    pub(super) hot: &'a mut Hot,
    pub(super) now_ms: u64,
}

impl Client {
    /// Who it is, and what it may do.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Name of the plugin instance that admitted it; empty with `--dev`.
    pub(crate) fn provider(&self) -> &str {
        &self.provider
    }

    /// Its certificate, if it has proven one.
    pub(crate) fn proven(&self) -> Option<&Proven> {
        self.known.as_ref()?.proven.as_ref()
    }

    /// Whether its identity is among those that were revoked.
    pub(crate) fn is_revoked(&self, whose: &Revoked) -> bool {
        match whose {
            Revoked::Selected(selector) => self.is_named_by(selector),
            Revoked::AdmittedBy(plugin) => **plugin == *self.provider,
        }
    }

    /// Whether a selector names it; all that it gives must hold.
    pub(crate) fn is_named_by(&self, selector: &Selector) -> bool {
        let Selector { tenant, user, client_id, connection, tag, leaf_sha256 } = selector;
        let peer = &self.peer;
        let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
        is(tenant, &peer.tenant)
            && is(user, &peer.user)
            && is(client_id, &peer.client_id)
            && connection.is_none_or(|wanted| wanted == peer.connection)
            && tag.as_ref().is_none_or(|wanted| self.tags().contains(wanted))
            && leaf_sha256.is_none_or(|wanted| self.proven().is_some_and(|proven| proven.leaf == wanted))
    }

    /// Tags of its identity.
    pub(crate) fn tags(&self) -> &[String] {
        self.identity.tags()
    }

    /// Its place, where its identity is exclusive.
    pub(super) fn place(&self) -> Option<&exclusive::Held> {
        self.known.as_ref()?.place.as_deref()
    }

    /// Takes its place: it is admitted, or about to be. `home` is where it is.
    pub(super) fn take_place(&mut self, node: &Node, place: Place, home: Home) {
        let held = Box::new(exclusive::Held::take(node, place, &self.peer, home));
        match &mut self.known {
            Some(known) => known.place = Some(held),
            none => *none = Known::of(None, Some(held)),
        }
    }

    /// When it was admitted, in milliseconds since 1970.
    pub(crate) fn connected_ms(&self) -> u64 {
        self.connected_ms
    }

    /// Handles the whole packets of `data`, as far as they can be handled now.
    ///
    /// # Errors
    /// The connection ends. Answers to what came before are in `reply` all the same.
    pub(super) fn feed(&mut self, lane: &mut Lane, data: &[u8]) -> Result<Fed, Ending> {
        let (packets, messages) = (self.packets_received, self.messages_published);
        let (delivered, dropped) = (lane.hot.out.delivered, lane.hot.out.dropped);
        let fed = self.packets(lane, data);
        self.share.count(|traffic| {
            traffic.packets_received += self.packets_received - packets;
            traffic.messages_received += self.messages_published - messages;
            traffic.messages_sent += lane.hot.out.delivered - delivered;
            traffic.messages_dropped += lane.hot.out.dropped - dropped;
        });
        // Also when the connection ends: what was acknowledged before its end is not sent again (MQTT-4.4.0-1).
        self.settle(lane);
        fed
    }

    #[inline]
    fn packets(&mut self, lane: &mut Lane, data: &[u8]) -> Result<Fed, Ending> {
        let mut used = 0;
        let routed_before = lane.hot.out.delivered + lane.hot.out.dropped;
        let then = loop {
            let Framed::Frame { head, len, .. } = self.state.frame(&data[used..])? else { break Step::Next };
            let frame = &data[used..used + len];
            match self.packet(lane, frame, head)? {
                Step::Next => {
                    used += len;
                    self.packets_received += 1;
                    if lane.hot.out.delivered + lane.hot.out.dropped - routed_before >= DELIVERIES_PER_FEED {
                        break Step::Yield;
                    }
                }
                Step::Ask(asking) => break Step::Ask(asking),
                pause => {
                    used += len;
                    self.packets_received += 1;
                    break pause;
                }
            }
        };
        Ok(Fed { used, then })
    }

    /// Its tenant has as much as it may.
    #[cold]
    pub(super) fn tell_exceeded(&self, node: &Node, limit: TenantLimit, now_ms: u64) {
        node.tell_exceeded(&self.peer, self.share.tenant(), limit, now_ms);
    }

    /// Where the packet at the start of `data` ends.
    pub(super) fn frame(&self, data: &[u8]) -> Result<Framed, Ending> {
        Ok(self.state.frame(data)?)
    }

    /// Takes the acknowledgements of a read batch.
    pub(super) fn settle(&mut self, lane: &mut Lane) {
        let hot = &mut *lane.hot;
        if !hot.acks.is_empty() {
            if lane.node.events.traffic_wanted() {
                self.tell_acknowledged(&lane.node.events, &hot.acks);
            }
            let mut answers = Vec::new();
            self.session.settle(&hot.acks, lane.now_ms, &mut answers, &mut hot.out.spare);
            hot.acks.clear();
            // PUBREL and PUBCOMP too say that something is kept.
            self.acknowledge(hot, 0, |out| out.extend_from_slice(&answers));
        }
    }

    /// Handles a whole packet, its body at `head`.
    #[inline]
    pub(super) fn packet(&mut self, lane: &mut Lane, frame: &[u8], head: usize) -> Result<Step, Ending> {
        match self.state.packet(frame, head)? {
            Packet::Publish(message) => return self.publish(lane, &message),
            Packet::PubAck(ack) => lane.hot.acks.push(Ack::new(kind::PUBACK, &ack)),
            Packet::PubRec(ack) => lane.hot.acks.push(Ack::new(kind::PUBREC, &ack)),
            Packet::PubRel(ack) => lane.hot.acks.push(Ack::new(kind::PUBREL, &ack)),
            Packet::PubComp(ack) => lane.hot.acks.push(Ack::new(kind::PUBCOMP, &ack)),
            Packet::Subscribe(packet) => return self.subscribe(lane, packet),
            Packet::Unsubscribe(packet) => return self.unsubscribe(lane, packet),
            Packet::PingReq => write::ping_resp(&mut lane.hot.reply),
            Packet::Disconnect(packet) => {
                self.leave_expiry_s = packet.session_expiry_s.map(|expiry_s| expiry_s.min(self.expiry_s_max));
                return Err(Ending::of(match packet.reason {
                    ReasonCode::SUCCESS => CloseReason::ClientDisconnected,
                    _ => CloseReason::ClientDisconnectedWithWill,
                }));
            }
            Packet::Auth(auth) => self.authenticate_again(lane, &auth)?,
        }
        Ok(Step::Next)
    }
}
