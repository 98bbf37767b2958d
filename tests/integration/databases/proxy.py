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
        silent_after: After how many pieces nothing is forwarded any more, in both directions.
        cut_at: Before which piece the connection is cut, once.
        kill_at: Before which piece something is called, once, and what.
        was_cut: Whether that has happened.
        pieces: How each piece begins.
    """

    def __init__(self, server, silent_after=None, cut_at=None, kill_at=(None, None)):
        self.server, self.silent_after, self.cut_at = server, silent_after, cut_at
        self.kill_at, self.kill = kill_at
        self.sent = 0
        self.was_cut = False
        self.pieces = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.sockets = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def is_silent(self):
        return self.silent_after is not None and self.sent >= self.silent_after

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
                if from_client:
                    if self.is_silent:
                        threading.Event().wait()
                    self.sent += 1
                    self.pieces.append(bytes(data[:200]))
                    if self.sent == self.cut_at and not self.was_cut:
                        self.was_cut = True
                        break
                    if self.sent == self.kill_at and not self.was_cut:
                        self.was_cut = True
                        self.kill()
                elif self.is_silent:
                    threading.Event().wait()
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
        for end in proxy.sockets:
            end.close()
