"""Arithmetic that PyTorch lacks or hides, one idea a file."""
