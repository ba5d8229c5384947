// Panels on the page: what is visible is asked for, every two seconds, while somebody looks.

import { KINDS } from "./charts.js";
import { element, getJson } from "./dom.js";
import { onTheme } from "./theme.js";

const REFRESH = 2000; // milliseconds: Prometheus knows nothing newer

export class Panels {
  // `choice` gives the words of the request: client, scheme, window, span.
  constructor(box, { choice, onError }) {
    this.box = box;
    this.choice = choice;
    this.onError = onError;
    this.drawn = [];
    this.visible = new Set();
    this.timer = 0;
    this.isAsking = false;
    this.observer = new IntersectionObserver((entries) => this.noteVisible(entries), { rootMargin: "120px" });
    document.addEventListener("visibilitychange", () => this.refresh());
    onTheme(() => this.drawn.forEach((one) => one.chart.redraw()));
  }

  show(dashboard, places = dashboard.panels.map((_, place) => place)) {
    this.stop();
    this.dashboard = dashboard;
    this.drawn = places.map((place) => ({ place, ...card(dashboard.panels[place]) }));
    this.box.replaceChildren(...this.drawn.map((one) => one.card));
    for (const one of this.drawn) this.observer.observe(one.card);
    this.refresh();
  }

  stop() {
    clearTimeout(this.timer);
    this.observer.disconnect();
    this.visible.clear();
    this.dashboard = null;
    this.drawn = [];
  }

  noteVisible(entries) {
    let isNew = false;
    for (const { target, isIntersecting } of entries) {
      const one = this.drawn.find((found) => found.card === target);
      if (!one) continue;
      if (isIntersecting) isNew ||= !this.visible.has(one.place);
      this.visible[isIntersecting ? "add" : "delete"](one.place);
    }
    if (isNew) this.refresh();
  }

  async refresh() {
    clearTimeout(this.timer);
    if (document.hidden || !this.dashboard) return;
    if (this.isAsking) {
      this.isWanted = true;
      return;
    }
    this.isAsking = true;
    this.isWanted = false;
    try {
      if (this.visible.size > 0) await this.ask(this.dashboard);
    } finally {
      this.isAsking = false;
      if (this.dashboard) this.timer = setTimeout(() => this.refresh(), this.isWanted ? 0 : REFRESH);
    }
  }

  async ask(dashboard) {
    const words = new URLSearchParams(this.choice());
    words.set("dashboard", dashboard.uid);
    for (const place of this.visible) words.append("panel", place);
    try {
      const answer = await getJson(`api/values?${words}`);
      if (dashboard !== this.dashboard) return; // the reader has gone on meanwhile
      for (const panel of answer.panels) this.drawn.find((one) => one.place === panel.panel)?.chart.show(panel, answer.times, answer.step);
      this.onError(null);
    } catch (error) {
      this.onError(error);
    }
  }
}

function card(panel) {
  const body = element("div", { className: "body" }, element("p", { className: "nothing" }, "…"));
  const about = element("p", { className: "description", hidden: true }, panel.description);
  const button = element("button", { type: "button", className: "icon small", title: panel.description, ariaExpanded: "false", ariaLabel: `About ${panel.title}` }, "?");
  button.addEventListener("click", () => {
    about.hidden = !about.hidden;
    button.ariaExpanded = String(!about.hidden);
  });
  const title = element("header", {}, element("h2", {}, panel.title), button);
  const made = element("article", { className: "panel", dataset: { kind: panel.kind }, "--span": String(panel.width) }, title, about, body);
  return { card: made, chart: new KINDS[panel.kind](body, panel) };
}
