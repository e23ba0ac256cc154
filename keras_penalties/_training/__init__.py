"""What changes while a model trains: terms, strengths, learned weights, means for the logs."""
