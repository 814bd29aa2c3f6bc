"""Whether the model finds the better of two answers more likely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from locum.evaluate.metrics.base import INTEGER, NUMBER, Options, PairMetric

if TYPE_CHECKING:
    from locum.evaluate.answers import Answer
    from locum.evaluate.samples import Sample


class PreferenceOptions(Options):
    """Settings of the preference."""

    normalised: Literal["tokens", "none"] = Field(
        "tokens", description="compare log-likelihoods a token, or whole ones, which favour the shorter answer"
    )


class Preference(PairMetric):
    """1 if the chosen answer is more likely than the rejected one, else 0.

    log p(chosen) / tokens(chosen) > log p(rejected) / tokens(rejected). A token each, because the whole of a longer
    answer is less likely whatever it says; `normalised: none` compares whole ones. Equals score 0.

    Binary; no unit; higher is better. Source: the length-normalised reward of SimPO (Meng et al. 2024). Departure from
    DPO's implicit reward: no reference model is taken off.
    """

    metric = "preference"
    source = "Meng, Xia and Chen: SimPO: Simple Preference Optimization with a Reference-Free Reward. NeurIPS 2024"
    options_type = PreferenceOptions
    options = PreferenceOptions()
    inputs: ClassVar[dict[str, Any]] = {
        "chosen": NUMBER,
        "chosen_tokens": INTEGER,
        "rejected": NUMBER,
        "rejected_tokens": INTEGER,
    }
    binary = True
    needs = frozenset({"likelihood"})

    def columns(self, sample: Sample, answer: Answer) -> dict[str, Any] | None:
        """Log-likelihood and tokens of both answers; none where one of them is not known."""
        known = {likelihood.text: likelihood for likelihood in answer.likelihoods if likelihood.tokens}
        chosen, rejected = known.get(sample.reference), known.get(sample.rejected or "")
        if sample.rejected is None or chosen is None or rejected is None:
            return None
        return {
            "chosen": chosen.logprob,
            "chosen_tokens": chosen.tokens,
            "rejected": rejected.logprob,
            "rejected_tokens": rejected.tokens,
        }

    def score_pair(self, chosen: float, chosen_tokens: int, rejected: float, rejected_tokens: int) -> float:
        if self.options.normalised == "tokens":
            return float(chosen / chosen_tokens > rejected / rejected_tokens)
        return float(chosen > rejected)
