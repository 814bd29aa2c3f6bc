"""Base models: what their fingerprint counts, and what `pull` lets in and leaves behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from locum.adapters.base import Base, base_names, fingerprint, load_base, pull, weight_shapes
from locum.errors import BadInputError, ConflictError, UnavailableError
from locum.settings import Settings

CRASH = """
import os, sys
from pathlib import Path
from locum.adapters.base import pull
pull(sys.argv[1], Path(sys.argv[2]), say=lambda line: os._exit(9) if "fingerprint" in line else None)
"""


@pytest.fixture
def checkpoint(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base, to be changed."""
    return Path(shutil.copytree(tiny_base, tmp_path / "copies" / "tiny-llama"))


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}, indent=4))


def test_the_fingerprint_is_of_the_model_and_not_of_its_place_or_the_library_that_wrote_it(
    tiny_base: Path, checkpoint: Path
) -> None:
    change(checkpoint / "config.json", transformers_version="0.0.1", _name_or_path="/elsewhere", dtype="bfloat16")
    change(checkpoint / "tokenizer_config.json", name_or_path="/elsewhere")
    (checkpoint / "README.md").write_text("A model card.")
    assert fingerprint(checkpoint) == fingerprint(tiny_base)


@pytest.mark.parametrize("part", ["config.json", "tokenizer.json", "tokenizer_config.json", "template", "weight"])
def test_the_fingerprint_changes_with_every_part_that_changes_an_answer(
    tiny_base: Path, checkpoint: Path, part: str
) -> None:
    if part == "weight":
        weights = checkpoint / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif part == "template":
        with (checkpoint / "chat_template.jinja").open("a") as template:
            template.write(" ")
    elif part == "config.json":
        change(checkpoint / part, rms_norm_eps=1e-3)
    else:
        change(checkpoint / part, added="field")
    assert fingerprint(checkpoint) != fingerprint(tiny_base)


def test_the_shapes_of_all_weights_are_read_from_the_heads_of_the_files(tiny_base: Path) -> None:
    shapes = weight_shapes(tiny_base)
    assert shapes["model.layers.1.mlp.down_proj.weight"] == [64, 128]
    assert shapes["model.layers.1.self_attn.v_proj.weight"] == [32, 64]


def test_a_folder_is_used_where_it_lies_and_pulled_once(tiny_base: Path, tmp_path: Path) -> None:
    bases, said = tmp_path / "bases", list[str]()
    first = pull(str(tiny_base), bases, say=said.append)
    assert (first.name, first.path, first.source) == ("tiny-llama", tiny_base, str(tiny_base))
    assert (first.dtype, first.fingerprint) == ("float32", fingerprint(tiny_base))
    assert first.parameters == sum(rows * (columns or [1])[0] for rows, *columns in weight_shapes(tiny_base).values())
    assert said == ["taking the fingerprint"]
    assert pull(str(tiny_base), bases, say=said.append) == first == load_base(bases, "tiny-llama")
    assert said == ["taking the fingerprint"]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_a_folder_with_pickled_weights_alone_is_refused(checkpoint: Path, tmp_path: Path, name: str) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / name)
    with pytest.raises(BadInputError, match=rf"expected \*\.safetensors, found only {name}") as caught:
        pull(str(checkpoint), tmp_path / "bases")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("pickled weights can run code: if you trust whoever made them, convert them")
    assert base_names(tmp_path / "bases") == []


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("config.json", None, "has no config.json: expected the folder of a Hugging Face checkpoint"),
        ("config.json", b"{not json", "config.json is not JSON"),
        ("config.json", b"[]", "config.json is not JSON: expected an object"),
        ("model.safetensors", None, r"expected \*\.safetensors, found no weights"),
        ("model.safetensors", b"", "model.safetensors is not a safetensors file: its head claims 0 bytes"),
        ("model.safetensors", b"\x05" + bytes(7) + b"hello", "is not a safetensors file: its head is not JSON"),
        (
            "model.safetensors",
            b"\x02" + bytes(7) + b"{}",
            r"weights in \*\.safetensors, found files without any",
        ),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_refused_and_says_why(
    checkpoint: Path, tmp_path: Path, file: str, content: bytes | None, complaint: str
) -> None:
    (checkpoint / file).unlink()
    if content is not None:
        (checkpoint / file).write_bytes(content)
    with pytest.raises(BadInputError, match=complaint):
        pull(str(checkpoint), tmp_path / "bases")
    assert base_names(tmp_path / "bases") == []


def test_weights_that_were_cut_off_are_refused_with_both_sizes(checkpoint: Path, tmp_path: Path) -> None:
    weights = checkpoint / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    with pytest.raises(BadInputError, match=f"is truncated: expected {len(whole)} bytes, found {len(whole) - 10}"):
        pull(str(checkpoint), tmp_path / "bases")


def test_a_second_model_of_the_same_name_is_refused_and_the_first_stays(
    tiny_base: Path, checkpoint: Path, tmp_path: Path
) -> None:
    first = pull(str(tiny_base), tmp_path / "bases")
    with pytest.raises(ConflictError, match=f"'tiny-llama' is there already, from {tiny_base}; found another"):
        pull(str(checkpoint), tmp_path / "bases")
    assert load_base(tmp_path / "bases", "tiny-llama") == first


def test_a_hub_model_that_cannot_be_downloaded_says_so_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="acme/model cannot be downloaded: ") as caught:
        pull("acme/model", tmp_path / "bases")
    assert caught.value.hint == "locum base pull FOLDER uses a checkpoint that is already here"
    assert base_names(tmp_path / "bases") == []


@pytest.mark.parametrize("model", ["./none/such/folder", "a b", "one/two/three"])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(tmp_path: Path, model: str) -> None:
    with pytest.raises(BadInputError, match="neither a folder nor a hub id such as org/name"):
        pull(model, tmp_path / "bases")
    assert base_names(tmp_path / "bases") == []


def test_a_crash_leaves_no_base_model_and_the_next_pull_makes_it(tiny_base: Path, tmp_path: Path) -> None:
    bases = tmp_path / "bases"
    crashed = subprocess.run([sys.executable, "-c", CRASH, str(tiny_base), str(bases)], check=False)
    assert crashed.returncode == 9
    assert base_names(bases) == []
    with pytest.raises(UnavailableError):
        load_base(bases, "tiny-llama")
    assert pull(str(tiny_base), bases).name == "tiny-llama"
    assert [path.name for path in bases.iterdir() if path.is_dir()] == ["tiny-llama"]


def test_a_base_model_that_is_not_there_says_which_are_and_how_to_get_it(settings: Settings, base_record: Base) -> None:
    bases = settings.bases
    with pytest.raises(UnavailableError, match=rf"'other' is not there \(there are: {base_record.name}\)") as caught:
        load_base(bases, "other")
    assert caught.value.hint == "locum base pull MODEL"
    with pytest.raises(UnavailableError) as caught:
        load_base(bases, "smollm2-135m-instruct")
    assert caught.value.hint == "locum base pull"


def test_a_checkpoint_that_was_moved_is_missed_and_pulled_again_from_its_new_place(
    checkpoint: Path, tmp_path: Path
) -> None:
    bases = tmp_path / "bases"
    first = pull(str(checkpoint), bases)
    moved = tmp_path / "moved" / "tiny-llama"
    moved.parent.mkdir()
    checkpoint.rename(moved)
    with pytest.raises(UnavailableError, match=f"is no longer at {checkpoint}"):
        load_base(bases, "tiny-llama")
    again = pull(str(moved), bases)
    assert (again.path, again.fingerprint) == (moved, first.fingerprint)


def test_a_changed_file_gives_a_new_fingerprint_and_an_untouched_one_is_not_read_again(
    checkpoint: Path, tmp_path: Path
) -> None:
    bases = tmp_path / "bases"
    first = pull(str(checkpoint), bases)
    record = (bases / "tiny-llama" / "base.json").stat().st_mtime_ns
    assert load_base(bases, "tiny-llama") == first
    assert (bases / "tiny-llama" / "base.json").stat().st_mtime_ns == record
    change(checkpoint / "config.json", rms_norm_eps=1e-3)
    changed = load_base(bases, "tiny-llama")
    assert changed.fingerprint == fingerprint(checkpoint) != first.fingerprint
    assert load_base(bases, "tiny-llama") == changed


def test_a_tokenizer_saved_with_the_hub_and_one_saved_without_have_one_fingerprint(
    checkpoint: Path, tiny_base: Path
) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(checkpoint)
    path = checkpoint / "tokenizer_config.json"
    written = json.loads(path.read_text())
    before = fingerprint(checkpoint)
    path.write_text(json.dumps({**written, "local_files_only": not written["local_files_only"]}))
    assert fingerprint(checkpoint) == before
