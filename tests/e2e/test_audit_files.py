"""Audit files: written by the service, verified by a module that knows nothing of it; nothing in them can change."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from projections.audit_file import Source, Wanted, export
from services import verifier
from services.embedded_postgres import EmbeddedPostgres
from services.verifier import Verified, read_key, verify_file
from tests.conftest import fresh_database
from tests.e2e.signed_ledgers import KEY, Desk, desk, now

pytestmark = pytest.mark.anyio
_SEED = 20261125


@pytest.fixture(scope="module")
async def ledger(
    cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, anyio_backend: object
) -> AsyncIterator[Desk]:
    """700 events with 8 heads."""
    with fresh_database(cluster) as url:
        async with desk(url, tmp_path_factory.mktemp("heads")) as opened:
            await opened.grow(Random(_SEED), [100, 1, 99, 56, 144, 100, 99, 101])
            yield opened


async def _exported(ledger: Desk, file: Path, *bounds: Any, regions: list[str] | None = None) -> Path:
    source = Source(ledger.log, ledger.heads, KEY, now)
    await export(source, Wanted(*bounds)._replace(regions=regions), file, lambda done, total: None)
    return file


def _key(file: Path) -> list[verifier.Key]:
    raw = file.read_bytes()
    first = json.loads((gzip.decompress(raw) if file.name.endswith(".gz") else raw).split(b"\n", 1)[0])
    return [read_key(KEY.written(first["origin"]))]


def _verified(ledger: Desk, file: Path, kept: bool = True) -> Verified:
    return verify_file(file, _key(file), ledger.folder if kept else None)


async def test_a_file_verifies_by_itself_and_by_the_kept_heads(ledger: Desk, tmp_path: Path) -> None:
    for name in ("whole.ndjson", "whole.ndjson.gz"):
        found = _verified(ledger, await _exported(ledger, tmp_path / name))
        assert (found.first, found.last, found.size, found.bodies, found.kept) == (1, 700, 700, 700, 8)
        assert found.heads == 8
        assert found.remarks == []
    assert {one.name for one in tmp_path.iterdir()} == {"whole.ndjson", "whole.ndjson.gz"}  # noqa: ASYNC240


@pytest.mark.parametrize(
    "bounds", [(1, 1), (1, 0), (2, 99), (100, 200), (101, 256), (257, 700), (512, 513), (701, 700)]
)
async def test_a_stretch_verifies_too(ledger: Desk, tmp_path: Path, bounds: tuple[int, int]) -> None:
    found = _verified(ledger, await _exported(ledger, tmp_path / "part", *bounds))
    assert (found.first, found.last, found.size) == (*bounds, 700)
