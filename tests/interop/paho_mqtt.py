"""paho-mqtt (Eclipse Paho for Python): what all versions have, and the tour."""

import time

import paho_mqtt_5  # noqa: F401 (adds its scenarios)
from common import BROKER, LARGE, PATIENCE_S, check, equal, scenario, tour, until
from paho_peer import Peer, peer

TRANSPORTS = ["mqtt", "mqtts", "mqtts-cert", "ws", "wss", "wss-cert"]
NOT_AUTHORIZED = 0x87
COUNT = 20


@scenario("clean exit")
def clean_exit(cell):
    """In with the name under which the broker recorded what it was shown; out with a clean DISCONNECT."""
    client = Peer(cell, cell.name).admitted()
    client.client.disconnect()
    equal(client.ends.get(timeout=PATIENCE_S)[0].value, 0, "reason of the end")
    client.client.loop_stop()


@scenario("password")
def password(cell):
    with peer(cell, "user", user=(BROKER["user"], BROKER["password"])) as client:
        equal(client.publish(f"{cell.topic}/x", "x"), 0, "reason code")


@scenario("wrong password")
def wrong_password(cell):
    """paho tells the code 4 of MQTT 3 as the one that MQTT 5 has for it."""
    client = Peer(cell, f"{cell.name}-user", user=(BROKER["user"], "wrong")).answered()
    equal(client.code.value, 0x86, "reason code of CONNACK")
    client.client.loop_stop()


@scenario("empty client id", versions=("3.1.1",))
def empty_client_id(cell):
    topic = f"{cell.topic}/nameless"
    with Peer(cell, "").admitted() as one, Peer(cell, "").admitted() as two:
        for client in (one, two):
            client.subscribe(topic)
        one.publish(topic, "x")
        equal([client.message().payload for client in (one, two)], [b"x", b"x"], "what arrived")


def round_trip(qos):
    def run(cell):
        topic = f"{cell.topic}/qos{qos}"
        with peer(cell, "sub") as subscriber, peer(cell, "pub") as publisher:
            equal(subscriber.subscribe([(topic, qos), (f"{topic}/end", qos)]), [qos, qos], "granted QoS")
            for n in range(COUNT):
                equal(publisher.publish(topic, f"{n}", qos), 0, "reason code")
            publisher.publish(f"{topic}/end", "end", qos)
            got = [subscriber.message() for _ in range(COUNT + 1)]
            wanted = [(f"{n}", qos, False, False) for n in range(COUNT)] + [("end", qos, False, False)]
            equal([(m.payload.decode(), m.qos, m.retain, m.dup) for m in got], wanted, "what arrived")

    return run


for q in (0, 1, 2):
    scenario(f"QoS {q}")(round_trip(q))


@scenario("large payload")
def large(cell):
    topic = f"{cell.topic}/large"
    with peer(cell, "both") as client:
        client.subscribe(topic, 2)
        equal(client.publish(topic, LARGE, 2), 0, "reason code")
        check(client.message().payload.decode() == LARGE, "whether the payload is the same")


@scenario("empty payload")
def empty(cell):
    topic = f"{cell.topic}/empty"
    with peer(cell, "both") as client:
        client.subscribe(topic)
        client.publish(topic, None)
        equal(client.message().payload, b"", "the payload")


@scenario("odd topic names")
def odd_topics(cell):
    topics = [f"/{cell.topic}//ü/", f"/{cell.topic}/$not-first", f"/{cell.topic}/ "]
    with peer(cell, "both") as client:
        client.subscribe(f"/{cell.topic}/#")
        for topic in topics:
            client.publish(topic, "x")
        equal([client.message().topic for _ in topics], topics, "topics")


@scenario("wildcards")
def wildcards(cell):
    topic = f"{cell.topic}/wild"
    with peer(cell, "sub") as subscriber, peer(cell, "pub") as publisher:
        equal(subscriber.subscribe(f"{topic}/+/b"), [1], "granted QoS")
        equal(subscriber.subscribe(f"{topic}/x/#"), [1], "granted QoS")
        for level in ["a/b", "a/c", "/b", "x", "x/y/z", "end/b"]:
            publisher.publish(f"{topic}/{level}", level)
        equal(subscriber.payloads(5), ["a/b", "/b", "x", "x/y/z", "end/b"], "what matched")


@scenario("overlapping subscriptions")
def overlapping(cell):
    """A copy for each that matches, with its QoS."""
    topic = f"{cell.topic}/overlap"
    with peer(cell, "both") as client:
        client.subscribe([(f"{topic}/a/#", 0), (f"{topic}/a/+", 1), (f"{topic}/end", 1)])
        client.publish(f"{topic}/a/x", "twice")
        client.publish(f"{topic}/end", "end")
        got = [client.message() for _ in range(3)]
        equal(sorted((m.payload, m.qos) for m in got), [(b"end", 1), (b"twice", 0), (b"twice", 1)], "what arrived")


@scenario("several filters in one SUBSCRIBE")
def several_filters(cell):
    topic = f"{cell.topic}/several"
    with peer(cell, "both") as client:
        equal(client.subscribe([(f"{topic}/{qos}", qos) for qos in (2, 0, 1)]), [2, 0, 1], "granted QoS")
        for qos in (0, 1, 2):
            client.publish(f"{topic}/{qos}", "x", 2)
            equal(client.message().qos, qos, "QoS of what arrived")


@scenario("unsubscribe")
def unsubscribe(cell):
    topic = f"{cell.topic}/unsubscribe"
    with peer(cell, "both") as client:
        client.subscribe([(topic, 1), (f"{topic}/end", 0)])
        client.client.unsubscribe(topic)
        codes = client.unsubscribed.get(timeout=PATIENCE_S)
        if client.v5:
            equal(codes, [0], "reason code of UNSUBACK")
        client.publish(topic, "gone")
        client.publish(f"{topic}/end", "end")
        equal(client.message().payload, b"end", "the next message")


@scenario("denied subscription")
def denied_subscription(cell):
    with peer(cell, "deny") as client:
        # MQTT 3.1 has no words for a refusal: the SUBACK grants, and nothing comes.
        refused = {"3.1": 1, "3.1.1": 0x80, "5": NOT_AUTHORIZED}[cell.version]
        equal(client.subscribe([("secret/x", 1), (f"{cell.topic}/x", 1)]), [refused, 1], "codes of SUBACK")
        client.publish(f"{cell.topic}/x", "granted")
        equal(client.message().payload, b"granted", "what arrived")


@scenario("denied publish")
def denied_publish(cell):
    with peer(cell, "deny") as client:
        equal(client.publish(f"{cell.topic}/x", "allowed"), 0, "reason code of the allowed twin")
        if client.v5:
            equal(client.publish("secret/x", "x", 1), NOT_AUTHORIZED, "reason code of PUBACK")
            # paho answers the PUBREC that refuses with a PUBREL all the same; what it tells is the PUBCOMP for that.
            equal(client.publish("secret/x", "x", 2), 0x92, "reason code of PUBCOMP")
            equal(client.publish(f"{cell.topic}/x", "still here"), 0, "reason code afterwards")
        else:
            # MQTT 3 has no words for it but the end of the connection (MQTT-3.3.5-2).
            client.client.publish("secret/x", "x", 1)
            check(client.ends.get(timeout=PATIENCE_S)[0].value != 0, "whether the broker ended it")
            check(client.published.empty(), "whether there is no PUBACK")


@scenario("retained")
def retained(cell):
    """The last one is given to who subscribes, with RETAIN and the lower QoS."""
    topic = f"{cell.topic}/retained"
    with peer(cell, "pub") as publisher, peer(cell, "sub") as subscriber:
        for qos, payload in ((1, "first"), (2, "second")):
            equal(publisher.publish(topic, payload, qos, retain=True), 0, "reason code")
        subscriber.subscribe(topic)
        got = subscriber.message()
        equal((got.payload, got.qos, got.retain), (b"second", 1, True), "what was retained")
        publisher.publish(topic, "third", retain=True)
        got = subscriber.message()
        equal((got.payload, got.retain), (b"third", False), "what is new")


@scenario("retained message cleared")
def retained_cleared(cell):
    topic = f"{cell.topic}/cleared"
    with peer(cell, "pub") as publisher, peer(cell, "sub") as subscriber:
        for payload in ("first", ""):
            publisher.publish(topic, payload, retain=True)
        subscriber.subscribe(topic)
        publisher.publish(topic, "live")
        got = subscriber.message()
        equal((got.payload, got.retain), (b"live", False), "the first message after it was cleared")


@scenario("will")
def will(cell):
    topic = f"{cell.topic}/will"
    with peer(cell, "watch") as watch:
        watch.subscribe(topic, 2)
        for qos in (0, 1, 2):
            peer(cell, f"will{qos}", will=(topic, f"{qos}", qos, False)).break_off()
        got = [watch.message() for _ in range(3)]
        equal(sorted((m.payload, m.qos, m.retain) for m in got), [(b"%d" % q, q, False) for q in range(3)], "the wills")


@scenario("retained will")
def retained_will(cell):
    topic = f"{cell.topic}/retained-will"
    with peer(cell, "watch") as watch:
        watch.subscribe(topic)
        peer(cell, "rwill", will=(topic, "kept", 1, True)).break_off()
        equal(watch.message().payload, b"kept", "the will")
        with peer(cell, "late") as late:
            late.subscribe(topic)
            got = late.message()
            equal((got.payload, got.retain), (b"kept", True), "what is retained")
        watch.publish(topic, None, retain=True)


@scenario("no will after DISCONNECT")
def no_will(cell):
    topic = f"{cell.topic}/no-will"
    with peer(cell, "watch") as watch:
        watch.subscribe(topic)
        peer(cell, "bye", will=(topic, "polite", 1, False)).leave()
        peer(cell, "cut", will=(topic, "broken", 1, False)).break_off()
        equal(watch.message().payload, b"broken", "the first will")


def stays(cell):
    return {"clean": False, "connect": {"SessionExpiryInterval": 1000}} if cell.v5 else {"clean": False}


def session_kept(qos):
    def run(cell):
        topic, name = f"{cell.topic}/kept{qos}", f"kept{qos}"
        with peer(cell, "pub") as publisher:
            one = peer(cell, name, **stays(cell))
            equal(one.flags.session_present, False, "Session Present at first")
            equal(one.subscribe([(topic, 2), (f"{topic}/end", 2)]), [2, 2], "granted QoS")
            # With QoS 1 it says goodbye, with QoS 2 the connection breaks.
            one.leave() if qos == 1 else one.break_off()
            for n in range(COUNT):
                publisher.publish(topic, f"{n}", qos)
            with peer(cell, name, **stays(cell)) as one:
                # MQTT 3.1 has no bit for it.
                equal(one.flags.session_present, cell.version != "3.1", "Session Present")
                publisher.publish(f"{topic}/end", "end", qos)
                got = [one.message() for _ in range(COUNT + 1)]
                wanted = [(f"{n}", qos) for n in range(COUNT)] + [("end", qos)]
                equal([(m.payload.decode(), m.qos) for m in got], wanted, "what had waited")
            peer(cell, name).leave()

    return run


scenario("session kept, QoS 1 queued")(session_kept(1))
scenario("session kept, QoS 2 queued")(session_kept(2))


@scenario("redelivery with DUP")
def redelivery(cell):
    """What was not acknowledged comes again to the session that is resumed."""
    topic = f"{cell.topic}/again"
    with peer(cell, "pub") as publisher:
        one = peer(cell, "again", manual_ack=True, **stays(cell))
        one.subscribe(topic)
        publisher.publish(topic, "x")
        equal(one.message().dup, False, "DUP at first")
        one.break_off()
        with peer(cell, "again", **stays(cell)) as one:
            publisher.publish(topic, "end")
            got = [one.message() for _ in range(2)]
            equal([(m.payload, m.dup) for m in got], [(b"x", True), (b"end", False)], "what came again")
        peer(cell, "again").leave()


@scenario("clean session")
def clean_session(cell):
    """A clean start ends the session that was kept: its subscriptions and what waited."""
    topic = f"{cell.topic}/clean"
    with peer(cell, "pub") as publisher:
        with peer(cell, "clean", **stays(cell)) as one:
            one.subscribe(topic)
        publisher.publish(topic, "waited")
        with peer(cell, "clean") as one:
            equal(one.flags.session_present, False, "Session Present after a clean start")
            publisher.publish(topic, "not subscribed")
            one.subscribe(f"{topic}/end")
            publisher.publish(f"{topic}/end", "end")
            equal(one.message().payload, b"end", "what came")


@scenario("shared subscription")
def shared(cell):
    """Each message goes to one of the group."""
    topic = f"{cell.topic}/shared"
    with peer(cell, "one") as one, peer(cell, "two") as two, peer(cell, "pub") as publisher:
        for member in (one, two):
            equal(member.subscribe([(f"$share/group/{topic}", 1), (f"{topic}/end", 1)]), [1, 1], "granted QoS")
        sent = [f"{n}" for n in range(2 * COUNT)]
        for payload in sent:
            publisher.publish(topic, payload)
        publisher.publish(f"{topic}/end", "end")
        shares = [list(iter(lambda m=member: m.message().payload.decode(), "end")) for member in (one, two)]
        equal(sorted(shares[0] + shares[1]), sorted(sent), "what the group got")
        check(all(shares), f"one of them got nothing: {shares}")


@scenario("$SYS")
def sys_topics(cell):
    with peer(cell, "sys") as client:
        equal(client.subscribe("$SYS/broker/version", 0), [0], "granted QoS")
        version = client.message().payload.decode()
        check(version.startswith("gatemq "), f"a version in {version}")


@scenario("takeover")
def takeover(cell):
    """The twin ends the first. In MQTT 5, see also "DISCONNECT by the broker"."""
    with peer(cell, "twin") as first, peer(cell, "twin") as second:
        first.ends.get(timeout=PATIENCE_S)
        equal(second.publish(f"{cell.topic}/x", "the second is here"), 0, "reason code")


@scenario("keep alive")
def keep_alive(cell):
    """Without its pings it would be closed after three seconds."""
    topic = f"{cell.topic}/idle"
    with peer(cell, "idle", keep_alive=2) as idle:
        began = time.monotonic()
        idle.wait_for_log("Received PINGRESP", times=2)
        check(time.monotonic() - began > 3, "whether it was idle for so long")
        idle.subscribe(topic)
        idle.publish(topic, "still here")
        equal(idle.message().payload, b"still here", "what arrived")


@scenario("without a certificate", certificate=True)
def without_certificate(cell):
    """The listener demands a certificate: without one the handshake or what follows it fails."""
    try:
        client = Peer(cell, f"{cell.name}-none", certificate=False)
    except OSError:
        return
    try:
        until("an end", lambda: not client.ends.empty() or not client.connects.empty())
        check(client.connects.empty() or client.connects.get()[0].is_failure, "whether it is refused")
    finally:
        client.client.loop_stop()


tour("paho", TRANSPORTS)
