"""What can be wrong with the store of the outbound queue, foreseen."""

from smtpforward.job import Event


class StoreError(Exception):
    """A store did not do what it was asked; nothing of it was done.

    :ivar event: what it means for a sender.
    """

    event = Event.QUEUE_UNAVAILABLE


class StoreUnavailableError(StoreError):
    """It cannot be reached, or is locked; later it may."""


class StoreFullError(StoreError):
    """There is no space."""

    event = Event.QUEUE_FULL


class StoreDamagedError(StoreError):
    """What it holds is not what it wrote: an operator has to look."""


class StoreTooNewError(StoreError):
    """A later version of the gateway has made it."""


class StoreInUseError(StoreError):
    """Another gateway delivers from it, and only one may."""
