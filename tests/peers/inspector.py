"""The Inspector's command line: a strict lint of every schema, then calls and reads on every door and in both eras."""

import json
import subprocess

from harness import CLIENTS, NODE, Report, World, check, same, tag

INSPECTOR = CLIENTS / "node_modules" / ".bin" / "mcp-inspector"


def inspect(server, *args, expect=0):
    env = server.env() | {"MCP_CATALOG_PATH": str(server.dir / "inspector" / "catalog.json"), "NO_COLOR": "1",
                          "PATH": f"{NODE.parent}:{server.env().get('PATH', '')}"}
    done = subprocess.run([NODE, INSPECTOR, "--cli", *args], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=90, cwd=server.dir)
    check(done.returncode == expect, f"inspector {' '.join(map(str, args))} ended with {done.returncode}, not {expect}: "
                                     f"{done.stderr[-1500:]} {done.stdout[-500:]}")
    return done


def target(server, token, path, era="legacy"):
    return [server.url + path, "--header", f"Authorization: Bearer {token}", "--stored-auth-only", "--protocol-era", era]


def method(server, place, name, *args):
    return json.loads(inspect(server, *place, "--method", name, *args, "--format", "json", "-q").stdout)


def payload(answer):
    """The command line wraps an answer in `result` from some versions on."""
    return answer.get("result", answer)


def lint(server, token, era):
    done = inspect(server, *target(server, token, "/mcp", era), "--method", "tools/list", "--strict")
    check("inventory_remove_host" in done.stdout, "the whole list was linted")
    problems = [line for line in done.stderr.splitlines() if "error" in line.lower() or "warning" in line.lower()]
    for line in problems[:20]:
        print(f"        {line}")


def call(server, token, place):
    word = tag()
    made = payload(method(server, place, "tools/call", "--tool-name", "forum_create_thread",
                          "--tool-args-json", json.dumps({"title": f"Seen by {word}", "body": "hello", "author": "inspector"})))
    same(made["structuredContent"]["thread"]["title"], f"Seen by {word}", "title")
    found = payload(method(server, place, "tools/call", "--tool-name", "forum_search", "--tool-arg", f"query={word[:6]}"))
    same(len(found["structuredContent"]["items"]), 1, "part of a word finds the thread")
    host = payload(method(server, place, "tools/call", "--tool-name", "inventory_get_host", "--tool-arg", "name=nas"))
    same(host["structuredContent"]["addresses"], ["10.77.0.10"], "addresses")
    uri = f"hearth://thread/{made['structuredContent']['thread']['thread_id']}"
    check("hello" in json.dumps(payload(method(server, place, "resources/read", "--uri", uri))), "the thread as a resource")


def lists(server, place):
    check("hearth://forum" in json.dumps(payload(method(server, place, "resources/list"))), "resources")
    check("hearth://host/" in json.dumps(payload(method(server, place, "resources/templates/list"))), "templates")
    prompts = payload(method(server, place, "prompts/list"))["prompts"]
    check({"triage_host", "summarise_forum", "hand_over"} <= {prompt["name"] for prompt in prompts}, f"prompts: {prompts}")
    prompt = payload(method(server, place, "prompts/get", "--prompt-name", "triage_host", "--prompt-args", "host=nas"))
    check("nas" in json.dumps(prompt["messages"]), "the prompt names the host")


def above(server, place):
    names = [tool["name"] for tool in payload(method(server, place, "tools/list"))["tools"]]
    check("forum_reply" in names and "inventory_put_host" not in names, f"tools at level 1: {names}")


def main():
    report = Report()
    with World() as world:
        server = world.server
        for era in ("legacy", "modern"):
            report.run(f"tools/list --strict, {era}", lint, server, world.manage, era)
        command, args, _ = server.stdio()
        for label, place in (
            ("/mcp legacy", target(server, world.monitor, "/mcp")),
            ("/mcp modern", target(server, world.monitor, "/mcp", "modern")),
            ("/sse", target(server, world.monitor, "/sse")),
        ):
            report.run(f"{label}: level 1 sees level 1", above, server, place)
            report.run(f"{label}: calls and a read", call, server, world.monitor, place)
            report.run(f"{label}: resources and prompts", lists, server, place)
        report.run("stdio: calls and a read", call, server, None, [command, *args])
    report.exit()


main()
