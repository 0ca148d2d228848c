"""Pure accounts of what one connection may still do wrong."""

from smtpforward import answers
from smtpforward.config.settings import Limits
from smtpforward.reply import Reply


class ErrorBudget:
    """Counts a connection's wrong commands; a message that was taken wipes the slate."""

    __slots__ = ("_errors", "_limits", "_unrecognized")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._errors = 0
        self._unrecognized = 0

    def spend(self, reply: Reply) -> Reply | None:
        """Note ``reply`` to a command; the reply that ends the connection when it was one too many.

        Only 5yz counts: a recipient deferred to the next transaction is no error of the client's.
        """
        if not reply.permanent:
            return None
        self._errors += 1
        if reply is answers.UNRECOGNIZED:
            self._unrecognized += 1
            if self._unrecognized >= self._limits.unrecognized_commands:
                return answers.TOO_MANY_UNRECOGNIZED
        return answers.TOO_MANY_ERRORS if self._errors >= self._limits.errors else None

    def restore(self) -> None:
        """A message was accepted."""
        self._errors = self._unrecognized = 0
