"""The model inside a `HiddenOutputs`: what is taken from it, and what it may not do in its own way."""

from keras_penalties._keras import graphs


def of_wrapped(name):
    return property(lambda self: getattr(self.model, name), doc=f"The wrapped model's `{name}`.")


def of_graph(name):
    """As `of_wrapped`; a Sequential model has these of its own only once it was called."""
    doc = f"The wrapped model's `{name}`."
    return property(lambda self: getattr(graphs.as_functional(self.model), name), doc=doc)


# What a model may do in its own way, and this model does in Keras' way instead.
OWN_STEPS = (
    *("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics"),
    *("fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch"),
)


def refuse_own_steps(model):
    own = graphs.overridden(model, OWN_STEPS)
    if own:
        raise ValueError(
            f"`model` of HiddenOutputs must train as Keras does. '{model.name}' ({type(model).__name__}) has "
            "its "
            f"own {', '.join(f'`{name}`' for name in own)}, which HiddenOutputs would pass over. Use "
            "`keras_penalties.penalize`, which keeps them."
        )
