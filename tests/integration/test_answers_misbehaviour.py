"""A backend that breaks the protocol or closes the channel, and what the sender is told.

The continuation of ``test_answers_table.py``: a connection on which replies and commands may have
fallen out of step is never used again.
"""

from tests.integration.forwarding import (
    EXTENSIONS,
    GREETING,
    LARGE,
    NOTHING,
    STAGES,
    TableCase,
    faulty,
    reply,
    rows,
)
from tests.peers.script import GO_AHEAD, TAKEN, Action, Endless, Held, Script, Step
from tests.peers.wait import until


class NonsenseTests(TableCase):
    """The backend does not speak SMTP as it should: 451 4.4.2, and the connection ends."""

    async def test_no_reply(self) -> None:
        """What is no reply at all ends the connection."""
        stages = (GREETING, "EHLO", *STAGES)
        for said in (
            b"hello\r\n",
            b"25x ok\r\n",
            b"250ok\r\n",
            b"\r\n",
            b"199 ok\r\n",
            b"650 ok\r\n",
        ):
            for stage in stages:
                await self.is_ours_and_ends(faulty({stage: said}), "451 4.4.2", (stage, said))

    async def test_two_codes_in_one_reply(self) -> None:
        """A reply whose lines disagree about the code ends the connection."""
        for stage in (GREETING, "EHLO", *STAGES):
            script = faulty({stage: b"250-a\r\n550 b\r\n"})
            await self.is_ours_and_ends(script, "451 4.4.2", stage)

    async def test_endless(self) -> None:
        """A reply, or a line, that does not end is cut off."""
        for said in (Endless(b"250-more\r\n"), Endless(b"2")):
            for stage in (GREETING, "EHLO", *STAGES):
                await self.is_ours_and_ends(faulty({stage: said}), "451 4.4.2", (stage, said))

    async def test_wrong_code(self) -> None:
        """A code that the command cannot get ends the connection."""
        wrong = [("MAIL", 354), ("RCPT", 354), ("DATA", 250), (".", 354)]
        wrong += [(stage, 220) for stage in STAGES] + [(stage, 334) for stage in STAGES]
        for _, script, row in rows((stage, reply(code, "2.0.0 x")) for stage, code in wrong):
            await self.is_ours_and_ends(script, "451 4.4.2", row)

    async def test_answered_too_early(self) -> None:
        """A 250 that comes with the 354 is no answer to the dot, and no message is committed."""
        for early in (TAKEN, b"550 5.0.0 No\r\n"):
            answer, client, backend = await self.play(faulty({"DATA": GO_AHEAD + early}))
            self.assert_own(answer, "451 4.4.2", early)
            self.assertEqual([], backend.messages)
            await self.assert_next(client, backend, early)
            self.assertEqual(2, backend.connections.total)

    async def test_accepted_in_the_message(self) -> None:
        """A 250 while the message is still on its way is no answer to the dot."""
        held = Held((TAKEN, Action.DEAF))
        backend = self.backend(faulty({"DATA": (GO_AHEAD, held)}))
        client = await self.client(self.forward(backend.port))
        answer = await self.send_behind(client, LARGE)
        await until(lambda: held.waiting, "DATA")
        backend.conversations[0].transport.pauseProducing()
        held.release()
        self.assert_own(await answer(), "451 4.4.2")
        self.assertEqual([], backend.messages)
        await self.assert_next(client, backend)

    async def test_replies_that_nothing_asked_for(self) -> None:
        """A second reply to one command is matched to no other command."""
        for stage in (GREETING, "EHLO", "MAIL", "RCPT"):
            script = faulty({stage: b"250 2.0.0 a\r\n" * 2}, NOTHING)
            await self.is_ours_and_ends(script, "451 4.4.2", stage)

    async def test_second_reply_to_the_dot(self) -> None:
        """The first reply to the dot is true, and the second answers no other message."""
        for second in (TAKEN, b"550 5.0.0 No\r\n", b"nonsense\r\n"):
            answer, client, backend = await self.play(faulty({".": TAKEN + second}))
            self.assert_said(answer, "250 2.0.0 Ok: taken", second)
            await self.assert_next(client, backend, second)
            self.assertEqual(2, backend.connections.total, second)


class ClosingTests(TableCase):
    """421: the backend closes the channel."""

    async def test_on_a_fresh_connection(self) -> None:
        """421 at any command of a fresh connection is 451 4.3.2, and the connection is retired."""
        steps: tuple[Step, ...] = (
            b"421 4.3.2 Shutting down\r\n",
            (b"421 4.3.2 Shutting down\r\n", Action.CLOSE),
            b"421 4.3.2 Shutting down\r\n" * 3,
        )
        for step in steps:
            for _, script, row in rows((stage, step) for stage in (GREETING, "EHLO", *STAGES)):
                await self.is_ours_and_ends(script, "451 4.3.2", row)

    async def test_behind_another_reply(self) -> None:
        """421 in one segment with the reply before it is 451 4.3.2 as well."""
        behind = b"%b\r\n421 4.3.2 Shutting down\r\n"
        for stage, said in (("MAIL", b"250 Ok"), ("RCPT", b"250 Ok"), ("DATA", b"354 Go ahead")):
            for _, script, row in rows([(stage, behind % said)]):
                await self.is_ours_and_ends(script, "451 4.3.2", row)

    async def test_in_the_message(self) -> None:
        """421 while a large message is on its way is 451 4.3.2, and nothing is committed."""
        held = Held((b"421 4.3.2 Shutting down\r\n", Action.DEAF))
        backend = self.backend(faulty({"DATA": (GO_AHEAD, held)}))
        client = await self.client(self.forward(backend.port))
        answer = await self.send_behind(client, LARGE)
        await until(lambda: held.waiting, "DATA")
        backend.conversations[0].transport.pauseProducing()
        held.release()
        self.assert_own(await answer(), "451 4.3.2")
        self.assertEqual([], backend.messages)
        await self.assert_next(client, backend)

    async def test_on_a_reused_connection(self) -> None:
        """A reused connection that is closing is replaced by a fresh one in silence."""
        steps: tuple[Step, ...] = (b"421 4.3.2 Closing\r\n", Action.CLOSE, Action.RESET)
        for step in steps:
            for stage in ("MAIL", "RCPT", "DATA"):
                for extensions in EXTENSIONS:
                    row = (stage, step, extensions)
                    script = faulty({stage: step}, extensions, occurrence=2)
                    answer, client, backend = await self.play(script)
                    self.assert_said(answer, "250 2.0.0 Ok: taken", row)
                    answer = await self.send(client, "second@example.com")
                    self.assert_said(answer, "250 2.0.0 Ok: taken", row)
                    [_, message] = backend.messages
                    self.assertEqual((b"RCPT TO:<second@example.com>",), message.rcpts, row)
                    self.assertEqual(2, backend.connections.total, row)
                    await self.assert_next(client, backend, row)
                    self.assertEqual(2, backend.connections.total, row)

    async def test_at_the_dot_of_a_reused_connection(self) -> None:
        """After our dot nothing is repeated, on a reused connection either."""
        for step, expected in (
            (b"421 4.3.2 Closing\r\n", "451 4.3.2"),
            (Action.CLOSE, "451 4.4.2"),
        ):
            answer, client, backend = await self.play(faulty({".": step}, occurrence=2))
            self.assert_said(answer, "250 2.0.0 Ok: taken", step)
            self.assert_own(await self.send(client), expected, step)
            self.assertEqual(2, len(backend.messages), step)
            await self.assert_next(client, backend, step)

    async def test_replaced_once(self) -> None:
        """The fresh connection's failure is the answer: there is no third attempt."""
        scripts = {1: faulty({"MAIL": Action.CLOSE}, occurrence=2)}
        closing = Script(replies={"MAIL": b"421 4.3.2 Closing\r\n"})
        backend = self.backend(lambda number: scripts.get(number, closing))
        client = await self.client(self.forward(backend.port))
        self.assert_said(await self.send(client), "250 2.0.0 Ok: taken")
        self.assert_own(await self.send(client), "451 4.3.2")
        self.assertEqual(2, backend.connections.total)
