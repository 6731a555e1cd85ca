"""Configuration: from the environment, secrets also from files, keys made once with nobody else looking."""

import base64
import os
import stat
from pathlib import Path

import pytest

from services.settings import SETTINGS, BadSetting, Settings

KEY = base64.b64encode(bytes(range(32))).decode()


def test_without_an_environment_everything_has_its_default(tmp_path: Path) -> None:
    settings = Settings({})
    assert (settings.host, settings.port, settings.language, settings.access_log) == ("127.0.0.1", 8000, "zh", True)
    assert (settings.database_url, settings.pg_bin, settings.metrics_port) == ("", None, 0)


SOUND = {
    "ANJUAN_DATABASE_URL": "postgresql://a@b/c",
    "ANJUAN_LANGUAGE": "en",
    "ANJUAN_LOG_LEVEL": "debug",
    "ANJUAN_ACCESS_LOG": "off",
    "ANJUAN_HEADS_URL": "https://witness.example/heads",
    "ANJUAN_FOLLOW": "inside",
    "ANJUAN_NOTICES": "off",
    "ANJUAN_RATE": "600/minute",
    "ANJUAN_OIDC_ISSUER": "https://sso.example/realms/a",
    "ANJUAN_OIDC_ALGORITHMS": "ES256, RS256",
    "ANJUAN_ACCESS_KEPT": "180",
}
# What a setting cannot do without.
NEEDED = {"ANJUAN_OIDC_ISSUER": {"ANJUAN_OIDC_AUDIENCE": "anjuan"}}


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_can_come_from_a_file(setting: object, tmp_path: Path) -> None:
    name = setting.name  # type: ignore[attr-defined]
    sound = SOUND.get(name, "7")
    file = tmp_path / "value"
    file.write_text(f"{sound}\n")
    settings = Settings({f"{name}_FILE": str(file), name: "never read", **NEEDED.get(name, {})})
    shown = {one.name: value for one, value in settings.shown()}
    assert shown[name] == ("given" if setting.secret else sound)  # type: ignore[attr-defined]


def test_a_file_that_is_not_there_is_said_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="ANJUAN_MASTER_KEY_FILE cannot be read: No such file"):
        Settings({"ANJUAN_MASTER_KEY_FILE": str(tmp_path / "gone")})


BAD = [
    ("ANJUAN_PORT", "0"),
    ("ANJUAN_PORT", "65536"),
    ("ANJUAN_PORT", "-1"),
    ("ANJUAN_PORT", "８０"),
    ("ANJUAN_PORT", "80 "),
    ("ANJUAN_PORT", "secret"),
    ("ANJUAN_METRICS_PORT", "x"),
    ("ANJUAN_ACCESS_KEPT", "179"),
    ("ANJUAN_ACCESS_KEPT", "half a year"),
    ("ANJUAN_QUEUE", "0"),
    ("ANJUAN_QUEUE", "1000001"),
    ("ANJUAN_LANGUAGE", "fr"),
    ("ANJUAN_LOG_LEVEL", "loud"),
    ("ANJUAN_ACCESS_LOG", "yes"),
    ("ANJUAN_FOLLOW", "yes"),
    ("ANJUAN_DATABASE_URL", "mysql://user:hidden@host/data"),
    ("ANJUAN_HEADS_URL", "ftp://hidden"),
    ("ANJUAN_RATE", "600"),
    ("ANJUAN_RATE", "0/minute"),
    ("ANJUAN_RATE", "-1/minute"),
    ("ANJUAN_RATE", "600/week"),
    ("ANJUAN_RATE", "many/second"),
    ("ANJUAN_HSTS", "year"),
    ("ANJUAN_DATABASE_URL", "host=/tmp password=hidden"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_value_that_cannot_be_used_is_named_and_not_shown(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name) as bad:
        Settings({name: value})
    assert value.strip() == "0" or value not in str(bad.value)


ISSUER = {"ANJUAN_OIDC_ISSUER": "https://sso.example/realms/a", "ANJUAN_OIDC_AUDIENCE": "anjuan"}


def test_an_issuer_s_tokens_are_signed_by_private_keys_unless_said_otherwise() -> None:
    oidc = Settings(ISSUER).oidc
    assert oidc is not None
    assert (oidc.issuer, oidc.role_claim, oidc.regions_claim) == ("https://sso.example/realms/a", "role", "regions")
    assert oidc.algorithms == {"RS256", "PS256", "ES256", "Ed25519", "EdDSA"}
    assert Settings({}).oidc is None


@pytest.mark.parametrize("url", ["http://localhost:8080/realms/a", "http://127.0.0.1:1", "http://[::1]:1/a"])
def test_an_issuer_on_this_machine_needs_no_encryption(url: str) -> None:
    assert Settings({**ISSUER, "ANJUAN_OIDC_ISSUER": url}).oidc


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANJUAN_OIDC_ISSUER", "http://sso.example"),
        ("ANJUAN_OIDC_ISSUER", "http://127.0.0.1.example"),
        ("ANJUAN_OIDC_ISSUER", "https://"),
        ("ANJUAN_OIDC_ISSUER", "https://["),
        ("ANJUAN_OIDC_ISSUER", "file:///etc/passwd"),
        ("ANJUAN_OIDC_AUDIENCE", ""),
        ("ANJUAN_OIDC_ALGORITHMS", "none"),
        ("ANJUAN_OIDC_ALGORITHMS", "RS256,HS256"),
        ("ANJUAN_OIDC_ALGORITHMS", "rs256"),
        ("ANJUAN_OIDC_ALGORITHMS", ","),
    ],
)
def test_an_issuer_that_cannot_be_trusted_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        Settings({**ISSUER, name: value})


BAD_KEYS = ["secret", KEY[:-1], base64.b64encode(bytes(31)).decode(), base64.b64encode(bytes(33)).decode(), "密钥"]


@pytest.mark.parametrize("value", BAD_KEYS)
def test_a_key_that_is_not_32_bytes_in_base64_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(BadSetting, match="ANJUAN_TOKEN_KEY is not 32 bytes in base64") as bad:
        Settings({"ANJUAN_TOKEN_KEY": value}).key("ANJUAN_TOKEN_KEY")
    assert value not in str(bad.value)


def test_a_given_key_is_used_and_nothing_is_made(tmp_path: Path) -> None:
    settings = Settings({"ANJUAN_TOKEN_KEY": KEY, "ANJUAN_DATA": str(tmp_path)})
    assert settings.key("ANJUAN_TOKEN_KEY") == bytes(range(32))
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_nobody_gave_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    before = os.umask(0)
    try:
        made = Settings({"ANJUAN_DATA": str(data)}).key("ANJUAN_MASTER_KEY")
    finally:
        os.umask(before)
    file = data / "master_key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one.name for one in data.iterdir()] == ["master_key"]
    assert base64.b64decode(file.read_text()) == made
    assert Settings({"ANJUAN_DATA": str(data)}).key("ANJUAN_MASTER_KEY") == made


def test_each_key_is_another(tmp_path: Path) -> None:
    settings = Settings({"ANJUAN_DATA": str(tmp_path)})
    names = [s.name for s in SETTINGS if s.name.endswith("_KEY")]
    assert len({settings.key(name) for name in names}) == len(names) == 4


def test_two_first_starts_at_once_end_with_one_key(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    children = []
    for _ in range(4):
        if child := os.posix_spawn(*_printing_key(tmp_path), file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)]):
            children.append(child)
    os.close(writing)
    codes = [os.waitpid(child, 0)[1] for child in children]
    with os.fdopen(reading) as said:
        keys = said.read().split()
    assert codes == [0] * 4
    assert len(keys) == 4
    assert len(set(keys)) == 1


def _printing_key(data: Path) -> tuple[str, list[str], dict[str, str]]:
    import sys

    program = "from services.settings import Settings; print(Settings.from_environment().key('ANJUAN_PHONE_KEY').hex())"
    root = str(Path(__file__).parents[2])
    return sys.executable, [sys.executable, "-c", program], {"ANJUAN_DATA": str(data), "PYTHONPATH": root}


def test_a_setting_s_secret_is_never_listed() -> None:
    given = {"ANJUAN_DATABASE_URL": "postgresql://u:hidden@h/d", "ANJUAN_MASTER_KEY": KEY}
    listed = " ".join(value for _, value in Settings(given).shown())
    assert "hidden" not in listed
    assert KEY not in listed


def test_origins_are_a_list() -> None:
    assert Settings({"ANJUAN_CORS_ORIGINS": "https://a.cn, https://b.cn,"}).cors_origins == [
        "https://a.cn",
        "https://b.cn",
    ]
