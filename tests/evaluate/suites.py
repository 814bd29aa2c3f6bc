"""A domain whose suites and training split the tests of suites write."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from locum.adapters.domains import Domain, load_domain
from locum.evaluate.findings import Finding
from locum.evaluate.suite import Suite, load_suites
from locum.evaluate.suite_check import check_suites
from locum.settings import Settings
from tests.conftest import write_domain

Row = dict[str, Any]


def ask(question: str, reference: Any = "Yes", **fields: Any) -> Row:
    """A sample row of one question."""
    row = {"messages": [{"role": "user", "content": question}], "reference": reference, **fields}
    return {name: value for name, value in row.items() if value is not None}


def talk(question: str, answer: str = "Yes", **fields: Any) -> Row:
    """A conversation of one question, as training has them."""
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"conversations": turns, **fields}


def write_lines(path: Path, rows: Sequence[Row | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Workshop:
    """The domain `legal` with one suite, `held-out`."""

    settings: Settings

    @property
    def domain(self) -> Domain:
        return load_domain(self.settings.domains, "legal")

    @property
    def folder(self) -> Path:
        return self.settings.domains / "legal" / "suites" / "held-out"

    @property
    def data(self) -> Path:
        return self.settings.data_path("legal")

    def write(self, rows: Sequence[Row | str], **card: Any) -> Workshop:
        """Make these the suite's rows, and change its card, which else asks nothing that few rows cannot show.

        The card has a line for each field: name, samples, metrics, thresholds, and what else is given, in that order.
        """
        asked = {"min_samples": 2, "margin": 1.0, "min_gain": None, **card.pop("thresholds", {})}
        fields = {"name": "held-out", "samples": "samples.jsonl", "metrics": ["exact_match"], "thresholds": asked}
        text = "".join(f"{name}: {json.dumps(value)}\n" for name, value in {**fields, **card}.items())
        (self.folder / "suite.yaml").write_text(text, encoding="utf-8")
        write_lines(self.folder / "samples.jsonl", rows)
        return self

    def learn(self, *rows: Row) -> Workshop:
        """Make these the domain's training split."""
        write_lines(self.data / "train.jsonl", rows)
        return self

    def load(self) -> Suite:
        [suite] = load_suites(self.domain, self.data)
        return suite

    def findings(self, *, ref: str | None = None) -> list[Finding]:
        [report] = check_suites(self.settings, "legal", ref=ref)
        return report.findings

    def told(self, *, check: str | None = None, ref: str | None = None) -> list[str]:
        """`file:line: sentence` of each finding, `note:` before what is none that is wrong."""
        return [
            f"{Path(finding.place).name}: {'note: ' if finding.severity == 'note' else ''}{finding.sentence}"
            for finding in self.findings(ref=ref)
            if check in (None, finding.check) and (finding.check != "training" or check == "training")
        ]


def workshop_in(settings: Settings) -> Workshop:
    write_domain(settings.domains, "legal")
    return Workshop(settings)
