"""A proxy on loopback that does to connections what networks do."""

import contextlib
import select
import socket
import struct
import threading
import time

_PIECE = 64 << 10


class Cut(Exception):
    """The connection is to be reset."""


class Proxy:
    """Passes bytes between clients and a server, and disturbs them as a test asks. A context manager.

    Args:
        target: The port of the server.

    Attributes:
        port: Its own port.
        delay: Seconds that each piece of bytes takes longer, in either direction.
        rate: Bytes per second to the server, over all connections; None for no limit.
        hangs: While true, nothing is passed on, and connections stay open.
        resets: While true, each connection is reset.
        cut_after: Bytes to the server after which a connection is reset, once; None for never.
        sent: Bytes to the server so far.
        connections: How many connections were made so far.
    """

    def __init__(self, target: int) -> None:
        self.target, self.delay, self.rate = target, 0.0, None
        self.hangs = self.resets = False
        self.cut_after: int | None = None
        self.sent = self.connections = 0
        self._next, self._lock, self._closed = 0.0, threading.Lock(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()

    def __enter__(self):
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self.drop()
        self._listener.close()

    def drop(self) -> None:
        """Reset all connections that are open now."""
        for one in list(self._open):
            self._reset(one)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                if not select.select([self._listener], [], [], 0.2)[0]:
                    continue
                client, _ = self._listener.accept()
            except (OSError, ValueError):
                return
            self.connections += 1
            threading.Thread(target=self._handle, args=(client,), name="proxy", daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        self._open.add(client)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._disturb()
            with socket.create_connection(("127.0.0.1", self.target), 10) as server:
                server.settimeout(None)
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(server)
                try:
                    self.serve(client, server)
                finally:
                    self._open.discard(server)
        except (Cut, OSError):
            self._reset(client)
        finally:
            self._open.discard(client)
            with contextlib.suppress(OSError):
                client.close()

    def serve(self, client: socket.socket, server: socket.socket) -> None:
        """Serve one connection until its end."""
        while not self._closed.is_set():
            ready = select.select([client, server], [], [], 0.2)[0]
            for source in ready:
                data = source.recv(_PIECE)
                if not data:
                    return
                self.send(server if source is client else client, data, up=source is client)

    def send(self, to: socket.socket, data: bytes, *, up: bool) -> None:
        """Pass bytes on, disturbed. Raises `Cut` to reset the connection."""
        self._disturb()
        if self.delay:
            time.sleep(self.delay)
        if up:
            self._limit(len(data))
            with self._lock:
                left, self.sent = self.cut_after, self.sent + len(data)
                if left is not None:
                    self.cut_after = None if left <= len(data) else left - len(data)
            if left is not None and left <= len(data):
                to.sendall(data[:left])
                raise Cut
        to.sendall(data)

    def _disturb(self) -> None:
        while self.hangs and not self._closed.is_set():
            time.sleep(0.02)
        if self.resets:
            raise Cut

    def _limit(self, count: int) -> None:
        if self.rate is not None:
            with self._lock:
                begin = max(self._next, time.monotonic())
                self._next = begin + count / self.rate
            time.sleep(max(0.0, begin - time.monotonic()))

    def _reset(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.shutdown(socket.SHUT_RD)
        with contextlib.suppress(OSError):
            one.close()
