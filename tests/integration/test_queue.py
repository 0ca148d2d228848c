"""The outbound queue from socket to socket: a real name server, MX hosts on loopback, real bounces.

MX hosts have addresses of their own in 127.0.0.0/8 and the gateway's port, so that one of them can
be the gateway itself. The sender's domain has a section with a host of its own: bounces arrive
there.
"""

import email
import email.policy
import re
from collections.abc import Mapping
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from smtpforward.gateway import Gateway
from smtpforward.outbound.entry import Filter
from smtpforward.outbound.store.choice import store_at
from tests.integration.forwarding import FIRST, ForwardingCase
from tests.integration.test_mx import fill
from tests.peers.backend import ScriptedBackend
from tests.peers.conversation import Message
from tests.peers.dns import NameServer
from tests.peers.gateway import ME
from tests.peers.ports import free_port
from tests.peers.script import Script, by_recipient
from tests.peers.wait import until

QUEUED = re.compile(r"2\.0\.0 queued as [0-9A-F]+")
A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"
SENDER = "example.org"  # of the raw client's mail


class QueueCase(ForwardingCase):
    """A gateway whose clients' mail is queued, a name server, and a home for bounces.

    :ivar files: more of the configuration directory.
    """

    files: Mapping[str, str] = {}

    def setUp(self) -> None:
        super().setUp()
        self.port = free_port()
        self.home = self.backend()
        self.names = NameServer()
        self.stop_later(self.names.stop)
        self.path = self.folder()

    def host(self, address: str, script: Script | None = None) -> ScriptedBackend:
        """An MX host."""
        backend = ScriptedBackend(script, self.port, address)
        self.stop_later(backend.stop)
        return backend

    def queueing(self, *lines: str, sections: str = "", **keys: object) -> Gateway:
        """A gateway with a queue; ``lines`` are more of ``outbound.ini``."""
        forward = {"host": "127.0.0.1", "port": self.home.port, "enable_tls": "false"}
        forward |= {"enable_outbound": "false", **keys}
        top = "".join(f"{key}={value}\n" for key, value in forward.items())
        given = {line.partition("=")[0] for line in lines}
        usual = {
            "store": f"sqlite:{self.path}/queue.sqlite3",
            "nameservers": f"127.0.0.1:{self.names.port}",
            "mx_port": str(self.port),
            "local_mx_ok": "true",
            "enable_tls": "false",
            "temp_fail_intervals": "1h",
        }
        own = f"[{SENDER}]\nhost=127.0.0.1\nport={self.home.port}\n"
        settings = [*lines, *(f"{k}={v}" for k, v in usual.items() if k not in given)]
        return self.forward(
            self.home.port,
            {
                **self.files,
                "smtp.ini": f"listen=127.0.0.1:{self.port}\n",
                "smtp_forward.ini": top + (sections or own),
                "outbound.ini": "".join(f"{line}\n" for line in settings),
            },
        )

    async def queue_one(self, gateway: Gateway, *rcpts: str, wire: bytes = FIRST) -> str:
        """Its id, once it is queued."""
        client = await self.client(gateway)
        answer = await self.send(client, *rcpts, wire=wire)
        self.assertEqual(answer.code, 250, answer)
        self.assertRegex(answer.text, QUEUED)
        return answer.text.rpartition(" ")[2]

    async def entries(self) -> list[Any]:
        """What is in the queue, as another process sees it."""
        store = store_at(f"sqlite:{self.path}/queue.sqlite3", reactor)
        await store.open()
        try:
            found: list[Any] = await store.listed(Filter(), 100, None)
        finally:
            await store.close()
        return found

    async def bounced(self) -> tuple[Any, dict[str, str]]:
        """The bounce that has come home, and its fields of the first recipient."""
        await self.home.until_taken(1)
        [message] = self.home.messages
        self.assertEqual(b"MAIL FROM:<>", message.mail.partition(b" SIZE")[0])
        bounce = email.message_from_bytes(message.plain, policy=email.policy.SMTP)
        self.assertEqual("multipart/report", bounce.get_content_type())
        self.assertEqual("delivery-status", bounce.get_param("report-type"))
        status = next(p for p in bounce.walk() if p.get_content_type() == "message/delivery-status")
        of_recipient: Any = status.get_payload()[1]  # type: ignore[index]
        return bounce, {name: str(value) for name, value in of_recipient.items()}

    async def deferred(self, code: str) -> Any:
        """The one entry that waits, after an attempt that ended with ``code``."""
        await until(lambda: any("status=deferred" in line for line in self.log_lines()), "deferred")
        await until(lambda: not self.attempted(), "it is recorded")
        [entry] = await self.entries()
        self.assertIn(f" {code} ", entry.last)
        self.assertEqual(1, entry.attempts)
        self.assertEqual([], self.home.messages)
        return entry

    def attempted(self) -> int:
        """How many attempts are under way."""
        queueing = self.gateway_.queueing
        assert queueing is not None
        return queueing.queue.destinations.active

    def forward(self, *args: Any, **kw: Any) -> Gateway:
        """See there; it is kept."""
        self.gateway_ = super().forward(*args, **kw)
        return self.gateway_


class DomainTests(QueueCase):
    """A domain of every shape, and what becomes of its mail."""

    async def delivered(self, domain: str, to: ScriptedBackend, *lines: str) -> Message:
        """Mail for ``domain`` arrives there, and nowhere else."""
        await self.queue_one(self.queueing(*lines), f"b@{domain}")
        await to.until_taken(1)
        [message] = to.messages
        self.assertEqual((f"RCPT TO:<b@{domain}>".encode(),), message.rcpts)
        await until(lambda: not self.attempted(), "it is recorded")
        self.assertEqual([], await self.entries())
        return message

    async def bounces(self, domain: str, status: str, *lines: str) -> dict[str, str]:
        """Mail for ``domain`` comes back at once, for this reason."""
        await self.queue_one(self.queueing(*lines), f"b@{domain}")
        _, fields = await self.bounced()
        self.assertEqual("failed", fields["Action"])
        self.assertEqual(status, fields["Status"])
        self.assertEqual(f"rfc822; b@{domain}", fields["Final-Recipient"])
        await until(lambda: not self.attempted(), "it is recorded")
        self.assertEqual([], await self.entries())
        return fields

    async def waits(self, domain: str, code: str, *lines: str) -> None:
        """Mail for ``domain`` waits, for this reason."""
        await self.queue_one(self.queueing(*lines), f"b@{domain}")
        await self.deferred(code)

    async def test_preference(self) -> None:
        """The best preference, and byte for byte."""
        best, other = self.host(A), self.host(B)
        self.names.mx("d.example", (20, "b.d.example"), (10, "a.d.example"))
        self.names.address("a.d.example", A)
        self.names.address("b.d.example", B)
        message = await self.delivered("d.example", best)
        self.assertEqual([], other.messages)
        self.assertTrue((message.wire + b".\r\n").endswith(FIRST))
        self.assertTrue(message.plain.startswith(b"Received: from "))

    async def test_next_preference(self) -> None:
        """The next one where the best cannot be reached."""
        self.names.mx("d.example", (20, "b.d.example"), (10, "a.d.example"))
        self.names.address("a.d.example", A)
        self.names.address("b.d.example", B)
        await self.delivered("d.example", self.host(B))

    async def test_equal_preference(self) -> None:
        """Of equal ones each has its turn."""
        hosts = [self.host(A), self.host(B)]
        self.names.mx("d.example", (10, "a.d.example"), (10, "b.d.example"))
        self.names.address("a.d.example", A)
        self.names.address("b.d.example", B)
        gateway = self.queueing()
        for _ in range(40):
            await self.queue_one(gateway, "b@d.example")
            if all(host.messages for host in hosts):
                break
        await until(lambda: all(host.messages for host in hosts), "each has one")

    async def test_no_mx(self) -> None:
        """Without MX the domain itself."""
        self.names.address("d.example", A)
        await self.delivered("d.example", self.host(A))

    async def test_ipv6_only(self) -> None:
        """By its AAAA record alone."""
        self.names.address("d.example", "::1")
        await self.delivered("d.example", self.host("::1"))

    async def test_prefers_ipv6(self) -> None:
        """``inet_prefer=v6``: that one first."""
        self.names.address("d.example", A, "::1")
        other = self.host(A)
        await self.delivered("d.example", self.host("::1"), "inet_prefer=v6")
        self.assertEqual([], other.messages)

    async def test_mx_is_an_alias(self) -> None:
        """An MX host that is an alias."""
        self.names.mx("d.example", (10, "alias.d.example"))
        self.names.alias("alias.d.example", "a.d.example")
        self.names.address("a.d.example", A)
        await self.delivered("d.example", self.host(A))

    async def test_address_literal(self) -> None:
        """An address literal is its own host."""
        await self.delivered(f"[{A}]", self.host(A))

    async def test_null_mx(self) -> None:
        """A null MX (RFC 7505)."""
        fill(self.names)
        await self.bounces("null.example", "5.1.10")

    async def test_no_such_domain(self) -> None:
        """NXDOMAIN."""
        await self.bounces("nowhere.example", "5.1.2")

    async def test_no_address(self) -> None:
        """A name without MX and addresses."""
        fill(self.names)
        await self.bounces("nothing.example", "5.4.4")

    async def test_ourselves_by_address(self) -> None:
        """The best MX host listens where the gateway listens."""
        self.names.mx("d.example", (10, "other-name.d.example"), (20, "a.d.example"))
        self.names.address("other-name.d.example", "127.0.0.1")
        self.names.address("a.d.example", A)
        other = self.host(A)
        await self.bounces("d.example", "5.4.6")
        self.assertEqual([], other.messages)

    async def test_ourselves_by_name(self) -> None:
        """The best MX host has the gateway's name."""
        self.names.mx("d.example", (10, ME))
        self.names.address(ME, A)
        other = self.host(A)
        await self.bounces("d.example", "5.4.6")
        self.assertEqual([], other.messages)

    async def test_worse_than_ourselves(self) -> None:
        """Hosts that are preferred to the gateway are used, others are not."""
        self.names.mx("d.example", (10, "a.d.example"), (20, ME), (30, "b.d.example"))
        self.names.address("a.d.example", A)
        self.names.address("b.d.example", B)
        other = self.host(B)
        await self.delivered("d.example", self.host(A))
        self.assertEqual([], other.messages)

    async def test_private(self) -> None:
        """Private addresses are refused where nothing allows them."""
        self.names.address("d.example", A, "10.1.2.3", "fd00::1")
        other = self.host(A)
        await self.bounces("d.example", "5.4.4", "local_mx_ok=false")
        self.assertEqual([], other.messages)

    async def test_servfail(self) -> None:
        """SERVFAIL."""
        self.names.fail("d.example")
        await self.waits("d.example", "4.4.3")

    async def test_mx_hosts_unknown(self) -> None:
        """MX hosts that have no address."""
        fill(self.names)
        await self.waits("unknown-host.example", "4.4.4")

    async def test_unreachable(self) -> None:
        """Nobody listens."""
        self.names.address("d.example", A)
        await self.waits("d.example", "4.4.1")


class WayTests(QueueCase):
    """Where queued mail goes that has no MX host to look for."""

    async def test_own_host(self) -> None:
        """A section's own host; no name is asked for."""
        gateway = self.queueing()
        await self.queue_one(gateway, f"b@{SENDER}")
        await self.home.until_taken(1)
        self.assertEqual([], self.names.asked)

    async def test_smart_host(self) -> None:
        """The smart host takes the mail of all domains, in one transaction."""
        smart = self.host(A)
        gateway = self.queueing(f"smart_host={A}:{self.port}")
        await self.queue_one(gateway, "b@d.example", "c@e.example")
        await smart.until_taken(1)
        [message] = smart.messages
        self.assertEqual((b"RCPT TO:<b@d.example>", b"RCPT TO:<c@e.example>"), message.rcpts)
        self.assertEqual([], self.names.asked)

    async def test_always_split(self) -> None:
        """``always_split``: a transaction for each recipient."""
        smart = self.host(A)
        gateway = self.queueing(f"smart_host={A}:{self.port}", "always_split=true")
        await self.queue_one(gateway, "b@d.example", "c@d.example")
        await smart.until_taken(2)
        self.assertEqual([1, 1], [len(message.rcpts) for message in smart.messages])

    async def test_bind(self) -> None:
        """``bind`` and ``bind_helo``: from which address, and under which name."""
        smart = self.host(A)
        gateway = self.queueing(
            f"smart_host={A}:{self.port}", "bind=127.0.0.99", "bind_helo=out.example"
        )
        await self.queue_one(gateway, "b@d.example")
        await smart.until_taken(1)
        [talk] = smart.conversations
        self.assertEqual("127.0.0.99", talk.transport.getPeer().host)
        self.assertEqual(b"EHLO out.example", talk.commands[0])

    async def test_received_header(self) -> None:
        """``received_header``: one line more."""
        smart = self.host(A)
        gateway = self.queueing(f"smart_host={A}:{self.port}", "received_header=by the queue")
        await self.queue_one(gateway, "b@d.example")
        await smart.until_taken(1)
        [message] = smart.messages
        self.assertRegex(message.plain, rb"^Received: by \S+ \(by the queue\) id [0-9A-F]+;")
        self.assertEqual(2, message.plain.count(b"Received: "))

    async def test_split_routes(self) -> None:
        """``split_routes=queue``: one transaction, for a backend and for MX hosts."""
        self.names.address("d.example", A)
        host = self.host(A)
        sections = f"[{SENDER}]\nhost=127.0.0.1\nport={self.home.port}\nenable_outbound=true\n"
        gateway = self.queueing(sections=sections, split_routes="queue")
        await self.queue_one(gateway, f"b@{SENDER}", "c@d.example")
        await self.home.until_taken(1)
        await host.until_taken(1)
        self.assertEqual((f"RCPT TO:<b@{SENDER}>".encode(),), self.home.messages[0].rcpts)
        self.assertEqual((b"RCPT TO:<c@d.example>",), host.messages[0].rcpts)

    async def test_one_way(self) -> None:
        """A transaction of one way is handed over while its sender waits, as ever."""
        sections = f"[{SENDER}]\nhost=127.0.0.1\nport={self.home.port}\nenable_outbound=true\n"
        gateway = self.queueing(sections=sections, split_routes="queue")
        client = await self.client(gateway)
        answer = await self.send(client, f"b@{SENDER}", f"c@{SENDER}")
        self.assertEqual((250, "2.0.0 Ok: taken"), (answer.code, answer.text))
        self.assertEqual([], await self.entries())


class FateTests(QueueCase):
    """What becomes of each recipient."""

    async def test_mixed(self) -> None:
        """One is delivered, one waits, one comes back with the server's words."""
        rcpt = by_recipient(
            wait=b"450 4.2.1 later\r\n", no=b"550-5.1.1 No such\r\n550 5.1.1 user\r\n"
        )
        host = self.host(A, Script(replies={"RCPT": rcpt}))
        self.names.address("d.example", A)
        id_ = await self.queue_one(self.queueing(), "b@d.example", "wait@d.example", "no@d.example")
        await host.until_taken(1)
        self.assertEqual((b"RCPT TO:<b@d.example>",), host.messages[0].rcpts)
        bounce, fields = await self.bounced()
        self.assertEqual("rfc822; no@d.example", fields["Final-Recipient"])
        self.assertEqual("5.1.1", fields["Status"])
        self.assertRegex(fields["Diagnostic-Code"], r"smtp; 550-5.1.1 No such\s+550 5.1.1 user")
        self.assertEqual("dns; d.example", fields["Remote-MTA"])
        self.assertIn(id_, bounce.as_string())
        await until(lambda: not self.attempted(), "it is recorded")
        [entry] = await self.entries()
        self.assertEqual(["wait@d.example"], [str(r.address) for r in entry.recipients])
        lines = [line for line in self.log_lines() if line.startswith(f"id={id_} from=")]
        self.assertEqual(
            ["sent", "deferred", "bounced"],
            [re.findall(r"status=(\w+)", line)[0] for line in lines],
        )

    async def test_tried_again(self) -> None:
        """What was refused for a time arrives at the next attempt, a second later."""
        replies = iter([b"451 4.3.0 not now\r\n"])
        script = Script(replies={".": lambda *_: next(replies, b"250 2.0.0 as 4A\r\n")})
        host = self.host(A, script)
        self.names.address("d.example", A)
        await self.queue_one(self.queueing("temp_fail_intervals=1s"), "b@d.example")
        await host.until_taken(2)
        await until(lambda: not self.attempted(), "it is recorded")
        self.assertEqual([], await self.entries())

    async def test_given_up(self) -> None:
        """After the last attempt it comes back."""
        host = self.host(A, Script(replies={"MAIL": b"451 4.3.0 never now\r\n"}))
        self.names.address("d.example", A)
        await self.queue_one(self.queueing("temp_fail_intervals=none"), "b@d.example")
        _, fields = await self.bounced()
        self.assertEqual("failed", fields["Action"])
        self.assertIn("451 4.3.0 never now", fields["Diagnostic-Code"])
        self.assertEqual([], host.messages)

    async def test_across_a_restart(self) -> None:
        """What waits is delivered by the next process."""
        self.names.address("d.example", A)
        gateway = self.queueing("disabled=true")
        large = b"Subject: large\r\n\r\n" + b"..dots\r\n" * 100_000 + b".\r\n"
        await self.queue_one(gateway, "b@d.example")
        await self.queue_one(gateway, "c@d.example", wire=large)
        await gateway.stopService()
        host = self.host(A)
        await self.ready_again()
        await host.until_taken(2)
        found = {message.rcpts[0]: message.wire + b".\r\n" for message in host.messages}
        self.assertTrue(found[b"RCPT TO:<b@d.example>"].endswith(FIRST))
        self.assertTrue(found[b"RCPT TO:<c@d.example>"].endswith(large))

    async def ready_again(self) -> None:
        """A gateway on the same store that delivers."""
        self.queueing()

    async def test_notify(self) -> None:
        """DSN parameters reach a server that has DSN, and it alone tells the sender."""
        host = self.host(A, Script(extensions=("PIPELINING", "DSN")))
        self.names.address("d.example", A)
        gateway = self.queueing()
        client = await self.client(gateway)
        for command in (
            "MAIL FROM:<sender@example.org> RET=HDRS ENVID=x+3Dy",
            "RCPT TO:<b@d.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@old.example",
            "DATA",
        ):
            await self.ask(client, command)
        await deferToThread(client.send, FIRST)
        self.assertEqual(250, (await deferToThread(client.answer)).code)
        await host.until_taken(1)
        [message] = host.messages
        self.assertIn(b"RET=HDRS", message.mail)
        self.assertIn(b"ENVID=x+3Dy", message.mail)
        await until(lambda: not self.attempted(), "it is recorded")
        commands = host.conversations[0].commands
        rcpt = next(line for line in commands if line.startswith(b"RCPT"))
        self.assertIn(b"NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@old.example", rcpt)
        self.assertEqual([], self.home.messages)
