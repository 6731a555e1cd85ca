"""An OpenID Connect issuer on a socket of its own, whose keys, answers and faults a test decides."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

AUDIENCE = "anjuan-api"
Key = RSAKey | ECKey | OKPKey


class Pair:
    """A private key under a name, and what is published of it."""

    def __init__(self, key: Key, algorithm: str, key_id: str | None = None, **published: Any) -> None:
        self.key, self.algorithm, self.key_id = key, algorithm, key_id or uuid4().hex
        public = {**key.as_dict(private=False), "kid": self.key_id, "use": "sig", "alg": algorithm, **published}
        self.public = {name: value for name, value in public.items() if value is not ...}

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        named = {"alg": self.algorithm, "typ": "JWT", "kid": self.key_id, **header}
        said = {name: value for name, value in named.items() if value is not ...}
        anything = JWSRegistry(algorithms=[self.algorithm], strict_check_header=False)
        return jwt.encode(said, dict(claims), self.key, registry=anything, default_type=None)


def ed25519(key_id: str | None = None, **published: Any) -> Pair:
    return Pair(OKPKey.generate_key("Ed25519"), "Ed25519", key_id, **published)


class IssuerServer:
    """`keys` is what it publishes; `down` and `documents` are how it fails; `asked` counts its JWKS' readers."""

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.down, self.slow = False, 0.0
        self.documents: dict[str, bytes] = {}
        self.asked, self.paths = 0, list[str]()
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = issuer.answer(self.path)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/realms/a"

    @property
    def settings(self) -> dict[str, str]:
        return {"ANJUAN_OIDC_ISSUER": self.url, "ANJUAN_OIDC_AUDIENCE": AUDIENCE}

    def answer(self, path: str) -> tuple[int, bytes]:
        self.paths.append(path)
        time.sleep(self.slow)
        name = path.rpartition("/")[2]
        if self.down:
            return 503, b"{}"
        if name in self.documents:
            return 200, self.documents[name]
        if name == "openid-configuration":
            return 200, json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}).encode()
        self.asked += 1
        return 200, json.dumps({"keys": self.keys}).encode()

    def publish(self, *pairs: Pair) -> None:
        self.keys = [pair.public for pair in pairs]

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Sound ones; `...` leaves one out."""
        now = int(time.time())
        sound = {
            **{"iss": self.url, "sub": "someone", "aud": AUDIENCE, "iat": now, "exp": now + 600, "jti": uuid4().hex},
            **{"role": "agent", "regions": ["*"]},
        }
        return {name: value for name, value in {**sound, **changes}.items() if value is not ...}

    @contextmanager
    def serving(self) -> Iterator["IssuerServer"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
