"""Diagnoses and their ICD-10-CM chapter, as a clinical coder places them.

Source: ICD-10-CM, April 2026 release (CMS and NCHS; public domain in the United States), as packaged by
`simple-icd-10-cm` 1.5.0 (MIT).
Task: the title of a three-character category in, the short name of its chapter out.
Rows: 1466. 21 chapters; chapter 22 (codes for special purposes) holds too few categories to learn from.
"""

import hashlib
import re
from collections.abc import Iterator

import simple_icd_10_cm as icd

CHAPTERS = {
    "1": "Infections",
    "2": "Neoplasms",
    "3": "Blood",
    "4": "Endocrine",
    "5": "Mental",
    "6": "Nervous",
    "7": "Eye",
    "8": "Ear",
    "9": "Circulatory",
    "10": "Respiratory",
    "11": "Digestive",
    "12": "Skin",
    "13": "Musculoskeletal",
    "14": "Genitourinary",
    "15": "Pregnancy",
    "16": "Perinatal",
    "17": "Congenital",
    "18": "Symptoms",
    "19": "Injury",
    "20": "External causes",
    "21": "Health status",
}
PER_CHAPTER = 120  # transport accidents alone would be an eighth of all rows


def rows() -> Iterator[dict[str, object]]:
    """One row a category; a title that holds its own chapter's name is left out."""
    for chapter, answer in CHAPTERS.items():
        titles = {
            _key(title): title
            for code in icd.get_descendants(chapter)
            if icd.is_category(code)
            for title in [icd.get_description(code)]
            if answer.lower() not in title.lower()
        }
        for key in sorted(titles, key=_order)[:PER_CHAPTER]:
            yield {
                "conversations": [
                    {"role": "user", "content": titles[key]},
                    {"role": "assistant", "content": answer},
                ],
                "group": key,
                "topic": answer,
            }


def _key(title: str) -> str:
    """The title without case, digits and punctuation."""
    return " ".join(re.findall("[a-z]+", title.lower()))


def _order(key: str) -> str:
    """A fixed order that has nothing to do with the codes."""
    return hashlib.sha256(f"order {key}".encode()).hexdigest()
