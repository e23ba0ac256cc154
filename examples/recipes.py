"""The figures of the pages in `docs/recipes`.

Each page trains on the digits of scikit-learn. This runs the code of three of the pages, and draws what it
trained. Run it from a clone with

    python examples/recipes.py --out out
"""

import argparse
import os
import re
import tempfile
import time
from pathlib import Path

from _common import BLUE, GREY, ORANGE, pyplot, tall_figure

import numpy as np
from matplotlib.patheffects import withStroke

PAGES = Path(__file__).resolve().parents[1] / "docs" / "recipes"


def trained(page):
    """The variables of a page after its Python code has run, in an empty folder."""
    code = re.findall(r"^```python\n(.*?)^```$", (PAGES / f"{page}.md").read_text(), re.MULTILINE | re.DOTALL)
    variables, here = {"__name__": "__main__"}, Path.cwd()
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        exec("\n".join(code), variables)
        os.chdir(here)
    return variables


def figure(title, *widths):
    plt = pyplot()
    fig, axes = plt.subplots(
        1, len(widths), figsize=(12, 4.4), layout="constrained", gridspec_kw={"width_ratios": widths}
    )
    fig.suptitle(title, fontsize=15, fontweight="bold")
    return fig, axes


def tiles(axis, rows, title):
    """Digits of 8x8 pixels, a row of them for each of `rows`, with its name."""
    image = np.vstack([np.hstack([np.pad(d.reshape(8, 8), 1) for d in digits]) for digits in rows.values()])
    axis.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    axis.set_yticks([10 * i + 5 for i in range(len(rows))], rows)
    axis.set_xticks([])
    axis.set_title(title)
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(length=0)


def vae(of):
    fig, axes = tall_figure("One penalty instead of a train_step by hand: the same training", 8, 3)
    epochs = np.arange(1, 1 + len(of["history"]["loss"]))
    for axis, key, title in zip(axes, ("loss", "kl"), ("Loss", "Divergence, in nats"), strict=False):
        scale = 64 if key == "kl" else 1
        for history, style, label in (
            (of["old_history"], {"color": ORANGE, "lw": 6, "alpha": 0.5}, "train_step by hand"),
            (of["history"], {"color": BLUE, "lw": 2}, "GaussianKL"),
        ):
            axis.plot(epochs, scale * np.array(history[key]), label=label, **style)
        axis.set(title=title, xlabel="epoch", xticks=range(0, len(epochs) + 1, 5))
    digits, again = of["new_x"][:8], of["again"].predict(of["new_x"][:8], verbose=0)
    codes = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    sampled = of["again"].get_layer("decoder").predict(codes, verbose=0)
    rows = {"new": digits, "reconstructed": again, "sampled": sampled}
    tiles(axes[2], rows, "The model after loading")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def sparse_autoencoder(of):
    fig, axes = figure("A mean activity of 0.1 was asked for", 1.2, 1, 1)
    none = of["code_of"](of["trained"](None), of["new_x"]).mean(axis=0)
    bins = np.linspace(0, 1, 41)
    for values, colour, label in (
        (none, GREY, "no penalty"),
        (of["old"], ORANGE, "the usual class"),
        (of["new"], BLUE, "KLSparsity"),
    ):
        axes[0].hist(values, bins, color=colour, alpha=0.7, label=f"{label}: mean {values.mean():.2f}")
    axes[0].axvline(0.1, color="black", ls="--", lw=1.5, label="asked for")
    axes[0].set(title="Mean activity of each of 100 units", xlabel="mean over new digits", ylabel="units")
    axes[0].legend()
    for axis, model, title in zip(
        axes[1:], ("old_model", "model"), ("the usual class", "KLSparsity"), strict=True
    ):
        codes = of["code_of"](of[model], of["new_x"][:60])
        shown = axis.imshow(codes, cmap="gray_r", vmin=0, vmax=1, aspect="auto")
        axis.set(title=f"Codes of 60 new digits:\n{title}", xlabel="unit", ylabel="digit")
    fig.colorbar(shown, ax=axes[2], label="activation")
    return fig


def centre_loss(of):
    fig, axes = tall_figure("Two hidden features of new digits, by class", 8.4, 2)
    for axis, name, title in zip(axes, ("without", "model"), ("Without", "With"), strict=True):
        model = of[name].model
        points, spread = of["points"](model), of["spread"](model)
        accuracy = 100 * of["accuracy"](model)
        axis.scatter(*points.T, c=of["new_y"], cmap="tab10", s=16)
        for digit in range(10):
            centre = points[of["new_y"] == digit].mean(axis=0)
            halo = [withStroke(linewidth=3, foreground="white")]
            style = {"fontsize": 15, "weight": "bold", "ha": "center", "va": "center", "path_effects": halo}
            axis.annotate(str(digit), centre, **style)
        axis.set_title(f"{title} the loss: spread {spread:.3f}, accuracy {accuracy:.1f}%")
        axis.set(xlabel="first feature", ylabel="second feature")
    return fig


FIGURES = {
    "vae": vae,
    "sparse-autoencoder": sparse_autoencoder,
    "centre-loss": centre_loss,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the figures")
    parser.add_argument("pages", nargs="*", default=list(FIGURES), help="which pages; all by default")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for page in arguments.pages:
        start = time.time()
        fig = FIGURES[page](trained(page))
        path = arguments.out / f"recipe-{page}.png"
        fig.savefig(path, dpi=180 if fig.get_figwidth() < 8 else 110)
        print(f"{path}: {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
