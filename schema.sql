-- The schema of hearth's one file. A new file runs this; an older one climbs the steps of
-- src/store/migrate.rs and must arrive at exactly this. Times are milliseconds since the Unix
-- epoch in UTC, names are compared without case, lists are JSON arrays.

create table meta (
    key   text primary key,
    value text not null
) strict, without rowid;

-- === forum

create table threads (
    thread_id        integer primary key autoincrement,
    title            text not null,
    author           text not null,             -- as the author signed
    verified         text not null,             -- who the gate says it was
    pinned           integer not null default 0,
    posts            integer not null default 0,
    created_at       integer not null,
    last_activity_at integer not null,
    last_author      text not null
) strict;
create index threads_by_activity on threads (pinned desc, last_activity_at desc, thread_id desc);
create index threads_by_time on threads (last_activity_at desc, thread_id desc);

create table thread_tags (
    thread_id integer not null references threads on delete cascade,
    tag       text not null collate nocase,
    primary key (thread_id, tag)
) strict, without rowid;
create index thread_tags_by_tag on thread_tags (tag, thread_id);

create table posts (
    post_id       integer primary key autoincrement,
    thread_id     integer not null references threads on delete cascade,
    author        text not null,
    verified      text not null,
    body          text not null,                -- Markdown, kept as text; empty once deleted
    quote_post_id integer references posts on delete set null,
    created_at    integer not null,
    edited_at     integer,
    deleted_at    integer
) strict;
create index posts_by_thread on posts (thread_id, post_id);
create index posts_by_quote on posts (quote_post_id) where quote_post_id is not null;

-- What search reads: one row a post, under its post_id. The first post of a thread carries the
-- title, so a title is one hit. It keeps its own copy of the text, so that a row leaves the index
-- whatever has become of the post and its thread by then.
create virtual table post_text using fts5 (
    title, author, body,
    tokenize = 'unicode61 remove_diacritics 2',
    prefix = '2 3'
);
create trigger posts_inserted after insert on posts begin
    insert into post_text (rowid, title, author, body)
    values (
        new.post_id,
        coalesce((
            select title from threads
            where thread_id = new.thread_id
              and not exists (select 1 from posts where thread_id = new.thread_id and post_id < new.post_id)
        ), ''),
        new.author,
        new.body
    );
end;
create trigger posts_edited after update of body, deleted_at on posts when new.deleted_at is null begin
    update post_text set body = new.body where rowid = new.post_id;
end;
-- The thread is still there under its title when its first post is gone.
create trigger posts_emptied after update of deleted_at on posts when new.deleted_at is not null begin
    update post_text set author = '', body = '' where rowid = new.post_id and title <> '';
    delete from post_text where rowid = new.post_id and title = '';
end;
create trigger posts_deleted after delete on posts begin
    delete from post_text where rowid = old.post_id;
end;

-- The distinct words of the posts, and what leads from a part of a word to it. Texts are cut
-- into words by src/store/forum_words.rs; each is followed by a blank in the index, so that
-- the end of a word can be looked for.
create table post_words (
    word_id integer primary key,
    word    text not null unique
) strict;
create virtual table post_word_parts using fts5 (
    word, content='', contentless_delete=1, tokenize='trigram remove_diacritics 1'
);
create trigger post_words_inserted after insert on post_words begin
    insert into post_word_parts (rowid, word) values (new.word_id, new.word || ' ');
end;
create trigger post_words_deleted after delete on post_words begin
    delete from post_word_parts where rowid = old.word_id;
end;

create table read_marks (
    reader    text not null,
    thread_id integer not null references threads on delete cascade,
    post_id   integer not null,                 -- the last one that the reader has seen
    read_at   integer not null,
    primary key (reader, thread_id)
) strict, without rowid;

-- What came from another forum and which number it has here: old numbers stand in people's notes,
-- and a second import of the same rows is known by them.
create table forum_imports (
    kind   text not null,                       -- thread or post
    old_id integer not null,
    digest blob not null,                       -- of author, time and text as they were
    new_id integer not null,
    primary key (kind, old_id, digest)
) strict, without rowid;

-- === inventory

create table hosts (
    host_id    integer primary key,
    name       text not null unique collate nocase,
    kind       text not null,
    addresses  text not null default '[]',
    os         text,
    location   text,
    notes      text,
    tags       text not null default '[]',
    version    integer not null,
    created_at integer not null,
    updated_at integer not null,
    updated_by text not null
) strict;

create table vms (
    vm_id      integer primary key,
    name       text not null unique collate nocase,
    host       text collate nocase,             -- a host's name
    vmid       integer,                         -- the hypervisor's own number
    kind       text not null,
    status     text not null,
    addresses  text not null default '[]',
    os         text,
    vcpus      integer,
    memory_mib integer,
    notes      text,
    tags       text not null default '[]',
    version    integer not null,
    created_at integer not null,
    updated_at integer not null,
    updated_by text not null
) strict;
create index vms_by_host on vms (host);

create table services (
    service_id      integer primary key,
    name            text not null unique collate nocase,
    kind            text not null,
    url             text,
    health_endpoint text,
    port            integer,
    protocol        text,
    runs_on         text collate nocase,        -- host:NAME or vm:NAME
    depends_on      text not null default '[]',
    notes           text,
    tags            text not null default '[]',
    version         integer not null,
    created_at      integer not null,
    updated_at      integer not null,
    updated_by      text not null
) strict;
create index services_by_place on services (runs_on);

create table health_checks (
    service_id integer primary key references services on delete cascade,
    checked_at integer not null,
    result     text not null                    -- the newest one, as JSON
) strict;

create table networks (
    network_id integer primary key,
    name       text not null unique collate nocase,
    cidr       text not null unique,
    vlan       integer,
    gateway    text,
    dns        text not null default '[]',
    dhcp_from  text,
    dhcp_to    text,
    notes      text,
    version    integer not null,
    created_at integer not null,
    updated_at integer not null,
    updated_by text not null
) strict;

create table addresses (
    address     text primary key,
    position    blob not null unique,           -- the address as 16 bytes, IPv4 mapped, so that it sorts
    network_id  integer not null references networks on delete restrict,
    kind        text not null,
    assigned_to text collate nocase,            -- host:NAME, vm:NAME or service:NAME
    hostname    text,
    notes       text,
    created_at  integer not null,
    created_by  text not null
) strict, without rowid;
create index addresses_by_network on addresses (network_id, position);
create index addresses_by_holder on addresses (assigned_to);

-- Which addresses hosts and VMs have by their own records, and services by their URLs.
create table holders (
    position blob not null,
    kind     text not null,
    name     text not null collate nocase,
    primary key (position, kind, name)
) strict, without rowid;
create index holders_by_name on holders (kind, name);

-- What a search goes through: a row for every record and allocation.
create table inventory_entries (
    entry_id integer primary key,
    kind     text not null,
    name     text not null collate nocase,
    words    text not null,
    unique (kind, name)
) strict;
create virtual table inventory_words using fts5 (
    name, words, content='inventory_entries', content_rowid='entry_id', tokenize='unicode61', prefix='2 3'
);

create table inventory_changes (
    change_id integer primary key autoincrement,
    at        integer not null,
    by        text not null,
    call_id   text not null,
    kind      text not null,
    name      text not null collate nocase,
    action    text not null,
    before    text,
    after     text
) strict;
create index inventory_changes_by_name on inventory_changes (name, change_id);
create index inventory_changes_by_time on inventory_changes (at);

-- === the gate

create table audit (
    seq          integer primary key,
    at           integer not null,
    call_id      text not null,
    principal    text not null,
    door         text not null,
    tool         text not null,
    phase        text not null,                 -- attempt, outcome, or reads (a count of them)
    decision     text not null,                 -- allowed, ok, or the code of the error
    reason       text,
    input_digest text,
    count        integer,
    mac          blob not null                  -- over the row and the mac before it
) strict;
create index audit_by_principal on audit (principal, seq);
create index audit_by_tool on audit (tool, seq);

-- The newest row of the chain, sealed, so that a cut-off end is noticed.
create table audit_head (
    one integer primary key check (one = 1),
    seq integer not null,
    mac blob not null,
    seal blob not null
) strict;

-- What a caller's idempotency key has already done.
create table requests (
    principal    text not null,
    request_id   text not null,
    tool         text not null,
    input_digest text not null,
    call_id      text not null,
    state        text not null,                 -- running, applied, done
    output       text,
    created_at   integer not null,
    primary key (principal, request_id)
) strict, without rowid;
create index requests_by_time on requests (created_at);

create table approvals (
    approval_id  text primary key,
    principal    text not null,
    tool         text not null,
    input        text not null,                 -- as JSON, for the person to read
    input_digest text not null,
    state_digest text not null,                 -- of what the plan was made from
    plan         text not null,
    created_at   integer not null,
    expires_at   integer not null,
    state        text not null,                 -- pending, approved, rejected, used
    decided_by   text,
    decided_at   integer
) strict, without rowid;
create index approvals_by_state on approvals (state, created_at);

create table tokens (
    token_id   integer primary key autoincrement,
    name       text not null unique collate nocase,
    hash       blob not null unique,            -- keyed; the token itself is shown once
    level      integer not null,
    toolsets   text,                            -- JSON array; null for all
    created_at integer not null,
    created_by text not null,
    expires_at integer,
    last_used_at integer
) strict;

-- === MCP: what lets a client sleep through an idle hour or a restart

create table mcp_sessions (
    session_id text primary key,
    transport  text not null,                   -- http or sse
    principal  text not null,
    state      text not null,                   -- the initialize parameters, as JSON
    resources  text not null default '[]',      -- subscribed resources
    log_level  text,
    created_at integer not null,
    used_at    integer not null
) strict, without rowid;
create index mcp_sessions_by_use on mcp_sessions (used_at);

create table mcp_events (
    event_id   integer primary key,
    stream_id  text not null,
    session_id text not null,
    event      text not null,
    created_at integer not null
) strict;
create index mcp_events_by_stream on mcp_events (stream_id, event_id);
create index mcp_events_by_time on mcp_events (created_at);
