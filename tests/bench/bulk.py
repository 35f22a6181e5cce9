"""Bulk orders: a thousand payments under one signature, beside the plain database's transfers in the same run."""

from functools import partial
from typing import Any

import msgspec

from protocol.limits import PAYMENTS_IN_ORDER
from tests.bench.growth import FIRST_LOADED, load_customers
from tests.bench.orders import sign_bulk_orders
from tests.bench.plain import NoPostgreSQL, plain_database
from tests.bench.run import Run, Skipped
from tests.bench.stand import standing

DEBTORS, ORDERS_EACH = 8, 60
SECONDS = 8.0


def bulk(run: Run) -> dict[str, Any]:
    """Eight customers, one order outstanding at each, pay a thousand others (who are rows) a cent each, all or none."""
    run.say(f"bulk orders: {PAYMENTS_IN_ORDER} payments, one signature")
    folder, cast = run.town.folder / "bulk", run.town.cast
    creditors = [str(FIRST_LOADED + place) for place in range(PAYMENTS_IN_ORDER)]
    for each in cast.parties[:DEBTORS]:
        party = (each.number, each.certificate_digest, each.signing)
        sign_bulk_orders(folder, cast.bank, party, creditors, ORDERS_EACH)
    load = partial(load_customers, count=PAYMENTS_IN_ORDER)
    with standing(run.town, *run.serving, prepare=load) as stand:
        found = run.closed_at(
            stand, 1, SECONDS, connections=DEBTORS, orders_each=ORDERS_EACH, orders=str(folder), warm_seconds=1.0
        )
    payments = found.per_second * PAYMENTS_IN_ORDER
    try:
        with plain_database() as database:
            plain = database.per_second(round(run.seconds(SECONDS)))
    except NoPostgreSQL as missing:
        raise Skipped(str(missing)) from None
    run.say(f"  {payments:.0f} payments a second; pgbench {plain:.0f} transfers a second")
    return {
        "payments_per_second": payments,
        "plain_per_second": plain,
        "to_plain": round(payments / plain, 2),
        "run": msgspec.to_builtins(found),
    }
