"""Trains C4 on MNIST, cleanly or adversarially, and writes its weights and model card.

    python -m models.train --training=clean
    python -m models.train --training=adversarial

Adversarial training is that of Kurakin et al. 2017 (https://arxiv.org/abs/1611.01236): half of every batch is replaced
by examples of a one-step method against the network as it is at that step, epsilon drawn for each image from a normal
distribution of deviation epsilon / 2, cut at epsilon.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl.flags import DEFINE_enum, DEFINE_float, DEFINE_integer, DEFINE_string, FlagValues

import tf_smoothadv as sa
from models import console
from models.c4 import NAMES, WEIGHTS, c4
from tf_smoothadv.evaluation.data import mnist
from tf_smoothadv.evaluation.records import output_folder

FLAGS = FlagValues()
DEFINE_enum("training", "clean", NAMES, "What the network is trained on.", flag_values=FLAGS)
DEFINE_enum(
    "method",
    "step_ll",
    ["step_ll", "fgsm"],
    "One-step method of adversarial training: a step towards the least likely class, or away from the label.",
    flag_values=FLAGS,
)
DEFINE_float(
    "epsilon",
    0.3,
    "Largest change of a pixel in adversarial training, for pixels in [0, 1].",
    lower_bound=0.0,
    upper_bound=1.0,
    flag_values=FLAGS,
)
DEFINE_string(
    "data", mnist.DOWNLOAD, "A file mnist.npz in Keras's form, or 'download' for Keras's own copy.", flag_values=FLAGS
)
DEFINE_integer("epochs", 12, "Passes over the 60,000 training images.", lower_bound=1, flag_values=FLAGS)
DEFINE_integer("batch_size", 128, "Images a step.", lower_bound=2, flag_values=FLAGS)
DEFINE_float("learning_rate", 1e-3, "Adam's, falling to zero along half a cosine.", lower_bound=0.0, flag_values=FLAGS)
DEFINE_integer("seed", 0, "Of the initial weights, the order of the images and the epsilons.", flag_values=FLAGS)
DEFINE_string(
    "output", str(WEIGHTS), "Folder for the weights (.weights.h5) and the model card (.md).", flag_values=FLAGS
)

CARD = """# C4, {training} training

| | |
|---|---|
| network | C4 of "Smooth Adversarial Examples" (2019), section 5.2; {parameters:,} parameters, logits |
| input | [B, 28, 28, 1] in [0, 1] |
| data | MNIST (LeCun, Cortes, Burges), all 60,000 training images |
| training | {description} |
| optimiser | Adam, learning rate {learning_rate:g} falling to 0 along half a cosine, batches of {batch_size} |
| epochs | {epochs} |
| seed | {seed} |
| versions | TensorFlow {tensorflow}, Keras {keras} |
| accuracy | {accuracy:.4f} on the 10,000 test images |

Made by `python -m models.train --training={training} --epochs={epochs} --seed={seed}`. For research on adversarial
examples; not a digit recogniser to build on.
"""

SMALLEST = 1e-6  # change of a pixel


class AdversarialTraining(keras.Model):
    """Trains `network` with half of every batch replaced by adversarial examples of the network itself."""

    def __init__(self, network: keras.Model, method: str, epsilon: float) -> None:
        super().__init__()
        self.network = network
        self._method = method
        self._epsilon = epsilon

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.network(images, training=training)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        images, labels = data
        half = tf.shape(images)[0] // 2
        attacked = self._adversarial(images[:half], labels[:half])
        logs: dict[str, Any] = super().train_step((tf.concat([attacked, images[half:]], 0), labels))
        return logs

    def _adversarial(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        drawn = tf.abs(tf.random.truncated_normal(tf.shape(labels), stddev=self._epsilon / 2))
        epsilon = tf.maximum(drawn, SMALLEST)  # epsilon is above 0
        targets = None
        if self._method == "step_ll":
            targets = tf.argmin(self.network(images, training=False), axis=1, output_type=tf.int32)
        return sa.attacks.FGSM(epsilon)(self.network, images, labels, targets).adversarial


def main() -> None:
    """Trains what the flags say."""
    keras.utils.set_random_seed(FLAGS.seed)
    train, test = mnist.load(FLAGS.data)
    folder = output_folder(FLAGS.output)
    network = c4(weights=None)
    trained = network
    if FLAGS.training == "adversarial":
        trained = AdversarialTraining(network, FLAGS.method, FLAGS.epsilon)
    steps = FLAGS.epochs * -(-len(train[0]) // FLAGS.batch_size)
    trained.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    trained.fit(*train, batch_size=FLAGS.batch_size, epochs=FLAGS.epochs, validation_data=test, verbose=2)
    predictions = np.argmax(network.predict(test[0], batch_size=500, verbose=0), axis=1)
    accuracy = float(np.mean(predictions == test[1]))

    saved = c4(weights=None)  # without the optimiser's variables
    saved.set_weights(network.get_weights())
    saved.save_weights(folder / f"c4_{FLAGS.training}.weights.h5")
    (folder / f"c4_{FLAGS.training}.md").write_text(
        CARD.format(
            training=FLAGS.training,
            parameters=network.count_params(),
            description=description(),
            learning_rate=FLAGS.learning_rate,
            batch_size=FLAGS.batch_size,
            epochs=FLAGS.epochs,
            seed=FLAGS.seed,
            tensorflow=tf.__version__,
            keras=keras.__version__,
            accuracy=accuracy,
        )
    )
    print(f"test accuracy {accuracy:.4f}; weights and model card in {folder}")


def description() -> str:
    """The training in words, for the model card."""
    if FLAGS.training == "clean":
        return "clean images only"
    methods = {
        "step_ll": "a step towards the least likely class (step l.l.)",
        "fgsm": "a step away from the label (FGSM)",
    }
    return (
        f"half of each batch adversarial by {methods[FLAGS.method]}, "
        f"epsilon from a normal distribution of deviation {FLAGS.epsilon / 2:g} cut at {FLAGS.epsilon:g}"
    )


if __name__ == "__main__":
    console.run(main, FLAGS)
