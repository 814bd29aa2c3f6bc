"""What a domain's card demands of every answer: its notice, a referral, sources, and nothing forbidden."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from locum.adapters.compliance import Pattern, Wording, Wordings
from locum.adapters.wordings import lacking, says
from locum.evaluate.metrics.base import TEXT, Options, PairMetric
from locum.evaluate.metrics.phrases import NO_REFERRAL, REFERRALS, says_any, sentences

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample


class ComplianceOptions(Options):
    """What all compliance metrics can be told."""

    only: dict[str, list[str]] = Field(
        {}, description="ask it only of samples whose `kind` or slice has one of these values, as in topic: [symptoms]"
    )


class NoticeOptions(ComplianceOptions):
    """Settings of `notice`."""

    notices: list[Wordings] = Field(min_length=1, description="texts that must all be there")


class ReferralOptions(ComplianceOptions):
    """Settings of `referral`."""

    wordings: list[Wording] = Field([], description="wordings of the advice besides, or in place of, the defaults")
    defaults: bool = Field(True, description="the wordings in English and Chinese that Locum knows count")


class SourcesOptions(ComplianceOptions):
    """Settings of `sources`."""

    pattern: Pattern = Field(description="the form that every source must have, whole")
    find: Pattern | None = Field(None, description="what a source looks like; else what follows `Source:` or 来源：")


class ForbiddenOptions(ComplianceOptions):
    """Settings of `forbidden`."""

    wordings: list[Wording] = Field(min_length=1, description="what must not be said")


class _Compliance(PairMetric):
    """1 or 0 for every answer in text; no reference is needed."""

    source = "This project; the domain's card holds the demand"
    inputs: ClassVar[dict[str, Any]] = {"predictions": TEXT}
    binary = True

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """The answer's text, where the demand is made of the sample."""
        traits = {"kind": sample.kind, **sample.slices}
        if answer.answer is None or any(traits.get(name) not in values for name, values in self.options.only.items()):
            return None
        return {"predictions": answer.answer}


class Notice(_Compliance):
    """1 if every required notice is in the answer, else 0.

    A notice is compared word by word: case, width, punctuation, line breaks and Markdown make no difference, a missing
    word does. Where a notice has several wordings, such as one a language, one of them is enough.

    Binary; no unit; higher is better. Source: the card's `notices`.
    """

    metric = "notice"
    options_type = NoticeOptions

    def score_pair(self, predictions: str) -> float:
        return float(not lacking(predictions, self.options.notices))


class Referral(_Compliance):
    """1 if the answer advises to see a professional, else 0.

    One sentence must hold such advice (`see a doctor`, `seek legal advice`, 请咨询医生) and not take it back (`no need
    to`, `instead of`, 无需). The wordings that are known are in `phrases.py`; a card can add its own or replace them.

    Binary; no unit; higher is better. Source: the card's `compliance.referral`.
    """

    metric = "referral"
    options_type = ReferralOptions
    options = ReferralOptions()

    def score_pair(self, predictions: str) -> float:
        known = REFERRALS if self.options.defaults else ()
        return float(
            any(
                says_any(sentence, known, self.options.wordings) and not says_any(sentence, NO_REFERRAL)
                for sentence in sentences(predictions)
            )
        )


class Sources(_Compliance):
    """1 if the answer names a source, and every source that it names is of the right form; else 0.

    Sources are what `find` matches (its first group, if it has one). Without `find` they are what follows a label such
    as `Source:`, `References:`, 来源： or 参考文献： up to the end of its line, and the list below it if the line ends
    there; several on one line are set apart by semicolons. White space, bullets and a last full stop are taken off. The
    right form is the regular expression `pattern`, from the first character to the last, in any case of letters.
    Whether a source exists and says so is not looked at.

    Binary; no unit; higher is better. Source: the card's `compliance.sources`.
    """

    metric = "sources"
    options_type = SourcesOptions

    def score_pair(self, predictions: str) -> float:
        found = _matches(self.options.find, predictions) if self.options.find else labelled_sources(predictions)
        right = (re.fullmatch(self.options.pattern, source, re.IGNORECASE) for source in found)
        return float(bool(found) and all(right))


class Forbidden(_Compliance):
    """1 if nothing that is forbidden is in the answer, else 0.

    A phrase is found word by word whatever its case and punctuation; `cure` is not found in `secure`. A wording between
    slashes is a regular expression. A phrase that is denied (`no guaranteed return`) counts as said: write a pattern
    where that matters.

    Binary; no unit; higher is better. Source: the card's `compliance.forbidden`.
    """

    metric = "forbidden"
    options_type = ForbiddenOptions

    def score_pair(self, predictions: str) -> float:
        return float(not any(says(predictions, wording) for wording in self.options.wordings))


_LABEL = re.compile(
    r"^[\s>#*_-]*(?:sources?|references?|citations?|bibliography|来源|出处|参考文献|参考资料|资料来源|数据来源|引用|依据)[\s*_]*[:：][\s*_]*(.*)$",
    re.IGNORECASE,
)
_INLINE = re.compile(r"[(（](?:sources?|来源|出处)\s*[:：]\s*([^)）\n]+)[)）]", re.IGNORECASE)
_ITEM = re.compile(r"^\s*(?:[-*•·]|\[?\d{1,3}[\].)、])\s*(.+)$")


def labelled_sources(text: str) -> list[str]:
    """The sources that a text names after a label; see `Sources`."""
    found: list[str] = [part for named in _INLINE.findall(text) for part in re.split("[;；]", named)]
    below = False
    for line in text.splitlines():
        if label := _LABEL.match(line):
            found += re.split("[;；]", label[1])
            below = not label[1].strip()
        elif below and (item := _ITEM.match(line)):
            found.append(item[1])
        elif line.strip():
            below = False
    return [source for part in found if (source := part.strip(" \t*_").rstrip(".。").strip())]


def _matches(pattern: str, text: str) -> list[str]:
    return [(match[1] if match.re.groups else match[0]) or "" for match in re.finditer(pattern, text, re.IGNORECASE)]
