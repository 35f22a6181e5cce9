"""The figures go out under names by the conventions of Prometheus, each with its help and unit.

Imported by the process that shows them alone: prometheus-client takes a tenth of a second.
"""

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from bank.errors import BankError
from bank.figures import FAILED, FIGURES, SEEN, Figure
from bank.health import Facts, Health

PREFIX: Final = "countersign_"
_NOT_SHOWN: Final = (SEEN, FAILED)


class BankCollector(Collector):
    """Reads the figures of all processes and the ledger's when it is asked."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        for figure in FIGURES:
            if figure not in _NOT_SHOWN:
                yield _family(figure, self._health.figures.sum(figure))
        yield _gauge("processes", "Processes that serve now.", self._health.working())
        try:
            facts = self._health.facts()
        except BankError:
            yield _gauge("ledger_readable", "Whether the ledger can be read now.", 0)
            return
        yield _gauge("ledger_readable", "Whether the ledger can be read now.", 1)
        yield from self._facts(facts)

    def _facts(self, facts: Facts) -> Iterator[Metric]:
        now = self._health.clock()
        yield _gauge("log_entries", "Entries of the log, which are all decisions ever made.", facts.entries)
        unsigned = max(0, facts.entries - facts.signed)
        yield _gauge("log_entries_unsigned", "Entries that no stored head of the log covers yet.", unsigned)
        yield _gauge("ledger_bytes", "Size of the ledger.", self._health.ledger.size_bytes())
        if facts.list_number is not None and facts.list_ends is not None:
            yield _gauge("revocation_list_number", "Number of the newest revocation list.", facts.list_number)
            seconds = facts.list_ends - now
            yield _gauge("revocation_list_remaining_seconds", "Until that list ends; negative once it has.", seconds)
        if facts.certificate_ends is not None:
            seconds = facts.certificate_ends - now
            yield _gauge("certificate_remaining_seconds", "Until the bank's own certificate ends.", seconds)


def exposition(health: Health, accept: str) -> tuple[bytes, str]:
    """All figures in the form that a request's Accept header asks for, and the name of that form."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BankCollector(health))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _family(figure: Figure, numbers: tuple[float, ...]) -> Metric:
    name, labels = PREFIX + figure.name, [figure.label] if figure.label else []
    match figure.kind:
        case "histogram":
            *classes, total = numbers
            bounds = [*(repr(bound) for bound in figure.bounds), "+Inf"]
            return HistogramMetricFamily(
                name, figure.help, buckets=list(zip(bounds, accumulate(classes), strict=True)), sum_value=total
            )
        case "counter":
            family: CounterMetricFamily | GaugeMetricFamily = CounterMetricFamily(name, figure.help, labels=labels)
        case _:
            family = GaugeMetricFamily(name, figure.help, labels=labels)
    for value, number in zip(figure.values, numbers, strict=True):
        family.add_metric([value] if labels else [], number)
    return family
