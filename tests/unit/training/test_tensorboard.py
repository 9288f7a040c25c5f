from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from striate.training.observer import Observers, SilentObserver
from striate.training.tensorboard import TensorBoardWriter
from training_cases import train_tiny


def scalars(folder, tag):
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_the_curves_are_those_of_the_run(tmp_path):
    observer = Observers([TensorBoardWriter(tmp_path / "events"), SilentObserver()])
    _, result = train_tiny(tmp_path, observer=observer)
    steps = [step for step, _ in scalars(tmp_path / "events", "validation/accuracy")]
    assert steps == [6, 12, 18]
    assert scalars(tmp_path / "events", "train/learning_rate")[0][1] > 0
    assert result.status == "finished"


def test_ending_before_the_start_is_harmless(tmp_path):
    writer = TensorBoardWriter(tmp_path / "events")
    writer.on_end()
    assert not (tmp_path / "events").exists()
