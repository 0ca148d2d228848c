"""Who is at the other end, and what its transport can do."""

from typing import Any

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.net import peer


class Transport:
    """Notes what is called."""

    def __init__(self) -> None:
        self.called: list[Any] = []

    def loseConnection(self) -> None:
        self.called.append("lose")


class Abortable(Transport):
    """One that can be aborted, and knows about Nagle."""

    def abortConnection(self) -> None:
        self.called.append("abort")

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.called.append(enabled)


class PeerTests(SynchronousTestCase):
    """Addresses and transports."""

    def test_textual(self) -> None:
        """Text and port; an IPv4 client of an IPv6 socket is an IPv4 client."""
        for addr, expected in (
            (IPv4Address("TCP", "192.0.2.1", 25), ("192.0.2.1", 25)),
            (IPv6Address("TCP", "2001:db8::1", 25), ("2001:db8::1", 25)),
            (IPv6Address("TCP", "fe80::1%eth0", 25), ("fe80::1%eth0", 25)),
            (IPv6Address("TCP", "::ffff:192.0.2.1", 25), ("192.0.2.1", 25)),
            (IPv6Address("TCP", "::ffff:c000:201", 25), ("192.0.2.1", 25)),
            (IPv6Address("TCP", "::ffff:0:c000:201", 25), ("::ffff:0:c000:201", 25)),
            (IPv6Address("TCP", "::1", 25), ("::1", 25)),
        ):
            self.assertEqual(peer.textual(addr), expected)

    def test_local(self) -> None:
        """Where there is no IP address the client is local."""
        for addr in (None, UNIXAddress(b"/run/x"), HostnameAddress(b"a.example", 25)):
            self.assertEqual(peer.textual(addr), ("local", 0))

    def test_abort(self) -> None:
        """A transport that can is aborted, another one closed."""
        for transport, expected in ((Transport(), ["lose"]), (Abortable(), ["abort"])):
            peer.abort(transport)
            self.assertEqual(transport.called, expected)

    def test_no_delay(self) -> None:
        """Nagle is switched off where there is such a thing."""
        for transport, expected in ((Transport(), []), (Abortable(), [True])):
            peer.set_no_delay(transport)
            self.assertEqual(transport.called, expected)
