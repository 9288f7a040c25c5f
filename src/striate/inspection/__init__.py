"""What a network is made of."""
