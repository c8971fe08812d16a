"""Runs in Weights & Biases: its cloud, a server of one's own, or files for `wandb sync` where there is no network."""

import os
import re
from pathlib import Path
from typing import Any

from harken.core import InputError, MissingPart, ServiceRefused
from harken.tracking.run import read_record

_EXIT_CODE = {"finished": 0, "interrupted": 255}  # 255 is what W&B itself gives a run that got Ctrl-C
_LONGEST_TAG = 64
_NOT_IN_AN_ID = re.compile(r"[/\\#?%:]")
_STEP = "step"

# Set before the import, where W&B reads them; a user's own word stands. A toolkit must not report on its users, the
# run folder has a log and the command its report, and `finish` must not wait without end for a network that is gone.
_VARIABLES = {
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_CONSOLE": "off",
    "WANDB_MAX_END_OF_RUN_HISTORY_METRICS": "0",
    "WANDB_MAX_END_OF_RUN_SUMMARY_METRICS": "0",
    "WANDB_FINISH_TIMEOUT": "600",
    "WANDB_FINISH_TIMEOUT_RAISES": "true",
}


class WandbSink:
    """A W&B run with the id of Harken's, so that a run that is resumed goes on there.

    Account, server and mode are W&B's own settings: `wandb login`, WANDB_API_KEY, WANDB_ENTITY, WANDB_BASE_URL,
    WANDB_MODE. Its files are in `<run folder>/wandb`; those of the mode "offline" can be sent later.

    Numbers carry their step as a metric too, the horizontal axis of every chart. W&B's own step only grows: a run that
    goes on from a checkpoint before the last step it sent would lose what it repeats, so there W&B counts by itself.
    """

    def __init__(self, *, home: Path, run_folder: Path, project: str = "harken") -> None:
        self.project = project
        self._run_folder = run_folder
        self._run: Any = None
        self._next_step = 0

    def start(self, run_id: str, name: str, parameters: dict[str, Any], tags: dict[str, str]) -> None:
        """Begin, or go on with, the W&B run of `run_id`, with the settings and provenance as its configuration.

        Never asks for a key on the terminal. Raises MissingPart when wandb is not installed or nobody is logged in,
        ServiceRefused when the server cannot be reached or does not accept the run.
        """
        wandb = _package()
        self._run_folder.mkdir(parents=True, exist_ok=True)
        try:
            _require_login(wandb)
            self._run = wandb.init(
                project=self.project,
                id=_NOT_IN_AN_ID.sub("-", run_id),
                name=name,
                config={**parameters, **self._provenance()},
                tags=[f"{key}:{value}"[:_LONGEST_TAG] for key, value in tags.items()],
                dir=str(self._run_folder.absolute()),
                resume="allow",
                reinit="create_new",  # leaves a run alone that the caller has open
            )
        except wandb.Error as err:
            raise ServiceRefused(
                f"W&B did not accept the run: {' '.join(str(err).split()).rstrip('.')}.",
                hint="Check the network and the key (wandb login --relogin), or set WANDB_MODE=offline "
                f"and send the run later: wandb sync {self._run_folder / 'wandb'}/*.",
            ) from err
        self._next_step = self._run.starting_step
        self._run.define_metric(_STEP, hidden=True)
        self._run.define_metric("*", step_metric=_STEP)

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Hand numbers of one step to W&B's own process, which sends them; those not finite as they are."""
        row = {**{name: float(value) for name, value in metrics.items()}, _STEP: step}
        if step >= self._next_step:
            self._started().log(row, step=step)
            self._next_step = step
        else:
            self._started().log(row)
            self._next_step += 1

    def artifact(self, path: Path) -> None:
        """Add a file, or every file of a folder, to the files of the run."""
        run = self._started()
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in inside:
            if file.is_file():
                run.save(str(file.absolute()), base_path=str(path.absolute().parent), policy="now", glob=False)

    def finish(self, status: str) -> None:
        """Put the run's result and `status` into its summary and close it.

        Raises TimeoutError when the rest could not be sent within WANDB_FINISH_TIMEOUT seconds (10 minutes unless
        set); it stays in the files.
        """
        run = self._started()
        run.summary.update({**self._recorded("result"), "status": status})
        self._run = None
        run.finish(exit_code=_EXIT_CODE.get(status, 1))

    def _provenance(self) -> dict[str, Any]:
        """What run.json says about code and machine, without the packages: W&B lists those itself."""
        facts = {key: value for key, value in self._recorded("provenance").items() if key != "packages"}
        return {"provenance": facts} if facts else {}

    def _recorded(self, field: str) -> dict[str, Any]:
        try:
            return dict(read_record(self._run_folder).get(field) or {})
        except InputError:  # a run of somebody who keeps no run folder
            return {}

    def _started(self) -> Any:
        if self._run is None:
            raise RuntimeError("start was not called")
        return self._run


def _package() -> Any:
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    try:
        import wandb
    except ImportError as err:
        raise MissingPart(
            "The sink wandb needs the package wandb.", hint="Install it with: pip install 'harken[wandb]'."
        ) from err
    return wandb


def _require_login(wandb: Any) -> None:
    """Refuse to start where W&B would ask for a key, or would find out after minutes that there is no network."""
    if wandb.setup().settings.mode in ("offline", "dryrun", "disabled"):
        return
    # With a run open, W&B has settled the matter and login() does nothing.
    if wandb.run is None and not wandb.login(prompt=False, verify=True):
        raise MissingPart(
            "Nobody is logged in to W&B.",
            hint="Run wandb login, set WANDB_API_KEY, or set WANDB_MODE=offline and send the run later (wandb sync).",
        )
