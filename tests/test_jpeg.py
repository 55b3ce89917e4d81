from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tf_smoothadv as sa
from tf_smoothadv import criteria, jpeg, jpeg_search, jpeg_transform
from tf_smoothadv.attacks import ALMA, FMN, PGD2, CarliniWagner, NearestClasses, Standard
from tf_smoothadv.delivery import Delivery

pytest.importorskip("jpeglib")

SUBSAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
EACH_LATER = pytest.mark.parametrize(
    "subsampling", [pytest.param(name, marks=[pytest.mark.slow] * (name != "4:2:0")) for name in SUBSAMPLINGS]
)


def pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture with colours, edges and noise, also at the ends of the range, uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / period + columns / (9 - period)) for period in (3, 5, 7)]
    picture = 128 + 90 * np.stack(waves, axis=-1) + rng.normal(0, 20, (height, width, 3))
    picture[height // 2 :, width // 2 :] += 60
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def saved(picture: np.ndarray, quality: int = 90, subsampling: str = "4:4:4", **options) -> bytes:
    buffer = io.BytesIO()
    options = {"subsampling": SUBSAMPLINGS[subsampling], **options} if picture.ndim == 3 else options
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, **options)
    return buffer.getvalue()


def shown(content: bytes) -> np.ndarray:
    """What PIL makes of a file, uint8 [H, W, C]."""
    picture = np.array(Image.open(io.BytesIO(content)))
    return picture if picture.ndim == 3 else picture[..., np.newaxis]


def levels(images: tf.Tensor) -> np.ndarray:
    return np.round(255 * np.asarray(images, np.float64)).astype(np.uint8)


class Linear:
    """Logits [a, 0] with a linear in the pixels: class 0 above a threshold a little below the image's value."""

    def __init__(self, image: tf.Tensor, margin: float = 0.3, seed: int = 1) -> None:
        self.weights = tf.constant(np.random.default_rng(seed).normal(size=image.shape).astype(np.float32))
        self.threshold = tf.reduce_sum(self.weights * image) - margin

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        a = tf.reduce_sum(self.weights * x, axis=[1, 2, 3]) - self.threshold
        return tf.stack([a, tf.zeros_like(a)], axis=1)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize(
    ("height", "width"), [pytest.param(48, 64, marks=pytest.mark.slow), (33, 41), (16, 17), (57, 8)]
)
def test_decoding_is_that_of_libjpeg_to_the_last_bit(subsampling, height, width):
    for quality in (30, 75, 95, 100):
        content = saved(pixels(height, width, quality), quality, subsampling)
        decoded = levels(sa.Jpeg([content]).images[0])
        np.testing.assert_array_equal(decoded, shown(content))
        np.testing.assert_array_equal(decoded, tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE"))


def test_grey_files_have_one_channel():
    content = saved(pixels(20, 30)[..., 0])
    assert sa.Jpeg([content]).form == jpeg.Form(20, 30, (1, 1), 1)
    np.testing.assert_array_equal(levels(sa.Jpeg([content]).images[0]), shown(content))


def test_inverse_of_the_transform_is_the_integer_one_but_for_rounding():
    np.testing.assert_allclose(jpeg_transform.FORWARD @ jpeg_transform.FORWARD.T, np.eye(8), atol=1e-12)
    np.testing.assert_allclose(jpeg_transform.INVERSE / 8192, np.sqrt(8) * jpeg_transform.FORWARD.T, atol=2e-4)


@EACH_LATER
def test_an_unchanged_image_is_the_same_file(subsampling):
    """Also at quality 100, where the noise of rounding to bytes is as large as the steps."""
    for quality in (70, 100):
        content = saved(pixels(40, 50), quality, subsampling)
        files = sa.Jpeg([content])
        delivered = files.guided_by(files.images).delivered(files.images)
        np.testing.assert_array_equal(delivered.images, files.images)
        np.testing.assert_array_equal(shown(files.encode(delivered.code)[0]), shown(content))


@EACH_LATER
def test_what_was_searched_is_what_the_file_is_decoded_to(subsampling):
    files = sa.Jpeg([saved(pixels(40, 50, seed), 85, subsampling) for seed in range(2)])
    r = 0.03 * tf.random.stateless_normal(files.images.shape, [0, 1])
    delivered = files.guided_by(files.images).delivered(tf.clip_by_value(files.images + r, 0, 1))
    contents = files.encode(delivered.code)
    assert np.any(delivered.images != files.images)
    np.testing.assert_array_equal(levels(delivered.images), np.stack([shown(content) for content in contents]))


def distances(files, x, images):
    """||x - images||^2 of each block of chroma."""
    return jpeg._over_blocks(tf.reduce_sum((x - images) ** 2, -1), files.form.sampling).numpy()


@EACH_LATER
def test_no_block_moves_away_from_the_iterate(subsampling):
    """Each block of chroma is either as it was or nearer to what was wanted, with what is around it as it was."""
    files = sa.Jpeg([saved(pixels(48, 48), 85, subsampling)])
    x = tf.clip_by_value(files.images + 0.02 * tf.random.stateless_normal(files.images.shape, [0, 1]), 0, 1)
    moved = files.guided_by(files.images).delivered(x).images
    before, after = (distances(files, x, images) for images in (files.images, moved))
    assert after.sum() < before.sum()
    if subsampling == "4:4:4":  # of others, upsampling takes a little over the border of a block
        assert np.all(after <= before + 1e-6)


def test_a_coefficient_moves_once_it_is_half_a_step_away():
    """One step of one frequency of luminance, 40 bytes: nearer to twice 0.55 of it than to nothing, not to 0.45."""
    content = saved(np.full((8, 8, 3), 128, np.uint8), 50, qtables=[[40] * 64, [40] * 64])
    files = sa.Jpeg([content])
    wave = np.outer(jpeg_transform.FORWARD[2], jpeg_transform.FORWARD[1])[np.newaxis, ..., np.newaxis]
    for share, expected in ((0.45, 0), (0.55, 1)):
        x = files.images + tf.constant(share * 40 * wave / 255, tf.float32)
        luminance, *chroma = files.guided_by(files.images).delivered(x).code
        change = luminance.numpy() - files.guided_by(files.images).delivered(files.images).code[0].numpy()
        assert change[0, 0, 0, 2, 1] == expected
        assert np.abs(change).sum() == expected
        assert not any(np.any(plane.numpy()) for plane in chroma)


def kinds():
    """Files of each subsampling, and grey ones, and an iterate near them."""
    for name in (*SUBSAMPLINGS, "grey"):
        pictures = [pixels(21, 30, seed) for seed in range(2)]
        if name == "grey":
            files = sa.Jpeg([saved(picture[..., 0], 95) for picture in pictures])
        else:
            files = sa.Jpeg([saved(picture, 95, name) for picture in pictures])
        r = 0.02 * tf.random.stateless_normal(files.images.shape, [0, 1])
        yield files, tf.clip_by_value(files.images + r, 0, 1)


def test_a_search_comes_nearer_each_time_and_is_what_the_file_is_decoded_to():
    for files, x in kinds():
        nearest = found = files.delivered(x)
        for _ in range(3):
            before, found = found, files.searched(x, before=found.code)
            decoded = np.stack([shown(content) for content in files.encode(found.code)])
            np.testing.assert_array_equal(levels(found.images), decoded)
            assert tf.norm(x - found.images) <= tf.norm(x - before.images) + 1e-6
        assert tf.norm(x - found.images) < tf.norm(x - nearest.images)
        if files.form.sampling == (1, 1):
            assert np.all(distances(files, x, found.images) <= distances(files, x, nearest.images) + 1e-8)


def test_no_step_of_a_coefficient_leads_from_what_is_searched_nearer_to_the_iterate():
    """A block of grey, against the decoder itself: every step of every frequency, up and down."""
    files = sa.Jpeg([saved(pixels(8, 8)[..., 0], 97)])
    x = files.images + 0.01 * tf.random.stateless_normal(files.images.shape, [0, 5])
    found = files.searched(x)
    for _ in range(12):  # of 8 steps, among the 16 frequencies that promise most
        found = files.searched(x, before=found.code)
    plane = np.repeat(found.code[0].numpy().astype(np.float32), 1 + 2 * 64, axis=0).reshape(-1, 64)
    plane[1:65] += np.eye(64)
    plane[65:] -= np.eye(64)
    tables = tf.repeat(files.tensors()[0], len(plane), axis=0)
    images = jpeg._decoded((tf.reshape(plane, [-1, 1, 1, 8, 8]),), tables, tf.constant([8, 8]), (1, 1))
    distance = tf.reduce_sum((255 * (images - x)) ** 2, axis=[1, 2, 3]).numpy()
    np.testing.assert_array_equal(images[0], found.images[0])
    assert distance[0] == pytest.approx(distance.min(), abs=0.01)


def test_a_search_where_nothing_is_wanted_changes_nothing():
    for files, _ in kinds():
        found = files.delivered(files.images)
        again = files.searched(files.images, before=found.code)
        np.testing.assert_array_equal(again.images, files.images)
        for one, other in zip(found.code, again.code):
            np.testing.assert_array_equal(one, other)


def test_a_search_leaves_most_blocks_of_a_large_image(monkeypatch):
    """Those that r moves most are searched, of each image by itself."""
    files = sa.Jpeg([saved(pixels(32, 32, seed), 97) for seed in range(2)])
    r = tf.random.stateless_normal(files.images.shape, [0, 1]) * [[[[0.002]]], [[[0.02]]]]
    x = tf.clip_by_value(files.images + r, 0, 1)
    nearest = files.delivered(x)
    monkeypatch.setattr(jpeg_search, "MOST", 3)
    found = files.searched(x)
    changed = [np.any(one != other, axis=(3, 4)) for one, other in zip(nearest.code, found.code)]
    assert 0 < np.any(changed, axis=0)[1].sum() <= 3
    for index in range(2):
        alone = files.take(tf.constant([index]))
        by_itself = alone.searched(x[index : index + 1])
        np.testing.assert_array_equal(by_itself.images[0], found.images[index])


def held(r, subsampling):
    """What a file can hold of a perturbation [H, W, 3] but for its steps, a pixel at a time."""
    down, across = {"4:4:4": (1, 1), "4:2:2": (1, 2), "4:2:0": (2, 2)}[subsampling]
    ycc = np.einsum("ij,hwj->hwi", jpeg_transform.TO_YCC, r)
    for axis, factor in ((0, down), (1, across)):
        ycc = np.moveaxis(ycc, axis, 0)
        length, chroma = len(ycc), ycc[..., 1:]
        means = np.array([chroma[start : start + factor].mean(axis=0) for start in range(0, length, factor)])
        for pixel in range(length) if factor == 2 else ():
            nearer = pixel // 2
            further = np.clip(nearer + (1 if pixel % 2 else -1), 0, len(means) - 1)
            chroma[pixel] = 3 / 4 * means[nearer] + 1 / 4 * means[further]
        ycc = np.moveaxis(ycc, 0, axis)
    return np.einsum("ij,hwj->hwi", jpeg_transform.FROM_YCC, ycc)


@EACH_LATER
@pytest.mark.parametrize("size", [(33, 41), pytest.param((32, 48), marks=pytest.mark.slow)])
def test_pull_back_is_the_adjoint_of_what_a_file_can_hold(subsampling, size, rng):
    files = sa.Jpeg([saved(pixels(*size), 85, subsampling)])
    r, gradient = rng.normal(size=(2, *size, 3))
    forward = np.sum(gradient * held(r, subsampling))
    backward = np.sum(files.pull_back(tf.constant(gradient[np.newaxis], tf.float32)).numpy() * r)
    assert forward == pytest.approx(backward, rel=1e-4, abs=1e-3)


class Nearest(sa.Jpeg):
    """Delivers the nearest coefficients alone."""

    searched = Delivery.searched


@pytest.mark.parametrize("delivery", [Nearest, sa.Jpeg])
def test_linear_model_gets_the_coefficients_that_pay_most(delivery):
    """Of steps of one size, the least D for a linear margin takes the coefficients of the largest slope.

    A search finds fewer, where what a decoder rounds to bytes goes further than the coefficient.
    """
    content = saved(np.full((16, 16), 128, np.uint8), 50, qtables=[[16] * 64])
    files = delivery([content])
    model = Linear(files.images, margin=3.0)
    result = FMN(60, step_size=0.5, delivery=files)(model, files.images, [0])
    assert bool(result.success[0])
    slopes = jpeg._transformed(model.weights[..., 0]).numpy() * 16 / 255
    best = np.cumsum(np.sort(np.abs(slopes).ravel())[::-1])
    fewest = int(np.searchsorted(best, 3.0)) + 1
    changes = np.abs(result.code[0].numpy().astype(int)).sum()  # flat grey has none of its own
    assert 0 < changes <= 1.3 * fewest
    assert changes >= fewest or delivery is sa.Jpeg


def test_a_search_makes_the_least_perturbation_smaller_and_xla_does_without():
    distortions = []
    for compiled in (False, True):
        files = sa.Jpeg([saved(pixels(24, 32), 95)])
        network = Linear(files.images, margin=20.0)
        model = sa.Classifier(network).by_xla() if compiled else sa.Classifier(network)
        result = FMN(60, step_size=0.5, delivery=files)(model, files.images, [0])
        assert bool(result.success[0])
        np.testing.assert_array_equal(levels(result.adversarial[0]), shown(files.encode(result.code)[0]))
        distortions.append(float(result.distortion[0]))
    searched, nearest = distortions
    assert searched < 0.95 * nearest


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(PGD2(5.0, 2.0, 5, binary_search_steps=2), marks=pytest.mark.slow),
        CarliniWagner(20, 2, 0.05, initial_const=3.0),
        pytest.param(NearestClasses(ALMA(30), classes=1, candidates=1), marks=pytest.mark.slow),
        FMN(20, masking=sa.Masking(), smoothing=sa.Smoothing(0.9, 3.0, solver="cg", iterations=10)),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_every_attack_delivers_files(attack):
    files = sa.Jpeg([saved(pixels(24, 24, seed), 85, "4:2:0") for seed in range(2)])
    model = Linear(files.images[0])
    labels = np.argmax(model(files.images), 1)
    result = attack.replaced(delivery=files)(model, files.images, labels)
    assert result.success.numpy().all()
    contents = files.encode(result.code)
    decoded = np.stack([shown(content) for content in contents])
    np.testing.assert_array_equal(levels(result.adversarial), decoded)
    assert criteria.is_adversarial(model(tf.constant(decoded / np.float32(255))), labels).numpy().all()


@pytest.mark.slow
def test_standard_goes_on_with_some_of_the_files(rng):
    """Those that an epsilon is not decided of; in another order too, through the same compiled loop."""
    contents = [saved(pixels(16, 16, seed), 95) for seed in range(4)]
    weights = tf.constant(rng.normal(size=(16 * 16 * 3, 5)).astype(np.float32))

    def model(x):
        return tf.tanh(tf.reshape(x - 0.5, [-1, 16 * 16 * 3])) @ weights

    distortions = []
    for order in (contents, contents[::-1]):
        files = sa.Jpeg(order)
        labels = np.argmax(model(files.images), 1)
        result = Standard((0.1, 0.14, 0.2), delivery=files)(model, files.images, labels)
        assert len(set(result.gradients.numpy())) > 1
        decoded = np.stack([shown(content) for content in files.encode(result.code)])
        np.testing.assert_array_equal(levels(result.adversarial), decoded)
        assert criteria.is_adversarial(model(tf.constant(decoded / np.float32(255))), labels).numpy().all()
        distortions.append(result.distortion.numpy())
    np.testing.assert_allclose(distortions[0], distortions[1][::-1], rtol=1e-4)


def test_other_files_of_one_form_share_a_compiled_loop():
    first, second = (sa.Jpeg([saved(pixels(24, 24, seed), 85)]) for seed in range(2))
    model, traces = Linear(first.images), []

    def counted(x):
        traces.extend([x] if tf.is_symbolic_tensor(x) else [])
        return model(x)

    after = []
    for files in (first, second):
        result = FMN(5, delivery=files)(counted, files.images, np.argmax(model(files.images), 1))
        np.testing.assert_array_equal(levels(result.adversarial[0]), shown(files.encode(result.code)[0]))
        after.append(len(traces))
    assert after[0] == after[1] > 0


def test_metadata_stay_and_the_size_does():
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    content = saved(pixels(96, 128), 90, "4:2:0", exif=exif, icc_profile=b"profile", comment=b"a note", dpi=(300, 300))
    files = sa.Jpeg([content])
    x = tf.clip_by_value(files.images + 0.01 * tf.random.stateless_normal(files.images.shape, [0, 1]), 0, 1)
    (written,) = files.encode(files.guided_by(files.images).delivered(x).code)
    before, after = (Image.open(io.BytesIO(file)) for file in (content, written))
    assert after.info == before.info
    assert dict(after.getexif()) == dict(before.getexif())
    assert len(written) == pytest.approx(len(content), rel=0.05)


def test_progressive_files_become_sequential_ones():
    content = saved(pixels(40, 50), 85, "4:2:0", progressive=True)
    files = sa.Jpeg([content])
    (written,) = files.encode(files.guided_by(files.images).delivered(files.images).code)
    assert "progressive" not in Image.open(io.BytesIO(written)).info
    np.testing.assert_array_equal(shown(written), shown(content))


def test_bad_files_are_refused(tmp_path):
    good = saved(pixels(24, 24))
    cmyk = io.BytesIO()
    Image.fromarray(pixels(24, 24)).convert("CMYK").save(cmyk, "JPEG")
    png = io.BytesIO()
    Image.fromarray(pixels(24, 24)).save(png, "PNG")
    for files, message in (
        ([], "needs at least one file; received none"),
        ([tmp_path / "none.jpg"], "none.jpg: No such file"),
        ([png.getvalue()], "is no JPEG file"),
        ([good[:200]], "cannot read the JPEG file"),
        ([cmyk.getvalue()], "must be grey or of YCbCr; it has 4 planes"),
        ([good, saved(pixels(24, 32))], "must be like the JPEG file"),
        ([good, saved(pixels(24, 24), 90, "4:2:0")], "must be like the JPEG file"),
    ):
        with pytest.raises(ValueError, match=message):
            sa.Jpeg(files)


def test_images_that_are_not_those_of_the_files_are_refused():
    files = sa.Jpeg([saved(pixels(24, 24, seed)) for seed in range(2)])
    for images in (files.images[:1], files.images[::-1], files.images * 0.999):
        for attack in (FMN(2), NearestClasses(FMN(2), classes=1, candidates=1)):
            with pytest.raises(ValueError, match="images must be those of the files of delivery="):
                attack.replaced(delivery=files)(Linear(files.images[0]), images, [0] * len(images))
