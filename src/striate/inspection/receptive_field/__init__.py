"""Receptive fields: the part of the image that each unit of a network depends on."""
