"""The readers of foreign bytes are fuzzed for as long as one likes, and the last line says what came of it.

`make fuzz` runs this over all targets; ``python -m tests.fuzz --target NAME FILE`` runs one target on one input.
"""

import sys
from pathlib import Path

import click
from tabulate import tabulate

from tests.fuzz import properties, runner, targets
from tests.fuzz.runner import Outcome

LOG_LINES = 40


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=3600,
    envvar="SECONDS",
    show_default=True,
    help="For all targets.",
)
@click.option("--target", "names", multiple=True, help="Only this target; may be given several times.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Targets at once.")
@click.option("--keep", is_flag=True, help="Afterwards add what was found to the corpus in the repository.")
@click.option("--list", "only_list", is_flag=True, help="List the targets and the inputs that are kept for each.")
@click.argument("inputs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(
    seconds: float, names: tuple[str, ...], jobs: int, keep: bool, only_list: bool, inputs: tuple[Path, ...]
) -> None:
    """Fuzz the readers of foreign bytes with atheris; with INPUTS, run the targets on those files instead."""
    known = targets.targets()
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"There is no target {unknown[0]!a}; --list shows those that there are.")
    chosen = names or tuple(known)
    if only_list:
        click.echo(tabulate([(name, len(targets.corpus(name))) for name in chosen], headers=("target", "kept inputs")))
    elif inputs or not runner.can_fuzz():
        _replay(chosen, inputs)
    else:
        _fuzz(chosen, seconds, jobs, keep)


def _replay(chosen: tuple[str, ...], inputs: tuple[Path, ...]) -> None:
    """Run targets on files; a defect shows as the traceback that it is."""
    if not inputs:
        click.echo("atheris is not installed here, so the kept inputs are run and nothing new is sought.")
    count = 0
    for name in chosen:
        for path in inputs or targets.corpus(name):
            properties.run(targets.targets()[name], path.read_bytes())
            count += 1
    click.echo(f"fuzz: {len(chosen)} targets, {count} kept inputs, 0 crashes")


def _fuzz(chosen: tuple[str, ...], seconds: float, jobs: int, keep: bool) -> None:
    click.echo(f"Fuzzing {len(chosen)} targets for {seconds:g} seconds in all …")
    outcomes = list(runner.fuzz(chosen, seconds=seconds, jobs=jobs, progress=_show))
    rows = [(each.target, each.executions, _rate(each), each.new, each.crash or "-") for each in outcomes]
    click.echo("\n" + tabulate(rows, headers=("target", "executions", "a second", "new inputs", "crash"), intfmt=","))
    crashed = [each for each in outcomes if each.crash]
    for each in crashed:
        click.echo("\n".join(("", f"--- {each.target}", *each.log.splitlines()[-LOG_LINES:])))
        click.echo(f"Again: .venv/bin/python -m tests.fuzz --target {each.target} {each.crash}")
    if keep:
        click.echo(f"{sum(map(runner.keep, chosen))} inputs added to the corpus")
    click.echo(
        f"\nfuzz: {len(outcomes)} targets, {sum(each.executions for each in outcomes):,} executions, "
        f"{sum(each.new for each in outcomes):,} new inputs, {len(crashed)} crashes"
    )
    sys.exit(1 if crashed else 0)


def _show(outcome: Outcome) -> None:
    click.echo(
        f"  {outcome.target:<24}{outcome.executions:>12,} executions{outcome.new:>6} new"
        + (f"  CRASH {outcome.crash}" if outcome.crash else "")
    )


def _rate(outcome: Outcome) -> int:
    return round(outcome.executions / max(outcome.seconds, 1))
