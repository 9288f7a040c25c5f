"""Evaluation of models: figures with confidence intervals."""
