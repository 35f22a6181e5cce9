"""The account is looked at in any stage; what the bank tells is about this customer, and it changes nothing."""

from customer import conversing
from customer.errors import NotProven
from customer.home import CustomerHome
from protocol.limits import STATEMENT_LINES
from protocol.messages import AskBalance, AskStatement, Balance, Statement
from protocol.stages import Stage


def balance(home: CustomerHome, stage: Stage) -> Balance:
    """The booked balance. Raises CustomerError or ProtocolError."""
    with conversing.conversation(home, stage) as talk:
        answer = conversing.ask(talk, AskBalance(number=0), Balance)
    _require_ours(home, answer.customer)
    return answer


def statement(home: CustomerHome, stage: Stage, after: int) -> Statement:
    """Up to 500 bookings after a booking number, oldest first. Raises CustomerError or ProtocolError."""
    request = AskStatement(after=after, lines=STATEMENT_LINES, number=0)
    with conversing.conversation(home, stage) as talk:
        answer = conversing.ask(talk, request, Statement)
    _require_ours(home, answer.customer)
    if any(line.booking <= after for line in answer.lines) or (answer.more and not answer.lines):
        raise NotProven("The bank answered with another part of the statement than was asked for; try again.")
    return answer


def _require_ours(home: CustomerHome, customer: str) -> None:
    if customer != home.number:
        raise NotProven(f"The bank answered about customer {customer!a}; this is customer {home.number}.")
