"""What every test starts from: a seed, the default precision, and markers."""

import importlib.util
import re
import zlib

import hypothesis
import keras
import pytest

# How many examples of a property: with `--all`, and in a sample of the tests.
EXAMPLES = (10, 4) if keras.backend.backend() == "tensorflow" else (4, 4)
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    max_examples=EXAMPLES[0],
    derandomize=True,
    database=None,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.differing_executors,
        hypothesis.HealthCheck.filter_too_much,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.register_profile(
    "deep", hypothesis.settings.get_profile("suite"), max_examples=200, derandomize=False
)
hypothesis.settings.register_profile(
    "sample", hypothesis.settings.get_profile("suite"), max_examples=EXAMPLES[1]
)
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser):
    about = "on JAX and PyTorch too, run each check with every case of a class"
    parser.addoption("--every-case", action="store_true", help=about)
    parser.addoption("--all", action="store_true", help="run every case of each check, and the slow checks")


def pytest_configure(config):
    if not config.getoption("--all") and not config.getoption("--hypothesis-profile"):
        hypothesis.settings.load_profile("sample")
    config.addinivalue_line("markers", "default_backend_only: needs Keras on its TensorFlow backend")
    config.addinivalue_line("markers", "needs(*packages): skipped where one of the packages is missing")
    config.addinivalue_line("markers", "backends(*names): skipped on any other backend of Keras")
    config.addinivalue_line("markers", "slow: runs with `--all` alone, or when it is named")
    config.addinivalue_line("markers", "every_case: runs with every case of a class on each backend")


def without_repetition(items):
    """Of tests that differ in the options of one class alone, the first, where they are not `every_case`."""
    seen = set()
    for item in items:
        params = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        case = params.pop("case", None)
        of = (item.nodeid.partition("[")[0], getattr(case, "cls", None), repr(sorted(params.items())))
        if of not in seen or not hasattr(case, "options") or item.get_closest_marker("every_case"):
            seen.add(of)
            yield item


def sampled(items, most=2):
    """Of the cases of each check at most `most`, and no slow check: every kind of check in a few minutes.

    Which cases these are depends on the name of the check, so that all classes are met by some.
    """
    cases = {}
    for item in items:
        if not item.get_closest_marker("slow"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for name, group in cases.items():
        if len(group) > most and not group[0].get_closest_marker("every_case"):
            first, step = zlib.crc32(name.encode()) % len(group), len(group) / most
            group = [group[int(first + i * step) % len(group)] for i in range(most)]
        yield from group


def pytest_collection_modifyitems(config, items):
    unstable = [item.nodeid for item in items if re.search(r"at 0x[0-9a-f]", item.nodeid)]
    if unstable:
        raise pytest.UsageError(f"The names of these tests differ between processes: {unstable}")
    backend = keras.backend.backend()
    named = config.getoption("keyword") or any("::" in argument for argument in config.args)
    if not (config.getoption("--all") or named):
        chosen = {id(item) for item in sampled(items)}
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in chosen])
        items[:] = [item for item in items if id(item) in chosen]
    if backend != "tensorflow" and not config.getoption("--every-case"):
        # Values and gradients are checked for every option; how else a class behaves depends on its code.
        kept = list(without_repetition(items))
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept
    # Replicas take minutes each, in processes of their own. At the end, one worker would run them alone.
    items.sort(key=lambda item: item.path.name != "test_replicas.py")
    for item in items:
        if item.get_closest_marker("default_backend_only") and backend != "tensorflow":
            item.add_marker(pytest.mark.skip(reason="needs the TensorFlow backend"))
        for marker in item.iter_markers("backends"):
            if backend not in marker.args:
                item.add_marker(pytest.mark.skip(reason=f"not for the {backend} backend"))
        for marker in item.iter_markers("needs"):
            missing = [name for name in marker.args if importlib.util.find_spec(name) is None]
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"not installed: {', '.join(missing)}"))


@pytest.fixture(autouse=True)
def _as_new():
    keras.utils.set_random_seed(0)
    yield
    keras.backend.clear_session(free_memory=False)
    keras.config.set_dtype_policy("float32")
    keras.config.set_floatx("float32")
