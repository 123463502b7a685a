#!/usr/bin/env python3
"""Writes GGUF twins of the golden checkpoints of mixtures of experts, as llama.cpp's converter would.

    pip install gguf==0.19.0
    scripts/moe-twins.py ../shared/golden/families OUT
    node scripts/moe-twins.mjs OUT ../shared/golden/families      # what llama.cpp makes of them

A twin has the checkpoint's values in f32, and gpt-oss's experts in MXFP4. It is as
large as the checkpoint, so testdata/twins keeps its recipe alone, from which tests
write it (package twin): the file's head; for each tensor where its values come from;
the SHA-256 of the file. All names of tensors are those that the gguf package has for
transformers' names.

llama.cpp has no dense layers in qwen3moe, rounds YaRN's bounds in gpt-oss, and leaves
out OLMoE's clipping. It rounds what it multiplies with MXFP4 to 8 bits.
OUT/*.llamacpp.gguf, which are not kept, go without: equal experts in place of the dense
layer, a whole bound and experts in f32, no clipping. Of the last two the reference has
no values; there llama.cpp is compared with SparseFlow.
"""

import base64
import gzip
import hashlib
import json
import os
import re
import sys

import numpy as np
import gguf
from gguf import GGMLQuantizationType as T

# By the golden checkpoint's name: the architecture, and the keys that its converter writes besides those of all.
FAMILIES = {
    "qwen3-moe": ("QWEN3MOE", {"expert_feed_forward_length": "moe_intermediate_size"}),
    "qwen2-moe": ("QWEN2MOE", {"expert_feed_forward_length": "moe_intermediate_size",
                               "expert_shared_feed_forward_length": "shared_expert_intermediate_size"}),
    "olmoe": ("OLMOE", {"attention.clamp_kqv": "clip_qkv"}),
    "mixtral": ("LLAMA", {}),
    "gpt-oss": ("GPT_OSS", {"expert_feed_forward_length": "intermediate_size", "attention.sliding_window": "sliding_window"}),
    "glm4-moe": ("GLM4_MOE", {"expert_feed_forward_length": "moe_intermediate_size", "expert_shared_count": "n_shared_experts",
                              "leading_dense_block_count": "first_k_dense_replace", "expert_weights_scale": "routed_scaling_factor",
                              "expert_weights_norm": "norm_topk_prob"}),
    "minimax-m2": ("MINIMAXM2", {"expert_feed_forward_length": "intermediate_size"}),
}
SIGMOID = ("glm4-moe", "minimax-m2")


def checkpoint(folder):
    """A checkpoint's tensors by name: numbers as float32, bytes as they are."""
    tensors = {}
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".safetensors"):
            continue
        with open(os.path.join(folder, name), "rb") as f:
            data = f.read()
        start = 8 + int.from_bytes(data[:8], "little")
        for key, t in json.loads(data[8:start]).items():
            if key == "__metadata__":
                continue
            raw = data[start + t["data_offsets"][0] : start + t["data_offsets"][1]]
            if t["dtype"] == "BF16":
                x = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
            else:
                x = np.frombuffer(raw, {"F32": "<f4", "U8": np.uint8}[t["dtype"]])
            tensors[key] = x.reshape(t["shape"])
    return tensors


# How a tensor is made: of those that "from" names, stacked if there are several, "rows" [first, step] of each matrix
# in the last two dimensions, elements in a vector; "heads" whose halves become neighbours. MXFP4 is made of blocks and scales.


def values(tensors, recipe):
    parts = [tensors[name] for name in recipe["from"]]
    if recipe.get("mxfp4"):
        blocks, scales = parts
        codes = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(*blocks.shape[:-1], 32)  # low nibble first
        x = np.concatenate([scales[..., None], codes[..., :16] | codes[..., 16:] << 4], axis=-1)
        if "rows" in recipe:
            x = x[:, recipe["rows"][0] :: recipe["rows"][1]]
        return np.ascontiguousarray(x.reshape(*x.shape[:-2], -1))
    x = parts[0] if len(parts) == 1 else np.stack(parts)
    if "rows" in recipe:
        first, step = recipe["rows"]
        x = x[..., first::step]
    if "heads" in recipe:
        n = recipe["heads"]
        x = x.reshape(n, 2, x.shape[0] // n // 2, -1).swapaxes(1, 2).reshape(x.shape)
    return np.ascontiguousarray(x)


def recipes(name, c, tensors):
    """What each tensor of the twin is made of, by transformers' name for it as the converter asks for it."""
    experts = {}
    for key in sorted(tensors):
        if m := re.fullmatch(r"(.*\.experts)\.(\d+)\.(\w+)\.weight", key):
            experts.setdefault(f"{m[1]}.{m[3]}.weight", []).append((int(m[2]), key))
            continue
        if ".experts.gate_up_proj" in key:
            for row, part in enumerate(("gate_proj", "up_proj")):
                new = key.replace("gate_up_proj", part)
                if key.endswith("_bias"):
                    yield new.replace("_bias", ".bias"), {"from": [key], "rows": [row, 2]}
                elif key.endswith("_blocks"):
                    yield new.replace("_blocks", ".weight"), {"from": [key, key.replace("_blocks", "_scales")], "mxfp4": True, "rows": [row, 2]}
            continue
        if key.endswith("_blocks"):
            yield key.replace("_blocks", ".weight"), {"from": [key, key.replace("_blocks", "_scales")], "mxfp4": True}
            continue
        if key.endswith("_scales"):
            continue
        recipe = {"from": [key]}
        if name == "mixtral" and key.endswith("q_proj.weight"):
            recipe["heads"] = c["num_attention_heads"]
        if name == "mixtral" and key.endswith("k_proj.weight"):
            recipe["heads"] = c["num_key_value_heads"]
        yield key.replace("experts.down_proj_bias", "experts.down_proj.bias").replace(
            "e_score_correction_bias", "e_score_correction.bias").replace("attn.sinks", "attn.sinks.weight"), recipe
    for key, of in experts.items():
        yield key, {"from": [k for _, k in sorted(of)]}


def metadata(w, name, c, more):
    head = c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]
    rope = c["rope_parameters"]
    w.add_file_type(gguf.LlamaFileType.MOSTLY_MXFP4_MOE if name == "gpt-oss" else gguf.LlamaFileType.ALL_F32)
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_key_length(head)
    w.add_value_length(head)
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_vocab_size(c["vocab_size"])
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_rope_dimension_count(int(head * rope.get("partial_rotary_factor", 1)))
    if rope["rope_type"] == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    w.add_expert_count(next(c[k] for k in ("num_experts", "num_local_experts", "n_routed_experts") if k in c))
    w.add_expert_used_count(c["num_experts_per_tok"])
    if name in SIGMOID:
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    for key, of in more.items():
        if of not in c:
            continue
        v, key = c[of], f"{w.arch}.{key}"
        w.add_bool(key, v) if isinstance(v, bool) else w.add_float32(key, v) if isinstance(v, float) else w.add_uint32(key, v)
    # A tokenizer that llama.cpp loads: three control tokens, the 256 bytes as byte-level BPE writes them, one merge.
    tokens, extra = ["<pad>", "<bos>", "<eos>"], 256
    for b in range(256):
        printable = 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE
        tokens.append(chr(b if printable else extra))
        extra += not printable
    tokens.append("ab")
    tokens += [f"token{i}" for i in range(len(tokens), c["vocab_size"])]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    w.add_token_merges(["a b"])
    w.add_bos_token_id(c["bos_token_id"])
    w.add_eos_token_id(c["eos_token_id"])
    w.add_pad_token_id(c["pad_token_id"])
    w.add_add_bos_token(False)


def write(path, name, change=None):
    """Writes a twin and returns the recipes of its tensors in the order of the file."""
    folder = os.path.join(sys.argv[1], name)
    with open(os.path.join(folder, "config.json")) as f:
        c = json.load(f)
    tensors = checkpoint(folder)
    arch = gguf.MODEL_ARCH[FAMILIES[name][0]]
    names, dense = (gguf.get_tensor_name_map(a, c["num_hidden_layers"]) for a in (arch, gguf.MODEL_ARCH.LLAMA))
    suffixes = (".weight", ".bias")
    w = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    if change:
        change(c, tensors)
    metadata(w, name, c, FAMILIES[name][1])
    made = []
    for key, recipe in recipes(name, c, tensors):
        to = names.get_name(key, suffixes) or dense.get_name(key, suffixes)
        x = values(tensors, recipe)
        if change and recipe.get("mxfp4"):
            w.add_tensor(to, gguf.quants.dequantize(x, T.MXFP4))
        else:
            w.add_tensor(to, x, raw_dtype=T.MXFP4 if recipe.get("mxfp4") else T.F32)
        made.append(recipe)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return made


def equal_experts(c, tensors):
    """Puts in place of qwen3-moe's dense layers equal experts of their width, and makes the other experts as wide."""
    wide, layers = c["intermediate_size"], c["mlp_only_layers"]
    for key in list(tensors):
        if ".experts." in key:
            x = tensors[key]
            more = wide - c["moe_intermediate_size"]
            tensors[key] = np.pad(x, ((0, 0), (0, more)) if "down_proj" in key else ((0, more), (0, 0)))
    for i in layers:
        at = f"model.layers.{i}.mlp."
        for part in ("gate_proj", "up_proj", "down_proj"):
            x = tensors.pop(f"{at}{part}.weight")
            for e in range(c["num_local_experts"]):
                tensors[f"{at}experts.{e}.{part}.weight"] = x
        tensors[f"{at}gate.weight"] = np.zeros((c["num_local_experts"], c["hidden_size"]), np.float32)
    c["moe_intermediate_size"] = wide


def whole_bound(c, _):
    """Turns slower, so that YaRN's upper bound is 3, or so little less that it is rounded to 3."""
    rope = c["rope_parameters"]
    rope["rope_theta"] = float(np.exp(c["head_dim"] * np.log(rope["original_max_position_embeddings"] / (2 * np.pi)) / (2 * 2.99999)))


def keep(path, name, made):
    """Keeps the recipe of the twin at path."""
    with open(path, "rb") as f:
        data = f.read()
    r = gguf.GGUFReader(path)
    tensors = []
    for recipe, t in zip(made, r.tensors, strict=True):
        tensors.append({"offset": int(t.data_offset), **recipe})
    head = data[: r.data_offset]
    out = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "head": base64.b64encode(head).decode(), "tensors": tensors}
    to = os.path.join(os.path.dirname(__file__), "../testdata/twins", name + ".json.gz")
    os.makedirs(os.path.dirname(to), exist_ok=True)
    with open(to, "wb") as f:
        f.write(gzip.compress(json.dumps(out, separators=(",", ":")).encode(), 9, mtime=0))


if __name__ == "__main__":
    os.makedirs(sys.argv[2], exist_ok=True)
    for name in FAMILIES:
        path = os.path.join(sys.argv[2], name + ".gguf")
        keep(path, name, write(path, name))
    for name, change in (("qwen3-moe", equal_experts), ("gpt-oss", whole_bound), ("olmoe", lambda c, _: c.pop("clip_qkv"))):
        write(os.path.join(sys.argv[2], name + ".llamacpp.gguf"), name, change)
