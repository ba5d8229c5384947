// `eloquentFetch`: shaped like fetch, returning a real `Response` whose body streams.

import { ask } from "./exchange.js";
import { Playout } from "./playout.js";
import { watchReader } from "./reader.js";

const STREAMED = /\/(?:chat\/completions|completions|responses)$/;
const WITHOUT_BODY = new Set([101, 204, 205, 304]);

/**
 * Make a function shaped like fetch.
 *
 * @param {object} options as in eloquent.d.ts
 */
export function makeFetch(options = {}) {
  const isFor = options.isFor ?? ((request) => request.method === "POST" && STREAMED.test(new URL(request.url).pathname));
  return async function eloquentFetch(input, init) {
    const request = new Request(input, init);
    if (!isFor(request)) return await fetch(request);
    const exchange = await ask(request, options);
    return responseOf(exchange, options, request.signal);
  };
}

export const eloquentFetch = makeFetch();

function responseOf(exchange, { playout }, signal) {
  const { status, statusText, headers, carrier } = exchange;
  if (exchange.response && !playout) return Object.assign(exchange.response, { carrier });
  const paced = playout && exchange.isEventStream ? new Playout(exchange, playout) : exchange;
  const body = WITHOUT_BODY.has(status) ? null : bodyOf(exchange, paced, signal);
  return Object.assign(new Response(body, { status, statusText, headers }), { carrier });
}

function bodyOf(exchange, paced, signal) {
  const reader = watchReader(exchange, () => paced.bufferedS ?? 0);
  let failure = null;
  const stop = () => controller.error(signal.reason);
  const end = () => {
    reader.stop();
    signal.removeEventListener("abort", stop);
  };
  let controller;
  return new ReadableStream(
    {
      start(given) {
        controller = given;
        signal.addEventListener("abort", stop, { once: true });
      },
      async pull() {
        try {
          if (failure) throw failure;
          const piece = await paced.next();
          if (signal.aborted) return;
          if (piece === null) {
            end();
            controller.close();
          } else {
            if (paced !== exchange) reader.tell();
            controller.enqueue(piece);
          }
        } catch (error) {
          if (signal.aborted) return;
          if (exchange.isEventStream && exchange.carrier === "webtransport" && !failure) {
            failure = error; // who reads events is told by one, as by an edge relay; who asks once more meets the failure
            controller.enqueue(errorEvent(error));
            return;
          }
          end();
          controller.error(error);
        }
      },
      cancel() {
        end();
        exchange.cancel();
      },
    },
    { highWaterMark: 0 },
  );
}

function errorEvent({ message }) {
  const error = { message, type: "relay_error", param: null, code: "stream_broken" };
  return new TextEncoder().encode(`data: ${JSON.stringify({ error })}\n\n`);
}
