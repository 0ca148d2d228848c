"""A spooled message on its way."""

from collections.abc import Iterator

from twisted.internet.interfaces import IPullProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smtpforward.client.body import BodyProducer
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
