"""Configs and archives as an attacker or a bad disk would leave them, drawn by hypothesis."""

import base64
import copy
import io
import json
import marshal
import tempfile
import zipfile
from pathlib import Path

from hypothesis import strategies as st

import keras_penalties as kp
from tests.saved.write import FOLDER
from tests.support import attach_networks


def penalized_files():
    """A subclassed model and a graph of blocks, with penalties inside: their files say where those are."""
    folder = Path(tempfile.mkdtemp())
    inside = {"inner": kp.regularizers.L2(0.1), "last:preactivation": kp.regularizers.L1(0.1)}
    for build in (attach_networks.subclassed, attach_networks.blocks):
        file = folder / f"inside-{build.__name__}.keras"
        kp.penalize(build(), inside).save(file)
        yield file


FILES = [*sorted((FOLDER / kp.__version__).glob("*.keras")), *penalized_files()]

_code = compile("lambda *a, **k: __import__('canary').sing()", "<file>", "eval").co_consts[0]
_LAMBDA = {"code": base64.b64encode(marshal.dumps(_code)).decode(), "defaults": None, "closure": None}


def _named(module, name, config=None, registered=None):
    return {"module": module, "class_name": name, "config": config or {}, "registered_name": registered}


# What would run, import, write or fetch something, if loading did what the file says.
BAITS = [
    _named("canary", "Canary"),
    _named("canary", "function", "sing", "sing"),
    _named("os", "system", "true"),
    _named("os", "function", "system", "system"),
    _named("builtins", "function", "eval", "eval"),
    _named("builtins", "eval", {"source": "__import__('canary')"}),
    _named("subprocess", "Popen", {"args": ["true"]}, "keras_penalties>Popen"),
    _named("keras.utils", "function", "get_file", "get_file"),
    _named("keras.saving", "function", "load_model", "load_model"),
    _named("keras.src.utils.python_utils", "function", "func_load", "func_load"),
    _named(
        "keras.layers", "Lambda", {"name": "l", "function": {"class_name": "__lambda__", "config": _LAMBDA}}
    ),
    _named("keras.layers", "TFSMLayer", {"filepath": "canary", "name": "tfsm"}),
    _named("keras_penalties._keras.gradients", "function", "step_loss", "step_loss"),
    _named("keras_penalties.regularizers", "Penalty", {"strength": 1.0}, "keras_penalties>Penalty"),
    {"class_name": "__lambda__", "config": _LAMBDA},
    {"class_name": "__tensor__", "config": {"value": [1.0], "dtype": "canary"}},
    {"class_name": "__numpy__", "config": {"value": "canary", "dtype": "object"}},
    {
        "class_name": "__typespec__",
        "spec_name": "Canary",
        "module": "canary",
        "config": ["x"],
        "registered_name": "",
    },
    {"class_name": "__bytes__", "config": {"value": "canary"}},
    {"class_name": "__slice__", "config": {"start": 0, "stop": 10**30, "step": 1}},
]


def _nested(depth, inner=1.0, key="config"):
    for _ in range(depth):
        inner = {"class_name": "L2", "module": "keras_penalties.regularizers", key: inner}
    return inner


VALUES = st.one_of(
    st.sampled_from(BAITS),
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(),
    st.sampled_from([0, -1, 1e308, -0.0, 10**400, float("nan"), float("inf"), "", "nan", "l2", "canary"]),
    st.text(max_size=12),
    st.lists(st.integers(-3, 3) | st.none() | st.text(max_size=3), max_size=4),
    st.dictionaries(st.text(max_size=6), st.integers() | st.none(), max_size=3),
    st.sampled_from([50, 400]).map(_nested),
    st.just("x" * 100_000) | st.just([0.0] * 2_000),
)


def places(config, at=(), own=False):
    """Every path in nested dicts and lists, and whether it is within a class of this package."""
    own = own or (isinstance(config, dict) and str(config.get("module")).startswith("keras_penalties"))
    items = (
        config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    )
    for key, value in items:
        yield (*at, key), own
        yield from places(value, (*at, key), own)


def parent_of(config, place):
    for key in place[:-1]:
        config = config[key]
    return config


KINDS = ("value", "deleted", "renamed", "copied", "swapped", "nested")


@st.composite
def mutated(draw, config):
    """`config` with one to three changes, and of what kind the first is."""
    config, first = copy.deepcopy(config), None
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(config))
        own = draw(st.booleans()) and any(own for _, own in found)
        place = draw(st.sampled_from([place for place, inside in found if inside >= own]))
        kind = draw(st.sampled_from(KINDS))
        parent, key = parent_of(config, place), place[-1]
        if kind == "value":
            parent[key] = copy.deepcopy(draw(VALUES))
        elif kind == "deleted":
            del parent[key]
        elif kind == "renamed" and isinstance(parent, dict):
            parent[draw(st.text(max_size=8) | st.sampled_from(["strength", "name", "model"]))] = parent.pop(
                key
            )
        elif kind == "nested":
            parent[key] = {"config": parent[key]} if draw(st.booleans()) else [parent[key]]
        else:
            other = draw(st.sampled_from([place for place, _ in found]))
            value = copy.deepcopy(parent_of(config, other)[other[-1]])
            if kind == "swapped":
                parent_of(config, other)[other[-1]] = copy.deepcopy(parent[key])
            parent[key] = value
        first = first or kind
    return config, first


def members_of(file):
    """What an archive holds, by name."""
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@st.composite
def hostile_configs(draw):
    members = members_of(draw(st.sampled_from(FILES)))
    config, kind = draw(mutated(json.loads(members["config.json"])))
    members["config.json"] = json.dumps(config).encode()
    return f"config: {kind}", zipped(members)


def zipped(members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


@st.composite
def hostile_archives(draw):
    file = draw(st.sampled_from(FILES))
    data, members = bytearray(file.read_bytes()), members_of(file)
    name = draw(st.sampled_from(sorted(members)))
    kind = draw(
        st.sampled_from(["truncated", "bytes", "member gone", "member cut", "member bytes", "foreign"])
    )
    at = draw(st.integers(0, len(data) - 1))
    noise = draw(st.binary(min_size=1, max_size=64))
    if kind == "truncated":
        return f"archive: {kind}", bytes(data[:at])
    if kind == "bytes":
        data[at : at + len(noise)] = noise
        return f"archive: {kind}", bytes(data)
    if kind == "member gone":
        del members[name]
    elif kind == "foreign":
        outside = draw(
            st.sampled_from(["../canary.py", "/tmp/canary.py", "canary.py", "assets/../../canary.py"])
        )
        members[outside] = b"raise SystemExit('sung')"
        members["config.json"] = draw(
            st.sampled_from([b"[" * 100_000, b"{}", b"null", b"\xff", b'{"a":' * 5000])
        )
    else:
        content = members[name]
        at %= max(len(content), 1)
        members[name] = (
            content[:at] if kind == "member cut" else content[:at] + noise + content[at + len(noise) :]
        )
    return f"archive: {kind}", zipped(members)
