"""The signature of a bundle: proof that the holder of a private key vouches for its files.

The format is that of OpenSSF Model Signing 1.0, so that other tools verify it too: a Sigstore bundle with
a DSSE envelope around an in-toto statement, which lists the SHA-256 of every file. The file lies beside the
folder, because no file may be added to a bundle.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bundle.documents import parse_json
from engine.bundle.files import MANIFEST_LIMIT_BYTES, read_errors, read_file
from engine.errors import BundleError, UsageError, pluralize, quoted

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        ECDSA,
        EllipticCurve,
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

KEY_LIMIT_BYTES = 65_536
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
"""How the files are hashed: one by one, without links."""

CURVE_HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
"""The curves of the format, each with the hash that is signed."""


def signature_path(folder: Path) -> Path:
    """The file with the signature of a bundle: beside its folder, if that is a link beside its target."""
    real = folder.resolve()
    return real.with_name(f"{real.name}.sig")


def make_signature(name: str, digests: Mapping[str, str], key: Path) -> bytes:
    """Sign the files of a bundle.

    Args:
        name: What the signature calls the bundle.
        digests: The SHA-256 of every file in the folder, by name.
        key: The private key: PEM, not encrypted, on one of the curves in `CURVE_HASHES`.

    Returns:
        The content of the file at `signature_path`.

    Raises:
        BundleError: The key is missing, or not such a key.
        AccessError: This user may not read the key.
        UsageError: The extra [signing] is not installed.
    """
    private = _private_key(key)
    payload = json.dumps(_statement(name, digests)).encode()
    signature = private.sign(_signed_bytes(payload), _algorithm(private.curve))
    hint = key_fingerprint(private.public_key())
    document = {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return (json.dumps(document) + "\n").encode()


def check_signature(folder: Path, digests: Mapping[str, str], key: Path) -> str:
    """Check that a bundle is signed by a key, every file as it is.

    Args:
        folder: The folder of the bundle.
        digests: The SHA-256 of every file in it, by name.
        key: The public key, PEM.

    Returns:
        The fingerprint of the key.

    Raises:
        BundleError: The bundle is not signed, not by this key, or differs from what was signed; or
            the key is missing or unsuitable.
        AccessError: This user may not read the key or the signature.
        UsageError: The extra [signing] is not installed.
    """
    public = _public_key(key)
    path = signature_path(folder)
    content = read_signature(folder)
    if content is None:
        raise BundleError(
            f"{path}: missing, so the bundle is not signed. Copy the file from where the bundle comes "
            "from, or have it signed: training sign BUNDLE --key PRIVATE_KEY"
        )
    payload, signature = _envelope(path, content)
    from cryptography.exceptions import InvalidSignature

    try:
        public.verify(signature, _signed_bytes(payload), _algorithm(public.curve))
    except InvalidSignature:
        raise BundleError(
            f"{path}: not signed by {key} (SHA-256 {key_fingerprint(public)[:12]}…): signed by another "
            "key, or altered since. Do not use this bundle before you know who signed it; if keys "
            "have changed, give the new one."
        ) from None
    _check_digests(path, _signed_digests(path, payload), digests)
    return key_fingerprint(public)


def read_signature(folder: Path) -> bytes | None:
    """The content of the signature of a bundle, unchecked; None if there is none.

    Raises:
        BundleError: It is too large, or not a regular file.
        AccessError: This user may not read it.
    """
    path = signature_path(folder)
    if not os.path.lexists(path):
        return None
    return read_file(path.parent, path.name, MANIFEST_LIMIT_BYTES, _SIGN_AGAIN)


def check_listed(folder: Path, content: bytes, digests: Mapping[str, str]) -> None:
    """Check that a signature is of these files; whose it is remains unknown.

    Raises:
        BundleError: It is of other files, or not a signature.
    """
    path = signature_path(folder)
    payload, _ = _envelope(path, content)
    _check_digests(path, _signed_digests(path, payload), digests)


def key_fingerprint(key: "EllipticCurvePublicKey") -> str:
    """The SHA-256 of a public key as PEM: that of its file, if OpenSSL wrote it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


_SIGN_AGAIN = "Sign it again: training sign BUNDLE --key PRIVATE_KEY"


def _statement(name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """The in-toto statement about a bundle; its subject is the SHA-256 over all digests."""
    ordered = sorted(digests.items(), key=lambda item: item[0].split("/"))
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in ordered)).hexdigest()
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": SERIALIZATION,
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": digest} for name, digest in ordered
            ],
        },
    }


def _envelope(path: Path, content: bytes) -> tuple[bytes, bytes]:
    """The payload and the signature in a file that anybody may have written."""
    try:
        envelope = parse_json(content)["dsseEnvelope"]
        (signature,) = envelope["signatures"]
        parts = [
            base64.b64decode(text, validate=True)
            for text in (envelope["payload"], signature["sig"])
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: not a signature of a bundle: {error}. {_SIGN_AGAIN}") from error
    return parts[0], parts[1]


def _signed_digests(path: Path, payload: bytes) -> dict[str, str]:
    """The SHA-256 of every file that a statement lists, by name."""
    try:
        statement = parse_json(payload)
        kinds = statement["_type"], statement["predicateType"]
        resources = statement["predicate"]["resources"]
        hashed = {resource["algorithm"] for resource in resources}
        digests = {resource["name"]: resource["digest"] for resource in resources}
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: not a statement about files: {error}. {_SIGN_AGAIN}") from error
    if kinds != (STATEMENT_TYPE, PREDICATE_TYPE) or hashed != {"sha256"}:
        raise BundleError(
            f"{path}: expected a statement {PREDICATE_TYPE} with the SHA-256 of each file, found "
            f"{kinds[1]!r} with {quoted(sorted(map(str, hashed)))}. {_SIGN_AGAIN}"
        )
    return digests


def _check_digests(path: Path, signed: Mapping[str, str], found: Mapping[str, str]) -> None:
    names = sorted(name for name in {*signed, *found} if signed.get(name) != found.get(name))
    if names:
        raise BundleError(
            f"{path}: signed for other files: {pluralize(len(names), 'file')} of {len(found):,} "
            f"({quoted(names)}) differ from what was signed. Copy bundle and signature again, from the "
            "same place."
        )


def _signed_bytes(payload: bytes) -> bytes:
    """What is signed: the payload with its type and length, as DSSE 1 has it."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _algorithm(curve: "EllipticCurve") -> "ECDSA":
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    return ECDSA(getattr(hashes, CURVE_HASHES[curve.name])())


def _private_key(path: Path) -> "EllipticCurvePrivateKey":
    content = _key_content(path)
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(content, None)
    # NOTE: TypeError is raised for a key that is encrypted.
    except (ValueError, TypeError) as error:
        raise _unsuitable(path, "private", str(error)) from error
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in CURVE_HASHES:
        raise _unsuitable(path, "private", f"found {type(key).__name__}")
    return key


def _public_key(path: Path) -> "EllipticCurvePublicKey":
    content = _key_content(path)
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(content)
    except ValueError as error:
        raise _unsuitable(path, "public", str(error)) from error
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in CURVE_HASHES:
        raise _unsuitable(path, "public", f"found {type(key).__name__}")
    return key


def _key_content(path: Path) -> bytes:
    """The bytes of a key that the user named; it may come through a pipe."""
    if find_spec("cryptography") is None:
        raise UsageError(
            "'cryptography' not installed: signatures need the extra [signing]. "
            "Run: pip install 'shopnow-scoring[signing]', or in a clone: pip install '.[signing]'"
        )
    if not os.path.lexists(path):
        raise BundleError(f"{path}: no such key. Check the path.")
    with read_errors(path, "Name the file of a key."), path.open("rb") as file:
        return file.read(KEY_LIMIT_BYTES)


def _unsuitable(path: Path, kind: str, found: str) -> BundleError:
    return BundleError(
        f"{path}: expected a {kind} key as PEM, not encrypted, on the curve P-256, P-384 or P-521: {found}. "
        "To make one, see docs/supply_chain.md."
    )
