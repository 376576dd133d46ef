// Shows what the worker does. It draws only when the worker tells something, about once a second.
const at = (id) => document.getElementById(id);
const worker = new Worker("worker.js", { type: "module" });

const times = new Map(); // warm times by block, in ms
let job = null;

// ---- Drawing ----------------------------------------------------------------------------------

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function say(state, detail = "") {
  at("state").textContent = state;
  at("detail").textContent = detail;
}

function note(id, text, className = "note") {
  dropNote(id);
  const made = element("p", text, className);
  made.id = `note-${id}`;
  at("notes").append(made);
}

const count = (number) => number.toLocaleString("en");

function dropNote(id) {
  at(`note-${id}`)?.remove();
}

function drawProgress(name) {
  const share = job.total ? job.done / job.total : 1;
  at("progress").hidden = false;
  at("bar").value = share;
  at("share").textContent = `${Math.floor(share * 100)}%, ${count(job.done)} of ${count(job.total)}`;
  at("remaining").textContent = remaining();
  at("current").textContent = name;
}

function remaining() {
  const taken = job.done - job.doneAtStart;
  if (!taken || !job.startedAt || job.done === job.total) return "";
  const seconds = ((performance.now() - job.startedAt) / 1000 / taken) * (job.total - job.done);
  return seconds < 90 ? `${Math.ceil(seconds)} s left` : `${Math.ceil(seconds / 60)} min left`;
}

function drawFacts(hello) {
  const facts = {
    "Cross-origin isolated": hello.isolated ? "yes" : "no",
    "Clock step": `${count(hello.clock_us)} µs`,
    "Threads in use": hello.threads,
    Cores: hello.cores,
    Runtime: `ONNX Runtime Web ${hello.runtime}`,
  };
  at("facts").replaceChildren(
    ...Object.entries(facts).map(([name, value]) => {
      const pair = document.createElement("div");
      pair.append(element("dt", name), element("dd", value));
      return pair;
    }),
  );
  at("facts").hidden = false;
}

function drawTimes() {
  at("rows").replaceChildren(
    ...[...times].map(([name, taken]) => {
      const sorted = taken.toSorted((a, b) => a - b);
      const middle = (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
      const row = document.createElement("tr");
      const heading = element("th", name);
      heading.scope = "row";
      const figures = [sorted[0].toFixed(3), middle.toFixed(3), String(sorted.length)];
      row.append(heading, ...figures.map((figure) => element("td", figure, "num")));
      return row;
    }),
  );
  at("found").hidden = times.size === 0;
}

// ---- What the worker tells --------------------------------------------------------------------

const isolationLine = (hello) =>
  `This page is not cross-origin isolated: threads drop to one, and the clock moves in steps of ${hello.clock_us} µs. ` +
  `For better: open it on http://localhost (on an Android phone: adb reverse tcp:${location.port} tcp:${location.port}) or https.`;

const receive = {
  hello({ hello, asked }) {
    drawFacts(hello);
    if (!hello.isolated) note("isolation", isolationLine(hello));
    if (hello.threads !== asked) note("threads", `${asked} threads were asked for, ${hello.threads} can be used.`);
    say("Connected", "Waiting for the computer to say what to measure.");
  },
  job({ what, total, done }) {
    job = { total, done, doneAtStart: done, startedAt: null };
    if (what === "measure") say("Measuring", "Leave this device alone until it is done.");
    else say("Checking", "Comparing its answers with the computer's before anything is timed.");
    drawProgress("");
  },
  step({ name }) {
    drawProgress(`loading ${name}`);
  },
  done({ count }) {
    job.startedAt ??= performance.now();
    job.done += count;
    drawProgress(at("current").textContent);
  },
  samples({ samples, name }) {
    job.startedAt ??= performance.now();
    job.done += samples.length;
    for (const [block, ms] of samples) {
      if (!times.has(block)) times.set(block, []);
      times.get(block).push(ms);
    }
    drawProgress(name);
  },
  wait() {
    at("progress").hidden = true;
    if (times.size) say("Waiting", "Everything so far is measured; the computer may ask for more.");
    drawTimes();
  },
  hidden: () => note("hidden", "Paused: the page was in the background, where browsers slow it down."),
  visible: () => dropNote("hidden"),
  lost: () => note("lost", "The computer does not answer. Trying again every second.", "note bad"),
  found: () => dropNote("lost"),
  end() {
    at("progress").hidden = true;
    say("Done", "The computer has everything. You can close this page.");
    drawTimes();
  },
  stopped({ line, expected }) {
    at("progress").hidden = true;
    say(expected ? "Stopped" : "This browser cannot measure", "");
    note("stopped", line, "note bad");
    drawTimes();
  },
};

worker.onmessage = ({ data }) => receive[data.kind](data);
worker.onerror = (event) => receive.stopped({ line: event.message || "The worker could not start.", expected: false });

// ---- Keeping in front and awake ---------------------------------------------------------------

async function onVisibility() {
  const visible = document.visibilityState === "visible";
  worker.postMessage({ visible });
  // Only in secure contexts, and not while the battery is low; the footer asks people for the same.
  if (visible) await navigator.wakeLock?.request("screen").catch(() => {});
}
document.addEventListener("visibilitychange", onVisibility);
onVisibility();
