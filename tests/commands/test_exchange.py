"""`locum adapters export` and `import`, as typed: out of one registry and into another, by folder and by hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from locum.adapters.base import Base, fingerprint, pull
from locum.adapters.manifest import EvaluationRecord, Manifest
from locum.adapters.model_card import read_header
from locum.adapters.registry import Registry
from locum.settings import Settings
from tests.commands.conftest import Ran
from tests.hub import TOKEN, Hub
from tests.records import evaluation_of

QUICK = ["--set", "max_steps=2", "--set", "evaluations=1", "--set", "rank=4"]
SAID = ["--licence", "mit", "--trained-on", "Forty questions of the tests."]


@pytest.fixture
def trained(locum: Callable[..., Ran], domain_folder: Path, base_record: Base) -> Manifest:
    """legal@1, trained on the domain's own data."""
    assert locum("train", "legal", *QUICK).code == 0
    return Manifest.model_validate(locum("adapters", "show", "legal@1", "--json").json["manifest"])


@pytest.fixture
def elsewhere(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Settings]:
    """Makes commands use another home, with an empty registry and the base model by another name."""

    def enter() -> Settings:
        there = Settings(home=tmp_path / "there", domains=tmp_path / "domains", user="other", base="their-llama")
        pull(str(tiny_base), there.bases, name="their-llama")
        monkeypatch.setenv("LOCUM_HOME", str(there.home))
        monkeypatch.setenv("LOCUM_BASE", there.base)
        return there

    return enter


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The hub that this process talks to, with nobody logged in. What is set was read when the library was imported."""
    from huggingface_hub import constants

    hub = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield hub
    hub.close()


@pytest.fixture
def foreign(tiny_adapter: Callable[..., Path], tmp_path: Path) -> Path:
    """An adapter that PEFT wrote elsewhere, to be spoiled."""
    folder: Path = shutil.copytree(tiny_adapter(rank=4), tmp_path / "foreign")
    return folder


def change(folder: Path, **changes: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def evaluation(manifest: Manifest, **changes: Any) -> EvaluationRecord:
    given = {"suite_digest": "5" * 64, "samples": 120, "score": 0.725, "base_score": 0.25}
    return evaluation_of(manifest, **{**given, "gain": 0.475, "gain_interval": (0.4, 0.55), **changes})


def test_a_trained_version_goes_out_and_into_another_registry_with_the_same_digest(
    locum: Callable[..., Ran], trained: Manifest, elsewhere: Callable[[], Settings], tmp_path: Path
) -> None:
    ran = locum("adapters", "export", "legal@candidate", "--to", "out/legal", "--licence", "mit", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["version"], ran.json["digest"], ran.json["as"]) == ("legal@1", trained.digest, "peft")
    assert ran.json["files"] == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    settings = elsewhere()
    ran = locum("adapters", "import", "out/legal", "--domain", "legal", "--json")
    assert ran.code == 0, ran.err
    there = Registry.open(settings).resolve("legal@1")
    assert there.digest == trained.digest
    assert (there.recipe, there.data, there.training) == (trained.recipe, trained.data, trained.training)
    assert (there.system_prompt, there.system) == (trained.system_prompt, trained.system)
    assert (there.system_prompt, there.system) == ("You answer questions of legal.", "default")
    assert "system prompt" not in ran.err
    assert (there.base, there.base_fingerprint) == ("their-llama", trained.base_fingerprint)
    assert there.probes
    assert there.origin is not None
    assert there.origin.changes == []
    assert (there.origin.licence, there.origin.source) == ("mit", str(tmp_path / "out/legal"))
    assert there.data is not None and there.data.digest[:12] in there.origin.trained_on
    again = locum("adapters", "import", "out/legal", "--domain", "legal", "--json").json
    assert (again["version"], again["new"]) == ("legal@1", False)
    assert not [path for path in settings.home.iterdir() if path.name.startswith(".part-")]


def test_an_import_gets_the_prompt_of_the_card_here_and_says_which_other_one_it_learned_from(
    locum: Callable[..., Ran], trained: Manifest, domain_folder: Path, elsewhere: Callable[[], Settings]
) -> None:
    assert locum("adapters", "export", "legal@1", "--to", "out", "--licence", "mit").code == 0
    card = domain_folder / "card.yaml"
    card.write_text(card.read_text().replace("of legal.", "of law.\nsystem: never"))
    settings = elsewhere()
    ran = locum("adapters", "import", "out", "--domain", "legal")
    assert "trained with another system prompt than that of legal's card" in ran.err
    assert "'You answer questions of legal.'" in ran.err
    there = Registry.open(settings).resolve("legal@1")
    assert (there.system_prompt, there.system) == ("You answer questions of law.", "never")


def test_the_model_card_says_what_is_known_of_the_version_and_the_hub_can_read_it(
    locum: Callable[..., Ran], trained: Manifest, registry: Registry
) -> None:
    from huggingface_hub import ModelCard

    registry.record_evaluation(evaluation(trained))
    assert locum("data", "report", "legal").code == 0
    assert locum("adapters", "export", "legal@1", "--to", "out", "--licence", "apache-2.0").code == 0
    card = ModelCard.load("out/README.md")
    assert (card.data.library_name, card.data.license) == ("peft", "apache-2.0")
    assert card.data.tags == ["lora", "locum", "legal"]
    [result] = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_revision) == ("exact_match", 0.725, "5" * 64)
    assert trained.data is not None
    for part in (
        trained.digest,
        "A domain of the tests.",
        "> This is a test.",
        "You answer questions of legal.",
        "A Locum server gives it to a chat that brings none; everywhere else, send it yourself.",
        "| held-out | exact_match | 0.725 | 0.250 | +0.475 (+0.400 to +0.550) | 120 | passed | `555555555555` |",
        "| rank, alpha | 4, 32 |",
        "In 2 steps, validation loss went from",
        "## Data of legal",
        "- Licence: ours",
        f"- Digest: `{trained.data.digest}`",
    ):
        assert part in card.text
    assert "What is number" not in card.content  # no row of the data


def test_what_concerns_another_artifact_or_other_data_is_not_in_the_card(
    locum: Callable[..., Ran], trained: Manifest, registry: Registry, settings: Settings
) -> None:
    registry.record_evaluation(evaluation(trained, version_digest="0" * 64))
    (settings.data_path("legal") / "data-card.md").write_text("# Data of legal\n\n- Digest: `0123`\n\nOther data.\n")
    assert locum("adapters", "export", "legal@1", "--to", "out").code == 0
    text = Path("out/README.md").read_text()
    assert "held-out" not in text and "Other data." not in text
    assert "rows for train" in text
    assert "Not stated: ask whoever gave it to you." in text
    assert "license" not in read_header(Path("out/README.md"))


def test_the_card_of_a_domain_without_a_source_has_the_licence_of_its_documents(
    locum: Callable[..., Ran], trained: Manifest, domain_folder: Path
) -> None:
    card = domain_folder / "card.yaml"
    source = "source: {files: [conversations.jsonl], licence: ours}"
    assert source in card.read_text()
    card.write_text(card.read_text().replace(source, "documents: {files: [rules.md], licence: The ministry's.}"))
    assert locum("adapters", "export", "legal@1", "--to", "out").code == 0
    assert "Licence of the data: The ministry's." in Path("out/README.md").read_text()


def test_the_card_of_an_imported_version_says_where_it_came_from_and_no_path_of_this_machine(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, foreign: Path
) -> None:
    assert locum("adapters", "import", "foreign", "--domain", "legal", *SAID).code == 0
    assert locum("adapters", "export", "legal@1", "--to", "out").code == 0
    text = Path("out/README.md").read_text()
    assert "It was imported from foreign." in text
    assert "What it learned from: Forty questions of the tests." in text
    assert read_header(Path("out/README.md"))["license"] == "mit"
    for file in ("README.md", "adapter_config.json"):
        assert str(foreign.parent) not in Path("out", file).read_text()
        assert base_record.source not in Path("out", file).read_text()


def test_without_its_base_model_and_domain_a_version_still_goes_out_as_peft(
    locum: Callable[..., Ran], register: Callable[[], Manifest], settings: Settings
) -> None:
    register()
    shutil.rmtree(settings.bases)
    assert locum("adapters", "export", "legal@1", "--to", "out").code == 0
    ran = locum("adapters", "export", "legal@1", "--to", "merged", "--as", "merged")
    assert ran.code == 3
    assert "the base model 'tiny-llama' is not there" in ran.err
    assert not Path("merged").exists()


@pytest.mark.parametrize("form", ["merged", "gguf"])
def test_a_base_model_that_changed_is_not_merged_or_converted(
    locum: Callable[..., Ran], register: Callable[[], Manifest], settings: Settings, tmp_path: Path, form: str
) -> None:
    register()
    record = settings.bases / "tiny-llama" / "base.json"
    other = shutil.copytree(json.loads(record.read_text())["base"]["path"], tmp_path / "tiny-llama")
    (other / "chat_template.jinja").write_text("{{ messages }}")
    shutil.rmtree(settings.bases)
    pull(str(other), settings.bases)
    ran = locum("adapters", "export", "legal@1", "--to", "out", "--as", form)
    assert ran.code == 2
    assert "legal@1 was made for tiny-llama with fingerprint" in ran.err
    assert "--as peft" in ran.err


def test_a_damaged_artifact_is_not_given_to_anybody(
    locum: Callable[..., Ran], registry: Registry, register: Callable[[], Manifest]
) -> None:
    path = registry.artifact_path(register()) / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    ran = locum("adapters", "export", "legal@1", "--to", "out")
    assert ran.code == 1
    assert "was changed: adapter_model.safetensors" in ran.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["legal@1", "--to", "out", "--as", "onnx"], "--as onnx: expected one of peft, merged, gguf"),
        (["legal@1", "--to", "out", "--private"], "--private is for hub repositories, found the folder out"),
        (["legal@1", "--to", "hf://acme"], "'hf://acme': expected hf://ORG/NAME"),
        (["legal@1", "--to", "hf://acme/legal@v2"], "expected hf://ORG/NAME, an export goes to the main branch"),
        (["legal@7", "--to", "out"], "there is no legal@7: did you mean legal@1? there is: legal@1"),
        (["tiny-llama", "--to", "out"], "tiny-llama is a base model, expected a version of a domain"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_cannot_be_exported_exits_2_and_says_why(
    locum: Callable[..., Ran], register: Callable[[], Manifest], arguments: list[str], complaint: str
) -> None:
    register()
    ran = locum("adapters", "export", *arguments)
    assert (ran.code, complaint in ran.err) == (2, True), ran.err
    assert not Path("out").exists()


def test_a_foreign_adapter_is_imported_with_where_it_came_from(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, foreign: Path, registry: Registry
) -> None:
    Path("how.yaml").write_text("learning_rate: 0.0002\nepochs: 3\n")
    ran = locum("adapters", "import", "foreign", "--domain", "legal", "--recipe", "how.yaml", *SAID)
    assert ran.code == 0, ran.err
    assert "base_model_name_or_path is now 'tiny-llama', as the base model is called here" in ran.out
    assert "Imported as legal@1, now the candidate of legal." in ran.out
    made = registry.resolve("legal@candidate")
    assert made.origin is not None
    assert made.origin.model_dump(exclude={"changes"}) == {
        "source": str(foreign),
        "revision": None,
        "base": base_record.source,
        "licence": "mit",
        "trained_on": "Forty questions of the tests.",
    }
    assert made.recipe == {"learning_rate": 0.0002, "epochs": 3}
    assert "Forty questions of the tests." in locum("adapters", "show", "legal@1").out


def test_without_a_terminal_what_is_not_known_is_named(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, foreign: Path
) -> None:
    ran = locum("adapters", "import", "foreign", "--domain", "legal")
    assert ran.code == 2
    assert "does not say its licence (--licence), what it learned from (--trained-on)" in ran.err
    (foreign / "README.md").write_text("---\nlicense: mit\ndatasets: [acme/questions]\n---\n# An adapter\n")
    change(foreign, base_model_name_or_path="acme/other-llama")
    ran = locum("adapters", "import", "foreign", "--domain", "legal")
    assert ran.code == 2
    assert "does not say which base model here is acme/other-llama (--base)" in ran.err
    assert "`locum base pull acme/other-llama` gets it" in ran.err
    assert locum("adapters", "list", "--json").json == []
    ran = locum("adapters", "import", "foreign", "--domain", "legal", "--base", "tiny-llama", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["origin"]["licence"], ran.json["origin"]["trained_on"]) == ("mit", "acme/questions")
    assert ran.json["origin"]["base"] == "acme/other-llama"


def test_which_base_model_here_it_could_be_is_said_with_the_option_to_give(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, foreign: Path, tmp_path: Path
) -> None:
    change(foreign, base_model_name_or_path="/home/alice/models/llama")
    ran = locum("adapters", "import", "foreign", "--domain", "legal", *SAID)
    assert ran.code == 2
    assert "does not say which base model here is /home/alice/models/llama (--base)" in ran.err
    assert "by its matrices it could be --base tiny-llama" in ran.err
    other = shutil.copytree(base_record.path, tmp_path / "other-llama")
    (other / "chat_template.jinja").write_text("{{ messages }}")
    change(foreign, base_model_name_or_path=str(other))
    ran = locum("adapters", "import", "foreign", "--domain", "legal", *SAID)
    assert (ran.code, f"`locum base pull {other}` makes that folder a base model" in ran.err) == (2, True), ran.err


def test_what_is_done_is_told_and_so_is_what_was_taken_for_what(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, foreign: Path, registry: Registry
) -> None:
    change(foreign, base_model_name_or_path="acme/Tiny-Llama")
    (foreign / "handler.py").write_text("raise SystemExit('this ran')")
    ran = locum("adapters", "import", "foreign", "--domain", "legal", *SAID)
    assert ran.code == 0, ran.err
    for part in (
        "getting the adapter\nchecking the adapter\nloading the base model for its known answers\n",
        "computing known answer 1 of 1\nregistering\n",
        "Note: its base model acme/Tiny-Llama is taken for tiny-llama by its name\n",
        "Note: handler.py: code stays behind and is never run",
    ):
        assert part in ran.err, ran.err
    made = registry.resolve("legal@1")
    assert made.origin is not None
    assert "its base model acme/Tiny-Llama is taken for tiny-llama by its name" in made.origin.changes
    quiet = locum("adapters", "import", "foreign", "--domain", "legal", *SAID, "--json")
    assert "checking" not in quiet.err


def test_links_are_followed_by_whoever_works_here_and_refused_where_a_server_registers_for_others(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, foreign: Path, tmp_path: Path
) -> None:
    (foreign / "adapter_model.safetensors").rename(tmp_path / "blob")
    (foreign / "adapter_model.safetensors").symlink_to("../blob")
    ran = locum("adapters", "register", "foreign", "--domain", "legal", "--json")  # what an upload runs
    assert (ran.code, "is a link out of the folder" in ran.err) == (2, True), ran.err
    ran = locum("adapters", "import", "foreign", "--domain", "legal", *SAID)
    assert ran.code == 0, ran.err


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_at_a_terminal_what_is_not_known_is_asked_for(
    locum: Callable[..., Ran],
    domain_folder: Path,
    base_record: Base,
    foreign: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(foreign, base_model_name_or_path="acme/other-llama")
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    ran = locum("adapters", "import", "foreign", "--domain", "legal")
    assert ran.code == 1
    assert "It was made for acme/other-llama, which is not here. Was that tiny-llama?" in ran.err
    assert registry.versions() == []
    monkeypatch.setattr(sys, "stdin", Terminal("y\napache-2.0\n\n"))
    ran = locum("adapters", "import", "foreign", "--domain", "legal")
    assert ran.code == 0, ran.err
    origin = registry.resolve("legal@1").origin
    assert origin is not None
    assert (origin.licence, origin.trained_on) == ("apache-2.0", "not stated")


def test_what_changes_nothing_of_what_it_computes_is_mended_and_said(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, foreign: Path, registry: Registry
) -> None:
    from safetensors.torch import load_file, save_file

    before = load_file(foreign / "adapter_model.safetensors")
    raw = {
        "_orig_mod." + name.removeprefix("base_model.model.").replace(".weight", ".default.weight"): tensor
        for name, tensor in before.items()
    }
    save_file(raw, foreign / "adapter_model.safetensors")
    change(foreign, task_type=None)
    left = {path.name: path.read_bytes() for path in foreign.iterdir()}
    ran = locum("adapters", "import", "foreign", "--domain", "legal", *SAID)
    assert ran.code == 0, ran.err
    assert "task_type was not given, is now 'CAUSAL_LM'" in ran.out
    assert "tensors renamed, such as _orig_mod.model.layers.0." in ran.out
    made = registry.resolve("legal@1")
    assert made.origin is not None and len(made.origin.changes) == 3
    after = load_file(registry.artifact_path(made) / "adapter_model.safetensors")
    assert after.keys() == before.keys()
    assert all(after[name].equal(tensor) for name, tensor in before.items())
    assert {path.name: path.read_bytes() for path in foreign.iterdir()} == left


@pytest.mark.parametrize(
    ("changes", "complaint", "hint"),
    [
        ({"use_dora": True}, "use_dora: the server cannot hold this", "merge_and_unload"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save: the server cannot hold this", "merge_and_unload"),
        (
            {"init_lora_weights": "pissa"},
            "'pissa' changes the base model's",
            "path_initial_model_for_weight_conversion",
        ),
        (
            {"init_lora_weights": "olora"},
            "'olora' changes the base model's",
            "path_initial_model_for_weight_conversion",
        ),
    ],
)
def test_what_cannot_be_mended_exactly_is_refused_with_the_way_out(
    locum: Callable[..., Ran],
    domain_folder: Path,
    base_record: Base,
    foreign: Path,
    changes: dict[str, object],
    complaint: str,
    hint: str,
) -> None:
    change(foreign, **changes)
    ran = locum("adapters", "import", "foreign", "--domain", "legal", *SAID)
    assert ran.code == 2
    assert complaint in ran.err and hint in ran.err
    assert locum("adapters", "list", "--json").json == []


def test_two_adapters_in_one_file_are_not_taken_for_one(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, foreign: Path
) -> None:
    from safetensors.torch import load_file, save_file

    both = load_file(foreign / "adapter_model.safetensors")
    both |= {name.replace(".weight", ".other.weight"): tensor.clone() for name, tensor in both.items()}
    save_file(both, foreign / "adapter_model.safetensors")
    ran = locum("adapters", "import", "foreign", "--domain", "legal", *SAID)
    assert (ran.code, "expected one adapter" in ran.err) == (2, True), ran.err


def test_pickles_checkpoints_and_nothing_at_all_are_told_apart(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, foreign: Path, tiny_base: Path
) -> None:
    (foreign / "adapter_model.safetensors").rename(foreign / "adapter_model.bin")
    ran = locum("adapters", "import", "foreign", "--domain", "legal", *SAID)
    assert (ran.code, "found adapter_model.bin" in ran.err, "weights_only=True" in ran.err) == (2, True, True)
    ran = locum("adapters", "import", str(tiny_base), "--domain", "legal", *SAID)
    assert (ran.code, f"locum base pull {tiny_base}" in ran.err) == (2, True)
    ran = locum("adapters", "import", "nowhere", "--domain", "legal", *SAID)
    assert (ran.code, "there is no folder nowhere" in ran.err) == (2, True)


def test_a_version_whose_files_were_changed_on_the_way_is_taken_for_what_it_is(
    locum: Callable[..., Ran], trained: Manifest, elsewhere: Callable[[], Settings]
) -> None:
    assert locum("adapters", "export", "legal@1", "--to", "out").code == 0
    change(Path("out"), lora_alpha=1)
    settings = elsewhere()
    ran = locum("adapters", "import", "out", "--domain", "legal", "--base", "their-llama", *SAID)
    assert ran.code == 0, ran.err
    made = Registry.open(settings).resolve("legal@1")
    assert (made.alpha, made.recipe, made.data) == (1, {}, None)


def test_a_version_for_another_fingerprint_is_not_taken_for_a_base_model_of_the_same_shape(
    locum: Callable[..., Ran], trained: Manifest, settings: Settings, tmp_path: Path
) -> None:
    assert locum("adapters", "export", "legal@1", "--to", "out", "--licence", "mit").code == 0
    source = json.loads((settings.bases / "tiny-llama" / "base.json").read_text())["base"]["path"]
    other = shutil.copytree(source, tmp_path / "other-llama")
    (other / "chat_template.jinja").write_text("{{ messages }}")
    pull(str(other), settings.bases)
    ran = locum("adapters", "import", "out", "--domain", "legal", "--base", "other-llama")
    assert ran.code == 2
    assert f"with fingerprint {trained.base_fingerprint[:12]}, found other-llama with" in ran.err


def test_a_version_goes_to_the_hub_and_comes_back_with_its_commit(
    trained: Manifest, elsewhere: Callable[[], Settings], hub: Hub
) -> None:
    """In processes of their own, which find the hub and the token where users have them."""

    def run(*arguments: str) -> Any:
        found = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        command = [sys.executable, "-m", "locum", "adapters", *arguments, "--json"]
        ran = subprocess.run(command, env={**os.environ, **found}, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    exported = run("export", "legal@1", "--to", "hf://acme/legal", "--private", "--licence", "mit")
    assert set(hub.repositories["acme/legal"]) == set(exported["files"])
    assert hub.private == {"acme/legal"}
    assert hub.messages == [f"legal@1, digest {trained.digest[:12]}"]
    assert exported["commit"].endswith(hub.commit_of("acme/legal"))
    hub.repositories["acme/legal"]["training_args.bin"] = b"never fetched"
    settings = elsewhere()
    run("import", "acme/legal", "--domain", "legal")
    there = Registry.open(settings).resolve("legal@1")
    assert there.digest == trained.digest
    assert there.origin is not None
    assert (there.origin.source, there.origin.revision) == ("hf://acme/legal", hub.commit_of("acme/legal"))


def test_the_hub_refuses_strangers_and_says_how_to_become_known(
    locum: Callable[..., Ran], register: Callable[[], Manifest], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    ran = locum("adapters", "export", "legal@1", "--to", "hf://acme/legal")
    assert ran.code == 2
    assert "hf://acme/legal cannot be written" in ran.err
    assert "`hf auth login`, or set HF_TOKEN to a token that may write" in ran.err
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    ran = locum("adapters", "export", "legal@1", "--to", "hf://closed/legal")
    assert (ran.code, "token that may write" in ran.err) == (2, True)
    assert hub.repositories == {}


def test_what_was_to_be_private_does_not_go_to_a_public_repository(
    locum: Callable[..., Ran], register: Callable[[], Manifest], hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.repositories["acme/legal"] = {}
    ran = locum("adapters", "export", "legal@1", "--to", "hf://acme/legal", "--private")
    assert (ran.code, "is there already and public" in ran.err) == (2, True), ran.err
    assert hub.repositories == {"acme/legal": {}}
    assert locum("adapters", "export", "legal@1", "--to", "hf://acme/legal").code == 0
    assert "adapter_model.safetensors" in hub.repositories["acme/legal"]


def test_what_is_not_on_the_hub_or_no_adapter_is_told(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, hub: Hub
) -> None:
    hub.repositories |= {
        "acme/whole": {"config.json": b"{}", "model.safetensors": b""},
        "acme/nested": {f"checkpoint-{n}/adapter_config.json": b"{}" for n in (1, 2)},
        "acme/pickled": {"adapter_config.json": b"{}", "adapter_model.bin": b""},
    }
    for source, complaint, hint in (
        ("acme/nested", "its adapters are in checkpoint-1, checkpoint-2", "hf download acme/nested"),
        ("acme/none", "the hub knows no such repository, or shows it to others only", "HF_TOKEN"),
        ("acme/whole@v9", "hf://acme/whole cannot be read", ""),
        ("acme/whole", "has no adapter_config.json: it is no LoRA adapter", "locum base pull acme/whole"),
        ("hf://acme/pickled", "expected adapter_model.safetensors, found adapter_model.bin", "weights_only=True"),
    ):
        ran = locum("adapters", "import", source, "--domain", "legal", *SAID)
        assert ran.code == 2, ran.err
        assert complaint in ran.err and hint in ran.err


def through(hub: Hub, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which finds the hub where users have it."""
    found = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "locum", *arguments]
    return subprocess.run(command, env={**os.environ, **found}, capture_output=True, text=True, check=False)


def test_what_lies_beside_an_adapter_on_the_hub_is_looked_at_too(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, foreign: Path, hub: Hub
) -> None:
    hub.repositories["acme/legal"] = {
        **{path.name: path.read_bytes() for path in foreign.iterdir()},
        "chat_template.jinja": b"{% for m in messages %}[INST]{{ m['content'] }}{% endfor %}",
        "inference.py": b"never fetched",
    }
    ran = through(hub, "adapters", "import", "acme/legal", "--domain", "legal", *SAID)
    assert ran.returncode == 0, ran.stderr
    assert "Note: chat_template.jinja: it learned with another chat template than tiny-llama's: '[INST]" in ran.stderr
    assert "Note: inference.py: code stays behind and is never run" in ran.stderr


def test_a_base_model_from_the_hub_comes_without_what_is_there_twice(
    locum: Callable[..., Ran], tiny_base: Path, hub: Hub
) -> None:
    extra = ("consolidated.safetensors", "model.fp16.safetensors", "original/consolidated.safetensors", "params.json")
    hub.repositories["acme/tiny"] = {path.name: path.read_bytes() for path in tiny_base.iterdir()}
    hub.repositories["acme/tiny"] |= dict.fromkeys(extra, b"never fetched")
    ran = through(hub, "base", "pull", "acme/tiny", "--json")
    assert ran.returncode == 0, ran.stderr
    made = json.loads(ran.stdout)
    assert made["fingerprint"] == fingerprint(tiny_base)
    assert {path.name for path in Path(made["path"]).rglob("*.safetensors")} == {"model.safetensors"}


def test_a_hub_that_may_not_be_asked_or_does_not_answer_exits_3(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    hub.close()
    ran = locum("adapters", "import", "hf://acme/legal", "--domain", "legal", *SAID)
    assert (ran.code, "the hub does not answer" in ran.err) == (3, True), ran.err
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    ran = locum("adapters", "import", "hf://acme/legal", "--domain", "legal", *SAID)
    assert (ran.code, "unset HF_HUB_OFFLINE" in ran.err) == (3, True), ran.err
