"""The official conformance suite in both eras against a server that offers the suite's fixtures."""

import subprocess
from pathlib import Path

from harness import NODE, PEERS, Report, Server, check

# The suites open sessions and streams without closing them, all as one caller.
CONFIG = """
[access]
loopback_level = 4

[mcp]
sessions_max = 1000
sessions_per_caller = 1000
streams_per_caller = 1000
"""
SUITES = (
    ("0.1.16 --suite all", "node-clients", ["--suite", "all"]),
    ("0.2.0 --requirements 2025-11-25", "node-next", ["--requirements", "2025-11-25"]),
    ("0.2.0 --requirements 2026-07-28", "node-next", ["--requirements", "2026-07-28"]),
)


def suite(folder, args):
    # Every suite meets a new server: scenarios count sessions and change lists.
    with Server(CONFIG, conformance=True) as server:
        program = PEERS / folder / "node_modules" / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
        done = subprocess.run([NODE, program, "server", "--url", f"{server.url}/mcp", "-o", server.dir / "results", *args],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=420, cwd=server.dir,
                              env=server.env() | {"NO_COLOR": "1", "PATH": f"{NODE.parent}:{server.env().get('PATH', '')}"})
        text = done.stdout + done.stderr
        log = PEERS / "conformance-logs"
        log.mkdir(exist_ok=True)
        (log / f"{folder}{args[-1]}.log").write_text(text)
        for line in text.splitlines():
            if line.lstrip().startswith(("✗", "Total:", "Not scored")):
                print(f"        {line.strip()}")
        check(done.returncode == 0, f"ended with {done.returncode}; see {Path('target/peers/conformance-logs') / f'{folder}{args[-1]}.log'}")


def main():
    report = Report()
    for label, folder, args in SUITES:
        report.run(label, suite, folder, args)
    report.exit()


main()
