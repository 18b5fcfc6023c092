"""The GPU catalog: its data, and both directions."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pulumi_atlas import gpus
from pulumi_atlas.errors import InvalidSpec

OF_OLD = """
a10 a100_40g a100_80g a4000 a5000 a6000 h100 h100_pcie h100_sxm h200 l4 l40 l40s mi300x
rtx_3090 rtx_4090 rtx_6000 rtx_6000_ada
"""

RUNPOD = """
AMD Instinct MI300X OAM;NVIDIA H200 NVL;NVIDIA A100 80GB PCIe;NVIDIA L4;NVIDIA A100-SXM4-80GB;NVIDIA L40;NVIDIA A30
NVIDIA L40S;NVIDIA A40;NVIDIA RTX 2000 Ada Generation;NVIDIA B200;NVIDIA RTX 4000 Ada Generation;NVIDIA B300 SXM6 AC
NVIDIA RTX 4000 SFF Ada Generation;NVIDIA GeForce RTX 3070;NVIDIA RTX 5000 Ada Generation;NVIDIA GeForce RTX 3080
NVIDIA RTX 6000 Ada Generation;NVIDIA GeForce RTX 3080 Ti;NVIDIA RTX A2000;NVIDIA GeForce RTX 3090;NVIDIA RTX A4000
NVIDIA GeForce RTX 3090 Ti;NVIDIA RTX A4500;NVIDIA GeForce RTX 4070 Ti;NVIDIA RTX A5000;NVIDIA GeForce RTX 4080
NVIDIA RTX A6000;NVIDIA GeForce RTX 4080 SUPER;NVIDIA RTX PRO 4500 Blackwell;NVIDIA GeForce RTX 4090
NVIDIA RTX PRO 6000 Blackwell Server Edition;NVIDIA GeForce RTX 5080;NVIDIA GeForce RTX 5090;NVIDIA H100 NVL
NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb;NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 2g.48gb
NVIDIA RTX PRO 6000 Blackwell Workstation Edition;NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition;NVIDIA H200
NVIDIA H100 80GB HBM3;NVIDIA H100 PCIe;Tesla V100-PCIE-16GB;Tesla V100-SXM2-16GB;Tesla V100-SXM2-32GB
Tesla V100-FHHL-16GB;Tesla V100-PCIE-32GB;Tesla T4;NVIDIA A5000 Ada;NVIDIA RTX A30;NVIDIA  RTX A4500;NVIDIA  A30
NVIDIA GeForce RTX 3080TI;NVIDIA A100-SXM4-40GB
"""

LAMBDA = """
gpu_1x_a10 gpu_1x_a100 gpu_2x_a100 gpu_4x_a100 gpu_1x_a100_sxm4 gpu_8x_a100 gpu_8x_a100_80gb_sxm4 gpu_1x_a6000
gpu_2x_a6000 gpu_4x_a6000 gpu_1x_rtx6000 gpu_8x_v100 gpu_8x_v100_n gpu_1x_gh200 gpu_1x_h100_pcie gpu_1x_h100_sxm5
gpu_2x_h100_sxm5 gpu_4x_h100_sxm5 gpu_8x_h100_sxm5 gpu_8x_h100_sxm5gdr gpu_1x_b200_sxm6 gpu_2x_b200_sxm6
gpu_4x_b200_sxm6 gpu_8x_b200_sxm6
"""

# Vast's name = the gigabytes of each card that it stands for.
VAST = """
H100 SXM=80;H100 PCIE=80;H100 NVL=94;H200=141;H200 NVL=143;B200=180;B300=288;B300 SXM6 AC=288;GH200 SXM=96
A100 SXM4=40,80;A100 PCIE=40,80;A100 SXM=40,80;A100X=80;A800 PCIE=80;A10=24;A10g=24;A16=16;A30=24;A40=48;L4=24;L40=48
L40S=48;RTX PRO 6000=96;RTX PRO 6000 S=96;RTX PRO 6000 WS=96;RTX PRO 6000 Max-Q=96;RTX PRO 5000=48;RTX PRO 4500=32
RTX PRO 4000=24;RTX 6000Ada=48;RTX 5880Ada=48;RTX 5000Ada=32;RTX 4500Ada=24;RTX 4000Ada=20;RTX 2000Ada=16;RTX A6000=48
RTX A5000=24;RTX A4500=20;RTX A4000=16;RTX A2000=6;Q RTX 8000=48;Q RTX 6000=24;Q RTX 5000=16;Q RTX 4000=8;RTX 5090=32
RTX 5080=16;RTX 5070 Ti=16;RTX 5070=12;RTX 5060 Ti=8,16;RTX 5060=8;RTX 4090=24;RTX 4090D=24;RTX 4080S=16;RTX 4080=16
RTX 4070S Ti=16;RTX 4070S=12;RTX 4070 Ti=12;RTX 4070=12;RTX 4060 Ti=8,16;RTX 4060=8;RTX 3090 Ti=24;RTX 3090=24
RTX 3080 Ti=12;RTX 3080=10;RTX 3070 Ti=8;RTX 3070=8;RTX 3060 Ti=8;RTX 3060=12;RTX 3050=8;RTX 2080 Ti=11;RTX 2060=6
Tesla V100=16,32;Tesla T4=16;Tesla P100=16;Tesla P40=24;Tesla P6=16;Tesla P4=8;Tesla M40=12,24;Tesla K80=12
Titan RTX=24;Titan V=12;Titan Xp=12;InstinctMI250X=128;InstinctMI210=64;InstinctMI100=32;InstinctMI50=16;Radeon VII=16
"""


def split(text: str) -> list[str]:
    return [part for line in text.strip().splitlines() for part in line.split(";")]


def every_id() -> list[tuple[str, str, int, str]]:
    rows = []
    for name in gpus.known():
        for provider, ids in gpus.find(name).natives.items():
            rows += [(name, provider, count, native) for count, native in ids.items()]
    return rows


@pytest.mark.parametrize("name", OF_OLD.split())
def test_each_of_the_18_names_of_old_is_usable(name: str) -> None:
    assert gpus.find(name).memory_gb > 0


def test_a_name_of_old_that_was_ambiguous_is_one_kind_of_hardware() -> None:
    assert gpus.find("h100").form == "sxm"
    assert gpus.find("h100_sxm") is gpus.find("h100")
    assert gpus.native("h100", "runpod") == "NVIDIA H100 80GB HBM3"
    assert gpus.native("h100", "lambda_labs") == "gpu_1x_h100_sxm5"
    assert gpus.native("h100", "vast") == "H100 SXM"
    assert gpus.find("a100_80g").form == "pcie"
    assert gpus.find("a100_40g").form == "sxm"


@pytest.mark.parametrize("native", split(RUNPOD))
def test_each_id_of_runpod_is_known(native: str) -> None:
    assert gpus.canonical(native, "runpod") in gpus.known("runpod")


@pytest.mark.parametrize("native", LAMBDA.split())
def test_each_instance_type_of_lambda_is_known_with_its_number_of_cards(native: str) -> None:
    name = gpus.canonical(native, "lambda_labs")
    count = int(native.split("_")[1].rstrip("x"))
    assert name is not None
    assert gpus.card_count(native, "lambda_labs") == count
    assert count in gpus.counts(name, "lambda_labs")


@pytest.mark.parametrize("row", split(VAST))
def test_each_name_of_vast_is_known_by_the_cards_memory(row: str) -> None:
    native, _, sizes = row.partition("=")
    for size in map(int, sizes.split(",")):
        name = gpus.canonical(native, "vast", memory_mb=size * 1020)
        assert name is not None
        assert gpus.find(name).memory_gb == size


def test_both_directions_are_inverse() -> None:
    for name, provider, count, native in every_id():
        assert gpus.native(name, provider, count=count or 1) == native
        middle = sum(gpus.find(name).memory_mb) / 2
        assert gpus.canonical(native, provider, memory_mb=middle) == name


def test_one_id_is_several_cards_only_where_their_memory_differs() -> None:
    by_native: dict[tuple[str, str], list[gpus.Gpu]] = {}
    for name, provider, _, native in every_id():
        by_native.setdefault((provider, native), []).append(gpus.find(name))
    for (provider, native), cards in by_native.items():
        ranges = sorted(card.memory_mb for card in cards)
        assert all(low[1] < high[0] for low, high in pairwise(ranges)), (provider, native)
        if len(cards) > 1:
            assert gpus.canonical(native, provider) is None


def test_the_table_is_sorted_whole_and_without_repetition() -> None:
    text = Path(gpus.__file__).with_name("gpus.yaml").read_text()
    names = re.findall(r"^  (\w+): \{memory_gb", text, re.MULTILINE)
    assert names == sorted(set(names))
    assert tuple(names) == gpus.known()
    plain = [re.sub("_", "", s) for name in names for s in (name, *gpus.find(name).aliases)]
    assert len(plain) == len(set(plain))
    for name in names:
        card = gpus.find(name)
        assert card.memory_gb > 0
        assert card.natives
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name)
        assert card.vendor in ("nvidia", "amd")
        assert card.form in gpus.Form.__args__


def test_the_table_is_the_same_with_yamls_slow_parser() -> None:
    text = Path(gpus.__file__).with_name("gpus.yaml").read_text()
    assert tuple(yaml.safe_load(text)["gpus"]) == gpus.known()


@pytest.mark.parametrize("spelling", ["RTX 4090", "rtx-4090", "rtx4090", "RTX_4090", "Rtx 4090"])
def test_spelling_does_not_matter(spelling: str) -> None:
    assert gpus.find(spelling).name == "rtx_4090"


@pytest.mark.parametrize(("wrong", "meant"), [("h10", "h100"), ("rtx_4900", "rtx_4090"), ("a100", "a100_80g_sxm")])
def test_an_unknown_name_is_refused_with_the_nearest_ones(wrong: str, meant: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        gpus.find(wrong)
    (failure,) = caught.value.failures
    assert failure.path == "gpu"
    assert repr(meant) in failure.hint


def test_a_card_that_the_provider_lacks_is_refused_with_its_brothers() -> None:
    with pytest.raises(InvalidSpec, match=r"lambda_labs does not rent a100_80g .*a100_80g_sxm"):
        gpus.native("a100_80g", "lambda_labs")
    with pytest.raises(InvalidSpec, match=r"lambda_labs does not rent mi300x .*runpod"):
        gpus.native("mi300x", "lambda_labs")


def test_a_number_of_cards_that_the_provider_lacks_is_refused() -> None:
    assert gpus.native("h100", "lambda_labs", count=8) == "gpu_8x_h100_sxm5"
    with pytest.raises(InvalidSpec, match=r"gpu_count: lambda_labs does not rent h100 by 3 .*1, 2, 4, 8"):
        gpus.native("h100", "lambda_labs", count=3)
    assert gpus.native("h100", "runpod", count=3) == gpus.native("h100", "runpod")


def test_fly_rents_no_gpus_and_the_reason_is_told() -> None:
    assert gpus.known("fly") == ()
    assert "August 2026" in str(gpus.why_none("fly"))
    with pytest.raises(InvalidSpec, match=r"Fly\.io has rented no GPUs"):
        gpus.native("l40s", "fly")
    assert gpus.why_none("runpod") is None


def test_the_mock_clouds_ids_are_the_canonical_names() -> None:
    assert gpus.known("mock") == gpus.known()
    assert gpus.native("h100_sxm", "mock") == "h100"
    assert gpus.canonical("h100", "mock") == "h100"


def test_an_unknown_provider_or_id_has_no_name() -> None:
    assert gpus.known("acme") == ()
    assert gpus.canonical("H100 SXM", "acme") is None
    assert gpus.canonical("NVIDIA H100", "runpod") is None
    assert gpus.card_count("NVIDIA H100 PCIe", "runpod") is None


def test_memory_that_contradicts_an_id_gives_no_name() -> None:
    assert gpus.canonical("RTX 3080", "vast") == "rtx_3080"
    assert gpus.canonical("RTX 3080", "vast", memory_mb=20_480) is None


@given(st.text(max_size=12))
def test_any_text_is_found_or_refused_with_one_failure(text: str) -> None:
    try:
        assert gpus.find(text).name in gpus.known()
    except InvalidSpec as error:
        assert len(error.failures) == 1


def test_importing_the_catalog_reads_nothing() -> None:
    code = "import sys, pulumi_atlas.gpus as g; assert 'yaml' not in sys.modules; assert g._catalog.cache_info().misses == 0"
    subprocess.run([sys.executable, "-c", code], check=True)
