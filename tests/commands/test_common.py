"""What commands share."""

from __future__ import annotations

import pytest

from locum.commands.common import waiting


def test_what_is_waited_for_stands_in_a_log_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("waiting: importing vLLM") as tell:
        tell("waiting: [the model] is loaded")
        tell("waiting: [the model] is loaded")
    assert capsys.readouterr().err == "waiting: importing vLLM\nwaiting: [the model] is loaded\n"


def test_a_count_that_goes_on_is_told_once_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting("looking") as tell:
        for done in range(0, 1200, 100):
            tell(f"copying {done:,} of 1,200 MB (3.5 GB/s)")
        tell("taking the fingerprint")
    assert capsys.readouterr().err == "looking\ncopying 0 of 1,200 MB (3.5 GB/s)\ntaking the fingerprint\n"
