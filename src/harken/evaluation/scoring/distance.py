"""Edit distance between characters: the fewest insertions, deletions and substitutions.

Bit-parallel: a column of the lattice is held as bits that say whether neighbours differ by +1 or -1. G. Myers, "A fast
bit-vector algorithm for approximate string matching", JACM 46 (1999), in the form of H. Hyyrö, "Explaining and
extending the bit-parallel approximate string matching algorithm of Myers" (2001). Short texts are done in
batches of numpy words, long ones with Python's integers, which take any number of bits.
"""

import numpy as np
import numpy.typing as npt

# I reference position, J hypothesis position, P pair, B block of 64 reference positions, A letter of the alphabet
Bits = npt.NDArray[np.uint64]
BLOCK = 64
_ONE, _TOP = np.uint64(1), np.uint64(BLOCK - 1)


def batch_distances(
    reference_IP: npt.NDArray[np.int32],
    hypothesis_JP: npt.NDArray[np.int32],
    reference_lengths: npt.NDArray[np.int64],
    hypothesis_lengths: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """(pairs,) edit distances. Letters are numbers 1, 2, ...; behind the ends of texts stands 0."""
    blocks = -(-len(reference_IP) // BLOCK)
    if blocks == 0:
        return hypothesis_lengths.copy()
    pairs = reference_IP.shape[1]
    reference_IP, hypothesis_JP, letters = _renumber(reference_IP, hypothesis_JP)
    places_BAP = _letter_places(reference_IP, letters, blocks)
    last_BP = _last_bits(reference_lengths, blocks)
    distances = reference_lengths.astype(np.int64)
    positive_BP = np.full((blocks, pairs), ~np.uint64(0))
    negative_BP = np.zeros((blocks, pairs), dtype=np.uint64)
    columns = np.arange(pairs)
    for j, letter_P in enumerate(hypothesis_JP):
        at_P = letter_P * pairs + columns
        carry_up: Bits | np.uint64 = _ONE  # row 0 of the lattice grows by one per column
        carry_down: Bits | np.uint64 = np.uint64(0)
        change = np.zeros(pairs, dtype=np.int64)
        for block in range(blocks):
            positive, negative = positive_BP[block], negative_BP[block]
            same = places_BAP[block].reshape(-1)[at_P] | carry_down
            zero = (((same & positive) + positive) ^ positive) | same | negative
            up, down = negative | ~(zero | positive), zero & positive
            change += (up & last_BP[block]) != 0
            change -= (down & last_BP[block]) != 0
            up, carry_up = (up << _ONE) | carry_up, up >> _TOP
            down, carry_down = (down << _ONE) | carry_down, down >> _TOP
            positive_BP[block] = down | ~(zero | up)
            negative_BP[block] = up & zero
        distances += np.where(j < hypothesis_lengths, change, 0)
    return np.where(reference_lengths == 0, hypothesis_lengths, distances)


def long_distance(reference_I: npt.NDArray[np.int32], hypothesis_J: npt.NDArray[np.int32]) -> int:
    """Edit distance of two texts of any length; 100,000 letters each take seconds."""
    length = len(reference_I)
    if length == 0:
        return len(hypothesis_J)
    places = {
        int(letter): int.from_bytes(np.packbits(reference_I == letter, bitorder="little").tobytes(), "little")
        for letter in np.unique(reference_I)
    }
    everywhere, last = (1 << length) - 1, 1 << (length - 1)
    positive, negative, distance = everywhere, 0, length
    for letter in hypothesis_J.tolist():
        same = places.get(letter, 0)
        zero = (((same & positive) + positive) ^ positive) | same | negative
        up, down = (negative | ~(zero | positive)) & everywhere, zero & positive
        distance += bool(up & last) - bool(down & last)
        up, down = (up << 1 | 1) & everywhere, down << 1 & everywhere
        positive, negative = (down | ~(zero | up)) & everywhere, up & zero
    return distance


def _renumber(
    reference_IP: npt.NDArray[np.int32], hypothesis_JP: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], int]:
    """The same texts with letters 1, 2, ... without gaps, 0 kept; and one more than the largest of them."""
    largest = max(int(reference_IP.max(initial=0)), int(hypothesis_JP.max(initial=0)))
    seen = np.zeros(largest + 1, dtype=bool)
    seen[reference_IP] = True
    seen[hypothesis_JP] = True
    seen[0] = False
    numbers = np.where(seen, np.cumsum(seen), 0).astype(np.int32)
    return numbers[reference_IP], numbers[hypothesis_JP], int(seen.sum()) + 1


def _letter_places(reference_IP: npt.NDArray[np.int32], letters: int, blocks: int) -> npt.NDArray[np.uint64]:
    """(blocks, letters, pairs) bits that are set where the letter stands in the reference; none for letter 0."""
    pairs = reference_IP.shape[1]
    places_BAP = np.zeros((blocks, letters, pairs), dtype=np.uint64)
    columns = np.arange(pairs)
    for i, letter_P in enumerate(reference_IP):
        flat = places_BAP[i // BLOCK].reshape(-1)
        flat[letter_P * pairs + columns] |= np.uint64(1 << (i % BLOCK))
    places_BAP[:, 0] = 0
    return places_BAP


def _last_bits(lengths: npt.NDArray[np.int64], blocks: int) -> Bits:
    """(blocks, pairs) the bit of each reference's last letter; zero in the other blocks."""
    last_BP = np.zeros((blocks, len(lengths)), dtype=np.uint64)
    some = np.flatnonzero(lengths)
    at = lengths[some] - 1
    last_BP[at // BLOCK, some] = _ONE << (at % BLOCK).astype(np.uint64)
    return last_BP
