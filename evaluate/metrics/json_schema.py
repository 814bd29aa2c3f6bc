"""Validity against a JSON schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import Field
from referencing import Registry
from referencing.exceptions import Unresolvable

from locum.errors import BadInputError
from locum.evaluate.metrics.base import TEXT, Options, PairMetric
from locum.evaluate.metrics.text import fenced, unfenced

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample


class JsonSchemaOptions(Options):
    """Settings of the validity."""

    prose: bool = Field(False, description="words around one code fence are let through")
    formats: bool = Field(False, description="check `format`, such as date and email, too")


class JsonSchema(PairMetric):
    """1 for an answer that is JSON and valid against its sample's schema, else 0.

    The answer is JSON as RFC 8259 has it (no NaN, no comments) and nothing else, or one ``` fence with nothing else in
    it and, unless `prose` is set, around it. Whether the values are right is another metric's question. A `$ref`
    to another document is not fetched: it is an error of the suite. About a sample without a schema nothing is said.

    Binary; no unit; higher is better. Source: JSON Schema, draft 2020-12, through `jsonschema`.
    """

    metric = "json_schema"
    source = "JSON Schema: A Media Type for Describing JSON Documents, draft 2020-12. json-schema.org"
    options_type = JsonSchemaOptions
    options = JsonSchemaOptions()
    inputs = {"predictions": TEXT, "schemas": TEXT}  # noqa: RUF012  # a ClassVar in the base
    binary = True

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """The answer and the sample's schema as text.

        Raises:
            BadInputError: the schema is none.
        """
        if sample.schema is None or answer.answer is None:
            return None
        try:
            Draft202012Validator.check_schema(sample.schema)
        except SchemaError as error:
            raise BadInputError(f"sample {sample.id}: `schema` is no JSON schema: {error.message}") from None
        return {"predictions": answer.answer, "schemas": json.dumps(sample.schema)}

    def score_pair(self, predictions: str, schemas: str) -> float:
        text = unfenced(predictions)
        if self.options.prose and (inside := fenced(predictions)):
            text = inside[0] if len(inside) == 1 else ""
        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return 0.0
        checker = Draft202012Validator.FORMAT_CHECKER if self.options.formats else None
        validator = Draft202012Validator(json.loads(schemas), format_checker=checker, registry=Registry())
        try:
            return float(validator.is_valid(value))
        except Unresolvable as error:
            raise BadInputError(f"a sample's `schema` refers to {error.ref}, which is not in it") from None
        except (RecursionError, OverflowError):  # too deep, or a number such as 1e400, which is infinite here
            return 0.0


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
