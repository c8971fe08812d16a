"""The catalogue of cards against figures worked out from counts and clocks, and names as programs print them."""

import pytest

from harken.autoconfig.cards import CARDS, Card, find_card, match_card, slowest_card
from harken.core import InputError

BY_KEY = {card.key: card for card in CARDS}
MIB = 1 << 20
GIB = 1 << 30

# Multiprocessors, CUDA cores of each, tensor operations of each per cycle (float32 accumulation, dense), boost clock in
# GHz: NVIDIA's architecture white papers. A rate is counts times clock; data sheets round it.
BUILD = {
    "t4": (40, 64, 1024, 1.590),
    "p100": (56, 64, 256, 1.303),  # float16 without tensor cores: 2 lanes, fused
    "v100-16gb": (80, 64, 1024, 1.380),
    "v100-32gb": (80, 64, 1024, 1.380),
    "rtx-3060": (28, 128, 512, 1.777),
    "rtx-3070": (46, 128, 512, 1.725),
    "rtx-3080-10gb": (68, 128, 512, 1.710),
    "rtx-3080-12gb": (70, 128, 512, 1.710),
    "rtx-3090": (82, 128, 512, 1.695),
    "rtx-4060-ti-8gb": (34, 128, 512, 2.535),
    "rtx-4060-ti-16gb": (34, 128, 512, 2.535),
    "rtx-4070": (46, 128, 512, 2.475),
    "rtx-4080": (76, 128, 512, 2.505),
    "rtx-4090": (128, 128, 512, 2.520),
    "rtx-5090": (170, 128, 512, 2.407),
    "a10": (72, 128, 1024, 1.695),
    "a10g": (80, 128, 512, 1.710),
    "a30": (56, 64, 2048, 1.440),
    "a40": (84, 128, 1024, 1.740),
    "a6000": (84, 128, 1024, 1.800),
    "l4": (58, 128, 1024, 2.040),
    "l40s": (142, 128, 1024, 2.520),
    "a100-40gb": (108, 64, 2048, 1.410),
    "a100-80gb": (108, 64, 2048, 1.410),
}


@pytest.mark.parametrize("key", BUILD)
def test_peak_rates_are_counts_times_clock(key: str) -> None:
    card, (count, cores, tensor, clock_ghz) = BY_KEY[key], BUILD[key]
    assert card.fp32 == pytest.approx(count * cores * 2 * clock_ghz * 1e9, rel=0.015)
    assert card.fp16 == pytest.approx(count * tensor * clock_ghz * 1e9, rel=0.015)


def test_hopper_and_blackwell_by_their_data_sheets_with_sparsity_taken_out() -> None:
    sheets = {"h100-pcie": (51e12, 1513e12), "h100-sxm": (67e12, 1979e12), "h200": (67e12, 1979e12)}
    sheets["b200"] = (600e12 / 8, 36e15 / 8)  # DGX B200 and HGX B200, eight cards each
    for key, (fp32, sparse) in sheets.items():
        assert BY_KEY[key].fp32 == pytest.approx(fp32, rel=0.005)
        assert BY_KEY[key].fp16 == pytest.approx(sparse / 2, rel=0.005)


@pytest.mark.parametrize(
    ("key", "bits", "gigabits_per_pin"),
    [
        ("p100", 4096, 1.43),
        ("v100-16gb", 4096, 1.758),
        ("rtx-3060", 192, 15),
        ("rtx-3070", 256, 14),
        ("rtx-3080-10gb", 320, 19),
        ("rtx-3080-12gb", 384, 19),
        ("rtx-3090", 384, 19.5),
        ("rtx-4060-ti-16gb", 128, 18),
        ("rtx-4070", 192, 21),
        ("rtx-4080", 256, 22.4),
        ("rtx-4090", 384, 21),
        ("rtx-5090", 512, 28),
        ("a10", 384, 12.5),
        ("a40", 384, 14.5),
        ("a6000", 384, 16),
        ("l4", 192, 12.5),
        ("l40s", 384, 18),
        ("a100-40gb", 5120, 2.43),
        ("a100-80gb", 5120, 3.024),
        ("h100-sxm", 5120, 5.24),
        ("b200", 7680, 7.992),
    ],
)
def test_bandwidth_is_width_times_rate(key: str, bits: int, gigabits_per_pin: float) -> None:
    assert BY_KEY[key].bandwidth == pytest.approx(bits / 8 * gigabits_per_pin * 1e9, rel=0.01)


# `total_memory` in MiB as users printed it, on several drivers.
PRINTED_MIB = {
    "t4": (14_909, 15_079, 15_109),
    "p100": (16_280,),
    "v100-16gb": (16_130, 16_160),
    "rtx-3060": (11_931, 11_938),
    "rtx-3090": (24_259, 24_268),
    "rtx-4080": (16_049,),
    "rtx-4090": (24_084, 24_207, 24_563),
    "a10g": (22_587, 22_723),
    "a40": (45_416,),
    "a6000": (48_676,),
    "l40s": (45_465, 45_589),
    "a100-40gb": (40_326, 40_339, 40_441),
    "h100-pcie": (81_008,),
    "h100-sxm": (81_082, 81_090),
    "h200": (143_156,),
    "b200": (182_631, 182_642),
}


@pytest.mark.parametrize("key", PRINTED_MIB)
def test_memory_is_what_programs_get_and_never_more(key: str) -> None:
    least = min(PRINTED_MIB[key]) * MIB
    assert 0.98 * least <= BY_KEY[key].memory_bytes <= least


def test_every_card_is_consistent() -> None:
    assert len(BY_KEY) == len(CARDS)
    for card in CARDS:
        assert 0.9 * card.nominal_gib * GIB <= card.memory_bytes < card.nominal_gib * GIB, card.key
        assert (card.bf16 is not None) == (card.compute_capability >= (8, 0)), card.key
        assert card.bf16 in (None, card.fp16), card.key
        assert find_card(card.key) is card
        assert find_card(card.name) is card
        assert card.flops == {"fp32": card.fp32, "fp16": card.fp16} | ({"bf16": card.bf16} if card.bf16 else {})


# Names as nvidia-smi and torch print them, with the memory of the device in MiB.
PRINTED = [
    ("Tesla T4", 15_095, "t4"),
    ("Tesla P100-PCIE-16GB", 16_280, "p100"),
    ("Tesla V100-SXM2-16GB", 16_130, "v100-16gb"),
    ("Tesla V100-PCIE-32GB", 32_510, "v100-32gb"),
    ("Tesla V100-SXM3-32GB", 32_480, "v100-32gb"),
    ("NVIDIA GeForce RTX 3060", 11_931, "rtx-3060"),
    ("GeForce RTX 3070", 7_979, "rtx-3070"),
    ("NVIDIA GeForce RTX 3080", 10_010, "rtx-3080-10gb"),
    ("NVIDIA GeForce RTX 3080", 12_045, "rtx-3080-12gb"),
    ("GeForce RTX 3090", 24_268, "rtx-3090"),
    ("NVIDIA GeForce RTX 4060 Ti", 7_957, "rtx-4060-ti-8gb"),
    ("NVIDIA GeForce RTX 4060 Ti", 16_076, "rtx-4060-ti-16gb"),
    ("NVIDIA GeForce RTX 4070", 11_994, "rtx-4070"),
    ("NVIDIA GeForce RTX 4080", 16_049, "rtx-4080"),
    ("NVIDIA GeForce RTX 4090", 24_207, "rtx-4090"),
    ("NVIDIA GeForce RTX 5090", 32_109, "rtx-5090"),
    ("NVIDIA A10", 22_731, "a10"),
    ("NVIDIA A10G", 22_587, "a10g"),
    ("NVIDIA A30", 24_068, "a30"),
    ("NVIDIA A40", 45_416, "a40"),
    ("NVIDIA RTX A6000", 48_676, "a6000"),
    ("NVIDIA L4", 22_478, "l4"),
    ("NVIDIA L40S", 45_589, "l40s"),
    ("NVIDIA A100-SXM4-40GB", 40_339, "a100-40gb"),
    ("NVIDIA A100-PCIE-40GB", 40_326, "a100-40gb"),
    ("A100-SXM-80GB", 81_251, "a100-80gb"),
    ("NVIDIA A100-SXM4-80GB", 81_038, "a100-80gb"),
    ("NVIDIA A100 80GB PCIe", 81_038, "a100-80gb"),
    ("NVIDIA H100 PCIe", 81_008, "h100-pcie"),
    ("NVIDIA H100 80GB HBM3", 81_089, "h100-sxm"),
    ("NVIDIA H200", 143_156, "h200"),
    ("NVIDIA B200", 182_642, "b200"),
]


@pytest.mark.parametrize(("name", "memory_mib", "key"), PRINTED)
def test_devices_are_recognised_by_the_names_they_print(name: str, memory_mib: int, key: str) -> None:
    assert match_card(name, memory_mib * MIB) is BY_KEY[key]


@pytest.mark.parametrize(
    ("name", "memory_mib"),
    [
        ("NVIDIA GeForce RTX 3080 Laptop GPU", 10_010),
        ("NVIDIA GeForce RTX 3080 Ti", 12_045),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 15_934),
        ("NVIDIA GeForce RTX 3060", 7_979),  # the 8 GB version, of which programs see the same name
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 4_864),
        ("NVIDIA A100-SXM-64GB", 65_000),
        ("NVIDIA H100 NVL", 95_000),
        ("NVIDIA H200 NVL", 143_156),
        ("NVIDIA L40", 45_589),
        ("NVIDIA RTX 6000 Ada Generation", 48_500),
        ("Quadro RTX 6000", 24_200),
        ("NVIDIA", 24_200),
        ("", 24_200),
    ],
)
def test_a_card_the_catalogue_lacks_is_not_taken_for_its_neighbour(name: str, memory_mib: int) -> None:
    assert match_card(name, memory_mib * MIB) is None


def test_a_form_that_the_name_leaves_open_counts_as_the_slower() -> None:
    assert match_card("NVIDIA H100", 81_000 * MIB) is BY_KEY["h100-pcie"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("T4", "t4"),
        ("tesla t4", "t4"),
        ("v100 16 GB", "v100-16gb"),
        ("V100-32", "v100-32gb"),
        ("rtx3090", "rtx-3090"),
        ("3090", "rtx-3090"),
        ("GeForce_RTX_4090", "rtx-4090"),
        ("4060ti 16g", "rtx-4060-ti-16gb"),
        ("RTX 3080 12GiB", "rtx-3080-12gb"),
        ("RTX A6000", "a6000"),
        ("a100 80gb", "a100-80gb"),
        ("A100-40", "a100-40gb"),
        ("A100 Tensor Core GPU 40GB", "a100-40gb"),
        ("h100 sxm5", "h100-sxm"),
        ("H100 PCIe 80GB", "h100-pcie"),
        (" nvidia h200 ", "h200"),
        ("H200 SXM", "h200"),
    ],
)
def test_spelling_is_forgiven(text: str, key: str) -> None:
    assert find_card(text) is BY_KEY[key]


@pytest.mark.parametrize(
    ("text", "variants"),
    [
        ("a100", "a100-40gb, a100-80gb"),
        ("NVIDIA V100", "v100-16gb, v100-32gb"),
        ("3080", "rtx-3080-10gb, rtx-3080-12gb"),
        ("4060 Ti", "rtx-4060-ti-8gb, rtx-4060-ti-16gb"),
        ("H100 80GB", "h100-pcie, h100-sxm"),
    ],
)
def test_a_name_that_fits_several_is_refused_with_their_names(text: str, variants: str) -> None:
    with pytest.raises(InputError) as caught:
        find_card(text)
    assert caught.value.message == f"{text!r} can be any of {variants}, and they differ."
    assert caught.value.hint == "Name one of these."


def test_an_unknown_card_is_refused_with_near_names_and_the_way_out() -> None:
    with pytest.raises(InputError) as caught:
        find_card("A100-60GB")
    assert caught.value.message == "No graphics card called 'A100-60GB' is known."
    assert caught.value.hint.startswith("Close to it: a100-80gb, a100-40gb")
    assert caught.value.hint.endswith("or give the card's memory, such as 24GiB.")


@pytest.mark.parametrize("text", ["", "Radeon RX 7900 XTX", "nvidia", "日本"])
def test_a_card_like_no_other_is_refused_with_all_names(text: str) -> None:
    with pytest.raises(InputError) as caught:
        find_card(text)
    assert all(card.key in caught.value.hint for card in CARDS)


@pytest.mark.parametrize(
    ("gib", "key"),
    [(8, "rtx-3070"), (12, "rtx-3060"), (16, "p100"), (22.35, "a10g"), (24, "a10g"), (48, "a40"), (80, "a100-80gb")],
)
def test_a_size_has_the_rates_of_the_slowest_card_of_about_it(gib: float, key: str) -> None:
    assert slowest_card(round(gib * GIB)) is BY_KEY[key]


@pytest.mark.parametrize(("gib", "nominal"), [(1, 8), (20, 16), (21, 24), (64, 48), (100, 80), (1000, 180)])
def test_a_size_that_no_card_has_takes_the_nearest(gib: int, nominal: int) -> None:
    card: Card = slowest_card(gib * GIB)
    assert card.nominal_gib == nominal
