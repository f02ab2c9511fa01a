"""Mixtures and their rows, read back from what is drawn and compared with the formulas."""

import jax
import numpy as np
import pandas as pd
import pytest
from figures import (
    NAMES,
    PLANE,
    STORAGES,
    axes,
    contour_of,
    ellipses,
    entries,
    integral,
    is_within,
    many,
    marginal,
    mixture,
    points,
    rendered,
    rows,
)
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from problems import blobs, eps, matrices, oracle_log_prob, oracle_responsibilities

import jaxgmm
from jaxgmm import GMMParams, plotting
from jaxgmm.plotting import canvas

PLANAR = (plotting.clusters, plotting.uncertainty, plotting.density)


# ---------------------------------------------------------------------------------------------------------- ellipses


@pytest.mark.parametrize("storage", STORAGES)
def test_ellipses_are_the_contours_at_mahalanobis_distance_one(storage, dtype):
    params = mixture(storage, dtype)
    ax = plotting.clusters(params, rows(dtype), features=PLANE, ax=axes())
    assert len(ellipses(ax)) == 3
    expected = marginal(params, PLANE)
    for ellipse, mean, covariance in zip(ellipses(ax), expected.means, expected.covariances, strict=True):
        contour = contour_of(ellipse) - mean
        distances = np.einsum("nd,nd->n", contour, np.linalg.solve(covariance, contour.T).T)
        np.testing.assert_allclose(distances, 1, rtol=1e3 * eps(np.float64))


@pytest.mark.parametrize("exponent", [0, 7, 15])
def test_ellipses_of_features_in_unlike_units(exponent):
    """They are computed in float64, whatever JAX computes in, and in no units."""
    units = np.diag([1.0, 10.0**exponent])
    covariance = units @ np.array([[4, 1.9], [1.9, 1.0]]) @ units
    (drawn,) = ellipses(plotting.clusters(GMMParams(np.ones(1), np.zeros((1, 2)), covariance[None]), ax=axes()))
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), contour_of(drawn, 100).T)
    np.testing.assert_allclose((whitened**2).sum(0), 1, rtol=1e2 * eps(np.float64))


@pytest.mark.parametrize("correlation", [0.0, 0.8, -0.99])
def test_ellipses_are_within_the_axes(correlation):
    covariance = np.array([[1, correlation], [correlation, 1]])
    ax = plotting.clusters(GMMParams(np.ones(1), np.zeros((1, 2)), covariance[None]), ax=axes())
    reach = abs(contour_of(ellipses(ax)[0], 500)).max(0)
    for (low, high), most in zip((ax.get_xlim(), ax.get_ylim()), reach, strict=True):
        assert low < -most < most < high


def test_numbers_of_components_are_at_their_means():
    params = mixture()
    ax = plotting.clusters(params, rows(), features=PLANE, ax=axes())
    assert {text.get_text(): text.get_position() for text in ax.texts} == {
        str(j): tuple(mean) for j, mean in enumerate(params.means[:, PLANE].tolist())
    }


def test_ellipses_lie_over_classes_and_beneath_uncertainty():
    def levels(draw):
        ax = draw(mixture(), rows(), ax=axes())
        return {a.get_zorder() for a in ellipses(ax)}, {a.get_zorder() for a in ax.collections}

    for (of_ellipses, of_rows), over in ((levels(plotting.clusters), 1), (levels(plotting.uncertainty), -1)):
        assert len(of_ellipses) == 1
        assert all(over * (a - b) > 0 for a in of_ellipses for b in of_rows)


def test_weightless_components_are_not_drawn(dtype):
    params = mixture(dtype=dtype)
    params = params._replace(weights=np.array([0.6, 0.4, 0.0], dtype))
    ax = plotting.clusters(params, rows(dtype), ax=axes())
    assert len(ellipses(ax)) == 2
    assert entries(ax)[1:] == ["0", "1"]
    lines = plotting.density_1d(params, rows(dtype), ax=axes()).lines
    assert [line.get_label() for line in lines] == ["0", "1", "mixture"]


# -------------------------------------------------------------------------------------------------------------- rows


def test_rows_are_drawn_with_their_component(dtype):
    params, x = mixture(dtype=dtype), rows(dtype)
    x[::7, 1] = np.nan  # in a feature that is not drawn
    drawn = points(plotting.clusters(params, x, features=PLANE, ax=axes()))
    known = ~np.isnan(x).any(1)
    labels = np.where(known, oracle_responsibilities(params, np.nan_to_num(x)).argmax(1), -1)
    assert set(drawn) == {str(label) if label >= 0 else "missing" for label in np.unique(labels)}
    for label, offsets in drawn.items():
        np.testing.assert_array_equal(offsets, x[labels == (-1 if label == "missing" else int(label))][:, PLANE])


@pytest.mark.filterwarnings("ignore:x. float32 merges values:UserWarning")  # which decides about colours alone
def test_rows_far_from_zero_are_drawn_where_they_are():
    """Unix seconds, which float32 rounds to two minutes."""
    x = 1_700_000_000 + np.arange(20.0).reshape(10, 2)
    params = GMMParams(np.ones(1), x.mean(0)[None], np.full((1, 1), 33.0))
    for draw in PLANAR:
        drawn = np.concatenate(list(points(draw(params, x, ax=axes())).values()))
        np.testing.assert_array_equal(np.sort(drawn, axis=0), x)
    total = plotting.density_1d(params, x, feature=0, ax=axes()).lines[-1]
    assert integral(total) == pytest.approx(1, abs=1e-3)


def test_twenty_components_are_told_apart_by_colour_and_marker_and_by_colour_and_line():
    params = many(20)
    ax = plotting.clusters(params, params.means, ax=axes())
    looks = {(*c.get_facecolor().ravel(), c.get_paths()[0].vertices.tobytes()) for c in ax.collections}
    assert len(looks) == 20
    assert len({(e.get_edgecolor(), str(e.get_linestyle())) for e in ellipses(ax)}) == 20
    *lines, total = plotting.density_1d(params, ax=axes()).lines
    assert len({(line.get_color(), str(line._dash_pattern)) for line in lines}) == 20
    assert total.get_color() not in canvas.COLOURS
    assert entries(ax) == ["component; ellipses at 1 sd", *map(str, range(20))]


def test_colours_differ_for_colour_blind_people():
    """For those who lack a cone the confusion of two colours is a distance in the other two; Machado et al. (2009)."""
    blindness = {
        "protanopia": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        "deuteranopia": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ],
    }
    linear = np.array([to_rgb(colour) for colour in canvas.COLOURS]) ** 2.2
    for name, matrix in blindness.items():
        seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=2)[np.triu_indices(len(seen), 1)]
        assert apart.min() > 0.1, name


def test_a_legend_of_very_many_components_says_how_many_are_not_listed():
    ax = plotting.clusters(many(100), ax=axes())
    assert entries(ax)[-2:] == ["28", "and 71 more"]
    assert len(ellipses(ax)) == 100


def test_uncertain_rows_are_larger_and_darker_on_an_absolute_scale(x64):
    params, x = mixture(), rows()
    ax = plotting.uncertainty(params, x, features=PLANE, ax=axes())
    unsure = 1 - oracle_responsibilities(params, x).max(1)
    steps = np.digitize(unsure, (0.05, 0.25), right=True)
    assert set(steps) == {0, 1, 2}
    for step, offsets in enumerate(points(ax).values()):
        np.testing.assert_array_equal(offsets, x[steps == step][:, PLANE])
    sizes, greys = [c.get_sizes()[0] for c in ax.collections], [c.get_facecolor()[0, 0] for c in ax.collections]
    assert sizes == sorted(sizes)
    assert greys == sorted(greys, reverse=True)
    assert entries(ax)[1:] == [f"{a}: {(steps == j).sum()}" for j, a in enumerate(["to 5 %", "to 25 %", "above 25 %"])]
    assert "1 sd" in entries(ax)[0]


def test_rows_of_unknown_uncertainty_are_left_out_and_sure_ones_are_small():
    x = rows()
    x[:5, 1] = np.nan
    one = GMMParams(np.ones(1), np.zeros((1, 3)), np.ones((1, 1)))
    drawn = points(plotting.uncertainty(one, x, features=PLANE, ax=axes()))
    assert [len(offsets) for offsets in drawn.values()] == [195, 0, 0]


def test_of_many_rows_a_fixed_sample_is_drawn_and_the_title_says_so(monkeypatch):
    monkeypatch.setattr(canvas, "MOST_POINTS", 50)
    params, x = mixture(dtype=np.float32), rows(np.float32)
    for draw in PLANAR:
        first, again = (draw(params, x, features=(0, 1), ax=axes()) for _ in range(2))
        drawn, other = (np.concatenate(list(points(ax).values())) for ax in (first, again))
        np.testing.assert_array_equal(drawn, other)
        assert len(np.unique(drawn, axis=0)) == 50
        assert set(map(tuple, drawn)) <= set(map(tuple, x[:, :2].astype(float)))
        assert "a sample of 50 of 200 rows" in first.get_title()


# ----------------------------------------------------------------------------------------------------------- density


@pytest.mark.parametrize("storage", STORAGES)
def test_density_contours_enclose_the_stated_shares_and_are_whole(storage, dtype):
    params, x = mixture(storage, dtype), rows(dtype)
    x[0] = np.nan
    shares = (0.3, 0.8, 0.975)
    ax = plotting.density(params, x, features=PLANE, levels=shares, ax=axes())
    (contours,) = (c for c in ax.collections if isinstance(c, ContourSet))
    expected = marginal(params, PLANE)
    at_rows = oracle_log_prob(expected, x[1:][:, PLANE])
    enclosed = [(at_rows >= level).mean() for level in contours.levels]
    np.testing.assert_allclose(enclosed, sorted(shares, reverse=True), atol=1.01 / len(at_rows))
    assert entries(ax) == ["share of the rows enclosed", "97.5 %", "80 %", "30 %"]
    low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
    around = (high - low) / 1000 * np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 1, 2)  # under a pixel
    for level, path in zip(contours.levels, contours.get_paths(), strict=True):
        vertices = path.vertices[path.codes != path.CLOSEPOLY]
        near = [oracle_log_prob(expected, points) for points in vertices + around]
        assert ((np.min(near, axis=0) <= level) & (level <= np.max(near, axis=0))).all()
        assert all((piece[0] == piece[-1]).all() for piece in path.to_polygons(closed_only=False))
        assert ((low < vertices) & (vertices < high)).all()


def test_contours_of_a_narrow_component_far_from_a_wide_one_are_drawn(x64):
    params = GMMParams(np.array([0.5, 0.5]), np.array([[0.0, 0.0], [100.0, 100.0]]), np.array([[1e-4], [100.0]]))
    x, _ = jaxgmm.sample(jax.random.key(0), params, 400)
    (contours,) = (c for c in plotting.density(params, x, ax=axes()).collections if isinstance(c, ContourSet))
    outermost = contours.get_paths()[0].vertices
    near = outermost[abs(outermost).max(1) < 1]
    assert abs(near).max() == pytest.approx(np.hypot(*near.T).max(), rel=0.02)  # a circle
    assert 0.01 < np.hypot(*near.T).max() < 0.1


def test_density_of_a_constant_feature_and_of_repeated_rows_is_drawn():
    params = GMMParams(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))
    x = np.repeat([[0.0, 1.0], [0.0, -1.0]], 20, axis=0)
    ax = plotting.density(params, x, ax=axes())
    assert np.ptp(ax.get_xlim()) > 0
    assert len(ax.get_legend().get_texts()) == 1  # all rows are equally likely


# ------------------------------------------------------------------------------------------------ feature by feature


@pytest.mark.parametrize("storage", STORAGES)
def test_line_of_the_density_is_the_formula_and_integrates_to_one(storage, dtype):
    params, x = mixture(storage, dtype), rows(dtype)
    ax = plotting.density_1d(params, x, feature=1, feature_names=NAMES, ax=axes())
    *parts, total = ax.lines
    grid, variances = total.get_xdata(), matrices(params)[:, 1, 1]
    residuals = grid - params.means[:, 1:2].astype(float)
    expected = np.exp(-(residuals**2) / (2 * variances[:, None])) / np.sqrt(2 * np.pi * variances[:, None])
    expected *= params.weights[:, None]
    np.testing.assert_allclose([line.get_ydata() for line in parts], expected, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(total.get_ydata(), expected.sum(0), rtol=1e-12)
    assert integral(total) == pytest.approx(1, abs=1e-3)
    assert [integral(line) for line in parts] == pytest.approx(params.weights.tolist(), abs=1e-3)
    assert sum(bar.get_width() * bar.get_height() for bar in ax.patches) == pytest.approx(1, rel=1e-5)
    assert (ax.get_xlabel(), ax.get_title()) == ("width", "Density of width")
    assert entries(ax) == ["component", "rows", "0", "1", "2", "mixture"]


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


def test_missing_entries_of_nullable_columns_are_drawn_as_missing():
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": pd.array([1, 2, None, 4], "Int64"), "c": [1.0, 2, 3, 4]})
    params = GMMParams(np.ones(1), np.zeros((1, 3)), np.ones((1, 3)))
    drawn = points(plotting.clusters(params, frame, features=[0, 2], ax=axes()))
    np.testing.assert_array_equal(drawn["missing"], [[3, 3]])
    np.testing.assert_array_equal(drawn["0"], [[1, 1], [2, 2], [4, 4]])


def test_a_histogram_leaves_out_missing_values():
    params = GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
    ax = plotting.density_1d(params, np.array([np.nan, -1.0, 1.0, np.inf]), ax=axes())
    assert (ax.patches[0].get_x(), ax.patches[-1].get_x() + ax.patches[-1].get_width()) == (-1, 1)


def test_pairs_are_clusters_with_densities_on_the_diagonal(dtype):
    params, x = mixture(dtype=dtype), rows(dtype)
    figure = Figure()
    grid = plotting.pairs(params, x, feature_names=NAMES, figure=figure)
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
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["0", "1", "2"]
    assert is_within(legend.get_window_extent(), figure.bbox)
    assert figure.get_suptitle() == "3 components over the rows"


def test_pairs_of_one_feature_is_its_density():
    params = GMMParams(np.ones(1), np.zeros((1, 1)), np.ones((1, 1)))
    grid = plotting.pairs(params, rows()[:, 0], figure=Figure())
    assert grid.shape == (1, 1)
    assert grid[0, 0].lines[-1].get_label() == "mixture"


# ------------------------------------------------------------------------------------------ which features, and names


def test_the_most_telling_features_are_drawn_and_the_title_says_so(x64):
    """Differences between the means, over standard deviations: 1, 5, 0, 8."""
    means = np.array([[0.0, 0.0, 3.0, 0.0], [1.0, 50.0, 3.0, 0.8]])
    params = GMMParams(np.array([0.5, 0.5]), means, np.tile([1.0, 100.0, 1.0, 0.01], (2, 1)))
    for draw in PLANAR:
        ax = draw(params, means, feature_names="abcd", ax=axes())
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("b", "d")
        assert "the two most telling of 4 features" in ax.get_title()
        assert "telling" not in draw(params, means, features=(0, 1), ax=axes()).get_title()
    ax = plotting.density_1d(params, means, feature_names="abcd", ax=axes())
    assert ax.get_xlabel() == "d"
    assert "the most telling of 4 features" in ax.get_title()


def test_pairs_of_many_features_are_those_of_the_most_telling_ones():
    means = np.zeros((2, 10))
    means[1] = np.arange(10)
    params = GMMParams(np.array([0.5, 0.5]), means, np.ones((1, 1)))
    figure = Figure(figsize=(9, 9))
    grid = plotting.pairs(params, means, figure=figure)
    assert [ax.get_xlabel() for ax in grid[-1]] == [f"x{feature}" for feature in range(3, 11)]
    assert "the 8 most telling of 10 features" in figure.get_suptitle()
    assert plotting.pairs(params, means, features=(0, 9), figure=Figure()).shape == (2, 2)


def test_without_rows_the_components_are_drawn_alone():
    params = mixture()
    alone, full = (plotting.clusters(params, *given, ax=axes()) for given in ([], [rows()]))
    rendered(alone.figure)
    assert points(alone) == {}
    assert alone.get_title().startswith("3 components")
    assert entries(alone) == entries(full)
    for one, other in zip(ellipses(alone), ellipses(full), strict=True):
        np.testing.assert_array_equal(contour_of(one), contour_of(other))
        assert alone.bbox.contains(*alone.transData.transform(one.center))

    curves, bars = (plotting.density_1d(params, *given, ax=axes()) for given in ([], [rows()]))
    assert len(curves.patches) == 0 < len(bars.patches)
    for one, other in zip(curves.lines, bars.lines, strict=True):
        np.testing.assert_array_equal(one.get_xydata(), other.get_xydata())


# ------------------------------------------------------------------------------------------------------------- noise


@pytest.fixture(scope="module", params=[1, 2, 3])
def noisy_fit(request):
    """A fit with a noise component, and the rows that it was fitted to, every seventh of them noise."""
    d = request.param
    x = np.where(np.arange(140)[:, None] % 7, blobs(140, d), np.random.default_rng(2).uniform(-20, 20, (140, d)))
    start = jaxgmm.seeding.from_labels(x, np.arange(140) % 3, 3, family=jaxgmm.DIAG)
    noisy = jaxgmm.with_noise(start, jaxgmm.box_noise(x), 0.1)
    return jaxgmm.em(noisy, x, family=jaxgmm.DIAG, max_iter=20), x


@pytest.mark.parametrize("weight", [None, 0.0, 1.0])
def test_every_picture_of_a_fit_with_noise_is_drawn(noisy_fit, weight):
    result, x = noisy_fit
    if weight is not None:
        result = result._replace(params=result.params._replace(noise_weight=np.float32(weight)))
    pictures = [(plotting.density_1d, (result.params, x)), (plotting.density_1d, (result,))]
    if x.shape[1] > 1:
        pictures += [(draw, (result, x)) for draw in PLANAR] + [(plotting.clusters, (result.params,))]
    for draw, arguments in pictures:
        assert draw(*arguments, ax=axes()).get_title()
    if weight is None:
        for draw in (plotting.pairs, plotting.fit):
            draw(result, x, figure=(figure := Figure()))
            rendered(figure)


def test_a_noise_component_has_no_curve_and_no_ellipse_and_the_pictures_say_so(noisy_fit):
    result, x = noisy_fit
    params = result.params
    ax = plotting.density_1d(params, x, feature=0, ax=axes())
    *parts, total = ax.lines
    assert [line.get_label() for line in (*parts, total)] == ["0", "1", "2", "mixture"]
    assert "without the noise" in ax.get_title()
    weights = (1 - params.noise_weight) * params.mixture.weights
    assert [integral(line) for line in parts] == pytest.approx(weights.tolist(), abs=1e-3)
    assert integral(total) == pytest.approx(1 - float(params.noise_weight), abs=1e-3)
    if x.shape[1] == 1:
        return
    ax = plotting.clusters(params, x, features=(1, 0), ax=axes())
    np.testing.assert_allclose([e.center for e in ellipses(ax)], params.mixture.means[:, np.array([1, 0])])
    labels = np.asarray(jaxgmm.predict(params, x))
    assert (labels == -1).any()
    np.testing.assert_array_equal(points(ax)["noise"], x[labels == -1][:, [1, 0]])
    assert entries(ax)[-1] == "noise"
    assert ax.get_title().startswith("3 components and noise")
