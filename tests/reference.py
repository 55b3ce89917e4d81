"""The paper's definitions written out pixel by pixel, to compare the library with."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

import tf_smoothadv as sa


def adjacency(image: np.ndarray, spec: sa.Smoothing) -> scipy.sparse.csc_matrix:
    """The normalised adjacency of section 3 of one image [H, W, C], all channels in one graph; float64."""
    height, width, _ = image.shape
    w = scipy.sparse.lil_matrix((height * width, height * width))
    for i in range(height):
        for j in range(width):
            for k, m in ((i, j + 1), (i + 1, j)):
                if k < height and m < width:
                    distance = np.linalg.norm(image[i, j] - image[k, m])
                    power = 1 if spec.kernel == "laplacian" else 2
                    weight = np.exp(-spec.gamma * distance**power)
                    w[i * width + j, k * width + m] = w[k * width + m, i * width + j] = weight
    degree = np.asarray(w.sum(axis=1)).ravel()
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    return scipy.sparse.csc_matrix(scipy.sparse.diags(scale) @ w @ scipy.sparse.diags(scale))


def laplacian(image: np.ndarray, spec: sa.Smoothing) -> scipy.sparse.csc_matrix:
    """L_alpha = (I - alpha W) / (1 - alpha)."""
    w = adjacency(image, spec)
    return scipy.sparse.csc_matrix((scipy.sparse.eye(w.shape[0]) - spec.alpha * w) / (1 - spec.alpha))


def smoothed(image: np.ndarray, z: np.ndarray, spec: sa.Smoothing) -> np.ndarray:
    """s(z) of (8) for one image and signal [H, W, C]."""
    if spec.color == "per_channel":
        channels = [(image[..., c : c + 1], z[..., c : c + 1]) for c in range(image.shape[-1])]
        joint = sa.Smoothing(spec.alpha, spec.gamma, spec.kernel)
        return np.concatenate([smoothed(one, signal, joint) for one, signal in channels], axis=-1)
    columns = z.reshape(-1, z.shape[-1])
    return scipy.sparse.linalg.spsolve(laplacian(image, spec), columns).reshape(z.shape)


def bilateral(
    signal: np.ndarray, guide: np.ndarray, sigma_space: float, sigma_range: float, radius: int, color: str = "joint"
) -> np.ndarray:
    """The guided bilateral filter of one signal [H, W, C], the window cut at the border; float64."""
    if color == "per_channel":
        channels = [(signal[..., c : c + 1], guide[..., c : c + 1]) for c in range(signal.shape[-1])]
        return np.concatenate([bilateral(*pair, sigma_space, sigma_range, radius) for pair in channels], axis=-1)
    height, width, _ = signal.shape
    rows, columns = np.mgrid[:height, :width]
    result = np.zeros(signal.shape)
    for i in range(height):
        for j in range(width):
            window = np.s_[max(i - radius, 0) : i + radius + 1, max(j - radius, 0) : j + radius + 1]
            far = ((rows[window] - i) ** 2 + (columns[window] - j) ** 2) / (2 * sigma_space**2)
            unlike = np.sum((guide[window] - guide[i, j]) ** 2, axis=-1) / (2 * sigma_range**2)
            weights = np.exp(-far - unlike)[..., np.newaxis]
            result[i, j] = np.sum(weights * signal[window], axis=(0, 1)) / np.sum(weights)
    return result


def magnified(image: np.ndarray, beta: float, sigma_space: float, sigma_range: float, radius: int) -> np.ndarray:
    """(22) for one image [H, W, C]; float64."""
    deviation = image - bilateral(image, image, sigma_space, sigma_range, radius)
    local = np.sqrt(bilateral(deviation**2, image, sigma_space, sigma_range, radius))
    return deviation / (beta * local + (1 - beta) * np.std(image, axis=(0, 1)))
