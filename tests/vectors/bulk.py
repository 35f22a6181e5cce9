"""Bulk orders and the entries that decide them: what has a form, and which results follow from each other."""

from typing import Any

from tests.vectors.given import BANK, TIME, canonical, sha256

PAYMENTS: list[dict[str, Any]] = [
    {"amount": "25.00", "creditor": "1002", "description": "salary"},
    {"amount": "17.5", "creditor": "1003", "description": "Lohn M\u00e4rz"},
    {"amount": "25.00", "creditor": "1002", "description": "salary"},
]
BULK: dict[str, Any] = {
    "bank": BANK,
    "certificate": None,
    "count": 3,
    "created": TIME,
    "currency": "EUR",
    "debtor": "1001",
    "execution": "best-effort",
    "payments": PAYMENTS,
    "sum": "67.50",
    "transfer_identifier": "8d3e0f5a6b7c4d21a9e8f7061524334a",
    "type": "bulk-order",
    "version": 2,
}
ATOMIC = {**BULK, "execution": "atomic"}
SECOND = {"field": "creditor", "payment": 2, "reason": "AC03"}
THIRD = {"field": "amount", "payment": 3, "reason": "AM04"}
ALL = [{"field": "creditor", "payment": payment, "reason": "AC06"} for payment in (1, 2, 3)]
PARTLY: dict[str, Any] = {"field": "payments", "reason": "payments", "status": "PART"}
REJECTED: dict[str, Any] = {
    "field": "payments",
    "posted": None,
    "reason": "payments",
    "reference": None,
    "status": "RJCT",
}


def entry(order: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The entry of an order all of which was posted, but for what is changed."""
    return {
        "booked": TIME,
        "count": order["count"],
        "currency": order["currency"],
        "debtor": order["debtor"],
        "execution": order["execution"],
        "field": None,
        "order": sha256(canonical(order)).hex(),
        "posted": "67.50",
        "reason": None,
        "reference": "7",
        "refused": [],
        "salt": "00" * 16,
        "stage": "signed",
        "status": "ACSC",
        "sum": order["sum"],
        "transfer_identifier": order["transfer_identifier"],
        "type": "bulk-entry",
        "version": 1,
        **changes,
    }


def bulk_vectors() -> list[dict[str, Any]]:
    """``wrong``: ``order`` (its form; ``field`` is at fault), ``entry`` (its form), ``results``, or null."""

    def vector(
        name: str, order: bytes, decision: bytes | None = None, wrong: str | None = None, field: str = ""
    ) -> dict[str, Any]:
        told = None if decision is None else decision.hex()
        digest = sha256(order).hex()
        return {"name": name, "order": order.hex(), "digest": digest, "entry": told, "wrong": wrong, "field": field}

    def bad(name: str, field: str, **changes: Any) -> dict[str, Any]:
        return vector(name, canonical({**BULK, **changes}), wrong="order", field=field)

    def bad_payment(name: str, field: str, **changes: Any) -> dict[str, Any]:
        path = f"payments[1].{field}" if field else "payments[1]"
        return bad(name, path, payments=[PAYMENTS[0], {**PAYMENTS[1], **changes}, PAYMENTS[2]])

    def decided(name: str, order: dict[str, Any], wrong: str | None = None, **changes: Any) -> dict[str, Any]:
        return vector(name, canonical(order), canonical(entry(order, **changes)), wrong)

    text = canonical(BULK).decode()
    short = {name: value for name, value in PAYMENTS[1].items() if name != "amount"}
    longest = [{"amount": "9" * 40, "creditor": "9" * 34, "description": "\U0001f3e0" * 140}]
    return [
        vector("best effort", canonical(BULK)),
        vector("atomic", canonical(ATOMIC)),
        vector("certified", canonical({**BULK, "certificate": "ef" * 32})),
        vector("one payment", canonical({**BULK, "payments": PAYMENTS[:1], "count": 1, "sum": "25.00"})),
        vector("the most payments", canonical({**BULK, "payments": PAYMENTS[:1] * 1000, "count": 1000})),
        vector("the longest payment", canonical({**BULK, "payments": longest})),
        vector("a wrong count, which the bank judges", canonical({**BULK, "count": 4})),
        vector("a wrong sum, which the bank judges", canonical({**BULK, "sum": "-1"})),
        vector(
            "impossible payments, which the bank judges",
            canonical({**BULK, "payments": [{"amount": "-1e5", "creditor": "", "description": ""}]}),
        ),
        bad("no payments", "payments", payments=[]),
        bad("a payment too many", "payments", payments=PAYMENTS[:1] * 1001),
        bad("payments as an object", "payments", payments={"1": PAYMENTS[0]}),
        bad("execution that there is not", "execution", execution="some"),
        bad("count as a string", "count", count="3"),
        bad("count below zero", "count", count=-3),
        bad("sum as a number", "sum", sum=67),
        bad("version 1, which there never was", "version", version=1),
        bad("unknown field", "creditor", creditor="1002"),
        bad("unprintable sum", "sum", sum="67.50\u200b"),
        bad_payment("amount as a number", "amount", amount=17),
        bad_payment("unknown field of a payment", "currency", currency="EUR"),
        bad_payment("description too long", "description", description="\u00e9" * 141),
        bad_payment("unprintable description", "description", description="salary\u202e"),
        bad_payment("unprintable recipient", "creditor", creditor="1003\n"),
        bad("payment without amount", "payments[1].amount", payments=[PAYMENTS[0], short, PAYMENTS[2]]),
        vector(
            "doubled payments",
            text.replace("{", f'{{"payments":[{canonical(PAYMENTS[0]).decode()}],', 1).encode(),
            wrong="order",
        ),
        vector(
            "doubled amount in a payment",
            text.replace('{"amount":"17.5"', '{"amount":"1","amount":"17.5"').encode(),
            wrong="order",
        ),
        vector("white space between payments", text.replace("},{", "}, {", 1).encode(), wrong="order"),
        decided("all posted", BULK),
        decided("all posted, atomic", ATOMIC),
        decided("one refused", BULK, posted="50.00", refused=[SECOND], **PARTLY),
        decided("two refused", BULK, posted="25.00", refused=[SECOND, THIRD], **PARTLY),
        decided("all refused", BULK, refused=ALL, **REJECTED),
        decided("atomic, two refused", ATOMIC, refused=[SECOND, THIRD], **REJECTED),
        decided("refused as a whole", BULK, **{**REJECTED, "reason": "DT01", "field": "created"}),
        decided("wrong sum", BULK, **{**REJECTED, "reason": "AM10", "field": "sum"}),
        decided("impossible amount", BULK, refused=[THIRD], **{**REJECTED, "reason": "AM10", "field": "sum"}),
        decided("another count", BULK, "results", count=2),
        decided("another sum", BULK, "results", sum="67.5"),
        decided("another currency", BULK, "results", currency="JPY"),
        decided("another execution", BULK, "results", execution="atomic"),
        decided("more posted than ordered", BULK, "results", posted="67.51"),
        decided("posted without the decimals", BULK, "results", posted="67.5"),
        decided("posted what was refused", BULK, "results", posted="67.50", refused=[SECOND], **PARTLY),
        decided("nothing said to be posted", BULK, "results", posted=None),
        decided("settled, with a refused payment", BULK, "results", posted="50.00", refused=[SECOND]),
        decided("settled, for a reason", BULK, "results", reason="AM04"),
        decided("settled, without a reference", BULK, "results", reference=None),
        decided("in part, but nothing refused", BULK, "results", **PARTLY),
        decided("in part, but all refused", BULK, "results", **{**PARTLY, "posted": "0.00"}, refused=ALL),
        decided("in part, but atomic", ATOMIC, "results", posted="50.00", refused=[SECOND], **PARTLY),
        decided("in part, for another reason", BULK, "results", **{**PARTLY, "reason": "AM04"}, refused=[SECOND]),
        decided("refused, but posted", BULK, "results", **{**REJECTED, "posted": "67.50"}, refused=[SECOND]),
        decided("refused, with a reference", BULK, "results", **{**REJECTED, "reference": "7"}, refused=[SECOND]),
        decided("refused for payments, but for none", BULK, "results", **REJECTED),
        decided("refused without a reason", BULK, "results", **{**REJECTED, "reason": None}),
        decided("refused by date and payments", BULK, "results", **{**REJECTED, "reason": "DT01"}, refused=[SECOND]),
        decided("refused payments out of order", BULK, "results", **PARTLY, posted="25.00", refused=[THIRD, SECOND]),
        decided("a payment refused twice", BULK, "results", **PARTLY, posted="50.00", refused=[SECOND, SECOND]),
        decided(
            "a payment that is not there", BULK, "results", **PARTLY, posted="67.50", refused=[{**SECOND, "payment": 4}]
        ),
        decided("payment 0", BULK, "entry", **PARTLY, posted="67.50", refused=[{**SECOND, "payment": 0}]),
        decided("status that there is not", BULK, "entry", status="ACCP"),
    ]
