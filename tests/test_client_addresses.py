"""In which order the addresses of a name are tried, and how long one rests."""

from unittest import mock

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.client import addresses
from smtpforward.client.addresses import Rest, RestingAddresses, interleaved, ordered
from smtpforward.job import Server
from tests.clientsupport import log_lines

NAME = Server("mail.example", 25, "gateway.example")
OTHER = Server("other.example", 25, "gateway.example")
A, B, C = (IPv4Address("TCP", f"192.0.2.{number}", 25) for number in (1, 2, 3))
V, W = (IPv6Address("TCP", f"2001:db8::{number}", 25) for number in (1, 2))
ALL = (A, B, C, V, W)
REST = 60.0


class InterleavedTests(SynchronousTestCase):
    """Families in turn."""

    def test_order(self) -> None:
        """The resolver's first family first, each family in the resolver's order."""
        self.assertEqual(interleaved([A, B, C, V, W]), [A, V, B, W, C])
        self.assertEqual(interleaved([V, W, A]), [V, A, W])
        self.assertEqual(interleaved([V, A, B, C]), [V, A, B, C])
        self.assertEqual(interleaved([B, A]), [B, A])
        self.assertEqual(interleaved([]), [])


class OrderedTests(SynchronousTestCase):
    """The order of one connection."""

    def test_resting_last(self) -> None:
        """Behind all others, the one that has rested longest before the rest."""
        rests = {A.host: Rest(7.0, 67.0), V.host: Rest(5.0, 65.0)}
        self.assertEqual(ordered([V, A, B, W, C], rests, 64.9), [B, W, C, V, A])

    def test_over(self) -> None:
        """Of those whose rest is over one is first, the one that has rested longest."""
        rests = {A.host: Rest(7.0, 67.0), B.host: Rest(5.0, 65.0), C.host: Rest(9.0, 69.0)}
        self.assertEqual(ordered([A, B, C, V], rests, 65.0), [B, V, A, C])
        self.assertEqual(ordered([A, B, C, V], rests, 68.0), [B, V, A, C])

    def test_all_rest(self) -> None:
        """All are tried."""
        rests = {A.host: Rest(7.0, 67.0), B.host: Rest(5.0, 65.0)}
        self.assertEqual(ordered([A, B], rests, 10.0), [B, A])

    @given(
        st.permutations(ALL),
        st.dictionaries(
            st.sampled_from([address.host for address in ALL]),
            st.builds(Rest, st.floats(0, 9), st.floats(0, 9)),
        ),
    )
    @examples(max_examples=100, deadline=None)
    def test_each_once(
        self, given: list[IPv4Address | IPv6Address], rests: dict[str, Rest]
    ) -> None:
        """Whoever rests: each address once, and but for the first none that rests before others."""
        order = ordered(given, rests, 5.0)
        self.assertCountEqual(order, given)
        behind = [address.host in rests for address in order[1:]]
        self.assertEqual(behind, sorted(behind))


class RestingCase(SynchronousTestCase):
    """On a fake clock."""

    def setUp(self) -> None:
        """Nobody rests."""
        self.clock = Clock()
        self.addresses = RestingAddresses(self.clock)
        self.lines = log_lines(self)

    def order(self, *given: IPv4Address | IPv6Address, server: Server = NAME) -> list[object]:
        """In which order a connection of now tries them."""
        return list(self.addresses.order(server, given or (A, B, C), REST))

    def down(self, *failed: IPv4Address, server: Server = NAME) -> None:
        """They cannot be used, a second apart."""
        for address in failed:
            self.addresses.failed(server, address.host, REST, "refused")
            self.clock.advance(1)


class RestingTests(RestingCase):
    """Who rests."""

    def test_nobody(self) -> None:
        """Interleaved, as the resolver has them."""
        self.assertEqual(self.order(A, B, V), [A, V, B])

    def test_rests(self) -> None:
        """Last, for this server only; the log says so once."""
        self.down(A, A)
        self.assertEqual(self.order(), [B, C, A])
        self.assertEqual(self.order(server=OTHER), [A, B, C])
        self.assertEqual(self.addresses.resting, ["mail.example[192.0.2.1]:25"])
        self.assertEqual(self.lines, ["mail.example[192.0.2.1]:25 rests: refused"])

    def test_over(self) -> None:
        """One connection begins with it when its rest is over; for the others it rests on."""
        self.down(B)
        self.clock.advance(58.5)
        self.assertEqual(self.order(), [A, C, B])
        self.clock.advance(0.5)
        self.assertEqual(self.order(), [B, A, C])
        self.assertEqual(self.order(), [A, C, B])
        self.clock.advance(60)
        self.assertEqual(self.order(), [B, A, C])

    def test_back(self) -> None:
        """It is back when a connection is ready; the log says so once."""
        self.down(A)
        self.addresses.reached(NAME, A.host)
        self.addresses.reached(NAME, A.host)
        self.addresses.reached(OTHER, A.host)
        self.assertEqual(self.order(), [A, B, C])
        self.assertEqual(self.lines[1:], ["mail.example[192.0.2.1]:25 is back"])

    def test_fails_again(self) -> None:
        """It rests as long again, in silence."""
        self.down(A)
        self.clock.advance(59)
        self.assertEqual(self.order(), [A, B, C])
        self.down(A)
        self.clock.advance(58.5)
        self.assertEqual(self.order(), [B, C, A])
        self.assertEqual(len(self.lines), 1)


class BoundedTests(RestingCase):
    """Nothing is kept that is of no use any more."""

    def kept(self) -> int:
        """How many names something is known of."""
        return len(self.addresses._names)

    def test_back(self) -> None:
        """Nothing of a name whose addresses are all back."""
        self.down(A, B)
        self.addresses.reached(NAME, A.host)
        self.assertEqual(self.kept(), 1)
        self.addresses.reached(NAME, B.host)
        self.assertEqual(self.kept(), 0)

    def test_lost_by_the_name(self) -> None:
        """Nothing of an address that the name has no more."""
        self.down(A, B)
        self.assertEqual(self.order(B, C), [C, B])
        self.assertEqual(self.addresses.resting, ["mail.example[192.0.2.2]:25"])
        self.assertEqual(self.order(C, V), [C, V])
        self.assertEqual(self.kept(), 0)

    def test_one_address_left(self) -> None:
        """Nothing of a name that has one."""
        self.down(A)
        self.assertEqual(self.order(A), [A])
        self.assertEqual(self.kept(), 0)

    def test_not_resolved(self) -> None:
        """A resolver that knows nothing for once changes nothing."""
        self.down(A)
        self.assertEqual(list(self.addresses.order(NAME, (), REST)), [])
        self.assertEqual(self.order(), [B, C, A])

    def test_names(self) -> None:
        """So many names; the one that came first makes room."""
        with mock.patch.object(addresses, "MOST_NAMES", 2):
            for number in range(3):
                self.down(A, server=Server(f"n{number}.example", 25, "gateway.example"))
            self.down(B, server=Server("n2.example", 25, "gateway.example"))
        self.assertEqual(
            self.addresses.resting,
            [
                "n1.example[192.0.2.1]:25",
                "n2.example[192.0.2.1]:25",
                "n2.example[192.0.2.2]:25",
            ],
        )
