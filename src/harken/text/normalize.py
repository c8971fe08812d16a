"""Named, versioned, idempotent text normalisation.

A score means something only together with the normalisation it was taken under, so every profile has a name and a
version, both of which travel with the numbers. The version rises whenever any output changes.

Profiles are found by name and imported when first used. Packages add their own through the entry-point group
`harken.normalizers`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint

from harken.core import InputError, load_plugin, plugin_names

GROUP = "harken.normalizers"
_ROOM = "harken.text.normalizers"
# Not entry points: a name that published numbers state must not mean something else because a package is installed.
_BUILT_IN = {
    "none": f"{_ROOM}.plain:NONE",
    "basic": f"{_ROOM}.plain:BASIC",
    "whisper-basic": f"{_ROOM}.whisper:whisper_basic",
    "whisper-english": f"{_ROOM}.whisper:whisper_english",
    "uzbek": f"{_ROOM}.uzbek:UZBEK",
    "uzbek-latin": f"{_ROOM}.uzbek:UZBEK_LATIN",
    "uzbek-cyrillic": f"{_ROOM}.uzbek:UZBEK_CYRILLIC",
    "russian": f"{_ROOM}.russian:russian",
    "hindi": f"{_ROOM}.hindi:HINDI",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One way to normalise text.

    `function` must be idempotent and must never raise. `by_word` promises that the function treats every
    whitespace-separated word alone and joins the results with single spaces, which lets a scorer call it once per
    distinct word of a corpus. `version` names everything that decides the output, libraries included.
    """

    name: str
    version: str
    function: Callable[[str], str]
    by_word: bool


def profile_names() -> list[str]:
    """Names of all profiles, sorted; those of installed packages included. Imports none of them."""
    return sorted({*_BUILT_IN, *plugin_names(GROUP)})


@cache
def find_profile(name: str) -> Profile:
    """The profile of that name, imported only now.

    Raises InputError that lists the known names, or when a plugin is not a profile or not of that name; MissingPart
    when the profile needs a package that is absent.
    """
    if name in _BUILT_IN:
        found = EntryPoint(name, _BUILT_IN[name], GROUP).load()
    elif name in (known := profile_names()):
        found = load_plugin(GROUP, name)
    else:
        raise InputError(f"There is no normalisation profile {name!r}.", hint=f"Use one of: {', '.join(known)}.")
    profile = found() if callable(found) else found
    if not isinstance(profile, Profile):
        raise InputError(
            f"The normalisation profile {name!r} is a {type(profile).__name__}.",
            hint="Register a harken.text.Profile, or a function without arguments that returns one.",
        )
    if profile.name != name:
        raise InputError(
            f"The normalisation profile registered as {name!r} calls itself {profile.name!r}.",
            hint="Reports state that name: make the two equal.",
        )
    return profile


def profile_identity(name: str) -> dict[str, str]:
    """`{"name", "version"}` of a profile, as reports state it. Raises as `find_profile` does."""
    profile = find_profile(name)
    return {"name": profile.name, "version": profile.version}


def normalize(text: str, profile: str) -> str:
    """`text` under the named profile.

    "none" leaves it as it is. "basic" gives lower case, punctuation off, single spaces, one form of the apostrophe,
    and keeps combining marks, so that the word count of Indic, Thai and Arabic text stays what it was. The others
    are for one language each, or are another project's; the guide page on normalisation compares them.

    Raises as `find_profile` does.
    """
    return find_profile(profile).function(text)
