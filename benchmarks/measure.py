"""How things are timed and counted: in turns, as ratios within one run."""

import math
import statistics
import time
import timeit

ROUNDS = 11


def in_turns(functions, rounds=ROUNDS, clock=time.process_time, least=0.02):
    """Seconds of one call of each function, by rounds.

    The functions take turns, so that what else the machine does falls on all of them. `timeit` calls each
    as often as it takes to fill `least` seconds. Where one takes half a second, there are three rounds. The
    time is the processor's.
    """
    timers = {name: timeit.Timer(function, timer=clock) for name, function in functions.items()}
    calls = {}
    for name, timer in timers.items():
        timer.timeit(1)  # what is compiled or cached
        once = timer.timeit(1)
        calls[name] = max(1, math.ceil(least / max(once, 1e-7)))
        rounds = rounds if once < 0.5 else min(rounds, 3)
    taken = {name: [] for name in functions}
    for _ in range(rounds):
        for name, timer in timers.items():
            taken[name].append(timer.timeit(calls[name]) / calls[name])
    return taken


def ratio(times, name, base):
    """The median over the rounds of one time as a multiple of another."""
    return statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))


def spread(times, name, base):
    """The lower and upper quartile over the rounds of one time as a multiple of another."""
    ratios = [a / b for a, b in zip(times[name], times[base], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, high


def median(times, name):
    return statistics.median(times[name])


def xla_counts(program):
    """Operations, bytes that are read and written, and working memory of a compiled JAX program."""
    analysis = program.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    return analysis["flops"], analysis["bytes accessed"], program.memory_analysis().temp_size_in_bytes


def step_counts(model, x, y):
    """Operations and bytes of a compiled model's training step, by XLA."""
    import jax

    model.optimizer.build(model.trainable_variables)
    model._symbolic_build(data_batch=(x, y))
    kinds = ("trainable_variables", "non_trainable_variables", "metrics_variables")
    trainable, others, metrics = ([v.value for v in getattr(model, kind)] for kind in kinds)
    state = trainable, others, [v.value for v in model.optimizer.variables], metrics
    return xla_counts(jax.jit(model.train_step).lower(state, (x, y)).compile())[:2]
