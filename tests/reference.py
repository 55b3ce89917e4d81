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
