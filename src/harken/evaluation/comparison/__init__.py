"""Two systems on the same test set: difference, verdict, display."""
