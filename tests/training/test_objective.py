"""Losses equal to those of transformers for the same batch, and readings of both kinds of model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from harken.audio.features import FeatureExtractor
from harken.core import Utterance
from harken.models.conformer import ConformerCtc, ConformerSettings
from harken.models.pretrained import PretrainedParts, load_pretrained
from harken.testing.random_models import random_wav2vec2, random_whisper
from harken.text.tokenize import WordTokenizer
from harken.text.vocabulary import BLANK
from harken.training.labels import CtcLabeller, Seq2SeqLabeller
from harken.training.objective import (
    CtcObjective,
    Seq2SeqObjective,
    ValidationItem,
    make_objective,
    padded_labels,
)
from harken.training.precision import Precision
from harken.training.recipe import Seq2SeqConfig

transformers = pytest.importorskip("transformers", reason="needs the extra `train`")

CPU = Precision(name="fp32", device=torch.device("cpu"))
TEXTS = {"seven": "en", "o'n bir": "uz", "": "en"}


def whisper(folder: Path, **options: Any) -> tuple[PretrainedParts, Any, Seq2SeqObjective]:
    network = random_whisper(folder)
    parts = load_pretrained(folder)
    labeller = Seq2SeqLabeller(parts.tokenizer, Seq2SeqConfig(), longest_tokens=200)  # type: ignore[arg-type]
    objective = make_objective(parts.model, labeller, precision=CPU, **options)
    assert isinstance(objective, Seq2SeqObjective)
    return parts, network, objective


def spoken(parts: PretrainedParts) -> tuple[list[Utterance], list[np.ndarray]]:
    """Utterances with features of noise."""
    draw, extractor = np.random.default_rng(0), FeatureExtractor(parts.features)
    utterances = [
        Utterance(id=text or "none", audio="/a.wav", duration_s=0.5 + place / 4, text=text, language=language)
        for place, (text, language) in enumerate(TEXTS.items())
    ]
    sounds = [0.1 * draw.standard_normal(int(u.duration_s * 16_000)).astype(np.float32) for u in utterances]
    return utterances, [extractor(sound) for sound in sounds]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_whisper_batch_has_the_loss_of_transformers(tmp_path: Path, smoothing: float) -> None:
    parts, network, objective = whisper(tmp_path, smoothing=smoothing)
    utterances, features = spoken(parts)
    labels = [objective.labeller(u, u.text or "") for u in utterances]
    labels_BT, lengths_B = padded_labels(labels, CPU.device)
    features_BFM = torch.from_numpy(np.stack(features))
    losses = objective.losses(features_BFM, torch.tensor([len(f) for f in features]), labels_BT, lengths_B)
    assert losses.dtype == torch.float32
    theirs = labels_BT.masked_fill(torch.arange(labels_BT.shape[1]) >= lengths_B[:, None], -100)
    expected = network(features_BFM.transpose(1, 2), labels=theirs)
    if smoothing == 0:
        torch.testing.assert_close(losses.sum() / lengths_B.sum(), expected.loss, atol=0, rtol=1e-5)
    for row, length in enumerate(lengths_B.tolist()):
        alone = functional.cross_entropy(
            expected.logits[row, :length], labels_BT[row, :length], reduction="sum", label_smoothing=smoothing
        )
        torch.testing.assert_close(losses[row], alone, atol=1e-4, rtol=1e-5)


def test_a_wav2vec2_batch_has_the_loss_of_transformers(tmp_path: Path) -> None:
    """Utterances of one length: transformers lets padding into the group norm of base models."""
    network = random_wav2vec2(tmp_path, letters="abcdef")
    parts = load_pretrained(tmp_path)
    labeller = CtcLabeller(parts.tokenizer, lambda _: 100)
    objective = make_objective(parts.model, labeller, precision=CPU)
    waveforms = torch.randn(3, 12_000, generator=torch.Generator().manual_seed(1))
    labels = [parts.tokenizer.encode(text) for text in ("abc", "f", "dd ea")]
    labels_BT, lengths_B = padded_labels(labels, CPU.device)
    losses = objective.losses(waveforms[:, :, None], torch.full((3,), 12_000), labels_BT, lengths_B)
    network.config.ctc_loss_reduction = "sum"
    network.config.pad_token_id = 0
    theirs = labels_BT.masked_fill(torch.arange(labels_BT.shape[1]) >= lengths_B[:, None], -100)
    torch.testing.assert_close(losses.sum(), network(waveforms, labels=theirs).loss, atol=0, rtol=1e-5)


def test_bfloat16_changes_little_and_losses_stay_float32(tmp_path: Path) -> None:
    parts, _, objective = whisper(tmp_path)
    half = make_objective(parts.model, objective.labeller, precision=Precision(name="bf16", device=torch.device("cpu")))
    utterances, features = spoken(parts)
    batch = torch.from_numpy(np.stack(features)), torch.full((3,), 150)
    labels = padded_labels([objective.labeller(u, u.text or "") for u in utterances], CPU.device)
    with torch.no_grad():
        exact, rough = objective.losses(*batch, *labels), half.losses(*batch, *labels)
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(rough, exact, atol=0, rtol=0.02)


def test_a_whisper_reading_is_the_models_own_greedy_text(tmp_path: Path) -> None:
    parts, network, objective = whisper(tmp_path, smoothing=0.3)
    utterances, features = spoken(parts)
    labels = [objective.labeller(u, u.text or "") for u in utterances[:2]]
    items = [
        ValidationItem(utterance=utterance, features=feature, labels=ids)
        for utterance, feature, ids in zip(utterances, features, [*labels, None], strict=True)
    ]
    features_BFM = torch.from_numpy(np.stack(features))
    with torch.inference_mode():
        readings = objective.read(features_BFM, torch.full((3,), 150), items)
        for row, (utterance, reading) in enumerate(zip(utterances, readings, strict=True)):
            limit = 10 + int(50 * utterance.duration_s)
            ids = network.generate(
                features_BFM[row : row + 1].transpose(1, 2),
                language=utterance.language,
                task="transcribe",
                max_new_tokens=limit,
            )[0]
            assert reading.text == parts.tokenizer.decode([i for i in ids.tolist() if i < parts.tokenizer.vocab_size])
        plain = Seq2SeqObjective(model=objective.model, labeller=objective.labeller, precision=CPU)
        losses = plain.losses(features_BFM[:2], torch.full((2,), 150), *padded_labels(labels, CPU.device))
    assert readings[2].loss is None
    assert [readings[0].loss, readings[1].loss] == pytest.approx(losses.tolist(), rel=1e-5)  # smoothing left out


def test_a_ctc_reading_says_what_the_scores_say() -> None:
    class Echo(ConformerCtc):
        def forward(self, features_BFM: torch.Tensor, frames_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return features_BFM, frames_B

    tokenizer = WordTokenizer([BLANK, "ah", "bo"])
    model = Echo(ConformerSettings(width=8, layers=1, heads=1), 3, 3)
    objective = CtcObjective(model=model, tokenizer=tokenizer, precision=CPU, smoothing=0.5)
    frames = 5 * torch.eye(3)[[1, 0, 2, 2]][None]
    item = ValidationItem(
        utterance=Utterance(id="u", audio="/a", duration_s=1.0), features=frames[0].numpy(), labels=[1, 2]
    )
    (reading,) = objective.read(frames, torch.tensor([4]), [item])
    assert reading.text == "ah bo"
    paths = [[1, 0, 0, 2], [1, 0, 2, 2], [1, 1, 0, 2], [1, 1, 2, 2], [1, 2, 2, 2], [1, 1, 1, 2], [0, 1, 2, 2],
             [0, 1, 0, 2], [0, 0, 1, 2], [0, 1, 1, 2], [1, 0, 2, 0], [1, 2, 0, 0], [1, 2, 2, 0], [1, 1, 2, 0],
             [0, 1, 2, 0]]  # fmt: skip
    log_probs = frames[0].log_softmax(-1)
    expected = -torch.logsumexp(
        torch.stack([sum(log_probs[t, unit] for t, unit in enumerate(path)) for path in paths]),
        0,  # type: ignore[misc]
    )
    assert reading.loss == pytest.approx(float(expected), rel=1e-5)


def test_model_and_labels_have_to_belong_together() -> None:
    model = ConformerCtc(ConformerSettings(width=8, layers=1, heads=1), 3, 3)
    labeller = Seq2SeqLabeller.__new__(Seq2SeqLabeller)
    with pytest.raises(TypeError, match="a ConformerCtc cannot learn the labels of a Seq2SeqLabeller"):
        make_objective(model, labeller, precision=CPU)
