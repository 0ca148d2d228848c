"""The rules around the table of answers: partial refusals, senders that go away, who may send.

As in ``test_answers_table.py`` the next message must get through, whatever went before.
"""

from twisted.internet.threads import deferToThread

from smtpforward.gateway import Gateway
from tests.integration.forwarding import EXTENSIONS, GREETING, LARGE, ForwardingCase, faulty
from tests.peers.backend import ScriptedBackend
from tests.peers.raw import RawClient
from tests.peers.script import (
    GO_AHEAD,
    STANDARD,
    TAKEN,
    Action,
    Held,
    Script,
    Step,
    by_recipient,
)
from tests.peers.wait import until

GOOD, BAD, WORSE = "good@example.com", "bad@example.com", "worse@example.com"
OK = "250 2.0.0 Ok: taken"
UNKNOWN = b"550 5.1.1 No such user here\r\n"
LATER = b"450 4.2.1 Mailbox busy\r\n"


def picky(extensions: tuple[str, ...] = EXTENSIONS[0], **replies: Step) -> Script:
    """A backend that refuses some recipients, by local part."""
    return Script(extensions=extensions, replies={"RCPT": by_recipient(**replies)})


class PartialRefusalTests(ForwardingCase):
    """The backend refuses some of the recipients."""

    async def start(self, script: Script, **keys: object) -> tuple[RawClient, ScriptedBackend]:
        """A client and the backend behind its gateway."""
        backend = self.backend(script)
        return await self.client(self.forward(backend.port, None, **keys)), backend

    async def rcpt(self, client: RawClient, *rcpts: str) -> list[str]:
        """Begin a transaction; the replies to its recipients."""
        await self.ask(client, "MAIL FROM:<sender@example.org>")
        answers = [await self.ask(client, f"RCPT TO:<{rcpt}>") for rcpt in rcpts]
        return [f"{answer.code} {answer.text}" for answer in answers]

    async def test_learned(self) -> None:
        """Nothing is sent at first; at the retry the bad one is refused as the backend did."""
        for bad, refused in (
            (UNKNOWN, "550 5.1.1 No such user here"),
            (LATER, "450 4.2.1 Mailbox busy"),
            (b"550 No\r\n", "550 5.0.0 No"),
        ):
            for extensions in EXTENSIONS:
                await self.learns(picky(extensions, bad=bad), refused)

    async def learns(self, script: Script, refused: str) -> None:
        client, backend = await self.start(script)
        self.assert_own(await self.send(client, GOOD, BAD), "451 4.5.3", refused)
        self.assertEqual([], backend.messages)
        await until(lambda: "RSET" in backend.conversations[0].verbs, "RSET")
        self.assertNotIn("DATA", backend.conversations[0].verbs)
        accepted = "250 2.1.5 recipient OK"
        self.assertEqual([accepted, refused], await self.rcpt(client, GOOD, BAD))
        await self.ask(client, "DATA")
        await deferToThread(client.send, b"Subject: again\r\n\r\n.\r\n")
        self.assert_said(await deferToThread(client.answer), OK)
        [message] = backend.messages
        self.assertEqual((b"RCPT TO:<%b>" % GOOD.encode(),), message.rcpts)
        await self.assert_next(client, backend, refused)
        self.assertEqual(1, backend.connections.total)

    async def test_learned_for_the_sender_only(self) -> None:
        """What was refused for one sender is asked of the backend again for another."""
        client, backend = await self.start(picky(bad=UNKNOWN))
        self.assert_own(await self.send(client, GOOD, BAD), "451 4.5.3")
        await self.ask(client, "MAIL FROM:<another@example.org>")
        self.assertEqual(250, (await self.ask(client, f"RCPT TO:<{BAD}>")).code)
        await self.ask(client, "RSET")
        await self.assert_next(client, backend)

    async def test_not_learned_when_alone(self) -> None:
        """A message whose only recipient is refused gets the answer each time from the backend."""
        client, backend = await self.start(picky(bad=UNKNOWN))
        for _ in range(2):
            self.assert_said(await self.send(client, BAD), "550 5.1.1 No such user here")
        verbs = [verb for talk in backend.conversations for verb in talk.verbs]
        self.assertEqual(2, verbs.count("RCPT"))
        await self.assert_next(client, backend)

    async def test_all_refused(self) -> None:
        """All refused: the backend's answer; a temporary one first, as that loses nothing."""
        for worse, expected in (
            (UNKNOWN, "550 5.1.1 No such user here"),
            (b"553 5.1.3 Bad\r\n", "550 5.1.1 No such user here"),
            (LATER, "450 4.2.1 Mailbox busy"),
        ):
            for extensions in EXTENSIONS:
                client, backend = await self.start(picky(extensions, bad=UNKNOWN, worse=worse))
                self.assert_said(await self.send(client, BAD, WORSE), expected, worse)
                self.assertNotIn("DATA", backend.conversations[0].verbs)
                await self.assert_next(client, backend, worse)

    async def test_one_refused_for_our_set_up(self) -> None:
        """A recipient refused for our set-up's sake never bounces and is not learned."""
        for script, expected in (
            (picky(bad=b"503 5.5.1 What?\r\n"), "451 4.3.5"),
            (picky(bad=b"530 5.7.0 Log in\r\n", good=UNKNOWN, worse=UNKNOWN), "451 4.3.5"),
            (picky(bad=b"530 5.7.0 Log in\r\n", worse=UNKNOWN), "451 4.5.3"),
        ):
            client, backend = await self.start(script)
            before = len(self.log_errors())
            self.assert_own(await self.send(client, GOOD, BAD, WORSE), expected)
            self.assertEqual(before + 1, len(self.log_errors()))
            [said] = await self.rcpt(client, BAD)
            self.assertEqual("250 2.1.5 recipient OK", said)
            await self.ask(client, "RSET")
            await self.assert_next(client, backend)

    async def test_whole_message_rejected(self) -> None:
        """``partial_rejection=reject`` gives the message the refusal, and nobody gets it."""
        for extensions in EXTENSIONS:
            script = picky(extensions, bad=UNKNOWN)
            client, backend = await self.start(script, partial_rejection="reject")
            for _ in range(2):
                answer = await self.send(client, GOOD, BAD)
                self.assert_said(answer, "550 5.1.1 No such user here")
            self.assertEqual([], backend.messages)
            await self.assert_next(client, backend)
            self.assertEqual(1, backend.connections.total)


class GoneTests(ForwardingCase):
    """The sender goes away."""

    async def begin(self, script: Script) -> tuple[Gateway, RawClient, ScriptedBackend]:
        backend = self.backend(script)
        gateway = self.forward(backend.port)
        return gateway, await self.client(gateway), backend

    async def test_before_the_dot(self) -> None:
        """Before our dot the connection to the backend is closed, and nothing is committed."""
        for stage in (GREETING, "EHLO", "MAIL", "RCPT", "DATA"):
            for extensions in EXTENSIONS:
                await self.leaves_before_the_dot(stage, extensions)

    async def leaves_before_the_dot(self, stage: str, extensions: tuple[str, ...]) -> None:
        hold = Held(STANDARD.get(stage, b"250 ok\r\n"))
        gateway, client, backend = await self.begin(faulty({stage: hold}, extensions))
        await self.send_behind(client)
        await until(lambda: hold.waiting, f"the backend at {stage}")
        client.close()
        await until(lambda: backend.conversations[0].ended, f"the end at {stage}")
        hold.release()
        await until(lambda: not gateway.target.pools, lambda: repr(gateway.target.pools))
        self.assertEqual([], backend.messages)
        self.assertIn("[the client went away]", self.log_lines()[-1])
        await self.assert_next(await self.client(gateway), backend, stage)

    async def test_while_the_message_goes_out(self) -> None:
        """A large message that is half way is not ended with a dot."""
        gateway, client, backend = await self.begin(faulty({"DATA": (GO_AHEAD, Action.DEAF)}))
        await self.send_behind(client, LARGE)
        await until(
            lambda: backend.conversations and "DATA" in backend.conversations[0].verbs, "DATA"
        )
        client.close()
        await until(lambda: not gateway.target.pools, "the end of the connection")
        await until(lambda: "went away" in self.log_lines()[-1], "the line in the log")
        self.assertEqual([], backend.messages)
        await self.assert_next(await self.client(gateway), backend)

    async def test_while_the_message_comes_in(self) -> None:
        """A message that has not come to its end is nobody's, and no backend hears of it."""
        gateway, client, backend = await self.begin(Script())
        await self.send_behind(client, b"Subject: half\r\n")
        client.close()
        await until(lambda: "clients=0" in repr(gateway.factory), repr(gateway.factory))
        self.assertEqual(0, backend.connections.total)
        await self.assert_next(await self.client(gateway), backend)

    async def test_while_it_waits_for_a_connection(self) -> None:
        """A message that waits for a place in the pool leaves it without a trace."""
        hold = Held(TAKEN)
        backend = self.backend(faulty({".": hold}))
        gateway = self.forward(backend.port, max_connections=1)
        first, second = await self.client(gateway), await self.client(gateway)
        answer = await self.send_behind(first)
        await until(lambda: hold.waiting, "the first message")
        await self.send_behind(second)
        [pool] = gateway.target.pools
        await until(lambda: pool.counts()["waiting"] == 1, repr(pool))
        second.close()
        await until(lambda: pool.counts()["waiting"] == 0, repr(pool))
        hold.release()
        self.assert_said(await answer(), OK)
        await self.assert_next(first, backend)

    async def test_after_the_dot(self) -> None:
        """After our dot the transaction is finished and logged, and the connection used again."""
        for said, logged in (
            (TAKEN, "the backend has the message (250 2.0.0 Ok: taken)"),
            (b"554 5.6.0 No\r\n", "the backend refused (554 5.6.0 No)"),
        ):
            for extensions in EXTENSIONS:
                await self.leaves_after_the_dot(said, logged, extensions)

    async def leaves_after_the_dot(
        self, said: bytes, logged: str, extensions: tuple[str, ...]
    ) -> None:
        hold = Held(said)
        gateway, client, backend = await self.begin(faulty({".": hold}, extensions))
        await self.send_behind(client)
        await until(lambda: hold.waiting, "the dot")
        client.close()
        await until(lambda: "[the client went away]" in self.log_lines()[-1], "the log")
        identity = self.log_lines()[-1].split()[0]
        self.assertIsNone(backend.conversations[0].ended)
        hold.release()
        await until(lambda: "after the client" in self.log_lines()[-1], "the log")
        self.assertTrue(self.log_lines()[-1].startswith(f"{identity} relay=127.0.0.1"))
        self.assertTrue(self.log_lines()[-1].endswith(logged), self.log_lines()[-1])
        self.assertEqual(1, len(backend.messages))
        await self.assert_next(await self.client(gateway), backend)
        self.assertEqual(1, backend.connections.total)

    async def test_connection_in_doubt_after_the_dot(self) -> None:
        """That the backend then never answered is logged as well."""
        _, client, backend = await self.begin(faulty({".": Action.SILENCE}))
        await self.send_behind(client)
        await until(lambda: backend.messages, "the message")
        client.close()
        await until(lambda: "went away" in self.log_lines()[-1], "the log")
        backend.connections.abort()
        await until(lambda: "after our dot was sent" in self.log_lines()[-1], "the log")


STRANGERS = {"relay_acl_allow": "192.0.2.0/24\n", "host_list": "example.com\n"}


class EdgeTests(ForwardingCase):
    """Who may send to whom: the client relays not, unless it is said."""

    async def begin(
        self, *rcpts: str, **keys: object
    ) -> tuple[list[str], RawClient, ScriptedBackend]:
        """The replies to the recipients of a client that may not relay."""
        backend = self.backend()
        client = await self.client(self.forward(backend.port, STRANGERS, **keys))
        await self.ask(client, "MAIL FROM:<sender@example.org>")
        answers = [await self.ask(client, f"RCPT TO:{rcpt}") for rcpt in rcpts]
        return [f"{answer.code} {answer.text}" for answer in answers], client, backend

    def assert_refused(self, said: str, expected: str) -> None:
        """In the gateway's words, with an id."""
        self.assertRegex(said, rf"\A{expected.replace('.', '[.]')} \S.* \[[0-9A-F]+\]\Z")

    async def test_relaying_refused(self) -> None:
        """A domain that is not ours is 550 5.7.1, and a neighbour of ours is not ours."""
        foreign = ("<a@example.org>", "<a@sub.example.com>", "<a@[127.0.0.1]>", "a@xexample.com")
        said, client, backend = await self.begin(*foreign)
        for one in said:
            self.assert_refused(one, "550 5.7.1")
        await self.ask(client, "RSET")
        await self.assert_next(client, backend)

    async def test_routing_characters(self) -> None:
        """A local part that the backend might take for a route is 550 5.7.1, quoted or not."""
        locals_ = [f"a{c}b" for c in "%!|"] + [f'"a{c}b"' for c in "@%!|"]
        locals_ += ["a%example.org", '"a@example.org"', "example.org!a", r'"a\@b"']
        said, client, backend = await self.begin(*(f"<{one}@example.com>" for one in locals_))
        for one in said:
            self.assert_refused(one, "550 5.7.1")
        self.assertEqual(503, (await self.ask(client, "DATA")).code)
        await self.ask(client, "RSET")
        await self.assert_next(client, backend)

    async def test_source_route(self) -> None:
        """A source route is dropped: what is left decides."""
        said, client, backend = await self.begin(
            "<@example.com:a@example.org>", "<@example.org:a@example.com>"
        )
        self.assert_refused(said[0], "550 5.7.1")
        self.assertEqual("250 2.1.5 recipient OK", said[1])
        await self.ask(client, "RSET")
        await self.assert_next(client, backend)

    async def test_routing_characters_from_who_relays(self) -> None:
        """A client that relays may use them."""
        backend = self.backend()
        client = await self.client(self.forward(backend.port))
        self.assert_said(await self.send(client, "a%b@example.com"), OK)
        self.assertEqual((b"RCPT TO:<a%b@example.com>",), backend.messages[0].rcpts)

    async def test_postmaster(self) -> None:
        """Postmaster without a domain is always accepted, and goes the default way."""
        for path in ("<postmaster>", "<PostMaster>"):
            said, client, backend = await self.begin(path)
            self.assertEqual(["250 2.1.5 recipient OK"], said)
            await self.ask(client, "DATA")
            await deferToThread(client.send, b"Subject: x\r\n\r\n.\r\n")
            self.assert_said(await deferToThread(client.answer), OK)
            self.assertEqual((f"RCPT TO:{path}".encode(),), backend.messages[0].rcpts)
            await self.assert_next(client, backend)

    async def test_second_route(self) -> None:
        """A recipient of another route is 452 4.5.3 and is taken in the next transaction."""
        default, other = self.backend(), self.backend()
        text = f"host=127.0.0.1\nport={default.port}\nenable_tls=false\n"
        text += f"[example.net]\nport={other.port}\n[same.example]\n"
        client = await self.client(self.forward(default.port, {"smtp_forward.ini": text}))
        await self.ask(client, "MAIL FROM:<sender@example.org>")
        self.assertEqual(250, (await self.ask(client, "RCPT TO:<a@example.com>")).code)
        answer = await self.ask(client, "RCPT TO:<b@example.net>")
        self.assert_refused(f"{answer.code} {answer.text}", "452 4.5.3")
        self.assertEqual(250, (await self.ask(client, "RCPT TO:<c@same.example>")).code)
        await self.ask(client, "DATA")
        await deferToThread(client.send, b"Subject: x\r\n\r\n.\r\n")
        self.assert_said(await deferToThread(client.answer), OK)
        self.assert_said(await self.send(client, "b@example.net"), OK)
        self.assertEqual(
            (b"RCPT TO:<a@example.com>", b"RCPT TO:<c@same.example>"), default.messages[0].rcpts
        )
        self.assertEqual((b"RCPT TO:<b@example.net>",), other.messages[0].rcpts)
        await self.assert_next(client, default)

    async def test_section_makes_a_domain_ours(self) -> None:
        """With ``check_recipient`` a domain is accepted because it has a section, else not."""
        backend = self.backend()
        for check, code in (("true", 250), ("false", 550)):
            text = f"host=127.0.0.1\nport={backend.port}\nenable_tls=false\n"
            text += f"check_recipient={check}\n[Section.example]\n"
            files = {**STRANGERS, "smtp_forward.ini": text}
            client = await self.client(self.forward(backend.port, files))
            self.assertEqual(code, (await self.send(client, "a@sECTION.example")).code, check)
            await self.ask(client, "RSET")
            await self.assert_next(client, backend)

    async def test_refused_recipient_is_logged(self) -> None:
        """The id at the end of a refusal at RCPT leads to a line in the log."""
        said, _, _ = await self.begin("<a@example.org>")
        identity = said[0].rpartition("[")[2].rstrip("]")
        self.assertTrue([line for line in self.log_lines() if f"id={identity}" in line])
