"""Whole runs: what is chosen, prepared, trained, evaluated and reported."""
