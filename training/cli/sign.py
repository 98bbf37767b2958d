"""`training sign`."""

from pathlib import Path

import click

from engine.cli.console import say
from engine.cli.options import PLACE, command


@command("training sign candidate --key signing.pem")
@click.argument("bundle", type=PLACE)
@click.option(
    "--key",
    type=PLACE,
    required=True,
    help="Your private key: PEM, not encrypted, on the curve P-256, P-384 or P-521.",
)
def sign(bundle: Path, key: Path) -> None:
    """Sign a bundle, so that others can check that it comes from you.

    The signature lies beside the folder of the bundle, as NAME.sig; an earlier one is replaced.
    BUNDLE is a bundle, or a folder of versions with CURRENT. Needs the extra [signing].
    """
    from engine.bundle.open import file_digests, open_bundle
    from engine.bundle.signature import make_signature, signature_path
    from engine.storage import SHARED_MODE, storage_errors, write_atomic

    opened = open_bundle(bundle)
    digests = file_digests(opened)
    bundle_id = opened.manifest.bundle_id
    content = make_signature(bundle_id, digests, key)
    path = signature_path(opened.path)
    with storage_errors(path):
        write_atomic(path, content, SHARED_MODE)
    say([f"signed: {len(digests)} files of {bundle_id}, in {path}"])
    say([f"next: engine verify {bundle} --key PUBLIC_KEY"])
