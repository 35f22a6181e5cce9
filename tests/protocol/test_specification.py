"""docs/protocol.md and the code say the same, in both directions, and each comparison notices a difference."""

import enum
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest

import ca.config
import ca.documents
import ca.messages
import ca.notices
import ca.requests
import ca.x509.crl
import ca.x509.request
import ca.x509.root
from bank import config as bank_config
from bank import decide, service
from keyring import asked, certification, keys, packets, worker
from protocol import beginnings, canonical, frames, letter, limits, messages, orders, receipts, records
from protocol.codes import EXPLANATIONS, GroupStatus, Reason, Status
from protocol.errors import MalformedContent
from protocol.frames import FrameType
from protocol.stages import Stage
from tests.protocol.document import DOCUMENT, differences, example, sections, tables

SPEAKING: tuple[ModuleType, ...] = (messages, orders, receipts, beginnings, ca.messages, ca.requests, ca.notices)
LIMITING: tuple[ModuleType, ...] = (
    *(limits, frames, records, letter, packets, keys, worker, asked, ca.documents, decide, service),
    *(ca.x509.crl, ca.x509.request, ca.x509.root),
)
# What only the bank's or the authority's operator notices: a new limit must be put in the document, or here.
UNSEEN_BY_CLIENTS = {
    bank_config.Limits: {
        *("openings_at_once", "password_messages_at_once", "active_customers", "batch", "nonces"),
        *("stop_grace_seconds", "log_lines_per_minute"),
    },
    ca.config.Limits: {"open_requests", "open_request_days", "notices", "notices_per_customer", "verifications"},
}


# --- the code -------------------------------------------------------------------------------------------------------


def structures(modules: Iterable[ModuleType] = SPEAKING) -> dict[str, type[msgspec.Struct]]:
    """Every message and document, by its type's name."""
    found: dict[str, type[msgspec.Struct]] = {}
    for module in modules:
        for kind in vars(module).values():
            ours = inspect.isclass(kind) and issubclass(kind, msgspec.Struct) and kind.__module__ == module.__name__
            if ours and not kind.__name__.startswith("_"):
                found[tag(kind) or in_words(kind)] = kind
    return found


def described(kind: type[msgspec.Struct], named_patterns: dict[str, str]) -> dict[str, str]:
    """The fields of a structure with their types in the document's words."""
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {field.encode_name: term(hints[field.name], named_patterns) for field in msgspec.structs.fields(kind)}
    if tag(kind):
        found["type"] = json.dumps(tag(kind))
    return found


def tag(kind: type[msgspec.Struct]) -> str:
    """The name of the type on the wire, "" if it has none."""
    return str(kind.__struct_config__.tag or "")


def in_words(kind: type) -> str:
    """What the document calls a type that has no name on the wire: its name here, in words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()


def term(annotation: Any, named_patterns: dict[str, str]) -> str:
    meta = msgspec.Meta()
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, meta = typing.get_args(annotation)[:2]
    arguments = typing.get_args(annotation)
    match typing.get_origin(annotation):
        case typing.Union | types.UnionType:
            return " or ".join(term(each, named_patterns) for each in arguments)
        case typing.Literal:
            return " or ".join(json.dumps(each) for each in arguments)
        case container if container in (tuple, dict):
            name, each = (f"list{lengths(meta)}", arguments[0]) if container is tuple else ("object", arguments[1])
            return f"{name} of {term(each, named_patterns)}"
    if annotation is str and meta.pattern is not None:
        return named_patterns.get(plain(meta.pattern), f"a string like {meta.pattern}")
    if annotation is str and meta.max_length is not None:
        return f"text{lengths(meta)}"
    if annotation is int:
        bounds = (meta.ge, meta.le if meta.lt is None else int(meta.lt) - 1)
        return "count" if bounds == (0, 2**53 - 1) else f"integer {bounds[0]}–{bounds[1]}"  # noqa: RUF001
    if annotation is bytes:
        return "bytes" if meta.min_length is None else f"{meta.min_length} bytes"
    if issubclass(annotation, msgspec.Struct):
        return tag(annotation) or in_words(annotation)
    if issubclass(annotation, enum.Enum):
        return in_words(annotation)
    return {str: "text", bool: "boolean", type(None): "null"}[annotation]


def lengths(meta: msgspec.Meta) -> str:
    """The bounds of a text or a list, "" if it has none."""
    if meta.max_length is None:
        return ""
    return f" {meta.min_length}–{meta.max_length}" if meta.min_length else f" ≤ {meta.max_length}"  # noqa: RUF001


def plain(pattern: str) -> str:
    """A pattern without the marks that bind it to the whole string."""
    return re.sub(r"(\$|\\Z)$", "", pattern.removeprefix("^"))


# --- the comparisons; each gives a complaint for every difference ---------------------------------------------------

Comparison = Callable[[str], Iterator[str]]


def named_patterns(text: str) -> dict[str, str]:
    wholly = re.compile(r"a string that is wholly `(.*)`?$")
    return {match[1].rstrip("`"): row[0] for row in tables(text, "type", "form") if (match := wholly.match(row[1]))}


def messages_and_fields(text: str) -> Iterator[str]:
    said, true = sections(text), structures()
    yield from differences("message", said, true)
    for name in said.keys() & true.keys():
        rows = [(row[0], row[1]) for row in tables(said[name], "field", "type", "meaning")]
        yield from differences(f"field of {name}", rows, described(true[name], named_patterns(text)).items())


def examples(text: str) -> Iterator[str]:
    """Every example is what the code would send: it decodes, and encodes to the same bytes."""
    for name, section in sections(text).items():
        content, kind = example(section), structures().get(name)
        if name in structures() and not tag(structures()[name]):
            continue
        if content is None or kind is None:
            yield f"{name}: there is no example"
            continue
        try:
            if canonical.encode(canonical.decode(kind, content)) != content:
                yield f"{name}: the example is not canonical"
        except MalformedContent as error:
            yield f"{name}: {error}"


def frame_types(text: str) -> Iterator[str]:
    rows = [(number, name) for number, name, *_ in tables(text, "number", "frame", "body", "sent by")]
    yield from differences("frame type", rows, [(str(each.value), each.name) for each in FrameType])


def stages(text: str) -> Iterator[str]:
    header = ("stage", "rank", "bytes are protected by", "the speaker is known by", "an order carries")
    rows = tables(text, *header)
    yield from differences("stage", [row[:2] for row in rows], [(each.value, str(each.rank)) for each in Stage])
    for row in rows:
        stage = Stage(row[0])
        if ("session keys" in row[2]) is not stage.has_session:
            yield f"stage {stage.value}: what protects the bytes"
        if ("signed message" in row[4]) is not stage.orders_are_signed or ("CA" in row[3]) is not stage.is_certified:
            yield f"stage {stage.value}: what an order carries, or how the speaker is known"


def codes(text: str) -> Iterator[str]:
    rows = [(code, again, sentence) for code, _, again, sentence in tables(text, "code", "where", "again", "sentence")]
    true = [(reason.value, "yes" if each.retry_helps else "no", each.sentence) for reason, each in EXPLANATIONS.items()]
    yield from differences("code", rows, true)
    yield from differences("code", [row[0] for row in rows], [reason.value for reason in Reason])


def enumerations(text: str) -> Iterator[str]:
    forms = dict(row for row in tables(text, "type", "form") if len(row) == 2)
    for name, kind in (
        ("stage", Stage),
        ("status", Status),
        ("group status", GroupStatus),
        ("state", ca.messages.State),
    ):
        said = re.findall(r"`?([a-zA-Z]+)`?(?=[ ,`]|$)", forms[name].replace(" or ", ", ")) if name in forms else []
        words = [word for word in said if word not in ("partly", "settled", "rejected")]
        yield from differences(name, words, [each.value for each in kind])


def patterns(text: str) -> Iterator[str]:
    """Every named form is used by some field, and every form of a field has a name."""
    used = set()
    for kind in structures().values():
        hints = typing.get_type_hints(kind, include_extras=True)
        used |= {plain(meta.pattern) for hint in hints.values() for meta in metas(hint) if meta.pattern}
    yield from differences("form", named_patterns(text), used)


def metas(annotation: Any) -> Iterator[msgspec.Meta]:
    """What is said about the values of an annotation, however deep."""
    if isinstance(annotation, msgspec.Meta):
        yield annotation
    for each in typing.get_args(annotation):
        yield from metas(each)


def shared_limits(text: str) -> Iterator[str]:
    rows = tables(text, "limit", "value", "what it bounds")
    known = {name: value for module in reversed(LIMITING) for name, value in vars(module).items() if name.isupper()}
    for name, value, _ in rows:
        if str(known.get(name)).removesuffix(".0") != value:
            yield f"limit {name}: {value} in the document, {known.get(name)} in the code"
    said = [name for name, *_ in rows]
    yield from (f"limit {name}: not in the document" for name in vars(limits) if name.isupper() and name not in said)


def configured_limits(text: str) -> Iterator[str]:
    for header, kind in (("bank", bank_config.Limits), ("desk", ca.config.Limits)):
        rows = [row[:2] for row in tables(text, header, "default", "what it bounds")]
        true = [
            (field.name, f"{field.default:g}" if isinstance(field.default, float) else str(field.default))
            for field in msgspec.structs.fields(kind)
            if field.name not in UNSEEN_BY_CLIENTS[kind]
        ]
        yield from differences(f"limit of the {header}", rows, true)


def key_schedule(text: str) -> Iterator[str]:
    said = re.findall(r'"(countersign [^"]*)"', text)
    yield from differences(
        "info string", said, [each.decode() for each in (records.CUSTOMER_TO_BANK, records.BANK_TO_CUSTOMER)]
    )


def notations(text: str) -> Iterator[str]:
    names = (*certification.REQUIRED_NOTATIONS, *certification.EXTRA_NOTATIONS)
    said = [row[0] for row in tables(text, "notation", "value")]
    yield from differences("notation", said, [f"{name}@{certification.NOTATION_DOMAIN}" for name in names])


def letter_lines(text: str) -> Iterator[str]:
    """The labels are read off a letter, as its reader would."""
    fields = tuple(letter.Letter.__annotations__)
    said = tables(text, "field", "line begins with")
    filled = {name: "0" * 40 if "fingerprint" in name else str(place) for place, name in enumerate(fields)}
    filled["domain"] = "bank.example"
    yield from differences("field of the letter", [row[0] for row in said], fields)
    try:
        read = letter.parse("".join(f"{label} {filled.get(name, '')}\n" for name, label in said))
    except MalformedContent as error:
        yield f"letter: {error}"
        return
    yield from (f"letter: {name} stands in another line" for name in fields if getattr(read, name) != filled[name])


def compared_fields(text: str) -> Iterator[str]:
    flat = " ".join(text.split())
    for first, compared in (
        ("the first field", orders.COMPARED_FIELDS),
        ("else the first", orders.COMPARED_BULK_FIELDS),
    ):
        names = ", ".join(f"`{name}`" for name in compared)
        if f"{first} that differs among {names}" not in flat:
            yield "the fields of two orders with one identifier are not compared in the order that the document says"


COMPARISONS: tuple[Comparison, ...] = (
    *(messages_and_fields, examples, frame_types, stages, codes, enumerations, patterns, shared_limits),
    *(configured_limits, key_schedule, notations, letter_lines, compared_fields),
)

# For each comparison: something in the document, and what to put in its place so that it must complain.
DIFFERENCES: tuple[tuple[Comparison, str, str], ...] = (
    (messages_and_fields, "#### `ask-head`", "#### `ask-tail`"),
    (messages_and_fields, "| `lines` | integer 1–500 |", "| `lines` | integer 1–501 |"),  # noqa: RUF001
    (messages_and_fields, "| `since` | count or null |", "| `since` | count |"),
    (messages_and_fields, "| `share` | 32 bytes |", "| `share` | 33 bytes |"),
    (messages_and_fields, "| `duplicate` | boolean |", "| `duplicated` | boolean |"),
    (messages_and_fields, "| `index` | count |", "| `index` | count | |\n| `colour` | text |"),
    (messages_and_fields, "| `certificate` | bytes or null |", "| `certificate` | bytes |"),
    (messages_and_fields, "| `version` | 1 or 2 |", "| `version` | 2 |"),
    (messages_and_fields, "#### `ask-revocations`", "#### `ask-reinstatements`"),
    (examples, '"duplicate":false', '"duplicate":null'),
    (examples, '"certificate":"MIIDLi4u","customer"', '"customer"'),
    (examples, '{"after":0,', '{"number":1,"after":0,'),
    (examples, '"after":0,', '"after":0, '),
    (frame_types, "| 4 | `PASSWORD`", "| 6 | `PASSWORD`"),
    (frame_types, "| 17 | `DESK_ANSWER` | an answer of the desk | desk |\n", ""),
    (stages, "| `signed` | 3 |", "| `signed` | 5 |"),
    (stages, "| `password` | 1 | the agreed password,", "| `password` | 1 | session keys,"),
    (codes, "| AM04 | entry | no |", "| AM04 | entry | yes |"),
    (codes, "The balance is too low", "The balance is too high"),
    (codes, "| `busy` | refusal |", "| `lazy` | refusal |"),
    (enumerations, "`confirmed`, `locked`, `issued`,", "`confirmed`, `issued`,"),
    (messages_and_fields, "| `succeeds` | fingerprint or null |", "| `succeeds` | fingerprint |"),
    (enumerations, "| status | `ACSC` (settled) or", "| status | `ACSC` (settled), `PDNG` or"),
    (patterns, "wholly `[A-Za-z0-9-]{1,35}`", "wholly `[A-Za-z0-9-]{1,36}`"),
    (shared_limits, "| `AMOUNT_MINOR` | 1000000000000000 |", "| `AMOUNT_MINOR` | 100000000000000 |"),
    (shared_limits, "| `CRL_LIMIT_BYTES` | 4194304 |", "| `CRL_LIMIT_BYTES` | 4194303 |"),
    (shared_limits, "| `STATEMENT_LINES` |", "| `STATEMENT_LINE` |"),
    (configured_limits, "| `idle_seconds` | 300 |", "| `idle_seconds` | 301 |"),
    (configured_limits, "| `questions_per_connection` | 64 |", "| `questions_for_ever` | 64 |"),
    (key_schedule, "countersign 1 bank to customer", "countersign 1 bank to customers"),
    (notations, "`role@countersign.example`", "`rank@countersign.example`"),
    (letter_lines, "`Agreed password:`", "`Password:`"),
    (
        letter_lines,
        "| `name` | `Name:` |\n| `currency` | `Currency:` |",
        "| `name` | `Currency:` |\n| `currency` | `Name:` |",
    ),
    (compared_fields, "`creditor`, `amount`,", "`amount`, `creditor`,"),
    (compared_fields, "`payments`, `count`,", "`count`, `payments`,"),
    (messages_and_fields, "| list 1–1000 of payment |", "| list 1–999 of payment |"),  # noqa: RUF001
    (messages_and_fields, "#### refused payment", "#### accepted payment"),
    (enumerations, "`PART` (partly settled)", "`PDNG` (partly settled)"),
)


@pytest.fixture(scope="module")
def document() -> str:
    return DOCUMENT.read_text("utf-8")


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda each: each.__name__)
def test_document_and_code_agree(comparison: Comparison, document: str) -> None:
    complaints = list(comparison(document))
    assert not complaints, "\n" + "\n".join(complaints)


@pytest.mark.parametrize(
    ("comparison", "original", "other"), DIFFERENCES, ids=lambda part: getattr(part, "__name__", "")
)
def test_a_difference_is_noticed(comparison: Comparison, original: str, other: str, document: str) -> None:
    changed = document.replace(original, other)
    assert changed != document, "the document no longer says this; choose another difference"
    assert list(comparison(changed))


def test_every_comparison_has_a_difference_to_notice() -> None:
    assert {comparison for comparison, _, _ in DIFFERENCES} == set(COMPARISONS)


def test_a_message_that_only_the_code_knows_is_noticed(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class AskWeather(msgspec.Struct, tag="ask-weather"):
        number: messages.RequestNumber

    AskWeather.__module__ = messages.__name__
    monkeypatch.setattr(messages, "AskWeather", AskWeather, raising=False)
    assert any("ask-weather" in complaint for complaint in messages_and_fields(document))


def test_a_limit_that_only_the_code_knows_is_noticed(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PAYMENTS_IN_BULK", 100, raising=False)
    assert any("PAYMENTS_IN_BULK" in complaint for complaint in shared_limits(document))


def test_every_message_of_the_unions_is_described() -> None:
    members = {
        *typing.get_args(messages.Request),
        *typing.get_args(messages.Answer),
        *typing.get_args(ca.messages.DeskRequest),
        *typing.get_args(ca.messages.DeskAnswer),
    }
    assert members <= set(structures().values())
