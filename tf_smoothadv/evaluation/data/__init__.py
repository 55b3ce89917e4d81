"""Images from files, in batches."""

from tf_smoothadv.evaluation.data.dataset import DATASETS, Dataset, labelled_by, load

__all__ = ["DATASETS", "Dataset", "labelled_by", "load"]
