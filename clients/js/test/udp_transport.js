// A stand-in for WebTransport where there is no browser: its datagrams travel as UDP, through a path that loses some of them.

import dgram from "node:dgram";

/**
 * Make a class shaped like `WebTransport`.
 *
 * @param {{loss?: number, seed?: number}} path odds at which a datagram is lost, each way
 */
export function udpTransport({ loss = 0, seed = 1 } = {}) {
  let state = seed;
  const isLost = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator: the same losses each time
    return state / 2 ** 32 < loss;
  };
  return class UdpTransport {
    static all = [];
    received = 0; // datagrams
    #socket = dgram.createSocket("udp4");
    #settle;

    constructor(url) {
      const { hostname, port } = new URL(url);
      UdpTransport.all.push(this);
      this.closed = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
      this.closed.catch(() => {});
      this.ready = new Promise((resolve) => this.#socket.connect(Number(port), hostname, resolve));
      this.#socket.on("error", () => {}); // nobody listens: silence, as in a browser
      const readable = new ReadableStream({
        start: (controller) =>
          this.#socket.on("message", (data) => {
            this.received += 1;
            if (!isLost()) controller.enqueue(new Uint8Array(data));
          }),
      });
      const writable = new WritableStream({
        write: (data) => new Promise((resolve) => (isLost() ? resolve() : this.#socket.send(data, () => resolve()))),
      });
      this.datagrams = { readable, writable, maxDatagramSize: 1211 };
    }

    /** Die as a session does whose network is gone. */
    cut() {
      this.#socket.close();
      this.#settle.reject(new Error("the connection was lost"));
    }

    close() {
      this.#settle.resolve({});
      try {
        this.#socket.close();
      } catch {
        // cut before
      }
    }
  };
}
