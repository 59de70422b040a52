"""mosquitto_pub and mosquitto_sub as the scenarios use them."""

import collections
import subprocess
import threading

from common import BROKER, PATIENCE_S, equal

PROTOCOLS = {"3.1": "mqttv31", "3.1.1": "mqttv311", "5": "mqttv5"}

# The fields of mosquitto_sub's -F in this order; those of MQTT 5 are empty otherwise.
FORMAT = "MESSAGE\t%q\t%r\t%t\t%p\t%C\t%D\t%E\t%F\t%P\t%R\t%S"
Message = collections.namedtuple(
    "Message", "qos retain topic payload content_type correlation expiry format user response identifiers"
)


def command(cell, program, name, *more):
    """With this client id; an empty one is left out, and the program gives itself none but with MQTT 3.1."""
    line = ["stdbuf", "-oL", program, "-h", BROKER["host"], "-p", str(cell.port), "-V", PROTOCOLS[cell.version]]
    line += ["-i", name] if name else []
    if cell.tls:
        line += ["--cafile", BROKER["ca"]]
    if cell.certificate:
        line += ["--cert", BROKER["certificate"], "--key", BROKER["key"]]
    return line + list(more)


def properties(packet, **values):
    """`-D` options: of `content_type="x"` that is `-D PACKET content-type x`; a list gives several."""
    line = []
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            words = [str(word) for word in one] if isinstance(one, tuple) else [str(one)]
            line += ["-D", packet, name.replace("_", "-"), *words]
    return line


def publish(cell, topic, *more, name=None, stdin=None):
    """Runs mosquitto_pub to its end; exit code and what it said."""
    line = command(cell, "mosquitto_pub", name or f"{cell.name}-pub", "-t", topic, *more)
    done = subprocess.run(
        line, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S, check=False
    )
    return done.returncode, done.stdout.decode()


def publish_well(cell, topic, payload, qos=1, *more):
    equal(publish(cell, topic, "-q", str(qos), "-s", *more, stdin=payload.encode()), (0, ""), "mosquitto_pub")


def publish_lines(cell, topic, lines, qos):
    """All on one connection, so that they keep their order."""
    text = "".join(f"{line}\n" for line in lines)
    equal(publish(cell, topic, "-q", str(qos), "-l", stdin=text.encode()), (0, ""), "mosquitto_pub")


class Subscriber:
    """mosquitto_sub, from its SUBACK (or its start, unless `ready`) until it has `count` messages."""

    def __init__(self, cell, filters, qos, count, name=None, ready=True, options=()):
        more = [*options, "-d", "-q", str(qos), "-C", str(count), "-W", str(PATIENCE_S), "-F", FORMAT]
        for topic_filter in filters:
            more += ["-t", topic_filter]
        line = command(cell, "mosquitto_sub", f"{cell.name}-sub" if name is None else name, *more)
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines = []
        # Who is not waited for is refused, or may have all its messages before the SUBACK.
        if ready:
            self.read_until("Subscribed")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def read_until(self, words, times=1):
        """Until it has said so, so many times from now on."""
        watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        watchdog.start()
        try:
            for text in self.process.stdout:
                self.lines.append(text.rstrip("\n"))
                times -= words in text
                if times == 0:
                    return
            raise AssertionError(f"no {words!r} in {self.lines}")
        finally:
            watchdog.cancel()

    @property
    def messages(self):
        """So far."""
        told = [text.split("\t")[1:] for text in self.lines if text.startswith("MESSAGE\t")]
        return [Message(int(qos), retain == "1", *rest) for qos, retain, *rest in told]

    @property
    def payloads(self):
        return [message.payload for message in self.messages]

    def end(self):
        """Waits for its end; exit code and (QoS, topic, payload) of each message."""
        rest, _ = self.process.communicate(timeout=PATIENCE_S + 5)
        self.lines += rest.splitlines()
        return self.process.returncode, [(m.qos, m.topic, m.payload) for m in self.messages]

    def end_well(self):
        """Waits for its end; the messages."""
        code, _ = self.end()
        equal(code, 0, f"exit code of mosquitto_sub, which said {self.lines},")
        return self.messages


def leave_session(cell, name, topic, qos, *options):
    """A session with a subscription, whose client is away."""
    line = command(cell, "mosquitto_sub", name, "-c", *options, "-q", str(qos), "-t", topic, "-E")
    subprocess.run(line, timeout=PATIENCE_S, check=True)
