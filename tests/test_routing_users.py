"""Which senders a login may use."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers, routing
from smtpforward.config.settings import Logins, Route
from smtpforward.envelope import NULL_SENDER, Client
from tests.support import address, next_hop, settings


class ConstrainSenderTests(SynchronousTestCase):
    """``constrain_sender``."""

    def reply(self, user: str, sender: bytes, constrained: bool = True) -> object:
        """What ``sender`` is refused with, when ``user`` has logged in."""
        given = settings(logins=Logins(constrain_sender=constrained))
        client = Client("192.0.2.1", 4321, relaying_by="its login" if user else "", user=user)
        refused = routing.decide_sender(given, client, address(sender) if sender else NULL_SENDER)
        return refused and refused.reply

    def test_own_domain(self) -> None:
        """A user whose name has a domain sends from that one, in any case of letters."""
        for sender in (b"anna@example.com", b"other@EXAMPLE.com"):
            self.assertIsNone(self.reply("anna@Example.com", sender))
        for sender in (b"anna@example.net", b"anna@sub.example.com", b"anna@xexample.com"):
            self.assertIs(self.reply("anna@example.com", sender), answers.FOREIGN_SENDER)

    def test_a_domain_in_letters(self) -> None:
        """The name's domain is compared as an A-label, as the sender gives it."""
        self.assertIsNone(self.reply("anna@B\u00fccher.example", b"anna@xn--bcher-kva.example"))
        foreign = self.reply("anna@-no domain-", b"anna@xn--bcher-kva.example")
        self.assertIs(foreign, answers.FOREIGN_SENDER)

    def test_null_sender(self) -> None:
        """Bounces and receipts have no sender."""
        self.assertIsNone(self.reply("anna@example.com", b""))

    def test_others(self) -> None:
        """A name without a domain, and a client that has not logged in, are not constrained."""
        self.assertIsNone(self.reply("anna", b"anna@example.net"))
        self.assertIsNone(self.reply("", b"anna@example.net"))

    def test_switched_off(self) -> None:
        """The settings may allow every sender."""
        self.assertIsNone(self.reply("anna@example.com", b"anna@example.net", constrained=False))

    def test_says_why(self) -> None:
        """The reason names key, user and domain."""
        client = Client("192.0.2.1", 4321, user="anna@example.com")
        refused = routing.decide_sender(
            settings(sections={"a": Route("a", next_hop())}), client, address(b"a@example.net")
        )
        assert refused is not None
        self.assertIn("constrain_sender: anna@example.com", refused.why)
