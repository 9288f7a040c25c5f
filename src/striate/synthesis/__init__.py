"""Pictures made with a network: gradient ascent, dreams, fooling images, inversion, texture, style."""
