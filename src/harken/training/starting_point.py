"""The model a run starts from: new, further trained, or pretrained; and which of its weights are trained."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harken.audio.features import FeatureConfig
from harken.core import InputError, Tokenizer, derive_seed
from harken.models.adapters import AdapterConfig, add_adapter, freeze_base, freeze_modules
from harken.models.checkpointing import checkpoint_layers
from harken.models.family import AcousticModel, CtcModel, Seq2SeqModel, Task, find_family
from harken.models.folder import LoadedModel, load_model
from harken.models.pretrained import family_of, load_pretrained, loader_options, read_features, resolve_pretrained
from harken.text.tokenize import train_tokenizer
from harken.training.recipe import ModelConfig, Recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelParts:
    """A model and what has to travel with it.

    `trained_before` is True when it knows its vocabulary already, so that it has to be beaten. `adapter` is the one
    that is trained, if any.
    """

    model: AcousticModel
    family: str
    settings: Any
    features: FeatureConfig
    tokenizer: Tokenizer
    trained_before: bool
    adapter: AdapterConfig | None = None


class StartingPoint:
    """Finds out what can be known of a recipe's model before there are texts, and builds it when there are."""

    def __init__(self, recipe: Recipe) -> None:
        """Raises MissingPart or InputError for a model that is absent or that the recipe cannot train."""
        self.recipe = recipe
        config = recipe.model
        self._initial: LoadedModel | None = None
        self._pretrained: Path | None = None
        if config.initial is not None:
            self._initial = _load_initial(config)
            _compare_normalizers(self._initial, recipe.data.normalizer)
            self.features = self._initial.features
            self.new_vocabulary = config.vocabulary == "new"
            if self.new_vocabulary and self._initial.description.adapters:
                names = ", ".join(self._initial.description.adapters)
                raise InputError(
                    f"{config.initial} keeps the adapters {names}, which a new vocabulary would leave behind.",
                    hint="Start from the model they were put on, or leave model.vocabulary out.",
                )
            encoder_decoder = isinstance(self._initial.model, Seq2SeqModel)
        elif config.pretrained is not None:
            self._pretrained = resolve_pretrained(config.pretrained)
            family = family_of(self._pretrained)
            _check_settings(config, loader_options(family))
            self.features = read_features(self._pretrained, config.settings.get("config_changes"))
            encoder_decoder = find_family(family).pretrained_only
            self.new_vocabulary = config.vocabulary == "new" or (config.vocabulary is None and not encoder_decoder)
        else:
            _check_new(config)
            encoder_decoder = False
            self.features = recipe.features
            self.new_vocabulary = True
        if self.new_vocabulary and encoder_decoder:
            raise InputError(
                "model.vocabulary is new, but the decoder of this model has learnt its own.",
                hint="Leave model.vocabulary out.",
            )

    def build(self, texts: list[str], saved_tokenizer: Tokenizer | None) -> ModelParts:
        """The model, its new weights drawn by the recipe's seed. `saved_tokenizer` is the one a resumed run began with.

        `texts` are the normalised training texts, for a new vocabulary.
        """
        tokenizer = None
        if self.new_vocabulary:
            tokenizer = saved_tokenizer or train_tokenizer(self.recipe.tokenizer, texts)
        if self._initial is not None:
            parts = self._further(self._initial, tokenizer)
        elif self._pretrained is not None:
            parts = self._fine_tuned(self._pretrained, tokenizer)
        else:
            assert tokenizer is not None
            parts = self._new(tokenizer)
        self._choose_trained(parts.model)
        if not any(parameter.requires_grad for parameter in parts.model.parameters()):
            raise InputError(
                f"model.freeze is {list(self.recipe.model.freeze)}, which leaves nothing to train.",
                hint="Name fewer modules there.",
            )
        if self.recipe.training.gradient_checkpointing:
            checkpoint_layers(parts.model)
        return parts

    def _new(self, tokenizer: Tokenizer) -> ModelParts:
        recipe = self.recipe
        family = find_family(recipe.model.family)
        settings = family.parse(recipe.model.settings, source="model.settings")
        torch.manual_seed(self._seed("initial weights"))
        return ModelParts(
            model=family.build(settings, self.features.dimensions, tokenizer.vocab_size),
            family=recipe.model.family,
            settings=settings,
            features=self.features,
            tokenizer=tokenizer,
            trained_before=False,
        )

    def _further(self, loaded: LoadedModel, tokenizer: Tokenizer | None) -> ModelParts:
        name = loaded.description.family
        family = find_family(name)
        settings = family.parse(loaded.description.settings, source=str(loaded.folder))
        model = loaded.model
        if tokenizer is not None:
            torch.manual_seed(self._seed("initial weights"))
            model = family.build(settings, self.features.dimensions, tokenizer.vocab_size)
            _copy_all_but_head(loaded.model, model)
            settings = getattr(model, "settings", settings)
        return ModelParts(
            model=model,
            family=name,
            settings=settings,
            features=self.features,
            tokenizer=tokenizer or loaded.tokenizer,
            trained_before=tokenizer is None,
            adapter=self.recipe.model.adapter,
        )

    def _fine_tuned(self, folder: Path, tokenizer: Tokenizer | None) -> ModelParts:
        options = self.recipe.model.settings
        parts = load_pretrained(folder, tokenizer=tokenizer, seed=self._seed("initial weights"), **options)
        return ModelParts(
            model=parts.model,
            family=parts.family,
            settings=parts.settings,
            features=parts.features,
            tokenizer=parts.tokenizer,
            trained_before=tokenizer is None,
            adapter=self.recipe.model.adapter,
        )

    def _choose_trained(self, model: AcousticModel) -> None:
        """Freeze what the recipe freezes, and put its adapter on."""
        config = self.recipe.model
        if config.freeze:
            freeze_modules(model, config.freeze)
        if config.adapter is None:
            return
        add_adapter(model, config.adapter, seed=self._seed("adapter"))
        head = [model.head] if self.new_vocabulary and isinstance(model, CtcModel) else []
        freeze_base(model, keep=[*head, *config.train_beside_adapter])

    def _seed(self, purpose: str) -> int:
        return derive_seed(self.recipe.seed, purpose)


def _load_initial(config: ModelConfig) -> LoadedModel:
    assert config.initial is not None
    if config.settings:
        raise InputError(
            "model.initial and model.settings are both given.",
            hint="A model that is trained further keeps its own settings; remove model.settings.",
        )
    return load_model(config.initial)


def _compare_normalizers(loaded: LoadedModel, name: str) -> None:
    if loaded.description.normalizer != name:
        logger.warning(
            "%s was trained on texts of the normalizer %s, this recipe has %s",
            loaded.folder,
            loaded.description.normalizer,
            name,
        )


def _check_new(config: ModelConfig) -> None:
    if find_family(config.family).pretrained_only:
        raise InputError(
            f"model.family is {config.family}, which comes with a tokenizer and cannot be trained from nothing.",
            hint="Name a folder or a hub id in model.pretrained, such as openai/whisper-tiny.",
        )


def _check_settings(config: ModelConfig, options: Sequence[str]) -> None:
    unknown = sorted(config.settings.keys() - set(options))
    if unknown:
        raise InputError(
            f"model.settings has {', '.join(unknown)}.", hint=f"This pretrained model takes: {', '.join(options)}."
        )


def _copy_all_but_head(source: nn.Module, target: AcousticModel) -> None:
    """Fill `target` from a model that differs in its vocabulary only."""
    assert isinstance(target, CtcModel)
    head = f"{target.head}."
    weights = {name: tensor for name, tensor in source.state_dict().items() if not name.startswith(head)}
    missing = target.load_state_dict(weights, strict=False).missing_keys
    if any(not name.startswith(head) for name in missing):
        raise InputError(
            f"The weights {missing[:3]} are not in the initial model.", hint="Give a model of this family."
        )


def told(parts: ModelParts, language: str | None, task: Task) -> ModelParts:
    """An encoder-decoder model that is told its task and its one language, so that it need not guess that later."""
    assert isinstance(parts.model, Seq2SeqModel)
    return replace(parts, settings=parts.model.tell(language, task))
