"""What the backend does, and what the sender is told: the table of answers, row by row.

Each row has a backend and a gateway of its own. After each the next message of the same session
must be delivered to its own recipients, whatever went before.
"""

import shutil
import socket
import tempfile
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThread

from smtpforward.job import Event, Job, Outcome, Stage
from smtpforward.reply import Reply
from tests.integration.forwarding import (
    EXTENSIONS,
    FIRST,
    GREETING,
    LARGE,
    STAGES,
    TableCase,
    faulty,
    reply,
    rows,
)
from tests.peers.backend import ScriptedBackend
from tests.peers.gateway import ME
from tests.peers.ports import free_port
from tests.peers.script import GO_AHEAD, TAKEN, Action, Held, Script
from tests.peers.wait import until

SET_UP_CODES = (500, 502, 503, 504, 530, 534, 535, 538)
SILENCE_TIMES = {"reply_timeout": 0.5, "dot_timeout": 0.5, "connect_timeout": 0.5}


def accepted(job: Job) -> Outcome:
    """The outcome of the first recipient only."""
    said = Reply(250, (b"2.0.0 Ok",))
    return Outcome(job.envelope.recipients[0], Event.ACCEPTED, Stage.DOT, said)


class BackendAnswersTests(TableCase):
    """The backend's own answer travels."""

    async def test_accepted(self) -> None:
        """A 250 to the dot reaches the sender with the backend's text."""
        for said, heard in (
            (b"250 2.6.0 <x@y> Queued as 7F\r\n", "250 2.6.0 <x@y> Queued as 7F"),
            (b"250 Queued\r\n", "250 2.0.0 Queued"),
            (b"250 \r\n", "250 2.0.0 "),
            (b"250\r\n", "250 2.0.0 "),
            (b"251 2.0.0 Sent on\r\n", "250 2.0.0 Sent on"),
            (b"250-2.0.0 one\r\n250 2.0.0 two\r\n", "250 2.0.0 one\n2.0.0 two"),
        ):
            for extensions in EXTENSIONS:
                backend = await self.travels(faulty({".": said}, extensions), heard, said)
                self.assertEqual(2, len(backend.messages), said)
                self.assertEqual(1, backend.connections.total, said)

    async def test_refused(self) -> None:
        """A refusal at any stage reaches the sender with its code, enhanced code and text."""
        for code, text, heard in (
            (550, "5.1.1 <rcpt@example.com>: no such user", None),
            (554, "5.7.1 Rejected, see http://example.com/?a=1", None),
            (552, "5.2.2 Mailbox full", None),
            (521, "5.3.2 Does not accept mail", None),
            (450, "4.2.1 Greylisted, come back in 300 s", None),
            (452, "4.2.2 Over quota", None),
            (451, "4.7.1 Try later", None),
            (550, "No such user", "5.0.0 No such user"),
            (451, "Try later", "4.0.0 Try later"),
            (554, "", "5.0.0 "),
        ):
            for _, script, row in rows((stage, reply(code, text)) for stage in STAGES):
                await self.travels(script, f"{code} {heard or text}", row)

    async def test_refused_in_several_lines(self) -> None:
        """A refusal in several lines reaches the sender in as many, each with enhanced code."""
        marked = b"550-5.7.1 first\r\n550 5.7.1 second\r\n"
        bare = b"550-first\r\n550-second\r\n550 third\r\n"
        for said, heard in (
            (marked, "550 5.7.1 first\n5.7.1 second"),
            (bare, "550 5.0.0 first\n5.0.0 second\n5.0.0 third"),
        ):
            for _, script, row in rows((stage, said) for stage in STAGES):
                await self.travels(script, heard, row)

    async def test_refused_and_the_rest_as_well(self) -> None:
        """What refuses the first command counts, not what the pipelined ones behind it get."""
        out_of_order = b"503 5.5.1 Bad sequence of commands\r\n"
        refused = b"550 5.1.1 No such user\r\n"
        for steps in (
            {"MAIL": refused, "RCPT": out_of_order, "DATA": out_of_order},
            {"RCPT": refused, "DATA": out_of_order},
            {"RCPT": refused, "DATA": b"554 5.5.1 No valid recipients\r\n"},
        ):
            await self.travels(faulty(steps), "550 5.1.1 No such user", steps)
        self.assertEqual([], self.log_errors())

    async def test_of_our_set_up(self) -> None:
        """What speaks of the set-up never bounces mail: 451 4.3.5, and an error in the log."""
        for code in SET_UP_CODES:
            said = reply(code, "5.5.1 No")
            for _, script, row in rows((stage, said) for stage in STAGES):
                before = len(self.log_errors())
                await self.is_ours(script, "451 4.3.5", row)
                [error] = self.log_errors()[before:]
                self.assertIn(f"{code} 5.5.1 No", error, row)

    async def test_own_name(self) -> None:
        """A backend that greets with our own name is a loop: 451 4.3.5, and an error in the log."""
        for name in (ME, ME.upper()):
            script = faulty({GREETING: reply(220, f"{name} ESMTP")})
            await self.is_ours_and_ends(script, "451 4.3.5", name)
        self.assertEqual(2, len(self.log_errors()))
        self.assertIn("own name", self.log_errors()[0])

    async def test_too_large_for_the_backend(self) -> None:
        """A message above the backend's SIZE is 552 5.3.4, and the backend hears nothing of it."""
        for extension in ("SIZE 1000", "size 1000"):
            backend = self.backend(Script(extensions=("PIPELINING", extension)))
            client = await self.client(self.forward(backend.port))
            long = b"Subject: long\r\n\r\n" + b"x" * 70 + b"\r\n"
            answer = await self.send(client, wire=long + (b"y" * 70 + b"\r\n") * 20 + b".\r\n")
            self.assert_own(answer, "552 5.3.4", extension)
            self.assertEqual(["EHLO"], backend.conversations[0].verbs)
            await self.assert_next(client, backend)

    async def test_strict_8bit(self) -> None:
        """8-bit bytes for one without 8BITMIME are 554 5.6.3, and the backend hears nothing."""
        for spool_after in (-1, 0):
            backend = self.backend(Script(extensions=("PIPELINING",)))
            limits = {"connection.ini": f"spool_after={spool_after}\n"}
            client = await self.client(self.forward(backend.port, limits, strict_8bit="true"))
            eight = b"Subject: 8\r\n\r\nl\xc3\xa4nge\r\n.\r\n"
            self.assert_own(await self.send(client, wire=eight), "554 5.6.3", spool_after)
            self.assertEqual(["EHLO"], backend.conversations[0].verbs)
            await self.ask(client, "MAIL FROM:<sender@example.org> BODY=8BITMIME")
            await self.ask(client, "RCPT TO:<rcpt@example.com>")
            await self.ask(client, "DATA")
            await deferToThread(client.send, FIRST)
            answer = await deferToThread(client.answer)
            self.assert_said(answer, "250 2.0.0 Ok: taken", spool_after)
            self.assertEqual(b"MAIL FROM:<sender@example.org>", backend.messages[0].mail)
            await self.assert_next(client, backend)
            self.assertEqual(1, backend.connections.total)

    async def test_8bit(self) -> None:
        """Without the flag they pass as they are; with it as well where 8BITMIME is offered."""
        eight = b"Subject: 8\r\n\r\nl\xc3\xa4nge\r\n.\r\n"
        for strict, extensions in (("false", ("PIPELINING",)), ("true", ("8BITMIME",))):
            backend = self.backend(Script(extensions=extensions))
            client = await self.client(self.forward(backend.port, None, strict_8bit=strict))
            answer = await self.send(client, wire=eight)
            self.assert_said(answer, "250 2.0.0 Ok: taken", strict)
            self.assertTrue(backend.messages[0].wire.endswith(eight[:-3]), strict)

    async def test_no_size_limit(self) -> None:
        """SIZE without a number, or with 0, is no limit."""
        for extension in ("SIZE", "SIZE 0"):
            script = Script(extensions=("PIPELINING", extension))
            await self.travels(script, "250 2.0.0 Ok: taken", extension)


class NoConnectionTests(TableCase):
    """There is no usable connection."""

    async def test_refused(self) -> None:
        """A connect that is refused is 451 4.4.1; when the backend is back, mail goes through."""
        port = free_port()
        client = await self.client(self.forward(port))
        self.assert_own(await self.send(client), "451 4.4.1")
        backend = ScriptedBackend(port=port)
        self.stop_later(backend.stop)
        await self.assert_next(client, backend)

    async def test_not_accepted_in_time(self) -> None:
        """A connect that gets no answer in time is 451 4.4.1."""
        plug = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.addCleanup(plug.close)
        fill = []
        for _ in range(4):
            one = socket.socket()
            self.addCleanup(one.close)
            one.setblocking(False)
            one.connect_ex(plug.getsockname())
            fill.append(one)
        port: int = plug.getsockname()[1]
        client = await self.client(self.forward(port, None, **SILENCE_TIMES))
        self.assert_own(await self.send(client), "451 4.4.1")
        for one in (*fill, plug):
            one.close()
        backend = ScriptedBackend(port=port)
        self.stop_later(backend.stop)
        await self.assert_next(client, backend)

    async def test_address_to_bind_is_not_ours(self) -> None:
        """A ``bind`` that this host does not have is 451 4.4.1."""
        backend = self.backend()
        client = await self.client(self.forward(backend.port, bind="192.0.2.1"))
        self.assert_own(await self.send(client), "451 4.4.1")
        self.assertEqual(0, backend.connections.total)

    async def test_refused_at_the_greeting(self) -> None:
        """A greeting that refuses speaks of the server, not of the mail: 451 4.4.1."""
        for said in (
            b"554 5.3.2 No SMTP\r\n",
            b"450 4.3.2 Busy\r\n",
            b"500 x\r\n",
            b"554-a\r\n554 b\r\n",
        ):
            await self.is_ours_and_ends(faulty({GREETING: said}), "451 4.4.1", said)

    async def test_refused_at_ehlo(self) -> None:
        """A refusal of EHLO, or of HELO after it, is temporary: 451 4.4.1."""
        no_helo = b"550 5.7.1 Go away\r\n"
        for steps in (
            {"EHLO": b"550 5.7.1 Go away\r\n"},
            {"EHLO": b"554 No\r\n"},
            {"EHLO": b"450 4.7.1 Later\r\n"},
            {"EHLO": b"502 No\r\n", "HELO": no_helo},
            {"EHLO": b"500 No\r\n", "HELO": b"500 No\r\n"},
        ):
            await self.is_ours_and_ends(faulty(steps), "451 4.4.1", steps)

    async def test_helo_in_place_of_ehlo(self) -> None:
        """EHLO that is not known is followed by HELO, once, and the mail goes through."""
        for code in (500, 502, 504):
            backend = self.backend(Script(replies={"EHLO": reply(code, "What?")}))
            client = await self.client(self.forward(backend.port))
            self.assert_said(await self.send(client), "250 2.0.0 Ok: taken", code)
            await self.assert_next(client, backend, code)
            verbs = backend.conversations[0].verbs
            self.assertEqual(["EHLO", "HELO", "MAIL", "RCPT", "DATA", "MAIL"], verbs[:6], code)
            self.assertEqual(1, backend.connections.total, code)

    async def test_dropped_before_the_dot(self) -> None:
        """A connection that ends before our dot is 451 4.4.1."""
        stages = (GREETING, "EHLO", "MAIL", "RCPT", "DATA")
        for how in (
            Action.CLOSE,
            Action.RESET,
            (b"25", Action.CLOSE),
            (b"250-a\r\n", Action.CLOSE),
        ):
            for _, script, row in rows((stage, how) for stage in stages):
                await self.is_ours_and_ends(script, "451 4.4.1", row)

    async def test_silent_before_the_dot(self) -> None:
        """A backend that says nothing in time before our dot is 451 4.4.1."""
        for stage in (GREETING, "EHLO", "MAIL", "RCPT", "DATA"):
            script = faulty({stage: Action.SILENCE})
            await self.is_ours_and_ends(script, "451 4.4.1", stage, **SILENCE_TIMES)

    async def test_deaf_to_the_message(self) -> None:
        """A backend that reads no more of a large message is 451 4.4.1: our dot was not sent."""
        backend = self.backend(faulty({"DATA": (GO_AHEAD, Action.DEAF)}))
        client = await self.client(self.forward(backend.port, None, **SILENCE_TIMES))
        self.assert_own(await self.send(client, wire=LARGE), "451 4.4.1")
        self.assertEqual([], backend.messages)
        await self.assert_next(client, backend)

    async def test_dropped_in_the_message(self) -> None:
        """A connection that ends while a large message is on its way is 451 4.4.1."""
        backend = self.backend(faulty({"DATA": (GO_AHEAD, Action.DEAF)}))
        client = await self.client(self.forward(backend.port))
        answer = await self.send_behind(client, LARGE)
        await until(
            lambda: backend.conversations and "DATA" in backend.conversations[0].verbs, "DATA"
        )
        backend.connections.abort()
        self.assert_own(await answer(), "451 4.4.1")
        self.assertEqual([], backend.messages)
        await self.assert_next(client, backend)

    async def test_lost_after_the_dot(self) -> None:
        """A connection that ends, or is silent, after our dot is 451 4.4.2: nothing is repeated."""
        for how in (Action.CLOSE, Action.RESET, Action.SILENCE, (b"25", Action.CLOSE)):
            for extensions in EXTENSIONS:
                answer, client, backend = await self.play(
                    faulty({".": how}, extensions), **SILENCE_TIMES
                )
                self.assert_own(answer, "451 4.4.2", how)
                self.assertEqual(1, len(backend.messages), how)
                await self.assert_next(client, backend, how)
                self.assertEqual(2, backend.connections.total, how)

    async def test_pool_full(self) -> None:
        """A pool that stays full for longer than the message waits is 451 4.3.2."""
        hold = Held(TAKEN)
        backend = self.backend(faulty({".": hold}))
        gateway = self.forward(backend.port, max_connections=1, connect_timeout=0.3)
        first, second = await self.client(gateway), await self.client(gateway)
        answer = await self.send_behind(first)
        await until(lambda: hold.waiting, "the first message")
        self.assert_own(await self.send(second), "451 4.3.2")
        hold.release()
        self.assert_said(await answer(), "250 2.0.0 Ok: taken")
        await self.assert_next(second, backend)
        self.assertEqual(1, backend.connections.total)


class OwnFaultTests(TableCase):
    """What goes wrong is ours."""

    async def test_spool_directory_gone(self) -> None:
        """A message that cannot be spooled is 452 4.3.1; one that need not be still passes."""
        folder = self.folder() / "spool"
        folder.mkdir()
        await self.cannot_spool(f"spool_dir={folder}\nspool_after=1000\n", folder.rmdir)

    async def test_disk_full(self) -> None:
        """A disk that is full at spooling is 452 4.3.1."""

        def fill() -> None:
            def full(dir: str, buffering: int) -> Any:
                return open("/dev/full", "wb", buffering)

            self.patch(tempfile, "TemporaryFile", full)

        await self.cannot_spool("spool_after=1000\n", fill)

    async def cannot_spool(self, connection: str, spoil: Any) -> None:
        backend = self.backend()
        client = await self.client(self.forward(backend.port, {"connection.ini": connection}))
        spoil()
        long = b"Subject: long\r\n\r\n" + (b"x" * 70 + b"\r\n") * 100 + b".\r\n"
        answer = await self.send(client, wire=long)
        self.assertEqual((452, "4.3.1"), (answer.code, answer.text[:5]), answer)
        self.assertEqual(0, backend.connections.total)
        [line] = [line for line in self.log_lines() if "to=<rcpt@example.com>" in line]
        self.assertIn(" dsn=4.3.1 status=deferred ", line)
        await self.assert_next(client, backend)

    async def test_spool_answer_has_the_id(self) -> None:
        """The answer to a message that cannot be spooled ends with the transaction's id."""
        folder = self.folder()
        files = {"connection.ini": f"spool_dir={folder}\nspool_after=0\n"}
        client = await self.client(self.forward(self.backend().port, files))
        shutil.rmtree(folder)
        self.assert_own(await self.send(client), "452 4.3.1")

    async def test_exception(self) -> None:
        """A target that fails is 451 4.3.0 with a traceback, and the next message gets through."""

        def raises(job: Job) -> Deferred[list[Outcome]]:
            raise ZeroDivisionError("at once")

        broken = {
            "a failed Deferred": lambda job: fail(ZeroDivisionError("later")),
            "a raised exception": raises,
            "no outcome": lambda job: succeed([]),
            "an outcome too few": lambda job: succeed([accepted(job)]),
            "no list": lambda job: succeed(None),
        }
        for row, deliver in broken.items():
            backend = self.backend()
            gateway = self.forward(backend.port)
            client = await self.client(gateway)
            patched = self.patch(gateway.target, "deliver", deliver)
            answer = await self.send(client, "a@example.com", "b@example.com")
            self.assertEqual(1, len(self.flushLoggedErrors()), row)
            self.assert_own(answer, "451 4.3.0", row)
            patched.restore()
            await self.assert_next(client, backend, row)
