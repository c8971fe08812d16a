"""How far a rate, and a difference between two, can be trusted."""
