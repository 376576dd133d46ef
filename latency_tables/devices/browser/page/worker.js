// Measures. It has a thread of its own, so that drawing the page does not disturb it.
import * as ort from "./ort.wasm.min.mjs";

const LEAST_STEPS = 20; // of the clock, that a timing of a warm model spans
const MOST_SAMPLES = 500; // in one message
const REPORT_MS = 1000; // how often samples are posted; between reports nothing but the models runs
const RETRY_MS = 1000;

class JobOver extends Error {}
class Stopped extends Error {}
class ModelFailed extends Error {
  constructor(model, error) {
    super(firstLine(error));
    this.model = model;
  }
}

const tell = (kind, more = {}) => postMessage({ kind, ...more });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const firstLine = (error) =>
  String(error?.message ?? error).split("\n")[0].replace(/[^\x20-\x7e]/g, " ").slice(0, 300);

// Browsers slow hidden pages down: nothing is measured in one.
let visible = true;
let onVisible = () => {};
onmessage = ({ data }) => {
  visible = data.visible;
  if (visible) onVisible();
};
async function whileHidden() {
  if (visible) return;
  tell("hidden");
  await new Promise((resolve) => (onVisible = resolve));
  tell("visible");
}

// ---- Talking to the computer ------------------------------------------------------------------

async function request(place, options) {
  let lost = false;
  for (;;) {
    try {
      const reply = await fetch(place, options);
      if (lost) tell("found");
      if (reply.ok) return reply;
      const line = (await reply.text()).trim();
      if (reply.status === 410 || (reply.status === 404 && place.startsWith("models/"))) throw new JobOver(line);
      throw new Stopped(line);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // fetch throws these when there is no connection
      if (!lost) tell("lost");
      lost = true;
      await sleep(RETRY_MS);
    }
  }
}

async function post(place, message) {
  const headers = { "Content-Type": "application/json" };
  return (await request(place, { method: "POST", headers, body: JSON.stringify(message) })).json();
}

async function bytes(place) {
  return new Uint8Array(await (await request(place)).arrayBuffer());
}

// ---- Who measures -----------------------------------------------------------------------------

// In microseconds. Chrome's is 5 or 100, others' up to 1000.
function clockStep() {
  const steps = [];
  for (const end = performance.now() + 500; steps.length < 500 && performance.now() < end; ) {
    const before = performance.now();
    let after = before;
    while (after === before) after = performance.now();
    steps.push(after - before);
  }
  return Math.round(Math.min(...steps) * 1e6) / 1e3; // without the dust of floating point
}

async function describe(clockUs) {
  const hints = navigator.userAgentData;
  const details = hints ? await hints.getHighEntropyValues(["architecture", "model", "platformVersion"]) : {};
  return {
    user_agent: navigator.userAgent,
    brands: (hints?.brands ?? []).map(({ brand, version }) => ({ brand, version })),
    platform: hints?.platform ?? "",
    platform_version: details.platformVersion ?? "",
    model: details.model ?? "",
    architecture: details.architecture ?? "",
    cores: navigator.hardwareConcurrency ?? 1,
    isolated: self.crossOriginIsolated === true,
    clock_us: clockUs,
    threads: ort.env.wasm.numThreads,
    runtime: ort.env.versions.web,
  };
}

// ---- Models -----------------------------------------------------------------------------------

// Element i is ((i * 2654435761 mod 2^32) >> 8) / 2^23 - 1: exact in float32, so that every device makes the same input.
function probeInput(size) {
  const values = new Float32Array(size);
  for (let i = 0; i < size; i += 1) values[i] = (Math.imul(i, 2654435761) >>> 8) / 2 ** 23 - 1;
  return values;
}

// Every k-th value, with the smallest k that leaves at most 4,096: enough to compare answers.
function probeValues(values) {
  const step = Math.max(1, Math.ceil(values.length / 4096));
  return Float32Array.from({ length: Math.ceil(values.length / step) }, (_, i) => values[i * step]);
}

function base64(values) {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((value, i) => view.setFloat32(i * 4, value, true));
  return btoa(Array.from(new Uint8Array(view.buffer), (byte) => String.fromCharCode(byte)).join(""));
}

class Model {
  static async load(content) {
    const session = await ort.InferenceSession.create(content, { executionProviders: ["wasm"] });
    const model = new Model(session);
    await model.run();
    return model;
  }

  constructor(session) {
    this.session = session;
    this.repeats = 1;
    this.feeds = {};
    for (const { name, type, shape } of session.inputMetadata) {
      if (type !== "float32") throw new Error(`input ${name} is ${type}: only float32 is measured`);
      if (!shape.every(Number.isInteger)) throw new Error(`input ${name} has no fixed shape`);
      this.feeds[name] = new ort.Tensor("float32", probeInput(shape.reduce((a, b) => a * b, 1)), shape);
    }
  }

  run() {
    return this.session.run(this.feeds);
  }

  async output() {
    return (await this.run())[this.session.outputNames[0]].data;
  }

  async span(runs) {
    const start = performance.now();
    for (let i = 0; i < runs; i += 1) await this.run();
    return performance.now() - start;
  }

  // A single run: where it is shorter than the clock can tell, half a step is the best guess.
  async cold(clockMs) {
    return Math.max(await this.span(1), clockMs / 2);
  }

  // The mean of as many runs as the clock needs; how many is learnt, and kept for the next round.
  async warm(clockMs) {
    for (;;) {
      const span = await this.span(this.repeats);
      if (span >= LEAST_STEPS * clockMs) return span / this.repeats;
      const missing = (LEAST_STEPS * clockMs) / Math.max(span, clockMs);
      this.repeats = Math.ceil(this.repeats * missing * 1.25);
    }
  }
}

// ---- Jobs -------------------------------------------------------------------------------------

const loaded = new Map(); // by digest: the next job is often about the same models

async function model(job, place) {
  const digest = job.digests[place];
  if (!loaded.has(digest)) {
    const content = await bytes(`models/${digest}`);
    try {
      loaded.set(digest, await Model.load(content));
    } catch (error) {
      throw new ModelFailed(place, error);
    }
  }
  return loaded.get(digest);
}

async function forgetOthers(job) {
  for (const [digest, { session }] of loaded) {
    if (job.digests.includes(digest)) continue;
    loaded.delete(digest);
    await session.release();
  }
}

async function outputs(page, job) {
  for (const [place] of job.missing) {
    await whileHidden();
    tell("step", { name: job.names[place] });
    const values = base64(probeValues(await (await model(job, place)).output()));
    await post("output", { page, job: job.job, model: place, values });
    tell("done", { count: 1 });
  }
}

async function measure(page, job, clockMs) {
  let samples = [];
  let reported = performance.now();
  const report = async (name) => {
    await post("samples", { page, job: job.job, samples });
    tell("samples", { samples: samples.map((taken) => [job.names[taken.model], taken.warm_ms]), name });
    samples = [];
    reported = performance.now();
  };
  const isDue = () => samples.length >= MOST_SAMPLES || performance.now() - reported > REPORT_MS;

  for (const place of new Set(job.missing.map(([place]) => place))) {
    await whileHidden();
    tell("step", { name: job.names[place] });
    await model(job, place);
    if (isDue()) await report(job.names[place]);
  }
  for (const [place, round] of job.missing) {
    await whileHidden();
    const timed = await model(job, place);
    try {
      const cold = await timed.cold(clockMs);
      const warm = await timed.warm(clockMs);
      // Switching away in the middle slowed it down: it will be asked for again.
      if (visible) samples.push({ model: place, round, cold_ms: cold, warm_ms: warm });
    } catch (error) {
      throw new ModelFailed(place, error);
    }
    if (isDue()) await report(job.names[place]);
  }
  await report("");
}

async function main() {
  const { threads } = await (await request("settings.json")).json();
  ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  await (await Model.load(await bytes("first_run.onnx"))).session.release();

  const clockUs = clockStep();
  const hello = await describe(clockUs);
  const { page } = await post("hello", hello);
  tell("hello", { hello, asked: threads });

  const doing = { outputs, measure };
  for (;;) {
    await whileHidden();
    const job = await post("work", { page });
    if (job.kind === "end") return tell("end");
    if (job.kind === "wait") {
      tell("wait");
      continue;
    }
    tell("job", { what: job.kind, total: job.total, done: job.total - job.missing.length });
    try {
      await forgetOthers(job);
      await doing[job.kind](page, job, clockUs / 1e3);
    } catch (error) {
      if (error instanceof ModelFailed) {
        await post("failure", { page, job: job.job, model: error.model, error: error.message }).catch(ignoreOver);
      } else ignoreOver(error);
    }
  }
}

// The computer gave up a job, or was told enough: it has another, or none.
function ignoreOver(error) {
  if (!(error instanceof JobOver)) throw error;
}

main().catch((error) => tell("stopped", { line: firstLine(error), expected: error instanceof Stopped }));
