"""The part of a domain card that names its documents, from which a teacher writes questions and answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class DocumentsCard(BaseModel):
    """Documents that a domain's answers rest on. What a teacher writes from them is learnt once people accept it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: list[str] = Field(
        min_length=1,
        description="Markdown, HTML, DOCX, PDF or plain text, relative to the card; or patterns such as rules/*.pdf",
    )
    licence: str = Field("", description="the licence or public-domain statement of the documents")
    questions: int = Field(3, ge=1, le=20, description="questions that the teacher writes for each passage")
    passage_length: int = Field(2000, ge=200, le=20_000, description="characters that a passage has at most")
    group: Literal["section", "document"] = Field(
        "section", description="what the splits never part; `document` where each file is one patient's or one client's"
    )

    @field_validator("files")
    @classmethod
    def _are_files(cls, files: list[str]) -> list[str]:
        urls = [name for name in files if "://" in name]
        if urls:
            raise ValueError(f"expected files, found the URL {urls[0]}; download it beside the card")
        return files
