"""Looks names up in the DNS, and keeps what it finds for as long as it holds.

An answer is kept for the time that its records say, and so is the answer that there is nothing
(RFC 2308); a question that is being asked is not asked again: whoever has it waits for the same
answer, and may stop waiting. What is kept is bounded: what nobody asked for longest goes first.

Failure policy: SERVFAIL, silence and nonsense are :class:`LookupFailed`, which is temporary; it is
kept for some seconds, so that mail in numbers does not make questions in numbers.
"""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredSemaphore, fail, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.interfaces import IResolver
from twisted.logger import Logger
from twisted.names import dns, hosts, resolve
from twisted.names.error import (
    DNSFormatError,
    DNSNameError,
    DNSNotImplementedError,
    DNSQueryRefusedError,
    DNSServerError,
    DomainError,
)

from smtpforward.net.clock import Clock
from smtpforward.outbound.records import (
    MOST_ALIASES,
    SHORTEST,
    Answer,
    Exchanger,
    Kind,
    is_name,
    keep_no,
    read,
)
from smtpforward.outbound.stub import TRIES, StubResolver

WITHIN = 20.0
FAILED_FOR = 5.0
MOST_KEPT = 10_000
AT_ONCE = 100
WORDS = {
    DNSFormatError: "FORMERR",
    DNSServerError: "SERVFAIL",
    DNSNotImplementedError: "NOTIMP",
    DNSQueryRefusedError: "REFUSED",
}
NONE: Answer[Any] = Answer()
NO_SUCH_NAME: Answer[Any] = Answer(exists=False)
Question = tuple[str, Kind]


class LookupFailed(Exception):  # noqa: N818 -- it says what happened
    """The DNS has not said whether there is anything."""


@frozen
class Kept:
    """What was found, and until when it holds."""

    found: Answer[Any] | LookupFailed
    until: float


class Lookups:
    """The DNS as the queue asks it.

    :param resolver: anything with IResolver's ``query``.
    :param stop: called when nothing is asked any more.
    :param most: answers that are kept.
    """

    log = Logger()

    def __init__(
        self,
        resolver: Any,
        clock: Clock,
        stop: Callable[[], None] = lambda: None,
        most: int = MOST_KEPT,
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._most = most
        # The most recently used at the end.
        self._kept: dict[Question, Kept] = {}
        self._asking: dict[Question, list[Deferred[Answer[Any]]]] = {}
        self._turns = DeferredSemaphore(AT_ONCE)
        self.stop = stop

    def exchangers(self, domain: str) -> "Deferred[Answer[Exchanger]]":
        """The MX records of ``domain``, the most preferred first.

        :return: Deferred; fails with :class:`LookupFailed`. Cancelling leaves the question to
            others who have it.
        """
        return self._ask((domain.lower().removesuffix("."), Kind.MX))

    def addresses(self, host: str, kind: Kind) -> "Deferred[Answer[str]]":
        """The addresses of ``host`` of one kind; see :meth:`exchangers`."""
        return self._ask((host.lower().removesuffix("."), kind))

    def _ask(self, question: Question) -> "Deferred[Answer[Any]]":
        if not is_name(question[0]):
            return succeed(NO_SUCH_NAME)
        kept = self._kept.pop(question, None)
        if kept is not None and self._clock.seconds() < kept.until:
            self._kept[question] = kept
            return _told(kept.found)
        waiters = self._asking.get(question)
        is_new = waiters is None
        if waiters is None:
            waiters = self._asking[question] = []
        waiter: Deferred[Answer[Any]] = Deferred(waiters.remove)
        waiters.append(waiter)
        if is_new:
            Deferred.fromCoroutine(self._settle(question))
        return waiter

    async def _settle(self, question: Question) -> None:
        found: Answer[Any] | LookupFailed
        seconds = FAILED_FOR
        try:
            async with self._turns:
                found, seconds = await self._follow(*question)
        except LookupFailed as error:
            found = error
        except Exception:
            self.log.failure("looking up {name} failed", name=question[0])
            found = LookupFailed("a fault of the gateway's own")
        self._keep(question, Kept(found, self._clock.seconds() + seconds))
        for waiter in self._asking.pop(question):
            _told(found).chainDeferred(waiter)

    def _keep(self, question: Question, kept: Kept) -> None:
        self._kept[question] = kept
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    async def _follow(self, name: str, kind: Kind) -> tuple[Answer[Any], float]:
        """What there is under ``name``, or what it is an alias of, and for how long it holds."""
        ttl = float("inf")
        for _ in range(MOST_ALIASES):
            try:
                answers, authority, _ = await self._query(name, kind)
            except DNSNameError as error:
                return NO_SUCH_NAME, min(ttl, _no_such_name_for(error))
            found = read(name, kind, answers)
            ttl = min(ttl, found.ttl)
            if found.records:
                return Answer(found.records), ttl
            nothing_for = keep_no(authority)
            if found.name == name or nothing_for is not None:
                return NONE, min(ttl, nothing_for or SHORTEST)
            if not is_name(found.name):
                return NO_SUCH_NAME, ttl
            name = found.name
        raise LookupFailed("too many aliases")

    async def _query(self, name: str, kind: Kind) -> tuple[Any, Any, Any]:
        """One question to the servers.

        :raise DNSNameError: when there is no such name.
        """
        query = dns.Query(name.encode("ascii"), kind, dns.IN)
        try:
            asking: Deferred[tuple[Any, Any, Any]] = self._resolver.query(query)
            return await asking.addTimeout(WITHIN, self._clock)  # type: ignore[arg-type]
        except DNSNameError:
            raise
        except DeferredTimeout:
            raise LookupFailed("no answer in time")
        except DomainError as error:
            raise LookupFailed(WORDS.get(type(error), "an unknown failure"))
        except (OSError, ConnectError, CannotListenError) as error:
            raise LookupFailed(str(error))


def _told(found: Answer[Any] | LookupFailed) -> "Deferred[Answer[Any]]":
    # Each has an exception of its own: it collects the places where it was raised.
    return fail(LookupFailed(*found.args)) if isinstance(found, LookupFailed) else succeed(found)


def _no_such_name_for(error: DNSNameError) -> float:
    """Seconds for which there is no such name, by the answer that said so."""
    authority = getattr(error.args[0], "authority", ()) if error.args else ()
    return keep_no(authority) or SHORTEST


def lookups_at(
    nameservers: Sequence[tuple[str, int]],
    reactor: Any,
    clock: Clock,
    tries: Sequence[float] = TRIES,
    system: tuple[str, str] = ("/etc/resolv.conf", "/etc/hosts"),
) -> Lookups:
    """Lookups at ``nameservers``, or without any at those of the system, with its own host names.

    :param tries: seconds after which a server that is silent is given up, in each round.
    :param system: the files where that stands.
    """
    resolv, names = system
    if nameservers:
        own = StubResolver(servers=list(nameservers), timeout=tries, reactor=reactor)
        return Lookups(own, clock, own.stop)
    own = StubResolver(resolv, timeout=tries, reactor=reactor)
    chain: IResolver = resolve.ResolverChain([hosts.Resolver(names.encode()), own])
    return Lookups(chain, clock, own.stop)
