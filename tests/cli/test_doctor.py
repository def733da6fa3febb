"""`cllm doctor` as it is run."""

import json
import platform


def test_json_has_every_fact_and_measured_speeds(run_cllm) -> None:
    done = run_cllm("doctor", "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert found["processor"]["usable_cores"] >= 1
    assert 0 < found["memory"]["available"] <= found["memory"]["total"]
    assert found["python"] == platform.python_version()
    assert found["torch"]["version"]
    assert found["disk_free"] > 0
    assert found["training"]["precision"] in {"bf16", "fp32"}
    assert found["training"]["ranks"] >= 1
    speeds = {(speed["precision"], speed["threads"]): speed["gflops"] for speed in found["speeds"]}
    cores = found["processor"]["usable_cores"]
    assert set(speeds) == {("fp32", 1), ("fp32", cores), ("bf16", 1), ("bf16", cores)}
    assert all(gflops > 0.1 for gflops in speeds.values())


def test_the_tables_are_for_people(run_cllm) -> None:
    done = run_cllm("doctor", "--quick")
    assert done.returncode == 0, done.stderr
    for heading in ("This machine", "Training will use", "Processor", "Memory", "Compiler", "Precision", "Compile"):
        assert heading in done.stdout
    assert "Matrix products" not in done.stdout
    assert "{" not in done.stdout
