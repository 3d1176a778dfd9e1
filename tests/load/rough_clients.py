#!/usr/bin/env python3
"""Clients that do not behave: many streams at once that finish, leave in the middle, leave while they wait, or ask too
much. Whoever stays to the end must get the bytes that the same request got alone, before.

  rough_clients.py URL PID SECONDS [STREAMS]     an engine that serves there, and its process

At the end the engine must be as it was: nobody in it, no KV block held, no more memory than after the first quarter. An
engine whose KV cache is larger than what is asked for in that time is still touching new pages then: give it a small one
(--kv-cache).
Exit code 1 with a line for each thing that is not so.
"""
import http.client
import json
import random
import re
import socket
import sys
import threading
import time
import urllib.parse

N_QUESTIONS = 8  # that are asked to the end and compared
RSS_GROWTH = 1.05
RSS_GROWTH_BYTES = 4 << 20


class Engine:
    def __init__(self, url, pid):
        self.at = urllib.parse.urlsplit(url)
        self.pid = pid
        models = json.loads(self.get("/v1/models"))["data"]
        self.model = models[0]["id"]
        self.context = models[0]["max_model_len"]

    def connect(self):
        return http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=120)

    def get(self, path):
        c = self.connect()
        c.request("GET", path)
        body = c.getresponse().read().decode()
        c.close()
        return body

    def metric(self, name):
        return sum(float(v) for v in re.findall(r"(?m)^%s(?:\{[^}]*\})? (\S+)$" % re.escape(name), self.get("/metrics")))

    def rss_bytes(self):
        with open("/proc/%d/status" % self.pid) as f:
            return int(re.search(r"VmRSS:\s*(\d+)", f.read()).group(1)) * 1024

    def ask(self, question, **more):
        """A connection whose answer has not been read, and the answer's head."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 24,
            "seed": len(question),
            "temperature": 0.8,
            "stream": True,
        }
        body.update(more)
        c = self.connect()
        c.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        return c, c.getresponse()


def text_of(stream):
    text = ""
    for line in stream.decode().split("\n"):
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                text += choice["delta"].get("content") or ""
    if "data: [DONE]" not in stream.decode():
        raise ValueError("the stream has no end: %r" % stream[-200:])
    return text


def leave(connection):
    """As a client that is killed: a reset, no goodbye."""
    if connection.sock:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


class Client(threading.Thread):
    def __init__(self, engine, number, alone, until):
        super().__init__()
        self.engine, self.alone, self.until = engine, alone, until
        self.dice = random.Random(number)
        self.faults, self.did = [], {"finished": 0, "left": 0, "not read": 0, "overlong": 0}

    def run(self):
        while time.monotonic() < self.until and not self.faults:
            what = self.dice.choices(list(self.did), [5, 3, 1, 1])[0]
            try:
                getattr(self, what.replace(" ", "_"))()
            except Exception as e:  # whatever it is, it is told at the end
                self.faults.append("%s: %r" % (what, e))
            self.did[what] += 1

    def finished(self):
        question = self.dice.choice(list(self.alone))
        c, answer = self.engine.ask(question)
        text = text_of(answer.read())
        c.close()
        if text != self.alone[question]:
            self.faults.append("%r: got %r, alone it was %r" % (question, text, self.alone[question]))

    def left(self):
        c, answer = self.engine.ask("Tell me of number %d" % self.dice.randrange(1000), max_tokens=400, ignore_eos=True)
        for _ in range(self.dice.randrange(1, 30)):
            answer.readline()
        answer.close()
        leave(c)

    def not_read(self):
        """Leaves before anything came: in the queue or during prefill."""
        body = json.dumps({"model": self.engine.model, "prompt": "word " * self.dice.randrange(1, 60), "max_tokens": 50})
        c = self.engine.connect()
        c.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        time.sleep(self.dice.random() * 0.02)
        leave(c)

    def overlong(self):
        c, answer = self.engine.ask("word " * (2 * self.engine.context))
        body = answer.read().decode()
        c.close()
        if answer.status != 400 or str(self.engine.context) not in body:
            self.faults.append("an overlong prompt: %d %s" % (answer.status, body[:200]))


def crowd(engine, n, alone, seconds):
    clients = [Client(engine, i, alone, time.monotonic() + seconds) for i in range(n)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    return clients


def settled(engine):
    """Waits, a while, for those who left to be noticed."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if engine.metric("vllm:num_requests_running") + engine.metric("vllm:num_requests_waiting") == 0:
            return True
        time.sleep(0.05)
    return False


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    engine, seconds = Engine(sys.argv[1], int(sys.argv[2])), float(sys.argv[3])
    n = int(sys.argv[4]) if len(sys.argv) > 4 else 32
    usage = engine.metric("vllm:kv_cache_usage_perc")
    alone = {}
    for i in range(N_QUESTIONS):
        question = "What is %d and %d%s?" % (i, 7 * i, ", please" * i)
        c, answer = engine.ask(question)
        alone[question] = text_of(answer.read())
        c.close()
    faults = []
    clients = crowd(engine, n, alone, seconds / 4)  # as full as it gets
    if not settled(engine):
        faults.append("requests are left in the engine")
    before = engine.rss_bytes()
    clients += crowd(engine, n, alone, seconds * 3 / 4)
    if not settled(engine):
        faults.append("requests are left in the engine")
    after = engine.rss_bytes()
    faults += [f for c in clients for f in c.faults]
    if engine.metric("vllm:kv_cache_usage_perc") != usage:
        faults.append("KV usage was %g, is %g" % (usage, engine.metric("vllm:kv_cache_usage_perc")))
    if after > before * RSS_GROWTH + RSS_GROWTH_BYTES:
        faults.append("resident memory went from %d to %d KiB" % (before // 1024, after // 1024))
    did = {k: sum(c.did[k] for c in clients) for k in clients[0].did}
    print(", ".join("%d %s" % (v, k) for k, v in did.items()), end="; ")
    print("%d preempted; resident %d KiB, then %d" % (engine.metric("vllm:num_preemptions_total"), before // 1024, after // 1024))
    for f in faults[:10]:
        print("FAILED: " + f)
    sys.exit(1 if faults or min(did.values()) == 0 else 0)


main()
