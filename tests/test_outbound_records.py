"""What an answer of the DNS says: names, aliases, and for how long."""

from typing import Any

from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.outbound.records import (
    LONGEST,
    LONGEST_NO,
    MOST_RECORDS,
    SHORTEST,
    Exchanger,
    Kind,
    Read,
    is_name,
    keep_no,
    read,
)


def header(name: bytes, record: Any, ttl: int = 300) -> dns.RRHeader:
    """One record of an answer."""
    return dns.RRHeader(name, record.TYPE, dns.IN, ttl, record)


def mx(preference: int, host: bytes, name: bytes = b"example.com", ttl: int = 300) -> dns.RRHeader:
    """An MX record."""
    return header(name, dns.Record_MX(preference, host), ttl)


def a(name: bytes, ip: str, ttl: int = 300) -> dns.RRHeader:
    """An A record."""
    return header(name, dns.Record_A(ip), ttl)


def alias(name: bytes, target: bytes, ttl: int = 300) -> dns.RRHeader:
    """A CNAME record."""
    return header(name, dns.Record_CNAME(target), ttl)


class ReadTests(SynchronousTestCase):
    """One answer."""

    def test_exchangers(self) -> None:
        """The most preferred first; names in lower case without a dot at the end."""
        found = read("example.com", Kind.MX, [mx(20, b"B.Example.com."), mx(10, b"a.example.com")])
        self.assertEqual(
            found.records, (Exchanger(10, "a.example.com"), Exchanger(20, "b.example.com"))
        )

    def test_null(self) -> None:
        """The root is a host without a name."""
        self.assertEqual(read("example.com", Kind.MX, [mx(0, b"")]).records, (Exchanger(0, ""),))

    def test_addresses(self) -> None:
        """Each once, of the kind that was asked for."""
        answers = [
            a(b"example.com", "192.0.2.1"),
            a(b"example.com", "192.0.2.2"),
            a(b"example.com", "192.0.2.1"),
            header(b"example.com", dns.Record_AAAA("2001:db8:0::1")),
        ]
        self.assertEqual(read("example.com", Kind.A, answers).records, ("192.0.2.1", "192.0.2.2"))
        self.assertEqual(read("example.com", Kind.AAAA, answers).records, ("2001:db8::1",))

    def test_of_others(self) -> None:
        """Records of a name that nobody asked for are none of ours; upper case is the same name."""
        answers = [a(b"other.example", "192.0.2.1"), a(b"EXAMPLE.com", "192.0.2.2")]
        self.assertEqual(read("example.com", Kind.A, answers).records, ("192.0.2.2",))

    def test_aliases(self) -> None:
        """Followed, whatever the order of the records; the shortest time holds."""
        answers = [
            a(b"c.example", "192.0.2.1", 300),
            alias(b"b.example", b"c.example", 20),
            alias(b"a.example", b"B.example", 100),
        ]
        self.assertEqual(read("a.example", Kind.A, answers), Read("c.example", ("192.0.2.1",), 20))

    def test_alias_to_elsewhere(self) -> None:
        """It says where."""
        self.assertEqual(
            read("a.example", Kind.A, [alias(b"a.example", b"c.example", 20)]),
            Read("c.example", (), 20),
        )

    def test_aliases_in_a_circle(self) -> None:
        """There is an end to it."""
        answers = [alias(b"a.example", b"b.example"), alias(b"b.example", b"a.example")]
        self.assertEqual(read("a.example", Kind.A, answers).records, ())

    def test_times(self) -> None:
        """Not longer than a day, and not so short that each message asks."""
        for ttl, kept in ((0, SHORTEST), (1_000_000, LONGEST), (60, 60)):
            answers = [a(b"example.com", "192.0.2.1", ttl)]
            self.assertEqual(read("example.com", Kind.A, answers).ttl, kept)

    def test_odd_names(self) -> None:
        """What cannot stand in a log is escaped, and is no host's name."""
        [found] = read("example.com", Kind.MX, [mx(10, b"a\r\n250 ok\xff.example")]).records
        self.assertEqual(found.host, "a\\013\\010250\\032ok\\255.example")
        self.assertFalse(is_name(found.host))

    def test_bounded(self) -> None:
        """Of very many the most preferred stay."""
        answers = [mx(1000 - n, b"%d.example" % n) for n in range(300)]
        records = read("example.com", Kind.MX, answers).records
        self.assertEqual(len(records), MOST_RECORDS)
        self.assertEqual(records[0].preference, 701)
        answers = [a(b"example.com", f"192.0.{n}.1") for n in range(200)]
        self.assertEqual(len(read("example.com", Kind.A, answers).records), MOST_RECORDS)


class KeepNoTests(SynchronousTestCase):
    """How long nothing is there (RFC 2308)."""

    def soa(self, ttl: int, minimum: int) -> dns.RRHeader:
        """A zone's SOA."""
        return header(b"example.com", dns.Record_SOA(minimum=minimum), ttl)

    def test_soa(self) -> None:
        """The lesser of its own time and its minimum, within bounds."""
        for ttl, minimum, kept in (
            (300, 60, 60),
            (60, 300, 60),
            (86400, 86400, LONGEST_NO),
            (0, 0, SHORTEST),
        ):
            self.assertEqual(keep_no([self.soa(ttl, minimum)]), kept)

    def test_none(self) -> None:
        """Without one nobody has said it."""
        self.assertIsNone(keep_no([]))
        self.assertIsNone(keep_no([mx(10, b"a.example")]))


class NameTests(SynchronousTestCase):
    """What can be asked for."""

    def test_names(self) -> None:
        """Labels of 1 to 63 octets, 253 in all; underscores are seen in practice."""
        long = ".".join(["x" * 49] * 5)
        for name in ("example.com", "a", "_a.b-c.example", "xn--bcher-kva.example", long + ".abc"):
            self.assertTrue(is_name(name), name)
        for name in (
            *("", ".", "a..b", ".a", "a.", "a b", "a\n", "b\u00fccher.example", "a\\013.example"),
            *("x" * 64, long + ".abcde"),
        ):
            self.assertFalse(is_name(name), name)
