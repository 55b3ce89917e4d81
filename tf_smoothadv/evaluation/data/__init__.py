"""Images from files, in batches."""

from tf_smoothadv.evaluation.data.dataset import DATASETS, SOURCES, Dataset, Images, alike, labelled_by, load, prepared
from tf_smoothadv.evaluation.data.targets import aimed

__all__ = ["DATASETS", "SOURCES", "Dataset", "Images", "aimed", "alike", "labelled_by", "load", "prepared"]
