"""What vLLM loads: `VLLM_PLUGINS=locum` makes any vLLM server a Locum server.

The endpoint plugin needs the door too (`--middleware locum.serve.door.Door`) and the settings that `locum serve`
passes on as `LOCUM_*` variables.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.datastructures import State
    from vllm.engine.protocol import EngineClient

    from locum.serve.answer_ids import AnswerIds
    from locum.serve.engine import Engine
    from locum.serve.listing import Listing
    from locum.serve.parsers import Choice
    from locum.serve.stopping import Drain
    from locum.serve.swap import Swap
    from locum.serve.traces import Traces
    from locum.settings import Settings

logger = logging.getLogger("vllm.locum.plugin")

END_SECONDS = 2.0  # that requests have to end by themselves when the engine has died
BUSY_SECONDS = 5.0  # that a release over HTTP waits for a registry that is locked


def platform() -> str | None:
    """Locum's CPU platform where vLLM would choose its own for CPUs, else nothing: GPUs need no help."""
    from vllm.platforms import cpu_platform_plugin

    return "locum.serve.cpu_platform.LocumCpuPlatform" if cpu_platform_plugin() else None


async def _end_with(engine: Engine, state: State) -> None:
    """End the process when the engine has died: first as vLLM does, then whatever connection still holds it."""
    while not engine.dead:
        await asyncio.sleep(0.2)
    await asyncio.sleep(END_SECONDS)  # what ran gets its error, and who comes is told to come again
    state.server.should_exit = True
    await asyncio.sleep(END_SECONDS)
    logger.error("engine_dead: requests that have not ended are cut off")
    os._exit(1)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """What runs beside the app: vLLM starts it when everything else is set up."""
    from locum.serve.stopping import stop_on_signals
    from locum.serve.watchdog import end_when_it_hangs

    drain, engine = app.state.locum.drain, app.state.locum.swap.engine
    stop_on_signals(app.state)
    watching = [
        asyncio.create_task(end_when_it_hangs(engine)),
        asyncio.create_task(_end_with(engine, app.state)),
    ]
    yield
    for task in watching:
        task.cancel()
    if engine.dead and not drain.stopping:
        os._exit(1)  # else vLLM ends as if all were well, and whoever starts failed servers again does not


@dataclass(frozen=True)
class ServerState:
    """What routes and door share, as `app.state.locum`."""

    settings: Settings
    swap: Swap
    drain: Drain
    listing: Listing
    answer_ids: AnswerIds
    api_key: str
    admin_token: str
    log_requests: bool
    traces: Traces | None
    tools: Choice


class LocumEndpoints:
    """The endpoint plugin (`vllm.endpoint_plugins`): routes, and the versions behind them."""

    name = "locum"
    required_tasks = ("generate",)

    def attach_router(self, app: FastAPI) -> None:
        from fastapi import APIRouter

        from locum.errors import LocumError
        from locum.serve import feedback, routes, uploads
        from locum.serve.http_errors import explain

        app.include_router(APIRouter(lifespan=_lifespan))
        app.include_router(routes.router)
        app.include_router(uploads.router)
        app.include_router(feedback.router)
        app.add_exception_handler(LocumError, explain)

    async def init_state(self, engine_client: EngineClient | None, state: State, args: Namespace) -> None:
        from locum.adapters.base import load_base
        from locum.adapters.registry import Registry
        from locum.adapters.signing import signing_key
        from locum.errors import UnavailableError
        from locum.serve.answer_ids import AnswerIds
        from locum.serve.api_server import STANDBY
        from locum.serve.end_of_turn import end_answers
        from locum.serve.engine import Engine
        from locum.serve.listing import Listing
        from locum.serve.parsers import tools_in_force
        from locum.serve.requests import admit
        from locum.serve.standby import take_over
        from locum.serve.stopping import Drain
        from locum.serve.swap import Swap
        from locum.serve.switches import check_server
        from locum.serve.traces import Traces
        from locum.settings import load_settings

        # a package that vLLM imports lets the root logger pass errors alone, and the registry warns
        logging.getLogger("locum").setLevel(logging.WARNING)
        check_server(args, os.environ)
        if engine_client is None:
            raise UnavailableError("Locum needs an engine: vLLM's render server has none")
        settings = load_settings()
        engine = Engine(engine_client, state.openai_serving_models)
        engine.ask_first(admit)
        registry = Registry.open(settings, busy_seconds=BUSY_SECONDS)
        base = load_base(settings.bases, settings.base)
        end_answers(engine, base.path, args.chat_template)
        swap = Swap(registry, engine, base)
        state.locum = ServerState(
            settings=settings,
            swap=swap,
            drain=Drain(),
            listing=Listing(),
            answer_ids=AnswerIds(signing_key(registry, "answers")),
            api_key=settings.api_key.get_secret_value(),
            # Started without the launcher and without a token, nobody can administer: the safe way to be wrong.
            admin_token=settings.admin_token.get_secret_value() or secrets.token_urlsafe(32),
            log_requests=args.logging_config.formatter == "json",
            traces=Traces() if args.otlp_traces_endpoint else None,
            tools=tools_in_force(args, base.path),
        )
        swap.start()
        if descriptor := os.environ.pop(STANDBY, None):
            take_over(socket.socket(fileno=int(descriptor)))  # vLLM accepts connections next
