"""Scores of speech that changes its language."""
