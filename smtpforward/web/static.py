"""The page's files, by name: nothing else of the package is to be had.

They are read when they are asked for: they are small and few.
"""

from importlib.resources import files

from twisted.web.http import NOT_FOUND
from twisted.web.resource import Resource
from twisted.web.server import Request

PACKAGE = "smtpforward.web"
FOLDER = "static"
INDEX = "index.html"
TYPES = {
    INDEX: b"text/html; charset=utf-8",
    "page.js": b"text/javascript; charset=utf-8",
    "page.css": b"text/css; charset=utf-8",
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
        request.setHeader(b"content-type", TYPES[self._name])
        return body


def folder() -> Resource:
    """What stands under ``/static/``."""
    made = Resource()
    for name in TYPES:
        if name != INDEX:
            made.putChild(name.encode("ascii"), File(name))
    return made
