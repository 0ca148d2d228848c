"""Settings on their way to a worker."""

import pickletools

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.settings import Route, Routes, Settings
from smtpforward.job import NextHop, Server
from smtpforward.workers.packing import PART, packed, unpacked


def settings(number: int) -> Settings:
    """With so many sections: two of three share what they hold."""
    shared = NextHop((Server("backend.example", 25, "gateway.example.com"),))
    sections = {}
    for each in range(number):
        host = NextHop((Server(f"host{each}.example", 25, "gateway.example.com"),))
        hop = host if each % 3 == 0 else shared
        sections[f"d{each}.example"] = Route(
            f"D{each}.example", hop, queue="outbound", own_host=True
        )
    routes = Routes(Route("", shared), sections, check_recipient=True)
    return Settings(me="gateway.example.com", routes=routes)


class PackingTests(SynchronousTestCase):
    """There and back."""

    def test_equal(self) -> None:
        """What comes out is what went in, however many sections there are."""
        for number in (0, 1, PART, 2 * PART + 7):
            sent = settings(number)
            got = unpacked(packed(sent))
            self.assertEqual(got, sent)
            self.assertEqual(list(got.routes.sections), list(sent.routes.sections))
            self.assertEqual(
                [route.section for route in got.routes.sections.values()],
                [route.section for route in sent.routes.sections.values()],
            )

    def test_shared(self) -> None:
        """What many sections have in common is there once, with the default route's as well."""
        got = unpacked(packed(settings(2 * PART)))
        hops = {id(route.next_hop) for route in got.routes.all()}
        self.assertEqual(len(hops), len({route.next_hop for route in got.routes.all()}))

    def test_small_parts(self) -> None:
        """No part of many sections is much larger than others: each is one uninterrupted call."""
        data = packed(settings(10 * PART))
        sizes = []
        while data:
            end = next(at for op, _, at in pickletools.genops(data) if op.name == "STOP") or 0
            sizes.append(end + 1)
            data = data[end + 1 :]
        self.assertEqual(len(sizes), 12)
        self.assertLess(max(sizes), 2 * sum(sizes) / 10)
