"""Models as a plan sees them: sizes by arithmetic, parts that are trained, identity."""

import pytest

from harken.autoconfig.model import TrainedParts, planned_model
from harken.core import InputError

pytest.importorskip("transformers", reason="needs the extra `train`")

WIDTH, HIDDEN, RANK = 384, 1536, 8
# LoRA on four projections of 12 attentions, and on two layers of 8 feed-forward blocks.
LORA = 12 * 4 * RANK * 2 * WIDTH + 8 * 2 * RANK * (WIDTH + HIDDEN)


def test_whisper_tiny() -> None:
    profile = planned_model("openai/whisper-tiny").profile
    assert profile.parameters == 37_760_640
    assert profile.parameters - profile.trained == profile.frozen == 1500 * WIDTH  # the encoder's sines
    assert (profile.family, profile.window_s, profile.longest_tokens) == ("whisper", 30.0, 448)
    assert profile.output_units == 51_865


def test_lora_is_counted() -> None:
    profile = planned_model("whisper-tiny", parts=TrainedParts(way="lora")).profile
    assert profile.trained == LORA
    assert profile.parameters == 37_760_640 + LORA


def test_a_frozen_encoder() -> None:
    planned = planned_model("whisper-tiny", parts=TrainedParts(way="frozen-encoder"))
    trained = {name.split(".")[1] for name, p in planned.build().named_parameters() if p.requires_grad}
    assert "encoder" not in trained
    assert "decoder" in trained


@pytest.mark.parametrize("name", ["wav2vec2-base", "stt_en_conformer_ctc_small"])
def test_every_way_has_its_parts(name: str) -> None:
    trained = [
        planned_model(name, parts=TrainedParts(way=way)).profile.trained for way in ("full", "frozen-encoder", "lora")
    ]
    assert trained[0] > trained[1] > trained[2] > 0


def test_labels_of_texts() -> None:
    ctc = planned_model("wav2vec2-base").profile
    assert [ctc.tokens(count) for count in (0, 1, 80)] == [1, 1, 80]
    whisper = planned_model("whisper-tiny").profile
    assert [whisper.tokens(count) for count in (0, 10, 100_000)] == [5, 11, 448]
    assert planned_model("wav2vec2-base", tokens_per_character=0.25).profile.tokens(81) == 21


def test_identity_is_of_shape_and_parts() -> None:
    models = [
        planned_model("wav2vec2-base"), planned_model("wav2vec2-large"), planned_model("wav2vec2-base", units=65),
        planned_model("wav2vec2-base", parts=TrainedParts(way="lora")),
    ]  # fmt: skip
    hashes = {model.profile.sha256 for model in models}
    assert len(hashes) == 4
    assert planned_model("facebook/wav2vec2-base").profile.sha256 == models[0].profile.sha256


def test_unknown_models_are_refused() -> None:
    with pytest.raises(InputError, match="No model is known as 'whisper-huge'"):
        planned_model("whisper-huge")
