"""A search for settings with Optuna: latent units, learning rate and particles of a VRNN on Bach's chorales.

    pip install 'pyro-vrnn[chorales,optuna]'
    pyro-vrnn prepare chorales
    python examples/optuna_study.py --trials 20

Each trial is a run of its own, runs/study/trial-N, trained by IWAE with 1, 5 or 20 particles. All are validated by one
bound, IWAE with 20 particles, or their numbers could not be compared. A trial that is worse at a validation than
half of the trials before it were at that update is pruned: the observer stops its training, which is saved.

The study is a file, runs/study/study.db: run it again for more trials, or `optuna-dashboard sqlite:///runs/study/study.db`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import optuna

import pyro_vrnn as pv


class Pruning(pv.Observer):
    """Hands every validation to a trial, and stops the training when the trial is to be pruned.

    Args:
        trial: the trial that this training is.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def logged(self, row: dict[str, Any]) -> None:
        """Report the bound in nats per step, by update."""
        if "valid_nll_per_step" not in row:
            return
        self.trial.report(row["valid_nll_per_step"], row["step"])
        if self.trial.should_prune():
            raise pv.StopTraining(f"trial {self.trial.number} is pruned")


def objective(trial: optuna.Trial, data: str, out: Path, settings: dict[str, Any]) -> float:
    """Train one trial.

    Args:
        trial: chooses the three settings.
        data: a prepared file, or the name of one below data/.
        out: the folder of all trials.
        settings: further settings, the same for all trials.

    Returns:
        The best bound on validation data, in nats per step; lower is better.

    Raises:
        optuna.TrialPruned: the training was stopped.
    """
    particles = trial.suggest_categorical("particles", [1, 5, 20])
    run = pv.train(
        "chorales-vrnn",
        data=data,
        out=out / f"trial-{trial.number}",
        overwrite=True,  # of a trial that was killed
        objective="iwae" if particles > 1 else "elbo",
        particles=particles,
        lr=trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        settings={
            "model.latent_dim": trial.suggest_int("latent_dim", 4, 64, log=True),
            "training.valid_objective": "iwae",
            "training.valid_particles": 20,
            **settings,
        },
        observer=Pruning(trial),
    )
    if run.result.stopped == "observer":
        raise optuna.TrialPruned
    return run.result.best_nll


def main(argv: list[str] | None = None) -> optuna.Study:
    """Run or continue a study, and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default="chorales", help="a prepared file of piano-rolls, or its name below data/")
    parser.add_argument("--out", type=Path, default=Path("runs/study"), help="the folder of the study")
    parser.add_argument("--trials", type=int, default=20, help="how many more")
    parser.add_argument("--max-steps", type=int, default=1000, help="updates of each at most")
    parser.add_argument("--hidden-dim", type=int, default=128, help="width of all networks")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="chorales-vrnn",
        storage=f"sqlite:///{options.out / 'study.db'}",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))  # a study that continues makes other choices
    settings = {
        "training.max_steps": options.max_steps,
        "model.hidden_dim": options.hidden_dim,
        "model.network_dims": [options.hidden_dim],
    }
    study.optimize(lambda trial: objective(trial, options.data, options.out, settings), n_trials=options.trials)
    for trial in study.trials:
        value = "" if trial.value is None else f"{trial.value:.4f} nats per step"
        print(f"trial {trial.number}: {trial.state.name.lower()} {value} {trial.params}")
    best = study.best_trial
    print(
        f"best: trial {best.number}, {best.value:.4f} nats per step; its run is {options.out / f'trial-{best.number}'}"
    )
    return study


if __name__ == "__main__":
    main()
