"""`locum adapters`, as typed, on real files and a real registry."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from locum.adapters.base import Base
from locum.adapters.manifest import Manifest
from locum.adapters.owners import OWNERS
from locum.adapters.registry import Registry
from locum.settings import Settings
from tests.commands.conftest import Ran
from tests.records import register_plainly


def test_an_adapter_from_elsewhere_is_registered_with_probes_and_then_listed_and_shown(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, tiny_adapter: Callable[..., Path]
) -> None:
    ran = locum("adapters", "register", str(tiny_adapter(rank=4)), "--domain", "legal", "--json")
    assert ran.code == 0, ran.err
    made = ran.json
    assert (made["name"], made["rank"], made["probes"]) == ("legal@1", 4, 1)
    assert made["base_fingerprint"] == base_record.fingerprint
    [listed] = locum("adapters", "list", "legal", "--json").json
    assert listed == {**made, "aliases": ["candidate"]}
    shown = locum("adapters", "show", "legal@candidate", "--json").json
    assert Manifest.model_validate(shown["manifest"]).digest == made["digest"]
    assert shown["evaluations"] == []
    assert locum("adapters", "list", "medical", "--json").json == []


def test_a_version_has_the_system_prompt_and_the_switch_of_its_card_and_they_are_shown(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, tiny_adapter: Callable[..., Path]
) -> None:
    adapter, card = str(tiny_adapter(rank=4)), domain_folder / "card.yaml"
    assert locum("adapters", "register", adapter, "--domain", "legal", "--json").json["system"] == "default"
    card.write_text(card.read_text().replace("of legal.", "of law.\nsystem: always"))
    assert "system: always" in locum("domain", "show", "legal").out
    assert locum("adapters", "register", adapter, "--domain", "legal").code == 0
    manifests = [locum("adapters", "show", f"legal@{n}", "--json").json["manifest"] for n in (1, 2)]
    assert [(each["system_prompt"], each["system"]) for each in manifests] == [
        ("You answer questions of legal.", "default"),
        ("You answer questions of law.", "always"),
    ]
    shown = locum("adapters", "show", "legal@2").out
    assert "You answer questions of law." in shown and "always" in shown


@pytest.mark.parametrize(
    "words", [["register"], ["import", "--licence", "mit", "--trained-on", "questions"]], ids=["register", "import"]
)
def test_a_version_keeps_the_notices_that_its_card_enforces_when_it_comes_in(
    locum: Callable[..., Ran],
    domain_folder: Path,
    base_record: Base,
    registry: Registry,
    tiny_adapter: Callable[..., Path],
    words: list[str],
) -> None:
    card = domain_folder / "card.yaml"
    enforced = "notices: {texts: [This is a test.], enforce: append}"
    card.write_text(card.read_text().replace("notices: [This is a test.]", enforced))
    ran = locum("adapters", words[0], str(tiny_adapter(rank=4)), "--domain", "legal", *words[1:])
    assert ran.code == 0, ran.err
    assert registry.resolve("legal@1").enforced_notices == [["This is a test."]]
    assert "enforced notice" in locum("adapters", "show", "legal@1").out


def test_people_see_versions_with_what_they_are(
    locum: Callable[..., Ran], registry: Registry, register: Callable[[], Manifest]
) -> None:
    digest = register().digest
    registry.release("legal@1", by="tester", reason="first", force=True)
    [row] = [line for line in locum("adapters", "list").out.splitlines() if "legal@1" in line]
    for part in ("production", "tiny-llama", digest[:12], "tester"):
        assert part in row
    shown = locum("adapters", "show", "legal").out
    assert "legal@1" in shown and digest in shown


def test_an_empty_registry_says_how_to_fill_it(locum: Callable[..., Ran]) -> None:
    ran = locum("adapters", "list")
    assert ran.code == 0
    assert "locum train DOMAIN" in ran.out


@pytest.mark.parametrize("command", ["show", "verify", "delete"])
def test_an_unknown_version_exits_2_and_lists_what_there_is(
    locum: Callable[..., Ran], register: Callable[[], Manifest], command: str
) -> None:
    register()
    ran = locum("adapters", command, "legal@7")
    assert ran.code == 2
    assert "no legal@7: did you mean legal@1? there is: legal@1, legal@candidate" in ran.err
    assert locum("adapters", command, "tax").err.startswith("Error: ")
    wrong = locum("adapters", command, "Legal@one")
    assert wrong.code == 2
    assert "'Legal@one' is not a version name; expected DOMAIN, DOMAIN@NUMBER" in wrong.err


def test_an_adapter_for_another_base_model_exits_2_and_leaves_no_version(
    locum: Callable[..., Ran], domain_folder: Path, base_record: Base, tiny_adapter: Callable[..., Path]
) -> None:
    folder = tiny_adapter(rank=4)
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace('"r": 4', '"r": 8'))
    ran = locum("adapters", "register", str(folder), "--domain", "legal")
    assert ran.code == 2
    assert "lora_A: expected shape [8, " in ran.err
    assert locum("adapters", "list", "--json").json == []


def test_registering_without_a_base_model_exits_3_and_without_a_domain_2(
    locum: Callable[..., Ran], domain_folder: Path, tiny_adapter: Callable[..., Path]
) -> None:
    adapter = str(tiny_adapter(rank=4))
    ran = locum("adapters", "register", adapter, "--domain", "legal")
    assert ran.code == 3
    assert "the base model 'tiny-llama' is not there" in ran.err
    ran = locum("adapters", "register", adapter, "--domain", "tax")
    assert ran.code == 2
    assert "no domain 'tax'" in ran.err


def test_verify_without_a_server_exits_3_and_offline_checks_the_files_alone(
    locum: Callable[..., Ran], register: Callable[[], Manifest]
) -> None:
    manifest = register()
    ran = locum("adapters", "verify", "legal@1", "--endpoint", "http://127.0.0.1:1/v1")
    assert ran.code == 3
    assert "no server answers at http://127.0.0.1:1/v1" in ran.err
    assert "locum serve" in ran.err
    offline = locum("adapters", "verify", "legal@1", "--offline", "--json")
    assert offline.json == {"version": "legal@1", "digest": manifest.digest, "files": "whole"}
    assert "its files are whole" in locum("adapters", "verify", "legal@1", "--offline").out


def test_verify_of_a_damaged_artifact_exits_1_and_names_the_file(
    locum: Callable[..., Ran], registry: Registry, register: Callable[[], Manifest]
) -> None:
    manifest = register()
    path = registry.artifact_path(manifest) / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    ran = locum("adapters", "verify", "legal@1", "--offline")
    assert ran.code == 1
    assert "was changed: adapter_model.safetensors" in ran.err


def test_delete_asks_first_and_then_the_number_is_not_used_again(
    locum: Callable[..., Ran], register: Callable[[], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    monkeypatch.setattr(sys, "stdin", StringIO("n\n"))
    refused = locum("adapters", "delete", "legal@1")
    assert refused.code == 1
    assert "Delete legal@1" in refused.err
    assert len(locum("adapters", "list", "--json").json) == 1
    assert locum("adapters", "delete", "legal@1", "--yes", "--json").json == {
        "deleted": "legal@1",
        "artifact_stays": None,
    }
    assert locum("adapters", "list", "--json").json == []
    assert register().name == "legal@2"


def test_what_is_in_production_is_not_deleted(
    locum: Callable[..., Ran], registry: Registry, register: Callable[[], Manifest]
) -> None:
    register()
    registry.release("legal@1", by="tester", reason="first", force=True)
    ran = locum("adapters", "delete", "legal@1", "--yes")
    assert ran.code == 2
    assert "legal@1 is production of legal and is not deleted" in ran.err


def test_delete_says_why_the_artifact_stays_and_show_says_who_holds_it(
    locum: Callable[..., Ran],
    registry: Registry,
    register: Callable[[], Manifest],
    settings: Settings,
    base_record: Base,
    tmp_path: Path,
) -> None:
    version = register()
    register_plainly(registry, "medical", registry.artifact_path(version), base_record)
    stays = f"Its artifact {version.digest[:12]} stays in {settings.artifacts_url}: "
    assert stays + "medical@1 has the same one." in locum("adapters", "delete", "legal@1", "--yes").out
    theirs = Registry.open(Settings(home=tmp_path / "production", artifacts=settings.artifacts_url))
    register_plainly(theirs, "legal", registry.artifact_path(version), base_record)
    mine, other = (each.identity().registry for each in (registry, theirs))
    assert locum("adapters", "show", "medical@1", "--json").json["held_by"] == sorted([mine, other])
    assert f"this registry ({mine}), registry {other}" in locum("adapters", "show", "medical@1").out
    deleted = locum("adapters", "delete", "medical@1", "--yes")
    assert f"{stays}another registry holds it too ({other})." in deleted.out
    assert theirs.artifact_path(version).is_dir()


def test_what_was_in_the_store_before_registries_marked_what_they_hold_stays_and_delete_says_what_to_do(
    locum: Callable[..., Ran], registry: Registry, register: Callable[[], Manifest], settings: Settings
) -> None:
    version = register()
    shutil.rmtree(settings.home / "artifacts" / OWNERS)
    assert "no registry has marked it" in locum("adapters", "show", "legal@1").out
    registry._sweep()
    assert "perhaps others: it was there before" in locum("adapters", "show", "legal@1").out
    deleted = locum("adapters", "delete", "legal@1", "--yes")
    assert "before registries marked what they hold, and another may have a version of it" in deleted.out
    assert "remove .owners/unknown in the store" in deleted.out
    assert registry.artifact_path(version).is_dir()


def test_show_works_without_the_store_and_says_that_it_does_not_know_who_holds_a_version(
    locum: Callable[..., Ran], register: Callable[[], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register()
    monkeypatch.setenv("LOCUM_ARTIFACTS", "http://127.0.0.1:1/artifacts")
    shown = locum("adapters", "show", "legal@1", "--json")
    assert shown.code == 0
    assert (shown.json["manifest"]["digest"], shown.json["held_by"]) == (version.digest, None)
    assert "Who holds legal@1 is not known: the artifact store http://127.0.0.1:1/artifacts" in shown.err
