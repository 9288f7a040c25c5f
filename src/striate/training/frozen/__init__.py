"""Frozen layers: which are trained, and features computed once."""
