"""What a package index shows of the README has absolute links, and pictures that load."""

import importlib.util
import re

import pytest

from tests.support.helpers import ROOT

pytestmark = pytest.mark.default_backend_only
pytest.importorskip("hatchling")
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def targets(text):
    return re.findall(r"\]\(([^)]+)\)", text)


def test_files_that_the_readme_links_to_exist():
    assert len(targets(README)) > 40
    for target in targets(README):
        assert (ROOT / target.partition("#")[0]).is_file(), target


def test_links_are_absolute_once_the_repository_has_an_address(hook):
    made = hook.with_absolute_links(README, "https://example.org/them/it/")
    assert all(target.startswith("https://example.org/them/it/") for target in targets(made))
    assert "](https://example.org/them/it/raw/HEAD/docs/images/quickstart.png)" in made
    assert "](https://example.org/them/it/blob/HEAD/docs/index.md#four-ways)" in made


@pytest.mark.parametrize("text", ["[a](https://b.c/d)", "[a](#heading)", "f(x)[0] (y)"])
def test_other_text_stays(hook, text):
    assert hook.with_absolute_links(text, "https://example.org") == text


@pytest.mark.parametrize("urls", [{}, {"Source": "https://example.org"}])
def test_metadata(hook, urls):
    metadata = {"name": "keras-penalties", "urls": urls}
    hook.Readme(str(ROOT), {}).update(metadata)
    readme = metadata["readme"]
    assert readme["content-type"] == "text/markdown"
    assert ("](docs/" in readme["text"]) == (not urls)
