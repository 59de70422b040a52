"""paho-mqtt (Eclipse Paho for Python)."""

import queue
import socket

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from common import BROKER, LARGE, PATIENCE_S, Cell, equal, finish, until

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}
TRANSPORTS = ["mqtt", "mqtts", "mqtts-cert", "ws", "wss", "wss-cert"]
NOT_AUTHORIZED = 0x87


class Peer:
    """A client with its network thread; what happens to it ends up in queues."""

    def __init__(self, cell, name, properties=None, certificate=True, manual_ack=False, clean=True, will=None):
        self.cell, self.v5 = cell, cell.version == "5"
        self.connects, self.ends, self.messages = queue.Queue(), queue.Queue(), queue.Queue()
        self.published, self.subscribed, self.unsubscribed = queue.Queue(), queue.Queue(), queue.Queue()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=name,
            clean_session=None if self.v5 else clean,
            protocol=VERSIONS[cell.version],
            transport="websockets" if cell.websocket else "tcp",
            manual_ack=manual_ack,
            reconnect_on_failure=False,
        )
        if cell.websocket:
            self.client.ws_set_options(path=BROKER["path"])
        if cell.tls:
            shown = (BROKER["certificate"], BROKER["key"]) if cell.certificate and certificate else (None, None)
            self.client.tls_set(BROKER["ca"], *shown)
        self.client.on_connect = lambda _c, _u, flags, code, props: self.connects.put((code, flags, props))
        self.client.on_disconnect = lambda _c, _u, _f, code, _p: self.ends.put(code)
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        self.client.on_publish = lambda _c, _u, _mid, code, _p: self.published.put(code.value)
        self.client.on_subscribe = lambda _c, _u, _mid, codes, _p: self.subscribed.put([c.value for c in codes])
        self.client.on_unsubscribe = lambda _c, _u, _mid, codes, _p: self.unsubscribed.put([c.value for c in codes])
        if will:
            self.client.will_set(*will)
        start = {"clean_start": clean, "properties": properties} if self.v5 else {}
        self.client.connect(BROKER["host"], cell.port, keepalive=30, **start)
        self.client.loop_start()

    def admitted(self):
        self.code, self.flags, self.connack = self.connects.get(timeout=PATIENCE_S)
        equal(self.code.value, 0, "reason code of CONNACK")
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def break_off(self):
        """The network thread finds the connection broken."""
        self.client.loop_stop()
        stream = self.client.socket()
        # paho's WebSocket and Python's TLS are both wrappers that would say goodbye in their own way.
        shutdown = getattr(stream, "_socket", stream)
        socket.socket.shutdown(shutdown, socket.SHUT_RDWR)

    def subscribe(self, topic_filter, qos=1):
        self.client.subscribe(topic_filter, qos)
        return self.subscribed.get(timeout=PATIENCE_S)

    def publish(self, topic, payload, qos=1, properties=None, retain=False):
        """The reason code of the last acknowledgement."""
        self.client.publish(topic, payload, qos, retain, properties)
        return self.published.get(timeout=PATIENCE_S)

    def message(self):
        return self.messages.get(timeout=PATIENCE_S)


def peer(cell, what, **more):
    return Peer(cell, f"{cell.name}-{what}", **more).admitted()


def connect(cell):
    """In with the name under which the broker recorded what it was shown; out with a clean DISCONNECT."""
    client = Peer(cell, cell.name).admitted()
    client.client.disconnect()
    equal(client.ends.get(timeout=PATIENCE_S).value, 0, "reason of the end")
    client.client.loop_stop()


def round_trip(cell, qos):
    topic = f"{cell.topic}/qos{qos}"
    with peer(cell, "sub") as subscriber, peer(cell, "pub") as publisher:
        equal(subscriber.subscribe(topic, qos), [qos], "granted QoS")
        for n in range(20):
            equal(publisher.publish(topic, f"{n}", qos), 0, "reason code")
        for n in range(20):
            got = subscriber.message()
            equal((got.topic, got.payload, got.qos, got.retain), (topic, b"%d" % n, qos, False), "message")


def wildcards(cell):
    with peer(cell, "sub") as subscriber, peer(cell, "pub") as publisher:
        equal(subscriber.subscribe(f"{cell.topic}/+/b"), [1], "granted QoS")
        equal(subscriber.subscribe(f"{cell.topic}/x/#"), [1], "granted QoS")
        for level in ["a/b", "a/c", "/b", "x", "x/y/z", "end/b"]:
            publisher.publish(f"{cell.topic}/{level}", level)
        got = [subscriber.message().payload.decode() for _ in range(5)]
        equal(got, ["a/b", "/b", "x", "x/y/z", "end/b"], "what matched")


def large(cell):
    topic = f"{cell.topic}/large"
    with peer(cell, "both") as client:
        client.subscribe(topic, 2)
        equal(client.publish(topic, LARGE, 2), 0, "reason code")
        equal(client.message().payload.decode() == LARGE, True, "whether the payload is the same")


def unsubscribe(cell):
    topic = f"{cell.topic}/unsubscribe"
    with peer(cell, "both") as client:
        client.subscribe([(topic, 1), (f"{topic}/end", 0)], 1)
        client.client.unsubscribe(topic)
        codes = client.unsubscribed.get(timeout=PATIENCE_S)
        if client.v5:
            equal(codes, [0], "reason code of UNSUBACK")
            client.client.unsubscribe(topic)
            equal(client.unsubscribed.get(timeout=PATIENCE_S), [0x11], "No subscription existed")
        client.publish(topic, "gone")
        client.publish(f"{topic}/end", "end")
        equal(client.message().payload, b"end", "the next message")


def denied(cell):
    with peer(cell, "deny") as client:
        # MQTT 3.1 has no words for a refusal: the SUBACK grants, and nothing comes.
        refused = {"3.1": 1, "3.1.1": 0x80, "5": NOT_AUTHORIZED}[cell.version]
        equal(client.subscribe([("secret/x", 1), (f"{cell.topic}/x", 1)]), [refused, 1], "codes of SUBACK")
        equal(client.publish(f"{cell.topic}/x", "allowed"), 0, "reason code of the allowed twin")
        if client.v5:
            equal(client.publish("secret/x", "x", 1), NOT_AUTHORIZED, "reason code of PUBACK")
            # paho answers the PUBREC that refuses with a PUBREL all the same; what it tells is the PUBCOMP for that.
            equal(client.publish("secret/x", "x", 2), 0x92, "reason code of PUBCOMP")
            equal(client.publish(f"{cell.topic}/x", "still here"), 0, "reason code afterwards")
        else:
            # MQTT 3 has no words for it but the end of the connection (MQTT-3.3.5-2).
            client.client.publish("secret/x", "x", 1)
            equal(client.ends.get(timeout=PATIENCE_S).value != 0, True, "whether the broker ended it")
            equal(client.published.empty(), True, "whether there is no PUBACK")


def retained(cell):
    topic = f"{cell.topic}/retained"
    with peer(cell, "pub") as publisher:
        for qos, payload in ((1, "first"), (2, "second")):
            equal(publisher.publish(topic, payload, qos, retain=True), 0, "reason code")
        with peer(cell, "sub") as subscriber:
            subscriber.subscribe(topic)
            got = subscriber.message()
            equal((got.payload, got.qos, got.retain), (b"second", 1, True), "what was retained")
        publisher.publish(topic, "", retain=True)
        with peer(cell, "sub") as subscriber:
            subscriber.subscribe(topic)
            publisher.publish(topic, "live")
            got = subscriber.message()
            equal((got.payload, got.retain), (b"live", False), "the first message after it was cleared")


def will(cell):
    """Of a client that says goodbye, of one whose connection breaks, and of one that asks for it."""
    topic = f"{cell.topic}/will"
    with peer(cell, "watch") as watch:
        watch.subscribe(topic, 2)
        for name, qos in (("polite", 0), ("broken", 1), ("asks", 2)):
            one = peer(cell, name[:4], will=(topic, name, qos, False))
            if name == "broken":
                one.break_off()
                continue
            reason = ReasonCode(PacketTypes.DISCONNECT, identifier=4) if one.v5 and name == "asks" else None
            one.client.disconnect(reason)
            one.client.loop_stop()
        wanted = [(b"broken", 1)] + ([(b"asks", 2)] if cell.version == "5" else [])
        got = [watch.message() for _ in wanted]
        equal(sorted((m.payload, m.qos) for m in got), sorted(wanted), "the wills")


def delayed_will(cell):
    """It comes when its session ends, here by a clean start; and not when the client is back before it is due."""
    topic = f"{cell.topic}/delayed"
    stays, delay = Properties(PacketTypes.CONNECT), Properties(PacketTypes.WILLMESSAGE)
    stays.SessionExpiryInterval = delay.WillDelayInterval = 1000
    with peer(cell, "watch") as watch:
        watch.subscribe(topic)
        for name in ("back", "gone"):
            peer(cell, "late", properties=stays, clean=name == "back", will=(topic, name, 1, False, delay)).break_off()
        with peer(cell, "late"):
            equal(watch.message().payload, b"gone", "the first will")


def resume(cell):
    topic = f"{cell.topic}/resume"
    stays = None
    if cell.version == "5":
        stays = Properties(PacketTypes.CONNECT)
        stays.SessionExpiryInterval = 1000
    # paho hands a message out when its QoS is done with, so that only equal ones keep their order.
    with peer(cell, "pub") as publisher:
        for name, qos in (("polite", 1), ("broken", 2)):
            one = peer(cell, f"back{qos}", properties=stays, clean=False)
            equal(one.flags.session_present, False, "Session Present at first")
            equal(one.subscribe(topic, 2), [2], "granted QoS")
            if name == "broken":
                one.break_off()
            else:
                one.client.disconnect()
                one.client.loop_stop()
            for n in range(10):
                publisher.publish(topic, f"{n}", qos)
            with peer(cell, f"back{qos}", properties=stays, clean=False) as one:
                if cell.version != "3.1":
                    equal(one.flags.session_present, True, "Session Present")
                got = [one.message() for _ in range(10)]
                equal([(m.payload, m.qos) for m in got], [(b"%d" % n, qos) for n in range(10)], "what had waited")
            with peer(cell, f"back{qos}") as one:
                equal(one.flags.session_present, False, "Session Present after a clean start")


def without_certificate(cell):
    """The listener demands a certificate: without one the handshake or what follows it fails."""
    try:
        client = Peer(cell, f"{cell.name}-none", certificate=False)
    except OSError:
        return
    try:
        until("an end", lambda: not client.ends.empty() or not client.connects.empty())
        equal(client.connects.empty() or client.connects.get()[0].is_failure, True, "whether it is refused")
    finally:
        client.client.loop_stop()


def properties_pass(cell):
    topic = f"{cell.topic}/properties"
    sent = Properties(PacketTypes.PUBLISH)
    sent.UserProperty = [("b", "2"), ("a", "1"), ("b", "again"), ("ü", "")]
    sent.ResponseTopic, sent.CorrelationData = f"{topic}/answer", bytes(range(256))
    sent.ContentType, sent.PayloadFormatIndicator, sent.MessageExpiryInterval = "text/plain", 1, 60
    with peer(cell, "both") as client:
        client.subscribe(topic)
        equal(client.publish(topic, "with properties", properties=sent), 0, "reason code")
        got = client.message().properties
        equal(got.UserProperty, sent.UserProperty, "User Properties")
        equal(got.ResponseTopic, sent.ResponseTopic, "Response Topic")
        equal(got.CorrelationData, sent.CorrelationData, "Correlation Data")
        equal(got.ContentType, "text/plain", "Content Type")
        equal(got.PayloadFormatIndicator, 1, "Payload Format Indicator")
        equal(0 < got.MessageExpiryInterval <= 60, True, "whether Message Expiry is what remains")


def topic_alias(cell):
    """A client may only use as many aliases as the CONNACK allows; with none it must not be needed."""
    with peer(cell, "both") as client:
        most = getattr(client.connack, "TopicAliasMaximum", 0)
        topic = f"{cell.topic}/alias"
        client.subscribe(topic)
        sent = Properties(PacketTypes.PUBLISH)
        if most:
            sent.TopicAlias = 1
        equal(client.publish(topic, "first", properties=sent), 0, "reason code")
        equal(client.publish("" if most else topic, "second", properties=sent), 0, "reason code")
        equal([client.message().payload for _ in range(2)], [b"first", b"second"], "messages")


def assigned_client_id(cell):
    with Peer(cell, "").admitted() as one, Peer(cell, "").admitted() as two:
        names = [client.connack.AssignedClientIdentifier for client in (one, two)]
        equal(all(names) and names[0] != names[1], True, f"whether {names} are two names")


def no_local(cell):
    topic = f"{cell.topic}/no-local"
    with peer(cell, "one") as one, peer(cell, "two") as two:
        one.client.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True))
        equal(one.subscribed.get(timeout=PATIENCE_S), [1], "granted QoS")
        one.publish(topic, "own")
        two.publish(topic, "other")
        equal(one.message().payload, b"other", "the first message")


def receive_maximum(cell):
    """A client that takes one unacknowledged message at a time is sent one at a time."""
    topic = f"{cell.topic}/receive-maximum"
    wanted = Properties(PacketTypes.CONNECT)
    wanted.ReceiveMaximum = 1
    with peer(cell, "slow", properties=wanted, manual_ack=True) as slow, peer(cell, "pub") as publisher:
        slow.subscribe(topic)
        for n in range(5):
            publisher.publish(topic, f"{n}")
        for n in range(5):
            got = slow.message()
            equal(got.payload, b"%d" % n, "message")
            # A round trip: what was sent meanwhile is here.
            slow.subscribe(f"{topic}/fence")
            equal(slow.messages.empty(), True, "whether the next message waits for the acknowledgement")
            slow.client.ack(got.mid, got.qos)


def takeover(cell):
    """The twin ends the first. paho drops the reason code of a DISCONNECT that has no properties, so it is not asked."""
    with peer(cell, "twin") as first, peer(cell, "twin") as second:
        first.ends.get(timeout=PATIENCE_S)
        equal(second.publish(f"{cell.topic}/x", "the second is here"), 0, "reason code")


for version in VERSIONS:
    for transport in TRANSPORTS:
        cell = Cell("paho", version, transport)
        cell.scenario("clean exit", connect)
        for qos in (0, 1, 2):
            cell.scenario(f"QoS {qos} round trip", round_trip, qos)
        cell.scenario("wildcards", wildcards)
        cell.scenario("large payload", large)
        cell.scenario("unsubscribe", unsubscribe)
        cell.scenario("denied", denied)
        cell.scenario("takeover", takeover)
        cell.scenario("retained", retained)
        cell.scenario("will", will)
        cell.scenario("resume", resume)
        if cell.certificate:
            cell.scenario("without a certificate", without_certificate)
        if version == "5":
            cell.scenario("properties pass", properties_pass)
            cell.scenario("delayed will", delayed_will)
            cell.scenario("topic alias", topic_alias)
            cell.scenario("assigned client id", assigned_client_id)
            cell.scenario("no local", no_local)
            cell.scenario("receive maximum", receive_maximum)
finish()
