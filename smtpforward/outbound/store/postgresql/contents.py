"""What messages hold, in parts of the database: written and read one at a time."""

from collections.abc import Iterable, Iterator

from smtpforward.content import Content
from smtpforward.outbound.errors import StoreDamagedError
from smtpforward.outbound.store.postgresql.connections import Work
from smtpforward.outbound.store.postgresql.faults import of_os_error

PART = 256 * 1024  # bytes

_INSERT = "INSERT INTO part (message, number, data) VALUES (%s, %s, %s)"
_FIRST = """
SELECT octets, data FROM message LEFT JOIN part ON message = id AND number = 0 WHERE id = %s
"""
_NEXT = "SELECT data FROM part WHERE message = %s AND number = %s"


def parts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in parts of ``PART``, the last of which is shorter and may be empty."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= PART:
            joined = b"".join(held)
            whole = size - size % PART
            yield from (joined[start : start + PART] for start in range(0, whole, PART))
            held = [joined[whole:]]
            size -= whole
    yield b"".join(held)


def put_all_but_last(work: Work, id_: str, content: Content) -> tuple[int, bytes]:
    """Put the content's parts there, in a transaction if they are several.

    :return: how many, and the last one, which is left to the caller.
    :raise StoreError: when the content cannot be read.
    """
    number = 0
    try:
        ahead = parts(content.wire())
        last = next(ahead)
        for part in ahead:
            work.do(_INSERT, (id_, number, last))
            number, last = number + 1, part
    except OSError as error:
        raise of_os_error(error) from error
    # One that nobody waits for may have been closed, and its file's number be another's.
    work.go_on()
    return number, last


def content(work: Work, id_: str, spool_dir: str, spool_after: int) -> Content:
    """The content of a message.

    :raise KeyError: when there is none.
    :raise StoreDamagedError: when not all of it is there.
    """
    rows = work.rows(_FIRST, (id_,))
    if not rows:
        raise KeyError(id_)
    octets, part = rows[0]
    made = Content(spool_dir, spool_after)
    work.on_discard(made.close)
    try:
        number = 0
        while part is not None:
            made.append(part)
            number += 1
            part = _next(work, id_, number) if made.size < octets else None
        if made.size != octets:
            _explain(work, id_, made.size, octets)
        return made
    except BaseException as error:
        made.close()
        if isinstance(error, OSError):
            raise of_os_error(error) from error
        raise


def _next(work: Work, id_: str, number: int) -> bytes | None:
    rows = work.rows(_NEXT, (id_, number))
    return rows[0][0] if rows else None


def _explain(work: Work, id_: str, found: int, octets: int) -> None:
    if not work.rows(_FIRST, (id_,)):
        raise KeyError(id_)  # it has gone meanwhile
    raise StoreDamagedError(f"message {id_}: {found} bytes in place of {octets}")
