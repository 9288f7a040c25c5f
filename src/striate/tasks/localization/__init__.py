"""Classification and localisation: the class of one object an image, and the box about it."""
