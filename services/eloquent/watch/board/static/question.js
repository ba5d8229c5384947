// What is asked, and how long and fast the answer is to be: the same fields for every chat of the board.

import { element } from "./dom.js";

const PROMPTS = [
  "Tell me a story that I can read on the train.",
  "Explain in simple words why the sky is blue.",
  "What is the difference between TCP and UDP?",
  "Give me a plan to learn to play the guitar in six months.",
];
const LENGTHS = [["10", "10 s"], ["20", "20 s"], ["40", "40 s"]];
const RATES = [10, 25, 50, 100, 200];

export class Question {
  // `before` and `after` stand beside length and rate; `onAsk` is called by who presses the button, or Enter.
  constructor(run, name, { before = [], after = [], onAsk }) {
    this.input = element("input", { type: "text", name: "words", maxLength: 500, value: PROMPTS[0], ariaLabel: "Question", autocomplete: "off" });
    this.input.setAttribute("list", `prompts-${name}`);
    this.length = element("select", { name: "seconds" }, ...LENGTHS.map(([value, text]) => element("option", { value, selected: value === "20" }, text)));
    this.rate = element("select", { name: "token_rate" }, ...rates(run).map((rate) => element("option", { value: String(rate), selected: rate === run.token_rate }, `${rate} tokens/s`)));
    this.button = element("button", { type: "submit", className: "primary" }, "Ask");
    this.form = element(
      "form", { className: "ask" },
      element("div", { className: "question" }, this.input, this.button),
      element("datalist", { id: `prompts-${name}` }, ...PROMPTS.map((text) => element("option", { value: text }))),
      element(
        "div", { className: "pickers" }, ...before,
        element("label", {}, element("span", {}, "Answer of"), this.length),
        element("label", {}, element("span", {}, "at"), this.rate), ...after,
      ),
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      onAsk();
    });
  }

  // The words; nothing, and the place to type them, where there are none.
  get words() {
    const words = this.input.value.trim();
    if (!words) this.input.focus();
    return words;
  }

  get seconds() {
    return Number(this.length.value);
  }

  get tokenRate() {
    return Number(this.rate.value);
  }
}

// What models stream today, the paper's ten tokens a second, and the run's own rate.
function rates(run) {
  return [...new Set([...RATES, run.token_rate])].sort((one, other) => one - other);
}
