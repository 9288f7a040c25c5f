"""Retrieval: images of a source by what a layer of a network gives for them, kept in one file and searched by image."""
