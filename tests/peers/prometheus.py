"""Debian's Prometheus, which scrapes one gateway and is asked about it."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.peers.ports import free_port
from tests.peers.process import Process
from tests.peers.require import require

EACH = "200ms"
PATIENCE = 15.0


class Prometheus(Process):
    """One that scrapes ``target``, a port of 127.0.0.1, five times a second.

    :param rules: files of alerts and the like.
    """

    def __init__(self, folder: Path, target: int, rules: Iterable[Path] = ()) -> None:
        [program] = require("prometheus")
        self.port = free_port()
        settings = {
            "global": {
                "scrape_interval": EACH,
                "scrape_timeout": EACH,
                "evaluation_interval": EACH,
            },
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {"job_name": "gateway", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
            ],
        }
        path = folder / "prometheus.yml"
        path.write_text(json.dumps(settings), "utf-8")  # JSON is YAML
        options = [
            f"--config.file={path}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        super().__init__([program, *options], folder, name="prometheus")

    async def ready(self) -> "Prometheus":
        """Itself, once it listens and the gateway has been scraped."""
        await self.until_listening(self.port)
        await self.until_known("smtpforward_ready")
        return self

    async def get(self, path: str, **query: str) -> Any:
        """What its HTTP API answers; 503 while it starts is no answer yet.

        :raises AssertionError: when it does not accept the question.
        """
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        return await deferToThread(_answer, url)

    async def known(self, expression: str) -> list[Any]:
        """What it knows now."""
        told = await self.get("query", query=expression)
        found: list[Any] = told["result"] if told else []
        return found

    async def until_known(self, expression: str) -> list[Any]:
        """What it knows, once that is something.

        :raises AssertionError: when it is still nothing after ``PATIENCE`` seconds.
        """
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = await self.known(expression)
            if found:
                return found
        raise AssertionError(f"nothing is known of {expression}")


def _answer(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=10.0) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return None
        raise AssertionError(f"{url}: {error.read().decode()}") from error
    assert told["status"] == "success", told
    return told["data"]
