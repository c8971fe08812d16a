"""Results and errors in the form of each API."""
