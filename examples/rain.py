"""How do I make a network predict the rare large values?

Predict tomorrow's rain in Seattle from 1,461 real days: most days are dry, and the few heavy days matter. A
small network is trained with each of four losses, and tested on the heaviest 10% of days. From a clone:

    python examples/rain.py --out out
"""

import argparse
import csv
import importlib.util
import itertools
import time
from dataclasses import dataclass
from pathlib import Path

from _common import BLUE, GREY, ORANGE, PINK, in_new_process, save_and_reload, tall_figure

import keras
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import keras_penalties as kp

DAYS_BACK, SEEDS, EPOCHS = 3, (0, 1, 2), 20
LOSSES = {
    "MSE": keras.losses.MeanSquaredError,
    "Huber": lambda: kp.losses.Huber(threshold=0.1),
    "AmplitudeWeightedMSE": lambda: kp.losses.AmplitudeWeightedMSE(rate=5.0),
    "DualWeightedMSE": lambda: kp.losses.DualWeightedMSE(gamma=2.0),
}
COLOURS = dict(zip(LOSSES, (GREY, PINK, BLUE, ORANGE), strict=True))


@dataclass
class Rain:
    """Days in order: features of the days before, rain as a share of `scale`; training ends at `split`."""

    x: np.ndarray
    y: np.ndarray
    split: int
    scale: float  # mm: the most rain of a day that is trained on
    heavy: float  # the least of the heaviest 10% of these days, as a share of `scale`
    year: int

    @property
    def train(self):
        return self.x[: self.split], self.y[: self.split]

    @property
    def test(self):
        return self.x[self.split :], self.y[self.split :]


def read_weather():
    """The dates, and the rain (mm), highest and lowest temperature and wind of each day in Seattle."""
    # The package is found without being imported: only its data file is of use here.
    package = importlib.util.find_spec("vega_datasets").submodule_search_locations[0]
    with open(Path(package) / "_data" / "seattle-weather.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ("precipitation", "temp_max", "temp_min", "wind")
    return [row["date"] for row in rows], np.array([[float(row[c]) for c in columns] for row in rows])


def load_rain(year):
    """A year to test on, and the years before it, to train on and to estimate all scales.

    A day is predicted from the `DAYS_BACK` before it and from the season.
    """
    dates, weather = read_weather()
    rain = weather[:, 0].copy()
    weather[:, 0] = np.log1p(weather[:, 0])
    season = 2 * np.pi * np.arange(len(rain)) / 365.25
    days = range(DAYS_BACK, len(rain))
    x = np.array([[*weather[d - DAYS_BACK : d].ravel(), np.sin(season[d]), np.cos(season[d])] for d in days])
    split, end = (sum(int(date[:4]) < y for date in dates) - DAYS_BACK for y in (year, year + 1))
    x = (x - x[:split].mean(axis=0)) / x[:split].std(axis=0)
    x, y = x[:end], rain[DAYS_BACK:][:end]
    scale = y[:split].max()
    heavy = np.quantile(y[:split], 0.9) / scale
    return Rain(x.astype("float32"), (y / scale)[:, None].astype("float32"), split, scale, heavy, year)


def build(features, loss):
    """A small network; its output starts near the mean of the rain."""
    small = keras.regularizers.L2(1e-4)
    start = keras.initializers.Constant(-3.0)
    model = keras.Sequential(
        [
            keras.Input((features,)),
            keras.layers.Dense(16, activation="relu", kernel_regularizer=small),
            keras.layers.Dense(16, activation="relu", kernel_regularizer=small),
            keras.layers.Dense(1, activation="sigmoid", bias_initializer=start),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), loss)
    return model


@dataclass
class Result:
    """A trained network and its predictions for unseen days, as shares of the scale."""

    model: keras.Model
    predicted: np.ndarray
    observed: np.ndarray
    heavy: float
    scale: float

    @property
    def is_heavy(self):
        return self.observed >= self.heavy

    @property
    def alarm(self):
        return self.predicted >= self.heavy

    def measures(self):
        """Recall, alarms, the share of right alarms, two errors in mm, and how well days are ranked."""
        error = self.scale * (self.predicted - self.observed)
        above = self.predicted[self.is_heavy][:, None] - self.predicted[~self.is_heavy][None]
        return {
            "recall": np.mean(self.alarm[self.is_heavy]),
            "alarms": np.sum(self.alarm),
            "right": np.mean(self.is_heavy[self.alarm]) if self.alarm.any() else np.nan,
            "rmse": np.sqrt(np.mean(error**2)),
            "heavy_rmse": np.sqrt(np.mean(error[self.is_heavy] ** 2)),
            "auc": np.mean((above > 0) + (above == 0) / 2),
        }

    def recall_with(self, alarms):
        """The recall if this many days, those with the largest predictions, were alarms."""
        return np.sum(self.is_heavy[np.argsort(-self.predicted)[:alarms]]) / self.is_heavy.sum()


def train(rain, loss, seed):
    """Train the network with one loss."""
    keras.utils.set_random_seed(seed)
    model = build(rain.x.shape[1], LOSSES[loss]())
    model.fit(*rain.train, batch_size=64, epochs=EPOCHS, verbose=0)
    x, y = rain.test
    predicted = model.predict(x, batch_size=len(x), verbose=0)[:, 0]
    return Result(model, predicted, y[:, 0], rain.heavy, rain.scale)


def means(results, loss):
    """Each measure, averaged over the seeds; right alarms are counted over all seeds together."""
    runs = [results[loss, seed] for seed in SEEDS]
    rows = [run.measures() for run in runs]
    found, alarms = (
        sum(np.sum(v) for v in values)
        for values in zip(*((r.alarm & r.is_heavy, r.alarm) for r in runs), strict=True)
    )
    averaged = {name: float(np.mean([r[name] for r in rows])) for name in rows[0]}
    return {**averaged, "right": found / alarms if alarms else np.nan}


def print_table(console, rain, results):
    """Each loss and seed, and the means."""
    y = rain.test[1]
    constant = rain.scale * np.sqrt(np.mean((y - rain.train[1].mean()) ** 2))
    made = Table(
        title=f"{len(y)} days of {rain.year}, {int((y >= rain.heavy).sum())} of them heavy ("
        f"{rain.heavy * rain.scale:.1f} mm or more); the mean as prediction: RMSE {constant:.2f} mm",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    headings = (
        "recall of\nheavy days",
        "alarms",
        "right\nalarms",
        "RMSE\n(mm)",
        "RMSE of\nheavy days",
        "AUC",
    )
    made.add_column("loss", no_wrap=True)
    made.add_column("seed")
    for heading in (*headings, "MSE's recall with\nas many alarms"):
        made.add_column(heading, justify="right")
    for loss in LOSSES:
        for seed in SEEDS:
            result = results[loss, seed]
            m = result.measures()
            same = results["MSE", seed].recall_with(m["alarms"])
            made.add_row(loss, str(seed), *row(m), f"{same:.0%}")
        same = [results["MSE", s].recall_with(results[loss, s].alarm.sum()) for s in SEEDS]
        made.add_row(
            "", "mean", *row(means(results, loss)), f"{np.mean(same):.0%}", style="bold", end_section=True
        )
    console.print(made)


def row(m):
    """The measures as they are printed."""
    right = "" if np.isnan(m["right"]) else f"{m['right']:.0%}"
    errors = [f"{m[name]:.2f}" for name in ("rmse", "heavy_rmse", "auc")]
    return f"{m['recall']:.0%}", f"{m['alarms']:.0f}", right, *errors


GO_ON = """
import sys, json, numpy as np
import keras, keras_penalties
data, *paths = sys.argv[1:]
data = np.load(data)
models = [keras.saving.load_model(path) for path in paths]
fit = dict(batch_size=64, epochs=3, shuffle=False, verbose=0)
print(json.dumps([model.fit(data["x"], data["y"], **fit).history["loss"] for model in models]))
"""


def save_and_go_on(rain, models, out):
    """Continue training each saved model in a new process, and the original here."""
    for name, model in models.items():
        print(f"{name}:")
        save_and_reload(model, *rain.test, out, f"rain_{name}")
    x, y = rain.train
    np.savez(out / "rain_train.npz", x=x, y=y)
    paths = [out / f"rain_{name}.keras" for name in models]
    there = in_new_process(GO_ON, out / "rain_train.npz", *paths)
    here = [
        m.fit(x, y, batch_size=64, epochs=3, shuffle=False, verbose=0).history["loss"]
        for m in models.values()
    ]
    for name, a, b in zip(models, here, there, strict=True):
        print(f"{name}, three more epochs: loss {a[-1]:.7f} here, {b[-1]:.7f} in a new process")
    if not np.allclose(here, there, rtol=1e-5, atol=0):
        raise RuntimeError("a loaded model does not continue training like the saved one")


def draw(rain, results, path):
    """Predicted against observed, one panel per loss; a point above the line is an alarm."""
    weighted, plain = (means(results, loss) for loss in ("AmplitudeWeightedMSE", "MSE"))
    title = (
        f"Weighted by amplitude, the loss finds {weighted['recall']:.0%} of the heavy days instead "
        f"of {plain['recall']:.0%}; the overall error rises from {plain['rmse']:.1f} to "
        f"{weighted['rmse']:.1f} mm (means of {len(SEEDS)} seeds)"
    )
    fig, axes = tall_figure(title, 7.4, 2, 2, sharex=True, sharey=True)
    for axis, loss in zip(axes.flat, LOSSES, strict=True):
        draw_loss(axis, results[loss, 0], loss)
    for axis in axes[1]:
        axis.set_xlabel("observed rain (mm)")
    for axis in axes[:, 0]:
        axis.set_ylabel("predicted (mm)")
    key = "filled: heavy days; black: the mean\nabove the dashes: predicted to be heavy"
    fig.supxlabel(key, fontsize=10.5, color=GREY, linespacing=1.4)
    fig.savefig(path, dpi=180)


def draw_loss(axis, result, loss):
    """Days as points on axes of square roots, and their mean over classes of observed rain."""
    observed, predicted, heavy = (result.scale * v for v in (result.observed, result.predicted, result.heavy))
    few = result.is_heavy
    colour = COLOURS[loss]
    axis.scatter(observed[~few], predicted[~few], s=14, facecolor="none", edgecolor=colour, alpha=0.35)
    axis.scatter(observed[few], predicted[few], s=34, color=colour, edgecolor="white", linewidth=0.5)
    edges = [0, 0.05, 2, 5, heavy, 20, 60]
    places = [np.flatnonzero((observed >= a) & (observed < b)) for a, b in itertools.pairwise(edges)]
    means = [(observed[i].mean(), predicted[i].mean()) for i in places]
    axis.plot(*np.transpose(means), "k-", lw=2.5)
    axis.plot([0, 60], [0, 60], color="#aaaaaa", lw=1, ls=":")
    axis.axhline(heavy, color="black", lw=1, ls="--")
    for scale in (axis.set_xscale, axis.set_yscale):
        scale("function", functions=(np.sqrt, np.square))
    ticks = (0, 2, 5, 10, 20, 40, 60)
    axis.set(xlim=(0, 62), ylim=(0, 62), xticks=ticks, yticks=ticks)
    m = result.measures()
    axis.set_title(
        f"{loss}, first seed:\nfinds {np.sum(result.alarm & few)} of {few.sum()}, error {m['rmse']:.1f} mm",
        fontsize=10.5,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the models and the figure")
    parser.add_argument("--year", type=int, choices=(2013, 2014, 2015), default=2015, help="year to test on")
    arguments = parser.parse_args()
    out, start = arguments.out, time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    rain = load_rain(arguments.year)
    results = {(loss, seed): train(rain, loss, seed) for loss in LOSSES for seed in SEEDS}
    print_table(Console(width=120), rain, results)
    draw(rain, results, out / "rain.png")
    save_and_go_on(rain, {loss: results[loss, 0].model for loss in LOSSES}, out)
    m = {loss: means(results, loss) for loss in LOSSES}
    print(
        "recall of heavy days and RMSE: "
        + ", ".join(f"{loss} {v['recall']:.0%} and {v['rmse']:.2f} mm" for loss, v in m.items())
        + f"; {time.perf_counter() - start:.0f} s, figure: {out / 'rain.png'}"
    )


if __name__ == "__main__":
    main()
