"""A span for each request, and domain and version on vLLM's (`locum serve -- --otlp-traces-endpoint URL`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from locum.serve.metrics import labels_of
from locum.serve.requests import Asked


class Traces(SpanProcessor):
    """Spans by the provider that vLLM has set up in this process.

    The door's span is the child of the client's, if that sent a `traceparent`, and the parent of vLLM's span.
    """

    def __init__(self) -> None:
        self._propagator = TraceContextTextMapPropagator()
        self._tracer = trace.get_tracer("locum")
        self._attributes: dict[int, dict[str, str]] = {}  # of requests that run, by their span's id
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            provider.add_span_processor(self)

    @contextmanager
    def span(self, request: Asked, *, headers: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """A span while the request runs; gives the headers that name it to vLLM."""
        domain, version = labels_of(request.name)
        attributes = {"locum.domain": domain, "locum.version": version, "locum.request_id": request.id}
        context = self._propagator.extract(headers)
        with self._tracer.start_as_current_span(
            f"POST {request.path}", context, kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            span_id = span.get_span_context().span_id
            self._attributes[span_id] = attributes
            named: dict[str, str] = {}
            self._propagator.inject(named)
            try:
                yield named
            finally:
                del self._attributes[span_id]
                span.set_attribute("http.response.status_code", request.status or 0)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Let what vLLM tells of a request carry its domain and version too."""
        if span.parent is not None:
            span.set_attributes(self._attributes.get(span.parent.span_id, {}))
