import json
import subprocess
import sys

import pytest

from harken.core import InputError, parse_settings
from harken.evaluation.errors import ErrorAnalysisConfig, Keyword, analyze_errors

PAIRS = [
    ("their house is old", "there house is old"),
    ("yes it is", ""),
    ("", "thank you"),
    ("no", "no no no no no"),
    ("we go home", "we go home"),
]


def test_everything_at_once(scored) -> None:
    result, utterances = scored(PAIRS, speaker=list("abaab"), language=["en"] * 4 + [None])
    found = analyze_errors(
        result,
        utterances,
        snr_db={"u0": 12.0},
        known_words={"house": 3},
        keywords=[Keyword(text="house", group="thing")],
    )
    assert list(found.summary) == [
        "errors",
        "slices",
        "slices_left_out",
        "speaker_distribution",
        "vocabulary",
        "phonemes",
        "phonemes_skipped",
        "hallucinations",
        "keywords",
        "hardest",
    ]
    assert found.flags == [[], ["empty"], ["on-empty"], ["insertion-run", "repetition"], []]
    summary = json.loads(json.dumps(found.summary, allow_nan=False))
    assert summary == found.summary
    assert summary["errors"][0]["reference"] == "their"
    assert list(summary["slices"]) == ["speaker", "language", "duration", "snr"]
    assert summary["speaker_distribution"]["speakers"] == 2
    assert summary["phonemes"]["en"]["words"] == 8
    assert summary["phonemes_skipped"][0]["language"] is None
    assert summary["hallucinations"]["on_empty"] == 1
    assert summary["keywords"]["recall"] == 1.0
    assert [row["id"] for row in summary["hardest"]] == ["u1", "u0", "u3", "u2"]
    assert summary["vocabulary"]["known"]["bands"][0]["name"] == "unseen"


def test_the_same_again(scored) -> None:
    result, utterances = scored(PAIRS, speaker=list("abcde"))
    one, other = (json.dumps(analyze_errors(result, utterances).summary) for _ in range(2))
    assert one == other


def test_settings(scored) -> None:
    result, utterances = scored(PAIRS)
    config = ErrorAnalysisConfig(frequent_errors=1, contexts=0, worst_words=0, hardest=1, phonemes=False)
    summary = analyze_errors(result, utterances, config).summary
    assert len(summary["errors"]) == 3
    assert (len(summary["hardest"]), summary["vocabulary"]["worst"]) == (1, [])
    assert (summary["phonemes"], summary["phonemes_skipped"], summary["keywords"]) == ({}, [], None)
    english = analyze_errors(result, utterances, ErrorAnalysisConfig(default_language="en")).summary
    assert english["phonemes"]["en"]["words"] == result.words
    for name in ("frequent_errors", "contexts", "worst_words", "hardest"):
        with pytest.raises(ValueError, match=f"{name} is -1; use 0 or more"):
            ErrorAnalysisConfig(**{name: -1})
    with pytest.raises(InputError, match=r"hallucinations\.repeets is not a setting; did you mean"):
        parse_settings(ErrorAnalysisConfig, {"hallucinations": {"repeets": 2}}, source="report.yaml")
    parsed = parse_settings(ErrorAnalysisConfig, {"slices": {"duration_edges_s": [1, 2]}}, source="report.yaml")
    assert parsed.slices.duration_edges_s == (1.0, 2.0)


def test_empty_set_and_other_utterances(scored) -> None:
    found = analyze_errors(*scored([]))
    assert (found.flags, found.summary["errors"], found.summary["slices"]) == ([], [], {})
    assert found.summary["speaker_distribution"] is None
    with pytest.raises(InputError, match="give both in the same order"):
        analyze_errors(scored(PAIRS)[0], scored(PAIRS)[1][::-1])


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, harken.evaluation.errors; "
        "print(sorted({'pandas', 'panphon', 'epitran', 'scipy', 'soundfile', 'numba', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
