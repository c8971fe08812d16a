"""How long somebody has to wait, from what was measured."""

from harken.serving.scheduling.throughput import LONGEST_S, SHORTEST_S, Throughput


def test_it_follows_what_passes_took() -> None:
    speed = Throughput()
    assert speed.audio_s_per_s is None
    assert speed.wait_s(30.0) == 30.0
    for _ in range(30):
        speed.add(audio_s=20.0, inference_s=2.0)
    assert speed.audio_s_per_s is not None
    assert abs(speed.audio_s_per_s - 10.0) < 1e-9
    assert abs(speed.wait_s(100.0) - 10.0) < 1e-9
    for _ in range(30):
        speed.add(audio_s=20.0, inference_s=4.0)
    assert abs(speed.audio_s_per_s - 5.0) < 0.1
    assert (speed.wait_s(0.0), speed.wait_s(1e9)) == (SHORTEST_S, LONGEST_S)
