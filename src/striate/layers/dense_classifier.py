"""Two hidden layers and the classes, as networks from 2012 to 2014 end. N images, D features, K classes."""

from torch import nn


def dense_classifier(
    num_features: int, num_classes: int, *, hidden_width: int = 4096, dropout: float = 0.5
) -> nn.Sequential:
    """Linear, ReLU, dropout; the same again; linear to the classes: (N, D) -> logits (N, K).

    Dropout comes after each hidden layer (Krizhevsky, Sutskever & Hinton 2012, section 4.2).
    """
    return nn.Sequential(
        nn.Linear(num_features, hidden_width), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(hidden_width, hidden_width), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(hidden_width, num_classes),
    )  # fmt: skip
