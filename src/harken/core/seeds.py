"""Random numbers keyed by what they are for.

A generator is a function of its keys alone, so an augmentation keyed by (seed, epoch, utterance id) is the same with
0 or 8 workers, after a resume, and on another machine.
"""

import hashlib

import numpy as np

Key = int | str


def derive_seed(*keys: Key) -> int:
    """A 64-bit seed from any mix of integers and strings (BLAKE2b of their unambiguous encoding)."""
    digest = hashlib.blake2b(digest_size=8)
    for key in keys:
        piece = repr(key).encode()
        digest.update(len(piece).to_bytes(4, "little"))
        digest.update(piece)
    return int.from_bytes(digest.digest(), "little")


def keyed_generator(*keys: Key) -> np.random.Generator:
    """A fresh generator for these keys; equal keys give equal streams."""
    return np.random.Generator(np.random.Philox(key=derive_seed(*keys)))
