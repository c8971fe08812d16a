"""A report with every part the page can show. All of it is scored here, apart from phonemes and code-switching."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harken.core import Utterance, Word
from harken.evaluation.comparison.baseline import with_baseline
from harken.evaluation.errors import ErrorAnalysisConfig, Keyword, SliceConfig
from harken.evaluation.evaluate import join_conditions
from harken.evaluation.page import Clip
from harken.evaluation.report import Background, EvaluationReport, ReportConfig, Timing, build_report

SENTENCES = {
    "en": [
        "turn the light in the kitchen on and close the door",
        "we will meet at the station at half past nine tomorrow",
        "the patient was given two hundred milligrams in the morning",
        "please send the report before the end of the week",
        "she said that nobody had ever asked her this question",
    ],
    "uz": [
        "bugun havo juda yaxshi bo'ldi va biz bog'ga chiqdik",
        "men ertaga soat to'qqizda toshkentga boraman",
        "kitobni stol ustiga qo'yib eshikni yopib keldi",
    ],
    "ru": [
        "завтра утром мы поедем на вокзал встречать гостей",
        "он сказал что ещё никогда не видел такого снега",
        "пожалуйста отправьте отчёт до конца недели",
    ],
    "hi": ["कल सुबह हम स्टेशन पर मिलेंगे", "कृपया दरवाज़ा बंद कर दीजिए"],
    "ar": ["سوف نلتقي غدا في المحطة صباحا", "من فضلك أغلق الباب قبل أن تخرج"],
}
HOSTILE = '</script><img src=x onerror="document.title=1"> & <b>"bold"</b> ]]> <!--'
CONDITIONS = {"clean": 0.0, "noise-10db": 0.11, "mp3-64k": 0.02, "telephone": 0.07, "room-far": 0.16}


def _corrupt(text: str, draw: random.Random, rate: float) -> str:
    words = text.split()
    heard = []
    for word in words:
        chance = draw.random()
        if chance < rate * 0.3:
            continue
        heard.append(draw.choice(words) if chance < rate * 0.55 else word[:-1] if chance < rate else word)
        if draw.random() < rate * 0.25:
            heard.append(draw.choice(words))
    return " ".join(heard)


def _make_utterances(count: int) -> list[Utterance]:
    draw = random.Random(5)
    languages = list(SENTENCES)
    found = []
    for number in range(count):
        language = draw.choices(languages, weights=(6, 4, 4, 1, 1))[0]
        text = draw.choice(SENTENCES[language])
        found.append(
            Utterance(
                id=f"set/{language}-{number:05d}",
                audio=f"/audio/{number}.wav",
                duration_s=round(0.4 * len(text.split()) + draw.random(), 3),
                text=text + " " * (number % 3 == 0),  # a normaliser takes the space away
                speaker=f"speaker-{draw.randrange(14):02d}",
                language=language,
                tags={"accent": draw.choice(["north", "south", "coast"]), "device": draw.choice(["phone", "headset"])},
            )
        )
    return found


def _phonemes() -> dict[str, Any]:
    names = [*"aeiouptkbdgfsvzmnlrj", "ʃ", "ʒ", "tʃ", "x", "q", "ŋ", "∅"]
    draw = random.Random(3)
    counts = []
    for row in range(len(names)):
        if names[row] != "∅":
            counts.append([row, row, draw.randrange(200, 2000)])
        others = draw.sample([n for n in range(len(names)) if n != row], 5)
        counts += [[row, other, draw.randrange(1, 60)] for other in sorted(others)]
    total = sum(n for row, _, n in counts if names[row] != "∅")
    totals = {"words": 900, "reference_phonemes": total, "unpronounced": {"words": 0}}
    return {"phonemes": names, "counts": counts, **totals}


def _code_switching() -> dict[str, Any]:
    def switches(near: int) -> dict[str, Any]:
        rates = {"precision": 0.8, "recall": 0.7 + near / 10, "f1": 0.75 + near / 20}
        return {**rates, "reference": 30, "hypothesis": 28, "correct": 21 + 3 * near}

    counts = {"substitutions": 30, "deletions": 12, "insertions": 8}
    return {
        "language_accuracy": 0.962,
        "language_pairs": 870,
        "language_correct": 837,
        "switch_points": {"0": switches(0), "1": switches(1)},
        "directions": {"uz>ru": {"0": switches(0), "1": switches(1)}, "ru>uz": {"0": switches(0), "1": switches(1)}},
        "languages": {name: {"wer": 0.1, "words": 500, "errors": 50, **counts} for name in ("uz", "ru")},
        "pier": {"value": 0.21, "with_insertions": 0.23, "words": 200, "errors": 42, **counts},
        "mer": None,
        "set": {"cmi": 17.3, "cmi_switched": 25.0, "m_index": 0.61, "i_index": 0.14, "utterances": 90}
        | {"switched_utterances": 24, "switch_points": 30, "words": {"uz": 500, "ru": 400}},
        "reasons": {"mer": "The score counts words also where scripts have no spaces."},
    }


def make_report(count: int = 400, *, worse: bool = False, hostile: bool = True) -> EvaluationReport:
    """`count` utterances, four further conditions; one utterance consists of markup when `hostile`."""
    utterances = _make_utterances(count)
    draw = random.Random(1)
    if hostile:
        utterances[3] = Utterance(
            id="hostile " + HOSTILE, audio="/a.wav", duration_s=2.0, text=HOSTILE, speaker=HOSTILE, language="en"
        )
    rejected = {utterances[7].id: "/audio/7.wav has 0 frames."}
    timing = Timing(
        audio_s=1800.0,
        processing_s=54.2,
        batch_size=16,
        threads=2,
        latencies_s={u.id: 0.02 + 0.05 * draw.random() for u in utterances[:50]},
    )
    config = ReportConfig(
        samples=200,
        normalizer="none" if hostile else "basic",
        latency_budget_ms=60,
        errors=ErrorAnalysisConfig(phonemes=False, hardest=12, slices=SliceConfig(samples=100)),
    )
    background = Background(
        snr_db={u.id: round(draw.gauss(18, 6), 1) for u in utterances},
        training_words={"turn": 5, "the": 1000, "kitobni": 12, "он": 40},
        keywords=[Keyword(text="milligrams", group="units"), Keyword(text="вокзал")],
        model={"name": "conformer-small", "family": "conformer-ctc", "parameters": 8_300_000},
        test_set={"manifest": "data/test.jsonl", "sha256": "9f" * 32},
    )

    def evaluate(rate: float, name: str) -> EvaluationReport:
        heard = {u.id: _corrupt((u.text or "").lower(), draw, rate) for u in utterances if u.id not in rejected}
        heard[utterances[11].id] = "thank you " * 6
        found = {"timing": timing, "rejected": rejected, "condition": name}
        return build_report(utterances, heard, **found, config=config, background=background)

    parts = {name: evaluate(0.12 + more, name) for name, more in CONDITIONS.items()}
    facts = {name: {"name": name, "kind": "test", "description": f"as {name} sounds"} for name in CONDITIONS}
    joined = join_conditions(parts, utterances, facts=facts, config=config)
    joined = with_baseline(joined, evaluate(0.04 if worse else 0.24, "clean"))
    more = {"phonemes": {"uz": _phonemes(), "ru": _phonemes()}, "code_switching": _code_switching()}
    return EvaluationReport(summary={**joined.summary, **more}, rows=joined.rows, conditions=joined.conditions)


def make_clip(*, rate_hz: int = 16_000, seconds: float = 2.0) -> Clip:
    """Silence with a tone of 1 kHz from 0.5 s to 1.0 s, which the clip's words call "one"."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time_s) * ((time_s >= 0.5) & (time_s < 1.0))
    words = (Word(text="one", start_s=0.5, end_s=1.0), Word(text="two", start_s=1.2, end_s=1.6))
    return Clip(waveform=tone.astype(np.float32), sample_rate_hz=rate_hz, words=words)


@pytest.fixture(scope="session")
def rich_report() -> EvaluationReport:
    return make_report()


@pytest.fixture(scope="session")
def clips(rich_report: EvaluationReport) -> dict[str, Clip]:
    return {item["id"]: make_clip() for item in rich_report.summary["hardest"][:3]}


@pytest.fixture(scope="session")
def small_report() -> EvaluationReport:
    """Three utterances, as `build_report` leaves them; nothing optional."""
    texts = {"a": "one two three", "b": "four five", "c": "six"}
    utterances = [Utterance(id=id_, audio=f"/{id_}.wav", duration_s=1.5, text=text) for id_, text in texts.items()]
    return build_report(utterances, {"a": "one too three", "b": "four", "c": "six"}, config=ReportConfig(samples=50))


@pytest.fixture(scope="session")
def hostile() -> str:
    """Markup that would show if a text were taken for more than a text."""
    return HOSTILE


@pytest.fixture(scope="session")
def report_that_is_worse() -> EvaluationReport:
    return make_report(200, worse=True, hostile=False)


# A browser


@pytest.fixture(scope="module")  # not longer: as long as it is there, nothing else can run an event loop
def browser() -> Iterator[Any]:
    """Chromium as the system has it."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium on the PATH")
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file and waits for its utterances; fails at the end for any message, error or request."""
    contexts: list[Any] = []
    complaints: list[str] = []
    requests: set[str] = set()
    files: set[str] = set()

    def opened(path: Path, *, width: int = 1280, **options: Any) -> Any:
        options = {"viewport": {"width": width, "height": 900}, "reduced_motion": "reduce", **options}
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.add(request.url.split("#")[0]))
        files.add(path.as_uri())
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=30_000)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url for url in requests if not url.startswith(("blob:file:", "blob:null", "data:,"))} == files
