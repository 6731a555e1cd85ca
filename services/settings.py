"""Configuration from the environment. Every secret also as ``…_FILE``; keys not given are made on first start."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

# Where `anjuan serve` leaves the URL of the database that it works on, for its other processes.
RUNNING_DATABASE = "ANJUAN_RUNNING_DATABASE"


class Setting(NamedTuple):
    """One variable: its default as text, what it does, and whether it is a secret."""

    name: str
    default: str
    meaning: str
    secret: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting("ANJUAN_DATABASE_URL", "", "PostgreSQL to use; unset: the embedded server under ANJUAN_DATA/pg", True),
    Setting("ANJUAN_DATA", "./data", "folder of the embedded server and of the keys made on first start"),
    Setting("ANJUAN_PG_BIN", "", "bin folder of another PostgreSQL for the embedded server"),
    Setting("ANJUAN_HOST", "127.0.0.1", "address to listen on"),
    Setting("ANJUAN_PORT", "8000", "port to listen on"),
    Setting("ANJUAN_METRICS_PORT", "", "serve /metrics on a port of its own, and not on the public one"),
    Setting("ANJUAN_LANGUAGE", "zh", "language of answers to callers that name none: zh or en"),
    Setting("ANJUAN_LOG_LEVEL", "info", "debug, info, warning or error"),
    Setting("ANJUAN_ACCESS_LOG", "on", "one log line per request: on or off"),
    Setting("ANJUAN_ACCESS_KEPT", "365", "days for which it is kept who looked at what: 180 or more"),
    Setting("ANJUAN_QUEUE", "2000", "writes that may wait at once; further ones are answered 503"),
    Setting(
        "ANJUAN_FOLLOW", "child", "who keeps the views up to date: child (a process beside), inside (this one) or off"
    ),
    Setting("ANJUAN_NOTICES", "on", "record, beside keeping the views up to date, which duties were missed: on or off"),
    Setting("ANJUAN_RATE", "", "requests of one token's subject in each process, as 600/minute; unset: any number"),
    Setting("ANJUAN_HSTS", "", "seconds for which browsers shall only come by https (Strict-Transport-Security)"),
    Setting("ANJUAN_CORS_ORIGINS", "", "origins, separated by commas, that browsers may call from"),
    Setting("ANJUAN_OIDC_ISSUER", "", "OpenID Connect issuer whose tokens count beside the service's own; https"),
    Setting("ANJUAN_OIDC_AUDIENCE", "", "audience that those tokens must name: this service, and nothing else"),
    Setting("ANJUAN_OIDC_ROLE_CLAIM", "role", "their claim with the role, or a list with one; a.b: b within a"),
    Setting("ANJUAN_OIDC_REGIONS_CLAIM", "regions", "their claim with the list of regions; a.b likewise"),
    Setting("ANJUAN_OIDC_UNIT_CLAIM", "unit", "their claim with the unit, if there is one; a.b likewise"),
    Setting("ANJUAN_OIDC_ALGORITHMS", "RS256,PS256,ES256,Ed25519,EdDSA", "algorithms that they may be signed by"),
    Setting("ANJUAN_TOKEN_KEY", "", "key that signs tokens: 32 bytes, base64 (Ed25519 seed)", True),
    Setting(
        "ANJUAN_TOKEN_KEY_OLD",
        "",
        "token keys before that one, separated by commas: their tokens count until expiry",
        True,
    ),
    Setting("ANJUAN_MASTER_KEY", "", "key that wraps the data keys: 32 bytes, base64", True),
    Setting(
        "ANJUAN_MASTER_KEY_OLD", "", "master keys before that one, separated by commas, while keys are rewrapped", True
    ),
    Setting(
        "ANJUAN_ERASURES", "", "folder of the list of erased keys, outside the database; unset: ANJUAN_DATA/erasures"
    ),
    Setting(
        "ANJUAN_HEADS", "", "folder where signed tree heads are kept outside the database; unset: ANJUAN_DATA/heads"
    ),
    Setting("ANJUAN_HEADS_URL", "", "where each new tree head is posted to, as text", True),
    Setting("ANJUAN_HEAD_KEY", "", "key that signs tree heads: 32 bytes, base64 (Ed25519 seed)", True),
    Setting("ANJUAN_PHONE_KEY", "", "key of the telephone numbers' hashes: 32 bytes, base64", True),
    Setting(
        "ANJUAN_PHONE_KEY_OLD",
        "",
        "other phone keys under which numbers are asked for too, separated by commas, while one replaces another",
        True,
    ),
)


# Signatures by private keys. Whoever knows a secret shared by both sides could make tokens, and `none` is nobody's.
_SIGNATURES = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"}
)
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Oidc(NamedTuple):
    """Whose tokens count beside the service's own, and where in them it says what."""

    issuer: str
    audience: str
    role_claim: str
    regions_claim: str
    unit_claim: str
    algorithms: frozenset[str]


class BadSetting(Exception):
    """A variable holds what cannot be used; the message names it and never its value."""


class Settings:
    """The environment, read once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._values = {setting.name: _value(setting, environment) for setting in SETTINGS}
        self.data = Path(self._values["ANJUAN_DATA"]).resolve()
        self.database_url = self._values["ANJUAN_DATABASE_URL"]
        if self.database_url and not self.database_url.startswith("postgresql://"):
            raise BadSetting("ANJUAN_DATABASE_URL does not begin with postgresql://")
        self.heads = Path(self._values["ANJUAN_HEADS"] or self.data / "heads").resolve()
        self.erasures = Path(self._values["ANJUAN_ERASURES"] or self.data / "erasures").resolve()
        self.heads_url = self._values["ANJUAN_HEADS_URL"]
        if self.heads_url and not self.heads_url.startswith(("http://", "https://")):
            raise BadSetting("ANJUAN_HEADS_URL begins with neither http:// nor https://")
        self.oidc = self._oidc() if self._values["ANJUAN_OIDC_ISSUER"] else None
        self.pg_bin = Path(self._values["ANJUAN_PG_BIN"]) if self._values["ANJUAN_PG_BIN"] else None
        self.host = self._values["ANJUAN_HOST"]
        self.port = self._number("ANJUAN_PORT", 65535)
        self.metrics_port = self._number("ANJUAN_METRICS_PORT", 65535) if self._values["ANJUAN_METRICS_PORT"] else 0
        self.language = self._one_of("ANJUAN_LANGUAGE", ("zh", "en"))
        self.log_level = self._one_of("ANJUAN_LOG_LEVEL", ("debug", "info", "warning", "error"))
        self.access_log = self._one_of("ANJUAN_ACCESS_LOG", ("on", "off")) == "on"
        self.follow = self._one_of("ANJUAN_FOLLOW", ("child", "inside", "off"))
        self.notices = self._one_of("ANJUAN_NOTICES", ("on", "off")) == "on"
        self.queue = self._number("ANJUAN_QUEUE", 1_000_000)
        self.rate = self._rate() if self._values["ANJUAN_RATE"] else None
        self.hsts = self._number("ANJUAN_HSTS", 2**31) if self._values["ANJUAN_HSTS"] else 0
        self.access_kept = self._number("ANJUAN_ACCESS_KEPT", 36_500)
        if self.access_kept < 180:
            # 网络安全法 第二十一条 asks for six months; the table itself refuses to delete earlier.
            raise BadSetting("ANJUAN_ACCESS_KEPT is less than 180")
        self.cors_origins = [o.strip() for o in self._values["ANJUAN_CORS_ORIGINS"].split(",") if o.strip()]

    @classmethod
    def from_environment(cls) -> Self:
        return cls(os.environ)

    def key(self, name: str) -> bytes:
        """The 32 bytes of a key, made under ANJUAN_DATA with mode 0600 if nobody gave it."""
        return _key(name, self._values[name] or _kept_key(self.data / f"{name.removeprefix('ANJUAN_').lower()}"))

    def former_keys(self, name: str) -> list[bytes]:
        """The keys beside that one (`…_OLD`): what they closed is still opened, what they hashed still found."""
        return [_key(f"{name}_OLD", text) for text in self._values[f"{name}_OLD"].replace(",", " ").split()]

    def shown(self) -> list[tuple[Setting, str]]:
        """Each setting with its value; secrets only as given or not."""
        return [(s, ("given" if self._values[s.name] else "") if s.secret else self._values[s.name]) for s in SETTINGS]

    def _oidc(self) -> Oidc:
        issuer, audience = self._values["ANJUAN_OIDC_ISSUER"], self._values["ANJUAN_OIDC_AUDIENCE"]
        if not is_private(issuer):
            raise BadSetting("ANJUAN_OIDC_ISSUER is not an https:// URL (http:// only on this machine)")
        if not audience:
            raise BadSetting("ANJUAN_OIDC_AUDIENCE is missing: tokens for other services would count here")
        algorithms = frozenset(a.strip() for a in self._values["ANJUAN_OIDC_ALGORITHMS"].split(",") if a.strip())
        if not algorithms or not algorithms <= _SIGNATURES:
            raise BadSetting(f"ANJUAN_OIDC_ALGORITHMS names others than {', '.join(sorted(_SIGNATURES))}")
        role, regions, unit = (self._values[f"ANJUAN_OIDC_{name}_CLAIM"] for name in ("ROLE", "REGIONS", "UNIT"))
        return Oidc(issuer, audience, role, regions, unit, algorithms)

    def _rate(self) -> tuple[int, float]:
        """How many, in how many seconds."""
        many, _, unit = self._values["ANJUAN_RATE"].partition("/")
        if not many.isascii() or not many.isdecimal() or not 0 < int(many) <= 1_000_000 or unit not in _UNITS:
            raise BadSetting("ANJUAN_RATE is not a number per second, minute or hour")
        return int(many), _UNITS[unit]

    def _number(self, name: str, highest: int) -> int:
        text = self._values[name]
        if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= highest:
            raise BadSetting(f"{name} is not a number from 1 to {highest}")
        return int(text)

    def _one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        if self._values[name] not in allowed:
            raise BadSetting(f"{name} is none of {', '.join(allowed)}")
        return self._values[name]


def is_private(url: str) -> bool:
    """Whether nobody on the way can answer in the other side's place."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))


def _key(name: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise BadSetting(f"{name} is not 32 bytes in base64")
    return key


def _value(setting: Setting, environment: Mapping[str, str]) -> str:
    if file := environment.get(f"{setting.name}_FILE"):
        try:
            return Path(file).read_text().strip()
        except OSError as failure:
            raise BadSetting(f"{setting.name}_FILE cannot be read: {failure.strerror}") from None
    return environment.get(setting.name) or setting.default


def _kept_key(file: Path) -> str:
    """The key in that file; made whole under another name first, so that a kill never leaves half a key."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(base64.b64encode(os.urandom(32)) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            # A link refuses to replace: of two first starts at once, both end with one key.
            os.link(draft, file)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return file.read_text().strip()
