"""An outcome is shown in words first, then with its code, and always with what to do next."""

from typing import TYPE_CHECKING, Final

from customer.cli.common import pairs, table
from keyring.printable import printable
from protocol.codes import EXPLANATIONS, GroupStatus, Reason, Status
from protocol.messages import sentence_of
from protocol.orders import BulkOrder, TransferOrder
from protocol.receipts import BulkEntry

if TYPE_CHECKING:
    from customer.errors import RefusedByBank
    from customer.sending import Outcome
    from customer.store import StoredOrder
    from protocol.orders import Order
    from protocol.receipts import Entry

_STATUSES: Final = {"ACSC": "posted", "PART": "partly", "RJCT": "refused"}
_TITLES: Final = {"partly": "Posted in part", "refused": "Refused by the bank"}


def outcome_text(outcome: "Outcome") -> str:
    """An outcome for a person."""
    facts, order = outcome_facts(outcome), outcome.order.order
    rows: list[tuple[str, object]] = [("status", facts["code"])]
    if outcome.posted:
        title = "Posted."
    else:
        title = f"{_TITLES[str(facts['status'])]}: {facts['sentence']}"
        rows = [
            ("code", facts["reason"]),
            *((("rule", facts["rule"]),) if facts["rule"] else ()),
            ("field", facts["field"] or "-"),
            ("retry", "can help" if facts["retry_helps"] else "does not help"),
            ("next", facts["next"]),
        ]
    if isinstance(order, TransferOrder):
        rows += [("amount", f"{order.amount} {order.currency}"), ("to", order.creditor)]
    else:
        rows += [("sum", f"{order.sum} {order.currency}"), ("payments", len(order.payments)), *_posted(outcome, order)]
    rows.append(("identifier", facts["transfer_identifier"]))
    if outcome.entry and outcome.receipt:
        rows += [("reference", outcome.entry.reference or "-"), ("booked", outcome.entry.booked)]
        rows.append(("log", f"entry {outcome.receipt.index}, proven and signed by the bank"))
    else:
        rows.append(("log", "nothing was recorded"))
    if outcome.earlier:
        rows.append(("remark", f"{EXPLANATIONS[Reason.DUPLICATE].sentence} ({Reason.DUPLICATE.value})"))
    return f"{printable(title)}\n{pairs(rows)}{_refused_payments(outcome)}"


def outcome_facts(outcome: "Outcome") -> dict[str, object]:
    """An outcome for a script; ``code`` is ACSC or RJCT, ``reason`` null where the transfer was posted."""
    order, entry, reason = outcome.order.order, outcome.entry, outcome.reason
    explanation = EXPLANATIONS[reason] if reason else None
    sentence = explanation.sentence if explanation else None
    if outcome.refusal:
        sentence = sentence_of(outcome.refusal)
    code = entry.status.value if entry else Status.REJECTED.value
    return {
        "status": _STATUSES[code],
        "code": code,
        "reason": reason.value if reason else None,
        "rule": outcome.refusal.rule if outcome.refusal else None,
        "sentence": sentence,
        "field": entry.field if entry else outcome.refusal.field if outcome.refusal else None,
        # A logged refusal has used up its identifier; only what was not recorded can succeed unchanged.
        "retry_helps": bool(explanation and explanation.retry_helps and entry is None),
        "next": explanation.next_step if explanation else None,
        "transfer_identifier": order.transfer_identifier,
        **_ordered(order),
        "stage": outcome.order.stage.value,
        "reference": entry.reference if entry else None,
        "booked": entry.booked if entry else None,
        "entry": outcome.receipt.index if outcome.receipt else None,
        "duplicate": outcome.earlier,
        **({"results": results(order, outcome.entry)} if isinstance(order, BulkOrder) else {}),
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


def _ordered(order: "Order") -> dict[str, object]:
    """What was ordered; a bulk order has no one recipient and no one description, its amount is the sum."""
    if isinstance(order, TransferOrder):
        return {
            "to": order.creditor,
            "amount": order.amount,
            "currency": order.currency,
            "description": order.description,
        }
    return {
        "to": None,
        "amount": order.sum,
        "currency": order.currency,
        "description": None,
        "payments": len(order.payments),
        "execution": order.execution,
    }


def results(order: BulkOrder, entry: "Entry | None") -> list[dict[str, object]]:
    """The result of every payment, in the order of the file.

    ``status``: posted; refused, for a reason of its own; or not-made, because the order as a whole was refused.
    """
    refused = {each.payment: each for each in entry.refused} if isinstance(entry, BulkEntry) else {}
    others = "posted" if entry and entry.status != GroupStatus.REJECTED else "not-made"
    found = []
    for position, payment in enumerate(order.payments, 1):
        own = refused.get(position)
        status = "refused" if own else others
        found.append(
            {
                "payment": position,
                "to": payment.creditor,
                "amount": payment.amount,
                "description": payment.description,
                "status": status,
                "code": (Status.SETTLED if status == "posted" else Status.REJECTED).value,
                "reason": own.reason.value if own else None,
                "field": own.field if own else None,
                "sentence": EXPLANATIONS[own.reason].sentence if own else None,
            }
        )
    return found


def _posted(outcome: "Outcome", order: BulkOrder) -> list[tuple[str, object]]:
    entry = outcome.entry
    if not isinstance(entry, BulkEntry):
        return []
    made = 0 if entry.posted is None else len(order.payments) - len(entry.refused)
    return [("posted", f"{made} payments, {entry.posted or 0} {order.currency}")]


def _refused_payments(outcome: "Outcome") -> str:
    """A table of the payments that were refused, and what becomes of the others."""
    order, entry = outcome.order.order, outcome.entry
    if not isinstance(order, BulkOrder) or not isinstance(entry, BulkEntry) or not entry.refused:
        return ""
    rows = [
        (each["payment"], each["to"], each["amount"], each["reason"], each["sentence"])
        for each in results(order, entry)
        if each["reason"]
    ]
    shown = table(rows, ("payment", "to", "amount", "code", "why"), right=("payment", "amount"))
    atomic = entry.status == GroupStatus.REJECTED and len(rows) < len(order.payments)
    others = "\n\nNone of the others was made: they go together, unless you send with --best-effort." if atomic else ""
    return f"\n\nRefused payments, counted from 1:\n{shown}{others}"


def order_facts(order: "StoredOrder") -> dict[str, object]:
    """A line of the outbox for a script."""
    from customer.sending import outcome_of

    content, outcome = order.order, outcome_of(order)
    return {
        "transfer_identifier": order.identifier,
        "state": order.state.value,
        "created": content.created,
        **_ordered(content),
        "stage": order.stage.value,
        "reason": outcome.reason.value if outcome and outcome.reason else None,
        "rule": outcome.refusal.rule if outcome and outcome.refusal else None,
        "reference": outcome.entry.reference if outcome and outcome.entry else None,
    }
