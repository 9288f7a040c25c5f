"""The live display of a run: sanity checks, a progress bar, a line an epoch, the outcome."""

from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from striate.cli.console import err, is_live, log, out, suggest
from striate.units import clock, percent

if TYPE_CHECKING:
    from striate.recipes.train import Run, RunPlan
    from striate.training.checks import CheckResult
    from striate.training.observer import RunStart, StepInfo
    from striate.training.rate_finder import RateScan
    from striate.training.repeatability import Repeatability

_HEADING = "{:>7} {:>11} {:>12} {:>16} {:>10} {:>8}"


class LiveDisplay:
    """An observer of training that draws on standard error; on a plain stream it prints one line an epoch."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._num_epochs = 0
        self._score_name = "accuracy"

    def on_start(self, start: "RunStart") -> None:
        self._num_epochs = start.num_epochs
        if start.step:
            log(f"going on after {start.step:,} of {start.num_steps:,} updates")
        self._score_name = start.score_name
        headings = ("epoch", "train loss", "valid. loss", f"valid. {start.score_label}", "images/s", "time")
        err.print(_HEADING.format(*headings), style="bold", highlight=False)
        which = "the latest within a standard error of the best" if start.keeps_latest else "those of the best"
        legend = f"    * weights kept: {which} validation {start.score_label} so far"
        err.print(legend, style="dim", highlight=False)
        if is_live():
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), _Figures())
            self._progress = Progress(*columns, console=err, transient=True)
            self._task = self._progress.add_task("training", total=start.num_steps, completed=start.step, figures="")
            self._progress.start()

    def on_checks(self, checks: "tuple[CheckResult, ...]") -> None:
        for check in checks:
            mark = Text("ok   ", style="green") if check.passed else Text("look ", style="bold yellow")
            err.print(mark + Text(f"{check.name}: {check.detail}", style="dim" if check.passed else ""), soft_wrap=True)

    def on_step(self, info: "StepInfo") -> None:
        if self._progress is None:
            return
        figures = f"loss {info.loss:.4f}  {info.images_per_s:,.0f} images/s  {clock(info.eta_s)} left"
        epoch = f"epoch {info.epoch}/{self._num_epochs}"
        self._progress.update(self._task, completed=info.step, description=epoch, figures=figures)

    def on_epoch(self, record: dict[str, Any]) -> None:
        line = (
            f"{record['epoch']:>3}/{self._num_epochs:<3} {record['train_loss']:>11.4f} "
            f"{record['validation_loss']:>12.4f} {percent(record[f'validation_{self._score_name}']):>16} "
            f"{record['images_per_s']:>10,.0f} {clock(record['elapsed_s']):>8}"
        )
        if "validation_robust_accuracy" in record:
            line += f"  {percent(record['validation_robust_accuracy'])} when attacked"
        err.print(Text(line + " *" * record["is_kept"], style="green" if record["is_kept"] else ""), soft_wrap=True)

    def on_notice(self, line: str) -> None:
        log(line)

    def on_end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def show_run(self, run: "Run", *, advice: bool = True) -> None:
        """Where everything lies, how good the model is and, with `advice`, what to do next; or how to go on."""
        if run.evaluation is None:
            err.print(Text(f"stopped; go on with: striate train --resume {run.path}", style="bold"), soft_wrap=True)
            return
        part = "the test part" if run.split == "test" else "the validation part (there is no test part: optimistic)"
        table = Table(box=None, show_header=False)
        for place, (name, words) in enumerate(run.evaluation.lines()):
            table.add_row(name, Text(words, style="bold green" if place == 0 else ""))
        table.add_row("measured on", Text(f"{run.evaluation.num_images:,} images of {part}"))
        table.add_row("model", Text(str(run.model_path), overflow="fold"))
        table.add_row("report", Text(str(run.report_path), overflow="fold"))
        out.print(table)
        if advice:
            suggest("striate", "predict", str(run.path), "photo.jpg", what=f"and open {run.report_path}")

    def show_plan(self, plan: "RunPlan") -> None:
        """What a run would be, as a table."""
        from striate.recipes.estimate import in_words

        images = " + ".join(f"{count:,} {split}" for split, count in plan.num_images.items() if count)
        table = Table(box=None, show_header=False)
        for name, value in (
            ("network", f"{plan.network}, {plan.num_params:,} parameters"),
            ("image size", f"{plan.image_size[0]} x {plan.image_size[1]} pixels"),
            ("images", f"{images}, {len(plan.class_names):,} classes"),
            ("epochs", f"{plan.epochs:,} in batches of {plan.batch_size:,}"),
            ("time", f"{in_words(plan.estimate_s)} on this machine"),
        ):
            table.add_row(name, Text(value))
        out.print(table)

    def show_repeatability(self, found: "Repeatability") -> None:
        """Whether the steps were equal, and why not."""
        if found.is_equal:
            line = f"{found.num_steps} steps, trained twice, are equal bit for bit"
            out.print(line, style="bold", highlight=False, soft_wrap=True)
            return
        line = (
            f"not equal: {found.tensor} differs after step {found.step} of {found.num_steps}, weights by up to "
            f"{found.max_difference:.2g} at the end"
        )
        out.print(Text(line, style="bold"), soft_wrap=True)
        for reason in found.reasons:
            out.print(Text(reason), soft_wrap=True)

    def show_rates(self, scan: "RateScan") -> None:
        """The curve of a learning-rate scan as bars, and the rate to take."""
        table = Table("learning rate", "loss", "", box=None, header_style="bold")
        lowest, highest = min(scan.losses), max(scan.losses)
        stride = max(1, len(scan.rates) // 30)
        for rate, loss in zip(scan.rates[::stride], scan.losses[::stride], strict=True):
            share = (loss - lowest) / (highest - lowest) if highest > lowest else 0.0
            table.add_row(f"{rate:.2e}", f"{loss:.4f}", "█" * round(40 * share))
        out.print(table)
        best = scan.suggested_learning_rate
        line = "no rate lowered the loss" if best is None else f"suggested: --learning-rate {best:.2g}"
        out.print(line, style="bold", highlight=False)


class _Figures(ProgressColumn):
    """Loss, speed and time left, as the last update gave them."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["figures"], style="cyan")
