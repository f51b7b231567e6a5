"""Training data: labels, splits in space, and tile sets."""
