"""Two processes that share each batch by TensorFlow's strategy for several machines."""

import json
import os
import socket
import subprocess
import sys

BACKENDS = ("tensorflow",)
ENDED = False
EXPECTED = "trains"

TRAIN = """
import sys
import tensorflow as tf

strategy = tf.distribute.MultiWorkerMirroredStrategy()
import keras
import numpy as np
import keras_penalties as kp

penalty = kp.layers.ActivityPenalty(kp.regularizers.L2(1.0))
with strategy.scope():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), *[penalty][: int(sys.argv[1])]])
    model.compile("sgd", "mse")
try:
    model.fit(np.ones((8, 2)), np.ones((8, 2)), verbose=0)
    print("trains")
except Exception as error:
    print(f"{type(error).__name__}: {str(error).splitlines()[0]}")
"""


def trained(penalties):
    with socket.socket() as one, socket.socket() as two:
        one.bind(("localhost", 0))
        two.bind(("localhost", 0))
        workers = [f"localhost:{found.getsockname()[1]}" for found in (one, two)]
    running = []
    for index in range(2):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
        command = [sys.executable, "-c", TRAIN, str(penalties)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        running.append(subprocess.Popen(command, env=environment, **options))
    said = [process.communicate(timeout=120)[0].strip() for process in running]
    return said[0]


def plain_keras():
    return trained(penalties=0)


def ours():
    return trained(penalties=1)
