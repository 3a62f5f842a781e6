"use strict";
// Makes the page of /openapi.json. Everything goes in as text, never as HTML.

function make(tag, content = "", attributes = {}) {
  const element = document.createElement(tag);
  if (content) element.textContent = content;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.enum) return schema.enum.join(" | ");
  const type = Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type || "";
  return schema.pattern ? `${type} ${schema.pattern}` : type;
}

function parameterRow(parameter, inputs) {
  const row = make("tr");
  const name = make("td");
  name.append(make("code", parameter.name), make("small", parameter.required ? " needed" : ""));
  const about = make("td", parameter.description);
  about.append(make("br"), make("small", typeOf(parameter.schema)));
  const value = make("td", "", { class: "value" });
  const input = make("input", "", { "aria-label": parameter.name });
  if (parameter.example !== undefined) input.placeholder = String(parameter.example);
  const isFilled = parameter.required || parameter.name === "last";
  if (isFilled && parameter.example !== undefined) input.value = String(parameter.example);
  value.append(input);
  inputs.push([parameter, input]);
  row.append(name, about, value);
  return row;
}

function address(path, inputs) {
  const query = new URLSearchParams();
  let target = path;
  for (const [parameter, input] of inputs) {
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (parameter.in === "query" && input.value) query.set(parameter.name, input.value);
  }
  return query.toString() ? `${target}?${query}` : target;
}

function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function asCurl(method, target, body) {
  const words = ["curl -s -H @ssmd-data/demo.header"];
  if (method !== "GET") words.push(`-X ${method}`);
  if (body) words.push(`-H 'Content-Type: application/json' -d ${quoted(body)}`);
  return [...words, quoted(location.origin + target)].join(" ");
}

async function shown(answer) {
  const kind = answer.headers.get("content-type") || "";
  if (kind.includes("json") && !kind.includes("ndjson")) return JSON.stringify(await answer.json(), null, 2);
  if (kind.startsWith("text/") || kind.includes("ndjson")) return (await answer.text()).slice(0, 100000);
  return `${(await answer.blob()).size} bytes of ${kind}`;
}

async function tryIt(method, target, body, status, output) {
  const key = document.getElementById("key").value.trim();
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  status.className = "";
  status.textContent = " …";
  try {
    const answer = await fetch(target, { method, headers, body: body || undefined });
    status.textContent = ` ${answer.status} ${answer.statusText}`;
    status.className = answer.ok ? "good" : "bad";
    output.textContent = await shown(answer);
  } catch (error) {
    status.textContent = ` no answer: ${error.message}`;
    status.className = "bad";
  }
  output.hidden = false;
}

function responses(operation, problems) {
  const list = make("ul");
  for (const [status, answer] of Object.entries(operation.responses)) {
    const found = answer.$ref ? problems[answer.$ref.split("/").pop()] : answer;
    const item = make("li");
    item.append(make("code", status), ` ${found.description} `, make("small", Object.keys(found.content || {}).join(", ")));
    list.append(item);
  }
  return list;
}

function form(path, method, operation) {
  const inputs = [];
  const box = make("div");
  const table = make("table");
  for (const parameter of operation.parameters || []) table.append(parameterRow(parameter, inputs));
  const body = operation.requestBody ? make("textarea", "{}", { rows: "4", "aria-label": "body" }) : null;
  const status = make("span", "", { role: "status" });
  const output = make("pre");
  const curl = make("pre");
  output.hidden = true;
  const renew = () => { curl.textContent = asCurl(method, address(path, inputs), body && body.value); };
  box.addEventListener("input", renew);
  renew();
  const button = make("button", "Try it", { type: "button" });
  button.addEventListener("click", () => tryIt(method, address(path, inputs), body && body.value, status, output));
  box.append(table, ...(body ? [body] : []), curl, button, status, output);
  return box;
}

function entry(path, method, operation, problems) {
  const details = make("details", "", { id: operation.operationId });
  const summary = make("summary");
  summary.append(make("b", method), make("code", path), make("small", operation.summary));
  details.append(summary, make("p", operation.description || ""));
  details.append(form(path, method, operation), make("h3", "Answers"), responses(operation, problems));
  return details;
}

async function show() {
  const spec = await (await fetch("/openapi.json")).json();
  document.getElementById("about").textContent = `${spec.info.summary} Version ${spec.info.version}.`;
  const main = document.getElementById("operations");
  for (const tag of spec.tags) {
    const entries = [];
    for (const [path, methods] of Object.entries(spec.paths))
      for (const [method, operation] of Object.entries(methods))
        if (operation.tags.includes(tag.name))
          entries.push(entry(path, method.toUpperCase(), operation, spec.components.responses));
    if (entries.length) main.append(make("h2", tag.name), make("p", tag.description), ...entries);
  }
  const opened = location.hash && document.getElementById(location.hash.slice(1));
  if (opened) opened.open = true;
}

show().catch((error) => { document.getElementById("about").textContent = `The description could not be read: ${error.message}`; });
