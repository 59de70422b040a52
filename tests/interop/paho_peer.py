"""A paho client as the scenarios use it."""

import queue
import socket

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from common import BROKER, PATIENCE_S, equal

PROTOCOLS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}


def properties(packet, **values):
    """Such as `properties("CONNECT", ReceiveMaximum=1)`."""
    made = Properties(getattr(PacketTypes, packet))
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Peer:
    """A client with its network thread; what happens to it ends up in queues."""

    def __init__(
        self,
        cell,
        name,
        connect=None,
        certificate=True,
        manual_ack=False,
        clean=True,
        will=None,
        keep_alive=30,
        user=None,
    ):
        """`connect` has properties of CONNECT by name; `will` is what `will_set` takes; `user` has a password."""
        self.cell, self.v5 = cell, cell.version == "5"
        self.connects, self.ends, self.messages = queue.Queue(), queue.Queue(), queue.Queue()
        self.published, self.subscribed, self.unsubscribed = queue.Queue(), queue.Queue(), queue.Queue()
        # What the client logs: every packet, by name.
        self.logged = queue.Queue()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=name,
            clean_session=None if self.v5 else clean,
            protocol=PROTOCOLS[cell.version],
            transport="websockets" if cell.websocket else "tcp",
            manual_ack=manual_ack,
            reconnect_on_failure=False,
        )
        if cell.websocket:
            self.client.ws_set_options(path=BROKER["path"])
        if cell.tls:
            shown = (BROKER["certificate"], BROKER["key"]) if cell.certificate and certificate else (None, None)
            self.client.tls_set(BROKER["ca"], *shown)
        if user:
            self.client.username_pw_set(*user)
        self.client.on_connect = lambda _c, _u, flags, code, props: self.connects.put((code, flags, props))
        self.client.on_disconnect = lambda _c, _u, _f, code, props: self.ends.put((code, props))
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        self.client.on_publish = lambda _c, _u, _mid, code, _p: self.published.put(code.value)
        self.client.on_subscribe = lambda _c, _u, _mid, codes, _p: self.subscribed.put([c.value for c in codes])
        self.client.on_unsubscribe = lambda _c, _u, _mid, codes, _p: self.unsubscribed.put([c.value for c in codes])
        self.client.on_log = lambda _c, _u, _level, text: self.logged.put(text)
        if will:
            self.client.will_set(*will)
        start = {"clean_start": clean, "properties": properties("CONNECT", **(connect or {}))} if self.v5 else {}
        self.client.connect(BROKER["host"], cell.port, keepalive=keep_alive, **start)
        self.client.loop_start()

    def answered(self):
        """Code, flags and properties of CONNACK."""
        self.code, self.flags, self.connack = self.connects.get(timeout=PATIENCE_S)
        return self

    def admitted(self):
        self.answered()
        equal(self.code.value, 0, "reason code of CONNACK")
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.leave()

    def leave(self, *reason_and_properties):
        """With a DISCONNECT."""
        self.client.disconnect(*reason_and_properties)
        self.client.loop_stop()

    def break_off(self):
        """The network thread finds the connection broken."""
        self.client.loop_stop()
        stream = self.client.socket()
        # paho's WebSocket and Python's TLS are both wrappers that would say goodbye in their own way.
        shutdown = getattr(stream, "_socket", stream)
        socket.socket.shutdown(shutdown, socket.SHUT_RDWR)

    def subscribe(self, topic_filter, qos=1, options=None, **values):
        """The codes of SUBACK; `values` are properties."""
        given = properties("SUBSCRIBE", **values) if values else None
        # paho takes one of QoS and options.
        self.client.subscribe(topic_filter, 0 if options else qos, options, given)
        return self.subscribed.get(timeout=PATIENCE_S)

    def publish(self, topic, payload, qos=1, retain=False, **values):
        """The reason code of the last acknowledgement; `values` are properties."""
        given = properties("PUBLISH", **values) if values else None
        self.client.publish(topic, payload, qos, retain, given)
        return self.published.get(timeout=PATIENCE_S)

    def message(self):
        return self.messages.get(timeout=PATIENCE_S)

    def payloads(self, count):
        return [self.message().payload.decode() for _ in range(count)]

    def wait_for_log(self, words, times=1):
        """Until the client has logged a text that begins so, so many times from now on."""
        while times:
            times -= self.logged.get(timeout=PATIENCE_S).startswith(words)


def peer(cell, what, **more):
    return Peer(cell, f"{cell.name}-{what}", **more).admitted()
