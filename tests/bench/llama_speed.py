#!/usr/bin/env python3
"""gpu_engine's speed on the CPU beside llama.cpp's: same file, threads and context, turn about, and the roof that memory sets.

  llama_speed.py GPU_ENGINE MODEL.gguf [MODEL.gguf ...]      CSV on stdout; the machine should have nothing else to do

Each round measures both; of ROUNDS rounds the best of each counts, since what others do to a machine only slows it.
Exit code 77: llama-cpp-python is not there.
"""
import csv
import os
import random
import subprocess
import sys
import time

ROUNDS = 3
PROMPT = 512
TOKENS = 64
BATCH = 8
GOALS = {"Q4_1": 1.6, "Q8_0": 1.5, "F16": 0.95}  # decode at batch 1 against llama.cpp
ROOF_GOALS = {"Q4_1": 0.65, "F16": 0.75}


def ours(engine, model, threads):
    out = subprocess.run([engine, "bench", "-m", model, "--threads", str(threads), "--batch", f"1,{BATCH}", "--csv",
                          "--prompt-tokens", str(PROMPT), "-n", str(TOKENS), "--kv-cache", "512MiB"],
                         check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    rows = {(r["what"], int(r["batch"])): r for r in csv.DictReader(out.splitlines())}
    return {"prefill": float(rows["prefill", 1]["tokens_per_s"]), "decode": float(rows["decode", 1]["tokens_per_s"]),
            "batch": float(rows["decode", BATCH]["tokens_per_s"]),
            "of_roof": float(rows["decode", 1]["share_of_roof"])}


class Theirs:
    def __init__(self, model, threads):
        import llama_cpp
        self.llm = llama_cpp.Llama(model, n_ctx=2048, n_batch=PROMPT, n_ubatch=PROMPT, n_threads=threads,
                                   n_threads_batch=threads, verbose=False)
        draw = random.Random(1)
        self.ids = [draw.randrange(100, self.llm.n_vocab()) for _ in range(PROMPT)]

    def measure(self):
        self.llm.reset()
        start = time.perf_counter()
        self.llm.eval(self.ids)
        prefill = PROMPT / (time.perf_counter() - start)
        self.llm.reset()
        self.llm.eval(self.ids[:16])
        start = time.perf_counter()
        for token in self.ids[:TOKENS]:
            self.llm.eval([token])
        return {"prefill": prefill, "decode": TOKENS / (time.perf_counter() - start)}


def kind(model):
    name = os.path.basename(model).upper()
    return next((k for k in GOALS if k in name), "")


def verdict(value, goal):
    return "" if goal is None else "met" if value >= goal else "missed"


def main():
    if len(sys.argv) < 3 or sys.argv[1] in ("-h", "--help"):
        print(__doc__.strip(), file=sys.stderr)
        return 0 if len(sys.argv) == 2 and sys.argv[1].startswith("-") else 2
    engine, models = sys.argv[1], sys.argv[2:]
    try:
        import llama_cpp  # noqa: F401
    except ImportError:
        print("llama-cpp-python is not there: pip install llama-cpp-python", file=sys.stderr)
        return 77
    table = csv.writer(sys.stdout)
    table.writerow(["model", "threads", "what", "own", "peer_or_floor", "ratio", "goal", "verdict"])
    for model in map(os.path.realpath, models):
        for threads in range(1, (os.cpu_count() or 1) + 1):
            peer = Theirs(model, threads)
            best, their_best = {}, {}
            for _ in range(ROUNDS):
                for into, seen in ((best, ours(engine, model, threads)), (their_best, peer.measure())):
                    for what, value in seen.items():
                        into[what] = max(into.get(what, 0), value)
            rows = [("decode tok/s against llama.cpp", best["decode"], their_best["decode"], GOALS.get(kind(model))),
                    ("prefill tok/s against llama.cpp", best["prefill"], their_best["prefill"], 1.0),
                    (f"batch {BATCH} tok/s against batch 1", best["batch"], best["decode"], 3.0),
                    ("decode of the memory roof", best["of_roof"], 1.0, ROOF_GOALS.get(kind(model)))]
            for what, own, other, goal in rows:
                table.writerow([os.path.basename(model), threads, what, round(own, 3), round(other, 3),
                                round(own / other, 3), "" if goal is None else goal, verdict(own / other, goal)])
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
