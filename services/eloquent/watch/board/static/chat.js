// The live chat: one question, the same answer by several schemes side by side, as each brings it.

import { element } from "./dom.js";
import { format } from "./format.js";
import { Pane, Strip } from "./pane.js";
import { Question } from "./question.js";
import { onTheme, shade } from "./theme.js";

const LEAST = 2;
const MOST = 4;

export class Chat {
  constructor(run, beside) {
    this.run = run;
    this.schemes = new Set(usual(run.schemes));
    this.panes = new Map();
    this.frame = 0;
    this.abort = null;
    this.question = this.makeQuestion();
    this.strip = new Strip();
    this.paneBox = element("div", { className: "panes" });
    this.verdict = element("p", { className: "verdict", role: "status" });
    this.box = element(
      "div", { className: "chat" },
      element("p", { className: "about" }, "The same question, asked at the same instant through one client's link. Each pane shows the answer as one scheme brings it; whatever differs, the scheme does."),
      this.question.form, this.strip.box, this.paneBox, this.verdict,
      element("p", { className: "quiet" }, "The testbed's model recites a novel, whatever it is asked. A stall is a gap of more than 200 ms between two tokens."),
      element("h2", {}, "Meanwhile on this testbed"), beside,
    );
    this.showPanes();
    onTheme(() => this.recolour());
  }

  recolour() {
    this.run.schemes.forEach((scheme, place) => this.chips[place].style.setProperty("--colour", shade(scheme.colour)));
    for (const pane of this.panes.values()) pane.recolour();
  }

  makeQuestion() {
    this.client = element("select", { name: "client" }, ...this.run.clients.map((name) => element("option", { value: name }, name)));
    this.chips = this.run.schemes.map((scheme) => this.makeChip(scheme));
    return new Question(this.run, "chat", {
      before: [element("div", { className: "chips", role: "group", ariaLabel: "Schemes" }, ...this.chips), element("label", {}, element("span", {}, "Link of"), this.client)],
      onAsk: () => (this.abort ? this.abort.abort() : this.ask()),
    });
  }

  makeChip(scheme) {
    const chip = element("button", { type: "button", className: "chip", "--colour": shade(scheme.colour), ariaPressed: String(this.schemes.has(scheme.name)) }, element("i", { className: "dot" }), scheme.label);
    chip.addEventListener("click", () => {
      if (this.abort) return;
      if (this.schemes.has(scheme.name)) {
        if (this.schemes.size > Math.min(LEAST, this.run.schemes.length)) this.schemes.delete(scheme.name);
      } else if (this.schemes.size < MOST) this.schemes.add(scheme.name);
      chip.ariaPressed = String(this.schemes.has(scheme.name));
      this.showPanes();
    });
    return chip;
  }

  // In the order of the run, so that the baseline stays on the left.
  showPanes() {
    const chosen = this.run.schemes.filter((scheme) => this.schemes.has(scheme.name));
    this.panes = new Map(chosen.map((scheme) => [scheme.name, new Pane(scheme)]));
    this.paneBox.replaceChildren(...[...this.panes.values()].map((pane) => pane.box));
    this.verdict.textContent = "";
    this.strip.clear();
  }

  async ask() {
    const words = this.question.words;
    if (!words) return;
    this.showPanes();
    this.abort = new AbortController();
    this.question.button.textContent = "Stop";
    for (const pane of this.panes.values()) pane.connect();
    const question = { client: this.client.value, schemes: [...this.panes.keys()], words, seconds: this.question.seconds, token_rate: this.question.tokenRate };
    try {
      await this.follow(question);
      this.judge();
    } catch (error) {
      const isOurs = error.name === "AbortError";
      for (const pane of this.panes.values()) pane.leave(isOurs ? "stopped" : "failed");
      this.verdict.textContent = isOurs ? "" : error.message;
    } finally {
      cancelAnimationFrame(this.frame);
      this.abort = null;
      this.question.button.textContent = "Ask again";
    }
  }

  async follow(question) {
    const response = await fetch("api/ask", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(question), signal: this.abort.signal,
    });
    if (!response.ok) throw new Error((await response.json()).error);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) this.take(JSON.parse(event.slice("data: ".length)), question);
    }
    if ([...this.panes.values()].some((pane) => !pane.isDone)) throw new Error("The answer broke off.");
  }

  take(event, question) {
    switch (event.event) {
      case "asked":
        this.begun = performance.now();
        this.strip.begin(event.link, event.seconds, question.client);
        for (const pane of this.panes.values()) pane.begin(event.link, event.seconds);
        this.animate();
        break;
      case "token": this.panes.get(event.scheme).token(event, this.elapsed()); break;
      case "ended": this.panes.get(event.scheme).end(event, this.elapsed()); break;
      default: throw new Error(event.message);
    }
  }

  elapsed = () => (performance.now() - this.begun) / 1000;

  animate() {
    const now = this.elapsed();
    this.strip.draw(now);
    for (const pane of this.panes.values()) pane.draw(now);
    this.frame = requestAnimationFrame(() => this.animate());
  }

  judge() {
    const now = this.elapsed();
    this.strip.draw(now);
    const ended = [...this.panes.values()].filter((pane) => pane.numbers?.stall_ratio != null).map((pane) => {
      pane.draw(now);
      return `${pane.scheme.label} stood still for ${format(pane.numbers.stall_ratio, "percentunit")} of its time`;
    });
    if (ended.length > 1) this.verdict.textContent = `${ended.join(", ")}: the same link in the same seconds.`;
  }
}

// The kernel's TCP against the project's own, if the run has them.
function usual(schemes) {
  const names = schemes.map((scheme) => scheme.name);
  const found = [names.find((name) => /^(grpc|sse)/.test(name)), names.find((name) => name.startsWith("eloquent"))].filter(Boolean);
  return found.length === 2 ? found : names.slice(0, LEAST);
}
