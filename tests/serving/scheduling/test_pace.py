"""What recognizers are given at a time: that depends on what they say of themselves, and on the settings first."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from harken.audio.features import FeatureConfig
from harken.inference.config import CPU_BATCH_S
from harken.inference.ctc_recognizer import CtcRecognizer
from harken.serving.scheduling.pace import batch_s, max_wait_s, passes_at_once
from harken.serving.scheduling.settings import QueueSettings
from harken.text.tokenize import CharTokenizer

PLAIN: Any = SimpleNamespace(sample_rate_hz=16_000)


def ctc(parallel: int) -> CtcRecognizer:
    def score(features_BFM: Any, frames_B: Any) -> Any:
        return np.zeros((len(features_BFM), 1, 3), np.float32), frames_B

    features = FeatureConfig(kind="nemo", dimensions=20)
    tokenizer = CharTokenizer(["<pad>", " ", "a"])
    return CtcRecognizer(score, features=features, tokenizer=tokenizer, subsampling=4, parallel=parallel)


def test_one_that_several_threads_may_call_has_passes_beside_each_other_that_do_not_wait() -> None:
    several, settings = ctc(3), QueueSettings()
    assert (passes_at_once(several, settings), max_wait_s(several, settings)) == (3, 0.0)
    assert batch_s(several, settings) == CPU_BATCH_S


def test_others_have_one_pass_that_waits_for_company() -> None:
    for recognizer in (PLAIN, ctc(1)):
        settings = QueueSettings(batch_s=100.0)
        assert (passes_at_once(recognizer, settings), max_wait_s(recognizer, settings)) == (1, 0.03)
        assert batch_s(recognizer, settings) == 100.0


def test_what_the_settings_say_counts() -> None:
    settings = QueueSettings(passes_at_once=2, max_wait_s=0.5, batch_s=10.0)
    for recognizer in (PLAIN, ctc(3)):
        assert (passes_at_once(recognizer, settings), max_wait_s(recognizer, settings)) == (2, 0.5)
        assert batch_s(recognizer, settings) == 10.0
