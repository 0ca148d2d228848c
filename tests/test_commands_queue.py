"""``smtpforward queue``: its arguments, and what each subcommand does to a real store."""

import io
import json
import os
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from smtpforward.commands import main
from smtpforward.commands.queue import command
from smtpforward.commands.queue.output import Output
from smtpforward.config import store
from smtpforward.interfaces import IQueueStore
from smtpforward.outbound import errors, looking
from smtpforward.outbound.entry import Filter
from smtpforward.outbound.store.choice import store_at
from tests.queuevalues import fill, put
from tests.test_commands_check import CommandCase


class ArgumentsTests(CommandCase):
    """The command line, before any store is opened."""

    def wrong(self, *arguments: str) -> str:
        """What is said of arguments that are a usage error."""
        self.assertEqual(self.run_main("queue", *arguments), 64, arguments)
        self.assertEqual(self.out, [])
        return self.err[-1]

    def test_no_command(self) -> None:
        """Without a subcommand, or with none that is known, it is a usage error."""
        self.wrong()
        self.wrong("lsit")

    def test_which(self) -> None:
        """A change needs ids, a filter, or ``--all``, which takes neither."""
        for name in ("retry", "hold", "release", "delete"):
            self.assertIn("which?", self.wrong(name))
            self.assertIn("--all", self.wrong(name, "--all", "8A"))
            self.assertIn("--all", self.wrong(name, "--all", "--not-held"))

    def test_delete_unseen(self) -> None:
        """Where nobody can be asked, a deletion needs ``--yes``."""
        self.assertIn("--yes is needed", self.wrong("delete", "8A"))

    def test_values(self) -> None:
        """A value that no entry can have is an error, not a filter that finds nothing."""
        for arguments, told in (
            (("list", "--sender", "example.com"), "written @example.com"),
            (("list", "--recipient", "bob"), "written @example.com"),
            (("list", "--older", "2"), "a span of time such as 30s"),
            (("list", "--limit", "-1"), "a whole number from 0"),
            (("list", "--limit", "1e3"), "a whole number from 0"),
            (("stats", "--top", "x"), "a whole number from 0"),
            (("show", "\udcff"), "is not UTF-8"),
            (("list", "--destination", ""), "is empty"),
            (("flush", "--destination", ""), "is empty"),
            (("list", "--held", "--not-held"), "not allowed with"),
        ):
            self.assertIn(told, self.wrong(*arguments))

    def test_needs_id(self) -> None:
        """``show`` is of something."""
        self.assertIn("ID", self.wrong("show"))

    def filter_of(self, *arguments: str) -> Filter:
        """The filter that ``arguments`` of ``list`` mean at 1000000."""
        asked = main.parser().parse_args(["queue", "list", *arguments])
        return command.arguments.which(asked, 1_000_000.0)

    def test_filters(self) -> None:
        """Each option is its part of the filter; times count back from now."""
        self.assertEqual(self.filter_of(), Filter())
        self.assertEqual(
            self.filter_of(
                "--sender", "<a@example.com>", "--recipient=@example.org",
                "--destination", "example.org", "--not-held", "--older", "2d",
            ),
            Filter((), "a@example.com", "@example.org", "example.org", False, 827_200.0),
        )  # fmt: skip
        for sender in ("<>", "<", "postmaster"):
            expected = "<>" if "<" in sender else sender
            self.assertEqual(self.filter_of("--sender", sender), Filter(sender=expected))
        self.assertEqual(self.filter_of("--held"), Filter(held=True))


class StoreCase(TestCase):
    """Runs the command on a real store, which the test has open as well."""

    async def opened(self) -> IQueueStore:
        """An empty store."""
        self.address = f"sqlite:{os.path.abspath(self.mktemp())}"
        self.store = store_at(self.address, reactor)
        await self.store.open("gateway")
        self.addCleanup(self.store.close)
        return self.store

    async def filled(self) -> None:
        """The store has the messages of :func:`tests.queuevalues.fill`."""
        await fill(await self.opened())

    async def queue(self, *words: str, width: int | None = None) -> int:
        """The exit code; ``self.out`` and ``self.err`` are the lines."""
        out, err = io.StringIO(), io.StringIO()
        asked = main.parser().parse_args(["queue", *words])
        output = Output(out, err, width)
        code = await command.perform(self.address, reactor, asked, output)
        self.out, self.err = out.getvalue().splitlines(), err.getvalue().splitlines()
        return code

    async def good(self, *words: str) -> list[str]:
        """What a command says that ends well and has nothing to remark."""
        self.assertEqual((await self.queue(*words), self.err), (0, []), words)
        return self.out

    async def documents(self, *words: str) -> list[Any]:
        """What it says with ``--json``."""
        return [json.loads(line) for line in await self.good(*words, "--json")]

    async def listed(self, *filters: str) -> list[str]:
        """The ids that the list shows; the table and the documents agree."""
        self.assertEqual(await self.queue("list", *filters), 0)
        ids = [line.split()[0] for line in self.out[1:]]
        self.assertEqual(await self.queue("list", *filters, "--json"), 0)
        self.assertEqual([json.loads(line)["id"] for line in self.out], ids)
        self.assertEqual(self.err, [] if ids else ["no entries"])
        return ids

    async def states(self) -> dict[str, str]:
        """The state of each entry by its message and destination."""
        return {
            f"{one['id']} {one['destination']}": one["state"]
            for one in await self.documents("list")
        }


STATES = {
    "OLD example.org": "deferred",
    "TWO example.org": "due",
    "TWO example.net": "due",
    "BOUNCE example.com": "held",
    "BUSY busy.example": "leased",
    "NEW new.example": "due",
}
NOT_BUSY = {entry for entry in STATES if "BUSY" not in entry}


class ListTests(StoreCase):
    """``list``."""

    async def test_all(self) -> None:
        """Every entry is a line, the oldest message first."""
        await self.filled()
        lines = await self.good("list")
        self.assertEqual(
            [line.split()[0] for line in lines],
            ["ID", "OLD", "TWO", "TWO", "BOUNCE", "BUSY", "NEW"],
        )
        self.assertRegex(
            lines[1],
            r"^OLD +96  10d     2 in (59|60) min +ann@example.com +example.org +1"
            r" 451 4.7.1 try later$",
        )
        self.assertRegex(lines[4], r"^BOUNCE .* held +<> ")
        self.assertRegex(lines[5], r"^BUSY .* being attempted app@sender.example ")
        self.assertRegex(lines[6], r"^NEW .* 0 now .* 1$")

    async def test_documents(self) -> None:
        """``--json``: each is an object with the same."""
        await self.filled()
        self.assertEqual(await self.states(), STATES)
        [old, *_] = await self.documents("list")
        self.assertEqual((old["to"], old["attempts"]), (["bob@example.org"], 2))

    async def test_filters(self) -> None:
        """Each filter leaves the entries of which it is true; several, those of all."""
        await self.filled()
        for filters, ids in (
            (["--sender", "ANN@example.com"], ["OLD", "TWO", "TWO"]),
            (["--sender", "@sender.example"], ["BUSY", "NEW"]),
            (["--sender", "<>"], ["BOUNCE"]),
            (["--recipient", "bob@EXAMPLE.org"], ["OLD", "TWO"]),
            (["--recipient", "eve@example.org"], []),
            (["--recipient", "@example.net"], ["TWO"]),
            (["--destination", "example.org"], ["OLD", "TWO"]),
            (["--held"], ["BOUNCE"]),
            (["--not-held"], ["OLD", "TWO", "TWO", "BUSY", "NEW"]),
            (["--older", "1d"], ["OLD", "TWO", "TWO"]),
            (["--older", "5m", "--sender", "<>", "--held"], ["BOUNCE"]),
            (["--older", "11d"], []),
        ):
            self.assertEqual(await self.listed(*filters), ids, filters)

    async def test_verbose(self) -> None:
        """``-v``: with the recipients that are still to go."""
        await self.filled()
        lines = await self.good("list", "-v", "--destination", "example.org")
        self.assertEqual(lines[2::2], ["    to <bob@example.org>"] * 2)

    async def test_limit(self) -> None:
        """``--limit``: so many entries, and a remark that there are more; 0 is all."""
        await self.filled()
        self.assertEqual(await self.queue("list", "--limit", "2"), 0)
        self.assertEqual([line.split()[0] for line in self.out], ["ID", "OLD", "TWO"])
        self.assertEqual(self.err, ["the first 2 of 6; --limit 0 lists all"])
        await self.queue("list", "--limit", "1", "--json", "--older", "1d")
        self.assertEqual(len(self.out), 1)
        self.assertEqual(self.err, ["the first 1; there are more; --limit 0 lists all"])
        for limit in ("6", "7", "0"):
            self.assertEqual(len(await self.good("list", "--limit", limit)), 7)

    async def test_pages(self) -> None:
        """However long it is, each entry is there once; a terminal gets the first thousand."""
        await self.opened()
        self.patch(looking, "PAGE", 3)
        self.patch(command, "TERMINAL_LIMIT", 6)
        names = [f"M{number}" for number in range(8)]
        for number, name in enumerate(names):
            await put(self.store, name, 100 - number, "a@example.com", "b@example.org")
        for limit in (0, 3, 4, 8, 9):
            await self.queue("list", "--limit", str(limit))
            expected = names[: limit or None]
            self.assertEqual([line.split()[0] for line in self.out[1:]], expected)
            more = [f"the first {limit} of 8; --limit 0 lists all"]
            self.assertEqual(self.err, more if 0 < limit < 8 else [])
        await self.queue("list", width=100)
        self.assertEqual(len(self.out), 7)
        self.assertEqual(self.err, ["the first 6 of 8; --limit 0 lists all"])

    async def test_empty(self) -> None:
        """An empty queue is no error, and has no table."""
        await self.opened()
        self.assertEqual(await self.queue("list"), 0)
        self.assertEqual((self.out, self.err), ([], ["no entries"]))


class ShowTests(StoreCase):
    """``show``."""

    async def test_text(self) -> None:
        """Envelope, recipients, attempts and header, but not the body."""
        await self.filled()
        lines = await self.good("show", "OLD")
        for line in (
            "message OLD",
            "  from: <ann@example.com>",
            "  to: <bob@example.org>: queued",
            "  to: <eve@example.org>: delivered",
            "  still to go: <bob@example.org>",
            "  <eve@example.org>: delivered: 250 2.0.0 ok",
        ):
            self.assertIn(line, lines)
        self.assertEqual(len([line for line in lines if line.startswith("attempt at ")]), 2)
        self.assertEqual(
            lines[-4:],
            [
                "header:",
                "    Received: from app",
                "    From: Ann <ann@example.com>",
                "    Subject: report",
            ],
        )

    async def test_body(self) -> None:
        """``--body``: with the body, as it would be read: without the dots of the wire."""
        await self.filled()
        lines = await self.good("show", "OLD", "--body")
        self.assertEqual(lines[-3:], ["body:", "    two lines", "    .one with a dot"])
        [[document]] = await self.documents("show", "OLD", "--body")
        self.assertEqual(document["body"], ["two lines", ".one with a dot"])

    async def test_documents(self) -> None:
        """``--json``: one array."""
        await self.filled()
        [[two, old]] = await self.documents("show", "TWO", "OLD", "TWO")
        self.assertEqual([entry["destination"] for entry in two["entries"]], [
            "example.org", "example.net",
        ])  # fmt: skip
        self.assertEqual([one["state"] for one in old["recipients"]], ["queued", "delivered"])
        self.assertEqual(len(old["attempts"]), 2)
        self.assertEqual(old["header"][-1], "Subject: report")
        self.assertNotIn("body", old)

    async def test_missing(self) -> None:
        """What is not there is said; the others are shown all the same; 66."""
        await self.filled()
        self.assertEqual(await self.queue("show", "NONE", "OLD", "8A", "NEW"), 66)
        self.assertEqual(
            self.err, ["NONE: no such message in the queue", "8A: no such message in the queue"]
        )
        self.assertEqual(
            [line for line in self.out if line.startswith("message") or not line],
            ["message OLD", "", "message NEW"],
        )
        self.assertEqual(await self.queue("show", "NONE", "--json"), 66)
        self.assertEqual(self.out, ["[]"])


class ChangeTests(StoreCase):
    """``retry``, ``hold``, ``release``, ``delete`` and ``flush``."""

    async def changed(self, *words: str) -> set[str]:
        """Which entries are in another state afterwards, or gone."""
        before = await self.states()
        [told] = await self.documents(*words)
        after = await self.states()
        self.assertEqual(told["missing"], [])
        self.counted = told["changed"], told["leased"]
        return {name for name, state in before.items() if after.get(name) != state}

    async def test_retry(self) -> None:
        """Deferred ones are due; one on hold stays there."""
        await self.filled()
        self.assertEqual(await self.changed("retry", "OLD"), {"OLD example.org"})
        self.assertEqual(self.counted, (1, 0))
        self.assertEqual(await self.states(), {**STATES, "OLD example.org": "due"})
        await self.changed("retry", "BOUNCE")
        self.assertEqual((await self.states())["BOUNCE example.com"], "held")

    async def test_hold_and_release(self) -> None:
        """By filters: those that are on hold are not attempted; released, they are as before."""
        await self.filled()
        differ = await self.changed("hold", "--sender", "ann@example.com", "--older", "1d")
        held = {"OLD example.org", "TWO example.org", "TWO example.net"}
        self.assertEqual(differ, held)
        self.assertEqual(self.counted, (3, 0))
        self.assertEqual(await self.listed("--held"), ["OLD", "TWO", "TWO", "BOUNCE"])
        await self.changed("release", "--destination", "example.org")
        await self.changed("release", "TWO")
        self.assertEqual(await self.states(), STATES)

    async def test_delete(self) -> None:
        """They are gone, with their message when it has no other; nobody is told."""
        await self.filled()
        await self.changed("delete", "--yes", "--destination", "example.net")
        self.assertEqual(await self.listed("--older", "1d"), ["OLD", "TWO"])
        differ = await self.changed("delete", "--yes", "TWO", "OLD")
        self.assertEqual(differ, {"OLD example.org", "TWO example.org"})
        self.assertEqual(await self.listed(), ["BOUNCE", "BUSY", "NEW"])
        self.assertEqual(await self.queue("show", "TWO"), 66)

    async def test_ids_and_filters(self) -> None:
        """A message that is named and does not match stays, and is not said to be missing."""
        await self.filled()
        differ = await self.changed("hold", "TWO", "NEW", "--destination", "example.net")
        self.assertEqual(differ, {"TWO example.net"})

    async def test_leased(self) -> None:
        """What is being attempted is left alone, and counted."""
        await self.filled()
        for words in (["hold"], ["release"], ["retry"], ["delete", "--yes"]):
            differ = await self.changed(*words, "BUSY")
            self.assertEqual((differ, self.counted), (set(), (0, 1)), words)
        lines = await self.good("hold", "--sender", "@sender.example")
        self.assertEqual(lines, ["1 entry put on hold", "1 entry left alone: being attempted"])

    async def test_all(self) -> None:
        """``--all`` is the whole queue but what is being attempted."""
        await self.filled()
        self.assertEqual(await self.changed("hold", "--all"), NOT_BUSY - {"BOUNCE example.com"})
        self.assertEqual(self.counted[1], 1)
        self.assertEqual(await self.changed("delete", "--yes", "--all"), NOT_BUSY)
        self.assertEqual(self.counted, (5, 1))
        self.assertEqual(await self.listed(), ["BUSY"])

    async def test_missing(self) -> None:
        """A message that is not there is said, the others are changed, and the result is 66."""
        await self.filled()
        self.assertEqual(await self.queue("hold", "NONE", "OLD"), 66)
        self.assertEqual(self.out, ["1 entry put on hold"])
        self.assertEqual(self.err, ["NONE: no such message in the queue"])
        self.assertEqual(await self.queue("hold", "NONE", "--json"), 66)
        self.assertEqual(
            list(map(json.loads, self.out)), [{"changed": 0, "leased": 0, "missing": ["NONE"]}]
        )

    async def test_nothing_matches(self) -> None:
        """A filter that nothing matches is no error, and changes nothing."""
        await self.filled()
        self.assertEqual(await self.good("hold", "--destination", "a"), ["0 entries put on hold"])
        self.assertEqual(await self.states(), STATES)

    async def test_flush(self) -> None:
        """All that is not on hold is due, or that of one destination."""
        await self.filled()
        self.assertEqual(await self.changed("flush", "--destination", "example.net"), set())
        self.assertEqual(self.counted[1], 0)
        lines = await self.good("flush")
        self.assertEqual(lines, ["4 entries made due", "1 entry left alone: being attempted"])
        self.assertEqual(await self.states(), {**STATES, "OLD example.org": "due"})

    async def test_confirmed(self) -> None:
        """``delete`` asks how many are meant, and does it after a yes only."""
        await self.filled()
        asked: list[str] = []
        answers = [False, True]

        def confirmed(question: str) -> bool:
            asked.append(question)
            return answers.pop(0)

        self.patch(command, "confirmed", confirmed)
        self.assertEqual(await self.queue("delete", "TWO", "BUSY"), 1)
        self.assertEqual((self.out, self.err), ([], ["nothing was deleted"]))
        self.assertEqual(await self.states(), STATES)
        self.assertEqual(await self.queue("delete", "TWO", "BUSY"), 0)
        self.assertEqual(asked, ["delete 2 entries, without a bounce?"] * 2)
        self.assertEqual(await self.listed("--older", "1d"), ["OLD"])
        await self.queue("delete", "BUSY")
        self.assertEqual(len(asked), 2)


class StatsTests(StoreCase):
    """``stats``."""

    async def test_numbers(self) -> None:
        """In both forms; ``--top`` is how many destinations there are."""
        await self.filled()
        [document] = await self.documents("stats", "--top", "1")
        self.assertEqual(
            {key: document[key] for key in ("entries", "due", "deferred", "held", "leased")},
            {"entries": 6, "due": 3, "deferred": 1, "held": 1, "leased": 1},
        )
        self.assertEqual((document["messages"], document["octets"]), (5, 5 * 96))
        [top] = document["destinations"]
        self.assertEqual((top["destination"], top["entries"]), ("example.org", 2))
        self.assertEqual(top["oldest"], document["oldest"])
        lines = await self.good("stats")
        self.assertEqual(lines[:2], ["messages: 5, 480B", "entries: 6"])
        self.assertEqual(len(lines), 7 + 1 + 1 + 5)
        self.assertNotIn("DESTINATION", " ".join(await self.good("stats", "--top", "0")))


class ExitCodeTests(CommandCase):
    """What keeps the command from its work, for the shell."""

    def test_codes(self) -> None:
        """Each kind has one."""
        for error, code in (
            (errors.StoreUnavailableError("x"), 69),
            (errors.StoreInUseError("x"), 69),
            (errors.StoreFullError("x"), 75),
            (errors.StoreDamagedError("x"), 65),
            (errors.StoreTooNewError("x"), 78),
        ):
            self.assertEqual(command.exit_code(error), code)

    def queueless(self) -> int:
        """The exit code where the settings have no queue."""
        path = self.directory("host=192.0.2.1\nenable_outbound=true\nenable_tls=no\n")
        code = self.run_main("queue", "list", "--config", path)
        self.assertEqual((self.out, len(self.err)), ([], 1))
        return code

    def test_no_queue(self) -> None:
        """Settings without a queue are the wrong ones."""
        self.patch(store, "DEFAULT_FILE", os.path.join(self.mktemp(), "queue.sqlite3"))
        self.assertEqual(self.queueless(), 78)
        self.assertIn("there is no outbound queue", self.err[0])

    def test_not_this_user(self) -> None:
        """A default store that this user may not use is there all the same."""
        path = self.mktemp()
        with open(path, "wb"):
            self.patch(store, "DEFAULT_FILE", path)
        self.patch(os, "access", lambda path, mode: False)
        self.assertEqual(self.queueless(), 77)
        self.assertEqual(self.err, [f"{path}: this user may not use it; the gateway's may"])

    def test_not_there_yet(self) -> None:
        """A store that the gateway has not made yet is not made in its place."""
        path = os.path.abspath(self.mktemp())
        files = {"outbound.ini": f"store=sqlite:{path}\n"}
        config = self.directory("host=192.0.2.1\nenable_tls=no\n", **files)
        self.assertEqual(self.run_main("queue", "stats", "--config", config), 69)
        self.assertEqual(len(self.err), 1)
        self.assertFalse(os.path.exists(path))

    def test_settings(self) -> None:
        """Wrong settings are 78, and those that are missing 66, as for every command."""
        config = self.directory("prot=1\n")
        self.assertEqual(self.run_main("queue", "stats", "--config", config), 78)
        self.assertEqual(self.run_main("queue", "stats", "--config", "nowhere"), 66)
