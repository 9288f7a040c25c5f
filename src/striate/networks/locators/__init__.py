"""Networks that name one object of an image and give its box, on the features of a network of the catalogue."""
