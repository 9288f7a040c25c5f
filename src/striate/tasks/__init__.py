"""What a network is asked for, and the model that answers."""
