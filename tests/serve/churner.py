"""A process that registers, releases, rolls back and deletes versions as fast as it can, until its input ends.

    python churner.py POOL      (settings from LOCUM_* variables)

POOL is a JSON file: adapters by name, each `{"folder": …, "probes": […]}`. Each version gets an artifact of its own,
with the weights of one of them. What was done is told as one JSON object a line.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import threading
import time
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

from locum.adapters.base import load_base
from locum.adapters.manifest import Manifest, Probe
from locum.adapters.registry import Registry
from locum.errors import ConflictError
from locum.settings import load_settings

DOMAINS = ("medical", "legal", "tax")
PAUSE_SECONDS = 0.1


def main() -> None:
    settings = load_settings()
    registry, base = Registry.open(settings), load_base(settings.bases, settings.base)
    pool = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    chance = random.Random(7)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()

    def register(domain: str) -> tuple[Manifest, str]:
        weights = chance.choice(sorted(pool))
        with TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(pool[weights]["folder"], Path(folder) / "adapter"))
            config = json.loads((copy / "adapter_config.json").read_text())
            (copy / "adapter_config.json").write_text(json.dumps({**config, "revision": uuid.uuid4().hex}))
            probes = [Probe.model_validate(probe) for probe in pool[weights]["probes"]]
            manifest = registry.register(
                domain, copy, base=base, recipe={}, data=None, training={}, probes=probes, created_by="churner"
            )
        return manifest, weights

    while not ended.wait(PAUSE_SECONDS):
        domain = chance.choice(DOMAINS)
        action = chance.choice(("register", "release", "rollback", "delete", "delete"))
        done: dict[str, object] = {"action": action, "domain": domain}
        try:
            if action == "register":
                manifest, done["weights"] = register(domain)
                done["version"] = manifest.name
            elif action == "release":
                name = chance.choice(registry.versions(domain)).name
                done["version"] = registry.release(name, by="churner", force=True, reason="churn").version
            elif action == "rollback":
                done["version"] = registry.rollback(domain, by="churner").version
            else:
                # numbers 1 and 2 are what clients ask for by name
                names = [manifest.name for manifest in registry.versions(domain) if manifest.number > 2]
                if not names:
                    continue
                done["version"] = registry.delete(chance.choice(names)).name
        except ConflictError:  # it is in production already, or there is nothing to go back to
            continue
        sys.stdout.write(json.dumps({**done, "at": time.time()}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
