"""A proxy that knows HTTP: it counts requests, answers some of them itself, and changes the bytes of others."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tests.support.proxy import Proxy

_PIECE = 64 << 10
_NO_BODY = (204, 304)


@dataclass
class Request:
    """One request, and what became of it.

    Attributes:
        method: Such as ``PUT``.
        path: With its query.
        headers: By name in lower case.
        received: Bytes of its body that came from the client.
        status: Of the answer; 0 until there is one.
        answered: The headers of the server's answer, by name in lower case.
        time: When it came, in seconds of the clock of `time.monotonic`.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    received: int = 0
    status: int = 0
    answered: Mapping[str, str] = field(default_factory=dict)
    time: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Answer:
    """An answer that the proxy gives.

    Attributes:
        status: Its status.
        body: Its body.
        headers: Further headers.
    """

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self, *, is_head: bool) -> bytes:
        """Return it as it is sent."""
        body = b"" if is_head else self.body.encode()
        kind = {"Content-Type": "application/xml"} if body else {}
        headers = {**kind, **self.headers, "Content-Length": str(len(body))}
        lines = [f"HTTP/1.1 {self.status} Refused", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class HttpProxy(Proxy):
    """Passes requests on one by one.

    Attributes:
        requests: All requests so far.
        answer: Returns the answer to a request that the server is not to see: a status, an `Answer` or all of its
            bytes; None for all other requests.
        change: Returns the bytes that are passed on instead of a piece of a request's body.
        names_target: Whether the server is to see its own address in the header Host; a signature may forbid that.
    """

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answer | bytes | int | None] = lambda request: None
        self.change: Callable[[Request, bytes], bytes] = lambda request, data: data
        self.names_target = False

    def serve(self, client: socket.socket, server: socket.socket) -> None:
        """See `Proxy`."""
        from_client, from_server = _Reader(client), _Reader(server)
        while head := from_client.head():
            request = _request(head)
            self.requests.append(request)
            refused = self.answer(request)
            if request.headers.get("expect"):
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
            if self.names_target:
                head = head.replace(b"127.0.0.1:%d" % self.port, b"127.0.0.1:%d" % self.target)
            if refused is None:
                self.send(server, head, up=True)
            for piece in from_client.body(request.headers):
                request.received += len(piece.data)
                if refused is None:
                    self.send(server, piece.framed(self.change(request, piece.data)), up=True)
            if refused is None:
                self._pass_answer(request, client, from_server)
            else:
                if not isinstance(refused, bytes):
                    refused = refused if isinstance(refused, Answer) else Answer(refused)
                    refused = refused.to_bytes(is_head=request.method == "HEAD")
                request.status = int(refused.split(b" ", 2)[1])
                self.send(client, refused, up=False)

    def _pass_answer(self, request: Request, client: socket.socket, from_server: "_Reader") -> None:
        status = 100
        while 100 <= status < 200:
            head = from_server.head()
            if not head:
                raise ConnectionError("the server has closed the connection")
            status = int(head.split(b" ", 2)[1])
        headers = _headers(head)
        request.answered, request.status = headers, status
        here, there = (f"//127.0.0.1:{port}/".encode() for port in (self.port, self.target))
        self.send(client, head.replace(there, here), up=False)  # the address of the session of an upload
        if request.method == "HEAD" or status in _NO_BODY:
            return
        until_end = "content-length" not in headers and "transfer-encoding" not in headers
        for piece in from_server.body(headers, until_end=until_end):
            self.send(client, piece.framed(piece.data), up=False)
        if until_end:
            raise ConnectionError("the answer ends with the connection")


@dataclass(frozen=True)
class _Piece:
    data: bytes
    before: bytes = b""  # of the chunk's frame
    after: bytes = b""

    def framed(self, data: bytes) -> bytes:
        return self.before + data + self.after


class _Reader:
    """The bytes of one side of a connection."""

    def __init__(self, source: socket.socket) -> None:
        self._source, self._left = source, b""

    def head(self) -> bytes:
        """Return the next head with its empty line; nothing at the end."""
        while b"\r\n\r\n" not in self._left:
            if not self._more():
                return b""
        head, _, self._left = self._left.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def body(self, headers: Mapping[str, str], *, until_end: bool = False) -> Iterator[_Piece]:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            yield from self._chunks()
            return
        left = int(headers.get("content-length", 0))
        while left > 0 or until_end:
            if not self._left and not self._more():
                if until_end:
                    return
                raise ConnectionError("cut off")
            size = min(len(self._left), _PIECE) if until_end else min(left, len(self._left))
            data, self._left = self._left[:size], self._left[size:]
            left -= size
            yield _Piece(data)

    def _chunks(self) -> Iterator[_Piece]:
        while True:
            line = self._until(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if not size:
                yield _Piece(b"", line + self._trailers())
                return
            while len(self._left) < size + 2:
                self._need()
            data, self._left = self._left[:size], self._left[size + 2 :]
            yield _Piece(data, line, b"\r\n")

    def _trailers(self) -> bytes:
        found = b""
        while not found.endswith(b"\r\n\r\n") and found != b"\r\n":
            found += self._until(b"\r\n")
        return found

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._left:
            self._need()
        found, _, self._left = self._left.partition(mark)
        return found + mark

    def _need(self) -> None:
        if not self._more():
            raise ConnectionError("cut off")

    def _more(self) -> bool:
        data = self._source.recv(256 << 10)
        self._left += data
        return bool(data)


def _request(head: bytes) -> Request:
    method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    return Request(method, path, _headers(head))


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {
        name.strip().lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon
    }
