"""`cllm inspect` as a real process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import RunCllm
from tests.synthetic_run import write_model


def test_inspect_says_what_a_file_holds(workspace: Path, run_cllm: RunCllm) -> None:
    path = workspace / "tiny.cllm"
    digest = write_model(path, "a-run")
    done = run_cllm("inspect", "tiny.cllm", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["kind"], found["step"], found["epoch"], found["run"]) == ("model", 480, 10.0, "a-run")
    assert found["weights_sha256"] == digest
    assert found["config"]["layers"] == 1
    assert found["tokenizer"]["kind"] == "BPE"
    assert 261 <= found["tokenizer"]["vocabulary"] <= 280
    assert found["training"] == {"bits_per_byte": 0.76}
    assert found["verified"] is True
    assert found["bytes"] == path.stat().st_size > sum(section["bytes"] for section in found["sections"])
    text = run_cllm("inspect", "tiny.cllm").stdout
    assert digest in text
    assert "layers: 1" in text


def test_a_damaged_file_is_one_line_unless_only_its_header_is_asked_for(workspace: Path, run_cllm: RunCllm) -> None:
    path = workspace / "tiny.cllm"
    write_model(path, "a-run")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done = run_cllm("inspect", "tiny.cllm")
    assert done.returncode == 3
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    quick = run_cllm("inspect", "tiny.cllm", "--quick", "--json")
    assert quick.returncode == 0
    assert json.loads(quick.stdout)["verified"] is False


def test_inspect_does_not_load_torch() -> None:
    code = "import sys, cllm.cli.inspect; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
