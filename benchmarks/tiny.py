"""A Llama so small that everything around it can be measured, adapters over it, and a home that has them registered."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

import torch
from peers import free_port
from safetensors.torch import save_file

from locum.adapters.base import Base, pull
from locum.adapters.manifest import Manifest, Probe
from locum.adapters.registry import Registry
from locum.settings import Settings

HIDDEN, INNER, LAYERS, HEADS, HEAD = 64, 128, 2, 2, 32
# Width in and out of each projection that an adapter changes.
PROJECTIONS = {
    "self_attn.q_proj": (HIDDEN, HEADS * HEAD),
    "self_attn.v_proj": (HIDDEN, HEAD),
    "mlp.down_proj": (INNER, HIDDEN),
}
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEXT = (
    "the court says that licence is permissive cholera placed in chapter of infections a fracture injuries merchant "
    "sells bread its category lies range retail outlets which what does mean for who asks"
)


def make_base(folder: Path, *, positions: int = 16_384) -> Path:
    """A random Llama of two layers with a byte-level tokenizer of its own and a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [prompt_of(400, seed) for seed in range(8)],
        trainers.BpeTrainer(vocab_size=512, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[2], pad_token=special[0]
    )
    fast.chat_template = CHATML
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        head_dim=HEAD,
        max_position_embeddings=positions,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def make_adapter(folder: Path, seed: int, *, rank: int = 4) -> Path:
    """A PEFT adapter with random weights, strong enough to change what is said. No two seeds have the same."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(LAYERS):
        for projection, (width_in, width_out) in PROJECTIONS.items():
            name = f"base_model.model.model.layers.{layer}.{projection}"
            tensors[f"{name}.lora_A.weight"] = torch.randn(rank, width_in, generator=generator) / width_in**0.5
            tensors[f"{name}.lora_B.weight"] = torch.randn(width_out, rank, generator=generator) * 0.3
    return write_adapter(folder, tensors, rank, PROJECTIONS)


def write_adapter(folder: Path, tensors: dict[str, torch.Tensor], rank: int, projections: Iterable[str]) -> Path:
    """An adapter as PEFT writes it."""
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": [projection.rsplit(".", 1)[1] for projection in projections],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def make_home(folder: Path, *, api_key: str = "", admin_token: str = "") -> tuple[Settings, Base, Registry]:
    """A home with the tiny base and an empty registry, and a port that is free now."""
    settings = Settings(
        home=folder / "home",
        domains=folder / "domains",
        base="tiny-llama",
        port=free_port(),
        user="benchmark",
        api_key=api_key,
        admin_token=admin_token,
    )
    base = pull(str(make_base(folder / "tiny-llama")), settings.bases)
    return settings, base, Registry.open(settings)


def register(registry: Registry, base: Base, domain: str, adapter: Path, probes: Iterable[Probe] = ()) -> Manifest:
    return registry.register(
        domain,
        adapter,
        base=base,
        recipe={},
        data=None,
        training={},
        probes=list(probes),
        created_by="benchmark",
    )


def prompt_of(words: int, seed: int = 0) -> str:
    """Some text of so many words."""
    return " ".join(random.Random(seed).choices(TEXT.split(), k=words))
