"""Which waiting work runs next, and in whose company."""
