"""The file of routes, and the choice of one by what a detector says."""

from pathlib import Path
from typing import Any

import pytest

from harken.core import InputError, MissingPart, RunFailed
from harken.inference.routes import RoutedModel, RoutesConfig, choose_route, naming, read_routes

UZ, RU, REST = (RoutedModel(model=Path(name)) for name in ("uz", "ru", "rest"))
PLAIN = RoutesConfig(routes={"uz": UZ})


def write(folder: Path, text: str) -> Path:
    path = folder / "routes.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
detector: models/tiny
routes:
  uz-Latn: models/uz
  ru:
    model: /elsewhere/ru
    engine: onnx
    settings: {threads: 2, ctc: {lm: lm/ru.arpa, hotwords: /names, beam_size: 8}}
default: ../small
least_probability: 0.7
languages: [uz, ru, en]
most_loaded: 3
find_speech: true
""",
    )
    found = read_routes(path)
    assert found.detector == RoutedModel(model=tmp_path / "models/tiny")
    assert found.default == RoutedModel(model=tmp_path / "../small")
    assert found.routes["uz-Latn"] == RoutedModel(model=tmp_path / "models/uz")
    russian = found.routes["ru"]
    assert (russian.model, russian.engine, russian.settings.threads) == (Path("/elsewhere/ru"), "onnx", 2)
    ctc = russian.settings.ctc
    assert (ctc.lm, ctc.hotwords, ctc.beam_size) == (str(tmp_path / "lm/ru.arpa"), "/names", 8)
    assert (found.least_probability, found.languages, found.most_loaded, found.find_speech) == (
        0.7, ("uz", "ru", "en"), 3, True
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("routes: {}", "routes is empty; name a model for a language, such as uz: models/uz"),
        ("detector: a", "routes is missing"),
        ("routes: {uz: m}\nrouts: 1", "routs is not a setting; did you mean 'routes'?"),
        ("routes: {uz: m}\nleast_probability: 1.5", "least_probability is 1.5; use a probability from 0 to 1"),
        ("routes: {uz: m}\nleast_probability: .nan", "least_probability is nan; use a probability from 0 to 1"),
        ("routes: {uz: m}\nmost_loaded: 0", "most_loaded is 0; use 1 or more"),
        ("routes: {uz: m}\nlanguages: []", "languages is empty; name those to choose among, or leave it out"),
        ("routes: {uz: m, uz-Cyrl: n}", "routes has both uz and uz-Cyrl, which are one language; use one of them"),
        ("routes: {uz: m, ru: n}\nlanguages: [uz-Latn, en]", "routes has ru, which is not among languages; add it"),
        ("routes: {no: m}", 'YAML reads the language no as false. Write "no", in quotes.'),
        ("routes: {uz: m}\nlanguages: [uz, no]", 'YAML reads the language no as false. Write "no", in quotes.'),
        ("routes: {uz: {model: m, engin: onnx}}", "routes.uz.engin is not a setting; did you mean 'engine'?"),
        ("routes: {uz: {engine: onnx}}", "routes.uz.model is missing"),
        ("routes: {uz: {model: m, settings: {thread: 2}}}", "routes.uz.settings.thread is not a setting; did you mean"),
        ("routes: {uz: {model: m, settings: {threads: 0}}}", "routes.uz.settings: threads is 0; use 1 or more"),
        ("routes: {uz: 3}", "routes.uz is 3. Name a model folder, or a mapping of model, engine and settings."),
        ("routes: {uz: m}\ndefault: [m]", "default is ['m']. Name a model folder"),
        ("routes: [uz]", "routes is ['uz']"),
    ],
)
def test_what_a_file_cannot_say(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_routes(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml does not exist"):
        read_routes(tmp_path / "none.yaml")


# the choice


def choose(probabilities: dict[str, float], *, among: Any = None, **changes: Any) -> Any:
    config = RoutesConfig(routes={"uz": UZ, "ru": RU}, **changes)
    return choose_route(probabilities, {"uz": UZ, "ru": RU}, config, among=among)


def test_the_likeliest_language_decides() -> None:
    route = choose({"en": 0.1, "ru": 0.6, "uz": 0.3})
    assert (route.language, route.probability, route.certain, route.model) == ("ru", 0.6, True, RU)


@pytest.mark.parametrize(("least", "model"), [(0.59, RU), (0.6, RU), (0.61, REST), (0.0, RU), (1.0, REST)])
def test_doubt_begins_below_the_least_probability(least: float, model: RoutedModel) -> None:
    route = choose({"en": 0.1, "ru": 0.6, "uz": 0.3}, least_probability=least, default=REST)
    assert (route.language, route.certain, route.model) == ("ru", model is RU, model)


def test_a_language_without_a_route_goes_to_the_default() -> None:
    route = choose({"de": 0.9, "ru": 0.1}, default=REST)
    assert (route.language, route.certain, route.model) == ("de", True, REST)


def test_probabilities_of_the_languages_there_are_sum_to_one() -> None:
    route = choose({"kk": 0.5, "uz": 0.3, "ru": 0.2}, among=["uz", "ru", "en"])
    assert route.probabilities == pytest.approx({"uz": 0.6, "ru": 0.4, "en": 0.0})
    assert (route.language, route.model) == ("uz", UZ)


def test_none_of_the_languages_there_are_is_doubt() -> None:
    route = choose({"kk": 1.0, "uz": 0.0, "ru": 0.0}, among=["uz", "ru"], default=REST)
    assert (route.certain, route.model) == (False, REST)


def test_doubt_without_a_default_names_the_languages() -> None:
    with pytest.raises(InputError) as caught:
        choose({"en": 0.05, "ru": 0.45, "uz": 0.41, "kk": 0.06, "de": 0.03})
    assert str(caught.value) == (
        "The language is in doubt: ru 0.45, uz 0.41, kk 0.06; least_probability is 0.5. "
        "Name a default, or lower least_probability."
    )


def test_a_language_without_route_and_default_names_the_routes() -> None:
    with pytest.raises(InputError) as caught:
        choose({"de": 0.93, "uz": 0.07})
    assert str(caught.value) == (
        "The language is de (de 0.93, uz 0.07), and the routes are for uz, ru. Add a route for it, or a default."
    )


@pytest.mark.parametrize("family", [InputError, MissingPart, RunFailed])
def test_a_named_error_stays_in_its_family(family: type[Any]) -> None:
    class Narrow(family):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("It broke.", hint="Mend it.")

    with pytest.raises(family) as caught, naming("routes.uz"):
        raise Narrow
    assert type(caught.value) is family
    assert str(caught.value) == "routes.uz: It broke. Mend it."
    assert caught.value.hint == "Mend it."
    assert isinstance(caught.value.__cause__, Narrow)
