"""Build the page of traps: run the scripts in `docs/traps`, and show their results on the page.

A script defines two functions, `plain_keras` and `ours`, and `EXPECTED`, the right result: numbers, or an
error class. It may set BACKENDS (where it runs), DEVICES (how many it gets), RELEASES (older releases to show
as well) and ENDED = False (this package has no remedy). On the page, a line that holds only a link to
the script is replaced by the script's results and its code.

    python docs/hooks/traps.py BACKEND [DEVICES [NAME ...]]

runs the scripts by hand and prints JSON.
"""

import ast
import functools
import importlib.metadata
import importlib.util
import json
import math
import os
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "traps"
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
SETTINGS = {"BACKENDS": tuple(BACKENDS), "DEVICES": 1, "RELEASES": (), "ENDED": True}
LINK = re.compile(r"^\[[^\]]*\]\(traps/(\w+)\.py\)$", re.MULTILINE)
HEADING = re.compile(r"^### (.+?) \{#(\w+)\}$", re.MULTILINE)
# What Keras writes before the message of an error.
WRAPPED = re.compile(r"Exception encountered|Unable to automatically build the model")
CODE = re.compile(r"^\w+(Error|Exception)\b|[_*<>`{}\[\]]")
# The code that a reader runs first if a script needs several devices.
SHARED = {
    "tensorflow": """import tensorflow as tf

parts = [tf.config.LogicalDeviceConfiguration()] * {count}
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
devices = tf.distribute.MirroredStrategy([f"CPU:{{i}}" for i in range({count})])
""",
    "jax": """import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count={count}"
import keras

devices = keras.distribution.DataParallel(devices=keras.distribution.list_devices())
""",
}
SUMMARY = re.compile(r"<!-- summary -->.*?<!-- end -->", re.DOTALL)
VERSIONS = re.compile(r"<!-- versions -->.*?<!-- end -->", re.DOTALL)


def settings(path) -> dict:
    """The settings of a script, read without running it."""
    found = dict(SETTINGS)
    for line in ast.parse(path.read_text()).body:
        name = getattr(line.targets[0], "id", "") if isinstance(line, ast.Assign) else ""
        if name in SETTINGS:
            found[name] = ast.literal_eval(line.value)
    return found


def agrees(value, expected) -> bool:
    """Whether a result is the expected one: numbers to a relative 1e-4, everything else exactly."""
    if isinstance(expected, type) or isinstance(value, Exception):
        return isinstance(expected, type) and isinstance(value, expected)
    if isinstance(expected, (list, tuple)):
        return len(value) == len(expected) and all(map(agrees, value, expected))
    if isinstance(expected, float):
        return math.isclose(value, expected, rel_tol=1e-4, abs_tol=1e-12)
    return value == expected


def outcome(function):
    """What a function returns, or the error that it raises."""
    try:
        return function()
    except Exception as error:
        return error


def shown(value) -> str:
    """A result as text for the reader."""
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, Exception):
        lines = [line.strip() for line in re.sub(r"\x1b\[\d+m", "", str(value)).splitlines()]
        said = [line for line in lines if line and not WRAPPED.match(line)]
        said = [textwrap.shorten(line, 150, placeholder=" …", break_on_hyphens=False) for line in said[:1]]
        return ": ".join([type(value).__name__, *said])
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)


def run(path, devices=(), ways=("plain_keras", "ours")) -> dict:
    """The results of a script in this process, as text, and whether `ours` is right."""
    import keras

    script, results = runpy.run_path(str(path)), {}
    for way in ways:
        keras.utils.set_random_seed(0)
        result = outcome(functools.partial(script[way], *devices))
        results[way] = shown(result)
        keras.backend.clear_session(free_memory=False)
    expected = script["EXPECTED"]
    return {**results, "expected": shown(expected), "right": agrees(result, expected)}


def shared(backend, count) -> list:
    """The devices for the scripts: logical parts of the CPU, created before anything uses it."""
    os.environ.update(KERAS_BACKEND=backend, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    if count == 1:
        return []
    names = {}
    exec(SHARED[backend].format(count=count), names)
    return [names["devices"]]


@functools.cache
def measured(backend, count, release, sources) -> dict:
    """The results of the scripts in another process, by name; empty if the backend or release is missing."""
    older = Path(sys.prefix) / f"keras-{release}"
    if importlib.util.find_spec(backend) is None or (release and not older.is_dir()):
        return {}
    names = [name for name, _ in sources]
    path = [str(older)] * bool(release) + [str(FOLDER.parent.parent), os.environ.get("PYTHONPATH", "")]
    found = subprocess.run(
        [sys.executable, __file__, backend, str(count), *names],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if found.returncode:
        raise RuntimeError(f"The traps {names} on {backend} failed:\n{found.stderr[-4000:]}")
    return json.loads(found.stdout.splitlines()[-1])


def all_measured(names) -> dict:
    """The results of each script: a list of (where, result). The result is None if it could not run."""
    setups = {}
    for name in names:
        said = settings(FOLDER / f"{name}.py")
        for backend in said["BACKENDS"]:
            for release in ("", *(said["RELEASES"] if backend == "tensorflow" else ())):
                setups.setdefault((backend, said["DEVICES"], release), []).append(name)
    found = {name: [] for name in names}
    for (backend, count, release), members in setups.items():
        sources = tuple((name, (FOLDER / f"{name}.py").read_text()) for name in members)
        results = measured(backend, count, release, sources)
        where = f"Keras {release}" if release else BACKENDS[backend]
        for name in members:
            found[name].append((where, results.get(name)))
    return found


def grouped(results) -> list:
    """The results, with places that share one merged."""
    groups = {}
    for where, result in results:
        groups.setdefault(json.dumps(result), []).append(where)
    release = importlib.metadata.version("keras")
    rows = []
    for result, places in groups.items():
        here = [place for place in places if place in BACKENDS.values()]
        here = [f"Keras {release} on {listed(here)}"] if here else []
        older = [place for place in places if place not in BACKENDS.values()]
        rows.append((listed([*here, *older]), json.loads(result)))
    return rows


def listed(places) -> str:
    return " and ".join(filter(None, (", ".join(places[:-1]), places[-1])))


def cell(text) -> str:
    """A result in a table cell, as code if it is an error or may contain Markdown."""
    text = text.replace("|", "\\|")
    return f"`{text.replace('`', '')}`" if CODE.search(text) else text


def section(name, results) -> str:
    """The section of one trap: the results of its script, and its code."""
    path = FOLDER / f"{name}.py"
    said, code = settings(path), path.read_text().strip()
    lines = [f"*{ast.get_docstring(ast.parse(code))}*", "", "| | plain Keras | right | this package |"]
    lines.append("|---|---|---|---|")
    for places, result in grouped(results):
        figures = (
            [cell(result[key]) for key in ("plain_keras", "expected", "ours")]
            if result
            else ["not run here"] * 3
        )
        figures[2] += " ✓" if result and result["right"] else ""
        lines.append(f"| {' | '.join([places, *figures])} |")
    given = ""
    if said["DEVICES"] > 1:
        code, given = f"{SHARED[said['BACKENDS'][0]].format(count=said['DEVICES'])}\n{code}", "devices"
    code = textwrap.indent(
        f"```python\n{code}\n\nprint(ours({given}))\nprint(plain_keras({given}))\n```", "    "
    )
    return "\n".join(lines) + f'\n\n??? note "The code"\n\n{code}\n'


def summary(titles, found) -> str:
    """The table at the top: for each trap what Keras gives, what is right, and what this package gives."""
    lines = ["| trap | plain Keras | right | this package |", "|---|---|---|---|"]
    for title, name in titles:
        results = [(where, result) for where, result in found[name] if result is not None]
        if not results:
            lines.append(f"| [{title}](#{name}) | not run here | not run here | not run here |")
            continue
        theirs, right, ours = (by_place(results, key) for key in ("plain_keras", "expected", "ours"))
        mark = " ✓" if all(r["right"] for _, r in results) else ""
        lines.append(f"| [{title}](#{name}) | {theirs} | {right} | {ours}{mark} |")
    return "\n".join(lines)


def by_place(results, key) -> str:
    """One of the figures of a trap, with the places if it differs between them."""
    groups = {}
    for where, result in results:
        groups.setdefault(short(result[key]), []).append(where)
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{figure} on {listed(places)}" for figure, places in groups.items())


def versions() -> str:
    """The installed versions."""
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    names = [("keras", "Keras"), *((name, BACKENDS[name]) for name in installed)]
    return ", ".join(f"{title} {importlib.metadata.version(name).split('+')[0]}" for name, title in names)


def short(text) -> str:
    """A result, an error as its class alone."""
    found = re.match(r"(\w+(?:Error|Exception))\b", text)
    return f"`{found[1]}`" if found else cell(text)


def on_page_markdown(markdown, /, page, **_):
    """Fill the page of traps."""
    if page.file.src_uri != "traps.md":
        return markdown
    titles = HEADING.findall(markdown)
    found = all_measured([name for _, name in titles])
    markdown = LINK.sub(lambda link: section(link[1], found[link[1]]), markdown)
    markdown = SUMMARY.sub(lambda _: summary(titles, found), markdown)
    return VERSIONS.sub(lambda _: f"Building this site ran both sides on a CPU, with {versions()}.", markdown)


if __name__ == "__main__":
    backend, count, *names = [*sys.argv[1:], *["1"][: len(sys.argv) < 3]]
    devices = shared(backend, int(count))
    print("\n" + json.dumps({name: run(FOLDER / f"{name}.py", devices) for name in names}))
