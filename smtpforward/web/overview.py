"""The gateway as a whole, put together from what its processes answer: what the API tells.

The values are those of ``docs/api.md``. With ``nodes`` the parent asks its workers; one that does
not answer in time is left out.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred

from smtpforward.config.settings import Route, Settings
from smtpforward.counts import backend_of
from smtpforward.figures import Figures, Observation
from smtpforward.questions import Question, Refused
from smtpforward.web.backends import MOST, of_all
from smtpforward.web.history import history
from smtpforward.web.queued import numbers
from smtpforward.web.transactions import newest, shown

CHANGE_PATIENCE = 60.0  # a change of many entries goes in steps
STORE_PATIENCE = 10.0
NO_ANSWER = Refused(503, "no process has answered")
Json = dict[str, Any]
Ask = Callable[[Question], Awaitable[list[Any]]]


@frozen
class Own:
    """What the process knows that reads the settings.

    :ivar certificates: when each expires, by its name. ``problems``: of the last reading.
    """

    good: int = 0
    bad: int = 0
    problems: tuple[str, ...] = ()
    certificates: Mapping[str, float] = field(factory=dict)


class RefusedError(Exception):
    """A question that gets no answer: see :class:`smtpforward.questions.Refused`."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.why)
        self.refused = refused


class Overview:
    """Asks, and puts together.

    :param observe: what is to be seen of all processes. ``ask``: their answers to a question.
    :param settings: those that hold now.
    :param may_change: whether the queue may be changed over HTTP.
    """

    def __init__(
        self,
        observe: "Callable[[], Deferred[Observation]]",
        ask: Ask,
        settings: Callable[[], Settings],
        own: Callable[[], Own],
        version: str,
        may_change: bool = False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._observe = observe
        self._ask = ask
        self._settings = settings
        self._own = own
        self._version = version
        self.may_change = may_change
        self._wall = wall
        self._started = wall()

    async def status(self) -> Json:
        """``/api/status``."""
        seen = await self._observe()
        parts = _answers(await self._ask(Question("status")))
        settings, own, now = self._settings(), self._own(), self._wall()
        told = {
            "now": now,
            "started": self._started,
            "version": self._version,
            "hostname": settings.me,
            "ready": not seen.reasons,
            "reasons": list(seen.reasons),
            "workers": int(seen.figures.values.get(("workers", ()), 0)),
            **_counted(seen.figures),
            "history": history([part["history"] for part in parts], now),
            "routes": list(_routes(settings)),
            "backends": of_all(part["backends"] for part in parts),
            "queue": self._queue(settings, [part["queue"] for part in parts]),
            "certificates": [
                {"certificate": name, "expires": at} for name, at in own.certificates.items()
            ],
            "problems": [*own.problems, *settings.warnings],
            "reloads": {"good": own.good, "bad": own.bad},
        }
        made: Json = shown(told)
        return made

    def _queue(self, settings: Settings, told: Sequence[Json | None]) -> Json | None:
        if settings.outbound is None:
            return None
        known = next((one for one in told if one is not None), None)
        of_one = known or {"open": False, **numbers(None, 0.0)}
        smart = settings.outbound.smart_host
        name = backend_of(str(smart.servers[0])) if smart else None
        return {**of_one, "may_change": self.may_change, "smart_host": name}

    async def transactions(self, search: str, limit: int) -> Json:
        """``/api/transactions``."""
        question = Question("transactions", {"search": search, "limit": limit})
        parts = _answers(await self._ask(question))
        since = [part["since"] for part in parts if part["since"] is not None]
        return {
            "transactions": newest([part["transactions"] for part in parts], limit),
            "kept": sum(part["kept"] for part in parts),
            "since": min(since, default=None),
        }

    async def ended(self, after: float, most: int) -> tuple[float, list[Json]]:
        """What has ended since ``after``, the newest first, and up to when all is known."""
        question = Question("ended", {"after": after, "most": most})
        parts = _answers(await self._ask(question))
        found = newest([part["transactions"] for part in parts], most)
        return min((part["now"] for part in parts), default=after), found

    async def transaction(self, id: str) -> Json:
        """``/api/transactions/ID``.

        :raise RefusedError: when nothing is known of it.
        """
        parts = _answers(await self._ask(Question("transaction", {"id": id})))
        events = sorted((e for part in parts for e in part), key=lambda event: event["at"])
        queued = None
        if self._settings().outbound is not None:
            answer = await self._of_queue("show", id=id)
            queued = None if isinstance(answer, Refused) else answer
        if not events and queued is None:
            raise RefusedError(Refused(404, "nothing is known of this id, or not any more"))
        return {"id": id, "events": events, "queue": queued}

    async def entries(self, **asked: Any) -> Json:
        """``/api/queue``."""
        return _given(await self._of_queue("list", **asked))

    async def queued(self, id: str) -> Json:
        """``/api/queue/ID``."""
        answer = await self._of_queue("show", id=id)
        return _given(answer or Refused(404, "no such message in the queue"))

    async def change(self, what: str, ids: Sequence[str]) -> Json:
        """``/api/queue/retry`` and so on; the caller has asked whether that may be."""
        question = {"what": what, "ids": list(ids)}
        return _given(await self._of_queue("change", CHANGE_PATIENCE, **question))

    async def _of_queue(self, kind: str, patience: float = STORE_PATIENCE, **about: Any) -> Any:
        question = Question(f"queue {kind}", about, of_one=True, patience=patience)
        answers = await self._ask(question)
        return answers[0] if answers else NO_ANSWER


def _answers(given: Sequence[Any]) -> list[Any]:
    """The answers that are none of them refused."""
    return [answer for answer in given if not isinstance(answer, Refused)]


def _given(answer: Any) -> Json:
    if isinstance(answer, Refused):
        raise RefusedError(answer)
    given: Json = answer
    return given


def _counted(figures: Figures) -> Json:
    """The counters, by the names that the page has for them."""
    by_name: dict[str, dict[tuple[str, ...], int]] = {}
    for (name, labels), value in figures.values.items():
        by_name.setdefault(name, {})[labels] = int(value)

    def one(name: str) -> int:
        return by_name.get(name, {}).get((), 0)

    def by_label(name: str) -> dict[str, int]:
        return {labels[0]: value for labels, value in by_name.get(name, {}).items()}

    def by_two(name: str) -> list[Json]:
        found = by_name.get(name, {}).items()
        return [{"backend": b, "status": status, "count": n} for (b, status), n in found]

    return {
        "connections": {
            "open": one("open_connections"),
            "total": one("connections_total"),
            "refused": by_label("connections_refused_total"),
        },
        "transactions": by_two("transactions_total"),
        "deliveries": by_two("deliveries_total"),
        "refusals": by_label("refusals_total"),
        "bytes": one("received_bytes_total"),
        "tls": by_label("tls_handshakes_total"),
        "failed_logins": one("failed_logins_total"),
    }


def _way(route: Route) -> str:
    """Whose mail is queued."""
    if not route.queues:
        return "forward"
    return "outbound" if route.queue else "relaying"


def _routes(settings: Settings) -> Any:
    """The default route and the first of the sections."""
    for number, route in enumerate(settings.routes.all()):
        if number > MOST:
            return
        servers = (backend_of(str(server)) for server in route.next_hop.servers)
        name = settings.routes.default is not route and route.section
        yield {
            "name": name or "default",
            "queue": _way(route),
            "own_host": bool(route.section and route.own_host),
            "backends": list(dict.fromkeys(servers)),
        }
