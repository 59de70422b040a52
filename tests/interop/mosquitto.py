"""mosquitto_pub and mosquitto_sub (libmosquitto): what all versions have, and the tour."""

import time

import mosquitto_5  # noqa: F401 (adds its scenarios)
from common import BROKER, LARGE, PATIENCE_S, check, equal, scenario, tour
from mosquitto_clients import Subscriber, leave_session, publish, publish_lines, publish_well

TRANSPORTS = ["mqtt", "mqtts", "mqtts-cert"]
COUNT = 20


def expect(cell, filters, qos, sent, name=None):
    """Each of (topic, payload) is published once and must arrive with its QoS, and both programs end well."""
    with Subscriber(cell, filters, qos, len(sent), name) as subscriber:
        for topic, payload in sent:
            publish_well(cell, topic, payload, qos)
        code, got = subscriber.end()
    # Each message comes from a connection of its own, so their order is not promised.
    equal(sorted(got), sorted((qos, topic, payload) for topic, payload in sent), "what arrived")
    equal(code, 0, "exit code of mosquitto_sub")


@scenario("clean exit")
def clean_exit(cell):
    expect(cell, [f"{cell.topic}/exit"], 1, [(f"{cell.topic}/exit", "bye")], cell.name)


@scenario("password")
def password(cell):
    who = ["-u", BROKER["user"], "-P", BROKER["password"]]
    equal(publish(cell, f"{cell.topic}/x", *who, "-q", "1", "-m", "x"), (0, ""), "mosquitto_pub")


@scenario("wrong password")
def wrong_password(cell):
    code, said = publish(cell, f"{cell.topic}/x", "-u", BROKER["user"], "-P", "wrong", "-q", "1", "-m", "x")
    equal(code, 0x86 if cell.v5 else 4, f"the code of CONNACK, with {said},")


@scenario("empty client id", versions=("3.1.1",))
def empty_client_id(cell):
    topic = f"{cell.topic}/nameless"
    with Subscriber(cell, [topic], 1, 1, name="") as nameless:
        # The library has no name to show then, in one way or another.
        check("null" in nameless.lines[0] and cell.name not in nameless.lines[0], f"a name in {nameless.lines}")
        publish_well(cell, topic, "x")
        equal([m.payload for m in nameless.end_well()], ["x"], "what arrived")


def round_trip(qos):
    def run(cell):
        topic = f"{cell.topic}/qos{qos}"
        sent = [str(n) for n in range(COUNT)]
        with Subscriber(cell, [topic], qos, COUNT) as subscriber:
            publish_lines(cell, topic, sent, qos)
            got = subscriber.end()
        equal(got, (0, [(qos, topic, payload) for payload in sent]), "what arrived")

    return run


for q in (0, 1, 2):
    scenario(f"QoS {q}")(round_trip(q))


@scenario("large payload")
def large(cell):
    expect(cell, [f"{cell.topic}/large"], 1, [(f"{cell.topic}/large", LARGE)])


@scenario("empty payload")
def empty(cell):
    topic = f"{cell.topic}/empty"
    with Subscriber(cell, [topic], 1, 1) as subscriber:
        equal(publish(cell, topic, "-q", "1", "-n"), (0, ""), "mosquitto_pub")
        equal(subscriber.end(), (0, [(1, topic, "")]), "what arrived")


@scenario("odd topic names")
def odd_topics(cell):
    topics = [f"/{cell.topic}//ü/", f"/{cell.topic}/$not-first", f"/{cell.topic}/ "]
    expect(cell, [f"/{cell.topic}/#"], 1, [(topic, topic) for topic in topics])


@scenario("wildcards")
def wildcards(cell):
    topic = f"{cell.topic}/wild"
    expect(cell, [f"{topic}/+/b"], 1, [(f"{topic}/{level}/b", f"of {level}") for level in ["a", "", "x y"]])
    expect(cell, [f"{topic}/#"], 1, [(topic, "parent"), (f"{topic}/a/b/c", "below")])


@scenario("overlapping subscriptions")
def overlapping(cell):
    """A copy for each that matches (MQTT-3.3.5-1 of 3.1.1, 3.3.4 of 5.0)."""
    topic = f"{cell.topic}/overlap"
    with Subscriber(cell, [f"{topic}/a/#", f"{topic}/a/+", f"{topic}/end"], 1, 3) as subscriber:
        publish_well(cell, f"{topic}/a/x", "twice")
        publish_well(cell, f"{topic}/end", "end")
        equal(sorted(m.payload for m in subscriber.end_well()), ["end", "twice", "twice"], "what arrived")


@scenario("several filters in one SUBSCRIBE")
def several_filters(cell):
    topic = f"{cell.topic}/several"
    expect(cell, [f"{topic}/one", f"{topic}/two"], 2, [(f"{topic}/two", "2"), (f"{topic}/one", "1")])


@scenario("unsubscribe")
def unsubscribe(cell):
    topic = f"{cell.topic}/unsubscribe"
    with Subscriber(cell, [topic, f"{topic}/end"], 1, 1, options=["-U", topic]) as subscriber:
        if not any("UNSUBACK" in line for line in subscriber.lines):
            subscriber.read_until("UNSUBACK")
        publish_well(cell, topic, "gone")
        publish_well(cell, f"{topic}/end", "end")
        equal([m.payload for m in subscriber.end_well()], ["end"], "what arrived")


@scenario("denied publish")
def denied_publish(cell):
    """MQTT 5 tells the reason; MQTT 3 has no words for it but the end of the connection (MQTT-3.3.5-2)."""
    code, said = publish(cell, f"{cell.topic}/allowed", "-d", "-q", "1", "-m", "x")
    equal((code, "PUBACK (Mid: 1, RC:0)" in said), (0, True), f"the allowed twin, which said {said}")
    if cell.v5:
        code, said = publish(cell, "secret/x", "-d", "-q", "1", "-m", "x")
        equal("PUBACK (Mid: 1, RC:135)" in said, True, f"0x87 in PUBACK, in {said}")
        code, said = publish(cell, "secret/x", "-d", "-q", "2", "-m", "x")
        equal("PUBREC (Mid: 1)" in said and "failed: Not authorized" in said, True, f"0x87 in PUBREC, in {said}")
    else:
        code, said = publish(cell, "secret/x", "-d", "-q", "1", "-m", "x")
        equal((code != 0, "PUBACK" in said), (True, False), f"the denied twin, which said {said}")


@scenario("denied subscription")
def denied_subscription(cell):
    """Of two filters the one is granted, the other is refused with 0x80, or with its reason in MQTT 5."""
    topic = f"{cell.topic}/granted"
    codes = {"3.1": "1, 1", "3.1.1": "128, 1", "5": "135, 1"}[cell.version]
    with Subscriber(cell, ["secret/#", topic], 1, 1) as subscriber:
        # MQTT 3.1 has no words for a refusal: the SUBACK grants, and nothing comes.
        check(subscriber.lines[-1].endswith(f": {codes}"), f"{codes} in {subscriber.lines[-1]}")
        publish_well(cell, topic, "x")
        equal([m.payload for m in subscriber.end_well()], ["x"], "what arrived")


@scenario("retained")
def retained(cell):
    """The last one is given to who subscribes, with RETAIN."""
    topic = f"{cell.topic}/retained"
    for payload in ("first", "second"):
        publish_well(cell, topic, payload, 1, "-r")
    with Subscriber(cell, [topic], 1, 1, ready=False) as subscriber:
        equal(subscriber.end(), (0, [(1, topic, "second")]), "what was retained")
        equal([m.retain for m in subscriber.messages], [True], "RETAIN")


@scenario("retained message cleared")
def retained_cleared(cell):
    topic = f"{cell.topic}/cleared"
    publish_well(cell, topic, "first", 1, "-r")
    equal(publish(cell, topic, "-q", "1", "-r", "-n"), (0, ""), "mosquitto_pub")
    with Subscriber(cell, [topic], 1, 1) as subscriber:
        publish_well(cell, topic, "live", 1, "-r")
        equal(subscriber.end(), (0, [(1, topic, "live")]), "the first message after it was cleared")
        equal([m.retain for m in subscriber.messages], [False], "RETAIN of what is not from the store")
    equal(publish(cell, topic, "-q", "1", "-r", "-n"), (0, ""), "mosquitto_pub")


def with_will(cell, topic, name, *more, qos=1):
    options = ["--will-topic", topic, "--will-payload", name, "--will-qos", str(qos), *more]
    return Subscriber(cell, [f"{topic}/x"], 1, 1, f"{cell.name}-{name[:4]}", options=options)


@scenario("will")
def will(cell):
    topic = f"{cell.topic}/will"
    with Subscriber(cell, [topic], 2, 3) as watch:
        for qos in (0, 1, 2):
            with with_will(cell, topic, f"qos{qos}", qos=qos) as one:
                one.process.kill()
        got = sorted((m.qos, m.payload, m.retain) for m in watch.end_well())
        equal(got, [(qos, f"qos{qos}", False) for qos in (0, 1, 2)], "the wills")


@scenario("retained will")
def retained_will(cell):
    topic = f"{cell.topic}/retained-will"
    with Subscriber(cell, [topic], 1, 1) as watch:
        with with_will(cell, topic, "kept", "--will-retain") as one:
            one.process.kill()
        equal([m.payload for m in watch.end_well()], ["kept"], "the will")
    with Subscriber(cell, [topic], 1, 1, ready=False) as late:
        equal([(m.payload, m.retain) for m in late.end_well()], [("kept", True)], "what is retained")
    equal(publish(cell, topic, "-q", "1", "-r", "-n"), (0, ""), "mosquitto_pub")


@scenario("no will after DISCONNECT")
def no_will(cell):
    topic = f"{cell.topic}/no-will"
    with Subscriber(cell, [topic], 1, 1) as watch:
        with with_will(cell, topic, "polite") as one:
            publish_well(cell, f"{topic}/x", "x")
            one.end_well()
        with with_will(cell, topic, "killed") as one:
            one.process.kill()
        equal([m.payload for m in watch.end_well()], ["killed"], "the first will")


def stays(cell):
    return ["-c", "-x", "1000"] if cell.v5 else ["-c"]


def session_kept(qos):
    def run(cell):
        topic, name = f"{cell.topic}/kept{qos}", f"{cell.name}-kep{qos}"
        if qos == 1:
            leave_session(cell, name, topic, qos, *stays(cell))
        else:
            with Subscriber(cell, [topic], qos, 1, name, options=stays(cell)) as one:
                one.process.kill()
        sent = [str(n) for n in range(COUNT)]
        publish_lines(cell, topic, sent, qos)
        with Subscriber(cell, [topic], qos, COUNT, name, ready=False, options=stays(cell)) as subscriber:
            equal(subscriber.end(), (0, [(qos, topic, payload) for payload in sent]), "what had waited")
        # A clean start ends it, and leaves nothing behind.
        with Subscriber(cell, [f"{topic}/end"], 1, 1, name):
            pass

    return run


scenario("session kept, QoS 1 queued")(session_kept(1))
scenario("session kept, QoS 2 queued")(session_kept(2))


@scenario("clean session")
def clean_session(cell):
    """A clean start ends the session that was kept: its subscriptions and what waited."""
    topic, name = f"{cell.topic}/clean", f"{cell.name}-cln"
    leave_session(cell, name, topic, 1, *stays(cell))
    publish_well(cell, topic, "waited")
    with Subscriber(cell, [f"{topic}/x"], 1, 1, name):
        publish_well(cell, topic, "not subscribed")
    with Subscriber(cell, [f"{topic}/end"], 1, 1, name, options=stays(cell)) as subscriber:
        publish_well(cell, f"{topic}/end", "end")
        equal([m.payload for m in subscriber.end_well()], ["end"], "what came")
    with Subscriber(cell, [f"{topic}/x"], 1, 1, name):
        pass


@scenario("shared subscription")
def shared(cell):
    """Each message goes to one of the group."""
    topic = f"{cell.topic}/shared"
    filters = [f"$share/group/{topic}", f"{topic}/end"]
    sent = [str(n) for n in range(2 * COUNT)]
    with Subscriber(cell, filters, 1, 999, f"{cell.name}-one") as one:
        with Subscriber(cell, filters, 1, 999, f"{cell.name}-two") as two:
            publish_lines(cell, topic, sent, 1)
            publish_well(cell, f"{topic}/end", "end")
            for member in (one, two):
                member.read_until("\tend\t")
            shares = [[payload for payload in member.payloads if payload != "end"] for member in (one, two)]
    equal(sorted(shares[0] + shares[1]), sorted(sent), "what the group got")
    check(all(shares), f"one of them got nothing: {shares}")


@scenario("$SYS")
def sys_topics(cell):
    with Subscriber(cell, ["$SYS/broker/version"], 0, 1, ready=False) as subscriber:
        [message] = subscriber.end_well()
        check(message.payload.startswith("gatemq "), f"a version in {message}")


@scenario("takeover")
def takeover(cell):
    """The second ends the first, which hears why in MQTT 5, and comes back in MQTT 3, to end the second."""
    name = f"{cell.name}-twin"
    with Subscriber(cell, [f"{cell.topic}/x"], 1, 1, name) as first:
        with Subscriber(cell, [f"{cell.topic}/x"], 1, 1, name):
            first.read_until("Received DISCONNECT (142)" if cell.v5 else "sending CONNECT")


@scenario("keep alive")
def keep_alive(cell):
    """Five seconds are the least that these programs take. Without its pings it would be closed after 7.5."""
    topic = f"{cell.topic}/idle"
    with Subscriber(cell, [topic], 1, 1, f"{cell.name}-idle", options=["-k", "5"]) as idle:
        began = time.monotonic()
        idle.read_until("received PINGRESP", times=2)
        check(7.5 < time.monotonic() - began < PATIENCE_S, "whether the pings come with the keep alive")
        publish_well(cell, topic, "still here")
        equal([m.payload for m in idle.end_well()], ["still here"], "what arrived")


@scenario("without a certificate", certificate=True)
def without_certificate(cell):
    """The listener demands a certificate: without one there is no CONNACK."""
    cell.transport, transport = "mqtts", cell.transport
    try:
        code, said = publish(cell, f"{cell.topic}/x", "-m", "x")
    finally:
        cell.transport = transport
    equal(code != 0, True, f"a refusal, in {said}")


tour("mosquitto", TRANSPORTS)
