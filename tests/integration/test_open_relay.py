"""Recipients that a server behind might relay, from a client that may not: nobody gets them.

A real Postfix stands behind that trusts the gateway and would relay whatever it takes to a sink.
With ``SMTPFORWARD_FULL=1`` (``make attack``) nmap looks for the service by itself.
"""

import contextlib
import re

from twisted.internet.threads import deferToThread

from tests.peers.case import PeerTestCase, full_size
from tests.peers.clients import run
from tests.peers.gateway import Gateway
from tests.peers.postfix import Postfix
from tests.peers.raw import RawClient
from tests.peers.require import require
from tests.peers.sink import SmtpSink
from tests.peers.wait import until

# Arguments of RCPT, each on a connection of its own. Some may reach known@example.com.
PATTERNS = (
    "<victim@foreign.example>",
    "victim@foreign.example",
    "< victim@foreign.example>",
    "<victim@foreign.example >",
    "<victim@foreign.example.>",
    "<victim@FOREIGN.EXAMPLE>",
    "<victim@foreign.example>,<known@example.com>",
    "<known@example.com>,<victim@foreign.example>",
    "<known@example.com> <victim@foreign.example>",
    "<known@example.com victim@foreign.example>",
    "<victim@foreign.example> ORCPT=rfc822;known@example.com",
    "<victim%foreign.example@example.com>",
    "<victim%foreign.example@[127.0.0.1]>",
    "<victim%foreign.example@localhost>",
    "<victim%foreign.example@backend.example.com>",
    "<victim%foreign.example@gateway.example.com>",
    "<victim%foreign.example@>",
    "<victim%foreign.example>",
    "<victim%foreign.example%example.com@example.com>",
    '<"victim%foreign.example"@example.com>',
    '<"victim%foreign.example">',
    "<foreign.example!victim>",
    "<foreign.example!victim@example.com>",
    '<"foreign.example!victim"@example.com>',
    "<example.com!foreign.example!victim>",
    "<foreign.example!victim@[127.0.0.1]>",
    "<@example.com:victim@foreign.example>",
    "<@foreign.example:victim@foreign.example>",
    "<@example.com,@foreign.example:victim@foreign.example>",
    "<@foreign.example:known@example.com>",
    "<@example.com:victim%foreign.example@example.com>",
    '<"victim@foreign.example"@example.com>',
    '<"victim@foreign.example">',
    '<"victim@foreign.example"@>',
    '<"victim@foreign.example"@[127.0.0.1]>',
    "<victim\\@foreign.example@example.com>",
    '<"victim\\@foreign.example"@example.com>',
    "<victim@foreign.example@example.com>",
    "<victim@example.com@foreign.example>",
    "<victim@@foreign.example>",
    "<victim@foreign.example%example.com>",
    "<victim@foreign.example:25@example.com>",
    "<victim|foreign.example@example.com>",
    "<|victim@example.com>",
    "<victim@foreign.example\t@example.com>",
    "<victim@foreign.example\0@example.com>",
    "<victim@foreign.example(known@example.com)>",
    "<(known@example.com)victim@foreign.example>",
    "<known@example.com>victim@foreign.example",
    "victim@foreign.example<known@example.com>",
    "<victim@foreign.example;known@example.com>",
    "<victim@[192.0.2.1]>",
    "<victim@[IPv6:2001:db8::1]>",
    "<victim@192.0.2.1>",
    "<victim@localhost>",
    "<victim>",
    "<victim@>",
    "<@foreign.example>",
    "<example.com@foreign.example>",
    "<victim@example.com.foreign.example>",
    "<victim@foreign-example.com>",
    "<victim@foreignexample.com>",
    "<victim@.example.com>",
    "<victim@foreign.example/example.com>",
    "<victim@foreign.example\\example.com>",
    "<victim@foreign\uff0eexample>",
    "<victim\uff20foreign.example@example.com>",
    "<victim@f\u00f3reign.example>",
    "<SRS0=hash=tt=foreign.example=victim@example.com>",
    "<SRS1=hash=foreign.example==hash=tt=foreign.example=victim@example.com>",
    "<victim=foreign.example@example.com>",
    "<prvs=1234567890=victim@foreign.example>",
    "<victim+foreign.example@example.com>",
    "<>",
)
# Those of them that Postfix relays for the gateway.
RELAYED = (
    "<victim@foreign.example>",
    "<victim%foreign.example@example.com>",
    "<foreign.example!victim@example.com>",
    '<"victim@foreign.example"@example.com>',
    "<victim@foreign.example@example.com>",
)


class OpenRelayTests(PeerTestCase):
    """Who may not relay does not, by whatever name."""

    sink_: SmtpSink
    postfix_: Postfix

    async def start(self) -> Gateway:
        """A gateway for example.com, and behind it what relays for everyone it is connected to."""
        self.sink_ = await self.sink()
        settings = {
            "relayhost": f"[127.0.0.1]:{self.sink_.port}",
            "default_transport": "smtp",
            "relay_transport": "smtp",
            "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
            "smtp_connection_cache_on_demand": "no",
            # Its own domain, in which it looks for routes: not that of virtual mailboxes.
            "mydestination": "example.com",
            "virtual_mailbox_domains": "",
            "local_transport": "virtual",
            "local_recipient_maps": "$virtual_mailbox_maps",
        }
        self.postfix_ = await self.postfix("known", **settings)
        files = {"relay_acl_allow": "192.0.2.0/24\n", "host_list": "example.com\n"}
        return await self.gateway(self.postfix_.port, files)

    async def assert_relayed(self, count: int) -> None:
        """So many messages have left Postfix for the sink, and no other is under way."""
        await until(lambda: not self.postfix_.queued, self.postfix_.output)
        await until(lambda: self.sink_.messages >= count, self.postfix_.output)
        self.assertEqual(count, self.sink_.messages, self.postfix_.log)

    async def test_patterns(self) -> None:
        """None of the patterns makes Postfix take a message for a foreign domain."""
        gateway = await self.start()
        for pattern in RELAYED:
            self.assertEqual(250, await deferToThread(offer, self.postfix_.port, pattern))
        await self.assert_relayed(len(RELAYED))
        answers = {}
        for pattern in PATTERNS:
            answers[pattern] = await deferToThread(offer, gateway.port, pattern)
        self.assertEqual(250, await deferToThread(offer, gateway.port, "<known@example.com>"))
        await until(lambda: self.postfix_.messages("known"), self.postfix_.output)
        await self.assert_relayed(len(RELAYED))
        recipients = re.findall(r" to=<([^>]*)>", self.postfix_.log)[len(RELAYED) :]
        self.assertEqual(set(), {to for to in recipients if not to.endswith("@example.com")})
        taken = {pattern for pattern, code in answers.items() if code == 250}
        self.assertLessEqual(taken, {"<@foreign.example:known@example.com>"})

    async def test_nmap(self) -> None:
        """Neither do those of nmap's script; what it lists is what is offered."""
        gateway = await self.start()
        [program] = require("nmap")
        scripts = ["--script", "+smtp-open-relay,+smtp-commands"]
        if full_size():
            # It is to find out by itself that this is SMTP, which takes half a minute.
            scripts = ["-sV", "--script", "smtp-open-relay,smtp-commands,smtp-strangeport"]
        options = ["-n", "-Pn", "-sT", "-p", str(gateway.port), *scripts]
        names = "smtp-open-relay.domain=client.example.org,smtp-commands.domain=client.example.org"
        command = [program, *options, "--script-args", names, "127.0.0.1"]
        done = await run(command, 100, folder=self.folder())
        self.assertEqual(0, done.exit_code, done.output)
        self.assertIn("Server doesn't seem to be an open relay, all tests failed", done.output)
        if full_size():
            self.assertIn("smtp-strangeport: Mail server on unusual port", done.output)
        self.assertRegex(done.output, "smtp-commands: gateway.example.com, PIPELINING, SIZE ")
        await self.assert_relayed(0)


def offer(port: int, argument: str) -> int:
    """The code that a message to one recipient ends with; 0 when the connection ends before."""
    with RawClient(port, 20.0) as client, contextlib.suppress(EOFError, ConnectionError):
        client.hello()
        for command in ("MAIL FROM:<>", f"RCPT TO:{argument}", "DATA"):
            answer = client.ask(command)
            if answer.code >= 400:
                return answer.code
        client.send(b"Subject: relayed?\r\n\r\nx\r\n.\r\n")
        return client.answer().code
    return 0
