"""Whisper through `train`: windows padded and packed, adapters, averages, resumes, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import harken
from harken.core import InputError
from harken.core.files import sha256_file
from harken.data.manifest import read_manifest
from harken.data.packing import PackedSampler
from harken.data.sampler import BucketSampler
from harken.models.folder import load_model
from harken.models.pretrained import load_pretrained
from harken.testing.random_models import random_whisper
from harken.tracking.run import read_events, read_metrics
from harken.training import validation
from harken.training.assembly import Assembler
from harken.training.checkpoint import CheckpointStore
from harken.training.loop import Interrupted
from harken.training.progress import SilentView, Standing
from harken.training.recipe import Recipe
from harken.training.run import plan_run, resume, train
from harken.training.validation import ValidationResult

transformers = pytest.importorskip("transformers", reason="needs the extra `train`")

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    random_whisper(tmp_path / "whisper", times_s=1.5, d_model=32, encoder_ffn_dim=64, decoder_ffn_dim=64, init_std=0.02)
    return tmp_path / "whisper"


@pytest.fixture
def fine_tuning(tiny_recipe: MakeRecipe, tone_corpus: Any, pretrained: Path) -> MakeRecipe:
    """Tones said to be Uzbek, a third of them Russian."""
    for name in ("train", "validation"):
        tone_corpus.change(
            name, lambda items: [replace(u, language="ru" if i % 3 == 0 else "uz") for i, u in enumerate(items)]
        )
    return lambda *overrides: tiny_recipe(
        f"model={{pretrained: {pretrained}}}", "training.updates=4", "optimizer.learning_rate=2e-3", *overrides
    )


def test_it_learns_and_the_folder_is_transformers_own(
    fine_tuning: MakeRecipe, pretrained: Path, tmp_path: Path
) -> None:
    random_whisper(pretrained)  # wider, and without time tokens
    recipe = fine_tuning(
        "training.updates=250", "training.evaluate_every=125", "seq2seq.language=uz", "optimizer.learning_rate=4e-3"
    )
    outcome = train(recipe, tmp_path / "run")
    assert outcome.state.best_wer is not None
    assert outcome.state.best_wer < 0.5
    loaded = load_model(tmp_path / "run" / "model")
    assert loaded.description.family == "whisper"
    assert loaded.description.languages == ["ru", "uz"]
    recognizer = harken.load(tmp_path / "run" / "model")
    utterance = read_manifest(Path(recipe.data.train))[0]
    transcript = recognizer.transcribe(utterance.audio)
    assert transcript.language == "uz"  # the only token it was trained with is told, not guessed
    network = transformers.WhisperForConditionalGeneration.from_pretrained(tmp_path / "run" / "model").eval()
    assert network.generation_config.language == "uz"
    features = recognizer.extractor(Assembler(recipe).read_audio(utterance))  # type: ignore[attr-defined]
    theirs = network.generate(torch.from_numpy(features.T[None]), max_new_tokens=30)[0].tolist()
    assert transcript.text == loaded.tokenizer.decode(theirs)
    assert transcript.text


def test_a_model_of_several_languages_guesses(fine_tuning: MakeRecipe, tmp_path: Path) -> None:
    train(fine_tuning(), tmp_path / "run")
    generation = json.loads((tmp_path / "run" / "model" / "generation_config.json").read_text())
    assert "language" not in generation
    utterance = read_manifest(Path(fine_tuning().data.train))[0]
    assert harken.load(tmp_path / "run" / "model").transcribe(utterance.audio).language in ("en", "uz", "ru")
    rows = [row for row in read_metrics(tmp_path / "run") if "val_wer" in row]
    assert all({"val_wer_uz", "val_wer_ru"} <= row.keys() for row in rows)


def test_packed_windows_pad_little(fine_tuning: MakeRecipe) -> None:
    padded = plan_run(fine_tuning())
    packed = plan_run(fine_tuning("seq2seq.window=packed", "batches={update_s: 6}"))
    corpus_s = padded["train_s"]
    assert padded["padding_share"] == pytest.approx(1 - corpus_s / (24 * 1.5), abs=1e-3)
    assert padded["padding_share"] > 0.6
    assert packed["padding_share"] < 0.25  # seven windows of a second and a half hold at most four words each
    assert padded["buckets"] == [{"upper_edge_s": 1.5, "batch_size": 8}]
    assert packed["buckets"] == [{"upper_edge_s": 1.5, "batch_size": 5}]  # that hold 1.2 s of speech each


@pytest.mark.parametrize("window", ["padded", "packed"])
def test_planned_windows(fine_tuning: MakeRecipe, tone_corpus: Any, window: str) -> None:
    tone_corpus.edit("train-03", duration_s=2.0)
    planned = ("batches={edges_s: [1.5], batch_sizes: [4], accumulate: 2}", f"seq2seq.window={window}")
    plan = plan_run(fine_tuning(*planned, "training.gradient_checkpointing=true"))
    assert plan["buckets"] == [{"upper_edge_s": 1.5, "batch_size": 4}]
    assert plan["batches_per_update"] == 2
    assert plan["rejected"] == {"longer than the model's window": 1}
    with pytest.raises(InputError, match=r"every row of this model is a window of 1\.5 s\. Give the one edge 1\.5"):
        plan_run(fine_tuning("batches={edges_s: [1.0], batch_sizes: [4]}"))


def test_packed_batches_hold_every_text_once(fine_tuning: MakeRecipe) -> None:
    recipe = fine_tuning("seq2seq.window=packed", "seq2seq.timestamps_share=0.5", "batches={update_s: 6}")
    parts, data = Assembler(recipe).assemble(None)
    (stage,) = data.stages
    assert isinstance(stage.sampler, PackedSampler)
    texts = dict(zip((u.id for u in data.train.utterances), data.train.texts, strict=True))
    languages = {u.id: u.language for u in data.train.utterances}
    seen: list[str] = []
    timed = 0
    for batch in stage.loader.iterate(0, stage.sampler.steps_per_epoch):
        assert batch.features_BFM.shape[1:] == (150, 80)
        for name, labels, length in zip(batch.ids, batch.labels_BT, batch.label_lengths_B, strict=True):
            members = name.split(" + ")
            seen += members
            ids = labels[:length].tolist()
            assert parts.tokenizer.decode(ids) == " ".join(texts[member] for member in members)
            (language,) = {languages[member] for member in members}
            assert ids[0] == parts.tokenizer.token_id(f"<|{language}|>")  # type: ignore[attr-defined]
            times = [t for t in map(parts.tokenizer.time_s, ids) if t is not None]  # type: ignore[attr-defined]
            assert len(times) in (0, 2 * len(members))
            assert times == sorted(times)
            timed += bool(times)
    assert sorted(seen) == sorted(texts)
    assert 0 < timed < stage.sampler.windows


def test_stages_have_windows_of_their_own(fine_tuning: MakeRecipe, tiny_recipe: MakeRecipe) -> None:
    """Packed to learn much in little time, then one utterance for each window, as the model will hear them."""
    stages = "curriculum=[{name: many, epochs: 2, window: packed}, {name: single, epochs: 1}]"
    recipe = fine_tuning("training={device: cpu}", "batches={update_s: 6}", stages)
    many, single = Assembler(recipe).assemble(None)[1].stages
    assert isinstance(many.sampler, PackedSampler)
    assert isinstance(single.sampler, BucketSampler)
    assert many.plan.batch_sizes == (5,)
    rows = [len(batch) for batch in single.loader.iterate(0, single.sampler.steps_per_epoch)]
    assert sum(rows) == 24
    with pytest.raises(InputError, match="Stage 'many' of the curriculum has a window, but the model has no decoder"):
        plan_run(tiny_recipe("training={device: cpu}", stages))


def test_training_packed(fine_tuning: MakeRecipe, tmp_path: Path) -> None:
    recipe = fine_tuning(
        "seq2seq.window=packed", "batches={update_s: 6}", "training.updates=80", "training.evaluate_every=40",
        "augmentation.speed={factors: [0.9, 1.0, 1.1]}", "augmentation.spec_augment={}",
    )  # fmt: skip
    train(recipe, tmp_path / "run")
    losses = [row["train_loss"] for row in read_metrics(tmp_path / "run") if "train_loss" in row]
    assert losses[-1] < 0.6 * losses[0]


class Stopper(SilentView):
    """Asks for a stop, as Ctrl-C does, after an update."""

    def __init__(self, after: int) -> None:
        self.after = after

    def show(self, standing: Standing) -> None:
        if standing.update == self.after:
            import signal

            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    "overrides",
    [
        ("seq2seq.window=packed", "batches={update_s: 6}", "training.average_decay=0.9"),
        ("model.adapter={kind: lora, rank: 4}", "model.merge_adapter=false", "training.average_decay=0.9"),
        ("model.adapter={kind: bottleneck, adapter_dim: 8}", "seq2seq.timestamps_share=0.5"),
        ("optimizer.name=adafactor", "model.label_smoothing=0.1"),
    ],
)
def test_a_resumed_run_ends_with_the_same_bits(
    fine_tuning: MakeRecipe, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    recipe = fine_tuning("training.updates=8", "training.evaluate_every=4", *overrides)
    train(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "cut", view=Stopper(5))
    resume(tmp_path / "cut")
    for name in ("model.safetensors", "adapters/default/adapter_model.safetensors"):
        whole, cut = (tmp_path / run / "model" / name for run in ("whole", "cut"))
        assert whole.exists() == cut.exists()
        if whole.exists():
            assert sha256_file(whole) == sha256_file(cut)
    rows = [[row for row in read_metrics(tmp_path / run) if "val_wer" in row] for run in ("whole", "cut")]
    assert [row["val_loss"] for row in rows[0]] == [row["val_loss"] for row in rows[1]]


@pytest.fixture
def improving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every evaluation finds a lower WER than the one before, so that the last weights are the best."""
    seen: list[ValidationResult] = []

    def validate(*arguments: Any, **options: Any) -> ValidationResult:
        seen.append(validation.validate(*arguments, **options))
        return replace(seen[-1], wer=1 / len(seen))

    monkeypatch.setattr("harken.training.run.validate", validate)


@pytest.mark.usefixtures("improving")
def test_a_merged_adapter_is_in_the_weights(fine_tuning: MakeRecipe, pretrained: Path, tmp_path: Path) -> None:
    recipe = fine_tuning(
        "model.adapter={name: uz, kind: lora, rank: 4, targets: [q_proj, v_proj]}", "training.updates=6"
    )
    train(recipe, tmp_path / "merged")
    train(replace(recipe, model=replace(recipe.model, merge_adapter=False)), tmp_path / "apart")
    base = load_pretrained(pretrained).model.state_dict()
    merged = load_model(tmp_path / "merged" / "model")
    apart = load_model(tmp_path / "apart" / "model")
    assert merged.description.adapters == []
    assert (apart.description.adapters, apart.description.active_adapters) == (["uz"], ["uz"])
    changed = {name for name, tensor in merged.model.state_dict().items() if not torch.equal(tensor, base[name])}
    assert changed
    assert all(name.endswith(("q_proj.weight", "v_proj.weight")) for name in changed)
    kept = {name: tensor for name, tensor in apart.model.state_dict().items() if "adapter_uz" not in name}
    assert all(torch.equal(tensor, base[name]) for name, tensor in kept.items())
    features, tokens = torch.randn(1, 150, 80), torch.tensor([[260, 261, 270]])
    with torch.inference_mode():
        frames = torch.tensor([150])
        together, beside = merged.model(features, frames, tokens), apart.model(features, frames, tokens)  # type: ignore[call-arg]
    torch.testing.assert_close(together, beside, atol=1e-5, rtol=1e-5)
    assert (tmp_path / "merged" / "adapter" / "adapter_model.safetensors").is_file()
    assert "its adapters lie beside it" in (tmp_path / "apart" / "model" / "README.md").read_text()
    (event,) = [row for row in read_events(tmp_path / "merged") if row["event"] == "adapter"]
    assert event["trainable"] == sum(2 * 4 * 32 * 2 for _ in range(2 + 2 * 2))  # encoder, decoder, cross attention
    assert event["effect_on_loss"] > 0


def test_adapters_on_one_base_one_after_the_other(fine_tuning: MakeRecipe, tmp_path: Path) -> None:
    first = fine_tuning("model.adapter={name: uz, rank: 4}", "model.merge_adapter=false")
    train(first, tmp_path / "uz")
    settings = (
        f"model={{initial: {tmp_path / 'uz' / 'model'}, adapter: {{name: ru, kind: bottleneck, adapter_dim: 4}}}}"
    )
    train(fine_tuning(settings), tmp_path / "both")
    both = load_model(tmp_path / "both" / "model").description
    assert (both.adapters, both.active_adapters) == (["uz", "ru"], ["ru"])
    weights = [tmp_path / run / "model" / "adapters" / "uz" / "adapter_model.safetensors" for run in ("uz", "both")]
    assert sha256_file(weights[0]) == sha256_file(weights[1])
    with pytest.raises(InputError, match="already has an adapter called 'uz'"):
        plan_run(fine_tuning(settings.replace("name: ru", "name: uz")))


def test_the_averaged_weights_are_scored_and_kept(fine_tuning: MakeRecipe, tmp_path: Path) -> None:
    """With an average that hardly moves, the model stays near its start while the weights under it go on."""
    plain = fine_tuning("training.updates=12", "training.evaluate_every=12", "optimizer.learning_rate=1e-2")
    train(plain, tmp_path / "plain")
    train(replace(plain, training=replace(plain.training, average_decay=0.9999)), tmp_path / "average")
    rows = {run: [r for r in read_metrics(tmp_path / run) if "val_loss" in r] for run in ("plain", "average")}
    assert rows["plain"][0]["val_loss"] == rows["average"][0]["val_loss"]
    trained = [[row["train_loss"] for row in read_metrics(tmp_path / run) if "train_loss" in row] for run in rows]
    assert trained[0] == trained[1]  # the average is looked at, not trained with
    start, end = (rows["plain"][place]["val_loss"] for place in (0, -1))
    assert end < rows["average"][-1]["val_loss"] < start


def test_audio_beyond_the_window_is_counted_not_cut(fine_tuning: MakeRecipe, tone_corpus: Any) -> None:
    tone_corpus.edit("train-03", duration_s=1.51)
    tone_corpus.edit("train-04", duration_s=1.49)
    data = Assembler(fine_tuning("data.check_audio=probe")).listed(str(tone_corpus.train), samples=None, window_s=1.5)
    assert [(r.id, r.reason) for r in data.rejected] == [("train-03", "longer than the model's window")]
    slow = Assembler(fine_tuning("augmentation.speed={factors: [0.9]}"))
    tone_corpus.change("validation", lambda items: [replace(u, duration_s=1.6) for u in items])
    with pytest.raises(InputError, match=r"none of the validation utterances can be used .6 longer"):
        slow.assemble(None)


def test_a_long_recording_is_read_in_windows(fine_tuning: MakeRecipe, tmp_path: Path) -> None:
    train(fine_tuning("training.updates=1"), tmp_path / "run")
    recognizer = harken.load(tmp_path / "run" / "model")
    import numpy as np

    noise = (0.2 * np.random.default_rng(0).standard_normal(64_000)).astype(np.float32)
    transcript = recognizer.transcribe(noise)
    assert transcript.duration_s == 4.0
    assert all(0 <= segment.start_s <= segment.end_s <= 4.0 for segment in transcript.segments)
    assert max((segment.end_s for segment in transcript.segments), default=0) > 1.5
    assert recognizer.transcribe(np.zeros(8_000, np.float32)).text == ""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.vocabulary=new", "model.vocabulary is new, but the decoder of this model has learnt its own"),
        ("seq2seq.language=tlh", "seq2seq.language is 'tlh': .* no token for the language 'tlh'"),
        ("seq2seq.languages={mixed: tlh}", "seq2seq.languages.mixed is 'tlh'"),
        ("model.freeze=[model]", "leaves nothing to train"),
        ("model.settings={mask_time_prob: 0.1}", "takes: config_changes, freeze_encoder"),
        ("model.adapter={targets: [nothing]}", "No Linear layer is called 'nothing'"),
        ("model.freeze=[model.encodr]", "No module is called 'model.encodr'"),
    ],
)
def test_settings_that_do_not_fit(fine_tuning: MakeRecipe, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_run(fine_tuning(override))


def test_utterances_need_a_language(fine_tuning: MakeRecipe, tone_corpus: Any) -> None:
    tone_corpus.change("train", lambda items: [replace(u, language="mixed") for u in items])
    with pytest.raises(InputError, match="24 training utterances are in the language 'mixed'"):
        plan_run(fine_tuning())
    assert plan_run(fine_tuning("seq2seq.languages={mixed: uz}"))["family"] == "whisper"


def test_whisper_is_not_made_from_nothing_and_ctc_has_no_decoder(tiny_recipe: MakeRecipe) -> None:
    with pytest.raises(InputError, match=r"model\.family is whisper, which comes with a tokenizer"):
        plan_run(tiny_recipe("model={family: whisper}"))
    with pytest.raises(InputError, match="seq2seq is given, but a recurrent-ctc model has no decoder"):
        plan_run(tiny_recipe("seq2seq.window=packed"))


def test_translation_is_what_the_folder_does_afterwards(fine_tuning: MakeRecipe, tmp_path: Path) -> None:
    train(fine_tuning("seq2seq.task=translate", "training.updates=1"), tmp_path / "run")
    generation = json.loads((tmp_path / "run" / "model" / "generation_config.json").read_text())
    assert generation["task"] == "translate"
    assert harken.load(tmp_path / "run" / "model").config.task == "translate"  # type: ignore[attr-defined]


def test_an_adapter_in_the_place_of_another_is_noticed(fine_tuning: MakeRecipe, tmp_path: Path) -> None:
    settings = ("model.adapter={rank: 4}", "model.merge_adapter=false", "training.updates=1")
    for run, seed in (("one", 1), ("other", 2)):
        train(fine_tuning(*settings, f"seed={seed}"), tmp_path / run)
    weights = [tmp_path / run / "model/adapters/default/adapter_model.safetensors" for run in ("one", "other")]
    weights[0].write_bytes(weights[1].read_bytes())
    with pytest.raises(InputError, match=r"adapter_model.safetensors is not what harken.json was written for"):
        load_model(tmp_path / "one" / "model")
    load_model(tmp_path / "other" / "model")


def test_a_frozen_part_stays(fine_tuning: MakeRecipe, pretrained: Path, tmp_path: Path) -> None:
    train(fine_tuning("model.freeze=[model.encoder]"), tmp_path / "run")
    before = load_pretrained(pretrained).model.state_dict()
    after = CheckpointStore(tmp_path / "run" / "checkpoints").load(4).model  # the best may be the untouched base
    assert not any(".encoder." in name for name in after)  # they are where the run took them from
    assert any(not torch.equal(tensor, before[name]) for name, tensor in after.items())
    final = load_model(tmp_path / "run" / "model").model.state_dict()
    assert all(torch.equal(final[name], tensor) for name, tensor in before.items() if ".encoder." in name)


def test_checkpoints_of_an_adapter_are_small_and_know_their_base(
    fine_tuning: MakeRecipe, pretrained: Path, tmp_path: Path
) -> None:
    recipe = fine_tuning("model.adapter={rank: 2, targets: [q_proj]}", "training.updates=8")
    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "run", view=Stopper(3))
    checkpoint = CheckpointStore(tmp_path / "run" / "checkpoints").load(3)
    assert checkpoint.model
    assert all("adapter_default" in name for name in checkpoint.model)
    random_whisper(pretrained, seed=7, times_s=1.5, d_model=32, encoder_ffn_dim=64, decoder_ffn_dim=64, init_std=0.02)
    with pytest.raises(InputError, match="frozen weights of the model are not those the run began with"):
        resume(tmp_path / "run")


def test_further_training_of_a_run(fine_tuning: MakeRecipe, tmp_path: Path) -> None:
    train(fine_tuning(), tmp_path / "first")
    recipe = fine_tuning(f"model={{initial: {tmp_path / 'first' / 'model'}}}", "seq2seq.language=ru")
    train(recipe, tmp_path / "second")
    assert harken.load(tmp_path / "second" / "model").config.language == "ru"  # type: ignore[attr-defined]
