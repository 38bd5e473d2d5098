"""The networks, in torch, and the registry that checkpoints name them by."""
