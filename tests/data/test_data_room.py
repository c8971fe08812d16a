import subprocess
import sys

import harken.data


def test_every_public_name_exists_and_knows_its_home() -> None:
    for name in harken.data.__all__:
        assert getattr(harken.data, name).__name__ == name
    assert set(harken.data.__all__) == set(harken.data._HOME_OF)
    assert set(harken.data.__all__) <= set(dir(harken.data))


def test_importing_the_room_loads_nothing_heavy() -> None:
    code = (
        "import harken.data, sys; harken.data.read_manifest; harken.data.import_corpus; harken.data.split_by_ratio;"
        "print(*{'scipy', 'soundfile', 'av', 'soxr', 'datasets', 'matplotlib', 'torch'} & sys.modules.keys())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
