"""Great Expectations beside checks by hand on the table of `table8.py`; prints rows, both seconds and the ratio.

uv run --no-project --with great-expectations benchmarks/gx.py [ROWS]     1 million rows by default
"""

from __future__ import annotations

import sys

import great_expectations as gx
import pandas as pd
import table8
from great_expectations import expectations as gxe
from stopwatch import fastest


def main(rows: int) -> None:
    """Build the suite once; only the validation of a table that is in memory counts."""
    frame = table8.make(rows)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("table")
    batch = asset.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    rules = [
        *(gxe.ExpectColumnValuesToNotBeNull(column=name) for name in table8.REQUIRED),
        *(gxe.ExpectColumnValuesToBeBetween(column=name, min_value=0, max_value=100) for name in table8.BOUNDED),
        gxe.ExpectColumnValuesToBeUnique(column="id"),
        gxe.ExpectColumnValuesToBeInSet(column="d", value_set=table8.LETTERS),
        gxe.ExpectColumnValuesToMatchRegex(column="e", regex=table8.DIGITS),
        gxe.ExpectColumnValuesToBeBetween(column="f", min_value=pd.Timestamp(table8.FIRST_DAY)),
    ]
    suite = gx.ExpectationSuite(name="suite", expectations=rules)

    def validate() -> None:
        found = batch.validate(suite)
        if not found.success:
            sys.exit(f"a rule is broken: {found}"[:3000])

    hand, theirs = fastest(lambda: table8.by_hand(frame), 3), fastest(validate, 2)
    print(f"| {rows:,} rows × 8 columns | by hand, s | Great Expectations, s | ratio |\n|---|--:|--:|--:|")
    print(f"| all rows good | {hand:.2f} | {theirs:.2f} | {theirs / hand:.2f} |")


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["1_000_000"])[0].replace("_", "")))
