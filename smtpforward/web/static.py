"""The page's files, by name: nothing else of the package is to be had.

They are read when they are asked for: they are small and few. A file of a kind that is not known
here is not shown.
"""

from importlib.resources import files
from pathlib import PurePath

from twisted.web.http import NOT_FOUND
from twisted.web.resource import Resource
from twisted.web.server import Request

PACKAGE = "smtpforward.web"
FOLDER = "static"
INDEX = "index.html"
TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}


class File(Resource):
    """One file."""

    isLeaf = True

    def __init__(self, name: str) -> None:
        Resource.__init__(self)
        self._name = name

    def render_GET(self, request: Request) -> bytes:
        """See Resource; HEAD is the same."""
        request.setHeader(b"cache-control", b"no-cache")
        try:
            body = (files(PACKAGE) / FOLDER / self._name).read_bytes()
        except FileNotFoundError:
            request.setResponseCode(NOT_FOUND)
            request.setHeader(b"content-type", b"text/plain")
            return b"this file is not installed\n"
        request.setHeader(b"content-type", TYPES[PurePath(self._name).suffix])
        return body


def names() -> list[str]:
    """Those of the files, the page itself left out."""
    there = [one.name for one in (files(PACKAGE) / FOLDER).iterdir()]
    return sorted(name for name in there if name != INDEX and PurePath(name).suffix in TYPES)


def folder() -> Resource:
    """What stands under ``/static/``."""
    made = Resource()
    for name in names():
        made.putChild(name.encode("ascii"), File(name))
    return made
