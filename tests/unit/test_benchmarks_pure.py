"""The benchmarks' arithmetic: digests of corpora, times between points, tables, pictures, copies of sources."""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from benchmarks import corpora, grid, nanochat, preparation, runs
from benchmarks.corpora import CorpusMissing, list_sha256, newest_archive, unpack
from benchmarks.loops import Loop
from benchmarks.plots import Bar, Line, bars, curves, spaced
from benchmarks.points import Points
from benchmarks.quality import as_point
from benchmarks.quality_data import loop_bits_per_byte, prepared
from benchmarks.quality_report import corpus_text, minutes_to_reach, newest, report, times_longer, times_shorter
from benchmarks.reference import GPT, Shape, decayed, load_model, save_model
from benchmarks.scaling import rank_counts
from benchmarks.zpaq import methods
from cllm.corpus.documents import load
from cllm.errors import InvalidSettings
from cllm.machine import mfu
from cllm.tokenizer import Tokenizer


def test_the_digest_of_a_corpus_is_that_of_sha256sum_and_of_no_other_order() -> None:
    files = [("b.c", b"two"), ("a/z.h", b"one")]
    lines = "".join(f"{hashlib.sha256(c).hexdigest()}  {p}\n" for p, c in reversed(files))
    assert list_sha256(files) == list_sha256(files[::-1]) == hashlib.sha256(lines.encode()).hexdigest()
    assert list_sha256([("b.c", b"one"), ("a/z.h", b"two")]) != list_sha256(files)


def test_a_corpus_of_other_files_is_reported_with_what_was_found() -> None:
    other = corpora.Corpus("glibc", (), 3, 1234, "f" * 64)
    assert not other.is_known
    assert "ffffffffffff" in other.remark and "1,234 bytes" in other.remark
    known = corpora.Corpus("glibc", (), 3, 1234, corpora.KNOWN["glibc"])
    assert known.is_known and known.remark == ""


def archive(path: Path, members: dict[str, bytes], link: str | None = None) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        if link is not None:
            info = tarfile.TarInfo("glibc-1/elf/link.c")
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
    return path


def test_only_the_wanted_files_are_unpacked(tmp_path: Path) -> None:
    members = {"glibc-1/elf/a.c": b"a", "glibc-1/elf/sub/b.h": b"b", "glibc-1/elf/c.S": b"c", "glibc-1/math/d.c": b"d"}
    unpack(archive(tmp_path / "glibc-1.tar.xz", members), tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {"elf/a.c", "elf/sub/b.h"}
    corpus = corpora.glibc(tmp_path, tmp_path)
    assert corpus.sha256 == list_sha256([("elf/a.c", b"a"), ("elf/sub/b.h", b"b")])


@pytest.mark.parametrize("name", ["../outside.c", "glibc-1/elf/../../../outside.c"])
def test_an_archive_that_leads_out_is_refused_whole(tmp_path: Path, name: str) -> None:
    bad = archive(tmp_path / "glibc-1.tar.xz", {"glibc-1/elf/a.c": b"a", name: b"x"})
    with pytest.raises(CorpusMissing, match="cannot be unpacked"):
        unpack(bad, tmp_path / "in" / "out")
    assert list((tmp_path / "in").iterdir()) == []


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusMissing):
        unpack(archive(tmp_path / "glibc-1.tar.xz", {"glibc-1/elf/a.c": b"a"}, "/etc/passwd"), tmp_path / "out")


def test_a_missing_archive_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(CorpusMissing, match="apt-get install glibc-source"):
        corpora.glibc(tmp_path / "cache", tmp_path)


def test_the_newest_archive_is_by_number(tmp_path: Path) -> None:
    for version in ("2.9", "2.36", "2.4"):
        (tmp_path / f"glibc-{version}.tar.xz").touch()
    assert newest_archive(tmp_path).name == "glibc-2.36.tar.xz"


CURVE = {1.0: 2.0, 4.0: 1.0, 8.0: 1.1}


@pytest.mark.parametrize(
    ("bits", "expected"),
    [(2.5, ("<", 1.0)), (2.0, ("=", 1.0)), (1.5, ("=", 2.0)), (1.0, ("=", 4.0)), (0.9, (">", 8.0))],
)
def test_the_time_for_a_figure_is_interpolated_never_extrapolated(bits: float, expected: tuple[str, float]) -> None:
    found = minutes_to_reach(CURVE, bits)
    assert found is not None and found[0] == expected[0]
    assert found[1] == pytest.approx(expected[1])


def test_nothing_is_said_without_points() -> None:
    assert minutes_to_reach({}, 1.0) is None
    assert times_longer({}, 1, 1.0) == times_shorter({}, 1, 1.0) == ""


def test_how_many_times_longer() -> None:
    assert times_longer(CURVE, 0.5, 1.5) == "4.0"
    assert times_longer(CURVE, 2, 0.5) == "more than 4.0"
    assert times_longer(CURVE, 1, 3.0) == "at most 1.0"
    assert times_shorter(CURVE, 20, 1.5) == "10.0"
    assert times_shorter(CURVE, 20, 3.0) == "at least 20.0"
    assert times_shorter(CURVE, 20, 0.5) == "less than 2.5"


def point(maker: str, bits: float, **more: Any) -> dict[str, Any]:
    base = {"kind": "point", "corpus": "glibc", "sha256": "a", "test_bytes": 1000, "processor": "a machine"}
    return {**base, "maker": maker, "bits_per_byte": bits, "wall_s": 61 * more.get("minutes", 1), **more}


POINTS = [
    point("cllm", 1.6, minutes=1.0, seed=0), point("cllm", 1.2, minutes=4.0, seed=0),
    point("cllm", 1.3, minutes=4.0, seed=1), point("plain", 2.0, minutes=1.0, seed=0, learning_rate=0.002),
    point("plain", 1.6, minutes=4.0, seed=0, learning_rate=0.002), point("zpaq", 0.9), point("ppmd", 0.91),
    point("nanochat", 1.7, minutes=4.0, seed=0, depth=3.0),
    {**point("plain", 9.9, minutes=4.0), "kind": "grid"},
]  # fmt: skip


def test_the_tables_of_a_corpus() -> None:
    text = corpus_text("glibc", [p for p in POINTS if p["kind"] == "point"])
    assert "| cllm train | 1.600 | 1.250 (1.200 to 1.300) |" in text
    assert "| plain loop, fp32 | 2.000 | 1.600 |" in text
    assert "| zpaq -m5, given the training files | 0.900 | 0.900 |" in text
    assert "for what cllm train reaches then | 4.0 | more than 1.0 |" in text
    assert "for what the loop reaches then | at least 1.0 | 4.0 |" in text
    assert "Chosen on the validation files: nanochat: depth 3; plain loop, fp32: learning rate 0.002." in text
    assert "cllm train 101.7 to 101.7 %" in text


def test_the_report_has_table_data_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(POINTS, tmp_path, "python -m benchmarks.quality")
    assert "### glibc" in capsys.readouterr().out
    assert json.loads((tmp_path / "quality.json").read_text())["points"] == POINTS
    with Image.open(tmp_path / "quality.png") as picture:
        assert picture.width > 900


def test_points_of_other_machines_are_not_compared_in_silence(tmp_path: Path) -> None:
    report([*POINTS, {**POINTS[0], "minutes": 2.0, "processor": "another"}], tmp_path, "")
    assert "must not be compared: a machine, another" in (tmp_path / "quality.md").read_text()


def test_only_points_that_belong_together_are_in_one_curve() -> None:
    small, large = {"size": "3x128"}, {"size": "6x256"}
    old = [point("plain", 3.0, minutes=1.0, loop=small), {**point("xz", 2.0), "sha256": "older files"}]
    new = [point("plain", 2.0, minutes=1.0, loop=large), point("cllm", 1.0, minutes=1.0, options=[])]
    assert newest([*old, *new, {**new[0], "kind": "grid"}], "glibc") == new


def test_finished_points_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "points.json"
    Points(path).add({"kind": "point", "maker": "cllm", "minutes": 1.0, "bits_per_byte": 1.5})
    again = Points(path)
    assert again.find(maker="cllm", minutes=1.0) is not None
    assert again.find(maker="cllm", minutes=2.0) is None


def test_pictures_of_bars_and_of_a_single_curve(tmp_path: Path) -> None:
    bars(tmp_path / "b.png", "Speed", "tokens/s", {"3x128": {"a": Bar(10, 9, 12), "b": Bar(2, 2, 2, "x")}}, "tokens/s")
    line = Line("a", [1, 10], [1.0, 0.5], [1.1, 0.6], [1.2, 0.7])
    curves(tmp_path / "c.png", "Quality", "", {"glibc": ([line], {"xz": 0.9})}, "minutes", "bits", {})
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("b.png", "c.png"))


def test_labels_are_moved_apart_in_their_order() -> None:
    assert spaced([1.0, 0.99, 2.0], 0.1) == pytest.approx([1.09, 0.99, 2.0])


def test_the_rate_rises_and_follows_a_cosine_to_a_tenth() -> None:
    assert decayed(1e-3, 0.1) == pytest.approx(5e-4)
    assert decayed(1e-3, 0.2) == pytest.approx(1e-3)
    assert decayed(1e-3, 0.6) == pytest.approx(0.55e-3)
    assert decayed(1e-3, 1.0) == decayed(1e-3, 1.2) == pytest.approx(1e-4)


def test_the_plain_model_counts_its_weights_and_survives_its_file(tmp_path: Path) -> None:
    shape = Shape(vocabulary=50, context=16, layers=2, width=32, heads=2)
    gpt = GPT(shape)
    assert shape.parameters == sum(p.numel() for p in gpt.parameters())
    save_model(gpt, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert again.config == shape
    for name, parameter in gpt.named_parameters():
        assert parameter.equal(again.get_parameter(name)), name
    assert again.head.weight is again.tokens.weight


def test_mfu() -> None:
    assert mfu(1000, 2e6, 4) == 0.5


def test_rank_counts_end_with_every_core() -> None:
    assert [rank_counts(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_zpaq_has_one_block_for_everything() -> None:
    for size in (1000, 6_400_000, 100_000_000):
        usual, stream = methods(size)
        assert usual[0] == "5" and stream[0] == "s"
        assert 2 ** int(usual[1:]) * 2**20 - 4096 > size
        assert int(stream[1:].split(".")[0][: len(usual) - 1]) == int(usual[1:])


def test_copies_of_sources_are_distinct_and_the_size_is_kept(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.c").write_bytes(b"int main(void) { return if_0; }\n")
    assert preparation.renamed(b"int main(x)", 2) == b"int_2 main_2(x)"
    done = preparation.fill(source, tmp_path / "out", 150)
    texts = [p.read_bytes() for p in (tmp_path / "out").rglob("*.c")]
    assert sum(map(len, texts)) == done <= 150
    assert len(texts) == len(set(texts)) >= 3
    assert math.isclose(done, 150, abs_tol=60)


def test_the_plain_model_is_measured_as_our_own_is(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for n in range(3):
        text = "".join(f"int function_{n}_{i}(int a) {{ return a * {i * n + 7}; }}\n" for i in range(40))
        (source / f"file{n}.c").write_text(text)
    corpus = corpora.Corpus("glibc", (str(source),), 3, 0, "a")
    data = prepared(corpus, tmp_path / "work", 300)
    assert prepared(corpus, tmp_path / "work", 300) == data  # made once
    tokenizer = Tokenizer.from_json((data.directory / "tokenizer.json").read_text())
    torch.manual_seed(0)
    gpt = GPT(Shape(data.vocabulary, 512, 1, 32, 2))
    save_model(gpt, tmp_path / "m.safetensors")
    found = loop_bits_per_byte(load_model(tmp_path / "m.safetensors"), data, "validation")
    nats, size = 0.0, 0
    for document in load(data.text, "validation"):
        ids = torch.tensor([[tokenizer.end_of_text, *tokenizer.encode_batch([document.text.decode()])[0]]])
        assert ids.shape[1] <= 512  # one window: the loop's own loss is the figure
        nats += float(gpt(ids[:, :-1], ids[:, 1:]).detach()) * (ids.shape[1] - 1)
        size += len(document.text)
    assert found.bytes == size
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / size, rel=1e-5)


def test_nanochat_schedules_as_its_own_script_does() -> None:
    assert [nanochat.rate_share(s, 0.1) for s in (0, 39, 40)] == [1 / 40, 1.0, 1.0]
    assert nanochat.rate_share(500, 0.35) == 1.0
    assert nanochat.rate_share(500, 0.675) == pytest.approx(0.525)
    assert nanochat.rate_share(500, 1.0) == nanochat.rate_share(500, 1.1) == pytest.approx(0.05)
    assert [nanochat.momentum_of(*at) for at in ((0, 0.0), (400, 0.2), (400, 1.0))] == pytest.approx([0.85, 0.97, 0.9])
    assert nanochat.scaling_weights(12, 32768) == 12 * 12 * 768**2 + 32768 * 768


def test_of_a_single_depth_no_trial_is_made(tmp_path: Path) -> None:
    loop = Loop("nanochat", lambda data: [], {}, "depth", [4.0], load_model, [], grows=False)
    nothing: Any = None
    assert loop.best(Points(tmp_path / "points.json"), nothing, 5) == 4.0


def test_a_grid_gives_each_training_cores_of_its_own() -> None:
    assert grid.seats([0, 1, 2, 5, 6], 2) == [[0, 1], [2, 5]]
    assert grid.seats([3], 2) == []
    assert grid.options_of("3x128/2048") == ["--size=3x128", "--vocabulary=2048"]
    assert grid.options_of("3x128") == ["--size=3x128"]
    assert grid.options_of(grid.AUTO) == []
    for rubbish in ("foo", "3x128/many", "/2048"):
        with pytest.raises(InvalidSettings):
            grid.options_of(rubbish)


def test_a_run_is_known_by_what_it_was_and_has_figures_of_the_test_files_only_if_asked(tmp_path: Path) -> None:
    corpus = corpora.Corpus("glibc", (), 3, 1234, "f" * 64)
    kept, key = Points(tmp_path / "runs.json"), runs.key_of(corpus, 5.0, [])
    kept.add(key | {"validation_bits_per_byte": 1.05})
    assert runs.found(kept, key, test=False) == kept.all[0]
    assert runs.found(kept, key, test=True) is None
    for minutes, options, seed in ((20.0, [], 0), (5.0, ["--size=2x128"], 0), (5.0, [], 1)):
        assert runs.found(kept, runs.key_of(corpus, minutes, options, seed), test=False) is None
    kept.add(key | {"validation_bits_per_byte": 1.04, "test_bits_per_byte": 1.03})
    again = Points(kept.path)
    found = runs.found(again, key, test=True)
    assert found is not None
    point_of_it = as_point(found)
    assert (point_of_it["kind"], point_of_it["maker"], point_of_it["bits_per_byte"]) == ("point", "cllm", 1.03)
    again.forget(**key)
    assert again.all == []


def test_a_grid_orders_its_runs(tmp_path: Path) -> None:
    plan = {"size": "3x128", "vocabulary": 1536, "expected_bits_per_byte": None}
    common = {"corpus": "glibc", "minutes": 5.0, "tokens": 3e6, "passes": 1.5, "cores": 2, "plan": plan}
    figures = {"planner": 1.05, "2x128/2048": 1.0}
    grid.report({c: [common | {"validation_bits_per_byte": bits}] for c, bits in figures.items()}, tmp_path)
    rows = (tmp_path / "grid.md").read_text().splitlines()
    assert rows[4].startswith("| 2x128/2048 | 3x128, 1536 | 1.0000 | +0.0 % |")
    assert rows[5].startswith("| **planner** | 3x128, 1536 | 1.0500 | +5.0 % | 3.00 M |")
