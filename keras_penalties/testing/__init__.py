"""Check a penalty of your own."""

from keras_penalties.testing._check_penalty import check_penalty as check_penalty

__all__ = ["check_penalty"]
