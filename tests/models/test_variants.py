"""Known models: their sizes against published counts and against arithmetic, and shapes of local folders."""

from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, MissingPart
from harken.models.variants import VARIANTS, Variant, find_variant, size_of, variant_of

transformers = pytest.importorskip("transformers", reason="needs the extra `train`")

PUBLISHED = {  # millions, as written; the last digit may be rounded in any way
    "whisper-tiny": "37.8",  # of the hub's files; OpenAI writes 39, 74, 244, 769 and 1550
    "whisper-base": "72.6",
    "whisper-small": "242",
    "whisper-medium": "764",
    "whisper-large-v2": "1543",
    "whisper-large-v3": "1543",
    "whisper-large-v3-turbo": "809",
    "distil-small.en": "166",  # Gandhi et al. 2023, and the model cards
    "distil-medium.en": "394",
    "distil-large-v2": "756",
    "distil-large-v3": "756",
    "wav2vec2-base": "94.4",
    "wav2vec2-large": "315",
    "wav2vec2-xls-r-300m": "315",
    "wav2vec2-xls-r-1b": "962",
    "wav2vec2-xls-r-2b": "2159",
    "stt_en_conformer_ctc_small": "13",  # NeMo's conformer_ctc_bpe.yaml
    "stt_hi_conformer_ctc_medium": "30",
    "stt_en_conformer_ctc_large": "121",
    "stt_en_fastconformer_ctc_large": "115",  # its model card
}
OPENAI = {"tiny": 39, "base": 74, "small": 244, "medium": 769, "large-v3": 1550, "large-v3-turbo": 809}
PAPERS = {  # with parts that fine-tuning has no use for, such as the targets of pretraining
    "wav2vec2-base": 95, "wav2vec2-large": 317, "wav2vec2-large-lv60": 317, "wav2vec2-xls-r-300m": 317,
    "wav2vec2-xls-r-1b": 965, "wav2vec2-xls-r-2b": 2162, "hubert-base-ls960": 95, "hubert-large-ll60k": 317,
    "hubert-xlarge-ll60k": 964, "wavlm-base": 94.70, "wavlm-base-plus": 94.70, "wavlm-large": 316.62,
}  # fmt: skip


def whisper_by_hand(config: dict[str, Any]) -> int:
    """Weights of a Whisper, added up from its dimensions (Radford et al. 2022, section 2.2)."""
    width, hidden = config["d_model"], config["encoder_ffn_dim"]
    norm = 2 * width
    attention = 4 * width * width + 3 * width  # the key has no bias
    feed_forward = 2 * width * hidden + hidden + width
    encoder_layer = attention + feed_forward + 2 * norm
    decoder_layer = 2 * attention + feed_forward + 3 * norm
    convolutions = 3 * config["num_mel_bins"] * width + width + 3 * width * width + width
    positions = (config["max_source_positions"] + config["max_target_positions"]) * width
    return int(
        config["encoder_layers"] * encoder_layer
        + config["decoder_layers"] * decoder_layer
        + convolutions
        + positions
        + config["vocab_size"] * width  # shared with the output
        + 2 * norm
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_those_that_were_published(name: str) -> None:
    millions = size_of(find_variant(name)).parameters / 1e6
    digits = len(PUBLISHED[name].partition(".")[2])
    assert abs(millions - float(PUBLISHED[name])) < 10**-digits


@pytest.mark.parametrize(("name", "millions"), OPENAI.items())
def test_openai_counts_a_little_more(name: str, millions: float) -> None:
    assert 0.965 * millions < size_of(find_variant(f"whisper-{name}")).parameters / 1e6 <= millions


@pytest.mark.parametrize(("name", "millions"), PAPERS.items())
def test_papers_count_a_little_more(name: str, millions: float) -> None:
    assert 0.99 * millions < size_of(find_variant(name)).parameters / 1e6 <= millions


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v.family == "whisper"], ids=lambda v: v.name)
def test_whisper_by_arithmetic(variant: Variant) -> None:
    size = size_of(variant)
    config = dict(variant.config)
    assert size.parameters == whisper_by_hand(config)
    assert size.parameters - size.trained == 1500 * config["d_model"]  # the encoder's table of sines


def test_tiny_is_what_transformers_makes_of_it() -> None:
    config = transformers.WhisperConfig(
        d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6, decoder_attention_heads=6,
        encoder_ffn_dim=1536, decoder_ffn_dim=1536,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config)
    size = size_of(find_variant("whisper-tiny"))
    assert size.parameters == model.num_parameters() == 37_760_640
    # LoRA of rank 8 on four projections of 12 attentions, and on two layers of 8 feed-forward blocks.
    assert size.lora == 12 * 4 * 8 * (384 + 384) + 8 * 2 * 8 * (384 + 1536)
    encoder = sum(p.numel() for p in model.model.encoder.parameters())
    assert size.uses_per_s == encoder * 50 + (37_760_640 - encoder) * 4


def test_work_follows_the_frames() -> None:
    for name, per_s in [
        ("wav2vec2-base", 50),
        ("stt_hi_conformer_ctc_medium", 25),
        ("stt_en_fastconformer_ctc_large", 12.5),
    ]:
        size = size_of(find_variant(name))
        assert size.uses_per_s == size.parameters * per_s


def test_every_variant_is_usable() -> None:
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names)
    for variant in VARIANTS:
        model = variant.build(40)
        assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@pytest.mark.parametrize("name", ["whisper-small", "openai/whisper-small"])
def test_they_are_found_by_name_and_by_hub_id(name: str) -> None:
    assert find_variant(name).hub_id == "openai/whisper-small"


def test_short_names_belong_to_a_family() -> None:
    assert find_variant("base", family="whisper", prefix="whisper-").name == "whisper-base"
    with pytest.raises(InputError, match=r"No model is known as 'base'"):
        find_variant("base")
    with pytest.raises(InputError, match=r"No whisper is known as 'wav2vec2-base'"):
        find_variant("wav2vec2-base", family="whisper", prefix="whisper-")
    with pytest.raises(InputError, match="Did you mean medium"):
        find_variant("medum", family="whisper", prefix="whisper-")


def test_the_shape_of_a_local_folder(tmp_path: Path) -> None:
    from harken.testing.random_models import random_wav2vec2, random_whisper

    for make, family, dimensions in ((random_wav2vec2, "wav2vec2-ctc", 1), (random_whisper, "whisper", 80)):
        model = make(tmp_path / family)
        variant = variant_of(tmp_path / family)
        assert (variant.hub_id, variant.family, variant.dimensions) == (None, family, dimensions)
        base = model if family == "whisper" else model.base_model
        assert size_of(variant).parameters == base.num_parameters()
    with pytest.raises(MissingPart, match=r"has no config\.json"):
        variant_of(tmp_path)
