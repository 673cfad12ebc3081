"""Which files of a pull request can change how its review is made, and which are what the review is about.

The review runs the pull request's machinery and environment, so whatever is not known to be harmless counts as one that
can: settings of the environment, code that Python runs by itself, modules that take the place of a library.
"""

import re
import sys
import tomllib

from machinery import PACKAGE, ROOT

# Data, settings, words, and the code that is under review itself.
SUBJECT = re.compile(
    rf"(data|docs|monitoring)/.+|(contract|params)\.yaml|[^/]+\.md|LICENSE|tests/test_\w+\.py"
    rf"|src/{re.escape(PACKAGE)}/(?!__init__\.py$)[^.]+\.py"
)
BESIDE = re.compile(r"src/(\w+)\.py")
# Found and imported by Python, or by a library where it is installed: a file of this name in `src` would run.
OPTIONAL = set(
    """
adbc_driver_manager annotationlib array_api_compat botocore bottleneck bs4 cairo cairocffi catboost cffi chardet
colorama cryptography cupy cupyx cython dask distributed docutils dotenv email_validator fastparquet fsspec gi html5lib
ipykernel IPython jax lightgbm lxml lz4 mpmath ndonnx numba numexpr numpydoc odf openpyxl OpenSSL optuna plotly polars
pooch psutil pyamg pyiceberg PyQt5 PyQt6 pyreadstat PySide2 PySide6 python_calamine pytz pyxlsb qtpy quantile_forest
scikits seaborn sentence_transformers setuptools simplejson sitecustomize skorch sksparse sparse sphinx sqlalchemy sympy
tables tabulate toml tomli torch tornado traitlets uarray usercustomize viztracer wx xarray xgboost xlrd xlsxwriter yaml
sklearn zstandard
""".split()  # noqa: SIM905 - readable, and a hundred lines shorter
)


def can_change_the_review(name: str) -> bool:
    """Whether a changed file of this name may have a hand in what the review says."""
    beside = BESIDE.fullmatch(name)
    return beside[1] in imported() if beside else not SUBJECT.fullmatch(name)


def imported() -> set[str]:
    """Names of modules that Python or a library may import."""
    lock = ROOT / "uv.lock"
    locked = tomllib.loads(lock.read_text(encoding="utf-8")).get("package", []) if lock.is_file() else []
    return {*OPTIONAL, *sys.stdlib_module_names, *(str(package["name"]).replace("-", "_") for package in locked)}
