// The console. Everything that comes from the node is put into the page as text, never as markup: peers choose much of it.
"use strict";

const KEY = "gatemq-token";
const EVENTS_MAX = 200;
const LOOK_MS = 2000;
const by = (id) => document.getElementById(id);
let token = sessionStorage.getItem(KEY);
let before = null;
let following = null;
let looking = 0;

// Characters that hide what a text is: controls, and those that turn its direction.
function plain(value) {
  if (value === null || value === undefined || value === "") return "–";
  return String(value).replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => "\\u{" + c.charCodeAt(0).toString(16) + "}");
}

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = plain(text);
  if (kind) made.className = kind;
  return made;
}

function button(text, about, act) {
  const made = element("button", text);
  made.type = "button";
  made.setAttribute("aria-label", text + " " + plain(about));
  made.addEventListener("click", () => attempt(act));
  return made;
}

function table(into, headings, rows) {
  const focused = document.activeElement && into.contains(document.activeElement)
    ? document.activeElement.getAttribute("aria-label") : null;
  if (rows.length === 0) {
    into.replaceChildren(element("p", "none", "quiet"));
    return;
  }
  const made = element("table");
  const head = made.createTHead().insertRow();
  for (const heading of headings) {
    const cell = element("th", heading);
    cell.scope = "col";
    head.append(cell);
  }
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const cell of row) {
      const place = line.insertCell();
      if (cell instanceof Node) place.append(cell); else place.textContent = plain(cell);
    }
  }
  into.replaceChildren(made);
  // Whoever uses the keyboard stays where they were.
  if (focused) {
    for (const again of into.querySelectorAll("button")) {
      if (again.getAttribute("aria-label") === focused) again.focus();
    }
  }
}

async function ask(path, body, signal) {
  const headers = {};
  if (token) headers.Authorization = "Bearer " + token;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method: body === undefined ? "GET" : "POST", headers, signal,
    body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
  });
  if (answer.ok) return answer;
  let why = answer.statusText;
  try { why = (await answer.json()).error; } catch { /* not one of ours */ }
  const problem = new Error(plain(why));
  problem.status = answer.status;
  throw problem;
}

const read = async (path) => (await ask(path)).json();
const query = (given) => new URLSearchParams(Object.entries(given).filter(([, value]) => value !== "")).toString();
const time = (ms) => ms ? new Date(ms).toISOString().replace("T", " ").slice(0, 19) : "–";

async function attempt(act) {
  try {
    await act();
    by("problem").textContent = "";
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (problem.status === 401) return forget(problem.message);
    by("problem").textContent = problem.message;
  }
}

function numbers(node, samples) {
  const now = { at: performance.now(), received: samples.received, sent: samples.sent, dropped: samples.dropped };
  const rate = (name) => before ? Math.max(0, (now[name] - before[name]) * 1000 / (now.at - before.at)).toFixed(0) + "/s" : "–";
  const shown = {
    Version: node.version, Workers: node.workers, Connections: node.connections, Sessions: node.sessions,
    "Sessions away": node.sessions_away, "Messages in": rate("received"), "Messages out": rate("sent"), Dropped: rate("dropped"),
  };
  before = now;
  by("numbers").replaceChildren(...Object.entries(shown).map(([name, value]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value));
    return pair;
  }));
  by("node").textContent = plain(node.name);
}

// Sums of a few metrics over all tenants.
function sums(text) {
  const found = { received: 0, sent: 0, dropped: 0 };
  for (const line of text.split("\n")) {
    const match = /^gatemq_tenant_messages_(received|sent|dropped)_total\{.*\} (\d+)$/.exec(line);
    if (match) found[match[1]] += Number(match[2]);
  }
  return found;
}

function name(subject) {
  const sha = (subject.sha256 || "").slice(0, 16);
  return {
    address: () => subject.address + "/" + subject.bits,
    user: () => subject.tenant + " / " + subject.user,
    client: () => subject.tenant + " / " + subject.user + " / " + subject.client_id,
  }[subject.kind]?.() ?? sha;
}

const deny = (subject, ttl_ms, reason) => ask("/v1/denials", { subject, ttl_ms, reason }).then(look);
const lift = (subject) => ask("/v1/denials/lift", { subject }).then(look);

function clients(rows) {
  table(by("clients"), ["Connection", "Tenant", "User", "Client id", "Address", "Listener", "MQTT", "Since", ""], rows.map((row) => {
    const subject = { kind: "client", tenant: row.tenant, user: row.user, client_id: row.client_id };
    const acts = element("span");
    acts.append(button("Show", name(subject), () => show(subject)), " ",
      button("Deny", name(subject), () => deny(subject, 3600000, "by the console")));
    return [row.connection, row.tenant, row.user, row.client_id, row.remote, row.listener, row.protocol, time(row.connected_ms), acts];
  }));
}

async function show(subject) {
  const { kind, ...who } = subject;
  const client = await read("/v1/client?" + new URLSearchParams(who));
  const into = by("client");
  const facts = element("dl");
  const put = (title, value) => {
    const pair = element("div");
    pair.append(element("dt", title), element("dd", value));
    facts.append(pair);
  };
  for (const [title, key] of [["Tenant", "tenant"], ["User", "user"], ["Client id", "client_id"], ["MQTT", "protocol"],
    ["Session expiry (s)", "expiry_s"], ["Waiting", "waiting"], ["Dropped", "dropped"]]) put(title, client[key]);
  const connection = client.connection;
  put("Connected", connection ? "yes" : "no");
  const grants = element("div");
  const subscriptions = element("div");
  const chain = element("div");
  if (connection) {
    put("Address", connection.remote);
    put("Listener", connection.listener);
    put("Admitted by", connection.provider);
    put("Tags", connection.tags.join(", "));
    const certificate = connection.certificate;
    put("Certificate's key (SHA-256)", certificate && certificate.key_sha256);
    if (certificate) {
      put("Trust anchor (SHA-256)", certificate.issuers_sha256.at(-1));
      table(chain, ["Certificate", "Issuer", "Names", "Serial", "From", "Until", "SHA-256"], certificate.chain.map((of) =>
        [of.subject, of.issuer, (of.names || []).join(", "), of.serial, time(of.not_before_ms), time(of.not_after_ms), of.sha256]));
    }
    table(grants, ["Grant", "Effect", "Actions", "Filter", "QoS max"], connection.grants.map((grant) =>
      [grant.number, grant.effect, grant.actions.join(", "), grant.filter, grant.qos_max]));
  }
  table(subscriptions, ["Subscription", "QoS"], client.subscriptions.map((of) => [of.filter, of.qos]));
  into.replaceChildren(facts, chain, grants, subscriptions);
  by("one").hidden = false;
  by("h-one").focus();
}

function plugins(rows) {
  table(by("plugins"), ["Plugin", "Health", "Breaker", "For admitted", "Calls", "Failures", "Timeouts", "p50 µs", "p99 µs", "Version"],
    rows.map((row) => [row.name,
      element("span", row.health + (row.why ? ": " + row.why : ""), row.health === "ready" ? "good" : "bad"),
      element("span", row.breaker, row.breaker === "closed" ? "good" : "bad"),
      element("span", row.breaker_of_admitted, row.breaker_of_admitted === "closed" ? "good" : "bad"),
      row.calls, row.failures, row.timeouts, row.latency_us_p50, row.latency_us_p99, row.version]));
}

function denials(rows) {
  table(by("denials"), ["Whom", "What", "Until", "Reason", "Raised by", ""], rows.map((row) =>
    [row.subject.kind + " " + name(row.subject), row.action, row.until_ms ? time(row.until_ms) : "it is lifted", row.reason, row.raised_by,
      button("Lift", name(row.subject), () => lift(row.subject))]));
}

function offenders(rows) {
  table(by("offenders"), ["Whom", "Events", "Last", "Kinds", ""], rows.map((row) =>
    [row.subject.kind + " " + name(row.subject), row.count, time(row.last_ms),
      Object.entries(row.kinds).map(([kind, n]) => kind + " " + n).join(", "),
      button("Deny", name(row.subject), () => deny(row.subject, 3600000, "by the console"))]));
}

async function cluster() {
  try {
    const status = await read("/v1/cluster");
    table(by("cluster"), ["Node", "State", "Since", "Version", "Address", "Dropped"], status.rows.map((row) =>
      [row.name, element("span", row.state, row.state === "up" ? "good" : "bad"), time(row.since_ms), row.version, row.address, row.dropped]));
  } catch (problem) {
    if (problem.status !== 409) throw problem;
    by("cluster").replaceChildren(element("p", "This node is alone.", "quiet"));
  }
}

async function look() {
  const find = Object.fromEntries(new FormData(by("find")));
  const metrics = ask("/metrics").then((answer) => answer.text());
  const [node, text, listed, known, denied, worst] = await Promise.all([read("/v1/node"), metrics,
    read("/v1/clients?" + query(find)), read("/v1/plugins"), read("/v1/denials"), read("/v1/offenders"), cluster()]);
  numbers(node, sums(text));
  clients(listed.rows);
  plugins(known.rows);
  denials(denied.rows);
  offenders(worst.rows);
  by("state").textContent = "connected, as of " + time(Date.now());
}

const lines = [];
function tell(event) {
  const fields = Object.entries(event.fields || {}).map(([key, value]) => key + "=" + value).join(" ");
  lines.unshift([event.time, element("span", event.event, event.class === "security" ? "bad" : ""),
    event.remote, [event.tenant, event.user, event.client_id].filter(Boolean).join(" / "), fields]);
  lines.length = Math.min(lines.length, EVENTS_MAX);
}

// Server-sent events by fetch, which can send the token; EventSource cannot.
async function follow() {
  following = new AbortController();
  const answer = await ask("/v1/events?recent=50", undefined, following.signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the node ended the events; trying again");
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("");
      if (!data) continue;
      const event = JSON.parse(data);
      if (event.lost) tell({ time: "", event: event.lost + " events were lost", fields: {} }); else tell(event);
    }
    table(by("events"), ["Time", "Event", "Address", "Client", "What"], lines);
  }
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function run() {
  const turn = ++looking;
  const isOurs = () => turn === looking;
  by("login").hidden = true;
  by("shown").hidden = false;
  by("forget").hidden = false;
  const looks = async () => {
    while (isOurs()) {
      if (!document.hidden) await attempt(look);
      await wait(LOOK_MS);
    }
  };
  const follows = async () => {
    while (isOurs()) {
      lines.length = 0;
      await attempt(follow);
      await wait(LOOK_MS);
    }
  };
  await Promise.all([looks(), follows()]);
}

function forget(why) {
  looking += 1;
  if (following) following.abort();
  token = null;
  sessionStorage.removeItem(KEY);
  by("shown").hidden = true;
  by("forget").hidden = true;
  by("one").hidden = true;
  by("login").hidden = false;
  by("login-problem").textContent = why || "";
  by("state").textContent = "not connected";
  by("token").focus();
}

by("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  token = by("token").value.trim() || null;
  by("token").value = "";
  try {
    await read("/v1/node");
  } catch (problem) {
    return forget(problem.message);
  }
  if (token) sessionStorage.setItem(KEY, token);
  run();
});
by("forget").addEventListener("click", () => forget());
by("find").addEventListener("submit", (event) => { event.preventDefault(); attempt(look); });
by("deny").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = Object.fromEntries(new FormData(event.target));
  const [address, bits] = given.address.trim().split("/");
  const subject = { kind: "address", address };
  if (bits) subject.bits = Number(bits);
  attempt(() => deny(subject, Math.round(Number(given.minutes) * 60000), given.reason));
});
if (token) run(); else by("token").focus();
