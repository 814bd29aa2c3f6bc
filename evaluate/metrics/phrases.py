"""What people and models say, in English and Chinese, when they decline, do not know, or send one to a professional.

Patterns are matched against `plain` text, whatever the case of its letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from locum.adapters.wordings import plain, says

_CANNOT = (
    r"(?:can't|cannot|can not|won't|will not|am unable to|am not able to|'m unable to|'m not able to|must not|may not)"
)
_HELP = (
    r"(?:help|assist|provide|give|offer|answer|comply|fulfil|fulfill|support|share|recommend|advise|do that|do this"
    r"|write|create|generate|tell you|discuss|engage|participate|facilitate|in good conscience)"
)

_CAN_ZH = r"(?:目前|现在)?(?:无法|不能|不可以|没办法|没有办法|不会|不便)"
DECLINES = (
    rf"\bI(?: am sorry,? but I| apologi[sz]e,? but I)? ?{_CANNOT}(?: \w+ly)? (?:to )?{_HELP}\b",
    rf"\b(?:I'm|I am|we're|we are) (?:not able|unable|not allowed|not permitted|not in a position) to {_HELP}\b",
    rf"\bwe {_CANNOT} {_HELP}\b",
    r"\bI (?:must|have to|need to|will have to) (?:decline|refuse)\b",
    r"\bI(?:'d| would) (?:rather|prefer) not\b",
    r"\b(?:I|we) (?:decline|refuse) to\b",
    r"\b(?:goes|is|would be) against my (?:guidelines|principles|programming|policy|policies)\b",
    rf"(?:抱歉|对不起|不好意思)[,。!, ]{{0,2}}(?:但|不过)?,?(?:我|我们)?{_CAN_ZH}",
    rf"(?:我|我们|本人){_CAN_ZH}(?:[为给向][您你])?(?:就此|对此)?"
    r"(?:提供|帮助|协助|回答|满足|支持|给出|完成|参与|讨论|执行|透露)",
    r"(?:我|我们)(?:必须|只能|不得不|需要)?拒绝|恕(?:我)?(?:无法|不能|难)",
)
"""Somebody will not do what was asked."""

UNKNOWN = (
    r"\b(?:I|we) (?:do not|don't|cannot|can't|couldn't|could not) (?:really |actually |possibly )?"
    r"(?:know|say|tell|determine|be (?:sure|certain)|find (?:out|this|that|any)|answer (?:that|this|with certainty))\b",
    r"\b(?:I'm|I am|we're|we are) (?:not|un)(?: entirely| quite)? ?(?:sure|certain|aware of)\b",
    r"\b(?:I|we) (?:have|had) no (?:information|data|way of knowing|knowledge|record|records|idea|access)\b",
    r"\b(?:I|we) (?:do not|don't) have (?:\w+ ){0,3}(?:information|data|knowledge|details|access)\b",
    r"\b(?:not|isn't) possible to (?:say|know|tell|determine|predict|answer)\b",
    r"\b(?:not|isn't) enough (?:information|data|context|details?)\b",
    r"\b(?:insufficient|not sufficient) (?:information|data|context)\b",
    r"\bthere (?:is|'s) no way (?:to know|of knowing|to tell)\b",
    r"不知道|不清楚|不得而知|无从得知|不能(?:确定|判断|预测)|我不确定",
    r"无法(?:确定|得知|判断|知道|知晓|确认|预测|回答|核实)",
    r"(?:没有|缺乏|缺少)(?:足够|充分|充足|相关)的?(?:相关)?(?:信息|资料|数据|依据|记录)",
    r"(?:信息|资料|数据)不足",
)
"""Somebody says that they do not know, or cannot."""

UNKNOWABLE = (
    r"\b(?:is|are|remains?) (?:\w+ )?unknown\b|\bunknowable\b|\b(?:not|isn't) (?:publicly )?known\b",
    r"\b(?:no one|nobody) (?:can know|knows)\b",
    r"\b(?:cannot|can't|can not|could not|couldn't) be "
    r"(?:known|determined|answered|established|inferred|predicted|verified)\b",
    r"\bthere (?:is|'s) no (?:reliable |public )?(?:information|data|record)\b",
    r"\b(?:text|passage|document|context|question|contract|report|record|it) (?:does not|doesn't) "
    r"(?:say|state|mention|specify|tell)\b",
    r"未知|不确定(?!性)|没有(?:任何)?(?:信息|资料|数据|记录)",
)
"""Somebody says that a thing is not known. That can be an answer too: the cause of many an illness is not."""

_PROFESSIONAL = (
    r"(?:(?:a|an|the|your|their|our|another|any|one|some) )?(?:\w+(?:-\w+)? ){0,3}?"
    r"(?:doctors?|physicians?|clinicians?|GPs?|general practitioners?|pharmacists?|nurses?|pa?ediatricians?"
    r"|dentists?|midwi(?:fe|ves)|therapists?|psychologists?|psychiatrists?|health ?care (?:provider|team)s?"
    r"|medical (?:provider|team)s?|lawyers?|attorneys?|solicitors?|barristers?|legal counsel|counsel"
    r"|(?:financial|tax|investment|legal|medical) (?:advis[eo]r|planner|expert)s?|accountants?|notar(?:y|ies)"
    r"|advis[eo]rs?|professionals?|specialists?|certified public accountants?|CPAs?)"
)
_ADVICE = (
    r"(?:professional|medical|legal|financial|tax|emergency|urgent|immediate|qualified|expert|independent)"
    r"(?:,? (?:or |and )?(?:professional|medical|legal|financial|tax|emergency|urgent))*"
)

REFERRALS = (
    rf"\b(?:see|consult(?: with)?|visit|contact|call|ask|phone|(?:talk|speak|turn|go|reach out) (?:to|with)"
    rf"|check with|discuss (?:this|it|that|your \w+) with|be (?:seen|assessed|examined) by|seek (?:\w+ ){{0,4}}from) "
    rf"{_PROFESSIONAL}\b",
    rf"\b(?:seek|get|obtain|look for|take) {_ADVICE} "
    r"(?:advice|attention|help|care|assistance|counsel|treatment|guidance)\b",
    r"\b(?:call|dial|phone|contact|ring) (?:911|999|112|111|120|988|(?:the )?emergency services|an ambulance)\b",
    r"\bgo to (?:the|an|your nearest|the nearest) (?:emergency (?:room|department)|A&E|hospital)\b",
    r"(?:咨询|请教|联系|求助于?|询问|寻求)(?:[一-龥]{0,8}?)(?:医生|医师|药师|药剂师|大夫|律师|会计师|顾问|专家|专业人士|专业人员|专业意见"
    r"|专业建议|专业帮助|法律援助|法律意见|医疗帮助|医疗建议|理财师|税务师)",
    r"(?:看|去看|找)(?:医生|大夫|律师)|就医|就诊|(?:前往|去|到)(?:[一-龥]{0,6}?)(?:医院|急诊|诊所|门诊)|拨打(?:120|急救)",
)
"""Somebody is advised to see a professional."""

_GOING = (
    r"(?:see|seeing|consult|consulting|call|calling|contact|contacting|ask|asking|visit|visiting|seek|seeking|go|going)"
)
NO_REFERRAL = (
    r"\b(?:no need|needn't|(?:do|does|did)(?: not|n't) (?:need|have) to|not (?:necessary|needed|required) to)\b",
    rf"\b(?:(?:don't|do not|never) (?:bother|{_GOING})|(?:instead of|rather than|without) {_GOING})\b",
    r"(?:不必|无需|无须|不需要|不用|没必要|没有必要|不要|而不是)(?:再|去|立即|马上)?(?:看|找|就|咨询|请教|前往|到|拨打|寻求)",
)
"""The sentence sends nobody anywhere, whatever else it says."""

_SENTENCE = re.compile(r"[^.!?。！？\n]+")


def says_any(text: str, patterns: Sequence[str], wordings: Iterable[str] = ()) -> bool:
    """Whether one of the patterns of this module, or one of a card's wordings, is in the text."""
    form = plain(text)
    return any(re.search(pattern, form, re.IGNORECASE) for pattern in patterns) or any(
        says(text, wording) for wording in wordings
    )


def sentences(text: str) -> list[str]:
    """The sentences of a text, roughly: cut at full stops, question and exclamation marks and line ends."""
    return _SENTENCE.findall(text)
