"""The models that are served: loaded when asked for, within a memory budget."""
