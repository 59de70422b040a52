"""mosquitto_pub, mosquitto_sub and mosquitto_rr: what only MQTT 5 has."""

import subprocess
import time

from common import PATIENCE_S, PROPERTIES, V5, check, equal, scenario
from mosquitto_clients import Subscriber, command, leave_session, properties, publish, publish_lines, publish_well


def waits_for_nothing(cell, topic, name):
    """The client comes back, and neither session nor message has waited: the fence is the first that comes."""
    options = ["-c", "-x", "0"]
    with Subscriber(cell, [f"{topic}/end"], 1, 1, name, options=options) as subscriber:
        publish_well(cell, f"{topic}/end", "end")
        equal([m.payload for m in subscriber.end_well()], ["end"], "what came")


@scenario("session expiry", V5)
def session_expiry(cell):
    topic, name = f"{cell.topic}/expiry", f"{cell.name}-exp"
    leave_session(cell, name, topic, 1, "-x", "1")
    time.sleep(2.2)
    publish_well(cell, topic, "too late")
    waits_for_nothing(cell, topic, name)


@scenario("session expiry at DISCONNECT", V5)
def session_expiry_at_disconnect(cell):
    """The will, for which it asks when it gets SIGTERM, says that the broker has had the DISCONNECT."""
    topic, name = f"{cell.topic}/expiry-d", f"{cell.name}-exd"
    options = ["-c", "-x", "1000", *properties("disconnect", session_expiry_interval=0)]
    options += ["--will-topic", f"{topic}/will", "--will-payload", "gone", "--will-qos", "1"]
    with Subscriber(cell, [f"{topic}/will"], 1, 1) as watch:
        with Subscriber(cell, [topic], 1, 1, name, options=options) as one:
            one.process.terminate()
            equal([m.payload for m in watch.end_well()], ["gone"], "the will")
    publish_well(cell, topic, "too late")
    waits_for_nothing(cell, topic, name)


@scenario("message expiry", V5)
def message_expiry(cell):
    topic, name = f"{cell.topic}/ages", f"{cell.name}-ages"
    leave_session(cell, name, topic, 1, "-x", "1000")
    for payload, seconds in (("goes", 1), ("stays", 60)):
        publish_well(cell, topic, payload, 1, *properties("publish", message_expiry_interval=seconds))
    time.sleep(2.2)
    publish_well(cell, topic, "end")
    with Subscriber(cell, [topic], 1, 2, name, ready=False, options=["-c", "-x", "0"]) as subscriber:
        stays, end = subscriber.end_well()
        equal((stays.payload, end.payload, end.expiry), ("stays", "end", ""), "what waited")
        check(30 < int(stays.expiry) <= 58, f"{stays.expiry} s remain of 60")


# Name of the property in PROPERTIES, as mosquitto calls it, field of a message.
SHOWN = [
    ("payload format indicator", "payload_format_indicator", "format"),
    ("content type", "content_type", "content_type"),
    ("response topic", "response_topic", "response"),
    ("correlation data", "correlation_data", "correlation"),
    ("user properties", "user_property", "user"),
]


def as_shown(value):
    return " ".join(f"{name}:{text}" for name, text in value) if isinstance(value, list) else str(value)


def passes_on(name, option, field):
    def run(cell):
        topic = f"{cell.topic}/{option}"
        with Subscriber(cell, [topic], 1, 2, options=properties("subscribe", user_property=("why", "tour"))) as subscriber:
            publish_well(cell, topic, "with", 1, *properties("publish", **{option: PROPERTIES[name]}))
            publish_well(cell, topic, "without")
            got = sorted((m.payload, getattr(m, field)) for m in subscriber.end_well())
            equal(got, [("with", as_shown(PROPERTIES[name])), ("without", "")], name)

    return run


for shown in SHOWN:
    if shown[0] not in ("response topic", "correlation data"):
        scenario(shown[0], V5)(passes_on(*shown))


@scenario("request and response", V5)
def request_and_response(cell):
    """mosquitto_rr asks, and a subscriber answers where and with what it is told."""
    topic, answers = f"{cell.topic}/request", f"{cell.topic}/answers"
    with Subscriber(cell, [topic], 1, 1) as server:
        ask = ["-t", topic, "-e", answers, "-m", "question", "-q", "1", "-W", str(PATIENCE_S), "-F", "%t %p %D"]
        ask += properties("publish", correlation_data="c0rr")
        line = command(cell, "mosquitto_rr", f"{cell.name}-rr", *ask)
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as asks:
            try:
                [question] = server.end_well()
                equal((question.payload, question.response), ("question", answers), "the request")
                more = properties("publish", correlation_data=question.correlation)
                publish_well(cell, question.response, "answer", 1, *more)
                said, _ = asks.communicate(timeout=PATIENCE_S)
                equal((asks.returncode, said.strip()), (0, f"{answers} answer c0rr"), "the answer")
            finally:
                asks.kill()


@scenario("subscription identifiers", V5)
def subscription_identifiers(cell):
    topic = f"{cell.topic}/identifier"
    for identifier in (1, 268_435_455):
        options = properties("subscribe", subscription_identifier=identifier)
        with Subscriber(cell, [topic], 1, 1, options=options) as subscriber:
            publish_well(cell, topic, "x")
            equal([m.identifiers for m in subscriber.end_well()], [str(identifier)], "Subscription Identifiers")


@scenario("retain handling", V5)
def retain_handling(cell):
    """-R is 2, nothing at subscribe. 0 is the default."""
    topic = f"{cell.topic}/handling"
    publish_well(cell, topic, "retained", 1, "-r")
    with Subscriber(cell, [topic], 1, 1, ready=False) as subscriber:
        equal([m.payload for m in subscriber.end_well()], ["retained"], "what 0 gives")
    with Subscriber(cell, [topic], 1, 1, options=["-R"]) as subscriber:
        check(any("Options: 0x21" in line or "Options: 0x20" in line for line in subscriber.lines), "whether it is asked for")
        publish_well(cell, topic, "live")
        subscriber.end_well()
        came = [line for line in subscriber.lines if "received PUBLISH" in line]
        equal((len(came), subscriber.payloads), (1, ["live"]), "what 2 gives")
    equal(publish(cell, topic, "-q", "1", "-r", "-n"), (0, ""), "mosquitto_pub")


@scenario("retain as published", V5)
def retain_as_published(cell):
    topic = f"{cell.topic}/published"
    for options, retain in ((["--retain-as-published"], True), ([], False)):
        with Subscriber(cell, [topic], 1, 1, options=options) as subscriber:
            publish_well(cell, topic, "x", 1, "-r")
            equal([m.retain for m in subscriber.end_well()], [retain], f"RETAIN with {options}")
        equal(publish(cell, topic, "-q", "1", "-r", "-n"), (0, ""), "mosquitto_pub")


@scenario("topic alias to the broker", V5)
def topic_alias(cell):
    topic = f"{cell.topic}/alias"
    with Subscriber(cell, [topic], 1, 3) as subscriber:
        more = ["--repeat", "3", *properties("publish", topic_alias=1)]
        code, said = publish(cell, topic, "-d", "-q", "1", "-m", "x", *more)
        sent = [f"'{topic}'" in line for line in said.splitlines() if "sending PUBLISH" in line]
        equal((code, sent, said.count("RC:0")), (0, [True, False, False], 3), f"the topic once, in {said}")
        equal(subscriber.end(), (0, [(1, topic, "x")] * 3), "what arrived")


@scenario("receive maximum", V5)
def receive_maximum(cell):
    """With 1 the next message of QoS 2 comes when the one before it is done with."""
    topic = f"{cell.topic}/receive-maximum"
    with Subscriber(cell, [topic], 2, 10, options=properties("connect", receive_maximum=1)) as subscriber:
        publish_lines(cell, topic, range(10), 2)
        subscriber.end_well()
        steps = [word for line in subscriber.lines for word in ("received PUBLISH", "sending PUBCOMP") if word in line]
        equal(steps[:19], ["received PUBLISH", "sending PUBCOMP"] * 9 + ["received PUBLISH"], "the order of packets")


@scenario("maximum packet size", V5)
def maximum_packet_size(cell):
    topic = f"{cell.topic}/size"
    with Subscriber(cell, [topic], 1, 1, options=properties("connect", maximum_packet_size=200)) as subscriber:
        publish_well(cell, topic, "x" * 200)
        publish_well(cell, topic, "fits")
        equal([m.payload for m in subscriber.end_well()], ["fits"], "what arrived")


def with_words(words):
    """Enhanced authentication with the words that the broker's test plugin takes."""
    return properties("connect", authentication_method="TEST", authentication_data=words)


@scenario("server keep alive", V5)
def server_keep_alive(cell):
    """It wanted 60 s, and pings every two seconds because the broker says so."""
    options = ["-k", "60", *with_words("accept keep_alive=2")]
    with Subscriber(cell, [f"{cell.topic}/x"], 1, 1, options=options) as subscriber:
        subscriber.read_until("received PINGRESP", times=2)


@scenario("assigned client identifier", V5)
def assigned_client_identifier(cell):
    names = []
    for _ in range(2):
        line = command(cell, "mosquitto_sub", None, "-d", "-t", f"{cell.topic}/x", "-E")
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        names += [text.split()[1] for text in done.stdout.splitlines() if "received CONNACK (0)" in text]
    check(len(set(names)) == 2 and not any("null" in name for name in names), f"two names in {names}")


@scenario("announced limits", V5)
def announced_limits(cell):
    """mosquitto_pub keeps to what CONNACK says: it sends no QoS 2, and no RETAIN."""
    topic = f"{cell.topic}/limits"
    _, said = publish(cell, topic, "-d", "-m", "x", "-q", "2", *with_words("accept qos_max=1"))
    check("QoS not supported" in said and "sending PUBLISH" not in said, f"a complaint in {said}")
    code, said = publish(cell, topic, "-d", "-m", "x", "-q", "1", "-r", *with_words("accept qos_max=1 retain=0"))
    equal((code, "PUBLISH (d0, q1, r0" in said, "RC:0" in said), (0, True, True), f"RETAIN, in {said},")


@scenario("reason codes", V5)
def reason_codes(cell):
    code, said = publish(cell, f"{cell.topic}/x", "-m", "x", name=f"fault-reject-aloud-{cell.name}")
    equal((code, "Banned" in said), (0x8A, True), f"CONNACK, with {said},")
    _, said = publish(cell, "secret/x", "-d", "-q", "1", "-m", "x")
    check("RC:135" in said, f"0x87 in PUBACK, in {said}")
    _, said = publish(cell, f"{cell.topic}/x", "-d", "-q", "1", "-m", "x")
    check("RC:0" in said, f"0x00 in PUBACK, in {said}")


@scenario("redirection", V5)
def redirection(cell):
    code, said = publish(cell, f"{cell.topic}/x", "-m", "x", name=f"fault-redirect-{cell.name}")
    equal((code, "Use another server" in said), (0x9C, True), f"CONNACK, with {said},")


def dies_with_will(cell, topic, name, *more):
    options = ["--will-topic", topic, "--will-payload", name, "--will-qos", "1", *more]
    with Subscriber(cell, [f"{topic}/x"], 1, 1, f"{cell.name}-{name}", options=options) as one:
        one.process.kill()


def delayed(seconds):
    return ["-c", "-x", "1000", *properties("will", will_delay_interval=seconds)]


@scenario("will delay", V5)
def will_delay(cell):
    topic = f"{cell.topic}/delay"
    with Subscriber(cell, [topic], 1, 1) as watch:
        dies_with_will(cell, topic, "late", *delayed(1))
        began = time.monotonic()
        equal([m.payload for m in watch.end_well()], ["late"], "the will")
        check(time.monotonic() - began > 0.8, "whether it waits")
    with Subscriber(cell, [topic], 1, 1, f"{cell.name}-late"):
        pass


@scenario("will delay cancelled", V5)
def will_delay_cancelled(cell):
    """Who is back before it is due takes it back. The twin is the scenario before."""
    topic = f"{cell.topic}/cancel"
    with Subscriber(cell, [topic], 1, 1) as watch:
        dies_with_will(cell, topic, "back", *delayed(4))
        with Subscriber(cell, [f"{topic}/x"], 1, 1, f"{cell.name}-back", options=["-c", "-x", "0"]):
            time.sleep(5.5)
            publish_well(cell, topic, "end")
            equal([m.payload for m in watch.end_well()], ["end"], "what came")


@scenario("will properties", V5)
def will_properties(cell):
    topic = f"{cell.topic}/will-properties"
    with Subscriber(cell, [topic], 1, 1) as watch:
        values = {option: PROPERTIES[name] for name, option, _ in SHOWN}
        dies_with_will(cell, topic, "rich", *properties("will", **values, message_expiry_interval=60))
        [got] = watch.end_well()
        for name, _, field in SHOWN:
            equal(getattr(got, field), as_shown(PROPERTIES[name]), name)
        check(50 < int(got.expiry) <= 60, f"{got.expiry} s remain of 60")


@scenario("will asked for at DISCONNECT", V5)
def will_at_disconnect(cell):
    """A mosquitto_sub that gets SIGTERM leaves with reason code 0x04."""
    topic = f"{cell.topic}/asks"
    options = ["--will-topic", topic, "--will-payload", "asked", "--will-qos", "1"]
    with Subscriber(cell, [topic], 1, 1) as watch:
        with Subscriber(cell, [f"{topic}/x"], 1, 1, f"{cell.name}-asks", options=options) as one:
            one.process.terminate()
            one.process.wait(PATIENCE_S)
        equal([m.payload for m in watch.end_well()], ["asked"], "the will")


@scenario("DISCONNECT by the broker", V5)
def disconnect_by_the_broker(cell):
    name = f"{cell.name}-twice"
    with Subscriber(cell, [f"{cell.topic}/x"], 1, 1, name) as first:
        with Subscriber(cell, [f"{cell.topic}/x"], 1, 1, name):
            first.read_until("Received DISCONNECT (142)")


@scenario("enhanced authentication", V5)
def enhanced_authentication(cell):
    """In one step, with the data in CONNECT."""
    topic = f"{cell.topic}/x"
    equal(publish(cell, topic, "-q", "1", "-m", "x", *with_words("accept")), (0, ""), "mosquitto_pub")
    code, said = publish(cell, topic, "-q", "1", "-m", "x", *with_words("reject"))
    equal(code, 0x86, f"the code of CONNACK, with {said},")
