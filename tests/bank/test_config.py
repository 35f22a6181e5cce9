"""bank.toml: what is wrong with it is said with file, key and remedy, and it is written whole or not at all."""

from pathlib import Path

import msgspec
import pytest

from bank import config
from bank.config import BankConfig, Limits
from bank.errors import ConfigurationError
from protocol.stages import Stage

GOOD = BankConfig(name="Example Bank", currency="EUR", fingerprint="A" * 40, authority_fingerprint="B" * 40)


def test_what_is_saved_is_loaded_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    changed = msgspec.structs.replace(
        GOOD,
        name='The "Bank" of \\ Ä',
        public_address="[::1]:7",
        minimum_stage=Stage.SIGNED,
        limits=Limits(queue=7, idle_seconds=1.5),
    )
    for each in (GOOD, changed):
        config.save(tmp_path, each)
        assert config.load(tmp_path) == each
    assert (tmp_path / "bank.toml").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["bank.toml"]


def test_the_weakest_default_is_none() -> None:
    assert GOOD.minimum_stage is Stage.CERTIFIED


def test_limits_are_written_out_with_their_defaults_as_comments(tmp_path: Path) -> None:
    config.save(tmp_path, msgspec.structs.replace(GOOD, limits=Limits(queue=7)))
    lines = (tmp_path / "bank.toml").read_text().splitlines()
    assert "queue = 7" in lines
    assert "# batch = 256" in lines
    assert sum("=" in line for line in lines) >= len(Limits.__struct_fields__)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('colour = "red"', "the key 'colour' is not known; correct its spelling or remove the line."),
        ('"\\u001b[31m" = 1', r"the key '\x1b[31m' is not known"),
        ("[limits]\nqeue = 1", "the key 'limits.qeue' is not known"),
        ("[limits]\nqueue = 0", "limits.queue is not as it must be (Expected int >= 1); correct that value."),
        ("[limits]\nqueue = true", "limits.queue is not as it must be (Expected int, got bool)"),
        ("[limits]\nidle_seconds = nan", "limits.idle_seconds is not as it must be"),
        ("[limits]\nsend_seconds = inf", "limits.send_seconds is not as it must be"),
        ("[limits]\nframe_bytes = 2097152", "limits.frame_bytes is not as it must be"),
        ("limits = 3", "limits is not as it must be"),
        ('minimum_stage = "none"', "minimum_stage must be one of password, session, signed, certified"),
        ("public_address = 7401", "public_address is not as it must be (Expected str | null, got int)"),
        ('public_address = "7401"', "public_address: '7401' is not an address"),
        ("listen = 7401", 'listen must be written in quotes, such as listen = "…".'),
        ('domain = "A.example"', "domain must be a domain in lower case, such as bank.example; correct"),
        ('listen = "127.0.0.1"', "listen: '127.0.0.1' is not an address"),
        ('authority_address = "x:99999"', "authority_address: 'x:99999' is not an address"),
        ("fingerprint", "is not valid TOML"),
        ('listen = "a:1"\nlisten = "a:1"', "is not valid TOML"),
    ],
)
def test_a_fault_is_named_with_file_key_and_remedy(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "bank.toml"
    config.save(tmp_path, GOOD)
    good = path.read_text().partition("[limits]")[0]
    kept = [each for each in good.splitlines() if each.split(" =")[0] != line.split(" =")[0]]
    path.write_text("\n".join(kept) + f"\n{line}\n")
    with pytest.raises(ConfigurationError) as caught:
        config.load(tmp_path)
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert said in sentence
    assert sentence.endswith(".")
    assert sentence.isprintable()
    path.write_text(good)
    assert config.load(tmp_path) == GOOD


@pytest.mark.parametrize("key", ["name", "currency", "fingerprint", "authority_fingerprint"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    config.save(tmp_path, GOOD)
    path = tmp_path / "bank.toml"
    path.write_text("\n".join(each for each in path.read_text().splitlines() if not each.startswith(f"{key} =")))
    with pytest.raises(ConfigurationError, match=f"the key {key} is missing; add it"):
        config.load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [{"currency": "XXQ"}, {"name": "two\nlines"}, {"fingerprint": "A" * 39}, {"fingerprint": "A" * 40 + "\n"}],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path, changes: dict[str, str]) -> None:
    config.save(tmp_path, GOOD)
    with pytest.raises(ConfigurationError, match=next(iter(changes))):
        config.save(tmp_path, msgspec.structs.replace(GOOD, **changes))
    assert config.load(tmp_path) == GOOD


def test_no_bank_and_an_unreadable_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="bank init"):
        config.load(tmp_path)
    (tmp_path / "bank.toml").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        config.load(tmp_path)
    (tmp_path / "bank.toml").rmdir()
    (tmp_path / "bank.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigurationError, match="cannot be read"):
        config.load(tmp_path)
