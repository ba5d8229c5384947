// One side of a chat: its text, its stalls as they happen, its strip of time, its numbers. And the strip of the link above all.

import { element } from "./dom.js";
import { format } from "./format.js";
import { Meter, STALL } from "./measures.js";
import { css, onTheme, shade } from "./theme.js";

const LINK = 6; // height of the link's states above the tokens
const NUMBERS = [
  ["stall_ratio", "of the time in stalls", "percentunit"],
  ["longest_stall_s", "longest stall", "s"],
  ["stalls", "stalls", "short"],
  ["first_token_s", "to the first token", "s"],
  ["tokens", "tokens", "short"],
];
const WORDS = { ok: "complete", stopped: "stopped", failed: "failed", deadline_exceeded: "gave up" };

function fit(canvas) {
  const ratio = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

export class Pane {
  constructor(scheme) {
    this.scheme = scheme;
    this.status = element("span", { className: "status" });
    this.carrier = element("span", { className: "carrier" }); // which one brings the answer, where that is not its scheme
    this.text = element("div", { className: "text", tabIndex: 0, ariaLabel: `Answer by ${scheme.label}` }, element("span", { className: "hint" }, `The answer by ${scheme.label} will stand here.`));
    this.caret = element("span", { className: "caret", ariaHidden: "true" });
    this.canvas = element("canvas", { className: "timeline", ariaLabel: "Tokens and stalls over time", role: "img" });
    this.cells = new Map(NUMBERS.map(([key]) => [key, element("b", {}, "–")]));
    const numbers = NUMBERS.map(([key, title]) => element("div", { dataset: { key } }, this.cells.get(key), element("span", {}, title)));
    this.box = element(
      "article", { className: "pane", "--colour": shade(scheme.colour), dataset: { scheme: scheme.name, state: "idle" } },
      element("header", {}, element("h2", {}, element("i", { className: "dot" }), scheme.label, this.carrier), this.status),
      this.text, this.canvas, element("div", { className: "numbers" }, ...numbers),
    );
    this.meter = new Meter();
    this.tokens = []; // [instant, length of the stall before it]
    this.numbers = null;
    this.isDone = false;
  }

  recolour() {
    this.box.style.setProperty("--colour", shade(this.scheme.colour));
    if (this.drawnAt !== undefined) this.drawTimeline(this.finished ?? this.drawnAt, this.drawnAt);
  }

  set state(name) {
    this.box.dataset.state = name;
  }

  connect() {
    this.state = "connecting";
    this.status.textContent = "connecting";
    this.text.replaceChildren(this.caret);
  }

  begin(link, seconds) {
    this.link = link;
    this.seconds = seconds;
    this.state = "waiting";
    this.latest = null;
  }

  token({ text, at_s, stall_s: known }, now) {
    const stall_s = this.meter.add(at_s, known);
    if (stall_s > 0) this.caret.before(element("span", { className: "gap", title: `Here the text stood still for ${format(stall_s, "s")}.` }, format(stall_s, "s")));
    const isFollowed = this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < 40;
    this.caret.before(this.tokens.length === 0 ? text.trimStart() : text);
    if (isFollowed) this.text.scrollTop = this.text.scrollHeight;
    this.tokens.push([at_s, stall_s]);
    this.latest = now;
    this.tell(this.meter.numbers()); // until the end, when the testbed's own take their place where it has some
  }

  tell(numbers) {
    for (const [key, , unit] of NUMBERS) this.cells.get(key).textContent = format(numbers[key], unit);
  }

  end({ outcome, message, numbers }, now) {
    this.isDone = true;
    this.numbers = numbers;
    this.finished = now;
    this.state = outcome === "ok" ? "done" : "failed";
    this.status.textContent = outcome === "ok" ? `complete after ${format(numbers.seconds, "s")}` : `${WORDS[outcome] ?? outcome.replaceAll("_", " ")}: ${message}`;
    this.caret.remove();
    this.tell(numbers);
  }

  leave(word) {
    if (this.isDone) return;
    this.isDone = true;
    this.caret.remove();
    this.state = "failed";
    this.status.textContent = word;
  }

  draw(now) {
    if (!this.isDone) this.showWait(now);
    this.drawTimeline(this.finished ?? now, now);
  }

  showWait(now) {
    const wait = now - (this.latest ?? 0);
    if (this.latest === null) {
      this.status.textContent = `waiting for the first token ${wait.toFixed(1)} s`;
    } else if (wait > STALL) {
      this.state = "stalled";
      this.status.textContent = `stalled ${wait.toFixed(1)} s`;
    } else {
      this.state = "streaming";
      this.status.textContent = "streaming";
    }
  }

  drawTimeline(end, now) {
    this.drawnAt = now;
    const { context, width, height } = fit(this.canvas);
    const length = Math.max(this.seconds + 1, now);
    const x = (at) => (at / length) * width;
    drawLink(context, this.link, now, x, LINK);
    const [top, tall] = [LINK + 2, height - LINK - 2];
    context.fillStyle = css("--bad");
    for (const [at, stall] of this.tokens) if (stall > 0) context.fillRect(x(at - stall), top, Math.max(1, x(at) - x(at - stall)), tall);
    const last = this.tokens.at(-1)?.[0];
    if (!this.isDone && this.latest !== null && end - last > STALL) context.fillRect(x(last), top, x(end) - x(last), tall);
    context.fillStyle = shade(this.scheme.colour);
    for (const [at] of this.tokens) context.fillRect(x(at) - 0.75, top + 3, 1.5, tall - 6);
  }
}

// Draw the states of a link up to now; give the probability of loss in the latest.
function drawLink(context, link, now, x, height) {
  const [good, bad] = [css("--good"), css("--bad")];
  let current = 0;
  for (const [from, to, loss] of link) {
    if (from > now) break;
    const left = x(from);
    context.globalAlpha = loss > 0 ? 0.35 + 0.65 * loss : 0.45;
    context.fillStyle = loss > 0 ? bad : good;
    context.fillRect(left, 0, x(Math.min(to, now)) - left, height);
    current = loss;
  }
  context.globalAlpha = 1;
  return current;
}

// Good and bad states of the client's link, up to now.
export class Strip {
  constructor() {
    this.canvas = element("canvas", { role: "img", ariaLabel: "Good and bad states of the link over time" });
    this.title = element("span", {});
    this.box = element("div", { className: "strip", hidden: true }, this.title, this.canvas);
    onTheme(() => this.link && this.draw(this.at));
  }

  clear() {
    this.link = null;
    this.box.hidden = true;
  }

  begin(link, seconds, client) {
    this.link = link;
    this.seconds = seconds;
    this.client = client;
    this.box.hidden = link.length === 0;
  }

  draw(now) {
    if (this.box.hidden) return;
    this.at = now;
    const { context, width, height } = fit(this.canvas);
    const length = Math.max(this.seconds + 1, now);
    const current = drawLink(context, this.link, now, (at) => (at / length) * width, height);
    this.title.textContent = `Link of ${this.client}: ${current > 0 ? `loses ${format(current, "percentunit")}` : "good"}`;
  }
}
