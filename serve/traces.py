"""Domain and version on vLLM's OpenTelemetry spans (`locum serve -- --otlp-traces-endpoint URL`)."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider

from locum.serve.metrics import labels_of
from locum.serve.requests import of_engine

REQUEST = "gen_ai.request.id"  # vLLM's attribute


def name_versions() -> None:
    """Let each span of a request carry `locum.domain`, `locum.version` and `locum.request_id`.

    vLLM makes a span when a request has ended, in the API server's process; this adds to it before it is sent.
    """
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.add_span_processor(_Naming())


class _Naming(SpanProcessor):
    def _on_ending(self, span: Span) -> None:
        # the specification's OnEnding, still experimental: vLLM names the request only after the span has started
        request = of_engine(str((span.attributes or {}).get(REQUEST, "")))
        if request is not None:
            domain, version = labels_of(request.name)
            span.set_attributes({"locum.domain": domain, "locum.version": version, "locum.request_id": request.id})
