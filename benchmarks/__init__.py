"""What stands behind every published number; `python -m benchmarks.run` measures, the docs show."""
