// Runs that are asked for: their progress, and the film.
import {ask, el} from "./model.js";
import {open} from "./panels.js";

const EVERY = 400;
const STILLS = /\.(gif|webp|png|apng)$/i;
const TITLES = {preview: "Preview", render: "Render"};

/** Return the run that is under way; null where none is. */
async function underWay() {
  const job = await ask("job").catch(() => null);
  return job?.status === "running" ? job : null;
}

/** Follow the run that is under way, if one is, as after the page was loaded again. */
export async function resume(finished) {
  const job = await underWay();
  if (job) await start(job.kind, finished);
}

/**
 * Render, or make a preview, and follow it; if another run is under way, follow that.
 * `finished` is called after a render.
 */
export async function start(asked, finished) {
  const bar = el("progress", {max: 1});
  bar.setAttribute("aria-label", "Progress");
  const told = el("p", {}, "Starting...");
  told.setAttribute("role", "status");
  const stop = el("button", {type: "button"}, "Stop");
  const lines = el("pre", {className: "said", tabIndex: 0});
  lines.setAttribute("aria-label", "What the run says");
  lines.setAttribute("role", "region");
  const film = el("div", {className: "film"});
  stop.addEventListener("click", () => ask("stop", {}).catch(() => {}));
  const parts = [told, bar, el("div", {className: "tools"}, stop), film, lines];
  open(TITLES[asked], parts);
  let job = await underWay();
  const kind = job?.kind ?? asked;
  if (job) open(TITLES[kind], parts);
  else {
    try {
      await ask("start", kind);
    } catch (error) {
      told.textContent = error.message;
      bar.remove();
      stop.remove();
      return;
    }
  }
  do {
    await new Promise((resolve) => { setTimeout(resolve, EVERY); });
    try {
      job = await ask("job");
    } catch (error) {
      job = {status: "failed", lines: [error.message]};
    }
    show(job, told, bar, lines);
  } while (job.status === "running");
  bar.remove();
  stop.remove();
  if (job.status !== "done") return;
  lines.hidden = kind === "preview";
  if (kind === "render") {
    await ask("reload", {}).catch((error) => { told.textContent = error.message; });
    await finished();
  }
  await films(kind, film);
}

function show(job, told, bar, lines) {
  lines.textContent = job.lines.join("\n");
  if (job.status === "running" && job.stage) {
    const left = job.left ? `, about ${job.left} s left` : "";
    told.textContent = job.total ? `${job.stage}: ${job.done} of ${job.total}${left}` : job.stage;
    if (job.total) bar.value = job.done / job.total;
    else bar.removeAttribute("value");
  } else if (job.status === "done") told.textContent = "Done";
  else if (job.status === "stopped") told.textContent = "Stopped; nothing half-written was left";
  else if (job.status === "failed") told.textContent = "It failed:";
}

async function films(kind, home) {
  const names = await ask(`films/${kind}`).catch(() => []);
  const name = names.find((each) => !STILLS.test(each)) ?? names[0];
  if (!name) {
    home.append(el("p", {}, "The outputs are none that a page can show."));
    return;
  }
  const source = `output/${kind}/${name.split("/").map(encodeURIComponent).join("/")}?${Date.now()}`;
  home.append(STILLS.test(name)
    ? el("img", {src: source, alt: "The film"})
    : el("video", {src: source, controls: true, loop: true, muted: true, playsInline: true, ariaLabel: "The film"}));
}
