"""The whole story in a throw-away folder, told by the commands that a person would type; it fails if any part does.

Run it with `make demo`, or `make demo KEEP=folder` to look around afterwards. Every command is a process of its own,
and is printed before its output. The last line says how many things were seen to be as they must.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

PROGRAMS = Path(sys.executable).parent
HERE = Path(__file__).parent
COMMAND_SECONDS = 60
START_SECONDS = 20
PASSPHRASE = "correct horse battery staple of the demonstration"  # noqa: S105 - protects a throw-away key


class DemoFailed(Exception):
    """Something did not happen that must happen."""


class Demo:
    """Runs commands in one folder and counts what was seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen = 0
        self._servers: list[tuple[subprocess.Popen[str], Path]] = []
        self._bold = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in ("GNUPGHOME",)},
            "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
            "CA_HOME": "ca",
            "BANK_HOME": "bank",
            "COLUMNS": "120",
        }

    def chapter(self, title: str) -> None:
        """A heading."""
        print(f"\n{self._bold[0]}== {title}{self._bold[1]}\n", flush=True)

    def say(self, text: str) -> None:
        """A remark."""
        print(f"# {text}", flush=True)

    def run(self, command: str, *, code: int = 0, sees: str = "", customer: str = "") -> str:
        """Run one command line, print it and its output; its exit code and what it must say are checked."""
        shown = f"CUSTOMER_HOME={customer} {command}" if customer else command
        print(f"{self._bold[0]}$ {shown}{self._bold[1]}", flush=True)
        return self._finished(self._call(command, customer), command, code, sees, show=True)

    def quietly(self, command: str, customer: str = "") -> str:
        """Run a command whose output only the story needs."""
        return self._finished(self._call(command, customer), command, 0, "", show=False)

    def start(self, command: str, sees: str) -> None:
        """Start a server, wait for the line with which it says that it listens."""
        print(f"{self._bold[0]}$ {command} &{self._bold[1]}", flush=True)
        name = command.split()[0]
        log = self.folder / f"{name}.log"
        output = self.folder / f"{name}.out"
        with output.open("w") as out:
            process = subprocess.Popen(
                [*self._argv(command), "--log-file", str(log)],
                cwd=self.folder,
                env=self._environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        self._servers.append((process, output))
        deadline = time.monotonic() + START_SECONDS
        while sees not in output.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed(f"{command} did not start:\n{output.read_text()}")
            time.sleep(0.02)
        print(output.read_text(), flush=True)
        self.seen += 1

    def check(self, holds: bool, what: str) -> None:
        """Something that must hold; it is said, and counted."""
        if not holds:
            raise DemoFailed(f"This does not hold: {what}")
        self.seen += 1
        print(f"✓ {what}\n", flush=True)

    def stop(self) -> None:
        """End the servers that were started, and every gpg-agent of the homes below the folder."""
        for process, _ in reversed(self._servers):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process, output in reversed(self._servers):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise DemoFailed(f"A server did not stop:\n{output.read_text()}") from None
        for ring in self.folder.rglob("private-keys-v1.d"):
            subprocess.run(["gpgconf", "--homedir", str(ring.parent), "--kill", "all"], check=False, timeout=20)

    def _call(self, command: str, customer: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._argv(command),
            cwd=self.folder,
            env={**self._environment, **({"CUSTOMER_HOME": customer} if customer else {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def _finished(
        self, done: subprocess.CompletedProcess[str], command: str, code: int, sees: str, *, show: bool
    ) -> str:
        if show:
            print(done.stdout, flush=True)
        if done.returncode != code:
            detail = "" if show else f"\n{done.stdout}"
            raise DemoFailed(f"{command} ended with exit code {done.returncode}, not {code}.{detail}")
        if sees not in done.stdout:
            raise DemoFailed(f"{command} did not say {sees!r}.")
        self.seen += 1
        return done.stdout

    @staticmethod
    def _argv(command: str) -> list[str]:
        first, *rest = shlex.split(command)
        if first == "python":
            # -P, since homes in this folder are called as the packages are.
            return [sys.executable, "-P", *rest]
        return [str(PROGRAMS / first), *rest]


def tell(demo: Demo) -> None:
    """The story."""
    authority_port, bank_port = free_ports(2)
    desk, bank = f"127.0.0.1:{authority_port}", f"127.0.0.1:{bank_port}"

    demo.chapter("A certificate authority, its key under a passphrase")
    passphrase = demo.folder / "ca.passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_text(PASSPHRASE + "\n")
    demo.run(f'ca init --name "Example Authority" --listen {desk} --passphrase-file ca.passphrase')
    authority = json.loads(demo.quietly("ca fingerprint --json"))
    demo.start("ca serve", "listens at")

    demo.chapter("A bank, which for this tour accepts every stage")
    words = " ".join(authority["words"])
    demo.run(
        f'bank init --name "Example Bank" --currency EUR --listen {bank} --authority {desk} --minimum-stage password '
        f'--authority-fingerprint "{words}"'
    )
    demo.run("bank request", sees="at the authority's desk")
    demo.say("The bank's operator reads this out on the telephone; the authority has called the number on file.")
    heard = " ".join(json.loads(demo.quietly("bank fingerprint --json"))["words"])
    demo.run(f'ca confirm 0000 --called-back "+00 000 0000" --operator operator --words "{heard}"')
    demo.run("ca issue 0000 --passphrase-file ca.passphrase")
    demo.run("bank fetch", sees="certificate is here")

    demo.chapter("Accounts, each with its letter")
    for number, name in (("1001", "Alice"), ("1002", "Bob")):
        demo.run(f"bank open-account --number {number} --name {name} --letter {name.lower()}.letter")
    print((demo.folder / "alice.letter").read_text(), flush=True)
    demo.run("bank deposit --to 1001 --amount 1000.00 --description salary", sees="Posted")
    demo.start("bank serve", "serves at")

    demo.chapter("Two customers make their keys and pin both fingerprints from the letter")
    for name in ("alice", "bob"):
        demo.run(f"customer init --letter {name}.letter --no-passphrase", customer=name)

    demo.chapter("Stage 1, password: each message under the password from the letter")
    send = 'customer send --to 1002 --amount {} --description "{}" --stage {}'
    demo.run(f"{send.format('10.00', 'first', 'password')} --letter alice.letter", customer="alice", sees="ACSC")
    demo.run("customer register --letter alice.letter", customer="alice")
    demo.say("The password has done its work: from now on the bank wants the registered key.")

    demo.chapter("Stage 2, session: a session key sent by PGP hybrid encryption")
    demo.run(send.format("20.00", "second", "session"), customer="alice", sees="ACSC")

    demo.chapter("Stage 3, signed: every order bears the customer's signature")
    demo.run(send.format("30.00", "third", "signed"), customer="alice", sees="ACSC")

    demo.chapter("Stage 4, certified: the authority vouches for both sides, in OpenPGP and in X.509")
    for number, name in (("1001", "alice"), ("1002", "bob")):
        demo.run("customer request", customer=name)
        demo.run("customer fingerprint", customer=name)
        demo.say(f"{name.capitalize()} telephones, says the caller's code from the letter and reads the words out.")
        code = letter_line(demo.folder / f"{name}.letter", "Caller's code")
        heard = " ".join(json.loads(demo.quietly("customer fingerprint --json", name))["words"])
        demo.run(f'ca confirm {number} --caller-code "{code}" --operator operator --words "{heard}"')
        demo.run(f"ca issue {number} --passphrase-file ca.passphrase")
        demo.run("customer fetch", customer=name)
    demo.run("ca list")
    demo.run("ca show 1001")
    demo.run('customer send --to 1002 --amount 25.00 --description "rent"', customer="alice", sees="ACSC")

    demo.chapter("A transfer refused: the balance is too low")
    demo.run('customer send --to 1002 --amount 5000.00 --description "yacht"', customer="alice", code=1, sees="AM04")

    demo.chapter("The same transfer sent twice is posted once")
    again = 'customer send --to 1001 --amount 7.50 --description "lunch" --id lunch-1'
    demo.run(again, customer="bob", sees="ACSC")
    demo.run(again, customer="bob", sees="ACSC")
    balance = json.loads(demo.quietly("customer balance --json", "bob"))["balance"]
    demo.check(balance == "77.50", "Bob has 10 + 20 + 30 + 25 - 7.50 = 77.50: lunch was paid once.")

    demo.chapter("An altered order is refused")
    demo.run("python altered_order.py --home bob --identifier lunch-1", sees="DS17")

    demo.chapter("What both customers see")
    for name in ("alice", "bob"):
        demo.run("customer statement", customer=name)
    demo.run("customer outbox", customer="alice")

    demo.chapter("Evidence of a transfer, checked with stock gpg and openssl in an empty home")
    outbox = json.loads(demo.quietly("customer outbox --json", "alice"))
    transfer = next(row for row in outbox if row["description"] == "rent")["transfer_identifier"]
    demo.run(f"customer evidence {transfer} --out evidence", customer="alice")
    files = {each.name for each in (demo.folder / "evidence").iterdir()}
    x509 = {"authority.crt", "bank.crt", "customer.crt", "revocations.crl"}
    demo.check(x509 <= files, "The evidence holds the X.509 root, both certificates and the revocation list.")
    verify(demo, authority["fingerprint"])

    demo.chapter("Renewal: the same key, new dates, no call")
    demo.run("ca renew 1001 --days 180 --passphrase-file ca.passphrase")
    demo.run("customer renew", customer="alice", sees="Renewed.")
    demo.run('customer send --to 1002 --amount 1.00 --description "renewed"', customer="alice", sees="ACSC")

    demo.chapter("Revocation: Alice's key is stolen, and the next order is stopped")
    demo.run("ca revoke 1001 --reason key-compromise --passphrase-file ca.passphrase", sees="Revoked.")
    demo.run("bank fetch")
    stolen = 'customer send --to 1002 --amount 1.00 --description "stolen"'
    demo.run(stolen, customer="alice", code=2, sees="DS0C")
    with tempfile.TemporaryDirectory() as scratch:
        still = follow(demo.folder / "evidence", authority["fingerprint"], scratch).returncode == 0
    demo.check(still, "What she ordered before stays proven: the evidence is judged at the time of the order.")

    demo.chapter("The audit")
    demo.run("bank audit", sees="All is in order.")


def verify(demo: Demo, authority: str) -> None:
    """Run the commands of the folder's own VERIFY.md, then again after the amount was changed: they must refuse."""
    from protocol.evidence import commands

    folder = demo.folder / "evidence"
    demo.say("The commands of VERIFY.md; the authority's fingerprint comes from outside the folder.")
    print("\n".join(commands((folder / "VERIFY.md").read_text())), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        done = follow(folder, authority, scratch)
        print(done.stdout, flush=True)
        accepted = done.returncode == 0 and done.stdout.count("ok:") >= 5
        demo.check(accepted, "Stock gpg and openssl accept the evidence.")
        altered = Path(scratch) / "altered"
        shutil.copytree(folder, altered)
        order = altered / "order.pgp"
        order.write_bytes(order.read_bytes().replace(b'"amount":"25.00"', b'"amount":"99.00"'))
        done = follow(altered, authority, scratch)
    demo.check(done.returncode != 0, "With the amount changed to 99.00, the same commands refuse it.")


def follow(folder: Path, authority: str, scratch: str) -> subprocess.CompletedProcess[str]:
    """What the commands in the folder's VERIFY.md say; ``authority`` is the fingerprint from outside of it.

    They work in a folder of their own below ``scratch``.
    """
    from protocol.evidence import commands

    script = "\n".join(commands((folder / "VERIFY.md").read_text()))
    return subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env={**os.environ, "AUTHORITY": authority, "TMPDIR": scratch},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def letter_line(letter: Path, label: str) -> str:
    """A line of a letter by its label."""
    for line in letter.read_text().splitlines():
        name, colon, value = line.strip().partition(":")
        if colon and name == label:
            return value.strip()
    raise DemoFailed(f"The letter has no line {label}.")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at on this machine now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def interrupted(*_: object) -> None:
    """Whoever ends the demonstration gets the same cleaning up as Ctrl-C."""
    raise KeyboardInterrupt


def main() -> int:
    """Tell the story in a throw-away folder, or in the one named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="a new folder that is left with homes, logs and the evidence")
    keep = parser.parse_args().keep
    if keep and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        print(f"{keep} is there already and not empty; name a new folder.", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup stays in force
            signal.signal(number, interrupted)
    started = time.monotonic()
    folder = keep.resolve() if keep else Path(tempfile.mkdtemp(prefix="countersign-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    demo = Demo(folder)
    print(f"The demonstration plays in {folder}.", flush=True)
    try:
        try:
            shutil.copy(HERE / "altered_order.py", folder)
            tell(demo)
        finally:
            demo.stop()
    except KeyboardInterrupt:
        print("\nThe demonstration was interrupted; what it had started is stopped.", file=sys.stderr)
        return 130
    except (DemoFailed, subprocess.TimeoutExpired) as failure:
        print(f"\nThe demonstration failed: {failure}", file=sys.stderr)
        return 1
    finally:
        if not keep:
            with suppress(OSError):
                shutil.rmtree(folder)
    print(f"\nAll {demo.seen} steps went as they must, in {time.monotonic() - started:.0f} s.")
    if keep:
        print(f"Homes, logs and evidence are in {folder}; try: keyring list --home {folder}/alice")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
