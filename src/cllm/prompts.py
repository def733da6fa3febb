"""Prompts that show what a code model can do, by language: reports, samples and the studio share them.

Pure; nothing here knows a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

GUIDE_PROMPTS = ("int main() {", "// Calculate the nth prime number", "void cllm_", "// Convert to lattice coordinates")
C_PROMPTS = GUIDE_PROMPTS
PYTHON_PROMPTS = ("def ", "import ", "class ", "# Calculate the nth prime number\ndef ")
OTHER_PROMPTS = ("import ", "function ", "class ", "// Calculate the nth prime number\n")
PROMPTS = {"c": C_PROMPTS, "c++": C_PROMPTS, "python": PYTHON_PROMPTS}


def main_language(sizes: Mapping[str, int]) -> str | None:
    """The language with most text; C headers count as C. `sizes` may be bytes or files."""
    counted: Counter[str] = Counter()
    for language, size in sizes.items():
        counted["c" if language == "header" else language] += size
    return max(sorted(counted), key=counted.__getitem__) if counted else None


def prompts_for(language: str | None) -> tuple[str, ...]:
    """Four prompts that fit the language; the first is the one that a training is sampled with."""
    return PROMPTS.get(language or "", OTHER_PROMPTS)
