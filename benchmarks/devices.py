"""What several devices and XLA bring: seconds of one attack on a batch, taken in turns.

    python -m benchmarks.devices                                          C4, as --jit_compile says yes or no
    python -m benchmarks.devices --devices=2 --batch=400                  over two GPUs, or two logical CPU devices
    python -m benchmarks.devices --model=net.keras --shape=224,224,3 --batch=64

Where there is no GPU, the devices are logical ones of the CPU and share its cores: then it shows what it costs to
spread a batch. Prints a row a way: median seconds, and the ratio to one device without XLA with its quartiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf
from absl.flags import DEFINE_integer, DEFINE_list, DEFINE_string, FlagValues

import models
import tf_smoothadv as sa
from benchmarks import timing
from models import console
from tf_smoothadv.evaluation import devices

FLAGS = FlagValues()
DEFINE_string("model", "c4", "The network, as eval.white_box takes it.", flag_values=FLAGS)
DEFINE_list("shape", ["28", "28", "1"], "Of its images: height, width, channels.", flag_values=FLAGS)
DEFINE_integer("batch", 64, "Images in the batch.", lower_bound=1, flag_values=FLAGS)
DEFINE_integer("devices", 1, "GPUs, or logical CPU devices.", lower_bound=1, flag_values=FLAGS)
DEFINE_integer("steps", 20, "Of the attack, FMN.", lower_bound=1, flag_values=FLAGS)
DEFINE_integer("rounds", 9, "How often each way has its turn.", lower_bound=1, flag_values=FLAGS)

ONE, XLA = "one device", "one device, XLA"


def main() -> None:
    """Times the ways to attack one batch."""
    strategy = devices.strategy(FLAGS.devices)
    with strategy.scope():
        spread = sa.Classifier.of(models.load(FLAGS.model))
    alone = sa.Classifier.of(models.load(FLAGS.model))
    shape = [FLAGS.batch, *map(int, FLAGS.shape)]
    count = math.prod(shape)
    images = tf.reshape(tf.random.stateless_uniform([count], seed=[0, 0]), shape)
    labels = tf.argmax(alone(images), axis=1, output_type=tf.int32)
    attack = sa.attacks.FMN(steps=FLAGS.steps)

    def over(model: sa.Classifier) -> Callable[[], sa.AttackResult]:
        def run() -> sa.AttackResult:
            with strategy.scope():
                return attack(model, images, labels)

        return run

    ways = {ONE: lambda: attack(alone, images, labels), XLA: lambda: attack(alone.by_xla(), images, labels)}
    if FLAGS.devices > 1:
        ways |= {f"{FLAGS.devices} devices": over(spread), f"{FLAGS.devices} devices, XLA": over(spread.by_xla())}
    times = timing.interleaved(ways, FLAGS.rounds)
    for name, taken in times.items():
        ratio = taken.over(times[ONE])
        print(f"{name:20} {taken.median:8.3f} s   {ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})")


if __name__ == "__main__":
    console.run(main, FLAGS)
