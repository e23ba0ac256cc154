"""The figures of `gallery.py`, one per family: a panel per penalty, grey without it and blue with it."""

from _common import BLUE, GREY, ORANGE, pyplot

import numpy as np

COLUMNS = 3
FAMILIES = {  # the name of the file, the title, and what is in it
    "size": ("Smaller activations", ("L1", "L2", "L1L2", "Excess")),
    "sparsity": (
        "Few active units",
        ("KLSparsity", "TransformedL1", "LogSparsity", "Hoyer", "HoyerSquare", "GroupLasso"),
    ),
    "features": (
        "Different features, and how a code is distributed",
        ("DeCov", "Covariance", "Variance", "KoLeo", "MMD", "SIGReg"),
    ),
    "smooth": ("Small changes", ("TotalVariation", "TemporalSmoothness", "GradientPenalty")),
    "predictions": (
        "Predictions and routers",
        ("Confidence", "Entropy", "ZLoss", "MarginalEntropy", "LoadBalance"),
    ),
    "teacher": (
        "A student and its teacher",
        ("Hint", "Match", "AttentionTransfer", "RelationalKD", "CKA"),
    ),
    "views": (
        "Two or three tensors of one network",
        ("GaussianKL", "CORAL", "BarlowTwins", "VICReg", "InfoNCE", "TripletMargin"),
    ),
}
VIEWS = {}


def view(function):
    """The function that draws a case, by name."""
    VIEWS[function.__name__] = function
    return function


def draw(cases, labels, out):
    """A file for each family of which there is a case."""
    for family, (title, names) in FAMILIES.items():
        shown = [pair for pair in zip(cases, labels, strict=True) if pair[0].name in names]
        if shown:
            shown.sort(key=lambda pair: names.index(pair[0].name))
            draw_family(shown, title, out / f"gallery-{family}.png")


def draw_family(shown, title, path):
    plt = pyplot()
    plt.rcParams.update({"font.size": 10.5})
    columns = 2 if len(shown) == 4 else COLUMNS
    rows, width = -(-len(shown) // columns), 3.25 * columns
    height = 3.3 * rows + 0.55
    fig, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    margins = 0.75 / width, 0.55 / height, 1 - 0.2 / width, 1 - 1.65 / height
    fig.subplots_adjust(*margins, wspace=0.4, hspace=1.0)
    fig.suptitle(
        f"{title}:\nwithout the penalty (grey, left) and with it (blue, right)",
        fontsize=12,
        fontweight="bold",
        y=1 - 0.1 / height,
        va="top",
    )
    for axis, (case, label) in zip(axes.flat, shown, strict=False):
        VIEWS[case.view](axis, case)
        (m0, m1), (a0, a1) = case.measures, case.accuracies
        said = f"{case.does}\nmeasure {short(m0)} → {short(m1)}\naccuracy {100 * a0:.1f} → {100 * a1:.1f}%"
        axis.set_anchor("NW")
        axis.annotate(said, (0, 1), (0, 5), "axes fraction", "offset points", va="bottom", linespacing=1.25)
        style = {"va": "bottom", "fontsize": 11.5, "fontweight": "bold", "color": BLUE}
        axis.annotate(label, (0, 1), (0, 50), "axes fraction", "offset points", **style)
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    fig.savefig(path, dpi=120)
    plt.close(fig)


def short(number):
    """Two significant digits, or a whole number."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.2g}"


def histograms(axis, before, after, xlabel, bins=None, log=True):
    """Histograms of both, as shares, with the same bins."""
    if bins is None:
        both = np.concatenate([before.ravel(), after.ravel()])
        bins = np.linspace(both.min(), both.max(), 40)
    for values, colour in ((before, GREY), (after, BLUE)):
        weights = np.full(values.size, 100 / values.size)
        style = {"bins": bins, "weights": weights, "color": colour}
        axis.hist(values.ravel(), alpha=0.25, **style)
        axis.hist(values.ravel(), histtype="step", linewidth=1.8, **style)
    axis.set(xlabel=xlabel, ylabel="share (%)", yscale="log" if log else "linear")


def bars(axis, before, after, xlabel, ylabel):
    places = np.arange(len(before))
    axis.bar(places - 0.2, before, 0.4, color=GREY, alpha=0.7)
    axis.bar(places + 0.2, after, 0.4, color=BLUE)
    axis.set(xlabel=xlabel, ylabel=ylabel, xticks=[])


def matrices(axis, before, after, limit, xlabel):
    """Two matrices side by side, red above 0 and blue below."""
    gap = np.full((len(before), max(1, len(before) // 16)), np.nan)
    axis.imshow(np.hstack([before, gap, after]), cmap="RdBu_r", vmin=-limit, vmax=limit)
    axis.set(xlabel=xlabel, xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


@view
def activations(axis, case):
    (before,), (after,) = case.before, case.after
    histograms(axis, before, after, "activation")
    if hasattr(case.penalty, "threshold"):
        axis.axvline(case.penalty.threshold, color=ORANGE, ls="--")


@view
def means(axis, case):
    histograms(axis, *(v[0].mean(axis=0) for v in (case.before, case.after)), "mean of a unit", log=False)
    axis.axvline(case.penalty.target, color=ORANGE, ls="--")


@view
def profile(axis, case):
    """The units of a digit, largest first, as a share of the largest, averaged over digits."""
    for (h,), colour in ((case.before, GREY), (case.after, BLUE)):
        ranked = -np.sort(-h, axis=1)
        curve = (ranked / np.maximum(ranked[:, :1], 1e-9)).mean(axis=0)
        axis.fill_between(np.arange(1, len(curve) + 1), 100 * curve, color=colour, alpha=0.25)
        axis.plot(np.arange(1, len(curve) + 1), 100 * curve, color=colour, lw=2)
    axis.set(xlabel="units of a digit, largest first", ylabel="% of the largest", ylim=(0, None))


@view
def channels(axis, case):
    norms = [
        np.sort(np.sqrt((v[0] ** 2).sum(axis=(1, 2))).mean(axis=0))[::-1] for v in (case.before, case.after)
    ]
    bars(axis, *norms, "channels, largest first", "norm")


def _correlation(a, b):
    a, b = ((v - v.mean(axis=0)) / np.maximum(v.std(axis=0), 1e-9) for v in (a, b))
    return a.T @ b / len(a)


@view
def correlations(axis, case):
    matrices(
        axis, *(_correlation(v[0], v[0])[:32, :32] for v in (case.before, case.after)), 1, "correlations"
    )


@view
def crossed(axis, case):
    pairs = (_correlation(*v)[:32, :32] for v in (case.before, case.after))
    matrices(axis, *pairs, 1, "correlations of the views")


@view
def differences(axis, case):
    gaps = [np.cov(v[0].T) - np.cov(v[1].T) for v in (case.before, case.after)]
    limit = np.quantile(np.abs(gaps[0]), 0.99)
    matrices(axis, *(g[:32, :32] for g in gaps), limit, "difference of covariances")


@view
def deviations(axis, case):
    histograms(axis, *(v[0].std(axis=0) for v in (case.before, case.after)), "deviation of a unit", log=False)
    axis.axvline(case.penalty.target, color=ORANGE, ls="--")


@view
def feature_map(axis, case):
    """The strongest channel of one digit, each scaled by itself."""
    images = []
    for v in (case.before, case.after):
        channel = v[0].mean(axis=(0, 1, 2)).argmax()
        image = v[0][0, :, :, channel]
        images.append(image / max(image.max(), 1e-9))
    axis.imshow(np.hstack([images[0], np.full((12, 1), np.nan), images[1]]), cmap="Greys", vmin=0, vmax=1)
    axis.set(xlabel="a channel of one digit", xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


@view
def attention(axis, case):
    """Where one digit is active: in the teacher, in the student without the penalty, and with it."""
    maps = [np.square(v[0]).sum(axis=-1) for v in (case.before[1], case.before[0], case.after[0])]
    gap = np.full((12, 1), np.nan)
    scaled = [part for m in maps for part in (m / max(m.max(), 1e-9), gap)][:-1]
    axis.imshow(np.hstack(scaled), cmap="Greys", vmin=0, vmax=1)
    axis.set(xlabel="teacher | without | with", xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


@view
def related(axis, case):
    """How far distances between digits, relative to their mean, are from the teacher's."""
    pick = np.random.default_rng(0).integers(0, len(case.before[0]), (2, 4000))
    errors = []
    for student, teacher in (case.before, case.after):
        a, b = (np.linalg.norm(v[pick[0]] - v[pick[1]], axis=1) for v in (student, teacher))
        errors.append(a / a.mean() - b / b.mean())
    histograms(axis, *errors, "distance less the teacher's", log=False)


@view
def neighbours(axis, case):
    nearest = []
    for (h,) in (case.before, case.after):
        units = h / np.maximum(np.linalg.norm(h, axis=1, keepdims=True), 1e-9)
        cosines = units @ units.T - 2.0 * np.eye(len(units))
        nearest.append(np.sqrt(np.maximum(2.0 - 2.0 * cosines.max(axis=1), 0.0)))
    histograms(axis, *nearest, "distance to the nearest", log=False)


@view
def steps(axis, case):
    histograms(axis, *(np.diff(v[0], axis=1) for v in (case.before, case.after)), "step from row to row")


@view
def surest(axis, case):
    largest = (v[0].max(axis=1) for v in (case.before, case.after))
    histograms(axis, *largest, "largest probability", np.linspace(0.2, 1, 30))


@view
def normalizers(axis, case):
    totals = [np.log(np.exp(v[0]).sum(axis=1)) for v in (case.before, case.after)]
    histograms(axis, *totals, "log of the sum of exponentials", log=False)


@view
def loads(axis, case):
    shares = []
    for v in (case.before, case.after):
        counts = np.bincount(v[0].argmax(axis=1), minlength=v[0].shape[1])
        shares.append(100 * np.sort(counts)[::-1] / counts.sum())
    bars(axis, *shares, "experts, busiest first", "digits (%)")


@view
def slopes(axis, case):
    norms = [np.sqrt((v[0] ** 2).sum(axis=(1, 2, 3))) for v in (case.before, case.after)]
    histograms(axis, *norms, "length of the slope of the logits", log=False)
    axis.axvline(case.penalty.norm, color=ORANGE, ls="--")


@view
def normal(axis, case):
    bins = np.linspace(-6, 6, 60)
    histograms(
        axis,
        *(np.clip(v[0], -6, 6) for v in (case.before, case.after)),
        "unit of the code (cut at ±6)",
        bins,
        False,
    )
    middle = (bins[1:] + bins[:-1]) / 2
    density = np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    axis.plot(middle, 100 * density * (bins[1] - bins[0]), color=ORANGE, ls="--", lw=1.8)


@view
def nats(axis, case):
    for (mean, log_variance), colour in ((case.before, GREY), (case.after, BLUE)):
        kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).mean(axis=0)
        axis.plot(np.arange(1, len(kl) + 1), np.sort(kl)[::-1], color=colour, lw=2)
    axis.set(xlabel="units of the code, largest first", ylabel="nats", yscale="log")


@view
def apart(axis, case):
    """Distance of each pair, relative to the mean distance between different digits."""
    distances = []
    for a, b, *_ in (case.before, case.after):
        others = np.linalg.norm(a - np.roll(b, 1, axis=0), axis=1).mean()
        distances.append(np.linalg.norm(a - b, axis=1) / others)
    histograms(axis, *distances, "distance of a pair / of others", log=False)
