"""Which licences a hub names come with terms of their own, and where those are.

open        a plain open licence: nothing is asked
with terms  a person accepts them once, for mirrors of the model as well
none named  nothing allows its use, so a person accepts that, once for each repository
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_OPEN = re.compile(
    r"(?:apache|mit|bsd|0bsd|isc|cc0|cc|unlicense|zlib|mpl|lgpl|gpl|agpl|wtfpl|odc|pddl|ms-pl"
    r"|cdla|artistic|afl|ecl|epl|eupl|osl|postgresql|ncsa|bsl-1\.0)"
    # no other words: a Commons Clause, or "not for trade", are terms to know of
    r"(?:-(?:[.0-9]+|by|sa|clause|clear|only|or-later|lr|permissive|sharing))*"
)
_TERMS = {
    "gemma": "https://ai.google.dev/gemma/terms",
    "llama2": "https://ai.meta.com/llama/license/",
    "llama3": "https://www.llama.com/llama3/license/",
    "llama3.1": "https://www.llama.com/llama3_1/license/",
    "llama3.2": "https://www.llama.com/llama3_2/license/",
    "llama3.3": "https://www.llama.com/llama3_3/license/",
    "lfm1.0": "https://huggingface.co/LiquidAI/LFM2-350M/blob/main/LICENSE",
    "falcon-llm": "https://falconllm.tii.ae/falcon-terms-and-conditions.html",
    "falcon-llm-license": "https://falconllm.tii.ae/falcon-terms-and-conditions.html",
    "falcon-mamba-7b": "https://falconllm.tii.ae/falcon-mamba-7b-terms-and-conditions.html",
}


def terms_of(
    licence: str | None, link: str | None, page: str, own_words: bool = False
) -> str | None:
    """Address of the terms of `licence`, or where they would be; None for an open one.

    `link` is what the repository gives as its address, `page` the repository's own. A licence in
    its author's `own_words` is none of the hub's list, so it is never open, whatever its name.
    """
    if licence is None:
        return page
    name = licence.lower()
    if name in _TERMS:
        return _TERMS[name]
    if _OPEN.fullmatch(name) and not own_words:
        return None
    return link if link and _is_address(link) else page


def _is_address(link: str) -> bool:
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.netloc) and link.isprintable() and " " not in link
