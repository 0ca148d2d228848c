"""The memory of refusals."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.learned import PERMANENT_FOR, TEMPORARY_FOR, LearnedRefusals
from smtpforward.reply import Reply
from tests.support import address, next_hop

HOP = next_hop()
SENDER = address(b"a@example.net")
TO = address(b"b@example.com")
NO = Reply(550, (b"5.1.1 no such user",))
LATER = Reply(450, (b"4.2.1 busy",))


class LearnedRefusalsTests(SynchronousTestCase):
    """Bounded and expiring."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.learned = LearnedRefusals(self.clock, limit=3)

    def test_recall(self) -> None:
        """What was learned is known for that next hop, sender and recipient alone."""
        self.assertIsNone(self.learned.recall(HOP, SENDER, TO))
        self.learned.learn(HOP, SENDER, TO, NO)
        self.assertIs(self.learned.recall(HOP, SENDER, TO), NO)
        self.assertIs(self.learned.recall(next_hop(), SENDER, TO), NO)
        self.assertIsNone(self.learned.recall(next_hop(port=2525), SENDER, TO))
        self.assertIsNone(self.learned.recall(HOP, address(b"z@example.net"), TO))
        self.assertIsNone(self.learned.recall(HOP, SENDER, address(b"z@example.com")))

    def test_one_mailbox(self) -> None:
        """However a mailbox is quoted, and in whatever case its domain, it is the same one."""
        self.learned.learn(HOP, address(b'"a"@EXAMPLE.net'), address(b'"\\b"@example.com'), NO)
        self.assertIs(self.learned.recall(HOP, SENDER, TO), NO)
        self.assertIsNone(self.learned.recall(HOP, SENDER, address(b"B@example.com")))

    def test_expiry(self) -> None:
        """A permanent refusal is forgotten after six hours, a temporary one after two."""
        for reply, seconds in ((NO, PERMANENT_FOR), (LATER, TEMPORARY_FOR)):
            self.learned.learn(HOP, SENDER, TO, reply)
            self.clock.advance(seconds - 1)
            self.assertIs(self.learned.recall(HOP, SENDER, TO), reply)
            self.clock.advance(1)
            self.assertIsNone(self.learned.recall(HOP, SENDER, TO))
            self.assertEqual(len(self.learned), 0)

    def test_learned_anew(self) -> None:
        """A newer refusal takes the place of the older one, and its time begins again."""
        self.learned.learn(HOP, SENDER, TO, NO)
        self.clock.advance(TEMPORARY_FOR)
        self.learned.learn(HOP, SENDER, TO, LATER)
        self.assertEqual(len(self.learned), 1)
        self.clock.advance(TEMPORARY_FOR - 1)
        self.assertIs(self.learned.recall(HOP, SENDER, TO), LATER)

    def test_bounded(self) -> None:
        """Beyond the bound the oldest entry goes; one that was learned anew is young."""
        names = [address(b"%c@example.com" % n) for n in b"wxyz"]
        for to in (*names[:3], names[0], names[3]):
            self.learned.learn(HOP, SENDER, to, NO)
        known = [self.learned.recall(HOP, SENDER, to) is not None for to in names]
        self.assertEqual((known, len(self.learned)), ([True, False, True, True], 3))
