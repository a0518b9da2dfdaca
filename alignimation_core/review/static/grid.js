// The list of photos: however many there are, only those in view have elements.
import {el, mark, model, ofRun, rectangle, standing, subject} from "./model.js";

const WIDTH = 150;
const HEIGHT = 158;
const BEYOND = 2;

export class Grid {
  /** `chosen` is called with the place of the photo that is chosen. */
  constructor(list, chosen) {
    this.list = list;
    this.chosen = chosen;
    this.places = [];
    this.at = -1;
    this.made = new Map();
    this.room = el("div", {className: "room"});
    this.room.setAttribute("role", "presentation");
    list.append(this.room);
    list.addEventListener("scroll", () => this.draw(), {passive: true});
    new ResizeObserver(() => this.draw()).observe(list);
    list.addEventListener("click", (event) => {
      const card = event.target.closest("[role=option]");
      if (card) this.select(this.places.indexOf(Number(card.dataset.place)), true);
    });
  }

  get place() {
    return this.places[this.at] ?? null;
  }

  get columns() {
    return Math.max(1, Math.floor(this.list.clientWidth / WIDTH));
  }

  /** List other photos; the chosen one stays so if it is among them. */
  show(places) {
    const before = this.place;
    this.places = places;
    const at = before === null ? 0 : places.indexOf(before);
    this.at = places.length ? Math.max(0, at) : -1;
    for (const card of this.made.values()) card.remove();
    this.made.clear();
    this.into();
    this.draw();
    if (this.place !== before) this.chosen(this.place, false);
  }

  select(at, opened = false) {
    if (!this.places.length) return;
    this.at = Math.min(this.places.length - 1, Math.max(0, at));
    this.into();
    this.draw();
    this.chosen(this.place, opened);
  }

  move(columns, rows) {
    this.select(this.at + columns + rows * this.columns);
  }

  /** Scroll so that the chosen photo is in view. */
  into() {
    const top = Math.floor(Math.max(0, this.at) / this.columns) * HEIGHT;
    const {scrollTop, clientHeight} = this.list;
    if (top < scrollTop) this.list.scrollTop = top;
    else if (top + HEIGHT > scrollTop + clientHeight) this.list.scrollTop = top + HEIGHT - clientHeight;
  }

  draw() {
    const columns = this.columns;
    const rows = Math.ceil(this.places.length / columns);
    this.room.style.height = `${rows * HEIGHT}px`;
    const first = Math.max(0, Math.floor(this.list.scrollTop / HEIGHT) - BEYOND);
    const last = Math.min(rows, Math.ceil((this.list.scrollTop + this.list.clientHeight) / HEIGHT) + BEYOND);
    const wanted = new Set();
    const width = this.list.clientWidth / columns;
    for (let at = first * columns; at < Math.min(this.places.length, last * columns); at += 1) {
      const place = this.places[at];
      wanted.add(place);
      let card = this.made.get(place);
      if (!card) {
        card = this.card(place);
        this.made.set(place, card);
        this.room.append(card);
      }
      card.style.transform = `translate(${(at % columns) * width}px, ${Math.floor(at / columns) * HEIGHT}px)`;
      card.style.width = `${width}px`;
      card.setAttribute("aria-posinset", at + 1);
      card.setAttribute("aria-setsize", this.places.length);
      card.setAttribute("aria-selected", at === this.at);
    }
    for (const [place, card] of this.made) {
      if (!wanted.has(place)) {
        card.remove();
        this.made.delete(place);
      }
    }
    if (this.place === null) this.list.removeAttribute("aria-activedescendant");
    else this.list.setAttribute("aria-activedescendant", `photo-${this.place}`);
  }

  card(place) {
    const photo = model.photos[place];
    const card = el("div", {id: `photo-${place}`, className: "card"});
    card.setAttribute("role", "option");
    card.dataset.place = place;
    card.append(picture(photo, place), el("span", {className: "name"}, photo.name.split("/").at(-1)));
    card.append(el("span", {className: "mark"}));
    update(card, place);
    return card;
  }

  /** Show what has changed. */
  update() {
    for (const [place, card] of this.made) update(card, place);
  }
}

function update(card, place) {
  const {status, yours} = standing(place);
  const photo = model.photos[place];
  card.className = `card ${status}${yours ? " yours" : ""}`;
  const gone = photo.there ? "" : " (gone)";
  card.querySelector(".mark").textContent = `${status}${yours ? ", by you" : ""}${gone}`;
  const index = subject(place);
  card.querySelectorAll("rect").forEach((box, i) => {
    box.setAttribute("class", i === index && status === "used" ? "box" : "found");
  });
}

function picture(photo, place) {
  const [width, height] = photo.size;
  if (!width || !height) return el("span", {className: "none"}, "no picture");
  const image = mark("image", {href: ofRun(`small/${place}`), width, height});
  const boxes = photo.found.map((box) => rectangle(box, "found"));
  const svg = mark("svg", {viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"}, image, ...boxes);
  image.addEventListener("error", () => svg.replaceWith(el("span", {className: "none"}, "gone")));
  return svg;
}
