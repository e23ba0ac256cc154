"""State that changes during training: terms, strengths, learned weights, means for the logs."""
