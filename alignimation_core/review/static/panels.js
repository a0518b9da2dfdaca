// What opens over the page: thresholds, people, a date, the keys.
import {ask, decide, el, mark, model, ofRun, set} from "./model.js";

const BINS = 30;
const FACES = 24;

const dialog = document.getElementById("panel");
const body = document.getElementById("panel-body");
const heading = document.getElementById("panel-title");

document.getElementById("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => {
  if (!dialog.open) body.replaceChildren(); // it may have been opened again before this is heard
});

/** Open the panel, or show something else in it. */
export function open(title, content) {
  heading.textContent = title;
  body.replaceChildren(...content);
  if (!dialog.open) dialog.showModal();
}

export function isOpen() {
  return dialog.open;
}

export function close() {
  if (dialog.open) dialog.close();
}

/** A photo's number for a gate; null where it is not known. */
function number(photo, gate) {
  const value = photo.gates[gate.value];
  if (value === undefined) return null;
  return gate.signless ? Math.abs(value) : value;
}

function passes(photo, gate, limit) {
  const value = number(photo, gate);
  if (limit === null || value === null) return true;
  return gate.least ? value >= limit : value <= limit;
}

/** Whether a photo shows the subject, for all that gates say. */
function shows(photo, gates) {
  if (photo.status === "used") return true;
  if (photo.status !== "rejected" || photo.stage !== "subject_selector") return false;
  if (photo.gate !== null) return true;
  const similarity = gates.find((gate) => gate.value === "similarity");
  return Boolean(similarity) && !passes(photo, similarity, similarity.limit);
}

/** How many photos are used whatever gates say, and those on which they decide. */
function candidates(gates) {
  let sure = 0;
  const free = [];
  model.photos.forEach((photo, place) => {
    const given = model.corrections[place] ?? {};
    if (given.use === false) return;
    if (given.use === true || given.face !== undefined) sure += photo.status !== "failed" ? 1 : 0;
    else if (shows(photo, gates)) free.push(photo);
  });
  return {sure, free};
}

export function limits() {
  const gates = model.state.gates;
  const chosen = gates.map((gate) => model.state.limits[gate.option]);
  const {sure, free} = candidates(gates);
  const total = el("p", {className: "total"});
  total.setAttribute("role", "status");
  const tell = () => {
    const passing = free.filter((photo) => gates.every((gate, i) => passes(photo, gate, chosen[i])));
    total.textContent = `${sure + passing.length} of ${model.photos.length} photos would be used`;
  };
  const rows = gates.map((gate, i) => gate.writable ? limit(gate, i, chosen, free, tell) : null);
  tell();
  const note = "Only the count changes until you write a threshold into the recipe, and render.";
  const shown = rows.filter(Boolean);
  const none = shown.length ? [] : [el("p", {}, "The record holds no values: run the recipe again.")];
  open("Thresholds", [total, el("p", {className: "soft"}, note), ...none, ...shown]);
}

function limit(gate, i, chosen, free, tell) {
  const photos = model.photos.filter((photo) => number(photo, gate) !== null);
  if (!photos.length) return null;
  const values = photos.map((photo) => number(photo, gate));
  const wanted = () => model.state.limits[gate.option];
  const bounds = wanted() === null ? values : [...values, wanted()];
  const [low, high] = extent(bounds);
  const margin = (high - low || Math.abs(high) || 1) * 0.02;
  const start = wanted() ?? (gate.least ? low : high);
  const step = Number(((high - low || 1) / 500).toPrecision(1));
  const slider = el("input", {
    type: "range", min: low - margin, max: high + margin, step: "any", value: start,
  });
  slider.setAttribute("aria-label", gate.option);
  const exact = el("input", {type: "number", step: "any", value: round(start, step)});
  exact.setAttribute("aria-label", `${gate.option}, as a number`);
  const on = el("input", {type: "checkbox", checked: wanted() !== null});
  const alone = el("output");
  const line = el("code");
  const write = el("button", {type: "button"}, "Write into the recipe");
  const plot = histogram(photos, values, low - margin, high + margin);
  const bar = mark("line", {y1: 0, y2: 40, class: "limit"});
  plot.append(bar);
  const show = () => {
    const empty = on.checked && exact.value === "";
    chosen[i] = empty ? wanted() : on.checked ? Number(exact.value) : null;
    const missed = free.filter((photo) => !passes(photo, gate, chosen[i]));
    alone.textContent = on.checked ? `misses ${missed.length}` : "off";
    const x = (Number(exact.value) - low + margin) / (high - low + 2 * margin) * 300;
    bar.setAttribute("x1", x);
    bar.setAttribute("x2", x);
    bar.setAttribute("visibility", on.checked && !empty ? "visible" : "hidden");
    line.textContent = `subject_selector.${gate.option}: ${chosen[i] === null ? "null" : chosen[i]}`;
    write.disabled = empty || chosen[i] === wanted();
    tell();
  };
  slider.addEventListener("input", () => {
    exact.value = round(Number(slider.value), step);
    on.checked = true;
    show();
  });
  exact.addEventListener("input", () => {
    if (exact.value !== "") slider.value = exact.value;
    on.checked = true;
    show();
  });
  on.addEventListener("change", show);
  write.addEventListener("click", async () => {
    write.disabled = true;
    const limit = chosen[i];
    await set(["subject_selector", ...gate.option.split(".")], limit);
    if (model.fault) return;
    model.state.limits[gate.option] = limit;
    show();
    alone.textContent = "written; render to see it";
  });
  show();
  const words = gate.least ? "at least" : "at most";
  const head = el("legend", {}, `${gate.option} `);
  const choice = el("label", {}, on, ` ${words} `);
  return el("fieldset", {className: "gate"}, head, plot, slider,
    el("div", {className: "tools"}, choice, exact, alone, write), line);
}

function extent(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

function round(value, step) {
  const digits = Math.max(0, Math.ceil(-Math.log10(step)) + 1);
  return Number(value.toFixed(Math.min(6, digits)));
}

function histogram(photos, values, low, high) {
  const rows = [new Array(BINS).fill(0), new Array(BINS).fill(0)];
  photos.forEach((photo, i) => {
    const bin = Math.min(BINS - 1, Math.floor((values[i] - low) / (high - low) * BINS));
    rows[photo.status === "used" ? 0 : 1][bin] += 1;
  });
  const most = Math.max(1, ...rows[0].map((each, i) => each + rows[1][i]));
  const bars = [];
  for (let i = 0; i < BINS; i += 1) {
    const [used, other] = [rows[0][i] / most * 40, rows[1][i] / most * 40];
    const x = i * 300 / BINS;
    bars.push(mark("rect", {x, y: 40 - used, width: 9, height: used, class: "used"}));
    bars.push(mark("rect", {x, y: 40 - used - other, width: 9, height: other, class: "other"}));
  }
  return mark("svg", {
    viewBox: "0 0 300 40", class: "histogram", preserveAspectRatio: "none", "aria-hidden": "true",
  }, ...bars);
}

export async function people(goto) {
  const wait = el("p", {}, "Looking who is in the photos...");
  wait.setAttribute("role", "status");
  open("People", [wait]);
  let found;
  try {
    found = await ask(ofRun("people"));
  } catch (error) {
    wait.textContent = error.message;
    return;
  }
  if (!wait.isConnected) return;
  const told = el("p", {className: "soft"}, "Choose who the animation is about; then render.");
  body.replaceChildren(told, ...found.map((each) => pile(each, told, goto)));
}

function pile({number: which, years, faces}, told, goto) {
  const count = `${faces.length} photo${faces.length === 1 ? "" : "s"}, ${years}`;
  const take = el("button", {type: "button"}, `Person ${which} is the subject`);
  take.addEventListener("click", async () => {
    await set(["subject_selector", "person"], which);
    if (!model.fault) {
      model.state.person = which;
      told.textContent = `Written into the recipe: person: ${which}. Render to see it.`;
      told.scrollIntoView({block: "nearest"});
    }
  });
  const tiles = faces.slice(0, FACES).map(([place, face]) => {
    const name = model.photos[place].name;
    const image = el("img", {src: ofRun(`face/${place}/${face}`), alt: "", loading: "lazy", width: 72, height: 72});
    const button = el("button", {type: "button", className: "tile", title: name}, image);
    button.setAttribute("aria-label", `${name}, face ${face}`);
    button.addEventListener("click", () => {
      close();
      goto(place);
    });
    return button;
  });
  const more = faces.length > FACES ? [el("span", {className: "soft"}, `and ${faces.length - FACES} more`)] : [];
  return el("section", {className: "person"},
    el("h3", {}, `${which}: ${count}`), el("div", {className: "tiles"}, ...tiles, ...more), take);
}

/** Ask when a photo was taken. */
export function date(place) {
  const photo = model.photos[place];
  const given = model.corrections[place]?.taken;
  const field = el("input", {
    type: "datetime-local", step: 1, id: "taken", value: (given ?? photo.taken ?? "").slice(0, 19),
  });
  const form = el("form", {},
    el("p", {}, photo.name),
    el("label", {htmlFor: "taken"}, "Taken, local time "), field,
    el("div", {className: "tools"},
      el("button", {type: "submit", className: "main"}, "Save"),
      el("button", {type: "button", id: "untaken", disabled: given === undefined}, "As the photo says")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!field.value) return;
    decide([[place, {taken: field.value}]]);
    close();
  });
  form.querySelector("#untaken").addEventListener("click", () => {
    decide([[place, {taken: null}]]);
    close();
  });
  open("When it was taken", [form]);
  field.focus();
}

export function keys(rows) {
  const table = el("table", {}, ...rows.map(([names, what]) => el("tr", {},
    el("td", {}, ...names.split(" ").flatMap((name) => [el("kbd", {}, name), " "])), el("td", {}, what))));
  open("Keys", [table]);
}
