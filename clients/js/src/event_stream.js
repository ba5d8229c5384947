// Reading an event stream (WHATWG HTML §9.2.6).

const MAX_LINE = 8 * 1024 * 1024; // characters of an event; a server that sends more in one is not believed

export class EventStreamReader {
  lastEventId = "";
  #decoder = new TextDecoder();
  #text = "";
  #type = "";
  #data = [];
  #size = 0;
  #id = "";

  /**
   * @param {Uint8Array} chunk
   * @returns {{type: string, data: string, lastEventId: string}[]} the events that it completes
   */
  read(chunk) {
    this.#text += this.#decoder.decode(chunk, { stream: true });
    const events = [];
    const lines = /([^\r\n]*)(\r\n|\n|\r(?!$))/y; // a CR at the end may be half of a CRLF
    let stop = 0;
    for (let match; (match = lines.exec(this.#text)); stop = lines.lastIndex) {
      const event = this.#line(match[1]);
      if (event) events.push(event);
    }
    this.#text = this.#text.slice(stop);
    if (this.#text.length + this.#size > MAX_LINE) throw new TypeError("an event of the stream is too long");
    return events;
  }

  #line(line) {
    if (!line) return this.#dispatch();
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "data") {
      this.#data.push(value);
      this.#size += value.length;
    }
    return null;
  }

  #dispatch() {
    const event = { type: this.#type || "message", data: this.#data.join("\n"), lastEventId: this.#id };
    const isEmpty = !this.#data.length;
    this.lastEventId = this.#id;
    this.#type = "";
    this.#data = [];
    this.#size = 0;
    return isEmpty ? null : event;
  }
}
