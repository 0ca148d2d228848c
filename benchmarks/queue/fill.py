"""Puts messages straight into a store, many at a time: no gateway runs meanwhile."""

import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from smtpforward.content import Content
from smtpforward.envelope import Address, Envelope, Recipient
from smtpforward.job import Delivery
from smtpforward.outbound.entry import Message, NewEntry, NewMessage
from smtpforward.outbound.store.choice import store_at

AT_ONCE = 500
LINE = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"
HEADER = b"From: sender@example.org\r\nSubject: measured\r\n\r\n"
REFUSED = "451 4.4.1 not reached, try again later"


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[Any]:
    """The store at ``address``, for as long as it takes."""
    store = store_at(address, reactor)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def fill(store: Any, destinations: Sequence[str], size: int = 4096) -> None:
    """One message of ``size`` bytes for each of ``destinations``, in order."""
    body = HEADER + LINE * ((size - len(HEADER)) // len(LINE))
    for start in range(0, len(destinations), AT_ONCE):
        some = destinations[start : start + AT_ONCE]
        adding: list[Deferred[Any]] = [
            store.add(_message(destination, body, store.now())) for destination in some
        ]
        await gatherResults(adding)


async def put_off(store: Any, destinations: Iterable[str], seconds: float) -> int:
    """Count a failed attempt for all that is due there; how many it was."""
    put_off = 0
    for destination in destinations:
        number = AT_ONCE
        while number == AT_ONCE:
            number = await store.defer(destination, REFUSED, (seconds,), AT_ONCE)
            put_off += number
    return put_off


def _message(destination: str, body: bytes, now: float) -> NewMessage:
    recipient = Recipient(Address(b"someone", destination.encode("ascii")), {})
    envelope = Envelope(Address(b"sender", b"example.org"), (recipient,), {})
    message = Message(uuid.uuid4().hex, now, envelope, len(body), "bench[127.0.0.1]")
    entry = NewEntry(destination, Delivery.OUTBOUND, (0,))
    return NewMessage(message, (entry,), Content.of_wire(body))
