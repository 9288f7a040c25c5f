"""Inference engines: those installed, measured against the float32 PyTorch reference, and chosen."""
