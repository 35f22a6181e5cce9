"""Messages survive the wire, and whatever else comes is malformed with the field named, never a surprise."""

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import canonical, messages
from protocol.codes import EXPLANATIONS, Reason
from protocol.errors import MalformedContent
from protocol.limits import STATEMENT_LINES
from protocol.messages import AskStatement, Close, Opened, Refusal, Request, SessionOpening, SubmitOrder
from protocol.orders import Digest, Fingerprint, Identifier, Number, Time
from protocol.receipts import LogIdentifier
from protocol.stages import Stage

KINDS: tuple[type[msgspec.Struct], ...] = (
    *(kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)),
)
REQUESTS: tuple[type[msgspec.Struct], ...] = get_args(Request)
ANSWERS: tuple[type[msgspec.Struct], ...] = get_args(messages.Answer)
COUNT = {"number": 1}


def of(kind: type[msgspec.Struct]) -> st.SearchStrategy[msgspec.Struct]:
    """Values of a message as its types allow them."""
    hints = {field.name: field for field in msgspec.structs.fields(kind)}
    return st.fixed_dictionaries({name: value(field.type) for name, field in hints.items()}).map(
        lambda fields: kind(**fields)
    )


def value(annotation: Any) -> st.SearchStrategy[Any]:
    known: dict[Any, st.SearchStrategy[Any]] = {
        bytes: st.binary(max_size=40),
        str: st.text(max_size=20),
        bool: st.booleans(),
        type(None): st.none(),
        messages.Bytes32: st.binary(min_size=32, max_size=32),
        messages.RequestNumber: st.integers(min_value=0, max_value=2**53 - 1),
        Number: st.text(max_size=34),
        Identifier: st.from_regex(r"[A-Za-z0-9-]{1,35}", fullmatch=True),
        Time: st.just("2026-01-31T09:30:00Z"),
        LogIdentifier: st.just("ab" * 16),
        Digest: st.just("cd" * 32),
        Fingerprint: st.just("AB" * 20),
        messages.RuleName: st.from_regex(r"[a-z][a-z0-9-]{0,63}", fullmatch=True),
    }
    if annotation in known:
        return known[annotation]
    arguments = get_args(annotation)
    origin = getattr(annotation, "__origin__", None)
    if origin is tuple:
        return st.lists(value(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(st.from_regex(r"[A-Za-z.]{1,12}", fullmatch=True), value(arguments[1]), max_size=3)
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return of(annotation)
    if isinstance(annotation, type):
        return st.sampled_from(annotation)
    if arguments and isinstance(arguments[-1], msgspec.Meta):
        return st.integers(min_value=1, max_value=STATEMENT_LINES)
    if annotation == get_literal():
        return st.just(1)
    return st.one_of(*(value(each) for each in arguments))


def get_literal() -> Any:
    return SessionOpening.__annotations__["version"]


def decode(kind: type[msgspec.Struct], data: bytes) -> msgspec.Struct:
    if kind in REQUESTS:
        return messages.decode_request(data)
    if kind in ANSWERS:
        return messages.decode_answer(data)
    return canonical.decode(kind, data)


MESSAGES = [kind for kind in KINDS if not kind.__name__.startswith("_") and kind.__module__ == messages.__name__]


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_every_message_survives_the_wire(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    message = data.draw(of(kind))
    encoded = messages.encode(message)
    assert decode(kind, encoded) == message
    # The form is RFC 8785's: another encoder makes the same bytes.
    again = json.dumps(json.loads(encoded), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert again.encode() == encoded


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_no_field_may_be_missing_unknown_or_of_another_kind(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    fields = json.loads(messages.encode(data.draw(of(kind))))
    name = data.draw(st.sampled_from(sorted(fields)))
    defaults = {field.name for field in msgspec.structs.fields(kind) if not field.required}
    tagged = kind.__struct_config__.tag is not None and (kind in REQUESTS or kind in ANSWERS)
    if name not in defaults and (name != "type" or tagged):
        with pytest.raises(MalformedContent) as caught:
            decode(kind, _json({key: each for key, each in fields.items() if key != name}))
        assert caught.value.field.startswith(name)
    with pytest.raises(MalformedContent) as caught:
        decode(kind, _json({**fields, "colour": 1}))
    assert caught.value.field == "colour"
    with pytest.raises(MalformedContent) as caught:
        decode(kind, _json({**fields, name: 1.5}))
    assert caught.value.field.startswith(name)


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    for read in (messages.decode_request, messages.decode_answer):
        with pytest.raises(MalformedContent):
            read(data)


@given(st.data())
def test_a_changed_byte_gives_a_message_or_is_malformed(data: st.DataObject) -> None:
    message = data.draw(st.sampled_from(REQUESTS + ANSWERS).flatmap(of))
    changed = bytearray(messages.encode(message))
    place = data.draw(st.integers(min_value=0, max_value=len(changed) - 1))
    changed[place] = data.draw(st.integers(min_value=0, max_value=255))
    for read in (messages.decode_request, messages.decode_answer):
        try:
            found: Any = read(bytes(changed))
        except MalformedContent:
            continue
        assert isinstance(found, REQUESTS + ANSWERS)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b'{"number":' + b"1" * 100_000 + b"}"])
def test_depth_and_length_of_numbers_do_no_harm(content: bytes) -> None:
    with pytest.raises(MalformedContent):
        messages.decode_request(content)


def test_an_answer_is_no_request_and_a_request_no_answer() -> None:
    with pytest.raises(MalformedContent):
        messages.decode_answer(messages.encode(Close(number=1)))
    with pytest.raises(MalformedContent):
        messages.decode_request(messages.encode(messages.Closed(number=1)))


@pytest.mark.parametrize("text", ["aGk", "aGk\\n", "aG k=", "_-8=", "aGk==", "a", "aGk=x"])
def test_bytes_are_base64_with_padding(text: str) -> None:
    with pytest.raises(MalformedContent) as caught:
        messages.decode_request(f'{{"type":"submit-order","number":1,"since":null,"order":"{text}"}}'.encode())
    assert caught.value.field == "order"


@pytest.mark.parametrize("number", ["-1", "9007199254740992", "1.0", "1e0", '"1"', "true", "null", "01"])
def test_request_numbers_are_plain_integers(number: str) -> None:
    with pytest.raises(MalformedContent):
        messages.decode_request(f'{{"type":"close","number":{number}}}'.encode())


@pytest.mark.parametrize("lines", [0, STATEMENT_LINES + 1])
def test_a_page_has_its_limit(lines: int) -> None:
    with pytest.raises(MalformedContent) as caught:
        messages.decode_request(messages.encode(AskStatement(after=0, lines=lines, number=1)))
    assert caught.value.field == "lines"


@pytest.mark.parametrize("ending", ["\n", " ", "\x00", "é"])
def test_nothing_hangs_on_to_an_identifier(ending: str) -> None:
    request = messages.LookUpOrder(number=1, order="ab" * 32, since=None, transfer_identifier=f"abc{ending}")
    with pytest.raises(MalformedContent) as caught:
        messages.decode_request(messages.encode(request))
    assert caught.value.field == "transfer_identifier"
    digest = messages.LookUpOrder(number=1, order="ab" * 32 + ending, since=None, transfer_identifier="abc")
    with pytest.raises(MalformedContent):
        messages.decode_request(messages.encode(digest))


def test_shares_and_nonces_have_32_bytes() -> None:
    for length in (31, 33):
        opened = Opened(session=bytes(32), share=bytes(length), time="2026-01-31T09:30:00Z")
        with pytest.raises(MalformedContent) as caught:
            canonical.decode(Opened, messages.encode(opened))
        assert caught.value.field == "share"


def test_the_session_key_is_not_shown() -> None:
    opening = SessionOpening("A" * 40, None, "1001", None, b"k" * 32, b"s" * 32, Stage.SIGNED, "2026-01-31T09:30:00Z")
    assert "kkk" not in repr(opening)
    assert "1001" in repr(opening)


def test_errors_quote_no_foreign_text_that_a_terminal_would_obey() -> None:
    with pytest.raises(MalformedContent) as caught:
        messages.decode_request(b'{"type":"close","number":1,"\\u001b[31m\\u202e' + b"x" * 5000 + b'":1}')
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_refuse_uses_the_sentence_of_the_reason() -> None:
    for reason in Reason:
        refusal = messages.refuse(reason, time="2026-01-31T09:30:00Z")
        assert refusal.sentence == EXPLANATIONS[reason].sentence
        assert (refusal.number, refusal.field, refusal.transfer_identifier) == (0, None, None)
    own = messages.refuse(Reason.BUSY, number=3, time="2026-01-31T09:30:00Z", sentence="Later.", field="order")
    assert (own.sentence, own.number, own.field) == ("Later.", 3, "order")


def test_what_may_be_left_out_means_null() -> None:
    data = (
        b'{"field":null,"number":0,"reason":"busy","sentence":"Later.","time":"2026-01-31T09:30:00Z","type":"refusal"}'
    )
    refusal = messages.decode_answer(data)
    assert isinstance(refusal, Refusal)
    assert refusal.transfer_identifier is None


def test_messages_do_not_change() -> None:
    order = SubmitOrder(number=1, order=b"", since=None)
    with pytest.raises(AttributeError):
        order.number = 2  # type: ignore[misc]
