"""What the Python scripts share: where the broker is, which cells there are, and how a scenario says how it went.

`GATEMQ_INTEROP` names a JSON file that `cargo xtask interop` wrote. Every scenario prints one line,
`ok|FAILED CLIENT VERSION TRANSPORT SCENARIO[: WHY]`, which `packaging/xtask/src/interop.rs` reads.
"""

import json
import os
import sys
import time
import traceback

with open(os.environ["GATEMQ_INTEROP"], encoding="utf-8") as file:
    BROKER = json.load(file)

# Long for a busy machine; nothing is waited out that has happened.
PATIENCE_S = 20

LARGE = "".join(chr(ord("a") + i * 7 % 26) for i in range(500_000))


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
    def tls(self):
        return self.transport.startswith(("mqtts", "wss"))

    @property
    def certificate(self):
        return self.transport.endswith("-cert")

    @property
    def websocket(self):
        return self.transport.startswith("ws")

    def scenario(self, name, run, *arguments):
        """Runs it; what it raises is why it failed."""
        try:
            run(self, *arguments)
            self._say("ok", name)
        except Exception as error:  # whatever it is, it is told and counted
            Cell.failed += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__}: {error} (line {where.lineno})"
            self._say("FAILED", f"{name}: {' '.join(why.split())[:400]}")

    def _say(self, how, what):
        print(how, self.client, self.version, self.transport, what, flush=True)


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
        raise AssertionError(f"{what} is {str(got)[:120]!r}, not {str(want)[:120]!r}")


def finish():
    sys.exit(1 if Cell.failed else 0)
