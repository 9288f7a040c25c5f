"""Whole runs: what is chosen, prepared, trained, judged and reported."""
