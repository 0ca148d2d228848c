"""What tests run in a process of its own, to kill it, or on a disk of its own, to fill it."""

import contextlib
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import react

from smtpforward.outbound.entry import Filter, Lease
from smtpforward.outbound.errors import StoreError
from smtpforward.outbound.store.sqlite import SQLiteStore
from tests.storesupport import DELIVERED, new, result, wire

SENDERS = 10
LEASE = Lease("child", 4e9)
BALLAST = 1024 * 1024


def body(name: str) -> bytes:
    """What the message ``name`` holds; each seventh is large."""
    line = f"..{name}: {'x' * 60}\r\n".encode()
    return line * (3000 if int(name, 16) % 7 == 0 else 60)


def say(*words: str) -> None:
    """One line for the parent."""
    print(*words, flush=True)


async def load(path: str, first: str) -> None:
    """Put messages in until the end, which is a signal; each fourth is delivered at once.

    Says ``taken``, ``going``, ``gone`` with a name: when it was put in, before and after its
    result was recorded.
    """
    numbers = iter(range(int(first), sys.maxsize))

    async def send() -> None:
        for number in numbers:
            name = f"{number:X}"
            (claimed,) = await store.add(new(name, body=body(name), lease=LEASE))
            say("taken", name)
            if number % 4 == 0:
                say("going", name)
                await store.record(result(claimed, DELIVERED, owner="child"))
                say("gone", name)

    store = SQLiteStore(path, reactor_of[0])
    await store.open("child")
    await DeferredList([Deferred.fromCoroutine(send()) for _ in range(SENDERS)])


async def full(folder: str, reserve: str) -> None:
    """Fill the disk with messages; what was heard, as JSON."""
    ballast = Path(folder, "ballast")
    ballast.write_bytes(b"x" * BALLAST)
    path = os.path.join(folder, "queue")
    store = SQLiteStore(path, reactor_of[0], reserve=int(reserve))
    await store.open("child")
    said: dict[str, Any] = {"taken": [], "small": "", "large": ""}
    claimed = []
    try:
        for number in range(1, 10_000):
            name = f"{number * 7 + 1:X}"
            claimed += await store.add(new(name, body=body(name), lease=LEASE))
            said["taken"].append(name)
    except StoreError as error:
        said["small"] = f"{type(error).__name__}: {error}"
    said["large"] = await _refused(store.add(new("0", body=body("0") * 20)))
    said["files"] = os.listdir(f"{path}-messages")
    said["recorded"] = await _refused(store.record(result(claimed[0], DELIVERED, owner="child")))
    ballast.unlink()
    said["later"] = await _refused(store.add(new("FFFF1", body=body("FFFF1"))))
    await store.record(result(claimed[0], DELIVERED, owner="child"))
    await store.close()
    await store.open("child")
    listed = await store.listed(Filter(), 10_000, None)
    said["there"] = [each.message.id for each in listed]
    said["whole"] = [wire(await store.content(name)) == body(name) for name in said["there"]]
    await store.close()
    say(json.dumps(said))


async def no_growth(folder: str) -> None:
    """Renew and record when nothing can grow any more; what was refused, how far the log grew."""
    path = os.path.join(folder, "queue")
    store = SQLiteStore(path, reactor_of[0], reserve=0)
    await store.open("child")
    claimed = []
    for number in range(1, 61):
        claimed += await store.add(new(f"{number}", lease=LEASE))
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    with contextlib.suppress(OSError), open(os.path.join(folder, "rest"), "wb", 0) as rest:
        while True:
            rest.write(b"x" * 4096)
    before = os.path.getsize(f"{path}-wal")
    ids = [each.id for each in claimed]
    said = []
    for more in range(300):
        said.append(await _refused(store.renew(ids, Lease("child", LEASE.until + more))))
    said += [await _refused(store.record(result(e, DELIVERED, owner="child"))) for e in claimed]
    grown = os.path.getsize(f"{path}-wal") - before
    stats = await store.stats(1)
    await store.close()
    say(
        json.dumps(
            {"refused": [each for each in said if each], "grown": grown, "left": stats.messages}
        )
    )


async def _refused(asked: Any) -> str:
    """What kind of error it was, or nothing."""
    try:
        await asked
    except StoreError as error:
        return type(error).__name__
    return ""


reactor_of: list[Any] = []
COMMANDS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "load": load,
    "full": full,
    "no_growth": no_growth,
}


def main(reactor: Any, command: str, *arguments: str) -> "Deferred[None]":
    """Run one of the commands."""
    reactor_of.append(reactor)
    return Deferred.fromCoroutine(COMMANDS[command](*arguments))


if __name__ == "__main__":
    react(main, sys.argv[1:])
