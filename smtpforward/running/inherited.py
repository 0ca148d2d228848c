"""Listening sockets that this process was started with: by systemd, or by the gateway before it.

Both hand them over as sd_listen_fds(3) says. A member of ``listen`` gets the socket that the
gateway before had for it, which bears its description as its name; else the one that is bound to
its address; ``systemd:`` members say themselves which. What gets none is bound as ever. The
variables are taken out of the environment: they are meant for this process.

Failure policy: :class:`MismatchError`, with the remedy, for a socket that nobody takes, or that a
member names and is not there: clients would wait at it for ever.
"""

import os
import socket
from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import quote, unquote

from attrs import frozen
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, _SystemdParser
from twisted.python.systemd import ListenFDs

from smtpforward.config.listen import bound_to, inherited_as

FIRST = 3  # the number of the first descriptor
COUNT, NAMES, OWNER = "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"
# The number of the socket to the gateway that has started this one.
PREDECESSOR = "SMTPFORWARD_PREDECESSOR"
Place = str | AdoptedStreamServerEndpoint


class MismatchError(Exception):
    """Sockets and settings do not fit; says why, and what would be right."""


@frozen
class Inherited:
    """One socket.

    :ivar name: the one that systemd gave it, or the description of what had it before.
    :ivar bound: its address and port, or its path.
    """

    descriptor: int
    name: str
    family: int
    bound: tuple[str, int] | str

    def __str__(self) -> str:
        return f"{_in_words(self.bound)} (descriptor {self.descriptor}, {self.name!r})"


class Sockets:
    """Those that are there, and who takes which.

    :param found: in the order of their descriptors.
    :param successor: whether a gateway handed them over; what it listened on may have changed.
    """

    def __init__(self, found: Iterable[Inherited] = (), successor: bool = False) -> None:
        self._found = list(found)
        self._free = list(self._found)
        self._successor = successor

    @classmethod
    def of(cls, environ: MutableMapping[str, str], given: ListenFDs | None = None) -> "Sockets":
        """Those that ``environ`` names, which forgets them; each is made this process's own.

        :param given: what has been taken out of ``environ`` before; Twisted does so when it is
            imported, for its ``systemd:`` endpoints.
        :raise MismatchError: when one is no listening stream socket.
        """
        given = given or _SystemdParser._sddaemon
        for variable in (COUNT, NAMES, OWNER):
            environ.pop(variable, None)
        numbers, names = given.inheritedDescriptors(), given._names
        found = [_looked_at(n, unquote(name)) for n, name in zip(numbers, names, strict=True)]
        return cls(found, PREDECESSOR in environ)

    def place(self, description: str, reactor: Any) -> Place:
        """Where to listen for ``description``: on the socket that is its, or on what it says.

        :raise MismatchError: when it says which socket it wants, and that is not there.
        """
        taken = self._of(description)
        if taken is None:
            return description
        self._free.remove(taken)
        return AdoptedStreamServerEndpoint(reactor, taken.descriptor, taken.family)

    def _of(self, description: str) -> Inherited | None:
        if self._successor:
            for one in self._free:
                if one.name == description:
                    return one
        asked = inherited_as(description)
        if asked is not None:
            return self._asked_for(description, *asked)
        bound = bound_to(description)
        return next((one for one in self._free if bound and one.bound == bound), None)

    def _asked_for(self, description: str, index: int | None, name: str | None) -> Inherited:
        for number, one in enumerate(self._found):
            if one in self._free and (number == index or one.name == name):
                return one
        there = ", ".join(map(str, self._found)) or "none: is the socket unit started?"
        raise MismatchError(f"listen={description}: no such socket was handed over; {there}")

    def end(self) -> None:
        """Nobody takes any more: what is left is closed where a gateway before listened on it.

        :raise MismatchError: where anyone else has handed it over.
        """
        left, self._free = self._free, []
        if left and not self._successor:
            raise MismatchError(
                f"handed over: {', '.join(map(str, left))}; nothing in listen= (smtp.ini) or"
                " http.ini has it: name the same address there, or take it out of the socket unit"
            )
        for one in left:
            os.close(one.descriptor)


def names_of(descriptions: Iterable[str]) -> str:
    """``LISTEN_FDNAMES`` of sockets that were listened on for these: a colon stands between."""
    return ":".join(quote(description, safe="") for description in descriptions)


def _looked_at(descriptor: int, name: str) -> Inherited:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as looked_at:
            if looked_at.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                address: Any = looked_at.getsockname()
                bound = address[:2] if isinstance(address, tuple) else os.fsdecode(address)
                # As Twisted wants it. Nobody who is started by this process is to have it.
                os.set_blocking(descriptor, False)
                os.set_inheritable(descriptor, False)
                return Inherited(descriptor, name, looked_at.family, bound)
    except OSError as error:
        raise MismatchError(f"descriptor {descriptor} ({name}): {error}") from None
    raise MismatchError(
        f"descriptor {descriptor} ({name}) is no socket that listens: the socket unit wants"
        " ListenStream= and Accept=no"
    )


def _in_words(bound: tuple[str, int] | str) -> str:
    if isinstance(bound, str):
        return bound
    host, port = bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
