"""Alignment and error rates: which word was recognised as which, and how many were wrong."""
