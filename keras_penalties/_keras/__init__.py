"""All that depends on Keras' private API or on one backend. No other package does."""
