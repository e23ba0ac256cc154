"""Deprecation warnings of NumPy that Keras causes, and that its users cannot avoid."""

import contextlib
import warnings


@contextlib.contextmanager
def without_deprecations():
    """Ignore NumPy's warning that the `__array__` of a Keras variable takes no `copy`, which comes when Keras
    saves a model (keras/src/backend/common/variables.py). On torch it comes for each tensor that Keras
    converts to NumPy (`convert_to_numpy` in keras/src/backend/torch/core.py).
    """
    with warnings.catch_warnings():
        text = "__array__ implementation doesn't accept a copy keyword"
        warnings.filterwarnings("ignore", text, DeprecationWarning, r"keras\.src\.")
        yield
