"""What the door reads of a body, and what it writes in its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.errors import BadInputError
from locum.serve.body import Body

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()))
keys = st.sampled_from(["model", "prompt", "mod", "\\u006dodel", "modèle"]) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)


@given(
    fields=st.dictionaries(keys, values), model=st.text(), ascii_only=st.booleans(), indent=st.sampled_from([None, 1])
)
def test_the_model_is_replaced_and_everything_else_is_what_python_reads(
    fields: dict[str, Any], model: str, ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps({**fields, "model": model}, ensure_ascii=ascii_only, indent=indent)
    raw = text.encode(errors="surrogatepass")
    body = Body(raw)
    assert body.model == model
    # as text, since NaN is not equal to itself
    assert json.dumps(json.loads(body.replacing({"model": "medical@3"}))) == json.dumps(
        {**json.loads(raw), "model": "medical@3"}
    )


@given(st.dictionaries(keys, values), st.lists(keys))
def test_single_values_are_what_python_reads(fields: dict[str, Any], names: list[str]) -> None:
    raw = json.dumps({**fields, "model": "medical"}).encode()
    wanted = {name: value for name, value in json.loads(raw).items() if name in names}
    assert json.dumps(Body(raw).values(*names), sort_keys=True) == json.dumps(wanted, sort_keys=True)


def model_of(raw: bytes) -> str | None:
    """The model that a body asks for, None where it is refused."""
    try:
        return Body(raw).model
    except BadInputError:
        return None


@given(st.lists(st.tuples(keys, scalars | st.just("medical")), max_size=6))
def test_of_a_key_that_is_there_twice_the_last_counts_as_python_has_it(pairs: list[tuple[str, Any]]) -> None:
    raw = b"{" + b",".join(f"{json.dumps(key)}:{json.dumps(value)}".encode() for key, value in pairs) + b"}"
    wanted = json.loads(raw).get("model")
    assert model_of(raw) == (_printable(wanted) if isinstance(wanted, str) else None)
    if isinstance(wanted, str):
        written = Body(raw).replacing({"model": "legal@1"})
        assert [value for key, value in json.loads(written, object_pairs_hook=list) if key == "model"] == ["legal@1"]


@given(st.binary() | values.map(lambda value: json.dumps(value).encode()[:-1]))
def test_what_is_no_request_is_refused_and_raises_nothing_else(raw: bytes) -> None:
    try:
        request = json.loads(raw)
    except ValueError:
        request = None
    found = request.get("model") if isinstance(request, dict) else None
    assert model_of(raw) == (_printable(found) if isinstance(found, str) else None)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model": "medical", "temperature": NaN}',
        b'\xef\xbb\xbf{"model": "medical"}',
        '{"model": "medical", "prompt": "é"}'.encode("utf-16"),
        b'{"model": "medical", "prompt": "\\ud83d"}',
        b'{"mod\\u0065l": "med\\u0069cal"}',
    ],
)
def test_what_python_takes_though_json_does_not_is_taken(raw: bytes) -> None:
    body = Body(raw)
    assert body.model == "medical"
    wanted = {**json.loads(raw), "model": "medical@3"}
    assert json.dumps(json.loads(body.replacing({"model": "medical@3"}))) == json.dumps(wanted)


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (b'{"model": "medical", "x": ' + b"[" * 1_000_000, "nested too deeply"),
        (b"{not json", "the body is not JSON: "),
        (b"", "the body is empty: expected a JSON object"),
        (b'["medical"]', "the body: expected a JSON object, found an array"),
        (b"{}", "model: expected the name of a model, there is none"),
        (b'{"model": null}', "model: expected the name of a model, there is none"),
        (b'{"model": 3}', "model: expected the name of a model, found a number"),
        (b'{"model": false}', "model: expected the name of a model, found a boolean"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(raw: bytes, complaint: str) -> None:
    with pytest.raises(BadInputError, match=complaint):
        Body(raw)


def test_half_a_surrogate_pair_in_a_name_can_be_said_in_an_error() -> None:
    assert Body(b'{"model": "\\ud800"}').model == "\\ud800"


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


@pytest.mark.parametrize("raw", [b'{"prompt": "x"}', b'{"prompt": "x", "model": null}'])
def test_a_body_that_may_do_without_a_model_asks_the_one_that_is_given(raw: bytes) -> None:
    body = Body(raw, otherwise="tiny-llama")
    assert body.model == "tiny-llama"
    assert json.loads(body.replacing({"model": body.model})) == {"prompt": "x", "model": "tiny-llama"}
    with pytest.raises(BadInputError):
        Body(b'{"model": 7}', otherwise="tiny-llama")
