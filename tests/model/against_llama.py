#!/usr/bin/env python3
"""Greedy answers of ours beside those of llama.cpp, token by token, for the same file.

  against_llama.py GREEDY [MODEL]     GREEDY: the program built from greedy.c; MODEL: a GGUF, or
                                      $SMOLLM2_GGUF

Two engines that round differently may part where two tokens are nearly equally likely. So where the
answers first differ, the double-precision reference says by how much: within TIE it is a tie. Exit
code 77: the model or the package llama-cpp-python is not there.
"""
import ctypes
import os
import subprocess
import sys

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


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    model = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("SMOLLM2_GGUF", "")
    try:
        import llama_cpp
        import numpy
    except ImportError:
        print("skipped: no llama-cpp-python")
        return 77
    if not os.path.exists(model):
        print("skipped: no model; name a GGUF file or set SMOLLM2_GGUF")
        return 77
    quiet = llama_cpp.llama_log_callback(lambda level, text, arg: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p())
    llm = llama_cpp.Llama(model, n_ctx=1024, verbose=False)
    prompts = [llm.tokenize(CHAT.format(q).encode(), add_bos=False, special=True) for q in QUESTIONS]
    ours = run(sys.argv[1], model, str(TOKENS), [" ".join(map(str, p)) for p in prompts])
    equal, ties, wrong, parted = 0, 0, 0, []
    for prompt, mine in zip(prompts, ours, strict=True):
        other = theirs(llm, numpy, prompt)
        at = next((i for i in range(TOKENS) if mine[i] != other[i]), None)
        if at is None:
            equal += 1
        else:
            parted.append((prompt + mine[:at], mine[at], other[at], at))
    lines = [f"{' '.join(map(str, prefix))} : {a} {b}" for prefix, a, b, _ in parted]
    truths = run(sys.argv[1], model, "truth", lines) if lines else []
    for (_, a, b, at), (of_a, of_b, best) in zip(parted, truths, strict=True):
        print(f"token {at}: ours {a} ({of_a:.3f}), llama.cpp's {b} ({of_b:.3f}), by the reference {best}")
        if abs(of_a - of_b) <= TIE:
            ties += 1
        else:
            wrong += 1
    print(f"{len(prompts)} prompts x {TOKENS} tokens: {equal} equal, {ties} part at a tie, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
