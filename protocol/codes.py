"""Each outcome has one code, one plain sentence and one next step; whoever shows an outcome takes them from here."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Transaction status, ISO 20022 ExternalPaymentTransactionStatus1Code."""

    SETTLED = "ACSC"
    REJECTED = "RJCT"


class GroupStatus(StrEnum):
    """Status of a bulk order, ISO 20022 ExternalPaymentGroupStatus1Code."""

    SETTLED = "ACSC"
    PARTLY = "PART"
    REJECTED = "RJCT"


class Reason(StrEnum):
    """Status reason, ISO 20022 ExternalStatusReason1Code; the words in lower case are our own (proprietary)."""

    AMOUNT_ZERO = "AM01"
    AMOUNT_TOO_LARGE = "AM02"
    CURRENCY = "AM03"
    INSUFFICIENT_FUNDS = "AM04"
    DUPLICATE = "AM05"
    CONTROL_SUM = "AM10"
    AMOUNT_INVALID = "AM12"
    PAYMENT_COUNT = "AM18"
    IDENTIFIER_REUSED = "DU04"
    ACCOUNT_NUMBER = "AC01"
    UNKNOWN_CREDITOR = "AC03"
    ACCOUNT_CLOSED = "AC04"
    ACCOUNT_BLOCKED = "AC06"
    SAME_ACCOUNT = "AG01"
    NO_RIGHT = "AG08"
    DATE = "DT01"
    CERTIFICATE_REVOKED = "DS0C"
    CERTIFICATE_INVALID = "DS0D"
    CERTIFICATE_MISSING = "DS0E"
    CA_UNKNOWN = "DS0F"
    OTHER_KEY = "DS16"
    SIGNATURE = "DS17"
    KEY_NOT_ACTIVATED = "DS27"
    MALFORMED = "FF01"
    PAYMENTS = "payments"
    STAGE_TOO_LOW = "stage"
    CLOCK = "clock"
    BUSY = "busy"
    RATE = "rate"
    STOPPING = "stopping"
    PASSWORD = "password"  # noqa: S105 - the name of a reason
    REGISTRATION = "registration"
    NOT_FOUND = "not-found"


@dataclass(frozen=True)
class Explanation:
    """What a person is told about a reason."""

    sentence: str
    next_step: str
    retry_helps: bool = False
    """Whether sending the very same bytes again can succeed."""


EXPLANATIONS: Mapping[Reason, Explanation] = {
    Reason.AMOUNT_ZERO: Explanation("The amount is zero.", "Send a new transfer with an amount above zero."),
    Reason.AMOUNT_TOO_LARGE: Explanation(
        "The amount is above the bank's limit.", "Split it into several transfers, or ask the bank."
    ),
    Reason.CURRENCY: Explanation(
        "The bank does not keep accounts in this currency.", "Send a new transfer in the bank's currency."
    ),
    Reason.INSUFFICIENT_FUNDS: Explanation(
        "The balance is too low for this transfer.", "Look at `customer balance`, then send a new transfer."
    ),
    Reason.DUPLICATE: Explanation(
        "The bank had decided this transfer before; this is its original answer.", "Nothing to do."
    ),
    Reason.CONTROL_SUM: Explanation(
        "The payments do not add up to the sum of the bulk order; nothing of it was booked.",
        "Send a new bulk order whose sum is that of its payments; `customer send --file` sees to it.",
    ),
    Reason.AMOUNT_INVALID: Explanation(
        "The amount is not a positive decimal number with the currency's decimals.",
        "Send a new transfer with an amount such as 25.00.",
    ),
    Reason.PAYMENT_COUNT: Explanation(
        "The bulk order has another number of payments than it says; nothing of it was booked.",
        "Send a new bulk order with the number of its payments; `customer send --file` sees to it.",
    ),
    Reason.IDENTIFIER_REUSED: Explanation(
        "This transfer identifier was already used for another transfer, which stays as it is.",
        "Send the new transfer without --id, so that it gets an identifier of its own.",
    ),
    Reason.ACCOUNT_NUMBER: Explanation(
        "The recipient's customer number is malformed.",
        "Customer numbers are 1 to 16 digits; check it and send anew.",
    ),
    Reason.UNKNOWN_CREDITOR: Explanation(
        "The bank has no account with the recipient's number.",
        "Check the number with the recipient and send anew.",
    ),
    Reason.ACCOUNT_CLOSED: Explanation("The account is closed.", "Ask the account's owner, or the bank."),
    Reason.ACCOUNT_BLOCKED: Explanation("The account is blocked.", "Telephone the bank."),
    Reason.SAME_ACCOUNT: Explanation(
        "Debtor and creditor are the same account.", "Name another recipient and send anew."
    ),
    Reason.NO_RIGHT: Explanation(
        "The order is not for this bank or not from this session's customer.",
        "Send it as its owner, to the bank that it names.",
    ),
    Reason.DATE: Explanation(
        "The order's creation time is too old or lies in the future.",
        "Check this machine's clock and send anew.",
    ),
    Reason.CERTIFICATE_REVOKED: Explanation(
        "The certificate has been revoked.", "Make a new key and request a certificate for it."
    ),
    Reason.CERTIFICATE_INVALID: Explanation(
        "The certificate is not valid for this customer number, role or time.",
        "Look at `customer status`; request a new certificate with `customer request`.",
    ),
    Reason.CERTIFICATE_MISSING: Explanation(
        "The certificate is missing.",
        "Fetch it with `customer fetch`, or request one with `customer request`.",
    ),
    Reason.CA_UNKNOWN: Explanation(
        "The key is not certified by this bank's certificate authority.",
        "If it is yours that is missing, get one from the authority in the bank's letter with `customer request`.",
    ),
    Reason.OTHER_KEY: Explanation(
        "Another key counts for this customer number, and this one does not succeed it.",
        "Use that key, let it vouch for a new one with `customer renew --new-key`, or have the authority revoke it.",
    ),
    Reason.SIGNATURE: Explanation(
        "The signature does not fit the data or the key.",
        "Send the transfer anew; if it recurs, look at `customer status`.",
    ),
    Reason.KEY_NOT_ACTIVATED: Explanation(
        "The bank knows no key of this customer.",
        "Register it with `customer register`, or use the stage certified.",
    ),
    Reason.MALFORMED: Explanation("The message is malformed.", "Update this program; if it recurs, tell the bank."),
    Reason.PAYMENTS: Explanation(
        "Payments of the bulk order were refused, each for a reason of its own.",
        "Look at the payments that are named; correct them and send a new order with what was not booked.",
    ),
    Reason.STAGE_TOO_LOW: Explanation(
        "This stage is below what the bank accepts from this customer.",
        "Use a higher --stage; only the bank's operator can lower the floor.",
    ),
    Reason.CLOCK: Explanation(
        "The clocks of this machine and of the bank differ by more than five minutes.",
        "Set this machine's clock and try again.",
        retry_helps=True,
    ),
    Reason.BUSY: Explanation(
        "The bank has too much to do right now; nothing was recorded.",
        "Try again in a moment.",
        retry_helps=True,
    ),
    Reason.RATE: Explanation(
        "Too many refused orders in a short time; nothing was recorded.",
        "Wait a minute, then try again.",
        retry_helps=True,
    ),
    Reason.STOPPING: Explanation(
        "The bank is stopping for maintenance; nothing was recorded.", "Try again later.", retry_helps=True
    ),
    Reason.PASSWORD: Explanation(
        "The message does not open with the password agreed for this customer number.",
        "Check the customer number and the password in the bank's letter.",
    ),
    Reason.REGISTRATION: Explanation(
        "Another key is registered for this customer, or the bank accepts certified keys only.",
        "Use the registered key; for another key, request a certificate with `customer request`.",
    ),
    Reason.NOT_FOUND: Explanation(
        "The bank knows nothing under this identifier.", "Check the identifier with `customer outbox`."
    ),
}
