#!/usr/bin/env python3
"""The perplexity of a public text by ours and by llama.cpp, for the same weights and the same windows.

  perplexity_against_llama.py GPU_ENGINE [MODEL [TEXT]]     MODEL: a GGUF, or $SMOLLM2_GGUF; TEXT: the GPL

The verdict is on the file as it is and on a copy in F16 (against_llama.py says why): within SHARE of each other.
Exit code 77: the model or one of the packages llama-cpp-python and gguf is not there.
"""
import ctypes
import math
import os
import re
import subprocess
import sys
import tempfile

WINDOW = 512
WINDOWS = 6
SHARE = 0.005
TEXT = "/usr/share/common-licenses/GPL-3"


def theirs(model, text):
    import llama_cpp
    import numpy

    llm = llama_cpp.Llama(model, n_ctx=WINDOW, n_batch=WINDOW, logits_all=True, verbose=False)
    ids = llm.tokenize(text, add_bos=False, special=False)
    nll = []
    for at in range(0, len(ids) - WINDOW + 1, WINDOW):
        window = ids[at:at + WINDOW]
        llm.reset()
        llm.eval(window)
        logits = numpy.array(llm.scores[:WINDOW], dtype=numpy.float64)
        most = logits.max(axis=1)
        norm = most + numpy.log(numpy.exp(logits - most[:, None]).sum(axis=1))
        nll += [norm[i - 1] - logits[i - 1, window[i]] for i in range(WINDOW // 2, WINDOW)]
    return math.exp(sum(nll) / len(nll)), len(nll)


def ours(engine, model, path):
    out = subprocess.run([engine, "perplexity", "-m", model, "-f", path, "--window", str(WINDOW)], text=True,
                         capture_output=True, check=False)
    found = re.match(r"perplexity (\S+) \+- \S+ over (\d+) tokens", out.stdout)
    if not found:
        sys.exit(f"{engine}: {out.stderr}")
    return float(found[1]), int(found[2])


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    model = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("SMOLLM2_GGUF", "")
    path = sys.argv[3] if len(sys.argv) > 3 else TEXT
    try:
        import gguf  # noqa: F401
        import llama_cpp
        import numpy  # noqa: F401
        from against_llama import as_f16
    except ImportError as e:
        print(f"skipped: {e}")
        return 77
    for what in model, path:
        if not os.path.exists(what):
            print(f"skipped: no {what or 'model; name a GGUF file or set SMOLLM2_GGUF'}")
            return 77
    quiet = llama_cpp.llama_log_callback(lambda level, text, arg: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p())
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        with open(path, "rb") as f:
            text = f.read(WINDOWS * WINDOW * 4)
        part, copy = os.path.join(folder, "text"), os.path.join(folder, "f16.gguf")
        with open(part, "wb") as f:
            f.write(text)
        as_f16(model, copy)
        for what, file in ("as it is", model), ("F16", copy):
            (a, n), (b, m) = ours(sys.argv[1], file, part), theirs(file, text)
            print(f"{what}: ours {a:.4f} over {n} tokens, llama.cpp {b:.4f} over {m}: {100 * (a / b - 1):+.3f} %", flush=True)
            bad += n != m or abs(a / b - 1) > SHARE
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
