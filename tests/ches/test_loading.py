"""A model that cannot be used is named before any work, with what is wrong and what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from pipeline.ches.loading import load_causal_model, load_chat_tokenizer
from pipeline.ches.model import CausalModel
from pipeline.errors import ConfigError
from tests.ches.lms import save_llama
from tests.ches.test_model import pairs

BERT = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(save_llama(tmp_path_factory.mktemp("models") / "llama"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def load(place: Path | str, dtype: str = "auto", **more: object) -> CausalModel:
    return load_causal_model(str(place), **{"revision": None, "dtype": dtype, "batch_tokens": 64, "threads": 1, **more})  # type: ignore[arg-type]


def edit(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_folder_is_loaded_in_full_precision_on_the_processor(saved: Path) -> None:
    model = load(saved)

    assert isinstance(model, CausalModel)
    assert (model.dimensions, model.longest, model.batch_tokens, model.dtype, model.device) == (32, 512, 64, "float32", "cpu")
    assert model.shares_prefix
    assert model.vocabulary == len(load_chat_tokenizer(str(saved), None))
    assert load(saved, batch_tokens=None).batch_tokens == 256
    assert load(saved, dtype="bfloat16").dtype == "bfloat16"


def test_where_the_folder_lies_does_not_change_the_fingerprint(saved: Path, folder: Path) -> None:
    assert load(saved).fingerprint == load(folder).fingerprint != load(saved, dtype="float16").fingerprint


def test_loading_is_silent(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(saved)

    assert capfd.readouterr() == ("", "")


def test_tied_weights_are_not_missing(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=300, n_positions=128)).save_pretrained(tmp_path)

    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    assert load(tmp_path).score(pairs(2, longest=30)).sums.shape == (4, 32)


def only_pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def cut_off_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def garbage_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x00\x01" * 500)


def cut_off_config(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text()[:100])


def without_weights_of_a_layer(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({key: one for key, one in weights.items() if "layers.1.mlp" not in key}, folder / "model.safetensors", {"format": "pt"})


def of_another_shape(folder: Path) -> None:
    edit(folder, intermediate_size=128)


def with_fewer_layers(folder: Path) -> None:
    edit(folder, num_hidden_layers=1)


def with_more_layers(folder: Path) -> None:
    edit(folder, num_hidden_layers=3)


def with_a_wrong_type(folder: Path) -> None:
    edit(folder, hidden_size="wide")


def quantised(folder: Path) -> None:
    edit(folder, quantization_config={"quant_method": "gptq", "bits": 4})


def with_code_of_its_own(folder: Path) -> None:
    edit(folder, model_type="mine", auto_map={"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"})
    (folder / "mine.py").write_text("raise SystemExit('code that came with a model ran')")


def of_an_unknown_kind(folder: Path) -> None:
    edit(folder, model_type="no_such_model")


def an_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def with_nan(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def an_encoder_decoder(folder: Path) -> None:
    shutil.rmtree(folder)
    T5ForConditionalGeneration(T5Config(vocab_size=300, d_model=32, d_ff=64, d_kv=8, num_layers=1, num_heads=4)).save_pretrained(folder)


def a_classifier(folder: Path) -> None:
    shutil.rmtree(folder)
    BertForSequenceClassification(BertConfig(**BERT)).save_pretrained(folder)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (only_pickled, r"has no weights in safetensors, only pytorch_model\.bin.*save_pretrained"),
        (cut_off_weights, r"cannot be loaded: a file of weights is broken or cut off"),
        (garbage_weights, r"cannot be loaded: a file of weights is broken or cut off"),
        (cut_off_config, r"cannot be loaded: .*config\.json"),
        (
            without_weights_of_a_layer,
            r"lacks weights that its config asks for: model\.layers\.1\.mlp\.down_proj\.weight",
        ),
        (of_another_shape, r"cannot be loaded: .*(size mismatch|mismatch)|not of the shape"),
        (with_fewer_layers, r"has layers that its config leaves out: model\.layers\.1\..* and \d more"),
        (with_more_layers, r"lacks weights that its config asks for: model\.layers\.2\."),
        (with_a_wrong_type, r"cannot be loaded: "),
        (quantised, r"is quantised \(gptq\)"),
        (with_code_of_its_own, r"cannot be loaded: .*(custom code|trust_remote_code)"),
        (of_an_unknown_kind, r"cannot be loaded: .*no_such_model"),
        (an_adapter, r"is an adapter\. Merge it"),
        (without_config, r"has no config\.json"),
        (with_nan, r"not finite numbers, in float32\. The weights are broken"),
        (an_encoder_decoder, r"cannot be loaded: Unrecognized configuration class"),
        (a_classifier, r"lacks weights that its config asks for: cls\.predictions"),
    ],
    ids=lambda one: one.__name__ if callable(one) else "",
)
def test_a_broken_model_is_a_mistake_in_the_config(folder: Path, break_it: Callable[[Path], None], message: str) -> None:
    break_it(folder)

    with pytest.raises(ConfigError, match=rf"^signals\.ches\.model: .*{message}"):
        load(folder)


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^signals\.ches\.model: there is no folder /no/such/place\. Expected a folder with a causal"):
        load("/no/such/place")
    with pytest.raises(ConfigError, match=r"^signals\.ches\.model: there is no folder /no/such/place"):
        load_chat_tokenizer("/no/such/place", None)


def test_a_hub_id_that_nothing_has_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^signals\.ches\.model: 'nobody/nothing' cannot be loaded"):
        load("nobody/nothing")
    with pytest.raises(ConfigError, match=r"^signals\.ches\.model: the tokenizer of 'nobody/nothing' cannot be loaded"):
        load_chat_tokenizer("nobody/nothing", "main")


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=4, vocab_size=300)).save_pretrained(tmp_path)

    with pytest.raises(ConfigError, match=r"^signals\.ches\.model: '.*' has no tokenizer\. Save the tokenizer"):
        load_chat_tokenizer(str(tmp_path), None)


def test_a_broken_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")

    with pytest.raises(ConfigError, match=r"^signals\.ches\.model: the tokenizer of '.*' cannot be loaded"):
        load_chat_tokenizer(str(folder), None)


def test_a_loaded_model_scores_as_the_one_that_was_saved(saved: Path) -> None:
    from transformers import AutoModelForCausalLM

    sequences = pairs(3, longest=20)
    first = load(saved).score(sequences)
    second = CausalModel(AutoModelForCausalLM.from_pretrained(saved).eval(), "saved", 64).score(sequences)

    assert np.array_equal(first.sums, second.sums)
