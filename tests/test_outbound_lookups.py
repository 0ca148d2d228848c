"""Lookups: what is kept and for how long, what is asked once, and what is no answer."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryRefusedError, DNSServerError, DNSUnknownError
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.outbound.lookups import AT_ONCE, FAILED_FOR, WITHIN, LookupFailed, Lookups
from smtpforward.outbound.records import MOST_ALIASES, SHORTEST, Answer, Exchanger, Kind
from tests.test_outbound_records import a, alias, header, mx

NAME = "example.com"
FOUND = Answer(("192.0.2.1",))


def soa(minimum: int) -> dns.RRHeader:
    """What says for how long nothing is there."""
    return header(b"com", dns.Record_SOA(minimum=minimum), 86400)


class LookupsCase(SynchronousTestCase):
    """A name server that answers when a test says so."""

    def setUp(self) -> None:
        """Nothing is known, nothing asked."""
        self.clock = Clock()
        self.asked: list[tuple[str, int]] = []
        self.open: list[Deferred[Any]] = []
        self.lookups = Lookups(self, self.clock, most=3)

    def query(self, query: dns.Query) -> "Deferred[Any]":
        """A question comes."""
        self.asked.append((query.name.name.decode(), query.type))
        asking: Deferred[Any] = Deferred()
        self.open.append(asking)
        return asking

    def ask(self, name: str = NAME) -> "Deferred[Answer[str]]":
        """Ask for the IPv4 addresses of ``name``."""
        return self.lookups.addresses(name, Kind.A)

    def answer(self, *answers: dns.RRHeader, authority: tuple[dns.RRHeader, ...] = ()) -> None:
        """The oldest question is answered."""
        self.open.pop(0).callback((list(answers), list(authority), []))

    def find(self, name: str = NAME, ttl: int = 300) -> None:
        """Ask, and have it answered."""
        asking = self.ask(name)
        self.answer(a(name.encode(), "192.0.2.1", ttl))
        self.assertEqual(self.successResultOf(asking), FOUND)

    def is_known(self, name: str = NAME) -> bool:
        """Whether it is answered without a question; one that is asked stays open."""
        before = len(self.asked)
        asking = self.ask(name)
        if len(self.asked) == before:
            self.assertTrue(asking.called)
            asking.addErrback(lambda failure: failure.trap(LookupFailed))
            return True
        self.assertNoResult(asking)
        return False

    def fail_with(self, error: Exception) -> str:
        """The question fails; why."""
        asking = self.ask()
        self.open.pop(0).errback(error)
        return self.failureResultOf(asking, LookupFailed).getErrorMessage()


class AnswerTests(LookupsCase):
    """What is found."""

    def test_question(self) -> None:
        """A name in lower case without a dot, and the kind."""
        self.ask("Example.COM.")
        self.lookups.addresses(NAME, Kind.AAAA)
        self.lookups.exchangers(NAME)
        self.assertEqual(self.asked, [(NAME, dns.A), (NAME, dns.AAAA), (NAME, dns.MX)])

    def test_exchangers(self) -> None:
        """MX records."""
        asking = self.lookups.exchangers(NAME)
        self.answer(mx(10, b"a.example"))
        self.assertEqual(self.successResultOf(asking), Answer((Exchanger(10, "a.example"),)))

    def test_nothing(self) -> None:
        """A name that has other records."""
        asking = self.ask()
        self.answer(authority=(soa(60),))
        self.assertEqual(self.successResultOf(asking), Answer(()))

    def test_no_name(self) -> None:
        """NXDOMAIN."""
        asking = self.ask()
        self.open.pop().errback(DNSNameError(dns.Message()))
        self.assertEqual(self.successResultOf(asking), Answer((), exists=False))

    def test_no_name_that_can_be(self) -> None:
        """What is no name is asked of nobody: a label too long would ask for something else."""
        for name in ("", "x" * 64 + ".example", "a..example", "a b.example", "\\013.example"):
            answer = self.successResultOf(self.ask(name))
            self.assertFalse(answer.exists)
        self.assertEqual(self.asked, [])

    def test_alias_to_elsewhere(self) -> None:
        """Asked for where it leads."""
        asking = self.ask()
        self.answer(alias(b"example.com", b"a.example", 20))
        self.answer(a(b"a.example", "192.0.2.1", 300))
        self.assertEqual(self.successResultOf(asking), FOUND)
        self.assertEqual(self.asked, [(NAME, dns.A), ("a.example", dns.A)])
        self.clock.advance(19)
        self.assertTrue(self.is_known())
        self.clock.advance(1)
        self.assertFalse(self.is_known())

    def test_alias_to_nothing(self) -> None:
        """Where the server says so, nobody asks again."""
        asking = self.ask()
        self.answer(alias(b"example.com", b"a.example"), authority=(soa(60),))
        self.assertEqual(self.successResultOf(asking), Answer(()))

    def test_alias_to_no_name(self) -> None:
        """There is no such host."""
        asking = self.ask()
        self.answer(alias(b"example.com", b"a b.example"))
        self.assertFalse(self.successResultOf(asking).exists)

    def test_aliases_without_end(self) -> None:
        """So many, and no more."""
        asking = self.ask()
        for n in range(MOST_ALIASES):
            name = self.asked[-1][0].encode()
            self.answer(alias(name, b"%d.example" % n))
        failure = self.failureResultOf(asking, LookupFailed)
        self.assertEqual(failure.getErrorMessage(), "too many aliases")
        self.assertEqual(self.open, [])


class KeptTests(LookupsCase):
    """What is kept."""

    def test_found(self) -> None:
        """For the time of its records."""
        self.find(ttl=300)
        self.clock.advance(299)
        self.assertTrue(self.is_known())
        self.clock.advance(1)
        self.assertFalse(self.is_known())

    def test_nothing(self) -> None:
        """For the time that the zone says."""
        self.ask()
        self.answer(authority=(soa(60),))
        self.clock.advance(59)
        self.assertTrue(self.is_known())
        self.clock.advance(1)
        self.assertFalse(self.is_known())

    def test_nothing_said_by_nobody(self) -> None:
        """Without an SOA for some seconds."""
        self.ask()
        self.answer()
        self.clock.advance(SHORTEST)
        self.assertFalse(self.is_known())

    def test_no_name(self) -> None:
        """For the time that the zone says."""
        message = dns.Message(rCode=dns.ENAME)
        message.authority = [soa(60)]
        self.ask()
        self.open.pop().errback(DNSNameError(message))
        self.clock.advance(59)
        self.assertTrue(self.is_known())
        self.clock.advance(1)
        self.assertFalse(self.is_known())

    def test_failure(self) -> None:
        """For some seconds: a queue that tries many at once asks once."""
        self.fail_with(DNSServerError(dns.Message()))
        self.failureResultOf(self.ask(), LookupFailed)
        self.clock.advance(FAILED_FOR - 1)
        self.assertTrue(self.is_known())
        self.clock.advance(1)
        self.assertFalse(self.is_known())

    def test_kinds(self) -> None:
        """Each for itself."""
        self.find()
        self.lookups.addresses(NAME, Kind.AAAA)
        self.assertEqual(len(self.asked), 2)

    def test_bounded(self) -> None:
        """What nobody asked for longest is forgotten."""
        for name in ("a.example", "b.example", "c.example"):
            self.find(name)
        self.assertTrue(self.is_known("a.example"))
        self.find("d.example")
        self.assertTrue(self.is_known("a.example"))
        self.assertFalse(self.is_known("b.example"))


class SharedTests(LookupsCase):
    """The same question, asked by several."""

    def test_once(self) -> None:
        """All get the answer."""
        asking = [self.ask() for _ in range(3)]
        self.assertEqual(len(self.asked), 1)
        self.answer(a(b"example.com", "192.0.2.1"))
        self.assertEqual([self.successResultOf(one) for one in asking], [FOUND] * 3)

    def test_failure(self) -> None:
        """All get the failure, each its own."""
        asking = [self.ask() for _ in range(2)]
        self.open.pop().errback(DNSServerError(dns.Message()))
        errors = [self.failureResultOf(one, LookupFailed).value for one in asking]
        self.assertIsNot(*errors)

    def test_cancelled(self) -> None:
        """Who stops waiting takes nothing from the others."""
        first, second = self.ask(), self.ask()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(second)
        self.answer(a(b"example.com", "192.0.2.1"))
        self.assertEqual(self.successResultOf(second), FOUND)

    def test_all_cancelled(self) -> None:
        """The answer is kept all the same."""
        asking = self.ask()
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.answer(a(b"example.com", "192.0.2.1"))
        self.assertTrue(self.is_known())

    def test_asked_again_by_who_hears(self) -> None:
        """Whoever is told may ask at once."""
        again: list[Any] = []
        self.ask().addCallback(lambda _: again.append(self.ask()))
        self.answer(a(b"example.com", "192.0.2.1"))
        self.assertEqual(self.successResultOf(again[0]), FOUND)

    def test_at_once(self) -> None:
        """So many questions are open at the same time; the others wait for their turn."""
        asking = [self.ask(f"{n}.example") for n in range(AT_ONCE + 1)]
        self.assertEqual(len(self.asked), AT_ONCE)
        self.answer(a(b"0.example", "192.0.2.1"))
        self.assertEqual(len(self.asked), AT_ONCE + 1)
        self.successResultOf(asking[0])


class FailedTests(LookupsCase):
    """What is no answer."""

    def test_words(self) -> None:
        """What the name server said."""
        for error, word in (
            (DNSServerError(dns.Message()), "SERVFAIL"),
            (DNSQueryRefusedError(dns.Message()), "REFUSED"),
            (DNSUnknownError(dns.Message()), "an unknown failure"),
            (DeferredTimeout(), "no answer in time"),
            (OSError("No domain name servers available"), "No domain name servers available"),
            (Refused(), "Connection was refused by other side."),
        ):
            self.assertEqual(self.fail_with(error), word)
            self.clock.advance(FAILED_FOR)

    def test_silence(self) -> None:
        """Not waited for longer than this, whoever is asked; nothing is left in the clock."""
        asking = self.ask()
        self.clock.advance(WITHIN - 1)
        self.assertNoResult(asking)
        self.clock.advance(1)
        self.failureResultOf(asking, LookupFailed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fault(self) -> None:
        """What nobody foresaw is logged, and temporary."""
        self.assertEqual(self.fail_with(ValueError("x")), "a fault of the gateway's own")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
