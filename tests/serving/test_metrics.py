"""What is measured is what happened, under labels of our own alone."""

from prometheus_client import generate_latest

from harken.serving.contract import Timings
from harken.serving.metrics import ServerMetrics


def test_figures_of_requests_and_passes() -> None:
    metrics = ServerMetrics()
    for number in range(1, 21):
        timings = Timings(decode_s=0.01, queue_s=number / 100, inference_s=0.5, total_s=1.0)
        metrics.request_done("m", timings, audio_s=10.0, cached=False)
    metrics.request_done("m", Timings(total_s=0.001), audio_s=10.0, cached=True)
    metrics.pass_done("m", audio_s=10.0, inference_s=1.0, batch_size=1)
    metrics.pass_done("m", audio_s=40.0, inference_s=2.0, batch_size=4)
    metrics.refused("queue_full")
    metrics.decode_failed("damaged")
    stats = metrics.stats()
    assert stats["totals"] == {"heard": 20, "cached": 1, "refused: queue_full": 1, "not decoded: damaged": 1}
    assert stats["recent_requests"] == 20
    assert stats["queue_s"] == {"p50": 0.11, "p95": 0.2}
    assert stats["rtf"] == {"p50": 0.1, "p95": 0.1}
    assert stats["batching"] == {
        "passes": 2,
        "sizes": {"1": 1, "4": 1},
        "audio_s_per_s": {"alone": 10.0, "together": 20.0},
    }
    value = metrics.registry.get_sample_value
    assert value("asr_audio_seconds_total", {"model": "m"}) == 50.0
    assert value("asr_batch_size_sum", {"model": "m"}) == 5.0
    assert value("asr_queue_wait_seconds_count", {"model": "m"}) == 20.0
    assert value("asr_rejects_total", {"reason": "queue_full"}) == 1.0
    assert value("asr_decode_failures_total", {"reason": "damaged"}) == 1.0
    assert value("asr_cache_hits_total", {"model": "m"}) == 1.0


def test_before_anything_happened() -> None:
    stats = ServerMetrics().stats()
    assert (stats["queue_s"], stats["batching"]["audio_s_per_s"]) == (None, {"alone": None, "together": None})


def test_gauges() -> None:
    metrics = ServerMetrics()
    metrics.set_queue_depth("m", 3)
    metrics.set_models_loaded(2)
    metrics.set_wer("m", 0.125)
    metrics.stream_opened("m")
    metrics.stream_heard("m", 2.5)
    text = generate_latest(metrics.registry).decode()
    for line in (
        'asr_queue_depth{model="m"} 3.0',
        "asr_models_loaded 2.0",
        'asr_wer_score{model="m"} 0.125',
        'asr_active_streams{model="m"} 1.0',
        'asr_audio_seconds_total{model="m"} 2.5',
    ):
        assert line in text
    metrics.stream_closed("m")
    metrics.set_wer("m", None)
    text = generate_latest(metrics.registry).decode()
    assert 'asr_active_streams{model="m"} 0.0' in text
    assert 'asr_wer_score{model="m"} NaN' in text
