"""Scripts that keep the repository in order; run as `python -m tools.NAME` from its root."""
