"""Tokens per second when completing, one prompt at a time: CLLM's engine beside transformers with its own cache.

Both run models of one shape, Qwen3's layout, with weights drawn at random (speed does not depend on them), greedily, in
fp32 and one process, in turn. Prefill is the prompt, read at once; decode is one token after another.

    python -m benchmarks.decode
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM

from benchmarks.measure import command_line, machine, spread, table, write_results
from benchmarks.plots import Bar, bars, rounds_note
from cllm.inference.engine import Engine
from cllm.model.config import ModelConfig, config_for
from cllm.model.transformer import Transformer

OURS, PLAIN = "cllm", "transformers"
Rates = dict[str, list[float]]  # "prefill", "decode" -> tokens/s of every round
Times = tuple[float, float]  # seconds of prefill and of decode


def ours(config: ModelConfig) -> Callable[[list[int], int], Times]:
    """A function from a prompt and a number of tokens to the times that CLLM takes."""
    model = Transformer(config)
    model.initialise(0)
    model.eval().requires_grad_(False)

    def run(prompt: list[int], tokens: int) -> Times:
        begun = time.perf_counter()
        engine = Engine(model)
        token = int(engine.prefill([prompt])[0].argmax())
        read = time.perf_counter()
        for _ in range(tokens):
            token = int(engine.decode_one([token])[0].argmax())
        return read - begun, time.perf_counter() - read

    return run


def plain(config: ModelConfig) -> Callable[[list[int], int], Times]:
    """The same for a loop over transformers' model of the same shape, as its users write it."""
    theirs = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=config.vocabulary, hidden_size=config.width, intermediate_size=config.ffn_width,
            num_hidden_layers=config.layers, num_attention_heads=config.heads, num_key_value_heads=config.kv_heads,
            head_dim=config.head_width, max_position_embeddings=config.context, tie_word_embeddings=config.tied,
        )
    )  # fmt: skip
    theirs.requires_grad_(False)

    @torch.inference_mode()
    def run(prompt: list[int], tokens: int) -> Times:
        begun = time.perf_counter()
        cache = DynamicCache(config=theirs.config)
        out = theirs(torch.tensor([prompt]), past_key_values=cache, use_cache=True, logits_to_keep=1)
        token = out.logits[0, -1].argmax()
        read = time.perf_counter()
        for _ in range(tokens):
            out = theirs(token.view(1, 1), past_key_values=cache, use_cache=True)
            token = out.logits[0, -1].argmax()
            int(token)
        return read - begun, time.perf_counter() - read

    return run


def measure(size: str, arguments: argparse.Namespace) -> dict[str, Rates]:
    """Tokens/s of every round, by who made them. The first round, which warms up, is not kept."""
    config = config_for(size, arguments.vocabulary, arguments.context)
    prompt = torch.randint(5, config.vocabulary, (arguments.prompt,)).tolist()
    found: dict[str, Rates] = {}
    for number in range(arguments.rounds + 1):
        for name, run in {OURS: ours(config), PLAIN: plain(config)}.items():
            prefill_s, decode_s = run(prompt, arguments.tokens)
            if number:
                rates = found.setdefault(name, {"prefill": [], "decode": []})
                rates["prefill"].append(len(prompt) / prefill_s)
                rates["decode"].append(arguments.tokens / decode_s)
    return found


def main() -> None:
    """Command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode", description=about)
    parser.add_argument("--sizes", default="3x128,4x192,6x256", help="model sizes; default: 3x128,4x192,6x256")
    parser.add_argument("--prompt", type=int, default=128, help="default: 128 tokens")
    parser.add_argument("--tokens", type=int, default=100, help="decoded after it; default: 100")
    parser.add_argument("--context", type=int, default=256, help="default: 256 tokens")
    parser.add_argument("--vocabulary", type=int, default=4096, help="default: 4096")
    parser.add_argument("--threads", type=int, default=1, help="as cllm generate has; default: 1")
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default: artefacts/benchmarks")
    arguments = parser.parse_args()
    if arguments.prompt + arguments.tokens > arguments.context:
        sys.exit(f"--prompt and --tokens must fit into the context of {arguments.context}")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    found = {size: measure(size, arguments) for size in arguments.sizes.split(",")}
    rows: list[list[str]] = []
    groups: dict[str, dict[str, Bar]] = {}
    for size, by_maker in found.items():
        groups[size] = {}
        for name, rates in by_maker.items():
            prefill, decode = spread(rates["prefill"]), spread(rates["decode"])
            rows.append([
                size, name, f"{prefill['median']:,.0f}", f"{prefill['lowest']:,.0f} to {prefill['highest']:,.0f}",
                f"{decode['median']:,.0f}", f"{decode['lowest']:,.0f} to {decode['highest']:,.0f}",
            ])  # fmt: skip
            groups[size][name] = Bar.of(decode)
    header = ["Model", "", "prefill, tokens/s", "lowest to highest", "decode, tokens/s", "lowest to highest"]
    text = table(header, rows)
    text += (
        f"\nOne prompt of {arguments.prompt} tokens, then {arguments.tokens} one by one; fp32, "
        f"{arguments.threads} thread(s), vocabulary {arguments.vocabulary}; median of {arguments.rounds} rounds.\n"
    )
    command = command_line("decode")
    write_results(arguments.out, "decode", command, {"tokens_per_s": found}, text)
    subtitle = rounds_note("tokens per second after the prompt", arguments.rounds, machine()["processor"])
    bars(arguments.out / "decode.png", "Completing, one prompt at a time", subtitle, groups, "tokens per second")


if __name__ == "__main__":
    main()
