# SPDX-License-Identifier: Apache-2.0
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from typer.testing import CliRunner

from diffhpo.cli import app
from diffhpo.errors import InputError
from diffhpo.optimizer import Optimizer
from diffhpo.study_page import study_page
from diffhpo.study_page.shown_study import ShownStudy
from diffhpo.study_page.study_run import study_run, widest

pytest.importorskip("matplotlib")
optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.ERROR)

from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState  # noqa: E402

HOSTILE = "<script>alert(1)</script>\"'&$x_$\n\x00é\ud800"


class Reader(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.cells = [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        self.text.append(data)
        if self.tags and self.tags[-1] in ("td", "th") and data.strip():
            self.cells.append(data)


def study_of(trials, **settings):
    study = optuna.create_study(study_name="a study", **settings)
    for trial in trials:
        study.add_trial(optuna.trial.create_trial(**trial))
    return study


def mixed(count=14, name="depth"):
    """A conditional study with all kinds of ends."""
    rng = np.random.default_rng(0)
    rate = FloatDistribution(1e-4, 1.0, log=True)
    depth = IntDistribution(1, 9)
    kind = CategoricalDistribution(["tree", "net", "linear"])
    for k in range(count):
        params = {"rate": float(10 ** rng.uniform(-4, 0)), "kind": kind.choices[k % 3]}
        distributions = {"rate": rate, "kind": kind}
        if params["kind"] == "tree":
            params[name], distributions[name] = int(rng.integers(1, 10)), depth
        trial = {"params": params, "distributions": distributions}
        if k == 4:
            yield {**trial, "state": TrialState.FAIL}
        elif k == 5:
            yield {**trial, "state": TrialState.PRUNED, "intermediate_values": {0: 9.0, 3: -9.0}}
        elif k == 6:
            yield {"params": {}, "distributions": {}, "state": TrialState.PRUNED}
        elif k == 7:
            yield {**trial, "state": TrialState.RUNNING}
        else:
            yield {**trial, "value": float(np.log10(params["rate"]) ** 2 + rng.normal())}


@pytest.fixture(scope="module")
def html():
    return study_page(study_of(mixed(name=HOSTILE)))


def test_the_run_says_what_the_trials_say():
    run = study_run(study_of(mixed()))
    assert run.states[4:8] == ["failed", "pruned", "pruned", "pending"]
    assert run.values[5] == -9.0
    assert np.isnan(np.asarray(run.values)[[4, 6, 7]]).all()
    assert run.direction == "minimize"
    assert list(run.space.parameters) == ["rate", "kind", "depth"]
    assert run.best == min((k for k in range(14) if run.states[k] == "told"), key=lambda k: run.values[k])
    assert list(run.modelled().space.parameters) == ["rate", "kind"]


def test_bounds_that_changed_are_as_wide_as_all():
    floats = [FloatDistribution(0.5, 2.0, log=True), FloatDistribution(0.0, 1.0, step=0.5)]
    assert widest(floats) == FloatDistribution(0.0, 2.0)
    assert widest([IntDistribution(1, 9, step=2), IntDistribution(4, 16)]) == IntDistribution(1, 16)
    assert widest([floats[1], floats[1]]) == floats[1]


def test_the_page_needs_nothing_but_itself(html):
    seen = Reader(html)
    assert not {"script", "link", "iframe", "object"} & set(seen.tags)
    for tag, name, value in seen.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href"):
            assert value.startswith("data:image/png;base64,"), (tag, name)
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in next(v for _, n, v in seen.attributes if n == "content" and "default" in v)


def test_hostile_names_are_shown_as_text(html):
    seen = Reader(html)
    assert "script" not in seen.tags
    assert any("<script>alert(1)</script>" in text for text in seen.text)
    html.encode("utf-8")
    assert "\x00" not in html


def test_the_page_says_what_was_tried_and_what_is_best(html):
    seen = Reader(html)
    run = study_run(study_of(mixed()))
    lead = "14 trials (10 with a value, 1 failed, 2 pruned, 1 pending), 3 parameters, to minimize."
    assert any(lead in text for text in seen.text)
    best = f"{np.asarray(run.values)[run.best]:.6g}"
    first = seen.cells.index("trial") + 5
    assert seen.cells[first : first + 2] == [str(run.best), best]
    assert (
        sum(tag == "img" for tag in seen.tags) == 8
    )  # history, parallel, 3 slices; 2 predictions, calibration
    assert any("Left out: fewer than two parameters that lie along one axis" in text for text in seen.text)
    assert all(value for tag, name, value in seen.attributes if tag == "img" and name == "alt")
    assert any("does not read <script>" in text for text in seen.text)


def test_suggestions_are_those_of_an_optimizer_told_the_same():
    run = study_run(study_of(mixed())).modelled()
    optimizer = Optimizer(run.space, seed=3, direction="minimize")
    for k, state in enumerate(run.states):
        c = run.configurations[k]
        if state == "told":
            optimizer.tell(c, run.values[k])
        elif state == "failed":
            optimizer.tell(c, failed=True)
        elif c:
            from diffhpo import Trial

            optimizer.tell([Trial(c)])
    expected = [suggestion.parameters for suggestion in optimizer.ask(5)]
    shown = ShownStudy(study_run(study_of(mixed())), 3)
    assert shown.suggestions == expected
    assert not any(one in run.configurations for one in expected)


def test_parameters_that_matter_come_first():
    x, y = FloatDistribution(0, 1), FloatDistribution(0, 1)
    rng = np.random.default_rng(0)
    trials = [
        {"params": {"x": a, "y": b}, "distributions": {"x": x, "y": y}, "value": b + 0.01 * a}
        for a, b in rng.random((20, 2)).tolist()
    ]
    assert ShownStudy(study_run(study_of(trials))).parameters == ["y", "x"]


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.PRUNED, TrialState.RUNNING])
def test_a_study_without_values_has_a_page_that_says_so(state):
    trial = {"params": {"x": 0.5}, "distributions": {"x": FloatDistribution(0, 1)}, "state": state}
    html = study_page(study_of([trial] * 3))
    assert "No trial has a value yet." in html
    assert html.count("Left out: no trial has a value") == 5


def test_one_trial_and_infinite_values_have_a_page():
    x = FloatDistribution(0, 1)
    values = [float("inf"), 2.0, float("-inf"), 1.0]
    trials = [{"params": {"x": k / 9}, "distributions": {"x": x}, "value": v} for k, v in enumerate(values)]
    assert "infinite values; they were clipped" in study_page(study_of(trials))
    assert "<h2>What to try next</h2>" in study_page(study_of(trials[1:2]))


def test_spaces_beyond_the_model_and_parameters_beyond_the_picture_are_said(monkeypatch):
    monkeypatch.setattr("diffhpo.study_page.sections.MOST_PARAMETERS", 2)
    names = [f"p{k}" for k in range(40)]
    distributions = dict.fromkeys(names, FloatDistribution(0, 1))
    trials = [
        {"params": dict.fromkeys(names, v), "distributions": distributions, "value": v} for v in (0.1, 0.7)
    ]
    html = study_page(study_of(trials))
    assert "Left out: the space has 40 columns; the pretrained model takes 32." in html
    assert "2 of 40 parameters are drawn." in html


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (lambda: optuna.create_study(directions=["minimize", "maximize"]), "2 objectives"),
        (lambda: optuna.create_study(), "no trial"),
        (lambda: study_of([{"value": 1.0}]), "no parameter with two values"),
        (
            lambda: study_of(
                [
                    {
                        "value": 1.0,
                        "params": {"a": 1},
                        "distributions": {"a": CategoricalDistribution([1])},
                    }
                ]
            ),
            "no parameter with two values",
        ),
    ],
)
def test_studies_that_have_no_page_are_refused(study, message):
    with pytest.raises(InputError, match=message):
        study_page(study())


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_writes_the_page(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    optuna.copy_study(
        from_study_name="a study",
        from_storage=(study := study_of(mixed(3)))._storage,
        to_storage=storage,
    )
    out = tmp_path / "page.html"
    result = run("report", tmp_path / "study.db", "--out", out, "--seed", 2)
    assert result.exit_code == 0, result.output
    assert f"wrote {out}" in result.stdout
    assert out.read_text(encoding="utf-8") == study_page(study, seed=2)
    before = (tmp_path / "study.db").read_bytes()
    for arguments, message in [
        ([tmp_path / "none.db"], "none.db does not exist"),
        ([tmp_path / "study.db", "--study-name", "b"], "no study 'b'; it holds 'a study'"),
        ([tmp_path / "study.db", "--out", tmp_path / "study.db"], "the study's own file"),
        ([f"sqlite:///{tmp_path / 'study.db'}", "--out", tmp_path / "study.db"], "the study's own file"),
        ([tmp_path / "study.db", "--out", tmp_path / "no" / "page.html"], "cannot be written"),
        ([tmp_path / "study.db", "--seed", "-1"], "seed is -1"),
    ]:
        result = run("report", *arguments)
        assert result.exit_code == 2
        assert re.search(re.escape(message), result.stderr), result.stderr
    assert (tmp_path / "study.db").read_bytes() == before
