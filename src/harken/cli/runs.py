"""`harken runs`: list and look at training runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from harken.cli.output import complain, note, print_json

app = typer.Typer(help="List and look at training runs.", no_args_is_help=True)
FolderOption = Annotated[Path, typer.Option("--dir", help="Folder that holds the runs.")]


@app.command("list")
def list_runs(
    folder: FolderOption = Path("runs"),
    json_output: Annotated[bool, typer.Option("--json", help="Print the records as JSON.")] = False,
) -> None:
    """List the runs in a folder, newest last. A damaged record is reported; the exit code is 2 then."""
    from harken.core import HarkenError, MissingPart
    from harken.tracking.run import read_record

    if not folder.is_dir():
        raise MissingPart(f"{folder} does not exist.", hint="Name the folder of your runs with --dir.")
    records, damaged = [], 0
    for path in sorted(folder.glob("*/run.json")):
        try:
            records.append({**read_record(path.parent), "folder": str(path.parent)})
        except HarkenError as err:
            complain(str(err))
            damaged += 1
    records.sort(key=lambda record: str(record["created_at"]))
    if json_output:
        print_json(records)
    elif records:
        typer.echo(_overview(records))
    else:
        note(f"{folder} holds no run{' that can be read' if damaged else ''}.")
    if damaged:
        raise typer.Exit(2)


def _overview(records: list[dict[str, Any]]) -> str:
    from harken.core.tables import text_table

    rows = []
    for record in records:
        result = record.get("result") or {}
        wer = result.get("best_wer")
        rate = "" if wer is None else f"{100 * wer:.2f} %"
        rows.append((record["folder"], record["status"], result.get("updates", ""), rate, record["id"]))
    return text_table([("run", "status", "updates", "best WER", "id"), *rows])


@app.command("show")
def show(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print record, metrics and events as JSON.")] = False,
) -> None:
    """Show a run: how it stands, its evaluations, and what happened in it."""
    from harken.core.tables import text_table
    from harken.tracking.run import read_events, read_metrics, read_record
    from harken.training.stage_results import BEFORE_STAGES, STAGE_ENDED, results_in, stage_rows

    record, metrics, events = read_record(run), read_metrics(run), read_events(run)
    if json_output:
        print_json({"record": record, "metrics": metrics, "events": events})
        return
    typer.echo(f"{record['id']}: {record['status']}" + (f" ({record['error']})" if record.get("error") else ""))
    rows = [
        (
            line["step"],
            f"{line['epoch']:.2f}",
            f"{100 * line['val_wer']:.2f} %",
            f"{100 * line['val_cer']:.2f} %",
            "" if line.get("val_loss") is None else f"{line['val_loss']:.3f}",
        )
        for line in metrics
        if line.get("val_wer") is not None
    ]
    typer.echo(text_table([("update", "epoch", "WER", "CER", "loss"), *rows]))
    if stages := results_in(events):
        typer.echo(f"\n{text_table(stage_rows(stages))}")
    shown = [event for event in events if event["event"] not in ("checkpoint", BEFORE_STAGES, STAGE_ENDED)]
    if stages and shown:
        typer.echo()
    for event in shown[-10:]:
        rest = {key: value for key, value in event.items() if key not in ("event", "step", "time")}
        when = "" if event["step"] is None else f" at {event['step']}"
        typer.echo(f"{event['event']}{when}: {rest}")
