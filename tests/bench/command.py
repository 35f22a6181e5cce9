"""The benchmark's command line: measurements in turn, then the table, and the same in build/bench.json."""

import shutil
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from tests.bench import report
from tests.bench.bulk import bulk
from tests.bench.counts import counts
from tests.bench.crowds import burst, idle
from tests.bench.growth import growth
from tests.bench.latency import latency, send
from tests.bench.limits import limits
from tests.bench.rates import rates, usual
from tests.bench.run import Measurement, Progress, Run, Skipped, processors
from tests.bench.shared import postgresql
from tests.bench.stages import budget
from tests.bench.stand import standing
from tests.bench.town import BUILD, CUSTOMERS, town

MEASUREMENTS: dict[str, Measurement] = {
    "rates": rates,
    "usual": usual,
    "limits": limits,
    "latency": latency,
    "send": send,
    "bulk": bulk,
    "counts": counts,
    "budget": budget,
    "burst": burst,
    "idle": idle,
    "postgresql": postgresql,
    "growth": growth,
}
RESULTS = BUILD.parent / "bench.json"
ORDERS_EACH, ORDERS_EACH_QUICK = 700, 300


@click.command()
@click.option("--only", multiple=True, type=click.Choice(sorted(MEASUREMENTS)), help="Only this one; may be repeated.")
@click.option("--quick", is_flag=True, help="Everything once and short: shows that it works, and says little.")
@click.option("--processes", type=int, help="Of `bank serve`; as many as there are processors unless given.")
@click.option("--serve", default="", help="Further options for `bank serve`.")
@click.option("--profile", type=int, metavar="OUTSTANDING", help="Only load a bank for 30 seconds, to look at it.")
@click.option("--seconds", default=30.0, show_default=True, help="How long --profile goes on.")
def main(
    only: tuple[str, ...], quick: bool, processes: int | None, serve: str, profile: int | None, seconds: float
) -> None:
    """Measure what transfers cost, beside a plain database and beside the usual way."""
    begun, machine, say = datetime.now(UTC), report.machine(), Progress()
    each = ORDERS_EACH_QUICK if quick else ORDERS_EACH
    run = Run(town(CUSTOMERS, say), processes or processors(), tuple(serve.split()), quick, each, say)
    say(f"signing orders: {each} of each customer, where they are not there yet")
    run.sign(each)
    if profile is not None:
        with standing(run.town, *run.serving) as stand:
            say(f"the server is process {stand.pid}")
            run.closed_at(stand, profile, seconds)
        return
    failed: list[str] = []
    for name, measurement in MEASUREMENTS.items():
        if not only or name in only:
            try:
                run.results[name] = measurement(run)
            except Skipped as skipped:
                run.results[name] = {"skipped": str(skipped)}
                run.say(f"{name} is left out: {skipped}")
            except Exception as error:  # noqa: BLE001 - the other measurements are worth having; the exit code tells
                failed.append(name)
                run.results[name] = {"failed": f"{type(error).__name__}: {error}"}
                run.say(f"{name} FAILED: {type(error).__name__}: {error}")
    targets = report.judged(run.results)
    whole: dict[str, Any] = {
        "began": begun.isoformat(timespec="seconds"),
        "seconds": round(say.seconds),
        "quick": quick,
        "serve": list(run.serving),
        "machine": machine,
        "versions": report.versions(),
        "targets": targets,
        **run.results,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")
    click.echo(report.table(targets))
    click.echo(f"\nAll figures: {RESULTS.relative_to(BUILD.parents[1])}")
    if shutil.disk_usage(BUILD).free < 2**30:
        click.echo("Less than 1 GiB is free on this disk; commits may have been slow.")
    if failed:
        raise click.ClickException(f"These measurements failed, the lines above say why: {', '.join(failed)}.")
