"""``http.ini``: what a real gateway shows of itself, to promtool and to Prometheus."""

import base64
import json
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple

from twisted.internet.threads import deferToThread

from tests.integration.test_logs import deliver
from tests.peers.case import PeerTestCase
from tests.peers.clients import run
from tests.peers.gateway import Gateway
from tests.peers.ports import free_port
from tests.peers.prometheus import Prometheus
from tests.peers.raw import RawClient
from tests.peers.require import require
from tests.peers.script import Script, by_recipient

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
REPLIES = by_recipient(none=b"550 5.1.1 no such user\r\n", late=b"450 4.2.0 try later\r\n")


class Answer(NamedTuple):
    """Of an HTTP server."""

    code: int
    body: str


def fetch(port: int, path: str, login: str = "", accept: str = "", host: str = "") -> Answer:
    """The answer to a GET. For a thread."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if login:
        asked.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    if accept:
        asked.add_header("Accept", accept)
    if host:
        asked.add_header("Host", host)
    try:
        with urllib.request.urlopen(asked, timeout=10.0) as answer:
            return Answer(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read().decode())


def samples(text: str) -> dict[str, float]:
    """By name and labels, as they stand in the text."""
    return {f"{name}{{{labels}}}": float(value) for name, labels, value in SAMPLE.findall(text)}


class MetricsCase(PeerTestCase):
    """A gateway that shows itself."""

    async def shown(self, files: Mapping[str, str] | None = None, more: str = "") -> Gateway:
        """It runs; ``page`` is its port."""
        self.page = free_port()
        self.taken = self.backend(Script(replies={"RCPT": REPLIES}))
        directory = {
            "http.ini": f"listen=127.0.0.1:{self.page}\n{more}",
            "relay_acl_allow": "",
            "host_list": "example.com\n",
            "auth_flat_file.ini": "[core]\nmethods=PLAIN\n[users]\nann=secret\n",
            **(files or {}),
        }
        gateway = await self.gateway(self.taken.port, directory)
        await gateway.until_listening(self.page)
        return gateway

    async def get(self, path: str, login: str = "", accept: str = "") -> Answer:
        """The answer to a GET."""
        return await deferToThread(fetch, self.page, path, login, accept)

    def in_vain(self, port: int) -> None:
        """A message that nobody takes. For a thread."""
        with RawClient(port) as client:
            client.hello()
            answer = client.transaction([b"Subject: x\r\n\r\nhello\r\n.\r\n"], "rcpt@example.com")
        assert answer.code == 451, answer.text

    async def check_counted(self, gateway: Gateway) -> str:
        """Some mail is counted; the text of the metrics."""
        await deferToThread(deliver, gateway.port)
        answer = await self.get("/metrics")
        self.assertEqual(200, answer.code)
        found = samples(answer.body)
        backend = f'backend="127.0.0.1:{self.taken.port}"'
        for name, value in {
            "connections_total{}": 2,
            f'transactions_total{{{backend},status="sent"}}': 1,
            f'transactions_total{{{backend},status="bounced"}}': 1,
            f'transactions_total{{{backend},status="deferred"}}': 1,
            'transactions_total{backend="none",status="bounced"}': 1,
            'refusals_total{rule="relaying"}': 1,
            'refusals_total{rule="bare_newline"}': 1,
            "failed_logins_total{}": 2,
            'phase_seconds_count{phase="edge"}': 3,
            'phase_seconds_count{phase="backend"}': 3,
            'phase_seconds_count{phase="wait"}': 3,
            "ready{}": 1,
        }.items():
            self.assertEqual(value, found.get(f"smtpforward_{name}"), (name, answer.body))
        self.assertIn("process_cpu_seconds_total{}", found)
        return answer.body


class MetricsTests(MetricsCase):
    """``/metrics``."""

    async def test_promtool(self) -> None:
        """What is counted is what happened, and promtool finds nothing to object to."""
        [program] = require("promtool")
        gateway = await self.shown()
        path = gateway.folder / "metrics"
        path.write_text(await self.check_counted(gateway), "utf-8")
        done = await run(["sh", "-c", f"exec {program} check metrics < {path}"])
        self.assertEqual((0, ""), (done.exit_code, done.output))

    async def test_prometheus(self) -> None:
        """A real one scrapes it and answers questions about it."""
        gateway = await self.shown()
        await deferToThread(deliver, gateway.port)
        prometheus = Prometheus(self.folder(), self.page)
        self.stop_later(prometheus.stop)
        await prometheus.ready()
        found = await prometheus.known("smtpforward_failed_logins_total")
        self.assertEqual(["2"], [one["value"][1] for one in found])

    async def test_openmetrics(self) -> None:
        """Whoever asks for OpenMetrics gets it."""
        await self.shown()
        answer = await self.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
        self.assertTrue(answer.body.endswith("# EOF\n"), answer.body)

    async def test_login(self) -> None:
        """Where the settings say so, the metrics want a name and a password; health does not."""
        await self.shown(more="user=prom\npassword=a secret\n")
        for login, code in (("", 401), ("prom:wrong", 401), ("x:a secret", 401)):
            self.assertEqual(code, (await self.get("/metrics", login)).code, login)
        self.assertEqual(200, (await self.get("/metrics", "prom:a secret")).code)
        self.assertEqual(200, (await self.get("/readyz")).code)

    async def test_workers(self) -> None:
        """One page for all: what each has counted, also one that has ended."""
        gateway = await self.shown({"connection.ini": "nodes=2\n"})
        await gateway.until(lambda: gateway.output().count("forwards to") == 2, "two workers")
        before = samples(await self.check_counted(gateway))
        self.assertEqual(2, before["smtpforward_workers{}"])
        self.assertEqual(200, (await self.get("/readyz")).code)
        [pid] = re.findall(r"worker 1: process (\d+)", gateway.output())
        await run(["kill", f"-{signal.SIGKILL.value}", pid])
        await gateway.until(lambda: "worker 1 has ended" in gateway.output(), "its end")
        after = samples((await self.get("/metrics")).body)
        for name, value in before.items():
            if name.startswith("smtpforward_") and "_total{" in name:
                self.assertEqual(value, after[name], name)


class HealthTests(MetricsCase):
    """``/healthz`` and ``/readyz``."""

    async def test_well(self) -> None:
        """A gateway that runs is alive and ready; elsewhere there is nothing."""
        await self.shown()
        self.assertEqual((200, {"alive": True}), await self.health("/healthz"))
        self.assertEqual((200, {"ready": True, "reasons": []}), await self.health("/readyz"))
        self.assertEqual(404, (await self.get("/nothing")).code)

    async def test_backend_down(self) -> None:
        """Without a backend it is alive and not ready, and says why."""
        gateway = await self.shown(
            {"smtp_forward.ini": f"host=127.0.0.1\nport={free_port()}\nenable_tls=false\n"}
        )
        await deferToThread(self.in_vain, gateway.port)
        code, told = await self.health("/readyz")
        self.assertEqual(503, code)
        self.assertFalse(told["ready"])
        self.assertIn("no backend can be reached: 127.0.0.1:", str(told["reasons"]))
        self.assertEqual(200, (await self.get("/healthz")).code)

    async def health(self, path: str) -> tuple[int, dict[str, object]]:
        """Code and object."""
        answer = await self.get(path)
        return answer.code, json.loads(answer.body)
