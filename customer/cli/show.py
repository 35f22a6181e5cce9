"""An outcome is shown in words first, then with its code, and always with what to do next."""

from typing import TYPE_CHECKING

from customer.cli.common import pairs
from keyring.printable import printable
from protocol.codes import EXPLANATIONS, Reason, Status
from protocol.messages import sentence_of

if TYPE_CHECKING:
    from customer.errors import RefusedByBank
    from customer.sending import Outcome
    from customer.store import StoredOrder


def outcome_text(outcome: "Outcome") -> str:
    """An outcome for a person."""
    facts = outcome_facts(outcome)
    rows: list[tuple[str, object]] = [("status", facts["code"])]
    if outcome.posted:
        title = "Posted."
    else:
        title = f"Refused by the bank: {facts['sentence']}"
        rows = [
            ("code", facts["reason"]),
            *((("rule", facts["rule"]),) if facts["rule"] else ()),
            ("field", facts["field"] or "-"),
            ("retry", "can help" if facts["retry_helps"] else "does not help"),
            ("next", facts["next"]),
        ]
    order = outcome.order.order
    rows += [
        ("amount", f"{order.amount} {order.currency}"),
        ("to", order.creditor),
        ("identifier", facts["transfer_identifier"]),
    ]
    if outcome.entry and outcome.receipt:
        rows += [("reference", outcome.entry.reference or "-"), ("booked", outcome.entry.booked)]
        rows.append(("log", f"entry {outcome.receipt.index}, proven and signed by the bank"))
    else:
        rows.append(("log", "nothing was recorded"))
    if outcome.earlier:
        rows.append(("remark", f"{EXPLANATIONS[Reason.DUPLICATE].sentence} ({Reason.DUPLICATE.value})"))
    return f"{printable(title)}\n{pairs(rows)}"


def outcome_facts(outcome: "Outcome") -> dict[str, object]:
    """An outcome for a script; ``code`` is ACSC or RJCT, ``reason`` null where the transfer was posted."""
    order, entry, reason = outcome.order.order, outcome.entry, outcome.reason
    explanation = EXPLANATIONS[reason] if reason else None
    sentence = explanation.sentence if explanation else None
    if outcome.refusal:
        sentence = sentence_of(outcome.refusal)
    return {
        "status": "posted" if outcome.posted else "refused",
        "code": (Status.SETTLED if outcome.posted else Status.REJECTED).value,
        "reason": reason.value if reason else None,
        "rule": outcome.refusal.rule if outcome.refusal else None,
        "sentence": sentence,
        "field": entry.field if entry else outcome.refusal.field if outcome.refusal else None,
        # A logged refusal has used up its identifier; only what was not recorded can succeed unchanged.
        "retry_helps": bool(explanation and explanation.retry_helps and entry is None),
        "next": explanation.next_step if explanation else None,
        "transfer_identifier": order.transfer_identifier,
        "to": order.creditor,
        "amount": order.amount,
        "currency": order.currency,
        "description": order.description,
        "stage": outcome.order.stage.value,
        "reference": entry.reference if entry else None,
        "booked": entry.booked if entry else None,
        "entry": outcome.receipt.index if outcome.receipt else None,
        "duplicate": outcome.earlier,
    }


def refusal_text(error: "RefusedByBank") -> str:
    """A refusal that no order was decided by, for a person: nothing was recorded."""
    refusal = error.refusal
    who = "The bank refused" if error.proven else "The server at the bank's address refused (this is not proven)"
    rule = f", rule {refusal.rule}" if refusal.rule else ""
    field = f" Field: {refusal.field}." if refusal.field else ""
    explanation = EXPLANATIONS[refusal.reason]
    again = " Trying again can help." if explanation.retry_helps else ""
    return (
        f"{who}, code {refusal.reason.value}{rule}: {error}{field} Nothing was recorded.{again} "
        f"Next: {explanation.next_step}"
    )


def refusal_facts(error: "RefusedByBank") -> dict[str, object]:
    """The same for a script; ``proven`` tells whether only the bank can have said so."""
    refusal, explanation = error.refusal, EXPLANATIONS[error.refusal.reason]
    return {
        "status": "refused",
        "proven": error.proven,
        "reason": refusal.reason.value,
        "rule": refusal.rule,
        "sentence": str(error),
        "field": refusal.field,
        "retry_helps": explanation.retry_helps,
        "next": explanation.next_step,
    }


def order_facts(order: "StoredOrder") -> dict[str, object]:
    """A line of the outbox for a script."""
    from customer.sending import outcome_of

    content, outcome = order.order, outcome_of(order)
    return {
        "transfer_identifier": order.identifier,
        "state": order.state.value,
        "created": content.created,
        "to": content.creditor,
        "amount": content.amount,
        "currency": content.currency,
        "description": content.description,
        "stage": order.stage.value,
        "reason": outcome.reason.value if outcome and outcome.reason else None,
        "rule": outcome.refusal.rule if outcome and outcome.refusal else None,
        "reference": outcome.entry.reference if outcome and outcome.entry else None,
    }
