// The page: what is listed, which photo is chosen, and what the keys do.
import {Grid} from "./grid.js";
import {
  changed, decide, el, load, model, ofRun, refresh, set, standing, subject, undo, watch,
} from "./model.js";
import * as panels from "./panels.js";
import {Stage} from "./photo.js";
import {resume, start} from "./run.js";

const id = (name) => document.getElementById(name);
const stage = new Stage(id("stage"));
const grid = new Grid(id("list"), chosen);

const FAULTS = 5; // of a broken file, which are shown

const KEYS = [
  ["← → ↑ ↓", "another photo; with a keypoint chosen: move that (with Shift ten times as far)"],
  ["Enter Esc", "look at one photo; back to all"],
  ["l", "only those left out, and all again"],
  ["x", "leave this photo out"],
  ["y", "use this photo"],
  ["f 1 … 9", "the next face, or the one of that number from the left, is the subject"],
  ["k", "the next keypoint"],
  ["z + -", "zoom: the subject, in, out"],
  ["d", "when it was taken"],
  ["r", "make it the reference"],
  ["b", "this is the better one of its burst: leave out the others"],
  ["t", "thresholds"],
  ["p", "people"],
  ["v", "preview, in seconds"],
  ["m", "render: make the film"],
  ["u Ctrl+Z", "undo"],
  ["?", "these keys"],
];

const DOES = {
  limits: () => panels.limits(),
  people: () => panels.people(goto),
  preview: () => start("preview", again),
  render: () => start("render", again),
  undo: () => undo(),
  keys: () => panels.keys(KEYS),
  back: () => back(),
  out: () => toggle(false),
  use: () => toggle(true),
  date: () => grid.place !== null && panels.date(grid.place),
  reference: () => reference(),
  better: () => better(),
  zoom: () => stage.toggle(),
};

const BY_KEY = {
  t: DOES.limits, p: DOES.people, v: DOES.preview, m: DOES.render, u: DOES.undo, "?": DOES.keys,
  x: DOES.out, y: DOES.use, d: DOES.date, r: DOES.reference, b: DOES.better, z: DOES.zoom,
  l: onlyLeftOut, f: nextFace, k: () => stage.place !== null && stage.next(),
  "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4),
  Enter: () => look(), Escape: () => (stage.active ? stage.choose(null) : back()),
  Home: () => grid.select(0), End: () => grid.select(grid.places.length - 1),
  PageDown: () => grid.move(0, 3), PageUp: () => grid.move(0, -3),
};

const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (typing || panels.isOpen() || !model.state) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z") {
    event.preventDefault();
    undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in ARROWS) {
    event.preventDefault();
    const [right, down] = ARROWS[event.key];
    const far = event.shiftKey ? 10 : 1;
    if (stage.active) stage.nudge(right * far, down * far);
    else if (document.body.classList.contains("open")) grid.select(grid.at + right + down);
    else grid.move(right, down);
    return;
  }
  const button = event.target.closest("button");
  if (button && event.key === "Enter") return;
  const verb = BY_KEY[event.key] ?? (/^[1-9]$/.test(event.key) ? () => stage.take(event.key - 1) : null);
  if (verb) {
    event.preventDefault();
    verb();
  }
});

document.addEventListener("click", (event) => {
  const verb = event.target.closest("[data-does]")?.dataset.does;
  if (verb && model.state) DOES[verb]();
});

function toggle(use) {
  const place = grid.place;
  if (place === null) return;
  const photo = model.photos[place];
  const given = model.corrections[place] ?? {};
  if (given.use === use) return void decide([[place, {use: null}]]);
  if (use && photo.stage === "photos") return say("This photo cannot be read, and so not be used.");
  if (use && photo.status !== "used" && subject(place) === null && !Object.keys(photo.gates).length) {
    if (photo.found.length > 1) return say("Say who in it is the subject: click, or press its number.");
    if (!photo.found.length && Object.keys(given.keypoints ?? {}).length < 2) {
      return say("Nothing was found in it: set two keypoints (press k, then click where it is).");
    }
  }
  const changes = {use};
  if (use && given.use === false && photo.status === "used") changes.use = null;
  decide([[place, changes]]);
}

function reference() {
  const place = grid.place;
  if (place === null) return;
  set(["reference"], place).then(() => {
    if (model.fault) return;
    model.state.reference = model.photos[place].path;
    detail();
    say(`Written into the recipe: reference: ${model.photos[place].name}`);
  });
}

function better() {
  const place = grid.place;
  const group = model.bursts.get(place);
  if (!group) return say("This photo is alone: no other was taken within a minute of it.");
  decide(group.map((each) => [each, {use: each === place ? null : false}]));
}

function nextFace() {
  const place = grid.place;
  if (place === null || !model.photos[place].found.length) return;
  stage.take(((subject(place) ?? -1) + 1) % model.photos[place].found.length);
}

function zoom(factor) {
  if (!stage.view) return;
  const [x, y, width, height] = stage.view;
  stage.zoom(factor, x + width / 2, y + height / 2);
}

let quiet = null;

function say(text) {
  const said = id("said");
  said.textContent = text;
  said.hidden = false;
  clearTimeout(quiet);
  quiet = setTimeout(() => { said.hidden = true; }, 6000);
}

function look() {
  if (grid.place === null) return;
  document.body.classList.add("open");
  grid.into();
  stage.draw();
  if (getComputedStyle(id("back")).display !== "none") id("back").focus();
}

function back() {
  document.body.classList.remove("open");
  grid.draw();
  grid.into();
  id("list").focus();
}

function goto(place) {
  if (!grid.places.includes(place)) {
    id("filter").value = "";
    list();
  }
  grid.select(grid.places.indexOf(place), true);
}

function chosen(place, opened) {
  stage.show(place);
  detail();
  if (opened) look();
}

function tool(text, does, key, pressed) {
  const made = el("button", {type: "button"}, text, " ", el("kbd", {}, key));
  made.dataset.does = does;
  if (pressed !== undefined) made.setAttribute("aria-pressed", pressed);
  return made;
}

stage.changed = detail;

function detail() {
  const place = grid.place;
  const photo = model.photos[place];
  id("name").textContent = photo ? photo.name : "No photo is chosen";
  const parts = ["decide", "faces", "points", "burst", "facts"].map(id);
  if (!photo) return parts.forEach((part) => part.replaceChildren());
  const focus = document.activeElement?.dataset?.focus;
  const {status, yours} = standing(place);
  const given = model.corrections[place] ?? {};
  id("decide").replaceChildren(
    tool("Use", "use", "y", status === "used"), tool("Leave out", "out", "x", given.use === false),
    tool("Date", "date", "d"), tool("Reference", "reference", "r", model.state.reference === photo.path),
    tool("Zoom", "zoom", "z"));
  const index = subject(place);
  id("faces").replaceChildren(...(photo.found.length > 1 ? photo.found : []).slice(0, 20).map((_, i) => {
    const made = el("button", {type: "button"}, `Face ${i + 1}`);
    made.setAttribute("aria-pressed", i === index);
    made.dataset.focus = `face ${i}`;
    made.addEventListener("click", () => stage.take(i));
    return made;
  }));
  const points = stage.points();
  const names = stage.names();
  id("points").replaceChildren(...names.slice(0, 24).map((name) => {
    const made = el("button", {type: "button", className: name in points ? "" : "missing"}, name);
    made.setAttribute("aria-pressed", name === stage.active);
    made.dataset.focus = `point ${name}`;
    made.addEventListener("click", () => stage.choose(name === stage.active ? null : name));
    return made;
  }));
  id("burst").replaceChildren(...burst(place));
  const rows = [
    ["State", `${status}${yours ? ", by you" : ""}${photo.there ? "" : "; the file is gone"}`],
    ["Why", standing(place).status === "used" ? "" : given.use === false ? "left out by you" : photo.reason],
    ["Taken", (given.taken ?? photo.taken ?? "").replace("T", " ")],
    ["Residual", photo.residual === null ? "" : `${photo.residual.toFixed(2)} %`],
    ["Similarity", photo.gates.similarity?.toFixed(3) ?? ""],
    ["Remarks", photo.remarks.join("; ")],
    ["Decided", Object.keys(given).join(", ")],
  ];
  id("facts").replaceChildren(...rows.filter(([, text]) => text)
    .flatMap(([what, text]) => [el("dt", {}, what), el("dd", {}, text)]));
  if (focus) document.querySelector(`[data-focus="${CSS.escape(focus)}"]`)?.focus();
}

function burst(place) {
  const group = model.bursts.get(place);
  if (!group) return [];
  const images = group.map((each) => {
    const image = el("img", {src: ofRun(`small/${each}`), alt: "", loading: "lazy"});
    const sharp = model.photos[each].gates.sharpness;
    const made = el("button", {type: "button", className: `tile ${standing(each).status}`}, image,
      sharp === undefined ? "" : `sharp ${sharp.toFixed(2)}`);
    made.setAttribute("aria-label", model.photos[each].name);
    if (each === place) made.setAttribute("aria-current", "true");
    made.addEventListener("click", () => goto(each));
    return made;
  });
  return [el("p", {}, `A burst of ${group.length}`), el("div", {className: "tiles"}, ...images),
    tool("This is the better one", "better", "b")];
}

const RANKS = {
  order: null,
  taken: (a, b) => (when(a) < when(b) ? -1 : when(a) > when(b) ? 1 : 0),
  similarity: (a, b) => (model.photos[b].gates.similarity ?? -2) - (model.photos[a].gates.similarity ?? -2),
  residual: (a, b) => (model.photos[b].residual ?? -1) - (model.photos[a].residual ?? -1),
};

function when(place) {
  return model.corrections[place]?.taken ?? model.photos[place].taken ?? "";
}

function group(photo) {
  const kind = photo.reason.split(/:| \(|;/)[0];
  return photo.status === "used" ? "used" : `${photo.status}: ${kind}`;
}

function list() {
  const wanted = id("filter").value;
  const tests = {
    "": () => true,
    out: (place) => model.photos[place].status !== "used",
    yours: (place) => place in model.corrections,
  };
  const test = tests[wanted] ?? ((place) => group(model.photos[place]) === wanted);
  const places = [...model.photos.keys()].filter(test);
  if (RANKS[id("sort").value]) places.sort(RANKS[id("sort").value]);
  id("count").textContent = `${places.length} of ${model.photos.length}`;
  grid.show(places);
}

function onlyLeftOut() {
  id("filter").value = id("filter").value === "out" ? "" : "out";
  list();
}

function filters() {
  const before = id("filter").value;
  const counts = new Map();
  for (const photo of model.photos) counts.set(group(photo), (counts.get(group(photo)) ?? 0) + 1);
  const out = model.photos.filter((photo) => photo.status !== "used").length;
  id("filter").replaceChildren(
    new Option(`all (${model.photos.length})`, ""), new Option(`left out (${out})`, "out"),
    new Option("decided by you", "yours"),
    ...[...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => new Option(`${name} (${count})`, name)));
  id("filter").value = before;
  if (id("filter").selectedIndex < 0) id("filter").value = "";
}

function counts() {
  const found = {used: 0, rejected: 0, failed: 0};
  model.photos.forEach((_, place) => { found[standing(place).status] += 1; });
  const decided = Object.keys(model.corrections).length;
  const badges = Object.entries(found).map(([status, count]) =>
    el("span", {className: `badge ${status}`}, `${count} ${status}`));
  if (decided) badges.push(el("span", {className: "badge"}, `${decided} decided by you`));
  id("counts").replaceChildren(...badges.flatMap((badge) => [badge, " "]));
}

watch(() => {
  const fault = id("fault");
  const lines = (model.fault ?? "").split("\n");
  if (lines.length > FAULTS) lines.splice(FAULTS, Infinity, `and ${lines.length - FAULTS} more`);
  fault.textContent = lines.join("\n");
  fault.hidden = !model.fault;
  id("undo").disabled = !model.undo;
  counts();
  grid.update();
  stage.draw();
  detail();
});

async function again() {
  await load();
  filters();
  list();
  stage.show(grid.place);
  detail();
}

id("filter").addEventListener("change", list);
id("sort").addEventListener("change", list);
id("controls").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("focus", () => model.state && refresh().catch((error) => {
  model.fault = error.message;
  changed();
}));

load().then(() => {
  document.title = `Review: ${model.state.recipe}`;
  id("title").textContent = document.title;
  filters();
  list();
  id("list").focus();
  if (model.state.error) say(`The last run failed: ${model.state.error}`);
  else if (model.state.fresh) say(`${model.state.fresh} photos are new since the run; render to see them.`);
  return resume(again);
}).catch((error) => {
  model.fault = error.message;
  id("fault").textContent = error.message;
  id("fault").hidden = false;
});
