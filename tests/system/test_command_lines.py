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
from tests.system.programs import Done, command_line, run, run_here
from tests.system.town import Stand, Town, standing

COMMANDS = {
    "ca": "init serve requests confirm issue list fingerprint",
    "bank": (
        "init request fetch fingerprint serve open-account deposit withdraw accounts transfers statement evidence "
        "audit status"
    ),
    "customer": ("init register request fetch fingerprint send balance statement outbox resume evidence verify status"),
    "keyring": "list show fingerprint packets",
}
EVERY = [(program, command) for program, names in COMMANDS.items() for command in names.split()]

# Program, option or argument that is bad, a word of the complaint, and the command; in braces what the stand has.
BAD = """
ca       --name             name          init --home {new} --passphrase-file {secret} --name "a\\nb"
ca       --listen           address       init --home {new} --passphrase-file {secret} --name CA --listen nowhere
ca       --passphrase-file  passphrase    init --home {new} --passphrase-file {nothing} --name CA
ca       --home             ca            init --home {ca} --passphrase-file {secret} --name CA
ca       --home             nowhere       requests --home {nowhere}
ca       --take             document      requests --home {ca} --take {text}
ca       request            request       confirm --home {ca} ffffffff --called-back 1 --words x
ca       --words            --words       confirm --home {ca} ffff --words a --hex b
ca       --hex              --hex         confirm --home {ca} ffff --hex a --words b
ca       --caller-code      --caller-code confirm --home {ca} ffff --caller-code a --called-back b --words x
ca       --called-back      --called-back confirm --home {ca} ffff --called-back a --caller-code b --words x
ca       --notice           --notice      confirm --home {ca} ffff --notice {nowhere} --words x --called-back 1
ca       --home             nowhere       confirm --home {nowhere} ffff --words x --called-back 1
ca       request            request       issue --home {ca} zzzz --passphrase-file {secret}
ca       --days             --days        issue --home {ca} ffff --days 0 --passphrase-file {secret}
ca       --days             --days        issue --home {ca} ffff --days many --passphrase-file {secret}
ca       --passphrase-file  nowhere       issue --home {ca} {confirmed} --passphrase-file {nowhere}
ca       --home             nowhere       issue --home {nowhere} ffff --passphrase-file {secret}
ca       --listen           address       serve --home {ca} --listen 127.0.0.1
ca       --log-file         log           serve --home {ca} --listen 127.0.0.1:0 --log-file {nowhere}/log
ca       --home             nowhere       serve --home {nowhere}
ca       --home             nowhere       list --home {nowhere}
ca       --home             nowhere       fingerprint --home {nowhere}
bank     --name             name          init --home {new} --currency EUR --authority-fingerprint {hex} --name ""
bank     --name             character     init --home {new} --currency EUR --authority-fingerprint {hex} --name "a<b"
bank     --currency         currency      init --home {new} --name B --authority-fingerprint {hex} --currency EURO
bank     --currency         QQQ           init --home {new} --name B --authority-fingerprint {hex} --currency QQQ
bank     --authority        address       {bankinit} --authority x
bank     --listen           address       {bankinit} --listen x:y
bank     --public-address   address       {bankinit} --public-address :1
bank     --minimum-stage    minimum-stage {bankinit} --minimum-stage none
bank     --authority-fingerprint word     init --home {new} --name B --currency EUR --authority-fingerprint "zz zz"
bank     --home             already       init --home {bank} --name B --currency EUR --authority-fingerprint {hex}
bank     --home             --home        request --home {nowhere}
bank     --out              out           request --home {bank} --out {nowhere}/out
bank     --home             --home        fetch --home {nowhere}
bank     --home             --home        fingerprint --home {nowhere}
bank     --home             --home        serve --home {nowhere}
bank     --listen           address       serve --home {idle} --listen nowhere
bank     --log-file         log           serve --home {idle} --listen 127.0.0.1:0 --log-file {nowhere}/log
bank     --number           number        open-account --home {bank} --name A --number 12a
bank     --number           number        open-account --home {bank} --name A --number 1001
bank     --name             name          open-account --home {bank} --number 77 --name "a<b"
bank     --letter           letter        open-account --home {bank} --number 77 --name A --letter {letter}
bank     --letter           nowhere       open-account --home {bank} --number 77 --name A --letter {nowhere}/x
bank     --notice-file      letter        open-account --home {bank} --number 77 --name A --notice-file {letter}
bank     --home             --home        open-account --home {nowhere} --number 77 --name A
bank     --to               AC03          deposit --home {bank} --amount 1.00 --to 9999
bank     --to               creditor      deposit --home {bank} --amount 1.00 --to x
bank     --amount           amount        deposit --home {bank} --to 1001 --amount 1e3
bank     --amount           amount        deposit --home {bank} --to 1001 --amount 0
bank     --description      description   deposit --home {bank} --to 1001 --amount 1 --description {long}
bank     --id               identifier    deposit --home {bank} --to 1001 --amount 1 --id "a b"
bank     --home             --home        deposit --home {nowhere} --to 1001 --amount 1
bank     --from             9999          withdraw --home {bank} --amount 1.00 --from 9999
bank     --amount           amount        withdraw --home {bank} --from 1001 --amount -1
bank     --description      description   withdraw --home {bank} --from 1001 --amount 1 --description "a\\x01b"
bank     --id               identifier    withdraw --home {bank} --from 1001 --amount 1 --id {long}
bank     --home             --home        withdraw --home {nowhere} --from 1001 --amount 1
bank     number             9999          accounts --home {bank} 9999
bank     --status           --status      accounts --home {bank} 1001 --status shut
bank     --status           account       accounts --home {bank} --status blocked
bank     --floor            --floor       accounts --home {bank} 1001 --floor cellar
bank     --home             --home        accounts --home {nowhere}
bank     --account          9999          transfers --home {bank} --account 9999
bank     --after            --after       transfers --home {bank} --after x
bank     --lines            --lines       transfers --home {bank} --lines 0
bank     --home             --home        transfers --home {nowhere}
bank     number             9999          statement --home {bank} 9999
bank     --after            --after       statement --home {bank} 1001 --after -1
bank     --lines            --lines       statement --home {bank} 1001 --lines x
bank     --home             --home        statement --home {nowhere} 1001
bank     identifier         nothing       evidence --home {bank} nothing --debtor 1001 --out {new}
bank     --debtor           9999          evidence --home {bank} nothing --debtor 9999 --out {new}
bank     --out              --out         evidence --home {bank} nothing --debtor 1001 --out {bank}
bank     --home             --home        evidence --home {nowhere} x --debtor 1001 --out {new}
bank     --since            --since       audit --home {bank} --since -1
bank     --home             --home        audit --home {nowhere}
bank     --home             --home        status --home {nowhere}
customer --letter           letter        init --home {new} --no-passphrase --letter {nowhere}
customer --letter           line          init --home {new} --no-passphrase --letter {text}
customer --passphrase-file  passphrase    init --home {new} --letter {letter} --passphrase-file {nothing}
customer --home             --home        init --home {bob} --no-passphrase --letter {letter}
customer --number           number        init --home {new} --no-passphrase {typed} --number 12a
customer --name             name          init --home {new} --no-passphrase {typed} --name ""
customer --currency         currency      init --home {new} --no-passphrase {typed} --currency euro
customer --bank             bank.name     init --home {new} --no-passphrase {typed} --bank ""
customer --bank-address     bank.address  init --home {new} --no-passphrase {typed} --bank-address x
customer --bank-fingerprint word          init --home {new} --no-passphrase {typed} --bank-fingerprint "adult adult"
customer --authority        authority.address init --home {new} --no-passphrase {typed} --authority y:z
customer --authority-fingerprint finger   init --home {new} --no-passphrase {typed} --authority-fingerprint ABCD
customer --letter           letter        register --home {alice} --letter {nowhere}
customer --home             --home        register --home {nowhere} --letter {letter}
customer --out              out           request --home {alice} --out {nowhere}/out
customer --passphrase-file  passphrase    request --home {alice} --passphrase-file {nothing}
customer --home             --home        request --home {nowhere}
customer --in               text          fetch --home {alice} --in {text}
customer --in               read          fetch --home {alice} --in {nowhere}
customer --home             --home        fetch --home {nowhere}
customer --home             --home        fingerprint --home {nowhere}
customer --home             --home        status --home {alice}/customer.toml
customer --to               --to          send --home {alice} --amount 1 --to 12a
customer --amount           --amount      send --home {alice} --to 1002 --amount 1,00
customer --amount           --amount      send --home {alice} --to 1002 --amount NaN
customer --currency         --currency    send --home {alice} --to 1002 --amount 1 --currency QQQ
customer --description      description   send --home {alice} --to 1002 --amount 1 --description {long}
customer --stage            --stage       send --home {alice} --to 1002 --amount 1 --stage none
customer --id               --id          send --home {alice} --to 1002 --amount 1 --id "a b"
customer --letter           --letter      send --home {fresh} --to 1002 --amount 1 --stage password
customer --letter           1002          send --home {fresh} --to 1002 --amount 1 --stage password --letter {bobs}
customer --passphrase-file  passphrase    send --home {alice} --to 1002 --amount 1 --passphrase-file {nowhere}
customer --home             --home        send --home {nowhere} --to 1002 --amount 1
customer --home             --home        outbox --home {nowhere}
customer --letter           letter        resume --home {pending} --letter {nowhere}
customer --passphrase-file  passphrase    resume --home {alice} --passphrase-file {nowhere}
customer --home             --home        resume --home {nowhere}
customer --stage            --stage       balance --home {alice} --stage none
customer --letter           letter        balance --home {fresh} --stage password --letter {text}
customer --passphrase-file  passphrase    balance --home {alice} --passphrase-file {nothing}
customer --home             --home        balance --home {nowhere}
customer --after            --after       statement --home {alice} --after x
customer --stage            --stage       statement --home {alice} --stage none
customer --letter           letter        statement --home {fresh} --stage password --letter {nowhere}
customer --passphrase-file  passphrase    statement --home {alice} --passphrase-file {nothing}
customer --home             --home        statement --home {nowhere}
customer identifier         nothing       evidence --home {alice} nothing --out {new}
customer --out              --out         evidence --home {alice} nothing
customer --stage            --stage       evidence --home {alice} nothing --out {new} --stage none
customer --letter           nothing       evidence --home {alice} nothing --out {new} --letter {nowhere}
customer --passphrase-file  passphrase    evidence --home {alice} x --out {new} --passphrase-file {nowhere}
customer --home             --home        evidence --home {nowhere} x --out {new}
customer identifier         nothing       verify --home {alice} nothing
customer --head             signature     verify --home {alice} --head {text}
customer --head             read          verify --home {alice} --head {nowhere}
customer --save-head        head          verify --home {alice} --save-head {nowhere}/head
customer --follow-log       log           verify --home {alice} --follow-log nothing
customer --stage            --stage       verify --home {alice} --head {text} --stage none
customer --letter           letter        verify --home {fresh} --head {text} --stage password --letter {nowhere}
customer --passphrase-file  passphrase    verify --home {alice} --passphrase-file {nowhere}
customer --home             --home        verify --home {nowhere}
keyring  --home             nowhere       list --home {nowhere}
keyring  key                nobody        show --home {alice} nobody
keyring  --home             nowhere       show --home {nowhere} x
keyring  key                nobody        fingerprint --home {alice} nobody
keyring  --home             nowhere       fingerprint --home {nowhere} x
keyring  file               file          packets {nowhere}
keyring  file               packet        packets {text}
"""
BANK_INIT = "init --home {new} --name B --currency EUR --authority-fingerprint {hex}"
# Words that may be anything, and files that are made wherever they are named.
ANYTHING_GOES = {("ca", "confirm", "--operator"), ("ca", "confirm", "--home"), ("ca", "issue", "--out")}
JSON = """
ca       requests
ca       list
ca       fingerprint
bank     fingerprint
bank     deposit --to 1002 --amount 1.00
bank     withdraw --from 1002 --amount 1.00
bank     accounts
bank     accounts 1001
bank     transfers
bank     statement 1001
bank     audit
bank     status
customer request
customer fetch
customer fingerprint
customer status
customer send --to 1002 --amount 1.00
customer outbox
customer resume
customer balance
customer statement
customer verify
customer evidence sent --out {new}
keyring  list
keyring  show {key}
keyring  fingerprint {key}
keyring  packets {certificate}
"""


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
    if not line.startswith(("request", "evidence")):
        plain = call(program, f"{line}{at}", places, tmp_path / "new")
        assert plain.code == 0, plain.said
        assert not plain.out.lstrip().startswith(("{", "["))
