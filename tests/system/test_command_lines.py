"""Every command explains itself, refuses bad input in a sentence that names it, and gives scripts JSON."""

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from protocol.stages import Stage
from tests.conftest import stop_agents_below
from tests.system.command_tables import ANYTHING_GOES, BAD, BANK_INIT, COMMANDS, EVERY, JSON
from tests.system.programs import Done, command_line, run, run_here
from tests.system.town import Stand, Town, standing


def rows(table: str, columns: int) -> list[tuple[str, ...]]:
    return [tuple(line.split(maxsplit=columns - 1)) for line in table.strip().splitlines()]


@pytest.fixture(scope="module")
def shared(town: Town, make_short_tmp: Callable[[], Path]) -> Iterator[Stand]:
    """One bank for all of these tests: they change nothing that the others look at."""
    with standing(town, make_short_tmp()) as stand:
        yield stand


@pytest.fixture(scope="module")
def places(shared: Stand) -> dict[str, str]:
    """What the tables name in braces."""
    folder = shared.folder
    text, secret, nothing, nowhere = (folder / name for name in ("text", "secret", "nothing", "nowhere"))
    text.write_text("neither a letter nor a key\n")
    text.chmod(0o644)
    for file, said in ((secret, "a passphrase\n"), (nothing, "\n")):
        file.touch(mode=0o600)
        file.write_text(said)
    people = {name: shared.person(name) for name in ("alice", "bob")}
    people["alice"].send_here("--id", "sent")
    pending = shared.person("alice", alias="pending")
    with pending.opened() as home:
        order = people["alice"].opened()
        kept = order.store.find("sent")
        order.store.close()
        assert kept is not None
        home.store.put(type(kept)("waits", Stage.PASSWORD, type(kept.state)("sending"), kept.content, kept.content))
    fresh, carol = shared.person("alice", alias="fresh"), shared.person("carol")
    confirmed = carol.here("request", "--json").json()["request"]
    words = " ".join(carol.here("fingerprint", "--json").json()["words"])
    caller = ("--caller-code", shared.town.letter("carol").caller_code, "--operator", "operator")
    run("ca", "confirm", confirmed, "--home", shared.town.ca, *caller, "--words", words)
    shutil.copytree(shared.home, folder / "idle", ignore=shutil.ignore_patterns("S.*"))
    shared.bank("backup", "--out", folder / "backup")
    hexadecimal = "AB" * 20
    typed = {
        "--number": "1",
        "--name": "A",
        "--currency": "EUR",
        "--bank": "B",
        "--bank-address": "127.0.0.1:1",
        "--bank-fingerprint": hexadecimal,
        "--authority": "127.0.0.1:2",
        "--authority-fingerprint": hexadecimal,
    }
    return {
        "ca": str(shared.town.ca),
        "bank": str(shared.home),
        "alice": str(people["alice"].home),
        "bob": str(people["bob"].home),
        "pending": str(pending.home),
        "fresh": str(fresh.home),
        "confirmed": confirmed,
        "idle": str(folder / "idle"),
        "letter": str(people["alice"].letter),
        "bobs": str(people["bob"].letter),
        "certificate": str(shared.home / "certificate.pgp"),
        "key": people["alice"].here("fingerprint", "--json").json()["fingerprint"],
        "backup": str(folder / "backup"),
        "text": str(text),
        "secret": str(secret),
        "nothing": str(nothing),
        "nowhere": str(nowhere),
        "long": "x" * 300,
        "hex": hexadecimal,
        "typed": shlex.join(part for pair in typed.items() for part in pair),
    }


def call(program: str, line: str, places: dict[str, str], new: Path) -> Done:
    """One line of a table; `ca` as a process, since it is its main() that turns errors into sentences."""
    words = shlex.split(line.replace("{bankinit}", BANK_INIT).format(**places, new=new))
    words = [word.encode().decode("unicode_escape") if "\\" in word else word for word in words]
    return (run if program == "ca" else run_here)(program, *words, code=None)


@pytest.mark.parametrize(("program", "command"), EVERY)
def test_every_command_explains_itself_with_an_example(program: str, command: str) -> None:
    done = run_here(program, command, "--help")
    assert f"{program} {command}" in done.out
    assert re.search(rf"Example:\s+.*\b{program} {command}\b", done.out, re.DOTALL), done.out


@pytest.mark.parametrize("program", COMMANDS)
def test_the_programs_are_installed_and_list_all_their_commands(program: str) -> None:
    done = run(program, "--help")
    for command in COMMANDS[program].split():
        assert re.search(rf"^  {command} ", done.out, re.MULTILINE), command
    wrong = run(program, "nonsense", code=2)
    assert "nonsense" in wrong.err


@pytest.mark.parametrize(("program", "option", "word", "line"), rows(BAD, 4), ids=lambda part: part[:60])
def test_bad_input_is_refused_in_a_sentence_that_names_it(
    places: dict[str, str], tmp_path: Path, program: str, option: str, word: str, line: str
) -> None:
    try:
        done = call(program, line, places, tmp_path / "new")
    finally:
        stop_agents_below(tmp_path)
    if line.startswith("resume"):  # which goes on with the next transfer, and says of this one why not
        assert done.code in (2, 3), done.said
    else:
        assert done.code in (1, 2), done.said
        assert re.search(r"^(Error|Refused)(:|,) .", done.err, re.MULTILINE), done.err
    assert word.casefold() in done.err.casefold(), done.err
    assert not (tmp_path / "new" / "gnupg" / "private-keys-v1.d").exists(), "a key was made before the input was judged"


def test_every_option_of_every_command_is_tried_with_bad_input() -> None:
    tried = {
        (program, line.replace("{bankinit}", BANK_INIT).split()[0], option) for program, option, _, line in rows(BAD, 4)
    }
    missing = []
    for program, command in EVERY:
        found = command_line(program).get_command(click.Context(command_line(program)), command)
        assert found is not None
        for each in found.params:
            name = each.opts[0] if isinstance(each, click.Option) else each.name
            if not getattr(each, "is_flag", False) and name and (program, command, name) not in tried | ANYTHING_GOES:
                missing.append(f"{program} {command} {name}")
    assert not missing


@pytest.mark.parametrize(("program", "line"), rows(JSON, 2))
def test_json_is_json(places: dict[str, str], tmp_path: Path, program: str, line: str) -> None:
    home = {"ca": places["ca"], "bank": places["bank"], "customer": places["alice"], "keyring": places["alice"]}[
        program
    ]
    at = "" if line.startswith("packets") else f" --home {home}"
    done = call(program, f"{line}{at} --json", places, tmp_path / "new")
    assert done.code == 0, done.said
    assert isinstance(json.loads(done.out), dict | list)
    # And without it, words for people.
    if not line.startswith(("request", "evidence", "backup")):
        plain = call(program, f"{line}{at}", places, tmp_path / "new")
        assert plain.code == 0, plain.said
        assert not plain.out.lstrip().startswith(("{", "["))
