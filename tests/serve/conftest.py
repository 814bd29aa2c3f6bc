"""vLLM's real app in the process of the tests, started once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from tests.serve.inside import app_inside


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def app(
    tiny_base: Path, tiny_adapter: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[FastAPI]:
    async with app_inside(tmp_path_factory.mktemp("inside"), tiny_base, tiny_adapter) as app:
        yield app


@pytest_asyncio.fixture(loop_scope="session")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Asks that app, without a socket."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://locum", timeout=300) as client:
        yield client
