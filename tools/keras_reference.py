"""Write tests/data/keras_lstm.npz: what Keras' LSTM(50, activation="relu") and Dense(1) say, and with which weights."""

from pathlib import Path

import keras
import numpy as np

OUTPUT = Path(__file__).resolve().parents[1] / "tests" / "data" / "keras_lstm.npz"


def main():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.layers.Input((12, 1)), keras.layers.LSTM(50, activation="relu"), keras.layers.Dense(1)]
    )
    windows = np.random.default_rng(0).normal(size=(64, 12, 1)).astype("f4")
    model.compile("adam", "mse")
    model.fit(windows, windows[:, -1, 0] * 0.5, epochs=3, verbose=0)
    kernel, recurrent, bias = model.layers[0].get_weights()
    dense_kernel, dense_bias = model.layers[1].get_weights()
    np.savez_compressed(
        OUTPUT,
        kernel=kernel,
        recurrent=recurrent,
        bias=bias,
        dense_kernel=dense_kernel,
        dense_bias=dense_bias,
        windows=windows,
        output=model.predict(windows, verbose=0)[:, 0],
        versions=f"keras {keras.__version__}",
    )


if __name__ == "__main__":
    main()
