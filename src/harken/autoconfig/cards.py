"""Graphics cards by name: memory, compute capability, peak rates. What a plan needs of a GPU that is not at hand.

Peak rates are those of dense matrices (data sheets often print the doubled rate of 2:4 sparse ones), by NVIDIA's data
sheets of the T4, P100 PCIe, V100 PCIe, A10, A10G (for AWS), A30, A40, RTX A6000, A100, L4, L40S, H100, H200 and HGX
B200, and by the appendices of the architecture white papers "GA102", "Ada" and "RTX Blackwell" for GeForce cards. Where
a card comes in several forms (PCIe, SXM) that share a name here, the figures are the slower form's.

fp16 and bf16 are the rates of tensor cores that accumulate in float32, which is how PyTorch multiplies; on GeForce
cards and the A10G that is half the rate that is advertised. The P100 has no tensor cores and computes float16 at twice
its float32 rate. Cards before compute capability 8.0 have no bfloat16. fp32 is the rate outside tensor cores: TF32 is
another format.

`memory_bytes` is what CUDA gives to programs (`total_memory` of the device properties), less than the number on the
box: the driver and error correction keep some. For the T4, P100, V100 16GB, RTX 3060, 3090, 4080, 4090, A10G, A40,
A6000, L40S, A100 40GB, H100, H200 and B200 it is the least seen in logs that users published, rounded down; for the
others the nominal size less what similar cards lose: 1 to 4.5 %, with error correction on GDDR6 8.6 %.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from harken.core import InputError

_GIB = 1 << 30
_SAME_MEMORY = 0.1  # share by which sizes called "about the same" may differ

# Words that say nothing about which card it is.
_NOISE = frozenset({"nvidia", "geforce", "tesla", "rtx", "gpu", "cuda", "tensor", "core", "graphics", "card"})
# Words for how a card is built, which some names carry. A card without `forms` of its own takes any of them.
_FORMS = frozenset({"sxm", "sxm2", "sxm3", "sxm4", "sxm5", "pcie", "fhhl", "hbm2", "hbm2e", "hbm3"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One card. Rates are peak operations per second, None where the card lacks the format; `bandwidth` is bytes per
    second; `nominal_gib` the size on the box, `memory_bytes` what programs get of it."""

    key: str
    name: str
    nominal_gib: int
    memory_bytes: int
    compute_capability: tuple[int, int]
    fp32: float
    fp16: float
    bf16: float | None
    bandwidth: float
    forms: frozenset[str] = frozenset()

    @property
    def model(self) -> frozenset[str]:
        """Words of the key that every spelling of the card's name has."""
        return frozenset(self.key.split("-")) - _NOISE - _FORMS - {f"{self.nominal_gib}gb"}

    @property
    def flops(self) -> dict[str, float]:
        """Peak rates by precision, without those the card lacks."""
        rates = {"fp32": self.fp32, "fp16": self.fp16}
        return rates if self.bf16 is None else {**rates, "bf16": self.bf16}


def _card(
    key: str,
    name: str,
    memory: tuple[int, int],  # GiB on the box, MiB for programs
    capability: tuple[int, int],
    teraflops: tuple[float, float, float | None],  # fp32, fp16, bf16
    gigabytes_per_s: float,
    forms: Iterable[str] = (),
) -> Card:
    fp32, fp16, bf16 = teraflops
    return Card(
        key=key,
        name=name,
        nominal_gib=memory[0],
        memory_bytes=memory[1] << 20,
        compute_capability=capability,
        fp32=fp32 * 1e12,
        fp16=fp16 * 1e12,
        bf16=None if bf16 is None else bf16 * 1e12,
        bandwidth=gigabytes_per_s * 1e9,
        forms=frozenset(forms),
    )


CARDS: tuple[Card, ...] = (
    _card("t4", "NVIDIA T4", (16, 14_900), (7, 5), (8.1, 65, None), 300),
    _card("p100", "NVIDIA P100 16GB", (16, 16_270), (6, 0), (9.3, 18.7, None), 732),
    _card("v100-16gb", "NVIDIA V100 16GB", (16, 16_130), (7, 0), (14, 112, None), 900),
    _card("v100-32gb", "NVIDIA V100 32GB", (32, 32_260), (7, 0), (14, 112, None), 900),
    _card("rtx-3060", "NVIDIA GeForce RTX 3060 12GB", (12, 11_900), (8, 6), (12.7, 25.5, 25.5), 360),
    _card("rtx-3070", "NVIDIA GeForce RTX 3070", (8, 7_840), (8, 6), (20.3, 40.6, 40.6), 448),
    _card("rtx-3080-10gb", "NVIDIA GeForce RTX 3080 10GB", (10, 9_860), (8, 6), (29.8, 59.5, 59.5), 760),
    _card("rtx-3080-12gb", "NVIDIA GeForce RTX 3080 12GB", (12, 11_900), (8, 6), (30.6, 61.3, 61.3), 912),
    _card("rtx-3090", "NVIDIA GeForce RTX 3090", (24, 24_120), (8, 6), (35.6, 71, 71), 936),
    _card("rtx-4060-ti-8gb", "NVIDIA GeForce RTX 4060 Ti 8GB", (8, 7_840), (8, 9), (22.1, 44.1, 44.1), 288),
    _card("rtx-4060-ti-16gb", "NVIDIA GeForce RTX 4060 Ti 16GB", (16, 15_840), (8, 9), (22.1, 44.1, 44.1), 288),
    _card("rtx-4070", "NVIDIA GeForce RTX 4070", (12, 11_870), (8, 9), (29.1, 58.3, 58.3), 504),
    _card("rtx-4080", "NVIDIA GeForce RTX 4080", (16, 15_900), (8, 9), (48.7, 97.5, 97.5), 716.8),
    _card("rtx-4090", "NVIDIA GeForce RTX 4090", (24, 24_070), (8, 9), (82.6, 165.2, 165.2), 1008),
    _card("rtx-5090", "NVIDIA GeForce RTX 5090", (32, 32_100), (12, 0), (104.8, 209.5, 209.5), 1792),
    _card("a10", "NVIDIA A10", (24, 22_580), (8, 6), (31.2, 125, 125), 600),
    _card("a10g", "NVIDIA A10G", (24, 22_580), (8, 6), (35, 70, 70), 600),
    _card("a30", "NVIDIA A30", (24, 24_060), (8, 0), (10.3, 165, 165), 933),
    _card("a40", "NVIDIA A40", (48, 45_400), (8, 6), (37.4, 149.7, 149.7), 696),
    _card("a6000", "NVIDIA RTX A6000", (48, 48_500), (8, 6), (38.7, 154.8, 154.8), 768),
    _card("l4", "NVIDIA L4", (24, 22_470), (8, 9), (30.3, 121, 121), 300),
    _card("l40s", "NVIDIA L40S", (48, 45_400), (8, 9), (91.6, 362, 362), 864),
    _card("a100-40gb", "NVIDIA A100 40GB", (40, 40_300), (8, 0), (19.5, 312, 312), 1555),
    _card("a100-80gb", "NVIDIA A100 80GB", (80, 81_000), (8, 0), (19.5, 312, 312), 1935),
    _card("h100-pcie", "NVIDIA H100 PCIe", (80, 80_900), (9, 0), (51, 756, 756), 2000, ("pcie", "hbm2e")),
    _card("h100-sxm", "NVIDIA H100 SXM", (80, 80_900), (9, 0), (67, 989, 989), 3350, ("sxm", "sxm5", "hbm3")),
    _card("h200", "NVIDIA H200", (141, 143_000), (9, 0), (67, 989, 989), 4800),
    _card("b200", "NVIDIA B200", (180, 182_600), (10, 0), (75, 2250, 2250), 7700),
)


def find_card(text: str) -> Card:
    """The card that a user means: upper and lower case, "NVIDIA", "GeForce", spaces and dashes make no difference.

    Raises InputError, with the names to choose from, where the text fits no card or several.
    """
    found = _candidates(text)
    if len(found) == 1:
        return found[0]
    if found:
        fits = ", ".join(card.key for card in found)
        raise InputError(f"{text!r} can be any of {fits}, and they differ.", hint="Name one of these.")
    keys = [card.key for card in CARDS]
    bare = "-".join(word for word in _words(text) if word not in _NOISE)
    near = difflib.get_close_matches(bare, keys, n=4, cutoff=0.5)
    names = f"Close to it: {', '.join(near)}" if near else f"Known: {', '.join(keys)}"
    hint = f"{names}; or give the card's memory, such as 24GiB."
    raise InputError(f"No graphics card called {text!r} is known.", hint=hint)


def match_card(name: str, memory_bytes: int) -> Card | None:
    """The catalogue's card for a device: its name as CUDA or nvidia-smi prints it, and its memory in bytes.

    The driver gives some cards that differ in memory one name (RTX 3080, RTX 4060 Ti), so memory decides there; of
    cards that still tie, the slower. None where name or memory fits none: a laptop's version, a slice of a card, a card
    newer than the catalogue.
    """
    fits = [card for card in _candidates(name) if _is_about(card.memory_bytes, memory_bytes)]
    return min(fits, key=lambda card: (abs(card.memory_bytes - memory_bytes), *_speed(card)), default=None)


def slowest_card(memory_bytes: int) -> Card:
    """The slowest card of about this memory (within a tenth of the size on its box), else of the nearest size.

    Halfway between two sizes, the smaller counts.
    """
    fits = [card for card in CARDS if _is_about(card.nominal_gib * _GIB, memory_bytes)]
    if not fits:
        nearest = min((card.nominal_gib for card in CARDS), key=lambda gib: (abs(gib * _GIB - memory_bytes), gib))
        fits = [card for card in CARDS if card.nominal_gib == nearest]
    return min(fits, key=_speed)


def _candidates(text: str) -> list[Card]:
    words = [word for word in _words(text) if word not in _NOISE]
    return [card for card in CARDS if card.model <= set(words) and all(_fits(word, card) for word in words)]


def _fits(word: str, card: Card) -> bool:
    """Whether a word of a name can belong to this card; one that cannot ("laptop", "super", "mig") is another's."""
    if word in card.model or word in (f"{card.nominal_gib}gb", str(card.nominal_gib)):
        return True
    return word in (card.forms or _FORMS)


def _words(text: str) -> list[str]:
    """Words of a card's name in lower case. A size is one word ("80 GB" is "80gb"), "RTX4060Ti" is three."""
    text = text.lower().replace("_", " ")
    text = re.sub(r"\b(\d+) ?(?:gib|gb|g)\b", r"\1gb", text)
    text = re.sub(r"\brtx(?=\w)", "rtx ", text)
    text = re.sub(r"(?<=\d)(ti|super)\b", r" \1", text)
    return re.findall(r"[a-z0-9]+", text)


def _is_about(size: int, other: int) -> bool:
    return abs(size - other) <= _SAME_MEMORY * max(size, other)


def _speed(card: Card) -> tuple[float, float, float]:
    """Orders cards by what training on them can reach: half precision first, then float32, then bandwidth."""
    return max(card.fp16, card.bf16 or 0.0), card.fp32, card.bandwidth
