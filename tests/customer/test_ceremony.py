"""Each step towards the first transfer can be repeated or interrupted; what is not pinned or proven is not believed."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ca.errors import CaError, UnprovenKey
from ca.messages import (
    Certified,
    RequestState,
    State,
)
from ca.requests import open_request
from customer import bank_view, ceremony, config, conversing, progress, sending
from customer.errors import CustomerError, NotProven, NotReady, RefusedByBank
from customer.home import CustomerHome, World
from customer.sending import Wish
from customer.store import Fact
from keyring import keys
from keyring.errors import KeyringError
from keyring.home import Home
from protocol.codes import Reason
from protocol.messages import Answer, Registered
from protocol.stages import Stage
from protocol.transport import Address
from tests.customer.authority import DAY
from tests.customer.desk import DeskStandIn, newcomer
from tests.customer.scene import Stand, Template, mail, serial_of, standing

RENT = Wish(creditor="1002", amount="25.00", description="rent", currency="EUR")


class Killed(BaseException):
    """The program ends here."""


def secret_files(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in (folder / "gnupg" / "private-keys-v1.d").iterdir()}


def test_an_interrupted_init_goes_on_and_never_makes_a_second_key(
    bank_template: Template, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, folder = ceremony.from_letter(bank_template.letters["alice"]), short_tmp / "alice"
    made: list[str] = []
    honest_key, honest_write = keys.new_customer_key, config.write

    def key(*arguments: object, **options: object) -> str:
        made.append(honest_key(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    def killed(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(keys, "new_customer_key", killed)
    with pytest.raises(Killed):
        ceremony.init(folder, wanted, None, ask=False)
    assert config.read(folder).customer.key == ""
    monkeypatch.setattr(keys, "new_customer_key", key)
    monkeypatch.setattr(config, "write", killed)
    with pytest.raises(Killed):
        ceremony.init(folder, wanted, None, ask=False)
    monkeypatch.setattr(config, "write", honest_write)
    done = ceremony.init(folder, wanted, None, ask=False)
    assert [done.customer.key] == made
    before = secret_files(folder)
    assert ceremony.init(folder, wanted, None, ask=False) == done
    assert secret_files(folder) == before
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("bank", "fingerprint", "A" * 40), ("authority", "fingerprint", "B" * 40), ("customer", "number", "1003")],
)
def test_init_does_not_touch_another_customers_home(
    bank_template: Template, short_tmp: Path, section: str, name: str, value: str
) -> None:
    folder = short_tmp / "alice"
    wanted = ceremony.from_letter(bank_template.letters["alice"])
    folder.mkdir()
    config.write(folder, wanted)
    before = (folder / config.FILE_NAME).read_bytes()
    changed = msgspec.structs.replace(getattr(wanted, section), **{name: value})
    with pytest.raises(CustomerError, match=f"{section}.{name}"):
        ceremony.init(folder, msgspec.structs.replace(wanted, **{section: changed}), None, ask=False)
    assert (folder / config.FILE_NAME).read_bytes() == before
    assert not (folder / "gnupg").exists()


def test_init_leaves_a_folder_with_other_things_as_it_is(bank_template: Template, short_tmp: Path) -> None:
    folder = short_tmp / "project"
    folder.mkdir(mode=0o755)
    (folder / "work.txt").write_text("work")
    folder.chmod(0o755)
    with pytest.raises(CustomerError, match=r"work\.txt.*--home"):
        ceremony.init(folder, ceremony.from_letter(bank_template.letters["alice"]), None, ask=False)
    assert [each.name for each in folder.iterdir()] == ["work.txt"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_gpg_that_an_interrupted_init_left_at_work_makes_no_second_key(
    bank_template: Template, short_tmp: Path
) -> None:
    wanted, folder = ceremony.from_letter(bank_template.letters["alice"]), short_tmp / "alice"
    home = Home.create(folder / "gnupg", own_keys=True)
    parameters = "%no-protection\nKey-Type: RSA\nKey-Length: 4096\nName-Real: Alice (1001)\n%commit\n"
    command = ["gpg", "--homedir", str(home.path), "--batch", "--gen-key"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as left:
        assert left.stdin
        left.stdin.write(parameters.encode())
        left.stdin.close()
        while left.poll() is None and not (home.path / "S.gpg-agent").exists():
            time.sleep(0.01)
        made = ceremony.init(folder, wanted, None, ask=False)
        left.wait(30)
    assert [each.fingerprint for each in keys.secret_keys(home)] == [made.customer.key]
    assert ceremony.init(folder, wanted, None, ask=False) == made


def test_registering_twice_changes_nothing(stand: Stand) -> None:
    with stand.customer(certified=False) as home:
        ceremony.register(home)
        ceremony.register(home)
        assert home.store.floor() is Stage.SESSION
        assert sending.send(home, Wish("1002", "25.00", "rent", "EUR", Stage.SIGNED)).posted


@pytest.mark.parametrize("whose", ["alice", "nobody"])
def test_a_bank_key_that_is_not_the_pinned_one_is_not_taken(stand: Stand, whose: str) -> None:
    def lie(request: msgspec.Struct, answer: Answer) -> Answer:
        if isinstance(answer, Registered):
            key = stand.template.certified["alice"].key if whose == "alice" else b"junk"
            return msgspec.structs.replace(answer, bank_key=key)
        return answer

    stand.faults.lie = lie
    with stand.customer(certified=False) as home:
        with pytest.raises(KeyringError):
            ceremony.register(home)
        assert home.store.fact(Fact.REGISTERED) is None
        with pytest.raises(NotReady, match="customer register"):
            conversing.view_for(home, Stage.SESSION)


def test_another_key_registered_in_our_name_is_noticed(stand: Stand) -> None:
    def lie(request: msgspec.Struct, answer: Answer) -> Answer:
        return msgspec.structs.replace(answer, fingerprint="A" * 40) if isinstance(answer, Registered) else answer

    stand.faults.lie = lie
    with stand.customer(certified=False) as home, pytest.raises(NotProven, match="telephone"):
        ceremony.register(home)


def test_a_bank_for_certified_keys_only_registers_nobody(bank_template: Template, short_tmp: Path) -> None:
    with standing(bank_template, short_tmp, Stage.CERTIFIED) as stand:
        with stand.customer(certified=False) as home, pytest.raises(RefusedByBank) as refused:
            ceremony.register(home)
        assert refused.value.refusal.reason is Reason.STAGE_TOO_LOW
        with stand.customer() as home:
            assert sending.send(home, RENT).posted


def test_the_way_to_the_certificate_with_its_states(
    bank_template: Template, short_tmp: Path, desk: tuple[DeskStandIn, Address]
) -> None:
    stand_in, address = desk
    now = [time.time()]
    with newcomer(bank_template, short_tmp / "alice", address, World(clock=lambda: now[0])) as home:
        assert progress.progress(home).next.command == "customer request"
        made = ceremony.request(home, None)
        assert made.digest == open_request(stand_in.submitted[0]).digest
        assert open_request(stand_in.submitted[0]).signing_request().fingerprint == home.key
        ceremony.request(home, short_tmp / "request.pgp")
        assert (short_tmp / "request.pgp").stat().st_size > 1000
        assert len(stand_in.submitted) == 1
        waiting = progress.progress(home).next
        assert (waiting.who, waiting.command) == ("you and the authority", "customer fetch")
        stand_in.own = State.WAITING
        assert ceremony.fetch(home, None) == ceremony.Fetched(None, State.WAITING)
        assert "telephone" in ceremony.explain_state(made.state.state)
        stand_in.own = bank_template.certified["alice"]
        fetched = ceremony.fetch(home, None)
        assert (fetched.state, fetched.before, fetched.crl_number) == (State.ISSUED, None, 1)
        ready = progress.progress(home)
        assert ready.next.command.startswith("customer send")
        assert all(step.done for step in ready.steps if step.name != "registered")
        assert ready.warnings == tuple(each for each in ready.warnings if "revocation certificate" in each)


def test_an_earlier_request_that_the_desk_goes_on_with_is_the_one_shown(
    bank_template: Template, short_tmp: Path, desk: tuple[DeskStandIn, Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in, address = desk
    with newcomer(bank_template, short_tmp / "alice", address) as home:
        first = ceremony.request(home, None)
        monkeypatch.setattr(stand_in, "answer", lambda question: first.state)
        monkeypatch.setattr(ceremony, "claimed_request", lambda message: open_request(stand_in.submitted[0]))
        assert ceremony.request(home, None).digest == first.digest
        monkeypatch.setattr(stand_in, "answer", lambda question: RequestState("f" * 16, State.WAITING))
        assert ceremony.request(home, None).digest == ""


Change = Callable[[DeskStandIn, Template], None]


def foreign_own(desk: DeskStandIn, template: Template) -> None:
    desk.own = template.certified["bob"]


def uncertified_own(desk: DeskStandIn, template: Template) -> None:
    home = Home.open(template.folder / "alice" / "gnupg")
    key = keys.export_minimal(home, keys.secret_keys(home)[0].fingerprint)
    desk.own = Certified(certificate=template.certified["alice"].certificate, key=key)


def foreign_certificate(desk: DeskStandIn, template: Template) -> None:
    made = template.certified
    desk.own = Certified(certificate=made["bob"].certificate, key=made["alice"].key)


def no_certificate(desk: DeskStandIn, template: Template) -> None:
    desk.own = Certified(certificate=b"", key=template.certified["alice"].key)


def foreign_authority(desk: DeskStandIn, template: Template) -> None:
    desk.authority = msgspec.structs.replace(desk.authority, key=template.certified["bob"].key)


def foreign_root(desk: DeskStandIn, template: Template) -> None:
    desk.authority = msgspec.structs.replace(desk.authority, root=template.certified["bob"].certificate)


def broken_list(desk: DeskStandIn, template: Template) -> None:
    desk.crl = desk.crl[:-1] + bytes([desk.crl[-1] ^ 1])


def late_list(desk: DeskStandIn, template: Template) -> None:
    desk.crl = template.authority.crl(2, at=int(time.time()) - 40 * DAY)


def list_with_own(desk: DeskStandIn, template: Template) -> None:
    desk.crl = template.authority.crl(2, serial_of(template.certified["alice"]))


def list_with_bank(desk: DeskStandIn, template: Template) -> None:
    desk.crl = template.authority.crl(2, serial_of(template.certified["bank"]))


def customer_as_bank(desk: DeskStandIn, template: Template) -> None:
    desk.bank = template.certified["bob"]


def uncertified_bank(desk: DeskStandIn, template: Template) -> None:
    home = Home.open(template.folder / "bank" / "gnupg")
    desk.bank = msgspec.structs.replace(desk.bank, key=keys.export_minimal(home, template.bank_fingerprint))


def customers_certificate_as_banks(desk: DeskStandIn, template: Template) -> None:
    desk.bank = msgspec.structs.replace(desk.bank, certificate=template.certified["bob"].certificate)


@pytest.mark.parametrize(
    "change",
    [
        *(foreign_own, uncertified_own, foreign_certificate, no_certificate, foreign_authority, foreign_root),
        *(broken_list, late_list, list_with_own, list_with_bank),
        *(customer_as_bank, uncertified_bank, customers_certificate_as_banks),
    ],
)
def test_trial_49_a_lying_desk_is_not_believed(
    bank_template: Template, short_tmp: Path, desk: tuple[DeskStandIn, Address], change: Change
) -> None:
    stand_in, address = desk
    change(stand_in, bank_template)
    with newcomer(bank_template, short_tmp / "alice", address) as home:
        with pytest.raises(CaError):
            ceremony.fetch(home, None)
        with pytest.raises(NotReady):
            conversing.view_for(home, Stage.CERTIFIED)
        assert not (home.folder / bank_view.FOLDER / bank_view.CERTIFIED).exists()


def test_what_came_by_mail_is_taken_like_that_from_the_desk(bank_template: Template, short_tmp: Path) -> None:
    made, file = bank_template.certified, short_tmp / "alice.certificates"
    with newcomer(bank_template, short_tmp / "alice", Address("127.0.0.1", 1)) as home:
        for wrong in (made["bob"], Certified(certificate=b"", key=made["alice"].key)):
            mail(bank_template, file, wrong)
            with pytest.raises(CaError):
                ceremony.fetch(home, file)
        mail(bank_template, file, made["alice"])
        assert ceremony.fetch(home, file).until is not None
        assert home.store.fact(Fact.CERTIFIED_KEY) == made["alice"].key
        assert home.store.fact(Fact.CERTIFICATE) == made["alice"].certificate
        assert conversing.view_for(home, Stage.CERTIFIED).certified
        file.write_bytes(b"-----BEGIN PGP PUBLIC KEY BLOCK-----")
        with pytest.raises(CaError, match="ca issue --out"):
            ceremony.fetch(home, file)


def test_the_banks_revocation_is_not_taken_for_ones_own(
    bank_template: Template, short_tmp: Path, desk: tuple[DeskStandIn, Address]
) -> None:
    """Else a customer with a good key would make a new one."""
    list_with_bank(desk[0], bank_template)
    with newcomer(bank_template, short_tmp / "alice", desk[1]) as home:
        with pytest.raises(
            UnprovenKey, match=r"Your own certificate is good .* about the bank's, and not yours: .*revoked"
        ):
            ceremony.fetch(home, None)
        assert ceremony.certified_until(home) is not None


def test_a_bank_whose_certificate_ended_is_not_spoken_to(stand: Stand) -> None:
    with stand.customer() as home:
        view = conversing.view_for(home, Stage.CERTIFIED)
        assert view.expires is not None
        late = CustomerHome(home.folder, home.config, home.store, World(clock=lambda: float(view.expires or 0)))
        with pytest.raises(NotReady, match="bank's certificate has ended"):
            conversing.view_for(late, Stage.CERTIFIED)
