"""A transport that shows what is written to it, for connections that are looked at.

All else is the transport's own. TLS that begins later is below it: what is seen is in the clear.
"""

from collections.abc import Callable, Iterable
from typing import Any

from zope.interface import directlyProvides, providedBy


class TappedTransport:
    """``transport``, and ``written`` gets each piece before it."""

    def __init__(self, transport: Any, written: Callable[[bytes], None]) -> None:
        self._transport = transport
        self._written = written
        directlyProvides(self, providedBy(transport))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """See ITransport."""
        self._written(data)
        self._transport.write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """See ITransport."""
        self.write(b"".join(iovec))
