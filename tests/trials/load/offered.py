"""Orders are offered to a bank at a given rate over open sessions, whatever it answers, and every answer is timed."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from protocol import messages
from protocol.codes import Reason
from protocol.errors import ConnectionLost
from protocol.messages import NumberedReceipt, Refusal
from tests.bank.counter import Talk
from tests.bank.town import SECONDS

TICK_SECONDS = 0.02
ANSWER_SECONDS = 60.0


@dataclass
class Told:
    """What one session was told: seconds until each receipt and each "busy", and the identifiers told busy."""

    receipts: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)
    others: list[Reason] = field(default_factory=list)
    receipted: int = 0
    """All receipts, also those that came when no more was offered."""


def offer(talks: Sequence[Talk], *, prefix: str, seconds: float, per_second: float) -> tuple[list[Told], float]:
    """Offer so many orders a second in all; what each session was told, and how many were really sent a second."""
    clients = [_Client(talk, f"{prefix}-{place}", seconds, per_second / len(talks)) for place, talk in enumerate(talks)]
    started = time.monotonic()
    threads = [threading.Thread(target=step) for client in clients for step in (client.send, client.hear)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = sum(client.sent for client in clients)
    return [client.told for client in clients], sent / max(seconds, max(client.ended for client in clients) - started)


class _Client:
    def __init__(self, talk: Talk, prefix: str, seconds: float, per_second: float) -> None:
        self.talk, self.prefix, self.seconds, self.per_second = talk, prefix, seconds, per_second
        self.told = Told()
        self.sent = 0
        self.ended = 0.0
        self._waiting: deque[tuple[str, float]] = deque()
        self._sent_one = threading.Semaphore(0)
        self._done = False

    def send(self) -> None:
        started, talk = time.monotonic(), self.talk
        while (now := time.monotonic() - started) < self.seconds:
            due = int(now * self.per_second) - self.sent
            frames = []
            for _ in range(min(due, 200)):
                identifier = f"{self.prefix}-{self.sent}"
                order = talk.counter.submission(talk.person, identifier, talk.stage, amount="0.01")
                frames.append(talk.channel.seal(messages.encode(order)))
                self._waiting.append((identifier, time.monotonic()))
                self.sent += 1
            if frames:
                talk.connection.send(*frames, timeout_seconds=SECONDS)
                self._sent_one.release(len(frames))
            time.sleep(TICK_SECONDS)
        self.ended = time.monotonic()
        self._done = True
        self._sent_one.release()

    def hear(self) -> None:
        until = time.monotonic() + self.seconds
        while self._sent_one.acquire():
            if self._done and not self._waiting:
                return
            frame = self.talk.connection.receive(idle_seconds=ANSWER_SECONDS, frame_seconds=ANSWER_SECONDS)
            if frame is None:
                raise ConnectionLost("the bank hung up")
            answer, now = messages.decode_answer(self.talk.channel.open(frame)), time.monotonic()
            identifier, sent = self._waiting.popleft()
            if isinstance(answer, NumberedReceipt):
                self.told.receipted += 1
                # Only what comes while orders are offered is goodput; what is finished later is not.
                if now <= until:
                    self.told.receipts.append(now - sent)
            elif isinstance(answer, Refusal) and answer.reason is Reason.BUSY:
                self.told.busy.append(now - sent)
                self.told.identifiers.append(identifier)
            else:
                self.told.others.append(getattr(answer, "reason", Reason.MALFORMED))
