"""Where a message ends is never in doubt: one that two readers could end differently is refused with what follows."""

import re
import socket
from collections.abc import Iterator

import pytest

from services.embedded_postgres import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.e2e.serving import Service, serving

_SECOND = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
# What stands between the request line and the body, and the body; a reader of the other length takes it for a request.
DOUBTFUL = {
    "a length and chunks": (b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunks and a length": (b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", b"0\r\n\r\n"),
    "two lengths": (b"Content-Length: 0\r\nContent-Length: 5\r\n", b""),
    "a length with a sign": (b"Content-Length: +5\r\n", b""),
    "a length that is no number": (b"Content-Length: 0x5\r\n", b""),
    "an unknown coding": (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "a blank before the colon": (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    "a folded header": (b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "a chunk of no size": (b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n"),
}


@pytest.fixture(scope="module")
def service(cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with fresh_database(cluster) as url, serving(tmp_path_factory.mktemp("served"), url) as running:
        yield running


def _answers(service: Service, sent: bytes) -> list[bytes]:
    """The status lines of all that comes back until the service hangs up, or says no more for a while."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=2) as connection:
        connection.sendall(sent)
        heard = b""
        try:
            while piece := connection.recv(65536):
                heard += piece
        except TimeoutError:
            pass
    # A body ends without a line's end: the next answer stands right behind it.
    return re.findall(rb"HTTP/1\.1 \d{3}", heard)


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_message_of_doubtful_length_is_refused_with_all_behind_it(service: Service, name: str) -> None:
    headers, body = DOUBTFUL[name]
    token = service.token().encode()
    first = b"POST /v1/cases/search HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + token + b"\r\n" + headers + b"\r\n"
    answered = _answers(service, first + body + _SECOND)
    assert answered == [b"HTTP/1.1 400"], answered


def test_sound_messages_are_answered_one_by_one(service: Service) -> None:
    said = b"POST /v1/cases/search HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + service.token().encode()
    chunked = said + b"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert _answers(service, chunked + _SECOND) == [b"HTTP/1.1 422", b"HTTP/1.1 200"]
