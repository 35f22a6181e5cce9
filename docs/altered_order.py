"""Plays a thief who has got hold of an open session: sends a signed order whose amount was changed after signing.

Usage: python altered_order.py --home CUSTOMER_HOME --identifier TRANSFER. Prints the bank's answer.
"""

import argparse
from pathlib import Path

from customer import conversing
from customer.home import CustomerHome
from protocol.messages import Refusal, SubmitOrder
from protocol.stages import Stage


def main() -> None:
    """Alter the stored order and send it in a session of its owner."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--identifier", required=True)
    given = parser.parse_args()
    home = CustomerHome.open(given.home)
    order = home.store.find(given.identifier)
    if order is None:
        raise SystemExit(f"There is no transfer {given.identifier} in the outbox.")
    altered = order.message.replace(b'"amount":"7.50"', b'"amount":"1.50"').replace(b"lunch-1", b"lunch-2")
    print(f"Sending the signed order {given.identifier} with another amount and identifier, {len(altered)} bytes.")
    with conversing.conversation(home, Stage.CERTIFIED) as talk:
        (answer,) = talk.ask(SubmitOrder(number=0, order=altered, since=None))
    if not isinstance(answer, Refusal):
        raise SystemExit("The bank took the altered order.")
    print(f"The bank refuses, {answer.reason.value}: {answer.sentence}")
    print("Nothing was logged, and the identifier is still free for its owner.")


if __name__ == "__main__":
    main()
