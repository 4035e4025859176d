"""Chat templates that treat a system message, blanks and thinking in different ways."""

from __future__ import annotations

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
BEGINNING_TO_THINK = CHATML.removesuffix("{% endif %}") + "<think>\n{% endif %}{# </think> #}"
IN_THE_FIRST_QUESTION = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set s = messages[0].content | trim %}"
    "{% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'user' %}<|user|>{% if loop.first and s %}<<{{ s }}>>"
    "{% endif %}{{ m.content | trim }}{% else %}<|assistant|>{{ m.content | trim }}<|end|>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
REFUSING = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    "<|{{ m.role }}|>{% if m.role == 'user' %}{{ m.content | trim }}{% else %}"
    "{{ m.content.split('</think>')[-1].lstrip() }}{% endif %}<|end|>{% endfor %}"
)
