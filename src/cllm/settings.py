"""One declaration for each setting: its default, bounds, unit and description.

The command line makes its options and `--help` from these fields, validation messages quote them, and the studio
builds its form and tooltips from the same schema (`model_json_schema()`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cllm.errors import InvalidSettings
from cllm.workspace import DEFAULT_MODEL_NAME


def setting(default: Any, description: str, unit: str | None = None, advanced: bool = True, **bounds: Any) -> Any:
    """A pydantic field with a unit; `advanced` ones go into the studio's fold."""
    return Field(default, description=description, json_schema_extra={"unit": unit, "advanced": advanced}, **bounds)


class Settings(BaseModel):
    """Base: frozen, and a setting that is not declared is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrainSettings(Settings):
    """What a training run can be told."""

    learning_rate: float = setting(1e-3, "Peak learning rate", advanced=False, gt=0, le=1)
    epochs: int = setting(10, "Passes through the training data", "epochs", advanced=False, ge=1, le=10_000)
    batch_size: int = setting(
        32,
        "Windows in a step, all microbatches together; with a time limit 4096 tokens' worth, unless set",
        "windows",
        advanced=False,
        ge=1,
        le=65_536,
    )
    threads: int = setting(
        0, "Worker processes that carry the spheres; 0 = one for each core", "ranks", advanced=False, ge=0, le=1024
    )
    minutes: float | None = setting(
        None,
        "Time for the whole run, from start to saved model; the planner then picks what was not set",
        "minutes",
        advanced=False,
        gt=0,
        le=100_000,
    )
    context: int = setting(
        256, "Tokens in a window; with a time limit 1024 or 2048, unless set", "tokens", ge=16, le=8192
    )
    warmup_steps: int | None = setting(
        None, "Steps over which the learning rate rises; unset = 2 % of the run", "steps", ge=0, le=1_000_000
    )
    precision: Literal["auto", "bf16", "fp32"] = setting(
        "auto", "Number format of the matrix products; auto = bf16 where it is faster"
    )
    size: str = setting(
        "auto", "Model size: auto, a name (nano, micro, mini, small, base, large) or LAYERSxWIDTH such as 6x256"
    )
    vocabulary: int = setting(0, "Tokens in the vocabulary; 0 = by the size of the corpus", "tokens", ge=0, le=65_536)
    seed: int = setting(0, "Seed of initial weights and window order", ge=0, le=2**31 - 1)
    name: str = setting(DEFAULT_MODEL_NAME, "Name of the final model in models/")
    checkpoint_every: int = setting(2, "Epochs between checkpoints", "epochs", ge=1, le=10_000)
    patience: int = setting(
        3, "Stop after this many epochs without a better held-out loss; 0 = never", "epochs", ge=0, le=10_000
    )
    weight_decay: float | None = setting(
        None, "Decoupled weight decay of the layers' matrices; unset = by what could be learnt by heart", ge=0, le=10
    )
    dropout: float | None = setting(
        None, "Share of what layers add that is dropped at random; unset = by what could be learnt by heart", ge=0, lt=1
    )
    renaming: float | None = setting(
        None,
        "Share of the names exchanged in half of what is read; unset = by what could be learnt by heart",
        ge=0,
        le=1,
    )
    spheres: int = setting(12, "Data-parallel shards of the corpus", "spheres", ge=1, le=120)
    deal: Literal["even", "directory"] = setting(
        "even", "How files are dealt to the spheres: by even token counts, or directories kept together"
    )
    microbatches: int = setting(
        0, "Microbatches in a step, a divisor of the spheres; 0 = chosen", "microbatches", ge=0, le=120
    )
    reducer: Literal["exact", "fast"] = setting(
        "exact", "How gradients are summed: exact = the same bits for any number of ranks; fast = plain all_reduce"
    )
    compile: Literal["auto", "on", "off"] = setting(
        "auto", "torch.compile; auto = when the run is long enough to win by it"
    )
    save_every_minutes: float = setting(
        2.0, "Time between the checkpoints that protect against a power cut", "minutes", gt=0, le=1440
    )
    memory: Literal["on", "off"] = setting(
        "on", "Keep an index of the training files in the model: it completes and predicts better, and says from where"
    )
    sample_prompt: str = setting(
        "", "Prompt that each validation lets the model complete; empty = by the main language", max_length=2000
    )


class SamplingSettings(Settings):
    """How tokens are chosen from the model's distribution, in the order in which the filters are applied."""

    max_tokens: int = setting(256, "Tokens to generate at most", "tokens", ge=1, le=1_000_000)
    repetition_penalty: float = setting(
        1.0, "Divide the scores of tokens already seen (Keskar et al. 2019); 1 = off", gt=0, le=100
    )
    dry_multiplier: float = setting(
        0.8,
        "Penalty for repeating what was just generated word for word (DRY), growing with the length; 0 = off",
        ge=0,
        le=100,
    )
    temperature: float = setting(0.7, "Sharpness of the distribution; 0 = always the likeliest token", ge=0, le=100)
    top_k: int = setting(0, "Keep only the k likeliest tokens; 0 = all", "tokens", ge=0)
    top_p: float = setting(0.95, "Keep the likeliest tokens that together have this probability; 1 = all", gt=0, le=1)
    min_p: float = setting(0.0, "Keep tokens at least this likely relative to the likeliest; 0 = all", ge=0, le=1)
    seed: int | None = setting(None, "Seed of the random draws; unset = a new one each time", ge=0, le=2**63 - 1)
    stop: tuple[str, ...] = setting((), "Strings at which generation ends; they are not part of the result")
    memory: Literal["on", "off"] = setting(
        "on", "Mix the network with its memory of the training files and of the text so far, if the model has one"
    )
    drafts: Literal["on", "off"] = setting(
        "on", "Let repetitions draft several tokens that the network verifies at once; faster, and the same choices"
    )


class EvaluateSettings(Settings):
    """How a model is evaluated."""

    context: int | None = setting(
        None, "Tokens in a window of the held-out files; unset = the model's own context", "tokens", ge=1, le=8192
    )
    batch: int | None = setting(
        None, "Windows that go through the model together; unset = about 4096 tokens", "windows", ge=1, le=65_536
    )
    completions: int = setting(
        100, "Lines that the model is asked to complete; 0 = none, and no syntax check", "lines", ge=0, le=100_000
    )
    seed: int = setting(0, "Seed of the choice of those lines", ge=0, le=2**31 - 1)


def problems(kind: type[Settings], values: dict[str, Any]) -> dict[str, str]:
    """What is wrong with each of `values`, by name; empty if nothing is."""
    try:
        kind(**values)
    except ValidationError as error:
        return {".".join(str(part) for part in problem["loc"]): _said(kind, problem) for problem in error.errors()}
    return {}


_BOUNDS = {
    "greater_than": "must be more than {gt:,}",
    "greater_than_equal": "must be at least {ge:,}",
    "less_than": "must be less than {lt:,}",
    "less_than_equal": "must be at most {le:,}",
    "string_too_long": "must have at most {max_length:,} characters",
    "literal_error": "must be {expected}",
    "int_parsing_size": "must be a smaller number",
    "extra_forbidden": "there is no such setting",
}


def _said(kind: type[Settings], problem: Any) -> str:
    """One of pydantic's errors in the words of a person, as the end of a line that begins with the setting's name."""
    what = problem["type"]
    if what in _BOUNDS:
        bounds = {
            k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in problem.get("ctx", {}).items()
        }
        return _BOUNDS[what].format(**bounds)
    if what.startswith(("int_", "float_", "finite_")):
        field = kind.model_fields.get(str(problem["loc"][0]))
        example = "" if field is None or field.default is None else f", such as {field.default}"
        return f"must be a {'whole ' if what.startswith('int_') else ''}number{example}"
    message: str = problem["msg"]
    return message[0].lower() + message[1:]


def validated(kind: type[Settings], values: dict[str, Any]) -> Any:
    """`kind(**values)`, or `InvalidSettings`: one line that names the setting, what was given and what is allowed."""
    if found := problems(kind, values):
        parts = []
        for name, reason in found.items():
            field = kind.model_fields.get(name)
            about = f" ({field.description})" if field is not None else ""
            parts.append(f"{name.replace('_', '-')} = {values.get(name)!r}: {reason}{about}")
        raise InvalidSettings("; ".join(parts))
    return kind(**values)
