"""`harken`, where the name `rebind.test` has the addresses listed in a file, one for each time it is asked, the last
one for ever: python -m tests.serving.faults.resolving FILE serve ...
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harken.cli.main import main
from harken.http import outbound

NAME = "rebind.test"


def use(file: Path) -> None:
    """Before the server makes its `Outbound`, whose default is the system's resolver."""
    asked = 0

    async def resolve(host: str, port: int) -> Sequence[str]:
        nonlocal asked
        if host != NAME:
            return await outbound.resolve_name(host, port)
        answers = json.loads(file.read_text())
        asked += 1
        return [answers[min(asked, len(answers)) - 1]]

    outbound.Outbound.__init__.__kwdefaults__["resolve"] = resolve


if __name__ == "__main__":
    use(Path(sys.argv.pop(1)))
    main()
