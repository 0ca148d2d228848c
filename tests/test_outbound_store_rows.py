"""Values to rows and back: without loss, and found by what an operator types."""

import json

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.envelope import NULL_SENDER, Address, Envelope, Recipient
from smtpforward.outbound.entry import Message, RecipientResult, State
from smtpforward.outbound.store import rows
from smtpforward.outbound.store.rows import Standing

BYTES = st.binary(min_size=1, max_size=12)
DOMAINS = st.sampled_from(
    (b"", b"example.com", b"EXAMPLE.org", b"[192.0.2.1]", "bücher.example".encode())
)
ADDRESSES = st.builds(Address, BYTES, DOMAINS)
PARAMETERS = st.dictionaries(BYTES, st.binary(max_size=12), max_size=3)
ENVELOPES = st.builds(
    Envelope,
    st.one_of(st.just(NULL_SENDER), ADDRESSES),
    st.lists(st.builds(Recipient, ADDRESSES, PARAMETERS), max_size=4).map(tuple),
    PARAMETERS,
)
STATES = st.sampled_from(tuple(State))
FEW = examples(max_examples=200, deadline=None)


class RoundTripTests(SynchronousTestCase):
    """What was put into columns comes out of them."""

    @given(ENVELOPES, st.floats(0, 1e10), st.integers(0, 10**9))
    @FEW
    def test_messages(self, envelope: Envelope, received: float, size: int) -> None:
        """Any bytes in addresses and parameters; the columns are text that any database takes."""
        message = Message("1F", received, envelope, size, "mx[192.0.2.1]")
        row = rows.message_row(message)
        self.assertEqual(rows.message_of(row), message)
        self.assertTrue(row[3].isascii())
        row[2].encode("utf-8")

    @given(st.lists(st.tuples(st.integers(0, 9), STATES, st.text(max_size=5)), max_size=9))
    @FEW
    def test_results(self, said: list[tuple[int, State, str]]) -> None:
        """The results of an attempt come back in the recipients' order."""
        results = {index: RecipientResult(index, state, text) for index, state, text in said}
        attempt = rows.attempt_of(2.5, 0.25, "mx:25", rows.results_text(results.values()))
        self.assertEqual(attempt.results, tuple(results[index] for index in sorted(results)))
        self.assertEqual((attempt.at, attempt.took, attempt.peer), (2.5, 0.25, "mx:25"))

    def test_results_that_are_equal_stand_together(self) -> None:
        """A thousand recipients with the same reply do not repeat it."""
        text = rows.results_text(RecipientResult(i, State.QUEUED, "451 later") for i in range(3))
        self.assertEqual(json.loads(text), [[[0, 1, 2], "queued", "451 later"]])

    def test_last_reply(self) -> None:
        """Why those that stay do, as text that any database takes."""
        said = [
            RecipientResult(0, State.DELIVERED, "250 ok"),
            RecipientResult(1, State.QUEUED, "451 l\0ater \udcff"),
        ]
        self.assertEqual(rows.last_reply(said), "451 l?ater ?")
        self.assertEqual(rows.last_reply(said[:1]), "250 ok")
        self.assertEqual(rows.last_reply([]), "")

    def test_deferral(self) -> None:
        """A deferral's results are made from the column around which they are put."""
        before, after = rows.deferral_text('no "route"')
        column = Standing((1, 3)).columns[0]
        attempt = rows.attempt_of(1.0, 0.0, "", before + column + after)
        expected = tuple(RecipientResult(i, State.QUEUED, 'no "route"') for i in (1, 3))
        self.assertEqual(attempt.results, expected)


class StandingTests(SynchronousTestCase):
    """What becomes of an entry's recipients."""

    def test_columns(self) -> None:
        """It comes back from its columns."""
        standing = Standing((0, 5), (1,), (2, 3))
        self.assertEqual(Standing.of(*standing.columns), standing)

    def test_after_an_attempt(self) -> None:
        """Each goes where its result says; those without a result stay."""
        after = Standing((0, 1, 2, 3), (4,)).after(
            [
                RecipientResult(3, State.DELIVERED, "250"),
                RecipientResult(1, State.FAILED, "550"),
                RecipientResult(0, State.QUEUED, "451"),
            ]
        )
        self.assertEqual(after, Standing((0, 2), (3, 4), (1,)))

    def test_what_is_final_stays(self) -> None:
        """A late result makes nothing of a delivered recipient, nor of one of another entry."""
        late = [RecipientResult(i, State.FAILED, "550") for i in (0, 1, 9)]
        self.assertEqual(
            Standing((0,), (1,)).after([*late, RecipientResult(1, State.QUEUED, "451")]),
            Standing((), (1,), (0,)),
        )

    def test_given_up(self) -> None:
        """Those that were still queued have failed."""
        self.assertEqual(Standing((2,), (0,), (1,)).given_up(), Standing((), (0,), (1, 2)))

    def test_states(self) -> None:
        """In the order of the envelope; who is in no entry needs nothing more."""
        states = rows.states_of(5, [Standing((0,), (1,)), Standing((), (), (3,))])
        done = State.DELIVERED
        self.assertEqual(states, (State.QUEUED, done, done, State.FAILED, done))


class SearchTests(SynchronousTestCase):
    """What an operator types finds the address."""

    def found(self, wanted: str, *addresses: Address) -> bool:
        """Whether ``wanted`` finds one of ``addresses``."""
        return rows.sought(wanted) in rows.searchable(addresses)

    def test_addresses(self) -> None:
        """Whole addresses, in any case, however quoted, in any form of the domain."""
        two = Address(b"a", b"example.net"), Address(b"User", b"Example.COM")
        self.assertTrue(self.found("uSER@example.com", *two))
        self.assertTrue(self.found("a@EXAMPLE.net", *two))
        self.assertFalse(self.found("ser@example.com", *two))
        self.assertFalse(self.found("user@example.co", *two))
        self.assertTrue(self.found("user@example.com", Address(b'"user"', b"example.com")))
        self.assertTrue(self.found('"User"@example.com', *two))
        self.assertTrue(
            self.found("ü@bücher.example", Address("Ü".encode(), b"xn--bcher-kva.example"))
        )

    def test_domains(self) -> None:
        """A domain, and no other that ends like it."""
        there = Address(b"user", b"Example.com")
        self.assertTrue(self.found("@EXAMPLE.com", there))
        self.assertFalse(self.found("@ample.com", there))
        self.assertFalse(self.found("@com", there))
        self.assertFalse(self.found("@example.com", Address(b"user", b"example.com.au")))
        self.assertTrue(self.found("@BÜCHER.example", Address(b"a", b"xn--bcher-kva.example")))
        self.assertTrue(self.found("@[192.0.2.1]", Address(b"a", b"[192.0.2.1]")))

    def test_without_a_domain(self) -> None:
        """The null sender and the postmaster."""
        self.assertTrue(self.found("<>", NULL_SENDER))
        self.assertFalse(self.found("<>", Address(b"a", b"example.com")))
        self.assertTrue(self.found("Postmaster", Address(b"postmaster")))
        self.assertFalse(self.found("@", Address(b"a", b"example.com")))

    def test_what_is_no_domain(self) -> None:
        """It finds nothing, and raises nothing."""
        for wanted in ("a@-ü-", "a@[x]", "\udcff@example.com", "@[::1]"):
            self.assertFalse(self.found(wanted, Address(b"a", b"example.com")), wanted)

    def test_what_is_no_utf_8(self) -> None:
        """An address whose bytes are no text is found by its domain."""
        self.assertTrue(self.found("@example.com", Address(b"\xff", b"example.com")))
