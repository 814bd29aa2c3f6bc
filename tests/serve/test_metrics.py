"""What a server tells of itself: metrics by domain and version, a log line and a span for each request."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.conftest import LiveServer


def ask(server: LiveServer, model: str, **options: Any) -> httpx.Response:
    headers = options.pop("headers", {})
    body = {"model": model, "messages": [{"role": "user", "content": "Well?"}], "max_tokens": 5, "ignore_eos": True}
    return httpx.post(f"{server.endpoint}/chat/completions", json={**body, **options}, headers=headers, timeout=60)


@pytest.mark.parametrize(
    ("model", "domain", "version"),
    [("medical", "medical", "1"), ("legal@2", "legal", "2"), ("tiny-llama", "base", "tiny-llama")],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_counted_with_its_tokens_and_times(
    server: LiveServer, model: str, domain: str, version: str, stream: bool
) -> None:
    of = {"domain": domain, "version": version}

    def counts() -> dict[str, float]:
        return {
            "requests": server.metric("locum_requests_total", outcome="ok", **of),
            "prompt": server.metric("locum_prompt_tokens_total", **of),
            "completion": server.metric("locum_completion_tokens_total", **of),
            "first": server.metric("locum_time_to_first_token_seconds_count", **of),
            "each": server.metric("locum_time_per_output_token_seconds_count", **of),
        }

    before = counts()
    answer = ask(server, model, stream=stream, **({"stream_options": {"include_usage": True}} if stream else {}))
    assert answer.status_code == 200
    usage = json.loads(re.findall(r'"usage":({"prompt_tokens".*?})[,}]', answer.text)[-1])
    server.until(lambda: counts()["requests"] > before["requests"])  # once its end is sent, and not before
    after = counts()
    assert {name: after[name] - before[name] for name in after} == {
        "requests": 1,
        "prompt": usage["prompt_tokens"],
        "completion": 5,
        "first": 1,
        "each": 1,
    }


def test_several_prompts_in_one_request_are_all_counted(server: LiveServer) -> None:
    before = server.metric("locum_completion_tokens_total", domain="medical")
    body = {"model": "medical", "prompt": ["Well?", "And?"], "max_tokens": 3, "ignore_eos": True}
    assert httpx.post(f"{server.endpoint}/completions", json=body, timeout=60).status_code == 200
    server.until(lambda: server.metric("locum_completion_tokens_total", domain="medical") == before + 6)


def test_names_that_do_not_exist_make_no_series(server: LiveServer) -> None:
    before = server.metric("locum_requests_total", domain="none", outcome="refused")
    names = [f"nobody-{number}" for number in range(5)]
    assert {ask(server, name).status_code for name in names} == {404}
    assert server.metric("locum_requests_total", domain="none", outcome="refused") == before + 5
    assert "nobody" not in httpx.get(f"{server.url}/metrics", follow_redirects=True, timeout=60).text


def test_a_request_that_vllm_refuses_is_counted_as_refused(server: LiveServer) -> None:
    before = server.metric("locum_requests_total", domain="medical", outcome="refused")
    assert ask(server, "medical", max_tokens=-1).status_code == 400
    server.until(lambda: server.metric("locum_requests_total", domain="medical", outcome="refused") == before + 1)


def test_the_life_of_a_version_can_be_followed_and_leaves_no_series(
    server: LiveServer, tiny_adapter: Callable[..., Path]
) -> None:
    assert server.metric("locum_registry_up") == 1
    before = server.metric("locum_swaps_total", outcome="ok")
    manifest = server.registry.register(
        "finance",
        tiny_adapter(rank=4, seed=77),
        base=server.base,
        recipe={},
        data=None,
        training={},
        probes=[],
        created_by="test",
    )
    of = {"domain": "finance", "version": str(manifest.number)}
    server.until(lambda: server.metric("locum_registry_revision") == server.registry.revision())
    server.until(lambda: server.metric("locum_swaps_total", outcome="ok") > before)
    assert server.metric("locum_adapter_loads_total", source="alias", outcome="ok", **of) == 1
    assert server.metric("locum_adapters_held") > 0
    assert server.metric("locum_adapter_slots") == 8
    assert server.metric("locum_aliases_not_converged") == 0
    assert ask(server, manifest.name).status_code == 200
    server.registry.delete(manifest.name)
    server.until(lambda: server.metric("locum_requests_total", **of) == 0)
    assert server.metric("locum_adapter_loads_total", **of) == 0


def test_each_answer_names_its_request_and_keeps_the_name_that_a_client_gives(server: LiveServer) -> None:
    given = f"visit-{uuid.uuid4()}"
    assert ask(server, "medical", headers={"X-Request-Id": given}).headers["x-request-id"] == given
    made = [ask(server, "medical").headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    nonsense = ask(server, "medical", headers={"X-Request-Id": "two words, 'quoted'"})
    assert re.fullmatch(r"[0-9a-f]{40}", nonsense.headers["x-request-id"])


def test_each_request_is_one_json_line_of_the_log_with_no_word_of_what_was_said(server: LiveServer) -> None:
    began = time.monotonic()
    answer = ask(server, "legal", messages=[{"role": "user", "content": "A secret of a client"}])
    request_id = answer.headers["x-request-id"]
    log = server.settings.logs / f"serve-{server.settings.port}.log"
    server.until(lambda: f'"request_id": "{request_id}"' in log.read_text())
    text = log.read_text()
    [line] = [json.loads(line) for line in text.splitlines() if f'"request_id": "{request_id}"' in line]
    assert line["path"] == "/v1/chat/completions"
    assert f"{line['domain']}@{line['version']}" == answer.json()["model"]
    assert (line["outcome"], line["status"], line["completion_tokens"]) == ("ok", 200, 5)
    assert 0 < line["seconds"] < time.monotonic() - began
    assert "A secret of a client" not in text


def test_the_spans_of_a_request_carry_domain_version_and_request(server: LiveServer) -> None:
    request_id = ask(server, "legal@2").headers["x-request-id"]

    def found() -> list[dict[str, str]]:
        return [attributes for attributes in server.spans() if attributes.get("locum.request_id") == request_id]

    server.until(lambda: len(found()) == 2)
    assert {(each["locum.domain"], each["locum.version"]) for each in found()} == {("legal", "2")}
    [of_vllm] = [each for each in found() if "gen_ai.usage.completion_tokens" in each]
    assert int(of_vllm["gen_ai.usage.completion_tokens"]) == 5
