"""Models that hand hidden layers to compiled losses."""
