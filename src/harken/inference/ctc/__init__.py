"""CTC decoding beyond the best path: beam search, language models, hotwords, alignment."""
