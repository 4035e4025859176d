"""Chat templates: what ordinary ones need, and what hostile ones may not do."""

from __future__ import annotations

import resource
from collections.abc import Sequence

import pytest

from ondevice.domain.generation import Attachment, ChatMessage
from ondevice.domain.thinking import USUAL, ThinkingStyle
from ondevice.engines.template import MAX_TEMPLATE_CHARACTERS, ChatTemplate, thinking_style
from ondevice.errors import TemplateFailed

ALTERNATING = """
{{- bos_token }}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {{- raise_exception('System role not supported') }}
    {%- endif %}
    {{- '<' + message['role'] + '>' + message['content'] | trim + eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<assistant>' }}{% endif %}
"""
SYSTEM, USER = ChatMessage("system", "be brief"), ChatMessage("user", " hello ")
REPLY = ChatMessage("assistant", "hi")


def render(source: str, messages: Sequence[ChatMessage] = (USER,)) -> tuple[str, bool]:
    return ChatTemplate(source, bos="<s>", eos="</s>").render(messages)


def test_a_conversation_renders_with_its_tokens_and_the_generation_prompt() -> None:
    text, folded = render(ALTERNATING, [USER, REPLY, USER])
    assert text == "<s><user>hello</s><assistant>hi</s><user>hello</s><assistant>"
    assert not folded


def test_a_refused_system_message_is_folded_into_the_first_user_message() -> None:
    text, folded = render(ALTERNATING, [SYSTEM, USER])
    assert text == "<s><user>be brief\n\n hello</s><assistant>"
    assert folded


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("{{ messages | tojson }}", '[{"role": "user", "content": " hello "}]', id="j"),
        pytest.param("{{ {'é': 1} | tojson(indent=1) }}", '{\n "é": 1\n}', id="indented JSON"),
        pytest.param(
            "{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}",
            '{"a":2,"b":1}',
            id="arguments that transformers knows",
        ),
        pytest.param("{{ strftime_now('%%') }}", "%", id="the date"),
        pytest.param("{% for m in messages %}{% break %}{% endfor %}x", "x", id="loop controls"),
        pytest.param("{% if tools %}t{% endif %}{{ nothing }}x", "x", id="undefined names"),
        pytest.param("{{ messages[0].content }}", "  <b>\x1b ", id="content is not escaped"),
        pytest.param("a\n{% if true %}\nb\n{% endif %}\nc", "a\nb\nc", id="blocks leave no lines"),
        pytest.param(
            "{% set n = namespace(x=0) %}{% for m in messages %}{% set n.x = n.x + 1 %}"
            "{% endfor %}{{ n.x }}",
            "1",
            id="namespaces",
        ),
    ],
)
def test_what_ordinary_templates_use_works(source: str, expected: str) -> None:
    message = ChatMessage("user", "  <b>\x1b " if "content }}" in source else " hello ")
    assert render(source, [message]) == (expected, False)


HOSTILE = {
    "a huge string, folded": "{{ 'a' * 3000000000 }}",
    "a huge string": "{% set n = messages | length * 3000000000 %}{{ 'a' * n }}",
    "a large constant": "{{ 'a' * 400000000 }}",
    "a huge list": "{{ [0] * 3000000000 }}",
    "many small pieces": "{% for a in range(99999) %}{% for b in range(9) %}"
    + "{{ 'x' * 9999 }}" * 9
    + "{% endfor %}{% endfor %}",
    "a huge range": "{% for a in range(1000000000) %}{% endfor %}",
    "endless recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a class through format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "a call through a filter": "{{ (''|attr('__class__')).mro() }}",
    "globals of a function": "{{ raise_exception.__globals__.keys() }}",
    "code of a generator": "{{ (messages | map('upper')).gi_frame.f_globals }}",
    "changed messages": "{{ messages.append(1) }}",
    "an included file": "{% include '/etc/passwd' %}",
    "an imported file": "{% import 'os' as os %}{{ os }}",
    "a division": "{{ 1 // 0 }}",
    "its own refusal": "{{ raise_exception('Only " + "x" * 1000 + "') }}",
    "blocks too deep for Python": "{% for a in [1] %}" * 40 + "{% endfor %}" * 40,
    "brackets too deep": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "a long sum": "{{ 1" + " + x" * 50_000 + " }}",
    "no end": "{% for a in messages %}",
    "an unknown tag": "{% generation_of_something %}",
    "over 1 MB": " " * (MAX_TEMPLATE_CHARACTERS + 1),
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template_is_one_short_named_error(source: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(TemplateFailed, match=r"^the chat template ") as caught:
        render(source)
    assert len(caught.value.message) < 300
    assert "ondevice run --raw" in caught.value.hint
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_refusal_says_what_the_template_said() -> None:
    with pytest.raises(TemplateFailed, match="roles must alternate"):
        render("{{ raise_exception('roles must alternate') }}", [SYSTEM, USER])


@pytest.mark.parametrize(
    "name", ["''.__class__", "''|attr('__class__')|attr('__mro__')", "raise_exception['__code__']"]
)
def test_a_private_name_reads_as_nothing(name: str) -> None:
    assert render("{{ " + name + " }}") == ("", False)


STRIPPING = """
{%- for m in messages %}
    {%- set said = m.content.split('</think>')[-1] if m.role == 'assistant' else m.content %}
    {{- '<' + m.role + '>' + said }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<assistant>' }}{% endif %}
"""
OPENING = ALTERNATING.replace("'<assistant>'", "'<assistant><think>\\n'")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(ALTERNATING, USUAL, id="no tags"),
        pytest.param(STRIPPING, ThinkingStyle(stripped_by_template=True), id="it strips"),
        pytest.param(
            OPENING + "{# </think> #}", ThinkingStyle(begun_by_prompt=True), id="it opens"
        ),
        pytest.param(
            ALTERNATING + "{# [/THINK] #}", ThinkingStyle("[THINK]", "[/THINK]"), id="other tags"
        ),
        pytest.param("{# </think> #}{{ raise_exception('no') }}", ThinkingStyle(), id="it fails"),
    ],
)
def test_how_a_model_marks_its_thinking_is_the_templates_to_say(
    source: str, expected: ThinkingStyle
) -> None:
    assert thinking_style(source, ChatTemplate(source, "<s>", "</s>")) == expected


def test_attached_texts_stand_before_the_question_in_fences_they_cannot_close() -> None:
    file = Attachment("a\x1b[2J.py", "x = 1\n````\n")
    text, _ = render("{{ messages[0].content }}", [ChatMessage("user", "What?", (file,))])
    assert text == "a[2J.py:\n`````\nx = 1\n````\n`````\n\nWhat?"
