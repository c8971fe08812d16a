"""The Free Spoken Digit Dataset: `recordings/{digit}_{speaker}_{index}.wav`, one spoken digit in each file."""

import re
from collections.abc import Iterator
from pathlib import Path

from harken.core import InputError, RejectFunction, Utterance
from harken.data.importers.candidates import Candidate, audio_files, measure_candidates, need_folder

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEST_INDICES = range(5)
"""Takes 0 to 4 of each digit and speaker are the test set, by the data set's own convention."""

_NAME = re.compile(r"([0-9])_(.+)_([0-9]+)", re.DOTALL)


def import_fsdd(source: Path, *, reject: RejectFunction, threads: int | None = None) -> Iterator[Utterance]:
    """Utterances of FSDD in `source` (the folder that has `recordings`, or that folder itself), sorted by file name.

    The text is the digit as an English word; `tags` hold the split ("train" or "test") and the take's index.
    Audio files named differently are rejected. Raises InputError where no file is named like that.
    """
    need_folder(source, "fsdd")
    folder = source / "recordings" if (source / "recordings").is_dir() else source
    files = audio_files(folder)
    if not any(_NAME.fullmatch(path.stem) for path in files):
        raise InputError(
            f"{folder} has no files named like 7_jackson_32.wav.",
            hint="Give the folder that holds the data set's 'recordings'.",
        )

    def candidates() -> Iterator[Candidate]:
        for path in files:
            match = _NAME.fullmatch(path.stem)
            if match is None:
                reject(str(path.relative_to(folder)), "its name is not {digit}_{speaker}_{index}.wav")
                continue
            digit, speaker, index = match.groups()
            yield Candidate(
                item=path.name,
                id=path.stem,
                audio=path,
                text=DIGIT_WORDS[int(digit)],
                speaker=speaker,
                language="en",
                recording=path.stem,
                tags={"index": index, "split": "test" if int(index) in TEST_INDICES else "train"},
            )

    yield from measure_candidates(candidates(), reject=reject, threads=threads)
