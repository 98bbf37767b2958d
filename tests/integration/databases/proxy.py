"""A proxy before a server that can fall silent, or cut the connection, after so many messages of the client."""

import socket
import threading
from contextlib import contextmanager, suppress

from tests.integration.databases.server import store


class Proxy:
    """Forwards every connection to a server.

    Attributes:
        address: Where it listens.
        sent: How many pieces of the client were forwarded.
        silent_at: From the piece with these bytes on, nothing is forwarded in either direction.
        is_silent: Whether that has begun.
        cut_at: Before which piece the connection is cut, once.
        kill_at: Before which piece something is called, once, and what.
        was_cut: Whether that has happened.
        pieces: How each piece begins.
    """

    def __init__(self, server, silent_at=None, cut_at=None, kill_at=(None, None)):
        self.server, self.silent_at, self.cut_at = server, silent_at, cut_at
        self.kill_at, self.kill = kill_at
        self.sent = 0
        self.was_cut = self.is_silent = False
        self.pieces = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.sockets = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.server)
                self.sockets += [client, server]
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self.forward, args=pair, daemon=True).start()

    def forward(self, source, target, from_client):
        with suppress(OSError):
            while data := source.recv(1 << 20):
                if from_client and self.silent_at is not None and self.silent_at in data:
                    self.is_silent = True
                if self.is_silent:
                    threading.Event().wait()
                if from_client:
                    self.sent += 1
                    self.pieces.append(bytes(data[:200]))
                    if self.sent == self.cut_at and not self.was_cut:
                        self.was_cut = True
                        break
                    if self.sent == self.kill_at and not self.was_cut:
                        self.was_cut = True
                        self.kill()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def behind_proxy(shop, **options):
    """The same database behind a proxy."""
    user, _, rest = shop.database.uri.rpartition("@")
    host, _, name = rest.partition("/")
    address, _, port = host.partition(":")
    proxy = Proxy((address, int(port)), **options)
    try:
        # Without encryption the pieces are those of the client.
        yield proxy, store(f"{user}@{proxy.address}/{name}?sslmode=disable&gssencmode=disable")
    finally:
        # Closing alone would not reach the server while a thread waits for it.
        for end in proxy.sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
