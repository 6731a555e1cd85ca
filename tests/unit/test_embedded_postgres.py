"""The server comes up whatever happened before, and nobody but its stop() takes it down."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from services import embedded_postgres
from services.embedded_postgres import (
    EmbeddedPostgres,
    EmbeddedPostgresError,
    StopMode,
    packaged_bin_dir,
)

_ROOT = Path(__file__).resolve().parents[2]
_QUICK = {"fsync": "off", "shared_buffers": "16MB"}
_STARTER = """
import sys, time
from pathlib import Path
from services.embedded_postgres import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1])).start({"fsync": "off", "shared_buffers": "16MB"}), flush=True)
time.sleep(float(sys.argv[2]))
"""
_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account to become")

MakeServer = Callable[[Path], EmbeddedPostgres]


@pytest.fixture
def make() -> Iterator[MakeServer]:
    """Servers that are gone after the test, whatever it did."""
    made: list[EmbeddedPostgres] = []

    def one(data_dir: Path) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(data_dir))
        return made[-1]

    yield one
    for server in made:
        server.stop("immediate")


@pytest.fixture
def server(make: MakeServer, tmp_path: Path) -> EmbeddedPostgres:
    return make(tmp_path / "data")


def _starter(data_dir: Path, then_sleep: float = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _STARTER, str(data_dir), str(then_sleep)]
    return subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)


def _said(starter: subprocess.Popen[str]) -> str:
    assert starter.stdout is not None
    return starter.stdout.readline().strip()


def _end(starter: subprocess.Popen[str], signum: signal.Signals) -> None:
    """Signal the whole foreground group, as a terminal does."""
    os.killpg(starter.pid, signum)
    starter.communicate(timeout=10)


def _postmaster(server: EmbeddedPostgres) -> int:
    return int((server.cluster_dir / "postmaster.pid").read_text().split()[0])


def _query(server: EmbeddedPostgres, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
    with psycopg.connect(server.url(database), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_second_start_finds_the_data(server: EmbeddedPostgres) -> None:
    assert server.start(_QUICK)
    assert server.is_running()
    assert server.create_database("anjuan")
    assert not server.create_database("anjuan")
    _query(server, "CREATE TABLE kept AS SELECT 42 AS answer", "anjuan")
    assert server.create_database('a "copy"', template="anjuan")
    server.stop()
    assert not server.is_running()
    assert server.start(_QUICK)
    assert _query(server, "SELECT answer FROM kept", "anjuan") == [(42,)]
    assert _query(server, "SELECT answer FROM kept", 'a "copy"') == [(42,)]


def test_the_cluster_sorts_searches_and_checks_as_intended(server: EmbeddedPostgres) -> None:
    server.start(_QUICK)
    _query(server, "CREATE EXTENSION pg_trgm")
    assert _query(server, "SELECT cardinality(show_trgm('客户投诉'))") == [(5,)]
    assert _query(server, "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'postgres'") == [
        ("b", "C.UTF-8")
    ]
    for name, value in (("data_checksums", "on"), ("listen_addresses", ""), ("wal_level", "replica"), ("fsync", "off")):
        assert _query(server, f"SHOW {name}") == [(value,)]


def test_only_a_private_socket_leads_in(server: EmbeddedPostgres) -> None:
    server.start(_QUICK)
    assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
    assert server.socket_dir.is_relative_to(server.data_dir)


def test_nothing_personal_is_logged(server: EmbeddedPostgres) -> None:
    server.start({**_QUICK, "log_statement": "all", "log_min_messages": "debug1", "log_min_duration_statement": "0"})
    _query(server, "CREATE TABLE person (name text PRIMARY KEY); INSERT INTO person VALUES ('Zhang San')")
    for statement in ("SELECT 'Zhang San'::uuid", "INSERT INTO person VALUES ('Zhang San')", "SELECT Zhang San !"):
        with pytest.raises(psycopg.Error):
            _query(server, statement)
    with psycopg.connect(server.url("postgres")) as connection, pytest.raises(psycopg.Error):
        connection.execute("SELECT %s::text::uuid", ["Zhang San"])
    server.stop()
    assert "Zhang" not in server.log_file.read_text()


def test_the_environment_neither_leads_astray_nor_leaks(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PATH", ""), ("PGDATA", "/nowhere"), ("PGHOST", "nowhere"), ("PGPORT", "1"), ("LC_ALL", "x")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ANJUAN_KEY", "secret")
    server.start(_QUICK)
    assert _query(server, "SHOW port") == [("5432",)]
    assert b"secret" not in _environment_of(_postmaster(server))


def _environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except FileNotFoundError:
        pytest.skip("no /proc here")


def test_a_server_outlives_ctrl_c_and_is_adopted(server: EmbeddedPostgres) -> None:
    starter = _starter(server.data_dir, then_sleep=60)
    assert _said(starter) == "True"
    _end(starter, signal.SIGINT)
    assert server.start(_QUICK) is False


def test_a_server_outlives_its_killed_starter_and_is_adopted(server: EmbeddedPostgres) -> None:
    starter = _starter(server.data_dir, then_sleep=60)
    assert _said(starter) == "True"
    pid = _postmaster(server)
    _end(starter, signal.SIGKILL)
    assert server.start(_QUICK) is False
    assert _postmaster(server) == pid
    server.stop()
    assert not server.is_running()


def test_two_starts_at_once_make_one_server(server: EmbeddedPostgres) -> None:
    starters = [_starter(server.data_dir) for _ in range(3)]
    assert sorted(starter.communicate(timeout=30)[0].strip() for starter in starters) == ["False", "False", "True"]
    assert _query(server, "SELECT 1") == [(1,)]


def test_a_killed_postmaster_is_replaced_and_what_it_confirmed_is_kept(server: EmbeddedPostgres) -> None:
    server.start({"shared_buffers": "16MB"})
    _query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(_postmaster(server), signal.SIGKILL)
    assert server.start(_QUICK)
    assert _query(server, "SELECT answer FROM kept") == [(42,)]


def test_orphans_of_a_killed_postmaster_are_waited_for(server: EmbeddedPostgres) -> None:
    server.start(_QUICK)
    with psycopg.connect(server.url("postgres")) as lingering:
        orphan = lingering.info.backend_pid
        os.kill(orphan, signal.SIGSTOP)
        postmaster = _postmaster(server)
        os.kill(postmaster, signal.SIGKILL)
        starter = _starter(server.data_dir)
        time.sleep(0.7)
        assert starter.poll() is None
        os.kill(orphan, signal.SIGCONT)
        assert starter.communicate(timeout=20)[0].strip() == "True"
    assert _postmaster(server) != postmaster


def test_a_recorded_process_id_that_another_program_got_is_no_obstacle(server: EmbeddedPostgres) -> None:
    server.start(_QUICK)
    pid_file, lock_file = server.cluster_dir / "postmaster.pid", server.socket_dir / ".s.PGSQL.5432.lock"
    left = {file: file.read_text() for file in (pid_file, lock_file)}
    postmaster = _postmaster(server)
    server.stop("immediate")
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        for file, text in left.items():
            file.write_text(text.replace(str(postmaster), str(stranger.pid), 1))
        server.stop()
        assert server.start(_QUICK)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_start_killed_in_the_middle_of_initdb_leaves_no_trace(server: EmbeddedPostgres) -> None:
    starter = _starter(server.data_dir)
    _until((server.data_dir / "cluster.new" / "base").exists)
    _end(starter, signal.SIGKILL)
    assert not server.cluster_dir.exists()
    assert server.start(_QUICK)
    assert not (server.data_dir / "cluster.new").exists()


def test_half_a_cluster_is_made_anew(server: EmbeddedPostgres) -> None:
    half = server.data_dir / "cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert server.start(_QUICK)


@pytest.mark.parametrize("name", ["x" * 120, "a,b", 'it\'s $HOME "`x`" 100% + ü'])
def test_any_folder_name_will_do(make: MakeServer, tmp_path: Path, name: str) -> None:
    server = make(tmp_path / name)
    assert server.start(_QUICK)
    assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
    assert _query(server, "SELECT 1") == [(1,)]
    server.stop()
    assert server.socket_dir.is_relative_to(tmp_path) or not server.socket_dir.exists()


def test_a_short_socket_folder_of_somebody_else_is_refused(
    make: MakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "_SHORT_FOLDERS", tmp_path)
    server = make(tmp_path / ("x" * 120))
    server.socket_dir.symlink_to(tmp_path)
    with pytest.raises(EmbeddedPostgresError, match="somebody else"):
        server.start(_QUICK)


def test_a_failed_start_says_what_the_server_said(server: EmbeddedPostgres) -> None:
    with pytest.raises(EmbeddedPostgresError, match="invalid value for parameter") as refused:
        server.start({**_QUICK, "shared_buffers": "much"})
    assert "syncing data" not in str(refused.value)
    assert server.start(_QUICK)


def test_a_bin_folder_without_postgresql_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="no PostgreSQL in"):
        EmbeddedPostgres(tmp_path / "data", tmp_path / "bin").start()


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_stopping_nothing_is_fine(tmp_path: Path, mode: StopMode) -> None:
    EmbeddedPostgres(tmp_path / "data").stop(mode)
    assert not (tmp_path / "data").exists()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def no_namespaces(monkeypatch: pytest.MonkeyPatch, open_folder: Path) -> None:
    monkeypatch.setattr(embedded_postgres, "_namespaces_work", lambda bin_dir: False)
    monkeypatch.setattr(embedded_postgres, "_OTHER_HOMES", (open_folder,))


@_as_root
@pytest.mark.usefixtures("no_namespaces")
def test_without_namespaces_nobody_runs_it_in_the_same_folder(make: MakeServer, open_folder: Path) -> None:
    server = make(open_folder / "data")
    assert server.start(_QUICK)
    assert server.cluster_dir == server.data_dir / "cluster"
    assert Path(f"/proc/{_postmaster(server)}").stat().st_uid == server.cluster_dir.stat().st_uid != 0


@_as_root
@pytest.mark.usefixtures("no_namespaces")
def test_without_namespaces_a_closed_folder_says_where_its_data_went(
    server: EmbeddedPostgres, make: MakeServer, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.start(_QUICK)
    _query(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert server.cluster_dir.is_relative_to(open_folder)
    server.stop()
    monkeypatch.undo()  # namespaces are back: the data stays where it is and keeps its owner
    again = make(server.data_dir)
    assert again.start(_QUICK)
    assert _query(again, "SELECT answer FROM kept") == [(42,)]


@_as_root
@pytest.mark.usefixtures("no_namespaces")
def test_programs_that_nobody_can_reach_are_copied_once(tmp_path: Path, open_folder: Path) -> None:
    package = packaged_bin_dir().parents[1]
    for folder in package.parent.glob(f"{package.name}*"):
        if not folder.name.endswith(".dist-info"):
            shutil.copytree(folder, tmp_path / folder.name)
    server = EmbeddedPostgres(open_folder / "data", tmp_path / package.name / "pginstall" / "bin")
    assert server.start(_QUICK)
    server.stop()
    copied = server.data_dir / "programs"
    first = copied.stat().st_ino
    assert server.start(_QUICK)
    server.stop()
    assert copied.stat().st_ino == first


@_as_root
@pytest.mark.usefixtures("no_namespaces")
def test_moved_data_that_is_gone_is_not_replaced_by_an_empty_database(
    server: EmbeddedPostgres, open_folder: Path
) -> None:
    server.data_dir.mkdir()
    (server.data_dir / "moved-to").write_text(str(open_folder / "gone"))
    with pytest.raises(EmbeddedPostgresError, match="is not there"):
        server.start(_QUICK)
