"""Keys, and bundles that they sign."""

import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from engine.bundle.open import file_digests, open_bundle
from engine.bundle.signature import make_signature, signature_path
from tests.helpers import BUNDLE


def write_keys(folder: Path, name: str, key=None) -> tuple[Path, Path]:
    """The files of a private key, by default a new one, and of its public key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def copied_bundle(folder: Path) -> Path:
    """A copy of the committed bundle, without `CURRENT`."""
    return Path(shutil.copytree(open_bundle(BUNDLE).path, folder))


def sign(folder: Path, private: Path) -> Path:
    """Sign a bundle as it is; gives the file of its signature."""
    bundle = open_bundle(folder)
    content = make_signature(bundle.manifest.bundle_id, file_digests(bundle), private)
    signature_path(folder).write_bytes(content)
    return signature_path(folder)
