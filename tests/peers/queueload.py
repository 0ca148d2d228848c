"""Senders for gateways that queue: mailings, over several gateways, and when each was answered.

Like those of ``load.py``; and who is told to come later does not come back at once.
"""

import itertools
import threading
import time
from collections.abc import Iterator

from attrs import frozen

from tests.peers.framing import stuffed
from tests.peers.load import Load
from tests.peers.mailings import Mailing
from tests.peers.raw import RawClient

A_MOMENT = 0.1
SILENCE = 30.0


@frozen
class Answered:
    """One answer: its ``code``, its ``text``, and on the clock of :func:`time.monotonic` when the
    message was begun and when the answer was there.

    :ivar port: of the gateway.
    """

    code: int
    text: str
    port: int
    begun: float
    at: float


class QueueLoad(Load):
    """The senders, spread over the gateways at ``ports``.

    :param large: see :class:`~tests.peers.mailings.Mailing`. ``most``: how many are sent in all.
    :ivar log: by number, as ``answers``, what was answered and when.
    """

    def __init__(self, *ports: int, large: int = 200_000, most: int | None = None) -> None:
        super().__init__(ports[0], large)
        self.log: dict[int, Answered] = {}
        self._ports = ports
        self._up: frozenset[int] = frozenset()
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._unsent: Iterator[int] = iter(range(1, most + 1)) if most else itertools.count(1)

    def resume(self, *ports: int) -> None:
        """The gateways at ``ports`` listen, or all."""
        with self._changed:
            self._up |= frozenset(ports or self._ports)
            self._changed.notify_all()

    def pause(self, *ports: int) -> None:
        """They are going: who loses one goes to another that is up, or waits for one."""
        with self._changed:
            self._up -= frozenset(ports or self._ports)

    async def stop(self) -> None:
        """Return when each sender has come to the end of its message."""
        self._over.set()
        await super().stop()

    async def done(self) -> None:
        """Return when all ``most`` have been sent."""
        if self._running is not None:
            await self._running

    def _port_for(self, session: int) -> int:
        """Of the gateways that are up, one for each session in turn."""
        with self._changed:
            self._changed.wait_for(lambda: self._up)
            up = [port for port in self._ports if port in self._up]
            return up[session % len(up)]

    def _session(self, number: int) -> None:
        while not self._over.is_set():
            port = self._port_for(number)
            try:
                with RawClient(port, SILENCE) as client:
                    client.hello()
                    while not self._over.is_set() and port in self._up:
                        if not self._bring(client, port):
                            return
            except (OSError, EOFError):
                # One that was refused, and may be gone for good, is not asked in a tight loop.
                self._over.wait(A_MOMENT)

    def _bring(self, client: RawClient, port: int) -> bool:
        """Send the next message, if there is one."""
        number = next(self._unsent, None)
        if number is None:
            return False
        mailing, begun = Mailing(number, self._large), time.monotonic()
        wire = stuffed(mailing.plain) + b".\r\n"
        middle = len(wire) // 2
        self.answers[number] = None
        answer = client.transaction(
            (wire[:middle], wire[middle:]), *mailing.recipients, sender=mailing.sender
        )
        self.log[number] = Answered(answer.code, answer.text, port, begun, time.monotonic())
        self.answers[number] = answer
        if answer.code >= 400:
            self._over.wait(A_MOMENT)
        return True

    def served_since(self, moment: float) -> set[int]:
        """The ports of the gateways that answered 250 to what was begun after ``moment``."""
        answered = list(self.log.values())
        return {each.port for each in answered if each.code == 250 and each.begun > moment}

    def expected(self) -> set[str]:
        """The recipients of what was answered 250."""
        return {each for number in self.taken() for each in Mailing(number).recipients}
