"""vLLM's real app with its real engine in the process of a test, so that what it does can be seen and disturbed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from fastapi import FastAPI

from locum.adapters.base import pull
from locum.adapters.registry import Registry
from locum.serve import launcher
from locum.serve.host import HostPlan
from locum.settings import Settings
from tests.bases import chatml_base
from tests.conftest import environment_of, write_domain
from tests.records import register_plainly

TOKEN = "the-admin-token"
PAGE = "https://page.example"  # may ask, from a browser


@asynccontextmanager
async def app_inside(root: Path, tiny_base: Path, tiny_adapter: Callable[..., Path]) -> AsyncIterator[FastAPI]:
    """The app, ready, with medical@1 and legal@1 in production and legal@2 the candidate.

    Its base model's files name another end than the one that its chat template ends a turn with.
    """
    settings = Settings(home=root / "home", domains=root / "domains", base="tiny-llama", user="tester")
    base = pull(str(chatml_base(tiny_base, root / "tiny-llama")), settings.bases)
    write_domain(settings.domains, "medical")
    registry = Registry.open(settings)
    for seed, domain in enumerate(("medical", "legal", "legal"), start=1):
        made = register_plainly(registry, domain, tiny_adapter(rank=4, seed=seed), base)
        if made.number == 1:
            registry.release(made.name, by="tester", reason="first", force=True)
    plan = HostPlan("cpu", "float32", "for the tests", [], 1 << 28, [], [])
    arguments = [*launcher.arguments(settings, base, plan, 16), "--enforce-eager"]
    environment = {**environment_of(settings, TOKEN), **launcher.variables(settings, plan, TOKEN)}
    async with _app([*arguments, "--allowed-origins", json.dumps([PAGE])], environment) as app:
        yield app


@contextmanager
def environ(variables: dict[str, str]) -> Iterator[None]:
    """These variables in the place of the process' own, which come back whatever vLLM has done to them."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@asynccontextmanager
async def _app(arguments: list[str], environment: dict[str, str]) -> AsyncIterator[FastAPI]:
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.api_server.entry import build_async_engine_client
    from vllm.entrypoints.launchers.app import build_app
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.logger import configure_logging_from_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:
        with environ(environment):
            args = make_arg_parser(FlexibleArgumentParser()).parse_args(arguments)
            configure_logging_from_args(args)
            client = await stack.enter_async_context(build_async_engine_client(args))
            tasks = await client.get_supported_tasks()
            app = build_app(args, tasks, client.model_config)
            await init_app_state(client, app.state, args, tasks)
            while app.state.locum.swap.waiting_for():
                await asyncio.sleep(0.05)
        yield app
        for task in asyncio.all_tasks() - before - {asyncio.current_task()}:  # what watches the registry
            task.cancel()
