"""An outcome is shown in words first, then with its code, and always with what to do next."""

from typing import TYPE_CHECKING

from customer.cli.common import pairs
from keyring.printable import printable
from protocol.codes import EXPLANATIONS, Reason, Status
from protocol.messages import sentence_of

if TYPE_CHECKING:
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
        "reference": outcome.entry.reference if outcome and outcome.entry else None,
    }
