"""The published checkpoints of TF-Slim's networks."""

from __future__ import annotations

import os
import pathlib
import shutil
import tarfile
import zlib

import keras

from models import slim
from tf_smoothadv import checks

URL = "http://download.tensorflow.org/models"
ARCHIVES = {
    "inception_v3": "inception_v3_2016_08_28",
    "adv_inception_v3": "adv_inception_v3_2017_08_18",
    "ens3_adv_inception_v3": "ens3_adv_inception_v3_2017_08_18",
    "ens4_adv_inception_v3": "ens4_adv_inception_v3_2017_08_18",
    "resnet_v2_50": "resnet_v2_50_2017_04_14",
    "inception_resnet_v2": "inception_resnet_v2_2016_08_30",
    "adv_inception_resnet_v2": "adv_inception_resnet_v2_2017_12_18",
    "ens_adv_inception_resnet_v2": "ens_adv_inception_resnet_v2_2017_08_18",
}


def download(network: str, url: str = URL, cache: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """The published checkpoint of a network, downloaded once.

    Args:
        network: one of ARCHIVES.
        url: where the archives lie.
        cache: folder to keep it in, by default Keras's own.

    Returns:
        The path of a V1 checkpoint or the prefix of a V2 one.

    Raises:
        ValueError: an unknown network, one that cannot be downloaded, or an archive without just one checkpoint.
    """
    checks.one_of("network", network, ARCHIVES)
    file = f"{ARCHIVES[network]}.tar.gz"
    try:
        archive = keras.utils.get_file(file, f"{url}/{file}", cache_subdir="slim", cache_dir=cache)
    except Exception as error:  # what Keras raises
        raise ValueError(f"cannot download the checkpoint of {network}: {error}") from error
    return unpack(pathlib.Path(archive))


def unpack(archive: pathlib.Path) -> pathlib.Path:
    """Unpacks NAME.tar.gz into a folder NAME beside it and returns the path or prefix of the checkpoint there.

    Of the archive only regular files are taken, by their last names: no link and no "../" leads out of the folder.

    Raises:
        ValueError: an archive that cannot be read, or one without just one checkpoint.
    """
    folder = archive.with_name(archive.name.removesuffix(".tar.gz"))
    folder.mkdir(exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                content = members.extractfile(member) if member.isfile() else None
                if content:
                    with open(folder / os.path.basename(member.name), "wb") as file:
                        shutil.copyfileobj(content, file)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"cannot unpack {archive}: {error}; delete it to download it again") from error
    checkpoints = slim.checkpoints(folder)
    if len(checkpoints) != 1:
        raise ValueError(f"{archive} must hold one checkpoint; it holds {len(checkpoints)}")
    return checkpoints.pop()
