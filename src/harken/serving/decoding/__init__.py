"""Decoding of uploads in processes that can be killed."""
