"""All code that depends on Keras' private API or on one backend."""
