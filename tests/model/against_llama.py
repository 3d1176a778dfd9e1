#!/usr/bin/env python3
"""Greedy answers of ours beside those of llama.cpp, token by token, for the same weights.

  against_llama.py GREEDY [MODEL]     GREEDY: the program built from greedy.c; MODEL: a GGUF, or
                                      $SMOLLM2_GGUF

With quantised weights both engines round the activations to bytes, each in its own order, and at a
small model's many near-ties that decides. So the verdict is on a copy of the model in F16, where
only the order of sums differs: where two answers part there, the double-precision reference says by
how much, and within TIE it is a tie. The file as it is comes second, for information: how far apart
the reference sees the two tokens, and whose it holds with.

Exit code 77: the model or one of the packages llama-cpp-python and gguf is not there.
"""
import ctypes
import os
import subprocess
import sys
import tempfile

TOKENS = 64
TIE = 0.05

QUESTIONS = [
    "What is the capital of France?",
    "Explain why the sky is blue in two sentences.",
    "Write a haiku about autumn leaves.",
    "List three uses of copper.",
    "How do I boil an egg?",
    "Give me a short story about a lost dog.",
    "What is the difference between a stack and a queue?",
    "Translate 'good morning' into Spanish.",
    "Who wrote Romeo and Juliet?",
    "What are the primary colours?",
    "Write a Python function that adds two numbers.",
    "Why do we have seasons on Earth?",
    "Name five animals that live in the sea.",
    "How does a bicycle stay upright?",
    "Summarise the idea of supply and demand.",
    "What should I pack for a trip to the mountains?",
    "What is 17 plus 25?",
    "Describe the taste of a lemon.",
    "How does photosynthesis work?",
    "Write an e-mail to cancel a meeting.",
]
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def run(greedy, model, what, lines):
    out = subprocess.run([greedy, model, what], input="\n".join(lines) + "\n", text=True,
                         capture_output=True, check=False)
    if out.returncode:
        sys.exit(f"{greedy}: {out.stderr}")
    return [[float(x) if "." in x else int(x) for x in line.split()] for line in out.stdout.splitlines()]


def theirs(llm, numpy, ids):
    answer = []
    llm.reset()
    llm.eval(ids)
    while len(answer) < TOKENS:
        logits = numpy.ctypeslib.as_array(llm._ctx.get_logits(), shape=(llm.n_vocab(),))
        answer.append(int(logits.argmax()))
        llm.eval(answer[-1:])
    return answer


def as_f16(path, out):
    """The same model with its matrices in F16; vectors stay as they are."""
    import gguf
    import numpy

    reader = gguf.GGUFReader(path)
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(numpy.float16) if values.ndim > 1 else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def compare(greedy, model):
    """How many answers are equal, and how those part that are not: (place, ours, theirs, the
    reference's logits of both, its own choice)."""
    import llama_cpp
    import numpy

    llm = llama_cpp.Llama(model, n_ctx=1024, verbose=False)
    prompts = [llm.tokenize(CHAT.format(q).encode(), add_bos=False, special=True) for q in QUESTIONS]
    ours = run(greedy, model, str(TOKENS), [" ".join(map(str, p)) for p in prompts])
    lines, parted = [], []
    for prompt, mine in zip(prompts, ours, strict=True):
        other = theirs(llm, numpy, prompt)
        at = next((i for i in range(TOKENS) if mine[i] != other[i]), None)
        if at is not None:
            lines.append(f"{' '.join(map(str, prompt + mine[:at]))} : {mine[at]} {other[at]}")
            parted.append((at, mine[at], other[at]))
    truths = run(greedy, model, "truth", lines) if lines else []
    for (at, a, b), (of_a, of_b, best) in zip(parted, truths, strict=True):
        print(f"  token {at}: ours {a} ({of_a:.3f}), llama.cpp's {b} ({of_b:.3f}); by the reference {best}")
    return [(of_a - of_b, best == a, best == b) for (_, a, b), (of_a, of_b, best) in zip(parted, truths)]


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    model = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("SMOLLM2_GGUF", "")
    try:
        import gguf  # noqa: F401
        import llama_cpp
        import numpy  # noqa: F401
    except ImportError as e:
        print(f"skipped: {e}")
        return 77
    if not os.path.exists(model):
        print("skipped: no model; name a GGUF file or set SMOLLM2_GGUF")
        return 77
    quiet = llama_cpp.llama_log_callback(lambda level, text, arg: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p())
    what = f"{len(QUESTIONS)} prompts x {TOKENS} tokens"
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "f16.gguf")
        as_f16(model, copy)
        parted = compare(sys.argv[1], copy)
    wrong = sum(abs(margin) > TIE for margin, _, _ in parted)
    print(f"F16: {what}: {len(QUESTIONS) - len(parted)} equal, {len(parted) - wrong} part at a tie, "
          f"{wrong} differ", flush=True)
    parted = compare(sys.argv[1], model)
    print(f"as it is: {what}: {len(QUESTIONS) - len(parted)} equal; of the others the reference holds with us "
          f"{sum(ours for _, ours, _ in parted)} times, with llama.cpp {sum(other for _, _, other in parted)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
