"""A model server as a process of its own, and questions to it as JSON."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

START_SECONDS = 120


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running(
    command: list[object], log: Path, ready: str, variables: Mapping[str, object]
) -> Iterator[None]:
    """A server that answers at the address `ready`; it ends with the context.

    Args:
        command: Program and arguments.
        log: A file for what the server says.
        ready: An address that answers with 200 once the server is ready.
        variables: Of its environment, besides those of the tests.
    """
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    with (
        log.open("w") as said,
        subprocess.Popen(
            [*map(str, command)],
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            wait_until_ready(process, ready, log)
            yield
        finally:
            # The server and the processes that it has started.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def wait_until_ready(process: subprocess.Popen, address: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def ask(address: str, question: object) -> tuple[int, dict]:
    """The status and the JSON of an answer."""
    body = json.dumps(question, default=str).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
