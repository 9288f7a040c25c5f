"""Readers of image collections, one format a file."""
