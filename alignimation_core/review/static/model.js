// What the page knows, and how it asks the server.

export const model = {
  state: null,
  photos: [],
  corrections: {},
  undo: 0,
  fault: null,
  bursts: new Map(),
};

const watchers = [];

/** Call a function after every change. */
export function watch(verb) {
  watchers.push(verb);
}

export function changed() {
  for (const verb of watchers) verb();
}

/** Ask the server; what it refuses is an error with its text. */
export async function ask(path, body) {
  let response;
  try {
    response = await fetch(path, body === undefined ? {} : {
      method: "POST",
      headers: {"content-type": "application/json"},
      body: JSON.stringify(body),
    });
  } catch {
    throw new Error("the review has ended: start it again with `alignimation review`");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Error(answer?.error ?? `${path}: ${response.status}`);
  return answer;
}

/** The path of what is of the run that the page shows: in another, other photos have the numbers. */
export function ofRun(path) {
  return `${path}?run=${model.state.run}`;
}

export async function load() {
  model.state = await ask("state");
  model.photos = model.state.photos;
  model.bursts = bursts(model.photos, model.state.burst);
  take(await ask(ofRun("corrections")));
}

export async function refresh() {
  take(await ask(ofRun("corrections")));
}

function take(answer) {
  model.corrections = answer.photos;
  if (!waiting) model.undo = answer.undo;
  model.fault = answer.error;
  if ("reference" in answer) model.state.reference = answer.reference;
  if ("person" in answer) model.state.person = answer.person;
  if ("limits" in answer) model.state.limits = answer.limits;
  changed();
}

let queue = Promise.resolve();
let waiting = 0; // of what was decided, not yet answered: until then the page knows better

/** Send what was decided after all that was decided before; tell what goes wrong. */
function save(path, body) {
  waiting += 1;
  queue = queue.then(async () => {
    try {
      const answer = await ask(path, body).finally(() => { waiting -= 1; });
      if ("photos" in answer) {
        take(answer);
        if (waiting) queue.then(refresh).catch(() => {});
      } else {
        if (!waiting) model.undo = answer.undo;
        changed();
      }
    } catch (error) {
      await refresh().catch(() => {});
      model.fault = error.message;
      changed();
    }
  });
  return queue;
}

/** Decide of photos: [[place, {key: value or null}], ...], in one step. */
export function decide(changes) {
  model.fault = null;
  for (const [place, wanted] of changes) {
    const given = {...(model.corrections[place] ?? {})};
    for (const [key, value] of Object.entries(wanted)) {
      if (value === null) delete given[key];
      else if (key === "keypoints") given[key] = {...(given[key] ?? {}), ...value};
      else given[key] = value;
    }
    if (Object.keys(given).length) model.corrections[place] = given;
    else delete model.corrections[place];
  }
  model.undo += 1;
  changed();
  return save(ofRun("decide"), changes.map(([photo, wanted]) => ({photo, changes: wanted})));
}

/** Write a setting into the recipe. */
export function set(location, value) {
  model.fault = null;
  model.undo += 1;
  changed();
  return save(ofRun("set"), {location, value});
}

export function undo() {
  if (!model.undo) return null;
  model.undo -= 1;
  model.fault = null;
  changed();
  return save("undo", {});
}

/** What becomes of a photo: used, rejected or failed, and whether it is you who says so. */
export function standing(place) {
  const photo = model.photos[place];
  const given = model.corrections[place] ?? {};
  if (given.use === false) return {status: "rejected", yours: true};
  const wanted = given.use === true || given.face !== undefined;
  if (wanted && photo.stage !== "photos") return {status: "used", yours: true};
  return {status: photo.status, yours: Object.keys(given).length > 0};
}

/** Which of what was found is the subject, 0-based; null where nobody says. */
export function subject(place) {
  const photo = model.photos[place];
  const face = model.corrections[place]?.face;
  if (typeof face === "number") return face - 1;
  const at = face ?? (photo.box && middle(photo.box));
  if (!at) return photo.found.length === 1 ? 0 : null;
  let best = null;
  let nearest = Infinity;
  photo.found.forEach((box, i) => {
    const [x, y] = middle(box);
    const apart = Math.hypot(x - at[0], y - at[1]);
    if (apart < nearest) [best, nearest] = [i, apart];
  });
  return best;
}

export function middle([x0, y0, x1, y1]) {
  return [(x0 + x1) / 2, (y0 + y1) / 2];
}

const LARGEST = 40; // a clock that was never set makes no burst of a thousand photos

/** Photos taken within so many seconds of the one before, by place; of a camera's clock. */
function bursts(photos, seconds) {
  const timed = photos
    .map((photo, place) => [Date.parse(photo.taken) / 1000, place])
    .filter(([at, place]) => photos[place].clock && !Number.isNaN(at))
    .sort((a, b) => a[0] - b[0]);
  const found = new Map();
  let group = [];
  timed.forEach(([at, place], i) => {
    if (i && at - timed[i - 1][0] > seconds) group = [];
    group.push(place);
    found.set(place, group);
  });
  return new Map([...found].filter(([, each]) => each.length > 1 && each.length <= LARGEST));
}

/** Make an element: el("p", {className: "soft"}, "text", child). */
export function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** Make an element of a drawing. */
export function mark(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function rectangle([x0, y0, x1, y1], kind) {
  return mark("rect", {
    x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0), class: kind,
  });
}
