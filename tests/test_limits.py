"""What one connection may do wrong, and how many there may be."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import answers
from smtpforward.config.networks import Networks, network
from smtpforward.config.settings import Limits
from smtpforward.limits import (
    MAX_ORIGINS,
    STRIKES_FOR,
    ConnectionCount,
    ErrorBudget,
    Strikes,
    connections_within,
    origin_of,
)
from smtpforward.reply import Reply
from tests.support import settings

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


ONE, OTHER = "192.0.2.1", "192.0.2.2"
RELAYS = Networks([network("198.51.100.0/24")])


class ConnectionCountTests(SynchronousTestCase):
    """Who may connect."""

    def refusals(self, count: ConnectionCount, *ips: str, **limits: int) -> list[Reply | None]:
        """What clients hear that come one after the other and stay."""
        given = settings(limits=Limits(**limits), relays=RELAYS)
        heard = []
        for ip in ips:
            refusal = count.refuse(given, ip)
            heard.append(refusal)
            if refusal is None:
                count.add(ip)
        return heard

    def setUp(self) -> None:
        """Time stands still."""
        self.clock = Clock()

    def test_errors(self) -> None:
        """An address with too many errors is turned away until fewer are that recent."""
        count = ConnectionCount(self.clock)
        given = settings(limits=Limits(errors_per_ip=2), relays=RELAYS)
        count.strikes.note(ONE, 2)
        self.assertIsNone(count.refuse(given, ONE))
        self.clock.advance(100)
        count.strikes.note(ONE, 2)
        self.assertIs(count.refuse(given, ONE), answers.TOO_MANY_ERRORS_FROM_HERE)
        self.assertIsNone(count.refuse(given, OTHER))
        self.clock.advance(STRIKES_FOR - 100 - 1)
        self.assertIs(count.refuse(given, ONE), answers.TOO_MANY_ERRORS_FROM_HERE)
        self.clock.advance(1)
        self.assertIsNone(count.refuse(given, ONE))

    def test_errors_of_who_relays(self) -> None:
        """Who relays is not turned away for them."""
        count = ConnectionCount(self.clock)
        given = settings(limits=Limits(errors_per_ip=1), relays=RELAYS)
        for ip in ("198.51.100.1", "local"):
            count.strikes.note(ip, 1)
            self.assertIsNone(count.refuse(given, ip))

    def test_strikes_are_bounded(self) -> None:
        """So many addresses are kept and no more: the oldest goes; a new bound takes over."""
        strikes = Strikes(self.clock, 10.0)
        for number in range(MAX_ORIGINS + 1):
            strikes.note(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 3)
        self.assertEqual(len(strikes._times), MAX_ORIGINS)
        self.assertFalse(strikes.reached("10.0.0.0", 1))
        for _ in range(9):
            strikes.note(ONE, 3)
        self.assertEqual(len(strikes._times[ONE]), 3)
        strikes.note(ONE, 5)
        self.assertEqual((strikes.reached(ONE, 4), strikes.reached(ONE, 5)), (True, False))

    def test_no_bound(self) -> None:
        """Without a bound nobody is refused."""
        self.assertEqual(self.refusals(ConnectionCount(self.clock), *[ONE] * 1000), [None] * 1000)

    def test_in_all(self) -> None:
        """The bound for all holds for everyone, who relays included; who goes makes room."""
        count = ConnectionCount(self.clock)
        full = answers.TOO_MANY_CONNECTIONS
        self.assertEqual(
            self.refusals(count, ONE, OTHER, ONE, "198.51.100.1", connections=2),
            [None, None, full, full],
        )
        count.remove(OTHER)
        self.assertEqual(self.refusals(count, OTHER, ONE, connections=2), [None, full])
        self.assertEqual(self.refusals(count, ONE, ONE, connections=3), [None, full])

    def test_by_default(self) -> None:
        """What the process can serve is the bound where the settings give none."""
        full = answers.TOO_MANY_CONNECTIONS
        self.assertEqual(self.refusals(ConnectionCount(self.clock, 1), ONE, ONE), [None, full])
        self.assertEqual(
            self.refusals(ConnectionCount(self.clock, 1), ONE, ONE, connections=2), [None, None]
        )

    def test_from_one_address(self) -> None:
        """Each address has a bound of its own; who relays and who has no address has none."""
        count = ConnectionCount(self.clock)
        many = answers.TOO_MANY_FROM_HERE
        self.assertEqual(
            self.refusals(count, ONE, ONE, ONE, OTHER, connections_per_ip=2),
            [None, None, many, None],
        )
        for ip in ("198.51.100.1", "local"):
            self.assertEqual(self.refusals(count, ip, ip, ip, connections_per_ip=2), [None] * 3)
        count.remove(ONE)
        self.assertEqual(self.refusals(count, ONE, ONE, connections_per_ip=2), [None, many])

    def test_networks_of_ipv6(self) -> None:
        """What one customer has is counted as one."""
        count = ConnectionCount(self.clock)
        many = answers.TOO_MANY_FROM_HERE
        ips = ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "fe80::1%eth0")
        self.assertEqual(self.refusals(count, *ips, connections_per_ip=1), [None, many, None, None])
        self.assertEqual(origin_of("2001:db8::2"), "2001:db8::/64")

    def test_nothing_is_left(self) -> None:
        """Of who has gone nothing is kept."""
        count = ConnectionCount(self.clock)
        ips = (ONE, ONE, OTHER, "2001:db8::1", "local")
        self.refusals(count, *ips)
        self.assertEqual(count.total, 5)
        for ip in ips:
            count.remove(ip)
        self.assertEqual((count.total, count._by_origin), (0, {}))

    def test_within_descriptors(self) -> None:
        """Each client may need two."""
        self.assertEqual(connections_within(1024), 496)
        self.assertEqual(connections_within(16), 1)
