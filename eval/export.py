"""Results as one table, for pandas, R, a spreadsheet or a database: a row an image and attack.

    python -m eval.export results/white_box                          results/white_box/results.parquet
    python -m eval.export results/study                              all runs of a study
    python -m eval.export --format=csv results/c4 results/scratch    several runs, results/c4/results.csv
    python -m eval.export --kind=transfer results/transfer           the records of eval.transfer

From Python the same table is tf_smoothadv.load_results("results/study"), whose documentation tells the columns. Needs
pandas and pyarrow: pip install 'tf_smoothadv[results]'.
"""

from __future__ import annotations

import pathlib

from absl.flags import DEFINE_enum, DEFINE_string

from eval import flags
from models import console
from tf_smoothadv.evaluation import dataframe

FLAGS = flags.values()
DEFINE_enum("format", "parquet", dataframe.FORMATS, "Of the file; parquet keeps the types.", flag_values=FLAGS)
DEFINE_enum("kind", dataframe.WHITE_BOX, dataframe.KINDS, "Of the results that are taken.", flag_values=FLAGS)
DEFINE_string("output", None, "The file to write; by default results.FORMAT in the first folder.", flag_values=FLAGS)


def main(folders: list[str]) -> None:
    """Writes the table of the folders."""
    try:
        table = dataframe.load_results(*folders, kind=FLAGS.kind)
        path = pathlib.Path(FLAGS.output or f"{folders[0]}/results.{FLAGS.format}")
        dataframe.write(table, path, FLAGS.format)
    except ImportError as error:
        raise ValueError(str(error)) from error
    print(f"{len(table)} rows, {len(table.columns)} columns: {path}")


if __name__ == "__main__":
    console.run(main, FLAGS)
