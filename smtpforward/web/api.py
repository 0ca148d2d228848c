"""``/api``: JSON over HTTP; ``docs/api.md`` says what each path gives and takes.

What is asked is bounded: the length of a body, the number of what is listed, the requests that are
answered at once. Failure policy: what is wrong with a request is said with a code and a text; what
is not foreseen is a 500, with its traceback in the log.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from smtpforward.questions import Refused
from smtpforward.web.events import Events
from smtpforward.web.origin import cross_site, elsewhere
from smtpforward.web.overview import Json, Overview, RefusedError
from smtpforward.web.queued import STATES, from_cursor

AT_ONCE = 16
LIMIT = 100
MOST = 500
LONGEST = 320  # of what is looked for: an address
MOST_IDS = 1000
CHANGES = ("retry", "hold", "release", "delete")
BUSY = Refused(503, "too many requests at once")
NOT_FOUND = Refused(404, "there is nothing here")
NOT_ALLOWED = Refused(405, "not with this method")
NOT_HERE = Refused(
    403, "this may be a name of another site: use the host's address, or set user in http.ini"
)
NO_CHANGES = Refused(403, "the queue is not to be changed here: queue_changes in http.ini")
FAULT = Refused(500, "a fault of the gateway's own")


class API(Resource):
    """All paths.

    :param guarded: whether there is a login. ``me``: the name of this host.
    """

    isLeaf = True
    log = Logger()

    def __init__(self, overview: Overview, events: Events, guarded: bool, me: str) -> None:
        Resource.__init__(self)
        self._overview = overview
        self._events = events
        self._guarded = guarded
        self._me = me
        self._answering = 0

    def render(self, request: Request) -> int | bytes:
        """See Resource."""
        request.setHeader(b"cache-control", b"no-store")
        try:
            work = self._work(request)
        except RefusedError as error:
            return self._refuse(request, error.refused)
        if work is None:
            return NOT_DONE_YET
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        self._answering += 1
        # Who goes breaks nothing off: it is over soon.
        doing = Deferred.fromCoroutine(_told(work))
        doing.addBoth(self._ended)
        doing.addCallback(lambda told: None if gone else self._answer(request, 200, told))
        doing.addErrback(self._failed, request, gone)
        return NOT_DONE_YET

    def _work(self, request: Request) -> "Callable[[], Awaitable[Json]] | None":
        """What answers ``request``; ``None`` where it is answered as things happen.

        :raise RefusedError: when nothing does.
        """
        if not self._guarded and elsewhere(_header(request, "host"), self._me):
            raise RefusedError(NOT_HERE)
        path = _path(request)
        if path[0] == "queue" and len(path) == 2 and request.method == b"POST":
            return self._change(path[1], request)
        if request.method not in (b"GET", b"HEAD"):
            raise RefusedError(NOT_ALLOWED)
        if path == ("events",):
            if not self._events.join(request):
                raise RefusedError(BUSY)
            return None
        if self._answering >= AT_ONCE:
            raise RefusedError(BUSY)
        return self._look(path, request)

    def _look(self, path: tuple[str, ...], request: Request) -> "Callable[[], Awaitable[Json]]":
        overview, asked = self._overview, _Asked(request)
        match path:
            case ("status",):
                return overview.status
            case ("transactions",):
                search, limit = asked.text("search"), asked.limit()
                return lambda: overview.transactions(search, limit)
            case ("transactions", id) if id:
                return lambda: overview.transaction(id)
            case ("queue",):
                about = asked.entries()
                return lambda: overview.entries(**about)
            case ("queue", id) if id:
                return lambda: overview.queued(id)
        raise RefusedError(NOT_FOUND)

    def _change(self, what: str, request: Request) -> "Callable[[], Awaitable[Json]]":
        if what not in CHANGES:
            raise RefusedError(NOT_FOUND)
        if not self._overview.may_change:
            raise RefusedError(NO_CHANGES)
        objection = cross_site(lambda name: _header(request, name))
        if objection is not None:
            raise RefusedError(Refused(403, objection))
        if self._answering >= AT_ONCE:
            raise RefusedError(BUSY)
        body: Any = request.content
        ids = _ids(body.read())
        return lambda: self._overview.change(what, ids)

    def _ended(self, result: Any) -> Any:
        self._answering -= 1
        return result

    def _failed(self, failure: Failure, request: Request, gone: Sequence[Failure]) -> None:
        if failure.check(RefusedError):
            error: Any = failure.value
            refused = error.refused
        else:
            refused = FAULT
            self.log.failure("a fault while answering {path!r}", failure, path=request.path)
        if not gone:
            self._answer(request, refused.code, {"error": refused.why})

    def _refuse(self, request: Request, refused: Refused) -> bytes:
        return self._headed(request, refused.code, {"error": refused.why})

    def _answer(self, request: Request, code: int, told: Json) -> None:
        body = self._headed(request, code, told)
        if request.method != b"HEAD":
            request.write(body)
        request.finish()

    def _headed(self, request: Request, code: int, told: Json) -> bytes:
        body = json.dumps(told).encode("ascii") + b"\n"
        request.setResponseCode(code)
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"content-length", b"%d" % len(body))
        return body


async def _told(work: "Callable[[], Awaitable[Json]]") -> Json:
    return await work()


class _Asked:
    """What stands behind the ``?``.

    :raise RefusedError: where it is not what it should be.
    """

    def __init__(self, request: Request) -> None:
        self._args: Any = request.args

    def text(self, name: str) -> str:
        """A text; empty where it is not given."""
        value = self._args.get(name.encode("ascii"), [b""])[-1]
        if len(value) > LONGEST:
            raise RefusedError(Refused(400, f"{name} is too long"))
        try:
            return str(value, "utf-8").strip()
        except UnicodeDecodeError:
            raise RefusedError(Refused(400, f"{name} is not UTF-8"))

    def limit(self) -> int:
        """How many are wanted."""
        text = self.text("limit") or str(LIMIT)
        if not (text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= MOST):
            raise RefusedError(Refused(400, f"limit is not a number from 1 to {MOST}"))
        return int(text)

    def entries(self) -> dict[str, Any]:
        """Which entries of the queue."""
        state, sender = self.text("state"), self.text("sender")
        if state and state not in STATES:
            raise RefusedError(Refused(400, f"state is none of {', '.join(STATES)}"))
        if sender and "@" not in sender and sender.lower() not in ("<>", "postmaster"):
            raise RefusedError(Refused(400, "sender is no address, no @example.com and not <>"))
        after = self.text("after")
        try:
            from_cursor(after)
        except ValueError as error:
            raise RefusedError(Refused(400, str(error)))
        return {
            "state": state,
            "destination": self.text("destination"),
            "sender": sender,
            "limit": self.limit(),
            "after": after,
        }


def _path(request: Request) -> tuple[str, ...]:
    try:
        parts: list[bytes] = request.postpath or [b""]
        return tuple(part.decode("utf-8") for part in parts)
    except UnicodeDecodeError:
        raise RefusedError(NOT_FOUND)


def _header(request: Request, name: str) -> str | None:
    value: str | None = request.getHeader(name)
    return value


def _ids(body: bytes) -> list[str]:
    """The ids that the body names: at least one, each once.

    :raise RefusedError: when it is not what it should be.
    """
    try:
        asked = json.loads(body)
        ids = list(dict.fromkeys(asked["ids"]))
        good = all(isinstance(id, str) and id.encode("utf-8") for id in ids)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RefusedError(Refused(400, 'the body is not {"ids": ["..."]}'))
    if not good or not isinstance(asked["ids"], list):
        raise RefusedError(Refused(400, "ids are texts"))
    if not 0 < len(ids) <= MOST_IDS:
        raise RefusedError(Refused(400, f"from 1 to {MOST_IDS} ids"))
    return ids
