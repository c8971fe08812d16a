"""Whisper: equal to transformers in scores, loss and greedy decoding, saved in its form, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harken.audio.features import FeatureConfig, FeatureExtractor
from harken.core import InputError, dump_settings, parse_settings
from harken.models.family import Seq2SeqModel
from harken.models.whisper import FAMILY, WhisperSeq2Seq, WhisperSettings, load_whisper, read_features
from harken.testing.random_models import BYTE_UNITS, random_whisper, whisper_tokens
from harken.text.closed import CharTokenizer
from harken.text.vocabulary import BLANK
from harken.text.whisper_tokenizer import WhisperTokenizer

transformers = pytest.importorskip("transformers")

BYTES = list(BYTE_UNITS)
ADDED = whisper_tokens(["en", "uz"])
END, START = ADDED["<|endoftext|>"], ADDED["<|startoftranscript|>"]
FRAMES = 100  # a window of one second
TINY = {
    "vocab_size": len(BYTES) + len(ADDED), "num_mel_bins": 80, "d_model": 32,
    "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
    "max_source_positions": FRAMES // 2, "max_target_positions": 24, "pad_token_id": END, "bos_token_id": END,
    "eos_token_id": END, "decoder_start_token_id": START, "dropout": 0.0, "init_std": 0.2,
}  # fmt: skip
GENERATION = {
    "suppress_tokens": [1, 2, 7, ADDED["<|startofprev|>"]],
    "begin_suppress_tokens": [220, END],
}


def make_folder(folder: Path, **changes: Any) -> Any:
    """A random pretrained folder as transformers writes it, and its model."""
    return random_whisper(folder, languages=["en", "uz"], generation=GENERATION, **{**TINY, **changes})


def load(folder: Path, **options: Any) -> tuple[WhisperSeq2Seq, WhisperTokenizer]:
    parts = load_whisper(folder, **options)
    assert isinstance(parts.model, WhisperSeq2Seq)
    assert isinstance(parts.tokenizer, WhisperTokenizer)
    return parts.model, parts.tokenizer


def sounds(batch: int, mels: int = 80) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, FRAMES, mels, generator=torch.Generator().manual_seed(1)), torch.full((batch,), FRAMES)


def generate(model: WhisperSeq2Seq, features: Tensor, *, prompt: list[int], max_tokens: int) -> list[list[int]]:
    with torch.no_grad():
        encoded = model.encode(features)
    return model.generate(encoded, prompts=[prompt] * len(features), max_tokens=[max_tokens] * len(features))


@pytest.mark.parametrize("mels", [80, 128])
def test_scores_loss_and_gradients_are_those_of_transformers(tmp_path: Path, mels: int) -> None:
    network = make_folder(tmp_path, num_mel_bins=mels)
    model, tokenizer = load(tmp_path)
    assert isinstance(model, Seq2SeqModel)
    assert model.longest_tokens == 24
    sequences = [tokenizer.labels("seven", language="en"), tokenizer.labels("o'n bir", language="uz")]
    features, frames = sounds(2, mels)
    tokens = torch.full((2, max(map(len, sequences))), END)
    labels = torch.full((2, tokens.shape[1] - 1), -100)  # transformers puts <|startoftranscript|> before them
    for row, ids in enumerate(sequences):
        tokens[row, : len(ids)] = torch.tensor(ids)
        labels[row, : len(ids) - 1] = torch.tensor(ids[1:])
    theirs = network(features.transpose(1, 2), labels=labels)
    scores = model(features, frames, tokens)
    assert scores.shape == (2, tokens.shape[1], TINY["vocab_size"])
    real = labels >= 0
    torch.testing.assert_close(scores[:, :-1][real], theirs.logits[real], atol=1e-5, rtol=1e-5)
    loss = functional.cross_entropy(scores[:, :-1][real], tokens[:, 1:][real], label_smoothing=0.0)
    torch.testing.assert_close(loss, theirs.loss, atol=0, rtol=1e-5)
    loss.backward()
    theirs.loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    ours = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert gradients.keys() == ours.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(ours[name], gradient, atol=1e-4 * float(gradient.abs().max()) + 1e-7, rtol=0)


def test_no_score_depends_on_later_tokens_or_on_other_utterances(tmp_path: Path) -> None:
    make_folder(tmp_path)
    model, tokenizer = load(tmp_path)
    features, frames = sounds(3)
    tokens = torch.full((3, 12), END)
    short = torch.tensor(tokenizer.labels("abc", language="en"))
    tokens[0, : len(short)] = short
    tokens[1] = torch.tensor(tokenizer.prompt(language="uz") + tokenizer.encode("abcdefgh"))
    other = tokens.clone()
    other[0, len(short) :] = 5
    with torch.no_grad():
        alone = model(features[:1], frames[:1], short[None])
        for batch in (tokens, other):
            scores = model(features, frames, batch)
            torch.testing.assert_close(scores[:1, : len(short)], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("language", ["en", "uz"])
def test_greedy_decoding_is_that_of_transformers(tmp_path: Path, language: str) -> None:
    network = make_folder(tmp_path)
    model, tokenizer = load(tmp_path)
    features, _frames = sounds(4)
    prompt = tokenizer.prompt(language=language)
    mine = generate(model, features, prompt=prompt, max_tokens=12)
    theirs = network.generate(
        features.transpose(1, 2), language=language, task="transcribe", return_timestamps=False, max_new_tokens=12
    )
    expected = [[id_ for id_ in row if id_ not in (*prompt, END)] for row in theirs.tolist()]
    assert mine == expected
    assert len({tuple(row) for row in mine}) > 1  # the sound decides
    assert not {1, 2, 7} & {id_ for row in mine for id_ in row}
    slow = [slow_greedy(model, features[row : row + 1], prompt, 12) for row in range(4)]
    assert mine == slow


def slow_greedy(model: WhisperSeq2Seq, features: Tensor, prompt: list[int], max_tokens: int) -> list[int]:
    """Without a cache and without a batch."""
    ids = list(prompt)
    for step in range(max_tokens):
        with torch.no_grad():
            scores = model(features, torch.tensor([FRAMES]), torch.tensor([ids]))[0, -1]
        scores[GENERATION["suppress_tokens"] + (GENERATION["begin_suppress_tokens"] if step == 0 else [])] = -torch.inf
        best = int(scores.argmax())
        if best == END:
            break
        ids.append(best)
    return ids[len(prompt) :]


def test_decoding_stops_at_the_end_token_and_at_the_last_position(tmp_path: Path) -> None:
    make_folder(tmp_path)
    model, tokenizer = load(tmp_path)
    features, _frames = sounds(2)
    prompt = tokenizer.prompt(language="en")
    rows = generate(model, features, prompt=prompt, max_tokens=1000)
    assert all(len(row) <= 24 - len(prompt) for row in rows)
    assert generate(model, features, prompt=prompt, max_tokens=0) == [[], []]
    for row in rows:
        assert END not in row
    # An end token that always wins from the second step on.
    model._suppressed = [id_ for id_ in range(TINY["vocab_size"]) if id_ not in (5, END)]  # type: ignore[call-overload]
    with torch.no_grad():
        model.model.decoder.embed_tokens.weight[5] = model.model.decoder.embed_tokens.weight[END] * 0.5
    assert all(len(row) >= 1 and set(row) <= {5} for row in generate(model, features, prompt=prompt, max_tokens=9))
    with pytest.raises(InputError, match=r"prompts have \[25\] tokens; the model reads 1 to 24"):
        generate(model, features, prompt=[START] * 25, max_tokens=1)


def test_a_saved_folder_loads_with_transformers(tmp_path: Path) -> None:
    from harken.models.folder import load_weights, write_weights

    make_folder(tmp_path / "hub")
    parts = load_whisper(tmp_path / "hub")
    model, saved = parts.model, tmp_path / "saved"
    saved.mkdir()
    parts.tokenizer.save(saved)
    model.write_hub_files(saved, parts.features)  # type: ignore[operator]
    write_weights(saved / "model.safetensors", model)
    network, report = transformers.WhisperForConditionalGeneration.from_pretrained(saved, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert network.generation_config.suppress_tokens == GENERATION["suppress_tokens"]
    features, frames = sounds(2)
    tokens = torch.tensor([[START, 40, 41], [START, 42, 43]])
    with torch.no_grad():
        expected = network.eval()(features.transpose(1, 2), decoder_input_ids=tokens).logits
        torch.testing.assert_close(model(features, frames, tokens), expected, atol=1e-5, rtol=0)
    processor = transformers.AutoProcessor.from_pretrained(saved)
    sound = np.random.default_rng(0).normal(0, 0.2, 9_000).astype(np.float32)
    theirs = processor(sound, sampling_rate=16_000, return_tensors="np").input_features[0].T
    mine = FeatureExtractor(parts.features)(sound)
    assert mine.shape == (FRAMES, 80)
    np.testing.assert_allclose(mine, theirs, atol=1e-4)
    settings = parse_settings(WhisperSettings, dump_settings(parts.settings), source="harken.json")
    again = FAMILY.build(settings, 80, parts.tokenizer.vocab_size).eval()
    load_weights(saved / "model.safetensors", again)
    with torch.no_grad():
        assert torch.equal(again(features, frames, tokens), model(features, frames, tokens))  # type: ignore[call-arg]


def test_a_frozen_encoder_has_no_gradient(tmp_path: Path) -> None:
    make_folder(tmp_path)
    model, _ = load(tmp_path, freeze_encoder=True)
    features, frames = sounds(1)
    model(features, frames, torch.tensor([[START, 40]])).sum().backward()
    assert all(p.grad is None for p in model.model.encoder.parameters())
    assert all(p.grad is not None for p in model.model.decoder.parameters())


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path)
    model, _ = load(tmp_path)
    features, frames = sounds(1)
    with pytest.raises(InputError, match=r"90 frames of 80; this Whisper reads 100 frames of 80.*pad_to_s 1;"):
        model(features[:, :90], frames, torch.tensor([[START]]))
    with pytest.raises(InputError, match="25 tokens; the model reads 24"):
        model(features, frames, torch.full((1, 25), START))
    with pytest.raises(InputError, match="CharTokenizer cannot replace Whisper's tokenizer"):
        load_whisper(tmp_path, tokenizer=CharTokenizer([BLANK, " ", "a"]))
    with pytest.raises(InputError, match="128 mels, this Whisper hears 80"):
        FAMILY.build(WhisperSettings(config=TINY | {"model_type": "whisper"}), 128, 10)
    (tmp_path / "added_tokens.json").write_text(json.dumps({**ADDED, "<|0.00|>": len(ADDED) + len(BYTES)}))
    with pytest.raises(InputError, match="tokenizer has 266 units, the model rows for 265"):
        load_whisper(tmp_path)


def test_rows_of_a_batch_have_prompts_and_lengths_of_their_own(tmp_path: Path) -> None:
    make_folder(tmp_path)
    model, tokenizer = load(tmp_path)
    features, _ = sounds(4)
    prompts = [tokenizer.prompt(language=language) for language in ("en", "uz", "en", "uz")]
    limits = [0, 3, 12, 7]
    with torch.no_grad():
        rows = model.generate(model.encode(features), prompts=prompts, max_tokens=limits)
    alone = [generate(model, features[i : i + 1], prompt=prompts[i], max_tokens=limits[i])[0] for i in range(4)]
    assert rows == alone
    assert rows[0] == []
    assert 0 < len(rows[1]) <= 3
    with pytest.raises(InputError, match=r"prompts have \[4, 5\] tokens"):
        model.generate(model.encode(features[:2]), prompts=[prompts[0], [*prompts[1], 3]], max_tokens=[1, 1])


def test_scores_of_wanted_places_alone(tmp_path: Path) -> None:
    make_folder(tmp_path)
    model, _ = load(tmp_path)
    features, frames = sounds(3)
    tokens = torch.randint(0, 200, (3, 7), generator=torch.Generator().manual_seed(2))
    wanted = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1] * 7, [0, 0, 0, 0, 0, 0, 1]], dtype=torch.bool)
    with torch.no_grad():
        every = model(features, frames, tokens)
        torch.testing.assert_close(model(features, frames, tokens, wanted), every[wanted], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("mels", "positions", "window_s"), [(128, 1500, 30.0), (80, 150, 3.0)])
def test_features_are_padded_to_the_window(tmp_path: Path, mels: int, positions: int, window_s: float) -> None:
    config = {"model_type": "whisper", **TINY, "max_source_positions": positions, "num_mel_bins": mels}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_features(tmp_path) == FeatureConfig(kind="whisper", dimensions=mels, pad_to_s=window_s)
    model = FAMILY.build(WhisperSettings(config=config), mels, TINY["vocab_size"])  # type: ignore[arg-type]
    assert model.window_frames == 2 * positions  # type: ignore[union-attr]
    assert read_features(tmp_path, {"max_source_positions": 100}).pad_to_s == 2.0


def test_a_tokenizer_of_another_version_is_refused(tmp_path: Path) -> None:
    """One with fewer languages fits by its size, but every id behind them stands for something else."""
    random_whisper(tmp_path, languages=["en", "uz", "ru"])
    (tmp_path / "added_tokens.json").write_text(json.dumps(whisper_tokens(["en", "ru"])))
    with pytest.raises(InputError, match=r"<\|ru\|> is id 259 in the tokenizer, but id 260 in generation_config.json"):
        load_whisper(tmp_path)
