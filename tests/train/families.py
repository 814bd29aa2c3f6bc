"""Chat templates built as those of the families that people train, in our own words, and what they need.

Structure counts here: where the system message goes, what is trimmed, what ends a turn, which turns are rewritten.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Family:
    """A template, its special tokens, and how it treats texts."""

    template: str
    end: str
    special: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    """Tokens that are added to the vocabulary, and are not special."""
    system: bool = True
    trims: bool = False
    tools: bool = False
    thinks: bool = False


TOOLS_AHEAD = (
    "{% if tools %}{{ 'TOOLS' }}{% for tool in tools %}{{ '\n' + (tool | tojson) }}{% endfor %}{{ '\n' }}{% endif %}"
)
CALLS = (
    "{% for call in m.tool_calls %}{% set f = call.function %}"
    "{{ '\n<tool_call>\n' + ({'name': f.name, 'arguments': f.arguments} | tojson) + '\n</tool_call>' }}{% endfor %}"
)
FAMILIES = {
    "llama2": Family(
        "{% if messages[0].role == 'system' %}{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
        "{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
        "{% for m in turns %}{% if m.role == 'user' %}"
        "{{ bos_token + '[INST] ' + (system if loop.first else '') + m.content.strip() + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
        end=" </s>",
        special=("<s>", "</s>"),
        trims=True,
    ),
    "llama3": Family(
        "{{ '<|begin_of_text|>' }}{% set day = strftime_now('%Y') %}"
        "{% if messages[0].role == 'system' %}{% set system = messages[0].content | trim %}"
        "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
        "{{ '<|start_header_id|>system<|end_header_id|>\n\nYear ' + day + '\n' + system + '<|eot_id|>' }}"
        "{% if tools %}{% set first = messages[0].content | trim %}{% set messages = messages[1:] %}"
        "{{ '<|start_header_id|>user<|end_header_id|>\n\nTOOLS' }}"
        "{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
        "{{ first + '<|eot_id|>' }}{% endif %}"
        "{% for m in messages %}{% if m.tool_calls %}"
        "{% if m.tool_calls | length > 1 %}{{ raise_exception('only one call at a time') }}{% endif %}"
        "{% set f = m.tool_calls[0].function %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
        "{{ '{\"name\": \"' + f.name + '\", \"parameters\": ' + (f.arguments | tojson) + '}<|eom_id|>' }}"
        "{% elif m.role == 'tool' %}{{ '<|start_header_id|>ipython<|end_header_id|>\n\n' + m.content + '<|eot_id|>' }}"
        "{% else %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + (m.content | trim) + '<|eot_id|>' }}"
        "{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
        end="<|eot_id|>",
        special=("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"),
        trims=True,
        tools=True,
    ),
    "qwen2.5": Family(
        "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set turns = messages[1:] %}"
        "{% else %}{% set system = 'You help.' %}{% set turns = messages %}{% endif %}"
        "{{ '<|im_start|>system\n' + system + '\n' }}" + TOOLS_AHEAD + "{{ '<|im_end|>\n' }}"
        "{% for m in turns %}{% if m.role == 'tool' %}"
        "{% if loop.first or turns[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
        "{{ '\n<tool_response>\n' + m.content + '\n</tool_response>' }}"
        "{% if loop.last or turns[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\n' }}{% endif %}"
        "{% else %}{{ '<|im_start|>' + m.role }}{% if m.content %}{{ '\n' + m.content }}{% endif %}" + CALLS +
        "{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        end="<|im_end|>",
        special=("<|im_start|>", "<|im_end|>"),
        plain=("<tool_call>", "</tool_call>"),
        tools=True,
    ),
    "qwen3": Family(
        "{% if messages[0].role == 'system' %}{{ '<|im_start|>system\n' + messages[0].content + '\n' }}"
        "{% else %}{{ '<|im_start|>system\n' }}{% endif %}" + TOOLS_AHEAD + "{{ '<|im_end|>\n' }}"
        "{% set ns = namespace(last=0) %}"
        "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
        "{% for m in messages %}{% if m.role == 'user' %}{{ '<|im_start|>user\n' + m.content + '<|im_end|>\n' }}"
        "{% elif m.role == 'tool' %}{{ '<|im_start|>user\n<tool_response>\n' + m.content + '\n</tool_response>' }}"
        "{{ '<|im_end|>\n' }}"
        "{% elif m.role == 'assistant' %}{% set thought = '' %}{% set content = m.content %}"
        "{% if m.reasoning_content is string %}{% set thought = m.reasoning_content %}"
        "{% elif '</think>' in content %}"
        "{% set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
        "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
        "{{ '<|im_start|>assistant\n' }}"
        "{% if loop.index0 > ns.last and (loop.last or thought) %}"
        "{{ '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}"
        "{% else %}{{ content }}{% endif %}" + CALLS + "{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
        "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        "{% endif %}",
        end="<|im_end|>",
        special=("<|im_start|>", "<|im_end|>"),
        plain=("<think>", "</think>", "<tool_call>", "</tool_call>"),
        tools=True,
        thinks=True,
    ),
    "gemma2": Family(
        "{{ bos_token }}{% if messages[0].role == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}"
        "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + (m.content | trim) }}"
        "{{ '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        end="<end_of_turn>",
        special=("<start_of_turn>", "<end_of_turn>"),
        system=False,
        trims=True,
    ),
    "gemma3": Family(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
        "{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
        "{% for m in turns %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
        "{{ first if loop.first else '' }}"
        "{% if m.content is string %}{{ m.content | trim }}{% else %}"
        "{% for part in m.content %}{{ part.text | trim }}{% endfor %}{% endif %}{{ '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
        end="<end_of_turn>",
        special=("<start_of_turn>", "<end_of_turn>"),
        trims=True,
    ),
    "mistral": Family(
        "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set turns = messages[1:] %}"
        "{% else %}{% set turns = messages %}{% endif %}"
        "{% set asked = turns | selectattr('role', 'equalto', 'user') | list %}{{ bos_token }}"
        "{% for m in turns %}{% if m.role == 'user' %}"
        "{% if tools and m == asked[-1] %}"
        "{{ '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{% endif %}"
        "{% if loop.last and system is defined %}{{ '[INST] ' + system + '\n\n' + m.content + '[/INST]' }}"
        "{% else %}{{ '[INST] ' + m.content + '[/INST]' }}{% endif %}"
        "{% elif m.tool_calls is defined %}{{ '[TOOL_CALLS] [' }}{% for call in m.tool_calls %}"
        "{% if call.id | length != 9 %}{{ raise_exception('ids of calls have nine letters') }}{% endif %}"
        "{{ ({'name': call.function.name, 'arguments': call.function.arguments, 'id': call.id} | tojson) }}"
        "{{ ', ' if not loop.last else ']' + eos_token }}{% endfor %}"
        "{% elif m.role == 'tool' %}"
        "{{ '[TOOL_RESULTS] ' + ({'content': m.content, 'call_id': m.tool_call_id} | tojson) }}"
        "{{ '[/TOOL_RESULTS]' }}"
        "{% else %}{{ ' ' + (m.content | trim) + eos_token }}{% endif %}{% endfor %}",
        end="</s>",
        special=("<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
                 "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
        trims=True,
        tools=True,
    ),
    "deepseek-r1": Family(
        "{% set ns = namespace(system='') %}"
        "{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = m.content %}{% endif %}{% endfor %}"
        "{{ bos_token + ns.system }}"
        "{% for m in messages %}{% if m.role == 'user' %}{{ '<|User|>' + m.content }}"
        "{% elif m.role == 'assistant' and not m.tool_calls %}"
        "{{ '<|Assistant|>' + m.content.split('</think>')[-1] + '<|end_of_sentence|>' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}",
        end="<|end_of_sentence|>",
        special=("<|end_of_sentence|>",),
        plain=("<|User|>", "<|Assistant|>", "<think>", "</think>"),
        thinks=True,
    ),
    "phi3": Family(
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
        end="<|end|>",
        special=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    ),
    "phi4": Family(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}",
        end="<|im_end|>",
        special=("<|im_start|>", "<|im_sep|>", "<|im_end|>"),
    ),
    "glm": Family(
        "{% for m in messages %}{{ '<|' + m.role + '|>' }}"
        "{% if m.role == 'assistant' %}"
        "{{ '<think>' + (m.reasoning_content if m.reasoning_content else '') + '</think>\n' + m.content + '<|end|>' }}"
        "{% else %}{{ '\n' + m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
        end="<|end|>",
        special=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        plain=("<think>", "</think>"),
        thinks=True,
    ),
    "parts": Family(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
        "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        end="<|im_end|>",
        special=("<|im_start|>", "<|im_end|>"),
    ),
    "generation-blocks": Family(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
        "{% else %}{{ m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        end="<|im_end|>",
        special=("<|im_start|>", "<|im_end|>"),
    ),
}  # fmt: skip


def tokenizer_of(base: Path, family: Family) -> Any:
    """The tokenizer of the tiny base with a family's template and tokens.

    Its end-of-text token is another one than the family's end of turn, and special tokens have no names.
    """
    from transformers import AddedToken, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens([AddedToken(text, special=True, normalized=False) for text in family.special])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in family.plain])
    tokenizer.eos_token = "</s>" if "</s>" in family.special else "<|endoftext|>"
    tokenizer.chat_template = family.template
    return tokenizer
