"""``smtpforward queue`` as an operator runs it, beside a process that has the store open."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from smtpforward.interfaces import IQueueStore
from smtpforward.outbound.store.choice import store_at
from tests.peers import postgresql
from tests.peers.case import PeerTestCase
from tests.peers.gateway import environment, write_config
from tests.peers.wait import until
from tests.queuevalues import fill, put

COMMAND = [sys.executable, "-m", "smtpforward.commands.main", "queue"]
DEADLINE = 60.0
MANY = 10_000


def environ() -> dict[str, str]:
    """The tree's own modules; output is buffered, as it is for everyone."""
    return {**os.environ, **environment(), "PYTHONUNBUFFERED": ""}


class Ended(NamedTuple):
    """How the command ended, and the lines that it wrote."""

    code: int
    out: list[str]
    err: list[str]


class QueueCase(PeerTestCase):
    """A store that this process has open, as the gateway would."""

    async def opened(self) -> IQueueStore:
        """The store, empty, and a configuration directory that names it."""
        self.config = self.settings(await self.address())
        self.store = store_at(self.stored_at, reactor)
        await self.store.open("gateway")
        self.addCleanup(self.store.close)
        return self.store

    async def address(self) -> str:
        """Where the store is."""
        self.stored_at = f"sqlite:{self.folder() / 'queue.sqlite3'}"
        return self.stored_at

    def settings(self, address: str) -> str:
        """A configuration directory whose queue is at ``address``."""
        files = {
            "me": "gateway.example.com\n",
            "smtp_forward.ini": "host=127.0.0.1\nenable_tls=false\n",
            "outbound.ini": f"store={address}\n",
        }
        return str(write_config(self.folder(), files))

    def command(self, *words: str) -> list[str]:
        """What is run."""
        return [*COMMAND, words[0], "--config", self.config, *words[1:]]

    async def queue(self, *words: str, stdin: Any = subprocess.DEVNULL) -> Ended:
        """The command, run to its end."""

        def blocking() -> Ended:
            done = subprocess.run(
                self.command(*words), stdin=stdin, capture_output=True, text=True,
                encoding="utf-8", timeout=DEADLINE, env=environ(),
            )  # fmt: skip
            return Ended(done.returncode, done.stdout.splitlines(), done.stderr.splitlines())

        return await deferToThread(blocking)

    async def good(self, *words: str) -> list[str]:
        """The lines of a command that ends well and has nothing to remark."""
        done = await self.queue(*words)
        self.assertEqual((0, []), (done.code, done.err), words)
        return done.out

    async def documents(self, *words: str) -> list[Any]:
        """Those of one with ``--json``."""
        return [json.loads(line) for line in await self.good(*words, "--json")]


class SubcommandTests(QueueCase):
    """Each of them, in both forms."""

    async def ids(self, *filters: str) -> list[str]:
        """The ids that the list shows."""
        return [one["id"] for one in await self.documents("list", *filters)]

    async def test_list(self) -> None:
        """The entries, all of them and those of each filter."""
        await fill(await self.opened())
        lines = await self.good("list", "-v")
        told = [line.split()[0] for line in lines if not line.startswith(" ")]
        self.assertEqual(["ID", "OLD", "TWO", "TWO", "BOUNCE", "BUSY", "NEW"], told)
        self.assertIn("    to <cid@example.net>", lines)
        self.assertTrue(lines[1].endswith(" 1 451 4.7.1 try later"), lines[1])
        for filters, ids in (
            ((), ["OLD", "TWO", "TWO", "BOUNCE", "BUSY", "NEW"]),
            (("--sender", "@EXAMPLE.com"), ["OLD", "TWO", "TWO"]),
            (("--sender=<>", "--held"), ["BOUNCE"]),
            (("--recipient", "<bob@example.org>", "--older", "3d"), ["OLD"]),
            (("--destination", "example.net", "--not-held"), ["TWO"]),
            (("--limit", "6", "--older=1m"), ["OLD", "TWO", "TWO", "BOUNCE", "BUSY"]),
        ):
            self.assertEqual(ids, await self.ids(*filters), filters)

    async def test_show(self) -> None:
        """Messages, with their attempts and header; the body where it is asked for."""
        await fill(await self.opened())
        lines = await self.good("show", "OLD", "BOUNCE")
        self.assertEqual(2, len([line for line in lines if line.startswith("attempt at ")]))
        self.assertEqual(2, lines.count("    Subject: report"))
        self.assertNotIn("    two lines", lines)
        self.assertIn("    two lines", await self.good("show", "OLD", "--body"))
        [[document]] = await self.documents("show", "OLD", "--body")
        self.assertEqual(["two lines", ".one with a dot"], document["body"])
        missing = await self.queue("show", "OLD", "NONE")
        self.assertEqual((66, ["NONE: no such message in the queue"]), (missing.code, missing.err))

    async def test_changes(self) -> None:
        """What one process changes another one sees, and its own lease is left alone."""
        store = await self.opened()
        await fill(store)
        self.assertEqual(["example.net", "example.org", "new.example"], sorted(await due(store)))
        for words, told, then in (
            (("hold", "TWO"), "2 entries put on hold", ["new.example"]),
            (("retry", "OLD"), "1 entry made due", ["example.org", "new.example"]),
            (
                ("release", "--destination", "example.net", "--older", "1d"),
                "1 entry released",
                ["example.net", "example.org", "new.example"],
            ),
            (
                ("delete", "--yes", "--older", "1d", "--not-held"),
                "2 entries deleted",
                ["new.example"],
            ),
        ):
            self.assertEqual([told], await self.good(*words))
            self.assertEqual(then, sorted(await due(store)), words)
        self.assertEqual(
            ["1 entry deleted", "1 entry left alone: being attempted"],
            await self.good("delete", "--yes", "--sender", "@sender.example"),
        )
        [told] = await self.documents("hold", "--all")
        self.assertEqual({"changed": 2, "leased": 1, "missing": []}, {**told, "changed": 2})
        self.assertEqual(["TWO", "BOUNCE", "BUSY"], await self.ids())

    async def test_flush(self) -> None:
        """All that is not on hold is due."""
        store = await self.opened()
        await fill(store)
        await self.good("hold", "TWO", "NEW")
        self.assertEqual([], list(await due(store)))
        self.assertEqual(["0 entries made due"], await self.good("flush", "--destination", "a"))
        told = await self.good("flush")
        self.assertEqual(["1 entry made due", "1 entry left alone: being attempted"], told)
        self.assertEqual(["example.org"], list(await due(store)))

    async def test_stats(self) -> None:
        """Numbers, for the eye and for programs."""
        await fill(await self.opened())
        self.assertIn("  being attempted: 1", await self.good("stats"))
        [numbers] = await self.documents("stats", "--top", "2")
        self.assertEqual((6, 1, 1), (numbers["entries"], numbers["held"], numbers["leased"]))
        self.assertEqual(2, len(numbers["destinations"]))

    async def test_noticed(self) -> None:
        """A gateway that runs is told of what has become due."""
        store = await self.opened()
        await fill(store)
        noticed: list[bool] = []
        store.watch(lambda: noticed.append(True))
        await self.good("retry", "OLD")
        await until(lambda: noticed, "the change to be noticed")


async def due(store: IQueueStore) -> Sequence[str]:
    """The destinations that are due."""
    found: Sequence[str] = await store.due(100, ())
    return found


class LongTests(QueueCase):
    """A long queue."""

    async def test_ends_early(self) -> None:
        """The first lines come at once. The reader goes, or has Ctrl-C pressed: it ends."""
        await self.put_many(await self.opened())
        await self.check_head()
        await self.check_interrupt()

    async def test_everything(self) -> None:
        """A pipe gets every entry once, in order; a limit ends it."""
        await self.put_many(await self.opened())
        lines = await self.good("list")
        self.assertEqual([f"M{n}" for n in range(MANY)], [line.split()[0] for line in lines[1:]])
        documents = await self.documents("list", "--destination", "d7.example")
        self.assertEqual([f"M{n}" for n in range(7, MANY, 100)], [one["id"] for one in documents])
        limited = await self.queue("list", "--limit", "5", "--json")
        self.assertEqual((0, 5), (limited.code, len(limited.out)))
        self.assertEqual([f"the first 5 of {MANY}; --limit 0 lists all"], limited.err)
        self.assertEqual([f"{MANY // 100} entries deleted"], await self.good(
            "delete", "--yes", "--destination", "d7.example"
        ))  # fmt: skip
        [numbers] = await self.documents("stats", "--top", "1")
        self.assertEqual(MANY - MANY // 100, numbers["entries"])

    async def check_head(self) -> None:
        """Somebody reads the first lines and goes: the command ends in silence."""
        with self.listing() as listing:
            assert listing.stdout is not None
            reading = listing.stdout
            lines = await deferToThread(lambda: [reading.readline() for _ in range(5)])
            # It has far more to say than a pipe holds.
            self.assertIsNone(listing.poll())
            reading.close()
            code = await deferToThread(listing.wait, DEADLINE)
            assert listing.stderr is not None
            self.assertEqual((0, b""), (code, listing.stderr.read()))
        self.assertEqual([b"ID", b"M0", b"M1", b"M2", b"M3"], [line.split()[0] for line in lines])

    async def check_interrupt(self) -> None:
        """Ctrl-C ends it between two pages."""
        with self.listing() as listing:
            assert listing.stdout is not None
            await deferToThread(listing.stdout.readline)
            listing.send_signal(signal.SIGINT)
            rest = await deferToThread(listing.stdout.readlines)
            self.assertEqual(130, await deferToThread(listing.wait, DEADLINE))
        self.assertLess(len(rest), MANY)
        self.assertTrue(rest[-1].endswith(b" 1\n"), rest[-1])

    async def put_many(self, store: IQueueStore) -> None:
        """So many messages for a hundred destinations, the first the oldest."""
        for start in range(0, MANY, 500):
            putting = [
                put(store, f"M{n}", MANY - n, "a@example.com", f"b@d{n % 100}.example")
                for n in range(start, start + 500)
            ]
            await gatherResults(list(map(Deferred.fromCoroutine, putting)), consumeErrors=True)

    @contextmanager
    def listing(self) -> Iterator["subprocess.Popen[bytes]"]:
        """``list``, running."""
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        env = environ()
        with subprocess.Popen(self.command("list"), env=env, **streams) as popen:  # type: ignore[call-overload]
            try:
                yield popen
            finally:
                popen.kill()


class OnPostgreSQL(QueueCase):
    """The same on the other store."""

    async def address(self) -> str:
        """An empty database of the server that the tests share."""
        server = await postgresql.shared()
        self.stored_at = server.address_of(server.new_database())
        return self.stored_at


class PostgreSQLTests(OnPostgreSQL, SubcommandTests):
    """Each subcommand on PostgreSQL."""


class TerminalTests(QueueCase):
    """Someone at a terminal."""

    async def at_terminal(self, *words: str, says: bytes) -> Ended:
        """The command, which reads what is typed."""
        ours, theirs = pty.openpty()
        try:
            os.write(ours, says)
            return await self.queue(*words, stdin=theirs)
        finally:
            os.close(ours)
            os.close(theirs)

    async def test_delete_asks(self) -> None:
        """``delete`` does nothing before a yes; the end of input, and anything else, is a no."""
        await fill(await self.opened())
        for says in (b"\n", b"\x04", b"yess\n"):
            done = await self.at_terminal("delete", "TWO", says=says)
            self.assertEqual((1, []), (done.code, done.out), says)
            question = "delete 2 entries, without a bounce? [y/N] "
            self.assertEqual(f"{question}nothing was deleted", "".join(done.err))
        self.assertEqual(2, len(await self.documents("list", "--recipient", "@example.org")))
        done = await self.at_terminal("delete", "TWO", "--json", says=b"y\n")
        self.assertEqual({"changed": 2, "leased": 0, "missing": []}, json.loads(done.out[0]))

    async def test_interrupt(self) -> None:
        """Ctrl-C at the question is a no."""
        await fill(await self.opened())
        ours, theirs = pty.openpty()
        env = environ()
        with subprocess.Popen(
            self.command("delete", "--all"), stdin=theirs, stderr=subprocess.PIPE, env=env
        ) as asking:
            try:
                assert asking.stderr is not None
                question = await deferToThread(os.read, asking.stderr.fileno(), 100)
                self.assertIn(b"delete 5 entries", question)
                asking.send_signal(signal.SIGINT)
                self.assertEqual(1, await deferToThread(asking.wait, DEADLINE))
            finally:
                asking.kill()
                os.close(ours)
                os.close(theirs)
        self.assertEqual(6, len(await self.documents("list")))


class TroubleTests(QueueCase):
    """What keeps the command from doing anything: one line, and an exit code."""

    async def test_full_disk(self) -> None:
        """Output that cannot be written is an error, but nothing of the store's."""
        await fill(await self.opened())
        with open("/dev/full", "wb") as full:
            env = environ()
            done = await deferToThread(
                subprocess.run, self.command("list"), stdout=full, stderr=subprocess.PIPE, env=env
            )
        self.assertEqual(74, done.returncode)
        self.assertEqual([b"the output cannot be written: No space left on device"],
                         done.stderr.splitlines())  # fmt: skip

    async def trouble(self, address: str) -> Ended:
        """What is said of a store that cannot be used."""
        self.config = self.settings(address)
        done = await self.queue("list")
        self.assertEqual([], done.out)
        self.assertEqual(1, len(done.err), done.err)
        return done

    async def test_not_there(self) -> None:
        """A store that no gateway has made yet is not made by this user in its place."""
        path = self.folder() / "queue.sqlite3"
        done = await self.trouble(f"sqlite:{path}")
        self.assertEqual(69, done.code)
        self.assertIn(f"{path}: is not there yet", done.err[0])
        self.assertFalse(path.exists())

    async def test_damaged(self) -> None:
        """What is no store is said to be damaged."""
        path = self.folder() / "queue.sqlite3"
        path.write_bytes(b"no database at all" * 100)
        done = await self.trouble(f"sqlite:{path}")
        self.assertEqual(65, done.code)
        self.assertIn(str(path), done.err[0])

    async def test_unreachable(self) -> None:
        """A server that does not answer is unavailable, and its password is not shown."""
        done = await self.trouble("postgresql://queue:s3cret@127.0.0.1:1/queue")
        self.assertEqual(69, done.code)
        self.assertNotIn("s3cret", done.err[0])

    async def test_no_queue(self) -> None:
        """Settings that have no outbound queue are the wrong ones: 78."""
        files = {"me": "a.example\n", "smtp_forward.ini": "host=127.0.0.1\nenable_tls=false\n"}
        self.config = str(write_config(self.folder(), files))
        done = await self.queue("stats")
        self.assertEqual((78, []), (done.code, done.out))
        self.assertIn("no outbound queue", done.err[0])
