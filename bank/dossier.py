"""What belongs to the evidence of one transfer is gathered here: from the ledger, the log and the bank's folder."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from bank import schema
from bank.batch import identity
from bank.certificates import certificate_at
from bank.customers import Customers
from bank.evidence import Keys, LoggedEntry, ReceiptSigner, SentOrder, make_evidence
from bank.home import BankHome
from bank.identities import Authority
from bank.posting import Posting
from bank.storage import Ledger
from protocol import canonical
from protocol.evidence import Certificates
from protocol.receipts import TreeHead


@dataclass(frozen=True)
class Dossier:
    """Gives the evidence folders of one bank."""

    bank: BankHome
    ledger: Ledger
    posting: Posting
    customers: Customers
    signer: ReceiptSigner
    clock: Callable[[], float]

    def files(self, debtor: str, identifier: str) -> dict[str, bytes] | None:
        """The files by name, None if the debtor has no transfer under this identifier. Raises EvidenceRefused."""
        entry, certificate, revocations = schema.entry.c, schema.certificate.c, schema.revocation_list.c
        with self.ledger.reading() as connection:
            row = connection.execute(
                select(schema.entry, certificate.der, revocations.crl)
                .join_from(schema.entry, schema.certificate, isouter=True)
                .join(schema.revocation_list, isouter=True)
                .where(entry.identity == identity(debtor, identifier))
            ).one_or_none()
            if row is None:
                return None
            bank_certificate = certificate_at(connection, schema.BANK_ACCOUNT, row.booked_at)
        head, proof = self.posting.place(row.leaf)
        said = canonical.decode_signed(TreeHead, head.content)
        key = self.customers.key(row.key_digest) if row.key_digest else None
        authority = self.bank.authority()
        return make_evidence(
            LoggedEntry(
                entry=row.entry,
                index=row.leaf,
                log=said.log,
                size=said.size,
                root=said.root,
                proof=proof,
                head=head.message,
            ),
            SentOrder(row.content, row.message),
            Keys(
                bank=self.bank.public_key(),
                customer=key.data if key else None,
                authority=authority.key if authority else None,
                certificates=self._certificates(authority, bank_certificate, row.der, row.crl),
            ),
            self.signer,
            # Never earlier than the entry, whatever the clock says.
            max(int(self.clock()), row.booked_at),
        )

    def _certificates(
        self, authority: Authority | None, bank: bytes | None, customer: bytes | None, crl: bytes | None
    ) -> Certificates | None:
        """As they were at the booking, if the order names its debtor's; else as the bank has them now."""
        own = self.bank.certified()
        if customer is None and own is not None:
            bank = own.certificate
        if authority is None or bank is None:
            return None
        return Certificates(authority=authority.root, bank=bank, customer=customer, revocations=crl)
