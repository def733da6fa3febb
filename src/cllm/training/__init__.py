"""From training data to a model: plan, ranks, steps, checkpoints."""
