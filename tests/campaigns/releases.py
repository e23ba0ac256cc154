"""What works on which release of Keras, on which backend.

    python -m tests.campaigns.releases FOLDER [FOLDER ...]

Each folder holds a release of Keras, as `pip install --no-deps --target FOLDER keras` or `git archive` of its
repository makes it; `.` means the installed one. For each, and for each backend, the table says what a
penalized model can do: *works*; *Keras fails*, if the model without penalties fails too; or the name of the
error. A feature that a release does not have is *missing*.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MISSING = ("has no attribute", "Unrecognized format", "Invalid format", "Unknown format")


def features():
    """Functions of a trained model and a folder, by name: each raises, or returns what is wrong."""
    import keras
    import numpy as np

    x, y = np.ones((8, 4), "float32"), np.zeros((8, 2), "float32")

    def logs(model):
        return model.evaluate(x, y, verbose=0, return_dict=True)

    def fit(model, folder):
        history = model.fit(x, y, verbose=0).history
        assert all(np.isfinite(values).all() for values in history.values()), history

    def keras_file(model, folder):
        model.save(folder / "m.keras")
        found, expected = logs(keras.saving.load_model(folder / "m.keras")), logs(model)
        assert set(found) == set(expected) and np.allclose(found["loss"], expected["loss"], rtol=1e-5), found

    def weights_file(model, folder):
        before = logs(model)["loss"]
        model.save_weights(folder / "m.weights.h5")
        model.fit(x, y, verbose=0)
        model.load_weights(folder / "m.weights.h5")
        assert np.allclose(logs(model)["loss"], before, rtol=1e-5)

    def orbax(model, folder):
        callback = keras.callbacks.OrbaxCheckpoint(str(folder / "orbax"))
        model.fit(x, y, verbose=0, callbacks=[callback])
        found = logs(keras.saving.load_model(str(folder / "orbax")))
        assert np.allclose(found["loss"], logs(model)["loss"], rtol=1e-5)

    def lora(model, folder):
        model.get_layer("hidden").enable_lora(2)
        model.compile("sgd", "mse")
        fit(model, folder)
        keras_file(model, folder)

    def quantized(mode):
        def quantize(model, folder):
            model.quantize(mode)
            model.compile("sgd", "mse")
            assert np.isfinite(logs(model)["loss"])

        return quantize

    def export(kind, name):
        def exports(model, folder):
            model.export(folder / name, format=kind, verbose=False)
            assert (folder / name).exists()

        return exports

    return {
        "fit": fit,
        "`.keras`": keras_file,
        "`.weights.h5`": weights_file,
        "Orbax": orbax,
        "LoRA": lora,
        "int8": quantized("int8"),
        "int4": quantized("int4"),
        "SavedModel": export("tf_saved_model", "saved"),
        "LiteRT": export("litert", "m.tflite"),
        "`torch` export": export("torch", "m.pt2"),
    }


def made(penalized):
    import keras

    import keras_penalties as kp

    keras.utils.set_random_seed(0)
    start = keras.Input((4,))
    h = keras.layers.Dense(8, activation="relu", name="hidden")(start)
    model = keras.Model(start, keras.layers.Dense(2, name="out")(h))
    if penalized:
        model = kp.penalize(model, {"hidden": kp.regularizers.L2(0.1)})
    model.compile("sgd", "mse")
    return model


def outcome(feature, penalized):
    with tempfile.TemporaryDirectory() as folder:
        try:
            feature(made(penalized), Path(folder))
        except Exception as error:
            missing = isinstance(error, ModuleNotFoundError) or any(text in str(error) for text in MISSING)
            return "missing" if missing else type(error).__name__
    return "works"


def of_this_process():
    """The outcome of each feature here, and the release."""
    import keras

    found = {}
    for name, feature in features().items():
        found[name] = outcome(feature, penalized=True)
        if found[name] not in ("works", "missing"):
            plain = outcome(feature, penalized=False)
            found[name] = found[name] if plain == "works" else "Keras fails"
    return {"release": keras.__version__, **found}


def main(folders):
    from rich.console import Console
    from rich.table import Table

    table = None
    for folder in folders:
        for backend in ("tensorflow", "jax", "torch"):
            path = [str(Path(folder).resolve())] if folder != "." else []
            environment = {
                **os.environ,
                "KERAS_BACKEND": backend,
                "PYTHONPATH": os.pathsep.join([*path, str(ROOT)]),
                "TF_CPP_MIN_LOG_LEVEL": "3",
            }
            command = [sys.executable, "-m", "tests.campaigns.releases", "--here"]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr[-4000:])
            found = json.loads(done.stdout.strip().splitlines()[-1])
            if table is None:
                table = Table(*(["Keras", "backend", *list(found)[1:]]))
            table.add_row(found.pop("release"), backend, *found.values())
    Console(width=200).print(table)


if __name__ == "__main__":
    if sys.argv[1:] == ["--here"]:
        print(json.dumps(of_this_process()))
    else:
        main(sys.argv[1:] or ["."])
