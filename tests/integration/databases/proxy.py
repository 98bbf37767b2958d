"""A proxy before a server that can fall silent, or cut the connection, after so many messages of the client."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.integration.databases.server import store


class Proxy:
    """Forwards every connection to a server.

    Attributes:
        address: Where it listens.
        messages: How each message of the client begins.
        silent_at: From the message with these bytes on, nothing is forwarded in either direction.
        is_silent: Whether that has begun.
        cut_at: Before which message the connection is cut, once.
        kill_at: Before which message something is called, once, and what.
        was_cut: Whether that has happened.
    """

    def __init__(self, server, silent_at=None, cut_at=None, kill_at=(None, None)):
        self.server, self.silent_at, self.cut_at = server, silent_at, cut_at
        self.kill_at, self.kill = kill_at
        self.was_cut = self.is_silent = False
        self.messages = []
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
                for work in ((self.forward, client, server), (self.answer, server, client)):
                    threading.Thread(target=ended, args=work, daemon=True).start()

    def forward(self, client, server):
        for message in whole_messages(client):
            if self.silent_at is not None and self.silent_at in message:
                self.is_silent = True
            self.wait_if_silent()
            self.messages.append(message[:200])
            number = len(self.messages)
            if number in (self.cut_at, self.kill_at) and not self.was_cut:
                self.was_cut = True
                if number == self.cut_at:
                    break
                self.kill()
            server.sendall(message)

    def answer(self, server, client):
        while data := server.recv(1 << 20):
            self.wait_if_silent()
            client.sendall(data)

    def wait_if_silent(self):
        if self.is_silent:
            threading.Event().wait()


def ended(work, *ends):
    """Work between two sockets, which are shut down after it."""
    with suppress(OSError):
        work(*ends)
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def whole_messages(client: socket.socket) -> Iterator[bytes]:
    """The messages of PostgreSQL's protocol, however the network cuts them; the first has no type."""
    stream = client.makefile("rb")
    kind = b""
    while length := stream.read(4):
        yield kind + length + stream.read(int.from_bytes(length) - 4)
        kind = stream.read(1)


@contextmanager
def behind_proxy(shop, **options):
    """The same database behind a proxy."""
    user, _, rest = shop.database.uri.rpartition("@")
    host, _, name = rest.partition("/")
    address, _, port = host.partition(":")
    proxy = Proxy((address, int(port)), **options)
    try:
        # Without encryption the messages can be read.
        yield proxy, store(f"{user}@{proxy.address}/{name}?sslmode=disable&gssencmode=disable")
    finally:
        # Closing alone would not reach the server while a thread waits for it.
        for end in proxy.sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
