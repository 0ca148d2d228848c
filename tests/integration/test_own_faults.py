"""What goes wrong on the gateway's own machine: the disk, descriptors, our code, the clock.

More of it, where nothing but the answer counts, is in ``test_answers_table.py``.
"""

import os
import resource
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import fail, succeed
from twisted.internet.threads import deferToThread

from smtpforward.server.session import GatewaySession
from tests.integration.forwarding import FIRST, ForwardingCase
from tests.peers.backend import ScriptedBackend
from tests.peers.case import PeerTestCase
from tests.peers.gateway import ME, Gateway, three_files
from tests.peers.ports import free_port
from tests.peers.raw import Answer, RawClient
from tests.peers.wait import until

LONG = b"Subject: long\r\n\r\n" + b"0123456789abcdef\r\n" * 60_000 + b".\r\n"
FILE_SIZE = 400_000
CLIENTS = 20
DAY = 86400.0


class OwnFaultCase(PeerTestCase):
    """A gateway in a process of its own, and a client."""

    async def client(self, gateway: Gateway) -> RawClient:
        """One that has said EHLO."""
        client = await deferToThread(RawClient, gateway.port, 20.0)
        self.addCleanup(client.close)
        await deferToThread(client.hello)
        return client

    async def assert_answer(
        self, client: RawClient, expected: str, wire: bytes = FIRST, rcpt: str = "rcpt@example.com"
    ) -> None:
        """The answer to one message: code and enhanced code."""
        answer: Answer = await deferToThread(client.transaction, [wire], rcpt)
        self.assertEqual(expected, f"{answer.code} {answer.text}"[: len(expected)])


class DiskTests(OwnFaultCase):
    """The spool's disk."""

    async def test_full_in_the_middle_of_a_file(self) -> None:
        """What can be written only half is 452 4.3.1, and no part of it is sent."""
        backend = self.backend()
        gateway = await self.gateway(backend.port, {"connection.ini": "spool_after=1000\n"})
        client = await self.client(gateway)
        await self.assert_answer(client, "250 2.0.0", LONG)
        _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (FILE_SIZE, hard))
        await self.assert_answer(client, "452 4.3.1", LONG)
        await self.assert_answer(client, "250 2.0.0", rcpt="next@example.com")
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (hard, hard))
        await self.assert_answer(client, "250 2.0.0", LONG, rcpt="last@example.com")
        rcpts = [message.rcpts[0] for message in backend.messages]
        names = (b"rcpt", b"next", b"last")
        self.assertEqual([b"RCPT TO:<%b@example.com>" % name for name in names], rcpts)
        self.assertTrue(backend.messages[2].wire.endswith(LONG[:-3]))

    async def test_full_for_the_log(self) -> None:
        """A log that cannot be written costs no message, and goes on when it can be."""
        backend = self.backend()
        gateway = await self.gateway(backend.port)
        client = await self.client(gateway)
        await self.assert_answer(client, "250 2.0.0")
        _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (1, hard))
        for _ in range(3):
            await self.assert_answer(client, "250 2.0.0", rcpt="unlogged@example.com")
        self.assertNotIn("unlogged", gateway.stdout)
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (hard, hard))
        await self.assert_answer(client, "250 2.0.0", rcpt="logged@example.com")
        self.assertEqual(5, len(backend.messages))
        await gateway.until(lambda: "to=<logged@example.com>" in gateway.stdout, "the log")


class DescriptorTests(OwnFaultCase):
    """Out of descriptors."""

    async def test_none_left(self) -> None:
        """New clients are closed, messages deferred; when there are some again, all is well."""
        backend = self.backend()
        gateway = await self.gateway(backend.port, {"connection.ini": "spool_after=100000\n"})
        client = await self.client(gateway)
        most = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
        few = max(map(int, os.listdir(f"/proc/{gateway.pid}/fd"))) + 1 + CLIENTS // 4
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (few, most[1]))
        others = [await deferToThread(RawClient, gateway.port, 20.0) for _ in range(CLIENTS)]
        greeted = [await deferToThread(_is_greeted, other) for other in others]
        self.assertIn(False, greeted)
        self.assertIn(True, greeted)
        await self.assert_answer(client, "451 4.3.0")
        await self.assert_answer(client, "452 4.3.1", LONG)
        for other in others:
            other.close()
        await gateway.until(lambda: _descriptors(gateway) < few - CLIENTS // 8, "free ones")
        await self.assert_answer(client, "250 2.0.0", LONG)
        await self.assert_answer(await self.client(gateway), "250 2.0.0")
        self.assertEqual(2, len(backend.messages))
        self.assertIsNone(gateway.exit_code)


def _is_greeted(client: RawClient) -> bool:
    """Whether there is a greeting; the other clients are closed without one."""
    try:
        return client.answer().code == 220
    except (EOFError, ConnectionResetError):
        return False


def _descriptors(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


def _raise(*args: object) -> Any:
    raise ZeroDivisionError("at once")


def _fail(*args: object) -> Any:
    return fail(ZeroDivisionError("as a Deferred"))


def _fail_later(*args: object) -> Any:
    return succeed(None).addCallback(_raise)


class ExceptionTests(ForwardingCase):
    """Our own code raises, at each step of a session."""

    async def broken(
        self, step: str, commands: tuple[str, ...], how: Callable[..., Any]
    ) -> tuple[RawClient, ScriptedBackend, Answer]:
        """A client whose session fails at ``step`` once; the answer to the last of ``commands``."""
        backend = self.backend()
        files = {"auth_flat_file.ini": "[core]\nmethods=PLAIN\n[users]\nu=secret\n"}
        gateway = self.forward(backend.port, files)
        client = await self.client(gateway)
        patched = self.patch(GatewaySession, step, how)
        for command in commands:
            answer = await self.ask(client, command)
        patched.restore()
        return client, backend, answer

    async def test_each_command(self) -> None:
        """451 4.3.0 with a traceback in the log, and the next transaction is as ever."""
        mail, rcpt = "MAIL FROM:<sender@example.org>", "RCPT TO:<rcpt@example.com>"
        for step, commands in (
            ("helo", ("EHLO client.example.org",)),
            ("helo", ("HELO client.example.org",)),
            ("authenticated", ("AUTH PLAIN AHUAc2VjcmV0",)),
            ("mail", (mail,)),
            ("rcpt", (mail, rcpt)),
            ("data", (mail, rcpt, "DATA")),
            ("end_of_data", (mail, rcpt, "DATA", "Subject: x\r\n\r\nx\r\n.")),
        ):
            for how in (_raise, _fail, _fail_later):
                row = (step, commands[-1], how)
                client, backend, answer = await self.broken(step, commands, how)
                self.assertEqual((451, "4.3.0"), (answer.code, answer.text[:5]), row)
                self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)), row)
                self.assertEqual([], backend.messages, row)
                await self.ask(client, "RSET")
                await self.assert_next(client, backend, row)

    async def test_greeting(self) -> None:
        """Instead of the greeting: 451 4.3.0, and that client is gone."""
        gateway = self.forward(self.backend().port)
        patched = self.patch(GatewaySession, "connected", _raise)
        port: int = gateway.ports()[0].getHost().port
        client = await deferToThread(RawClient, port, 20.0)
        self.addCleanup(client.close)
        answer = await deferToThread(client.answer)
        self.assertEqual((451, "4.3.0"), (answer.code, answer.text[:5]))
        self.assertTrue(await deferToThread(client.at_end))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        patched.restore()
        await self.client(gateway)

    async def test_discarded(self) -> None:
        """A message refused while it arrived: the answer is 451 4.3.0, and the session goes on."""
        backend = self.backend()
        client = await self.client(
            self.forward(backend.port, {"connection.ini": "[max]\nbytes=1000\n"})
        )
        patched = self.patch(GatewaySession, "discarded", _raise)
        answer = await self.send(client, wire=b"Subject: x\r\n\r\n" + b"x\r\n" * 400 + b".\r\n")
        self.assertEqual((451, "4.3.0"), (answer.code, answer.text[:5]))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        patched.restore()
        await self.assert_next(client, backend)

    async def test_reset(self) -> None:
        """A message that the backend has taken is answered 250 all the same."""
        backend = self.backend()
        client = await self.client(self.forward(backend.port))
        patched = self.patch(GatewaySession, "reset", _raise)
        answer = await self.send(client)
        self.assert_said(answer, "250 2.0.0 Ok: taken")
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        answer = await self.ask(client, "RSET")
        self.assertEqual(250, answer.code)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        patched.restore()
        await self.assert_next(client, backend)

    async def test_closed(self) -> None:
        """At the end of a connection: nobody hears it, and nothing of the connection stays."""
        gateway = self.forward(self.backend().port)
        client = await self.client(gateway)
        self.patch(GatewaySession, "closed", _raise)
        client.close()
        await until(lambda: not gateway.factory.connections.total, "the end of the connection")
        await until(lambda: self.flushLoggedErrors(ZeroDivisionError), "the traceback")


JUMPING = """
import os, sys, time
real, path = time.time, sys.argv.pop(1)
def jumping():
    return real() + float(open(path).read() or 0)
time.time = jumping
from twisted.scripts.twistd import run
run()
"""


class WallClockTests(OwnFaultCase):
    """The wall clock is set while a session is there."""

    async def test_set_forward_and_back(self) -> None:
        """Neither brings a timeout forward nor puts one off; the pooled connection stays."""
        offset = self.folder() / "offset"
        offset.write_text("0")
        backend = self.backend()
        gateway = await self.jumping(str(offset), backend)
        client, silent = await self.client(gateway), await self.client(gateway)
        for jump in (0.0, DAY, -DAY, 0.0):
            offset.write_text(str(jump))
            await self.assert_answer(client, "250 2.0.0")
        self.assertEqual(1, backend.connections.total)
        offset.write_text(str(-DAY))
        answer: Answer = await deferToThread(silent.answer)
        self.assertEqual((421, "4.4.2"), (answer.code, answer.text[:5]))

    async def jumping(self, offset: str, backend: ScriptedBackend) -> Gateway:
        """A gateway whose wall clock is ahead by the seconds in the file ``offset``."""
        port = free_port()
        timeouts = {"smtp.ini": f"listen=127.0.0.1:{port}\n[timeouts]\ncommand=2\n"}
        files = {**three_files(port, backend.port), "me": f"{ME}\n", **timeouts}
        command = [sys.executable, "-c", JUMPING, offset]
        gateway = Gateway(self.folder(), files, port, command=command)
        self.stop_later(gateway.stop)
        return await gateway.ready()
