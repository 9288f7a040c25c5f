"""A model as one program for other engines: from raw pixels to probabilities, and the proof that it answers the
same.
"""
