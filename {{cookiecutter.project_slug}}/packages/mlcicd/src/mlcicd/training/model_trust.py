"""What a model file may name: exact names, by their use, so that neither loading nor predicting runs code.

A skops file is a tree of nodes. Each node says how it is rebuilt (its loader) and names a class or a function. A class
is trusted as the type of an object, never as something to call; a function is trusted if it only computes.
``model_contents`` checks what names cannot show.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import numpy as np

from mlcicd.core import project

PROTOCOL = 2  # skops reads older files with older rules, which are not checked here


class RefusedError(Exception):
    """A model file names, holds or would become something that is not trusted; the message says what."""


def _names(module: str, names: str) -> frozenset[str]:
    return frozenset(f"{module}.{name}" for name in names.split())


SCALARS = frozenset(f"numpy.{kind.__name__}" for kind in set(np.sctypeDict.values()) if kind is not np.void)
# How a node is rebuilt → the types that it may have.
DATA = {
    "JsonNode": _names("builtins", "str"),
    "DictNode": _names("builtins", "dict")
    | _names("collections", "OrderedDict Counter")
    | {"sklearn.utils._bunch.Bunch"},
    "DefaultDictNode": _names("collections", "defaultdict"),
    "ListNode": _names("builtins", "list"),
    "SetNode": _names("builtins", "set"),
    "TupleNode": _names("builtins", "tuple"),
    "SliceNode": _names("builtins", "slice"),
    "BytesNode": _names("builtins", "bytes"),
    "BytearrayNode": _names("builtins", "bytearray"),
    "TypeNode": _names("builtins", "str int float bool list dict set tuple") | SCALARS,
    "DTypeNode": _names("numpy", "dtype"),
    "NdArrayNode": SCALARS | {"numpy.ndarray"},
    "MaskedArrayNode": _names("numpy.ma", "MaskedArray") | _names("numpy.ma.core", "MaskedArray"),
    "RandomStateNode": _names("numpy.random.mtrand", "RandomState"),
    "RandomGeneratorNode": _names("numpy.random._generator", "Generator"),
    "SparseMatrixNode": frozenset(
        f"scipy.sparse._{kind}.{kind}_{form}"
        for kind in ("csr", "csc", "coo", "bsr", "dia")
        for form in ("matrix", "array")
    ),
    "TreeNode": _names("sklearn.tree._tree", "Tree"),
    "LossNode": _names(
        "sklearn._loss._loss",
        "CyAbsoluteError CyExponentialLoss CyHalfBinomialLoss CyHalfGammaLoss CyHalfMultinomialLoss CyHalfPoissonLoss "
        "CyHalfSquaredError CyHalfTweedieLoss CyHalfTweedieLossIdentity CyHuberLoss CyPinballLoss",
    )
    | _names(
        "sklearn.linear_model._sgd_fast",
        "Classification EpsilonInsensitive Hinge Huber Log ModifiedHuber Regression SquaredEpsilonInsensitive "
        "SquaredHinge SquaredLoss",
    ),
    "ConstructorFromReduceNode": _names("builtins", "frozenset range")
    | _names("datetime", "date datetime time timedelta timezone")
    | _names("zoneinfo", "ZoneInfo"),
    "PartialNode": _names("functools", "partial"),
}
DISTANCES = ["BrayCurtis", "Canberra", "Chebyshev", "Euclidean", "Hamming", "Haversine", "Mahalanobis", "Manhattan"]
DISTANCES += ["Minkowski", "SEuclidean"]
# What fitted estimators are made of beside the estimators that scikit-learn exports.
PARTS = (
    _names(
        "sklearn._loss.loss",
        "AbsoluteError ExponentialLoss HalfBinomialLoss HalfGammaLoss HalfMultinomialLoss HalfPoissonLoss "
        "HalfSquaredError HalfTweedieLoss HalfTweedieLossIdentity HuberLoss PinballLoss",
    )
    | _names(
        "sklearn._loss.link",
        "HalfLogitLink IdentityLink Interval LogitLink LogLink MultinomialLogit SymmetricMultinomialLogit",
    )
    | _names("sklearn.calibration", "_CalibratedClassifier _SigmoidCalibration _TemperatureScaling")
    | _names("sklearn.cluster._bisect_k_means", "_BisectingTree")
    | _names("sklearn.compose._column_transformer", "make_column_selector")
    | _names("sklearn.ensemble._hist_gradient_boosting.binning", "_BinMapper")
    | _names("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor")
    | _names("sklearn.gaussian_process._gpc", "_BinaryGaussianProcessClassifierLaplace")
    | _names(
        "sklearn.gaussian_process.kernels",
        "CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation Hyperparameter Matern PairwiseKernel "
        "Product RBF RationalQuadratic Sum WhiteKernel",
    )
    | frozenset(f"sklearn.metrics._dist_metrics.{name}Distance{size}" for name in DISTANCES for size in ("", 32, 64))
    | _names("sklearn.metrics._scorer", "_CurveScorer _PassthroughScorer _Scorer")
    | _names(
        "sklearn.model_selection._split",
        "GroupKFold GroupShuffleSplit KFold LeaveOneGroupOut LeaveOneOut RepeatedKFold RepeatedStratifiedKFold "
        "ShuffleSplit StratifiedGroupKFold StratifiedKFold StratifiedShuffleSplit TimeSeriesSplit",
    )
    | _names("sklearn.multiclass", "_ConstantPredictor")
    | _names("sklearn.neighbors._ball_tree", "BallTree BallTree32 BallTree64")
    | _names("sklearn.neighbors._kd_tree", "KDTree KDTree32 KDTree64")
    | _names("sklearn.neural_network._stochastic_optimizers", "AdamOptimizer SGDOptimizer")
    | _names("sklearn.utils._metadata_requests", "MetadataRequest MethodMetadataRequest")
    | _names("scipy.interpolate._bsplines", "BSpline")
    | _names("scipy.interpolate._interpolate", "interp1d")
    | _names("pandas.api.typing", "NaTType")
)
# Not skrub's encoders that fetch a model from elsewhere, nor its data ops, which call whatever they are told to.
SKRUB = (
    _names("skrub._apply_to_cols", "ApplyToCols")
    | _names("skrub._apply_to_each_col", "ApplyToEachCol")
    | _names("skrub._apply_to_sub_frame", "ApplyToSubFrame")
    | _names("skrub._check_input", "CheckInputDataFrame")
    | _names("skrub._clean_categories", "CleanCategories")
    | _names("skrub._clean_null_strings", "CleanNullStrings")
    | _names("skrub._datetime_encoder", "DatetimeEncoder _CircularEncoder _SplineEncoder")
    | _names("skrub._drop_similar", "DropSimilar")
    | _names("skrub._drop_uninformative", "DropUninformative")
    | _names("skrub._duration_to_float", "DurationToFloat")
    | _names("skrub._gap_encoder", "GapEncoder")
    | _names("skrub._minhash_encoder", "MinHashEncoder")
    | _names("skrub._select_cols", "Drop DropCols SelectCols")
    | _names("skrub._similarity_encoder", "SimilarityEncoder")
    | _names("skrub._squashing_scaler", "SquashingScaler")
    | _names("skrub._string_encoder", "StringEncoder")
    | _names("skrub._table_vectorizer", "Cleaner PassThrough ShortReprDict TableVectorizer")
    | _names("skrub._to_categorical", "ToCategorical")
    | _names("skrub._to_datetime", "ToDatetime")
    | _names("skrub._to_float", "ToFloat")
    | _names("skrub._to_str", "ToStr")
    | _names("skrub._utils", "LRUDict")
    | _names("skrub.selectors._base", "All And Cols Filter Inv NameFilter Or Sub XOr")
)
BOOSTERS = (
    _names("lightgbm.sklearn", "LGBMClassifier LGBMRanker LGBMRegressor")
    | _names("lightgbm.basic", "Booster")
    | _names("xgboost.sklearn", "XGBClassifier XGBRFClassifier XGBRFRegressor XGBRanker XGBRegressor")
    | _names("xgboost.core", "Booster")
    | _names("catboost.core", "CatBoostClassifier CatBoostRanker CatBoostRegressor")
)
# Functions that compute and do nothing else. Elementwise functions of numpy and scipy are known by their kind.
FUNCTIONS = (
    _names("numpy", "abs clip mean median nan_to_num round")
    | _names("scipy._lib.array_api_compat.numpy._aliases", "asarray")
    | _names("sklearn.cluster._kmeans", "_kmeans_single_elkan _kmeans_single_lloyd")
    | _names("sklearn.feature_selection._mutual_info", "mutual_info_classif mutual_info_regression")
    | _names("sklearn.feature_selection._univariate_selection", "chi2 f_classif f_oneway f_regression r_regression")
    | _names(
        "sklearn.metrics._classification",
        "accuracy_score balanced_accuracy_score brier_score_loss f1_score fbeta_score jaccard_score log_loss "
        "matthews_corrcoef precision_score recall_score",
    )
    | _names("sklearn.metrics._ranking", "average_precision_score roc_auc_score")
    | _names(
        "sklearn.metrics._regression",
        "explained_variance_score mean_absolute_error mean_squared_error r2_score root_mean_squared_error",
    )
    | _names("sklearn.utils.validation", "check_array")
    | _names(
        "skrub._dataframe._common",
        "is_any_date is_bool is_categorical is_duration is_float is_integer is_numeric is_object is_string",
    )
    | _names("skrub._table_vectorizer", "_created_by_predicate")
    | _names("skrub.selectors._selectors", "_cardinality_below _has_dtype _null_count_check")
)


def named(schema: dict[str, Any]) -> list[str]:
    """Return every name in a skops file's schema, all of them trusted.

    Raises
    ------
    RefusedError
        One is not, or the file was written by another version of skops.
    """
    if schema.get("protocol") != PROTOCOL or isinstance(schema.get("protocol"), bool):
        raise RefusedError(f"skops protocol {str(schema.get('protocol'))[:20]!r}, not {PROTOCOL}; train the run again")
    found: set[tuple[str, str, str]] = set()
    for node in nodes(schema):
        loader, module, item = node["__loader__"], node.get("__module__"), node.get("__class__")
        if not (isinstance(loader, str) and isinstance(module, str) and isinstance(item, str)):
            raise RefusedError("a part without a name")
        found.add((loader, module, item))
    for parts in sorted(found):
        if not _trusted(*parts):
            raise RefusedError(_describe(*parts))
    return sorted({f"{module}.{item}" for _, module, item in found})


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield each node of a skops schema."""
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if "__loader__" in found:
                yield found
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)


def _describe(loader: str, module: str, item: str) -> str:
    shown = f"{module}.{item}"[:120]
    if loader == "FunctionNode":
        return f"the function {shown}"
    if loader == "TypeNode":
        return f"{shown} as something to call"
    return shown if loader in ("ObjectNode", "ConstructorFromReduceNode") else f"{shown} ({ascii(loader)[1:41]})"


def _trusted(loader: str, module: str, item: str) -> bool:
    name = f"{module}.{item}"
    if loader == "FunctionNode":
        return name in FUNCTIONS or _elementwise(module, item) or isinstance(_yours(module, item), FunctionType)
    if loader == "ObjectNode":
        return (
            name in PARTS
            or name in SKRUB
            or name in BOOSTERS
            or _exported_estimator(module, item)
            or isinstance(_yours(module, item), type)
        )
    return name in DATA.get(loader, ())


def _elementwise(module: str, item: str) -> bool:
    if module.startswith("scipy.special"):
        importlib.import_module("scipy.special")
    loaded = (
        sys.modules.get(module) if module.split(".")[0] in ("numpy", "scipy") else None
    )  # nothing is imported for it
    return isinstance(getattr(loaded, item, None), np.ufunc)


def _exported_estimator(module: str, item: str) -> bool:
    """Whether scikit-learn exports an estimator of that very name and place, such as ``sklearn.svm._classes.SVC``."""
    parts = module.split(".")
    if parts[0] != "sklearn" or len(parts) < 2 or not all(part.isidentifier() for part in parts):
        return False
    from sklearn import __all__ as packages
    from sklearn.base import BaseEstimator

    if parts[1] not in packages:
        return False
    for depth in (2, 3):  # sklearn.svm exports SVC; sklearn.feature_extraction.text exports its own
        public = ".".join(parts[:depth])
        if len(parts) < depth or parts[depth - 1].startswith("_") or "test" in public:
            return False
        exporter = importlib.import_module(public)
        exported = item in exporter.__all__ if hasattr(exporter, "__all__") else not item.startswith("_")
        found = getattr(exporter, item, None)
        if exported and isinstance(found, type) and issubclass(found, BaseEstimator) and found.__module__ == module:
            return True
    return False


def _yours(module: str, item: str) -> Any:
    """A class or function that the project's ``features`` or ``model`` module defines itself."""
    if module not in (f"{project.package_name()}.features", f"{project.package_name()}.model"):
        return None
    found = getattr(importlib.import_module(module), item, None)
    own = getattr(found, "__module__", None) == module and getattr(found, "__qualname__", None) == item
    return found if own else None
