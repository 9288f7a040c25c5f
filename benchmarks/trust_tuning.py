"""striate tune beside Optuna's own sampler: the same space, the same number of trials, the same runs."""

import tempfile
from pathlib import Path
from typing import Any

from striate.data.opening import Access
from striate.recipes.choices import Choices
from striate.recipes.train import train
from striate.recipes.tune import tune
from striate.recipes.tuning_space import Dimension

NUM_TRIALS, NUM_SEEDS, EPOCHS = 8, 3, 2
SPACE = (
    Dimension("learning_rate", low=1e-4, high=1.0, is_log=True),
    Dimension("weight_decay", low=1e-6, high=1e-1, is_log=True),
)


def measure(data: Path) -> dict[str, Any]:
    """The best validation accuracy that each finds on the small copy of Fashion-MNIST."""
    rows = [_one(str(data / "fashion-mnist-mini"), seed) for seed in range(NUM_SEEDS)]
    return {"num_trials": NUM_TRIALS, "epochs": EPOCHS, "network": "lenet5", "seeds": rows}


def _one(source: str, seed: int) -> dict[str, Any]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    choices = Choices(network="lenet5", epochs=EPOCHS, seed=seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = tune(source, choices, folder=folder / "tuned", space=SPACE, num_trials=NUM_TRIALS, minutes=60)
        own = max(trial.score for trial in found.trials if trial.end == "finished" and trial.score is not None)

        def objective(trial: Any) -> float:
            drawn = {each.name: trial.suggest_float(each.name, each.low, each.high, log=each.is_log) for each in SPACE}
            run = train(source, Choices(network="lenet5", epochs=EPOCHS, seed=seed, **drawn),
                        run=folder / f"trial{trial.number}", access=Access())  # fmt: skip
            return float(run.best_score)

        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(objective, n_trials=NUM_TRIALS)
        return {
            "seed": seed,
            "striate tune": own,
            "Optuna's TPE": study.best_value,
            "seconds of striate's trials": found.seconds,
            "trials that ran to their end": sum(trial.end == "finished" for trial in found.trials),
        }
