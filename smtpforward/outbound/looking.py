"""What an operator looks at in a store: all entries, or one message with its content."""

from collections.abc import AsyncIterator, Sequence

from smtpforward.content import Content
from smtpforward.interfaces import IQueueStore
from smtpforward.outbound.entry import Filter, Listed, Shown

PAGE = 500


async def pages(store: IQueueStore, which: Filter) -> AsyncIterator[Sequence[Listed]]:
    """All entries of ``which``, the oldest message first, in pages that are not empty."""
    after: Listed | None = None
    while True:
        page: Sequence[Listed] = await store.listed(which, PAGE, after)
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = page[-1]


async def found(store: IQueueStore, id: str) -> tuple[Shown, Content] | None:
    """A message and its content, which the caller closes; ``None`` when it is not there."""
    message: Shown | None = await store.shown(id)
    if message is None:
        return None
    try:
        content: Content = await store.content(id)
    except KeyError:
        return None  # It has just left the queue.
    return message, content
