"""GPT-2, BERT and EfficientNet-Lite beside PyTorch, and where their weights come from."""

import json
import math
import sys

import numpy as np
import pytest

import polygrad as pg
from polygrad import models, nn
from polygrad.models.weights import read_weights

GPT = {"vocab_size": 11, "n_positions": 8, "n_embd": 12, "n_layer": 2, "n_head": 3}
BERT = {
    "vocab_size": 13,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 9,
}


def stirred(model, seed=0):
    """The model in float64 with parameters and buffers of no pattern."""
    rng = np.random.default_rng(seed)
    model = model.double()
    state = {}
    for name, x in model.state_dict().items():
        value = rng.standard_normal(x.shape) * 0.3
        state[name] = pg.tensor(np.abs(value) + 0.5 if name.endswith("running_var") else value)
    model.load_state_dict(state)
    return model


def twin_attention(torch, q, k, v, heads, mask):
    n, t, width = q.shape
    q, k, v = (x.reshape(n, t, heads, width // heads).transpose(1, 2) for x in (q, k, v))
    scores = q @ k.transpose(2, 3) / math.sqrt(width // heads)
    return ((scores.masked_fill(~mask, -math.inf)).softmax(-1) @ v).transpose(1, 2).reshape(n, t, width)


def twin_gpt2(torch, w, idx, heads):
    """GPT-2 as its paper and code have it."""
    F = torch.nn.functional
    x = w["wte.weight"][idx] + w["wpe.weight"][: idx.shape[1]]
    width, mask = x.shape[-1], torch.ones(idx.shape[1], idx.shape[1], dtype=torch.bool).tril()
    for i in range(sum(name.endswith("ln_1.bias") for name in w)):
        p = {k.removeprefix(f"h.{i}."): v for k, v in w.items()}
        y = F.layer_norm(x, (width,), p["ln_1.weight"], p["ln_1.bias"])
        q, k, v = (y @ p["attn.c_attn.weight"] + p["attn.c_attn.bias"]).split(width, 2)
        x = x + twin_attention(torch, q, k, v, heads, mask) @ p["attn.c_proj.weight"] + p["attn.c_proj.bias"]
        y = F.layer_norm(x, (width,), p["ln_2.weight"], p["ln_2.bias"])
        y = F.gelu(y @ p["mlp.c_fc.weight"] + p["mlp.c_fc.bias"], approximate="tanh")
        x = x + y @ p["mlp.c_proj.weight"] + p["mlp.c_proj.bias"]
    return F.layer_norm(x, (width,), w["ln_f.weight"], w["ln_f.bias"]) @ w["wte.weight"].T


def twin_bert(torch, w, ids, mask, kinds, heads):
    """BERT as its paper and code have it."""
    F = torch.nn.functional
    e = {k.removeprefix("embeddings."): v for k, v in w.items()}
    x = e["word_embeddings.weight"][ids] + e["position_embeddings.weight"][: ids.shape[1]]
    x = x + e["token_type_embeddings.weight"][kinds]
    width = x.shape[-1]

    def norm(x, name):
        return F.layer_norm(x, (width,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-12)

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = norm(x, "embeddings.LayerNorm")
    for i in range(sum(name.endswith("query.bias") for name in w)):
        at = f"encoder.layer.{i}"
        q, k, v = (linear(x, f"{at}.attention.self.{name}") for name in ("query", "key", "value"))
        y = twin_attention(torch, q, k, v, heads, mask[:, None, None, :].bool())
        x = norm(linear(y, f"{at}.attention.output.dense") + x, f"{at}.attention.output.LayerNorm")
        y = linear(F.gelu(linear(x, f"{at}.intermediate.dense")), f"{at}.output.dense")
        x = norm(y + x, f"{at}.output.LayerNorm")
    return x, linear(x[:, 0], "pooler.dense").tanh()


def compared(torch, model, ours, theirs):
    """Compare outputs and the gradients of all parameters, given functions of no arguments and of PyTorch's parameters."""
    w = {k: torch.tensor(v.numpy(), requires_grad=v.dtype.is_floating_point) for k, v in model.state_dict().items()}
    y, expected = ours(), theirs(w)
    assert np.abs(y.detach().numpy() - expected.detach().numpy()).max() < 1e-9
    (y**2).sum().backward()
    (expected**2).sum().backward()
    for name, p in model.named_parameters():
        scale = max(1.0, w[name].grad.abs().max().item())
        assert np.abs(p.grad.numpy() - w[name].grad.numpy()).max() < 1e-9 * scale, name


def test_gpt2_is_that_of_pytorch(torch):
    model = stirred(models.gpt2(**GPT)).eval()
    idx = np.random.default_rng(1).integers(0, 11, (2, 8))
    compared(torch, model, lambda: model(pg.tensor(idx)), lambda w: twin_gpt2(torch, w, torch.tensor(idx), 3))


def test_bert_is_that_of_pytorch(torch):
    model = stirred(models.bert(**BERT)).eval()
    rng = np.random.default_rng(1)
    ids, kinds = rng.integers(1, 13, (2, 7)), rng.integers(0, 2, (2, 7))
    mask = np.array([[1] * 7, [1] * 4 + [0] * 3])

    def joined(x, pooled, where):
        return where([x[:, :4].reshape((-1,)), pooled.reshape((-1,))])

    compared(
        torch,
        model,
        lambda: joined(*model(*map(pg.tensor, (ids, mask, kinds))), pg.concat),
        lambda w: joined(*twin_bert(torch, w, *map(torch.tensor, (ids, mask, kinds)), 3), torch.cat),
    )


def test_models_run_everywhere(backend):
    model = stirred(models.gpt2(**GPT)).eval()
    with pg.use_backend("numpy"):
        expected = stirred(models.gpt2(**GPT)).eval()(pg.tensor([[1, 2, 3]])).detach().numpy()
    run = pg.jit(lambda idx: model(idx).detach())
    assert np.abs(run(pg.tensor([[1, 2, 3]])).numpy() - expected).max() < 1e-9


def test_efficientnet_pads_as_tensorflow(torch):
    conv = models.efficientnet_lite.SamePadding(2, 3, 5, 2).double()
    for n in (7, 8, 9, 10):
        x = pg.tensor(np.random.default_rng(n).standard_normal((1, 2, n, n)))
        total = max((-(-n // 2) - 1) * 2 + 5 - n, 0)
        before = total // 2
        padded = torch.nn.functional.pad(torch.tensor(x.numpy()), (before, total - before) * 2)
        expected = torch.nn.functional.conv2d(padded, torch.tensor(conv.weight.detach().numpy()), stride=2)
        assert np.abs(conv(x).detach().numpy() - expected.numpy()).max() < 1e-12


def test_efficientnet_has_the_sizes_of_its_checkpoints():
    found = []
    for name in ("0", "4"):
        with pg.no_grad():
            model = getattr(models, f"efficientnet_lite{name}")()
        found.append((sum(p.numel() for p in model.parameters()), len(model._blocks)))
    assert found == [(4652008, 16), (13006568, 30)]
    small = models.efficientnet_lite0(num_classes=7).eval()
    assert small(pg.zeros((1, 3, 33, 40))).shape == (1, 7) and len(small.state_dict()) == 296


def test_a_language_model_learns_and_writes():
    pg.manual_seed(0)
    model = models.gpt2(**{**GPT, "n_embd": 24}, dropout=0.0)
    optimizer = pg.optim.AdamW(model.parameters(), lr=0.01)
    text = pg.tensor([[i % 5 for i in range(8)], [(i + 2) % 5 for i in range(8)]])
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(text[:, :-1]).reshape((-1, 11)), text[:, 1:].reshape((-1,)))
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    written = model.generate(pg.tensor([[0, 1]]), 12, temperature=0)
    assert written.tolist() == [[i % 5 for i in range(14)]] and model.training
    drawn = [model.generate(pg.tensor([[0]]), 5, 2.0, 3, pg.Generator().manual_seed(1)).tolist() for _ in range(2)]
    assert drawn[0] == drawn[1]
    with pytest.raises(ValueError, match="the input has 9 tokens, the model at most 8"):
        model(pg.zeros((1, 9), dtype=pg.int64))


@pytest.mark.parametrize(
    ("make", "options", "prefix"), [(models.gpt2, GPT, "transformer."), (models.bert, BERT, "bert.")]
)
def test_weights_come_from_files_with_the_public_names(make, options, prefix, tmp_path):
    source = make(**options)
    heads = {k: v for k, v in options.items() if k in ("n_head", "num_attention_heads")}
    state = source.state_dict()
    extra = {
        "transformer.": {"transformer.h.0.attn.bias": pg.ones((1, 1, 8, 8)), "lm_head.weight": state.get("wte.weight")},
        "bert.": {"bert.embeddings.position_ids": pg.arange(9), "cls.predictions.bias": pg.ones(13)},
    }[prefix]
    pg.io.save_file({**{prefix + k: v for k, v in state.items()}, **extra}, tmp_path / "model.safetensors")
    pg.save(state, tmp_path / "other.pt")
    (tmp_path / "config.json").write_text(json.dumps({**heads, "hidden_act": "gelu"}))
    for name in ("model.safetensors", "other.pt"):
        found = make(weights=tmp_path / name).state_dict()
        assert list(found) == list(state) and all((found[k] == state[k]).all() for k in state)


def test_names_on_the_hub_need_its_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'pip install "polygrad-array-api\[hub\]"'):
        models.gpt2(weights="openai-community/gpt2")
    for wrong in ("gpt2", "a//b", "./a/b", "missing/file.pth", 3):
        with pytest.raises(ValueError, match="there is no such file|neither the path"):
            models.gpt2(weights=wrong)
    pg.save({"a": 1}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="does not hold tensors by name"):
        read_weights(tmp_path / "x.pt")


def test_the_hub_that_cannot_be_reached_says_so(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants", reason="the extra hub is not installed")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(OSError, match="cannot be fetched from the hub, and is not in its cache"):
        read_weights("openai-community/gpt2")
