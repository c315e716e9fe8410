"""What engines know before they load: the cards, the checkpoint on disk, how much of one the other
takes, and which engine is chosen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from shared.engine.arguments import engine_arguments
from shared.engine.budget import HABITS, make_budget
from shared.engine.cards import Card, choose_visible
from shared.engine.checkpoint import Facts, find_checkpoint, kv_bytes
from shared.engine.choose import choose, why_embedded
from shared.engine.family import Weights
from shared.engine.generate import GeneratingEngine
from shared.engine.protocol import Recipe
from shared.errors import EngineFailed
from shared.loading import Loading
from shared.settings import EngineKind, Settings
from tests.shared.engine.plainfamily import PlainFamily

GIB = 1024**3
KIB = 1024

CARDS = tuple(
    Card(index=number, name=f"Card {number}", uuid=f"GPU-{number}ab", memory_mib=24 * KIB)
    for number in range(3)
)


@pytest.mark.parametrize(
    ("visible", "wanted"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("1", [1]),
        ("2,0", [2, 0]),
        ("0,7,1", [0]),
        ("0,0,1", [0]),
        ("GPU-1", [1]),
        ("GPU-9", []),
        (" 2 , 1", [2, 1]),
    ],
)
def test_visible_cards_are_those_cuda_would_see(visible, wanted) -> None:
    assert [card.index for card in choose_visible(CARDS, visible)] == wanted


# ---- checkpoints


def text(layers: int, heads: int, key_heads: int, hidden: int, **more: object) -> dict:
    return {
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "hidden_size": hidden,
        **more,
    }


@pytest.mark.parametrize(
    ("config", "kib"),
    [
        ({"text_config": text(28, 16, 8, 1024, head_dim=128)}, 112),
        (text(18, 16, 2, 1024, head_dim=128), 18),
        (text(28, 12, 2, 1536), 28),
        ({"language_config": text(12, 10, 10, 1280)}, 60),
        ({"text_config": text(28, 16, 8, 2048, head_dim=128)}, 112),
        ({"text_config": text(36, 32, 8, 4096, head_dim=128)}, 144),
        (
            {"text_config": text(4, 2, 1, 64, head_dim=32, layer_types=["full_attention"] * 1)},
            0.125,
        ),
    ],
    ids=["lighton", "paddle", "dots", "deepseek", "qwen3vl-2b", "qwen3vl-8b", "hybrid"],
)
def test_the_attention_cache_of_each_family(config, kib) -> None:
    """The figures of models.md."""
    assert kv_bytes(config) == kib * KIB


def write_checkpoint(folder: Path, *, files: int = 1, missing: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["DotsOCRForCausalLM"], "max_position_embeddings": 4096}
    (folder / "config.json").write_text(json.dumps({**config, **text(2, 2, 1, 64)}))
    names = [f"model-{number}.safetensors" for number in range(files)]
    for name in names[: files - missing]:
        (folder / name).write_bytes(bytes(1000))
    if files > 1:
        index = {"weight_map": {f"layer{at}": name for at, name in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_a_folder_tells_what_is_in_it(tmp_path) -> None:
    facts = find_checkpoint(str(write_checkpoint(tmp_path / "a", files=3)))
    assert facts.architecture == "DotsOCRForCausalLM"
    assert (facts.weights_bytes, facts.context, facts.kv_bytes) == (3000, 4096, 256)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "holds no model: config.json is missing"),
        ("half", "holds no model: model-2.safetensors is missing"),
        ("bare", "holds no model: there are no weights in it"),
        ("absent", "the weights' folder .*absent does not exist"),
        ("torn", "config.json cannot be read"),
    ],
)
def test_a_folder_without_a_whole_model_says_so(tmp_path, name, message) -> None:
    (tmp_path / "empty").mkdir()
    write_checkpoint(tmp_path / "half", files=3, missing=1)
    write_checkpoint(tmp_path / "bare", files=1, missing=1)
    (write_checkpoint(tmp_path / "torn") / "config.json").write_text("{")
    with pytest.raises(EngineFailed, match=message):
        find_checkpoint(str(tmp_path / name))


# ---- budgets


def facts(architecture: str, weights_gib: float, kv_kib: float, context: int = 131072) -> Facts:
    return Facts(
        folder=Path("/models/x"),
        architecture=architecture,
        weights_bytes=int(weights_gib * GIB),
        kv_bytes=int(kv_kib * KIB),
        context=context,
    )


LIGHTON = facts("LightOnOCRForConditionalGeneration", 1.9, 112, 16384)
PADDLE = facts("PaddleOCRVLForConditionalGeneration", 1.8, 18)
DOTS = facts("DotsOCRForCausalLM", 5.7, 28)
DEEPSEEK = facts("DeepseekOCRForCausalLM", 6.2, 60, 8192)
QWEN_8B = facts("Qwen3VLForConditionalGeneration", 16.3, 144, 262144)


def test_four_services_share_a_large_card() -> None:
    """Each takes what it needs, so that they add up, started one after another."""
    shares = [
        make_budget(one, Loading(), questions=number, card_bytes=80 * GIB).share
        for one, number in ((LIGHTON, 10), (PADDLE, 16), (DOTS, 16), (DEEPSEEK, 32))
    ]
    assert all(share is not None and 0.05 <= share < 0.3 for share in shares), shares
    assert sum(share for share in shares if share) < 0.95


@pytest.mark.parametrize("one", [LIGHTON, PADDLE, DOTS, DEEPSEEK])
def test_each_small_model_fits_a_card_of_24_gib(one) -> None:
    budget = make_budget(one, Loading(), questions=256, card_bytes=24 * GIB)
    assert budget.share is not None
    assert budget.share <= 0.92
    assert budget.max_model_len == min(HABITS[one.architecture].context, one.context)
    assert budget.max_num_seqs == 256


def test_a_model_that_cannot_fit_is_refused_with_the_settings_that_help() -> None:
    with pytest.raises(EngineFailed, match=r"needs 24\.6 GiB and the card has 24\.0"):
        make_budget(QWEN_8B, Loading(), questions=1, card_bytes=24 * GIB)
    shorter = Loading(max_model_len=8192)
    assert make_budget(QWEN_8B, shorter, questions=1, card_bytes=24 * GIB).share == 0.89
    smaller = Loading(quantization="fp8")
    assert make_budget(QWEN_8B, smaller, questions=1, card_bytes=24 * GIB).share == 0.71


def test_settings_win_over_arithmetic() -> None:
    loading = Loading(gpu_memory_utilization=0.5, max_model_len=1000, max_num_seqs=3)
    budget = make_budget(DOTS, loading, questions=99, card_bytes=80 * GIB)
    assert (budget.share, budget.max_model_len, budget.max_num_seqs) == (0.5, 1000, 3)


def test_a_cpu_has_no_share() -> None:
    assert make_budget(LIGHTON, Loading(), questions=4, card_bytes=None).share is None


def test_vllm_is_told_what_each_family_needs() -> None:
    def arguments(one: Facts, **loading: object) -> dict:
        settings = msgspec.convert(loading, Loading)
        budget = make_budget(one, settings, questions=4, card_bytes=80 * GIB)
        return engine_arguments(one, settings, budget)

    lighton = arguments(LIGHTON)
    assert lighton["model"] == "/models/x"
    assert lighton["trust_remote_code"] is False
    assert lighton["enable_prefix_caching"] is False
    assert lighton["mm_processor_cache_gb"] == 0
    assert lighton["limit_mm_per_prompt"] == {"image": 1}
    assert "logits_processors" not in lighton
    (processor,) = arguments(DEEPSEEK)["logits_processors"]
    assert processor.endswith(":NGramPerReqLogitsProcessor")
    assert arguments(PADDLE)["max_num_batched_tokens"] == 16384
    assert arguments(QWEN_8B)["limit_mm_per_prompt"] == {"image": 1, "video": 0}
    assert arguments(DOTS, quantization="fp8")["quantization"] == "fp8"
    assert arguments(DOTS, trust_remote_code=True)["trust_remote_code"] is True


# ---- the choice

WEIGHTS = Weights(checkpoint="nobody/nothing", family_for=lambda _: PlainFamily())
RECIPE = Recipe(model="m")


def test_auto_reads_on_the_cpu_and_says_why() -> None:
    why = why_embedded(Settings(service="x"), WEIGHTS)
    assert "pages are read on the CPU" in why
    assert why_embedded(Settings(service="x"), None)


@pytest.mark.parametrize("kind", [EngineKind.VLLM, EngineKind.TRANSFORMERS])
def test_an_engine_without_its_packages_says_which(kind) -> None:
    pytest.importorskip("rapidocr", reason="only where no engine's packages are installed")
    with pytest.raises(EngineFailed, match=rf"install ocr-fleet\[{kind.value}\]"):
        choose(Settings(service="x", engine=kind), RECIPE, WEIGHTS)


def test_the_openai_engine_is_made_of_its_settings() -> None:
    settings = Settings(service="x", engine=EngineKind.OPENAI, engine_url="http://127.0.0.1:9/v1")
    engine = choose(settings, RECIPE, WEIGHTS)
    assert isinstance(engine, GeneratingEngine)
    assert engine.name == "openai/remote"
    with pytest.raises(EngineFailed, match="cannot serve m"):
        choose(settings, RECIPE)


def test_choosing_imports_no_engine() -> None:
    code = (
        "import sys, shared.engine.choose\n"
        "heavy = {'torch', 'vllm', 'transformers', 'onnxruntime', 'cv2', 'aiohttp'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
