"""The examples of Haraka's ``queue/smtp_forward`` documentation, from socket to socket.

Its addresses stand for three scripted backends: ``1.2.3.4`` is the default host, ``1.2.3.5`` that
of example1.com and example2.com, ``1.2.3.6`` that of example3.com. A name server leads to one MX
host for all other mail. Clients come from 127.0.0.1; whether they relay is said in each test.
"""

from collections.abc import Mapping, Sequence

from twisted.internet.threads import deferToThread
from twisted.names import dns

from tests.integration.forwarding import EXTENSIONS, FIRST, NEXT, ForwardingCase
from tests.peers.backend import ScriptedBackend
from tests.peers.ports import free_port
from tests.peers.raw import RawClient
from tests.peers.script import Script, by_recipient
from tests.peers.wait import until

TAKEN = "250 2.0.0 Ok: taken"
SENDER_OK, RECIPIENT_OK = "250 2.1.0 sender OK", "250 2.1.5 recipient OK"
UNKNOWN = "550 5.1.1 No such user here"
STRANGERS = "192.0.2.0/24\n"
DOMAINS = "".join(f"{name}\n" for name in ("example.com", *(f"example{n}.com" for n in "1234")))
ANYONE = "sender@elsewhere.example"

# The seed's example as it stands there, but for the hosts: a port of loopback for each.
PER_DOMAIN = """\
# default SMTP host
host=127.0.0.1
port={default}
# auth_type=plain
# auth_user=user
# auth_pass=user

[example1.com]
host=127.0.0.1
port={five}
# auth_type=plain
# auth_user=user
# auth_pass=pass

[example2.com]
host=127.0.0.1
port={five}

[example3.com]
host=127.0.0.1
port={six}

[example4.com]
enable_outbound=false
"""
QUEUED = r"^250 2\.0\.0 queued as [0-9A-F]+$"
TWO_SECTIONS = """\
host=127.0.0.1
port={default}
check_recipient=true
[example.com]
[example.net]
"""


class SeedCase(ForwardingCase):
    """Three backends behind one gateway, and what reached whom."""

    def setUp(self) -> None:
        super().setUp()
        self.default, self.five, self.six = (self.backend() for _ in range(3))
        self.mail_host = ScriptedBackend(None, free_port(), "127.0.0.2")
        self.stop_later(self.mail_host.stop)
        self.names = self.name_server()
        for domain in ("example4.com", "elsewhere.example"):
            self.names.mx(domain, (10, f"mx.{domain}"))
            self.names.address(f"mx.{domain}", "127.0.0.2")

    async def start(
        self, forward: str = PER_DOMAIN, relaying: bool = False, hosts: str = DOMAINS
    ) -> RawClient:
        """A client of a gateway with this ``smtp_forward.ini``."""
        ports = {"default": self.default.port, "five": self.five.port, "six": self.six.port}
        files: Mapping[str, str] = {
            "smtp_forward.ini": forward.format(**ports),
            "host_list": hosts,
            "relay_acl_allow": "127.0.0.0/8\n" if relaying else STRANGERS,
            "outbound.ini": (
                f"store=sqlite:queue.sqlite3\nnameservers=127.0.0.1:{self.names.port}\n"
                f"mx_port={self.mail_host.port}\nlocal_mx_ok=true\nenable_tls=false\n"
            ),
        }
        return await self.client(self.forward(self.default.port, files))

    async def begin(self, client: RawClient, *rcpts: str, sender: str = ANYONE) -> list[str]:
        """Begin a transaction; the replies to its recipients, ids left out."""
        self.assert_said(await self.ask(client, f"MAIL FROM:<{sender}>"), SENDER_OK)
        answers = [await self.ask(client, f"RCPT TO:<{rcpt}>") for rcpt in rcpts]
        return [f"{answer.code} {answer.text}".partition(" [")[0] for answer in answers]

    async def end(self, client: RawClient, wire: bytes = FIRST) -> str:
        """Send the transaction's message; the reply."""
        self.assertEqual(354, (await self.ask(client, "DATA")).code)
        await deferToThread(client.send, wire)
        answer = await deferToThread(client.answer)
        return f"{answer.code} {answer.text}"

    async def mail(self, client: RawClient, *rcpts: str, sender: str = ANYONE) -> None:
        """Send a message that is taken whole."""
        said = await self.begin(client, *rcpts, sender=sender)
        self.assertEqual([RECIPIENT_OK] * len(rcpts), said, (sender, rcpts))
        self.assertEqual(TAKEN, await self.end(client), (sender, rcpts))

    def got(self, backend: ScriptedBackend) -> list[tuple[str, ...]]:
        """The recipients of each of its messages, in the order in which they came."""
        return [
            tuple(rcpt.decode().removeprefix("RCPT TO:<").removesuffix(">") for rcpt in m.rcpts)
            for m in backend.messages
        ]

    def assert_got(
        self,
        default: Sequence[tuple[str, ...]] = (),
        five: Sequence[tuple[str, ...]] = (),
        six: Sequence[tuple[str, ...]] = (),
        by_mx: Sequence[tuple[str, ...]] = (),
    ) -> None:
        """These messages reached the three backends and the MX host, and no others did."""
        backends = (self.default, self.five, self.six, self.mail_host)
        found = [self.got(backend) for backend in backends]
        self.assertEqual([list(default), list(five), list(six), list(by_mx)], found)


class PerDomainTests(SeedCase):
    """Per-domain configuration."""

    async def test_each_domain_to_its_host(self) -> None:
        """Each domain's mail goes to its own host, all other mail to the default host."""
        client = await self.start()
        for rcpt in ("user@example.com", *(f"user@example{n}.com" for n in "1234")):
            await self.mail(client, rcpt)
        await self.mail(client, "USER@EXAMPLE3.COM")
        self.assert_got(
            default=[("user@example.com",), ("user@example4.com",)],
            five=[("user@example1.com",), ("user@example2.com",)],
            six=[("user@example3.com",), ("USER@EXAMPLE3.COM",)],
        )

    async def test_every_recipient_host_identical(self) -> None:
        """Several recipients of one domain travel together on its route."""
        client = await self.start()
        await self.mail(client, "a@example3.com", "b@example3.com", "c@example3.com")
        self.assert_got(six=[("a@example3.com", "b@example3.com", "c@example3.com")])

    async def test_domain_selector_mail_from(self) -> None:
        """With ``domain_selector=mail_from`` the sender's domain chooses, for all recipients."""
        client = await self.start("domain_selector=mail_from\n" + PER_DOMAIN)
        both = ("user@example3.com", "user@example.com")
        await self.mail(client, *both, sender="user@example1.com")
        await self.mail(client, *both, sender="User@Example3.com")
        await self.mail(client, *both, sender="user@elsewhere.example")
        await self.mail(client, *both, sender="")
        self.assert_got(default=[both, both], five=[both], six=[both])

    async def test_domain_selector_mail_from_by_address(self) -> None:
        """A section of one sender comes before that of its domain."""
        address = "[boss@example1.com]\nhost=127.0.0.1\nport={six}\n"
        client = await self.start("domain_selector=mail_from\n" + PER_DOMAIN + address)
        await self.mail(client, "user@example.com", sender="Boss@example1.com")
        await self.mail(client, "user@example.com", sender="clerk@example1.com")
        self.assert_got(five=[("user@example.com",)], six=[("user@example.com",)])

    async def test_enable_outbound_of_a_domain(self) -> None:
        """example4.com has no forwarding for who relays: its mail travels to its MX host.

        That it is in ``host_list`` as well, so that its inbound mail is accepted, changes nothing.
        """
        for hosts in (DOMAINS, ""):
            client = await self.start(relaying=True, hosts=hosts)
            self.assertEqual([RECIPIENT_OK], await self.begin(client, "user@example4.com"))
            self.assertRegex(await self.end(client), QUEUED)
            await until(lambda: self.mail_host.messages, "the delivery from the queue")
            self.assert_got(by_mx=[("user@example4.com",)])
            [message] = self.mail_host.messages
            self.assertTrue((message.wire + b".\r\n").endswith(FIRST))
            self.assertIn(("example4.com", dns.MX, "udp"), self.names.asked)
            self.mail_host.conversations.clear()
            self.names.asked.clear()
        # Its other domains are forwarded for who relays as for everyone.
        await self.mail(client, "user@example1.com")
        await self.mail(client, "user@elsewhere.example")
        self.assert_got(default=[("user@elsewhere.example",)], five=[("user@example1.com",)])
        self.assertEqual([], self.names.asked)
        self.assertEqual([], self.log_errors())

    async def test_enable_outbound_is_for_who_relays(self) -> None:
        """Inbound mail for example4.com is forwarded, to the default host that it inherits."""
        client = await self.start()
        await self.mail(client, "user@example4.com", "user@example.com")
        self.assert_got(default=[("user@example4.com", "user@example.com")])
        self.assertEqual([], self.log_errors())

    async def test_enable_outbound_at_the_top(self) -> None:
        """``enable_outbound=false`` at the top holds for each domain that does not say true."""
        forward = PER_DOMAIN.replace("[example1.com]", "enable_outbound=false\n[example1.com]")
        forward = forward.replace("[example3.com]", "[example3.com]\nenable_outbound=true")
        client = await self.start(forward, relaying=True)
        for rcpt, backend in (
            # A domain of ours, whose MX host is most likely this gateway.
            ("user@example.com", self.default),
            ("user@example1.com", self.five),
            ("user@elsewhere.example", self.mail_host),
            # It says so itself.
            ("user@example4.com", self.mail_host),
        ):
            before = len(self.got(backend))
            self.assertEqual([RECIPIENT_OK], await self.begin(client, rcpt))
            self.assertRegex(await self.end(client), QUEUED)
            await until(lambda b=backend, n=before: len(self.got(b)) > n, rcpt)  # type: ignore[misc]
        await self.mail(client, "user@example3.com")
        one, two, three = (
            [("user@example.com",)],
            [("user@example1.com",)],
            [("user@example3.com",)],
        )
        by_mx = [("user@elsewhere.example",), ("user@example4.com",)]
        self.assert_got(one, two, three, by_mx)


class SplitTests(SeedCase):
    """Split host forward routing."""

    async def test_split_host_forward_routing(self) -> None:
        """Two recipients share a destination, the third is deferred and comes in a next one."""
        client = await self.start()
        one, two, three = (f"user@example{n}.com" for n in "123")
        deferred = "452 4.5.3 another route: send this recipient in the next transaction"
        said = await self.begin(client, one, two, three)
        self.assertEqual([RECIPIENT_OK, RECIPIENT_OK, deferred], said)
        self.assertEqual(TAKEN, await self.end(client, FIRST))
        self.assert_got(five=[(one, two)])
        # In the same session, at once, as RFC 5321 4.5.3.1.10 has it.
        self.assertEqual([RECIPIENT_OK], await self.begin(client, three))
        self.assertEqual(TAKEN, await self.end(client, FIRST))
        self.assert_got(five=[(one, two)], six=[(three,)])
        for backend in (self.five, self.six):
            [message] = backend.messages
            self.assertEqual(b"MAIL FROM:<%b>" % ANYONE.encode(), message.mail.partition(b" B")[0])
            self.assertTrue((message.wire + b".\r\n").endswith(FIRST))
        self.assertEqual(0, self.default.connections.total)
        lines = [line for line in self.log_lines() if "452 4.5.3" in line]
        self.assertEqual([1], [line.count(three) for line in lines])

    async def test_the_first_recipient_decides(self) -> None:
        """In another order it is the other two that come later, together."""
        client = await self.start()
        one, two, three = (f"user@example{n}.com" for n in "123")
        said = await self.begin(client, three, one, two)
        self.assertEqual(["250", "452", "452"], [answer[:3] for answer in said])
        self.assertEqual(TAKEN, await self.end(client))
        await self.mail(client, one, two)
        self.assert_got(five=[(one, two)], six=[(three,)])

    async def test_split_routes_queue(self) -> None:
        """With ``split_routes=queue`` who relays brings all three at once, by way of the queue."""
        client = await self.start("split_routes=queue\n" + PER_DOMAIN, relaying=True)
        one, two, three = (f"user@example{n}.com" for n in "123")
        self.assertEqual([RECIPIENT_OK] * 3, await self.begin(client, one, two, three))
        self.assertRegex(await self.end(client), QUEUED)
        await until(lambda: self.five.messages and self.six.messages, "both deliveries")
        self.assert_got(five=[(one, two)], six=[(three,)])
        for backend in (self.five, self.six):
            self.assertTrue((backend.messages[0].wire + b".\r\n").endswith(FIRST))

    async def test_split_routes_queue_is_for_who_relays(self) -> None:
        """A stranger brings the third in its next transaction, as ever."""
        client = await self.start("split_routes=queue\n" + PER_DOMAIN)
        said = await self.begin(client, *(f"user@example{n}.com" for n in "123"))
        self.assertEqual(["250", "250", "452"], [answer[:3] for answer in said])

    async def test_pipelined(self) -> None:
        """A client that sends the whole envelope at once hears the same."""
        client = await self.start()
        rcpts = "".join(f"RCPT TO:<user@example{n}.com>\r\n" for n in "123")
        envelope = f"MAIL FROM:<{ANYONE}>\r\n{rcpts}DATA\r\n".encode()
        await deferToThread(client.send, envelope)
        codes = [(await deferToThread(client.answer)).code for _ in range(5)]
        self.assertEqual([250, 250, 250, 452, 354], codes)
        await deferToThread(client.send, NEXT)
        self.assert_said(await deferToThread(client.answer), TAKEN)
        self.assert_got(five=[("user@example1.com", "user@example2.com")])

    async def test_credentials_split(self) -> None:
        """The same host with another login is another destination."""
        login = "auth_type=plain\nauth_user={name}\nauth_pass=secret\n"
        forward = PER_DOMAIN.replace("[example1.com]\n", "[example1.com]\n" + login)
        forward = forward.replace("{name}", "one")
        client = await self.start(forward)
        said = await self.begin(client, "user@example2.com", "user@example1.com")
        self.assertEqual(["250", "452"], [answer[:3] for answer in said])
        self.assertEqual(TAKEN, await self.end(client))
        self.assert_got(five=[("user@example2.com",)])


class CheckTests(SeedCase):
    """``check_recipient`` and ``check_sender``."""

    async def test_check_recipient(self) -> None:
        """Its example for two domains: these are accepted because they have a section."""
        client = await self.start(TWO_SECTIONS, hosts="")
        said = await self.begin(
            client, "a@example.com", "b@example.net", "c@example.org", "d@sub.example.com"
        )
        refused = "550 5.7.1 mail for this domain is not accepted here"
        self.assertEqual([RECIPIENT_OK, RECIPIENT_OK, refused, refused], said)
        self.assertEqual(TAKEN, await self.end(client))
        self.assert_got(default=[("a@example.com", "b@example.net")])

    async def test_no_check_recipient(self) -> None:
        """By default no domain is accepted until it is said to be."""
        forward = TWO_SECTIONS.replace("check_recipient=true", "check_recipient=false")
        client = await self.start(forward, hosts="")
        said = await self.begin(client, "a@example.com", "b@example.net")
        self.assertEqual(["550 5.7.1"] * 2, [answer[:9] for answer in said])
        self.assertEqual(503, (await self.ask(client, "DATA")).code)
        self.assert_got()

    async def test_host_list(self) -> None:
        """The simplest common case: a list of domains in ``host_list``."""
        client = await self.start("host=127.0.0.1\nport={default}\n", hosts="example.com\n")
        said = await self.begin(client, "a@example.com", "b@example.net")
        self.assertEqual(["250", "550"], [answer[:3] for answer in said])
        self.assertEqual(TAKEN, await self.end(client))
        self.assert_got(default=[("a@example.com",)])

    async def test_check_sender(self) -> None:
        """A sender of a domain with a section needs relaying privileges, others do not."""
        forward = "check_sender=true\n" + PER_DOMAIN
        client = await self.start(forward)
        refused = await self.ask(client, "MAIL FROM:<boss@Example1.com>")
        self.assertEqual("550 5.7.1", f"{refused.code} {refused.text[:5]}")
        self.assertEqual(503, (await self.ask(client, "RCPT TO:<user@example.com>")).code)
        for sender in (ANYONE, "user@example.com", ""):
            await self.mail(client, "user@example.com", sender=sender)
        self.assert_got(default=[("user@example.com",)] * 3)

    async def test_check_sender_of_who_relays(self) -> None:
        """Who has them sends from there."""
        client = await self.start("check_sender=true\n" + PER_DOMAIN, relaying=True)
        await self.mail(client, "user@example.com", sender="boss@example1.com")
        self.assert_got(default=[("user@example.com",)])


class PartialRejectionTests(SeedCase):
    """Recipient validation that the ongoing server provides at queue time."""

    async def test_one_of_three_refused(self) -> None:
        """451 at first; at the second try that one gets its 550, the others the message, once."""
        for extensions in EXTENSIONS:
            await self.one_of_three(extensions)

    async def one_of_three(self, extensions: tuple[str, ...]) -> None:
        refusing = by_recipient(bad=f"{UNKNOWN}\r\n".encode())
        self.six = self.backend(Script(extensions=extensions, replies={"RCPT": refusing}))
        client = await self.start()
        one, bad, two = (f"{name}@example3.com" for name in ("one", "bad", "two"))
        self.assertEqual([RECIPIENT_OK] * 3, await self.begin(client, one, bad, two))
        first = await self.end(client)
        self.assertEqual("451 4.5.3", first[:9])
        await until(lambda: "RSET" in self.six.conversations[0].verbs, "RSET")
        self.assert_got()
        said = await self.begin(client, one, bad, two)
        self.assertEqual([RECIPIENT_OK, UNKNOWN, RECIPIENT_OK], said)
        self.assertEqual(TAKEN, await self.end(client))
        self.assert_got(six=[(one, two)])
        # The backend was asked about the bad one once, and it had one connection for all.
        [talk] = self.six.conversations
        self.assertEqual(1, sum(bad.encode() in command for command in talk.commands))
