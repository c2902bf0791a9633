"""What every client library has to be able to do with hearth, written once over a small common interface.

A `Peer` hides one library: it connects with a token and an answer to elicitations, and offers calls in
one shape. The scenarios below are the conversation of an agent in a home lab.
"""

import asyncio
import json

from harness import check, same, tag

FORUM = {"forum_create_thread", "forum_list_threads", "forum_read_thread", "forum_reply", "forum_search", "forum_edit_post",
         "forum_delete_post", "forum_whats_new", "forum_mark_read", "forum_tag_thread", "forum_pin_thread"}
KINDS = ("host", "vm", "service", "network")
LEVEL_1 = FORUM | {f"inventory_list_{kind}s" for kind in KINDS} | {f"inventory_get_{kind}" for kind in KINDS} | {
    "inventory_lookup_ip", "inventory_search", "inventory_changes", "system_whoami"}
LEVEL_2 = {"inventory_check_service_health"}
LEVEL_3 = {f"inventory_put_{kind}" for kind in KINDS} | {f"inventory_remove_{kind}" for kind in KINDS} | {
    "inventory_allocate_ip", "inventory_release_ip"}
PERSON_ONLY = {"system_approve", "system_reject", "token_create", "token_list", "token_revoke"}
TEMPLATES = {f"hearth://{kind}/" for kind in ("thread", *KINDS)}
PROMPTS = {"triage_host", "summarise_forum", "hand_over"}


class Peer:
    """One connected client. Subclasses wrap a library; results are plain Python values."""

    async def tools(self):
        """The names of the listed tools."""
        raise NotImplementedError

    async def call(self, tool, /, **arguments):
        """(is_error, structured content, text of the first content block)"""
        raise NotImplementedError

    async def resources(self):
        """URIs of the listed resources."""
        raise NotImplementedError

    async def templates(self):
        """URI templates."""
        raise NotImplementedError

    async def read(self, uri):
        """The text of a resource."""
        raise NotImplementedError

    async def prompts(self):
        """Names of the prompts."""
        raise NotImplementedError

    async def prompt(self, name, arguments):
        """The texts of a prompt's messages."""
        raise NotImplementedError

    async def complete_prompt(self, name, argument, value):
        raise NotImplementedError

    async def complete_template(self, uri, argument, value):
        raise NotImplementedError

    async def updates(self, uri, cause):
        """Subscribes to `uri`, awaits `cause()`, and returns True when an update of `uri` came within 5 s."""
        raise NotImplementedError

    # --- on top of it ---

    async def must(self, tool, /, **arguments):
        failed, body, text = await self.call(tool, **arguments)
        check(not failed, f"{tool} {arguments} failed: {body or text}")
        check(isinstance(body, dict), f"{tool} gave no structured content: {text!r}")
        same(json.loads(text), body, f"{tool}: text content beside structured content")
        return body

    async def refused(self, code, tool, /, **arguments):
        failed, body, text = await self.call(tool, **arguments)
        check(failed, f"{tool} {arguments} was not refused: {body or text}")
        check(isinstance(body, dict), f"{tool}: a refusal without structured content: {text!r}")
        same(body.get("code"), code, f"code of the refused {tool} ({body})")
        check(body.get("message") and body.get("call_id"), f"{tool}: a refusal without message or call_id: {body}")
        return body


def fill_form(schema):
    """Answers a confirmation form as a person who agrees would."""
    content = {}
    for name, field in (schema or {}).get("properties", {}).items():
        options = field.get("enum") or [option.get("const") for option in field.get("oneOf", [])]
        if field.get("type") == "boolean":
            content[name] = True
        elif options:
            agreeing = [option for option in options if str(option).lower() in ("approve", "yes", "confirm", "accept", "allow")]
            content[name] = (agreeing or options)[0]
        elif name in schema.get("required", []):
            content[name] = field.get("default", "yes")
    return content


async def lists(peer, level, absent=frozenset()):
    names = await peer.tools()
    same(len(names), len(set(names)), "tools listed once")
    names = set(names)
    want = LEVEL_1 | (LEVEL_2 if level >= 2 else set()) | (LEVEL_3 if level >= 3 else set())
    above = PERSON_ONLY | (set() if level >= 2 else LEVEL_2) | (set() if level >= 3 else LEVEL_3)
    check(want <= names, f"tools missing from the list: {sorted(want - names)}")
    check(not (above | absent) & names, f"tools listed that this caller may not use: {sorted((above | absent) & names)}")
    who = await peer.must("system_whoami")
    same(who["level"], level, "system_whoami level")
    return who


async def forum(peer):
    """A thread, an answer that quotes, a search by part of a word, and what a reader has not seen."""
    word, reader = tag(), f"reader-{tag()}"
    made = await peer.must("forum_create_thread", title=f"Backup of {word}", author="scribe", tags=["backup"],
                           body=f"The nightly job of {word} <b>stopped</b> — «naïve» 日本語")
    thread, first = made["thread"], made["post"]
    same(thread["title"], f"Backup of {word}", "title")
    same(first["author"], "scribe", "claimed author")
    check(first["verified"] and first["verified"] != "scribe", f"verified author is the principal: {first}")
    reply = await peer.must("forum_reply", thread_id=thread["thread_id"], author="medic", quote_post_id=first["post_id"],
                            body=f"Disk full; freed space on {word}")
    same(reply["quote"]["post_id"], first["post_id"], "quoted post")
    check("日本語" in reply["quote"]["text"], f"quoted text: {reply['quote']}")
    page = await peer.must("forum_read_thread", thread_id=thread["thread_id"])
    same([post["post_id"] for post in page["items"]], [first["post_id"], reply["post_id"]], "posts in order")
    same(page["items"][0]["body"], f"The nightly job of {word} <b>stopped</b> — «naïve» 日本語", "body as written")
    same(page["thread"]["posts"], 2, "posts counted")

    half = await peer.must("forum_read_thread", thread_id=thread["thread_id"], limit=1)
    check("next_cursor" in half, f"a page of one of two posts has a cursor: {half}")
    rest = await peer.must("forum_read_thread", thread_id=thread["thread_id"], limit=1, cursor=half["next_cursor"])
    same([post["post_id"] for post in half["items"] + rest["items"]], [first["post_id"], reply["post_id"]], "two pages")
    check("next_cursor" not in rest, f"the last page has no cursor: {rest}")

    found = await peer.must("forum_search", query=word[:6])
    check(thread["thread_id"] in [hit["thread_id"] for hit in found["items"]], f"part of a word finds the thread: {found}")
    threads = await peer.must("forum_list_threads", tag="backup", limit=100)
    check(thread["thread_id"] in [item["thread_id"] for item in threads["items"]], "listed by tag")

    async def new():
        items = (await peer.must("forum_whats_new", reader=reader, limit=100))["items"]
        return next((item for item in items if item["thread_id"] == thread["thread_id"]), None)

    unread = await new()
    check(unread is not None, "a new thread is new to a reader")
    same(unread["new_posts"], 2, "new posts of the thread")
    marked = await peer.must("forum_mark_read", thread_id=thread["thread_id"], reader=reader)
    # Two callers that name their readers alike do not mark each other's posts.
    check(marked["reader"].endswith(reader), f"reader: {marked}")
    same(await new(), None, "what is marked read is no longer new")
    later = await peer.must("forum_reply", thread_id=thread["thread_id"], author="scribe", body="Thanks")
    unread = await new()
    same(unread and (unread["new_posts"], unread["first_new_post_id"]), (1, later["post_id"]), "one new post after marking")

    # The same request again, as after a lost answer, acts once.
    once = f"once-{tag()}"
    ids = [(await peer.must("forum_reply", thread_id=thread["thread_id"], body="Only once", request_id=once))["post_id"]
           for _ in range(2)]
    same(ids[0], ids[1], "a repeated request_id")
    await peer.refused("not_found", "forum_read_thread", thread_id=999_999_999)
    await peer.refused("invalid_input", "forum_reply", thread_id=thread["thread_id"], body="x", bogus=1)
    return thread["thread_id"]


async def inventory(peer):
    """Looks up what the harness wrote."""
    host = await peer.must("inventory_get_host", name="nas")
    same(host["addresses"], ["10.77.0.10"], "addresses of the host")
    same((host["vms"], host["services"]), (["plex"], ["gallery"]), "what runs on the host")
    there = await peer.must("inventory_lookup_ip", address="10.77.0.10")
    same((there["network"], there["hosts"], there["free"]), ("lab", ["nas"], False), "whose address it is")
    same(there["allocation"]["assigned_to"], "host:nas", "allocation")
    free = await peer.must("inventory_lookup_ip", address="10.77.0.50")
    same((free["network"], free["hosts"], free["free"]), ("lab", [], True), "a free address")
    hits = (await peer.must("inventory_search", query="stair"))["items"]
    check(("host", "nas") in [(hit["kind"], hit["name"]) for hit in hits], f"part of a word of the notes finds the host: {hits}")
    names = [item["name"] for item in (await peer.must("inventory_list_hosts", kind="nas"))["items"]]
    check("nas" in names, f"list of hosts: {names}")
    await peer.refused("not_found", "inventory_get_host", name="nowhere")


async def resources(peer, thread_id, reply):
    """Resources, templates, and an update when somebody else answers in a thread."""
    uris = await peer.resources()
    check("hearth://forum" in uris, f"resources: {uris}")
    templates = await peer.templates()
    missing = {start for start in TEMPLATES if not any(template.startswith(start) for template in templates)}
    check(not missing, f"templates missing: {missing} in {templates}")
    check("10.77.0.10" in await peer.read("hearth://host/nas"), "a host as a resource")
    uri = f"hearth://thread/{thread_id}"
    check("Only once" in await peer.read(uri), "a thread as a resource")

    async def cause():
        await asyncio.to_thread(reply, thread_id)

    check(await peer.updates(uri, cause), f"no update of {uri} after a reply")


async def prompts(peer):
    names = await peer.prompts()
    check(PROMPTS <= set(names), f"prompts: {names}")
    check("nas" in " ".join(await peer.prompt("triage_host", {"host": "nas"})), "the prompt names the host")
    await peer.prompt("summarise_forum", {})
    check("nas" in await peer.complete_prompt("triage_host", "host", "n"), "completion of a prompt's host")
    template = next(template for template in await peer.templates() if template.startswith("hearth://host/"))
    argument = template.removeprefix("hearth://host/").strip("{}")
    check("nas" in await peer.complete_template(template, argument, "na"), "completion of a template's host")


async def reading(peer, reply, level=1):
    """The whole conversation of a caller that may only look and write on the forum."""
    await lists(peer, level)
    thread_id = await forum(peer)
    await inventory(peer)
    await resources(peer, thread_id, reply)
    await prompts(peer)
    if level < 3:
        # In band, so that the model reads it and the client does not give up on the connection.
        await peer.refused("forbidden", "inventory_put_host", name="intruder")
        await peer.refused("not_found", "inventory_get_host", name="intruder")


async def accepting(peer, expect_asked):
    """A person who agrees in the client."""
    victim = f"victim-{tag()}"
    await peer.must("inventory_put_host", name=victim, kind="device")
    removed = await peer.must("inventory_remove_host", name=victim)
    same(removed, {"removed": victim}, "the removal")
    check(any(victim in message for message in expect_asked()), f"the question names {victim}: {expect_asked()}")
    await peer.refused("not_found", "inventory_get_host", name=victim)


async def declining(peer, expect_asked):
    """A person who does not: nothing is removed."""
    victim = f"victim-{tag()}"
    await peer.must("inventory_put_host", name=victim, kind="device")
    failed, body, _ = await peer.call("inventory_remove_host", name=victim)
    check(failed and body["code"] == "forbidden", f"declined, yet: {body}")
    check(expect_asked(), "the client was asked")
    await peer.must("inventory_get_host", name=victim)


async def unable(peer, approve):
    """A client that cannot ask: a plan and an approval that a person gives on the server's own shell."""
    victim = f"victim-{tag()}"
    await peer.must("inventory_put_host", name=victim, kind="device")
    plan = await peer.refused("unconfirmed", "inventory_remove_host", name=victim)
    check(plan.get("approval_id") and isinstance(plan.get("plan"), dict), f"a plan and an approval: {plan}")
    # The model repeats its own call with the id, before any person agreed: nothing happens.
    await peer.refused("unconfirmed", "inventory_remove_host", name=victim, approval_id=plan["approval_id"])
    await peer.must("inventory_get_host", name=victim)
    await asyncio.to_thread(approve, plan["approval_id"])
    # An approval is for these arguments only.
    failed, body, _ = await peer.call("inventory_remove_host", name="nas", approval_id=plan["approval_id"])
    check(failed, f"an approval of {victim} removed another host: {body}")
    await peer.must("inventory_get_host", name="nas")
    removed = await peer.must("inventory_remove_host", name=victim, approval_id=plan["approval_id"])
    same(removed, {"removed": victim}, "the approved removal")
    await peer.refused("not_found", "inventory_get_host", name=victim)
