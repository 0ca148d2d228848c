"""Gateways that queue all that they are brought, one after the other or side by side on one store.

All of it goes to loopback: two domains have sections with backends of their own, the rest and the
bounces go to a smart host. Each life of a gateway connects from an address of its own. What the
senders were told and what the backends were given is compared here: see :func:`faults`.
"""

import itertools
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet import reactor
from twisted.internet.task import deferLater

from smtpforward.outbound.store.choice import store_at
from tests.peers.case import PeerTestCase
from tests.peers.gateway import ME, Files, Gateway
from tests.peers.mailings import DOMAINS, Mailing, bounces
from tests.peers.queueload import QueueLoad
from tests.peers.takers import Taken, Takers

CONCURRENCY = 20
LEASE = 10
SPOOL_AFTER = 100_000


def source(life: int) -> str:
    """The address from which the gateway of that life connects."""
    return f"127.1.{life // 250}.{life % 250 + 1}"


def life_of(taken: Taken) -> int:
    """Which life has brought it."""
    _, _, high, low = map(int, taken.source.split("."))
    return high * 250 + low - 1


class QueueCase(PeerTestCase):
    """Starts gateways with a queue."""

    def queue_files(
        self, port: int, store: str, takers: Takers, life: int = 0, **outbound: object
    ) -> Files:
        """The configuration directory.

        :param outbound: more of ``outbound.ini``.
        """
        first, second, smart_host = takers.ports
        bind = f"bind={source(life)}\n"
        common = f"host=127.0.0.1\nenable_tls=false\n{bind}"
        sections = "".join(
            f"[{domain}]\n{common}port={port}\n"
            for domain, port in zip(DOMAINS, (first, second), strict=False)
        )
        values = {
            "store": store,
            "smart_host": f"127.0.0.1:{smart_host}",
            "enable_tls": "false",
            "bind": source(life),
            "temp_fail_intervals": "1s*50",
            "concurrency_max": CONCURRENCY,
            "lease": LEASE,
            **outbound,
        }
        return {
            "me": f"{ME}\n",
            "smtp.ini": f"listen=127.0.0.1:{port}\n",
            "connection.ini": f"spool_after={SPOOL_AFTER}\n",
            "smtp_forward.ini": f"{common}port={smart_host}\nenable_outbound=false\n"
            f"split_routes=queue\n{sections}",
            "outbound.ini": "".join(f"{key}={value}\n" for key, value in values.items()),
            "relay_acl_allow": "127.0.0.0/8\n",
        }

    async def queueing(
        self, port: int, store: str, takers: Takers, life: int = 0, **outbound: object
    ) -> Gateway:
        """A running one."""
        return await self.started(port, self.queue_files(port, store, takers, life, **outbound))

    async def started(self, port: int, files: Files, command: Sequence[str] = ()) -> Gateway:
        """A running one with these files."""
        gateway = Gateway(self.folder(), files, port, command=command)
        self.stop_later(gateway.stop)
        return await gateway.ready()

    def takers(self, large: int = 200_000) -> Takers:
        """The backends."""
        takers = Takers(len(DOMAINS), large)
        self.stop_later(takers.stop)
        return takers

    def queue_load(self, *ports: int, large: int = 200_000, most: int | None = None) -> QueueLoad:
        """Senders that wait for a gateway."""
        load = QueueLoad(*ports, large=large, most=most)
        load.start()
        self.stop_later(load.stop)
        return load

    async def until_empty(self, address: str, timeout: float, what: Any) -> None:
        """Return once nothing is left in the store at ``address``."""
        store = store_at(address, reactor)
        await store.open(None)
        deadline = time.monotonic() + timeout
        try:
            while (stats := await store.stats(3)).messages:
                if time.monotonic() > deadline:
                    raise AssertionError(
                        f"not empty within {timeout:g} s: {stats}; {what()[-4000:]}"
                    )
                await deferLater(reactor, 0.05)
        finally:
            await store.close()


# -- what became of the messages


@frozen
class Account:
    """The numbers of one run."""

    messages: int
    taken: int
    unanswered: int
    refused: Mapping[int, int]
    recipients: int
    transactions: int
    delivered: int
    bounced: int
    repeated: int

    def __str__(self) -> str:
        refused = ", ".join(f"{count} x {code}" for code, count in self.refused.items()) or "none"
        return (
            f"{self.messages} messages: {self.taken} answered 250, {self.unanswered} not answered,"
            f" refused: {refused}; {self.recipients} recipients of those with 250;"
            f" {self.transactions} transactions at backends; {self.delivered} recipients delivered,"
            f" {self.bounced} bounced, {self.repeated} of them more than once"
        )


def account(load: QueueLoad, takers: Takers) -> Account:
    """The numbers."""
    delivered, bounced = takers.delivered(), takers.bounced()
    codes = load.codes()
    return Account(
        len(load.answers),
        codes.pop(250, 0),
        len(load.unanswered()),
        codes,
        sum(len(Mailing(number).recipients) for number in load.taken()),
        len(takers.taken),
        len(delivered),
        len(bounced),
        sum(len(taken) > 1 for taken in (*delivered.values(), *bounced.values())),
    )


def faults(load: QueueLoad, takers: Takers) -> list[str]:
    """What is wrong: nothing, where each 250 was true and nobody got what is not theirs.

    A message without an answer, or with a temporary refusal, is there as a whole or not at all.
    """
    delivered, bounced = takers.delivered(), takers.bounced()
    wrong = list(takers.wrong)
    taken = load.taken()
    for number in load.answers:
        recipients = Mailing(number).recipients
        reached = {r for r in recipients if r in (bounced if bounces(r) else delivered)}
        strayed = {r for r in recipients if r in (delivered if bounces(r) else bounced)}
        if strayed:
            wrong.append(f"{number}: {strayed} delivered that were refused, or the reverse")
        if number in taken and len(reached) < len(recipients):
            wrong.append(f"{number}: 250, and lost for {set(recipients) - reached}")
        elif 0 < len(reached) < len(recipients):
            wrong.append(f"{number}: no 250, and only {reached} of {recipients} got it")
    for recipient, notices in bounced.items():
        if len({notice.bounce for notice in notices}) > 1:
            wrong.append(f"{recipient}: more than one bounce was made")
    return wrong


def repeats(takers: Takers) -> list[tuple[Taken, Taken]]:
    """Each transaction with the next one that brought one of its recipients the same again."""
    pairs = []
    for by_recipient in (takers.delivered(), takers.bounced()):
        for taken in by_recipient.values():
            pairs += list(itertools.pairwise(taken))
    return pairs


def repeated_from(pairs: Collection[tuple[Taken, Taken]]) -> dict[str, int]:
    """How many transactions from each source were done again: by source."""
    first = defaultdict[str, set[int]](set)
    for earlier, _ in pairs:
        first[earlier.source].add(id(earlier))
    return {source: len(transactions) for source, transactions in first.items()}


def store_of(folder: Path) -> str:
    """The address of an SQLite store in ``folder``."""
    return f"sqlite:{folder / 'queue.sqlite3'}"
