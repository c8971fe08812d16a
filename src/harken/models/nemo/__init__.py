"""Import of .nemo checkpoints: Conformer-CTC and FastConformer-CTC, without NeMo."""
