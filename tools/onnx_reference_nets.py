"""
Write the ONNX files in tests/data that other frameworks made, and in onnx_nets.npz what these say of the same values.

Not part of the set-up. Needs an environment of its own: pip install tensorflow-cpu==2.21.0 keras==3.15.1 tf2onnx==1.17.0
skl2onnx==1.20.0 scikit-learn==1.9.1 torch onnx onnxruntime. Each net is trained a little on a made-up task, so that its weights
are none of a fresh net, and normalisations have statistics.
"""

import os
import sys
import warnings
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")

import numpy as np

DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
SIDE, BANDS, CLASSES = 64, 3, 4


def task(tiles, side, seed=0):
    """Return values (tile, row, column, band) and classes (tile, row, column): by the signs of two smoothed bands."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(tiles, side, side, BANDS)).astype("f2").astype("f4")  # kept as halves
    smooth = values.copy()
    for axis in (1, 2):
        smooth = smooth + np.roll(smooth, 1, axis) + np.roll(smooth, -1, axis)
    return values, (smooth[..., 0] > 0) * 2 + (smooth[..., 1] > 0)


def with_keras(expected):
    """Keras 3 exports its own ONNX: a net for pixels of windows of any size, and one for tiles."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    entry = layers.Input((None, None, BANDS))
    first = layers.Conv2D(8, 3, padding="same", activation="relu")(entry)
    x = layers.Conv2D(12, 3, padding="same", use_bias=False)(layers.MaxPooling2D()(first))
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Concatenate()([layers.UpSampling2D()(x), first])
    net = keras.Model(entry, layers.Conv2D(CLASSES, 1, activation="softmax")(x))
    values, classes = task(32, SIDE)
    net.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    net.fit(values, classes, epochs=6, batch_size=8, verbose=0)
    net.export(DATA / "keras_pixels.onnx", format="onnx", verbose=False)
    tested = task(1, SIDE, 9)[0]
    expected |= {"keras_pixels_values": tested, "keras_pixels": net.predict(tested, verbose=0)}

    net = keras.Sequential(
        [
            layers.Input((32, 32, BANDS)),
            *(layers.Conv2D(6, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(8, 3, activation="relu")),
            *(layers.GlobalAveragePooling2D(), layers.Dense(CLASSES, activation="softmax")),
        ]
    )
    values = task(256, 32)[0]
    values = (values + np.random.default_rng(2).normal(size=(256, 1, 1, BANDS))).astype("f2").astype("f4")
    classes = (values.mean((1, 2))[:, 0] > 0) * 2 + (values.mean((1, 2))[:, 1] > 0)
    net.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    net.fit(values, classes, epochs=6, batch_size=32, verbose=0)
    net.export(DATA / "keras_tiles.onnx", format="onnx", verbose=False)
    expected |= {"keras_tiles_values": values[:6], "keras_tiles": net.predict(values[:6], verbose=0)}


def with_tensorflow(expected):
    """A net written in TensorFlow itself, its window fixed, logits out, by tf2onnx; and one that looks at its whole window."""
    import tensorflow as tf
    import tf2onnx

    random = np.random.default_rng(3)

    def weights(*shape):
        return tf.Variable(random.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape).astype("f4"))

    one, two, three = weights(3, 3, BANDS, 8), weights(3, 3, 8, 8), weights(1, 1, 8, CLASSES)
    bias = weights(8)

    @tf.function(input_signature=[tf.TensorSpec((1, SIDE, SIDE, BANDS), tf.float32, "image")])
    def fixed(image):
        x = tf.nn.relu(tf.nn.conv2d(image, one, 1, "SAME") + bias)
        x = tf.nn.relu(tf.nn.conv2d(x, two, 1, "SAME", dilations=2))
        return tf.nn.conv2d(x, three, 1, "SAME")

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, BANDS), tf.float32, "image")])
    def gated(image):
        x = tf.nn.relu(tf.nn.conv2d(image, one, 1, "SAME") + bias)
        x = x * tf.sigmoid(tf.reduce_mean(x, axis=(1, 2), keepdims=True))
        return tf.nn.softmax(tf.nn.conv2d(x, three, 1, "SAME"))

    for function, name in ((fixed, "tensorflow_fixed"), (gated, "tensorflow_gated")):
        tf2onnx.convert.from_function(
            function, input_signature=function.input_signature, opset=15, output_path=str(DATA / f"{name}.onnx")
        )
    tested = task(1, SIDE, 8)[0]
    expected |= {"tensorflow_fixed_values": tested, "tensorflow_fixed": fixed(tested).numpy()}


def with_scikit_learn(expected):
    """Classifiers of tables: a forest of single pixels, with a table of probabilities, and a perceptron of unrolled tiles."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(4)
    pixels = random.normal(5, 3, (4000, BANDS)).astype("f2").astype("f4")
    classes = (pixels[:, 0] > 5) * 2 + (pixels[:, 1] > pixels[:, 2]) + 10
    forest = RandomForestClassifier(12, max_depth=5, random_state=0).fit(pixels, classes)
    (DATA / "sklearn_pixels.onnx").write_bytes(to_onnx(forest, pixels[:1]).SerializeToString())
    expected |= {"sklearn_pixels_values": pixels[:400], "sklearn_pixels": forest.predict_proba(pixels[:400])}

    tiles = random.normal(size=(600, BANDS, 8, 8)) + random.normal(size=(600, BANDS, 1, 1))
    tiles = tiles.astype("f2").astype("f4")
    kinds = (tiles[:, 0].mean((1, 2)) > 0) * 2 + (tiles[:, 1].mean((1, 2)) > 0)
    rows = tiles.reshape(600, -1)
    perceptron = make_pipeline(StandardScaler(), MLPClassifier((12,), max_iter=60, random_state=0)).fit(rows, kinds)
    data = to_onnx(perceptron, rows[:1], options={"zipmap": False}).SerializeToString()
    (DATA / "sklearn_tiles.onnx").write_bytes(data)
    expected |= {"sklearn_tiles_values": tiles[:8], "sklearn_tiles": perceptron.predict_proba(rows[:8])}


def main():
    expected = {}
    with_keras(expected)
    with_tensorflow(expected)
    with_scikit_learn(expected)
    kept = {name: array.astype("f2" if name.endswith("_values") else "f4") for name, array in expected.items()}
    np.savez_compressed(DATA / "onnx_nets.npz", **kept)
    for path in [*sorted(DATA.glob("*.onnx")), DATA / "onnx_nets.npz"]:
        sys.stdout.write(f"{path.name} {path.stat().st_size:,}\n")


if __name__ == "__main__":
    main()
