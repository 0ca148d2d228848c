"""The metrics: what each is called, and how the figures become Prometheus's families.

``docs/metrics.md`` says the same in a table. The families are made when somebody asks.
"""

from collections.abc import Iterator
from itertools import accumulate

from attrs import frozen
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from smtpforward.counts import BOUNDS
from smtpforward.figures import Figures

PREFIX = "smtpforward_"
PHASES = "phase_seconds"
PHASES_HELP = "How long transactions and hand-overs spend in each phase."


@frozen
class Kind:
    """One metric but for its numbers. A counter's name ends in ``_total``."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def is_counter(self) -> bool:
        """Whether it only grows."""
        return self.name.endswith("_total")


KINDS = (
    Kind("connections_total", "Clients that were let in."),
    Kind("connections_refused_total", "Clients that were turned away.", ("rule",)),
    Kind("open_connections", "Clients that are there."),
    Kind("transactions_total", "Messages by what their senders heard.", ("backend", "status")),
    Kind("received_bytes_total", "Bytes of the messages that were taken."),
    Kind("refusals_total", "Refusals by the gateway's own rules.", ("rule",)),
    Kind("tls_handshakes_total", "TLS handshakes with clients.", ("version",)),
    Kind("failed_logins_total", "Logins of clients that failed."),
    Kind("message_memory_bytes", "Bytes of messages that are held in memory."),
    Kind("backend_down", "1 where a backend is known to be out of reach, else 0.", ("backend",)),
    Kind("pool_connections", "Connections to backends.", ("backend", "state")),
    Kind("pool_waiting", "Messages that wait for a connection to a backend.", ("backend",)),
    Kind("deliveries_total", "Recipients of attempts of the queue.", ("backend", "status")),
    Kind("queue_entries", "Entries of the outbound queue.", ("state",)),
    Kind("queue_messages", "Messages in the outbound queue."),
    Kind("queue_bytes", "Bytes of the messages in the outbound queue."),
    Kind("queue_oldest_age_seconds", "Age of the oldest message in the outbound queue."),
    Kind("reloads_total", "Readings of the settings while running.", ("result",)),
    Kind("certificate_expiry_timestamp_seconds", "When a certificate expires.", ("certificate",)),
    Kind("workers", "Worker processes that are there."),
    Kind("ready", "1 where /readyz says so, else 0."),
)


class Families(Collector):
    """The families of one set of figures."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        values = self._figures.values
        for kind in KINDS:
            family_of = CounterMetricFamily if kind.is_counter else GaugeMetricFamily
            name = PREFIX + kind.name.removesuffix("_total")
            family = family_of(name, kind.help, labels=kind.labels)
            for (known, labels), value in values.items():
                if known == kind.name:
                    family.add_metric(labels, value)
            if family.samples:
                yield family
        if self._figures.times:
            yield self._phases()

    def _phases(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(PREFIX + PHASES, PHASES_HELP, labels=["phase"])
        ends = [*map(str, BOUNDS), "+Inf"]
        for phase, (buckets, total) in self._figures.times.items():
            counted = [float(count) for count in accumulate(buckets)]
            family.add_metric([phase], list(zip(ends, counted, strict=True)), total)
        return family


def exposed(figures: Figures, accept: str, *others: Collector) -> tuple[bytes, str]:
    """The figures in the form that ``accept`` asks for, and its content type.

    :param others: what else is to stand there.
    """
    registry = CollectorRegistry()
    for collector in (Families(figures), *others):
        registry.register(collector)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
