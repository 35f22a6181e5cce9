"""A secret shows itself to reveal() alone."""

import copy
import logging
import pickle
import traceback

import msgspec
import pytest

from protocol.secret import Secret

HIDDEN = b"a very well kept secret"


@pytest.fixture
def secret() -> Secret:
    return Secret(HIDDEN)


def test_reveal_gives_the_bytes(secret: Secret) -> None:
    assert secret.reveal() == HIDDEN


def test_no_display_shows_it(secret: Secret) -> None:
    shown = (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        "{}".format(secret),  # noqa: UP032 - this way, too
        repr([secret]),
        repr({"a": secret}),
    )
    assert not any("kept" in each for each in shown)
    assert not hasattr(secret, "__dict__")


def test_no_log_and_no_traceback_shows_it(secret: Secret, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("opened with %s and %r", secret, secret)
    assert "kept" not in caplog.text
    try:
        int(secret)  # type: ignore[call-overload]
    except TypeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        assert "secret = Secret(" in shown
        assert "well kept" not in shown


def test_it_is_not_written_out(secret: Secret) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not written out"):
            pickle.dumps(secret, protocol)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not written out"):
            duplicate(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)


def test_equality_compares_contents_and_leaks_nothing_else(secret: Secret) -> None:
    assert secret == Secret(bytes(HIDDEN))
    assert secret != Secret(HIDDEN[:-1])
    assert secret != HIDDEN
    with pytest.raises(TypeError):
        hash(secret)
