// Shows openapi.json. Texts go into the page as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function kind(schema) {
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return `[${kind(schema.items ?? {})}]`;
  const limits = ["minimum", "maximum", "minLength", "maxLength", "format", "pattern", "default"]
    .filter((name) => schema[name] !== undefined)
    .map((name) => `${name} ${schema[name]}`);
  return [schema.type ?? "any", ...limits].join(", ");
}

function fields(operation) {
  const body = operation.requestBody?.content["application/json"].schema;
  const inBody = Object.entries(body?.properties ?? {}).map(([name, schema]) => ({
    name, in: "body", schema, description: schema.description, required: (body.required ?? []).includes(name),
  }));
  return [...operation.parameters, ...inBody];
}

function table(rows) {
  const cells = (row) => [
    element("td", {}, element("code", {}, row.name), row.required ? " *" : ""),
    element("td", {}, row.in),
    element("td", {}, kind(row.schema)),
    element("td", {}, row.description ?? ""),
  ];
  const heads = ["field", "in", "type", ""].map((text) => element("th", {}, text));
  return element("table", {}, element("tr", {}, ...heads), ...rows.map((row) => element("tr", {}, ...cells(row))));
}

function show(path, method, operation) {
  const rows = fields(operation);
  const output = operation.responses["200"].content["application/json"].schema;
  const details = element("details", { id: operation.operationId },
    element("summary", {},
      element("code", { className: "method" }, method.toUpperCase()),
      element("code", {}, path), " ", operation.summary),
    element("p", {}, operation.description),
    element("p", { className: "note" },
      `${operation.operationId}: ${operation["x-hearth-effect"]}, level ${operation["x-hearth-level"]}`),
    rows.length ? table(rows) : null,
    element("p", { className: "note" }, "Answer:"),
    element("pre", {}, JSON.stringify(output, null, 2)));
  details.dataset.words = `${path} ${operation.operationId} ${operation.summary}`.toLowerCase();
  return details;
}

function render(api) {
  const sections = new Map(api.tags.map((tag) => [tag.name, element("section", {}, element("h2", {}, tag.name))]));
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      sections.get(operation.tags[0]).append(show(path, method, operation));
    }
  }
  byId("operations").replaceChildren(...sections.values());
  filter();
}

function filter() {
  const words = byId("filter").value.toLowerCase().split(/\s+/);
  for (const details of document.querySelectorAll("details")) {
    details.hidden = !words.every((word) => details.dataset.words.includes(word));
  }
}

async function load() {
  const token = byId("token").value.trim();
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  byId("state").textContent = "";
  try {
    const response = await fetch("/api/openapi.json", { headers });
    const answer = await response.json();
    if (!response.ok) throw new Error([answer.message, answer.hint].filter(Boolean).join("; "));
    render(answer);
  } catch (error) {
    byId("operations").replaceChildren();
    byId("state").textContent = error.message;
  }
}

byId("filter").addEventListener("input", filter);
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  load();
});
load();
