"""What is drawn, read back from the artists and compared with the formulas."""

import io
import subprocess
import sys
from types import SimpleNamespace

import jax
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from problems import FAITHFUL, blobs, eps, matrices, oracle_log_prob, oracle_responsibilities

import jaxgmm
from jaxgmm import GMMParams, plotting
from jaxgmm.plotting import canvas

STORAGES = {"full": (3, 3, 3), "tied": (1, 3, 3), "diag": (3, 3), "1 x d": (1, 3), "spherical": (3, 1), "1 x 1": (1, 1)}
PLANE = (2, 0)
NAMES = ("length", "width", "height")
PLANAR = (plotting.classification, plotting.uncertainty, plotting.density)


def mixture(storage="full", dtype=np.float64):
    """Three components in three features, all with weight."""
    rng = np.random.default_rng(1)
    shape = STORAGES[storage]
    covariances = rng.uniform(0.5, 2, shape)
    if len(shape) == 3:
        root = rng.normal(size=shape)
        covariances = root @ root.swapaxes(1, 2) + 0.1 * np.eye(3)
    params = GMMParams(np.array([0.5, 0.3, 0.2]), 3 * rng.normal(size=(3, 3)), covariances)
    return GMMParams(*(leaf.astype(dtype) for leaf in params))


def without_last(params):
    return params._replace(weights=np.array([0.6, 0.4, 0.0], params.means.dtype))


def marginal(params, features):
    """The oracle's: plain slices of full matrices."""
    return GMMParams(params.weights, params.means[:, features], matrices(params)[np.ix_(range(3), features, features)])


def rows(dtype=np.float64, n=200):
    return blobs(n, 3).astype(dtype)


def axes():
    return Figure().subplots()


def ellipses(ax):
    return [patch for patch in ax.patches if isinstance(patch, Ellipse)]


def points(ax):
    """The offsets of each scatter, by its label."""
    return {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections if not isinstance(c, ContourSet)}


def rendered(figure):
    figure.savefig(io.BytesIO())
    return figure


def integral(line):
    return np.trapezoid(line.get_ydata(), line.get_xdata())


@pytest.mark.parametrize("storage", STORAGES)
def test_ellipses_are_the_contours_at_mahalanobis_distance_one(storage, dtype):
    params = mixture(storage, dtype)
    ax = plotting.classification(params, rows(dtype), features=PLANE, ax=axes())
    assert len(ellipses(ax)) == 3
    expected = marginal(params, PLANE)
    angles = np.linspace(0, 2 * np.pi, 12)
    for patch, mean, covariance in zip(ellipses(ax), expected.means, expected.covariances, strict=True):
        diameters = sorted([patch.width, patch.height])
        np.testing.assert_allclose(diameters, 2 * np.sqrt(np.linalg.eigvalsh(covariance)), rtol=1e3 * eps(dtype))
        contour = patch.get_patch_transform().transform(np.stack([np.cos(angles), np.sin(angles)], 1)) - mean
        distances = np.einsum("nd,nd->n", contour, np.linalg.solve(covariance, contour.T).T)
        np.testing.assert_allclose(distances, 1, rtol=1e3 * eps(dtype))


def test_a_known_ellipse():
    """Variances 9 along (3, 4) / 5 and 1 across it."""
    turn = np.array([[3, -4], [4, 3]]) / 5
    params = GMMParams(np.ones(1), np.array([[1.0, 2.0]]), (turn @ np.diag([9.0, 1.0]) @ turn.T)[None])
    (patch,) = ellipses(plotting.classification(params, rows()[:, :2], ax=axes()))
    along = patch.angle if patch.width > patch.height else patch.angle + 90
    assert patch.center == pytest.approx((1, 2))
    assert sorted([patch.width, patch.height]) == pytest.approx([2, 6], rel=1e-5)
    assert along % 180 == pytest.approx(np.degrees(np.arctan2(4, 3)), rel=1e-5)


def test_axes_of_an_ellipse_cross_at_the_mean_and_end_on_the_contour(x64):
    params = mixture()
    ax = plotting.classification(params, rows(), features=PLANE, ax=axes())
    expected = marginal(params, PLANE)
    for index, line in enumerate(ax.lines):
        ends, mean = line.get_xydata(), expected.means[index // 2]
        np.testing.assert_allclose(ends.mean(0), mean)
        for end in ends - mean:
            assert end @ np.linalg.solve(expected.covariances[index // 2], end) == pytest.approx(1)
    assert len(ax.lines) == 6


def test_ellipses_lie_over_classes_and_beneath_uncertainty():
    def levels(draw):
        ax = draw(mixture(), rows(), ax=axes())
        return {a.get_zorder() for a in ellipses(ax)}, {a.get_zorder() for a in ax.collections}

    for (of_ellipses, of_rows), over in ((levels(plotting.classification), 1), (levels(plotting.uncertainty), -1)):
        assert len(of_ellipses) == 1
        assert all(over * (a - b) > 0 for a in of_ellipses for b in of_rows)


def test_weightless_components_are_not_drawn(dtype):
    params = without_last(mixture(dtype=dtype))
    assert len(ellipses(plotting.classification(params, rows(dtype), ax=axes()))) == 2
    lines = plotting.density_1d(params, rows(dtype), ax=axes()).lines
    assert [line.get_label() for line in lines] == ["0", "1", "mixture"]


def test_rows_are_drawn_with_their_component(dtype):
    params, x = mixture(dtype=dtype), rows(dtype)
    x[::7, 1] = np.nan  # in a feature that is not drawn
    drawn = points(plotting.classification(params, x, features=PLANE, ax=axes()))
    known = ~np.isnan(x).any(1)
    labels = np.where(known, oracle_responsibilities(params, np.nan_to_num(x)).argmax(1), -1)
    assert set(drawn) == {str(label) for label in np.unique(labels)}
    for label, offsets in drawn.items():
        np.testing.assert_array_equal(offsets, x[labels == int(label)][:, PLANE])


def test_components_are_told_apart_by_colour_and_marker():
    styles = [canvas.style(index) for index in range(14)]
    assert len({tuple(style.values()) for style in styles}) == 14
    params = GMMParams(np.full(8, 1 / 8), 9.0 * np.arange(16).reshape(8, 2), np.ones((1, 1)))
    ax = plotting.classification(params, params.means, ax=axes())
    looks = {(*c.get_facecolor().ravel(), c.get_paths()[0].vertices.tobytes()) for c in ax.collections}
    assert len(looks) == 8


def test_uncertain_rows_are_larger_and_darker(x64):
    params, x = mixture(), rows()
    ax = plotting.uncertainty(params, x, features=PLANE, ax=axes())
    unsure = 1 - oracle_responsibilities(params, x).max(1)
    steps = np.digitize(unsure, np.quantile(unsure, (0.75, 0.95)), right=True)
    for step, offsets in enumerate(points(ax).values()):
        np.testing.assert_array_equal(offsets, x[steps == step][:, PLANE])
    sizes, greys = [c.get_sizes()[0] for c in ax.collections], [c.get_facecolor()[0, 0] for c in ax.collections]
    assert sizes == sorted(sizes)
    assert greys == sorted(greys, reverse=True)


def test_rows_of_unknown_uncertainty_are_left_out_and_equal_ones_are_small():
    x = rows()
    x[:5, 1] = np.nan
    one = GMMParams(np.ones(1), np.zeros((1, 3)), np.ones((1, 1)))
    drawn = points(plotting.uncertainty(one, x, features=PLANE, ax=axes()))
    assert [len(offsets) for offsets in drawn.values()] == [195, 0, 0]


@pytest.mark.parametrize("storage", STORAGES)
def test_density_contours_enclose_the_stated_shares(storage, dtype):
    params, x = mixture(storage, dtype), rows(dtype)
    x[0] = np.nan
    shares = (0.3, 0.8, 0.975)
    ax = plotting.density(params, x, features=PLANE, levels=shares, ax=axes())
    (contours,) = (c for c in ax.collections if isinstance(c, ContourSet))
    expected = marginal(params, PLANE)
    at_rows = oracle_log_prob(expected, x[1:][:, PLANE])
    enclosed = [(at_rows >= level).mean() for level in contours.levels]
    np.testing.assert_allclose(enclosed, sorted(shares, reverse=True), atol=1.01 / len(at_rows))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["97.5 %", "80 %", "30 %"]
    for level, path in zip(contours.levels, contours.get_paths(), strict=True):
        vertices = path.vertices[path.codes != path.CLOSEPOLY]
        np.testing.assert_allclose(oracle_log_prob(expected, vertices), level, atol=0.02)


def test_density_of_a_constant_feature_and_of_repeated_rows_is_drawn():
    params = GMMParams(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))
    x = np.repeat([[0.0, 1.0], [0.0, -1.0]], 20, axis=0)
    ax = plotting.density(params, x, ax=axes())
    assert np.ptp(ax.get_xlim()) > 0
    assert len(ax.get_legend().get_texts()) == 1  # all rows are equally likely


@pytest.mark.parametrize("storage", STORAGES)
def test_line_of_the_density_is_the_formula_and_integrates_to_one(storage, dtype):
    params, x = mixture(storage, dtype), rows(dtype)
    ax = plotting.density_1d(params, x, feature=1, names=NAMES, ax=axes())
    *parts, total = ax.lines
    grid, variances = total.get_xdata(), matrices(params)[:, 1, 1]
    residuals = grid - params.means[:, 1:2].astype(float)
    expected = np.exp(-(residuals**2) / (2 * variances[:, None])) / np.sqrt(2 * np.pi * variances[:, None])
    expected *= params.weights[:, None]
    np.testing.assert_allclose([line.get_ydata() for line in parts], expected, rtol=1e3 * eps(dtype), atol=eps(dtype))
    np.testing.assert_allclose(total.get_ydata(), expected.sum(0), rtol=1e3 * eps(dtype))
    assert integral(total) == pytest.approx(1, abs=1e-3)
    assert [integral(line) for line in parts] == pytest.approx(params.weights.tolist(), abs=1e-3)
    assert sum(bar.get_width() * bar.get_height() for bar in ax.patches) == pytest.approx(1, rel=1e-5)
    assert ax.get_xlabel() == "width"


def test_a_narrow_component_is_seen():
    params = GMMParams(np.array([0.5, 0.5]), np.array([[0.0], [1.0]]), np.array([[1e4], [1e-6]]))
    line = plotting.density_1d(params, rows()[:, 0], ax=axes()).lines[-1]
    assert line.get_ydata().max() == pytest.approx(0.5 / np.sqrt(2 * np.pi * 1e-6), rel=1e-3)
    assert integral(line) == pytest.approx(1, abs=1e-3)


def test_bins_are_numpys_but_for_an_outlier():
    params, x = GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1))), rows()[:, 0]

    def bins(values):
        return len(plotting.density_1d(params, values, ax=axes()).patches)

    assert bins(x) == len(np.histogram_bin_edges(x, "auto")) - 1
    assert bins(np.zeros(16)) == 5
    assert bins([*x, 1e12]) == plotting.RESOLUTION


def test_a_histogram_leaves_out_missing_values():
    params = GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
    ax = plotting.density_1d(params, np.array([np.nan, -1.0, 1.0, np.inf]), ax=axes())
    assert (ax.patches[0].get_x(), ax.patches[-1].get_x() + ax.patches[-1].get_width()) == (-1, 1)


def test_pairs_are_classifications_with_densities_on_the_diagonal(dtype):
    params, x = mixture(dtype=dtype), rows(dtype)
    figure = Figure(layout="constrained")
    grid = plotting.pairs(params, x, names=NAMES, figure=figure)
    rendered(figure)
    assert grid.shape == (3, 3)
    for (row, column), ax in np.ndenumerate(grid):
        assert ax.get_xlabel() == (NAMES[column] if row == 2 else "")
        assert ax.get_ylabel() == (NAMES[row] if column == 0 else "")
        assert ax.get_xlim() == grid[0, column].get_xlim()
        if row == column:
            assert ax.lines[-1].get_label() == "mixture"
        else:
            assert len(ellipses(ax)) == 3
            drawn = np.concatenate(list(points(ax).values()))
            np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(x[:, [column, row]], axis=0))
            low, high = ax.get_ylim()
            assert low < x[:, row].min() < x[:, row].max() < high
            assert (low, high) == grid[row, 1 if row == 0 else 0].get_ylim()


def test_pairs_of_one_feature_is_its_density():
    params = GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
    grid = plotting.pairs(params, rows()[:, 0], figure=Figure())
    assert grid.shape == (1, 1)
    assert grid[0, 0].lines[-1].get_label() == "mixture"


def test_of_many_rows_a_fixed_sample_is_drawn(monkeypatch):
    monkeypatch.setattr(canvas, "MOST_POINTS", 50)
    params, x = mixture(dtype=np.float32), rows(np.float32)
    for draw in PLANAR:
        first, again = (np.concatenate(list(points(draw(params, x, ax=axes())).values())) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert len(np.unique(first, axis=0)) == 50
        assert set(map(tuple, first)) <= set(map(tuple, x[:, :2]))


# ------------------------------------------------------------------------------------------------------------- noise


def noisy_fit(d):
    """A fit with a noise component, and the rows that it was fitted to, every seventh of them noise."""
    x = np.where(np.arange(140)[:, None] % 7, blobs(140, d), np.random.default_rng(2).uniform(-20, 20, (140, d)))
    start = jaxgmm.seeding.from_labels(x, np.arange(140) % 3, 3, family=jaxgmm.DIAG)
    noisy = jaxgmm.with_noise(start, jaxgmm.box_noise(x), 0.1)
    return jaxgmm.em(noisy, x, family=jaxgmm.DIAG, max_iter=20), x


@pytest.mark.parametrize("weight", [None, 0.0, 1.0])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_every_picture_of_a_fit_with_noise_is_drawn(d, weight):
    result, x = noisy_fit(d)
    if weight is not None:
        result = result._replace(params=result.params._replace(noise_weight=np.float32(weight)))
    pictures = [(plotting.trace, (result,))]
    for draw in (plotting.density_1d, *(PLANAR if d > 1 else ())):
        pictures.append((draw, (result.params, x)))
    for draw in (plotting.density_1d, *((plotting.classification,) if d > 1 else ())):
        pictures.append((draw, (result.params,)))
    for draw, arguments in pictures:
        rendered(draw(*arguments, ax=axes()).figure)
    figure = Figure(layout="constrained")
    plotting.pairs(result.params, x, figure=figure)
    rendered(figure)


def test_a_noise_component_has_no_curve_and_no_ellipse(x64):
    result, x = noisy_fit(3)
    params, ax = result.params, axes()
    *parts, total = plotting.density_1d(params, x, feature=1, ax=ax).lines
    assert [line.get_label() for line in (*parts, total)] == ["0", "1", "2", "mixture"]
    weights = (1 - params.noise_weight) * params.mixture.weights
    assert [integral(line) for line in parts] == pytest.approx(weights.tolist(), abs=1e-3)
    assert integral(total) == pytest.approx(1 - float(params.noise_weight), abs=1e-3)
    ax = plotting.classification(params, x, features=PLANE, ax=axes())
    assert [tuple(e.center) for e in ellipses(ax)] == [tuple(mean) for mean in params.mixture.means[:, PLANE].tolist()]
    drawn, labels = points(ax), np.asarray(jaxgmm.predict(params, x))
    assert (labels == -1).any()
    np.testing.assert_array_equal(drawn["-1"], x[labels == -1][:, PLANE])


def start(dtype):
    return jaxgmm.seeding.from_labels(FAITHFUL.astype(dtype), np.digitize(FAITHFUL[:, 0], [3.0, 4.4]), 3)


def test_trace_is_the_history(dtype):
    result = jaxgmm.em(start(dtype), FAITHFUL.astype(dtype))
    ax = plotting.trace(result, ax=axes())
    history = np.asarray(result.history)
    iterations, values = ax.lines[0].get_data()
    np.testing.assert_array_equal(values, history[~np.isnan(history)])
    np.testing.assert_array_equal(iterations, np.arange(int(result.n_iter) + 1))
    assert [text.get_text() for text in ax.texts] == ["converged"]


@pytest.mark.parametrize("max_iter", [0, 3])
def test_trace_of_a_fit_cut_short_under_a_prior_draws_the_log_posterior_alone(max_iter):
    prior = jaxgmm.default_prior(FAITHFUL, 3)
    result = jaxgmm.em(start(np.float32), FAITHFUL, prior=prior, max_iter=max_iter)
    ax = plotting.trace(result, ax=axes())
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), result.history)
    assert [text.get_text() for text in ax.texts] == ["stopped at max_iter before converging"]


def test_trace_takes_the_best_of_several_restarts():
    best = jaxgmm.em(start(np.float32), FAITHFUL, max_iter=3)
    several = jaxgmm.FitResult(best, np.zeros(2), np.zeros(2, int))
    one, other = (plotting.trace(result, ax=axes()).lines[0].get_ydata() for result in (several, best))
    np.testing.assert_array_equal(one, other)


def selection(names, n_components=(1, 2, 3, 4)):
    """A search whose best is the second family with the third number of components."""
    families = tuple(SimpleNamespace(name=name, letters=name) for name in names)
    table = np.random.default_rng(0).uniform(100, 200, (len(names), len(n_components)))
    table[0, 1], table[1, 2] = np.nan, 50
    best = {"criterion": "icl", "family": families[1], "k": n_components[2]}
    return SimpleNamespace(families=families, n_components=n_components, table=table, **best)


def test_criteria_are_the_table_with_the_best_circled():
    chosen = selection(["VVV", "EEE", "VVI"], n_components=(2, 3, 5, 9))
    ax = plotting.criteria(chosen, ax=axes())
    *lines, circle = ax.lines
    np.testing.assert_array_equal([line.get_ydata() for line in lines], chosen.table)
    assert all(line.get_xdata().tolist() == [2, 3, 5, 9] for line in lines)
    assert [line.get_label() for line in lines] == ["VVV", "EEE", "VVI"]
    assert circle.get_xydata().tolist() == [[5, 50]]
    assert circle.get_fillstyle() == "none"
    assert ax.get_ylabel() == "ICL (smaller is better)"


def test_criteria_go_by_mclusts_letters():
    for names, expected in [(["tied", "VEV"], ["EEE", "VEV"]), (["E", "V"], ["E", "V"])]:
        chosen = selection(names)
        families = tuple(map(jaxgmm.get_family, names))
        chosen.families, chosen.family = families, families[1]
        assert [line.get_label() for line in plotting.criteria(chosen, ax=axes()).lines[:-1]] == expected


MCLUST = ["EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"]


@pytest.mark.parametrize("names", [MCLUST, ["full", "tied", "diag", "spherical"], ["a rather long name", "other"]])
def test_legend_of_the_criteria_is_within_the_figure_and_off_the_lines(names):
    figure = Figure()
    ax = plotting.criteria(selection(names), ax=figure.subplots())
    box = rendered(figure).axes[0].get_legend().get_window_extent()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == names
    assert box.x0 > 0
    assert box.y0 >= ax.bbox.y1
    assert box.x1 < figure.bbox.x1
    assert box.y1 < figure.bbox.y1
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == len(names) + 1


def test_without_rows_the_components_are_drawn_alone():
    params = mixture()
    alone, full = (plotting.classification(params, *given, ax=axes()) for given in ([], [rows()]))
    rendered(alone.figure)
    assert points(alone) == {}
    assert len(ellipses(alone)) == 3
    for one, other in zip(ellipses(alone), ellipses(full), strict=True):
        np.testing.assert_array_equal(one.center, other.center)
        assert (one.width, one.height, one.angle) == (other.width, other.height, other.angle)
        assert alone.bbox.contains(*alone.transData.transform(one.center))

    curves, bars = (plotting.density_1d(params, *given, ax=axes()) for given in ([], [rows()]))
    assert len(curves.patches) == 0 < len(bars.patches)
    for one, other in zip(curves.lines, bars.lines, strict=True):
        np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())


def everything():
    params, chosen = mixture(), selection(["full", "tied"])
    for draw in (*PLANAR, plotting.density_1d):
        yield draw, (params, rows())
    yield plotting.trace, (jaxgmm.em(start(np.float32), FAITHFUL),)
    yield plotting.criteria, (chosen,)


def test_the_default_is_to_draw_on_the_current_axes():
    plt.switch_backend("agg")
    before = dict(matplotlib.rcParams)
    for draw, arguments in everything():
        current = plt.figure().subplots()
        assert draw(*arguments) is current
        rendered(current.figure)
    assert plotting.pairs(mixture(), rows())[0, 0].figure is plt.gcf()
    plt.close("all")
    assert dict(matplotlib.rcParams) == before


def test_nothing_is_drawn_before_arguments_are_found_good():
    plt.switch_backend("agg")
    plt.close("all")
    for draw in PLANAR:
        with pytest.raises(ValueError, match="features"):
            draw(mixture(), rows(), features=(0, 3))
    assert plt.get_fignums() == []


def test_module_is_importable_without_matplotlib():
    program = "import sys; sys.modules['matplotlib'] = None; import jaxgmm; print('imported')\njaxgmm.plotting.axes"
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import numpy as np, jaxgmm\n"
        "params = jaxgmm.GMMParams(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))\n"
        "try: jaxgmm.plotting.classification(params)\n"
        "except ImportError as error: print(error.name)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.split()[0].startswith("matplotlib")


ONE = GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
NINE = GMMParams(np.ones(1), np.zeros((1, 9)), np.ones((1, 1)))
MISSING = np.full((4, 3), np.nan)

BAD = {
    "repeated": (lambda f: f(mixture(), rows(), features=(1, 1)), r"features: .* two different .* 0..2, got \(1, 1\)"),
    "out of range": (lambda f: f(mixture(), rows(), features=(0, 3)), r"features: .* 0..2, got \(0, 3\)"),
    "negative": (lambda f: f(mixture(), rows(), features=(0, -1)), r"features: expected at least 0, got -1"),
    "three": (lambda f: f(mixture(), rows(), features=(0, 1, 2)), r"features: .* got \(0, 1, 2\)"),
    "names": (lambda f: f(mixture(), rows(), names=["a"]), r"names: expected 3, one for each feature, got 1"),
    "d = 1": (lambda f: f(ONE, rows()[:, 0]), r"x: expected at least two features, got 1: .* density_1d"),
    "shapes": (lambda f: f(ONE, rows()), r"x: expected 1 features"),
}


@pytest.mark.parametrize("draw", PLANAR, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", BAD)
def test_planar_plots_refuse(name, draw):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call(draw)


OTHERS = {
    "feature": (lambda: plotting.density_1d(mixture(), rows(), feature=3), r"feature: expected one of 0..2, got 3"),
    "negative": (lambda: plotting.density_1d(mixture(), rows(), feature=-1), r"feature: expected at least 0, got -1"),
    "names": (lambda: plotting.density_1d(mixture(), rows(), names=NAMES[:2]), r"names: expected 3.* got 2"),
    "missing": (lambda: plotting.density_1d(mixture(), MISSING), r"x: .* one finite row, got none of 4"),
    "missing pairs": (lambda: plotting.density(mixture(), MISSING), r"x: .* one finite row, got none of 4"),
    "levels": (lambda: plotting.density(mixture(), rows(), levels=(0.5, 95)), r"levels: .* got \(0.5, 95\)"),
    "d = 9": (lambda: plotting.pairs(NINE, np.eye(9)), r"x: expected at most 8 features, got 9: choose columns"),
    "pair names": (lambda: plotting.pairs(mixture(), rows(), names=["a"]), r"names: expected 3.* got 1"),
    "batch": (
        lambda: plotting.trace(jax.vmap(lambda x: jaxgmm.em(ONE, x, family=jaxgmm.DIAG))(rows()[:, :2].T)),
        r"result: expected one fit, got a batch of shape \(2,\)",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_plots_refuse(name):
    call, message = OTHERS[name]
    with pytest.raises(ValueError, match=message):
        call()
