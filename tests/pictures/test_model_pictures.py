# SPDX-License-Identifier: Apache-2.0
"""The pictures of what the model says: what is drawn equals what the model, asked directly, says."""

import numpy as np
import pytest
import torch

from diffhpo import Categorical, Condition, Constant, Float, Int, Ordinal, Space, Trial
from diffhpo.errors import InputError
from diffhpo.kernels import reference
from diffhpo.model.schedule import NoiseSchedule
from diffhpo.model.universal.in_context import InContextModel
from diffhpo.parameter_roles import roles_of
from diffhpo.pictures import PicturedRun, plot_calibration, plot_denoising_trajectory, plot_prediction
from diffhpo.pictures.calibration import probability_integrals
from diffhpo.pictures.denoising_trajectory import trajectory
from diffhpo.pretrained import pretrained_model


@pytest.fixture(scope="module")
def told(run):
    return [k for k, state in enumerate(run.states) if state == "told"]


def model_of(run, trials, failed=()):
    x = [run.space.encode(run.configurations[k]) for k in [*trials, *failed]]
    y = [-run.values[k] for k in trials]
    y += [min(y)] * len(failed)
    return InContextModel(
        pretrained_model(),
        torch.tensor(np.array(x)),
        torch.tensor(np.array(y)),
        kinds=torch.tensor(run.space.column_kinds),
        roles=torch.tensor(roles_of(run.space.column_names)),
    )


def test_the_band_is_the_predictors_quantiles(run, told, line):
    ax = plot_prediction(run, "depth", mass=0.5)
    fixed = run.configurations[run.best]
    grid = np.array([run.space.encode({**fixed, "depth": k}) for k in range(2, 13)])
    model = model_of(run, told, failed=[4])
    median = line(ax, "median")
    assert median.get_xdata().tolist() == list(range(2, 13))
    predicted = model.predict(torch.tensor(grid))
    drawn = torch.tensor(-np.asarray(median.get_ydata()))
    assert torch.allclose(predicted.cdf(drawn), torch.full((11,), 0.5).double(), atol=1e-6)
    (band,) = [c for c in ax.collections if "50%" in str(c.get_label())]
    edge = band.get_paths()[0].vertices
    for k in range(2, 13):
        low, high = sorted({y for x, y in edge if x == k})
        there = predicted.cdf(torch.full((11,), -high).double())[k - 2]
        assert there == pytest.approx(0.25, abs=1e-6)
        assert predicted.cdf(torch.full((11,), -low).double())[k - 2] == pytest.approx(0.75, abs=1e-6)


def test_the_other_parameters_are_held_where_they_are_told_to_be(run, told, line):
    at = run.configurations[3]
    drawn = line(plot_prediction(run, "rate", at=at, points=5), "median")
    rates = np.asarray(drawn.get_xdata())
    assert np.allclose(rates, [1e-5, 1e-4, 1e-3, 1e-2, 1e-1])
    grid = torch.tensor(np.array([run.space.encode({**at, "rate": r}) for r in rates]))
    expected = model_of(run, told, failed=[4]).predict(grid).median
    assert np.allclose(drawn.get_ydata(), -expected.numpy())


def test_choices_have_bars(run, told):
    ax = plot_prediction(run, "optimizer")
    fixed = run.configurations[run.best]
    grid = [run.space.encode({**fixed, "optimizer": o}) for o in ("adam", "sgd", "rmsprop")]
    predicted = model_of(run, told, failed=[4]).predict(torch.tensor(np.array(grid)))
    (bars,) = ax.containers
    assert np.allclose(bars.lines[0].get_ydata(), -predicted.median.numpy())
    segments = bars.lines[2][0].get_segments()
    for k, level in ((0, 0.9), (1, 0.1)):
        ends = np.array([segment[k][1] for segment in segments])
        assert np.allclose(ends, -predicted.quantile(level).numpy())


def test_calibration_predicts_each_value_from_those_before_it(run, told, line):
    integrals = probability_integrals(run, 6)
    assert len(integrals) == len(told) - 6
    for place, integral in zip(range(6, len(told)), integrals, strict=True):
        model = model_of(run, told[:place])
        x = torch.tensor(run.space.encode(run.configurations[told[place]])[None])
        y = torch.tensor([-run.values[told[place]]])
        assert integral == pytest.approx(float(model.predict(x).cdf(y)[0]), abs=1e-9)
    drawn = line(plot_calibration(run, first=6), "Predictor")
    x, y = np.asarray(drawn.get_xdata()), np.asarray(drawn.get_ydata())
    for level, share in zip(x[1:-1], y[1:-1], strict=True):
        assert share == np.mean(integrals <= level)


def test_the_trajectory_ends_where_generate_does_and_begins_in_noise(run):
    states = trajectory(run, 6, steps=5, seed=3)
    assert states.shape == (6, 6, run.space.dim)
    assert torch.equal(states[-1], run.read().generate(6, seed=3, steps=5))
    assert torch.equal(states[2], run.read().generate(6, seed=3, steps=5, stop_after=2))
    noise = reference.noise(3, range(6), len(NoiseSchedule.linear()), run.space.dim)
    assert torch.equal(states[0], (noise + 1) / 2)
    ax = plot_denoising_trajectory(run, "rate", "depth", count=6, steps=5, seed=3)
    columns = [0, 1]
    for step in range(5):
        segments = np.array(ax.collections[step].get_segments())
        assert np.allclose(segments[:, 0], states[step][:, columns])
        assert np.allclose(segments[:, 1], states[step + 1][:, columns])
    assert ax.collections[4].get_alpha() > ax.collections[0].get_alpha()


def test_the_trajectory_has_the_trials_and_the_parameters_values(run, told):
    ax = plot_denoising_trajectory(run, "rate", "bias", count=2, steps=3)
    names = run.space.column_names
    columns = [names.index("rate"), names.index("bias")]
    points = np.array([run.space.encode(run.configurations[k])[columns] for k in told])
    assert np.allclose(ax.collections[-1].get_offsets(), points)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1e-05", "0.001", "0.1"]
    assert np.allclose(ax.get_xticks(), [0, 0.5, 1])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["True", "False"]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda run: plot_prediction(run, "rate", mass=1.0), "mass is 1.0"),
        (lambda run: plot_prediction(run, "rate", points=1), "points is 1"),
        (lambda run: plot_prediction(run, "x"), "no parameter 'x'"),
        (lambda run: plot_calibration(run, first=0), "first is 0"),
        (lambda run: plot_calibration(run, first=21), "21 different trials with a value; more than 21"),
        (lambda run: plot_denoising_trajectory(run, "rate", "optimizer"), "'optimizer' has 3 columns"),
        (lambda run: plot_denoising_trajectory(run, "rate", "depth", count=0), "count is 0"),
        (lambda run: plot_denoising_trajectory(run, "rate", "depth", seed=-1), "seed is -1"),
    ],
)
def test_bad_arguments_are_named(run, draw, message):
    with pytest.raises(InputError, match=message):
        draw(run)


def test_a_space_beyond_the_model_is_refused_by_name():
    space = Space({f"p{k}": Float(0, 1) for k in range(33)})
    configurations = [dict.fromkeys(space.parameters, k / 10) for k in range(3)]
    run = PicturedRun(space, configurations, [1.0, 2.0, 3.0], ["told"] * 3)
    with pytest.raises(InputError, match="33 dimensions; the pretrained model takes 1 to 32"):
        plot_prediction(run, "p0")


def test_an_optimizer_is_drawn_as_it_is(optimizer, line):
    ax = plot_prediction(optimizer, "depth")
    star = line(ax, "best")
    best, value = optimizer.best
    assert (star.get_xdata(), star.get_ydata()) == ([best["depth"]], [value])


def test_whole_numbers_are_labelled_as_such():
    space = Space({"k": Int(1, 3), "x": Float(0, 1)})
    run = PicturedRun(space, [{"k": 1, "x": 0.1}, {"k": 3, "x": 0.6}], [1.0, 2.0], ["told", "told"])
    ax = plot_denoising_trajectory(run, "k", "x", count=2, steps=2)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3"]
    assert np.allclose(ax.get_xticks(), [1 / 6, 1 / 2, 5 / 6])


def test_along_a_parent_its_children_come_and_go(line):
    space = Space(
        {"kind": Categorical(["a", "b", "c"]), "x": Float(0, 1), "y": Float(0, 1)},
        conditions={"x": Condition("kind", ["b"])},
    )
    trials = [
        Trial({"kind": "a", "y": 0.1}, 1.0),
        Trial({"kind": "b", "x": 0.3, "y": 0.2}, 2.0),
        Trial({"kind": "c", "y": 0.9}, 3.0),
    ]
    run = PicturedRun.from_trials(space, trials)
    (bars,) = plot_prediction(run, "kind").containers
    rows = [[1.0, 0, 0, 0.5, 0.9], [0, 1.0, 0, 0.5, 0.9], [0, 0, 1.0, 0.5, 0.9]]
    expected = run.read().predict(torch.tensor(rows)).median.numpy()
    assert np.allclose(bars.lines[0].get_ydata(), expected)
    # The best trial lacks x; the best of those that have it is drawn through.
    drawn = line(plot_prediction(run, "x", points=3), "median")
    rows = [[0, 1.0, 0, x, 0.2] for x in (0.0, 0.5, 1.0)]
    assert np.allclose(drawn.get_ydata(), run.read().predict(torch.tensor(rows)).median.numpy())
    with pytest.raises(InputError, match="at has no 'x'"):
        plot_prediction(run, "x", at={"kind": "a", "y": 0.5})


def test_the_line_is_interrupted_where_it_is_forbidden(line):
    space = Space({"x": Float(0, 1), "y": Float(0, 1)}, forbidden=lambda c: c["x"] > 0.6)
    run = PicturedRun.from_trials(space, [Trial({"x": 0.1, "y": 0.4}, 1.0), Trial({"x": 0.5, "y": 0.1}, 0.0)])
    drawn = line(plot_prediction(run, "x", points=5), "median")
    assert np.isnan(drawn.get_ydata()).tolist() == [False, False, False, True, True]


def test_steps_and_orders_are_drawn():
    space = Space(
        {"s": Float(0.0, 1.0, step=0.1), "o": Ordinal(["low", "mid", "high"]), "c": Constant("fixed")}
    )
    configurations = [{"s": 0.3, "o": "mid", "c": "fixed"}, {"s": 0.7, "o": "high", "c": "fixed"}]
    run = PicturedRun.from_trials(space, [Trial(c, k) for k, c in enumerate(configurations)])
    ax = plot_denoising_trajectory(run, "s", "o", count=2, steps=2)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["low", "mid", "high"]
    assert np.allclose(ax.get_yticks(), [1 / 6, 1 / 2, 5 / 6])
    with pytest.raises(InputError, match="'c' has 0 columns"):
        plot_denoising_trajectory(run, "s", "c")
    (bars,) = plot_prediction(run, "o").containers
    assert len(bars.lines[0].get_ydata()) == 3
    assert plot_prediction(run, "s").get_lines()[0].get_xdata().tolist() == pytest.approx(np.arange(11) / 10)
