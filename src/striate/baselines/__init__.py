"""Classifiers without a network, to hold a network against."""
