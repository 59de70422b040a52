"""mosquitto_pub and mosquitto_sub (libmosquitto)."""

import subprocess
import tempfile
import threading

from common import BROKER, LARGE, PATIENCE_S, Cell, equal, finish

VERSIONS = {"3.1": "mqttv31", "3.1.1": "mqttv311", "5": "mqttv5"}
TRANSPORTS = ["mqtt", "mqtts", "mqtts-cert"]


def command(cell, program, name, *more):
    line = ["stdbuf", "-oL", program, "-h", BROKER["host"], "-p", str(cell.port), "-V", VERSIONS[cell.version]]
    line += ["-i", name]
    if cell.tls:
        line += ["--cafile", BROKER["ca"]]
    if cell.certificate:
        line += ["--cert", BROKER["certificate"], "--key", BROKER["key"]]
    return line + list(more)


def publish(cell, topic, *more):
    """Runs mosquitto_pub to its end; what it said."""
    line = command(cell, "mosquitto_pub", f"{cell.name}-pub", "-t", topic, *more)
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S, check=False)
    return done.returncode, done.stdout.decode()


class Subscriber:
    """mosquitto_sub, from its SUBACK (or its start, unless `ready`) until it has `count` messages."""

    def __init__(self, cell, filters, qos, count, name=None, ready=True, options=()):
        more = [*options, "-d", "-q", str(qos), "-C", str(count), "-W", str(PATIENCE_S), "-F", "MESSAGE\t%q\t%r\t%t\t%p"]
        for topic_filter in filters:
            more += ["-t", topic_filter]
        line = command(cell, "mosquitto_sub", name or f"{cell.name}-sub", *more)
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []
        if not ready:
            # It is refused, or may have all its messages before the SUBACK.
            return
        watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        watchdog.start()
        for text in self.process.stdout:
            self.lines.append(text.rstrip("\n"))
            if text.startswith("Subscribed"):
                break
        else:
            raise AssertionError(f"not subscribed: {self.lines}")
        watchdog.cancel()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def end(self):
        """Waits for its end; exit code and (QoS, topic, payload) of each message. `self.retained` has their RETAIN."""
        rest, _ = self.process.communicate(timeout=PATIENCE_S + 5)
        self.lines += rest.splitlines()
        told = [text.split("\t")[1:] for text in self.lines if text.startswith("MESSAGE\t")]
        self.retained = [retain == "1" for _, retain, _, _ in told]
        return self.process.returncode, [(int(qos), topic, payload) for qos, _, topic, payload in told]


def expect(cell, filters, qos, sent, name=None):
    """Each of (topic, payload) is published once and must arrive with its QoS, and both programs end well."""
    with Subscriber(cell, filters, qos, len(sent), name) as subscriber:
        for topic, payload in sent:
            with tempfile.NamedTemporaryFile() as file:
                file.write(payload.encode())
                file.flush()
                equal(publish(cell, topic, "-q", str(qos), "-f", file.name), (0, ""), "mosquitto_pub")
        code, got = subscriber.end()
    # Each message comes from a connection of its own, so their order is not promised.
    equal(sorted(got), sorted((qos, topic, payload) for topic, payload in sent), "what arrived")
    equal(code, 0, "exit code of mosquitto_sub")


def clean_exit(cell):
    expect(cell, [f"{cell.topic}/exit"], 1, [(f"{cell.topic}/exit", "bye")], cell.name)


def round_trip(cell, qos):
    expect(cell, [f"{cell.topic}/qos{qos}"], qos, [(f"{cell.topic}/qos{qos}", f"at {qos}")])


def wildcards(cell):
    expect(cell, [f"{cell.topic}/+/b"], 1, [(f"{cell.topic}/{level}/b", level) for level in ["a", "", "x y"]])
    expect(cell, [f"{cell.topic}/#"], 1, [(cell.topic, "parent"), (f"{cell.topic}/a/b/c", "below")])


def odd_topics(cell):
    topics = [f"/{cell.topic}//ü/", f"/{cell.topic}/$not-first", f"/{cell.topic}/ "]
    expect(cell, [f"/{cell.topic}/#"], 1, [(topic, topic) for topic in topics])


def large(cell):
    expect(cell, [f"{cell.topic}/large"], 1, [(f"{cell.topic}/large", LARGE)])


def empty(cell):
    expect(cell, [f"{cell.topic}/empty"], 1, [(f"{cell.topic}/empty", "")])


def two_filters(cell):
    expect(cell, [f"{cell.topic}/one", f"{cell.topic}/two"], 2, [(f"{cell.topic}/two", "2"), (f"{cell.topic}/one", "1")])


def denied_publish(cell):
    """MQTT 5 tells the reason; MQTT 3 has no words for it but the end of the connection (MQTT-3.3.5-2)."""
    code, said = publish(cell, f"{cell.topic}/allowed", "-d", "-q", "1", "-m", "x")
    equal((code, "PUBACK (Mid: 1, RC:0)" in said), (0, True), f"the allowed twin, which said {said}")
    if cell.version == "5":
        code, said = publish(cell, "secret/x", "-d", "-q", "1", "-m", "x")
        equal("PUBACK (Mid: 1, RC:135)" in said, True, f"0x87 in PUBACK, in {said}")
        code, said = publish(cell, "secret/x", "-d", "-q", "2", "-m", "x")
        equal("PUBREC (Mid: 1)" in said and "failed: Not authorized" in said, True, f"0x87 in PUBREC, in {said}")
    else:
        code, said = publish(cell, "secret/x", "-d", "-q", "1", "-m", "x")
        equal((code != 0, "PUBACK" in said), (True, False), f"the denied twin, which said {said}")


def denied_subscribe(cell):
    if cell.version == "3.1":
        # It has no words for a refusal: the SUBACK grants, and nothing comes.
        with Subscriber(cell, ["secret/#"], 1, 1):
            return
    with Subscriber(cell, ["secret/#"], 1, 1, ready=False) as subscriber:
        subscriber.end()
        said = "\n".join(subscriber.lines)
    equal("denied" in said, True, f"a refusal, in {said}")


def retained(cell):
    topic = f"{cell.topic}/retained"
    for payload in ("first", "second"):
        equal(publish(cell, topic, "-q", "1", "-r", "-m", payload), (0, ""), "mosquitto_pub")
    with Subscriber(cell, [topic], 1, 1, ready=False) as subscriber:
        equal(subscriber.end(), (0, [(1, topic, "second")]), "what was retained")
        equal(subscriber.retained, [True], "RETAIN")
    equal(publish(cell, topic, "-q", "1", "-r", "-n"), (0, ""), "mosquitto_pub")
    with Subscriber(cell, [topic], 1, 1) as subscriber:
        publish(cell, topic, "-q", "1", "-r", "-m", "live")
        equal(subscriber.end(), (0, [(1, topic, "live")]), "the first message after it was cleared")
        equal(subscriber.retained, [False], "RETAIN")
    publish(cell, topic, "-q", "1", "-r", "-n")


def will(cell):
    """Of a mosquitto_sub that has what it wanted, of one that is killed, and of one that is told to end: that one asks for
    its will with MQTT 5 (DISCONNECT 0x04), and takes it back with MQTT 3."""
    topic = f"{cell.topic}/will"
    wanted = ["killed", "terminated"] if cell.version == "5" else ["killed"]
    with Subscriber(cell, [topic], 1, len(wanted)) as watch:
        for name in ("polite", "terminated", "killed"):
            options = ["--will-topic", topic, "--will-payload", name, "--will-qos", "1"]
            with Subscriber(cell, [f"{topic}/x"], 1, 1, f"{cell.name}-{name[:4]}", options=options) as subscriber:
                if name == "polite":
                    publish(cell, f"{topic}/x", "-q", "1", "-m", "x")
                elif name == "terminated":
                    subscriber.process.terminate()
                else:
                    subscriber.process.kill()
                subscriber.process.wait(PATIENCE_S)
        code, got = watch.end()
    equal((code, sorted(payload for _, _, payload in got)), (0, wanted), "the wills")


def resume(cell):
    topic, name = f"{cell.topic}/resume", f"{cell.name}-back"
    stays = ["-c", "-x", "1000"] if cell.version == "5" else ["-c"]
    line = command(cell, "mosquitto_sub", name, *stays, "-q", "1", "-t", topic, "-E")
    subprocess.run(line, timeout=PATIENCE_S, check=True)
    for payload in ("1", "2", "3"):
        equal(publish(cell, topic, "-q", "1", "-m", payload), (0, ""), "mosquitto_pub")
    with Subscriber(cell, [topic], 1, 3, name, ready=False, options=stays) as subscriber:
        equal(subscriber.end(), (0, [(1, topic, payload) for payload in "123"]), "what had waited")
    # A clean start ends it: nothing waits any more.
    with Subscriber(cell, [f"{topic}/x"], 1, 1, name):
        publish(cell, topic, "-q", "1", "-m", "4")
    with Subscriber(cell, [topic], 1, 1, name) as subscriber:
        publish(cell, topic, "-q", "1", "-m", "5")
        equal(subscriber.end(), (0, [(1, topic, "5")]), "the first message of the new session")


def without_certificate(cell):
    """The listener demands a certificate: without one there is no CONNACK."""
    cell.transport, transport = "mqtts", cell.transport
    try:
        code, said = publish(cell, f"{cell.topic}/x", "-m", "x")
    finally:
        cell.transport = transport
    equal(code != 0, True, f"a refusal, in {said}")


for version in VERSIONS:
    for transport in TRANSPORTS:
        cell = Cell("mosquitto", version, transport)
        for qos in (0, 1, 2):
            cell.scenario(f"QoS {qos} round trip", round_trip, qos)
        cell.scenario("wildcards", wildcards)
        cell.scenario("odd topic names", odd_topics)
        cell.scenario("two filters", two_filters)
        cell.scenario("empty payload", empty)
        cell.scenario("large payload", large)
        cell.scenario("retained", retained)
        cell.scenario("will", will)
        cell.scenario("resume", resume)
        cell.scenario("denied publish", denied_publish)
        cell.scenario("denied subscribe", denied_subscribe)
        if cell.certificate:
            cell.scenario("without a certificate", without_certificate)
        cell.scenario("clean exit", clean_exit)
finish()
