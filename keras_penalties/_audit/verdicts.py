"""What is wrong with a penalty in a training step, and what to do about it."""

import math

import keras
import numpy as np
from keras import ops

from keras_penalties._audit import strength_verdicts
from keras_penalties._audit.padding import kept
from keras_penalties._audit.padding_verdicts import counts_padding
from keras_penalties._audit.sources import is_distiller, needs_training
from keras_penalties._keras import graphs, releases, replicas
from keras_penalties._keras import layers as keras_layers
from keras_penalties._training.terms import value_of_regularizer
from keras_penalties.regularizers import Penalty

FINE = "reaches the gradient"
AFTER = "Put a `keras_penalties.layers.ActivityPenalty` after '{}' instead."


def verdict_on(evidence, model, step):
    """The verdict on a penalty, and a sentence for each problem."""
    found = [*_training(evidence, model, step), *_never_counted(evidence, model, step)]
    found += [*_counted_again(evidence), *_counted_elsewhere(evidence), *_wrong_number(evidence, model)]
    dropped, refused, state = not any(evidence.counts), _refusal(evidence), ""
    if refused:
        found.append(("out of range", refused))
    elif not math.isfinite(evidence.value):
        found.append(
            (
                "not finite",
                f"It is {evidence.value}. Check the input of '{evidence.source.name}', and its dtype.",
            )
        )
    elif not dropped and (sentence := _gradient_not_finite(evidence, step)):
        found.append(("gradient not finite", sentence))
    elif evidence.value == 0.0 and not dropped:
        state, sentence = strength_verdicts.zero(evidence)
        if sentence:
            found.append((state, sentence))
    elif not dropped:
        found += strength_verdicts.problems(evidence)
        state = strength_verdicts.progress(evidence)
    text = ", ".join(dict.fromkeys(text for text, _ in found))
    return text or state or FINE, [sentence for _, sentence in found]


def _refusal(evidence) -> str:
    """Why the penalty does not accept its input; empty if it does."""
    if not isinstance(evidence.penalty, Penalty):
        return ""
    for x, mask in zip(evidence.xs, evidence.masks, strict=True):
        counted = kept(x, mask, evidence.axis)
        try:
            if counted.size:
                evidence.penalty.refuse(counted)
        except ValueError as error:
            return str(error)
    return ""


def _gradient_not_finite(evidence, step) -> str:
    """Where a gradient is NaN or infinite although the values are finite; empty if none is."""
    name = evidence.source.name
    if not _is_finite(evidence.gradient):
        return (
            f"The value of '{name}' is finite, but its gradient is {evidence.gradient}, which ruins the "
            "weights that it reaches. A square root, norm, logarithm or division of 0 in the formula does "
            "this."
        )
    if not _is_finite(evidence.reaches):
        return (
            f"The gradient of '{name}' becomes {evidence.reaches} in the layers before it, which ruins their "
            "weights. Look there for a square root, norm or division of 0."
        )
    others = [norm for other in step.evidence for norm in (other.gradient, other.reaches)]
    if not _is_finite(evidence.main_gradient) and all(map(_is_finite, others)):
        return (
            f"The main loss's gradient at '{name}' is {evidence.main_gradient}, which ruins the weights. "
            f"Look for a square root, norm or division of 0 in the layers after '{name}', and in the loss."
        )
    return ""


def _is_finite(norm) -> bool:
    return norm is None or math.isfinite(norm)


def _training(evidence, model, step):
    source = evidence.source
    where = step.untrained.get(id(source.layer)) if needs_training(source) else None
    if where is None:
        return
    held = [*source.above, source.layer]
    own = [i for i, layer in enumerate(source.above) if not _is_graph(layer)]
    without_training = [i for i in own if not keras_layers.takes_training(held[i])]
    i = without_training[0] if without_training else own[-1] if own else 0
    kind = type(held[i]).__name__
    effect = "its strength does not move" if not source.layer.training_only else "it is left out"
    text, on_jax = ("training not passed on", ",") if where == "here" else ("differs on JAX", " on JAX,")
    yield (
        text,
        f"`training` does not reach '{source.name}'{on_jax} so {effect} in `fit`. Let `call` of {kind} take "
        f"it, `def call(self, inputs, training=None)`, and pass it on to '{held[i + 1].name}': "
        "`(..., training=training)`.",
    )


def _is_graph(layer):
    return graphs.is_functional(layer) or isinstance(layer, keras.Sequential)


def _never_counted(evidence, model, step):
    missing, uses = evidence.counts.count(0), max(len(evidence.counts), 1)
    source, name = evidence.source, evidence.source.name
    if step.unchecked:
        yield (
            f"own {step.own_step}: not checked",
            f"{type(model).__name__} has a `{step.own_step}` of its own, which audit could not run "
            f"({step.unchecked}). It is not known whether it trains on what '{name}' adds: the numbers are "
            "those of Keras' own step.",
        )
    if (evidence.counts and not missing) or (not evidence.counts and id(source.layer) in step.untrained):
        return
    around = next((a for a in reversed(source.above) if is_distiller(a)), None)
    wrapper = next((a for a in reversed(source.above) if isinstance(a, keras.layers.Wrapper)), None)
    if around is not None:
        sentence = (
            f"{type(around).__name__} '{around.name}' trains on its own losses, drops those of the "
            "student's layers, and runs the student twice per step. Wrap the student in "
            "`keras_penalties.models.HiddenOutputs`, and pass `kp.regularizers.Hint` as a hidden loss."
        )
    elif evidence.counts and missing < uses:
        kept = "Keras keeps" if not step.own_step else "The training step counts"
        sentence = f"{kept} {uses - missing} of {uses} uses of '{name}' in a step. {AFTER.format(name)}"
    elif wrapper is not None and not evidence.counts:
        sentence = (
            f"{type(wrapper).__name__} '{wrapper.name}' drops the losses of the layer that it wraps. "
            f"{AFTER.format(wrapper.name)}"
        )
    elif not evidence.counts:
        sentence = f"'{name}' was not called in this training step, so it adds nothing."
    elif step.own_step and not step.unchecked:
        sentence = (
            f"The `{step.own_step}` of {type(model).__name__} takes the gradient of a loss that does not "
            f"include what '{name}' adds. {_line_of_own_step()}"
        )
    else:
        sentence = (
            f"The loss that {type(model).__name__} '{model.name}' trains on does not include it. Add "
            "`sum(self.losses)` in its `compute_loss`."
        )
    yield (f"dropped: {missing} of {uses} uses" if 0 < missing < uses else "dropped"), sentence


def _line_of_own_step():
    if keras.backend.backend() == "jax":
        return "Call `self.stateless_call(..., return_losses=True)`, and add the losses that it returns."
    return "Use `self.compute_loss(x=x, y=y, y_pred=y_pred)` as the loss, or add `sum(self.losses)` to it."


def _counted_again(evidence):
    source, name = evidence.source, evidence.source.name
    mean = np.mean([count for count in evidence.counts if count] or [1.0])
    if abs(mean - 1.0) > 1e-2:
        yield f"counted {mean:.3g} times", f"The loss includes what '{name}' adds {mean:.3g} times."
    if source.way != "activity_regularizer":
        return
    if evidence.per_call > 1:
        kind = type(source.layer).__name__
        yield (
            f"counted {evidence.per_call} times",
            f"Keras penalizes each of the {evidence.per_call} tensors that {kind} '{name}' returns, states "
            f"included. {AFTER.format(name)}",
        )
    by = next((a for a in source.above if _handed_down(a) is evidence.penalty), None)
    if by is not None:
        yield (
            "counted by part",
            f"{type(by).__name__} '{by.name}' passes its `activity_regularizer=` to each of its parts: "
            f"these are penalized one by one, and the output of '{by.name}' is not. {AFTER.format(by.name)}",
        )


def _handed_down(layer):
    return None if isinstance(layer, keras.Model) else keras_layers.handed_down_regularizer(layer)


def _counted_elsewhere(evidence):
    name, uses = evidence.source.name, len(evidence.counts)
    lost = evidence.on_jax.count(False)
    if all(evidence.counts) and lost and uses > 1:
        yield (
            "differs on JAX",
            f"'{name}' is used {uses} times in a step, and on the JAX backend Keras drops {lost} of "
            f"these losses. {AFTER.format(name)}",
        )


def _wrong_number(evidence, model):
    name, argument = evidence.source.name, evidence.source.way == "activity_regularizer"
    if evidence.padding:
        yield "counts padding", counts_padding(evidence, name, AFTER.format(name))
    penalty = evidence.penalty
    foreign = isinstance(penalty, keras.regularizers.Regularizer) and not isinstance(penalty, Penalty)
    if not foreign or not evidence.xs:
        return
    kind, named = _kind(penalty, evidence.xs[0]), type(penalty).__name__
    divides = releases.KERAS_DIVIDES_BY_BATCH or not argument
    if kind == "sum" and argument:
        yield (
            "depends on the Keras release",
            f"Keras divides the value of {named} by the batch size from 3.14 on, but not in earlier "
            f"releases. Use `keras_penalties.regularizers` for '{name}'.",
        )
    elif kind in ("mean", "statistic") and divides:
        yield (
            "divided twice",
            f"{named} does not grow with the batch, but is divided by the batch size, so its value falls as "
            "batches grow. Write it as a `keras_penalties.regularizers.BatchStatisticPenalty`.",
        )
    shared = replicas.replicas_of(model)
    if kind == "statistic" and shared > 1:
        yield (
            "per replica",
            f"{named} is a statistic of the batch, and each of {shared} replicas computes it over its own "
            "part. Write it as a `keras_penalties.regularizers.BatchStatisticPenalty`, which uses all rows.",
        )


def _kind(regularizer, x):
    """`"sum"` over the examples, their `"mean"`, another `"statistic"` of the batch, or None if unknown."""
    half = len(x) // 2
    if not half:
        return None
    whole, *halves = (
        float(ops.convert_to_numpy(value_of_regularizer(regularizer, ops.convert_to_tensor(part))))
        for part in (x[: 2 * half], x[:half], x[half : 2 * half])
    )
    if not np.isfinite([whole, *halves]).all() or whole == 0.0:
        return None
    if np.isclose(whole, sum(halves), rtol=1e-3):
        return "sum"
    return "mean" if np.isclose(whole, sum(halves) / 2, rtol=1e-3) else "statistic"
