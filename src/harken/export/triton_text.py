"""Triton's Python backend: log probabilities to text, greedily. Copied into model repositories as model.py.

The tokenizer's files lie beside it. Needs `pip install harken` where Triton runs.

Shapes: B batch, T output frames, V vocab.
"""

from pathlib import Path
from typing import Any

import numpy as np


class TritonPythonModel:
    """Answers requests with `log_probs` (B, T, V) and `output_frames` (B, 1) by `text` (B, 1)."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the tokenizer from the folder of this version."""
        from harken.text.tokenize import load_tokenizer

        self.tokenizer = load_tokenizer(Path(args["model_repository"]) / args["model_version"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request."""
        import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

        responses = []
        for request in requests:
            log_probs_BTV = pb_utils.get_input_tensor_by_name(request, "log_probs").as_numpy()
            lengths_B = pb_utils.get_input_tensor_by_name(request, "output_frames").as_numpy().reshape(-1)
            texts = self.decode(log_probs_BTV, lengths_B)
            tensor = pb_utils.Tensor("text", np.array([[text.encode()] for text in texts], dtype=object))
            responses.append(pb_utils.InferenceResponse(output_tensors=[tensor]))
        return responses

    def decode(self, log_probs_BTV: Any, lengths_B: Any) -> list[str]:
        """The text of each row."""
        from harken.inference.scoring import decode_greedily

        rows = zip(log_probs_BTV, lengths_B.tolist(), strict=True)
        return [self.tokenizer.decode([token.id for token in decode_greedily(row[:length])]) for row, length in rows]
