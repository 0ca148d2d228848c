"""``smtpforward route``: what it says, its exit codes, and that the edge does the same."""

import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.commands.route import client_at, explain
from smtpforward.config.networks import Networks, network
from smtpforward.config.settings import Access, Outbound, Route, Routes, Settings
from smtpforward.job import Event
from tests.support import ME, Edge, ScriptedTarget, next_hop
from tests.test_commands_check import CommandCase

TOP = "host=192.0.2.1\n"
SECTIONS = "[example.org]\nhost=192.0.2.2\n[queued.example]\nqueue=outbound\n"


class RouteTests(CommandCase):
    """The command line."""

    def route(self, *arguments: str, forward: str = TOP + SECTIONS, **files: str) -> int:
        """The exit code of ``route`` for a directory."""
        files = {
            "host_list": "example.com\nexample.org\nqueued.example\n",
            "relay_acl_allow": "192.0.2.0/28\n",
            **files,
        }
        path = self.directory(forward, **files)
        return self.run_main("route", "--config", path, *arguments)

    def test_accepted(self) -> None:
        """A recipient is shown with its way, and the rules that say so; the exit code is 0."""
        self.assertEqual(self.route("a@example.com"), 0)
        self.assertEqual(
            self.out,
            [
                "<a@example.com>: to 192.0.2.1:25: example.com is in host_list;"
                " the default route of smtp_forward.ini; forwarded: the client does not relay"
            ],
        )
        self.assertEqual(self.err, [])

    def test_json(self) -> None:
        """One document for programs; the exit code is the same."""
        self.assertEqual(self.route("--json", "a@example.com", "b@elsewhere.example"), 1)
        [line] = self.out
        good, bad = json.loads(line)
        self.assertEqual((good["address"], good["accepted"]), ("a@example.com", True))
        self.assertEqual(good["outcome"], "to 192.0.2.1:25")
        self.assertIn("example.com is in host_list", good["why"])
        self.assertEqual((bad["address"], bad["accepted"]), ("b@elsewhere.example", False))
        self.assertTrue(bad["outcome"].startswith("550 5.7.1 "))

    def test_section(self) -> None:
        """A section is named as the file has it."""
        self.assertEqual(self.route("a@Example.ORG", forward=f"{TOP}[Example.org]\nport=26\n"), 0)
        self.assertIn("to 192.0.2.1:26: ", self.out[0])
        self.assertIn("section [Example.org] of smtp_forward.ini", self.out[0])

    def test_refused(self) -> None:
        """A refusal is shown with the reply that the client gets; the exit code is 1."""
        self.assertEqual(self.route("a@elsewhere.example"), 1)
        self.assertEqual(
            self.out,
            [
                "<a@elsewhere.example>: 550 5.7.1 mail for this domain is not accepted here:"
                " the client does not relay, and elsewhere.example is not in host_list"
            ],
        )

    def test_deferred(self) -> None:
        """A recipient with another way than the first is shown deferred, and one behind it not."""
        self.assertEqual(self.route("a@example.com", "b@example.org", "c@example.com"), 1)
        self.assertEqual(len(self.out), 3)
        self.assertIn(": to 192.0.2.1:25: ", self.out[0])
        self.assertTrue(self.out[1].startswith("<b@example.org>: 452 4.5.3 "))
        self.assertIn("[example.org]", self.out[1])
        self.assertIn(": to 192.0.2.1:25: ", self.out[2])

    def test_client(self) -> None:
        """``--client`` is looked up in relay_acl_allow, in either form of an IPv4 address."""
        for ip, code in (
            ("192.0.2.5", 0),
            ("::ffff:192.0.2.5", 0),
            ("192.0.2.16", 1),
            ("2001:db8::1", 1),
        ):
            self.assertEqual(self.route("--client", ip, "a@elsewhere.example"), code, ip)
        self.route("--client", "192.0.2.5", "a@elsewhere.example")
        self.assertIn("the client relays: relay_acl_allow", self.out[0])

    def test_login(self) -> None:
        """``--auth`` is a client that has logged in, from wherever."""
        for more in ((), ("--client", "198.51.100.1")):
            self.assertEqual(self.route("--auth", *more, "a@elsewhere.example"), 0)
            self.assertIn("the client relays: its login", self.out[0])

    def test_user(self) -> None:
        """``--user`` has logged in as well, and constrain_sender holds for it."""
        for sender, code in (("ann@example.org", 0), ("ann@example.com", 1), ("", 0)):
            arguments = ("--user", "ann@example.org", "--from", sender, "a@elsewhere.example")
            self.assertEqual(self.route(*arguments), code, sender)
        self.route("--user", "ann@example.org", "--from", "a@example.com", "b@example.com")
        self.assertIn("constrain_sender: ann@example.org may not send from", self.out[0])

    QUEUE = "<{}>: to the outbound queue, from there {}: "

    def test_queue(self) -> None:
        """Mail for the queue is shown with where the queue would send it."""
        to, smart = "a@Queued.example", "smart_host=a.example:587\n"
        for host, outbound, there in (
            ("", "", "to the MX hosts of queued.example"),
            ("", smart, "to the smart host a.example:587"),
            ("host=192.0.2.3\n", "", "to 192.0.2.3:25"),
            ("host=192.0.2.3\n", smart, "to 192.0.2.3:25"),
        ):
            files = {"host_list": "example.com\n", "outbound.ini": outbound}
            forward = TOP + SECTIONS + host
            self.assertEqual(self.route("--auth", to, forward=forward, **files), 0)
            self.assertTrue(self.out[0].startswith(self.QUEUE.format(to, there)), self.out)
            self.assertTrue(self.out[0].endswith("; queue=outbound"))
        self.assertEqual(self.route("--auth", to, forward=f"enable_outbound=false\n{TOP}"), 0)
        self.assertIn("enable_outbound=false", self.out[0])

    def test_queue_of_our_domains(self) -> None:
        """The MX host of a domain of ours is this gateway: its mail goes to its route's host."""
        for files in ({}, {"host_list_regex": "qu.*\n", "host_list": ""}):
            self.assertEqual(self.route("a@queued.example", **files), 0)
            said = self.QUEUE.format("a@queued.example", "to 192.0.2.1:25")
            self.assertTrue(self.out[0].startswith(said), self.out)
        forward = f"{TOP}[example.com]\nenable_outbound=false\n"
        self.assertEqual(self.route("--auth", "a@example.com", forward=forward), 0)
        said = self.QUEUE.format("a@example.com", "to the MX hosts of example.com")
        self.assertTrue(self.out[0].startswith(said), self.out)

    def test_queued_postmaster(self) -> None:
        """There is no domain whose MX hosts could be asked for: the default route's host."""
        self.route("postmaster", forward=f"queue=outbound\n{TOP}")
        said = self.QUEUE.format("postmaster", "to 192.0.2.1:25")
        self.assertTrue(self.out[0].startswith(said), self.out)

    def test_split(self) -> None:
        """With ``split_routes=queue`` a further way turns the whole transaction to the queue."""
        to = ("a@example.com", "b@example.org", "c@queued.example", "d@elsewhere.example")
        forward = f"split_routes=queue\n{TOP}{SECTIONS}"
        there = (
            *("to 192.0.2.1:25", "to 192.0.2.2:25"),
            *("to the MX hosts of queued.example", "to 192.0.2.1:25"),
        )
        hosts = {"host_list": "example.com\nexample.org\n"}
        self.assertEqual(self.route("--auth", *to, forward=forward, **hosts), 0)
        for one, hop, line in zip(to, there, self.out, strict=True):
            self.assertTrue(line.startswith(self.QUEUE.format(one, hop)), line)
        self.assertNotIn("split_routes", self.out[0])
        self.assertIn("; split_routes=queue: several ways in one transaction", self.out[1])
        self.assertEqual(self.route("--auth", to[0], to[3], forward=forward), 0)
        self.assertTrue(self.out[1].startswith("<d@elsewhere.example>: to 192.0.2.1:25: "))
        self.assertEqual(self.route(*to[:2], forward=forward), 1)
        self.assertTrue(self.out[0].startswith("<a@example.com>: to 192.0.2.1:25: "))

    def test_spoofed(self) -> None:
        """A sender that is refused is the one line: nobody comes to a recipient."""
        forward = f"check_sender=true\n{TOP}{SECTIONS}"
        self.assertEqual(
            self.route("--from", "x@example.org", "a@example.com", "b@b", forward=forward), 1
        )
        [line] = self.out
        self.assertTrue(line.startswith("<x@example.org>: 550 5.7.1 "))
        self.assertTrue(line.endswith("example.org has a section, and the client does not relay"))

    def test_sender_selects(self) -> None:
        """``--from`` picks the section with domain_selector=mail_from; without it, the default."""
        forward = f"domain_selector=mail_from\n{TOP}{SECTIONS}[x@example.net]\nport=27\n"
        for sender, said in (
            ("x@example.org", "192.0.2.2:25"),
            ("X@example.net", "192.0.2.1:27"),
            ("y@example.net", "192.0.2.1:25"),
            ("", "192.0.2.1:25"),
        ):
            self.assertEqual(self.route("--from", sender, "a@example.com", forward=forward), 0)
            self.assertIn(f": to {said}: ", self.out[0])
        self.assertEqual(self.route("a@example.com", forward=forward), 0)
        self.assertIn("the default route", self.out[0])

    def test_outside_ascii(self) -> None:
        """An address outside ASCII goes where it would go with SMTPUTF8."""
        forward = "host=192.0.2.1\ncheck_recipient=true\n[bücher.example]\nport=27\n"
        for to in ("ü@bücher.example", "b@BÜCHER.example", "b@xn--bcher-kva.example"):
            self.assertEqual(self.route("--from", "ü@example.net", to, forward=forward), 0)
            self.assertIn(f"<{to}>: to 192.0.2.1:27: ", self.out[0])

    def test_no_address(self) -> None:
        """What is no address gets the reply that it would get, and is no parameter either."""
        for to, code in (
            ("a b@example.com", "501 5.1.3"),
            ("", "501 5.1.3"),
            ("a@example.com> X=<1", "501 5.1.3"),
            ("a@example.com> X=1", "501 5.1.3"),
            ("a\r\n@example.com", "501 5.1.3"),
            ("b@ü..example", "501 5.1.3"),
            ("b\udcff@example.com", "501 5.1.3"),
            ("root", "553 5.1.3"),
        ):
            self.assertEqual(self.route(to), 1, to)
            self.assertIn(f">: {code} ", " ".join(self.out), to)
            code = code.replace("5.1.3", "5.1.7")
            if to:
                self.assertEqual(self.route("--from", to, "a@example.com"), 1, to)
                self.assertIn(f">: {code} ", " ".join(self.out), to)

    def test_postmaster(self) -> None:
        """Postmaster goes without a domain."""
        self.assertEqual(self.route("Postmaster"), 0)
        self.assertIn("postmaster is always accepted", self.out[0])

    def test_usage(self) -> None:
        """A wrong address of a client, or no recipient, is a usage error: 64."""
        for arguments in (("--client", "192.0.2.300", "a@example.com"), ()):
            self.assertEqual(self.route(*arguments), 64)
            self.assertEqual(self.out, [])
        self.route("--client", "mail.example", "a@example.com")
        self.assertIn("'mail.example' is no IP address", self.err[-1])

    def test_settings(self) -> None:
        """Wrong settings are 78, and those that are missing 66, as with ``check``."""
        self.assertEqual(self.route("a@example.com", forward="prot=1\n"), 78)
        self.assertEqual(self.run_main("route", "--config", "nowhere", "a@example.com"), 66)


RELAY, STRANGER = "192.0.2.1", "198.51.100.1"
BOOLEANS = (False, True)
SENDERS = ("a@sender.example", "ann@section.example", "bob@section.example", "")
RECIPIENTS = (
    ("x@section.example",),
    ("x@other.example",),
    ("x@section.example", "x@other.example"),
    ("x@other.example", "x@section.example"),
    ("x@section.example", "y@section.example"),
    ("postmaster", "x%y@other.example"),
)


# Whether there is a queue, and what split_routes says.
QUEUES = ((None, "defer"), (Outbound(), "defer"), (Outbound(), "queue"))


def combinations() -> Iterator[tuple[Any, ...]]:
    """Of selector, section, queue, and five keys that are true or false."""
    return itertools.product(
        ("rcpt_to", "mail_from"),
        ("", "section.example", "ann@section.example"),
        (None, "smtp_forward", "outbound"),
        QUEUES,
        *[BOOLEANS] * 5,
    )


def directories() -> Iterator[tuple[str, Settings]]:
    """Settings in all combinations of what routing looks at, each with its name."""
    for selector, section, queue, (outbound, split), *keys_given in combinations():
        enabled, sender, recipient, listed, alone = keys_given
        if selector == "rcpt_to" and "@" in section:
            continue
        keys = {"queue": queue, "enable_outbound": enabled, "one_message_per_rcpt": alone}
        default = Route("", next_hop())
        sections = {section: Route(section, next_hop("other.backend"), **keys)} if section else {}
        if not section:
            default = attrs.evolve(default, **keys)
        hosts = frozenset({"other.example", "section.example"}) if listed else frozenset[str]()
        name = f"{selector} [{section}] {keys} {sender=} {recipient=} {listed=} {split=}"
        yield (
            name,
            Settings(
                me=ME,
                routes=Routes(default, sections, recipient, sender, selector, split),
                access=Access(hosts, None, Networks([network(f"{RELAY}/32")])),
                outbound=outbound,
            ),
        )


def told(settings: Settings, ip: str, sender: str, to: Sequence[str]) -> tuple[list[int], Any]:
    """What the command says: the codes of the sender and recipients, and where they go."""
    fates = list(explain(settings, client_at(settings, ip), sender, to))
    codes, hops = [], set()
    for fate in fates:
        codes.append(250 if fate.accepted else int(fate.outcome[:3]))
        if fate.accepted:
            hops.add(re.split("[:,]", fate.outcome)[0].removeprefix("to "))
    if len(fates) < len(to) or fates[0].address != to[0]:
        return codes, hops
    return [250, *codes], hops


class AgreementTests(SynchronousTestCase):
    """``explain`` against the edge, over all that routing looks at."""

    def done(self, settings: Settings, ip: str, sender: str, to: Sequence[str]) -> Any:
        """What the edge does: the codes of the sender and recipients, and where they go."""
        target, queue = ScriptedTarget(Event.ACCEPTED), ScriptedTarget(Event.ACCEPTED)
        edge = Edge(target=target, settings_=settings, ip=ip, queue=queue)
        edge.send(b"EHLO client.example.net\r\n")
        codes = edge.codes(b"MAIL FROM:<%b>\r\n" % sender.encode())
        if codes == [250]:
            for recipient in to:
                codes += edge.codes(b"RCPT TO:<%b>\r\n" % recipient.encode())
        hops = set()
        if 250 in codes[1:]:
            self.assertEqual(edge.codes(b"DATA\r\n", b"Subject: x\r\n\r\n.\r\n"), [354, 250])
            [job] = target.jobs + queue.jobs
            hops = {server.host for server in job.next_hop.servers}
            if queue.jobs:
                hops = {"the outbound queue"}
                self.assertEqual(len(job.deliveries), len(job.envelope.recipients))
            accepted = [one for one, code in zip(to, codes[1:], strict=True) if code == 250]
            self.assertEqual([str(r.address) for r in job.envelope.recipients], accepted)
        else:
            self.assertEqual(edge.codes(b"DATA\r\n"), [503])
            self.assertEqual(target.jobs + queue.jobs, [])
        self.flushLoggedErrors()
        return codes, hops

    def test_agreement(self) -> None:
        """For each combination both give every address the same code and the same next hop."""
        compared, seen, draw = 0, set(), random.Random(1)
        for name, settings in directories():
            for ip, sender in itertools.product((RELAY, STRANGER), SENDERS):
                to = draw.choice(RECIPIENTS)
                row = f"{name} {ip} <{sender}> {to}"
                expected = self.done(settings, ip, sender, to)
                self.assertEqual(told(settings, ip, sender, to), expected, row)
                compared += 1
                seen.add((tuple(expected[0]), frozenset(expected[1])))
        self.assertGreaterEqual(compared, 500)
        codes = {code for codes, _ in seen for code in codes}
        self.assertEqual(codes, {250, 451, 452, 550})
        self.assertGreaterEqual(len(seen), 12)
