"""Images from files, in batches."""

from tf_smoothadv.evaluation.data.dataset import DATASETS, SOURCES, Dataset, aimed, labelled_by, load

__all__ = ["DATASETS", "SOURCES", "Dataset", "aimed", "labelled_by", "load"]
