"""The normalisation profiles, one module for each language or origin; `harken.text.normalize` finds them by name."""
