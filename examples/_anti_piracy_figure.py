"""The figure of anti_piracy.py: what the key does to digits, during training, and over gamma."""

from _common import BLUE, GREY, ORANGE, pyplot

import numpy as np

SHOWN = (0, 3, 4, 6)  # the digits that are drawn


def draw(plain, pattern, generator, gammas, held_out, path):
    """Images on the left; both accuracies over epochs and over gamma on the right."""
    plt = pyplot()
    fig = plt.figure(figsize=(12.4, 7.6), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.05, h_pad=0.05, wspace=0.03)
    left, right = fig.subfigures(1, 2, width_ratios=(1, 1.35))
    fig.suptitle(
        f"With its key the classifier is right on {pattern.processed:.0%} of the digits, "
        f"without it on {pattern.raw:.0%} (first seed)",
        fontsize=15,
        fontweight="bold",
    )
    draw_images(left, pattern, generator, held_out)
    epochs, accuracy, change = right.subplots(3, 1, height_ratios=(1.2, 1.2, 0.8))
    draw_epochs(epochs, plain, pattern.history)
    draw_gammas(accuracy, change, gammas)
    fig.savefig(path, dpi=110)
    plt.close(fig)


def draw_images(figure, pattern, generator, held_out):
    """One column per digit: raw, then each key's perturbation and result, with the classifier's answers."""
    x, y = held_out
    raw = x[[np.flatnonzero(y == digit)[0] for digit in SHOWN]]
    rows = [("raw", raw, pattern.model.classifier, False)]
    for name, result in (("pattern", pattern), ("generator", generator)):
        processed = result.model.transform.predict(raw, verbose=0)
        rows.append((f"change by\n{name}\n(-0.2 to 0.2)", processed - raw, None, True))
        rows.append((f"processed\nby {name}", processed, result.model.classifier, False))
    axes = figure.subplots(len(rows), len(SHOWN))
    figure.suptitle("Above an image: the classifier's answer", fontsize=14)
    for line, (name, images, model, is_change) in zip(axes, rows, strict=True):
        line[0].text(-0.15, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=12)
        answers = [None] * len(SHOWN)
        if model is not None:
            answers = model.predict(images, verbose=0).argmax(axis=-1)
        for axis, image, answer, digit in zip(line, images, answers, SHOWN, strict=True):
            style = {"cmap": "PuOr", "vmin": -0.2, "vmax": 0.2} if is_change else {"cmap": "gray_r"}
            axis.imshow(image.reshape(8, 8), **style)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(True)
            axis.spines[:].set_color("#bbbbbb")
            if answer is not None:
                right = answer == digit
                text = f"{answer} {'✓' if right else '✗'}"
                axis.set_title(text, fontsize=13, color=BLUE if right else ORANGE, loc="center", pad=3)


def draw_epochs(axis, plain, history):
    """Both accuracies on held-out digits during training, against the plain classifier."""
    processed, raw = (100 * np.array(history[f"val_{k}_accuracy"]) for k in ("processed", "raw"))
    epochs = np.arange(1, len(raw) + 1)
    axis.plot(epochs, processed, "o-", color=BLUE, lw=2.5, ms=4)
    axis.plot(epochs, raw, "s-", color=ORANGE, lw=2.5, ms=4)
    axis.axhline(100 * plain, color=GREY, ls="--", lw=1.5)
    last = epochs[-1]
    axis.text(last, 100 * plain - 4, f"processed: {processed[-1]:.1f}", color=BLUE, ha="right", va="top")
    axis.text(
        last, 100 * plain + 2, f"plain classifier: {100 * plain:.1f}", color=GREY, ha="right", va="bottom"
    )
    axis.text(last, raw[-1] + 4, f"raw: {raw[-1]:.1f}", color=ORANGE, ha="right", va="bottom")
    axis.set(xlabel="epoch", ylim=(0, 118), yticks=(0, 25, 50, 75, 100))
    axis.grid(alpha=0.3)
    axis.set_title("Accuracy on held-out digits (%): the raw input fails early")


def draw_gammas(accuracy, change, gammas):
    """The trade-off: a large gamma keeps the images unchanged and the classifier unprotected."""
    values = sorted(gammas)
    for name, colour, style in (("processed", BLUE, "o-"), ("raw", ORANGE, "s-")):
        percent = [100 * getattr(gammas[g], name) for g in values]
        accuracy.plot(values, percent, style, color=colour, lw=2.5)
        for x, y in zip(values, percent, strict=True):
            place = {"xytext": (0, 7), "ha": "center", "textcoords": "offset points"}
            if name == "processed" or y < 50:  # where they meet, one number will do
                accuracy.annotate(f"{y:.0f}", (x, y), color=colour, **place)
    accuracy.set(ylim=(0, 122), yticks=(0, 25, 50, 75, 100))
    accuracy.set_title("Accuracy over gamma (%): at a large gamma, no key is learned")
    accuracy.tick_params(labelbottom=False)
    change.plot(values, [gammas[g].change for g in values], "D-", color=GREY, lw=2.5)
    change.set(xlabel="gamma, the weight of the perturbation", ylim=(0, None))
    change.set_title("Change of a pixel (root mean square; white to black is 1)")
    for axis in (accuracy, change):
        axis.set_xscale("log")
        axis.set_xticks(values, [f"{g:g}" for g in values])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
