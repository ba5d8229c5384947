"""Write a tiny language model with random weights, always the same: `make_model.py FILE`."""

import sys

import numpy as np
from gguf import GGUFWriter, TokenType

WIDTH, BLOCKS, HEADS, HIDDEN = 64, 2, 4, 128
SPECIAL = ("<unk>", "<s>", "</s>")
WORDS = """
the of and to in a is that it was for on are as with his they at be this from have or by one had not but what all were
when we there can an your which their said if do will each about how up out them then she many some so these would other
into has more her two like him see time could no make than first been its who now people my made over did down only way
find use may water long little very after words called just where most know
"""
BYTES = range(256)


def main(file: str) -> None:
    words = WORDS.split()
    draw = np.random.default_rng(1)
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in BYTES), *(f"▁{word}" for word in words)]
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    kinds += [TokenType.BYTE] * len(BYTES) + [TokenType.NORMAL] * len(words)
    model = GGUFWriter(file, "llama")
    model.add_context_length(4096)
    model.add_embedding_length(WIDTH)
    model.add_block_count(BLOCKS)
    model.add_feed_forward_length(HIDDEN)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_rope_dimension_count(WIDTH // HEADS)
    model.add_vocab_size(len(tokens))
    model.add_tokenizer_model("llama")
    model.add_token_list(tokens)
    model.add_token_scores([0.0] * len(tokens))
    model.add_token_types(kinds)
    model.add_unk_token_id(0)
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)

    def add(name: str, *shape: int, scale: float = 0.3) -> None:
        model.add_tensor(f"{name}.weight", (draw.standard_normal(shape) * scale).astype(np.float32))

    add("token_embd", len(tokens), WIDTH)
    for block in range(BLOCKS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{block}.{name}", WIDTH, WIDTH)
        add(f"blk.{block}.ffn_gate", HIDDEN, WIDTH)
        add(f"blk.{block}.ffn_up", HIDDEN, WIDTH)
        add(f"blk.{block}.ffn_down", WIDTH, HIDDEN)
        for name in ("attn_norm", "ffn_norm"):
            model.add_tensor(f"blk.{block}.{name}.weight", np.ones(WIDTH, np.float32))
    model.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    output = (draw.standard_normal((len(tokens), WIDTH)) * 0.3).astype(np.float32)
    output[: len(SPECIAL) + len(BYTES)] *= 0.05  # so that it says words
    model.add_tensor("output.weight", output)
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


if __name__ == "__main__":
    main(sys.argv[1])
