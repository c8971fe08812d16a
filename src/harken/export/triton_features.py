"""Triton's Python backend: samples to features, with Harken's own code. Copied into model repositories as model.py.

Features are padded with zeros to whole seconds' worth of frames, so that requests of similar length have one shape and
Triton's batcher can put them together; `frames` says how many are real. Needs `pip install harken` where Triton runs.

Shapes: B batch, S samples, F feature frames, M feature dimensions.
"""

import json
from typing import Any

import numpy as np


class TritonPythonModel:
    """Answers requests with `audio` (B, S) float32 in [-1, 1] and `samples` (B, 1) int64, how many of them are real."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the feature settings from config.pbtxt."""
        from harken.audio.features import FeatureConfig, FeatureExtractor
        from harken.core import parse_settings

        parameters = json.loads(args["model_config"])["parameters"]
        settings = json.loads(parameters["features"]["string_value"])
        self.extractor = FeatureExtractor(parse_settings(FeatureConfig, settings, source="config.pbtxt"))
        self.multiple = int(parameters["pad_to_multiple"]["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request; a request that cannot be read gets its own error."""
        import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

        from harken.core import HarkenError

        responses = []
        for request in requests:
            audio_BS = pb_utils.get_input_tensor_by_name(request, "audio").as_numpy()
            samples_B = pb_utils.get_input_tensor_by_name(request, "samples").as_numpy().reshape(-1)
            try:
                features_BFM, frames_B = self.extract(audio_BS, samples_B)
            except HarkenError as err:
                responses.append(pb_utils.InferenceResponse(error=pb_utils.TritonError(str(err))))
                continue
            tensors = [pb_utils.Tensor("features", features_BFM), pb_utils.Tensor("frames", frames_B[:, None])]
            responses.append(pb_utils.InferenceResponse(output_tensors=tensors))
        return responses

    def extract(self, audio_BS: Any, samples_B: Any) -> tuple[Any, Any]:
        """Features (B, F, M) of the first samples of each row, F a multiple of `pad_to_multiple`, and frames (B,)."""
        features = [
            self.extractor(np.ascontiguousarray(row[: max(0, count)], dtype=np.float32))
            for row, count in zip(audio_BS, samples_B.tolist(), strict=True)
        ]
        frames_B = np.array([len(item) for item in features], dtype=np.int64)
        longest = max(1, -(-int(frames_B.max(initial=0)) // self.multiple)) * self.multiple
        features_BFM = np.zeros((len(features), longest, self.extractor.dimensions), dtype=np.float32)
        for row, item in zip(features_BFM, features, strict=True):
            row[: len(item)] = item
        return features_BFM, frames_B
