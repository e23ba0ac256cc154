"""What the page of traps says that this package gives: each script, on the backends that it is for."""

import json
import runpy

import pytest

from tests.support.helpers import BACKEND, ROOT, fresh_process

HOOK = ROOT / "docs" / "hooks" / "traps.py"
TRAPS = runpy.run_path(str(HOOK))
SAID = {path.stem: TRAPS["settings"](path) for path in sorted(TRAPS["FOLDER"].glob("*.py"))}
PAGE = (ROOT / "docs" / "traps.md").read_text()


def of(devices):
    """The traps that this package ends, each for its backends."""
    return [
        pytest.param(name, marks=pytest.mark.backends(*said["BACKENDS"]))
        for name, said in SAID.items()
        if said["ENDED"] and said["DEVICES"] == devices
    ]


def test_each_script_is_on_the_page_once():
    headings = [name for _, name in TRAPS["HEADING"].findall(PAGE)]
    assert headings == TRAPS["LINK"].findall(PAGE)
    assert sorted(headings) == sorted(SAID)


@pytest.mark.parametrize("name", of(devices=1))
def test_ours_is_right(name):
    result = TRAPS["run"](TRAPS["FOLDER"] / f"{name}.py", ways=["ours"])
    assert result["right"], result


@pytest.mark.backends("tensorflow", "jax")
def test_ours_is_right_on_two_devices():
    names = [param.values[0] for param in of(devices=2) if BACKEND in SAID[param.values[0]]["BACKENDS"]]
    code = (
        "import json, runpy\n"
        f"traps = runpy.run_path({str(HOOK)!r})\n"
        f"devices = traps['shared']({BACKEND!r}, 2)\n"
        f"paths = [traps['FOLDER'] / f'{{name}}.py' for name in {names}]\n"
        "print(json.dumps({path.stem: traps['run'](path, devices, ['ours']) for path in paths}))\n"
    )
    results = json.loads(fresh_process(code).splitlines()[-1])
    assert set(results) == set(names)
    assert [name for name, result in results.items() if not result["right"]] == [], results


def test_a_figure_that_is_wrong_is_told_from_one_that_is_right():
    agrees = TRAPS["agrees"]
    assert agrees([5.0, True], [5.00001, True]) and agrees(TypeError("no"), TypeError)
    assert not agrees(5.1, 5.0) and not agrees([5.0], [5.0, 5.0])
    assert not agrees(ValueError("no"), TypeError) and not agrees(5.0, TypeError)
    assert not agrees(TypeError("no"), 5.0)


def test_errors_are_code_and_cut_after_a_word():
    text = TRAPS["shown"](ValueError(" ".join(["word"] * 100)))
    assert TRAPS["cell"](text) == f"`ValueError: {' '.join(['word'] * 29)} …`"
    assert TRAPS["short"](text) == "`ValueError`"
    assert TRAPS["cell"]("0.01") == "0.01"


def test_a_page_without_results_says_so():
    assert "without running the traps" in " ".join(PAGE.split())
    assert "without running the traps" not in " ".join(TRAPS["VERSIONS"].sub("", PAGE).split())
