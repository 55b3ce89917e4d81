"""Images from files, in batches."""

from tf_smoothadv.evaluation.data.dataset import DATASETS, SOURCES, Dataset, labelled_by, load
from tf_smoothadv.evaluation.data.targets import aimed

__all__ = ["DATASETS", "SOURCES", "Dataset", "aimed", "labelled_by", "load"]
