"""Bytes that were damaged on the way, and JSON that says something else, drawn from a seed."""

import json
import random
from collections.abc import Iterator
from copy import deepcopy

# What has a meaning in one of the formats, or is the edge of a number.
TOKENS = (
    *(b"", b"\0", b"\xff" * 8, b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", b"\x7f\xff\xff\xff"),
    *(b"\n", b"\r", b'"', b",", b"\n\n", b'""', b"\xef\xbb\xbf", b"\xed\xa0\x80", b"NaN", b"1e999"),
    *(b"{", b"}", b"[" * 200, b"null", b"-", b"PAR1", b"ARROW1\0\0", b"\x1f\x8b\x08", b"\xc3\x28"),
)


def mutated(content: bytes, draws: random.Random) -> bytes:
    """The same bytes with one to four damages: bits, tokens, pieces lost, doubled or exchanged."""
    for _ in range(draws.randint(1, 4)):
        start, end = sorted(draws.randrange(len(content) + 1) for _ in range(2))
        start = max(start, end - draws.choice((1, 4, 64, 4_096)))
        piece = content[start:end]
        replacement = draws.choice(
            (
                bytes(byte ^ 1 << draws.randrange(8) for byte in piece[:4]) + piece[4:],
                draws.choice(TOKENS),
                draws.randbytes(len(piece)),
                piece + piece,
                piece[::-1],
                piece + draws.choice(TOKENS),
            )
        )
        content = content[:start] + replacement + content[end:]
        if draws.random() < 0.05:
            content = content[: draws.randrange(len(content) + 1)]
    return content


def corpus(content: bytes, seed: int, count: int) -> Iterator[bytes]:
    """So many mutations; the first ones are the same whatever the count."""
    draws = random.Random(seed)
    for _ in range(count):
        yield mutated(content, draws)


# In the place of a value: other types and the edges of each; a text that begins with RAW is written as it is.
VALUES = (
    *(
        "RAW 1e999",
        "RAW -1e999",
        "RAW NaN",
        f"RAW {'9' * 400}",
        "RAW 1e-320",
        "RAW -0",
        "RAW 1e300",
    ),
    *(
        f"RAW {'[' * 70}{']' * 70}",
        f"RAW {'[' * 600}{']' * 600}",
        'RAW "\\ud800"',
        'RAW {"a":1,"a":2}',
    ),
    *(None, True, False, 0, 1, -1, 2**31, 2**62, 0.5, -1e300),
    *("", "x", "1", "\u202e", "a\nb", "<script>", "y" * 5_000),
    *([], {}, [None], [1], ["x"], [[1]], {"a": 1}, {"": None}),
)


def mutated_document(document: object, draws: random.Random) -> bytes:
    """The same JSON with one or two values that are absent, renamed, repeated or something else."""
    document = deepcopy(document)
    for _ in range(draws.choice((1, 1, 2))):
        place, parent, key = document, None, None
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            parent, key = place, draws.choice(keys)
            place = parent[key]
            if draws.random() < 0.15:
                break
        if parent is None:
            return draws.choice((b"[]", b"{}", b"1", b"null", b'"x"', b""))
        kind = draws.choice(("value",) * 6 + ("absent", "longer", "renamed"))
        if kind == "absent":
            del parent[key]
        elif kind == "longer" and isinstance(place, list):
            place.extend(deepcopy(place))
        elif kind == "longer" and isinstance(parent, list):
            parent.append(deepcopy(place))
        elif kind == "renamed" and isinstance(parent, dict):
            parent[f"{key}_"] = parent.pop(key)
        else:
            parent[key] = deepcopy(draws.choice(VALUES))
    text = json.dumps(document)
    for value in VALUES:
        if isinstance(value, str) and value.startswith("RAW "):
            text = text.replace(json.dumps(value), value[4:])
    return text.encode()


def documents(content: bytes, seed: int, count: int) -> Iterator[bytes]:
    """So many mutations of a JSON document; the first ones are the same whatever the count."""
    draws = random.Random(seed)
    document = json.loads(content)
    for _ in range(count):
        yield mutated_document(document, draws)
