"""Plots of a study: what they are called is told in the report's words, and their axes can be read."""

import pytest

optuna = pytest.importorskip("optuna")

from geodl_qgis_plugin.engine.classification.tuning_plots import tuning_plots
from geodl_qgis_plugin.engine.reports.svg import figure_to_svg


@pytest.fixture
def study():
    """Return a study of four trials with a choice, a logarithmic setting and a plain one."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=3))

    def score(trial):
        loss = trial.suggest_categorical("loss", ["focal", "dice"])
        rate = trial.suggest_float("rate factor", 0.3, 0.75, log=True)
        score = 0.5 + 0.1 * (loss == "dice") - 0.1 * abs(rate - 0.5) + 0.1 * trial.suggest_float("dropout", 0.0, 0.5)
        trial.report(score / 2, 1)
        trial.report(score, 2)
        return score

    made.optimize(score, n_trials=4)
    return made


def test_plots_speak_the_reports_language(study):
    """No word of Optuna's, choices without quotation marks, whole numbers for trials, ticks on a short logarithmic axis."""
    plots = tuning_plots(study)
    assert len(plots) == 5
    drawn = {caption: figure_to_svg(figure) for figure, caption in plots}
    for svg in drawn.values():
        assert "Objective" not in svg
        assert "Hyperparameter" not in svg
        assert ">'" not in svg
    history = next(svg for caption, svg in drawn.items() if "best so far" in caption)
    assert ">1<" in history
    assert ">1.5<" not in history
    slices = next(svg for caption, svg in drawn.items() if "The score over" in caption)
    assert ">dice<" in slices
    assert ">0.4<" in slices
    assert ">0.5<" in slices


def test_a_study_of_one_trial():
    """What a single trial cannot fill is left out; nothing fails."""
    made = optuna.create_study(direction="maximize")
    made.optimize(lambda trial: trial.suggest_float("dropout", 0.0, 0.5), n_trials=1)
    assert len(tuning_plots(made)) >= 1
