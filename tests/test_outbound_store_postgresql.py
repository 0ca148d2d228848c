"""What the store in PostgreSQL decides without one: addresses, time, pauses, parts, batches."""

import errno
from typing import Any

import psycopg
from psycopg import errors
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.outbound.errors import (
    StoreDamagedError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from smtpforward.outbound.store.postgresql.address import Address
from smtpforward.outbound.store.postgresql.clock import AGE, DatabaseClock
from smtpforward.outbound.store.postgresql.contents import PART, parts
from smtpforward.outbound.store.postgresql.faults import as_store_error, of_os_error
from smtpforward.outbound.store.postgresql.outage import FIRST_PAUSE, LONGEST_PAUSE, Outage
from smtpforward.outbound.store.postgresql.together import AT_ONCE, MOST, Together


class AddressTests(SynchronousTestCase):
    """Where a queue is."""

    def test_parameters(self) -> None:
        """What it says is libpq's; of time, what it does not say has bounds."""
        address = Address.of("postgres://me@db.example.com:5433/mail?sslmode=verify-full")
        self.assertEqual("PostgreSQL at db.example.com:5433, database mail", address.place)
        given = psycopg.conninfo.conninfo_to_dict(address.conninfo)
        self.assertEqual("verify-full", given["sslmode"])
        self.assertEqual("5", given["connect_timeout"])
        own = Address.of("postgresql://db/mail?connect_timeout=30&client_encoding=latin1")
        given = psycopg.conninfo.conninfo_to_dict(own.conninfo)
        self.assertEqual(("30", "utf8"), (given["connect_timeout"], given["client_encoding"]))

    def test_several_hosts(self) -> None:
        """It may name a server and those that take its place."""
        address = Address.of("postgresql://a,b:5433/mail?target_session_attrs=read-write")
        self.assertIn("a,b", address.place)

    def test_password(self) -> None:
        """It is used, and shown nowhere."""
        address = Address.of("postgresql://me:se%20cret@db/mail?sslpassword=hidden")
        given = psycopg.conninfo.conninfo_to_dict(address.conninfo)
        self.assertEqual("se cret", given["password"])
        for secret in ("cret", "hidden"):
            self.assertNotIn(secret, repr(address) + address.place)

    def test_none(self) -> None:
        """What is none is not quoted, since a password may be in it."""
        for text in (
            "mysql://me:secret@db/mail",
            "postgresql://me:secret%zz@db/mail",
            "postgresql://me:secret@db/mail?secret=1",
            "host=db password=secret",
        ):
            error = self.assertRaises(ValueError, Address.of, text)
            self.assertNotIn("secret", str(error), text)
            self.assertTrue(error.__suppress_context__ or error.__context__ is None, text)


class ClockTests(SynchronousTestCase):
    """The database's time."""

    def setUp(self) -> None:
        self.local = Clock()
        self.clock = DatabaseClock(self.local.seconds, lambda: 1000.0)

    def test_before(self) -> None:
        """Until the database was asked it is this host's, and goes on with it."""
        self.assertTrue(self.clock.is_old)
        self.local.advance(5)
        self.assertEqual(1005.0, self.clock.now())

    def test_measured(self) -> None:
        """It is as far ahead as in the middle of the question, and is asked again one day."""
        self.ask(2000.0, took=0.4)
        self.assertAlmostEqual(2000.2, self.clock.now())
        self.assertFalse(self.clock.is_old)
        self.local.advance(AGE + 1)
        self.assertTrue(self.clock.is_old)
        self.assertAlmostEqual(2061.2, self.clock.now())

    def test_slow_question(self) -> None:
        """An answer that took long counts only where there is none better."""
        self.ask(2000.0, took=8.0)
        self.assertAlmostEqual(2004.0, self.clock.now())
        self.ask(3000.0, took=8.0)
        self.assertAlmostEqual(2012.0, self.clock.now())

    def ask(self, theirs: float, took: float) -> None:
        """Ask; the answer takes its time."""

        def database() -> float:
            self.local.advance(took)
            return theirs

        self.clock.ask(database)


class OutageTests(SynchronousTestCase):
    """When it is tried to connect."""

    def test_pauses(self) -> None:
        """Each failed attempt doubles the pause before the next, up to a bound."""
        clock = Clock()
        outage = Outage(clock)
        self.assertIsNone(outage.refusal)
        for pause in (FIRST_PAUSE, 0.5, 1.0, 2.0, 4.0, LONGEST_PAUSE, LONGEST_PAUSE):
            outage.failed("gone")
            clock.advance(pause * 0.99)
            self.assertEqual("gone", outage.refusal)
            clock.advance(pause * 0.02)
            self.assertIsNone(outage.refusal)

    def test_several_at_once(self) -> None:
        """Threads that fail together are one failed attempt."""
        clock = Clock()
        outage = Outage(clock)
        for _ in range(8):
            outage.failed("gone")
        clock.advance(FIRST_PAUSE)
        self.assertIsNone(outage.refusal)

    def test_ended(self) -> None:
        """With a connection it is over, and the next one begins anew."""
        clock = Clock()
        outage = Outage(clock)
        outage.failed("gone")
        outage.ended()
        self.assertIsNone(outage.refusal)
        outage.failed("gone again")
        self.assertEqual("gone again", outage.refusal)
        clock.advance(FIRST_PAUSE)
        self.assertIsNone(outage.refusal)


class PartsTests(SynchronousTestCase):
    """A message in parts."""

    def test_parts(self) -> None:
        """Each but the last has the same size, however the pieces were cut."""
        data = bytes(range(256)) * (5 * PART // 512)
        for size in (1000, PART - 1, PART, PART + 1, len(data)):
            pieces = [data[start : start + size] for start in range(0, len(data), size)]
            made = list(parts(pieces))
            self.assertEqual([PART, PART, PART // 2], list(map(len, made)))
            self.assertTrue(b"".join(made) == data)

    def test_border(self) -> None:
        """The last one may be empty, but is there."""
        self.assertEqual([b""], list(parts([])))
        self.assertEqual([PART, 0], [len(part) for part in parts([b"x" * PART])])


class FaultsTests(SynchronousTestCase):
    """What errors mean."""

    def test_kinds(self) -> None:
        """A full disk, damage, what may pass, and the rest."""
        for error, kind in (
            (errors.DiskFull("x"), StoreFullError),
            (errors.IndexCorrupted("x"), StoreDamagedError),
            (errors.TooManyConnections("x"), StoreUnavailableError),
            (errors.AdminShutdown("x"), StoreUnavailableError),
            (errors.ReadOnlySqlTransaction("x"), StoreUnavailableError),
            (errors.InsufficientPrivilege("x"), StoreUnavailableError),
            (errors.UndefinedTable("x"), StoreUnavailableError),
            (errors.IdleInTransactionSessionTimeout("x"), StoreUnavailableError),
            (psycopg.OperationalError("the connection is lost"), StoreUnavailableError),
            (errors.CheckViolation("x"), StoreError),
        ):
            self.assertIs(kind, type(as_store_error(error, "there")))

    def test_text(self) -> None:
        """It names the place, what went wrong and its code, in one line."""
        text = str(as_store_error(errors.DiskFull("no space\nand more"), "there"))
        self.assertEqual("there: no space (53100)", text)

    def test_files(self) -> None:
        """This host's disk may be full, too."""
        self.assertIs(StoreFullError, type(of_os_error(OSError(errno.ENOSPC, "x"))))
        self.assertIs(StoreUnavailableError, type(of_os_error(OSError(errno.EIO, "x"))))


class TogetherTests(SynchronousTestCase):
    """What is done in batches."""

    def setUp(self) -> None:
        self.batches: list[tuple[list[str], Deferred[list[str]]]] = []
        self.singles: list[tuple[str, Deferred[str]]] = []
        self.together = Together(self.all_, self.alone)

    def all_(self, items: list[str]) -> "Deferred[list[str]]":
        doing: Deferred[list[str]] = Deferred()
        self.batches.append((items, doing))
        return doing

    def alone(self, item: str) -> "Deferred[str]":
        doing: Deferred[str] = Deferred()
        self.singles.append((item, doing))
        return doing

    def crowd(self, *names: str) -> "list[Deferred[str]]":
        """Items that come while as many as may be are on their way."""
        for number in range(AT_ONCE):
            self.together.do(f"first {number}")
        return [self.together.do(name) for name in names]

    def test_no_waiting(self) -> None:
        """What comes while little is on its way is begun at once."""
        done = [self.together.do(name) for name in "ab"]
        self.assertEqual(["a", "b"], [item for item, _ in self.singles])
        self.singles[1][1].callback("B")
        self.assertEqual("B", self.successResultOf(done[1]))
        self.assertNoResult(done[0])

    def test_together(self) -> None:
        """What came meanwhile is done together, and each gets its own result."""
        done = self.crowd("a", "b", "c")
        self.assertEqual([], self.batches)
        self.singles[0][1].callback("")
        [(items, doing)] = self.batches
        self.assertEqual(["a", "b", "c"], items)
        doing.callback(["A", "B", "C"])
        self.assertEqual(["A", "B", "C"], [self.successResultOf(each) for each in done])

    def test_bounded(self) -> None:
        """A batch is not larger than it may be; the rest is next."""
        self.crowd(*map(str, range(MOST + 1)))
        self.singles[0][1].callback("")
        self.singles[1][1].callback("")
        self.assertEqual(MOST, len(self.batches[0][0]))
        self.assertEqual(str(MOST), self.singles[-1][0])

    def test_store_away(self) -> None:
        """All of a batch fail with it where another attempt would be in vain."""
        done = self.crowd("a", "b")
        self.singles[0][1].callback("")
        self.batches[0][1].errback(StoreFullError("full"))
        for each in done:
            self.failureResultOf(each, StoreFullError)
        self.assertEqual(AT_ONCE, len(self.singles))

    def test_one_at_fault(self) -> None:
        """Else each is done alone: what one brought along is its own."""
        done = self.crowd("a", "b")
        self.singles[0][1].callback("")
        self.batches[0][1].errback(StoreError("one of these is there"))
        (_, first), (_, second) = self.singles[AT_ONCE:]
        first.errback(StoreError("this one"))
        second.callback("B")
        self.failureResultOf(done[0], StoreError)
        self.assertEqual("B", self.successResultOf(done[1]))

    def test_cancelled(self) -> None:
        """What was cancelled before it was begun is not done; later its result goes nowhere."""
        done = self.crowd("a", "b", "c")
        done[0].cancel()
        self.failureResultOf(done[0])
        self.singles[0][1].callback("")
        [(items, doing)] = self.batches
        self.assertEqual(["b", "c"], items)
        done[1].cancel()
        self.failureResultOf(done[1])
        doing.callback(["B", "C"])
        self.assertEqual("C", self.successResultOf(done[2]))

    def test_goes_on_after_a_failure(self) -> None:
        """One that fails at once leaves nothing waiting."""
        results: list[Any] = []
        self.together = Together(self.all_, lambda item: fail(StoreUnavailableError(item)))
        for name in "abc":
            self.together.do(name).addErrback(results.append)
        self.assertEqual(3, len(results))
