/** Eloquent's client for browsers (docs/browser.md). All times are in seconds. */

export type Carrier = "webtransport" | "sse";

export interface Playout {
  /** Seconds by which the answer is shown later than it comes. */
  lead: number;
  /** Tokens a second at which it is shown; by default the model's own pace. */
  rate?: number;
}

export interface EloquentOptions {
  /** Where the origin relay awaits pages; by default `https://<host of the url>/eloquent`. */
  webTransport?: string | URL;
  /** SHA-256 of the certificates that are accepted, for labs: hexadecimal, or bytes. Without it, the browser's authorities decide. */
  certificateHashes?: (string | BufferSource)[];
  /** Shown to the origin relay as `?token=`, or what gets it anew for each session. */
  token?: string | (() => string | Promise<string>);
  /** What carries the answer; by default `eloquent-packed`. */
  scheme?: string;
  /** Show event streams smoothly, a little later than they come. */
  playout?: Playout;
  /** Seconds after which a question goes by fetch if there is no session; by default 2. */
  fallbackAfter?: number;
  /** In place of the browser's `WebTransport`. */
  WebTransport?: unknown;
}

export interface FetchOptions extends EloquentOptions {
  /** Which requests go by Eloquent; by default each POST to `…/chat/completions`, `…/completions` and `…/responses`. */
  isFor?: (request: Request) => boolean;
}

export interface SourceOptions extends EloquentOptions {
  method?: string;
  headers?: HeadersInit;
  body?: BodyInit | null;
  /** For fetch, where the answer comes by that. */
  credentials?: RequestCredentials;
  /** Aborting it is `close()`. */
  signal?: AbortSignal;
  /** Go on with the answer after a reload of the page; a key where one page has several answers at once. */
  resume?: boolean | string;
  /** After a reload, have the answer from its first token on, and not only what is new. */
  replay?: boolean;
}

export interface Statistics {
  /** Datagrams with parts of the answer. */
  datagrams: number;
  /** Bytes in them. */
  bytes: number;
  /** How often the answer was asked for again, because its session had died. */
  resumptions: number;
}

/** The answer is not whole, or was not begun. */
export class EloquentErrorEvent extends Event {
  readonly message: string;
  /** Of HTTP, where the server answered otherwise than by an event stream; else 0. */
  readonly status: number;
  /** The content of such an answer, at most 64 KiB. */
  readonly body: string;
}

interface SourceEvents {
  open: Event;
  message: MessageEvent<string>;
  error: EloquentErrorEvent;
  /** The answer is whole. */
  end: Event;
}

/** An answer, shaped like EventSource. */
export class EloquentSource extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSED: 2;
  constructor(url: string | URL, options?: SourceOptions);
  readonly url: string;
  readonly readyState: 0 | 1 | 2;
  readonly lastEventId: string;
  /** What the answer comes by; null before it has begun. */
  readonly carrier: Carrier | null;
  readonly statistics: Statistics;
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent<string>) => void) | null;
  onerror: ((event: EloquentErrorEvent) => void) | null;
  onend: ((event: Event) => void) | null;
  /** Want nothing more; no event follows. */
  close(): void;
  addEventListener<K extends keyof SourceEvents>(
    type: K,
    listener: (event: SourceEvents[K]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  /** Events that the server names. */
  addEventListener(
    type: string,
    listener: (event: MessageEvent<string>) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

/** Shaped like fetch: its `Response` streams, and has the server's status and headers. */
export const eloquentFetch: (input: RequestInfo | URL, init?: RequestInit) => Promise<Response & { carrier?: Carrier }>;

/** Make a function like `eloquentFetch` with options. */
export function makeFetch(options?: FetchOptions): typeof eloquentFetch;

/** Begin the session, so that the first question need not. */
export function preconnect(url: string | URL, options?: EloquentOptions): void;

/** Whether an answer that was asked for with this `resume` was not whole when the page was left. */
export function isResumable(resume: boolean | string, url?: string | URL): boolean;
