"""What a model file may hold: hostile files of every kind, and the models that people make."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from mlcicd.core import errors, project
from mlcicd.training import model_io
from scipy import special
from sklearn import ensemble, linear_model, model_selection, neighbors, svm
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder
from threadpoolctl import threadpool_limits

PACKAGE = project.package_name()

X = np.random.default_rng(0).normal(size=(80, 3))
Y = (X[:, 0] > 0).astype(int)
TOUCHED = "touched"  # what a file that acts leaves in the working folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which whatever a file does can be seen."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def node(loader: str, name: str, **more: Any) -> dict[str, Any]:
    """One node of a skops schema."""
    module, _, item = name.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": item, **more}


def plain(value: Any) -> dict[str, Any]:
    return node("JsonNode", "builtins.str", content=json.dumps(value))


def many(*values: Any, kind: str = "Tuple") -> dict[str, Any]:
    return node(f"{kind}Node", f"builtins.{kind.lower()}", content=list(values))


def mapping(name: str = "builtins.dict", **values: Any) -> dict[str, Any]:
    keys = many(*[node("TypeNode", "builtins.str") for _ in values], kind="List")
    return node("DictNode", name, content=values, key_types=keys)


def instance(name: str, **values: Any) -> dict[str, Any]:
    return node("ObjectNode", name, content=mapping(**values))


def partial(function: dict[str, Any], *arguments: Any) -> dict[str, Any]:
    parts = {"func": function, "args": many(*arguments), "kwds": mapping(), "namespace": plain(None)}
    return node("PartialNode", "functools.partial", content=parts)


def transformer(function: dict[str, Any], **more: Any) -> dict[str, Any]:
    settings = {"kw_args": plain(None), "validate": plain(False), "accept_sparse": plain(False)} | more
    settings |= {"check_inverse": plain(False), "inverse_func": plain(None), "feature_names_out": plain(None)}
    return instance("sklearn.preprocessing._function_transformer.FunctionTransformer", func=function, **settings)


def function(name: str) -> dict[str, Any]:
    return node("FunctionNode", name)


def kind(name: str) -> dict[str, Any]:
    return node("TypeNode", name)


COMMAND = many(plain("touch"), plain(TOUCHED), kind="List")
HOSTILE = {
    "the machinery's own runner": transformer(function("mlcicd.packaging.tools.run")),
    "the machinery's review": transformer(function("mlcicd.review.review.run")),
    "the machinery's files": transformer(function("mlcicd.core.json_files.write_json")),
    "the machinery's module in the user's": transformer(function(f"{PACKAGE}.prepare.prepare")),
    "a shell": transformer(function("os.system")),
    "a shell by its other name": transformer(function("posix.system")),
    "eval": transformer(kind("builtins.eval")),
    "open": transformer(kind("builtins.open")),
    "a process": transformer(kind("subprocess.Popen")),
    "a process at once": node("ConstructorFromReduceNode", "subprocess.Popen", content=many(COMMAND)),
    "a class as a function": transformer(kind("pandas.DataFrame")),
    "a class as a function node": transformer(function("pandas.DataFrame")),
    "an estimator's class as a function": transformer(kind("sklearn.svm._classes.SVC")),
    "numpy writes": transformer(function("numpy.savetxt")),
    "numpy reads": transformer(function("numpy.fromfile")),
    "numpy unpickles": transformer(function("numpy.load")),
    "numpy evaluates": transformer(function("numpy.ctypeslib.load_library")),
    "pandas evaluates": transformer(function("pandas.eval")),
    "pandas reads": transformer(function("pandas.read_pickle")),
    "scikit-learn reads": transformer(function("sklearn.datasets._base.load_files")),
    "scikit-learn fetches": transformer(function("sklearn.datasets._openml.fetch_openml")),
    "joblib unpickles": transformer(function("joblib.numpy_pickle.load")),
    "a partial of a memory map": transformer(
        partial(kind("numpy.memmap"), plain(TOUCHED), plain("uint8"), plain("w+"))
    ),
    "a partial of a command": transformer(partial(function("subprocess.check_output"), COMMAND)),
    "an array that is a memory map": node("NdArrayNode", "numpy.memmap", type="json", content=[], shape=many(plain(0))),
    "a dict that is a table": mapping("pandas.DataFrame"),
    "a list that is a runner": node("ListNode", "mlcicd.packaging.tools.run", content=[]),
    "a method": node(
        "MethodNode", "pandas.DataFrame", content={"func": "to_pickle", "obj": instance("pandas.DataFrame")}
    ),
    "a method of an estimator": node(
        "MethodNode",
        "sklearn.svm._classes.SVC",
        content={"func": "fit", "obj": instance("sklearn.svm._classes.SVC")},
    ),
    "a call by name": transformer(
        node("OperatorFuncNode", "operator.methodcaller", attrs=many(plain("to_csv"), plain("x")))
    ),
    "an attribute by name": transformer(node("OperatorFuncNode", "operator.attrgetter", attrs=many(plain("x.y")))),
    "a distribution that executes its template": instance(
        "scipy.stats._distn_infrastructure.rv_continuous", _parse_arg_template=plain(f"open({TOUCHED!r}, 'w')")
    ),
    "a vectorised function": instance("numpy.vectorize", pyfunc=kind("builtins.exec")),
    "an encoder that fetches its model": instance("skrub._text_encoder.TextEncoder", model_name=plain("x/y")),
    "an operation that calls by name": instance("skrub._data_ops._data_ops.CallMethod", method_name=plain("to_pickle")),
    "a cache of functions": instance("joblib.memory.Memory", location=plain(TOUCHED)),
    "a test of scikit-learn's": instance("sklearn.utils._testing.TempMemmap"),
    "a mock of scikit-learn's": instance("sklearn.utils._mocking.CheckingClassifier"),
    "a module that would be imported": instance("sklearn.__main__.Estimator"),
    "a module beside": instance("this.Estimator"),
    "a longer name than a trusted one": transformer(function("skrub._dataframe._common.is_anything")),
    "another longer name": transformer(function("sklearn.utils.validation.check_array_x")),
    "what the user's module imports": transformer(function(f"{PACKAGE}.features.partial")),
    "a module of the user's module": transformer(function(f"{PACKAGE}.features.pd")),
    "a function in a module of the user's": transformer(function(f"{PACKAGE}.features.pd.read_pickle")),
    "a map": many(node("TypeNode", "builtins.map")),
    "a default that is called": node(
        "DefaultDictNode",
        "collections.defaultdict",
        content={"main": mapping(), "default_factory": function("mlcicd.cli.main")},
    ),
    "a generator by another name": node(
        "RandomGeneratorNode",
        "numpy.random._generator.Generator",
        content={"bit_generator": mapping(bit_generator=plain("seed")), "seed_seq": mapping()},
    ),
    "an unknown loader": node("EvilNode", "builtins.str"),
    "a loader that is no text": node("JsonNode", "builtins.str") | {"__loader__": ["JsonNode"]},
    "a name with a line break": instance("sklearn.svm\n::error::.SVC"),
    "a place outside": node("ConstructorFromReduceNode", "pathlib.PosixPath", content=many(plain("/etc/passwd"))),
}


def write(schema: Any, path: Path = Path("model.skops"), protocol: Any = 2, **parts: bytes) -> Path:
    """A model file made by hand."""
    if isinstance(schema, dict):
        schema = json.dumps(schema | {"protocol": protocol, "_skops_version": skops.__version__}).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("schema.json", schema)
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    """Load and, should that work, use a model file; return the one line with which it was refused."""
    try:
        found = model_io.load(path)
    except errors.InputError as error:
        assert "\n" not in str(error)
        assert str(error).startswith(str(path))
        return str(error)
    for use in ("transform", "predict", "predict_proba"):
        if hasattr(found, use):
            getattr(found, use)(X)
    pytest.fail("it was loaded and used")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_and_nothing_runs(name: str, elsewhere: Path):
    path = write(HOSTILE[name])
    refusal(path)
    path.unlink()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_wherever_in_the_tree_it_stands(name: str):
    inner = many(plain(1), HOSTILE[name], kind="List")
    refusal(write(instance("sklearn.pipeline.Pipeline", steps=inner, memory=plain(None))))


@pytest.mark.parametrize("protocol", [0, 1, 3, -1, True, "2", None])
def test_rules_of_other_versions_are_not_followed(protocol: Any):
    assert "protocol" in refusal(write(plain(1), protocol=protocol))


def test_a_node_that_refers_to_another_is_that_other():
    """skops takes a node with an id that it has seen for the one seen before, whatever else it says."""
    evil = function("os.system") | {"__id__": 7}
    refusal(write(many(evil, transformer(function("numpy.mean") | {"__id__": 7}))))


DAMAGED = {
    "no archive": b"hello",
    "a pickle": pickle.dumps({"a": 1}),
    "nothing": b"",
    "a cut archive": b"PK\x03\x04" + b"\0" * 40,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_model_gets_one_line(content: bytes):
    Path("model.skops").write_bytes(content)
    refusal(Path("model.skops"))


@pytest.mark.parametrize("schema", [b"{", b"[]", b"1", b"null", b"[" * 100_000, b"\xff\xfe", b'{"protocol": 2}', b"{}"])
def test_a_schema_that_is_none_gets_one_line(schema: bytes):
    refusal(write(schema))


def test_every_cut_of_a_model_gets_one_line():
    model_io.save(linear_model.LogisticRegression().fit(X, Y), Path("model.skops"))
    whole = Path("model.skops").read_bytes()
    for end in range(0, len(whole), max(len(whole) // 60, 1)):
        Path("cut.skops").write_bytes(whole[:end])
        refusal(Path("cut.skops"))


def test_a_folder_in_its_place_gets_one_line():
    Path("model.skops").mkdir()
    assert "cannot be read" in refusal(Path("model.skops"))


def test_settings_that_read_files_or_call_by_name_are_refused():
    texts = ["one text", "and another"]
    read = TfidfVectorizer().fit(texts)
    read.input = "filename"
    called = model_selection.FixedThresholdClassifier(linear_model.LogisticRegression()).fit(X, Y)
    called.response_method = "set_params"
    stacked = ensemble.StackingClassifier([("a", linear_model.LogisticRegression())]).fit(X, Y)
    stacked.stack_method_ = ["densify"]
    for model, word in ((read, "input"), (called, "response_method"), (stacked, "stack_method_")):
        Path("model.skops").write_bytes(skops.io.dumps(model))
        assert word in refusal(Path("model.skops"))


def circular(nodes: np.ndarray) -> None:
    nodes["left"][~nodes["is_leaf"].astype(bool)] = 0


def far(nodes: np.ndarray) -> None:
    nodes["right"][0] = 10_000_000


def unknown(nodes: np.ndarray) -> None:
    nodes["feature_idx"][0] = 1_000_000


@pytest.mark.parametrize("spoil", [circular, far, unknown])
def test_a_boosted_tree_that_leads_out_of_itself_is_refused_before_it_is_walked(spoil: Any):
    model = ensemble.HistGradientBoostingClassifier(max_iter=2).fit(X, Y)
    spoil(model._predictors[0][0].nodes)
    Path("model.skops").write_bytes(skops.io.dumps(model))
    assert "lead out" in refusal(Path("model.skops"))


@pytest.mark.parametrize(
    "make", [ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier, ensemble.GradientBoostingClassifier]
)
@pytest.mark.parametrize("item", ["left_child", "right_child", "feature"])
def test_a_forest_that_leads_out_of_itself_is_refused_before_it_is_walked(make: Any, item: str):
    written = skops.io.dumps(make(n_estimators=2).fit(X, Y))
    with zipfile.ZipFile(io.BytesIO(written)) as old, zipfile.ZipFile("model.skops", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".npy") and item in (np.load(io.BytesIO(content)).dtype.names or ()):
                nodes, out = np.load(io.BytesIO(content)), io.BytesIO()
                nodes[item][nodes["left_child"] != -1] = 10_000_000
                np.save(out, nodes)
                content = out.getvalue()
            new.writestr(name, content)
    assert "lead out" in refusal(Path("model.skops"))


def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused():
    write(plain(1), bomb=b"\0" * 60_000_000)
    assert Path("model.skops").stat().st_size < 100_000
    assert "unpack" in refusal(Path("model.skops"))


MEMORY = """
import resource, sys
from pathlib import Path
from mlcicd.training import model_io as models
models._skops()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    models.load(Path("model.skops"))
except Exception as error:
    print(error, file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_a_small_file_takes_little_memory_to_open():
    """As many parts as a file of 600 kB may have: a fifth of the three megabytes that took 1.6 GB."""
    size = 600_000
    parts = [plain(1)] * 60_000
    while True:
        write(many(*parts, kind="List"))
        grown = 15 * Path("model.skops").stat().st_size + 4_000_000
        if len(json.dumps(parts)) > grown or Path("model.skops").stat().st_size > size:
            break
        parts += parts
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 1.6e9 / 5, done.stderr


FRAME = pd.DataFrame(
    {
        "a": X[:, 0],
        "b": X[:, 1],
        "word": pd.array(["x", "y", "z", "y"] * 20, dtype="str"),
        "day": pd.date_range("2024-01-01", periods=80),
    }
)
columns = [(StandardScaler(), ["a", "b"]), (OneHotEncoder(), ["word"])]
USUAL = {
    "boosting": ensemble.HistGradientBoostingClassifier(max_iter=5),
    "boosting, categories": ensemble.HistGradientBoostingClassifier(max_iter=5, categorical_features=[2]),
    "forest": ensemble.RandomForestClassifier(5),
    "gradient boosting": ensemble.GradientBoostingClassifier(n_estimators=5),
    "isolation": ensemble.IsolationForest(n_estimators=5),
    "bagging": ensemble.BaggingClassifier(n_estimators=3),
    "voting": ensemble.VotingClassifier([("a", linear_model.LogisticRegression()), ("b", svm.SVC())]),
    "neighbours": neighbors.KNeighborsClassifier(),
    "calibrated": CalibratedClassifierCV(linear_model.LogisticRegression(), cv=3),
    "calibrated by steps": CalibratedClassifierCV(linear_model.LogisticRegression(), cv=3, method="isotonic"),
    "searched": model_selection.GridSearchCV(linear_model.LogisticRegression(), {"C": [1, 2]}, cv=3),
    "threshold": model_selection.TunedThresholdClassifierCV(linear_model.LogisticRegression(), cv=3),
    "log": make_pipeline(FunctionTransformer(np.arctan), linear_model.LogisticRegression()),
    "expit": make_pipeline(FunctionTransformer(special.expit), linear_model.LogisticRegression()),
    "passive": linear_model.SGDClassifier(loss="log_loss"),
}


@pytest.mark.parametrize("name", USUAL)
def test_usual_models_are_saved_loaded_and_predict_the_same(name: str):
    x = np.column_stack([X[:, :2], np.abs(X[:, 2]).astype(int)])
    fitted = USUAL[name].fit(x, Y)
    model_io.save(fitted, Path("model.skops"))
    assert np.array_equal(model_io.load(Path("model.skops")).predict(x), fitted.predict(x))


@pytest.mark.parametrize(
    "columns",
    [
        columns,
        [(TargetEncoder(cv=2), ["word"]), ("passthrough", ["a"])],
        [
            (
                make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()),
                make_column_selector(dtype_include="number"),
            )
        ],
    ],
)
def test_tables_with_columns_of_several_kinds_too(columns: Any):
    fitted = make_pipeline(make_column_transformer(*columns), linear_model.LogisticRegression()).fit(FRAME, Y)
    model_io.save(fitted, Path("model.skops"))
    assert np.array_equal(model_io.load(Path("model.skops")).predict_proba(FRAME), fitted.predict_proba(FRAME))


def test_a_function_that_does_more_than_compute_is_refused_when_it_is_saved():
    model = make_pipeline(FunctionTransformer(np.savetxt), linear_model.LogisticRegression())
    with pytest.raises(errors.InputError, match=r"savetxt.*docs/security\.md"):
        model_io.save(model, Path("model.skops"))
    assert not Path("model.skops").exists()


def test_threads_are_no_part_of_a_model():
    written = set()
    for threads in (1, 2, 4):
        with threadpool_limits(threads, user_api="openmp"):
            model_io.save(
                ensemble.HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, Y), Path("model.skops")
            )
        written.add(Path("model.skops").read_bytes())
    assert len(written) == 1


def test_a_model_that_packs_too_well_is_written_unpacked():
    model = linear_model.LogisticRegression().fit(X, Y)
    model.coef_, model.zeros_ = model.coef_, np.zeros(4_000_000)
    model_io.save(model, Path("model.skops"))
    assert model_io.load(Path("model.skops")).zeros_.sum() == 0
