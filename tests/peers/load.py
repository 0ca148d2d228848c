"""Senders that go on whatever happens, and write down what became of each message.

Each message has a number, recipients of its own, and is sent once: a sender that had no answer does
not send it again, so that the backend has it at most once. They block, in threads.
"""

import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from tests.peers.conversation import Message
from tests.peers.raw import Answer, RawClient

SESSIONS = 8
NUMBER = b"X-Number: "


class Load:
    """The senders.

    :param large: the size of every tenth message, in bytes.
    :ivar answers: by number; ``None`` where the connection ended in place of an answer.
    """

    def __init__(self, port: int, large: int = 200_000) -> None:
        self.answers: dict[int, Answer | None] = {}
        self._port = port
        self._large = large
        self._numbers = itertools.count(1)
        self._may_connect = threading.Event()
        self._enough = False
        self._running: Deferred[list[None]] | None = None

    def start(self) -> None:
        """Begin, as soon as there is somebody to connect to: see :meth:`resume`."""
        sessions = [deferToThread(self._session, number) for number in range(SESSIONS)]
        self._running = gatherResults(sessions, consumeErrors=True)

    def resume(self) -> None:
        """The gateway listens."""
        self._may_connect.set()

    def pause(self) -> None:
        """It is going: who loses it waits for :meth:`resume`."""
        self._may_connect.clear()

    async def stop(self) -> None:
        """Return when each sender has come to the end of its message."""
        self._enough = True
        self.resume()
        if self._running is not None:
            await self._running

    def _session(self, _: int) -> None:
        while not self._enough:
            self._may_connect.wait()
            try:
                with RawClient(self._port, 20.0) as client:
                    client.hello()
                    while not self._enough:
                        self._send(client)
            except (OSError, EOFError):
                continue

    def _send(self, client: RawClient) -> None:
        number = next(self._numbers)
        self.answers[number] = None
        self.answers[number] = client.transaction(self._segments(number), *recipients(number))

    def _segments(self, number: int) -> Sequence[bytes]:
        """The message in two writes."""
        size = self._large if number % 10 == 0 else 1000
        body = b"0123456789abcdef\r\n" * (size // 18)
        wire = b"%b%d\r\nSubject: load\r\n\r\n%b.\r\n" % (NUMBER, number, body)
        middle = len(wire) // 2
        return wire[:middle], wire[middle:]

    # -- what became of them

    def taken(self) -> set[int]:
        """Those that were answered 250."""
        return {
            number
            for number, answer in self.answers.copy().items()
            if answer and answer.code == 250
        }

    def unanswered(self) -> set[int]:
        """Those whose sender does not know."""
        return {number for number, answer in self.answers.copy().items() if answer is None}

    def codes(self) -> Counter[int]:
        """How often each code came."""
        return Counter(answer.code for answer in self.answers.copy().values() if answer)

    def faults(self, messages: Iterable[Message]) -> list[str]:
        """What is wrong about ``messages``, those that the backend has kept."""
        found = Counter[int]()
        wrong = []
        for message in messages:
            number = number_of(message)
            found[number] += 1
            expected = tuple(f"RCPT TO:<{rcpt}>".encode() for rcpt in recipients(number))
            if message.rcpts != expected:
                wrong.append(f"{number} is for {expected}, and went to {message.rcpts}")
            if not message.plain.endswith(b"".join(self._segments(number))[:-3]):
                wrong.append(f"{number} is not as it was sent")
        wrong += [f"{number}: 250, and lost" for number in self.taken() if not found[number]]
        wrong += [
            f"{number} is there {times} times" for number, times in found.items() if times > 1
        ]
        return wrong


def recipients(number: int) -> tuple[str, ...]:
    """Those of a message: nobody else's; one to three."""
    count = random.Random(number).choice((1, 1, 2, 3))
    return tuple(f"m{number}-{index}@example.com" for index in range(count))


def number_of(message: Message) -> int:
    """Which one it is."""
    return int(message.plain.partition(NUMBER)[2].partition(b"\r\n")[0])
