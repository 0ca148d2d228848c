"""A spooled message on its way."""

import os
from collections.abc import Iterator

from twisted.internet.interfaces import IPullProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smtpforward.client.body import BodyProducer, FileProducer, sends_files
from smtpforward.content import Content, Form
from tests.clientsupport import Wire


class BodyProducerTests(SynchronousTestCase):
    """Piece by piece, as the transport asks."""

    def producer(self, pieces: Iterator[bytes]) -> BodyProducer:
        """A producer on a new wire; what it reports is noted."""
        self.wire = Wire()
        self.heard: list[str] = []
        return BodyProducer(
            self.wire,
            pieces,
            lambda: self.heard.append("moved"),
            lambda: self.heard.append("finished"),
            lambda error: self.heard.append(str(error)),
        )

    def test_interface(self) -> None:
        """It is a pull producer."""
        verifyObject(IPullProducer, self.producer(iter(())))

    def test_pieces(self) -> None:
        """One piece each time that there is room; each counts as progress; then the end, once."""
        producer = self.producer(iter([b"one", b"two"]))
        producer.start()
        self.assertIs(self.wire.streaming, False)
        self.assertEqual(self.wire.sent(), b"one")
        producer.resumeProducing()
        self.assertEqual(self.wire.sent(), b"two")
        self.assertEqual(self.heard, ["moved", "moved"])
        producer.resumeProducing()
        self.assertEqual(self.heard, ["moved", "moved", "finished"])
        self.assertIsNone(self.wire.producer)

    def test_empty_pieces(self) -> None:
        """A piece without bytes is left out: the transport would never ask for the next."""
        self.producer(iter([b"", b"one", b"", b"", b"two", b""])).start()
        self.assertEqual(self.wire.drain(), b"onetwo")
        self.assertEqual(self.heard, ["moved", "moved", "finished"])

    def test_unreadable(self) -> None:
        """When reading fails, that is told once and nothing more is written."""

        def pieces() -> Iterator[bytes]:
            yield b"one"
            raise OSError("disk on fire")

        self.producer(pieces()).start()
        self.assertEqual(self.wire.drain(), b"one")
        self.assertEqual(self.heard, ["moved", "disk on fire"])
        self.assertIsNone(self.wire.producer)

    def test_stopped(self) -> None:
        """When the connection has gone nothing more is read."""
        read: list[bytes] = []

        def pieces() -> Iterator[bytes]:
            for piece in (b"one", b"two"):
                read.append(piece)
                yield piece

        producer = self.producer(pieces())
        producer.start()
        producer.stopProducing()
        producer.resumeProducing()
        self.assertEqual(read, [b"one"])
        self.assertEqual(self.wire.sent(), b"one")


class KernelWire(Wire):
    """A connection whose kernel sends files.

    :ivar takes: what each call takes: so many bytes, or an exception.
    """

    TLS = False
    waiting = 0

    def __init__(self, takes: list[int | OSError]) -> None:
        Wire.__init__(self)
        self.takes = takes

    def send_file(self, descriptor: int, offset: int, count: int) -> int:
        """As ``WriteThrough`` has it."""
        takes = self.takes.pop(0)
        if isinstance(takes, OSError):
            raise takes
        data = os.pread(descriptor, min(takes, count), offset)
        self.writes.append(data)
        return len(data)

    def startWriting(self) -> None:
        """Note it."""
        self.waiting += 1


class FileProducerTests(SynchronousTestCase):
    """The kernel sends it, each time as much as there is room for."""

    MESSAGE = b"Subject: x\r\n\r\n" + b"0123456789abcde\r\n" * 100

    def producer(self, *takes: int | OSError, prefix: bytes = b"") -> FileProducer:
        """One of a message in a file, on a wire that takes so much; what it reports is noted."""
        self.heard: list[str] = []
        os.mkdir(directory := self.mktemp())
        self.content = Content(directory, 10)
        self.addCleanup(self.content.close)
        self.content.append(self.MESSAGE)
        self.content.prefix = prefix
        self.wire = KernelWire(list(takes))
        return FileProducer(
            self.wire,
            self.content,
            lambda: self.heard.append("moved"),
            lambda: self.heard.append("finished"),
            lambda error: self.heard.append(str(error)),
        )

    def test_interface(self) -> None:
        """It is a pull producer."""
        verifyObject(IPullProducer, self.producer())

    def test_parts(self) -> None:
        """All in order, each part counts as progress, and between them the socket is waited for."""
        producer = self.producer(500, BlockingIOError(), 700, 5000, prefix=b"Received: y\r\n")
        producer.start()
        self.assertIs(self.wire.streaming, False)
        self.assertEqual((self.heard, self.wire.waiting), (["moved"], 1))
        producer.resumeProducing()
        self.assertEqual((self.heard, self.wire.waiting), (["moved"], 2))
        producer.resumeProducing()
        producer.resumeProducing()
        self.assertEqual((self.heard, self.wire.waiting), (["moved", "moved", "finished"], 3))
        self.assertEqual(self.wire.sent(), b"Received: y\r\n" + self.MESSAGE)
        self.assertIsNone(self.wire.producer)

    def test_left_by_the_kernel(self) -> None:
        """What it does not send goes as pieces, from where it stopped."""
        producer = self.producer(500, OSError("not this file"))
        producer.start()
        producer.resumeProducing()
        self.assertEqual(self.wire.drain(), self.MESSAGE)
        self.assertEqual(self.heard, ["moved", "moved", "finished"])

    def test_short(self) -> None:
        """A file that ends before its message does is not passed for a whole one."""
        producer = self.producer(500, 100)
        producer.start()
        with open(f"/proc/self/fd/{self.descriptor()}", "r+b") as file:
            file.truncate(500)
        producer.resumeProducing()
        self.assertEqual(self.wire.drain(), self.MESSAGE[:500])
        self.assertEqual(self.heard[0], "moved")
        self.assertIn(f"ends at 500 of {len(self.MESSAGE)} bytes", self.heard[1])
        self.assertEqual(len(self.heard), 2)
        self.assertIsNone(self.wire.producer)

    def descriptor(self) -> int:
        """That of the message's file."""
        seen: list[int] = []
        self.content.send(lambda descriptor, *_: seen.append(descriptor) or 0, 0)
        return seen[0]

    def test_stopped(self) -> None:
        """When the connection has gone nothing more is sent."""
        producer = self.producer(500, 500)
        producer.start()
        producer.stopProducing()
        producer.resumeProducing()
        self.assertEqual(self.wire.sent(), self.MESSAGE[:500])

    def test_where(self) -> None:
        """Not through TLS, and not what is in memory or to be stuffed."""
        self.producer()
        self.assertTrue(sends_files(self.wire))
        self.wire.TLS = True
        self.assertFalse(sends_files(self.wire))
        self.assertFalse(sends_files(Wire()))
        self.assertTrue(self.content.wire_in_file)
        self.assertFalse(Content.from_plain(b"x").wire_in_file)
        plain = Content(self.mktemp(), 10, Form.PLAIN)
        self.assertFalse(plain.wire_in_file)
