"use strict";
const photos = JSON.parse(document.getElementById("data").textContent);
const cards = document.getElementById("cards");
const filter = document.getElementById("filter");
const sort = document.getElementById("sort");
const drawn = document.getElementById("drawn");
const BATCH = 48;
const SVG = "http://www.w3.org/2000/svg";
let shown = [];
let made = 0;

function element(name, type, text) {
  const made = document.createElement(name);
  if (type) made.className = type;
  if (text !== undefined) made.textContent = text;
  return made;
}

function mark(svg, name, type, attributes) {
  const made = document.createElementNS(SVG, name);
  made.setAttribute("class", type);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  svg.append(made);
}

function rectangle(svg, type, [x0, y0, x1, y1]) {
  mark(svg, "rect", type, {x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0)});
}

function drawing(photo) {
  const [width, height] = photo.size;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const box of photo.found) rectangle(svg, "found", box);
  if (photo.box) rectangle(svg, "box", photo.box);
  for (const polygon of photo.outline) mark(svg, "polygon", "outline", {points: polygon.join(" ")});
  const r = Math.max(width, height) / 150;
  for (const [x, y] of photo.points) mark(svg, "circle", "point", {cx: x, cy: y, r});
  return svg;
}

function picture(source, alt, drawn) {
  const shot = element("div", "shot");
  if (!source) {
    shot.append(element("span", "soft", alt));
    return shot;
  }
  const around = element("span");
  const image = element("img");
  image.loading = "lazy";
  image.decoding = "async";
  image.alt = alt;
  image.src = source;
  around.append(image);
  if (drawn) around.append(drawn);
  shot.append(around);
  return shot;
}

function card(photo) {
  const made = element("article", "card");
  const pair = element("div", "pair");
  const known = photo.size[0] && photo.size[1];
  pair.append(picture(photo.photo, photo.photo ? "photo" : "no picture", known && drawing(photo)));
  pair.append(picture(photo.frame, photo.frame ? "frame" : "no frame"));
  const name = element("b", "", photo.path);
  const line = element("div");
  line.append(element("span", `badge ${photo.status}`, photo.status), " ", name);
  const numbers = [photo.taken];
  if (photo.residual !== null) numbers.push(`residual ${photo.residual.toFixed(2)} %`);
  if (photo.similarity !== null) numbers.push(`similarity ${photo.similarity.toFixed(2)}`);
  made.append(pair, line, element("div", "soft", numbers.filter(Boolean).join(" · ")));
  for (const text of [photo.reason, ...photo.remarks]) if (text) made.append(element("div", "soft", text));
  return made;
}

function more() {
  const next = shown.slice(made, made + BATCH);
  made += next.length;
  cards.append(...next.map(card));
}

const end = element("div");
end.style.height = "1px";
cards.after(end);
const watch = new IntersectionObserver(() => {
  if (made < shown.length && end.getBoundingClientRect().top < innerHeight + 800) {
    more();
    watch.unobserve(end);
    watch.observe(end);
  }
}, {rootMargin: "800px"});

const RANKS = {
  order: null,
  taken: (a, b) => (a.taken < b.taken ? -1 : a.taken > b.taken ? 1 : 0),
  similarity: (a, b) => (b.similarity ?? -2) - (a.similarity ?? -2),
  residual: (a, b) => (b.residual ?? -1) - (a.residual ?? -1),
};

function show() {
  shown = photos.filter((photo) => !filter.value || photo.group === filter.value);
  if (RANKS[sort.value]) shown.sort(RANKS[sort.value]);
  document.getElementById("count").textContent = `${shown.length} of ${photos.length}`;
  cards.replaceChildren();
  made = 0;
  more();
  watch.unobserve(end);
  watch.observe(end);
}

const counts = new Map();
for (const photo of photos) counts.set(photo.group, (counts.get(photo.group) ?? 0) + 1);
filter.append(new Option(`all (${photos.length})`, ""));
for (const [group, count] of [...counts].sort((a, b) => b[1] - a[1])) {
  filter.append(new Option(`${group} (${count})`, group));
}
filter.addEventListener("change", show);
sort.addEventListener("change", show);
drawn.addEventListener("change", () => cards.classList.toggle("hidden", !drawn.checked));
document.querySelector(".controls").addEventListener("submit", (event) => event.preventDefault());
show();
