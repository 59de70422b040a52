"""paho-mqtt: what only MQTT 5 has."""

import time

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from common import PATIENCE_S, PROPERTIES, V5, check, equal, scenario
from paho_peer import Peer, peer, properties

STAYS = {"clean": False, "connect": {"SessionExpiryInterval": 1000}}
# As paho names them.
NAMES = {
    "payload format indicator": "PayloadFormatIndicator",
    "message expiry interval": "MessageExpiryInterval",
    "content type": "ContentType",
    "response topic": "ResponseTopic",
    "correlation data": "CorrelationData",
    "user properties": "UserProperty",
}
VALUES = {**PROPERTIES, "correlation data": bytes(range(256))}


@scenario("session expiry", V5)
def session_expiry(cell):
    """It is over after its second. The twins are the sessions that are kept."""
    brief = {"clean": False, "connect": {"SessionExpiryInterval": 1}}
    peer(cell, "brief", **brief).leave()
    time.sleep(2.2)
    with peer(cell, "brief", **brief) as one:
        equal(one.flags.session_present, False, "Session Present afterwards")


@scenario("session expiry at DISCONNECT", V5)
def session_expiry_at_disconnect(cell):
    """Shortened to 0, and made longer than a second. The will says that the broker has had the DISCONNECT."""
    topic = f"{cell.topic}/expiry"
    with peer(cell, "watch") as watch:
        watch.subscribe(topic)
        for at_connect, at_disconnect, present in ((1000, 0, False), (1, 1000, True)):
            connect = {"SessionExpiryInterval": at_connect}
            one = peer(cell, "change", clean=False, connect=connect, will=(topic, "gone", 1, False))
            one.leave(with_will(), properties("DISCONNECT", SessionExpiryInterval=at_disconnect))
            watch.message()
            if present:
                time.sleep(2.2)
            with peer(cell, "change", clean=False) as one:
                equal(one.flags.session_present, present, f"Session Present with {at_disconnect} at DISCONNECT")


def with_will():
    return ReasonCode(PacketTypes.DISCONNECT, identifier=4)


@scenario("message expiry", V5)
def message_expiry(cell):
    topic = f"{cell.topic}/ages"
    with peer(cell, "ages", **STAYS) as one:
        one.subscribe(topic)
    with peer(cell, "pub") as publisher:
        publisher.publish(topic, "goes", MessageExpiryInterval=1)
        publisher.publish(topic, "stays", MessageExpiryInterval=60)
        time.sleep(2.2)
        publisher.publish(topic, "end")
    with peer(cell, "ages", clean=False) as one:
        stays, end = one.message(), one.message()
        equal((stays.payload, end.payload), (b"stays", b"end"), "what waited")
        check(30 < stays.properties.MessageExpiryInterval <= 58, f"{stays.properties.MessageExpiryInterval} s remain of 60")
        check(not hasattr(end.properties, "MessageExpiryInterval"), "an expiry that nobody asked for")


def passes_on(name):
    def run(cell):
        topic = f"{cell.topic}/{NAMES[name]}"
        with peer(cell, "both", connect={"UserProperty": ("of", "CONNECT")}) as client:
            client.subscribe(topic, UserProperty=("of", "SUBSCRIBE"))
            client.publish(topic, "with", **{NAMES[name]: VALUES[name]})
            client.publish(topic, "without")
            given = client.message().properties
            equal(getattr(given, NAMES[name]), VALUES[name], name)
            equal(hasattr(client.message().properties, NAMES[name]), False, f"whether there is a {name} without one")

    return run


for n in ("payload format indicator", "content type", "user properties"):
    scenario(n, V5)(passes_on(n))


@scenario("request and response", V5)
def request_and_response(cell):
    topic, answers = f"{cell.topic}/request", f"{cell.topic}/answers"
    with peer(cell, "serves") as server, peer(cell, "asks") as asks:
        server.subscribe(topic)
        asks.subscribe(answers)
        asks.publish(topic, "question", ResponseTopic=answers, CorrelationData=VALUES["correlation data"])
        question = server.message().properties
        server.publish(question.ResponseTopic, "answer", CorrelationData=question.CorrelationData)
        answer = asks.message()
        equal((answer.payload, answer.properties.CorrelationData), (b"answer", VALUES["correlation data"]), "the answer")


@scenario("response information", V5)
def response_information(cell):
    with peer(cell, "asks", connect={"RequestResponseInformation": 1}) as client:
        equal(client.connack.ResponseInformation, "answers/", "Response Information")
    with peer(cell, "asks") as client:
        equal(hasattr(client.connack, "ResponseInformation"), False, "whether it is told to who does not ask")


@scenario("subscription identifiers", V5)
def subscription_identifiers(cell):
    topic = f"{cell.topic}/identifier"
    with peer(cell, "both") as client:
        client.subscribe(f"{topic}/#", SubscriptionIdentifier=1)
        client.subscribe(f"{topic}/+", SubscriptionIdentifier=268_435_455)
        client.publish(f"{topic}/x", "x")
        got = [client.message().properties.SubscriptionIdentifier for _ in range(2)]
        equal(sorted(got), [[1], [268_435_455]], "Subscription Identifiers")


@scenario("no local", V5)
def no_local(cell):
    topic = f"{cell.topic}/no-local"
    with peer(cell, "one") as one, peer(cell, "two") as two:
        equal(one.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True)), [1], "granted QoS")
        one.publish(topic, "own")
        two.publish(topic, "other")
        equal(one.message().payload, b"other", "the first message")


@scenario("retain handling", V5)
def retain_handling(cell):
    """0: at each SUBSCRIBE; 1: at the first; 2: never."""
    topic = f"{cell.topic}/handling"
    with peer(cell, "both") as client:
        client.publish(topic, "retained", retain=True)
        for handling, wanted in ((0, 2), (1, 1), (2, 0)):
            options = SubscribeOptions(qos=1, retainHandling=handling)
            for _ in range(2):
                client.subscribe(topic, options=options)
            client.publish(topic, "live")
            got = list(iter(lambda: client.message().payload.decode(), "live"))
            equal(got, ["retained"] * wanted, f"what {handling} gives")
            client.client.unsubscribe(topic)
            client.unsubscribed.get(timeout=PATIENCE_S)
        client.publish(topic, None, retain=True)


@scenario("retain as published", V5)
def retain_as_published(cell):
    topic = f"{cell.topic}/published"
    with peer(cell, "both") as client:
        for as_published in (True, False):
            client.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=as_published, retainHandling=2))
            client.publish(topic, "x", retain=True)
            equal(client.message().retain, as_published, "RETAIN")
        client.publish(topic, None, retain=True)


@scenario("topic alias to the broker", V5)
def topic_alias_to_the_broker(cell):
    topic = f"{cell.topic}/alias"
    with peer(cell, "both") as client:
        check(client.connack.TopicAliasMaximum >= 2, "aliases are allowed")
        client.subscribe(f"{topic}/#")
        for name, alias in (("a", 1), ("b", 2), ("", 1), ("", 2), ("c", 1), ("", 1)):
            sent_to = f"{topic}/{name}" if name else ""
            equal(client.publish(sent_to, "x", TopicAlias=alias), 0, "reason code")
        got = [client.message().topic.removeprefix(f"{topic}/") for _ in range(6)]
        equal(got, ["a", "b", "a", "b", "c", "c"], "topics")


@scenario("topic alias to the client", V5)
def topic_alias_to_the_client(cell):
    """paho hands out what is on the wire: an alias, and the topic the first time only."""
    topic = f"{cell.topic}/alias/of/the/broker"
    with peer(cell, "alias", connect={"TopicAliasMaximum": 2}) as client:
        client.subscribe(topic)
        for payload in ("first", "second"):
            client.publish(topic, payload)
        got = [client.message() for _ in range(2)]
        equal([(m.topic, m.payload) for m in got], [(topic, b"first"), ("", b"second")], "messages")
        equal(got[0].properties.TopicAlias, got[1].properties.TopicAlias, "Topic Alias")


@scenario("receive maximum", V5)
def receive_maximum(cell):
    """A client that takes one unacknowledged message at a time is sent one at a time."""
    topic = f"{cell.topic}/receive-maximum"
    slow = peer(cell, "slow", connect={"ReceiveMaximum": 1}, manual_ack=True)
    with slow, peer(cell, "pub") as publisher:
        slow.subscribe(topic)
        for n in range(5):
            publisher.publish(topic, f"{n}")
        for n in range(5):
            got = slow.message()
            equal(got.payload, b"%d" % n, "message")
            # A round trip: what was sent meanwhile is here.
            slow.subscribe(f"{topic}/fence")
            check(slow.messages.empty(), "whether the next message waits for the acknowledgement")
            slow.client.ack(got.mid, got.qos)


@scenario("maximum packet size", V5)
def maximum_packet_size(cell):
    topic = f"{cell.topic}/size"
    with peer(cell, "small", connect={"MaximumPacketSize": 200}) as client, peer(cell, "pub") as publisher:
        client.subscribe(topic)
        publisher.publish(topic, "x" * 200)
        publisher.publish(topic, "fits")
        equal(client.message().payload, b"fits", "what arrived")


def with_words(words):
    """Enhanced authentication with the words that the broker's test plugin takes."""
    return {"connect": {"AuthenticationMethod": "TEST", "AuthenticationData": words.encode()}}


@scenario("server keep alive", V5)
def server_keep_alive(cell):
    with peer(cell, "keep", keep_alive=60, **with_words("accept keep_alive=30")) as client:
        equal(client.connack.ServerKeepAlive, 30, "Server Keep Alive")
    with peer(cell, "keep", keep_alive=20, **with_words("accept keep_alive=30")) as client:
        equal(hasattr(client.connack, "ServerKeepAlive"), False, "whether one is told that keeps to it")


@scenario("assigned client identifier", V5)
def assigned_client_identifier(cell):
    with Peer(cell, "").admitted() as one, Peer(cell, "").admitted() as two:
        names = [client.connack.AssignedClientIdentifier for client in (one, two)]
        check(all(names) and names[0] != names[1], f"whether {names} are two names")


@scenario("announced limits", V5)
def announced_limits(cell):
    with peer(cell, "limits", **with_words("accept qos_max=1 retain=0")) as client:
        equal((client.connack.MaximumQoS, client.connack.RetainAvailable), (1, 0), "Maximum QoS, Retain Available")
    with peer(cell, "limits") as client:
        check(client.connack.ReceiveMaximum > 0, "Receive Maximum")
        check(client.connack.MaximumPacketSize > 0, "Maximum Packet Size")


@scenario("reason codes", V5)
def reason_codes(cell):
    topic = f"{cell.topic}/codes"
    with peer(cell, "codes") as client:
        equal(client.subscribe([(topic, 1), ("secret/x", 0)]), [1, 0x87], "SUBACK")
        equal((client.publish(topic, "x"), client.publish("secret/x", "x")), (0, 0x87), "PUBACK")
        for code in (0, 0x11):
            client.client.unsubscribe(topic)
            equal(client.unsubscribed.get(timeout=PATIENCE_S), [code], "UNSUBACK")
    refused = Peer(cell, f"fault-reject-aloud-{cell.name}").answered()
    equal(refused.code.value, 0x8A, "CONNACK")
    refused.client.loop_stop()


def refused(cell, **connect):
    client = Peer(cell, f"fault-reject-aloud-{cell.name}", connect=connect).answered()
    client.client.loop_stop()
    return getattr(client.connack, "ReasonString", None)


@scenario("reason string", V5)
def reason_string(cell):
    equal(refused(cell), "for the client", "Reason String of CONNACK")


@scenario("request problem information", V5)
def request_problem_information(cell):
    equal(refused(cell, RequestProblemInformation=0), None, "Reason String for one that wants none")
    equal(refused(cell, RequestProblemInformation=1), "for the client", "Reason String for one that wants it")


@scenario("redirection", V5)
def redirection(cell):
    client = Peer(cell, f"fault-redirect-{cell.name}").answered()
    equal((client.code.value, client.connack.ServerReference), (0x9C, "other.example:1883"), "CONNACK")
    client.client.loop_stop()


def delayed(seconds):
    return properties("WILLMESSAGE", WillDelayInterval=seconds)


@scenario("will delay", V5)
def will_delay(cell):
    """It comes when it is due; or when its session ends, here by a clean start."""
    topic = f"{cell.topic}/delay"
    with peer(cell, "watch") as watch:
        watch.subscribe(topic)
        peer(cell, "late", will=(topic, "late", 1, False, delayed(1)), **STAYS).break_off()
        began = time.monotonic()
        equal(watch.message().payload, b"late", "the will")
        check(time.monotonic() - began > 0.8, "whether it waits")
        peer(cell, "late", will=(topic, "ended", 1, False, delayed(1000)), **STAYS).break_off()
        with peer(cell, "late"):
            equal(watch.message().payload, b"ended", "the will of the session that ended")


@scenario("will delay cancelled", V5)
def will_delay_cancelled(cell):
    """Who is back before it is due takes it back. The twin is the scenario before."""
    topic = f"{cell.topic}/cancel"
    with peer(cell, "watch") as watch:
        watch.subscribe(topic)
        peer(cell, "back", will=(topic, "cancelled", 1, False, delayed(4)), **STAYS).break_off()
        with peer(cell, "back", clean=False):
            time.sleep(5.5)
            watch.publish(topic, "end")
            equal(watch.message().payload, b"end", "what came")


@scenario("will properties", V5)
def will_properties(cell):
    topic = f"{cell.topic}/will-properties"
    with peer(cell, "watch") as watch:
        watch.subscribe(topic)
        given = properties("WILLMESSAGE", **{NAMES[name]: value for name, value in VALUES.items()})
        peer(cell, "rich", will=(topic, "x", 1, False, given)).break_off()
        got = watch.message().properties
        for name, value in VALUES.items():
            if name == "message expiry interval":
                check(50 < getattr(got, NAMES[name]) <= value, name)
            else:
                equal(getattr(got, NAMES[name]), value, name)


@scenario("will asked for at DISCONNECT", V5)
def will_at_disconnect(cell):
    topic = f"{cell.topic}/asks"
    with peer(cell, "watch") as watch:
        watch.subscribe(topic)
        peer(cell, "asks", will=(topic, "asked", 1, False)).leave(with_will())
        equal(watch.message().payload, b"asked", "the will")


@scenario("DISCONNECT by the broker", V5)
def disconnect_by_the_broker(cell):
    """paho drops the reason code of a DISCONNECT without properties, but not the packet."""
    with peer(cell, "twice") as first, peer(cell, "twice"):
        first.ends.get(timeout=PATIENCE_S)
        first.wait_for_log("Received DISCONNECT")


@scenario("enhanced authentication", V5)
def enhanced_authentication(cell):
    """In one step, with the data in CONNECT."""
    with peer(cell, "proves", **with_words("accept")) as client:
        got = (client.connack.AuthenticationMethod, client.connack.AuthenticationData)
        equal(got, ("TEST", b"after 0"), "Authentication Method and Data of CONNACK")
    client = Peer(cell, f"{cell.name}-proves", **with_words("reject")).answered()
    equal(client.code.value, 0x86, "CONNACK")
    client.client.loop_stop()
