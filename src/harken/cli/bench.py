"""`harken bench`: how fast a model is on this machine, engine against engine, and as a stream."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harken.cli import bench_streaming
from harken.cli.output import note, print_json

if TYPE_CHECKING:
    from harken.evaluation.speed import SpeedReport

app = typer.Typer(help="How fast a model is on this machine.", no_args_is_help=True)
app.command("streaming")(bench_streaming.streaming)


@app.command("inference")
def inference(
    model: Annotated[Path, typer.Argument(help="Model folder.")],
    files: Annotated[list[Path], typer.Argument(help="Audio files, of the length that is usual.", metavar="FILE...")],
    engine: Annotated[
        list[str] | None, typer.Option(help="torch, onnx or ctranslate2; repeatable. Without it: all that can run.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="auto, fp32, fp16 or int8: which export the onnx engine runs.")
    ] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads of each engine.")] = 1,
    rounds: Annotated[int, typer.Option(help="Rounds that count; engines take turns in each.")] = 3,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "cpu",
    json_output: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Latency, real-time factor and throughput of a model's engines on your audio.

    Each round every engine reads all files one by one, then as one batch.
    """
    from harken.audio.decode import decode_audio
    from harken.core import InputError, MissingPart, Recognizer, parse_settings
    from harken.evaluation.speed import measure_speed
    from harken.inference.config import EngineConfig
    from harken.inference.engines import GROUP, engine_names, load

    recognizers: dict[str, Recognizer] = {}
    for name in engine or engine_names():
        wanted = precision if name == "onnx" else "auto"
        settings = {"device": device, "threads": threads, "precision": wanted}
        try:
            recognizers[name] = load(
                model, engine=name, config=parse_settings(EngineConfig, settings, source="harken bench")
            )
        except (MissingPart, InputError) as err:
            if engine:
                raise
            note(f"{name}: {err}")
    if not recognizers:
        raise MissingPart(f"No engine of {GROUP} can run {model}.", hint="harken doctor says what is installed.")
    rate = next(iter(recognizers.values())).sample_rate_hz
    waveforms = [decode_audio(file, sample_rate_hz=rate) for file in files]
    reports = measure_speed(recognizers, waveforms, rounds=rounds, threads=threads)
    if json_output:
        print_json({name: report.as_json() for name, report in reports.items()})
    else:
        _show(reports, threads)


def _show(reports: "dict[str, SpeedReport]", threads: int) -> None:
    first = next(iter(reports.values()))
    typer.echo(
        f"{first.pieces} files, {first.audio_s:.1f} s of audio, {len(first.alone.wall_s)} rounds, {threads} threads"
    )
    typer.echo(
        f"{'engine':14}{'mean':>9}{'p50':>9}{'p95':>9}  {'RTF':>7}  {'real time':9}  {'audio s':>9}  "
        f"{'in a batch':>10}  {'against':>8}  {'same'}"
    )
    typer.echo(f"{'':14}{'ms':>9}{'ms':>9}{'ms':>9}  {'':7}  {'':9}  {'per CPU s':>9}  {'':10}  {'first':>8}  {'text'}")
    for name, report in reports.items():
        latency = report.latency
        typer.echo(
            f"{name:14}{latency.mean_ms:9.1f}{latency.p50_ms:9.1f}{latency.p95_ms:9.1f}  {latency.rtf:7.4f}  "
            f"{'yes' if latency.real_time else 'no':9}  {report.audio_per_cpu_s:9.1f}  {report.batch_gain:9.2f}x  "
            f"{report.audio_per_cpu_s / first.audio_per_cpu_s:7.2f}x  {report.same_text}/{report.pieces}"
        )
