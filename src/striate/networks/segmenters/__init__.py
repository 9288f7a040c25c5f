"""Segmenters: networks that give every pixel of an image a logit for each class, alone or on the features of another
network.
"""
