"""The dashboard and the alerts, asked of a real Prometheus that has scraped a real gateway."""

import json
import smtplib
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import trustme
from twisted.internet.threads import deferToThread

from tests.integration.test_logs import deliver
from tests.integration.test_metrics import REPLIES, MetricsCase
from tests.integration.test_trace_command import send
from tests.peers.clients import run
from tests.peers.gateway import Gateway
from tests.peers.prometheus import Prometheus
from tests.peers.require import require
from tests.peers.script import Script
from tests.test_dashboard import RULES, expressions

AT_ONCE = 3  # connections of one address
ONLY_WITH_NODES = "smtpforward_workers"
HOUR, DAY = 3600, 86400
# Of each alert: the series that raise it, a value a minute, and when it is there.
RAISED: Mapping[str, tuple[dict[str, str], str]] = {
    "SmtpforwardNotReady": ({"smtpforward_ready": "0x30"}, "3m"),
    "SmtpforwardBackendDown": ({'smtpforward_backend_down{backend="b:25"}': "1x30"}, "6m"),
    "SmtpforwardPoolFull": ({'smtpforward_pool_waiting{backend="b:25"}': "2x30"}, "6m"),
    "SmtpforwardMailDeferred": (
        {
            'smtpforward_transactions_total{backend="b:25",status="deferred"}': "0+60x30",
            'smtpforward_transactions_total{backend="b:25",status="sent"}': "0+6x30",
        },
        "25m",
    ),
    "SmtpforwardQueueOld": ({"smtpforward_queue_oldest_age_seconds": f"{5 * HOUR}x30"}, "11m"),
    "SmtpforwardSettingsBad": ({'smtpforward_reloads_total{result="bad"}': "0 0 1x28"}, "5m"),
    "SmtpforwardCertificateExpires": (
        {'smtpforward_certificate_expiry_timestamp_seconds{certificate="mx"}': f"{13 * DAY}x30"},
        "1m",
    ),
}
# What raises none of them.
WELL = {
    "smtpforward_ready": "1x30",
    'smtpforward_backend_down{backend="b:25"}': "0x30",
    'smtpforward_pool_waiting{backend="b:25"}': "0x30",
    'smtpforward_transactions_total{backend="b:25",status="deferred"}': "0+1x30",
    'smtpforward_transactions_total{backend="b:25",status="sent"}': "0+60x30",
    "smtpforward_queue_oldest_age_seconds": f"{HOUR}x30",
    'smtpforward_reloads_total{result="bad"}': "1x30",
    'smtpforward_reloads_total{result="good"}': "0+1x30",
    'smtpforward_certificate_expiry_timestamp_seconds{certificate="mx"}': f"{60 * DAY}x30",
}


def bring(port: int) -> None:
    """Mail that is queued, inside TLS; then one client more than may be there. For a thread."""
    trusting = ssl._create_unverified_context()
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", 30.0) as client:
        client.starttls(context=trusting)
        client.sendmail("ann@example.net", ["late@queued.example"], b"Subject: x\r\n\r\nhello\r\n")
    waiting = [socket.create_connection(("127.0.0.1", port), 30.0) for _ in range(AT_ONCE + 1)]
    heard = [one.recv(512) for one in waiting]
    for one in waiting[:-1]:
        one.sendall(b"QUIT\r\n")
    for one in waiting:
        while one.recv(512):
            pass  # The gateway has closed it, and counts it no more.
        one.close()
    assert heard[-1].startswith(b"421 "), heard


class DashboardTests(MetricsCase):
    """What ``etc/grafana`` asks."""

    async def used(self) -> tuple[Gateway, Prometheus]:
        """Some of all that is counted has happened, and has been scraped."""
        folder, backend = self.folder(), self.backend(Script(replies={"RCPT": REPLIES}))
        issued = trustme.CA().issue_cert("mx1.example.com")
        issued.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
        forward = f"host=127.0.0.1\nport={backend.port}\nenable_tls=false\ntimeout=200\n"
        gateway = await self.shown(
            {
                "smtp_forward.ini": f"{forward}[queued.example]\nqueue=outbound\n",
                "host_list": "example.com\nqueued.example\n",
                "outbound.ini": f"store=sqlite:{folder}/queue.sqlite3\ntemp_fail_intervals=1h*3\n",
                "tls.ini": f"key={folder}/both.pem\ncert={folder}/both.pem\n",
                "connection.ini": f"[max]\nconnections_per_ip={AT_ONCE}\n",
            }
        )
        prometheus = Prometheus(self.folder(), self.page, [RULES])
        self.stop_later(prometheus.stop)
        await prometheus.ready()
        await deferToThread(deliver, gateway.port)
        await deferToThread(bring, gateway.port)
        await gateway.until(lambda: "attempts=1" in gateway.output(), "an attempt")
        # Its connection stays in the pool.
        await deferToThread(send, gateway.port, "rcpt@example.com")
        self.label = f'backend="127.0.0.1:{backend.port}"'
        return gateway, prometheus

    async def test_asked(self) -> None:
        """Prometheus accepts every question, and knows an answer to it."""
        _, prometheus = await self.used()
        asked = expressions()
        self.assertGreater(len(asked), 20)
        for expression in asked:
            if ONLY_WITH_NODES in expression:
                await prometheus.known(expression)
            else:
                await prometheus.until_known(expression)
        for name, labels in (
            ("transactions", f'{self.label},status="bounced"'),
            ("transactions", 'backend="queue",status="queued"'),
            ("deliveries", f'{self.label},status="deferred"'),
            ("refusals", 'rule="relaying"'),
            ("connections_refused", 'rule="connections_per_ip"'),
            ("tls_handshakes", 'version="TLSv1.3"'),
        ):
            await prometheus.until_known(f"smtpforward_{name}_total{{{labels}}} == 1")

    async def test_rules(self) -> None:
        """Prometheus works out every alert; what it should not raise here, it does not."""
        _, prometheus = await self.used()
        while True:
            told = await prometheus.get("rules")
            rules = [rule for group in told["groups"] for rule in group["rules"]]
            if all(rule["health"] != "unknown" for rule in rules):
                break
        self.assertEqual(set(RAISED), {rule["name"] for rule in rules})
        self.assertEqual({"ok"}, {rule["health"] for rule in rules}, rules)
        self.assertNotIn("firing", {rule["state"] for rule in rules})


class AlertTests(MetricsCase):
    """What ``etc/prometheus`` raises, by promtool's own clock."""

    async def promtool(self, *words: str) -> None:
        """It finds nothing."""
        [program] = require("promtool")
        done = await run([program, *words])
        self.assertEqual(0, done.exit_code, done.output)

    async def test_check(self) -> None:
        """The file is one of rules."""
        await self.promtool("check", "rules", str(RULES))

    async def test_raised(self) -> None:
        """Each is raised by what it is for, and none by a gateway that is well."""
        tests = [self.of(name, series, at, 1) for name, (series, at) in RAISED.items()]
        tests += [self.of(name, WELL, at, 0) for name, (_, at) in RAISED.items()]
        path = self.folder() / "alerts.yml"
        path.write_text(json.dumps({"rule_files": [str(RULES)], "tests": tests}), "utf-8")
        await self.promtool("test", "rules", str(path))

    def of(self, name: str, series: Mapping[str, str], at: str, raised: int) -> dict[str, Any]:
        """One of promtool's tests: how often ``name`` is there after ``at``."""
        return {
            "interval": "1m",
            "input_series": [{"series": one, "values": values} for one, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
                    "eval_time": at,
                    "exp_samples": [{"labels": "{}", "value": raised}],
                }
            ],
        }
