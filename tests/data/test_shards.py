"""Tar shards: what is written, resumed, verified, and read in sequence."""

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from harken.audio.decode import decode_audio
from harken.core import InputError, Utterance
from harken.core.files import sha256_file
from harken.data import shards as module
from harken.data.manifest import read_manifest
from harken.data.shard_index import index_path, member_table, read_member, scan_members
from harken.data.shard_stream import ShardOrder, ShardStream
from harken.data.shards import verify_shards, write_shards

SaveTone = Callable[..., Path]


@pytest.fixture
def corpus(tmp_path: Path, save_tone: SaveTone) -> list[Utterance]:
    """Ten files of 0.1 to 0.19 s."""
    return [
        Utterance(
            id=f"u {number}/ü",
            audio=str(save_tone(tmp_path / "in" / f"{number}.wav", seconds=0.1 + number / 100, hz=300 + 40 * number)),
            duration_s=0.1 + number / 100,
            text=f"text {number}",
            tags={"split": "train"},
            extra={"word_languages": ["uz", "ru"]},
        )
        for number in range(10)
    ]


def test_members_are_the_files_and_the_manifest_finds_them(corpus: list[Utterance], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = write_shards(corpus, out, shard_bytes=20_000)
    assert (len(result.utterances), result.rejected, result.reused) == (10, (), 0)
    assert result.shards == len(list(out.glob("shard-*.tar"))) == 3
    back = read_manifest(out / "manifest.jsonl")
    assert tuple(back) == result.utterances
    for before, after in zip(corpus, back, strict=True):
        assert replace(after, audio=before.audio) == before
        assert read_member(after.audio) == Path(before.audio).read_bytes()
        np.testing.assert_array_equal(
            decode_audio(after.audio, sample_rate_hz=16_000), decode_audio(before.audio, sample_rate_hz=16_000)
        )
    assert json.loads((out / "manifest.jsonl").read_text().splitlines()[0])["audio"] == (
        "tar:shard-000000.tar!00000000.wav"
    )
    assert verify_shards(out) == []


def test_tar_is_plain_and_the_index_is_what_a_scan_finds(corpus: list[Utterance], tmp_path: Path) -> None:
    write_shards(corpus, tmp_path / "out", shard_bytes=20_000)
    for shard in (tmp_path / "out").glob("shard-*.tar"):
        with tarfile.open(shard, "r:") as archive:
            members = archive.getmembers()
        assert all((m.mtime, m.uid, m.gid, m.uname, m.mode) == (0, 0, 0, "", 0o644) for m in members)
        assert shard.read_bytes()[257:263] == b"ustar\0"
        assert member_table(shard) == scan_members(shard) == {m.name: (m.offset_data, m.size) for m in members}
        assert [m.name for m in members] == sorted(m.name for m in members)


def test_equal_input_gives_equal_bytes_whatever_the_threads(corpus: list[Utterance], tmp_path: Path) -> None:
    for encoding in ("keep", "flac"):
        folders = [tmp_path / f"{encoding}{threads}" for threads in (1, 3)]
        for folder, threads in zip(folders, (1, 3), strict=True):
            write_shards(corpus, folder, shard_bytes=15_000, encoding=encoding, threads=threads)
        names = sorted(path.name for path in folders[0].iterdir())
        assert names == sorted(path.name for path in folders[1].iterdir())
        for name in names:
            assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_flac_cuts_parts_out_and_mixes_channels(tmp_path: Path, save_tone: SaveTone) -> None:
    path = save_tone(tmp_path / "long.wav", seconds=2.0, channels=2, rate=22_050)
    part = Utterance(id="a", audio=str(path), duration_s=0.5, offset_s=1.0, recording="long")
    result = write_shards([part], tmp_path / "out", encoding="flac")
    (made,) = result.utterances
    assert (made.offset_s, made.duration_s, made.recording) == (0.0, 0.5, "long")
    original, _ = soundfile.read(path, dtype="int16")
    stored, rate = _read(made.audio)
    assert rate == 22_050
    np.testing.assert_array_equal(stored, original[22_050 : 22_050 + 11_025, 0])


def _read(audio: str) -> tuple[Any, int]:
    import io

    return soundfile.read(io.BytesIO(read_member(audio)), dtype="int16")


def test_keep_stores_a_long_recording_once(tmp_path: Path, save_tone: SaveTone) -> None:
    path = save_tone(tmp_path / "long.wav", seconds=2.0)
    parts = [Utterance(id=str(n), audio=str(path), duration_s=0.4, offset_s=0.5 * n) for n in range(4)]
    result = write_shards(parts, tmp_path / "out")
    assert len({item.audio for item in result.utterances}) == 1
    assert [item.offset_s for item in result.utterances] == [0.0, 0.5, 1.0, 1.5]
    assert result.total_bytes < 2 * path.stat().st_size
    np.testing.assert_array_equal(
        decode_audio(result.utterances[3].audio, sample_rate_hz=16_000, offset_s=1.5, duration_s=0.4),
        decode_audio(path, sample_rate_hz=16_000, offset_s=1.5, duration_s=0.4),
    )


def test_what_cannot_be_read_is_left_out_with_the_reason(corpus: list[Utterance], tmp_path: Path) -> None:
    Path(corpus[2].audio).write_bytes(b"not audio at all, but a text of some length")
    Path(corpus[5].audio).unlink()
    for encoding in ("keep", "flac"):
        result = write_shards(corpus, tmp_path / encoding, encoding=encoding)
        assert [item.item for item in result.rejected] == [corpus[2].id, corpus[5].id]
        assert "5.wav does not exist" in result.rejected[1].reason
        assert len(result.utterances) == 8
    with pytest.raises(InputError, match="None of the 1 utterances"):
        write_shards([corpus[5]], tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


def test_interrupted_work_is_taken_up(corpus: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tmp_path / "whole"
    write_shards(corpus, whole, shard_bytes=15_000)
    out, original, calls = tmp_path / "out", module._as_it_is, []

    def fail_at_the_eighth(utterance: Utterance, stored: Any) -> Any:
        calls.append(utterance.id)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return original(utterance, stored)

    monkeypatch.setattr(module, "_as_it_is", fail_at_the_eighth)
    with pytest.raises(KeyboardInterrupt):
        write_shards(corpus, out, shard_bytes=15_000)
    assert not (out / "shards.json").exists()
    assert not list(out.glob(".*"))
    done = len(list(out.glob("shard-*.tar")))
    assert done >= 2
    monkeypatch.setattr(module, "_as_it_is", original)
    result = write_shards(corpus, out, shard_bytes=15_000)
    assert result.reused == done
    for path in whole.iterdir():
        assert path.read_bytes() == (out / path.name).read_bytes()


def test_changes_are_noticed(corpus: list[Utterance], tmp_path: Path, save_tone: SaveTone) -> None:
    out = tmp_path / "out"
    first = write_shards(corpus, out, shard_bytes=15_000)
    assert write_shards(corpus, out, shard_bytes=15_000).reused == first.shards
    save_tone(Path(corpus[-1].audio), seconds=0.3)
    assert write_shards(corpus, out, shard_bytes=15_000).reused == first.shards - 1
    assert read_member(write_shards(corpus, out, shard_bytes=15_000).utterances[-1].audio) == (
        Path(corpus[-1].audio).read_bytes()
    )
    shorter = write_shards(corpus[:4], out, shard_bytes=15_000)
    assert len(list(out.glob("shard-*.tar"))) == shorter.shards < first.shards
    assert write_shards(corpus[:4], out, shard_bytes=99_000).reused == 0
    longer = write_shards(corpus, out, shard_bytes=99_000)  # the short last shard may not be kept
    assert longer.reused == 0
    assert sha256_file(out / "shard-000000.tar") == sha256_file(
        Path(write_shards(corpus, tmp_path / "fresh", shard_bytes=99_000).utterances[0].audio[4:].partition("!")[0])
    )


def test_verify_names_what_is_wrong(corpus: list[Utterance], tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_shards(corpus, out, shard_bytes=15_000)
    data = bytearray((out / "shard-000000.tar").read_bytes())
    data[600] ^= 1
    (out / "shard-000000.tar").write_bytes(data)
    (out / "shard-000001.tar").unlink()
    index = index_path(out / "shard-000002.tar")
    index.write_text(index.read_text().replace('.wav",', '.wav",1', 1))
    with open(out / "manifest.jsonl", "a") as file:
        file.write("\n")
    assert verify_shards(out) == [
        "shard-000000.tar has changed: its SHA-256 is another one",
        "shard-000001.tar is missing",
        "shard-000002.tar.json does not fit shard-000002.tar",
        "manifest.jsonl is missing or has changed",
    ]
    with pytest.raises(InputError, match=r"no readable shards\.json"):
        verify_shards(tmp_path)


@pytest.mark.parametrize("index", ["garbage", "{}", '{"layout": 1}', '{"layout": 1, "bytes": "x", "members": []}'])
def test_a_damaged_index_is_named_and_the_audio_still_found(
    corpus: list[Utterance], tmp_path: Path, index: str
) -> None:
    result = write_shards(corpus, tmp_path / "out")
    index_path(tmp_path / "out" / "shard-000000.tar").write_text(index)
    assert verify_shards(tmp_path / "out") == ["shard-000000.tar.json is missing or damaged"]
    assert read_member(result.utterances[3].audio) == Path(corpus[3].audio).read_bytes()


@pytest.mark.parametrize(
    "listing",
    ["[]", '{"layout": 2}', '{"layout": 1}', '{"layout": 1, "shards": [{"name": "x"}], "manifest_sha256": ""}'],
)
def test_a_damaged_listing_is_an_error(corpus: list[Utterance], tmp_path: Path, listing: str) -> None:
    write_shards(corpus, tmp_path / "out")
    (tmp_path / "out" / "shards.json").write_text(listing)
    with pytest.raises(InputError, match=r"shards\.json is damaged, or of another layout\. Write the shards again\."):
        verify_shards(tmp_path / "out")


def test_nothing_of_the_users_is_lost(corpus: list[Utterance], tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("mine")
    with pytest.raises(InputError, match="not of shards"):
        write_shards(corpus, tmp_path)
    assert (tmp_path / "manifest.jsonl").read_text() == "mine"
    for name in ("shard-000000.tar", "shard-000012.tar", "shards.json"):
        other = tmp_path / name.partition(".")[0] / name
        other.parent.mkdir()
        other.write_bytes(b"mine")
        with pytest.raises(InputError, match="Choose another folder, or remove it"):
            write_shards(corpus, other.parent)
        assert [path.read_bytes() for path in other.parent.iterdir()] == [b"mine"]
    result = write_shards(corpus, tmp_path / "out")
    with pytest.raises(InputError, match="is in a shard of"):
        write_shards(result.utterances, tmp_path / "out")
    again = write_shards(result.utterances, tmp_path / "again", encoding="flac")
    assert len(again.utterances) == 10


def test_a_shard_without_index_is_taken_up(corpus: list[Utterance], tmp_path: Path) -> None:
    """What a crash between a shard and its index leaves, in the first shard."""
    for name in ("whole", "broken"):
        write_shards(corpus, tmp_path / name)
    for name in ("shard-000000.tar.json", "shards.json", "manifest.jsonl"):
        (tmp_path / "broken" / name).unlink()
    assert write_shards(corpus, tmp_path / "broken").reused == 0
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "broken" / path.name).read_bytes()


def test_audio_that_only_the_shards_still_hold_stays(corpus: list[Utterance], tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_shards(corpus, out, shard_bytes=15_000)
    before = {path: path.read_bytes() for path in out.iterdir()}
    Path(corpus[5].audio).unlink()
    with pytest.raises(InputError, match=r"5\.wav is gone, and the shards in .* hold the audio of 'u 5/ü'"):
        write_shards(corpus, out, shard_bytes=15_000)
    others = [replace(utterance, id=f"other {utterance.id}", audio="nowhere.wav") for utterance in corpus]
    with pytest.raises(InputError, match=r"None of the 10 utterances .* Nothing was written\."):
        write_shards(others, out, shard_bytes=15_000)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert verify_shards(out) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [({"shard_bytes": 0}, "shard_bytes is 0"), ({"encoding": "mp3"}, "encoding is 'mp3'")],
)
def test_settings_are_checked(corpus: list[Utterance], tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_shards(corpus, tmp_path / "out", **change)
    with pytest.raises(InputError, match="no utterances"):
        write_shards([], tmp_path / "out")
    with pytest.raises(InputError, match="same id"):
        write_shards([corpus[0], corpus[0]], tmp_path / "out")


def test_members_that_are_absent_or_cut_off(corpus: list[Utterance], tmp_path: Path) -> None:
    result = write_shards(corpus, tmp_path / "out")
    shard = tmp_path / "out" / "shard-000000.tar"
    with pytest.raises(InputError, match="no member 'x'"):
        read_member(f"tar:{shard}!x")
    with pytest.raises(InputError, match="not a member of a shard"):
        read_member(str(shard))
    with pytest.raises(InputError, match="cannot be read"):
        read_member("tar:/nowhere.tar!x")
    index_path(shard).unlink()
    assert read_member(result.utterances[0].audio) == Path(corpus[0].audio).read_bytes()  # without an index, by a scan


@pytest.mark.parametrize(("count", "shards", "buffer", "interleave"), [(1, 1, 1, 1), (7, 3, 1, 2), (101, 7, 10, 4),
                                                                       (100, 5, 9, 2), (64, 64, 1000, 4)])  # fmt: skip
def test_order_is_a_permutation_by_arithmetic(count: int, shards: int, buffer: int, interleave: int) -> None:
    shard_of = np.sort(np.arange(count) % shards)
    order = ShardOrder(shard_of, seed=3, buffer=buffer, interleave=interleave)
    whole = order.at(0, 0, count)
    assert sorted(whole.tolist()) == list(range(count))
    for start in range(count):
        np.testing.assert_array_equal(order.at(0, start, min(start + 13, count)), whole[start : start + 13])
    np.testing.assert_array_equal(
        ShardOrder(shard_of, seed=3, buffer=buffer, interleave=interleave).at(0, 0, count), whole
    )
    if count > 50:
        assert order.at(1, 0, count).tolist() != whole.tolist()
        assert ShardOrder(shard_of, seed=4, buffer=buffer, interleave=interleave).at(0, 0, count).tolist() != (
            whole.tolist()
        )


def test_nothing_moves_further_than_the_buffer() -> None:
    order = ShardOrder(np.repeat(np.arange(20), 500), seed=1, buffer=200, interleave=3)
    line = order.line_positions(0, 0, 10_000)
    assert np.abs(line - np.arange(10_000)).max() < 300
    read = order.in_line(0, np.arange(10_000))  # the order of reading goes forward in every shard
    for shard in range(20):
        assert np.all(np.diff(read[read // 500 == shard]) > 0)


def test_how_well_it_shuffles() -> None:
    """50 shards of 2,000: batches of 32 against those of a perfect shuffle, which have 24 different shards."""
    shard_of = np.repeat(np.arange(50), 2_000)
    perfect = np.random.default_rng(0).permutation(100_000)

    def figures(order: Any) -> tuple[float, float]:
        batches = shard_of[order].reshape(-1, 32)
        different = float(np.mean([len(set(batch)) for batch in batches.tolist()]))
        neighbours = float(np.mean(np.abs(np.diff(order)) <= 100))
        return different, neighbours

    wide = figures(ShardOrder(shard_of, seed=0, buffer=10_000, interleave=16).at(0, 0, 100_000))
    usual = figures(ShardOrder(shard_of, seed=0, buffer=1_000, interleave=4).at(0, 0, 100_000))
    narrow = figures(ShardOrder(shard_of, seed=0, buffer=1_000, interleave=1).at(0, 0, 100_000))
    assert figures(perfect)[0] == pytest.approx(23.8, abs=0.2)
    assert figures(perfect)[1] < 0.003
    assert wide[0] > 14
    assert wide[1] < 0.02
    assert 3.9 < usual[0] < 5
    assert usual[1] < 0.15
    assert narrow[0] < 1.6
    assert narrow[1] < 0.25


def test_stream_gives_each_utterance_once_with_its_bytes(corpus: list[Utterance], tmp_path: Path) -> None:
    utterances = write_shards(corpus, tmp_path / "out", shard_bytes=15_000).utterances
    stream = ShardStream(utterances, seed=5, buffer=3, interleave=2)
    orders = []
    for epoch in range(2):
        assert stream.epoch == epoch
        seen = list(stream)
        assert {item.id for item, _ in seen} == {item.id for item in corpus}
        for item, data in seen:
            source = next(other.audio for other in corpus if other.id == item.id)
            assert data == Path(source).read_bytes()
        orders.append([item.id for item, _ in seen])
    assert orders[0] != orders[1]
    expected = ShardOrder([int(u.audio.split("shard-")[1][:6]) for u in utterances], seed=5, buffer=3, interleave=2)
    assert orders[1] == [utterances[index].id for index in expected.at(1, 0, 10)]


def test_stopped_anywhere_it_goes_on_as_if_it_had_not(corpus: list[Utterance], tmp_path: Path) -> None:
    utterances = write_shards(corpus, tmp_path / "out", shard_bytes=15_000).utterances
    for buffer in (1, 3, 4, 100):
        settings = {"seed": 5, "buffer": buffer, "interleave": 2}
        endless = _two_epochs(ShardStream(utterances, **settings))
        whole = list(endless)
        assert len(whole) == 20
        for stop in range(21):
            first = ShardStream(utterances, **settings)
            taken = list(islice(_two_epochs(first), stop))
            state = json.loads(json.dumps(first.state()))
            second = ShardStream(utterances, **settings).restore(state)
            rest = [(item.id, data) for _ in range(2) for item, data in second]
            assert taken == whole[:stop]
            assert rest[: 20 - stop] == whole[stop:]


def _two_epochs(stream: ShardStream) -> Iterator[tuple[str, bytes]]:
    while stream.epoch < 2:
        for item, data in stream:
            yield item.id, data


def test_every_byte_is_read_once_and_forward(
    corpus: list[Utterance], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harken.data import shard_stream

    utterances = write_shards(corpus, tmp_path / "out", shard_bytes=15_000).utterances
    reads: list[tuple[str, int]] = []
    original = shard_stream.read_at

    def noting(file: Any, place: tuple[int, int], name: str) -> bytes:
        reads.append((name.partition("!")[0], place[0]))
        return original(file, place, name)

    monkeypatch.setattr(shard_stream, "read_at", noting)
    list(ShardStream(utterances, seed=1, buffer=4, interleave=2))
    assert len(reads) == len(set(reads)) == 10


def test_a_state_of_something_else_is_refused(corpus: list[Utterance], tmp_path: Path) -> None:
    utterances = write_shards(corpus, tmp_path / "out").utterances
    state = ShardStream(utterances, seed=1).state()
    with pytest.raises(InputError, match="taken with seed 1, and this stream has 2"):
        ShardStream(utterances, seed=2).restore(state)
    with pytest.raises(InputError, match="taken with content"):
        ShardStream(utterances[1:], seed=1).restore(state)
    with pytest.raises(InputError, match="position 11"):
        ShardStream(utterances, seed=1).restore({**state, "position": 11})
    with pytest.raises(InputError, match="not a member of a shard"):
        ShardStream(corpus)
