"""What the Python scripts share: where the broker is, which cells there are, and how a scenario says how it went.

`GATEMQ_INTEROP` names a JSON file that `cargo xtask interop` wrote. Every scenario prints one line,
`ok|FAILED CLIENT VERSION TRANSPORT SCENARIO[: WHY]`, which `packaging/xtask/src/interop.rs` compares with the table in
`README.md`.
"""

import json
import os
import sys
import threading
import time
import traceback

with open(os.environ["GATEMQ_INTEROP"], encoding="utf-8") as file:
    BROKER = json.load(file)

# Long for a busy machine; nothing is waited out that has happened.
PATIENCE_S = 30

ALL = ("3.1", "3.1.1", "5")
V5 = ("5",)

LARGE = "".join(chr(ord("a") + i * 7 % 26) for i in range(500_000))

# What a PUBLISH or a will of MQTT 5 may carry, by the names that the standard gives them.
PROPERTIES = {
    "payload format indicator": 1,
    "message expiry interval": 60,
    "content type": "text/plain",
    "response topic": "answer/to",
    "correlation data": "c0rrelation",
    "user properties": [("b", "2"), ("a", "1"), ("b", "again")],
}


class Cell:
    """One client library in one version over one transport."""

    failed = 0

    def __init__(self, client, version, transport):
        self.client, self.version, self.transport = client, version, transport
        self.port = BROKER["ports"][transport]
        # The broker's record of what was shown by this client id is looked at afterwards. It is short, since MQTT 3.1 has 23
        # characters for it, of which scenarios want six.
        self.name = f"{client[:4]}{version}{transport}"
        self.topic = f"interop/{client}/{version}/{transport}"

    @property
    def v5(self):
        return self.version == "5"

    @property
    def tls(self):
        return self.transport.startswith(("mqtts", "wss"))

    @property
    def certificate(self):
        return self.transport.endswith("-cert")

    @property
    def websocket(self):
        return self.transport.startswith("ws")

    def run(self, name, scenario):
        """Runs it; what it raises is why it failed."""
        try:
            scenario(self)
            self._say("ok", name)
        except Exception as error:  # whatever it is, it is told and counted
            Cell.failed += 1
            where = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)[1:]]
            why = f"{type(error).__name__}: {error} (lines {where})"
            self._say("FAILED", f"{name}: {' '.join(why.split())[:600]}")

    def _say(self, how, what):
        # One write: the cells run at the same time.
        sys.stdout.write(f"{how} {self.client} {self.version} {self.transport} {what}\n")
        sys.stdout.flush()


SCENARIOS = []


def scenario(name, versions=ALL, certificate=False):
    """Adds a function to the tour of these versions; with `certificate` only where the listener demands one."""

    def add(run):
        SCENARIOS.append((name, versions, certificate, run))
        return run

    return add


def tour(client, transports):
    """Runs the whole tour, all cells at the same time, and ends the process."""

    def visit(cell):
        for name, versions, certificate, run in SCENARIOS:
            if cell.version in versions and (cell.certificate or not certificate):
                cell.run(name, run)

    cells = [Cell(client, version, transport) for version in ALL for transport in transports]
    threads = [threading.Thread(target=visit, args=(cell,)) for cell in cells]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(1 if Cell.failed else 0)


def until(what, look, patience_s=PATIENCE_S):
    """Asks `look` until it has an answer."""
    deadline = time.monotonic() + patience_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise TimeoutError(what)
        time.sleep(0.005)


def equal(got, want, what):
    if got != want:
        raise AssertionError(f"{what} is {str(got)[:200]!r}, not {str(want)[:200]!r}")


def check(holds, what):
    if not holds:
        raise AssertionError(what)
