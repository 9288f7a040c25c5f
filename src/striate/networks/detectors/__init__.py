"""Detectors: networks that give many boxes an image, on the features of any network of the catalogue."""
