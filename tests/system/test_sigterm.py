"""A server that is told to stop answers what it took, takes nothing more, and posts nothing that it does not answer."""

import threading
import time

from customer import conversing
from customer.errors import CustomerError
from protocol.errors import ProtocolError
from protocol.messages import NumberedReceipt, Refusal
from protocol.stages import Stage
from tests.system import crafted
from tests.system.town import Person, Stand, submit

PIPELINE = 16
LINES = 3
ANSWERS_BEFORE = 100


class Sender(threading.Thread):
    """Sends orders over one cent in a session, a pipeline at a time, for as long as the bank answers."""

    def __init__(self, stand: Stand, person: Person, name: str) -> None:
        super().__init__(name=name)
        self._stand, self._person = stand, person
        self.receipted: set[str] = set()
        self.refused = 0
        self.ended = ""

    def run(self) -> None:
        number = 0
        try:
            with self._person.opened() as home, conversing.conversation(home, Stage.SESSION) as talk:
                while True:
                    names = [f"{self.name}-{number + each}" for each in range(PIPELINE)]
                    number += PIPELINE
                    other = "1002" if self._person.number == "1001" else "1001"
                    orders = [
                        crafted.order(self._stand, name, amount="0.01", debtor=self._person.number, creditor=other)
                        for name in names
                    ]
                    for name, answer in zip(names, talk.ask(*map(submit, orders)), strict=True):
                        if isinstance(answer, NumberedReceipt):
                            self.receipted.add(name)
                        else:
                            assert isinstance(answer, Refusal)
                            self.refused += 1
        except (CustomerError, ProtocolError) as error:
            self.ended = str(error)


def test_trial_40_sigterm_under_load_leaves_no_posting_without_an_answer(stand: Stand) -> None:
    people = [stand.ready(name, Stage.SESSION) for name in ("alice", "bob")]
    senders = [Sender(stand, person, f"{person.name}-{line}") for person in people for line in range(LINES)]
    for sender in senders:
        sender.start()
    deadline = time.monotonic() + 30
    while any(len(sender.receipted) < ANSWERS_BEFORE for sender in senders):
        assert time.monotonic() < deadline, [(each.name, len(each.receipted), each.ended) for each in senders]
        time.sleep(0.01)
    begun = time.monotonic()
    assert stand.stop() == 0
    assert time.monotonic() - begun < 15
    for sender in senders:
        sender.join(30)
        assert sender.ended
    receipted = {name for sender in senders for name in sender.receipted}
    posted = {each.transfer_identifier for each in stand.entries() if each.debtor in ("1001", "1002")}
    assert posted == receipted
    assert '"event": "stopped", "all_answered": 1' in stand.log.read_text()
    stand.require_order()
    # It is no worse for wear, and nothing is counted twice.
    stand.start()
    people[0].send_here("--id", "after", stage=Stage.SESSION)
    assert stand.postings("1001", "after") == 1


def test_a_stopped_server_takes_no_connection_and_its_place_is_free(stand: Stand) -> None:
    alice = stand.person("alice")
    assert stand.stop() == 0
    assert "Nothing was sent" in alice.send("--id", "rent", code=2).err
    stand.start()
    alice.send("--id", "rent")
    assert stand.postings("1001", "rent") == 1
