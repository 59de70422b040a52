//! The table: number (never reused), name (`<Subject><PastVerb>`), class, blame, fields.

use std::borrow::Cow;

use super::declare::events;
use super::{Class, FieldValue, Filling, Value};
use crate::{Blame, Der};

/// A field of text: mostly a constant, otherwise what a peer or a plugin said.
type Text = Cow<'static, str>;

events! {
    /// A socket was accepted and given to a worker.
    101 ConnectionAccepted Lifecycle Peer {}
    /// A socket was closed at once.
    102 ConnectionRefused Security Limit {
        /// Which limit or rule.
        reason: Text,
    }
    /// A TLS handshake failed. The chain is what the peer sent; unless `proven`, anybody could have sent it.
    103 TlsHandshakeFailed Security Peer {
        /// What was wrong, in rustls's or webpki's words.
        error: Text,
        /// Certificates shown, leaf first.
        chain: Vec<Der>,
        /// Whether the peer proved to hold the leaf's key.
        proven: bool,
    }
    /// A proxy's header, TLS handshake, WebSocket upgrade or CONNECT did not arrive in time.
    104 ConnectTimedOut Security Peer {
        /// `proxy`, `tls`, `upgrade`, or `connect`.
        stage: Text,
        /// How long it was waited, in milliseconds.
        connect_ms_max: u64,
    }
    /// A connection ended before its client was admitted or refused.
    105 ConnectionClosed Lifecycle Peer {
        /// A close reason.
        reason: Text,
    }

    /// An HTTP request did not become a WebSocket.
    106 UpgradeFailed Security Peer {
        /// What was wrong with it.
        reason: Text,
    }

    /// A client was admitted.
    201 ClientConnected Lifecycle Peer {
        /// The plugin instance that accepted it.
        plugin: Text,
        /// Keep alive in force, in seconds.
        keep_alive_s: u64,
        /// Clean start.
        clean_start: bool,
        /// Certificates shown, leaf first.
        chain: Vec<Der>,
        /// Subject of the trust anchor that verified the chain; empty without one.
        anchor: Text,
    }
    /// A client was refused.
    202 ClientRefused Security Policy {
        /// Where: `connect`, `authenticate`, `exchange`, `identity`, `denial`, `will`, `authorize`.
        stage: Text,
        /// Reason code, as for MQTT 5.0.
        code: u64,
        /// Why, in the provider's or the broker's words.
        reason: Text,
        /// The plugin instance that refused it, if one did.
        plugin: Text,
        /// Certificates shown, leaf first.
        chain: Vec<Der>,
    }
    /// A client left or was disconnected.
    203 ClientDisconnected Lifecycle Peer {
        /// A close reason.
        reason: Text,
        /// Reason code, as for MQTT 5.0.
        code: u64,
        /// Whose doing it was.
        blame: Text,
        /// How long it was connected, in milliseconds.
        connected_ms: u64,
        /// Packets it sent.
        packets_received: u64,
        /// Messages it published that were let through.
        messages_published: u64,
    }

    /// A client came, and another connection that it had was closed for it.
    204 ClientTakenOver Lifecycle Peer {
        /// Whether it goes on with the session that the other one had.
        resumed: bool,
    }
    /// An operator or a plugin ended a client's connection.
    205 ClientKicked Security Policy {
        /// Who: `operator`, or `plugin NAME`.
        by: Text,
        /// Why, in their words.
        why: Text,
    }
    /// An enhanced authentication ended before it was decided: the client was not admitted, or its connection has ended.
    206 AuthExchangeAborted Security Peer {
        /// Authentication Method.
        method: Text,
        /// How many AUTH packets the client had been sent.
        rounds: u64,
        /// Why: `the client has gone`, `the client gave up`, …
        reason: Text,
        /// Whose doing it was.
        blame: Text,
    }
    /// A client that was admitted did not authenticate again as it wanted to, and was disconnected.
    207 ReauthenticationFailed Security Policy {
        /// Authentication Method.
        method: Text,
        /// Reason code of the DISCONNECT.
        code: u64,
        /// Why, in the provider's or the broker's words.
        reason: Text,
        /// The plugin instance.
        plugin: Text,
        /// Whose doing it was.
        blame: Text,
    }
    /// The time for which a client had been admitted is over, and it was disconnected.
    208 GrantExpired Security Policy {
        /// When it was over, in milliseconds since 1970.
        valid_until_ms: u64,
    }
    /// A client authenticated again; its grants are new.
    209 ClientReauthenticated Lifecycle Peer {
        /// Authentication Method.
        method: Text,
        /// The plugin instance.
        plugin: Text,
    }
    /// Its provider was asked again what a client may do: its grants are new.
    211 ClientRefreshed Lifecycle Policy {
        /// The plugin instance.
        plugin: Text,
    }
    /// Its provider was asked again what a client may do, did not stand for it any more or did not say, and it was disconnected.
    212 RefreshFailed Security Policy {
        /// Reason code of the DISCONNECT.
        code: u64,
        /// Why, in the provider's or the broker's words.
        reason: Text,
        /// The plugin instance.
        plugin: Text,
        /// Whose doing it was.
        blame: Text,
    }
    /// Somebody has a client's identity revoked: its provider is asked again, or it is disconnected.
    213 IdentityRevoked Security Policy {
        /// Who: a plugin instance, or a reload of a configuration from which its provider is gone.
        by: Text,
    }
    /// Another connection took the place of a client's, of whose user or certificate one may be live: its identity is exclusive. Where
    /// two devices take turns at this, one has a copy of the other's key. The connection of the same client is no such event.
    214 IdentityTakenOver Security Peer {
        /// Of what one connection may be live: `user`, `certificate`.
        exclusive: Text,
        /// Number of the connection that is there instead.
        by_connection: u64,
        /// Its client identifier.
        by_client_id: Text,
        /// Its address.
        by_remote: Text,
        /// The node that it is connected to; empty: this one.
        by_node: Text,
    }
    /// A client was sent to another server.
    210 ClientRedirected Lifecycle Policy {
        /// Reason code: 0x9C is this time, 0x9D for good.
        code: u64,
        /// The server, as MQTT 5.0 clients were told.
        server: Text,
        /// The plugin instance.
        plugin: Text,
    }

    /// A PUBLISH was denied.
    301 PublishDenied Security Policy {
        /// Topic name.
        topic: Text,
        /// QoS.
        qos: u64,
        /// Reason code.
        code: u64,
        /// Why: `grants`, or the provider's words.
        reason: Text,
    }
    /// A filter of a SUBSCRIBE was denied.
    302 SubscribeDenied Security Policy {
        /// Topic filter.
        filter: Text,
        /// Reason code.
        code: u64,
        /// Why.
        reason: Text,
    }
    /// A filter of an UNSUBSCRIBE was denied.
    303 UnsubscribeDenied Security Policy {
        /// Topic filter.
        filter: Text,
        /// Reason code.
        code: u64,
        /// Why.
        reason: Text,
    }
    /// A will was denied: at CONNECT, and the client with it, or when it was to be published.
    304 WillDenied Security Policy {
        /// Will topic.
        topic: Text,
        /// Why.
        reason: Text,
    }
    /// Messages that waited for a client were not delivered: it may not have them any more, because its grants were changed or its
    /// identity revoked.
    305 DeliveryDenied Security Policy {
        /// How many, since the last such event of this client.
        count: u64,
    }
    /// A provider that a grant had asked did not answer, so nothing was granted.
    306 AuthorizationFailed Security Plugin {
        /// What was asked: `publish`, `subscribe`, …
        action: Text,
        /// Topic name or filter.
        topic: Text,
        /// The plugin instance.
        plugin: Text,
        /// What went wrong.
        error: Text,
    }

    /// A client broke a rule of the protocol.
    401 ProtocolViolated Security Peer {
        /// The standard's clause.
        clause: Text,
        /// What it did.
        detail: Text,
        /// Reason code.
        code: u64,
    }
    /// Bytes that are no packet.
    402 PacketMalformed Security Peer {
        /// The standard's clause.
        clause: Text,
        /// What was wrong.
        detail: Text,
        /// Reason code.
        code: u64,
    }

    /// A topic name that MQTT or a limit does not allow; its client was disconnected.
    403 TopicRefused Security Peer {
        /// The standard's clause.
        clause: Text,
        /// What was wrong.
        detail: Text,
        /// Reason code.
        code: u64,
    }
    /// A topic filter that MQTT or a limit does not allow; its client was disconnected.
    404 FilterRefused Security Peer {
        /// The standard's clause.
        clause: Text,
        /// What was wrong.
        detail: Text,
        /// Reason code.
        code: u64,
    }

    /// A session that outlives its connection was made.
    501 SessionCreated Lifecycle Peer {
        /// How long it outlives its connection, in seconds; 4294967295 is for ever.
        expiry_s: u64,
    }
    /// A client came back to its session.
    502 SessionResumed Lifecycle Peer {
        /// Packets that are sent again because they were not acknowledged.
        again: u64,
        /// Messages that waited.
        waiting: u64,
        /// Messages that it may not have any more.
        dropped: u64,
    }
    /// A session ended because its client did not come back in time.
    503 SessionExpired Lifecycle Peer {}
    /// A session that outlives its connection ended before its time.
    504 SessionEnded Lifecycle Peer {
        /// `clean start`, `disconnect`, `sessions_detached_max`, `no connection` (its connection failed in the broker).
        reason: Text,
    }
    /// As many messages waited for a client as may: what came besides was dropped.
    505 QueueOverflowed Security Limit {
        /// How many were dropped, since the last such event of this client.
        count: u64,
        /// Messages that may wait.
        queue_messages_max: u64,
        /// Bytes that may.
        queue_bytes_max: u64,
    }
    /// A session came here from another node, with what waited in it: its client connects here, or that node leaves.
    506 SessionMoved Lifecycle Peer {
        /// The node where it was.
        from: Text,
    }
    /// A client does not take its output and was disconnected.
    507 ClientStalled Security Peer {
        /// Bytes that waited.
        waiting_bytes: u64,
    }

    /// A subscription was made or replaced.
    601 SubscriptionAdded Lifecycle Peer {
        /// Topic filter.
        filter: Text,
        /// Granted QoS.
        qos: u64,
    }
    /// A subscription was removed.
    602 SubscriptionRemoved Lifecycle Peer {
        /// Topic filter.
        filter: Text,
    }

    /// A PUBLISH was let through.
    701 MessageReceived Traffic Peer {
        /// Topic name.
        topic: Text,
        /// QoS.
        qos: u64,
        /// Payload size.
        payload_bytes: u64,
    }
    /// A PUBLISH was routed.
    702 MessageRouted Traffic Peer {
        /// Topic name.
        topic: Text,
        /// Subscriptions of clients of this node that it went to.
        receivers: u64,
        /// Those that did not get it: their queue is full, it is larger than they take, or they are away at QoS 0.
        dropped: u64,
        /// Other nodes that it went to.
        nodes: u64,
    }
    /// A PUBLISH was written to a client, or acknowledged by it.
    703 MessageDelivered Traffic Peer {
        /// Topic name; empty where the client knows it by a topic alias, and where it acknowledges.
        topic: Text,
        /// QoS.
        qos: u64,
        /// Packet identifier; 0 at QoS 0. What is acknowledged has the one with which it was written.
        packet_id: u64,
        /// By PUBACK or PUBCOMP, which ends it; else it was written.
        acknowledged: bool,
        /// Reason code of the acknowledgement; 0 when it was written.
        code: u64,
    }
    /// Messages for a client were dropped, for another reason than a queue of its own that is full (`QueueOverflowed`).
    704 MessageDropped Security Limit {
        /// How many, since the last such event of this client.
        count: u64,
        /// Why.
        reason: Text,
    }

    /// A will was published.
    705 WillPublished Lifecycle Peer {
        /// Will topic.
        topic: Text,
        /// QoS.
        qos: u64,
        /// Whether it is retained.
        retain: bool,
        /// Receivers on this node.
        receivers: u64,
    }
    /// A message became the retained one of its topic.
    706 RetainedStored Traffic Peer {
        /// Topic name.
        topic: Text,
        /// Payload size.
        payload_bytes: u64,
    }
    /// A topic has no retained message any more.
    707 RetainedCleared Traffic Peer {
        /// Topic name.
        topic: Text,
        /// Who wanted it: `client`, whose PUBLISH was empty; a plugin instance that revoked its publisher; `grants`: those that the
        /// publisher has now do not allow it any more.
        by: Text,
    }
    /// Somebody has identities revoked, with what they have retained.
    708 RetainedRevoked Security Policy {
        /// Who: a plugin instance.
        by: Text,
        /// Tenant.
        in_tenant: Text,
        /// Messages that go to no new subscriber until their publishers are admitted again.
        withheld: u64,
        /// Messages that are no more.
        removed: u64,
    }
    /// A client whose retained messages were withheld is admitted again.
    709 RetainedReadmitted Lifecycle Policy {
        /// Messages that go to new subscribers again.
        delivered: u64,
        /// Messages that its grants leave to its provider: they stay withheld until their topic gets another one.
        withheld: u64,
        /// Messages that its grants do not allow any more: they are no more.
        removed: u64,
    }

    /// A limit was reached. Told once: again only when it had not been reached for ten seconds.
    801 LimitExceeded Security Limit {
        /// The limit's name: its key below `limits.`.
        which: Text,
        /// Its value.
        max: u64,
        /// What there was, as far as it was counted.
        actual: u64,
        /// What was done.
        action: Text,
    }
    /// Of one kind there were more events than are told one by one in a second: so many more, from one address, listener and
    /// cause, and, where they were admitted, of one client. What they do not have in common is left out of the envelope.
    /// Whoever wants events of that kind gets these, too.
    802 EventsCoalesced Security Limit {
        /// Their kind.
        kind: Text,
        /// How many, besides those that were told. Each counts as an event of its kind.
        count: u64,
        /// Where they came from, with its prefix: an IPv4 address, or the /64 of an IPv6 address.
        address: Text,
        /// What their `code` was; 0 where they have none.
        code: u64,
        /// What their `reason` was (`ConnectionRefused`), or their `which` (`LimitExceeded`); else empty.
        cause: Text,
        /// Whose doing they were.
        blame: Text,
    }

    /// A plugin was loaded and started.
    901 PluginLoaded System Broker {
        /// Instance name.
        plugin: Text,
        /// Library file.
        file: Text,
        /// `auth`, `events`, or both.
        roles: Text,
        /// The plugin's own version.
        version: Text,
    }
    /// A plugin library was refused.
    902 PluginRefused System Plugin {
        /// Instance name.
        plugin: Text,
        /// Library file.
        file: Text,
        /// What was wanted and what was found.
        why: Text,
    }
    /// A plugin was replaced while running: its calls go to another instance of it from now on.
    903 PluginReplaced System Broker {
        /// Instance name.
        plugin: Text,
        /// Library file.
        file: Text,
        /// The plugin's own version.
        version: Text,
        /// How many instances of this name there were, this one included.
        generation: u64,
        /// SHA-256 of the library, in hexadecimal.
        sha256: Text,
    }
    /// A call into a plugin failed.
    904 PluginCallFailed System Plugin {
        /// Instance name.
        plugin: Text,
        /// Method.
        method: Text,
        /// What went wrong.
        error: Text,
    }
    /// A call into a plugin was not answered in time.
    905 PluginCallTimedOut System Plugin {
        /// Instance name.
        plugin: Text,
        /// Method.
        method: Text,
        /// How long it was waited, in milliseconds.
        timeout_ms: u64,
    }
    /// A plugin panicked; the panic was contained.
    906 PluginPanicked System Plugin {
        /// Instance name.
        plugin: Text,
        /// Method.
        method: Text,
        /// The panic's message.
        message: Text,
    }
    /// A plugin is fenced: it is not called until a thread of its own comes back.
    907 PluginFenced System Plugin {
        /// Instance name.
        plugin: Text,
        /// Why.
        why: Text,
    }
    /// A plugin's calls kept failing: it is not called for a while, and what it would be asked is refused.
    908 BreakerOpened System Plugin {
        /// Instance name.
        plugin: Text,
        /// Which calls: `strangers` (for clients that are not admitted yet) or `sessions` (for those that are).
        calls: Text,
        /// How many failed.
        failed: u64,
        /// Of how many.
        of: u64,
        /// For how long, in milliseconds; then one call is tried.
        open_ms: u64,
    }
    /// A plugin's calls are made again.
    910 BreakerClosed System Plugin {
        /// Instance name.
        plugin: Text,
        /// Which calls, as in `BreakerOpened`.
        calls: Text,
    }
    /// A plugin took a new configuration while running.
    911 PluginReconfigured System Broker {
        /// Instance name.
        plugin: Text,
    }
    /// A plugin says that it does not work, or does not say how it is. As an auth provider it admits nobody meanwhile.
    912 PluginFailed System Plugin {
        /// Instance name.
        plugin: Text,
        /// Why.
        why: Text,
    }
    /// A plugin that had failed works again.
    913 PluginRecovered System Plugin {
        /// Instance name.
        plugin: Text,
    }
    /// A plugin is gone from the configuration: it is not called any more, and clients that it admitted are disconnected.
    914 PluginRemoved System Broker {
        /// Instance name.
        plugin: Text,
    }
    /// A collector's ring was full and its oldest events were dropped. Delivered in band, to that collector only.
    909 EventsLost System Plugin {
        /// `peers`, `node` or `rest`.
        ring: Text,
        /// Sequence of the first lost event.
        from: u64,
        /// Sequence of the last lost event.
        to: u64,
        /// How many of this ring were lost between them.
        count: u64,
    }

    /// Somebody is kept out from now on, or let in more slowly.
    1001 DenialAdded System Policy {
        /// Whom, such as `address 192.0.2.1/32`.
        subject: Text,
        /// `refuse`; or `slow`, where it was to be refused and others connect from the address: its connections a second are
        /// limited instead.
        action: Text,
        /// Until when, in milliseconds since 1970; 0 is until it is lifted.
        until_ms: u64,
        /// Why, in the words of whoever raised it.
        reason: Text,
        /// Who raised it: `operator`, or `plugin NAME`.
        raised_by: Text,
    }
    /// A denial was lifted.
    1002 DenialLifted System Policy {
        /// Whose.
        subject: Text,
        /// Who had raised it.
        raised_by: Text,
        /// Who lifted it.
        by: Text,
    }
    /// The time of a denial is over.
    1003 DenialExpired System Policy {
        /// Whose.
        subject: Text,
        /// Who had raised it.
        raised_by: Text,
    }
    /// A denial kept somebody out, or ended a connection.
    1004 DenialEnforced Security Policy {
        /// What of the peer is denied.
        subject: Text,
        /// Where: `accept`, `proxy`, `tls`, `authenticate`, `session` (it was connected), `will` (which was not published).
        stage: Text,
        /// Why it was denied.
        reason: Text,
        /// Who raised the denial.
        raised_by: Text,
    }

    /// Another node is a member of the cluster and answers.
    1101 NodeJoined System Broker {
        /// Its name.
        member: Text,
        /// Its version.
        version: Text,
        /// Where it is called.
        address: Text,
    }
    /// Another node has left the cluster, as it said.
    1102 NodeLeft System Broker {
        /// Its name.
        member: Text,
    }
    /// Another node does not answer any more.
    1103 NodeFailed System Broker {
        /// Its name.
        member: Text,
        /// `suspected`: it is not waited for; `dead`: it is a member no more.
        state: Text,
    }
    /// A node was refused.
    1104 NodeRefused System Peer {
        /// `by_us` or `by_them`.
        side: Text,
        /// The other side's address.
        address: Text,
        /// Who it is by its certificate, if it got that far.
        id: Text,
        /// A word for why, such as `environment_differs`.
        code: Text,
        /// Why.
        why: Text,
        /// How many of the same address and reason were not told since the last one.
        untold: u64,
    }
    /// All that another node's clients subscribed is known here.
    1105 RoutesSynced System Broker {
        /// The node.
        member: Text,
        /// How many filters.
        filters: u64,
    }
    /// Messages that were kept for another node are lost: it was away for too long.
    1106 HintsExpired System Broker {
        /// The node.
        member: Text,
        /// How many.
        count: u64,
    }
    /// Another node sent what makes no sense, or its clock is wrong; it was not taken.
    1107 NodeMisbehaved System Peer {
        /// The node.
        member: Text,
        /// What.
        what: Text,
    }

    /// The node serves clients.
    1201 NodeStarted System Broker {
        /// Version of the broker.
        version: Text,
        /// Listeners, as `name=kind address`.
        listeners: Text,
    }
    /// The configuration was read again, and what may change while running was changed.
    1203 ConfigReloaded System Broker {
        /// What changed but takes effect at the next start only; empty: nothing.
        restart: Text,
    }
    /// The configuration was read again and is wrong: nothing was changed.
    1204 ConfigRefused System Broker {
        /// What is wrong, with file and line.
        why: Text,
    }
    /// Certificates, keys or authorities of TLS were read again, and new connections use them.
    1205 CertificateReloaded System Broker {
        /// The listener; `cluster` for the node's own among other nodes.
        of_listener: Text,
        /// What of it changed: `server`, `clients` (authorities and revocation lists), or `server and clients`.
        what: Text,
    }
    /// A certificate that the node uses ends within 30 days, or has ended. Told once a day.
    1206 CertificateExpiring System Broker {
        /// The file.
        file: Text,
        /// Its subject.
        subject: Text,
        /// When it ends, in milliseconds since 1970.
        not_after_ms: u64,
        /// Whole days until then; 0: less than one, or it has ended.
        days: u64,
    }
    /// Revocation lists were read again, and new connections are checked against them.
    1207 RevocationListReloaded System Broker {
        /// The listener.
        of_listener: Text,
        /// How many lists there are.
        lists: u64,
        /// How many certificates they name.
        revoked: u64,
    }
    /// A revocation list soon is out of date, or is: then whoever is signed by its authority is refused. Told once a day.
    1208 RevocationListExpiring System Broker {
        /// The file.
        file: Text,
        /// Whose list it is.
        issuer: Text,
        /// When it is out of date, in milliseconds since 1970.
        next_update_ms: u64,
    }
    /// The node has more to do than it can: new connections are closed at once until that is over, those that are there go on.
    1209 OverloadEntered System Broker {
        /// `lag`: a worker comes late to its work; `memory`: the process has as much as it may.
        cause: Text,
        /// Milliseconds of lag, or bytes of memory.
        actual: u64,
        /// From where on that is too much.
        max: u64,
    }
    /// The overload is over: new connections are taken again.
    1210 OverloadLeft System Broker {
        /// How long it took, in milliseconds.
        lasted_ms: u64,
        /// Connections that were refused meanwhile.
        refused: u64,
    }
    /// The store failed: nothing that had to be kept is acknowledged any more, and the node ends.
    1212 StoreFailed System Broker {
        /// What happened, and to which file.
        error: Text,
    }
    /// An operator had something done.
    1211 AdminActed System Broker {
        /// Who: user and process at the other end of the admin socket, or over HTTP the name of a token or the subject of a
        /// certificate.
        by: Text,
        /// What.
        action: Text,
    }
    /// Somebody asked the API over HTTP for something without being known.
    1213 AdminRefused Security Peer {
        /// What was missing or wrong.
        why: Text,
    }
    /// The node stops.
    1202 NodeStopping System Broker {
        /// Why.
        reason: Text,
    }
}

#[cfg(test)]
mod tests;
