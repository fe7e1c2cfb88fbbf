"""No secret in anything that prints, dumps or is raised."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import traceback

import pytest
from pydantic import ValidationError
from rich.console import Console
from rich.pretty import pretty_repr

from binder_node.secrets.generate import generate
from binder_node.secrets.masked import MASK, REVEAL, Masked
from binder_node.secrets.model import Secrets

HIDDEN = "hunter2-correct-horse"


@pytest.fixture(scope="module")
def secrets() -> Secrets:
    return Secrets.model_validate({**generate().model_dump(context=REVEAL), "tokens": {"hcloud": "t0ken-" * 5}})


def hidden(secrets: Secrets) -> list[str]:
    """Every text that must not be seen, and the lines of those that have several."""
    texts = [value.reveal() for value in secrets.hidden()]
    return texts + [line for text in texts for line in text.splitlines() if len(line) > 20 and "-----" not in line]


def test_it_reveals_only_when_asked() -> None:
    token = Masked(HIDDEN)
    assert (f"{token}", repr(token), f"{token:>5}", f"{[token]}", "%s" % token) == (MASK, MASK, "  ***", "[***]", MASK)  # noqa: UP031
    assert token.reveal() == HIDDEN
    assert not hasattr(token, "__dict__")


def test_it_compares_and_copies() -> None:
    assert Masked("a") == Masked("a") != Masked("b")
    assert Masked("a") != "a"
    assert len({Masked("a"), Masked("a")}) == 1
    assert copy.deepcopy(Masked("a")) == copy.copy(Masked("a")) == Masked("a")


def test_it_is_not_pickled(secrets: Secrets) -> None:
    for thing in (Masked(HIDDEN), secrets):
        with pytest.raises(TypeError, match="a secret is not pickled") as caught:
            pickle.dumps(thing)
        assert HIDDEN not in str(caught.value)


def test_a_model_shows_and_dumps_masks(secrets: Secrets) -> None:
    log = io.StringIO()
    logger = logging.getLogger("test_secrets_masked")
    logger.addHandler(logging.StreamHandler(log))
    logger.warning("%s %r", secrets, secrets)
    screen = Console(file=io.StringIO(), width=200)
    screen.print(secrets)
    shown = [
        str(secrets),
        repr(secrets),
        f"{secrets}",
        secrets.model_dump_json(),
        json.dumps(secrets.model_dump()),
        json.dumps(secrets.model_dump(mode="json")),
        str(secrets.model_copy(deep=True)),
        str(dict(secrets)),
        pretty_repr(secrets),
        screen.file.getvalue() if isinstance(screen.file, io.StringIO) else "",
        log.getvalue(),
    ]
    for text in shown:
        assert MASK in text
        assert secrets.host_key_public in text.replace("\n", "")
        assert not [one for one in hidden(secrets) if one in text]


def test_only_the_store_dumps_what_is_there(secrets: Secrets) -> None:
    dumped = secrets.model_dump(context=REVEAL)
    assert dumped["proxy_token"] == secrets.proxy_token.reveal()
    assert Secrets.model_validate(dumped) == secrets


def test_a_validation_error_does_not_quote(secrets: Secrets) -> None:
    values = {**secrets.model_dump(context=REVEAL), "k3s_token": ["not a text", HIDDEN], "other": HIDDEN}
    del values["host_key"]
    with pytest.raises(ValidationError) as caught:
        Secrets.model_validate(values)
    text = "".join(traceback.format_exception(caught.value))
    assert HIDDEN not in text
    assert not [one for one in hidden(secrets) if one in text]


def test_a_traceback_with_locals_does_not_show(secrets: Secrets) -> None:
    def fails(held: Secrets) -> None:
        raise RuntimeError(f"with {held} and {held.proxy_token}")

    screen = Console(file=io.StringIO(), width=200)
    try:
        fails(secrets)
    except RuntimeError as error:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        screen.print_exception(show_locals=True)
    assert isinstance(screen.file, io.StringIO)
    for shown in (text, screen.file.getvalue()):
        assert "RuntimeError" in shown
        assert not [one for one in hidden(secrets) if one in shown]


@pytest.mark.parametrize("value", ["", None, 5, ["x"], {}])
def test_an_empty_secret_is_none(value: object) -> None:
    with pytest.raises(ValidationError, match="must be a text that is not empty"):
        Secrets.model_validate({"k3s_token": value})
