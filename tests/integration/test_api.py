"""``/api`` of a real gateway, over HTTP, while mail passes."""

import json
from typing import Any

from twisted.internet.threads import deferToThread

from tests.integration.test_logs import deliver
from tests.integration.test_metrics import MetricsCase


class APICase(MetricsCase):
    """Asks a gateway that shows itself."""

    async def told(self, path: str, code: int = 200) -> Any:
        """What ``path`` gives."""
        answer = await self.get(path)
        self.assertEqual(code, answer.code, answer.body)
        return json.loads(answer.body)


class TransactionsTests(APICase):
    """What has passed."""

    async def test_mail(self) -> None:
        """Each transaction is there with what its sender heard, the newest first."""
        gateway = await self.shown()
        await deferToThread(deliver, gateway.port)
        found = (await self.told("/api/transactions"))["transactions"]
        self.assertEqual(
            ["refused", "refused", "deferred", "bounced", "sent"],
            [one["status"] for one in found],
        )
        self.assertEqual(["bare_newline", "relaying"], [one["rule"] for one in found[:2]])
        sent = found[-1]
        self.assertEqual(
            ("sender@example.org", ["rcpt@example.com"], 1),
            (sent["from"], sent["to"], sent["recipients"]),
        )
        self.assertEqual(f"127.0.0.1[127.0.0.1]:{self.taken.port}", sent["relay"])
        self.assertTrue(sent["reply"].startswith("250 "), sent)
        for search, count in {
            sent["id"]: 1, "RCPT@": 2, "elsewhere": 1, "127.0.0.1": 5, "sender@": 5, "none@": 1,
        }.items():  # fmt: skip
            found = (await self.told(f"/api/transactions?search={search}"))["transactions"]
            self.assertEqual(count, len(found), search)
        [told] = (await self.told("/api/transactions?limit=1"))["transactions"]
        self.assertEqual("refused", told["status"])
        timeline = await self.told(f"/api/transactions/{sent['id']}")
        self.assertEqual(["received", "forwarded"], [e["event"] for e in timeline["events"]])
        self.assertEqual("nothing is known of this id, or not any more",
                         (await self.told("/api/transactions/ABC", 404))["error"])  # fmt: skip

    async def test_status(self) -> None:
        """The numbers are those of the metrics."""
        gateway = await self.shown()
        await deferToThread(deliver, gateway.port)
        status = await self.told("/api/status")
        backend = f"127.0.0.1:{self.taken.port}"
        self.assertEqual((True, [], 0), (status["ready"], status["reasons"], status["workers"]))
        self.assertEqual(
            [("up", 1, 1, 1, 1000)],
            [
                (b["health"], b["sent"], b["deferred"], b["bounced"], b["limit"])
                for b in status["backends"]
                if b["backend"] == backend
            ],
        )
        self.assertIn({"backend": backend, "status": "sent", "count": 1}, status["transactions"])
        self.assertEqual({"relaying": 1, "bare_newline": 1}, status["refusals"])
        self.assertEqual(2, status["connections"]["total"])
        self.assertIsNone(status["queue"])
        self.assertEqual(
            [{"name": "default", "queue": "forward", "backends": [backend]}], status["routes"]
        )
