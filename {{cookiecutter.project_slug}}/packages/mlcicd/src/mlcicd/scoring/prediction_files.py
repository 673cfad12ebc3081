"""Writer for the predictions of ``ml predict``: Parquet, CSV or tab-separated text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from mlcicd.core.errors import InputError
from mlcicd.system.marks import MADE_BY

TEXT = re.compile(r"\.(csv|tsv|tab)(\.gz)?$", re.IGNORECASE)
PARQUET = re.compile(r"\.(parquet|pq|parq)$", re.IGNORECASE)


class PredictionsWriter:
    """Writes predictions in parts to ``path``, in the format of the suffix of ``name``. Close it to finish the file.

    Raises
    ------
    InputError
        The suffix names no supported format.
    """

    def __init__(self, name: Path, path: Path) -> None:
        self.text = TEXT.search(name.name)
        if name.suffix and not self.text and not PARQUET.search(name.name):
            raise InputError(f"--out {name}: end the name in .parquet, .csv, .csv.gz or .tsv")
        self.path = path
        self.writer: Any = None
        self.sink: Any = None

    def write(self, part: pd.DataFrame) -> None:
        """Append rows; the first ones fix the columns and their types."""
        import pyarrow as pa

        if self.writer is None:
            schema = pa.Schema.from_pandas(part, preserve_index=False)
            self._open(schema.with_metadata((schema.metadata or {}) | {"made_by": MADE_BY}))
        self.writer.write_table(pa.Table.from_pandas(part, self.writer_schema, preserve_index=False))

    def _open(self, schema: Any) -> None:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet

        self.writer_schema = schema
        if not self.text:
            self.writer = pa.parquet.ParquetWriter(self.path, schema)
            return
        place = str(self.path)
        self.sink = pa.CompressedOutputStream(place, "gzip") if self.text[2] else pa.OSFile(place, "wb")
        delimiter = "," if self.text[1].lower() == "csv" else "\t"
        self.writer = pa.csv.CSVWriter(self.sink, schema, write_options=pa.csv.WriteOptions(delimiter=delimiter))

    def close(self) -> None:
        """Finish the file, if any rows were written."""
        for opened in (self.writer, self.sink):
            if opened is not None:
                opened.close()
        self.writer = self.sink = None
