"""What one connection may do wrong."""

from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.config.settings import Limits
from smtpforward.limits import ErrorBudget
from smtpforward.reply import Reply

WRONG = answers.MAIL_FIRST


class ErrorBudgetTests(SynchronousTestCase):
    """Counting wrong commands."""

    def setUp(self) -> None:
        self.budget = ErrorBudget(Limits(errors=4, unrecognized_commands=2))

    def test_errors(self) -> None:
        """The last error that is allowed brings 421."""
        spent = [self.budget.spend(WRONG) for _ in range(4)]
        self.assertEqual(spent, [None, None, None, answers.TOO_MANY_ERRORS])

    def test_unrecognized(self) -> None:
        """Commands that are not recognized have a bound of their own, and bring 521."""
        spent = [self.budget.spend(answers.UNRECOGNIZED) for _ in range(2)]
        self.assertEqual(spent, [None, answers.TOO_MANY_UNRECOGNIZED])

    def test_unrecognized_count_as_errors(self) -> None:
        """One that is not recognized is an error too."""
        for reply in (answers.UNRECOGNIZED, WRONG, WRONG):
            self.assertIsNone(self.budget.spend(reply))
        self.assertIs(self.budget.spend(WRONG), answers.TOO_MANY_ERRORS)

    def test_only_5yz_counts(self) -> None:
        """A deferred recipient or an accepted one is no error of the client's."""
        for _ in range(10):
            for reply in (answers.OK, answers.OTHER_ROUTE, answers.LOCAL_FAULT, Reply(354)):
                self.assertIsNone(self.budget.spend(reply))

    def test_restore(self) -> None:
        """A message that was taken wipes the slate, of both counts."""
        for _ in range(5):
            for reply in (answers.UNRECOGNIZED, WRONG, WRONG):
                self.assertIsNone(self.budget.spend(reply))
            self.budget.restore()
