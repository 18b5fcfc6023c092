// A visitor's page: it uses the pod, keeps it while somebody is really here, and says what becomes of it.
const $ = (id) => document.getElementById(id);
const GONE = ["terminating", "terminated", "failed", "irrevocable"];
const SOON = {
  idle: "Your machine goes away unless you use it.",
  lifetime: "The time of your machine is nearly up.",
  budget: "The budget of your machine is nearly spent.",
};
const WHY = {
  idle: (told) => `Your machine has gone because it was not used for ${Math.round(told.idle_ttl_s)} seconds.`,
  lifetime: () => "Your machine has gone because its time was up.",
  budget: () => "Your machine has gone because its budget was spent.",
  closed: () => "Your machine was given back.",
};

let way; // in: what the backend handed out
let told; // of the session: what the companion said last
let ahead = 0; // the companion's clock minus ours, seconds
let warned; // of the end that we were warned of: {kind, at (unix seconds)}
let usedAt = 0; // when the visitor did something that the companion does not know of, by performance.now()

const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
const isOver = () => !told || GONE.includes(told.status);

// ---- the session: opened by the backend, then between this page, the companion and the pod

async function start(again = false) {
  told = undefined;
  warned = undefined;
  usedAt = 0;
  $("over").hidden = true;
  show("Renting a machine for you …");
  try {
    const answer = await fetch("/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ again }),
    });
    way = await answer.json();
    if (!answer.ok) throw new Error(way.error);
    if (!(await ask("")) && !told) throw new Error("the companion does not answer");
  } catch (error) {
    end(`It did not work: ${error.message}`);
    return;
  }
  if (isOver()) return;
  usedAt = performance.now(); // somebody came
  follow(way);
  beat(way);
}

function companion(verb, { body, ...options } = {}) {
  const headers = { Authorization: `Bearer ${way.touch_token}`, ...options.headers };
  if (body) headers["Content-Type"] = "application/json";
  const method = body ? "POST" : "GET";
  const url = `${way.companion}/v1/sessions/${way.id}${verb}`;
  return fetch(url, { method, cache: "no-store", ...options, headers, body: body && JSON.stringify(body) });
}

// Ask, and take in the session that is answered. False when that was not possible now; a session that is gone is shown.
async function ask(verb, body, options) {
  const answer = await companion(verb, { body, ...options });
  if (answer.ok) {
    take(await answer.json());
  } else if (answer.status === 410 && verb) {
    await ask("");
  } else if ([401, 403, 404].includes(answer.status)) {
    end("Your machine has gone.");
  }
  return answer.ok;
}

// ---- keeping it: not because the page is open, but because somebody uses it

for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) {
  addEventListener(kind, () => { if (document.visibilityState === "visible") usedAt = performance.now(); }, { passive: true });
}
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") report(); });

async function report() {
  if (!usedAt || isOver()) return;
  const seen = usedAt;
  const body = { source: "client", idle_s: (performance.now() - seen) / 1000, count: 1 };
  try {
    const done = await ask("/touch", body, { keepalive: true });
    if (done && usedAt === seen) usedAt = 0;
  } catch {
    // an outage: the next beat reports it
  }
}

async function beat(mine) {
  while (way === mine && !isOver()) {
    await report();
    await sleep(Math.min(20, (told?.idle_ttl_s ?? 20) / 4));
  }
}

$("extend").addEventListener("click", async () => {
  const done = await ask("/extend", { seconds: 600 }).catch(() => false);
  if (done) $("words").focus();
  else show("Try that again.");
});

// ---- what becomes of it

async function follow(mine) {
  for (let last = ""; way === mine && !isOver(); await sleep(0.5 + Math.random())) {
    const quiet = new AbortController();
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const answer = await companion("/events", { headers, signal: quiet.signal });
      if (!answer.ok) await ask("");
      else for await (const event of events(answer.body, quiet)) {
        last = event.id || last;
        if (event.event === "gap") await ask("");
        else if (event.event === "status" || event.event === "warning") take(JSON.parse(event.data), event.event);
      }
    } catch {
      // the connection was lost: go on behind the last event
    }
  }
}

// The events of a stream. A companion says something every 15 s; one that is quiet for 45 s is not there any more.
async function* events(body, quiet) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const timer = setTimeout(() => quiet.abort(), 45_000);
    const { value, done } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    const pieces = (text + value).replace(/\r\n|\r(?!$)/g, "\n").split("\n\n");
    text = pieces.pop();
    for (const piece of pieces) {
      const event = { id: "", event: "message", data: "" };
      for (const line of piece.split("\n")) {
        const [, name, rest] = line.match(/^(id|event|data): ?(.*)$/) ?? [];
        if (name) event[name] = name === "data" && event.data ? `${event.data}\n${rest}` : rest;
      }
      if (event.data) yield event;
    }
  }
}

function take(session, event) {
  if (told && session.now < told.now) return; // an answer that was overtaken
  told = { ...told, ...session };
  ahead = session.now - Date.now() / 1000;
  if (event === "warning") warned = { kind: session.warned_of, at: session.ends_at ?? session.deadline };
  if (isOver()) end((WHY[told.cause] ?? (() => told.reason || "Your machine has gone."))(told));
  else show(told.status === "ready" ? "Your machine is ready." : `Your machine is ${told.status}.`);
}

// Only what changes is written: a screen reader says again what is written again.
function write(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function show(text) {
  write("status", text);
  const ready = !isOver() && told.status === "ready";
  const typing = $("form").contains(document.activeElement);
  $("words").disabled = $("send").disabled = !ready;
  if (typing && !ready) $("again").focus(); // what is disabled cannot keep the focus
  const idle = warned?.kind === "idle";
  if (idle && told.deadline > warned.at + 0.5) warned = undefined; // it was used again
  $("warning").hidden = !(ready && warned);
  if (!warned) return;
  write("soon", SOON[warned.kind] ?? "Your machine goes away soon.");
  $("extend").hidden = !idle;
  const left = warned.at - (Date.now() / 1000 + ahead);
  write("left", left >= 0 ? `${Math.ceil(left)} s left` : "");
}

function end(why) {
  told = { ...told, status: "terminated" };
  $("over").hidden = false;
  write("why", why);
  show("");
}

setInterval(() => { if (!isOver()) show($("status").textContent); }, 500);
$("again").addEventListener("click", async () => {
  await start(true);
  $("words").focus();
});

// ---- using it: straight to the pod

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const item = document.createElement("li");
  try {
    const answer = await fetch(`${Object.values(told.urls)[0]}/say`, {
      method: "POST",
      headers: { Authorization: `Bearer ${way.token}` },
      body: $("words").value,
    });
    item.textContent = answer.ok ? (await answer.json()).answer : `refused (${answer.status})`;
  } catch {
    item.textContent = "not reached";
  }
  $("answers").prepend(item);
  $("words").select();
});

start();
