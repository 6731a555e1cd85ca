"""Metrics on a port of their own are not on the public one."""

import socket
from pathlib import Path

import httpx
import pytest

from intake_api.app import create_app
from services.settings import Settings

pytestmark = pytest.mark.anyio


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_metrics_are_served_apart_and_end_with_the_service(database_url: str, tmp_path: Path) -> None:
    port = _free_port()
    app = create_app(Settings({"ANJUAN_DATA": str(tmp_path), "ANJUAN_METRICS_PORT": str(port)}), database_url)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        assert (await client.get("http://anjuan/metrics")).status_code == 404
        assert (await client.get("http://anjuan/livez")).status_code == 200
        async with httpx.AsyncClient() as outside:
            told = await outside.get(f"http://127.0.0.1:{port}/metrics")
        assert 'anjuan_requests_total{method="GET",route="/livez",status="200"}' in told.text
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
