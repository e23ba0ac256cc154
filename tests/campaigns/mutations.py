"""Lines of the package that are broken on purpose, one at a time, and the tests that notice it.

`python -m tests.campaigns.mutations [FROM [TO]]` breaks each in a copy of the project and prints which test
failed first; it ends in an error where none did.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# What is broken, the file, the line and its replacement, and the tests for it; the backend if it is not
# TensorFlow.
MUTATIONS = [
    (
        "DeCov loses its half",
        "regularizers/_decorrelation.py",
        "return 0.5 * _gram.squares([z], [_numerics.shares(rows, weights)], diagonal=False)",
        "return _gram.squares([z], [_numerics.shares(rows, weights)], diagonal=False)",
        "tests/regularizers",
    ),
    (
        "covariances are divided by N, not by N - 1",
        "regularizers/_decorrelation.py",
        "_numerics.at_least_one(_numerics.count_of(rows) - 1.0)",
        "_numerics.count_of(rows)",
        "tests/regularizers",
    ),
    (
        "KLSparsity forgets what is inactive",
        "regularizers/_sparsity.py",
        "ops.relu(active + inactive)",
        "ops.relu(active)",
        "tests/regularizers",
    ),
    (
        "a side that is detached gets a gradient",
        "regularizers/_match.py",
        "target = ops.stop_gradient(target)",
        "target = 1.0 * target",
        "tests/regularizers",
    ),
    (
        "soft targets lose the square of their temperature",
        "regularizers/_match.py",
        "values = t**2 * of_logits",
        "values = of_logits",
        "tests/regularizers",
    ),
    (
        "AttentionTransfer does not give its maps a length of 1",
        "regularizers/_attention_transfer.py",
        "return _numerics.unit_of_ordinary(activity, tuple(range(1, len(activity.shape))))",
        "return activity",
        "tests/regularizers",
    ),
    (
        "RelationalKD counts each row with itself",
        "regularizers/_relational.py",
        "(1.0 - ops.eye(",
        "(1.0 - 0.0 * ops.eye(",
        "tests/regularizers",
    ),
    (
        "CKA takes the norm of one side alone",
        "regularizers/_cka.py",
        "_numerics.inverse(_numerics.sqrt(squares[1])) * _numerics.inverse(_numerics.sqrt(squares[2]))",
        "_numerics.inverse(squares[1])",
        "tests/regularizers",
    ),
    (
        "KoLeo takes each row as its own neighbour",
        "regularizers/_koleo.py",
        "(weights > 0)[None] & ops.not_equal(index[:, None], index[None])",
        "(weights > 0)[None] & ops.not_equal(index[:, None], -1 - index[None])",
        "tests/regularizers",
    ),
    (
        "MarginalEntropy forgets to take the mean of logits' probabilities",
        "regularizers/_marginal_entropy.py",
        "_logits.softmax(rows) if self.from_logits else rows",
        "rows",
        "tests/regularizers",
    ),
    (
        "SIGReg takes the same directions in each step",
        "_training/strengths.py",
        "return self._now.steps[replicas.replica()].step",
        "return 0",
        "tests/regularizers",
    ),
    (
        "MinDiff leaves out a row and itself",
        "losses/_min_diff.py",
        "within = (itself + ops.sum",
        "within = (0.0 * itself + ops.sum",
        "tests/losses",
    ),
    (
        "the gradient is not turned around",
        "layers/_gradient_reversal.py",
        "return fixed - scale * (inputs - fixed)",
        "return fixed + scale * (inputs - fixed)",
        "tests/layers",
    ),
    (
        "InfoNCE loses the negatives of the own view",
        "regularizers/_info_nce.py",
        'if self.negatives == "both_views":',
        'if self.negatives == "":',
        "tests/regularizers",
    ),
    (
        "Contrastive takes the similar for the different",
        "losses/_contrastive.py",
        "y_true * ops.square(distance) + (1.0 - y_true) * ops.square(short)",
        "(1.0 - y_true) * ops.square(distance) + y_true * ops.square(short)",
        "tests/losses",
    ),
    (
        "the square root has the gradient of a bare one",
        "_numerics.py",
        "return ops.where(positive, ops.sqrt(ops.where(positive, x, 1)), 0)",
        "return ops.where(positive, ops.sqrt(x), 0)",
        "tests/regularizers",
        "torch",  # TensorFlow's square root has a finite gradient times zero
    ),
    (
        "half precision is summed as it comes",
        "_numerics.py",
        'return x if dtype in ("float32", "float64") else ops.cast(x, "float32")',
        "return x",
        "tests/regularizers",
    ),
    (
        "an example with nothing left counts in the mean",
        "regularizers/_families.py",
        "count = replicas.sum_over_replicas(ops.sum(counted))",
        "count = replicas.sum_over_replicas(ops.sum(ops.ones_like(counted)))",
        "tests/regularizers",
    ),
    (
        "a row counts that one of two masks drops",
        "regularizers/_families.py",
        "kept = ops.logical_and(kept, _numerics.expand_like(m, kept))",
        "kept = ops.logical_or(kept, _numerics.expand_like(m, kept))",
        "tests/regularizers/test_pairs.py tests/regularizers/test_pairs_properties.py",
    ),
    (
        "Keras' division by the batch is not undone",
        "regularizers/_penalty.py",
        "if releases.KERAS_DIVIDES_BY_BATCH:",
        "if not releases.KERAS_DIVIDES_BY_BATCH:",
        "tests/test_one_number.py tests/regularizers",
    ),
    (
        "evaluation counts as training",
        "_training/strengths.py",
        'if training and hasattr(self, "step"):',
        'if hasattr(self, "step"):',
        "tests/test_strength_over_time.py tests/layers",
    ),
    (
        "a target is run away from",
        "schedules/_target.py",
        "strength * ops.exp(self.rate * error)",
        "strength * ops.exp(-self.rate * error)",
        "tests/schedules tests/test_strength_over_time.py",
    ),
    (
        "the wrapper drops the losses of the model inside",
        "models/_hidden_outputs.py",
        "losses.extend(self.scaled(loss) for loss in own)",
        "losses.extend(own[:0])",
        "tests/models",
    ),
    (
        "replicas describe their own rows alone",
        "_keras/replicas.py",
        "return sum_over_replicas(x, same_use) if has_own_rows() else x",
        "return x",
        "tests/test_replicas.py",
    ),
    (
        "the state that a file holds is not loaded",
        "_training/state.py",
        "if len(store):",
        "if not len(store):",
        "tests/test_saved.py tests/test_strength_over_time.py",
    ),
]


def first_failure(copy, tests, backend="tensorflow"):
    """The first test that fails in a copy of the project, or None."""
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(copy),
        "KERAS_BACKEND": backend,
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--all", "-p", "no:cacheprovider", *tests.split()]
    run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", run.stdout, re.MULTILINE)
    return found.group(1) if found else None


def main(first=0, last=None):
    from rich.console import Console
    from rich.table import Table

    table, missed = Table("broken on purpose", "in", "first test that failed"), []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "site", "dist", "build")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for what, file, line, broken, *tests in MUTATIONS[first:last]:
            path = copy / "keras_penalties" / file
            text = path.read_text()
            assert text.count(line) == 1, (file, line, text.count(line))
            path.write_text(text.replace(line, broken))
            found = first_failure(copy, *tests)
            path.write_text(text)
            table.add_row(what, file, found or "NONE")
            print(what, "|", found, flush=True)
            missed += [] if found else [what]
    Console(width=150).print(table)
    return f"no test saw: {missed}" if missed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
