"""What the bank knows of a customer: the lowest stage, the agreed password, the keys; only a successor replaces one."""

from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, exists, insert, select, update

from bank import schema
from bank.errors import RecordError
from bank.storage import Ledger
from protocol.stages import Stage


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer, who has the account of the same number.

    ``floor``: the lowest stage that is still accepted. ``password_sealed``: the agreed password, an OpenPGP message
    under the bank's own key. ``registered_fingerprint`` and ``registered_key``: what `customer register` sent.
    """

    number: str
    name: str
    floor: Stage
    password_sealed: bytes = field(repr=False)
    registered_fingerprint: str | None = None
    registered_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Key:
    """A customer's OpenPGP key as it was when orders were accepted under it; ``expires`` in unix seconds."""

    digest: str
    customer: str
    fingerprint: str
    data: bytes = field(repr=False)
    certified: bool
    expires: int | None


class Customers:
    """The customers of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger: Final = ledger

    def add(self, customer: Customer, *, within: Connection | None = None) -> None:
        """Records a customer whose account was opened; RecordError if there is none, or a customer already."""
        with self._ledger.writing(within) as connection:
            account = schema.account.c
            name = connection.execute(select(account.name).where(account.number == customer.number)).scalar()
            if name != customer.name:
                raise RecordError(f"There is no account {customer.number} of {customer.name}; open it first.")
            if self._find(connection, customer.number) is not None:
                raise RecordError(f"There is a customer {customer.number} already.")
            connection.execute(
                insert(schema.customer),
                {
                    "number": customer.number,
                    "floor": customer.floor.value,
                    "password_sealed": customer.password_sealed,
                    "registered_fingerprint": customer.registered_fingerprint,
                    "registered_key": customer.registered_key,
                },
            )

    def get(self, number: str) -> Customer | None:
        """The customer with this number, None if there is none."""
        with self._ledger.reading() as connection:
            return self._find(connection, number)

    def every(self) -> tuple[Customer, ...]:
        """All customers by number."""
        with self._ledger.reading() as connection:
            return tuple(_customer(*row) for row in connection.execute(_SELECT.order_by(schema.customer.c.number)))

    def register_key(self, number: str, fingerprint: str, key: bytes) -> None:
        """Registers the customer's key, once: the same key again is harmless, another one raises RecordError.

        The floor rises to the stage session: the password was the means to register, and is spent.
        """
        with self._ledger.writing() as connection:
            found = self._require(connection, number)
            if found.registered_fingerprint == fingerprint:
                return  # also for other bytes: a signature of another's may hang on the same key
            if found.registered_fingerprint is not None:
                raise RecordError(
                    f"The customer {number} has registered the key {found.registered_fingerprint} already, and not a "
                    "second one; use that key, or have a new one certified."
                )
            floor = max(found.floor, Stage.SESSION, key=lambda stage: stage.rank)
            connection.execute(
                update(schema.customer)
                .where(schema.customer.c.number == number)
                .values(registered_fingerprint=fingerprint, registered_key=key, floor=floor.value)
            )

    def raise_floor(self, number: str, stage: Stage) -> None:
        """The customer has used ``stage`` with success; a floor that is higher already stays."""
        with self._ledger.writing() as connection:
            if stage.rank > self._require(connection, number).floor.rank:
                self._set_floor(connection, number, stage)

    def lower_floor(self, number: str, stage: Stage) -> None:
        """The operator's word that the customer may use ``stage`` again; RecordError if that is not lower."""
        with self._ledger.writing() as connection:
            floor = self._require(connection, number).floor
            if stage.rank >= floor.rank:
                raise RecordError(f"The floor of customer {number} is {floor.value}; {stage.value} is not below it.")
            self._set_floor(connection, number, stage)

    def remember_key(
        self, digest: str, customer: str, fingerprint: str, data: bytes, *, certified: bool, expires: int | None
    ) -> None:
        """Keeps a key for later evidence, by the SHA-256 of its bytes. Harmless when repeated."""
        key = schema.key.c
        known = select(exists().where(key.digest == digest))
        with self._ledger.reading() as connection:
            if connection.execute(known).scalar():
                return  # nearly always: then no write transaction is needed
        with self._ledger.writing() as connection:
            if not connection.execute(known).scalar():
                connection.execute(
                    insert(schema.key),
                    {
                        "digest": digest,
                        "customer": customer,
                        "fingerprint": fingerprint,
                        "data": data,
                        "certified": certified,
                        "expires_at": expires,
                    },
                )

    def key(self, digest: str) -> Key | None:
        """The key with this digest, None if it was never remembered."""
        with self._ledger.reading() as connection:
            row = connection.execute(select(schema.key).where(schema.key.c.digest == digest)).one_or_none()
        return None if row is None else Key(*row)

    def _require(self, connection: Connection, number: str) -> Customer:
        found = self._find(connection, number)
        if found is None:
            raise RecordError(f"There is no customer {number[:40]!r}; `bank accounts` lists them.")
        return found

    @staticmethod
    def _find(connection: Connection, number: str) -> Customer | None:
        row = connection.execute(_SELECT.where(schema.customer.c.number == number)).one_or_none()
        return None if row is None else _customer(*row)

    @staticmethod
    def _set_floor(connection: Connection, number: str, stage: Stage) -> None:
        connection.execute(update(schema.customer).where(schema.customer.c.number == number).values(floor=stage.value))


def follow(connection: Connection, number: str, before: str, fingerprint: str, key: bytes) -> None:
    """The key that succeeds the registered one is registered in its place, within a write transaction.

    Where another key is registered than ``before``, or none, nothing changes: only the authority's record leads from
    one key to the next, a step at a time and never back.
    """
    column = schema.customer.c
    connection.execute(
        update(schema.customer)
        .where(column.number == number, column.registered_fingerprint == before)
        .values(registered_fingerprint=fingerprint, registered_key=key)
    )


_SELECT = select(
    schema.customer.c.number,
    schema.account.c.name,
    schema.customer.c.floor,
    schema.customer.c.password_sealed,
    schema.customer.c.registered_fingerprint,
    schema.customer.c.registered_key,
).join_from(schema.customer, schema.account)


def _customer(
    number: str, name: str, floor: str, password_sealed: bytes, fingerprint: str | None, key: bytes | None
) -> Customer:
    return Customer(number, name, Stage(floor), password_sealed, fingerprint, key)
