"""What commands share."""

from __future__ import annotations

import pytest

from locum.commands.common import waiting


def test_what_is_waited_for_stands_in_a_log_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("waiting: importing vLLM") as tell:
        tell("waiting: [the model] is loaded")
    assert capsys.readouterr().err == "waiting: importing vLLM\nwaiting: [the model] is loaded\n"
