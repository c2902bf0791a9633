"""Requests generated from /api/openapi.json: whatever is sent, no answer is a server error or breaks its own schema."""

import os
import subprocess

from harness import PEERS, Report, World, check

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
SEED = "20260728"


def generate(world, label, args):
    server = world.server
    done = subprocess.run(
        [PEERS / "venv-schemathesis" / "bin" / "schemathesis", "run", f"{server.url}/api/openapi.json",
         "-H", f"Authorization: Bearer {world.manage}", "--checks", CHECKS, "--seed", SEED, "--continue-on-failure",
         "--request-timeout", "20", "--suppress-health-check", "all", "--no-color", "--generation-database", "none",
         "--workers", "1", *args],
        env=server.env() | {"PYTHONDONTWRITEBYTECODE": "1"}, cwd=server.dir, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=600)
    log = PEERS / "schemathesis-logs"
    log.mkdir(exist_ok=True)
    (log / f"{label}.log").write_text(done.stdout + done.stderr)
    lines = done.stdout.splitlines()
    begin = next((i for i, line in enumerate(lines) if "SUMMARY" in line), max(0, len(lines) - 25))
    for line in lines[begin:][:40]:
        print(f"        {line}")
    check(done.returncode == 0, f"ended with {done.returncode}; see target/peers/schemathesis-logs/{label}.log")
    check(server.process.poll() is None, "the server is gone")


def main():
    report = Report()
    seconds = os.environ.get("API_SECONDS", "100")
    with World() as world:
        report.run("examples and boundary values of every operation", generate, world, "coverage", ["--phases", "examples,coverage"])
        report.run(f"{seconds} s of random requests", generate, world, "fuzzing",
                   ["--phases", "fuzzing", "--max-examples", "20", "--max-time", seconds])
        report.run("the audit chain holds afterwards", lambda: check(
            world.server.must(world.manage, "audit_verify")["valid"], "audit_verify"))
    report.exit()


main()
