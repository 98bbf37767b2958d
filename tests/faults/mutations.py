"""Bytes that were damaged on the way, drawn from a seed: the corpus of the fuzz tests."""

import random
from collections.abc import Iterator

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
