"""Entropy coding of symbols and of sparse arrays, both directions, for the compressed model file."""
