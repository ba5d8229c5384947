// What the origin is told of the reader: whether he looks at the page, and how long what has arrived lasts (Eloquent §5.3, §5.4).

/**
 * Watch the page for an exchange, until the function that is returned is called.
 *
 * @param exchange what `ask` returned
 * @param {() => number} bufferedS seconds
 */
export function watchReader(exchange, bufferedS = () => 0) {
  const { document } = globalThis;
  const isLooking = () => document?.visibilityState !== "hidden";
  const tell = () => exchange.report({ bufferedS: bufferedS(), looking: isLooking() });
  if (!isLooking()) tell();
  document?.addEventListener("visibilitychange", tell);
  return { tell, stop: () => document?.removeEventListener("visibilitychange", tell) };
}
