// One photo, large: what was found in it, and its keypoints, which can be dragged.
import {ask, decide, el, mark, model, ofRun, rectangle, standing, subject} from "./model.js";

const NEAR = 2.2;

export class Stage {
  constructor(home) {
    this.home = home;
    this.place = null;
    this.faces = [];
    this.active = null;
    this.view = null;
    this.svg = mark("svg", {role: "img", preserveAspectRatio: "xMidYMid meet"});
    this.note = el("p", {className: "none", hidden: true});
    home.append(this.svg, this.note);
    this.svg.addEventListener("wheel", (event) => this.wheel(event), {passive: false});
    this.svg.addEventListener("pointerdown", (event) => this.down(event));
    this.svg.addEventListener("pointermove", (event) => this.moved(event));
    this.svg.addEventListener("pointerup", (event) => this.up(event));
    this.svg.addEventListener("pointercancel", () => { this.drag = null; });
    new ResizeObserver(() => this.draw()).observe(home);
  }

  get photo() {
    return model.photos[this.place];
  }

  show(place) {
    this.place = place;
    this.faces = [];
    this.active = null;
    this.drag = null;
    this.svg.replaceChildren();
    if (place === null) return;
    const {size: [width, height], there, name, reason} = this.photo;
    const seen = Boolean(width && height);
    this.svg.style.display = seen ? "" : "none";
    this.note.hidden = seen && there;
    this.note.textContent = seen ? "This photo is gone since the run." : `No picture: ${reason}`;
    if (!seen) return;
    this.svg.setAttribute("aria-label", `photo ${name}`);
    this.fit();
    this.image = mark("image", {href: ofRun(`${there ? "photo" : "small"}/${place}`), width, height});
    this.image.addEventListener("error", () => {
      this.note.hidden = false;
      this.note.textContent = "This photo can no longer be read.";
    });
    this.marks = mark("g");
    this.svg.append(this.image, this.marks);
    this.draw();
    if (this.photo.found.length) {
      ask(ofRun(`faces/${place}`)).then((faces) => {
        if (this.place !== place) return;
        this.faces = faces;
        this.draw();
        this.changed?.();
      }).catch(() => {});
    }
  }

  /** Keypoints of the subject, by name, with those that you gave. */
  points() {
    if (this.place === null) return {};
    const given = model.corrections[this.place] ?? {};
    const index = subject(this.place);
    const own = given.face === undefined && this.photo.box ? this.photo.keypoints : null;
    const found = own ?? (index === null ? {} : this.faces[index]?.keypoints ?? {});
    return {...found, ...(given.keypoints ?? {})};
  }

  names() {
    const points = Object.keys(this.points());
    return [...points, ...model.state.keypoints.filter((name) => !points.includes(name))];
  }

  fit() {
    const [width, height] = this.photo.size;
    this.view = [0, 0, width, height];
    this.frame();
  }

  get zoomed() {
    return this.view && this.view[2] < this.photo.size[0] * 0.99;
  }

  /** Show the subject large, or the whole again. */
  toggle() {
    if (this.place === null || !this.view) return;
    if (this.zoomed) return this.fit();
    const index = subject(this.place);
    const box = this.photo.found[index] ?? this.photo.box;
    const [width, height] = this.photo.size;
    if (!box) return this.zoom(NEAR, width / 2, height / 2);
    const side = Math.max(box[2] - box[0], (box[3] - box[1]) * width / height) * 1.5;
    const share = Math.min(1, side / width);
    const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    this.view = [x - width * share / 2, y - height * share / 2, width * share, height * share];
    this.frame();
  }

  zoom(factor, x, y) {
    const [left, top, width] = this.view;
    const whole = this.photo.size[0];
    const wide = Math.min(whole, Math.max(whole / 40, width / factor));
    if (wide >= whole * 0.999) return this.fit();
    const share = wide / width;
    this.view = [x - (x - left) * share, y - (y - top) * share, wide, wide * this.photo.size[1] / whole];
    this.frame();
  }

  frame() {
    this.svg.setAttribute("viewBox", this.view.join(" "));
    if (this.image && this.zoomed && this.photo.there) {
      const full = ofRun(`full/${this.place}`);
      if (this.image.getAttribute("href") !== full) this.image.setAttribute("href", full);
    }
    this.draw();
  }

  /** Width of a pixel of the screen in the photo. */
  pixel() {
    const matrix = this.svg.getScreenCTM();
    return matrix ? 1 / matrix.a : 1;
  }

  draw() {
    if (!this.marks || this.place === null || !this.view) return;
    const unit = this.pixel();
    const index = standing(this.place).status === "used" ? subject(this.place) : null;
    const boxes = this.photo.found.map((box, i) => {
      const made = mark("g", {class: i === index ? "face chosen" : "face", "data-face": i});
      made.append(rectangle(box, i === index ? "box" : "found"));
      const label = mark("text", {x: box[0] + 3 * unit, y: box[1] + 17 * unit, "font-size": 15 * unit});
      label.textContent = i + 1;
      made.append(label);
      return made;
    });
    const points = Object.entries(this.points()).map(([name, [x, y]]) => {
      const kind = name === this.active ? "point active" : "point";
      const made = mark("g", {class: kind, "data-point": name});
      made.append(mark("circle", {cx: x, cy: y, r: 11 * unit, class: "grip"}));
      made.append(mark("circle", {cx: x, cy: y, r: 4 * unit, class: "dot"}));
      if (name === this.active) {
        const label = mark("text", {x: x + 10 * unit, y: y - 8 * unit, "font-size": 13 * unit});
        label.textContent = name;
        made.append(label);
      }
      return made;
    });
    this.marks.replaceChildren(...boxes, ...points);
  }

  where(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return [at.x, at.y];
  }

  inside([x, y]) {
    const [width, height] = this.photo.size;
    return [Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))];
  }

  wheel(event) {
    if (!this.view) return;
    event.preventDefault();
    this.zoom(event.deltaY < 0 ? 1.25 : 0.8, ...this.where(event));
  }

  down(event) {
    if (!this.view || event.button) return;
    const point = event.target.closest("[data-point]");
    const [x, y] = this.where(event);
    this.svg.setPointerCapture(event.pointerId);
    if (point) {
      this.choose(point.dataset.point);
      this.drag = {point: this.active, moved: false};
    } else {
      const face = event.target.closest("[data-face]")?.dataset.face;
      this.drag = {face, x, y, at: [event.clientX, event.clientY], moved: false};
    }
  }

  moved(event) {
    if (!this.drag) return;
    const [x, y] = this.where(event);
    if (this.drag.point) {
      this.drag.moved = true;
      this.drag.to = this.inside([x, y]);
      const group = this.marks.querySelector(`[data-point="${CSS.escape(this.drag.point)}"]`);
      for (const circle of group?.querySelectorAll("circle") ?? []) {
        circle.setAttribute("cx", this.drag.to[0]);
        circle.setAttribute("cy", this.drag.to[1]);
      }
      return;
    }
    const [startX, startY] = this.drag.at;
    if (Math.hypot(event.clientX - startX, event.clientY - startY) > 4) this.drag.moved = true;
    if (this.drag.moved && this.zoomed) {
      this.view[0] -= x - this.drag.x;
      this.view[1] -= y - this.drag.y;
      this.frame();
    }
  }

  up(event) {
    const drag = this.drag;
    this.drag = null;
    if (!drag) return;
    if (drag.point) {
      if (drag.moved) this.put(drag.point, drag.to);
      return;
    }
    if (drag.moved) return;
    const missing = this.active && !(this.active in this.points());
    if (missing) this.put(this.active, this.inside(this.where(event)));
    else if (drag.face !== undefined) this.take(Number(drag.face));
  }

  /** Say who is the subject, 0-based from the left. */
  take(index) {
    if (this.place === null || !this.photo.found[index]) return;
    const changes = {face: index + 1};
    const given = model.corrections[this.place];
    if (given?.use === false) changes.use = null;
    if (given?.keypoints) changes.keypoints = null;
    decide([[this.place, changes]]);
  }

  choose(name) {
    this.active = name;
    this.draw();
    this.changed?.();
  }

  /** Go to the next keypoint, and after the last to none. */
  next() {
    const names = this.names();
    this.choose(names[names.indexOf(this.active) + 1] ?? null);
  }

  /** Move the chosen keypoint by steps of the screen. */
  nudge(right, down) {
    const [x, y] = this.points()[this.active] ?? [
      this.view[0] + this.view[2] / 2, this.view[1] + this.view[3] / 2,
    ];
    const unit = this.pixel();
    this.put(this.active, this.inside([x + right * unit, y + down * unit]));
  }

  put(name, [x, y]) {
    const at = [Math.round(x * 100) / 100, Math.round(y * 100) / 100];
    const changes = {keypoints: {[name]: at}};
    const given = model.corrections[this.place]?.keypoints ?? {};
    if (!this.photo.found.length && Object.keys({...given, [name]: at}).length > 1) changes.use = true;
    decide([[this.place, changes]]);
  }
}
