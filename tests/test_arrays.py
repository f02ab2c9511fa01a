"""What people bring: numbers in any wrapping are taken, and what numpy would drop or misread is refused."""

import decimal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow
import pytest
import scipy.sparse

import jaxgmm
from jaxgmm.arrays import as_numbers
from jaxgmm.sklearn import GaussianMixture, from_sklearn

KEY = jax.random.key(0)
A, B = [1.0, 2.0, 4.0, 7.0], [3.0, 1.0, 2.0, 5.0]
NUMBERS = np.column_stack([A, B])
FRAME = pd.DataFrame({"a": A, "b": B})


class Column(np.ndarray):
    """A column as polars has them: a name, and an array behind it."""

    @classmethod
    def named(cls, name, values):
        column = np.asarray(values).view(cls)
        column.name = name
        return column


class Frame:
    """The part of polars' data frame that is used: columns, one after another."""

    def __init__(self, **columns):
        self.columns = columns

    def iter_columns(self):
        return (Column.named(name, values) for name, values in self.columns.items())


WRAPPINGS = {
    "list": NUMBERS.tolist(),
    "objects": NUMBERS.astype(object),
    "Decimal": [[decimal.Decimal(entry) for entry in row] for row in NUMBERS.tolist()],
    "longdouble": NUMBERS.astype(np.longdouble),
    "big-endian": NUMBERS.astype(">f4"),
    "masked nowhere": np.ma.masked_array(NUMBERS, mask=np.zeros((4, 2), bool)),
    "frame": FRAME,
    "nullable": FRAME.astype({"a": "Int64", "b": "Float64"}),
    "arrow-backed": FRAME.astype({"a": "int64[pyarrow]", "b": "double[pyarrow]"}),
    "objects in a frame": FRAME.astype(object),
    "categories": FRAME.astype("category"),
    "Arrow table": pyarrow.Table.from_pandas(FRAME),
    "decimals of Arrow": pyarrow.table({"a": [decimal.Decimal(a) for a in ("1", "2", "4", "7")], "b": B}),
    "polars": Frame(a=A, b=B),
    "one name twice": pd.DataFrame(NUMBERS, columns=["a", "a"]),
}


@pytest.mark.parametrize("kind", WRAPPINGS)
def test_numbers_are_taken_however_they_are_wrapped(kind):
    taken = as_numbers(WRAPPINGS[kind], "x")
    assert taken.dtype in (np.float32, np.float64)
    assert taken.dtype.isnative
    np.testing.assert_array_equal(taken, NUMBERS)


def test_truth_and_missing_values_are_numbers():
    assert as_numbers(pd.DataFrame({"a": [True, False], "b": [True, True]}), "x").tolist() == [[1, 1], [0, 1]]
    frame = pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": pd.array([None, True], "boolean"), "c": [None, 2.5]})
    np.testing.assert_array_equal(as_numbers(frame, "x"), [[1, np.nan, np.nan], [np.nan, 1, 2.5]])


def test_whole_numbers_keep_all_their_digits():
    large = np.array([[2**62 + 1]])
    assert as_numbers(pd.DataFrame(large), "x").tolist() == large.tolist()


MASKED = np.ma.masked_array([1.0, 2.0, 3.0, -999.0], mask=[0, 0, 0, 1])
DURATIONS = np.array([60, 120, "NaT", 300], "timedelta64[s]")
ROWS = np.array([1.0, 2.0, 3.0, 5.0])
PARAMS = jaxgmm.GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))


def fit(x, **options):
    return jaxgmm.fit(KEY, x, 1, **options)


REFUSED = {
    "masked rows": (lambda: fit(MASKED), "x: expected no masked entries, got 1 masked"),
    "list of masked rows": (lambda: fit([MASKED, MASKED]), "x: expected no masked entries, got 2 masked"),
    "masked weights": (lambda: fit(ROWS, weights=MASKED), "weights: expected no masked entries, got 1 masked"),
    "masked params": (
        lambda: jaxgmm.score(PARAMS._replace(means=MASKED[3:, None]), ROWS),
        "params.means: expected no masked entries",
    ),
    "masked rows of em": (lambda: jaxgmm.em(PARAMS, MASKED), "x: expected no masked entries"),
    "masked rows of select": (lambda: jaxgmm.select(KEY, MASKED, 1), "x: expected no masked entries"),
    "masked labels": (lambda: jaxgmm.seeding.from_labels(ROWS, MASKED.astype(int), 1), "labels: expected no masked"),
    "masked classes": (lambda: jaxgmm.classification.fit_classes(KEY, ROWS, MASKED.astype(int)), "labels: .* masked"),
    "durations": (lambda: fit(DURATIONS), r"x: expected .* real numbers, got dtype timedelta64\[s\]"),
    "dates": (lambda: fit(np.array(["2020-01-01"] * 4, "M8[D]")), r"x: expected .* got dtype datetime64\[D\]"),
    "durations as weights": (
        lambda: fit(ROWS, weights=np.full(4, 1, "timedelta64[s]")),
        r"weights: expected .* got dtype timedelta64\[s\]",
    ),
    "durations in a frame": (
        lambda: fit(pd.DataFrame({"d": pd.to_timedelta([1, 2, 4, 5], "min")})),
        r"x, column 'd': expected .* got dtype timedelta64",
    ),
    "dates of Arrow": (
        lambda: fit(pyarrow.table({"t": pyarrow.array([1, 2], pyarrow.timestamp("s"))})),
        r"x, column 't': expected .* got dtype datetime64",
    ),
    "durations as objects": (lambda: fit(DURATIONS.astype(object)), r"x: expected numbers, got datetime\.timedelta"),
    "text in a frame": (
        lambda: fit(pd.DataFrame({"a": ROWS, "c": list("xyxy")})),
        r"x, column 'c': expected numbers, got 'x' at row 0: leave it out, or code it",
    ),
    "text that looks like a number": (
        lambda: fit(np.array([1, "2"], object)),
        r"x: expected numbers, got '2' at row 1",
    ),
    "too large a number": (lambda: fit([1, 10**400]), r"x: expected numbers, got 10+ at row 1"),
    "NA": (
        lambda: fit(pd.DataFrame({"a": ROWS, "b": pd.array([1, 2, None, 4], "Int64")})),
        r"x: expected finite values, got \[ 3. nan\] at row 2, column 'b'",
    ),
    "ragged": (lambda: fit([[1, 2], [3]]), "x: expected rows of one length, got 2 entries in row 0 and 1 in row 1"),
    "sparse": (
        lambda: fit(scipy.sparse.eye(3).tocsr()),
        r"x: expected a dense array, got a sparse csr_matrix: write x\.toarray\(\)",
    ),
    "dict": (lambda: fit({"a": ROWS}), "x: expected an array of real numbers, got dict"),
    "masked rows of a custom model": (
        lambda: jaxgmm.em(PARAMS, MASKED[:, None], steps=jaxgmm.gaussian_steps(jaxgmm.DIAG)),
        "x: expected no masked entries",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_lost_is_refused(kind):
    call, message = REFUSED[kind]
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.fixture(scope="module")
def fitted():
    return GaussianMixture(1).fit(ROWS[:, None])


@pytest.mark.parametrize("kind", ["nullable", "arrow-backed", "objects in a frame", "Arrow table"])
def test_core_and_estimator_take_a_frame_alike(kind):
    frame = WRAPPINGS[kind].select(["a"]) if kind == "Arrow table" else WRAPPINGS[kind][["a"]]
    weights = pd.Series([1, 2, 1, 1], dtype="Int64")
    model = GaussianMixture(1).fit(frame, sample_weight=weights)
    np.testing.assert_allclose(model.means_, np.average(A, weights=[1, 2, 1, 1]))
    of_core = jaxgmm.score(from_sklearn(model), frame, weights)
    assert model.score(frame, sample_weight=weights) == pytest.approx(float(of_core), rel=1e-5)


@pytest.mark.parametrize("method", ["fit", "fit_predict", "predict", "predict_proba", "score_samples", "score"])
def test_the_estimator_refuses_it_too(fitted, method):
    act = getattr(fitted, method)
    for rows, message in (
        (MASKED[:, None], "X: expected no masked entries"),
        ([[1.0], [2.0, 3.0]], "X: expected rows of one length, got 1 entries in row 0 and 2 in row 1"),
        (DURATIONS[:, None], "X: expected .* got dtype timedelta64"),
        (pd.DataFrame({"d": pd.to_timedelta([1, 2, 4, 5], "min")}), "X, column 'd': expected .* got dtype timedelta64"),
        (pd.DataFrame({"c": list("xyxy")}), "X, column 'c': expected numbers, got 'x' at row 0"),
        (pd.DataFrame({"a": pd.array([1, 2, None, 4], "Int64")}), "X: expected finite .* row 2, column 'a'"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            act(rows)


def test_the_estimator_refuses_masked_weights(fitted):
    for act in (fitted.fit, fitted.score):
        with pytest.raises(ValueError, match="sample_weight: expected no masked entries"):
            act(ROWS[:, None], sample_weight=np.ma.masked_array(ROWS, mask=[0, 0, 0, 1]))


def test_arrays_of_jax_pass_as_they_are():
    x = jnp.ones(3, jnp.bfloat16)
    assert as_numbers(x, "x") is x
